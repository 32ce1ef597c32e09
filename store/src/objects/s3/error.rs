//! What an S3 server or the way to it answers, sorted by what may be done about it.

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use crate::StoreError;

/// Why an attempt came to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// Another attempt may succeed.
    Passing {
        /// For the metric.
        cause: Cause,
        /// For the log and the operator.
        reason: String,
    },
    /// The server has understood and refused: another attempt would be refused too.
    Refused(Refusal),
    /// The bytes that came are not those that were stored.
    Corrupt(String),
}

/// Why another attempt is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// No connection, or one that broke.
    Transport,
    /// No answer in time.
    Timeout,
    /// The server asks for fewer requests.
    Throttled,
    /// A 5xx.
    Server,
    /// The server found other bytes than were sent, or sent other bytes than it announced.
    Damaged,
}

impl Cause {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Transport => "transport",
            Self::Timeout => "timeout",
            Self::Throttled => "throttled",
            Self::Server => "server",
            Self::Damaged => "damaged",
        }
    }

    /// Whether it tells that the server is in trouble. One that finds bytes damaged works.
    pub(super) fn is_outage(self) -> bool {
        !matches!(self, Self::Damaged)
    }
}

/// An S3 error that stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Refusal {
    /// The HTTP status; 0 where none came.
    pub(super) status: u16,
    /// S3's code, such as `AccessDenied`; empty where the answer had none (HEAD).
    pub(super) code: String,
    /// The server's words.
    pub(super) message: String,
    /// The region that the bucket is in, where the server says so.
    pub(super) region: Option<String>,
}

/// Codes that S3 uses for passing trouble with a status below 500.
const PASSING_CODES: &[(&str, Cause)] = &[
    ("RequestTimeout", Cause::Timeout),
    ("RequestTimeoutException", Cause::Timeout),
    ("SlowDown", Cause::Throttled),
    ("Throttling", Cause::Throttled),
    ("ThrottlingException", Cause::Throttled),
    ("TooManyRequests", Cause::Throttled),
    ("TooManyRequestsException", Cause::Throttled),
    ("RequestLimitExceeded", Cause::Throttled),
    ("BandwidthLimitExceeded", Cause::Throttled),
    ("OperationAborted", Cause::Server),
    ("BadDigest", Cause::Damaged),
    // To AWS a checksum that is none, which is never sent; to Garage one that is not the body's.
    ("InvalidDigest", Cause::Damaged),
    ("XAmzContentChecksumMismatch", Cause::Damaged),
    ("IncompleteBody", Cause::Transport),
];

impl Failure {
    pub(super) fn passing(cause: Cause, reason: impl Into<String>) -> Self {
        Self::Passing { cause, reason: reason.into() }
    }

    /// Sorts an error of the SDK. A 404 without a code of S3's says nothing of the object: a proxy answers so while the
    /// server behind it starts. It is taken for a server that is away.
    pub(super) fn of<E>(error: SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        let failure = Self::of_bare(error);
        if failure.is_bare_404() {
            let reason = "the server answered 404 without a code of S3's: perhaps a proxy before it, or the address of \
                          another server";
            return Self::passing(Cause::Server, reason);
        }
        failure
    }

    /// As [`Failure::of`], where a 404 needs no code.
    #[expect(clippy::needless_pass_by_value, reason = "so it can be given to `map_err`")]
    pub(super) fn of_bare<E>(error: SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        match &error {
            SdkError::TimeoutError(_) => Self::passing(Cause::Timeout, chain(&error)),
            SdkError::DispatchFailure(dispatch) if dispatch.is_timeout() => {
                Self::passing(Cause::Timeout, chain(&error))
            }
            SdkError::DispatchFailure(_) => Self::passing(Cause::Transport, chain(&error)),
            SdkError::ResponseError(response) => {
                let status = response.raw().status().as_u16();
                Self::by_status(status, String::new(), chain(&error), None)
            }
            SdkError::ServiceError(service) => {
                let raw = service.raw();
                let code = service.err().code().unwrap_or_default().to_owned();
                let message = service.err().message().unwrap_or_default().to_owned();
                let region = raw.headers().get("x-amz-bucket-region").map(str::to_owned);
                Self::by_status(raw.status().as_u16(), code, message, region)
            }
            _ => Self::Refused(Refusal { message: chain(&error), ..Refusal::default() }),
        }
    }

    fn by_status(status: u16, code: String, message: String, region: Option<String>) -> Self {
        let known = PASSING_CODES.iter().find(|(known, _)| *known == code).map(|(_, cause)| *cause);
        let cause = match (known, status) {
            (Some(cause), _) => cause,
            // 503 is S3's way to say SlowDown; answered by a proxy, the server is away.
            (None, 429 | 503) => Cause::Throttled,
            (None, 408) => Cause::Timeout,
            // An answer of 2xx that cannot be read is none.
            (None, 500 | 502.. | 200..=299) => Cause::Server,
            // Among them 501, with which servers refuse for good what they do not have.
            _ => return Self::Refused(Refusal { status, code, message, region }),
        };
        let reason = [format!("the server answered {status}"), code, message];
        let reason: Vec<_> = reason.into_iter().filter(|part| !part.is_empty()).collect();
        Self::Passing { cause, reason: reason.join(" ") }
    }

    /// Whether S3 says that the object is not there. A missing bucket is another thing.
    pub(super) fn is_missing(&self) -> bool {
        self.is("NoSuchKey")
    }

    /// Whether the server says no more than that something is not there, as in the answer to HEAD, which has no body. The
    /// SDK then has no code, or one of its own. See [`Failure::of_bare`].
    pub(super) fn is_bare_404(&self) -> bool {
        let Self::Refused(refusal) = self else { return false };
        refusal.status == 404 && ["", "NotFound"].contains(&refusal.code.as_str())
    }

    /// Whether it has this code of S3's.
    pub(super) fn is(&self, code: &str) -> bool {
        matches!(self, Self::Refused(refusal) if refusal.code == code)
    }

    /// As an error of the store: whatever it is, it is not the photo's fault, and what waits may be tried again.
    pub(super) fn into_error(self, what: &str) -> StoreError {
        match self {
            Self::Passing { reason, .. } => StoreError::Unavailable { reason: format!("{what}: {reason}") },
            Self::Refused(refusal) => {
                StoreError::Unavailable { reason: format!("{what}: S3 refuses it: {}", refusal.sentence()) }
            }
            Self::Corrupt(detail) => StoreError::Corrupt { what: what.to_owned(), detail },
        }
    }
}

impl Refusal {
    /// Status, code and words.
    pub(super) fn sentence(&self) -> String {
        let status = if self.status > 0 { self.status.to_string() } else { String::new() };
        let parts = [status.as_str(), &self.code, &self.message];
        let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        parts.join(" ")
    }
}

/// An error with what caused it.
fn chain(error: &(impl std::error::Error + ?Sized)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        // Wrappers that repeat what they wrap add nothing.
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16, code: &str) -> Failure {
        Failure::by_status(status, code.to_owned(), "words".to_owned(), None)
    }

    #[test]
    fn what_passes_is_tried_again_and_what_is_refused_is_not() {
        for (status, code, cause) in [
            (500, "InternalError", Cause::Server),
            (503, "SlowDown", Cause::Throttled),
            (429, "", Cause::Throttled),
            (400, "RequestTimeout", Cause::Timeout),
            (400, "BadDigest", Cause::Damaged),
            (400, "InvalidDigest", Cause::Damaged),
            (502, "", Cause::Server),
        ] {
            assert!(
                matches!(answered(status, code), Failure::Passing { cause: found, .. } if found == cause),
                "{code}"
            );
        }
        for (status, code) in
            [(403, "AccessDenied"), (404, "NoSuchBucket"), (501, "NotImplemented"), (301, "")]
        {
            assert!(matches!(answered(status, code), Failure::Refused(_)), "{code}");
        }
    }

    #[test]
    fn a_missing_bucket_is_not_a_missing_object() {
        assert!(answered(404, "NoSuchKey").is_missing() && !answered(404, "").is_missing());
        assert!(!answered(404, "NoSuchBucket").is_missing());
        assert!(answered(404, "").is_bare_404() && !answered(404, "NoSuchBucket").is_bare_404());
    }
}
