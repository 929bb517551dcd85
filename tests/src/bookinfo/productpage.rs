//! The page that a person sees, made of what details and reviews say.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::extract::{Form, Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::page;
use crate::upstream::{Client, forwarded};

/// Time that one call to another service may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(3);
/// Calls to reviews for one page; a slow one costs the page 6 s.
const REVIEWS_TRIES: usize = 2;
const USER_COOKIE: &str = "user";
const NAME_BYTES_MAX: usize = 64;

struct Front {
    client: Client,
    pages: AtomicU64,
}

/// An answer of another service: its status and, if that is 200, its JSON, else what to tell the reader.
pub struct Answer {
    /// As sent, or 500 when there was no answer.
    pub status: StatusCode,
    /// The body, or `{"error": …}`.
    pub body: Value,
}

/// The page, log-in and log-out, and the product API.
pub fn routes(client: Client) -> Router {
    Router::new()
        .route("/", get(|| async { Html(page::welcome()) }))
        .route("/index.html", get(|| async { Html(page::welcome()) }))
        .route("/productpage", get(productpage))
        .route("/login", post(login))
        .route("/logout", get(logout))
        .route("/api/v1/products", get(|| async { Json(json!([product()])) }))
        .route("/api/v1/products/{id}", get(product_details))
        .route("/api/v1/products/{id}/reviews", get(product_reviews))
        .route("/api/v1/products/{id}/ratings", get(product_ratings))
        .route("/metrics", get(metrics))
        .with_state(Arc::new(Front { client, pages: AtomicU64::new(0) }))
}

/// The one book that the sample sells.
pub fn product() -> Value {
    json!({
        "id": 0,
        "title": "The Comedy of Errors",
        "descriptionHtml": "Shakespeare's shortest play and one of his first: two pairs of identical twins, parted \
            at birth by a storm, meet in one town on one day, where nobody can tell one from the other.",
    })
}

async fn productpage(State(front): State<Arc<Front>>, headers: HeaderMap) -> Response {
    front.pages.fetch_add(1, Ordering::Relaxed);
    let onward = onward(&headers);
    let details = details(&front.client, 0, onward.clone()).await;
    let reviews = reviews(&front.client, 0, onward).await;
    Html(page::product(&product(), &details, &reviews, user(&headers).as_deref())).into_response()
}

async fn product_details(
    State(front): State<Arc<Front>>,
    Path(id): Path<u64>,
    headers: HeaderMap,
) -> Response {
    answer(details(&front.client, id, onward(&headers)).await)
}

async fn product_reviews(
    State(front): State<Arc<Front>>,
    Path(id): Path<u64>,
    headers: HeaderMap,
) -> Response {
    answer(reviews(&front.client, id, onward(&headers)).await)
}

async fn product_ratings(
    State(front): State<Arc<Front>>,
    Path(id): Path<u64>,
    headers: HeaderMap,
) -> Response {
    answer(call(&front.client, "ratings", "/ratings", id, onward(&headers), "ratings").await)
}

async fn metrics(State(front): State<Arc<Front>>) -> String {
    format!(
        "# HELP bookinfo_pages_total Product pages served.\n# TYPE bookinfo_pages_total counter\n\
         bookinfo_pages_total {}\n",
        front.pages.load(Ordering::Relaxed)
    )
}

fn answer(answer: Answer) -> Response {
    (answer.status, Json(answer.body)).into_response()
}

async fn details(client: &Client, id: u64, headers: HeaderMap) -> Answer {
    call(client, "details", "/details", id, headers, "details").await
}

async fn reviews(client: &Client, id: u64, headers: HeaderMap) -> Answer {
    let mut answer = call(client, "reviews", "/reviews", id, headers.clone(), "reviews").await;
    for _ in 1..REVIEWS_TRIES {
        if answer.status == StatusCode::OK {
            break;
        }
        answer = call(client, "reviews", "/reviews", id, headers.clone(), "reviews").await;
    }
    answer
}

async fn call(client: &Client, service: &str, path: &str, id: u64, headers: HeaderMap, what: &str) -> Answer {
    match client.get(service, &format!("{path}/{id}"), headers, CALL_TIMEOUT).await {
        Ok((StatusCode::OK, body)) => Answer { status: StatusCode::OK, body },
        outcome => {
            eprintln!("{service} failed: {outcome:?}");
            Answer {
                status: outcome.map_or(StatusCode::INTERNAL_SERVER_ERROR, |(status, _)| status),
                body: json!({"error": format!("Sorry, product {what} are currently unavailable for this book.")}),
            }
        }
    }
}

/// What is passed on: the forwarded headers, and who is logged in.
fn onward(headers: &HeaderMap) -> HeaderMap {
    let mut onward = forwarded(headers);
    if let Some(user) = user(headers).and_then(|user| HeaderValue::from_str(&user).ok()) {
        onward.insert("end-user", user);
    }
    onward
}

fn user(headers: &HeaderMap) -> Option<String> {
    let cookies = headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    cookies
        .flat_map(|line| line.split(';'))
        .find_map(|pair| pair.trim().strip_prefix(USER_COOKIE)?.strip_prefix('='))
        .filter(|name| is_name(name))
        .map(str::to_owned)
}

/// Names are kept to what is harmless in a cookie, a header and a page.
fn is_name(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.@".contains(&byte))
}

#[derive(Deserialize)]
struct Login {
    username: String,
}

async fn login(Form(login): Form<Login>) -> Response {
    if !is_name(&login.username) {
        return (StatusCode::BAD_REQUEST, "a name is 1 to 64 letters, digits or any of - _ . @")
            .into_response();
    }
    back(&format!("{USER_COOKIE}={}; Path=/; HttpOnly; SameSite=Lax", login.username))
}

async fn logout() -> Response {
    back(&format!("{USER_COOKIE}=; Path=/; HttpOnly; Max-Age=0"))
}

fn back(cookie: &str) -> Response {
    let headers = [(header::SET_COOKIE, cookie), (header::LOCATION, "/productpage")];
    (StatusCode::FOUND, headers).into_response()
}
