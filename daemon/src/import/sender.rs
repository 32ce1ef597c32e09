//! Sends files: each is taken from the queue by one of a few senders, and sent until there is an outcome.

use std::sync::Arc;
use std::time::Duration;

use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, StatusCode};
use serde::Deserialize;
use tokio::sync::{Mutex, mpsc};

use super::client::{Answer, Client};
use super::digest::Hashed;
use super::ledger::{Event, Outcome};
use super::patience::{GaveUp, Reason, Tries, Verdict, judge};
use super::source::{Payload, Source, SourceError};
use super::stop::{Stop, Why};
use super::walk::Found;

/// A file that the daemon needs.
#[derive(Debug)]
pub(super) struct Needed {
    pub(super) file: Hashed,
    /// An upload of these bytes that broke off, and how far it came.
    pub(super) upload: Option<String>,
}

/// What all senders know.
pub(super) struct Sending {
    pub(super) client: Arc<Client>,
    pub(super) files: Arc<Vec<Found>>,
    pub(super) batch: String,
    pub(super) stop: Stop,
    pub(super) patience: Duration,
    /// Files from this size on are sent in a way that can go on.
    pub(super) resumable_from: u64,
}

/// Files that wait to be sent, for whichever sender comes first.
pub(super) type Queue = Arc<Mutex<mpsc::Receiver<Needed>>>;

impl Sending {
    /// Sends what is in the queue until it is empty and closed, or the import ends.
    pub(super) async fn run(self: Arc<Self>, queue: Queue, events: mpsc::Sender<Event>) {
        loop {
            let next = tokio::select! {
                biased;
                () = self.stop.asked() => return,
                next = async { queue.lock().await.recv().await } => next,
            };
            let Some(needed) = next else { return };
            let index = needed.file.index;
            let outcome = self.send(needed).await;
            if events.send(Event::settled(index, outcome)).await.is_err() {
                return;
            }
        }
    }

    async fn send(&self, needed: Needed) -> Outcome {
        let resumable = needed.file.state.bytes >= self.resumable_from;
        let sent =
            if resumable { self.send_resumable(needed).await } else { self.send_whole(needed.file).await };
        sent.unwrap_or_else(|unsent| match unsent {
            Unsent::Source(SourceError::Changed) => Outcome::Changed,
            Unsent::Source(SourceError::Unreadable(error)) => Outcome::Unreadable(error.to_string()),
            Unsent::GaveUp(GaveUp::Stopped) => Outcome::NotSent,
            Unsent::GaveUp(GaveUp::Refused(reason)) => {
                self.end_without_batch(&reason);
                Outcome::Refused(reason)
            }
            Unsent::GaveUp(GaveUp::Failed(reason)) => Outcome::Failed(reason),
        })
    }

    /// A batch that is gone refuses every file that follows, one as well as the other.
    fn end_without_batch(&self, reason: &Reason) {
        if reason.code.as_deref().is_some_and(|code| code.starts_with("batch-")) {
            self.stop.because(Why::Hopeless(reason.detail.clone()));
        }
    }

    /// A file as the body of one request.
    async fn send_whole(&self, file: Hashed) -> Result<Outcome, Unsent> {
        let path = &self.files[file.index].path;
        let name: String =
            path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let target = format!("/v1/photos?batch_id={}&filename={}", self.batch, percent_encoded(&name));
        let key = HeaderValue::from_str(&self.key(&file, "photo")).unwrap_or(HeaderValue::from_static(""));
        let headers: HeaderMap = [(HeaderName::from_static("idempotency-key"), key)].into_iter().collect();
        let mut tries = Tries::new(&self.client, &self.stop, self.patience);
        let mut source = Source::new(path.clone(), &file);
        loop {
            let range = (0, file.state.bytes);
            let verdict;
            (source, verdict) = self.stream(source, range, Method::POST, &target, headers.clone()).await?;
            if let Some(answer) = tries.weigh(verdict).await? {
                return taken(&answer, &file);
            }
        }
    }

    /// Sends a piece of a file in one request.
    ///
    /// # Errors
    /// When the file is no longer what was hashed.
    pub(super) async fn stream(
        &self,
        mut source: Source,
        (from, to): (u64, u64),
        method: Method,
        target: &str,
        headers: HeaderMap,
    ) -> Result<(Source, Verdict), Unsent> {
        let (pieces, payload) = Payload::stream(to - from, &self.client.meter);
        let reading = tokio::task::spawn_blocking(move || {
            let read = source.read(from, to, &pieces);
            (source, read)
        });
        let verdict = judge(self.client.send(method, target, headers, payload).await);
        let (source, read) = reading.await.map_err(|error| Unsent::failed(error.to_string()))?;
        match (read, verdict) {
            // What breaks off because of us says nothing about the daemon.
            (Err(error), Verdict::Mishap(_)) => Err(Unsent::Source(error)),
            (_, verdict) => Ok((source, verdict)),
        }
    }

    /// What makes a second try of the same file the same request.
    pub(super) fn key(&self, file: &Hashed, what: &str) -> String {
        format!("import-{what}-{}-{}", self.batch, file.hash.to_hex())
    }
}

/// Why a file was not sent.
#[derive(Debug)]
pub(super) enum Unsent {
    Source(SourceError),
    GaveUp(GaveUp),
}

impl Unsent {
    pub(super) fn failed(detail: impl Into<String>) -> Self {
        Self::GaveUp(GaveUp::Failed(Reason::local(detail)))
    }
}

impl From<GaveUp> for Unsent {
    fn from(gave_up: GaveUp) -> Self {
        Self::GaveUp(gave_up)
    }
}

/// A photo, as far as an import looks at it.
#[derive(Debug, Deserialize)]
pub(super) struct Photo {
    id: String,
    blake3: String,
    #[serde(default)]
    duplicate: bool,
}

impl Photo {
    /// What became of the file, if the photo has its bytes.
    pub(super) fn outcome(self, file: &Hashed) -> Result<Outcome, Unsent> {
        if self.blake3 != file.hash.to_hex().as_str() {
            return Err(Unsent::failed(format!(
                "photo {} has other bytes than the file: something on the way to the daemon altered them",
                self.id
            )));
        }
        let photo = self.id;
        Ok(if self.duplicate { Outcome::Duplicate { photo } } else { Outcome::Sent { photo } })
    }
}

fn taken(answer: &Answer, file: &Hashed) -> Result<Outcome, Unsent> {
    let known = matches!(answer.status, StatusCode::OK | StatusCode::CREATED);
    let photo = known.then(|| serde_json::from_slice::<Photo>(&answer.body).ok()).flatten();
    let photo = photo.ok_or_else(|| {
        Unsent::failed(format!("the answer {} has no photo: is it a daemon of this version?", answer.status))
    })?;
    photo.outcome(file)
}

/// A value as a query has it.
pub(super) fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_survives_the_query() {
        assert_eq!(percent_encoded("a b&c=é.jpg"), "a%20b%26c%3D%C3%A9.jpg");
    }
}
