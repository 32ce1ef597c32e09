//! Boxes of a HEIF file or a JPEG XL (ISO/IEC 14496-12, section 4.2), in place.

use std::ops::Range;

use crate::heif::BoxHeader;

/// A box: where it lies in the file, as much of it as is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BoxAt {
    pub(super) kind: [u8; 4],
    pub(super) start: usize,
    /// What it holds.
    pub(super) content: Range<usize>,
    /// Whether all of it is there.
    pub(super) complete: bool,
}

/// The boxes that follow each other in a part of a file. Ends where no box can begin.
pub(super) fn boxes(file: &[u8], within: &Range<usize>) -> impl Iterator<Item = BoxAt> {
    let end = within.end.min(file.len());
    let mut at = within.start;
    std::iter::from_fn(move || {
        let header = BoxHeader::read(file.get(at..end)?)?;
        let start = at;
        let size = header.size.map_or(end - start, |size| usize::try_from(size).unwrap_or(usize::MAX));
        at = start.saturating_add(size).min(end);
        let complete = size <= end - start;
        Some(BoxAt { kind: header.kind, start, content: start + header.bytes..at, complete })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_follow_each_other_to_the_end_of_their_part() {
        let file = b"\0\0\0\x09free!\0\0\0\x08skip\0\0\0\0mdatrest";
        let found: Vec<_> = boxes(file, &(0..file.len())).collect();
        assert_eq!(found.iter().map(|part| part.kind).collect::<Vec<_>>(), [*b"free", *b"skip", *b"mdat"]);
        assert_eq!((found[0].start, found[0].content.clone()), (0, 8..9));
        assert_eq!((found[2].start, found[2].content.clone()), (17, 25..29));
        let cut: Vec<_> = boxes(file, &(0..12)).collect();
        assert_eq!(cut.len(), 1);
        let inside: Vec<_> = boxes(b"\0\0\0\x10free\0\0\0\0", &(0..12)).collect();
        assert!(!inside[0].complete && inside[0].content == (8..12));
        assert_eq!(boxes(b"\0\0\0\x07free", &(0..8)).count(), 0);
    }
}
