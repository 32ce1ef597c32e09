//! One keep-alive connection to the server.

use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, HOST, RETRY_AFTER};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Longest answer that is read. A photo's record is a few kilobytes.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// How long one request may take. A server that never answers must not hang the measurement.
const REQUEST_SECONDS_MAX: u64 = 120;

/// Where requests go.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    authority: String,
    prefix: String,
    authorization: Option<String>,
}

/// What the server answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    /// `Retry-After` in seconds, when there is one in that form.
    pub(crate) retry_after: Option<Duration>,
    pub(crate) body: Bytes,
}

impl Target {
    /// Understands `http://host[:port][/prefix]`.
    pub(crate) fn parse(url: &str, key: Option<String>) -> anyhow::Result<Self> {
        let uri: Uri = url.parse().with_context(|| format!("`{url}` is no URL"))?;
        let (Some("http"), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            bail!(
                "`{url}` must begin with http:// and name a host: this load generator speaks plain HTTP only"
            );
        };
        let port = authority.port_u16().unwrap_or(80);
        Ok(Self {
            authority: format!("{}:{port}", authority.host()),
            prefix: uri.path().trim_end_matches('/').to_owned(),
            authorization: key.map(|key| format!("Bearer {key}")),
        })
    }

    /// Where it listens: host and port.
    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }

    /// Opens a connection.
    pub(crate) async fn connect(&self) -> anyhow::Result<Connection> {
        let stream = TcpStream::connect(&self.authority).await?;
        // A header and the beginning of a body should not wait for each other's acknowledgement.
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        // Ends when the sender is dropped or the server closes; what went wrong, the next request on it reports.
        tokio::spawn(async move { drop(connection.await) });
        Ok(Connection { target: self.clone(), sender })
    }
}

/// An open connection, for one request at a time.
pub(crate) struct Connection {
    target: Target,
    sender: SendRequest<Full<Bytes>>,
}

impl Connection {
    /// Whether another request can be sent.
    pub(crate) fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }

    /// Asks for whatever is at a path.
    pub(crate) async fn get(&mut self, path: &str) -> anyhow::Result<Answer> {
        self.request(Method::GET, path, None, Bytes::new()).await
    }

    /// Sends JSON to a path.
    pub(crate) async fn post_json(&mut self, path: &str, json: Bytes) -> anyhow::Result<Answer> {
        self.request(Method::POST, path, Some(("content-type", "application/json")), json).await
    }

    /// Sends a photo. `query` begins with `?` or is empty.
    pub(crate) async fn upload(&mut self, query: &str, mime: &str, photo: Bytes) -> anyhow::Result<Answer> {
        let path = format!("/v1/photos{query}");
        self.request(Method::POST, &path, Some(("content-type", mime)), photo).await
    }

    /// Asks for a photo's record.
    pub(crate) async fn photo(&mut self, id: &str) -> anyhow::Result<Answer> {
        // A question costs the server that is being measured: where it can, it answers when there is news.
        let patient = Some(("prefer", "wait=5"));
        self.request(Method::GET, &format!("/v1/photos/{id}"), patient, Bytes::new()).await
    }

    async fn request(
        &mut self,
        method: Method,
        path: &str,
        header: Option<(&str, &str)>,
        body: Bytes,
    ) -> anyhow::Result<Answer> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.target.prefix))
            .header(HOST, &self.target.authority);
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        if let Some(authorization) = &self.target.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let request = request.body(Full::new(body))?;
        let exchange = async {
            self.sender.ready().await?;
            let response = self.sender.send_request(request).await?;
            let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
            let retry_after = retry_after.and_then(|value| value.parse().ok()).map(Duration::from_secs);
            let status = response.status();
            // Read to its end, or the connection could not be used again.
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
            let body = body.map_err(|error| anyhow::anyhow!("the answer broke off: {error}"))?.to_bytes();
            anyhow::Ok(Answer { status, retry_after, body })
        };
        let limit = Duration::from_secs(REQUEST_SECONDS_MAX);
        match tokio::time::timeout(limit, exchange).await {
            Ok(answer) => answer,
            Err(_) => bail!("no answer within {REQUEST_SECONDS_MAX} s"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_understood_or_refused_with_a_reason() {
        let target = Target::parse("http://127.0.0.1:8080/prefix/", None).unwrap();
        assert_eq!((target.authority.as_str(), target.prefix.as_str()), ("127.0.0.1:8080", "/prefix"));
        assert_eq!(Target::parse("http://photos.example", None).unwrap().authority, "photos.example:80");
        for url in ["https://photos.example", "127.0.0.1:8080", "/v1", ""] {
            assert!(Target::parse(url, None).is_err(), "{url}");
        }
    }
}
