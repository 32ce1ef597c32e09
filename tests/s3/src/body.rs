//! Bodies that are cut off or changed on the way.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use s3s::{Body, StdError};

/// Which byte of a body is changed: behind what a chunked encoding writes first, before a small photo ends.
const CHANGED_BYTE: usize = 500;

/// What happens to the bytes of a body.
#[derive(Clone, Copy)]
pub(crate) enum Harm {
    /// It ends with an error after so many.
    Cut(usize),
    /// One bit of this one is another.
    Change(usize),
}

impl Harm {
    /// A bit changes; `bytes` is the body's length where it is known.
    pub(crate) fn change(bytes: Option<u64>) -> Self {
        let middle = bytes.map_or(CHANGED_BYTE, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX) / 2);
        Self::Change(middle.min(CHANGED_BYTE))
    }

    /// The body that this happens to.
    pub(crate) fn done_to(self, body: impl Into<Body>) -> Body {
        Body::http_body_unsync(Harmed { inner: body.into(), harm: self, passed: 0 })
    }
}

struct Harmed {
    inner: Body,
    harm: Harm,
    passed: usize,
}

impl HttpBody for Harmed {
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        if matches!(self.harm, Harm::Cut(at) if self.passed >= at) {
            return Poll::Ready(Some(Err("the connection is cut, as the test wants it".into())));
        }
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(context));
        let Some(Ok(frame)) = frame else { return Poll::Ready(frame) };
        let Ok(mut data) = frame.into_data() else { return Poll::Ready(None) };
        let passed = self.passed;
        self.passed += data.len();
        match self.harm {
            Harm::Cut(at) => data.truncate(at - passed),
            Harm::Change(at) if (passed..self.passed).contains(&at) => {
                let mut changed = Vec::from(data);
                changed[at - passed] ^= 1;
                data = changed.into();
            }
            Harm::Change(_) => {}
        }
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
