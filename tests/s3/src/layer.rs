//! What stands between the connection and the bucket: notes every request, and applies the faults.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use s3s::service::S3Service;
use s3s::{Body, HttpError};

use crate::body::Harm;
use crate::checksums::{falsify, other_digit};
use crate::faults::{Fault, Faults};
use crate::manner::Manner;

/// A request that reached the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub method: Method,
    /// Behind the bucket's name; empty for requests about the bucket.
    pub key: String,
    /// As it was sent; empty where there is none.
    pub query: String,
}

impl Seen {
    fn of<B>(request: &Request<B>) -> Self {
        let path = request.uri().path().trim_start_matches('/');
        let key = path.split_once('/').map_or("", |(_bucket, key)| key);
        let query = request.uri().query().unwrap_or_default();
        Self { method: request.method().clone(), key: key.to_owned(), query: query.to_owned() }
    }
}

/// What all connections share.
pub struct Layer {
    service: S3Service,
    manner: Manner,
    pub(crate) faults: Faults,
    pub(crate) seen: Mutex<Vec<Seen>>,
    /// The region that requests have to be signed for; any where there is none.
    pub(crate) region: Mutex<Option<&'static str>>,
}

impl Layer {
    pub(crate) fn new(service: S3Service, manner: Manner) -> Self {
        Self { service, manner, faults: Faults::default(), seen: Mutex::default(), region: Mutex::default() }
    }

    /// Answers a request, or ends the connection with an error.
    pub(crate) async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, HttpError> {
        let seen = Seen::of(&request);
        self.seen.lock().unwrap().push(seen.clone());
        let region = *self.region.lock().unwrap();
        let signed = signed_for(request.headers());
        if let (Some(region), Some(signed)) = (region, signed.filter(|signed| Some(*signed) != region)) {
            return Ok(wrong_region(&seen.method, self.manner, signed, region));
        }
        let answer = match self.faults.strike(&seen) {
            None => self.service.call(request.map(Body::from)).await?,
            Some(fault) => self.struck(fault, request, &seen).await?,
        };
        self.manner.reword(&seen.method, answer).await
    }

    async fn struck(
        &self,
        fault: Fault,
        request: Request<Incoming>,
        seen: &Seen,
    ) -> Result<Response<Body>, HttpError> {
        match fault {
            Fault::Slow(delay) => {
                tokio::time::sleep(delay).await; // Being slow is what is asked for.
                self.service.call(request.map(Body::from)).await
            }
            Fault::Refuse(status, code) => {
                // Read to its end: an answer before it may meet a client that is still writing.
                let _ = request.into_body().collect().await;
                Ok(refusal(&seen.method, status, code, "The test wants it so.", ""))
            }
            Fault::Page(status) => {
                let _ = request.into_body().collect().await;
                Ok(page(&seen.method, status))
            }
            Fault::CutRequest(at) => {
                let body = Harm::Cut(at).done_to(request.into_body());
                let _ = body.collect().await;
                Err(cut())
            }
            Fault::CutAnswer(at) => {
                let answer = self.service.call(request.map(Body::from)).await?;
                Ok(answer.map(|body| Harm::Cut(at).done_to(body)))
            }
            Fault::LoseAnswer => {
                let answer = self.service.call(request.map(Body::from)).await?;
                // Some of the work is done while the body is read.
                let _ = answer.into_body().collect().await;
                Err(cut())
            }
            Fault::Late(delay) => {
                let (head, body) = request.into_parts();
                let Ok(body) = body.collect().await else { return Err(cut()) };
                let (service, request) = (self.service.clone(), Request::from_parts(head, body.to_bytes()));
                tokio::spawn(async move {
                    tokio::time::sleep(delay).await; // Being late is what is asked for.
                    let _ = service.call(request.map(Body::from)).await;
                });
                Err(cut())
            }
            Fault::CorruptRequest => {
                let harm = Harm::change(content_length(request.headers()));
                self.service.call(request.map(|body| harm.done_to(body))).await
            }
            Fault::CorruptAnswer => {
                let answer = self.service.call(request.map(Body::from)).await?;
                let harm = Harm::change(content_length(answer.headers()));
                Ok(answer.map(|body| harm.done_to(body)))
            }
            Fault::WrongChecksum => {
                let mut answer = self.service.call(request.map(Body::from)).await?;
                falsify_checksums(answer.headers_mut());
                falsify_body(answer).await
            }
        }
    }
}

/// Returned to hyper, it ends the connection.
fn cut() -> HttpError {
    HttpError::new("the connection is cut, as the test wants it".into())
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// An error as S3 answers it; without a body to HEAD, and where there is no code.
pub(crate) fn refusal(
    method: &Method,
    status: StatusCode,
    code: &str,
    message: &str,
    more: &str,
) -> Response<Body> {
    let text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{message}</Message>{more}\
         <RequestId>TEST</RequestId></Error>"
    );
    let body = if *method == Method::HEAD || code.is_empty() { Bytes::new() } else { Bytes::from(text) };
    let mut answer = Response::new(Body::from(body));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    answer
}

/// An answer of a proxy's, which knows nothing of S3.
fn page(method: &Method, status: StatusCode) -> Response<Body> {
    let text =
        format!("<!DOCTYPE html>\n<html><head><title>{status}</title></head><body><hr></body></html>\n");
    let body = if *method == Method::HEAD { Bytes::new() } else { Bytes::from(text) };
    let mut answer = Response::new(Body::from(body));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html"));
    answer
}

/// The region that the request's signature names; none for presigned ones and those without a signature.
fn signed_for(headers: &HeaderMap) -> Option<&str> {
    let authorization = headers.get("authorization")?.to_str().ok()?;
    authorization.split("Credential=").nth(1)?.split('/').nth(2)
}

/// The answer to a signature for another region. That to a HEAD has no body, but S3's header as well.
fn wrong_region(method: &Method, manner: Manner, signed: &str, region: &'static str) -> Response<Body> {
    let (words, more) = manner.wrong_region(signed, region);
    let status = StatusCode::BAD_REQUEST;
    let mut answer = refusal(method, status, "AuthorizationHeaderMalformed", &words, &more);
    if manner.tells_region() {
        answer.headers_mut().insert("x-amz-bucket-region", HeaderValue::from_static(region));
    }
    answer
}

/// Makes every checksum that the answer tells that of something else; one that tells none gets a wrong one.
fn falsify_checksums(headers: &mut HeaderMap) {
    let told: Vec<_> = headers
        .iter()
        .filter(|(name, _)| name.as_str().starts_with("x-amz-checksum-") && *name != "x-amz-checksum-type")
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    if told.is_empty() {
        headers.insert("x-amz-checksum-crc32", HeaderValue::from_static("AAAAAA=="));
    }
    for (name, value) in told {
        let mut text = value.to_str().unwrap().to_owned();
        text.replace_range(..1, other_digit(value.to_str().unwrap()));
        headers.insert(name, text.parse().unwrap());
    }
}

/// The same for what the answer tells in XML, as that to the completion of an upload does. Its length stays.
async fn falsify_body(answer: Response<Body>) -> Result<Response<Body>, HttpError> {
    if answer.headers().get(CONTENT_TYPE).is_none_or(|kind| kind != "application/xml") {
        return Ok(answer);
    }
    let (head, body) = answer.into_parts();
    let body = body.collect().await.map_err(|_| cut())?.to_bytes();
    Ok(Response::from_parts(head, Body::from(Bytes::from(falsify(&body)))))
}
