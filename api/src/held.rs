//! Small bodies that are held in memory whole, beside the budgets of photos, until what they ask for is done.
//!
//! Each is charged as its pieces come: who announces much and sends nothing takes no place from others.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use darkroom_actors::BodyError;
use futures_util::{Stream, StreamExt};
use hyper::body::Incoming;
use serde::de::DeserializeOwned;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::Api;
use crate::problem::Problem;
use crate::request::{BodyDeadlines, BodyEnd, body_bytes};

/// Longest that such a body takes to arrive.
const TIME_MAX: Duration = Duration::from_secs(60);

/// Room for the bodies of one kind of request.
#[derive(Debug)]
pub(crate) struct Room {
    bytes: Arc<Semaphore>,
    bytes_max: usize,
}

/// A body, charged until it is dropped.
#[derive(Debug, Default)]
pub(crate) struct Held {
    bytes: Vec<u8>,
    charged: Option<OwnedSemaphorePermit>,
}

impl Room {
    /// For so many bytes at once.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { bytes: Arc::new(Semaphore::new(bytes_max.min(Semaphore::MAX_PERMITS))), bytes_max }
    }

    /// Reads a body of at most `bytes_max`.
    ///
    /// # Errors
    /// `overloaded` where there is no room; those of reading it.
    pub(crate) async fn read(
        &self,
        api: &Api,
        body: Incoming,
        end: BodyEnd,
        bytes_max: usize,
    ) -> Result<Held, Problem> {
        let whole = api.options().body_timeout.min(TIME_MAX);
        let deadlines = BodyDeadlines { whole, ..BodyDeadlines::of(api.options()) };
        self.gather(body_bytes(body, end, deadlines, bytes_max as u64)).await
    }

    async fn gather(&self, body: impl Stream<Item = Result<Bytes, BodyError>>) -> Result<Held, Problem> {
        let (mut body, mut held) = (pin!(body), Held::default());
        while let Some(piece) = body.next().await {
            let piece = piece?;
            let charged = self.charge(piece.len()).ok_or_else(|| self.is_full())?;
            match &mut held.charged {
                Some(before) => before.merge(charged),
                none => *none = Some(charged),
            }
            held.bytes.extend_from_slice(&piece);
        }
        Ok(held)
    }

    fn charge(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.bytes).try_acquire_many_owned(u32::try_from(bytes).ok()?).ok()
    }

    fn is_full(&self) -> Problem {
        let detail = format!(
            "{} bytes of such requests are being worked on, as many as may be; send it again later",
            self.bytes_max
        );
        Problem::new("overloaded", detail).retry_after(1)
    }
}

impl Held {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// As JSON; no body is `{}`.
    ///
    /// # Errors
    /// `invalid-json`, which says where.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        let text: &[u8] = if self.bytes.is_empty() { b"{}" } else { &self.bytes };
        serde_json::from_slice(text)
            .map_err(|error| Problem::new("invalid-json", format!("the body: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    fn body(pieces: usize) -> impl Stream<Item = Result<Bytes, BodyError>> {
        stream::iter((0..pieces).map(|_| Ok(Bytes::from_static(b"0123456789"))))
    }

    #[tokio::test]
    async fn bodies_are_charged_until_they_are_dropped() {
        let room = Room::new(50);
        let first = room.gather(body(3)).await.unwrap();
        assert_eq!(first.bytes().len(), 30);
        let refused = room.gather(body(3)).await.unwrap_err();
        assert!(refused.is("overloaded") && refused.retry_after.is_some(), "{refused:?}");
        let second = room.gather(body(2)).await.unwrap();
        assert!(room.gather(body(1)).await.is_err());
        drop((first, second));
        room.gather(body(5)).await.unwrap();
        // What breaks off gives back what had come of it.
        let broken = body(2).chain(stream::iter([Err(BodyError::Broken("gone".to_owned()))]));
        assert!(room.gather(broken).await.unwrap_err().is("body-incomplete"));
        assert_eq!(room.bytes.available_permits(), 50);
    }
}
