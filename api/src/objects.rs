//! Originals and variants: the bytes, with caching, conditions and ranges.

use std::ops::Range;
use std::time::{Duration, SystemTime};

use darkroom_actors::{Preset, WITHOUT_PRIVATE_VERSION};
use darkroom_store::StoreError;
use darkroom_store::model::photos::{Photo, State, Variant};
use darkroom_store::model::visibility::{Relation, Viewer};
use darkroom_store::model::{ContentHash, PhotoId};
use darkroom_store::objects::{ObjectKey, ObjectReader, ObjectStore};
use hyper::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderName, HeaderValue,
    LAST_MODIFIED, LOCATION, VARY,
};
use hyper::{HeaderMap, Method, StatusCode};
use tokio::time::Instant;

use crate::Api;
use crate::accept;
use crate::auth::signed_urls::PARAMETERS;
use crate::caller::Caller;
use crate::conditional::{Requested, Validators, is_unmodified, requested_range};
use crate::links::{self, Wanted};
use crate::photos::{Seen, find_seen, parse_id, wait_until_seen};
use crate::problem::Problem;
use crate::request::{Query, preferred_wait};
use crate::response::{self, Answer};
use crate::view;

/// The link says which bytes it means, so they never change.
const IMMUTABLE: &str = "private, max-age=31536000, immutable";
/// The same of a photo that everybody may see: caches that many share may keep it.
const IMMUTABLE_PUBLIC: &str = "public, max-age=31536000, immutable";
/// To be asked about each time, by entity tag.
const REVALIDATE: &str = "private, no-cache";
/// The same of a photo that everybody may see.
const REVALIDATE_PUBLIC: &str = "public, no-cache";
/// When to come back for a variant that is being made.
const RETRY_SECONDS: u64 = 1;

/// What of a request matters here.
#[derive(Clone, Copy)]
pub struct Asked<'r> {
    /// `GET` or `HEAD`.
    pub method: &'r Method,
    /// Its headers.
    pub headers: &'r HeaderMap,
    /// Its query.
    pub query: Option<&'r str>,
}

/// `GET /v1/photos/{id}/original`. As it was uploaded it is its owner's, unless the configuration gives it to whoever may see
/// the photo: it may tell a place and serial numbers. Without those, everybody who may see the photo gets it.
///
/// # Errors
/// `photo-not-found`, `original-private`, `range-not-satisfiable`, `invalid-parameter`, and those of the store; with
/// `strip=private` also those of reading the file, and `overloaded`.
pub async fn original(api: &Api, caller: &Caller, asked: Asked<'_>, id: &str) -> Result<Answer, Problem> {
    let query = Query::parse(asked.query, &[&["strip"], PARAMETERS].concat())?;
    let id = parse_id(id)?;
    let viewer = links::viewer(api, caller, asked.query, (id, Wanted::Original)).await?;
    let who = (caller, viewer);
    match query.get("strip") {
        None | Some("none") => by_record(|| try_original(api, who, asked, id)).await,
        Some("private") => by_record(|| try_without_private(api, who, asked, id)).await,
        Some(other) => {
            let detail = format!("strip={other:?} is neither \"none\" nor \"private\"");
            Err(Problem::new("invalid-parameter", detail))
        }
    }
}

/// Answers from a photo's record and the object that it names. An object may be replaced or deleted between reading the
/// record and opening it: then the record, read once more, says which.
async fn by_record<F>(attempt: impl Fn() -> F) -> Result<Answer, Problem>
where
    F: Future<Output = Result<Answer, Problem>>,
{
    match attempt().await {
        Err(problem) if problem.is("object-missing") => attempt().await,
        answer => answer,
    }
}

/// The original without place and serial numbers, its pixels untouched.
async fn try_without_private(
    api: &Api,
    (caller, viewer): (&Caller, Viewer),
    asked: Asked<'_>,
    id: PhotoId,
) -> Result<Answer, Problem> {
    let seen = find_seen(api, viewer, id).await?;
    let photo = &seen.photo;
    let original = &photo.original;
    // What is removed may change from one version of the daemon to the next, so nothing is cached for good, and no date
    // tells what was removed then.
    let etag = format!("\"{}-private{WITHOUT_PRIVATE_VERSION}\"", original.hash.short());
    let mut answer = if is_unmodified(asked.headers, &Validators { etag: &etag, modified: None }) {
        response::empty(StatusCode::NOT_MODIFIED)
    } else {
        let mut answer = response::empty(StatusCode::OK);
        if asked.method == Method::GET {
            let deadline = Instant::now() + api.options().body_timeout;
            let stripped = api.pipeline().without_private(photo).await?;
            let stripped = stripped.ok_or_else(|| missing(&original.object))?;
            answer.headers_mut().insert(CONTENT_LENGTH, stripped.len().into());
            *answer.body_mut() = response::held(stripped, deadline);
        } else {
            // The length is known only when the work is done, which HEAD is not worth (RFC 9110, section 9.3.2).
            darkroom_actors::strippable(original)?;
            *answer.body_mut() = response::unmeasured();
        }
        set(&mut answer, CONTENT_TYPE, &original.media_type);
        answer
    };
    set(&mut answer, ETAG, &etag);
    set(&mut answer, CACHE_CONTROL, REVALIDATE);
    note_download(api, caller, asked, &seen, &answer);
    Ok(answer)
}

/// Counts a download, if all of the original goes to somebody else than its owner.
fn note_download(api: &Api, caller: &Caller, asked: Asked<'_>, seen: &Seen, answer: &Answer) {
    let is_whole = asked.method == Method::GET && answer.status() == StatusCode::OK;
    // By a link others see as its owner does.
    if is_whole && caller.viewer.user() != seen.photo.owner.user() {
        api.note_download(seen.photo.id);
    }
}

async fn try_original(
    api: &Api,
    (caller, viewer): (&Caller, Viewer),
    asked: Asked<'_>,
    id: PhotoId,
) -> Result<Answer, Problem> {
    let seen = find_seen(api, viewer, id).await?;
    if seen.relation != Relation::Owner && !api.options().people.originals_for_viewers {
        let detail = "as it was uploaded the original is its owner's alone, since it may tell a place and serial numbers: ask \
                      for it with ?strip=private";
        return Err(Problem::new("original-private", detail));
    }
    let photo = &seen.photo;
    let original = &photo.original;
    let object = Object {
        key: &original.object,
        media_type: &original.media_type,
        bytes: original.bytes,
        hash: &original.hash,
        modified: Some(photo.created.into()),
        cache: REVALIDATE,
    };
    let answer = object.answer(api, asked).await?;
    note_download(api, caller, asked, &seen, &answer);
    Ok(answer)
}

/// `GET /v1/photos/{id}/variants/{preset}`.
///
/// # Errors
/// `photo-not-found`, `preset-not-found`, `photo-failed`, `variant-not-ready`, `range-not-satisfiable`, and
/// those of the store.
pub async fn variant(
    api: &Api,
    caller: &Caller,
    asked: Asked<'_>,
    id: &str,
    preset: &str,
) -> Result<Answer, Problem> {
    let query = Query::parse(asked.query, &[&["v"], PARAMETERS].concat())?;
    let id = parse_id(id)?;
    let viewer = links::viewer(api, caller, asked.query, (id, Wanted::Preset(preset))).await?;
    by_record(|| try_variant(api, viewer, asked, &query, (id, preset))).await
}

async fn try_variant(
    api: &Api,
    viewer: Viewer,
    asked: Asked<'_>,
    query: &Query,
    (id, preset): (PhotoId, &str),
) -> Result<Answer, Problem> {
    let seen = find_seen(api, viewer, id).await?;
    let configured = api.pipeline().presets().iter().find(|known| known.name == preset);
    let Seen { photo, is_public, .. } =
        with_variant(api, viewer, asked.headers, seen, (preset, configured)).await?;
    let made = view::made_in(&photo, preset);
    let first = *made.first().ok_or_else(|| not_ready(preset))?;
    let cache = match query.get("v") {
        None if is_public => REVALIDATE_PUBLIC,
        None => REVALIDATE,
        Some(v) if v == view::version(&made) && is_public => IMMUTABLE_PUBLIC,
        Some(v) if v == view::version(&made) => IMMUTABLE,
        Some(_) => {
            let link = links::parameters_of(asked.query);
            return Ok(redirect(&(view::variant_url(&photo, preset, &made) + &link)));
        }
    };
    // By what there is, and by what there will be: the answer may be cached over a change of the configuration.
    let negotiated = made.len() > 1 || configured.is_some_and(|preset| preset.variants_max() > 1);
    let variant = accept::best(&made, first, asked.headers);
    let object = Object {
        key: &variant.object,
        media_type: &variant.media_type,
        bytes: variant.bytes,
        hash: &variant.hash,
        // Files of one preset are made in the same second: their dates do not tell one from the other.
        modified: (!negotiated).then(|| variant.made.into()),
        cache,
    };
    let mut answer = object.answer(api, asked).await?;
    if negotiated {
        answer.headers_mut().insert(VARY, HeaderValue::from_static("accept"));
    }
    Ok(answer)
}

/// The photo, once it has the variant or the client has waited long enough. An outdated variant is served
/// while its successor is being made.
async fn with_variant(
    api: &Api,
    viewer: Viewer,
    headers: &HeaderMap,
    seen: Seen,
    (preset, configured): (&str, Option<&Preset>),
) -> Result<Seen, Problem> {
    let photo = &seen.photo;
    let made = photo.variants.iter().find(|variant| variant.preset == preset);
    let is_current = |variant: &Variant| configured.is_none_or(|p| p.digest() == variant.preset_digest);
    match (made, configured) {
        (Some(variant), _) if is_current(variant) => return Ok(seen),
        (None, None) => return Err(preset_not_found(api, preset)),
        _ => {}
    }
    let outdated = made.is_some();
    if photo.state == State::Failed {
        return Err(failed(photo));
    }
    let hopeless = configured.is_some_and(|preset| photo.unrenderable.contains(&preset.digest()));
    if photo.state == State::Ready && !hopeless {
        match api.pipeline().request_render(photo.id).await {
            // What can be read goes on being read.
            Err(error) if outdated => {
                tracing::warn!(%error, "an outdated variant could not be asked for anew");
            }
            requested => requested?,
        }
    }
    if outdated {
        return Ok(seen);
    }
    if hopeless {
        return Err(unrenderable(preset));
    }
    let wait = preferred_wait(headers).unwrap_or(Duration::ZERO).min(api.options().wait_max);
    let has_it = |photo: &Photo| {
        photo.state == State::Failed
            || photo.variants.iter().any(|variant| variant.preset == preset)
            || configured.is_some_and(|preset| photo.unrenderable.contains(&preset.digest()))
    };
    let id = photo.id;
    let seen = wait_until_seen(api, viewer, (id, wait), has_it).await?;
    let seen = seen.ok_or_else(|| Problem::photo_not_found(&id.to_string()))?;
    if seen.photo.state == State::Failed { Err(failed(&seen.photo)) } else { Ok(seen) }
}

fn preset_not_found(api: &Api, preset: &str) -> Problem {
    let known: Vec<_> = api.pipeline().presets().iter().map(|preset| preset.name.as_str()).collect();
    Problem::new(
        "preset-not-found",
        format!("there is no preset {preset:?}: the presets are {}", known.join(", ")),
    )
}

fn failed(photo: &Photo) -> Problem {
    let reason = photo.failure.as_ref().map_or("no reason is recorded", |failure| &failure.detail);
    Problem::new("photo-failed", format!("the photo has no variants, since processing failed: {reason}"))
}

fn unrenderable(preset: &str) -> Problem {
    let detail =
        format!("the photo could not be made in the preset {preset:?}; its other variants are there");
    Problem::new("photo-failed", detail)
}

fn not_ready(preset: &str) -> Problem {
    Problem::new("variant-not-ready", format!("the variant {preset:?} is being made; ask again"))
        .retry_after(RETRY_SECONDS)
}

fn redirect(to: &str) -> Answer {
    let mut answer = response::empty(StatusCode::FOUND);
    set(&mut answer, LOCATION, to);
    set(&mut answer, CACHE_CONTROL, REVALIDATE);
    answer
}

/// Bytes to be served.
struct Object<'o> {
    key: &'o ObjectKey,
    media_type: &'o str,
    bytes: u64,
    hash: &'o ContentHash,
    /// Sent and compared, where it tells this representation from others.
    modified: Option<SystemTime>,
    cache: &'static str,
}

impl Object<'_> {
    async fn answer(&self, api: &Api, asked: Asked<'_>) -> Result<Answer, Problem> {
        let etag = format!("\"{}\"", self.hash.short());
        let validators = Validators { etag: &etag, modified: self.modified };
        if is_unmodified(asked.headers, &validators) {
            let mut answer = response::empty(StatusCode::NOT_MODIFIED);
            self.describe(&mut answer, &etag);
            return Ok(answer);
        }
        // RFC 9110, section 14.2: a range is for GET only.
        let requested = if asked.method == Method::GET {
            requested_range(asked.headers, self.bytes, &validators)
        } else {
            Requested::Whole
        };
        let (status, range) = match requested {
            Requested::Whole => (StatusCode::OK, 0..self.bytes),
            Requested::Part(range) => (StatusCode::PARTIAL_CONTENT, range),
            Requested::Unsatisfiable => return Ok(self.unsatisfiable()),
        };
        let length = range.end - range.start;
        let mut answer = response::empty(status);
        if status == StatusCode::PARTIAL_CONTENT {
            let value = format!("bytes {}-{}/{}", range.start, range.end - 1, self.bytes);
            set(&mut answer, CONTENT_RANGE, &value);
        }
        if asked.method == Method::GET {
            *answer.body_mut() = response::stream(self.open(api.pipeline().objects(), range).await?);
        }
        self.describe(&mut answer, &etag);
        answer.headers_mut().insert(CONTENT_LENGTH, length.into());
        set(&mut answer, CONTENT_TYPE, self.media_type);
        Ok(answer)
    }

    /// Whoever asks for all of it gets it from a reader that knows it: with the last bytes, that compares the whole with
    /// what was stored, and breaks the answer off.
    async fn open(&self, objects: &ObjectStore, range: Range<u64>) -> Result<ObjectReader, Problem> {
        let asked = Some(range.clone()).filter(|range| *range != (0..self.bytes));
        let reader = objects.get(self.key, asked).await?.ok_or_else(|| missing(self.key))?;
        if reader.remaining() != range.end - range.start {
            return Err(Problem::from(StoreError::Corrupt {
                what: format!("object {}", self.key),
                detail: format!("it has {} bytes, and {} are recorded of it", reader.remaining(), self.bytes),
            }));
        }
        Ok(reader)
    }

    fn describe(&self, answer: &mut Answer, etag: &str) {
        set(answer, ETAG, etag);
        if let Some(modified) = self.modified {
            set(answer, LAST_MODIFIED, &httpdate::fmt_http_date(modified));
        }
        set(answer, CACHE_CONTROL, self.cache);
        set(answer, ACCEPT_RANGES, "bytes");
    }

    fn unsatisfiable(&self) -> Answer {
        let detail = format!("the object has {} bytes; ask for a range that begins within them", self.bytes);
        let mut answer = Problem::new("range-not-satisfiable", detail).into_answer();
        set(&mut answer, CONTENT_RANGE, &format!("bytes */{}", self.bytes));
        answer
    }
}

fn missing(object: &ObjectKey) -> Problem {
    tracing::warn!(%object, "a recorded object is missing from the object store");
    Problem::new("object-missing", "the stored bytes cannot be found; tell the operator")
}

fn set(answer: &mut Answer, name: HeaderName, value: &str) {
    match HeaderValue::from_str(value) {
        Ok(value) => {
            answer.headers_mut().insert(name, value);
        }
        Err(error) => tracing::error!(%name, %error, "a header could not be written"),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use darkroom_store::objects::ObjectKind;
    use darkroom_store::objects::filesystem::FilesystemOptions;
    use darkroom_store::objects::s3::S3Options;
    use darkroom_test_s3::{BUCKET, KEY_ID, SECRET_KEY, Server};
    use http_body_util::{BodyExt, Collected};

    use super::*;

    const CONTENT: &[u8] = &[7; 600_000];
    const BYTES: u64 = CONTENT.len() as u64;

    fn object<'o>(key: &'o ObjectKey, bytes: u64, hash: &'o ContentHash) -> Object<'o> {
        Object { key, media_type: "image/jpeg", bytes, hash, modified: None, cache: REVALIDATE }
    }

    #[tokio::test]
    async fn an_answer_with_all_of_a_damaged_object_breaks_off() {
        let server = Server::start();
        let options = S3Options {
            bucket: BUCKET.to_owned(),
            endpoint: Some(server.endpoint()),
            credentials: Some((KEY_ID.to_owned(), SECRET_KEY.to_owned())),
            path_style: true,
            ..S3Options::default()
        };
        let objects = ObjectStore::open_s3(options).await.unwrap();
        let (key, hash) = (ObjectKey::new(ObjectKind::Variant), ContentHash::of(CONTENT));
        objects.put(&key, Bytes::from_static(CONTENT)).await.unwrap();
        let served = async |range| {
            let reader = object(&key, BYTES, &hash).open(&objects, range).await.unwrap();
            response::stream(reader).collect().await.map(Collected::to_bytes)
        };
        assert_eq!(served(0..BYTES).await.unwrap(), CONTENT);
        server.damage(key.as_str());
        served(0..BYTES).await.unwrap_err();
    }

    #[tokio::test]
    async fn an_object_of_another_length_than_is_recorded_is_not_served() {
        let home = tempfile::tempdir().unwrap();
        let objects = ObjectStore::open_filesystem(home.path(), FilesystemOptions::default()).await.unwrap();
        let (key, hash) = (ObjectKey::new(ObjectKind::Original), ContentHash::of(CONTENT));
        objects.put(&key, Bytes::from_static(CONTENT)).await.unwrap();
        for recorded in [BYTES - 1, BYTES + 1] {
            let problem = object(&key, recorded, &hash).open(&objects, 0..recorded).await.unwrap_err();
            assert!(problem.is("internal-error"), "{problem:?}");
        }
        assert_eq!(object(&key, BYTES, &hash).open(&objects, 3..9).await.unwrap().remaining(), 6);
    }
}
