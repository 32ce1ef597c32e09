//! What is asked of other servers: within a deadline, no more than a small answer, and no redirects followed.

use std::fmt;
use std::net::IpAddr;
use std::sync::OnceLock;
use std::time::Duration;

use aws_smithy_http_client::tls::Provider as TlsProvider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::{Connector, ConnectorBuilder};
use aws_smithy_runtime_api::client::http::HttpConnector;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body_util::{BodyExt, Limited};
use hyper::Uri;
use tokio::time::timeout;

/// Longest answer: ten messages of SQS of 256 KiB each, and what JSON makes of them.
const ANSWER_BYTES_MAX: usize = 8 << 20;
/// Longest answer of an identity provider: hundreds of keys.
const PROVIDER_BYTES_MAX: usize = 512 << 10;
/// How long a certificate, a confirmation or a provider's keys may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Fetches what a URL names; the answer's body where it succeeds.
pub trait Fetch: Send + Sync {
    /// Fetches it.
    fn fetch<'a>(&'a self, url: &'a str) -> BoxFuture<'a, Result<Bytes, String>>;
}

/// Over HTTPS, by the certificates of this machine.
#[derive(Default)]
pub(crate) struct Https(OnceLock<Connector>);

impl Https {
    /// Made when it is first needed: whoever has set up nothing that is asked elsewhere needs no certificates.
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

/// As [`Https`], for identity providers; over plain HTTP only from this machine itself, where one runs for tests.
#[derive(Default)]
pub(crate) struct Provider {
    https: Https,
    loopback: OnceLock<Connector>,
}

impl Fetch for Provider {
    fn fetch<'a>(&'a self, url: &'a str) -> BoxFuture<'a, Result<Bytes, String>> {
        Box::pin(async move {
            let connector = match Transport::of(url)? {
                Transport::Https => self.https.connector(),
                Transport::Loopback => self.loopback.get_or_init(|| ConnectorBuilder::default().build_http()),
            };
            let mut request = HttpRequest::get(url).map_err(|error| error.to_string())?;
            request.headers_mut().insert("accept", "application/json");
            let (status, body) = send_within(connector, request, (PATIENCE, PROVIDER_BYTES_MAX)).await?;
            if status == 200 { Ok(body) } else { Err(format!("the answer was {status}")) }
        })
    }
}

/// How a URL is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    /// Over HTTPS.
    Https,
    /// Over HTTP, on this machine.
    Loopback,
}

impl Transport {
    /// How this URL is reached.
    ///
    /// # Errors
    /// A sentence, if it may not be.
    pub(crate) fn of(url: &str) -> Result<Self, String> {
        let uri: Uri = url.parse().map_err(|_| format!("{url:?} is no URL"))?;
        let host =
            uri.host().filter(|host| !host.is_empty()).ok_or_else(|| format!("{url:?} names no host"))?;
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(format!("{url:?} has a user's name in it"));
        }
        match uri.scheme_str() {
            Some("https") => Ok(Self::Https),
            // An address, since a name may come to mean something else.
            Some("http") if is_loopback(host) => Ok(Self::Loopback),
            _ => Err(format!(
                "{url:?} must begin with https:// (http:// is taken for 127.0.0.1 and [::1] alone)"
            )),
        }
    }
}

fn is_loopback(host: &str) -> bool {
    let address: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
    address.is_some_and(|address| address.is_loopback())
}

fn https() -> Connector {
    Connector::builder().tls_provider(TlsProvider::Rustls(CryptoMode::Ring)).build()
}

/// The way to a server whose URL begins so.
pub(crate) fn connector_for(url: &str) -> Connector {
    if url.starts_with("http://") { ConnectorBuilder::default().build_http() } else { https() }
}

/// Sends a request; the answer's status and body.
pub(crate) async fn send(
    connector: &Connector,
    request: HttpRequest,
    patience: Duration,
) -> Result<(u16, Bytes), String> {
    send_within(connector, request, (patience, ANSWER_BYTES_MAX)).await
}

async fn send_within(
    connector: &Connector,
    request: HttpRequest,
    (patience, bytes_max): (Duration, usize),
) -> Result<(u16, Bytes), String> {
    let sent = async {
        let answer = connector.call(request).await.map_err(|error| chain(&error))?;
        let status = answer.status().as_u16();
        let body = Limited::new(answer.into_body(), bytes_max).collect().await;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_reaches_this_machine_alone() {
        for url in ["https://login.example/keys", "https://127.0.0.1/keys", "https://keycloak:8443/realms/a"]
        {
            assert_eq!(Transport::of(url), Ok(Transport::Https), "{url}");
        }
        for url in ["http://127.0.0.1:8080/keys", "http://[::1]/keys", "http://127.1.2.3/"] {
            assert_eq!(Transport::of(url), Ok(Transport::Loopback), "{url}");
        }
        for url in [
            "http://login.example/keys",
            "http://localhost/keys",
            "http://10.0.0.1/",
            "http://127.0.0.1.evil.example/",
            "http://127.0.0.1@evil.example/",
            "https://user@login.example/",
            "ftp://127.0.0.1/",
            "file:///etc/passwd",
            "/keys",
            "",
        ] {
            Transport::of(url).expect_err(url);
        }
    }
}
