//! The server: a listener that can be gone and come back, on threads of its own, so that a test that waits for another
//! process does not keep it from answering.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use s3s::service::S3ServiceBuilder;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::Runtime;
use tokio::task::{JoinHandle, JoinSet};

use crate::bucket::{Bucket, Keys, Stored};
use crate::faults::Faults;
use crate::layer::{Layer, Seen};
use crate::manner::Manner;
use crate::{BUCKET, KEY_ID, SECRET_KEY};

/// Connections that wait to be taken.
const LISTEN_BACKLOG: u32 = 1024;

/// An S3 server with one empty bucket on a port of this machine. Gone when dropped.
pub struct Server {
    layer: Arc<Layer>,
    bucket: Bucket,
    connections: Arc<Mutex<JoinSet<()>>>,
    accepting: Mutex<Option<JoinHandle<()>>>,
    /// Bound and never listening: nobody else gets the port while the server is gone.
    _port: TcpSocket,
    address: SocketAddr,
    runtime: Option<Runtime>,
    _home: TempDir,
}

impl Server {
    pub fn start() -> Self {
        Self::start_as(Manner::default())
    }

    /// One that answers as this one would.
    pub fn start_as(manner: Manner) -> Self {
        let home = tempfile::tempdir().unwrap();
        let bucket = Bucket::new(home.path(), BUCKET, manner);
        let mut builder = S3ServiceBuilder::new(bucket.clone());
        builder.set_auth(Keys { id: KEY_ID, secret: SECRET_KEY });
        let layer = Layer::new(builder.build(), manner);
        let port = reusable("127.0.0.1:0".parse().unwrap());
        let address = port.local_addr().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("s3")
            .enable_all()
            .build()
            .unwrap();
        let server = Self {
            layer: Arc::new(layer),
            bucket,
            connections: Arc::default(),
            accepting: Mutex::default(),
            _port: port,
            address,
            runtime: Some(runtime),
            _home: home,
        };
        server.come_back();
        server
    }

    /// `http://127.0.0.1:…`
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What is to go wrong.
    pub fn faults(&self) -> &Faults {
        &self.layer.faults
    }

    /// Requests have to be signed for this region from now on.
    pub fn only_in(&self, region: &'static str) {
        *self.layer.region.lock().unwrap() = Some(region);
    }

    /// Every object in the bucket and its size, by key.
    pub fn objects(&self) -> BTreeMap<String, u64> {
        self.bucket.objects()
    }

    /// Keys of multipart uploads that were begun and neither completed nor aborted.
    pub fn open_uploads(&self) -> Vec<String> {
        self.bucket.open_uploads()
    }

    /// Puts an object into the bucket, as if somebody else had.
    pub fn put(&self, key: &str, bytes: &[u8]) {
        self.bucket.put(key, bytes);
    }

    /// Changes one bit of an object, as a bad disk does: no checksum that was kept with it is its own any more.
    pub fn damage(&self, key: &str) {
        self.bucket.damage(key);
    }

    /// How an object was asked to be stored.
    pub fn stored(&self, key: &str) -> Option<Stored> {
        self.bucket.stored(key)
    }

    /// The requests that have come so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.layer.seen.lock().unwrap().clone()
    }

    /// From now on no connection is taken, and those that were are broken.
    pub async fn go(&self) {
        let accepting = self.accepting.lock().unwrap().take();
        if let Some(accepting) = accepting {
            accepting.abort();
            let _ = accepting.await;
        }
        let mut connections = std::mem::take(&mut *self.connections.lock().unwrap());
        connections.shutdown().await;
    }

    /// As [`Server::come_back`], where it may be there.
    pub fn come_back_if_gone(&self) {
        if self.accepting.lock().unwrap().is_none() {
            self.come_back();
        }
    }

    /// The server is there again, at the same address, with what it had.
    pub fn come_back(&self) {
        let runtime = self.runtime.as_ref().expect("until it is dropped");
        let _guard = runtime.enter();
        let listener = reusable(self.address).listen(LISTEN_BACKLOG).unwrap();
        let (layer, connections) = (self.layer.clone(), self.connections.clone());
        let accepting = runtime.spawn(accept(listener, layer, connections));
        *self.accepting.lock().unwrap() = Some(accepting);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A runtime that is merely dropped waits for its threads, which async code must not.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A socket whose address others that are made so can have too, as long as one alone listens.
fn reusable(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(address).unwrap();
    socket
}

async fn accept(listener: TcpListener, layer: Arc<Layer>, connections: Arc<Mutex<JoinSet<()>>>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let mut connections = connections.lock().unwrap();
        connections.spawn(serve(stream, layer.clone()));
        // Those that have ended.
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(stream: TcpStream, layer: Arc<Layer>) {
    stream.set_nodelay(true).unwrap();
    let answer = service_fn(|request| layer.clone().answer(request));
    // An error is a connection that a fault or the client has broken.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
}
