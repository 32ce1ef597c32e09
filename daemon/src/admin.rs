//! How a command reaches the running daemon: HTTP over the socket in the data directory.

use std::io::ErrorKind;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;

/// The socket's name in the data directory.
pub(crate) const SOCKET: &str = "admin.sock";

/// Longest that a command waits for the daemon's answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(300);

/// Longest that it waits for the next bytes of a long answer.
const PIECE_TIMEOUT: Duration = Duration::from_secs(60);

/// Asks the daemon that has `data`; `None` when none runs.
pub(crate) async fn ask(data: &Path, method: Method, path: &str) -> anyhow::Result<Option<Bytes>> {
    ask_with(data, method, path, Bytes::new()).await
}

/// As [`ask`], with a body of JSON.
pub(crate) async fn ask_with(
    data: &Path,
    method: Method,
    path: &str,
    body: Bytes,
) -> anyhow::Result<Option<Bytes>> {
    let Some(stream) = connect(data)? else { return Ok(None) };
    let asking =
        async { Ok(exchange(stream, method, path, body).await?.into_body().collect().await?.to_bytes()) };
    in_time(data, ANSWER_TIMEOUT, asking).await.map(Some)
}

/// As [`ask`], for an answer that is too long to be held: gives its bytes to `take` as they come. False when no daemon
/// runs.
pub(crate) async fn ask_for_stream(
    data: &Path,
    method: Method,
    path: &str,
    mut take: impl FnMut(&[u8]) -> anyhow::Result<()>,
) -> anyhow::Result<bool> {
    let Some(stream) = connect(data)? else { return Ok(false) };
    let mut body =
        in_time(data, ANSWER_TIMEOUT, exchange(stream, method, path, Bytes::new())).await?.into_body();
    loop {
        let piece = in_time(data, PIECE_TIMEOUT, async { Ok(body.frame().await.transpose()?) }).await?;
        let Some(piece) = piece else { return Ok(true) };
        if let Some(bytes) = piece.data_ref() {
            take(bytes)?;
        }
    }
}

/// Whether a daemon runs that has `data`.
pub(crate) fn runs(data: &Path) -> anyhow::Result<bool> {
    Ok(connect(data)?.is_some())
}

type Stream = TokioIo<tokio::net::UnixStream>;

/// A connection to the daemon that has `data`, if one runs.
fn connect(data: &Path) -> anyhow::Result<Option<Stream>> {
    let path = data.join(SOCKET);
    let stream = match UnixStream::connect(&path) {
        Ok(stream) => stream,
        Err(error) => match error.kind() {
            // None; one that was killed, and left its socket; or one whose path is too long for a socket.
            ErrorKind::NotFound
            | ErrorKind::NotADirectory
            | ErrorKind::ConnectionRefused
            | ErrorKind::InvalidInput => {
                return Ok(None);
            }
            ErrorKind::PermissionDenied => {
                bail!(
                    "{} is not open to this user: run the command as the user that runs the daemon",
                    path.display()
                )
            }
            _ => {
                return Err(error)
                    .with_context(|| format!("could not reach the daemon at {}", path.display()));
            }
        },
    };
    stream.set_nonblocking(true)?;
    Ok(Some(TokioIo::new(tokio::net::UnixStream::from_std(stream)?)))
}

async fn in_time<T>(
    data: &Path,
    limit: Duration,
    work: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    let outcome = tokio::time::timeout(limit, work).await.context("the daemon did not answer in time")?;
    outcome.with_context(|| format!("could not talk to the daemon at {}", data.join(SOCKET).display()))
}

/// Sends the request; the answer if it is a success.
async fn exchange(
    stream: Stream,
    method: Method,
    path: &str,
    body: Bytes,
) -> anyhow::Result<Response<Incoming>> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await?;
    tokio::spawn(connection);
    let request =
        Request::builder().method(method).uri(path).header("host", "darkroomd").body(Full::new(body))?;
    let answer = sender.send_request(request).await?;
    let status = answer.status();
    if !status.is_success() {
        let body = answer.into_body().collect().await?.to_bytes();
        bail!("the daemon answered {status}: {}", detail(&body));
    }
    Ok(answer)
}

/// What an error's body says, for people.
fn detail(body: &[u8]) -> String {
    let problem = serde_json::from_slice::<serde_json::Value>(body).ok();
    let detail = problem.as_ref().and_then(|problem| problem["detail"].as_str());
    detail.map_or_else(|| String::from_utf8_lossy(body).into_owned(), ToOwned::to_owned)
}
