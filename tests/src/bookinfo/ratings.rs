//! Stars per reviewer, kept in memory; with versions that misbehave on purpose.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;

/// How a version behaves.
#[derive(Clone, Copy, PartialEq)]
pub enum Version {
    /// Answers.
    Good,
    /// Every second answer is 503.
    Faulty,
    /// Every second answer takes 7 s.
    Delayed,
    /// 503 for every other minute.
    Unavailable,
}

impl FromStr for Version {
    type Err = anyhow::Error;
    fn from_str(text: &str) -> anyhow::Result<Version> {
        Ok(match text {
            "v1" => Version::Good,
            "v-faulty" => Version::Faulty,
            "v-delayed" => Version::Delayed,
            "v-unavailable" => Version::Unavailable,
            _ => anyhow::bail!("ratings has versions v1, v-faulty, v-delayed and v-unavailable, not {text}"),
        })
    }
}

struct Shelf {
    version: Version,
    started: Instant,
    served: AtomicU64,
    posted: Mutex<BTreeMap<u64, BTreeMap<String, u8>>>,
}

/// `GET` and `POST /ratings/{id}`.
pub fn routes(version: Version) -> Router {
    let shelf =
        Shelf { version, started: Instant::now(), served: AtomicU64::new(0), posted: Mutex::default() };
    Router::new().route("/ratings/{id}", get(read).post(write)).with_state(Arc::new(shelf))
}

async fn read(State(shelf): State<Arc<Shelf>>, Path(id): Path<String>) -> Response {
    let Ok(id) = id.parse::<u64>() else { return bad("please provide numeric product ID") };
    let second = shelf.served.fetch_add(1, Ordering::Relaxed) % 2 == 1;
    match shelf.version {
        Version::Faulty if second => return unavailable(),
        Version::Unavailable if (shelf.started.elapsed().as_secs() / 60) % 2 == 1 => return unavailable(),
        Version::Delayed if second => tokio::time::sleep(Duration::from_secs(7)).await,
        _ => {}
    }
    let ratings = shelf
        .posted
        .lock()
        .ok()
        .and_then(|posted| posted.get(&id).cloned())
        .unwrap_or_else(|| BTreeMap::from([("Reviewer1".to_owned(), 5), ("Reviewer2".to_owned(), 4)]));
    Json(json!({"id": id, "ratings": ratings})).into_response()
}

async fn write(
    State(shelf): State<Arc<Shelf>>,
    Path(id): Path<String>,
    Json(ratings): Json<BTreeMap<String, u8>>,
) -> Response {
    let Ok(id) = id.parse::<u64>() else { return bad("please provide numeric product ID") };
    if let Ok(mut posted) = shelf.posted.lock() {
        posted.insert(id, ratings.clone());
    }
    Json(json!({"id": id, "ratings": ratings})).into_response()
}

fn bad(why: &str) -> Response {
    (StatusCode::BAD_REQUEST, Json(json!({"error": why}))).into_response()
}

fn unavailable() -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, Json(json!({"error": "Service unavailable"}))).into_response()
}
