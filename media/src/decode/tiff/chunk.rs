//! The bytes of one strip or tile, decompressed as far as they are asked for.

use std::io::{Error, ErrorKind, Read};

use flate2::bufread::ZlibDecoder;
use memchr::memmem;
use weezl::BitOrder;
use weezl::decode::{Configuration, Decoder as LzwDecoder};
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use crate::MediaError;
use crate::decode::entropy::{PaddedImage, Shortage};
use crate::directory::{Compression, corrupt, unsupported};

/// Greatest length of the tables that all JPEGs of a file share. There are eight, of 200 bytes at most.
const TABLES_BYTES_MAX: usize = 16 << 10;
/// Start of a scan, end of an image (T.81, table B.1).
const START_OF_SCAN: [u8; 2] = [0xFF, 0xDA];
const END_OF_IMAGE: [u8; 2] = [0xFF, 0xD9];

enum Codec<'a> {
    Plain(&'a [u8]),
    Lzw(Box<LzwDecoder>, &'a [u8]),
    Deflate(Box<ZlibDecoder<&'a [u8]>>),
    PackBits(PackBits<'a>),
    Jpeg(Rows),
}

/// A strip or tile of one plane.
pub(super) struct Chunk<'a> {
    codec: Codec<'a>,
    bytes: usize,
}

/// Rows that were decoded as a whole.
struct Rows {
    data: Vec<u8>,
    stride: usize,
    at: usize,
}

fn ended() -> Error {
    Error::from(ErrorKind::UnexpectedEof)
}

impl<'a> Chunk<'a> {
    /// Of anything but JPEG.
    pub(super) fn new(compression: Compression, bytes: &'a [u8]) -> Self {
        let codec = match compression {
            Compression::None | Compression::Jpeg => Codec::Plain(bytes),
            Compression::Lzw => {
                let configuration = Configuration::with_tiff_size_switch(BitOrder::Msb, 8);
                Codec::Lzw(Box::new(configuration.with_yield_on_full_buffer(true).build()), bytes)
            }
            Compression::Deflate => Codec::Deflate(Box::new(ZlibDecoder::new(bytes))),
            Compression::PackBits => {
                Codec::PackBits(PackBits { rest: bytes, literal: 0, repeats: 0, byte: 0 })
            }
        };
        Self { codec, bytes: bytes.len() }
    }

    /// A JPEG of `components`, and at least as large as the part of it that is `shown` and at most as its strip or tile. Its
    /// tables may be kept apart from it (Technical Note 2).
    pub(super) fn jpeg(
        bytes: &'a [u8],
        tables: &[u8],
        components: u64,
        shown: (u64, u64),
        most: (u64, u64),
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
            Rows::decode(&joined, components, shown, most)?
        } else {
            Rows::decode(image, components, shown, most)?
        };
        Ok(Self { codec: Codec::Jpeg(rows), bytes: bytes.len() + tables.len() })
    }

    /// Compressed bytes that were read so far. What is not compressed costs nothing to read again.
    pub(super) fn read(&self) -> u64 {
        let read = match &self.codec {
            Codec::Plain(_) => 0,
            Codec::Lzw(_, rest) => self.bytes - rest.len(),
            Codec::Deflate(decoder) => self.bytes - decoder.get_ref().len(),
            Codec::PackBits(decoder) => self.bytes - decoder.rest.len(),
            Codec::Jpeg(_) => self.bytes,
        };
        read as u64
    }

    /// The next row.
    pub(super) fn fill(&mut self, row: &mut [u8]) -> Result<(), Error> {
        match &mut self.codec {
            Codec::Plain(rest) => {
                let (bytes, after) = rest.split_at_checked(row.len()).ok_or_else(ended)?;
                row.copy_from_slice(bytes);
                *rest = after;
                Ok(())
            }
            Codec::Lzw(decoder, rest) => fill_lzw(decoder, rest, row),
            Codec::Deflate(decoder) => decoder.read_exact(row),
            Codec::PackBits(decoder) => decoder.fill(row),
            Codec::Jpeg(rows) => rows.fill(row),
        }
    }
}

fn fill_lzw(decoder: &mut LzwDecoder, rest: &mut &[u8], row: &mut [u8]) -> Result<(), Error> {
    let mut filled = 0;
    while filled < row.len() {
        let step = decoder.decode_bytes(rest, &mut row[filled..]);
        *rest = rest.get(step.consumed_in..).unwrap_or_default();
        filled += step.consumed_out;
        step.status.map_err(|error| Error::new(ErrorKind::InvalidData, error))?;
        // Nothing read and nothing written: the end code was met, or there are no more bytes.
        if step.consumed_in == 0 && step.consumed_out == 0 {
            return Err(ended());
        }
    }
    Ok(())
}

/// Section 9: a signed count, and as many bytes as it says, or one that is repeated.
struct PackBits<'a> {
    rest: &'a [u8],
    /// Bytes of the current literal that are left.
    literal: usize,
    /// How often `byte` is still repeated.
    repeats: usize,
    byte: u8,
}

impl<'a> PackBits<'a> {
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
                left[..count].copy_from_slice(self.take(count)?);
                self.literal -= count;
                filled += count;
            } else {
                self.header()?;
            }
        }
        Ok(())
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Error> {
        let (bytes, rest) = self.rest.split_at_checked(count).ok_or_else(ended)?;
        self.rest = rest;
        Ok(bytes)
    }

    fn header(&mut self) -> Result<(), Error> {
        match self.take(1)?[0] {
            // Does nothing.
            128 => {}
            count @ 0..128 => self.literal = usize::from(count) + 1,
            count => {
                self.repeats = 257 - usize::from(count);
                self.byte = self.take(1)?[0];
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
        let failed = |error| corrupt(format!("a JPEG in it cannot be read: {error:?}"));
        let mut decoder = JpegDecoder::new_with_options(padded, options);
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
