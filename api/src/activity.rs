//! Whether anything moves on a connection, so that one that is kept for nothing can be closed.
//!
//! HTTP/1.1 has timers of hyper's own between requests. HTTP/2 has none: whoever answers pings could keep a connection
//! without a request for ever, or never take an answer whose bytes wait in memory.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::{Instant, sleep};

use crate::caller::ClientKey;
use crate::limits::places::Place;
use crate::response::{self, Answer};

/// What moves on one connection. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Activity(Arc<Inner>);

struct Inner {
    began: Instant,
    /// When something last moved: milliseconds since the beginning.
    moved: AtomicU64,
    /// Requests that are being answered.
    asked: AtomicUsize,
    /// Answers that are being sent.
    sending: AtomicUsize,
}

/// Why a connection has nothing to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Still {
    /// No request came.
    Idle,
    /// An answer is not taken.
    Stuck,
}

impl Activity {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Inner {
            began: Instant::now(),
            moved: AtomicU64::new(0),
            asked: AtomicUsize::new(0),
            sending: AtomicUsize::new(0),
        }))
    }

    /// Something moves.
    pub(crate) fn moves(&self) {
        self.0.moved.store(self.0.began.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    /// A request is being answered, until this is dropped.
    pub(crate) fn asked(&self) -> impl Send + use<> {
        Count::of(self, |inner| &inner.asked)
    }

    /// The same answer, which is being sent until its body is dropped; `place` is held as long.
    pub(crate) fn sending(&self, mut answer: Answer, place: Option<Place<ClientKey>>) -> Answer {
        if let Some(StillReading(asked)) = answer.extensions_mut().remove() {
            *asked.lock().unwrap_or_else(PoisonError::into_inner) =
                Some(Count::of(self, |inner| &inner.asked));
        }
        let count = Count::of(self, |inner| &inner.sending);
        answer.map(|body| Sending { body, count, _place: place }.boxed_unsync())
    }

    /// Resolves when no request has come for `idle`, or a part of an answer has not been taken for `stuck`.
    pub(crate) async fn still(&self, idle: Duration, stuck: Duration) -> Still {
        loop {
            let count = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
            let (limit, still) = match (count(&self.0.asked), count(&self.0.sending)) {
                (0, 0) => (idle, Still::Idle),
                (0, _) => (stuck, Still::Stuck),
                // It has deadlines of its own.
                _ => {
                    sleep(idle).await;
                    continue;
                }
            };
            let moved = Duration::from_millis(self.0.moved.load(Ordering::Relaxed));
            let quiet = self.0.began.elapsed().saturating_sub(moved);
            if quiet >= limit {
                return still;
            }
            sleep(limit.saturating_sub(quiet)).await;
        }
    }
}

/// An extension of an answer that has begun while the body of its request is still read: until the last clone of this is
/// dropped, the request is one that is being answered, however long the answer has nothing to tell.
#[derive(Clone, Default)]
pub(crate) struct StillReading(Arc<Mutex<Option<Count>>>);

/// Counts until it is dropped.
struct Count {
    activity: Activity,
    counter: fn(&Inner) -> &AtomicUsize,
}

impl Count {
    fn of(activity: &Activity, counter: fn(&Inner) -> &AtomicUsize) -> Self {
        activity.moves();
        counter(&activity.0).fetch_add(1, Ordering::Relaxed);
        Self { activity: activity.clone(), counter }
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        self.activity.moves();
        (self.counter)(&self.activity.0).fetch_sub(1, Ordering::Relaxed);
    }
}

/// A body that is being sent.
struct Sending {
    body: response::Body,
    count: Count,
    _place: Option<Place<ClientKey>>,
}

impl Body for Sending {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        self.count.activity.moves();
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use hyper::StatusCode;

    use super::*;

    const IDLE: Duration = Duration::from_secs(30);
    const STUCK: Duration = Duration::from_secs(600);

    #[tokio::test(start_paused = true)]
    async fn a_connection_without_requests_is_idle() {
        let (activity, began) = (Activity::new(), Instant::now());
        assert_eq!(activity.still(IDLE, STUCK).await, Still::Idle);
        assert_eq!(began.elapsed().as_secs(), 30);
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_not_while_a_request_is_answered() {
        let (activity, began) = (Activity::new(), Instant::now());
        let asked = activity.asked();
        let answering = async {
            sleep(Duration::from_secs(3600)).await;
            drop(asked);
        };
        let (still, ()) = tokio::join!(activity.still(IDLE, STUCK), answering);
        assert_eq!(still, Still::Idle);
        assert!((3630..3660).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_has_nothing_to_tell_yet_is_not_stuck() {
        let (activity, began) = (Activity::new(), Instant::now());
        let mut answer = response::text(StatusCode::OK, "text/plain", "hello");
        let reading = StillReading::default();
        answer.extensions_mut().insert(reading.clone());
        let answer = activity.sending(answer, None);
        let read = async {
            sleep(6 * STUCK).await;
            drop(reading);
        };
        let (still, ()) = tokio::join!(activity.still(IDLE, STUCK), read);
        assert_eq!(still, Still::Stuck);
        assert!(began.elapsed() >= 7 * STUCK, "{:?}", began.elapsed());
        drop(answer);
        // One that has been read before its answer is sent is over at once.
        let mut answer = response::text(StatusCode::OK, "text/plain", "hello");
        answer.extensions_mut().insert(StillReading::default());
        let _answer = activity.sending(answer, None);
        assert_eq!(activity.still(IDLE, STUCK).await, Still::Stuck);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_not_taken_is_stuck() {
        let (activity, began) = (Activity::new(), Instant::now());
        let mut answer = activity.sending(response::text(StatusCode::OK, "text/plain", "hello"), None);
        assert_eq!(answer.body().size_hint().exact(), Some(5));
        sleep(Duration::from_secs(100)).await;
        assert!(answer.body_mut().frame().await.is_some());
        assert_eq!(activity.still(IDLE, STUCK).await, Still::Stuck);
        assert_eq!(began.elapsed().as_secs(), 700);
        drop(answer);
        assert_eq!(activity.still(IDLE, STUCK).await, Still::Idle);
    }
}
