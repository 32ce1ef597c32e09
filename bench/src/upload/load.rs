//! Sharing out the uploads among the connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::anyhow;
use bytes::Bytes;
use hdrhistogram::Histogram;
use hyper::StatusCode;
use indicatif::ProgressBar;
use serde::Deserialize;

use crate::connection::{Answer, Connection, Target};
use crate::folder::Photo;
use crate::unique::Unique;

/// Connection errors in a row after which an upload counts as failed.
const BREAKS_MAX: u32 = 3;
/// How long an upload that is refused for being too much is tried again, before it counts as failed.
const REFUSED_SECONDS_MAX: u64 = 600;
/// Longest that one `Retry-After` is honoured.
const RETRY_AFTER_SECONDS_MAX: u64 = 60;
/// Pause after a refusal without `Retry-After`, and after a connection that broke.
const PAUSE: Duration = Duration::from_millis(500);

/// How much to send.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Amount {
    /// So many uploads.
    Uploads(u64),
    /// As many as go, for so long.
    For(Duration),
}

/// What is sent, and whereto.
#[derive(Debug)]
pub(crate) struct Load {
    pub(crate) target: Target,
    pub(crate) photos: Source,
    pub(crate) amount: Amount,
    /// What stands behind the path, with its `?`, or nothing.
    pub(crate) query: String,
}

/// Where photos come from.
#[derive(Debug)]
pub(crate) enum Source {
    /// From a folder, one after the other, round and round.
    Folder(Vec<Photo>),
    /// Each is new.
    Unique(Unique),
}

/// What one upload sends.
struct Sent {
    name: String,
    mime: &'static str,
    bytes: Bytes,
}

impl Source {
    fn photo(&self, number: u64) -> Sent {
        match self {
            Self::Folder(photos) => {
                let photo = &photos[(number % photos.len() as u64) as usize];
                Sent { name: photo.name.clone(), mime: photo.format.mime(), bytes: photo.bytes.clone() }
            }
            Self::Unique(unique) => {
                Sent { name: format!("photo {number}"), mime: Unique::MIME, bytes: unique.photo(number) }
            }
        }
    }
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Uploaded {
    /// From the first byte of a request to the last of its answer, for acknowledged uploads, in microseconds.
    pub(crate) latency: Histogram<u64>,
    pub(crate) created: u64,
    pub(crate) duplicates: u64,
    /// Answers 503 and 429, each followed by the pause that the server asked for.
    pub(crate) refusals: u64,
    pub(crate) failures: u64,
    /// Connections opened beyond the first of each worker.
    pub(crate) reconnections: u64,
    /// Bytes of acknowledged photos.
    pub(crate) bytes: u64,
    pub(crate) ids: Vec<String>,
    pub(crate) first_failure: Option<String>,
}

/// The part of a photo's record that is looked at.
#[derive(Debug, Deserialize)]
pub(crate) struct PhotoRecord {
    pub(crate) id: String,
    pub(crate) state: String,
}

impl Uploaded {
    fn new() -> Self {
        Self {
            latency: latency_histogram(),
            created: 0,
            duplicates: 0,
            refusals: 0,
            failures: 0,
            reconnections: 0,
            bytes: 0,
            ids: Vec::new(),
            first_failure: None,
        }
    }

    fn add(&mut self, other: Self) {
        // Both have the same bounds, for which adding cannot fail.
        let _ = self.latency.add(&other.latency);
        self.created += other.created;
        self.duplicates += other.duplicates;
        self.refusals += other.refusals;
        self.failures += other.failures;
        self.reconnections += other.reconnections;
        self.bytes += other.bytes;
        self.ids.extend(other.ids);
        self.first_failure = self.first_failure.take().or(other.first_failure);
    }

    fn fail(&mut self, reason: String) {
        self.failures += 1;
        self.first_failure.get_or_insert(reason);
    }
}

/// Longest latency that is told apart, in microseconds: longer than any upload is tried.
const LATENCY_MICROS_MAX: u64 = 2 * REFUSED_SECONDS_MAX * 1_000_000;

/// Microseconds, to three digits. With fixed bounds: one that grows by itself would saturate at its first ones.
pub(crate) fn latency_histogram() -> Histogram<u64> {
    #[expect(clippy::expect_used, reason = "constant arguments, which are valid: 3 is among 0 to 5")]
    Histogram::new_with_bounds(1, LATENCY_MICROS_MAX, 3).expect("valid bounds")
}

/// What the workers share.
struct Shared {
    load: Load,
    next: AtomicU64,
    deadline: Option<Instant>,
    bar: ProgressBar,
}

/// Sends everything and adds up.
pub(crate) async fn run(load: Load, connections: u16, bar: ProgressBar) -> Uploaded {
    let deadline = match load.amount {
        Amount::For(time) => Some(Instant::now() + time),
        Amount::Uploads(_) => None,
    };
    let shared = Arc::new(Shared { load, next: AtomicU64::new(0), deadline, bar });
    let workers: Vec<_> = (0..connections).map(|_| tokio::spawn(worker(Arc::clone(&shared)))).collect();
    let mut sum = Uploaded::new();
    for worker in workers {
        match worker.await {
            Ok(uploaded) => sum.add(uploaded),
            Err(error) => sum.fail(format!("a worker ended: {error}")),
        }
    }
    sum
}

/// One connection's uploads, one after the other.
async fn worker(shared: Arc<Shared>) -> Uploaded {
    let mut uploaded = Uploaded::new();
    let mut line = Line::default();
    while let Some(number) = shared.take() {
        let sent = shared.load.photos.photo(number);
        shared.upload(&sent, &mut line, &mut uploaded).await;
        shared.bar.inc(1);
    }
    uploaded.reconnections = line.opened.saturating_sub(1);
    uploaded
}

/// A worker's connection, opened again when it broke.
#[derive(Default)]
pub(crate) struct Line {
    connection: Option<Connection>,
    pub(crate) opened: u64,
}

impl Line {
    /// The open connection, or a new one.
    pub(crate) async fn open(&mut self, target: &Target) -> anyhow::Result<&mut Connection> {
        let connection = match self.connection.take() {
            Some(connection) if connection.is_open() => connection,
            _ => {
                let connection = target.connect().await?;
                self.opened += 1;
                connection
            }
        };
        Ok(self.connection.insert(connection))
    }

    /// The next request needs a new one.
    pub(crate) fn close(&mut self) {
        self.connection = None;
    }
}

impl Shared {
    /// The next photo to send, from 0; `None` when enough were sent.
    fn take(&self) -> Option<u64> {
        if self.is_over() {
            return None;
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        match self.load.amount {
            Amount::Uploads(count) if number >= count => None,
            _ => Some(number),
        }
    }

    fn is_over(&self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// Sends one photo until it is acknowledged or there is no point in trying again.
    async fn upload(&self, sent: &Sent, line: &mut Line, uploaded: &mut Uploaded) {
        let (begun, mut breaks) = (Instant::now(), 0);
        loop {
            let started = Instant::now();
            let pause = match self.attempt(sent, line).await {
                Ok(answer) if matches!(answer.status, StatusCode::CREATED | StatusCode::OK) => {
                    uploaded.latency.saturating_record(started.elapsed().as_micros() as u64);
                    return acknowledged(sent, &answer, uploaded);
                }
                Ok(answer) if is_refusal(answer.status) => {
                    uploaded.refusals += 1;
                    let longest = Duration::from_secs(RETRY_AFTER_SECONDS_MAX);
                    answer.retry_after.unwrap_or(PAUSE).min(longest)
                }
                Ok(answer) => {
                    let body = String::from_utf8_lossy(&answer.body).into_owned();
                    return uploaded.fail(format!("{}: {}: {body}", sent.name, answer.status));
                }
                Err(error) => {
                    line.close();
                    breaks += 1;
                    if breaks >= BREAKS_MAX {
                        return uploaded.fail(format!("{}: {error:#}", sent.name));
                    }
                    PAUSE
                }
            };
            // In a measurement by time, an upload that is still refused at its end was simply not taken.
            let left = self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left <= pause) {
                return tokio::time::sleep(left.unwrap_or_default()).await;
            }
            if begun.elapsed() > Duration::from_secs(REFUSED_SECONDS_MAX) {
                return uploaded.fail(format!("{}: refused for {REFUSED_SECONDS_MAX} s", sent.name));
            }
            tokio::time::sleep(pause).await;
        }
    }

    async fn attempt(&self, sent: &Sent, line: &mut Line) -> anyhow::Result<Answer> {
        let connection = line.open(&self.load.target).await?;
        connection.upload(&self.load.query, sent.mime, sent.bytes.clone()).await
    }
}

fn acknowledged(sent: &Sent, answer: &Answer, uploaded: &mut Uploaded) {
    match serde_json::from_slice::<PhotoRecord>(&answer.body) {
        Ok(record) => uploaded.ids.push(record.id),
        Err(error) => {
            let reason = anyhow!("{} was acknowledged without a record: {error}", sent.name);
            return uploaded.fail(reason.to_string());
        }
    }
    if answer.status == StatusCode::CREATED {
        uploaded.created += 1;
    } else {
        uploaded.duplicates += 1;
    }
    uploaded.bytes += sent.bytes.len() as u64;
}

/// Answers that mean "later".
pub(crate) fn is_refusal(status: StatusCode) -> bool {
    matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS)
}
