//! Accepts connections, speaks HTTP/1.1 and h2c, and drains.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Version};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::activity::{Activity, Still};
use crate::caller::ClientKey;
use crate::limits::places::{Place, Places, Room};
use crate::limits::refused;
use crate::linger::Lingering;
use crate::problem::Problem;
use crate::response::Answer;
use crate::{Api, HttpOptions, routes};

/// What an h2 stream may hold that its client has not taken.
const H2_SEND_BYTES_MAX: usize = 64 * 1024;
/// Streams that a client has reset before they were taken up (CVE-2023-44487), and that we have reset for its errors:
/// beyond either an h2 connection is closed. Frames of headers and empty frames of data are bounded by the h2 crate, which
/// also keeps no more than one PING and one SETTINGS to be answered. Honest clients come to some hundreds of the latter: what
/// still arrives of a body that was refused counts, once its stream is forgotten.
const H2_RESETS_PENDING_MAX: usize = 20;
const H2_RESETS_BY_ERRORS_MAX: usize = 1024;
/// Wait after a failed accept: most often the process is out of file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// Whether there is room for one more connection's requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crowd {
    /// There is.
    Room,
    /// There is not: only health and metrics are answered.
    TooMany,
    /// This client has too many.
    TooManyOfClient,
}

impl Crowd {
    /// What its requests are answered.
    pub(crate) fn problem(self) -> Option<Problem> {
        let (reason, code, detail) = match self {
            Self::Room => return None,
            Self::TooMany => (
                "connections",
                "too-many-connections",
                "as many connections or requests are open as may be, and more of yours than of others; try again",
            ),
            Self::TooManyOfClient => (
                "client_connections",
                "too-many-client-connections",
                "as many of your connections are open as may be: use those, or close some",
            ),
        };
        refused(reason);
        Some(Problem::new(code, detail).retry_after(1))
    }
}

/// Where connections come from.
pub enum Listener {
    /// The network.
    Tcp(TcpListener),
    /// This machine.
    Unix(UnixListener),
}

/// Serves connections until `stop` is cancelled, then finishes the requests that run and returns.
pub async fn serve(api: Api, listener: Listener, stop: CancellationToken) {
    let connections = TaskTracker::new();
    let house = House::new(api);
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener) => accepted,
            () = stop.cancelled() => break,
        };
        let stream = match accepted {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(%error, "could not accept a connection");
                tokio::time::sleep(ACCEPT_RETRY).await;
                continue;
            }
        };
        let client = stream.client();
        let Some((place, crowd)) = house.enter(client) else {
            refused("connections_closed");
            drop(stream);
            continue;
        };
        let (guest, stop) = (Guest { house: house.clone(), client, crowd }, stop.clone());
        connections.spawn(async move {
            let _place = place;
            match stream {
                Stream::Tcp(stream, _) => connection(guest, stream, stop).await,
                Stream::Unix(stream) => connection(guest, stream, stop).await,
            }
        });
    }
    drop(listener);
    connections.close();
    connections.wait().await;
    house.api.write_downloads().await;
}

/// What all connections of a listener share. Cheap to clone.
#[derive(Clone)]
struct House {
    api: Api,
    connections: Places<ClientKey>,
    /// Requests on HTTP/2.
    requests: Places<ClientKey>,
}

impl House {
    fn new(api: Api) -> Self {
        let options = api.options();
        let (connections, requests) =
            (Places::new(options.connections_max), Places::new(options.h2_requests_max));
        Self { api, connections, requests }
    }

    /// One more connection of this client; `None` if it is not to be answered at all.
    fn enter(&self, client: ClientKey) -> Option<(Connected, Crowd)> {
        let max_of_client = match (self.api.options().connections_per_client_max, client) {
            (0, _) | (_, ClientKey::Local) => usize::MAX,
            (max, _) => max,
        };
        let (place, room, of_client) = self.connections.enter(client);
        if room == Room::NoneAtAll || of_client > max_of_client.saturating_mul(2) {
            return None;
        }
        let crowd = match room {
            _ if of_client > max_of_client => Crowd::TooManyOfClient,
            Room::Enough => Crowd::Room,
            _ => Crowd::TooMany,
        };
        Some((Connected::new(place), crowd))
    }
}

/// One open connection, counted.
struct Connected(#[expect(dead_code, reason = "held for its drop")] Place<ClientKey>);

impl Connected {
    fn new(place: Place<ClientKey>) -> Self {
        metrics::gauge!("darkroom_http_connections").increment(1.0);
        Self(place)
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        metrics::gauge!("darkroom_http_connections").decrement(1.0);
    }
}

enum Stream {
    Tcp(tokio::net::TcpStream, ClientKey),
    Unix(tokio::net::UnixStream),
}

impl Stream {
    fn client(&self) -> ClientKey {
        match self {
            Self::Tcp(_, client) => *client,
            Self::Unix(_) => ClientKey::Local,
        }
    }
}

async fn accept(listener: &Listener) -> io::Result<Stream> {
    match listener {
        Listener::Tcp(listener) => {
            let (stream, peer) = listener.accept().await?;
            // Answers are written whole: waiting to fill a segment would only delay them.
            stream.set_nodelay(true)?;
            Ok(Stream::Tcp(stream, ClientKey::of(peer)))
        }
        Listener::Unix(listener) => Ok(Stream::Unix(listener.accept().await?.0)),
    }
}

/// Whoever is at the other end of a connection.
#[derive(Clone)]
struct Guest {
    house: House,
    client: ClientKey,
    crowd: Crowd,
}

impl Guest {
    async fn answer(self, request: Request<Incoming>, activity: Activity) -> Answer {
        let _asked = activity.asked();
        let Self { house, client, mut crowd } = self;
        // On HTTP/1.1 there is one request for each connection, which are counted.
        let is_h2 = request.version() >= Version::HTTP_2;
        let entered = is_h2.then(|| house.requests.enter(client));
        let place = entered.and_then(|(place, room, _)| (room == Room::Enough).then_some(place));
        if is_h2 && place.is_none() && crowd == Crowd::Room {
            crowd = Crowd::TooMany;
        }
        let answer = routes::answer(house.api, request, client, crowd).await;
        activity.sending(answer, place)
    }
}

async fn connection<S>(guest: Guest, stream: S, stop: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let api = guest.house.api.clone();
    let options = api.options();
    let activity = Activity::new();
    let stream = Lingering::new(stream, options);
    let builder = protocol(options);
    let service = {
        let activity = activity.clone();
        service_fn(move |request| {
            let answer = guest.clone().answer(request, activity.clone());
            async move { Ok::<_, Infallible>(answer.await) }
        })
    };
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let mut stopping = false;
    loop {
        let still = activity.still(options.header_timeout, options.body_timeout);
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(error, "a connection ended early");
                }
                return;
            }
            () = stop.cancelled(), if !stopping => {}
            still = still => {
                if stopping || still == Still::Stuck {
                    tracing::debug!(?still, "a connection on which nothing moves is closed");
                    return;
                }
                // So long it has to end in order.
                activity.moves();
            }
        }
        stopping = true;
        connection.as_mut().graceful_shutdown();
    }
}

fn protocol(options: &HttpOptions) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(options.header_timeout)
        .max_headers(options.headers_max)
        .max_buf_size(options.header_bytes_max as usize);
    builder
        .http2()
        .timer(TokioTimer::new())
        // What a client sends before anybody reads it is held without a permit: it counts for each connection, and so one
        // stream may have all of it.
        .initial_stream_window_size(options.h2_window_bytes)
        .initial_connection_window_size(options.h2_window_bytes)
        .max_concurrent_streams(options.h2_streams_max)
        .max_send_buf_size(H2_SEND_BYTES_MAX)
        .max_header_list_size(options.header_bytes_max)
        .max_pending_accept_reset_streams(H2_RESETS_PENDING_MAX)
        .max_local_error_reset_streams(H2_RESETS_BY_ERRORS_MAX)
        .keep_alive_interval(Some(options.body_idle_timeout))
        .keep_alive_timeout(options.header_timeout);
    builder
}
