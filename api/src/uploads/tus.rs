//! tus 1.0 (<https://tus.io/protocols/resumable-upload>): core, creation, creation-with-upload, creation-defer-length,
//! expiration, checksum, termination, concatenation.

use std::time::SystemTime;

use darkroom_actors::Last;
use darkroom_store::model::UploadId;
use darkroom_store::model::uploads::{Joined, Kind, State, Upload, Wishes};
use hyper::body::Body as _;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{HeaderMap, StatusCode};

use super::parts::{self, Concat};
use super::work::{self, Begun, Content, Failed, FoundBy, New, Progress};
use super::{PHOTO_LOCATION, bytes_in, checksum, invalid_header, location, metadata, set};
use crate::Api;
use crate::digests::Digests;
use crate::idempotency::{Claim, Claimed};
use crate::problem::Problem;
use crate::request::header;
use crate::response::{self, Answer};
use crate::routes::Asking;

/// The one version that is spoken.
const VERSION: &str = "1.0.0";
const EXTENSIONS: &str =
    "creation,creation-with-upload,creation-defer-length,expiration,checksum,termination,concatenation";
/// The type of a body that appends.
const OFFSET_STREAM: &str = "application/offset+octet-stream";
/// tus' own status for bytes that are not those of their checksum.
const CHECKSUM_MISMATCH: u16 = 460;

/// Says what can be done here.
pub(super) fn announce(api: &Api, answer: &mut Answer) {
    set(answer, "tus-resumable", VERSION);
    set(answer, "tus-version", VERSION);
    set(answer, "tus-extension", EXTENSIONS);
    set(answer, "tus-checksum-algorithm", checksum::ALGORITHMS);
    set(answer, "tus-max-size", &api.pipeline().options().upload_bytes_max.to_string());
}

/// The answer with what every answer of tus has, whatever it is.
pub(super) fn answered(result: Result<Answer, Problem>) -> Answer {
    let mut answer = result.unwrap_or_else(into_answer);
    set(&mut answer, "tus-resumable", VERSION);
    answer
}

fn into_answer(problem: Problem) -> Answer {
    let is_version = problem.is("tus-version-unsupported");
    let problem = if problem.is("upload-checksum-mismatch") {
        Problem { status: CHECKSUM_MISMATCH, ..problem }
    } else {
        problem
    };
    let mut answer = problem.into_answer();
    if is_version {
        set(&mut answer, "tus-version", VERSION);
    }
    answer
}

/// A failure, with where the upload stands.
fn failed(failed: Failed) -> Answer {
    let mut answer = into_answer(failed.problem);
    if let Some(upload) = failed.upload.filter(|upload| !upload.state.is_end()) {
        set(&mut answer, "upload-offset", &upload.offset.to_string());
        expires(&mut answer, &upload);
    }
    answer
}

/// Refuses other versions of the protocol.
pub(super) fn check_version(headers: &HeaderMap) -> Result<(), Problem> {
    match header(headers, "tus-resumable") {
        Some(VERSION) => Ok(()),
        _ => Err(Problem::new(
            "tus-version-unsupported",
            format!("the header Tus-Resumable is missing or of another version: {VERSION} is spoken here"),
        )),
    }
}

fn is_offset_stream(headers: &HeaderMap) -> bool {
    let essence = |value: &str| value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    header(headers, CONTENT_TYPE.as_str()).is_some_and(|value| essence(value) == OFFSET_STREAM)
}

fn check_content_type(headers: &HeaderMap) -> Result<(), Problem> {
    if is_offset_stream(headers) {
        return Ok(());
    }
    Err(Problem::new(
        "upload-content-type",
        format!("a body that appends has the Content-Type {OFFSET_STREAM}"),
    ))
}

/// `POST /v1/uploads`.
///
/// # Errors
/// What is wrong with it.
pub(super) async fn create(api: &Api, asking: Asking) -> Result<Answer, Problem> {
    let headers = asking.request.headers();
    check_version(headers)?;
    let wishes = metadata::wishes(api, &asking.caller, asking.request.uri().query(), headers)?;
    let concat = parts::parse(headers)?;
    let length = length(&asking, &concat)?;
    let digests = checksum::announced(headers)?;
    let has_content = !asking.request.body().is_end_stream() && !matches!(concat, Concat::Final(_));
    if has_content {
        check_content_type(headers)?;
        work::expect_room(api, &asking.caller, 0, asking.request.body().size_hint().exact())?;
    }
    let claim = match super::claim(api, &asking, "tus").await? {
        Claimed::Answered(answer) => return Ok(answer),
        Claimed::Go(claim) => claim,
    };
    let outcome = match concat {
        Concat::Final(parts) => join(api, asking, parts, wishes, &claim).await,
        Concat::Partial => {
            begin(api, asking, New { kind: Kind::Partial, length, wishes }, digests, &claim).await
        }
        Concat::None => begin(api, asking, New { kind: Kind::Plain, length, wishes }, digests, &claim).await,
    };
    super::told(claim, outcome).await
}

/// The length that is announced, if it is not to be told later.
fn length(asking: &Asking, concat: &Concat) -> Result<Option<u64>, Problem> {
    let headers = asking.request.headers();
    let deferred = headers.get("upload-defer-length").map(HeaderValue::as_bytes);
    if matches!(concat, Concat::Final(_)) {
        if headers.contains_key("upload-length") || deferred.is_some() {
            let advice = "a final upload's length is that of its parts: leave it out";
            return Err(invalid_header("Upload-Length", advice));
        }
        return Ok(None);
    }
    let length = bytes_in(asking, "upload-length")?;
    match (length, deferred) {
        (Some(_), None) | (None, Some(b"1")) => Ok(length),
        (_, Some(b"1") | None) => Err(invalid_header("Upload-Length", "give it, or Upload-Defer-Length: 1")),
        _ => Err(invalid_header("Upload-Defer-Length", "its value is 1")),
    }
}

/// Begins an upload, with the bytes that come along.
async fn begin(
    api: &Api,
    asking: Asking,
    new: New,
    digests: Digests,
    claim: &Claim,
) -> Result<Answer, Problem> {
    let found_by = FoundBy::of(claim, new.wishes.content.is_some());
    let upload = match work::begin(api, &asking.caller, claim, new).await {
        Ok(Begun::Empty(upload)) => upload,
        Ok(Begun::Further(progress)) => return Ok(created(&progress)),
        Ok(Begun::Gone(id)) => return Ok(made(id)),
        Err(error) => return Ok(failed(error)),
    };
    if asking.request.body().is_end_stream() {
        return Ok(created(&Progress { upload, photo: None }));
    }
    let (caller, id) = (asking.caller, upload.id);
    let body = asking.request.into_body();
    let content = Content { body, end: asking.end, digests, length: None, last: Last::AtLength };
    match work::append_first(api, caller, id, content, found_by).await {
        Ok(progress) => Ok(created(&progress)),
        Err(error) => Ok(into_answer(error.problem)),
    }
}

async fn join(
    api: &Api,
    asking: Asking,
    ids: Vec<UploadId>,
    wishes: Wishes,
    claim: &Claim,
) -> Result<Answer, Problem> {
    if let Some(joined) = claim.made() {
        return Ok(match work::begun_before(api, &asking.caller, joined).await {
            Ok(Begun::Further(progress)) => created(&progress),
            Ok(Begun::Empty(upload)) => created(&Progress { upload, photo: None }),
            Ok(Begun::Gone(id)) => made(id),
            Err(error) => failed(error),
        });
    }
    crate::batches::admitted(api, &asking.caller.owner, wishes.batch).await?;
    crate::albums::admitted(api, &asking.caller.owner, wishes.fields.album).await?;
    let concat = header(asking.request.headers(), "upload-concat").map(ToOwned::to_owned);
    let lease = api.admit(&asking.caller, None).await?;
    let wishes = Wishes { concat, ..wishes };
    let owner = asking.caller.owner.clone();
    let problem = match api.pipeline().join_uploads(owner, ids, wishes, claim.upload_key()).await? {
        Joined::Done(upload) => {
            return Ok(work::finish(api, upload, lease)
                .await
                .map_or_else(failed, |progress| created(&progress)));
        }
        Joined::Missing(id) => work::not_found(&id.to_string()),
        Joined::Gone => work::not_found("of this idempotency key"),
        Joined::Unfinished(id) => Problem::new(
            "upload-part-unfinished",
            format!("the part {id} lacks bytes: send them, then join the parts"),
        ),
        Joined::Taken(id) => Problem::new(
            "upload-ended",
            format!("the part {id} belongs to another upload already: send it again"),
        ),
        Joined::TooLarge(bytes) => {
            work::check_length(api, Some(bytes)).err().unwrap_or_else(|| work::not_found("parts"))
        }
        Joined::TooManyPieces(_) => {
            let detail =
                "the parts came in so many small requests that they cannot be joined: send larger ones";
            Problem::new("upload-too-fragmented", detail)
        }
    };
    Err(problem)
}

/// 201, with where the upload is and how far it has come.
fn created(progress: &Progress) -> Answer {
    let mut answer = made(progress.upload.id);
    standing(&mut answer, progress);
    answer
}

/// 201, with where the upload is, or was.
fn made(id: UploadId) -> Answer {
    let mut answer = response::empty(StatusCode::CREATED);
    set(&mut answer, "location", &location(id));
    answer
}

/// How far an upload has come, and what it has become.
fn standing(answer: &mut Answer, progress: &Progress) {
    set(answer, "upload-offset", &progress.upload.offset.to_string());
    expires(answer, &progress.upload);
    if let Some(photo) = &progress.photo {
        set(answer, PHOTO_LOCATION, &format!("/v1/photos/{}", photo.id));
    }
}

fn expires(answer: &mut Answer, upload: &Upload) {
    set(answer, "upload-expires", &httpdate::fmt_http_date(SystemTime::from(upload.expires)));
}

/// `HEAD /v1/uploads/{id}`: where to go on. Whoever still appends is stopped first.
///
/// # Errors
/// `upload-not-found`; `upload-ended` for one that was refused; what is wrong with one that is whole now.
pub(super) async fn head(api: &Api, asking: &Asking, id: &str) -> Result<Answer, Problem> {
    check_version(asking.request.headers())?;
    let progress = match work::at_rest(api, &asking.caller, id).await {
        Ok(progress) => progress,
        Err(error) => return Ok(failed(error)),
    };
    let upload = &progress.upload;
    if let State::Refused { .. } = upload.state {
        return Err(work::ended(upload));
    }
    let mut answer = response::empty(StatusCode::OK);
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    standing(&mut answer, &progress);
    match upload.length {
        Some(length) => set(&mut answer, "upload-length", &length.to_string()),
        None => set(&mut answer, "upload-defer-length", "1"),
    }
    if let Some(metadata) = &upload.wishes.as_sent {
        set(&mut answer, "upload-metadata", metadata);
    }
    match (&upload.kind, &upload.wishes.concat) {
        (Kind::Partial, _) => set(&mut answer, "upload-concat", "partial"),
        (_, Some(concat)) => set(&mut answer, "upload-concat", concat),
        _ => {}
    }
    Ok(answer)
}

/// `PATCH /v1/uploads/{id}`.
///
/// # Errors
/// What is wrong with it.
pub(super) async fn patch(api: &Api, asking: Asking, id: &str) -> Result<Answer, Problem> {
    let headers = asking.request.headers();
    check_version(headers)?;
    check_content_type(headers)?;
    let offset = bytes_in(&asking, "upload-offset")?
        .ok_or_else(|| invalid_header("Upload-Offset", "give the byte at which the body begins"))?;
    let digests = checksum::announced(headers)?;
    let length = bytes_in(&asking, "upload-length")?;
    let id = work::parse_id(id)?;
    work::expect_room(api, &asking.caller, offset, asking.request.body().size_hint().exact())?;
    let caller = asking.caller;
    let body = asking.request.into_body();
    let content = Content { body, end: asking.end, digests, length, last: Last::AtLength };
    match work::append(api, &caller, id, offset, content).await {
        Ok(progress) => {
            let mut answer = response::empty(StatusCode::NO_CONTENT);
            standing(&mut answer, &progress);
            Ok(answer)
        }
        Err(error) => Ok(failed(error)),
    }
}
