//! Speaks HTTP with a daemon: over its socket, or over the network. Connections are kept while they are good.

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::HOST;
use hyper::{HeaderMap, Method, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::source::Payload;

/// Until a connection must stand.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long an exchange may stand still: neither is a byte taken, nor does an answer come.
const STALL_MAX: Duration = Duration::from_secs(120);

/// Largest answer that is read: far above a thousand answers of a check.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Where the daemon is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Door {
    /// On this machine.
    Socket(PathBuf),
    /// Elsewhere; `base` is the path before `/v1`, where a proxy gave it one.
    Network { host: String, port: u16, base: String },
}

impl Door {
    /// The daemon at a URL.
    pub(super) fn at(url: &str) -> anyhow::Result<Self> {
        let uri: Uri = url.parse().with_context(|| format!("--url {url:?} is no URL"))?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => bail!(
                "--url {url:?}: https is not spoken yet. Inside of a network that you trust use http; from elsewhere a \
                 tunnel, as in `ssh -L 8080:127.0.0.1:8080 HOST` with --url http://127.0.0.1:8080"
            ),
            _ => bail!("--url {url:?} is not understood: give http://HOST:PORT"),
        }
        let authority = uri.authority().map(hyper::http::uri::Authority::as_str).unwrap_or_default();
        if authority.contains('@') || uri.query().is_some() {
            bail!("--url takes neither a name and password nor a query: give http://HOST:PORT");
        }
        let host = uri.host().unwrap_or_default().to_owned();
        Ok(Self::Network {
            host,
            port: uri.port_u16().unwrap_or(80),
            base: uri.path().trim_end_matches('/').to_owned(),
        })
    }

    fn base(&self) -> &str {
        match self {
            Self::Socket(_) => "",
            Self::Network { base, .. } => base,
        }
    }

    fn host(&self) -> String {
        match self {
            Self::Socket(_) => "darkroomd".to_owned(),
            Self::Network { host, port, .. } => format!("{host}:{port}"),
        }
    }
}

impl fmt::Display for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(path) => write!(f, "{}", path.display()),
            Self::Network { host, port, base } => write!(f, "http://{host}:{port}{base}"),
        }
    }
}

/// What moves, for the progress and for whoever loses patience.
#[derive(Debug)]
pub(super) struct Meter {
    /// Bytes that have left, or have arrived, of files of which it is not known what becomes of them.
    pub(super) in_flight: AtomicU64,
    /// Bytes of files that ever left, repeated ones too.
    pub(super) sent: AtomicU64,
    /// Exchanges that had to be repeated.
    pub(super) repeated: AtomicU64,
    /// An upload was left that the next import goes on with.
    pub(super) unfinished: AtomicBool,
    strain: Mutex<Strain>,
}

/// What goes wrong at the moment.
#[derive(Debug, Default)]
struct Strain {
    /// When it first went wrong since the daemon last took something.
    since: Option<Instant>,
    /// How many have something to try again.
    troubled: usize,
}

impl Meter {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            in_flight: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            repeated: AtomicU64::new(0),
            unfinished: AtomicBool::new(false),
            strain: Mutex::default(),
        })
    }

    /// Bytes of a file have left.
    pub(super) fn moved(&self, bytes: u64) {
        self.sent.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The daemon has taken something.
    pub(super) fn forward(&self) {
        self.strain().since = None;
    }

    /// Something went wrong at this time, for somebody for whom nothing had before (`is_first`), or again. Since when the
    /// daemon has taken nothing is returned: since then it went wrong, not since it last took something, as whoever walks
    /// or hashes for an hour asks it for nothing.
    pub(super) fn stumbled(&self, now: Instant, is_first: bool) -> Instant {
        let mut strain = self.strain();
        strain.troubled += usize::from(is_first);
        *strain.since.get_or_insert(now)
    }

    /// Somebody has nothing to try again any more. What is tried later by others is judged anew.
    pub(super) fn settled(&self) {
        let mut strain = self.strain();
        strain.troubled = strain.troubled.saturating_sub(1);
        if strain.troubled == 0 {
            strain.since = None;
        }
    }

    /// For how long the daemon has taken nothing, although it was asked to.
    pub(super) fn standing(&self) -> Duration {
        self.strain().since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    fn strain(&self) -> MutexGuard<'_, Strain> {
        self.strain.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An answer, whole.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// Why there is no answer.
pub(super) type Broken = String;

/// Speaks with one daemon.
pub(super) struct Client {
    door: Door,
    identity: HeaderMap,
    kept: Mutex<Vec<Connection>>,
    pub(super) meter: Arc<Meter>,
}

/// An open connection; closed when dropped.
struct Connection {
    sender: SendRequest<Payload>,
    driver: JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Client {
    pub(super) fn new(door: Door) -> Self {
        Self { door, identity: HeaderMap::new(), kept: Mutex::default(), meter: Meter::new() }
    }

    /// The same, whose requests say by these headers for whom they are.
    pub(super) fn identified(self, identity: HeaderMap) -> Self {
        Self { identity, ..self }
    }

    pub(super) fn door(&self) -> &Door {
        &self.door
    }

    /// Whether anybody is there.
    pub(super) async fn reach(&self) -> Result<(), Broken> {
        let connection = self.connect().await?;
        self.keep(connection);
        Ok(())
    }

    /// One exchange, tried once.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        payload: Payload,
    ) -> Result<Answer, Broken> {
        let (moved, length) = (payload.moved(), payload.length());
        let mut request = Request::new(payload);
        *request.method_mut() = method;
        let uri = format!("{}{path}", self.door.base());
        *request.uri_mut() = uri.parse().map_err(|error| format!("{uri:?} is no path: {error}"))?;
        *request.headers_mut() = headers;
        request.headers_mut().extend(self.identity.clone());
        if let Ok(host) = self.door.host().parse() {
            request.headers_mut().insert(HOST, host);
        }
        let exchange = self.exchange(request);
        tokio::pin!(exchange);
        let mut seen = 0;
        let (answer, connection) = loop {
            tokio::select! {
                outcome = exchange.as_mut() => break outcome?,
                () = tokio::time::sleep(STALL_MAX) => {
                    let now = moved.load(Ordering::Relaxed);
                    if now == seen {
                        return Err(format!("nothing moved for {} s", STALL_MAX.as_secs()));
                    }
                    seen = now;
                }
            }
        };
        // What of the body was not taken would stand before the next request.
        if moved.load(Ordering::Relaxed) == length && !closes(&answer) {
            self.keep(connection);
        }
        Ok(answer)
    }

    async fn exchange(&self, mut request: Request<Payload>) -> Result<(Answer, Connection), Broken> {
        let (answer, connection) = loop {
            let (mut connection, kept) = match self.take() {
                Some(connection) => (connection, true),
                None => (self.connect().await?, false),
            };
            if connection.sender.ready().await.is_err() && kept {
                continue; // The daemon closed it while it idled.
            }
            match connection.sender.try_send_request(request).await {
                Ok(answer) => break (answer, connection),
                Err(mut error) => match error.take_message() {
                    // It was closed in this moment, and nothing was sent.
                    Some(unsent) if kept => request = unsent,
                    _ => return Err(whole(error.error())),
                },
            }
        };
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(|error| error.to_string())?;
        Ok((Answer { status: head.status, headers: head.headers, body: body.to_bytes() }, connection))
    }

    async fn connect(&self) -> Result<Connection, Broken> {
        let connecting = async {
            match &self.door {
                Door::Socket(path) => open(UnixStream::connect(path).await.map_err(|e| e.to_string())?).await,
                Door::Network { host, port, .. } => {
                    // A URL has an IPv6 address in brackets.
                    let host = host.trim_start_matches('[').trim_end_matches(']');
                    let stream = TcpStream::connect((host, *port)).await.map_err(|e| e.to_string())?;
                    stream.set_nodelay(true).map_err(|e| e.to_string())?;
                    open(stream).await
                }
            }
        };
        let connected = tokio::time::timeout(CONNECT_TIMEOUT, connecting).await;
        connected
            .unwrap_or_else(|_| Err("no connection in time".to_owned()))
            .map_err(|why| format!("{} cannot be reached: {why}", self.door))
    }

    fn take(&self) -> Option<Connection> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn keep(&self, connection: Connection) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
    }
}

fn closes(answer: &Answer) -> bool {
    answer.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
}

async fn open<S>(stream: S) -> Result<Connection, Broken>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| whole(&error))?;
    let driver = tokio::spawn(async move {
        // Whoever waits for an answer learns how it ended.
        let _ = connection.await;
    });
    sender.ready().await.map_err(|error| whole(&error))?;
    Ok(Connection { sender, driver })
}

/// An error of hyper's with its causes: by itself it says "connection error".
fn whole(error: &hyper::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_read_and_what_is_not_spoken_is_said() {
        let door = |url| Door::at(url).unwrap().to_string();
        assert_eq!(door("http://photos.example:8080"), "http://photos.example:8080");
        assert_eq!(door("http://[::1]/proxied/"), "http://[::1]:80/proxied");
        for (url, said) in [
            ("https://photos.example", "https is not spoken yet"),
            ("photos.example:8080", "give http://HOST:PORT"),
            ("http://me:secret@photos.example", "neither a name and password"),
        ] {
            let error = format!("{:#}", Door::at(url).unwrap_err());
            assert!(error.contains(said), "{error}");
        }
    }
}
