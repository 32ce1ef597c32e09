//! When small pieces are made one: a log-structured merge.
//!
//! Whoever sends a byte per request would otherwise have an object per byte. So a new piece takes in small ones before it,
//! and repeats their bytes: those that together are no larger than what comes, since that is written anyway; and those
//! of one size, by powers of sixteen, as soon as there are fifteen of it. So of many small requests there are at most
//! some dozens of pieces at any time, and each byte is written some few times until its piece has a mebibyte and is left
//! alone: six times in the worst case, a byte per request, and twice where large requests have small ones between them.

use darkroom_store::model::uploads::Piece;

/// Pieces of this size and above are left as they are.
pub(super) const SMALL_BYTES: u64 = 1 << 20;
/// So many of one size become one of the next.
const RUN: usize = 16;
/// Sizes are told apart by powers of this.
const STEP: u64 = RUN as u64;
/// Sizes of small pieces: up to 16^1, 16^2, … 16^5 bytes.
const LEVELS: u32 = SMALL_BYTES.ilog2() / STEP.ilog2();
/// The last pieces that must be looked at: every run that is not folded yet, of each size.
pub(super) const TAIL: usize = RUN * LEVELS as usize;

/// How many of the last pieces the next one takes in, before as many bytes as are announced.
pub(super) fn fold(tail: &[Piece], coming: Option<u64>) -> usize {
    let small = tail.iter().rev().take_while(|piece| piece.bytes < SMALL_BYTES);
    let sizes: Vec<u64> = small.map(|piece| piece.bytes).collect();
    let mut sum = 0;
    let fits = |bytes: &&u64| {
        sum += **bytes;
        coming.is_some_and(|coming| sum <= coming)
    };
    let mut folded = sizes.iter().take_while(fits).count();
    for level in 1..=LEVELS {
        let of_level = STEP.pow(level - 1)..STEP.pow(level);
        let run = sizes.iter().take_while(|bytes| **bytes < of_level.end).count();
        let count = sizes
            .get(folded..run)
            .unwrap_or_default()
            .iter()
            .filter(|bytes| of_level.contains(bytes))
            .count();
        if count >= RUN - 1 {
            folded = run;
        }
    }
    folded
}

#[cfg(test)]
mod tests {
    use darkroom_store::model::ContentHash;
    use darkroom_store::objects::{ObjectKey, ObjectKind};

    use super::*;

    /// What requests of these sizes come to: the pieces, and the bytes written for them.
    fn after(requests: impl IntoIterator<Item = u64>) -> (Vec<u64>, u64) {
        let (object, hash) = (ObjectKey::new(ObjectKind::Upload), ContentHash::of(b""));
        let (mut pieces, mut written): (Vec<Piece>, u64) = (Vec::new(), 0);
        for bytes in requests {
            let tail = &pieces[pieces.len().saturating_sub(TAIL)..];
            let kept = pieces.len() - fold(tail, Some(bytes));
            let folded: u64 = pieces.drain(kept..).map(|piece| piece.bytes).sum();
            let start = pieces.last().map_or(0, Piece::end);
            pieces.push(Piece { start, bytes: folded + bytes, object: object.clone(), hash });
            written += folded + bytes;
        }
        (pieces.iter().map(|piece| piece.bytes).collect(), written)
    }

    #[test]
    fn a_byte_per_request_comes_to_few_pieces_and_is_written_a_few_times() {
        let (pieces, written) = after(std::iter::repeat_n(1, 300_000));
        assert_eq!(pieces.iter().sum::<u64>(), 300_000);
        assert!(pieces.len() <= TAIL, "{}", pieces.len());
        assert!(written <= 300_000 * 7, "{written}");
    }

    #[test]
    fn large_requests_take_in_the_small_ones_between_them() {
        const BIG: u64 = 5 << 20;
        let (pieces, written) = after([BIG - 1, BIG, 1, BIG - 1, BIG, 1, 1, BIG]);
        assert_eq!(pieces, [BIG - 1, BIG, BIG, BIG, BIG + 2]);
        // The second of two single bytes takes in the first.
        assert_eq!(written, 5 * BIG + 5, "each small one is written once more");
    }

    #[test]
    fn sizes_that_alternate_are_folded_too() {
        let patterns: [&[u64]; 5] =
            [&[1, 100_000], &[1, 1, 1, 20, 300], &[255, 256], &[15; 1], &[1_000_000, 3, 70_000, 2]];
        for pattern in patterns {
            let (pieces, written) = after(pattern.iter().copied().cycle().take(4_000));
            let sum = pieces.iter().sum::<u64>();
            assert!(
                pieces.len() as u64 <= 2 * sum / SMALL_BYTES + TAIL as u64,
                "{pattern:?}: {}",
                pieces.len()
            );
            assert!(written <= sum * 8, "{pattern:?}: {written} of {sum}");
        }
    }

    #[test]
    fn what_is_large_is_left_alone() {
        assert_eq!(after(std::iter::repeat_n(SMALL_BYTES, 40)).0, [SMALL_BYTES; 40]);
    }
}
