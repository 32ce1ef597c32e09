//! The open loop: uploads and GETs at their own rates, over a bounded number of connections.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hdrhistogram::Histogram;
use hyper::StatusCode;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::schedule::Schedule;
use crate::connection::{Answer, Target};
use crate::unique::Unique;
use crate::upload::load::{Line, PhotoRecord, is_refusal, latency_histogram};

/// What is sent, how often, and for how long.
#[derive(Debug, Clone)]
pub(super) struct Storm {
    pub(super) target: Target,
    pub(super) photos: Unique,
    /// The number of the first photo: none is sent twice.
    pub(super) first_photo: u64,
    /// What is asked for beside.
    pub(super) variant: String,
    pub(super) uploads_per_second: f64,
    pub(super) gets_per_second: f64,
    pub(super) upload_connections: u16,
    pub(super) get_connections: u16,
    pub(super) time: Duration,
}

/// Latencies of one kind of answer.
#[derive(Debug, Clone)]
pub(super) struct Latencies {
    /// From when the request was due to the last byte of its answer, in microseconds.
    pub(super) from_due: Histogram<u64>,
    /// From when it was sent, the opening of its connection included.
    pub(super) from_sent: Histogram<u64>,
}

/// What came of it.
#[derive(Debug, Clone)]
pub(super) struct Answers {
    /// Of GETs that were answered with the variant.
    pub(super) got: Latencies,
    /// Of uploads that were refused: 503 and 429.
    pub(super) refused: Latencies,
    /// Of uploads that were acknowledged.
    pub(super) accepted: Latencies,
    /// How many answers of each kind: method and status.
    pub(super) statuses: BTreeMap<String, u64>,
    /// Requests without an answer: the connection could not be opened, or broke.
    pub(super) broken: u64,
    pub(super) first_break: Option<String>,
    /// Requests that were due and could not be sent before the time was over. They count as GETs or refusals that took
    /// until then, which is less than they would have taken.
    pub(super) unsent: u64,
    /// Answers of refusal without a problem that says when to come back.
    pub(super) unreadable: u64,
    /// The acknowledged photos.
    pub(super) ids: Vec<String>,
}

impl Latencies {
    fn new() -> Self {
        Self { from_due: latency_histogram(), from_sent: latency_histogram() }
    }

    fn record(&mut self, due: Instant, sent: Instant) {
        self.from_due.saturating_record(due.elapsed().as_micros() as u64);
        self.from_sent.saturating_record(sent.elapsed().as_micros() as u64);
    }
}

impl Answers {
    fn new() -> Self {
        Self {
            got: Latencies::new(),
            refused: Latencies::new(),
            accepted: Latencies::new(),
            statuses: BTreeMap::new(),
            broken: 0,
            first_break: None,
            unsent: 0,
            unreadable: 0,
            ids: Vec::new(),
        }
    }

    fn count(&mut self, method: &str, status: StatusCode) {
        *self.statuses.entry(format!("{method} {}", status.as_u16())).or_default() += 1;
    }

    fn broke(&mut self, error: &anyhow::Error) {
        self.broken += 1;
        self.first_break.get_or_insert_with(|| format!("{error:#}"));
    }

    fn got(&mut self, answer: &Answer, due: Instant, sent: Instant) {
        self.count("GET", answer.status);
        if answer.status == StatusCode::OK {
            self.got.record(due, sent);
        }
    }

    fn uploaded(&mut self, answer: &Answer, due: Instant, sent: Instant) {
        self.count("POST", answer.status);
        if is_refusal(answer.status) {
            self.refused.record(due, sent);
            self.unreadable += u64::from(!is_readable(answer));
        } else if answer.status.is_success() {
            match serde_json::from_slice::<PhotoRecord>(&answer.body) {
                Ok(record) => {
                    self.accepted.record(due, sent);
                    self.ids.push(record.id);
                }
                Err(error) => self.broke(&anyhow::Error::new(error).context("a photo without a record")),
            }
        }
    }
}

/// Whether a refusal says what is the matter and when to come back.
fn is_readable(answer: &Answer) -> bool {
    let problem: Option<serde_json::Value> = serde_json::from_slice(&answer.body).ok();
    problem.is_some_and(|problem| problem["type"].is_string()) && answer.retry_after.is_some()
}

/// What all workers share. Each with histograms of its own would zero hundreds of megabytes in the storm's first second.
struct Shared {
    storm: Storm,
    uploads: Schedule,
    gets: Schedule,
    answers: Mutex<Answers>,
}

impl Shared {
    fn answers(&self) -> MutexGuard<'_, Answers> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends everything that is due and adds up.
pub(super) async fn run(storm: Storm) -> Answers {
    let shared = Arc::new(Shared {
        answers: Mutex::new(Answers::new()),
        uploads: Schedule::new(storm.uploads_per_second, storm.time),
        gets: Schedule::new(storm.gets_per_second, storm.time),
        storm,
    });
    let mut workers = JoinSet::new();
    for _ in 0..shared.storm.upload_connections {
        workers.spawn(upload(Arc::clone(&shared)));
    }
    for _ in 0..shared.storm.get_connections {
        workers.spawn(get(Arc::clone(&shared)));
    }
    while let Some(ended) = workers.join_next().await {
        if let Err(error) = ended {
            shared.answers().broke(&anyhow::Error::new(error).context("a worker ended"));
        }
    }
    std::mem::replace(&mut *shared.answers(), Answers::new())
}

async fn upload(shared: Arc<Shared>) {
    let (storm, mut line) = (&shared.storm, Line::default());
    while let Some((number, due)) = shared.uploads.take() {
        let photo = storm.photos.photo(storm.first_photo + number);
        sleep_until(due).await;
        if shared.uploads.is_over() {
            let mut answers = shared.answers();
            answers.unsent += 1;
            answers.refused.record(due, due);
            continue;
        }
        let sent = Instant::now();
        match try_upload(&storm.target, &mut line, photo).await {
            Ok(answer) => shared.answers().uploaded(&answer, due, sent),
            Err(error) => {
                line.close();
                shared.answers().broke(&error);
            }
        }
    }
}

async fn try_upload(target: &Target, line: &mut Line, photo: Bytes) -> anyhow::Result<Answer> {
    line.open(target).await?.upload("", Unique::MIME, photo).await
}

async fn get(shared: Arc<Shared>) {
    let mut line = Line::default();
    while let Some((_, due)) = shared.gets.take() {
        sleep_until(due).await;
        if shared.gets.is_over() {
            let mut answers = shared.answers();
            answers.unsent += 1;
            answers.got.record(due, due);
            continue;
        }
        let sent = Instant::now();
        match try_get(&shared.storm, &mut line).await {
            Ok(answer) => shared.answers().got(&answer, due, sent),
            Err(error) => {
                line.close();
                shared.answers().broke(&error);
            }
        }
    }
}

async fn try_get(storm: &Storm, line: &mut Line) -> anyhow::Result<Answer> {
    line.open(&storm.target).await?.get(&storm.variant).await
}
