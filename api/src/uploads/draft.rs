//! The IETF's draft "Resumable Uploads for HTTP" (draft-ietf-httpbis-resumable-upload), interop versions 6 to 8.
//!
//! Where they differ: 6 calls the lifetime among the limits `expires`, answers 201 to a request that appends, and refuses
//! one that appends to a completed upload with 400. The informational answer 104 is not sent, as the draft allows of a
//! server that cannot: hyper has no way to.

use darkroom_actors::Last;
use darkroom_store::model::Timestamp;
use darkroom_store::model::uploads::{Kind, State, Upload};
use hyper::body::Body as _;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{HeaderMap, StatusCode};
use serde_json::json;

use super::work::{self, Begun, Content, Failed, FoundBy, New, Progress};
use super::{PHOTO_LOCATION, invalid_header, location, metadata, set};
use crate::Api;
use crate::digests::Digests;
use crate::idempotency::{Claim, Claimed};
use crate::problem::Problem;
use crate::request::header;
use crate::response::{self, Answer};
use crate::routes::Asking;

/// The type of a body that appends.
const PARTIAL_UPLOAD: &str = "application/partial-upload";
/// Interop versions that are spoken. 7 differs from 8 in nothing that is seen here.
const VERSIONS: std::ops::RangeInclusive<u32> = 6..=8;
/// Where the draft's own problem types are.
const PROBLEM_TYPES: &str = "https://iana.org/assignments/http-problem-types";

/// Which form of the draft a client speaks: the newest, or what will come of it, where it does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Version(u32);

impl Version {
    fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        const NAME: &str = "upload-draft-interop-version";
        let Some(value) = headers.get(NAME) else { return Ok(Self(*VERSIONS.end())) };
        let version = value.to_str().ok().and_then(|text| text.trim().parse().ok());
        version.filter(|version| VERSIONS.contains(version)).map(Self).ok_or_else(|| {
            invalid_header(
                NAME,
                &format!("versions {} to {} are spoken here", VERSIONS.start(), VERSIONS.end()),
            )
        })
    }

    fn is_old(self) -> bool {
        self.0 < 7
    }
}

/// Whether a body of this type appends.
pub(super) fn is_partial(content_type: &str) -> bool {
    content_type.split(';').next().is_some_and(|essence| essence.trim().eq_ignore_ascii_case(PARTIAL_UPLOAD))
}

/// A number in a structured field (RFC 9651, section 3.3.1). "Other values must cause the entire header field to be
/// ignored."
fn integer(headers: &HeaderMap, name: &str) -> Option<u64> {
    let text = header(headers, name)?.trim();
    let is_number = (1..=15).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

/// A truth in a structured field (RFC 9651, section 3.3.6).
fn boolean(headers: &HeaderMap, name: &str) -> Option<bool> {
    match header(headers, name)?.trim() {
        "?1" => Some(true),
        "?0" => Some(false),
        _ => None,
    }
}

/// What a request says of the whole: its length, by either of two ways, which must agree.
fn length(
    headers: &HeaderMap,
    offset: u64,
    bytes: Option<u64>,
    complete: bool,
) -> Result<Option<u64>, Problem> {
    let told = integer(headers, "upload-length");
    let reckoned = bytes.filter(|_| complete).and_then(|bytes| offset.checked_add(bytes));
    match (told, reckoned) {
        (Some(told), Some(reckoned)) if told != reckoned => Err(work::length_mismatch(told, reckoned)),
        (told, reckoned) => Ok(told.or(reckoned)),
    }
}

fn complete(headers: &HeaderMap) -> Result<bool, Problem> {
    boolean(headers, "upload-complete").ok_or_else(|| {
        invalid_header("Upload-Complete", "give ?1 if the body is the end of the file, or else ?0")
    })
}

/// `POST /v1/uploads`.
///
/// # Errors
/// What is wrong with it.
pub(super) async fn create(api: &Api, asking: Asking) -> Result<Answer, Problem> {
    let headers = asking.request.headers();
    let version = Version::of(headers)?;
    let complete = complete(headers)?;
    let bytes = asking.request.body().size_hint().exact();
    let length = match length(headers, 0, bytes, complete) {
        Ok(length) => length,
        Err(problem) => return Ok(failed(api, version, problem.into(), None)),
    };
    let mut wishes = metadata::wishes(api, &asking.caller, asking.request.uri().query(), headers)?;
    let content_type = header(headers, CONTENT_TYPE.as_str()).filter(|value| !is_partial(value));
    wishes.declared_type = wishes.declared_type.or(content_type.map(metadata::declared));
    // A body that is the whole file is what it represents.
    let digests = if complete { Digests::of_file(headers) } else { Digests::of_content(headers) }?;
    work::expect_room(api, &asking.caller, 0, bytes)?;
    let claim = match super::claim(api, &asking, "draft").await? {
        Claimed::Answered(answer) => return Ok(answer),
        Claimed::Go(claim) => claim,
    };
    let new = New { kind: Kind::Plain, length, wishes };
    let outcome = begin(api, asking, (version, complete), new, digests, &claim).await;
    super::told(claim, Ok(outcome)).await
}

/// Begins an upload, with the bytes that come along.
async fn begin(
    api: &Api,
    asking: Asking,
    (version, complete): (Version, bool),
    new: New,
    digests: Digests,
    claim: &Claim,
) -> Answer {
    let found_by = FoundBy::of(claim, new.wishes.content.is_some() || !complete);
    let upload = match work::begin(api, &asking.caller, claim, new).await {
        Ok(Begun::Empty(upload)) => upload,
        Ok(Begun::Further(progress)) => return created(api, version, &progress),
        Ok(Begun::Gone(id)) => {
            let mut answer = response::empty(StatusCode::CREATED);
            set(&mut answer, "location", &location(id));
            return answer;
        }
        Err(error) => return failed(api, version, error, None),
    };
    let (caller, id) = (asking.caller, upload.id);
    let last = if complete { Last::Yes } else { Last::No };
    let content = Content { body: asking.request.into_body(), end: asking.end, digests, length: None, last };
    match work::append_first(api, caller, id, content, found_by).await {
        Ok(progress) => created(api, version, &progress),
        Err(error) => failed(api, version, error, None),
    }
}

/// The photo, or 201, with where the upload is and how far it has come.
fn created(api: &Api, version: Version, progress: &Progress) -> Answer {
    let mut answer = appended(api, version, StatusCode::CREATED, progress);
    set(&mut answer, "location", &location(progress.upload.id));
    answer
}

/// `HEAD /v1/uploads/{id}`: where to go on. Whoever still appends is stopped first.
///
/// # Errors
/// `upload-not-found`; `upload-ended` for one that was refused; what is wrong with one that is whole now.
pub(super) async fn head(api: &Api, asking: &Asking, id: &str) -> Result<Answer, Problem> {
    let version = Version::of(asking.request.headers())?;
    let progress = match work::at_rest(api, &asking.caller, id).await {
        Ok(progress) => progress,
        Err(error) => return Ok(failed(api, version, error, None)),
    };
    if let State::Refused { .. } = progress.upload.state {
        return Ok(failed(api, version, work::ended(&progress.upload).into(), None));
    }
    let mut answer = response::empty(StatusCode::NO_CONTENT);
    retrieval(api, asking.request.headers(), &mut answer, &progress)?;
    Ok(answer)
}

/// The headers by which an offset is told.
pub(super) fn retrieval(
    api: &Api,
    headers: &HeaderMap,
    answer: &mut Answer,
    progress: &Progress,
) -> Result<(), Problem> {
    let version = Version::of(headers)?;
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    standing(api, version, answer, progress);
    if let Some(length) = progress.upload.length {
        set(answer, "upload-length", &length.to_string());
    }
    Ok(())
}

/// `PATCH /v1/uploads/{id}`.
///
/// # Errors
/// What is wrong with it.
pub(super) async fn patch(api: &Api, asking: Asking, id: &str) -> Result<Answer, Problem> {
    let headers = asking.request.headers();
    let version = Version::of(headers)?;
    if !header(headers, CONTENT_TYPE.as_str()).is_some_and(is_partial) {
        let detail = format!("a body that appends has the Content-Type {PARTIAL_UPLOAD}");
        return Err(Problem::new("upload-content-type", detail));
    }
    let offset = integer(headers, "upload-offset")
        .ok_or_else(|| invalid_header("Upload-Offset", "give the byte at which the body begins"))?;
    let complete = complete(headers)?;
    let bytes = asking.request.body().size_hint().exact();
    let length = match length(headers, offset, bytes, complete) {
        Ok(length) => length,
        Err(problem) => return Ok(failed(api, version, problem.into(), Some(offset))),
    };
    let digests = Digests::of_content(headers)?;
    let id = work::parse_id(id)?;
    work::expect_room(api, &asking.caller, offset, bytes)?;
    let caller = asking.caller;
    let last = if complete { Last::Yes } else { Last::No };
    let content = Content { body: asking.request.into_body(), end: asking.end, digests, length, last };
    match work::append(api, &caller, id, offset, content).await {
        Ok(progress) => {
            let status = if version.is_old() { StatusCode::CREATED } else { StatusCode::NO_CONTENT };
            Ok(appended(api, version, status, &progress))
        }
        Err(error) => Ok(failed(api, version, error, Some(offset))),
    }
}

/// The photo, or with `status` that there is none yet.
fn appended(api: &Api, version: Version, status: StatusCode, progress: &Progress) -> Answer {
    let mut answer = match &progress.photo {
        Some(photo) => {
            response::json(if photo.duplicate { StatusCode::OK } else { StatusCode::CREATED }, photo)
        }
        None => response::empty(status),
    };
    standing(api, version, &mut answer, progress);
    answer
}

fn standing(api: &Api, version: Version, answer: &mut Answer, progress: &Progress) {
    let upload = &progress.upload;
    set(answer, "upload-offset", &upload.offset.to_string());
    set(
        answer,
        "upload-complete",
        if progress.photo.is_some() || upload.state.is_end() { "?1" } else { "?0" },
    );
    set(answer, "upload-limit", &limits(api, version, Some(upload)));
    if let Some(photo) = &progress.photo {
        set(answer, PHOTO_LOCATION, &format!("/v1/photos/{}", photo.id));
    }
}

fn limits(api: &Api, version: Version, upload: Option<&Upload>) -> String {
    let max_size = api.pipeline().options().upload_bytes_max;
    let Some(upload) = upload else { return format!("max-size={max_size}") };
    let name = if version.is_old() { "expires" } else { "max-age" };
    format!("max-size={max_size}, {name}={}", upload.expires.since(Timestamp::now()).as_secs())
}

/// A failure in the draft's words, with where the upload stands. `Upload-Complete: ?1` says that going on is in vain.
fn failed(api: &Api, version: Version, failed: Failed, provided: Option<u64>) -> Answer {
    let Failed { problem, upload } = failed;
    let is_over = problem.is_refusal() || upload.as_ref().is_some_and(|upload| upload.state.is_end());
    // Who is told another offset is told no more: the upload may be complete, and this request did not complete it.
    let is_over = is_over && !problem.is("upload-offset-mismatch");
    let is_too_large = problem.status_code() == StatusCode::PAYLOAD_TOO_LARGE;
    let mut answer = match own_type(version, &problem, upload.as_deref()) {
        None => problem.into_answer(),
        Some((name, status)) => {
            let mut body = json!({
                "type": format!("{PROBLEM_TYPES}#{name}"), "title": problem.title, "status": status.as_u16(),
                "detail": problem.detail
            });
            if let (Some(upload), Some(provided)) = (&upload, provided.filter(|_| name == MISMATCHING_OFFSET))
            {
                body["expected-offset"] = upload.offset.into();
                body["provided-offset"] = provided.into();
            }
            let mut answer = response::json(status, &body);
            set(&mut answer, "content-type", "application/problem+json");
            answer
        }
    };
    set(&mut answer, "upload-complete", if is_over { "?1" } else { "?0" });
    if is_too_large {
        set(&mut answer, "upload-limit", &limits(api, version, None));
    }
    if let Some(upload) = upload {
        set(&mut answer, "upload-offset", &upload.offset.to_string());
    }
    answer
}

const MISMATCHING_OFFSET: &str = "mismatching-upload-offset";

/// The draft's own type of this problem, and its status there.
fn own_type(
    version: Version,
    problem: &Problem,
    upload: Option<&Upload>,
) -> Option<(&'static str, StatusCode)> {
    let is_done = upload.is_some_and(|upload| matches!(upload.state, State::Done { .. } | State::Finishing));
    if is_done && (problem.is("upload-ended") || version.is_old() && problem.is("upload-offset-mismatch")) {
        return Some(("completed-upload", StatusCode::BAD_REQUEST));
    }
    if problem.is("upload-offset-mismatch") {
        return Some((MISMATCHING_OFFSET, StatusCode::CONFLICT));
    }
    problem.is("upload-length-mismatch").then_some(("inconsistent-upload-length", StatusCode::BAD_REQUEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        headers
    }

    #[test]
    fn fields_of_another_shape_are_as_if_they_were_not_there() {
        assert_eq!(integer(&headers("upload-offset", "100"), "upload-offset"), Some(100));
        for other in ["-1", "1.5", "\"1\"", "1;a", "", "9999999999999999"] {
            assert_eq!(integer(&headers("upload-offset", other), "upload-offset"), None, "{other}");
        }
        assert_eq!(boolean(&headers("upload-complete", "?1"), "upload-complete"), Some(true));
        assert_eq!(boolean(&headers("upload-complete", "?0"), "upload-complete"), Some(false));
        assert_eq!(boolean(&headers("upload-complete", "1"), "upload-complete"), None);
    }

    #[test]
    fn two_words_on_the_length_must_agree() {
        let told = headers("upload-length", "100");
        assert_eq!(length(&told, 60, Some(40), true).unwrap(), Some(100));
        assert_eq!(length(&told, 60, Some(10), false).unwrap(), Some(100));
        assert!(length(&told, 60, Some(41), true).is_err());
        assert_eq!(length(&HeaderMap::new(), 60, Some(40), true).unwrap(), Some(100));
        assert_eq!(length(&HeaderMap::new(), 60, Some(40), false).unwrap(), None);
    }

    #[test]
    fn versions_that_are_not_spoken_are_refused() {
        let version =
            |value| Version::of(&headers("upload-draft-interop-version", value)).map(|version| version.0);
        assert_eq!((version("6").unwrap(), version("8").unwrap()), (6, 8));
        assert!(version("5").is_err() && version("9").is_err() && version("x").is_err());
        assert_eq!(Version::of(&HeaderMap::new()).unwrap(), Version(8));
    }
}
