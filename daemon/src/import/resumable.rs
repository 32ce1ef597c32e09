//! Sends a large file by tus 1.0 (<https://tus.io/protocols/resumable-upload>): what has arrived need not be sent again,
//! neither after a broken connection nor by the next import.

use std::io::ErrorKind;
use std::sync::atomic::Ordering;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, StatusCode};
use serde::Deserialize;

use super::digest::Hashed;
use super::ledger::Outcome;
use super::patience::{GaveUp, Problem, Reason, Tries, Verdict, judge};
use super::sender::{Needed, Photo, Sending, Unsent};
use super::source::{Payload, Source, SourceError};

/// Bytes of one PATCH: few enough for a slow line within the daemon's deadline for a body, and for an import that is to end
/// soon.
const PATCH_BYTES: u64 = 32 * 1024 * 1024;

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
}

impl Sending {
    /// A file in as many requests as it takes.
    pub(super) async fn send_resumable(&self, needed: Needed) -> Result<Outcome, Unsent> {
        let Needed { file, upload } = needed;
        let source = Some(Source::new(self.files[file.index].path.clone(), &file));
        let (tries, inherited) = (self.asker.tries(), upload.is_some());
        let mut journey = Journey { sending: self, file, source, tries, upload, furthest: 0 };
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
            match self.standing(&upload).await? {
                Standing::Gone => self.begin_anew().await?,
                Standing::At(offset) if offset < length => {
                    self.reached(offset);
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

    /// It is known how far it is. That alone takes nothing in: a daemon may tell it for ever.
    fn reached(&mut self, offset: u64) {
        if offset > self.furthest {
            self.furthest = offset;
            self.tries.went_forward();
        }
    }

    /// The upload is there no more. That counts as a break, so that it does not go on for ever.
    async fn begin_anew(&mut self) -> Result<(), Unsent> {
        self.upload = None;
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
        loop {
            let verdict = self.ask(Method::POST, "/v1/uploads", &headers).await;
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
        let range = (offset, self.file.state.bytes.min(offset + PATCH_BYTES));
        let mut headers = headers();
        insert(&mut headers, OFFSET.as_str(), &offset.to_string());
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/offset+octet-stream"));
        let source = self.source.take().ok_or_else(|| Unsent::failed("the file is not open any more"))?;
        let (source, verdict) =
            self.sending.stream(source, range, Method::PATCH, &path(upload), headers).await?;
        self.source = Some(source);
        // Somebody else has moved it, or an earlier try did, unnoticed.
        if is_gone(&verdict) || matches!(verdict, Verdict::Refused(StatusCode::CONFLICT, _)) {
            self.tries.weigh(Verdict::Mishap(Reason::local("the upload was not where it should be"))).await?;
            return Ok(None);
        }
        let answer = self.tries.weigh(verdict).await?;
        Ok(answer.and_then(|answer| answer.header(OFFSET.as_str())?.parse().ok()))
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
