//! Batches: many uploads followed as one.
//!
//! - `counting`: counts and items; `events`: as they change; `checking`: what is to be sent.

mod checking;
mod counting;
mod events;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use darkroom_tests::{Answer, Client};
use hyper::{Method, StatusCode};
use serde_json::Value;

/// How long a condition may take to come true.
const PATIENCE: Duration = Duration::from_secs(120);

/// One batch and its daemon.
pub(super) struct Batch {
    pub(super) client: Client,
    pub(super) id: String,
}

impl Batch {
    pub(super) async fn open(client: &Client, wanted: &Value) -> Self {
        let answer = client.send(Method::POST, "/v1/batches", &[], wanted.to_string()).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
        let id = answer.json()["id"].as_str().unwrap().to_owned();
        assert_eq!(answer.header("location"), format!("/v1/batches/{id}"));
        Self { client: client.clone(), id }
    }

    pub(super) fn path(&self, rest: &str) -> String {
        format!("/v1/batches/{}{rest}", self.id)
    }

    pub(super) async fn upload(&self, name: &str, body: impl Into<Bytes>) -> Answer {
        let path = format!("/v1/photos?batch_id={}&filename={name}", self.id);
        self.client.send(Method::POST, &path, &[], body).await
    }

    async fn show(&self) -> Value {
        let answer = self.client.get(&self.path("")).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        answer.json()
    }

    pub(super) async fn post(&self, what: &str, body: impl Into<Bytes>) -> Answer {
        self.client.send(Method::POST, &self.path(what), &[], body).await
    }

    /// The batch once nothing of it is being processed, audited.
    pub(super) async fn settled(&self) -> Value {
        let began = Instant::now();
        loop {
            let batch = self.show().await;
            if batch["counts"]["processing"] == 0 {
                self.audit(&batch).await;
                return batch;
            }
            assert!(began.elapsed() < PATIENCE, "never settled: {batch}");
            tokio::time::sleep(Duration::from_millis(20)).await; // Polling for the condition.
        }
    }

    /// Every item, by pages of three.
    async fn items(&self, state: &str) -> Vec<Value> {
        let (mut items, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = self.client.get(&self.path(&format!("/items?limit=3{state}{cursor}"))).await.json();
            items.extend(page["items"].as_array().unwrap_or_else(|| panic!("{page}")).iter().cloned());
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return items,
            }
        }
    }

    /// Every item, as lines.
    async fn lines(&self) -> Vec<Value> {
        let answer = self.client.get_with(&self.path("/items"), &[("accept", "application/x-ndjson")]).await;
        assert_eq!(answer.header("content-type"), "application/x-ndjson");
        let text = std::str::from_utf8(&answer.body).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The counts are those of the items, found in whichever way, and they sum.
    async fn audit(&self, batch: &Value) {
        let items = self.items("").await;
        assert_eq!(self.lines().await, items);
        let count = |name: &str| batch["counts"][name].as_u64().unwrap();
        let mut found = 0;
        for (state, name) in [
            ("processing", "processing"),
            ("ready", "ready"),
            ("failed", "failed"),
            ("deleted", "deleted"),
            ("duplicate", "duplicates"),
            ("refused", "refused"),
        ] {
            let listed = self.items(&format!("&state={state}")).await;
            assert_eq!(listed.len() as u64, count(name), "{state} of {batch}");
            assert!(listed.iter().all(|item| item["state"] == state));
            found += listed.len();
        }
        assert_eq!(found, items.len());
        let sum = ["processing", "ready", "failed", "deleted", "duplicates"].map(count).iter().sum::<u64>();
        assert_eq!(count("received"), sum, "{batch}");
        let bytes = items.iter().filter(|item| item["state"] != "refused");
        assert_eq!(bytes.map(|item| item["bytes"].as_u64().unwrap()).sum::<u64>(), batch["bytes"]);
    }
}

pub(super) fn counts(batch: &Value) -> BTreeMap<&str, u64> {
    let counts = batch["counts"].as_object().unwrap().iter();
    counts.map(|(name, count)| (name.as_str(), count.as_u64().unwrap())).filter(|(_, n)| *n > 0).collect()
}
