//! The two things that every walker does with a stream that comes in pieces: collect a header, skip a body.

/// A stretch of bytes to be collected or skipped, across as many pieces as it takes.
#[derive(Debug, Default)]
pub(super) struct Step {
    held: Vec<u8>,
    wanted: usize,
    skipping: u64,
}

impl Step {
    /// Collect this many bytes next. What was collected before is forgotten.
    pub(super) fn collect(&mut self, bytes: usize) {
        self.held.clear();
        // An EXIF block was held: it is not needed again, and the walk may still last for hundreds of megabytes.
        self.held.shrink_to(1 << 10);
        self.wanted = bytes;
    }

    /// Collect this many bytes more, behind those collected before.
    pub(super) fn collect_more(&mut self, bytes: usize) {
        self.wanted += bytes;
    }

    /// Skip this many bytes, before anything is collected.
    pub(super) fn skip(&mut self, bytes: u64) {
        self.skipping = bytes;
    }

    /// Takes what it needs from the front of `piece`. `true` when everything asked for was skipped and collected.
    pub(super) fn take(&mut self, piece: &mut &[u8]) -> bool {
        let skipped = self.skipping.min(piece.len() as u64);
        // At most the length of the piece, which is a usize.
        *piece = &piece[skipped as usize..];
        self.skipping -= skipped;
        if self.skipping > 0 {
            return false;
        }
        let taken = (self.wanted - self.held.len()).min(piece.len());
        self.held.extend_from_slice(&piece[..taken]);
        *piece = &piece[taken..];
        self.held.len() == self.wanted
    }

    /// What was collected.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.held
    }

    /// Two collected bytes, most significant first. The caller has collected at least `at + 2`.
    pub(super) fn u16_be(&self, at: usize) -> u16 {
        u16::from_be_bytes([self.held[at], self.held[at + 1]])
    }

    /// Two collected bytes, least significant first. The caller has collected at least `at + 2`.
    pub(super) fn u16_le(&self, at: usize) -> u16 {
        u16::from_le_bytes([self.held[at], self.held[at + 1]])
    }

    /// Three collected bytes, least significant first. The caller has collected at least `at + 3`.
    pub(super) fn u24_le(&self, at: usize) -> u32 {
        u32::from_le_bytes([self.held[at], self.held[at + 1], self.held[at + 2], 0])
    }

    /// Four collected bytes, most significant first. The caller has collected at least `at + 4`.
    pub(super) fn u32_be(&self, at: usize) -> u32 {
        u32::from_be_bytes([self.held[at], self.held[at + 1], self.held[at + 2], self.held[at + 3]])
    }

    /// Four collected bytes, least significant first. The caller has collected at least `at + 4`.
    pub(super) fn u32_le(&self, at: usize) -> u32 {
        u32::from_le_bytes([self.held[at], self.held[at + 1], self.held[at + 2], self.held[at + 3]])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skips_then_collects_across_pieces() {
        let mut step = Step::default();
        step.skip(3);
        step.collect(2);
        let mut piece: &[u8] = b"ab";
        assert!(!step.take(&mut piece));
        piece = b"cd";
        assert!(!step.take(&mut piece));
        piece = b"ef";
        assert!(step.take(&mut piece));
        assert_eq!(step.bytes(), b"de");
        assert_eq!(piece, b"f");
        step.collect_more(1);
        assert!(step.take(&mut piece));
        assert_eq!(step.bytes(), b"def");
    }
}
