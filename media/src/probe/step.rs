//! The walk of any format through a stream that comes in pieces: [`Walker`] skips and collects, the format's
//! [`Structure`] says what comes next.

use std::fmt::Debug;

use super::Probe;
use crate::{Limits, MediaError, SourceFormat};

/// What is held of a stretch that was collected, once it is not needed any more: an EXIF block was, and the walk may
/// still last for hundreds of megabytes.
const IDLE_BYTES_MAX: usize = 1 << 10;

/// What the walk does until the structure is asked again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step<At> {
    /// Skip so many bytes, then collect so many. What was collected before is forgotten.
    Collect { skipped: u64, at: At, bytes: usize },
    /// Collect so many bytes more, behind those collected before.
    More { at: At, bytes: usize },
    /// Skip all up to and including the next byte of this value, then collect the one behind it.
    Seek { byte: u8, at: At },
    /// Nothing: the image has ended, and whatever follows belongs to someone else.
    End,
}

impl<At: Copy> Step<At> {
    /// Collect so many bytes next.
    pub(super) const fn collect(at: At, bytes: usize) -> Self {
        Self::Collect { skipped: 0, at, bytes }
    }

    /// What is to be collected. `None` at the end.
    const fn at(self) -> Option<At> {
        match self {
            Self::Collect { at, .. } | Self::More { at, .. } | Self::Seek { at, .. } => Some(at),
            Self::End => None,
        }
    }
}

/// What the walk has seen.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen<'a> {
    /// What was collected.
    pub(super) bytes: &'a [u8],
    /// Bytes of the stream up to here, with those collected.
    pub(super) position: u64,
    pub(super) limits: &'a Limits,
}

impl Seen<'_> {
    fn number<const N: usize>(&self, at: usize) -> [u8; N] {
        std::array::from_fn(|index| self.bytes[at + index])
    }

    /// Two collected bytes, most significant first. The caller has collected at least `at + 2`.
    pub(super) fn u16_be(&self, at: usize) -> u16 {
        u16::from_be_bytes(self.number(at))
    }

    /// Two collected bytes, least significant first. The caller has collected at least `at + 2`.
    pub(super) fn u16_le(&self, at: usize) -> u16 {
        u16::from_le_bytes(self.number(at))
    }

    /// Three collected bytes, least significant first. The caller has collected at least `at + 3`.
    pub(super) fn u24_le(&self, at: usize) -> u32 {
        let [low, middle, high] = self.number(at);
        u32::from_le_bytes([low, middle, high, 0])
    }

    /// Four collected bytes, most significant first. The caller has collected at least `at + 4`.
    pub(super) fn u32_be(&self, at: usize) -> u32 {
        u32::from_be_bytes(self.number(at))
    }

    /// Four collected bytes, least significant first. The caller has collected at least `at + 4`.
    pub(super) fn u32_le(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.number(at))
    }
}

/// How the files of a format are laid out, and what was learnt on the way through one.
pub(super) trait Structure: Debug + Send + Sync {
    /// What the bytes are that a step collects.
    type At: Debug + Copy + Send + Sync;

    /// The first step, from the first byte of the stream. The signature was compared by the sniffer.
    fn begin(&self) -> Step<Self::At>;

    /// Understands what was collected. An error refuses the image for good.
    fn next(&mut self, at: Self::At, seen: &Seen<'_>) -> Result<Step<Self::At>, MediaError>;

    /// The format, as well as it is known.
    fn format(&self) -> SourceFormat;

    /// Whether the size was seen, and therefore found to be within the limits.
    fn size_known(&self) -> bool;

    /// Sees every piece of the stream once more, which begins at byte `at`, after its steps were taken. What a step has found
    /// to lie ahead may be kept of it, and the end of the walk does not end this.
    fn pass(&mut self, _at: u64, _piece: &[u8], _limits: &Limits) {}

    /// After the last of `bytes` bytes. `at` is what was to be collected then, of which `seen` has the beginning; `None`
    /// if the image's end was reached.
    fn finish(self, at: Option<Self::At>, seen: &Seen<'_>, bytes: u64) -> Result<Probe, MediaError>;
}

/// The walk of some format.
pub(super) trait Walk: Debug + Send + Sync {
    /// Takes the next piece of the stream, of any length.
    fn feed(&mut self, piece: &[u8], limits: &Limits) -> Result<(), MediaError>;

    fn format(&self) -> SourceFormat;

    fn size_known(&self) -> bool;

    /// After the last of `bytes` bytes.
    fn finish(self: Box<Self>, bytes: u64, limits: &Limits) -> Result<Probe, MediaError>;
}

/// Takes the steps of a structure, each across as many pieces as it needs.
#[derive(Debug)]
pub(super) struct Walker<S: Structure> {
    structure: S,
    step: Step<S::At>,
    /// What is left to do of the step, in this order.
    sought: Option<u8>,
    skipping: u64,
    held: Vec<u8>,
    wanted: usize,
    /// Bytes of the stream that were taken.
    position: u64,
    /// Bytes of the stream that have come, those behind the image's end included.
    passed: u64,
}

impl<S: Structure> Walker<S> {
    pub(super) fn new(structure: S) -> Self {
        let step = structure.begin();
        let (held, wanted) = (Vec::new(), 0);
        let (position, passed) = (0, 0);
        let mut walker = Self { structure, step, sought: None, skipping: 0, held, wanted, position, passed };
        walker.take_on(step);
        walker
    }

    fn take_on(&mut self, step: Step<S::At>) {
        self.step = step;
        match step {
            Step::Collect { skipped, bytes, .. } => {
                self.forget();
                (self.skipping, self.wanted) = (skipped, bytes);
            }
            Step::More { bytes, .. } => self.wanted += bytes,
            Step::Seek { byte, .. } => {
                self.forget();
                (self.sought, self.wanted) = (Some(byte), 1);
            }
            Step::End => self.forget(),
        }
    }

    fn forget(&mut self) {
        self.held.clear();
        self.held.shrink_to(IDLE_BYTES_MAX);
    }

    /// Takes what the step needs from the front of `piece`. `true` when everything asked for was skipped and collected.
    fn take(&mut self, piece: &mut &[u8]) -> bool {
        if let Some(byte) = self.sought {
            let Some(index) = memchr::memchr(byte, piece) else {
                *piece = &[];
                return false;
            };
            *piece = &piece[index + 1..];
            self.sought = None;
        }
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
}

impl<S: Structure> Walk for Walker<S> {
    fn feed(&mut self, piece: &[u8], limits: &Limits) -> Result<(), MediaError> {
        let mut rest = piece;
        while !rest.is_empty()
            && let Some(at) = self.step.at()
        {
            let before = rest.len();
            let complete = self.take(&mut rest);
            self.position += (before - rest.len()) as u64;
            if complete {
                let seen = Seen { bytes: &self.held, position: self.position, limits };
                let step = self.structure.next(at, &seen)?;
                self.take_on(step);
            }
        }
        self.structure.pass(self.passed, piece, limits);
        self.passed += piece.len() as u64;
        Ok(())
    }

    fn format(&self) -> SourceFormat {
        self.structure.format()
    }

    fn size_known(&self) -> bool {
        self.structure.size_known()
    }

    fn finish(self: Box<Self>, bytes: u64, limits: &Limits) -> Result<Probe, MediaError> {
        let seen = Seen { bytes: &self.held, position: self.position, limits };
        self.structure.finish(self.step.at(), &seen, bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One step of each kind, what was seen of each (where, what, and up to which byte), and what has passed.
    #[derive(Debug, Default)]
    struct Recorded {
        seen: Vec<(u8, Vec<u8>, u64)>,
        passed: Vec<u8>,
    }

    impl Structure for Recorded {
        type At = u8;

        fn begin(&self) -> Step<u8> {
            Step::Collect { skipped: 3, at: 0, bytes: 2 }
        }

        fn next(&mut self, at: u8, seen: &Seen<'_>) -> Result<Step<u8>, MediaError> {
            self.seen.push((at, seen.bytes.to_vec(), seen.position));
            Ok(match at {
                0 => Step::More { at: 1, bytes: 1 },
                1 => Step::Seek { byte: b'#', at: 2 },
                2 if seen.bytes == b"#" => Step::Seek { byte: b'#', at: 2 },
                2 => Step::Collect { skipped: 2, at: 3, bytes: 0 },
                3 => Step::collect(4, 0),
                4 => Step::collect(5, 1),
                _ => Step::End,
            })
        }

        fn pass(&mut self, at: u64, piece: &[u8], _: &Limits) {
            assert_eq!(at, self.passed.len() as u64);
            self.passed.extend_from_slice(piece);
        }

        fn format(&self) -> SourceFormat {
            SourceFormat::Gif
        }

        fn size_known(&self) -> bool {
            false
        }

        fn finish(self, at: Option<u8>, seen: &Seen<'_>, bytes: u64) -> Result<Probe, MediaError> {
            let image_bytes = seen.position;
            Ok(Probe { image_bytes, truncated: at.is_some(), ..Probe::plain(self.format(), (1, 1), bytes) })
        }
    }

    const STREAM: &[u8] = b"abcdefgh##ij#klmnopq";

    fn walked<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Box<Walker<Recorded>> {
        let mut walker = Box::new(Walker::new(Recorded::default()));
        for piece in pieces {
            walker.feed(piece, &Limits::default()).unwrap();
        }
        walker
    }

    #[test]
    fn every_step_is_taken_across_pieces_of_any_length() {
        let seen: [(u8, &[u8], u64); 7] = [
            (0, b"de", 5),
            (1, b"def", 6),
            (2, b"#", 10),
            (2, b"k", 14),
            (3, b"", 16),
            (4, b"", 16),
            (5, b"n", 17),
        ];
        for length in 1..=STREAM.len() {
            let walker = walked(STREAM.chunks(length));
            let found: Vec<_> = walker
                .structure
                .seen
                .iter()
                .map(|(at, bytes, position)| (*at, bytes.as_slice(), *position))
                .collect();
            assert_eq!(found, seen, "pieces of {length}");
            assert_eq!(walker.structure.passed, STREAM, "pieces of {length}");
            let probe = walker.finish(20, &Limits::default()).unwrap();
            assert_eq!((probe.image_bytes, probe.truncated), (17, false), "pieces of {length}");
        }
    }

    #[test]
    fn a_stream_may_end_within_any_step() {
        for length in 0..17 {
            let probe = walked(STREAM[..length].chunks(2)).finish(length as u64, &Limits::default()).unwrap();
            assert_eq!((probe.image_bytes, probe.truncated), (length as u64, true), "{length}");
        }
    }

    #[test]
    fn what_was_collected_is_not_held_any_longer() {
        #[derive(Debug)]
        struct Large;

        impl Structure for Large {
            type At = bool;

            fn begin(&self) -> Step<bool> {
                Step::collect(true, 1 << 20)
            }

            fn next(&mut self, _: bool, _: &Seen<'_>) -> Result<Step<bool>, MediaError> {
                Ok(Step::collect(false, 1))
            }

            fn format(&self) -> SourceFormat {
                SourceFormat::Jpeg
            }

            fn size_known(&self) -> bool {
                false
            }

            fn finish(self, _: Option<bool>, _: &Seen<'_>, _: u64) -> Result<Probe, MediaError> {
                Err(MediaError::Empty)
            }
        }
        let mut walker = Walker::new(Large);
        walker.feed(&vec![0; (1 << 20) - 1], &Limits::default()).unwrap();
        assert!(walker.held.capacity() >= (1 << 20) - 1);
        walker.feed(&[0], &Limits::default()).unwrap();
        assert!(walker.held.capacity() <= IDLE_BYTES_MAX);
    }
}
