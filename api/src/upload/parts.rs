//! A multipart body, read within bounds.
//!
//! The parser gathers whatever arrives until it has found a boundary or the end of a part's headers, without a limit of its
//! own, looks through all of it again after every piece, and takes as many pieces at once as are there. [`Parts`] gives it
//! one piece at a time; and where no content is expected few bytes in all, and none before they can be of use.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use darkroom_actors::{Body, BodyError};
use futures_util::{Stream, StreamExt, stream};
use hyper::HeaderMap;
use hyper::header::CONTENT_TYPE;
use multer::{Field, Multipart};
use tokio::sync::Mutex;

use super::disposition::Disposition;

/// Bytes that may come before a part's content begins: its headers, or what stands before the first boundary.
const FRAMING_BYTES_MAX: usize = 16 * 1024;
/// Bytes of that which the parser gets at once, with the content that came with them.
const FRAMING_PIECE_BYTES: usize = 4 * 1024;
/// Longest boundary (RFC 2046, section 5.1.1). The parser looks again at as much of a part's content as may be one.
const BOUNDARY_BYTES_MAX: usize = 70;
/// How a part's headers end.
const HEADERS_END: &[u8] = b"\r\n\r\n";

/// The boundary that a form's content type names.
///
/// # Errors
/// What is wrong with it.
pub fn boundary(content_type: &str) -> Result<String, BodyError> {
    let boundary = multer::parse_boundary(content_type).map_err(body_error)?;
    if boundary.len() > BOUNDARY_BYTES_MAX {
        let what = format!("its boundary has more than {BOUNDARY_BYTES_MAX} characters");
        return Err(BodyError::Malformed(what));
    }
    Ok(boundary)
}

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
    framing_bytes: AtomicUsize,
    /// The body itself has failed: nothing more will come.
    broken: AtomicBool,
}

impl Framing {
    fn expect_content(&self, content: bool) {
        self.0.framing_bytes.store(0, Ordering::Relaxed);
        self.0.content.store(content, Ordering::Relaxed);
    }

    fn is_content(&self) -> bool {
        self.0.content.load(Ordering::Relaxed)
    }

    /// Counts what the parser gets where no content is expected.
    fn check(&self, bytes: &Bytes) -> Result<(), BodyError> {
        if self.0.framing_bytes.fetch_add(bytes.len(), Ordering::Relaxed) < FRAMING_BYTES_MAX {
            return Ok(());
        }
        let what = format!("no part's content begins within {FRAMING_BYTES_MAX} bytes");
        Err(BodyError::Malformed(what))
    }
}

impl Parts {
    /// Over the bytes of a body.
    pub fn new(body: Body, boundary: String) -> Self {
        let framing = Framing::default();
        let fed = Fed::new(body, framing.clone(), &boundary);
        Self { multipart: Multipart::new(fed, boundary), framing }
    }

    /// The next part; its predecessor was read to its end.
    ///
    /// # Errors
    /// When the body breaks off or is malformed.
    pub async fn next(&mut self) -> Result<Option<Part>, BodyError> {
        self.framing.expect_content(false);
        let Some(field) = self.multipart.next_field().await.map_err(body_error)? else { return Ok(None) };
        self.framing.expect_content(true);
        // They may have come with the content before them.
        let bytes: usize =
            field.headers().iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        if bytes > FRAMING_BYTES_MAX {
            let what = format!("a part's headers have more than {FRAMING_BYTES_MAX} bytes");
            return Err(BodyError::Malformed(what));
        }
        Ok(Some(Part::new(field)))
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
    /// Whether its file name is empty: a form's input where no file was chosen is sent so, without content.
    pub is_nameless: bool,
    /// The client's word on its type.
    pub declared_type: Option<String>,
    /// Its own headers.
    pub headers: HeaderMap,
    /// What was read of its content already.
    first: Option<Bytes>,
    field: Arc<Mutex<Field<'static>>>,
}

impl Part {
    fn new(field: Field<'static>) -> Self {
        let headers = field.headers().clone();
        let Disposition { name, file_name } = Disposition::of(&headers);
        let is_file = file_name.is_some() || headers.contains_key(CONTENT_TYPE);
        let is_nameless = file_name.as_ref().is_some_and(String::is_empty);
        Self {
            name: file_name.filter(|name| !name.is_empty()).or(name).unwrap_or_default(),
            is_file,
            is_nameless,
            declared_type: field.content_type().map(ToString::to_string),
            headers,
            first: None,
            field: Arc::new(Mutex::new(field)),
        }
    }

    /// Whether it has no content: asked once, before it is read.
    pub async fn is_empty(&mut self) -> bool {
        let mut field = self.field.lock().await;
        loop {
            match field.chunk().await {
                Ok(Some(piece)) if piece.is_empty() => {}
                Ok(first) => {
                    self.first = first;
                    return self.first.is_none();
                }
                // It shows again when the content is read.
                Err(_) => return false,
            }
        }
    }

    /// Its bytes. Dropped early, it leaves the rest to [`Part::pass_over`].
    pub fn body(&self) -> Body {
        let first = self.first.clone().map(Ok);
        let rest = stream::unfold(Some(self.field.clone()), |field| async move {
            let field = field?;
            let next = field.lock().await.chunk().await;
            match next {
                Ok(Some(bytes)) => Some((Ok(bytes), Some(field))),
                Ok(None) => None,
                Err(error) => Some((Err(body_error(error)), None)),
            }
        });
        stream::iter(first).chain(rest).boxed()
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

/// What the parser is fed. It gets one piece, and looks at what it has before it gets the next.
///
/// Content it gets as it comes. Of all else it gets nothing before a part's headers or the whole body have ended, or there
/// is much of it: a client that sends single bytes would otherwise have it look through its headers as many times as they
/// have bytes.
struct Fed {
    body: Body,
    framing: Framing,
    gave: bool,
    ended: bool,
    /// What came and was not yet looked at.
    came: Bytes,
    /// What was looked at and not yet given.
    gathered: BytesMut,
    /// How the body ends.
    closing: Vec<u8>,
    /// The last bytes that were looked at: an end may have begun in them.
    recent: Vec<u8>,
}

impl Fed {
    fn new(body: Body, framing: Framing, boundary: &str) -> Self {
        let closing = format!("--{boundary}--").into_bytes();
        let (came, gathered, recent) = (Bytes::new(), BytesMut::new(), Vec::new());
        Self { body, framing, gave: false, ended: false, came, gathered, closing, recent }
    }

    /// What the parser can make use of now, of what is there.
    fn ready(&mut self) -> Option<Bytes> {
        if self.framing.is_content() {
            if self.gathered.is_empty() {
                let came = std::mem::take(&mut self.came);
                self.look(&came);
                return (!came.is_empty()).then_some(came);
            }
            return Some(self.gathered.split().freeze());
        }
        let room = FRAMING_PIECE_BYTES - self.gathered.len();
        let piece = self.came.split_to(room.min(self.came.len()));
        self.gathered.extend_from_slice(&piece);
        let is_of_use = self.look(&piece) || self.gathered.len() == FRAMING_PIECE_BYTES || self.ended;
        (is_of_use && !self.gathered.is_empty()).then(|| self.gathered.split().freeze())
    }

    /// Whether headers or the body end in this piece.
    fn look(&mut self, piece: &[u8]) -> bool {
        let most = self.closing.len() + HEADERS_END.len();
        // Of content only its end can be the beginning of either.
        let piece =
            if self.framing.is_content() { &piece[piece.len().saturating_sub(most)..] } else { piece };
        self.recent.extend_from_slice(piece);
        let headers_end = self.recent.windows(HEADERS_END.len()).any(|bytes| bytes == HEADERS_END);
        let line = self.recent.strip_suffix(b"\r\n").unwrap_or(&self.recent);
        let closes = line.ends_with(&self.closing);
        // One end that was found is not found again.
        let kept = if headers_end { HEADERS_END.len() - 1 } else { most };
        self.recent.drain(..self.recent.len().saturating_sub(kept));
        headers_end || closes
    }
}

impl Stream for Fed {
    type Item = Result<Bytes, BodyError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if std::mem::take(&mut self.gave) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let next = loop {
            if let Some(bytes) = self.ready() {
                break if self.framing.is_content() {
                    Ok(bytes)
                } else {
                    self.framing.check(&bytes).map(|()| bytes)
                };
            }
            if self.ended {
                return Poll::Ready(None);
            }
            match ready!(self.body.poll_next_unpin(cx)) {
                Some(Ok(bytes)) => self.came = bytes,
                Some(Err(error)) => break Err(error),
                None => self.ended = true,
            }
        };
        self.gave = true;
        if next.is_err() {
            self.ended = true;
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

    /// In whatever pieces a body comes, it has the same parts.
    #[tokio::test]
    async fn pieces_make_no_difference() {
        let long = format!(
            "--edge\r\nX-Long: {}\r\nContent-Disposition: form-data; name=n\r\n\r\n",
            "a".repeat(9000)
        );
        let content = [&b"\r\n--edg\r\n\r\nx--edge-".repeat(300)[..], &[7; 9000]].concat();
        let whole = [
            b"before\r\n\r\n",
            HEAD,
            &content,
            b"\r\n",
            long.as_bytes(),
            b"\r\n--edge\r\nX: y\r\n\r\nlast\r\n--edge--",
        ];
        let whole = whole.concat();
        for size in [1, 2, 3, 5, 64, 511, 4096, 5000, whole.len()] {
            for end in [&b""[..], b"\r\n", b"\r\nbehind"] {
                let body = [&whole, end].concat();
                let mut parts = parts(body.chunks(size).map(ok).collect());
                let mut found = Vec::new();
                while let Some(part) = parts.next().await.unwrap() {
                    let content: Vec<_> = part.body().map(Result::unwrap).collect().await;
                    found.push((part.name.clone(), content.concat()));
                }
                let wanted = [("a.jpg", &content[..]), ("n", b""), ("", b"last")]
                    .map(|(name, bytes)| (name.to_owned(), bytes.to_vec()));
                assert_eq!(found, wanted, "pieces of {size}");
            }
        }
    }

    /// How often the parser is to look, until a part's content begins that has such headers in single bytes.
    async fn looks(headers: usize) -> usize {
        let framing = Framing::default();
        let body = [b"--edge\r\nX: ", &vec![b'-'; headers][..], b"\r\n\r\n"].concat();
        let pieces: Vec<_> = body.chunks(1).map(ok).collect();
        let fed = Fed::new(stream::iter(pieces).boxed(), framing, "edge");
        fed.filter(|piece| std::future::ready(piece.is_ok())).count().await
    }

    #[tokio::test]
    async fn headers_in_single_bytes_are_not_looked_through_for_each() {
        assert_eq!(looks(100).await, 1);
        assert_eq!(looks(15_000).await, 4);
    }

    #[tokio::test]
    async fn a_body_is_known_to_end_before_its_connection_says_so() {
        for end in [&b"--edge--"[..], b"--edge--\r\n"] {
            let pieces: Vec<_> =
                HEAD.iter().chain(b"content\r\n").chain(end).map(|byte| ok(&[*byte])).collect();
            let body = stream::iter(pieces).chain(stream::pending()).boxed();
            let mut parts = Parts::new(body, "edge".to_owned());
            parts.next().await.unwrap().unwrap().pass_over().await;
            assert!(parts.next().await.unwrap().is_none());
        }
    }

    #[tokio::test]
    async fn long_headers_are_refused_however_they_come() {
        let name = "n".repeat(FRAMING_BYTES_MAX + FRAMING_PIECE_BYTES);
        let head = format!("--edge\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n");
        let head = head.as_bytes();
        for pieces in [vec![ok(head)], head.chunks(100).map(ok).collect()] {
            assert!(matches!(parts(pieces).next().await, Err(BodyError::Malformed(_))));
        }
        // In one piece with the content before.
        let mut parts = parts(vec![ok(HEAD), ok(&[b"content\r\n", head].concat())]);
        parts.next().await.unwrap().unwrap().pass_over().await;
        assert!(matches!(parts.next().await, Err(BodyError::Malformed(_))));
    }

    #[tokio::test]
    async fn an_input_without_a_file_is_told_from_an_empty_file() {
        for (name, content, nameless, empty) in
            [("", "", true, true), ("", "abc", true, false), ("a.jpg", "", false, true)]
        {
            let body = format!(
                "--edge\r\nContent-Disposition: form-data; name=p; filename=\"{name}\"\r\n\r\n{content}\r\n--edge--"
            );
            let mut part = parts(vec![ok(body.as_bytes())]).next().await.unwrap().unwrap();
            assert!(part.is_file && part.is_nameless == nameless, "{body}");
            assert_eq!(part.is_empty().await, empty, "{body}");
            assert_eq!(part.text(10).await.unwrap(), content);
        }
    }

    #[test]
    fn a_boundary_is_as_long_as_it_may_be() {
        let of = |length: usize| boundary(&format!("multipart/form-data; boundary={}", "b".repeat(length)));
        assert_eq!(of(70).unwrap().len(), 70);
        assert!(matches!(of(71), Err(BodyError::Malformed(_))));
        assert!(matches!(boundary("multipart/form-data"), Err(BodyError::Malformed(_))));
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
