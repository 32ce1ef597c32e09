//! How servers differ that speak S3: what Garage answers, or leaves out, where AWS does otherwise. Taken from its
//! sources (2.5.0: `api/common/signature`, `api/s3/error.rs`, `api/common/xml/lifecycle.rs`), and from one that was
//! asked.

use http_body_util::BodyExt;
use hyper::{Method, Response};
use s3s::dto::{LifecycleRule, LifecycleRules};
use s3s::{Body, HttpError};

use crate::layer::refusal;

/// Whose manner a server has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Manner {
    /// S3 itself.
    #[default]
    Aws,
    /// Garage: wrong keys are denied access, checksums that are not the body's are invalid digests, encryption and
    /// storage classes are asked for in vain, and a lifecycle rule loses what is not known of it.
    Garage,
}

/// What S3 answers, and Garage in its place.
const OTHERWISE: [(&str, &str, &str); 3] = [
    ("<Code>SignatureDoesNotMatch</Code>", "AccessDenied", "Forbidden: Invalid signature"),
    ("<Code>InvalidAccessKeyId</Code>", "AccessDenied", "Forbidden: No such key: GK0123456789abcdef01234567"),
    (
        "<Code>BadDigest</Code><Message>x-amz-checksum-crc32c",
        "InvalidDigest",
        "Invalid digest: Failed to validate checksum for algorithm Crc32c",
    ),
];

impl Manner {
    /// Whether objects are stored in the class and with the encryption that a put asks for.
    pub(crate) fn keeps_what_puts_ask(self) -> bool {
        self == Self::Aws
    }

    /// What is kept of lifecycle rules.
    pub(crate) fn kept(self, rules: LifecycleRules) -> LifecycleRules {
        match self {
            Self::Aws => rules,
            Self::Garage => {
                rules.into_iter().map(|rule| LifecycleRule { transitions: None, ..rule }).collect()
            }
        }
    }

    /// An answer of S3's in this manner.
    pub(crate) async fn reword(
        self,
        method: &Method,
        answer: Response<Body>,
    ) -> Result<Response<Body>, HttpError> {
        if self == Self::Aws || !answer.status().is_client_error() {
            return Ok(answer);
        }
        let (head, body) = answer.into_parts();
        let body = body.collect().await.map_err(HttpError::new)?.to_bytes();
        let said = String::from_utf8_lossy(&body);
        match OTHERWISE.iter().find(|(of_s3, ..)| said.contains(of_s3)) {
            Some((_, code, message)) => Ok(refusal(method, head.status, code, message, "")),
            None => Ok(Response::from_parts(head, Body::from(body))),
        }
    }

    /// What is said of a signature for the region `signed` where `region` is wanted: (words, more of the answer's XML).
    pub(crate) fn wrong_region(self, signed: &str, region: &str) -> (String, String) {
        let more = format!("<Region>{region}</Region>");
        let words = match self {
            Self::Aws => {
                format!(
                    "The authorization header is malformed; the region '{signed}' is wrong; expecting '{region}'"
                )
            }
            Self::Garage => format!(
                "Authorization header malformed, unexpected scope: '20261121/{signed}/s3/aws4_request', expected: \
                 '20261121/{region}/s3/aws4_request'"
            ),
        };
        (words, more)
    }

    /// Whether the header `x-amz-bucket-region` tells where the bucket is.
    pub(crate) fn tells_region(self) -> bool {
        self == Self::Aws
    }
}
