//! Sends files: each is taken from the queue by one of a few senders, and sent until there is an outcome.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hyper::{HeaderMap, Method, StatusCode};
use serde::Deserialize;
use tokio::sync::{Mutex, mpsc};

use super::ask::Asker;
use super::check;
use super::client::Answer;
use super::digest::Hashed;
use super::keys::Keys;
use super::ledger::{Event, Outcome};
use super::patience::{GaveUp, Reason, Verdict, judge};
use super::resumable::Pace;
use super::source::{Payload, Source, SourceError};
use super::stop::Why;
use super::twins::Twins;
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
    pub(super) asker: Asker,
    pub(super) files: Arc<Vec<Found>>,
    pub(super) batch: String,
    /// Files from this size on are sent in a way that can go on. Less, once the way turns out to be too slow for it.
    pub(super) resumable_from: AtomicU64,
    pub(super) twins: Arc<Twins>,
    pub(super) keys: Keys,
    pub(super) pace: Pace,
}

/// Files that wait to be sent, for whichever sender comes first.
pub(super) type Queue = Arc<Mutex<mpsc::Receiver<Needed>>>;

impl Sending {
    /// Sends what is in the queue until it is empty and closed, or the import ends.
    pub(super) async fn run(self: Arc<Self>, queue: Queue, events: mpsc::Sender<Event>) {
        loop {
            let next = tokio::select! {
                biased;
                () = self.asker.stop.asked() => return,
                next = async { queue.lock().await.recv().await } => next,
            };
            if next.is_none() {
                return;
            }
            let mut next = next;
            while let Some(needed) = next.take() {
                let file = (needed.file.index, needed.file.hash);
                let outcome = self.send(needed).await;
                match self.twins.settle(file, outcome, &events).await {
                    // One that takes its place is begun anew, which an import that ends does not.
                    Ok(twin) if !self.asker.stop.is_asked() => {
                        next = twin.map(|file| Needed { file, upload: None });
                    }
                    Ok(_) => {}
                    Err(_) => return,
                }
            }
        }
    }

    async fn send(&self, needed: Needed) -> Outcome {
        let resumable = needed.file.state.bytes >= self.resumable_from.load(Ordering::Relaxed);
        let sent = if resumable {
            self.send_resumable(needed).await
        } else {
            match self.send_whole(&needed.file).await {
                Ok(None) if self.asker.stop.is_asked() => Err(GaveUp::Stopped.into()),
                Ok(None) => self.send_resumable(needed).await,
                Ok(Some(outcome)) => Ok(outcome),
                Err(unsent) => Err(unsent),
            }
        };
        sent.unwrap_or_else(|unsent| match unsent {
            Unsent::Source(error) => error.into(),
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
        if reason.is_of_batch() {
            self.asker.stop.because(Why::Hopeless(reason.detail.clone()));
        }
    }

    /// A file as the body of one request. None when it takes longer than the daemon waits for a body: then it is to be sent
    /// piece by piece, as all that are as large.
    async fn send_whole(&self, file: &Hashed) -> Result<Option<Outcome>, Unsent> {
        let path = &self.files[file.index].path;
        let name: String =
            path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let target = format!("/v1/photos?batch_id={}&filename={}", self.batch, percent_encoded(&name));
        let mut tries = self.asker.tries();
        let mut source = Source::new(path.clone(), file);
        let mut headers = HeaderMap::new();
        self.keys.give(&mut headers);
        loop {
            let request = Sent {
                range: (0, file.state.bytes),
                method: Method::POST,
                target: &target,
                headers: headers.clone(),
                repeated: tries.is_troubled(),
            };
            let verdict;
            (source, verdict) = self.stream(source, request).await?;
            if self.keys.are_too_many(&verdict, &mut headers) {
                continue;
            }
            if let Verdict::TooSlow(_) = verdict {
                self.resumable_from.fetch_min(file.state.bytes, Ordering::Relaxed);
                // It was taking all that time.
                tries.went_forward();
                self.asker.client.meter.repeated.fetch_add(1, Ordering::Relaxed);
                return Ok(None);
            }
            let may_be_in = matches!(verdict, Verdict::Mishap(_));
            if let Some(answer) = tries.weigh(verdict).await? {
                tries.went_forward();
                return self.taken(&answer, file).await.map(Some);
            }
            // Only the answer may have been lost: then the bytes need not be sent again.
            if may_be_in
                && let Some(photo) = check::photo_of(&self.asker, &self.files, &self.batch, file).await?
            {
                return Ok(Some(Outcome::Sent { photo, elsewhere: None }));
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
        request: Sent<'_>,
    ) -> Result<(Source, Verdict), Unsent> {
        let Sent { range: (from, to), method, target, headers, repeated } = request;
        let (pieces, payload) = Payload::stream(to - from, &self.asker.client.meter, repeated);
        let reading = tokio::task::spawn_blocking(move || {
            let read = source.read(from, to, &pieces);
            (source, read)
        });
        let verdict = judge(self.asker.client.send(method, target, headers, payload).await);
        let (source, read) = reading.await.map_err(|error| Unsent::failed(error.to_string()))?;
        match (read, verdict) {
            // What breaks off because of us says nothing about the daemon.
            (Err(error), Verdict::Mishap(_)) => Err(Unsent::Source(error)),
            (_, verdict) => Ok((source, verdict)),
        }
    }
}

/// A request that brings a piece of a file.
pub(super) struct Sent<'t> {
    /// From which byte to which.
    pub(super) range: (u64, u64),
    pub(super) method: Method,
    pub(super) target: &'t str,
    pub(super) headers: HeaderMap,
    /// An earlier try came to nothing.
    pub(super) repeated: bool,
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
    batch_id: Option<String>,
}

impl Photo {
    /// What became of a file that was to be in this batch.
    pub(super) fn outcome(self, batch: &str) -> Outcome {
        let photo = self.id;
        // One that was there and is of this batch was made by an earlier try of the same file, whose answer was lost: no
        // content is sent twice by an import.
        if self.duplicate && self.batch_id.as_deref() != Some(batch) {
            return Outcome::Duplicate { photo };
        }
        // An upload that an earlier import began is counted in that one's batch.
        Outcome::Sent { photo, elsewhere: self.batch_id.filter(|found| found != batch) }
    }
}

impl Sending {
    /// What became of a file, by the photo that the daemon has made of it.
    async fn taken(&self, answer: &Answer, file: &Hashed) -> Result<Outcome, Unsent> {
        let photo: Photo = serde_json::from_slice(&answer.body).map_err(|error| {
            Unsent::failed(format!(
                "the answer {} has no photo ({error}): is it another version?",
                answer.status
            ))
        })?;
        if photo.blake3 == file.hash.to_hex().as_str() {
            return Ok(photo.outcome(&self.batch));
        }
        let mut detail =
            format!("something on the way to the daemon altered its bytes, and made photo {}", photo.id);
        if answer.status == StatusCode::CREATED {
            let deleted =
                self.asker.ask(Method::DELETE, &format!("/v1/photos/{}", photo.id), None::<&()>).await;
            detail.push_str(if deleted.is_ok() { ", which was deleted" } else { ": delete it" });
        }
        Err(Unsent::failed(detail))
    }
}

/// A value as a query has it.
pub(super) fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_earlier_try_has_made_is_no_duplicate() {
        let photo = |duplicate, batch_id: &str| {
            let (id, blake3) = ("p".to_owned(), String::new());
            Photo { id, blake3, duplicate, batch_id: Some(batch_id.to_owned()) }.outcome("b1")
        };
        let sent = |elsewhere| Outcome::Sent { photo: "p".to_owned(), elsewhere };
        assert_eq!(photo(true, "b1"), sent(None));
        assert_eq!(photo(true, "b0"), Outcome::Duplicate { photo: "p".to_owned() });
        assert_eq!(photo(false, "b1"), sent(None));
        assert_eq!(photo(false, "b0"), sent(Some("b0".to_owned())));
    }

    #[test]
    fn a_name_survives_the_query() {
        assert_eq!(percent_encoded("a b&c=é.jpg"), "a%20b%26c%3D%C3%A9.jpg");
    }
}
