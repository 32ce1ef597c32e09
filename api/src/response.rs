//! Bodies and small answers.

use std::io;
use std::pin::pin;

use bytes::Bytes;
use darkroom_actors::HeldBytes;
use darkroom_store::objects::ObjectReader;
use futures_util::{Stream, StreamExt, stream};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::Frame;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

/// Bytes that a body from memory hands out at once: few, since copies of some wait in each connection's buffers.
const PIECE_BYTES: usize = 16 << 10;

/// The body of every answer. It breaks off with an error, which goes no further than the log.
pub type Body = UnsyncBoxBody<Bytes, io::Error>;
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

/// The body of an answer to HEAD whose length nobody has reckoned.
pub fn unmeasured() -> Body {
    StreamBody::new(stream::empty()).boxed_unsync()
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
                Some((Err(io::Error::other(error)), None))
            }
        }
    });
    StreamBody::new(chunks).boxed_unsync()
}

/// Bytes that are at hand, with the permit for them, until they are sent or `deadline` has passed. Then the memory comes
/// back whatever the client takes, and the answer breaks off.
pub fn held(held: HeldBytes, deadline: Instant) -> Body {
    let (bytes, permit) = held.into_parts();
    paced(bytes, permit, deadline)
}

/// `bytes` in copied pieces, so that what waits in a connection's buffers holds none of them; they and `keep` are dropped
/// with the last piece, with the body, or at the deadline.
fn paced(bytes: Bytes, keep: impl Send + 'static, deadline: Instant) -> Body {
    let (pieces, taken) = mpsc::channel(1);
    tokio::spawn(async move {
        let in_time = timeout_at(deadline, hand_out(&bytes, &pieces)).await.is_ok();
        drop((bytes, keep));
        if !in_time {
            let late = io::Error::new(io::ErrorKind::TimedOut, "the client took too long to read the answer");
            // Nobody may be there to be told.
            let _ = pieces.send(Err(late)).await;
        }
    });
    let pieces = stream::unfold(taken, |mut taken| async move { Some((taken.recv().await?, taken)) });
    StreamBody::new(pieces).boxed_unsync()
}

async fn hand_out(bytes: &[u8], pieces: &mpsc::Sender<io::Result<Frame<Bytes>>>) {
    for piece in bytes.chunks(PIECE_BYTES) {
        if pieces.send(Ok(Frame::data(Bytes::copy_from_slice(piece)))).await.is_err() {
            return; // The connection has ended.
        }
        metrics::counter!("darkroom_http_sent_object_bytes_total").increment(piece.len() as u64);
    }
}

/// An answer whose body is made while it is sent: lines or events. It ends with the stream; at the deadline it breaks off,
/// whatever the client takes. One piece at a time waits for the client, so that a slow one holds up whoever makes them.
pub fn streamed(
    content_type: &'static str,
    pieces: impl Stream<Item = Bytes> + Send + 'static,
    deadline: Instant,
) -> Answer {
    streamed_or_broken_off(content_type, pieces.map(Ok), deadline)
}

/// The same of pieces that may come to be missing: at an error the answer breaks off.
pub fn streamed_or_broken_off(
    content_type: &'static str,
    pieces: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    deadline: Instant,
) -> Answer {
    let (sender, taken) = mpsc::channel(1);
    tokio::spawn(async move {
        let hand_out = async {
            let mut pieces = pin!(pieces);
            while let Some(piece) = pieces.next().await {
                if sender.send(piece.map(Frame::data)).await.is_err() {
                    return; // The connection has ended.
                }
            }
        };
        if timeout_at(deadline, hand_out).await.is_err() {
            let late = io::Error::new(io::ErrorKind::TimedOut, "the answer took longer than it may");
            // Nobody may be there to be told.
            let _ = sender.send(Err(late)).await;
        }
    });
    let pieces = stream::unfold(taken, |mut taken| async move { Some((taken.recv().await?, taken)) });
    let mut answer = with_status(StatusCode::OK, StreamBody::new(pieces).boxed_unsync());
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    answer
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;

    fn scene() -> (Bytes, Arc<()>, Instant) {
        let bytes = (0..5 * PIECE_BYTES + 7).map(|index| index as u8).collect();
        (bytes, Arc::default(), Instant::now() + Duration::from_secs(60))
    }

    #[tokio::test]
    async fn what_is_at_hand_is_sent_whole_and_then_given_back() {
        let (bytes, kept, deadline) = scene();
        let body = paced(bytes.clone(), kept.clone(), deadline);
        assert_eq!(body.collect().await.unwrap().to_bytes(), bytes);
        assert_eq!(Arc::strong_count(&kept), 1);
        assert!(paced(Bytes::new(), (), deadline).collect().await.unwrap().to_bytes().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_read_in_time_holds_nothing_any_more() {
        let (bytes, kept, deadline) = scene();
        let mut body = paced(bytes, kept.clone(), deadline);
        assert!(body.frame().await.unwrap().is_ok());
        assert_eq!(Arc::strong_count(&kept), 2);
        tokio::time::sleep_until(deadline + Duration::from_secs(1)).await;
        assert_eq!(Arc::strong_count(&kept), 1, "while the body is still there");
        let broken = body.collect().await.unwrap_err();
        assert_eq!(broken.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn who_goes_away_holds_nothing_any_more() {
        let (bytes, kept, deadline) = scene();
        drop(paced(bytes, kept.clone(), deadline));
        while Arc::strong_count(&kept) > 1 {
            tokio::task::yield_now().await;
        }
    }
}
