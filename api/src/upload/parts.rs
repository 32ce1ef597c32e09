//! A multipart body, read within bounds.
//!
//! The parser gathers whatever arrives until it has found a boundary or the end of a part's headers, without
//! a limit of its own, and takes as many pieces at once as are there. [`Parts`] gives it one piece at a time,
//! and few bytes where no content is expected.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use darkroom_actors::{Body, BodyError};
use futures_util::{Stream, StreamExt, stream};
use hyper::HeaderMap;
use multer::{Field, Multipart};
use tokio::sync::Mutex;

/// Bytes that may come before a part's content begins: its headers, and what came with them in one piece.
const FRAMING_BYTES_MAX: u64 = 512 * 1024;

/// The parts of a multipart body, one after the other.
pub struct Parts {
    multipart: Multipart<'static>,
    framing: Framing,
}

/// What the parser is reading now. Cheap to clone.
#[derive(Clone, Default)]
struct Framing(Arc<Reading>);

#[derive(Default)]
struct Reading {
    content: AtomicBool,
    framing_bytes: AtomicU64,
    /// The body itself has failed: nothing more will come.
    broken: AtomicBool,
}

impl Framing {
    fn expect_content(&self, content: bool) {
        self.0.framing_bytes.store(0, Ordering::Relaxed);
        self.0.content.store(content, Ordering::Relaxed);
    }

    fn check(&self, bytes: &Bytes) -> Result<(), BodyError> {
        if self.0.content.load(Ordering::Relaxed) {
            return Ok(());
        }
        let length = bytes.len() as u64;
        if self.0.framing_bytes.fetch_add(length, Ordering::Relaxed) + length > FRAMING_BYTES_MAX {
            let what = format!("no part's content begins within {FRAMING_BYTES_MAX} bytes");
            return Err(BodyError::Malformed(what));
        }
        Ok(())
    }
}

impl Parts {
    /// Over the bytes of a body.
    pub fn new(body: Body, boundary: String) -> Self {
        let framing = Framing::default();
        let watched = OneAtATime { body, framing: framing.clone(), gave: false };
        Self { multipart: Multipart::new(watched, boundary), framing }
    }

    /// The next part; its predecessor was read to its end.
    ///
    /// # Errors
    /// When the body breaks off or is malformed.
    pub async fn next(&mut self) -> Result<Option<Part>, BodyError> {
        self.framing.expect_content(false);
        let field = self.multipart.next_field().await.map_err(body_error)?;
        self.framing.expect_content(true);
        Ok(field.map(Part::new))
    }

    /// Whether the body itself has failed, so that no further part can come.
    pub fn is_broken(&self) -> bool {
        self.framing.0.broken.load(Ordering::Relaxed)
    }
}

/// One part.
pub struct Part {
    /// Its file name, or else its field's name.
    pub name: String,
    /// Whether it is a file and not a form field.
    pub is_file: bool,
    /// The client's word on its type.
    pub declared_type: Option<String>,
    /// Its own headers.
    pub headers: HeaderMap,
    field: Arc<Mutex<Field<'static>>>,
}

impl Part {
    fn new(field: Field<'static>) -> Self {
        Self {
            name: field.file_name().or(field.name()).unwrap_or_default().to_owned(),
            is_file: field.file_name().is_some() || field.content_type().is_some(),
            declared_type: field.content_type().map(ToString::to_string),
            headers: field.headers().clone(),
            field: Arc::new(Mutex::new(field)),
        }
    }

    /// Its bytes. Dropped early, it leaves the rest to [`Part::pass_over`].
    pub fn body(&self) -> Body {
        let field = self.field.clone();
        stream::unfold(Some(field), |field| async move {
            let field = field?;
            let next = field.lock().await.chunk().await;
            match next {
                Ok(Some(bytes)) => Some((Ok(bytes), Some(field))),
                Ok(None) => None,
                Err(error) => Some((Err(body_error(error)), None)),
            }
        })
        .boxed()
    }

    /// Its content as text, if it is short; what is left of it is for [`Part::pass_over`].
    ///
    /// # Errors
    /// When the body breaks off, and when it is longer than `bytes_max` or no UTF-8.
    pub async fn text(&self, bytes_max: usize) -> Result<String, BodyError> {
        let (mut body, mut bytes) = (self.body(), Vec::new());
        while let Some(piece) = body.next().await {
            bytes.extend_from_slice(&piece?);
            if bytes.len() > bytes_max {
                let what = format!("the form field {:?} has more than {bytes_max} bytes", self.name);
                return Err(BodyError::Malformed(what));
            }
        }
        String::from_utf8(bytes)
            .map_err(|_| BodyError::Malformed(format!("the form field {:?} is not in UTF-8", self.name)))
    }

    /// Reads on to its end and discards. An error shows again when the next part is asked for.
    pub async fn pass_over(self) {
        let mut field = self.field.lock().await;
        while let Ok(Some(_)) = field.chunk().await {}
    }
}

/// Gives the parser one piece, and then has it look at what it has before it gets the next.
struct OneAtATime {
    body: Body,
    framing: Framing,
    gave: bool,
}

impl Stream for OneAtATime {
    type Item = Result<Bytes, BodyError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if std::mem::take(&mut self.gave) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let next = match ready!(self.body.poll_next_unpin(cx)) {
            Some(Ok(bytes)) => self.framing.check(&bytes).map(|()| bytes),
            Some(Err(error)) => Err(error),
            None => return Poll::Ready(None),
        };
        self.gave = true;
        if next.is_err() {
            self.framing.0.broken.store(true, Ordering::Relaxed);
        }
        Poll::Ready(Some(next))
    }
}

fn body_error(error: multer::Error) -> BodyError {
    match error {
        multer::Error::StreamReadFailed(cause) => match cause.downcast::<BodyError>() {
            Ok(error) => *error,
            Err(cause) => BodyError::Broken(cause.to_string()),
        },
        multer::Error::IncompleteStream
        | multer::Error::IncompleteFieldData { .. }
        | multer::Error::IncompleteHeaders => BodyError::Broken(error.to_string()),
        error => BodyError::Malformed(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn parts(pieces: Vec<Result<Bytes, BodyError>>) -> Parts {
        Parts::new(stream::iter(pieces).boxed(), "edge".to_owned())
    }

    #[expect(clippy::unnecessary_wraps, reason = "what a body gives")]
    fn ok(bytes: &[u8]) -> Result<Bytes, BodyError> {
        Ok(Bytes::copy_from_slice(bytes))
    }

    const HEAD: &[u8] = b"--edge\r\nContent-Disposition: form-data; name=\"p\"; filename=\"a.jpg\"\r\n\r\n";

    #[tokio::test]
    async fn a_part_larger_than_the_framing_may_be_is_read_whole() {
        let mut pieces = vec![ok(HEAD)];
        pieces.extend((0..40).map(|_| ok(&vec![7; 64 * 1024])));
        pieces.push(ok(b"\r\n--edge--\r\n"));
        let mut parts = parts(pieces);
        let part = parts.next().await.unwrap().unwrap();
        assert_eq!((part.name.as_str(), part.is_file), ("a.jpg", true));
        let sizes: Vec<_> = part.body().map(|bytes| bytes.unwrap().len()).collect().await;
        assert_eq!(sizes.iter().sum::<usize>(), 40 * 64 * 1024);
        drop(part);
        assert!(parts.next().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_part_that_is_refused_is_passed_over() {
        let mut pieces = vec![ok(HEAD)];
        pieces.extend((0..40).map(|_| ok(&vec![7; 64 * 1024])));
        pieces.extend([ok(b"\r\n"), ok(HEAD), ok(b"second\r\n--edge--\r\n")]);
        let mut parts = parts(pieces);
        let part = parts.next().await.unwrap().unwrap();
        assert!(part.body().next().await.unwrap().is_ok());
        part.pass_over().await;
        let second = parts.next().await.unwrap().unwrap();
        assert_eq!(second.body().next().await.unwrap().unwrap(), "second");
    }

    #[tokio::test]
    async fn endless_framing_is_refused() {
        for beginning in [&b""[..], b"--edge\r\nX-Endless: "] {
            let mut pieces = vec![ok(beginning)];
            pieces.extend((0..1000).map(|_| ok(&vec![b'a'; 16 * 1024])));
            let error = parts(pieces).next().await.err().unwrap();
            assert!(matches!(error, BodyError::Malformed(_)), "{error}");
        }
    }

    #[tokio::test]
    async fn a_stalled_body_is_known_through_the_parser() {
        let stalled = BodyError::Stalled { after: Duration::from_secs(1) };
        let mut parts = parts(vec![ok(HEAD), Err(stalled)]);
        let part = parts.next().await.unwrap().unwrap();
        assert!(matches!(part.body().next().await, Some(Err(BodyError::Stalled { .. }))));
        assert!(parts.is_broken());
    }
}
