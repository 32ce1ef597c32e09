//! Bodies and small answers.

use bytes::Bytes;
use darkroom_actors::HeldBytes;
use darkroom_actors::permits::Permit;
use darkroom_store::StoreError;
use darkroom_store::objects::ObjectReader;
use futures_util::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::Frame;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;

/// The body of every answer.
pub type Body = UnsyncBoxBody<Bytes, StoreError>;
/// Every answer.
pub type Answer = Response<Body>;

/// No body.
pub fn empty(status: StatusCode) -> Answer {
    with_status(status, nothing())
}

/// A body without bytes.
pub fn nothing() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// Plain text.
pub fn text(status: StatusCode, content_type: &'static str, text: impl Into<Bytes>) -> Answer {
    let mut answer = with_status(status, full(text.into()));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}

/// A value as JSON, as it is now: to be asked for again each time.
pub fn json<T: Serialize>(status: StatusCode, value: &T) -> Answer {
    match serde_json::to_vec(value) {
        Ok(bytes) => {
            let mut answer = text(status, "application/json", bytes);
            answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
            answer
        }
        Err(error) => {
            tracing::error!(%error, "an answer could not be written as JSON");
            empty(StatusCode::INTERNAL_SERVER_ERROR)
        }
    }
}

/// An object's bytes as they are read.
pub fn stream(reader: ObjectReader) -> Body {
    let chunks = stream::unfold(Some(reader), |reader| async move {
        let mut reader = reader?;
        match reader.next().await {
            Ok(Some(bytes)) => {
                metrics::counter!("darkroom_http_sent_object_bytes_total").increment(bytes.len() as u64);
                Some((Ok(Frame::data(bytes)), Some(reader)))
            }
            Ok(None) => None,
            Err(error) => {
                tracing::error!(%error, "an object could not be read to its end");
                Some((Err(error), None))
            }
        }
    });
    StreamBody::new(chunks).boxed_unsync()
}

/// Bytes that are at hand, and the permit for them until they are sent.
pub fn held(held: HeldBytes) -> Body {
    let (bytes, permit) = held.into_parts();
    metrics::counter!("darkroom_http_sent_object_bytes_total").increment(bytes.len() as u64);
    full(Bytes::from_owner(Owned { bytes, _permit: permit }))
}

/// Keeps a permit as long as the bytes that it is for.
struct Owned {
    bytes: Bytes,
    _permit: Permit,
}

impl AsRef<[u8]> for Owned {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Bytes that are at hand.
pub fn full(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

fn with_status(status: StatusCode, body: Body) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    answer
}
