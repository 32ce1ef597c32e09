//! Errors as RFC 9457 problem details. The only place that knows which error is which status.

use darkroom_actors::direct::DirectError;
use darkroom_actors::{BodyError, IngestError, MediaError, Refused, StripError};

use darkroom_store::StoreError;
use darkroom_store::model::batches::NotAdmitted;
use hyper::header::{ALLOW, HeaderValue, RETRY_AFTER};
use hyper::{HeaderMap, StatusCode};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::limits::usage::quota_exceeded;
use crate::posts;
use crate::response::{self, Answer};
use crate::upload::archive::TarError;

/// Where the problem types are described.
const TYPE_BASE: &str = "/problems/";

/// An error as a client sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// A stable URI reference: `/problems/<code>`.
    #[serde(rename = "type")]
    pub kind: String,
    /// A short name of the kind of problem.
    pub title: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// What is wrong here, and what to do about it.
    pub detail: String,
    /// Seconds after which trying again makes sense; also sent as `Retry-After`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
    /// Methods that the path has; sent as `Allow`.
    #[serde(skip)]
    pub allow: Option<&'static str>,
    /// What few kinds of problems tell.
    #[serde(flatten)]
    pub(crate) more: Option<Box<More>>,
}

/// What a problem tells beside what all tell.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct More {
    /// Members of its own (RFC 9457, section 3.2).
    #[serde(flatten)]
    members: Map<String, Value>,
    /// Headers that go with the answer.
    #[serde(skip)]
    headers: HeaderMap,
}

/// Every problem type: code, status, title. Described in docs/errors.md.
pub const KINDS: &[(&str, StatusCode, &str)] = &[
    ("not-found", StatusCode::NOT_FOUND, "No such path"),
    ("method-not-allowed", StatusCode::METHOD_NOT_ALLOWED, "The path has no such method"),
    ("invalid-token", StatusCode::UNAUTHORIZED, "The credential is not good"),
    ("invalid-credentials", StatusCode::UNAUTHORIZED, "Signing in failed"),
    ("too-many-attempts", StatusCode::TOO_MANY_REQUESTS, "Too many attempts failed"),
    ("registration-refused", StatusCode::CONFLICT, "The registration was refused"),
    ("handle-taken", StatusCode::CONFLICT, "Somebody else has the handle"),
    ("session-not-found", StatusCode::NOT_FOUND, "No such session"),
    ("too-many-signing-keys", StatusCode::CONFLICT, "As many keys verify as may be"),
    ("key-not-found", StatusCode::NOT_FOUND, "No such API key"),
    ("conversation-not-found", StatusCode::NOT_FOUND, "No such conversation"),
    ("message-not-found", StatusCode::NOT_FOUND, "No such message"),
    ("unauthenticated", StatusCode::UNAUTHORIZED, "Nobody is signed in"),
    ("forbidden", StatusCode::FORBIDDEN, "Not allowed"),
    (
        "identity-provider-unavailable",
        StatusCode::SERVICE_UNAVAILABLE,
        "The keys of the identity provider are not to be had",
    ),
    ("link-invalid", StatusCode::FORBIDDEN, "The link is none of this server's"),
    ("link-expired", StatusCode::FORBIDDEN, "The link has expired"),
    ("user-not-found", StatusCode::NOT_FOUND, "No such user"),
    ("post-not-found", StatusCode::NOT_FOUND, "No such post"),
    ("comment-not-found", StatusCode::NOT_FOUND, "No such comment"),
    ("invalid-text", StatusCode::UNPROCESSABLE_ENTITY, "The text is too long, or says nothing"),
    ("invalid-post-photos", StatusCode::UNPROCESSABLE_ENTITY, "The post cannot have these photos"),
    ("post-wider-than-photo", StatusCode::UNPROCESSABLE_ENTITY, "The post would be wider than its photo"),
    ("photo-in-too-many-posts", StatusCode::UNPROCESSABLE_ENTITY, "The photo is in too many posts"),
    ("post-not-shareable", StatusCode::UNPROCESSABLE_ENTITY, "The post may not be shared"),
    ("reply-to-reply", StatusCode::UNPROCESSABLE_ENTITY, "There is one level of replies"),
    ("photo-not-found", StatusCode::NOT_FOUND, "No such photo"),
    ("original-private", StatusCode::NOT_FOUND, "The original is its owner's alone"),
    ("album-not-found", StatusCode::NOT_FOUND, "No such album"),
    ("too-many-albums", StatusCode::TOO_MANY_REQUESTS, "Too many albums"),
    ("not-oneself", StatusCode::UNPROCESSABLE_ENTITY, "Nobody does this to themselves"),
    ("following-too-many", StatusCode::UNPROCESSABLE_ENTITY, "You follow as many as one may"),
    ("job-not-found", StatusCode::NOT_FOUND, "No such job"),
    ("job-held", StatusCode::CONFLICT, "A node is working on the job"),
    ("job-not-needed", StatusCode::CONFLICT, "What the job was to do is no longer wanted"),
    ("preset-not-found", StatusCode::NOT_FOUND, "No such preset"),
    ("photo-failed", StatusCode::NOT_FOUND, "The photo could not be processed"),
    ("variant-not-ready", StatusCode::SERVICE_UNAVAILABLE, "The variant is being made"),
    ("object-missing", StatusCode::INTERNAL_SERVER_ERROR, "Stored bytes are missing"),
    ("invalid-parameter", StatusCode::BAD_REQUEST, "A parameter is invalid"),
    ("invalid-json", StatusCode::BAD_REQUEST, "The body is not the JSON that is expected"),
    ("range-not-satisfiable", StatusCode::RANGE_NOT_SATISFIABLE, "The range lies outside the object"),
    ("body-incomplete", StatusCode::BAD_REQUEST, "The body broke off"),
    ("body-timeout", StatusCode::REQUEST_TIMEOUT, "The body did not arrive in time"),
    ("body-too-large", StatusCode::PAYLOAD_TOO_LARGE, "The body is too large"),
    ("multipart-malformed", StatusCode::BAD_REQUEST, "The multipart body is malformed"),
    ("too-many-parts", StatusCode::PAYLOAD_TOO_LARGE, "The multipart body has too many parts"),
    ("tar-malformed", StatusCode::BAD_REQUEST, "The archive is malformed"),
    ("tar-entry-unsupported", StatusCode::UNPROCESSABLE_ENTITY, "A file of the archive cannot be read"),
    ("compressed-body", StatusCode::UNSUPPORTED_MEDIA_TYPE, "The body is compressed"),
    ("cross-site-request", StatusCode::FORBIDDEN, "The request comes from a page of another site"),
    ("multipart-without-file", StatusCode::UNPROCESSABLE_ENTITY, "The multipart body has no file"),
    ("unknown-field", StatusCode::UNPROCESSABLE_ENTITY, "A form field is not known"),
    ("type-mismatch", StatusCode::UNSUPPORTED_MEDIA_TYPE, "The bytes are not of the declared type"),
    ("empty-image", StatusCode::UNPROCESSABLE_ENTITY, "The body is empty"),
    ("unsupported-image", StatusCode::UNSUPPORTED_MEDIA_TYPE, "Not a photo that can be processed"),
    ("truncated-image", StatusCode::UNPROCESSABLE_ENTITY, "The photo is truncated"),
    ("image-too-large", StatusCode::UNPROCESSABLE_ENTITY, "The photo has too many pixels"),
    ("too-many-scans", StatusCode::UNPROCESSABLE_ENTITY, "The photo has too many scans"),
    ("metadata-too-large", StatusCode::UNPROCESSABLE_ENTITY, "The photo has too much metadata"),
    ("corrupt-image", StatusCode::UNPROCESSABLE_ENTITY, "The photo is damaged"),
    ("no-direct-uploads", StatusCode::NOT_IMPLEMENTED, "Nothing can be sent to the bucket directly"),
    ("direct-upload-not-found", StatusCode::NOT_FOUND, "No such direct upload"),
    ("direct-upload-over", StatusCode::GONE, "The direct upload is over"),
    ("direct-upload-busy", StatusCode::CONFLICT, "The direct upload is being completed"),
    ("direct-upload-incomplete", StatusCode::CONFLICT, "The bytes are not there yet"),
    ("direct-upload-mismatch", StatusCode::UNPROCESSABLE_ENTITY, "What was put is not what was announced"),
    ("too-many-direct-uploads", StatusCode::TOO_MANY_REQUESTS, "Too many direct uploads are open"),
    ("hook-not-configured", StatusCode::NOT_FOUND, "No events are expected"),
    ("hook-not-authentic", StatusCode::FORBIDDEN, "The message is not of whom it should be"),
    ("hook-later", StatusCode::SERVICE_UNAVAILABLE, "The message is to come again"),
    ("hook-unverifiable", StatusCode::BAD_GATEWAY, "The message could not be verified now"),
    ("body-too-slow", StatusCode::REQUEST_TIMEOUT, "The body came too slowly"),
    ("headers-too-large", StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "Too many headers"),
    ("too-many-requests", StatusCode::TOO_MANY_REQUESTS, "Too many requests of yours"),
    ("too-many-uploads", StatusCode::TOO_MANY_REQUESTS, "Too many uploads of yours at once"),
    ("too-many-open-uploads", StatusCode::TOO_MANY_REQUESTS, "Too many uploads of yours are open"),
    ("too-many-client-connections", StatusCode::TOO_MANY_REQUESTS, "Too many connections of yours"),
    ("quota-exceeded", StatusCode::INSUFFICIENT_STORAGE, "Your quota is used up"),
    ("overloaded", StatusCode::SERVICE_UNAVAILABLE, "The daemon is full"),
    ("backlog-full", StatusCode::SERVICE_UNAVAILABLE, "Too many photos wait"),
    ("draining", StatusCode::SERVICE_UNAVAILABLE, "The daemon is shutting down"),
    ("restarting", StatusCode::SERVICE_UNAVAILABLE, "The pipeline is being restarted"),
    ("too-many-connections", StatusCode::SERVICE_UNAVAILABLE, "Too many connections"),
    ("contended", StatusCode::SERVICE_UNAVAILABLE, "Too many changes of the same thing at once"),
    ("store-unavailable", StatusCode::SERVICE_UNAVAILABLE, "The store is unavailable"),
    ("not-supported", StatusCode::NOT_IMPLEMENTED, "The engine of the metadata cannot do this"),
    ("storage-full", StatusCode::INSUFFICIENT_STORAGE, "The storage is full"),
    ("batch-not-found", StatusCode::NOT_FOUND, "No such batch"),
    ("batch-closed", StatusCode::CONFLICT, "The batch was closed"),
    ("batch-cancelled", StatusCode::CONFLICT, "The batch was cancelled"),
    ("too-many-batches", StatusCode::TOO_MANY_REQUESTS, "Too many open batches"),
    ("too-many-items", StatusCode::PAYLOAD_TOO_LARGE, "Too many files are asked for"),
    ("too-many-subscribers", StatusCode::SERVICE_UNAVAILABLE, "Too many follow events"),
    ("digest-malformed", StatusCode::BAD_REQUEST, "A digest cannot be read"),
    ("digest-mismatch", StatusCode::UNPROCESSABLE_ENTITY, "Other bytes came than a digest announced"),
    ("digest-unsupported", StatusCode::BAD_REQUEST, "A digest that cannot be checked in time"),
    ("content-encoding-unsupported", StatusCode::UNSUPPORTED_MEDIA_TYPE, "The body is encoded"),
    ("idempotency-key-malformed", StatusCode::BAD_REQUEST, "The idempotency key cannot be read"),
    ("idempotency-key-reused", StatusCode::UNPROCESSABLE_ENTITY, "The idempotency key is another request's"),
    ("request-in-progress", StatusCode::CONFLICT, "The request is being carried out"),
    ("too-many-idempotency-keys", StatusCode::TOO_MANY_REQUESTS, "Too many idempotency keys are remembered"),
    ("invalid-header", StatusCode::BAD_REQUEST, "A header is invalid"),
    ("tus-version-unsupported", StatusCode::PRECONDITION_FAILED, "This version of tus is not spoken"),
    ("upload-not-found", StatusCode::NOT_FOUND, "No such upload"),
    ("upload-ended", StatusCode::GONE, "The upload has ended"),
    ("upload-content-type", StatusCode::UNSUPPORTED_MEDIA_TYPE, "The body is not of a type that appends"),
    ("upload-offset-mismatch", StatusCode::CONFLICT, "The upload stands elsewhere"),
    ("upload-taken-over", StatusCode::CONFLICT, "Another request goes on with the upload"),
    ("upload-stalled", StatusCode::SERVICE_UNAVAILABLE, "The body did not come in time; what came is kept"),
    ("upload-length-mismatch", StatusCode::BAD_REQUEST, "The upload's length was told otherwise"),
    ("upload-length-exceeded", StatusCode::PAYLOAD_TOO_LARGE, "The upload has more bytes than it may"),
    ("upload-checksum-mismatch", StatusCode::BAD_REQUEST, "The bytes are not those of the checksum"),
    (
        "upload-content-mismatch",
        StatusCode::UNPROCESSABLE_ENTITY,
        "The bytes are not those that were announced",
    ),
    ("upload-bytes-lost", StatusCode::INTERNAL_SERVER_ERROR, "Stored bytes of the upload are lost"),
    ("upload-final", StatusCode::FORBIDDEN, "The upload is made of others"),
    ("upload-part-unfinished", StatusCode::CONFLICT, "A part lacks bytes"),
    ("upload-too-fragmented", StatusCode::PAYLOAD_TOO_LARGE, "The upload lies in too many pieces"),
    ("uploads-full", StatusCode::SERVICE_UNAVAILABLE, "Too much lies in open uploads"),
    ("internal-error", StatusCode::INTERNAL_SERVER_ERROR, "Something is wrong with the daemon"),
];

impl Problem {
    /// A problem of a known kind. An unknown code is a bug, and says so.
    pub fn new(code: &str, detail: impl Into<String>) -> Self {
        let (status, title) = KINDS.iter().find(|(known, ..)| *known == code).map_or_else(
            || {
                tracing::error!(code, "a problem type is missing from the list");
                (StatusCode::INTERNAL_SERVER_ERROR, "Unlisted problem")
            },
            |(_, status, title)| (*status, *title),
        );
        Self {
            kind: format!("{TYPE_BASE}{code}"),
            title,
            status: status.as_u16(),
            detail: detail.into(),
            retry_after: None,
            allow: None,
            more: None,
        }
    }

    /// The same, which tells something more.
    #[must_use]
    pub fn member(mut self, name: &str, value: Value) -> Self {
        self.more.get_or_insert_default().members.insert(name.to_owned(), value);
        self
    }

    /// Headers that go with the answer.
    pub fn headers_mut(&mut self) -> &mut HeaderMap {
        &mut self.more.get_or_insert_default().headers
    }

    /// The same, with advice on when to try again.
    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// No photo has this id, or none that the asker may see.
    pub fn photo_not_found(id: &str) -> Self {
        Self::new("photo-not-found", format!("there is no photo {id:?}: it was deleted, or the id is wrong"))
    }

    /// No job has this id.
    pub fn job_not_found(id: &str) -> Self {
        let detail = format!("there is no job {id:?}: it is done, was dropped, or the id is wrong");
        Self::new("job-not-found", detail)
    }

    /// A body that is compressed, so that its size says nothing of what comes out.
    pub fn compressed(how: &str) -> Self {
        let detail = format!(
            "the body is compressed with {how:?}: send it as it is, photos are compressed already; an archive by `gzip -dc \
             photos.tar.gz | curl -T - -X POST -H 'content-type: application/x-tar' …`"
        );
        Self::new("compressed-body", detail)
    }

    /// Its kind, without the rest of the reference.
    pub fn code(&self) -> &str {
        self.kind.strip_prefix(TYPE_BASE).unwrap_or(&self.kind)
    }

    /// Whether it says that these bytes will never be a photo, however often they are sent.
    pub fn is_refusal(&self) -> bool {
        const CODES: &[&str] = &[
            "type-mismatch",
            "empty-image",
            "unsupported-image",
            "truncated-image",
            "image-too-large",
            "too-many-scans",
            "metadata-too-large",
            "corrupt-image",
            "upload-content-mismatch",
            "upload-length-exceeded",
            "upload-bytes-lost",
        ];
        CODES.contains(&self.code())
    }

    /// Whether it is of this kind.
    pub fn is(&self, code: &str) -> bool {
        self.code() == code
    }

    /// The HTTP status.
    pub fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The answer.
    pub fn into_answer(self) -> Answer {
        let mut answer = response::json(self.status_code(), &self);
        let headers = answer.headers_mut();
        headers.extend(self.more.map(|more| more.headers).unwrap_or_default());
        headers.insert(hyper::header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(allow) = self.allow {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        answer
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        let (code, seconds) = match refused {
            Refused::Full | Refused::Waited => ("overloaded", 1),
            Refused::Backlog => ("backlog-full", 10),
            Refused::Draining => ("draining", 5),
            Refused::StoreAway => ("store-unavailable", 5),
        };
        Self::new(code, format!("{refused}; send the photo again later")).retry_after(seconds)
    }
}

impl From<BodyError> for Problem {
    fn from(error: BodyError) -> Self {
        let (code, advice) = match error {
            BodyError::Store(error) => return error.into(),
            BodyError::Stalled { .. } => ("body-timeout", "send it again, nothing of this photo was kept"),
            BodyError::TooSlow { .. } => {
                ("body-too-slow", "send it faster, or in parts; nothing of this photo was kept")
            }
            BodyError::Broken(_) => ("body-incomplete", "send it again, nothing of this photo was kept"),
            BodyError::Malformed(_) => {
                ("multipart-malformed", "check the boundary and the headers of the parts")
            }
            BodyError::TooLarge { .. } => {
                ("body-too-large", "send a smaller one, nothing of this photo was kept")
            }
            BodyError::Mismatch { .. } => {
                ("digest-mismatch", "send it again, or mend the digest; nothing of this photo was kept")
            }
        };
        Self::new(code, format!("{error}; {advice}"))
    }
}

impl From<TarError> for Problem {
    fn from(error: TarError) -> Self {
        match error {
            TarError::Body(error) => {
                let detail = format!("{error}; what was told before is durable, send the rest again");
                Self { detail, ..Self::from(error) }
            }
            TarError::Malformed { at, what } => {
                let advice = "what was told before is durable, pack the rest again";
                Self::new("tar-malformed", format!("at byte {at} the archive is malformed: {what}; {advice}"))
            }
            TarError::Compressed(name) => Self::compressed(name),
        }
    }
}

impl From<MediaError> for Problem {
    /// Those that only processing meets (`image-too-slow`, `encoding-failed`) are told by the photo's record.
    fn from(error: MediaError) -> Self {
        Self::new(error.code(), error.to_string())
    }
}

impl From<StripError> for Problem {
    fn from(error: StripError) -> Self {
        match error {
            StripError::Full | StripError::Late => {
                Self::new("overloaded", format!("{error}; ask for it again later")).retry_after(1)
            }
            StripError::Media(error) => error.into(),
            StripError::Store(error) => error.into(),
            StripError::Panicked => Self::new("internal-error", format!("{error}; tell the operator")),
        }
    }
}

impl From<IngestError> for Problem {
    fn from(error: IngestError) -> Self {
        match error {
            IngestError::Media(error) => error.into(),
            IngestError::TypeMismatch { .. } => Self::new(
                "type-mismatch",
                format!("{error}: send the right type, or none to have it found by the bytes"),
            ),
            IngestError::TooExpensive { .. } => Self::new("image-too-large", error.to_string()),
            IngestError::NotAnnounced(_) => {
                Self::new("direct-upload-mismatch", format!("{error}: announce it again, and put that"))
            }
            IngestError::UploadOver => Self::new("direct-upload-over", error.to_string()),
            IngestError::Body(error) => error.into(),
            IngestError::NotAdmitted(why) => why.into(),
            IngestError::NotPublished(why) => posts::records::refusal(&why),
            IngestError::OverQuota { used, quota } => quota_exceeded(&used, &quota),
            IngestError::Store(error) => error.into(),
            IngestError::KeyReused => crate::idempotency::reused(&error.to_string()),
            IngestError::OtherContent => Self::new(
                "upload-content-mismatch",
                format!("{error}: the file has changed, or its digest is of another; begin again"),
            ),
            IngestError::BytesLost => {
                Self::new("upload-bytes-lost", format!("{error}; begin again, and tell the operator"))
            }
            IngestError::UploadGone => {
                Self::new("upload-ended", format!("{error}, or its photo was deleted"))
            }
            IngestError::Restarting => {
                Self::new("restarting", format!("{error}; send the photo again")).retry_after(1)
            }
        }
    }
}

impl From<NotAdmitted> for Problem {
    fn from(why: NotAdmitted) -> Self {
        let (code, advice) = match why {
            NotAdmitted::Unknown => ("batch-not-found", "name another, or none"),
            NotAdmitted::Closed => ("batch-closed", "open another for more photos"),
            NotAdmitted::Cancelled => ("batch-cancelled", "open another, or stop sending"),
        };
        Self::new(code, format!("{why}; {advice}"))
    }
}

impl From<DirectError> for Problem {
    fn from(error: DirectError) -> Self {
        let detail = error.to_string();
        match error {
            DirectError::NoBucket => Self::new(
                "no-direct-uploads",
                format!(
                    "{detail}: send the photo to this daemon, in the body of POST /v1/photos, or resumably to /v1/uploads"
                ),
            ),
            DirectError::Unknown(_) => Self::new("direct-upload-not-found", detail),
            DirectError::Over { .. } => Self::new("direct-upload-over", detail),
            DirectError::Busy(_) => {
                Self::new("direct-upload-busy", format!("{detail}; ask again")).retry_after(1)
            }
            DirectError::Incomplete(_) => Self::new("direct-upload-incomplete", detail),
            // As the record has it: a code of this list.
            DirectError::Refused(failure) => Self::new(&failure.code, failure.detail),
            DirectError::PhotoGone(id) => Self::photo_not_found(&id.to_string()),
            DirectError::TooMany { .. } | DirectError::TooManyBytes { .. } => {
                Self::new("too-many-direct-uploads", detail).retry_after(60)
            }
            DirectError::NoSuchPart { .. } => Self::new("invalid-parameter", detail),
            DirectError::Ingest(error) => error.into(),
        }
    }
}

impl From<StoreError> for Problem {
    /// What a client needs to know; the whole error goes to the log.
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Conflict | StoreError::TooOld | StoreError::Contended { .. } => {
                Self::new("contended", "too many requests change the same thing at once; send yours again")
                    .retry_after(1)
            }
            StoreError::DiskFull { .. } => {
                tracing::error!(%error, "the storage is full");
                Self::new("storage-full", "there is no room for more photos; tell the operator")
                    .retry_after(60)
            }
            StoreError::Unsupported(instead) => Self::new("not-supported", instead),
            StoreError::CommitUnknown
            | StoreError::Busy { .. }
            | StoreError::Unavailable { .. }
            | StoreError::Closed
            | StoreError::InUse { .. }
            | StoreError::Io { .. } => {
                tracing::error!(%error, "the store is unavailable");
                Self::new("store-unavailable", "the store cannot be reached now; send the request again")
                    .retry_after(5)
            }
            StoreError::KeyTooLarge { .. }
            | StoreError::ValueTooLarge { .. }
            | StoreError::TransactionTooLarge { .. }
            | StoreError::ReservedKey
            | StoreError::ReadOnly
            | StoreError::UnreadableKey
            | StoreError::TransactionOver
            | StoreError::Corrupt { .. }
            | StoreError::Unreadable { .. }
            | StoreError::Mismatch(_)
            | StoreError::BadBackup { .. }
            | StoreError::InvalidOption { .. } => {
                tracing::error!(%error, "a request failed for a reason of the daemon's own");
                Self::new(
                    "internal-error",
                    "the request failed for a reason of the daemon's own; its log says which",
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_code_of_its_own_and_an_error_status() {
        for (index, (code, status, _)) in KINDS.iter().enumerate() {
            assert!(status.is_client_error() || status.is_server_error(), "{code}");
            assert!(code.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{code}");
            assert!(!KINDS[..index].iter().any(|(earlier, ..)| earlier == code), "{code} twice");
        }
    }

    /// Type and status of each row of the first table of docs/errors.md.
    fn described() -> Vec<(&'static str, u16)> {
        let rows = include_str!("../../docs/errors.md")
            .lines()
            .skip_while(|line| !line.starts_with("| type `/problems/"))
            .skip(2)
            .take_while(|line| line.starts_with('|'));
        let cells = rows.map(|row| row.split('|').map(str::trim).collect::<Vec<_>>());
        cells
            .map(|cells| {
                let [_, code, status, what, advice, _] = cells[..] else {
                    panic!("no row of a type: {cells:?}")
                };
                let is_sentence = |text: &str| text.trim_end_matches(')').ends_with('.');
                assert!(is_sentence(what) && is_sentence(advice), "no sentence: {cells:?}");
                (code.trim_matches('`'), status.parse().unwrap())
            })
            .collect()
    }

    #[test]
    fn what_users_read_of_each_kind_is_what_they_get() {
        let (mut described, mut kinds) = (described(), Vec::new());
        kinds.extend(KINDS.iter().map(|(code, status, _)| (*code, status.as_u16())));
        described.sort_unstable();
        kinds.sort_unstable();
        let of = |rows: &[(&'static str, u16)], others: &[(&'static str, u16)]| {
            rows.iter().filter(|row| !others.contains(row)).copied().collect::<Vec<_>>()
        };
        assert_eq!(of(&kinds, &described), [], "docs/errors.md lacks these, or has another status");
        assert_eq!(of(&described, &kinds), [], "docs/errors.md describes what there is not");
        assert_eq!(described, kinds, "docs/errors.md has one of them twice");
    }

    /// Every source file below a folder, as one text.
    fn sources(folder: &std::path::Path) -> String {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let read = |path: std::path::PathBuf| {
            if path.is_dir() { sources(&path) } else { std::fs::read_to_string(path).unwrap() }
        };
        entries.map(read).collect()
    }

    #[test]
    fn every_kind_is_given_by_somebody_and_no_other_is() {
        let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let ours = sources(&here.join("src"));
        let media = sources(&here.join("../media/src"));
        for (code, ..) in KINDS {
            let quoted = format!("\"{code}\"");
            let given = ours.matches(&quoted).count() > 1 || media.contains(&quoted);
            assert!(given, "nobody gives {code}: it can go, from docs/errors.md, too");
        }
        // In two pieces, since this file is among the sources.
        let call = ["Problem", "::new("].concat();
        for given in ours.split(&call).skip(1) {
            let literal = given.trim_start().strip_prefix('"').and_then(|text| text.split('"').next());
            if let Some(code) = literal {
                assert!(KINDS.iter().any(|(known, ..)| *known == code), "{code} is given and not listed");
            }
        }
    }

    #[test]
    fn a_refusal_says_when_to_come_back() {
        let problem = Problem::from(Refused::Full);
        let answer = problem.into_answer();
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.headers()[RETRY_AFTER], "1");
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
    }

    #[test]
    fn who_asks_for_an_original_is_not_told_to_send_a_photo() {
        for error in [StripError::Full, StripError::Late] {
            let problem = Problem::from(error);
            assert!(problem.is("overloaded") && problem.retry_after == Some(1));
            assert!(problem.detail.ends_with("ask for it again later"), "{}", problem.detail);
        }
    }

    #[test]
    fn secrets_of_the_store_stay_in_the_log() {
        let error = StoreError::Io {
            context: "open /secret/path".to_owned(),
            source: std::io::Error::other("denied"),
        };
        assert!(!Problem::from(error).detail.contains("secret"));
    }
}
