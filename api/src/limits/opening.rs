//! The first bytes of a body, before it has a slot.
//!
//! A connection that sends nothing, or a byte now and then, must not hold one of the few slots. So an upload is looked at
//! three times: at its head, whether there would be room, and who asked with `Expect: 100-continue` is refused before it
//! has sent anything; then its first bytes are awaited, within the deadlines of every body; and only then it takes its
//! lease. What waits so holds a few KiB, and there is a bound on how many do.

use bytes::{Bytes, BytesMut};
use darkroom_actors::{Body, BodyError, Lease, Refused};
use futures_util::{StreamExt, stream};

use super::places::Room;
use super::{Limits, no_room};
use crate::Api;
use crate::caller::Caller;
use crate::problem::Problem;

/// A photo is begun in earnest when so much of it is there, or all.
const OPENING_BYTES: usize = 16 * 1024;
/// A body of many files, whose sender may wait to be told of the first: a boundary, or a block of an archive.
const OPENING_OF_MANY_BYTES: usize = 64;
/// A piece of a resumable upload: few, since what came of it is kept when it breaks off, but for these. A byte now and then
/// is less before its pace ends it.
const OPENING_OF_PIECE_BYTES: usize = 64;

/// What is known of a body before it is read.
#[derive(Clone, Copy, Debug)]
pub struct Announced {
    /// Its length.
    pub bytes: Option<u64>,
    /// Bytes of the same photo that came before. With the last of them all are read once more, by the same lease.
    pub before: u64,
    /// What it is.
    pub shape: Shape,
    /// Whether it may be what was sent before, and then needs no more room than it has.
    pub is_repeated: bool,
}

impl Announced {
    /// Bytes that pass through the memory of one lease.
    fn held_bytes(self) -> Option<u64> {
        self.bytes.map(|bytes| bytes.saturating_add(self.before))
    }
}

/// What a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A photo, so that its length is that photo's.
    Photo,
    /// A piece of one.
    Piece,
    /// Any number of photos.
    Files,
}

impl Shape {
    /// How much of it is awaited.
    fn opening_bytes(self) -> usize {
        match self {
            Self::Photo => OPENING_BYTES,
            Self::Piece => OPENING_OF_PIECE_BYTES,
            Self::Files => OPENING_OF_MANY_BYTES,
        }
    }
}

impl Api {
    /// A lease for the upload that this body begins, once its first bytes are there; and the body, with them.
    ///
    /// # Errors
    /// Why there is none, or why the first bytes did not come.
    pub(crate) async fn open(
        &self,
        caller: &Caller,
        announced: Announced,
        body: Body,
    ) -> Result<(Lease, Body), Problem> {
        let (Announced { bytes, shape, is_repeated, .. }, held_bytes) = (announced, announced.held_bytes());
        let party = Limits::party(caller);
        let counted = self.count_upload(caller, bytes)?;
        self.pipeline().prospect(party, held_bytes).map_err(no_room)?;
        // The transaction that makes the photo looks again.
        if !is_repeated {
            self.check_room(caller, bytes.filter(|_| shape != Shape::Files)).await?;
        }
        let (place, room, _) = self.limits().opening.enter(party);
        if room != Room::Enough {
            return Err(no_room(Refused::Full));
        }
        let (first, rest) = first_bytes(body, shape).await?;
        drop(place);
        let lease = self.pipeline().admit(party, held_bytes).await.map_err(no_room)?;
        Ok((lease.beside(counted), stream::iter(first.into_iter().map(Ok)).chain(rest).boxed()))
    }

    /// Whether [`Api::open`] would not refuse at once: to be asked before anything is written down about a request.
    ///
    /// # Errors
    /// Why it would.
    pub(crate) fn expect_room(&self, caller: &Caller, announced: Announced) -> Result<(), Problem> {
        self.pipeline().prospect(Limits::party(caller), announced.held_bytes()).map_err(no_room)
    }

    /// A lease for one upload of this caller, of at most `bytes` if that is known. Asked before the body is read: the only
    /// way to one, beside [`Api::open`] where a body's own first bytes show whether its sender means it.
    ///
    /// # Errors
    /// Why not.
    pub(crate) async fn admit(&self, caller: &Caller, bytes: Option<u64>) -> Result<Lease, Problem> {
        let counted = self.count_upload(caller, bytes)?;
        self.check_room(caller, bytes).await?;
        let lease = self.pipeline().admit(Limits::party(caller), bytes).await.map_err(no_room)?;
        Ok(lease.beside(counted))
    }

    fn count_upload(&self, caller: &Caller, bytes: Option<u64>) -> Result<Option<super::Place>, Problem> {
        let most = self.pipeline().options().upload_bytes_max;
        self.limits().upload(caller, bytes.map_or(most, |bytes| bytes.min(most)))
    }
}

/// Reads until enough is there, or all, or it breaks off.
///
/// Small pieces are put together, since each of its own would cost more than its bytes.
async fn first_bytes(mut body: Body, shape: Shape) -> Result<(Vec<Bytes>, Body), BodyError> {
    let enough = shape.opening_bytes();
    let mut gathered = BytesMut::new();
    let mut first = Vec::new();
    while let Some(piece) = body.next().await {
        let piece = piece?;
        if gathered.len() + piece.len() >= enough {
            first.extend((!gathered.is_empty()).then(|| gathered.freeze()));
            first.push(piece);
            return Ok((first, body));
        }
        gathered.extend_from_slice(&piece);
    }
    first.extend((!gathered.is_empty()).then(|| gathered.freeze()));
    // A stream that has ended is not to be asked again.
    Ok((first, stream::empty().boxed()))
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn body(pieces: Vec<Result<Bytes, BodyError>>) -> Body {
        stream::iter(pieces).boxed()
    }

    async fn whole(first: Vec<Bytes>, rest: Body) -> Vec<u8> {
        let rest: Vec<Bytes> = rest.map(Result::unwrap).collect().await;
        first.into_iter().chain(rest).flatten().collect()
    }

    #[test]
    fn the_last_bytes_of_a_photo_are_held_with_those_before_them() {
        let of =
            |bytes, before| Announced { bytes, before, shape: Shape::Piece, is_repeated: false }.held_bytes();
        assert_eq!((of(Some(1), 0), of(Some(1), 20 << 20)), (Some(1), Some((20 << 20) + 1)));
        assert_eq!((of(Some(1), u64::MAX), of(None, 5)), (Some(u64::MAX), None));
    }

    #[tokio::test]
    async fn no_byte_is_lost_however_they_come() {
        let bytes: Vec<u8> = (0..100_000_usize).map(|index| (index % 251) as u8).collect();
        for size in [1, 7, OPENING_BYTES - 1, OPENING_BYTES, 70_000, 200_000] {
            let pieces = bytes.chunks(size).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
            let (first, rest) = first_bytes(body(pieces), Shape::Photo).await.unwrap();
            assert!(first.iter().map(Bytes::len).sum::<usize>() >= OPENING_BYTES, "pieces of {size}");
            assert_eq!(whole(first, rest).await, bytes, "pieces of {size}");
        }
        let (first, rest) =
            first_bytes(body(vec![Ok(Bytes::from_static(b"small"))]), Shape::Photo).await.unwrap();
        assert_eq!(whole(first, rest).await, b"small");
        let (first, rest) = first_bytes(body(Vec::new()), Shape::Photo).await.unwrap();
        assert_eq!(whole(first, rest).await, b"");
    }

    #[tokio::test]
    async fn a_body_that_has_ended_is_not_asked_again() {
        let once =
            stream::unfold(
                Some(()),
                |left| async move { left.map(|()| (Ok(Bytes::from_static(b"all")), None)) },
            );
        let (first, rest) = first_bytes(once.boxed(), Shape::Photo).await.unwrap();
        assert_eq!(whole(first, rest).await, b"all");
    }

    #[test]
    fn a_body_that_sends_little_is_awaited() {
        let little = vec![Ok(Bytes::from_static(&[0; 1000]))];
        let stalled = body(little).chain(stream::pending()).boxed();
        assert!(first_bytes(stalled, Shape::Photo).now_or_never().is_none());
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_says_so() {
        let broken = body(vec![Ok(Bytes::from_static(b"a")), Err(BodyError::Broken("gone".to_owned()))]);
        assert!(matches!(first_bytes(broken, Shape::Photo).await, Err(BodyError::Broken(_))));
    }
}
