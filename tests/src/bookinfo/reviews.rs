//! Two reviews of each book; v2 and v3 ask ratings for stars.

use std::str::FromStr;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::upstream::{Client, forwarded};

/// Which edition.
#[derive(Clone, Copy)]
pub enum Version {
    /// Without stars.
    V1,
    /// Black stars; waits 10 s for ratings.
    V2,
    /// Red stars; waits 2.5 s for ratings.
    V3,
}

impl FromStr for Version {
    type Err = anyhow::Error;
    fn from_str(text: &str) -> anyhow::Result<Version> {
        Ok(match text {
            "v1" => Version::V1,
            "v2" => Version::V2,
            "v3" => Version::V3,
            _ => anyhow::bail!("reviews has versions v1, v2 and v3, not {text}"),
        })
    }
}

impl Version {
    /// Colour of the stars and time to wait for them.
    fn stars(self) -> Option<(&'static str, Duration)> {
        match self {
            Version::V1 => None,
            Version::V2 => Some(("black", Duration::from_secs(10))),
            Version::V3 => Some(("red", Duration::from_millis(2_500))),
        }
    }
}

/// `GET /reviews/{id}`.
pub fn routes(client: Client, version: Version) -> Router {
    Router::new().route("/reviews/{id}", get(reviews)).with_state((client, version))
}

async fn reviews(
    State((client, version)): State<(Client, Version)>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    let Ok(id) = id.parse::<u64>() else {
        return (StatusCode::BAD_REQUEST, Json(json!({"error": "please provide numeric product ID"})))
            .into_response();
    };
    let ratings = match version.stars() {
        None => None,
        Some((color, timeout)) => Some((color, ask(&client, id, &headers, timeout).await)),
    };
    let review = |reviewer: &str, text: &str| {
        let mut review = json!({"reviewer": reviewer, "text": text});
        if let Some((color, ratings)) = &ratings {
            review["rating"] = match ratings.as_ref().and_then(|it| it.get(reviewer)?.as_i64()) {
                Some(stars) => json!({"stars": stars, "color": color}),
                None => json!({"error": "Ratings service is currently unavailable"}),
            };
        }
        review
    };
    Json(json!({
        "id": id.to_string(),
        "podname": std::env::var("HOSTNAME").unwrap_or_default(),
        "clustername": std::env::var("CLUSTER_NAME").unwrap_or_default(),
        "reviews": [
            review("Reviewer1", "Two pairs of twins, one town, no peace: the quickest laugh Shakespeare wrote."),
            review("Reviewer2", "Great fun on stage, though it thinks less deeply than the later comedies."),
        ],
    }))
    .into_response()
}

async fn ask(client: &Client, id: u64, headers: &HeaderMap, timeout: Duration) -> Option<Value> {
    let (status, body) =
        client.get("ratings", &format!("/ratings/{id}"), forwarded(headers), timeout).await.ok()?;
    (status == StatusCode::OK).then(|| body.get("ratings").cloned())?
}
