//! What pages of other sites may do, where the configuration names them (`http.cors_origins`).
//!
//! Without that a browser shows them no answer, and their requests that change something are refused. An allowed origin
//! may send any request below `/v1` but those of administration, without credentials, and read the answers' headers.

use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, HeaderValue, ORIGIN, VARY,
};
use hyper::{Method, Request};

use crate::Api;
use crate::response::Answer;

/// Any site.
const ANY: &str = "*";
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PATCH, PUT, DELETE, OPTIONS");
/// What requests may carry: the uploads' headers above all.
const REQUEST_HEADERS: HeaderValue = HeaderValue::from_static(
    "Authorization, Content-Type, Content-Digest, Repr-Digest, Content-MD5, Idempotency-Key, If-Match, If-None-Match, \
     Last-Event-ID, On-Behalf-Of, Prefer, Range, X-HTTP-Method-Override, X-Request-Id, X-Requested-With, Tus-Resumable, Upload-Checksum, \
     Upload-Complete, Upload-Concat, Upload-Defer-Length, Upload-Draft-Interop-Version, Upload-Length, \
     Upload-Metadata, Upload-Offset",
);
/// What scripts may read of answers.
const EXPOSED_HEADERS: HeaderValue = HeaderValue::from_static(
    "Accept-Patch, Content-Range, ETag, Link, Location, Photo-Location, RateLimit, RateLimit-Policy, Retry-After, \
     Tus-Checksum-Algorithm, Tus-Extension, Tus-Max-Size, Tus-Resumable, Tus-Version, Upload-Complete, Upload-Concat, \
     Upload-Defer-Length, Upload-Draft-Interop-Version, Upload-Expires, Upload-Length, Upload-Limit, Upload-Metadata, \
     Upload-Offset, X-Request-Id",
);
/// A browser asks again after a day, or sooner by its own limit.
const MAX_AGE: HeaderValue = HeaderValue::from_static("86400");

/// What is allowed to the page that a request comes from.
#[derive(Clone, Debug)]
pub(crate) struct Cors {
    /// The value of `Access-Control-Allow-Origin`.
    allowed: Option<HeaderValue>,
    /// Whether the answer depends on who asks.
    varies: bool,
    preflight: bool,
}

impl Cors {
    /// For this request.
    pub(crate) fn of<B>(api: &Api, request: &Request<B>) -> Self {
        let origins = &api.options().cors_origins;
        let path = request.uri().path();
        let open =
            path.starts_with("/v1/") && !path.starts_with("/v1/admin") && !path.starts_with("/v1/api-keys");
        let origin = request.headers().get(ORIGIN).filter(|_| open);
        let any = origins.iter().any(|allowed| allowed == ANY);
        let is_named =
            |origin: &&HeaderValue| origins.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes());
        let allowed = match origin {
            Some(_) if any => Some(HeaderValue::from_static(ANY)),
            origin => origin.filter(is_named).cloned(),
        };
        let preflight = *request.method() == Method::OPTIONS
            && request.headers().contains_key("access-control-request-method");
        Self { allowed, varies: open && !any && !origins.is_empty(), preflight }
    }

    /// Whether the page's origin is one of those that the configuration names.
    pub(crate) fn is_allowed(&self) -> bool {
        self.allowed.is_some()
    }

    /// Whether a browser asks beforehand, for a page that may.
    pub(crate) fn is_preflight(&self) -> bool {
        self.preflight && self.is_allowed()
    }

    /// Says so in the answer.
    pub(crate) fn decorate(self, answer: &mut Answer) {
        let headers = answer.headers_mut();
        if self.varies {
            headers.append(VARY, HeaderValue::from_static("Origin"));
        }
        let Some(origin) = self.allowed else { return };
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED_HEADERS);
        if self.preflight {
            headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS);
            headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
        }
    }
}
