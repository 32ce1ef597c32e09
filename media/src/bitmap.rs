//! What the headers of a BMP say (Microsoft's BITMAPFILEHEADER and BITMAPCOREHEADER to BITMAPV5HEADER; OS/2 2.x).
//!
//! The probe reads them from the stream and the decoder from the whole file.

use crate::{Limits, MediaError, SourceFormat};

/// BITMAPFILEHEADER.
pub(crate) const FILE_HEADER_BYTES: usize = 14;
/// Where a BITMAPINFOHEADER and its successors keep their fields, from the beginning of the file.
const COMPRESSION_AT: usize = FILE_HEADER_BYTES + 16;
const COLORS_AT: usize = FILE_HEADER_BYTES + 32;
const MASKS_AT: usize = FILE_HEADER_BYTES + 40;
const COLOR_SPACE_AT: usize = FILE_HEADER_BYTES + 56;
const PROFILE_AT: usize = FILE_HEADER_BYTES + 112;
/// BITMAPINFOHEADER.
const INFO_BYTES: u32 = 40;
/// OS/2 2.x, whose compressions have other numbers.
const OS2_BYTES: u32 = 64;
/// `PROFILE_EMBEDDED`, a multi-character constant, as it lies in the file.
const EMBEDDED: &[u8] = b"DEBM";
/// Greatest colour profile that is read, in bytes.
const PROFILE_BYTES_MAX: u64 = 4 << 20;

/// Lengths of the header behind the file header: core, OS/2 2.x (short and whole), and versions 1 to 5.
pub(crate) const HEADER_LENGTHS: [u32; 8] = [12, 16, 40, 52, 56, 64, 108, 124];

fn corrupt(detail: impl Into<String>) -> MediaError {
    MediaError::corrupt(SourceFormat::Bmp, detail)
}

fn unsupported(what: &str) -> MediaError {
    MediaError::unsupported(
        format!("a BMP {what}"),
        "save it as an ordinary BMP of 24 bits, or as a PNG or JPEG",
    )
}

/// Two bytes, least significant first; zero where the header is too short to have them.
fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..at + 2).map_or(0, |two| u16::from_le_bytes([two[0], two[1]]))
}

/// Four bytes, least significant first; zero where the header is too short to have them.
fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}

/// Bytes of both headers and of the masks behind them, as far as `bytes`, which are the first 18 at least, tell. Ask again
/// with so many.
pub(crate) fn header_bytes(bytes: &[u8]) -> Result<usize, MediaError> {
    let length = u32_at(bytes, FILE_HEADER_BYTES);
    if !HEADER_LENGTHS.contains(&length) {
        return Err(corrupt(format!("no header is {length} bytes long")));
    }
    let masks = match u32_at(bytes, COMPRESSION_AT) {
        3 if length == INFO_BYTES => 12,
        6 if length == INFO_BYTES => 16,
        _ => 0,
    };
    Ok(FILE_HEADER_BYTES + length as usize + masks)
}

/// How pixels are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coding {
    /// Rows padded to four bytes.
    Plain,
    /// `BI_RLE4` and `BI_RLE8`.
    RunLengths,
}

/// What both headers say, judged.
#[derive(Debug, Clone)]
pub(crate) struct Header {
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// Rows go down rather than up.
    pub(crate) top_down: bool,
    /// Per pixel: 1, 2, 4, 8 (indices into the palette), 16, 24 or 32.
    pub(crate) bits: u16,
    pub(crate) coding: Coding,
    /// Of pixels of 16 and 32 bits: which bits are red, green, blue and alpha. Each is contiguous.
    pub(crate) masks: [u32; 4],
    /// Where the palette begins, from the beginning of the file.
    pub(crate) palette_offset: usize,
    /// Colours of the palette, at most 256.
    pub(crate) palette_colors: usize,
    /// Bytes of each of them.
    pub(crate) palette_stride: usize,
    /// Where the pixels begin, from the beginning of the file.
    pub(crate) pixels_offset: u64,
    /// Where the colour profile begins and how long it is.
    profile: Option<(u64, u64)>,
}

impl Header {
    /// From the bytes that [`header_bytes`] asks for.
    pub(crate) fn read(bytes: &[u8], limits: &Limits) -> Result<Self, MediaError> {
        let whole = header_bytes(bytes)?;
        let length = u32_at(bytes, FILE_HEADER_BYTES);
        let core = length == 12;
        let (columns, rows, bits) = if core {
            (i32::from(u16_at(bytes, 18)), i32::from(u16_at(bytes, 20)), u16_at(bytes, 24))
        } else {
            (u32_at(bytes, 18).cast_signed(), u32_at(bytes, 22).cast_signed(), u16_at(bytes, 28))
        };
        if columns <= 0 || rows == 0 {
            return Err(corrupt(format!("it claims to be {columns}×{rows} pixels")));
        }
        let (width, height) = (columns.unsigned_abs(), rows.unsigned_abs());
        limits.check_size(width, height)?;
        let compression = if core { 0 } else { u32_at(bytes, COMPRESSION_AT) };
        let coding = coding(length, compression, bits)?;
        let pixels_offset = u64::from(u32_at(bytes, 10));
        if pixels_offset < whole as u64 {
            return Err(corrupt(format!("its pixels begin at byte {pixels_offset}, inside its header")));
        }
        let palette_stride = if core { 3 } else { 4 };
        let claimed = match u32_at(bytes, COLORS_AT) {
            0 => u32::MAX,
            _ if core => u32::MAX,
            colors => colors,
        };
        let room = (pixels_offset - whole as u64) / palette_stride as u64;
        let most = if bits <= 8 { 1_u64 << bits } else { 0 };
        Ok(Self {
            width,
            height,
            top_down: rows < 0,
            bits,
            coding,
            masks: masks(bytes, length, compression, bits)?,
            palette_offset: whole,
            palette_colors: u64::from(claimed).min(room).min(most) as usize,
            palette_stride,
            pixels_offset,
            profile: profile(bytes, length),
        })
    }

    /// Bytes of a row of pixels that are not run lengths, without and with its padding.
    pub(crate) fn row_bytes(&self) -> (u64, u64) {
        let bits = u64::from(self.width) * u64::from(self.bits);
        (bits.div_ceil(8), bits.div_ceil(32) * 4)
    }

    /// Where the pixels end, if they are not run lengths. The padding of the last row may be missing.
    pub(crate) fn pixels_end(&self) -> Option<u64> {
        let (row, stride) = self.row_bytes();
        (self.coding == Coding::Plain).then(|| self.pixels_offset + stride * u64::from(self.height - 1) + row)
    }

    pub(crate) const fn has_alpha(&self) -> bool {
        self.masks[3] != 0
    }

    /// Bytes of the colour profile; 0 if there is none.
    pub(crate) fn profile_bytes(&self) -> u64 {
        self.profile.map_or(0, |(_, bytes)| bytes)
    }

    /// Where the colour profile ends.
    pub(crate) fn profile_end(&self) -> Option<u64> {
        self.profile.map(|(offset, bytes)| offset + bytes)
    }

    /// The colour profile, an ICC profile. `None` if there is none, and if it lies beyond the end.
    pub(crate) fn profile<'a>(&self, file: &'a [u8]) -> Option<&'a [u8]> {
        let (offset, bytes) = self.profile?;
        file.get(usize::try_from(offset).ok()?..usize::try_from(offset + bytes).ok()?)
    }
}

fn coding(length: u32, compression: u32, bits: u16) -> Result<Coding, MediaError> {
    match (compression, bits) {
        (0, 16 | 32) if length == 12 => Err(corrupt(format!("its header cannot have {bits} bits per pixel"))),
        (0, 1 | 2 | 4 | 8 | 16 | 24 | 32) | (3 | 6, 16 | 32) => Ok(Coding::Plain),
        (1, 8) | (2, 4) => Ok(Coding::RunLengths),
        (3, 1) | (4, 24) if length == OS2_BYTES => Err(unsupported("in a compression of OS/2")),
        (4, _) => Err(unsupported("that wraps a JPEG")),
        (5, _) => Err(unsupported("that wraps a PNG")),
        (11..=13, _) => Err(unsupported("of CMYK")),
        (0, 64) => Err(unsupported("of 64 bits per pixel")),
        (way, bits) => Err(corrupt(format!("compression {way} with {bits} bits per pixel does not exist"))),
    }
}

/// Red, green, blue and alpha of pixels of 16 and 32 bits.
fn masks(bytes: &[u8], length: u32, compression: u32, bits: u16) -> Result<[u32; 4], MediaError> {
    let masks = match (compression, bits) {
        (3 | 6, 16 | 32) => {
            let mut masks = [0, 4, 8, 12].map(|at| u32_at(bytes, MASKS_AT + at));
            // A header of 52 bytes has no fourth; one of 40 has it where its compression says so.
            if length == 52 || length == INFO_BYTES && compression == 3 {
                masks[3] = 0;
            }
            masks
        }
        (_, 16) => [0x7C00, 0x03E0, 0x001F, 0],
        (_, 32) => [0x00FF_0000, 0x0000_FF00, 0x0000_00FF, 0],
        _ => [0; 4],
    };
    let contiguous = |mask: &u32| mask.count_ones() + mask.leading_zeros() + mask.trailing_zeros() == 32;
    if masks.iter().all(|mask| *mask == 0 || contiguous(mask)) {
        Ok(masks)
    } else {
        Err(corrupt("the bits of its colours are scattered"))
    }
}

fn profile(bytes: &[u8], length: u32) -> Option<(u64, u64)> {
    if length != 124 || bytes.get(COLOR_SPACE_AT..COLOR_SPACE_AT + 4) != Some(EMBEDDED) {
        return None;
    }
    // The offset counts from the beginning of the second header.
    let offset = u64::from(u32_at(bytes, PROFILE_AT)) + FILE_HEADER_BYTES as u64;
    let size = u64::from(u32_at(bytes, PROFILE_AT + 4));
    (1..=PROFILE_BYTES_MAX).contains(&size).then_some((offset, size))
}
