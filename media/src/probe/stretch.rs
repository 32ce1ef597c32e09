//! Metadata that lies ahead of what points to it: kept while it passes.

/// A stretch of the stream that is wanted whole.
#[derive(Debug)]
pub(super) struct Stretch {
    start: u64,
    wanted: usize,
    held: Vec<u8>,
}

impl Stretch {
    /// So many bytes from byte `start` of the stream on. Memory is taken as they come.
    pub(super) const fn new(start: u64, bytes: usize) -> Self {
        Self { start, wanted: bytes, held: Vec::new() }
    }

    /// One that is there already.
    pub(super) fn known(bytes: &[u8]) -> Self {
        Self { start: 0, wanted: bytes.len(), held: bytes.to_vec() }
    }

    /// So many bytes more, behind it.
    pub(super) fn extend(&mut self, bytes: usize) {
        self.wanted += bytes;
    }

    /// Takes what belongs to it of a piece that begins at byte `at` of the stream. Pieces come in order, and the one in
    /// which it begins may come again after it was extended.
    pub(super) fn pass(&mut self, at: u64, piece: &[u8]) {
        let next = self.start.saturating_add(self.held.len() as u64);
        let ahead = next.checked_sub(at).and_then(|ahead| usize::try_from(ahead).ok());
        let Some(rest) = ahead.and_then(|ahead| piece.get(ahead..)) else { return };
        let taken = rest.len().min(self.wanted - self.held.len());
        self.held.extend_from_slice(&rest[..taken]);
    }

    /// Its bytes, when all have passed.
    pub(super) fn whole(&self) -> Option<&[u8]> {
        (self.held.len() == self.wanted).then_some(&self.held)
    }

    /// Where it ends, as far as it is wanted now.
    pub(super) const fn end(&self) -> u64 {
        self.start.saturating_add(self.wanted as u64)
    }

    /// Bytes that it holds or will.
    pub(super) const fn bytes(&self) -> usize {
        self.wanted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stretch_is_the_same_however_the_stream_is_cut() {
        let stream: Vec<u8> = (0..40).collect();
        for size in 1..=40 {
            let mut stretch = Stretch::new(7, 3);
            for (index, piece) in stream.chunks(size).enumerate() {
                let at = (index * size) as u64;
                stretch.pass(at, piece);
                if stretch.bytes() == 3 && stretch.whole().is_some() {
                    stretch.extend(20);
                    assert_eq!(stretch.end(), 30);
                    stretch.pass(at, piece);
                }
            }
            assert_eq!(stretch.whole(), Some(&stream[7..30]), "pieces of {size}");
        }
    }

    #[test]
    fn what_has_passed_or_never_comes_is_not_there() {
        let mut passed = Stretch::new(3, 2);
        passed.pass(4, b"efgh");
        assert_eq!(passed.whole(), None);
        let mut far = Stretch::new(u64::MAX, 2);
        far.pass(0, b"abcd");
        assert_eq!(far.whole(), None);
        assert_eq!(Stretch::known(b"ab").whole(), Some(b"ab".as_slice()));
    }
}
