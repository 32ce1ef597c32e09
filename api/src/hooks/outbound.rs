//! What is asked of Amazon: within a deadline, no more than a small answer, and no redirects followed.

use std::fmt;
use std::sync::OnceLock;
use std::time::Duration;

use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::{Connector, ConnectorBuilder};
use aws_smithy_runtime_api::client::http::HttpConnector;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body_util::{BodyExt, Limited};
use tokio::time::timeout;

/// Longest answer: ten messages of SQS of 256 KiB each, and what JSON makes of them.
const ANSWER_BYTES_MAX: usize = 8 << 20;
/// How long a certificate or a confirmation may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Fetches what a URL names; the answer's body where it succeeds.
pub trait Fetch: Send + Sync {
    /// Fetches it.
    fn fetch<'a>(&'a self, url: &'a str) -> BoxFuture<'a, Result<Bytes, String>>;
}

/// Over HTTPS, by the certificates of this machine.
#[derive(Default)]
pub(super) struct Https(OnceLock<Connector>);

impl Https {
    /// Made when it is first needed: whoever has set up nothing of Amazon's needs no certificates.
    fn connector(&self) -> &Connector {
        self.0.get_or_init(https)
    }
}

impl Fetch for Https {
    fn fetch<'a>(&'a self, url: &'a str) -> BoxFuture<'a, Result<Bytes, String>> {
        Box::pin(async move {
            let request = HttpRequest::get(url).map_err(|error| error.to_string())?;
            let (status, body) = send(self.connector(), request, PATIENCE).await?;
            if status == 200 { Ok(body) } else { Err(format!("the answer was {status}")) }
        })
    }
}

impl fmt::Debug for Https {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Https")
    }
}

fn https() -> Connector {
    Connector::builder().tls_provider(Provider::Rustls(CryptoMode::Ring)).build()
}

/// The way to a server whose URL begins so.
pub(super) fn connector_for(url: &str) -> Connector {
    if url.starts_with("http://") { ConnectorBuilder::default().build_http() } else { https() }
}

/// Sends a request; the answer's status and body.
pub(super) async fn send(
    connector: &Connector,
    request: HttpRequest,
    patience: Duration,
) -> Result<(u16, Bytes), String> {
    let sent = async {
        let answer = connector.call(request).await.map_err(|error| chain(&error))?;
        let status = answer.status().as_u16();
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
        Ok((status, body.map_err(|error| error.to_string())?.to_bytes()))
    };
    timeout(patience, sent)
        .await
        .unwrap_or_else(|_| Err(format!("no answer within {} s", patience.as_secs())))
}

/// An error with what caused it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
