//! What the first directory of a TIFF says (TIFF 6.0, section 2; BigTIFF), as far as its picture needs it.
//!
//! The probe fills it from the stream and the decoder from the whole file, so both judge by the same words, and what is
//! not decoded is refused while it arrives wherever the directory itself tells.

use crate::{Limits, MediaError, Orientation, SourceFormat};

/// Greatest number of entries: what a classic TIFF can count. No picture has more than a hundred.
const ENTRIES_MAX: u64 = 65_535;
/// Greatest number of samples per pixel, those that are skipped included.
const SAMPLES_MAX: u64 = 8;
/// Least width and height of a tile: section 15 asks for multiples of 16, and smaller ones would cost more to set up than
/// to decode.
const TILE_SIDE_MIN: u64 = 16;
/// A tile may reach beyond the picture's edge up to a multiple of this, so that the memory for it is known from the
/// picture's size.
pub(crate) const TILE_SIDE: u64 = 2048;
/// Greatest colour profile that is read, in bytes. The largest that printers use are of 3 MB.
const PROFILE_BYTES_MAX: u64 = 4 << 20;

/// Tags that matter here (TIFF 6.0, appendix A; the last two: ICC.1, annex B, and DNG 1.7).
pub(crate) mod tag {
    pub(crate) const SUBFILE_TYPE: u16 = 254;
    pub(crate) const WIDTH: u16 = 256;
    pub(crate) const HEIGHT: u16 = 257;
    pub(crate) const BITS: u16 = 258;
    pub(crate) const COMPRESSION: u16 = 259;
    pub(crate) const PHOTOMETRIC: u16 = 262;
    pub(crate) const FILL_ORDER: u16 = 266;
    pub(crate) const STRIP_OFFSETS: u16 = 273;
    pub(crate) const ORIENTATION: u16 = 274;
    pub(crate) const SAMPLES: u16 = 277;
    pub(crate) const ROWS_PER_STRIP: u16 = 278;
    pub(crate) const STRIP_COUNTS: u16 = 279;
    pub(crate) const PLANAR: u16 = 284;
    pub(crate) const PREDICTOR: u16 = 317;
    pub(crate) const PALETTE: u16 = 320;
    pub(crate) const TILE_WIDTH: u16 = 322;
    pub(crate) const TILE_HEIGHT: u16 = 323;
    pub(crate) const TILE_OFFSETS: u16 = 324;
    pub(crate) const TILE_COUNTS: u16 = 325;
    pub(crate) const SUB_DIRECTORIES: u16 = 330;
    pub(crate) const INK_SET: u16 = 332;
    pub(crate) const EXTRA_SAMPLES: u16 = 338;
    pub(crate) const SAMPLE_FORMAT: u16 = 339;
    pub(crate) const JPEG_TABLES: u16 = 347;
    pub(crate) const SUBSAMPLING: u16 = 530;
    pub(crate) const PROFILE: u16 = 34_675;
    pub(crate) const DNG_VERSION: u16 = 50_706;

    /// All of them.
    pub(super) const KNOWN: [u16; 27] = [
        SUBFILE_TYPE,
        WIDTH,
        HEIGHT,
        BITS,
        COMPRESSION,
        PHOTOMETRIC,
        FILL_ORDER,
        STRIP_OFFSETS,
        ORIENTATION,
        SAMPLES,
        ROWS_PER_STRIP,
        STRIP_COUNTS,
        PLANAR,
        PREDICTOR,
        PALETTE,
        TILE_WIDTH,
        TILE_HEIGHT,
        TILE_OFFSETS,
        TILE_COUNTS,
        SUB_DIRECTORIES,
        INK_SET,
        EXTRA_SAMPLES,
        SAMPLE_FORMAT,
        JPEG_TABLES,
        SUBSAMPLING,
        PROFILE,
        DNG_VERSION,
    ];
}

/// Shorthand for a TIFF that contradicts itself.
pub(crate) fn corrupt(detail: impl Into<String>) -> MediaError {
    MediaError::corrupt(SourceFormat::Tiff, detail)
}

/// Shorthand for a TIFF that is whole and not decoded here.
pub(crate) fn unsupported(what: &str) -> MediaError {
    MediaError::unsupported(
        format!("a TIFF {what}"),
        "save it as RGB of 8 or 16 bits, or export it as a JPEG or PNG",
    )
}

/// What is said of the raw formats of cameras, most of which are TIFFs outside and something else inside.
pub(crate) fn camera_raw() -> MediaError {
    MediaError::unsupported(
        "a camera raw photo",
        "export it as a JPEG, with the camera's or any photo software",
    )
}

/// How the numbers of a file are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    /// `MM` rather than `II`: the most significant byte comes first.
    pub(crate) big_endian: bool,
    /// BigTIFF: offsets and counts of 64 bits.
    pub(crate) big: bool,
}

impl Shape {
    /// From the first four bytes. `None` if no TIFF begins so.
    pub(crate) fn of(head: &[u8]) -> Option<Self> {
        let (big_endian, big) = match head.get(..4)? {
            b"II*\0" => (false, false),
            b"MM\0*" => (true, false),
            b"II+\0" => (false, true),
            b"MM\0+" => (true, true),
            _ => return None,
        };
        Some(Self { big_endian, big })
    }

    /// Bytes before anything else.
    pub(crate) const fn header_bytes(self) -> usize {
        if self.big { 16 } else { 8 }
    }

    /// Bytes of the number of entries.
    pub(crate) const fn count_bytes(self) -> usize {
        if self.big { 8 } else { 2 }
    }

    /// Bytes of an entry.
    pub(crate) const fn entry_bytes(self) -> usize {
        if self.big { 20 } else { 12 }
    }

    /// Bytes of an entry's value, or of the offset of it.
    pub(crate) const fn field_bytes(self) -> usize {
        if self.big { 8 } else { 4 }
    }

    /// An unsigned number of up to eight bytes.
    pub(crate) fn number(self, bytes: &[u8]) -> u64 {
        let shift = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
        if self.big_endian { bytes.iter().fold(0, shift) } else { bytes.iter().rev().fold(0, shift) }
    }

    /// Where the first directory begins, from the whole header.
    pub(crate) fn directory_offset(self, header: &[u8]) -> Result<u64, MediaError> {
        let field =
            header.get(self.header_bytes() - self.field_bytes()..self.header_bytes()).unwrap_or_default();
        let offset = self.number(field);
        if self.big && header.get(4..8).map(|bytes| self.number(&bytes[..2])) != Some(8) {
            return Err(corrupt("its offsets are not of 64 bits"));
        }
        if offset < self.header_bytes() as u64 {
            return Err(corrupt(format!("its directory begins at byte {offset}, inside its header")));
        }
        Ok(offset)
    }

    /// The number of entries, from the bytes before the first.
    pub(crate) fn entry_count(self, bytes: &[u8]) -> Result<u64, MediaError> {
        match self.number(bytes) {
            0 => Err(corrupt("its directory is empty")),
            count @ 1..=ENTRIES_MAX => Ok(count),
            count => Err(corrupt(format!("its directory claims {count} entries"))),
        }
    }
}

/// An entry of the directory: a tag, and its values or where they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    tag: u16,
    /// Bytes of one value; 0 if the type does not exist.
    size: u64,
    /// Number of values.
    pub(crate) count: u64,
    /// The values if they fit, else their offset.
    field: [u8; 8],
}

impl Entry {
    /// From the bytes of an entry.
    fn read(shape: Shape, bytes: &[u8]) -> Self {
        let part = |from: usize, to: usize| bytes.get(from..to).unwrap_or_default();
        let (count_end, end) = (shape.entry_bytes() - shape.field_bytes(), shape.entry_bytes());
        let mut field = [0; 8];
        for (to, from) in field.iter_mut().zip(part(count_end, end)) {
            *to = *from;
        }
        // Table of types in section 2, and those that BigTIFF adds.
        let size = match shape.number(part(2, 4)) {
            1 | 2 | 6 | 7 => 1,
            3 | 8 => 2,
            4 | 9 | 11 | 13 => 4,
            5 | 10 | 12 | 16..=18 => 8,
            _ => 0,
        };
        let tag = shape.number(part(0, 2)) as u16;
        Self { tag, size, count: shape.number(part(4, count_end)), field }
    }

    /// Bytes of one value.
    pub(crate) const fn size(&self) -> usize {
        self.size as usize
    }

    /// Bytes of all values, as claimed.
    pub(crate) const fn bytes(&self) -> u64 {
        self.count.saturating_mul(self.size)
    }

    /// Where its values are, if they are not in the entry itself.
    pub(crate) fn offset(&self, shape: Shape) -> Option<u64> {
        (self.bytes() > shape.field_bytes() as u64).then(|| shape.number(&self.field[..shape.field_bytes()]))
    }

    /// One of its values, if they are in the entry itself.
    pub(crate) fn inline(&self, shape: Shape, index: u64) -> Option<u64> {
        if index >= self.count || self.offset(shape).is_some() {
            return None;
        }
        let at = (index * self.size) as usize;
        self.field.get(at..at + self.size()).map(|bytes| shape.number(bytes))
    }

    /// One of its values, wherever it is. `None` beyond its count and beyond the end of the file.
    pub(crate) fn value(&self, shape: Shape, file: &[u8], index: u64) -> Option<u64> {
        let Some(offset) = self.offset(shape) else {
            return self.inline(shape, index);
        };
        if index >= self.count {
            return None;
        }
        let at = usize::try_from(index.checked_mul(self.size)?.checked_add(offset)?).ok()?;
        file.get(at..at.checked_add(self.size())?).map(|bytes| shape.number(bytes))
    }

    /// The bytes of all its values. `None` if they are in the entry itself or beyond the end of the file.
    pub(crate) fn block<'a>(&self, shape: Shape, file: &'a [u8]) -> Option<&'a [u8]> {
        let at = usize::try_from(self.offset(shape)?).ok()?;
        file.get(at..at.checked_add(usize::try_from(self.bytes()).ok()?)?)
    }
}

/// The entries of the first directory that matter here.
#[derive(Debug)]
pub(crate) struct Directory {
    pub(crate) shape: Shape,
    /// At most one for each known tag: the first that was found.
    entries: Vec<Entry>,
}

impl Directory {
    pub(crate) const fn new(shape: Shape) -> Self {
        Self { shape, entries: Vec::new() }
    }

    /// From a whole file.
    pub(crate) fn read(file: &[u8]) -> Result<Self, MediaError> {
        let short = || MediaError::Truncated { format: SourceFormat::Tiff, what: "its header" };
        let shape = Shape::of(file).ok_or_else(short)?;
        let header = file.get(..shape.header_bytes()).ok_or_else(short)?;
        let offset = usize::try_from(shape.directory_offset(header)?).map_err(|_| short())?;
        let rest = file.get(offset..).ok_or_else(short)?;
        let (count, rest) = rest.split_at_checked(shape.count_bytes()).ok_or_else(short)?;
        // At most 65,535.
        let count = shape.entry_count(count)? as usize;
        let entries = rest.get(..count * shape.entry_bytes()).ok_or_else(short)?;
        let mut directory = Self::new(shape);
        for entry in entries.chunks_exact(shape.entry_bytes()) {
            directory.add(entry);
        }
        Ok(directory)
    }

    /// Takes the next entry's bytes.
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        let entry = Entry::read(self.shape, bytes);
        let known = tag::KNOWN.contains(&entry.tag) && entry.size > 0 && entry.count > 0;
        if known && self.find(entry.tag).is_none() {
            self.entries.push(entry);
        }
    }

    pub(crate) fn find(&self, tag: u16) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.tag == tag)
    }

    /// The first value of a tag, if it is in the entry itself.
    pub(crate) fn number(&self, tag: u16) -> Option<u64> {
        self.find(tag)?.inline(self.shape, 0)
    }

    /// The size, as soon as both of its tags were seen.
    pub(crate) fn size(&self) -> Option<(u32, u32)> {
        // No limit is as high as what a number too large becomes.
        let side = |tag| self.number(tag).map(|side| u32::try_from(side).unwrap_or(u32::MAX));
        Some((side(tag::WIDTH)?, side(tag::HEIGHT)?))
    }

    pub(crate) fn orientation(&self) -> Orientation {
        let number = self.number(tag::ORIENTATION).and_then(|number| u16::try_from(number).ok());
        number.and_then(Orientation::from_exif).unwrap_or_default()
    }

    /// Bytes of the colour profile, if there is one that is read.
    pub(crate) fn profile_bytes(&self) -> u64 {
        self.find(tag::PROFILE).map(Entry::bytes).filter(|bytes| *bytes <= PROFILE_BYTES_MAX).unwrap_or(0)
    }

    /// Whether it is the outer shell of a camera raw photo: a DNG, pixels of a colour filter array, or a thumbnail whose
    /// photo is in another directory (NEF, ARW, PEF and others).
    fn is_camera_raw(&self) -> bool {
        let thumbnail = self.number(tag::SUBFILE_TYPE).is_some_and(|kind| kind & 1 != 0);
        let compression = self.number(tag::COMPRESSION);
        self.find(tag::DNG_VERSION).is_some()
            || matches!(self.number(tag::PHOTOMETRIC), Some(32_803 | 34_892))
            || matches!(compression, Some(32_767 | 34_713 | 34_892 | 65_535))
            || self.find(tag::SUB_DIRECTORIES).is_some() && (thumbnail || compression == Some(6))
    }
}

/// What the numbers of a pixel stand for (section 8, tag PhotometricInterpretation).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Photometric {
    WhiteIsZero,
    BlackIsZero,
    Rgb,
    Palette,
    /// Cyan, magenta, yellow, black: 0 is no ink.
    Cmyk,
    YCbCr,
    /// L*, and a* and b* as signed numbers.
    CieLab,
    /// L*, and a* and b* with 128 added (of 8 bits).
    IccLab,
}

impl Photometric {
    /// Samples of a colour.
    pub(crate) const fn channels(self) -> u64 {
        match self {
            Self::WhiteIsZero | Self::BlackIsZero | Self::Palette => 1,
            Self::Rgb | Self::YCbCr | Self::CieLab | Self::IccLab => 3,
            Self::Cmyk => 4,
        }
    }
}

/// How strips and tiles are compressed (sections 7, 9, 13; Technical Notes 2 and Adobe Photoshop's).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Lzw,
    Jpeg,
    Deflate,
    PackBits,
}

impl Compression {
    fn of(number: u64) -> Result<Self, MediaError> {
        let what = match number {
            1 => return Ok(Self::None),
            5 => return Ok(Self::Lzw),
            7 => return Ok(Self::Jpeg),
            8 | 32_946 => return Ok(Self::Deflate),
            32_773 => return Ok(Self::PackBits),
            2..=4 => "compressed as a fax",
            6 => "with a JPEG of the old style",
            34_712 => "compressed with JPEG 2000",
            34_925 => "compressed with LZMA",
            50_000 => "compressed with Zstandard",
            50_001 => "compressed with WebP",
            other => return Err(unsupported(&format!("compressed in the way number {other}"))),
        };
        Err(unsupported(what))
    }
}

/// What was done to samples before they were compressed (section 14; Technical Note 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Predictor {
    None,
    Horizontal,
    Float,
}

/// How the colour of a transparent pixel is stored (section 18).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Alpha {
    /// Multiplied by the alpha.
    Associated,
    /// As it is.
    Straight,
}

/// What the picture is, as far as entries without values elsewhere tell.
#[derive(Debug, Clone)]
pub(crate) struct Kind {
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// Samples per pixel, 1 to 8.
    pub(crate) samples: u64,
    pub(crate) photometric: Photometric,
    pub(crate) compression: Compression,
    pub(crate) predictor: Predictor,
    /// Of gray and RGB; not read for the others.
    pub(crate) alpha: Option<Alpha>,
    /// Each sample in strips or tiles of its own.
    pub(crate) planar: bool,
    /// The first bit of a byte is its least significant.
    pub(crate) bits_reversed: bool,
}

impl Kind {
    /// Judges a complete directory.
    pub(crate) fn of(directory: &Directory, limits: &Limits) -> Result<Self, MediaError> {
        if directory.is_camera_raw() {
            return Err(camera_raw());
        }
        let (width, height) =
            directory.size().ok_or_else(|| corrupt("its directory does not say its size"))?;
        if width == 0 || height == 0 {
            return Err(corrupt(format!("it claims to be {width}×{height} pixels")));
        }
        limits.check_size(width, height)?;
        let number = |tag, default| directory.number(tag).unwrap_or(default);
        let compression = Compression::of(number(tag::COMPRESSION, 1))?;
        let samples = number(tag::SAMPLES, 1);
        let photometric = photometric(directory, samples)?;
        if samples < photometric.channels() {
            return Err(corrupt(format!("it has {samples} samples per pixel, too few for its colours")));
        }
        if samples > SAMPLES_MAX {
            return Err(unsupported(&format!("of {samples} channels")));
        }
        let bits_reversed = number(tag::FILL_ORDER, 1) == 2 && compression != Compression::Jpeg;
        if bits_reversed && compression != Compression::None {
            return Err(unsupported("compressed with its bits in reverse order"));
        }
        let planar = number(tag::PLANAR, 1) == 2 && samples > 1;
        let predictor = predictor(directory, compression)?;
        let alpha = alpha(directory, photometric, samples);
        check_subsampling(directory, photometric, compression)?;
        Ok(Self { width, height, samples, photometric, compression, predictor, alpha, planar, bits_reversed })
    }
}

fn photometric(directory: &Directory, samples: u64) -> Result<Photometric, MediaError> {
    Ok(match directory.number(tag::PHOTOMETRIC) {
        Some(0) => Photometric::WhiteIsZero,
        Some(1) => Photometric::BlackIsZero,
        Some(2) => Photometric::Rgb,
        Some(3) => Photometric::Palette,
        Some(4) => return Err(unsupported("that is a mask of another picture")),
        Some(5) if directory.number(tag::INK_SET) == Some(2) => {
            return Err(unsupported("of inks that are not CMYK"));
        }
        Some(5) => Photometric::Cmyk,
        Some(6) => Photometric::YCbCr,
        Some(8) => Photometric::CieLab,
        Some(9) => Photometric::IccLab,
        Some(other) => return Err(unsupported(&format!("of the colour space number {other}"))),
        // The tag is required, and missing from files of old scanners. libtiff guesses in the same way.
        None if samples >= 3 => Photometric::Rgb,
        None => Photometric::BlackIsZero,
    })
}

fn predictor(directory: &Directory, compression: Compression) -> Result<Predictor, MediaError> {
    // What is compressed in another way has none, whatever the tag says.
    if !matches!(compression, Compression::Lzw | Compression::Deflate) {
        return Ok(Predictor::None);
    }
    match directory.number(tag::PREDICTOR) {
        None | Some(1) => Ok(Predictor::None),
        Some(2) => Ok(Predictor::Horizontal),
        Some(3) => Ok(Predictor::Float),
        Some(other) => Err(corrupt(format!("its predictor {other} does not exist"))),
    }
}

fn alpha(directory: &Directory, photometric: Photometric, samples: u64) -> Option<Alpha> {
    use Photometric::{BlackIsZero, Rgb, WhiteIsZero};
    if !matches!(photometric, WhiteIsZero | BlackIsZero | Rgb) || samples <= photometric.channels() {
        return None;
    }
    let Some(extra) = directory.find(tag::EXTRA_SAMPLES) else {
        // Four samples of RGB without a word about the fourth: so do writers that forget the word.
        return (photometric == Rgb && samples == 4).then_some(Alpha::Straight);
    };
    match extra.inline(directory.shape, 0) {
        Some(1) => Some(Alpha::Associated),
        Some(2) => Some(Alpha::Straight),
        // Something else; or more than two, which are elsewhere: such pictures come from measuring, not from cameras.
        Some(_) | None => None,
    }
}

/// Chroma of fewer samples than luma comes in a JPEG, which undoes it, or in a form that no camera or scanner writes.
fn check_subsampling(
    directory: &Directory,
    photometric: Photometric,
    compression: Compression,
) -> Result<(), MediaError> {
    if photometric != Photometric::YCbCr || compression == Compression::Jpeg {
        return Ok(());
    }
    let subsampling = directory.find(tag::SUBSAMPLING);
    let factor = |index| subsampling.and_then(|entry| entry.inline(directory.shape, index)).unwrap_or(2);
    if (factor(0), factor(1)) == (1, 1) {
        Ok(())
    } else {
        Err(unsupported("with subsampled colours outside a JPEG"))
    }
}

/// How the samples of one row of strips or tiles are cut up.
#[derive(Debug, Clone)]
pub(crate) struct Grid {
    pub(crate) offsets: Entry,
    /// Missing from some files that are not compressed.
    pub(crate) counts: Option<Entry>,
    /// Pixels per row of a chunk, those beyond the picture's edge included.
    pub(crate) chunk_width: u64,
    /// Rows of a chunk.
    pub(crate) chunk_height: u64,
    /// Chunks side by side.
    pub(crate) across: u64,
    /// Chunks one below the other.
    pub(crate) down: u64,
    /// Chunks in all planes.
    pub(crate) chunks: u64,
}

impl Grid {
    pub(crate) fn of(directory: &Directory, kind: &Kind) -> Result<Self, MediaError> {
        let (width, height) = (u64::from(kind.width), u64::from(kind.height));
        let tiled = directory.find(tag::TILE_WIDTH).is_some();
        let (chunk_width, chunk_height) = if tiled {
            let side = |tag, of: u64| {
                let side = directory.number(tag).unwrap_or(0);
                let most = of.next_multiple_of(TILE_SIDE);
                let fits = (TILE_SIDE_MIN..=most).contains(&side);
                if fits {
                    Ok(side)
                } else {
                    Err(unsupported(&format!("of tiles with a side of {side} pixels")))
                }
            };
            (side(tag::TILE_WIDTH, width)?, side(tag::TILE_HEIGHT, height)?)
        } else {
            let rows = directory.number(tag::ROWS_PER_STRIP).unwrap_or(height).min(height);
            if rows == 0 {
                return Err(corrupt("its strips have no rows"));
            }
            (width, rows)
        };
        // Some tiled files keep their tiles under the names of strips.
        let entry = |tile, strip| directory.find(tile).filter(|_| tiled).or(directory.find(strip)).copied();
        let offsets = entry(tag::TILE_OFFSETS, tag::STRIP_OFFSETS);
        let offsets = offsets.ok_or_else(|| corrupt("its directory does not say where its pixels are"))?;
        let counts = entry(tag::TILE_COUNTS, tag::STRIP_COUNTS);
        let (across, down) = (width.div_ceil(chunk_width), height.div_ceil(chunk_height));
        let chunks = across * down * if kind.planar { kind.samples } else { 1 };
        if offsets.count < chunks {
            let count = offsets.count;
            return Err(corrupt(format!("it has {count} strips or tiles, and its size needs {chunks}")));
        }
        Ok(Self { offsets, counts, chunk_width, chunk_height, across, down, chunks })
    }
}
