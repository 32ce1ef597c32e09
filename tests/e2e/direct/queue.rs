//! A queue that speaks as much of SQS as is asked of it: AWS JSON 1.0.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// How long an answer waits for a message, in place of the seconds that are asked for.
const WAIT: Duration = Duration::from_millis(500);

#[derive(Default)]
struct State {
    /// Receipt, body, whether somebody works on it, and how often somebody has begun.
    messages: Vec<(u64, String, bool, u64)>,
    sent: u64,
    asked: Vec<Value>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Notify,
}

pub(super) struct Queue {
    url: String,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Queue {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/123456789012/photos", listener.local_addr().unwrap());
        let shared = Arc::<Shared>::default();
        let serving = tokio::spawn(serve(listener, shared.clone()));
        Self { url, shared, serving }
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) fn send(&self, body: &Value) {
        let mut state = self.shared.state.lock().unwrap();
        state.sent += 1;
        let receipt = state.sent;
        state.messages.push((receipt, body.to_string(), false, 0));
        self.shared.changed.notify_waiters();
    }

    /// As when the visibility of messages that are worked on has ended.
    pub(super) fn show_again(&self) {
        self.shared.state.lock().unwrap().messages.iter_mut().for_each(|message| message.2 = false);
        self.shared.changed.notify_waiters();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.shared.state.lock().unwrap().messages.is_empty()
    }

    pub(super) fn asked(&self) -> Vec<Value> {
        self.shared.state.lock().unwrap().asked.clone()
    }

    pub(super) async fn emptied(&self) {
        self.left(0).await;
    }

    /// Waits until no more than so many are there.
    pub(super) async fn left(&self, most: usize) {
        let emptied = async {
            while self.shared.state.lock().unwrap().messages.len() > most {
                let _ = timeout(WAIT, self.shared.changed.notified()).await;
            }
        };
        timeout(super::PATIENCE, emptied).await.expect("messages are left");
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let shared = shared.clone();
        let answer = service_fn(move |request| answer(shared.clone(), request));
        let connection =
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
        tokio::spawn(connection);
    }
}

async fn answer(
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let header = |name: &str| request.headers()[name].to_str().unwrap().to_owned();
    let target = header("x-amz-target");
    assert_eq!((header("content-type").as_str(), request.uri().path()), ("application/x-amz-json-1.0", "/"));
    let signed = header("authorization");
    assert!(
        signed.starts_with("AWS4-HMAC-SHA256 Credential=") && signed.contains("/eu-west-1/sqs/"),
        "{signed}"
    );
    let asked: Value =
        serde_json::from_slice(&request.into_body().collect().await.unwrap().to_bytes()).unwrap();
    let (status, told) = match &*target {
        "AmazonSQS.ReceiveMessage" => (StatusCode::OK, receive(&shared, asked).await),
        "AmazonSQS.DeleteMessage" => {
            let receipt: u64 = asked["ReceiptHandle"].as_str().unwrap().parse().unwrap();
            shared.state.lock().unwrap().messages.retain(|message| message.0 != receipt);
            shared.changed.notify_waiters();
            (StatusCode::OK, json!({}))
        }
        "AmazonSQS.ChangeMessageVisibility" => {
            shared.state.lock().unwrap().asked.push(asked);
            (StatusCode::OK, json!({}))
        }
        _ => (StatusCode::BAD_REQUEST, json!({ "__type": "com.amazonaws.sqs#InvalidAction" })),
    };
    let answer = Response::builder().status(status).body(Full::new(told.to_string().into()));
    Ok(answer.unwrap())
}

async fn receive(shared: &Shared, asked: Value) -> Value {
    assert_eq!(
        (&asked["WaitTimeSeconds"], &asked["AttributeNames"]),
        (&json!(20), &json!(["ApproximateReceiveCount"]))
    );
    let most = usize::try_from(asked["MaxNumberOfMessages"].as_u64().unwrap()).unwrap();
    assert!((1..=10).contains(&most), "{most}");
    shared.state.lock().unwrap().asked.push(asked);
    let waiting = async {
        loop {
            let changed = shared.changed.notified();
            let taken: Vec<_> = {
                let mut state = shared.state.lock().unwrap();
                let free = state.messages.iter_mut().filter(|message| !message.2).take(most);
                free.map(|message| {
                    message.2 = true;
                    message.3 += 1;
                    let receipt = message.0.to_string();
                    let attributes = json!({ "ApproximateReceiveCount": message.3.to_string() });
                    json!({
                        "MessageId": receipt, "ReceiptHandle": receipt, "Body": message.1, "Attributes": attributes
                    })
                })
                .collect()
            };
            if !taken.is_empty() {
                return json!({ "Messages": taken });
            }
            changed.await;
        }
    };
    timeout(WAIT, waiting).await.unwrap_or_else(|_| json!({}))
}
