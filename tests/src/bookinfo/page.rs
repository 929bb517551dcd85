//! HTML of the sample: one style sheet, no script, nothing fetched from elsewhere.

use std::fmt::Write;

use axum::http::StatusCode;
use serde_json::Value;

use crate::productpage::Answer;

const STYLE: &str = "
:root { --ink:#1d2a35; --soft:#5d6b78; --line:#dfe5ea; --sea:#0b6e8a; --paper:#fff; --ground:#f3f6f8 }
* { box-sizing:border-box } body { margin:0; background:var(--ground); color:var(--ink);
  font:16px/1.55 system-ui,sans-serif }
header { background:var(--sea); color:#fff } header div, main { max-width:62rem; margin:auto; padding:0 1.5rem }
header div { display:flex; align-items:center; gap:1rem; height:3.6rem } header b { flex:1; letter-spacing:.02em }
header form { display:flex; gap:.5rem; margin:0 } a { color:var(--sea) } header a { color:#fff }
input, button { font:inherit; padding:.3rem .7rem; border:1px solid #fff8; border-radius:.4rem }
button { background:#fff; color:var(--sea); cursor:pointer }
h1 { font:600 2.1rem/1.2 Georgia,serif; margin:2.2rem 0 .6rem } h2 { font-size:1.05rem; margin:0 0 .8rem }
.lead { color:var(--soft); max-width:46rem; margin:0 0 2rem }
.cols { display:grid; gap:1.5rem; grid-template-columns:minmax(16rem,1fr) minmax(20rem,2fr); padding-bottom:3rem }
@media (max-width:48rem) { .cols { grid-template-columns:1fr } }
section { background:var(--paper); border:1px solid var(--line); border-radius:.8rem; padding:1.3rem 1.5rem }
dl { display:grid; grid-template-columns:auto 1fr; gap:.35rem 1rem; margin:0 } dt { color:var(--soft) } dd { margin:0 }
blockquote { margin:0 0 1.3rem } blockquote p { margin:0 0 .2rem } small { color:var(--soft) }
.stars { font-size:1.25rem; letter-spacing:.1em } .off { opacity:.22 } .error { color:#a12d2d }
";

/// The page at `/`.
pub fn welcome() -> String {
    frame(
        "Bookinfo",
        None,
        "<h1>Bookinfo</h1><p class=lead>Four small services behind one page.</p>\
         <p><a href=/productpage>Open the product page</a></p>",
    )
}

/// The product page, of whatever could be had.
pub fn product(product: &Value, details: &Answer, reviews: &Answer, user: Option<&str>) -> String {
    let body = format!(
        "<h1>{}</h1><p class=lead>{}</p><div class=cols><section>{}</section><section>{}</section></div>",
        escape(text(product, "title")),
        escape(text(product, "descriptionHtml")),
        details_part(details),
        reviews_part(reviews),
    );
    frame("The Comedy of Errors · Bookinfo", Some(user), &body)
}

fn frame(title: &str, user: Option<Option<&str>>, body: &str) -> String {
    let session = match user {
        None => String::new(),
        Some(None) => "<form method=post action=/login><input name=username placeholder='user name' \
            aria-label='user name' required maxlength=64><button>Sign in</button></form>"
            .to_owned(),
        Some(Some(user)) => format!("<span>{}</span> <a href=/logout>Sign out</a>", escape(user)),
    };
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>\
         <title>{title}</title><style>{STYLE}</style>\
         <header><div><b>Bookinfo sample</b>{session}</div></header><main>{body}</main></html>\n"
    )
}

fn details_part(details: &Answer) -> String {
    if details.status != StatusCode::OK {
        return failed("details", details);
    }
    let mut html = String::from("<h2>Book Details</h2><dl>");
    for (label, field) in [
        ("Type", "type"),
        ("Pages", "pages"),
        ("Publisher", "publisher"),
        ("Language", "language"),
        ("Author", "author"),
        ("Year", "year"),
        ("ISBN-10", "ISBN-10"),
        ("ISBN-13", "ISBN-13"),
    ] {
        let value = match details.body.get(field) {
            Some(Value::String(value)) => escape(value),
            Some(value) => escape(&value.to_string()),
            None => continue,
        };
        let _ = write!(html, "<dt>{label}</dt><dd>{value}</dd>");
    }
    html + "</dl>"
}

fn reviews_part(reviews: &Answer) -> String {
    if reviews.status != StatusCode::OK {
        return failed("reviews", reviews);
    }
    let mut html = String::from("<h2>Book Reviews</h2>");
    for review in reviews.body["reviews"].as_array().into_iter().flatten() {
        let _ = write!(
            html,
            "<blockquote><p>{}</p><small>{}</small>{}</blockquote>",
            escape(text(review, "text")),
            escape(text(review, "reviewer")),
            rating(&review["rating"]),
        );
    }
    html
}

fn rating(rating: &Value) -> String {
    if let Some(error) = rating["error"].as_str() {
        return format!("<p class=error><i>{}</i></p>", escape(error));
    }
    let Some(stars) = rating["stars"].as_u64() else { return String::new() };
    let on = usize::try_from(stars).unwrap_or(5).min(5);
    let color = if rating["color"] == "red" { "red" } else { "black" };
    format!(
        "<div class=stars style='color:{color}' aria-label='{on} of 5 stars'>{}<span class=off>{}</span></div>",
        "★".repeat(on),
        "★".repeat(5 - on)
    )
}

fn failed(what: &str, answer: &Answer) -> String {
    format!(
        "<h2>Error fetching product {what}</h2><p class=error>{}</p>",
        escape(text(&answer.body, "error"))
    )
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}
