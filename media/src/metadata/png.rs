//! The chunks of a PNG (ISO/IEC 15948, section 5), in place, and writing them.

use flate2::Crc;

/// The first eight bytes of every PNG.
pub(super) const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1A\n";

/// A chunk. Its checksum is not compared: what reads it next does that, or does without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chunk<'a> {
    pub(super) kind: [u8; 4],
    /// As much of it as is there.
    pub(super) data: &'a [u8],
    /// From its length to its checksum, or to the end of a file that ends before.
    pub(super) whole: &'a [u8],
    /// Whether all of it is there.
    pub(super) complete: bool,
}

/// The chunks of a PNG, up to and including IEND. Ends where the file ends or no chunk can begin.
#[derive(Debug)]
pub(super) struct Chunks<'a> {
    rest: &'a [u8],
}

impl<'a> Chunks<'a> {
    /// `None` if the file does not begin as a PNG.
    pub(super) fn new(bytes: &'a [u8]) -> Option<Self> {
        bytes.strip_prefix(SIGNATURE).map(|rest| Self { rest })
    }
}

impl<'a> Iterator for Chunks<'a> {
    type Item = Chunk<'a>;

    fn next(&mut self) -> Option<Chunk<'a>> {
        let whole = self.rest;
        let (length, rest) = whole.split_first_chunk()?;
        let (kind, data) = rest.split_first_chunk()?;
        let length = u32::from_be_bytes(*length) as usize;
        if !kind.iter().all(u8::is_ascii_alphabetic) {
            self.rest = &[];
            return None;
        }
        let end = length.checked_add(12).filter(|end| *end <= whole.len());
        let (whole, rest) = whole.split_at(end.unwrap_or(whole.len()));
        self.rest = if kind == b"IEND" { &[] } else { rest };
        Some(Chunk { kind: *kind, data: &data[..length.min(data.len())], whole, complete: end.is_some() })
    }
}

/// Appends a chunk of less than 2 GiB, whose data comes in two pieces.
pub(super) fn push_chunk(out: &mut Vec<u8>, kind: [u8; 4], front: &[u8], data: &[u8]) {
    let mut checksum = Crc::new();
    for piece in [&kind, front, data] {
        checksum.update(piece);
    }
    out.extend(((front.len() + data.len()) as u32).to_be_bytes());
    out.extend(kind);
    out.extend(front);
    out.extend(data);
    out.extend(checksum.sum().to_be_bytes());
}
