//! The open loop: uploads and GETs at their own rates, over a bounded number of connections.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hdrhistogram::Histogram;
use hyper::StatusCode;
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

    fn add(&mut self, other: &Self) {
        // All have the same bounds, for which adding cannot fail.
        let _ = self.from_due.add(&other.from_due);
        let _ = self.from_sent.add(&other.from_sent);
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

    fn add(&mut self, other: Self) {
        self.got.add(&other.got);
        self.refused.add(&other.refused);
        self.accepted.add(&other.accepted);
        for (status, count) in other.statuses {
            *self.statuses.entry(status).or_default() += count;
        }
        self.broken += other.broken;
        self.first_break = self.first_break.take().or(other.first_break);
        self.unsent += other.unsent;
        self.unreadable += other.unreadable;
        self.ids.extend(other.ids);
    }

    fn count(&mut self, method: &str, status: StatusCode) {
        *self.statuses.entry(format!("{method} {}", status.as_u16())).or_default() += 1;
    }

    fn broke(&mut self, error: &anyhow::Error) {
        self.broken += 1;
        self.first_break.get_or_insert_with(|| format!("{error:#}"));
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

/// Sends everything that is due and adds up.
pub(super) async fn run(storm: Storm) -> Answers {
    let storm = Arc::new(storm);
    let uploads = Arc::new(Schedule::new(storm.uploads_per_second, storm.time));
    let gets = Arc::new(Schedule::new(storm.gets_per_second, storm.time));
    let mut workers = Vec::new();
    for _ in 0..storm.upload_connections {
        workers.push(tokio::spawn(upload(Arc::clone(&storm), Arc::clone(&uploads))));
    }
    for _ in 0..storm.get_connections {
        workers.push(tokio::spawn(get(Arc::clone(&storm), Arc::clone(&gets))));
    }
    let mut sum = Answers::new();
    for worker in workers {
        match worker.await {
            Ok(answers) => sum.add(answers),
            Err(error) => sum.broke(&anyhow::Error::new(error).context("a worker ended")),
        }
    }
    sum
}

async fn upload(storm: Arc<Storm>, schedule: Arc<Schedule>) -> Answers {
    let (mut answers, mut line) = (Answers::new(), Line::default());
    while let Some((number, due)) = schedule.take() {
        let photo = storm.photos.photo(storm.first_photo + number);
        sleep_until(due).await;
        if schedule.is_over() {
            answers.unsent += 1;
            answers.refused.record(due, due);
            continue;
        }
        let sent = Instant::now();
        match try_upload(&storm.target, &mut line, photo).await {
            Ok(answer) => answers.uploaded(&answer, due, sent),
            Err(error) => {
                line.close();
                answers.broke(&error);
            }
        }
    }
    answers
}

async fn try_upload(target: &Target, line: &mut Line, photo: Bytes) -> anyhow::Result<Answer> {
    line.open(target).await?.upload("", Unique::MIME, photo).await
}

async fn get(storm: Arc<Storm>, schedule: Arc<Schedule>) -> Answers {
    let (mut answers, mut line) = (Answers::new(), Line::default());
    while let Some((_, due)) = schedule.take() {
        sleep_until(due).await;
        if schedule.is_over() {
            answers.unsent += 1;
            answers.got.record(due, due);
            continue;
        }
        let sent = Instant::now();
        match try_get(&storm, &mut line).await {
            Ok(answer) => {
                answers.count("GET", answer.status);
                if answer.status == StatusCode::OK {
                    answers.got.record(due, sent);
                }
            }
            Err(error) => {
                line.close();
                answers.broke(&error);
            }
        }
    }
    answers
}

async fn try_get(storm: &Storm, line: &mut Line) -> anyhow::Result<Answer> {
    line.open(&storm.target).await?.get(&storm.variant).await
}
