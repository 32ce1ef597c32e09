//! Bytes of an object that wait to be sent on, as they came.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

/// Pieces below this are copied together: a body of one-byte chunks must not be held as so many allocations.
const SMALL_BYTES: usize = 16 * 1024;

/// A rope of bytes.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    whole: VecDeque<Bytes>,
    /// Small pieces that came last, copied together.
    tail: BytesMut,
    bytes: usize,
}

impl Pieces {
    /// How many bytes there are.
    pub(super) fn len(&self) -> usize {
        self.bytes
    }

    /// Appends bytes.
    pub(super) fn push(&mut self, piece: Bytes) {
        self.bytes += piece.len();
        if piece.len() < SMALL_BYTES {
            return self.tail.extend_from_slice(&piece);
        }
        self.seal();
        self.whole.push_back(piece);
    }

    fn seal(&mut self) {
        if !self.tail.is_empty() {
            self.whole.push_back(self.tail.split().freeze());
        }
    }

    /// Everything, in order.
    pub(super) fn take(&mut self) -> Vec<Bytes> {
        self.take_first(usize::MAX)
    }

    /// The first `bytes` of them, in order, or all there are.
    pub(super) fn take_first(&mut self, bytes: usize) -> Vec<Bytes> {
        self.seal();
        let (mut taken, mut left) = (Vec::new(), bytes);
        while left > 0
            && let Some(mut piece) = self.whole.pop_front()
        {
            if piece.len() > left {
                let rest = piece.split_off(left);
                self.whole.push_front(rest);
            }
            left -= piece.len();
            self.bytes -= piece.len();
            taken.push(piece);
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_what_was_pushed_however_it_is_cut() {
        let content: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
        let mut pieces = Pieces::default();
        let (mut rest, mut size) = (&content[..], 1);
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(size.min(rest.len()));
            pieces.push(Bytes::copy_from_slice(piece));
            (rest, size) = (after, size * 7 % 40_009);
        }
        assert_eq!(pieces.len(), content.len());
        let first = pieces.take_first(77_777).concat();
        assert_eq!((first.len(), pieces.len()), (77_777, content.len() - 77_777));
        assert_eq!([first, pieces.take().concat()].concat(), content);
        assert!(pieces.take().is_empty() && pieces.len() == 0);
    }
}
