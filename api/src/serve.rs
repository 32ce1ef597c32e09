//! Accepts connections, speaks HTTP/1.1 and h2c, and drains.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::caller::ClientKey;
use crate::linger::Lingering;
use crate::{Api, HttpOptions, routes};

/// Largest read of a connection at once: a part of an upload's window.
const READ_BYTES_MAX: usize = 192 * 1024;
/// What an h2 stream may send ahead. With the object store's windows it stays below an upload's window.
const H2_STREAM_WINDOW: u32 = 256 * 1024;
/// What an h2 connection may send ahead, in all its streams.
const H2_CONNECTION_WINDOW: u32 = 512 * 1024;
/// What an h2 stream may hold that its client has not taken.
const H2_SEND_BYTES_MAX: usize = 64 * 1024;
/// Requests at once on one h2 connection.
const H2_STREAMS_MAX: u32 = 32;
/// Bytes of headers.
const HEADER_BYTES_MAX: u32 = 32 * 1024;
/// Wait after a failed accept: most often the process is out of file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// Whether there is room for one more connection's requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crowd {
    /// There is.
    Room,
    /// There is not: only health and metrics are answered.
    TooMany,
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
    let open = Arc::new(AtomicUsize::new(0));
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
        let count = open.fetch_add(1, Ordering::Relaxed) + 1;
        metrics::gauge!("darkroom_http_connections").increment(1.0);
        let max = api.options().connections_max;
        let (api, stop, place) = (api.clone(), stop.clone(), Place(open.clone()));
        if count > max * 2 {
            drop((stream, place));
            continue;
        }
        let crowd = if count > max { Crowd::TooMany } else { Crowd::Room };
        connections.spawn(async move {
            let _place = place;
            match stream {
                Stream::Tcp(stream, client) => connection(api, stream, client, crowd, stop).await,
                Stream::Unix(stream) => connection(api, stream, ClientKey::Local, crowd, stop).await,
            }
        });
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

/// One open connection, counted.
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
        metrics::gauge!("darkroom_http_connections").decrement(1.0);
    }
}

enum Stream {
    Tcp(tokio::net::TcpStream, ClientKey),
    Unix(tokio::net::UnixStream),
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

async fn connection<S>(api: Api, stream: S, client: ClientKey, crowd: Crowd, stop: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let options = api.options();
    let stream = Lingering::new(stream, options);
    let builder = protocol(options);
    let service = service_fn(move |request| {
        let api = api.clone();
        async move { Ok::<_, Infallible>(routes::answer(api, request, client, crowd).await) }
    });
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let mut stopping = false;
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(error, "a connection ended early");
                }
                return;
            }
            () = stop.cancelled(), if !stopping => {
                stopping = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

fn protocol(options: &HttpOptions) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(options.header_timeout)
        .max_buf_size(READ_BYTES_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .initial_stream_window_size(H2_STREAM_WINDOW)
        .initial_connection_window_size(H2_CONNECTION_WINDOW)
        .max_concurrent_streams(H2_STREAMS_MAX)
        .max_send_buf_size(H2_SEND_BYTES_MAX)
        .max_header_list_size(HEADER_BYTES_MAX)
        .keep_alive_interval(Some(options.body_idle_timeout))
        .keep_alive_timeout(options.header_timeout);
    builder
}
