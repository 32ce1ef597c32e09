//! `/v1/uploads`: files that come in more than one request, over two protocols on the same resource.
//!
//! - [`tus`]: tus 1.0. [`draft`]: the IETF's draft "Resumable Uploads for HTTP". Each reads its headers and writes its answers.
//! - `work`: what both do with an upload: begin, append, finish, end.
//! - `metadata`: `Upload-Metadata`. `checksum`: `Upload-Checksum`. `parts`: `Upload-Concat`.
//! - `view`: an upload as JSON.
//!
//! A request is one of tus if it says `Tus-Resumable`, and one of the draft if it says `Upload-Complete` or
//! `Upload-Draft-Interop-Version`. Where neither is said, the method and the type of the body tell.

mod checksum;
pub mod draft;
mod metadata;
mod parts;
pub mod tus;
mod view;
mod work;

use darkroom_store::model::UploadId;
use hyper::body::Body as _;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, StatusCode};

use crate::Api;
use crate::idempotency::{self, Asked, Claim, Claimed};
use crate::problem::Problem;
use crate::request::header;
use crate::response::Answer;
use crate::routes::{Asking, Routed, Routes, not_allowed};

/// What is answered here.
pub const ROUTES: Routes = &[
    ("OPTIONS", "/v1/uploads"),
    ("POST", "/v1/uploads"),
    ("OPTIONS", "/v1/uploads/{id}"),
    ("GET", "/v1/uploads/{id}"),
    ("PATCH", "/v1/uploads/{id}"),
    ("DELETE", "/v1/uploads/{id}"),
];

const ALL: &str = "/v1/uploads";
const ONE: &str = "/v1/uploads/{id}";

/// Where the photo is that an upload has become.
const PHOTO_LOCATION: &str = "photo-location";

/// Which protocol a request speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Tus,
    Draft,
}

impl Protocol {
    fn of(asking: &Asking, method: &Method) -> Self {
        let headers = asking.request.headers();
        if headers.contains_key("tus-resumable") {
            return Self::Tus;
        }
        let says = |name: &str| headers.contains_key(name);
        let is_partial = header(headers, CONTENT_TYPE.as_str()).is_some_and(draft::is_partial);
        let is_draft = says("upload-complete") || says("upload-draft-interop-version") || is_partial;
        // Who asks where to go on, or wants no more of it, has said all that there is to say.
        let says_all = [Method::HEAD, Method::GET, Method::DELETE].contains(method);
        if is_draft || says_all { Self::Draft } else { Self::Tus }
    }
}

/// What is below `/v1/uploads`.
pub async fn route(api: &Api, asking: Asking, rest: &[&str]) -> Routed {
    let method = match method(&asking) {
        Ok(method) => method,
        Err(problem) => return (ALL, Err(problem)),
    };
    match rest {
        [] => (ALL, all(api, asking, &method).await),
        [id] => (ONE, one(api, asking, &method, id).await),
        _ => (
            "unknown",
            Err(Problem::new("not-found", "there is nothing here: an upload is /v1/uploads/{id}")),
        ),
    }
}

/// The method that is meant: clients that can only send POST say so in a header.
fn method(asking: &Asking) -> Result<Method, Problem> {
    match header(asking.request.headers(), "x-http-method-override") {
        None => Ok(asking.request.method().clone()),
        Some(name) => match name {
            "PATCH" => Ok(Method::PATCH),
            "DELETE" => Ok(Method::DELETE),
            "HEAD" => Ok(Method::HEAD),
            "POST" => Ok(Method::POST),
            _ => Err(invalid_header("X-HTTP-Method-Override", "give PATCH, DELETE or HEAD")),
        },
    }
}

/// Headers that make a creation what it is, beside its query. Bytes that come with it are known by their length and their
/// digests, as far as those are told.
const CONTENT: [&str; 10] = [
    "upload-length",
    "upload-defer-length",
    "upload-metadata",
    "upload-concat",
    "upload-complete",
    "upload-checksum",
    "content-type",
    "content-digest",
    "repr-digest",
    "content-md5",
];

/// Asks whether an upload is to be begun by this request, or was by an earlier one under the same key.
///
/// # Errors
/// Those of [`idempotency::claim`], and `idempotency-key-malformed`.
async fn claim(api: &Api, asking: &Asking, protocol: &str) -> Result<Claimed, Problem> {
    let headers = asking.request.headers();
    let bytes = asking.request.body().size_hint().exact().map(|bytes| bytes.to_string()).unwrap_or_default();
    let said = CONTENT
        .iter()
        .flat_map(|name| headers.get_all(*name).iter().flat_map(|value| [name.as_bytes(), value.as_bytes()]));
    let content: Vec<_> = [protocol.as_bytes(), bytes.as_bytes()].into_iter().chain(said).collect();
    let asked = Asked::new(&asking.request, &content)?;
    idempotency::claim(api, &asking.caller.owner, asked, false).await
}

/// Ends the claim of a creation. An answer that tells of the photo is the last word, and is kept; any other is made anew
/// when the request comes again, since the upload goes on, and an offset that was told never goes back.
async fn told(claim: Claim, outcome: Result<Answer, Problem>) -> Result<Answer, Problem> {
    if outcome.as_ref().is_ok_and(|answer| answer.headers().contains_key(PHOTO_LOCATION)) {
        claim.answer(outcome).await
    } else {
        claim.end(outcome).await
    }
}

/// Where an upload is.
fn location(id: UploadId) -> String {
    format!("/v1/uploads/{id}")
}

async fn all(api: &Api, asking: Asking, method: &Method) -> Result<Answer, Problem> {
    match (method.clone(), Protocol::of(&asking, method)) {
        (Method::OPTIONS, _) => Ok(options(api)),
        (Method::POST, Protocol::Tus) => Ok(tus::answered(tus::create(api, asking).await)),
        (Method::POST, Protocol::Draft) => draft::create(api, asking).await,
        _ => not_allowed("OPTIONS, POST"),
    }
}

async fn one(api: &Api, asking: Asking, method: &Method, id: &str) -> Result<Answer, Problem> {
    match (method.clone(), Protocol::of(&asking, method)) {
        (Method::OPTIONS, _) => Ok(options(api)),
        (Method::GET, protocol) => {
            let answer = view::get(api, &asking, protocol, id).await;
            if protocol == Protocol::Tus { Ok(tus::answered(answer)) } else { answer }
        }
        (Method::HEAD, Protocol::Tus) => Ok(tus::answered(tus::head(api, &asking, id).await)),
        (Method::HEAD, Protocol::Draft) => draft::head(api, &asking, id).await,
        (Method::PATCH, Protocol::Tus) => Ok(tus::answered(tus::patch(api, asking, id).await)),
        (Method::PATCH, Protocol::Draft) => draft::patch(api, asking, id).await,
        (Method::DELETE, protocol) => {
            let answer = delete(api, &asking, protocol, id).await;
            if protocol == Protocol::Tus { Ok(tus::answered(answer)) } else { answer }
        }
        _ => not_allowed("OPTIONS, GET, HEAD, PATCH, DELETE"),
    }
}

/// What both protocols tell before anything begins.
fn options(api: &Api) -> Answer {
    let mut answer = crate::response::empty(StatusCode::NO_CONTENT);
    tus::announce(api, &mut answer);
    set(&mut answer, "upload-limit", &format!("max-size={}", api.pipeline().options().upload_bytes_max));
    set(&mut answer, "accept-patch", "application/offset+octet-stream, application/partial-upload");
    answer
}

async fn delete(api: &Api, asking: &Asking, protocol: Protocol, id: &str) -> Result<Answer, Problem> {
    if protocol == Protocol::Tus {
        tus::check_version(asking.request.headers())?;
    }
    work::terminate(api, &asking.caller, id).await?;
    Ok(crate::response::empty(StatusCode::NO_CONTENT))
}

/// Sets a header. What cannot stand in one is left out, and was refused before.
fn set(answer: &mut Answer, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        answer.headers_mut().insert(name, value);
    }
}

fn invalid_header(name: &str, advice: &str) -> Problem {
    Problem::new("invalid-header", format!("the header {name} is missing or cannot be read: {advice}"))
}

/// A header that is a number of bytes.
fn bytes_in(asking: &Asking, name: &'static str) -> Result<Option<u64>, Problem> {
    let Some(value) = asking.request.headers().get(name) else { return Ok(None) };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let value = value.to_str().ok().filter(|text| digits(text)).and_then(|text| text.parse().ok());
    value.map(Some).ok_or_else(|| invalid_header(name, "give a number of bytes"))
}
