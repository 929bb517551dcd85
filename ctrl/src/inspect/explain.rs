//! `dromonctl explain`: which rule would take this request, and why not the others.

use anyhow::{Context, bail};
use clap::Args;
use http::Uri;
use serde_json::{Value, json};

use super::{ANSWER, Which, admin_of, ask};
use crate::run::options::Output;
use crate::run::probe;

/// Say which rule of a running local mesh would take a request, why the earlier ones would not, and where it would go
///
/// The request is not sent. For the gateway the URL's port says which of its listeners is asked; a process is asked as if it
/// called the URL itself.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// What is asked for, e.g. <http://reviews:9080/reviews/0>
    #[arg(value_name = "URL")]
    pub url: Uri,
    /// Who takes the request: gateway, or a process as NAME or NAME.NAMESPACE
    #[arg(long, value_name = "PROXY", default_value = "gateway")]
    pub proxy: String,
    /// The method
    #[arg(short = 'X', long, value_name = "METHOD", default_value = "GET")]
    pub request: String,
    /// A header, as in curl; may be given several times. Host takes the place of the URL's
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = header)]
    pub headers: Vec<(String, String)>,
    /// Name of the listener that the request arrives at
    #[arg(long, value_name = "NAME")]
    pub listener: Option<String>,
    /// Which run
    #[command(flatten)]
    pub which: Which,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

/// Reads `name: value`.
fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) =
        text.split_once(':').ok_or_else(|| format!("{text:?} is not of the form name: value"))?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

/// Prints the explanation.
///
/// # Errors
/// No run or proxy is found, or the question is refused.
pub async fn run(options: &Options) -> anyhow::Result<bool> {
    let question = question(options)?;
    let run = options.which.find()?;
    let admin = admin_of(&run, &options.proxy)?;
    match options.output {
        Output::Json => println!("{:#}", ask(admin, "/explain?format=json", &question).await?),
        Output::Text => {
            let body = question.to_string().into();
            let (status, answer) = probe::post(admin, "/explain", body, ANSWER)
                .await
                .with_context(|| format!("http://{admin}"))?;
            let answer = String::from_utf8_lossy(&answer);
            if status != 200 {
                bail!("{}", answer.trim());
            }
            println!("{}", answer.trim_end());
        }
    }
    Ok(true)
}

/// The question as a proxy understands it.
pub(super) fn question(options: &Options) -> anyhow::Result<Value> {
    let url = &options.url;
    let Some(authority) = url.authority() else { bail!("{url} names no host: write http://HOST/PATH") };
    let is_host = |(name, _): &&(String, String)| name.eq_ignore_ascii_case("host");
    let host = options.headers.iter().find(is_host).map_or(authority.as_str(), |(_, value)| value.as_str());
    let headers: Vec<_> = options.headers.iter().filter(|header| !is_host(header)).collect();
    Ok(json!({
        "listener": options.listener,
        "port": authority.port_u16().unwrap_or(80),
        "method": options.request,
        "scheme": url.scheme_str().unwrap_or("http"),
        "authority": host,
        "path": url.path_and_query().map_or("/", |path| path.as_str()),
        "headers": headers,
    }))
}
