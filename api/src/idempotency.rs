//! `Idempotency-Key`: a request that its client may send again without knowing whether it arrived
//! (draft-ietf-httpapi-idempotency-key-header).
//!
//! Every handler that creates something asks [`claim`] before it does, and ends what it got:
//!
//! - Photos are bound to [`Claim::photo`] in the transaction that makes them, and are answered from there when the request
//!   comes again. The handler ends with [`Claim::end`].
//! - An upload, resumable or direct, is bound to [`Claim::upload_key`] in the transaction that makes it. [`Claim::made`] is the
//!   one that an earlier attempt has made: the answer tells where it is. The handler ends with [`Claim::end`], or with
//!   [`Claim::answer`] where nothing more is to come of the upload.
//! - Anything else is made under [`Claim::series`], which stays the same at each attempt: the id of what is made, or one
//!   that follows from it. The transaction that makes it looks whether it is there, as every transaction reads its own
//!   marker, and takes it for its own if so; that makes it exact even where an attempt dies before its answer. The handler
//!   ends with [`Claim::answer`], which keeps a small answer, to be given again as it is.
//!
//! Without the header both do nothing, and the series is a new one.

use std::time::Duration;

use bytes::Bytes;
use darkroom_store::StoreError;
use darkroom_store::model::idempotency::{
    self, Answer as Kept, Attempt, Begun, Bound, Keyed, PhotoKey, UploadKey,
};
use darkroom_store::model::photos::Photo;
use darkroom_store::model::{ContentHash, LeaseId, OwnerId, SeriesId, Timestamp, UploadId};
use futures_util::StreamExt;
use http_body_util::BodyExt;
use hyper::body::Body as _;
use hyper::header::{HeaderName, HeaderValue};
use hyper::{HeaderMap, Request, StatusCode};

use crate::Api;
use crate::problem::Problem;
use crate::response::{self, Answer};

/// Longest key, as the client has it.
const KEY_BYTES_MAX: usize = 255;
/// Longest body of an answer that is kept.
const ANSWER_BYTES_MAX: u64 = 64 << 10;
/// What an attempt may take beside its body and the wait that its client asked for, until it counts as lost.
const MARGIN: Duration = Duration::from_secs(60);

/// How keys are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyOptions {
    /// How long a key is remembered after its request was answered.
    pub keep: Duration,
    /// How many keys, and photos under them, are remembered for one owner at once.
    pub keys_max: u64,
}

impl Default for IdempotencyOptions {
    fn default() -> Self {
        Self { keep: Duration::from_secs(24 * 3600), keys_max: 1_000_000 }
    }
}

impl IdempotencyOptions {
    /// Refuses options that cannot work.
    ///
    /// # Errors
    /// A sentence that names the setting and what to do.
    pub fn validate(&self) -> Result<(), String> {
        let keep_max = Duration::from_secs(30 * 24 * 3600);
        if self.keep < Duration::from_secs(1) || self.keep > keep_max {
            return Err(
                "idempotency.keep is not between a second and 30 days: set it to how long clients try a \
                        request again"
                    .to_owned(),
            );
        }
        if self.keys_max == 0 {
            return Err("idempotency.keys_max is 0, so that no request with a key could be taken: set it to 1 or more"
                .to_owned());
        }
        Ok(())
    }
}

/// What makes a request the same as another.
#[derive(Clone, Debug)]
pub struct Asked {
    key: Option<String>,
    fingerprint: ContentHash,
    /// How long its body may take, if that is not as long as any other's.
    received_within: Option<Duration>,
}

impl Asked {
    /// By its method, path and query, and by `content`: a small body, headers that change what is asked for, or the name
    /// of the shape in which photos come.
    ///
    /// # Errors
    /// `idempotency-key-malformed`.
    pub fn new<B>(request: &Request<B>, content: &[&[u8]]) -> Result<Self, Problem> {
        let key = read_key(request.headers())?;
        let (uri, mut hasher) = (request.uri(), blake3::Hasher::new());
        let head = [request.method().as_str(), uri.path(), uri.query().unwrap_or_default()];
        for piece in head.iter().map(|piece| piece.as_bytes()).chain(content.iter().copied()) {
            hasher.update(&(piece.len() as u64).to_le_bytes()).update(piece);
        }
        Ok(Self { key, fingerprint: hasher.finalize().into(), received_within: None })
    }

    /// The same, of a request whose body may take so long.
    #[must_use]
    pub fn received_within(self, time: Duration) -> Self {
        Self { received_within: Some(time), ..self }
    }
}

/// What a request is to do.
pub enum Claimed {
    /// To be carried out.
    Go(Claim),
    /// To be answered so: it was carried out before.
    Answered(Answer),
}

/// The right to carry a request out. Dropped, it leaves the request to be tried again.
#[must_use]
pub struct Claim {
    series: SeriesId,
    made: Option<UploadId>,
    is_first: bool,
    held: Option<Held>,
}

struct Held {
    api: Api,
    request: Keyed,
    attempt: LeaseId,
}

/// Asks whether a request is to be carried out. `single` says that it makes one photo, number 0.
///
/// # Errors
/// `request-in-progress`, `idempotency-key-reused`, `too-many-idempotency-keys`, and those of the store.
pub async fn claim(api: &Api, owner: &OwnerId, asked: Asked, single: bool) -> Result<Claimed, Problem> {
    if asked.key.is_none() {
        let claim = Claim { series: SeriesId::new(), made: None, is_first: true, held: None };
        return Ok(Claimed::Go(claim));
    }
    let (api, owner) = (api.clone(), owner.clone());
    whole(async move { claim_key(&api, owner, asked, single).await }).await?
}

/// Does all of it, also when the client goes away: what is begun must not be left for nobody to end.
async fn whole<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> Result<T, Problem> {
    tokio::spawn(work).await.map_err(|error| {
        tracing::error!(%error, "a request under an idempotency key panicked");
        Problem::new("internal-error", "a bug of the daemon's own; its log says where")
    })
}

async fn claim_key(api: &Api, owner: OwnerId, asked: Asked, single: bool) -> Result<Claimed, Problem> {
    let (series, key) = (SeriesId::new(), asked.key.unwrap_or_default());
    let request = Keyed { owner, key, fingerprint: asked.fingerprint, single };
    let options = api.options();
    let received_within = asked.received_within.unwrap_or(options.body_timeout);
    let (now, lasting) = (Timestamp::now(), received_within + options.wait_max + MARGIN);
    let until = now.after(lasting);
    let attempt = Attempt {
        id: LeaseId::new(),
        series,
        epoch: api.pipeline().epoch(),
        now,
        until,
        expires: until.after(options.idempotency.keep),
    };
    let (keys_max, asked) = (options.idempotency.keys_max, &request);
    let begun = api
        .pipeline()
        .metadata()
        .transact("claim idempotency key", |tx| async move {
            idempotency::begin(&tx, asked, &attempt, keys_max).await
        })
        .await?;
    count(match &begun {
        Begun::Go(_) | Begun::GoOn(..) => "claimed",
        Begun::Answered(_) => "answered",
        Begun::InProgress(_) => "in_progress",
        Begun::Reused => "reused",
        Begun::TooMany => "too_many",
    });
    let go = |series, made, request| {
        let held = Some(Held { api: api.clone(), request, attempt: attempt.id });
        Ok(Claimed::Go(Claim { series, made, is_first: series == attempt.series, held }))
    };
    match begun {
        Begun::Go(series) => go(series, None, request),
        Begun::GoOn(series, made) => go(series, Some(made), request),
        Begun::Answered(kept) => Ok(Claimed::Answered(kept_answer(kept))),
        Begun::InProgress(_) => Err(Problem::new(
            "request-in-progress",
            "a request under this idempotency key is being carried out: send it again later, for its answer",
        )
        .retry_after(1)),
        Begun::Reused => Err(reused("another request was sent under this idempotency key")),
        Begun::TooMany => Err(Problem::new(
            "too-many-idempotency-keys",
            format!(
                "{keys_max} idempotency keys are remembered, and no more may be: send this later, or without a key"
            ),
        )
        .retry_after(60)),
    }
}

fn count(outcome: &'static str) {
    metrics::counter!("darkroom_idempotent_requests_total", "outcome" => outcome).increment(1);
}

/// The key is another request's, or another content's.
pub fn reused(what: &str) -> Problem {
    Problem::new("idempotency-key-reused", format!("{what}: give every request a key of its own"))
}

impl Claim {
    /// What stays the same at each attempt.
    pub fn series(&self) -> SeriesId {
        self.series
    }

    /// Where the photo of this number is bound; none without a key.
    pub fn photo(&self, number: u64) -> Option<(SeriesId, u64)> {
        self.held.as_ref().map(|_| (self.series, number))
    }

    /// Where the upload is bound that is made; none without a key.
    pub fn upload_key(&self) -> Option<UploadKey> {
        self.held.as_ref().map(|held| UploadKey { request: held.request.clone(), series: self.series })
    }

    /// Whether no attempt was made before, so that nothing of the request can be there already.
    pub fn is_first(&self) -> bool {
        self.is_first
    }

    /// The upload that an earlier attempt has made. It may have gone since.
    pub fn made(&self) -> Option<UploadId> {
        self.made
    }

    /// Ends an attempt whose answer is not kept. A refused one frees the key, unless it has made something; after an error
    /// of ours, the same request may be tried again.
    pub async fn end(mut self, outcome: Result<Answer, Problem>) -> Result<Answer, Problem> {
        let Some(held) = self.held.take() else { return outcome };
        // One photo that is bound says all there is.
        if outcome.is_err() || !held.request.single {
            let forget = is_refused(&outcome);
            whole(held.release(forget)).await?;
        }
        outcome
    }

    /// Ends an attempt whose answer is kept, if it is a good one. What is returned is to be answered.
    ///
    /// # Errors
    /// The outcome's own.
    pub async fn answer(mut self, outcome: Result<Answer, Problem>) -> Result<Answer, Problem> {
        let Some(held) = self.held.take() else { return outcome };
        match outcome {
            Ok(answer) if answer.status().is_success() => whole(held.keep(self.series, answer)).await,
            outcome => {
                let forget = is_refused(&outcome);
                whole(held.release(forget)).await?;
                outcome
            }
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some(held) = self.held.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            // The client has gone away. What was begun may still come to its end.
            runtime.spawn(async move { held.release(false).await });
        }
    }
}

/// Whether it was the client's fault, so that nothing was made.
fn is_refused(outcome: &Result<Answer, Problem>) -> bool {
    outcome.as_ref().map_or_else(Problem::status_code, Answer::status).is_client_error()
}

impl Held {
    fn expires(&self) -> Timestamp {
        Timestamp::now().after(self.api.options().idempotency.keep)
    }

    async fn release(self, forget: bool) {
        let (request, attempt, expires) = (&self.request, self.attempt, self.expires());
        let released = self
            .api
            .pipeline()
            .metadata()
            .transact("release idempotency key", |tx| async move {
                idempotency::release(&tx, request, attempt, forget, expires).await
            })
            .await;
        if let Err(error) = released {
            tracing::warn!(%error, "an idempotency key was not released; it is free when its time is over");
        }
    }

    /// Keeps the answer, and returns the one to give.
    async fn keep(self, series: SeriesId, answer: Answer) -> Answer {
        let (head, body) = answer.into_parts();
        let small = body.size_hint().exact().is_some_and(|bytes| bytes <= ANSWER_BYTES_MAX);
        let body = if small { body.collect().await.ok() } else { return self.not_kept(head, body).await };
        let bytes = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        let Ok(text) = String::from_utf8(bytes.to_vec()) else {
            return self.not_kept(head, response::full(bytes)).await;
        };
        let headers = head.headers.iter();
        let headers =
            headers.filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_owned())));
        let kept = Kept { status: head.status.as_u16(), headers: headers.collect(), body: text };
        let (request, expires, kept_now) = (&self.request, self.expires(), &kept);
        let finished = self
            .api
            .pipeline()
            .metadata()
            .transact("keep idempotent answer", |tx| async move {
                idempotency::finish(&tx, request, series, kept_now, expires).await
            })
            .await;
        match finished {
            Ok(kept) => kept_answer(kept),
            Err(error) => {
                // What it says is true all the same, and the next attempt finds what was made.
                tracing::warn!(%error, "an answer was not kept for its idempotency key");
                self.release(false).await;
                kept_answer(kept)
            }
        }
    }

    async fn not_kept(self, head: hyper::http::response::Parts, body: response::Body) -> Answer {
        self.release(false).await;
        Answer::from_parts(head, body)
    }
}

fn kept_answer(kept: Kept) -> Answer {
    let mut answer = Answer::new(response::full(Bytes::from(kept.body)));
    *answer.status_mut() = StatusCode::from_u16(kept.status).unwrap_or_default();
    for (name, value) in &kept.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            answer.headers_mut().append(name, value);
        }
    }
    answer
}

/// The photo that an earlier attempt has made in this place, as it was acknowledged, and whether as one that the owner had
/// before; `None` if there is none, and the body is as it was. Otherwise it is read and compared.
///
/// # Errors
/// `idempotency-key-reused`; those of the body and of the store.
pub async fn photo_made(
    api: &Api,
    key: PhotoKey,
    body: &mut darkroom_actors::Body,
) -> Result<Option<(Photo, bool)>, Problem> {
    let bound = find(api, key).await?;
    let Some(bound) = bound else { return Ok(None) };
    let other = || reused("another photo was sent under this idempotency key");
    let (mut hasher, mut received) = (blake3::Hasher::new(), 0);
    while let Some(bytes) = body.next().await {
        let bytes = bytes?;
        received += bytes.len() as u64;
        if received > bound.bytes() {
            return Err(other());
        }
        hasher.update(&bytes);
    }
    if !bound.is_of(&hasher.finalize().into(), &key) {
        return Err(other());
    }
    count("photo_answered");
    Ok(Some(bound.into_answer()))
}

async fn find(api: &Api, key: PhotoKey) -> Result<Option<Bound>, StoreError> {
    let metadata = api.pipeline().metadata();
    metadata.read("look for a bound photo", |tx| async move { idempotency::bound(&tx, &key).await }).await
}

/// The key that a request carries: a string as the draft has it (RFC 9651, section 3.3.3), or bare, as many clients send
/// it. Both are the same key.
fn read_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let malformed = |what: &str| {
        let detail =
            format!("Idempotency-Key {what}: send a new random id, like \"8e03978e-40d5-43e8-bc93\"");
        Err(Problem::new("idempotency-key-malformed", detail))
    };
    let mut values = headers.get_all("idempotency-key").iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return malformed("is given twice");
    }
    let Ok(text) = value.to_str() else { return malformed("is not ASCII") };
    let text = text.trim_matches([' ', '\t']);
    let key = match text.strip_prefix('"') {
        Some(quoted) => unquoted(quoted),
        None => {
            text.bytes().all(|b| b.is_ascii_graphic() && !b"\"\\,;".contains(&b)).then(|| text.to_owned())
        }
    };
    match key {
        None => malformed("is neither a quoted string nor a word"),
        Some(key) if key.is_empty() => malformed("is empty"),
        Some(key) if key.len() > KEY_BYTES_MAX => malformed("is longer than 255 characters"),
        Some(key) => Ok(Some(key)),
    }
}

/// What stands between the quotes, of which the first is gone. Parameters behind the second say nothing here.
fn unquoted(text: &str) -> Option<String> {
    let mut key = String::new();
    let mut chars = text.chars();
    loop {
        match chars.next()? {
            '"' => break,
            '\\' => key.push(chars.next().filter(|c| matches!(c, '"' | '\\'))?),
            c if matches!(c, ' '..='~') => key.push(c),
            _ => return None,
        }
    }
    let rest = chars.as_str().trim_start();
    (rest.is_empty() || rest.starts_with(';')).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(value: &str) -> Result<Option<String>, Problem> {
        let mut headers = HeaderMap::new();
        headers.insert("idempotency-key", value.parse().unwrap());
        read_key(&headers)
    }

    #[test]
    fn a_key_is_a_string_or_a_word() {
        let id = "8e03978e-40d5-43e8-bc93-6894a57f9324";
        for text in [id, &format!("\"{id}\""), &format!(" \"{id}\" ;v=1")] {
            assert_eq!(key(text).unwrap().as_deref(), Some(id), "{text}");
        }
        assert_eq!(key(r#""a \"b\" \\ c""#).unwrap().as_deref(), Some(r#"a "b" \ c"#));
        assert_eq!(read_key(&HeaderMap::new()).unwrap(), None);
        assert_eq!(key(&"k".repeat(255)).unwrap().unwrap().len(), 255);
        let too_long = "k".repeat(256);
        for text in ["", "\"\"", "a b", "a,b", "\"a", "\"a\\n\"", "\"a\"b", "a\"b", "a;b", &too_long] {
            assert!(key(text).unwrap_err().is("idempotency-key-malformed"), "{text}");
        }
        let mut twice = HeaderMap::new();
        twice.append("idempotency-key", HeaderValue::from_static("a"));
        twice.append("idempotency-key", HeaderValue::from_static("b"));
        assert!(read_key(&twice).unwrap_err().is("idempotency-key-malformed"));
    }

    #[test]
    fn everything_that_is_asked_for_makes_the_request() {
        let of = |method: &str, uri: &str, content: &[&[u8]]| {
            let request = Request::builder().method(method).uri(uri).body(()).unwrap();
            Asked::new(&request, content).unwrap().fingerprint
        };
        let same = of("POST", "/v1/photos?duplicate=allow", &[b"raw"]);
        assert_eq!(same, of("POST", "/v1/photos?duplicate=allow", &[b"raw"]));
        let others = [
            of("PUT", "/v1/photos?duplicate=allow", &[b"raw"]),
            of("POST", "/v1/batches?duplicate=allow", &[b"raw"]),
            of("POST", "/v1/photos", &[b"raw"]),
            of("POST", "/v1/photos?duplicate=allow", &[b"ra", b"w"]),
        ];
        assert!(others.iter().all(|other| *other != same));
    }

    #[test]
    fn what_cannot_work_is_refused_by_name() {
        let options = IdempotencyOptions::default();
        assert!(options.validate().is_ok());
        let keep = IdempotencyOptions { keep: Duration::ZERO, ..options.clone() };
        assert!(keep.validate().unwrap_err().contains("idempotency.keep"));
        let keys = IdempotencyOptions { keys_max: 0, ..options };
        assert!(keys.validate().unwrap_err().contains("idempotency.keys_max"));
    }
}
