//! The chunks of a WebP (RFC 9649, section 2), in place, and writing them.

/// Flags in the first byte of VP8X (section 2.7).
pub(super) mod flag {
    pub(in crate::metadata) const ANIMATION: u8 = 0x02;
    pub(in crate::metadata) const EXIF: u8 = 0x08;
    pub(in crate::metadata) const ALPHA: u8 = 0x10;
    pub(in crate::metadata) const ICC: u8 = 0x20;
}

/// Bytes before a chunk's data: its code and its length.
const CHUNK_HEADER_BYTES: usize = 8;
/// Bytes of VP8X.
pub(crate) const EXTENDED_BYTES: usize = 10;
/// Bytes of ANMF before its first sub-chunk (section 2.7.1.1).
pub(crate) const FRAME_HEADER_BYTES: usize = 16;

/// A chunk of a file or of an animation's frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Chunk<'a> {
    pub(crate) code: [u8; 4],
    /// As much of it as is there.
    pub(crate) data: &'a [u8],
    /// Whether all of it is there.
    pub(crate) complete: bool,
}

/// Chunks that follow each other. Ends where there is no room for another.
#[derive(Debug)]
pub(crate) struct Chunks<'a> {
    rest: &'a [u8],
}

impl<'a> Chunks<'a> {
    /// Those of a file, as far as its RIFF header says that it goes. `None` if it does not begin as a WebP.
    pub(crate) fn new(bytes: &'a [u8]) -> Option<Self> {
        let (riff, rest) = bytes.split_first_chunk::<4>()?;
        let (length, rest) = rest.split_first_chunk()?;
        let (form, rest) = rest.split_first_chunk::<4>()?;
        let length = (u32::from_le_bytes(*length) as usize).saturating_sub(form.len());
        (riff == b"RIFF" && form == b"WEBP").then(|| Self { rest: &rest[..length.min(rest.len())] })
    }

    /// Those inside an animation's frame, behind its header.
    pub(crate) const fn inside(frame: &'a [u8]) -> Self {
        Self { rest: frame }
    }
}

impl<'a> Iterator for Chunks<'a> {
    type Item = Chunk<'a>;

    fn next(&mut self) -> Option<Chunk<'a>> {
        let (code, rest) = self.rest.split_first_chunk()?;
        let (length, rest) = rest.split_first_chunk()?;
        let length = u32::from_le_bytes(*length) as usize;
        let (data, rest) = rest.split_at(length.min(rest.len()));
        // Padded to an even length; some writers forget the padding of the last one.
        self.rest = rest.get(length % 2..).unwrap_or_default();
        Some(Chunk { code: *code, data, complete: data.len() == length })
    }
}

/// The RIFF header of a file whose chunks follow. [`finish`] tells it how long they are.
pub(crate) fn begin(out: &mut Vec<u8>) {
    out.extend(b"RIFF\0\0\0\0WEBP");
}

/// Appends a chunk of less than 4 GiB.
pub(crate) fn push_chunk(out: &mut Vec<u8>, code: [u8; 4], data: &[u8]) {
    out.extend(code);
    out.extend((data.len() as u32).to_le_bytes());
    out.extend(data);
    if data.len() % 2 == 1 {
        out.push(0);
    }
}

/// Writes into the header that began at `at` how long the data behind it has become: `at` is where a chunk's code or
/// `RIFF` stands.
pub(crate) fn finish(out: &mut [u8], at: usize) {
    let length = (out.len() - at - CHUNK_HEADER_BYTES) as u32;
    out[at + 4..at + CHUNK_HEADER_BYTES].copy_from_slice(&length.to_le_bytes());
}

/// VP8X for a file of one image, whose chunk tells its size and whether pixels may be transparent. `None` if it is no
/// image.
pub(crate) fn extended(image: &Chunk<'_>) -> Option<[u8; EXTENDED_BYTES]> {
    let (width, height, alpha) = match (&image.code, image.data) {
        // The sides of a key frame, with a scaling hint in the two highest bits of each (RFC 6386, section 9.1).
        (b"VP8 ", [_, _, _, 0x9D, 0x01, 0x2A, w0, w1, h0, h1, ..]) => {
            let side = |bytes| u32::from(u16::from_le_bytes(bytes) & 0x3FFF);
            (side([*w0, *w1]).checked_sub(1)?, side([*h0, *h1]).checked_sub(1)?, 0)
        }
        // Each side less 1 in 14 bits, then a bit for alpha (section 3.4).
        (b"VP8L", [0x2F, a, b, c, d, ..]) => {
            let header = u32::from_le_bytes([*a, *b, *c, *d]);
            let alpha = if header >> 28 & 1 == 0 { 0 } else { flag::ALPHA };
            (header & 0x3FFF, header >> 14 & 0x3FFF, alpha)
        }
        _ => return None,
    };
    let ([w0, w1, w2, _], [h0, h1, h2, _]) = (width.to_le_bytes(), height.to_le_bytes());
    Some([alpha, 0, 0, 0, w0, w1, w2, h0, h1, h2])
}
