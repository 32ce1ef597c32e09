//! How a command reaches the running daemon: HTTP over the socket in the data directory.

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;

/// The socket's name in the data directory.
pub(crate) const SOCKET: &str = "admin.sock";

/// Longest that a command waits for the daemon's answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(300);

/// Asks the daemon that has `data`; `None` when none runs.
pub(crate) async fn ask(data: &Path, method: Method, path: &str) -> anyhow::Result<Option<Bytes>> {
    let socket = data.join(SOCKET);
    let Ok(stream) = UnixStream::connect(&socket) else { return Ok(None) };
    stream.set_nonblocking(true)?;
    let stream = TokioIo::new(tokio::net::UnixStream::from_std(stream)?);
    let answer = tokio::time::timeout(ANSWER_TIMEOUT, exchange(stream, method, path)).await;
    let answer = answer.context("the daemon did not answer in time")?;
    answer.map(Some).with_context(|| format!("could not talk to the daemon at {}", socket.display()))
}

async fn exchange(
    stream: TokioIo<tokio::net::UnixStream>,
    method: Method,
    path: &str,
) -> anyhow::Result<Bytes> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await?;
    tokio::spawn(connection);
    let request =
        Request::builder().method(method).uri(path).header("host", "darkroomd").body(Empty::<Bytes>::new())?;
    let answer = sender.send_request(request).await?;
    let status = answer.status();
    let body = answer.into_body().collect().await?.to_bytes();
    if !status.is_success() {
        bail!("the daemon answered {status}: {}", detail(&body));
    }
    Ok(body)
}

/// What an error's body says, for people.
fn detail(body: &[u8]) -> String {
    let problem = serde_json::from_slice::<serde_json::Value>(body).ok();
    let detail = problem.as_ref().and_then(|problem| problem["detail"].as_str());
    detail.map_or_else(|| String::from_utf8_lossy(body).into_owned(), ToOwned::to_owned)
}
