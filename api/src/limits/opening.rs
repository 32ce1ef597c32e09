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

/// What is known of a body before it is read.
#[derive(Clone, Copy, Debug, Default)]
pub struct Announced {
    /// Its length.
    pub bytes: Option<u64>,
    /// Whether it is one photo, so that its length is that photo's.
    pub is_one_photo: bool,
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
        let Announced { bytes, is_one_photo } = announced;
        let party = Limits::party(caller);
        let counted = self.count_upload(caller, bytes)?;
        self.pipeline().prospect(party, bytes).map_err(no_room)?;
        self.check_room(caller, bytes.filter(|_| is_one_photo)).await?;
        let (place, room, _) = self.limits().opening.enter(party);
        if room != Room::Enough {
            return Err(no_room(Refused::Full));
        }
        let opening = if is_one_photo { OPENING_BYTES } else { OPENING_OF_MANY_BYTES };
        let (first, rest) = first_bytes(body, opening).await?;
        drop(place);
        let lease = self.pipeline().admit(party, bytes).await.map_err(no_room)?;
        Ok((lease.beside(counted), stream::iter(first.into_iter().map(Ok)).chain(rest).boxed()))
    }

    /// Whether [`Api::open`] would not refuse at once: to be asked before anything is written down about a request.
    ///
    /// # Errors
    /// Why it would.
    pub(crate) fn expect_room(&self, caller: &Caller, announced: Announced) -> Result<(), Problem> {
        self.pipeline().prospect(Limits::party(caller), announced.bytes).map_err(no_room)
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
async fn first_bytes(mut body: Body, enough: usize) -> Result<(Vec<Bytes>, Body), BodyError> {
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

    #[tokio::test]
    async fn no_byte_is_lost_however_they_come() {
        let bytes: Vec<u8> = (0..100_000_usize).map(|index| (index % 251) as u8).collect();
        for size in [1, 7, OPENING_BYTES - 1, OPENING_BYTES, 70_000, 200_000] {
            let pieces = bytes.chunks(size).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
            let (first, rest) = first_bytes(body(pieces), OPENING_BYTES).await.unwrap();
            assert!(first.iter().map(Bytes::len).sum::<usize>() >= OPENING_BYTES, "pieces of {size}");
            assert_eq!(whole(first, rest).await, bytes, "pieces of {size}");
        }
        let (first, rest) =
            first_bytes(body(vec![Ok(Bytes::from_static(b"small"))]), OPENING_BYTES).await.unwrap();
        assert_eq!(whole(first, rest).await, b"small");
        let (first, rest) = first_bytes(body(Vec::new()), OPENING_BYTES).await.unwrap();
        assert_eq!(whole(first, rest).await, b"");
    }

    #[tokio::test]
    async fn a_body_that_has_ended_is_not_asked_again() {
        let once =
            stream::unfold(
                Some(()),
                |left| async move { left.map(|()| (Ok(Bytes::from_static(b"all")), None)) },
            );
        let (first, rest) = first_bytes(once.boxed(), OPENING_BYTES).await.unwrap();
        assert_eq!(whole(first, rest).await, b"all");
    }

    #[test]
    fn a_body_that_sends_little_is_awaited() {
        let little = vec![Ok(Bytes::from_static(&[0; 1000]))];
        let stalled = body(little).chain(stream::pending()).boxed();
        assert!(first_bytes(stalled, OPENING_BYTES).now_or_never().is_none());
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_says_so() {
        let broken = body(vec![Ok(Bytes::from_static(b"a")), Err(BodyError::Broken("gone".to_owned()))]);
        assert!(matches!(first_bytes(broken, OPENING_BYTES).await, Err(BodyError::Broken(_))));
    }
}
