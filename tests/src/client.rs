//! Requests, and photos as clients see them.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

/// How long a photo may take to be settled, and a condition to come true.
const PATIENCE: Duration = Duration::from_secs(180);

/// Speaks to one daemon, one connection per request.
#[derive(Clone)]
pub struct Client {
    address: String,
    /// Sent with every request.
    bearer: Option<String>,
}

/// An answer, whole.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("no JSON ({e}): {} {:?}", self.status, self.body))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The problem's code; panics where the answer is no problem.
    pub fn problem(&self) -> String {
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        let problem = self.json();
        assert_eq!(problem["status"], self.status.as_u16(), "{problem}");
        assert!(!problem["detail"].as_str().unwrap().is_empty(), "{problem}");
        problem["type"].as_str().unwrap().strip_prefix("/problems/").unwrap().to_owned()
    }
}

impl Client {
    pub fn new(url: &str) -> Self {
        Self { address: url.strip_prefix("http://").unwrap().to_owned(), bearer: None }
    }

    /// The same, as whoever has this token or key.
    #[must_use]
    pub fn bearing(&self, credential: &str) -> Self {
        Self { bearer: Some(credential.to_owned()), ..self.clone() }
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    /// Sends a request; an error when the connection breaks.
    pub async fn try_send(&self, request: Request<Full<Bytes>>) -> anyhow::Result<Answer> {
        let stream = TcpStream::connect(&self.address).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let answer = sender.send_request(request).await?;
        let (head, body) = answer.into_parts();
        let body = body.collect().await?.to_bytes();
        drop(sender);
        connection.abort();
        Ok(Answer { status: head.status, headers: head.headers, body })
    }

    /// Sends a request over HTTP/2 with prior knowledge.
    pub async fn send_h2(&self, method: Method, path: &str, body: Bytes) -> Answer {
        self.send_h2_over(TcpStream::connect(&self.address).await.unwrap(), method, path, body).await
    }

    /// The same over a connection that is open already.
    pub async fn send_h2_over(&self, stream: TcpStream, method: Method, path: &str, body: Bytes) -> Answer {
        let executor = hyper_util::rt::TokioExecutor::new();
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(executor, TokioIo::new(stream)).await.unwrap();
        let connection = tokio::spawn(connection);
        let uri = format!("http://{}{path}", self.address);
        let request = Request::builder().method(method).uri(uri).body(Full::new(body)).unwrap();
        let (head, body) = sender.send_request(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        connection.abort();
        Answer { status: head.status, headers: head.headers, body }
    }

    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        self.try_send(self.request(method, path, headers, body.into())).await.unwrap()
    }

    pub fn request(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Request<Full<Bytes>> {
        let mut request = Request::builder().method(method).uri(path).header("host", &self.address);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(bearer) = &self.bearer {
            request = request.header("authorization", format!("Bearer {bearer}"));
        }
        request.body(Full::new(body)).unwrap()
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], Bytes::new()).await
    }

    pub async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.send(Method::GET, path, headers, Bytes::new()).await
    }

    /// Sends JSON.
    pub async fn send_json(&self, method: Method, path: &str, body: &Value) -> Answer {
        self.send(method, path, &[("content-type", "application/json")], body.to_string()).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send_json(Method::POST, path, body).await
    }

    pub async fn put(&self, path: &str) -> Answer {
        self.send(Method::PUT, path, &[], Bytes::new()).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, &[], Bytes::new()).await
    }

    /// Uploads a photo as a raw body.
    pub async fn upload(&self, photo: &Bytes) -> Answer {
        self.send(Method::POST, "/v1/photos", &[], photo.clone()).await
    }

    /// Uploads a photo and waits until it is settled; its record.
    pub async fn upload_settled(&self, photo: &Bytes) -> Value {
        let answer = self.upload(photo).await;
        assert!(answer.status.is_success(), "{answer:?}");
        self.settled(answer.json()["id"].as_str().unwrap()).await
    }

    /// The photo once it is ready or failed.
    pub async fn settled(&self, id: &str) -> Value {
        let began = Instant::now();
        loop {
            let answer = self.get_with(&format!("/v1/photos/{id}"), &[("prefer", "wait=5")]).await;
            assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
            let photo = answer.json();
            if photo["state"] != "processing" {
                return photo;
            }
            assert!(began.elapsed() < PATIENCE, "photo {id} is never settled");
        }
    }

    /// Every photo, over all pages.
    pub async fn all(&self) -> Vec<Value> {
        let (mut photos, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = self.get(&format!("/v1/photos?limit=200{cursor}")).await.json();
            photos.extend(page["items"].as_array().unwrap().iter().cloned());
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return photos,
            }
        }
    }

    pub async fn actors(&self) -> Value {
        self.get("/v1/admin/actors").await.json()
    }

    /// Sweeps, and returns the report.
    pub async fn sweep(&self) -> Value {
        let answer = self.send(Method::POST, "/v1/admin/janitor", &[], Bytes::new()).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        answer.json()
    }

    /// The value of a metric's line, 0 without it.
    pub async fn metric(&self, line: &str) -> f64 {
        let text = self.get("/metrics").await;
        let text = std::str::from_utf8(&text.body).unwrap();
        let value = text.lines().find_map(|found| found.strip_prefix(line)?.strip_prefix(' '));
        value.map_or(0.0, |value| value.parse().unwrap())
    }

    /// How many bytes a GET answers with, and their BLAKE3, without holding them all.
    pub async fn hash_of(&self, path: &str) -> (u64, blake3::Hash) {
        let stream = TcpStream::connect(&self.address).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        let connection = tokio::spawn(connection);
        let request = self.request(Method::GET, path, &[], Bytes::new());
        let mut answer = sender.send_request(request).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        let (mut bytes, mut hasher) = (0, blake3::Hasher::new());
        while let Some(frame) = answer.frame().await {
            if let Ok(data) = frame.unwrap().into_data() {
                bytes += data.len() as u64;
                hasher.update(&data);
            }
        }
        connection.abort();
        (bytes, hasher.finalize())
    }

    /// Waits until so much of a budget is held.
    pub async fn holds(&self, budget: &str, used: u64) {
        let began = Instant::now();
        loop {
            let tree = self.actors().await;
            let mut budgets = tree["budgets"].as_array().unwrap().iter();
            if budgets.any(|found| found["name"] == budget && found["used"] == used) {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{budget} is never held: {tree}");
            tokio::time::sleep(Duration::from_millis(5)).await; // Polling for the condition.
        }
    }

    /// Waits until nothing is held any more: no slot, no byte, no job.
    pub async fn idle(&self) -> Value {
        let began = Instant::now();
        loop {
            let tree = self.actors().await;
            let used = tree["budgets"].as_array().unwrap().iter().any(|budget| budget["used"] != 0);
            if !used && tree["held_jobs"] == 0 {
                return tree;
            }
            assert!(began.elapsed() < PATIENCE, "something is never given back: {tree}");
            tokio::time::sleep(Duration::from_millis(20)).await; // Polling for the condition.
        }
    }
}
