//! The bytes of one strip or tile, decompressed as far as they are asked for.

use std::io::{BufRead, Error, ErrorKind, Read};

use flate2::bufread::ZlibDecoder;
use memchr::memmem;
use weezl::decode::{Configuration, Decoder as LzwDecoder};
use weezl::{BitOrder, LzwStatus};
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use crate::MediaError;
use crate::decode::deadline::{Deadline, TimedReader};
use crate::decode::entropy::{PaddedImage, Shortage};
use crate::directory::{Compression, corrupt, unsupported};

/// Greatest length of the tables that all JPEGs of a file share. There are eight, of 200 bytes at most.
const TABLES_BYTES_MAX: usize = 16 << 10;
/// Start of a scan, end of an image (T.81, table B.1).
const START_OF_SCAN: [u8; 2] = [0xFF, 0xDA];
const END_OF_IMAGE: [u8; 2] = [0xFF, 0xD9];

/// A step of the LZW decoder may do no more than take a code that clears its table, out of the 64 bits that it has read
/// ahead; a code has at least 9. More steps without any bytes mean that there are none.
const LZW_IDLE_MAX: u32 = 64 / 9 + 1;

/// A strip or tile of one plane. What is compressed is read until the deadline, because it may have much to read and
/// nothing to show.
pub(super) enum Chunk<'a> {
    Plain(&'a [u8]),
    Lzw(Box<LzwDecoder>, TimedReader<'a>),
    Deflate(Box<ZlibDecoder<TimedReader<'a>>>),
    PackBits(PackBits<'a>),
    /// And the compressed bytes that were searched for it.
    Jpeg(Rows, usize),
}

/// Rows that were decoded as a whole.
pub(super) struct Rows {
    data: Vec<u8>,
    stride: usize,
    at: usize,
}

fn ended() -> Error {
    Error::from(ErrorKind::UnexpectedEof)
}

impl<'a> Chunk<'a> {
    /// Of anything but JPEG.
    pub(super) fn new(compression: Compression, bytes: &'a [u8], deadline: &Deadline) -> Self {
        let source = deadline.reader(bytes);
        match compression {
            Compression::None | Compression::Jpeg => Self::Plain(bytes),
            Compression::Lzw => {
                let configuration = Configuration::with_tiff_size_switch(BitOrder::Msb, 8);
                Self::Lzw(Box::new(configuration.with_yield_on_full_buffer(true).build()), source)
            }
            Compression::Deflate => Self::Deflate(Box::new(ZlibDecoder::new(source))),
            Compression::PackBits => Self::PackBits(PackBits { source, literal: 0, repeats: 0, byte: 0 }),
        }
    }

    /// A JPEG of `components`, and at least as large as the part of it that is `shown` and at most as its strip or tile. Its
    /// tables may be kept apart from it (Technical Note 2).
    pub(super) fn jpeg(
        bytes: &'a [u8],
        tables: &[u8],
        components: u64,
        shown: (u64, u64),
        most: (u64, u64),
        deadline: &Deadline,
    ) -> Result<Self, MediaError> {
        let end = memmem::rfind(bytes, &END_OF_IMAGE).ok_or_else(|| corrupt("a JPEG in it does not end"))?;
        let image = &bytes[..end + END_OF_IMAGE.len()];
        // Several scans are held as coefficients, three times what is priced. No writer makes them here.
        if memmem::find_iter(image, &START_OF_SCAN).nth(1).is_some() {
            return Err(unsupported("with a progressive JPEG inside"));
        }
        if tables.len() > TABLES_BYTES_MAX {
            return Err(corrupt("the tables of its JPEGs are too long"));
        }
        let rows = if let Some(tables) = tables.strip_suffix(&END_OF_IMAGE) {
            // The tables end where the image has its beginning, which both begin with.
            let joined = [tables, image.get(2..).unwrap_or_default()].concat();
            Rows::decode(&joined, components, shown, most, deadline)?
        } else {
            Rows::decode(image, components, shown, most, deadline)?
        };
        Ok(Self::Jpeg(rows, bytes.len() + tables.len()))
    }

    /// Compressed bytes that were read so far. What is not compressed costs nothing to read again.
    pub(super) fn read(&self) -> u64 {
        match self {
            Self::Plain(_) => 0,
            Self::Lzw(_, source) => source.position(),
            Self::Deflate(decoder) => decoder.get_ref().position(),
            Self::PackBits(decoder) => decoder.source.position(),
            Self::Jpeg(_, bytes) => *bytes as u64,
        }
    }

    /// The next row.
    pub(super) fn fill(&mut self, row: &mut [u8]) -> Result<(), Error> {
        match self {
            Self::Plain(rest) => {
                let (bytes, after) = rest.split_at_checked(row.len()).ok_or_else(ended)?;
                row.copy_from_slice(bytes);
                *rest = after;
                Ok(())
            }
            Self::Lzw(decoder, source) => fill_lzw(decoder, source, row),
            Self::Deflate(decoder) => decoder.read_exact(row),
            Self::PackBits(decoder) => decoder.fill(row),
            Self::Jpeg(rows, _) => rows.fill(row),
        }
    }
}

fn fill_lzw(decoder: &mut LzwDecoder, source: &mut TimedReader<'_>, row: &mut [u8]) -> Result<(), Error> {
    let (mut filled, mut idle) = (0, 0);
    while filled < row.len() {
        let step = decoder.decode_bytes(source.fill_buf()?, &mut row[filled..]);
        source.consume(step.consumed_in);
        filled += step.consumed_out;
        let status = step.status.map_err(|error| Error::new(ErrorKind::InvalidData, error))?;
        idle = if step.consumed_in + step.consumed_out == 0 { idle + 1 } else { 0 };
        if filled < row.len() && (matches!(status, LzwStatus::Done) || idle > LZW_IDLE_MAX) {
            return Err(ended());
        }
    }
    Ok(())
}

/// Section 9: a signed count, and as many bytes as it says, or one that is repeated.
pub(super) struct PackBits<'a> {
    source: TimedReader<'a>,
    /// Bytes of the current literal that are left.
    literal: usize,
    /// How often `byte` is still repeated.
    repeats: usize,
    byte: u8,
}

impl PackBits<'_> {
    fn fill(&mut self, row: &mut [u8]) -> Result<(), Error> {
        let mut filled = 0;
        while filled < row.len() {
            let left = &mut row[filled..];
            if self.repeats > 0 {
                let count = self.repeats.min(left.len());
                left[..count].fill(self.byte);
                self.repeats -= count;
                filled += count;
            } else if self.literal > 0 {
                let count = self.literal.min(left.len());
                self.source.read_exact(&mut left[..count])?;
                self.literal -= count;
                filled += count;
            } else {
                self.header()?;
            }
        }
        Ok(())
    }

    fn take(&mut self) -> Result<u8, Error> {
        let mut byte = [0];
        self.source.read_exact(&mut byte)?;
        Ok(byte[0])
    }

    fn header(&mut self) -> Result<(), Error> {
        match self.take()? {
            // Does nothing.
            128 => {}
            count @ 0..128 => self.literal = usize::from(count) + 1,
            count => {
                self.repeats = 257 - usize::from(count);
                self.byte = self.take()?;
            }
        }
        Ok(())
    }
}

impl Rows {
    fn decode(
        image: &[u8],
        components: u64,
        shown: (u64, u64),
        most: (u64, u64),
        deadline: &Deadline,
    ) -> Result<Self, MediaError> {
        // Strict, because the lenient decoder fills what it cannot read with gray and reports success.
        let options = DecoderOptions::default()
            .set_strict_mode(true)
            .set_max_width(most.0 as usize)
            .set_max_height(most.1 as usize)
            .jpeg_set_max_scans(1);
        let shortage = Shortage::default();
        let padded =
            PaddedImage::new(image, &shortage).ok_or_else(|| corrupt("a JPEG in it does not end"))?;
        let failed = |error| deadline.or(corrupt(format!("a JPEG in it cannot be read: {error:?}")));
        let mut decoder = JpegDecoder::new_with_options(padded, options);
        let until = *deadline;
        decoder.set_cancel(move || until.passed());
        decoder.decode_headers().map_err(failed)?;
        let (width, height) = decoder.dimensions().unwrap_or_default();
        let fits = |side: usize, least, most| (least..=most).contains(&(side as u64));
        if !fits(width, shown.0, most.0) || !fits(height, shown.1, most.1) {
            let detail = format!("a JPEG of {width}×{height} pixels stands for {}×{}", shown.0, shown.1);
            return Err(corrupt(detail));
        }
        let (found, sequential) =
            decoder.info().map_or((0, false), |info| (info.components, info.sof.is_sequential_dct()));
        if !sequential {
            return Err(unsupported("with a progressive JPEG inside"));
        }
        // As stored: what the numbers mean is said by the TIFF.
        let stored = match (components, decoder.input_colorspace()) {
            _ if u64::from(found) != components => {
                return Err(corrupt(format!("a JPEG of {found} components stands for {components}")));
            }
            (1, _) => ColorSpace::Luma,
            (3, Some(ColorSpace::RGB | ColorSpace::CMYK)) => ColorSpace::RGB,
            (3, _) => ColorSpace::YCbCr,
            (4, Some(ColorSpace::YCCK)) => ColorSpace::YCCK,
            (4, _) => ColorSpace::CMYK,
            _ => return Err(unsupported(&format!("with JPEGs of {components} components"))),
        };
        decoder.set_options(decoder.options().jpeg_set_out_colorspace(stored));
        let stride = width * found as usize;
        let mut data = vec![0; stride * height];
        decoder.decode_into(&mut data).map_err(failed)?;
        if shortage.found() {
            return Err(corrupt("the pixel data of a JPEG in it ends before its last row"));
        }
        Ok(Self { data, stride, at: 0 })
    }

    /// The next row, or as much of its beginning as is asked for.
    fn fill(&mut self, row: &mut [u8]) -> Result<(), Error> {
        let stored = self.data.get(self.at..self.at + self.stride).ok_or_else(ended)?;
        let count = row.len().min(stored.len());
        row[..count].copy_from_slice(&stored[..count]);
        self.at += self.stride;
        Ok(())
    }
}
