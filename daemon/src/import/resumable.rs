//! Sends a large file by tus 1.0 (<https://tus.io/protocols/resumable-upload>): what has arrived need not be sent again,
//! neither after a broken connection nor by the next import.

use std::io::ErrorKind;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, StatusCode};
use serde::Deserialize;
use tokio::time::Instant;

use super::digest::Hashed;
use super::ledger::Outcome;
use super::patience::{GaveUp, Problem, Reason, Tries, Verdict, judge};
use super::sender::{Needed, Photo, Sending, Sent, Unsent};
use super::source::{Payload, Source, SourceError, Underway};

/// Bytes of the first PATCH, and the fewest of any that is not the last.
const PATCH_BYTES_MIN: u64 = 1024 * 1024;

/// The most bytes of one.
const PATCH_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// How long one is to take: far below the daemon's deadline for a body, also when the way grows slower by ten times, and
/// short for an import that is to end soon.
const PATCH_TIME: Duration = Duration::from_secs(30);

/// How much is sent in one PATCH: what goes in [`PATCH_TIME`], as those before went. All jobs share the way, and this.
#[derive(Debug)]
pub(super) struct Pace(AtomicU64);

impl Default for Pace {
    fn default() -> Self {
        Self(AtomicU64::new(PATCH_BYTES_MIN))
    }
}

impl Pace {
    fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// So many bytes took so long.
    fn took(&self, bytes: u64, time: Duration) {
        let fit = bytes as f64 * PATCH_TIME.as_secs_f64() / time.as_secs_f64().max(0.001);
        let fit = (fit as u64).clamp(PATCH_BYTES_MIN, PATCH_BYTES_MAX);
        // The few bytes of a last piece take as long as their request, and tell nothing of a fast way.
        if bytes >= self.bytes() || fit < self.bytes() && time > PATCH_TIME {
            self.0.store(fit, Ordering::Relaxed);
        }
    }

    /// They did not come in time.
    fn was_too_slow(&self) {
        self.0.store((self.bytes() / 4).max(PATCH_BYTES_MIN), Ordering::Relaxed);
    }
}

static RESUMABLE: HeaderName = HeaderName::from_static("tus-resumable");
static OFFSET: HeaderName = HeaderName::from_static("upload-offset");

/// What the daemon tells of an upload.
#[derive(Debug, Deserialize)]
struct UploadView {
    state: String,
    photo: Option<Photo>,
    problem: Option<Problem>,
}

/// How an upload stands.
enum Standing {
    /// So many bytes are there.
    At(u64),
    /// Nothing changes any more.
    Ended,
    /// Nobody knows it.
    Gone,
}

/// A file on its way.
struct Journey<'s> {
    sending: &'s Sending,
    file: Hashed,
    source: Option<Source>,
    tries: Tries<'s>,
    /// The upload, once there is one.
    upload: Option<String>,
    /// The furthest that it was known to be.
    furthest: u64,
    /// What has arrived, for the progress.
    arrived: Underway,
    /// What went wrong with the last piece. Some of it may have arrived all the same, and then that is what counts.
    mishap: Option<Reason>,
}

impl Sending {
    /// A file in as many requests as it takes.
    pub(super) async fn send_resumable(&self, needed: Needed) -> Result<Outcome, Unsent> {
        let Needed { file, upload } = needed;
        let source = Some(Source::new(self.files[file.index].path.clone(), &file));
        let (tries, inherited) = (self.asker.tries(), upload.is_some());
        let arrived = Underway::new(&self.asker.client.meter);
        let mut journey =
            Journey { sending: self, file, source, tries, upload, furthest: 0, arrived, mishap: None };
        let mut outcome = journey.go().await;
        if inherited
            && let Err(Unsent::GaveUp(GaveUp::Refused(reason))) = &outcome
            && reason.is_of_batch()
        {
            // The upload names the batch of an earlier import, which is over. This one's is not.
            journey.upload = None;
            outcome = journey.go().await;
        }
        match &outcome {
            Err(Unsent::Source(SourceError::Changed)) => journey.terminate().await,
            // Nobody can send the rest of what was removed.
            Err(Unsent::Source(SourceError::Unreadable(error))) if error.kind() == ErrorKind::NotFound => {
                journey.terminate().await;
            }
            Err(unsent) if journey.upload.is_some() && self.may_go_on(unsent) => {
                self.asker.client.meter.unfinished.store(true, Ordering::Relaxed);
            }
            _ => {}
        }
        outcome
    }

    /// Whether the next import may go on with an upload that this one leaves. What was refused is over, unless no file is
    /// taken at the moment, and that ends the import.
    fn may_go_on(&self, unsent: &Unsent) -> bool {
        match unsent {
            Unsent::Source(SourceError::Changed) => false,
            Unsent::GaveUp(GaveUp::Refused(_)) => self.asker.stop.is_asked(),
            Unsent::Source(SourceError::Unreadable(_))
            | Unsent::GaveUp(GaveUp::Stopped | GaveUp::Failed(_)) => true,
        }
    }
}

impl Journey<'_> {
    async fn go(&mut self) -> Result<Outcome, Unsent> {
        let length = self.file.state.bytes;
        loop {
            let Some(upload) = self.upload.clone() else {
                self.upload = Some(self.create().await?);
                continue;
            };
            let standing = self.standing(&upload).await?;
            let mishap = self.mishap.take();
            match standing {
                Standing::Gone => self.begin_anew().await?,
                Standing::At(offset) if offset < length => {
                    let went_forward = self.reached(offset);
                    if let Some(reason) = mishap {
                        if !went_forward {
                            self.tries.weigh(Verdict::Mishap(reason)).await?;
                            continue;
                        }
                        self.sending.asker.client.meter.repeated.fetch_add(1, Ordering::Relaxed);
                    }
                    self.send_from(&upload, offset).await?;
                }
                Standing::At(_) | Standing::Ended => {
                    if let Some(outcome) = self.end(&upload).await? {
                        return Ok(outcome);
                    }
                }
            }
        }
    }

    /// Sends what is missing, until all is there or something goes wrong; then it is asked for how it stands.
    async fn send_from(&mut self, upload: &str, mut offset: u64) -> Result<(), Unsent> {
        while offset < self.file.state.bytes {
            if self.sending.asker.stop.is_asked() {
                return Err(GaveUp::Stopped.into());
            }
            match self.patch(upload, offset).await? {
                Some(further) => {
                    self.reached(further);
                    offset = further;
                }
                None => break,
            }
        }
        Ok(())
    }

    /// It is known how far it is; true if that is further than before. The rest alone takes nothing in: a daemon may tell
    /// it for ever.
    fn reached(&mut self, offset: u64) -> bool {
        self.arrived.reach(offset);
        let further = offset > self.furthest;
        if further {
            self.furthest = offset;
            self.tries.went_forward();
        }
        further
    }

    /// The upload is there no more. That counts as a break, so that it does not go on for ever.
    async fn begin_anew(&mut self) -> Result<(), Unsent> {
        self.upload = None;
        self.arrived.reach(0);
        let gone = Verdict::Mishap(Reason::local("the daemon has the upload no more"));
        self.tries.weigh(gone).await?;
        Ok(())
    }

    /// A new upload's id.
    async fn create(&mut self) -> Result<String, Unsent> {
        let path = &self.sending.files[self.file.index].path;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let hash = self.file.hash.to_hex().to_string();
        let metadata: Vec<_> = [("filename", &name), ("batch_id", &self.sending.batch), ("blake3", &hash)]
            .map(|(key, value)| format!("{key} {}", STANDARD.encode(value)))
            .into();
        let mut headers = headers();
        insert(&mut headers, "upload-length", &self.file.state.bytes.to_string());
        insert(&mut headers, "upload-metadata", &metadata.join(","));
        // If the answer is lost, it is not made twice. One that takes the place of another has a key of its own.
        self.sending.keys.give(&mut headers);
        loop {
            let verdict = self.ask(Method::POST, "/v1/uploads", &headers).await;
            if self.sending.keys.are_too_many(&verdict, &mut headers) {
                continue;
            }
            if let Some(answer) = self.tries.weigh(verdict).await? {
                let id = answer.header("location").and_then(|location| location.rsplit('/').next());
                let id = id.filter(|id| !id.is_empty()).map(ToOwned::to_owned);
                return id.ok_or_else(|| Unsent::failed("the daemon made an upload and did not say which"));
            }
        }
    }

    async fn standing(&mut self, upload: &str) -> Result<Standing, Unsent> {
        let headers = headers();
        loop {
            let verdict = self.ask(Method::HEAD, &path(upload), &headers).await;
            match verdict {
                Verdict::Refused(StatusCode::NOT_FOUND, _) => return Ok(Standing::Gone),
                Verdict::Refused(..) => return Ok(Standing::Ended), // An answer to HEAD cannot say why.
                _ => {}
            }
            if let Some(answer) = self.tries.weigh(verdict).await? {
                let offset = answer.header(OFFSET.as_str()).and_then(|offset| offset.parse().ok());
                let offset =
                    offset.ok_or_else(|| Unsent::failed("the daemon did not say how far an upload came"));
                return offset.map(Standing::At);
            }
        }
    }

    /// Sends the next piece. Where it ended; none when that has to be asked for.
    async fn patch(&mut self, upload: &str, offset: u64) -> Result<Option<u64>, Unsent> {
        let pace = &self.sending.pace;
        let bytes = (self.file.state.bytes - offset).min(pace.bytes());
        let mut headers = headers();
        insert(&mut headers, OFFSET.as_str(), &offset.to_string());
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/offset+octet-stream"));
        let source = self.source.take().ok_or_else(|| Unsent::failed("the file is not open any more"))?;
        let request = Sent {
            range: (offset, offset + bytes),
            method: Method::PATCH,
            target: &path(upload),
            headers,
            repeated: self.tries.is_troubled(),
        };
        let began = Instant::now();
        let (source, verdict) = self.sending.stream(source, request).await?;
        self.source = Some(source);
        match verdict {
            Verdict::Mishap(reason) => self.mishap = Some(reason),
            Verdict::TooSlow(reason) => {
                pace.was_too_slow();
                self.mishap = Some(reason);
            }
            // Somebody else has moved it, or an earlier try did, unnoticed.
            Verdict::Refused(StatusCode::NOT_FOUND | StatusCode::GONE | StatusCode::CONFLICT, _) => {
                self.mishap = Some(Reason::local("the upload was not where it should be"));
            }
            verdict => {
                let answer = self.tries.weigh(verdict).await?;
                let further = answer.and_then(|answer| answer.header(OFFSET.as_str())?.parse().ok());
                if further.is_some() {
                    pace.took(bytes, began.elapsed());
                }
                return Ok(further);
            }
        }
        Ok(None)
    }

    /// What became of it, once all is there. None when it is gone.
    async fn end(&mut self, upload: &str) -> Result<Option<Outcome>, Unsent> {
        let headers = headers();
        loop {
            let verdict = self.ask(Method::GET, &path(upload), &headers).await;
            if is_gone(&verdict) {
                self.begin_anew().await?;
                return Ok(None);
            }
            let Some(answer) = self.tries.weigh(verdict).await? else { continue };
            let view: UploadView = serde_json::from_slice(&answer.body)
                .map_err(|error| Unsent::failed(format!("what the daemon tells of an upload: {error}")))?;
            match (view.photo, view.problem) {
                (Some(photo), _) => return Ok(Some(photo.outcome(&self.sending.batch))),
                (None, Some(problem)) => return Err(GaveUp::Refused(problem.into()).into()),
                (None, None) => {
                    if !matches!(view.state.as_str(), "open" | "finishing") {
                        // Somebody else ended it, or its photo was deleted since.
                        self.begin_anew().await?;
                        return Ok(None);
                    }
                    // All is there, and is being made a photo.
                    let reason = Reason::local(format!("the upload is {}", view.state));
                    self.tries.weigh(Verdict::Busy(None, reason)).await?;
                }
            }
        }
    }

    /// Nobody will send the rest. If that is not heard, it expires.
    async fn terminate(&self) {
        if let Some(upload) = &self.upload {
            let _ = self.ask(Method::DELETE, &path(upload), &headers()).await;
        }
    }

    async fn ask(&self, method: Method, path: &str, headers: &HeaderMap) -> Verdict {
        judge(self.sending.asker.client.send(method, path, headers.clone(), Payload::empty()).await)
    }
}

fn path(upload: &str) -> String {
    format!("/v1/uploads/{upload}")
}

fn headers() -> HeaderMap {
    [(RESUMABLE.clone(), HeaderValue::from_static("1.0.0"))].into_iter().collect()
}

fn insert(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(HeaderName::from_static(name), value);
    }
}

fn is_gone(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Refused(StatusCode::NOT_FOUND | StatusCode::GONE, _))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    #[test]
    fn a_piece_is_as_large_as_goes_in_its_time() {
        let pace = Pace::default();
        let seconds = Duration::from_secs;
        assert_eq!(pace.bytes(), PATCH_BYTES_MIN);
        // Eight jobs on a line of 1 Mbit/s.
        pace.took(MIB, seconds(67));
        assert_eq!(pace.bytes(), PATCH_BYTES_MIN);
        pace.took(MIB, seconds(3));
        assert_eq!(pace.bytes(), 10 * MIB);
        // The last bytes of a file tell nothing.
        pace.took(10, seconds(1));
        assert_eq!(pace.bytes(), 10 * MIB);
        pace.took(10 * MIB, Duration::from_millis(50));
        assert_eq!(pace.bytes(), PATCH_BYTES_MAX);
        pace.took(8 * MIB, seconds(60));
        assert_eq!(pace.bytes(), 4 * MIB);
        pace.was_too_slow();
        pace.was_too_slow();
        assert_eq!(pace.bytes(), PATCH_BYTES_MIN);
    }
}
