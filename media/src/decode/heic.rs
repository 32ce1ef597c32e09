//! HEVC, through heifer-hevc-dec: intra pictures of any profile of version 1 and of the range extensions, one thread.

use heifer_hevc_dec::decoder::{DecodeOptions, decode_picture};
use heifer_hevc_dec::nal::{NalUnit, NalUnitType, split_annex_b};
use heifer_hevc_dec::params::Sps;
use heifer_hevc_dec::recon::Frame;

use super::heif::check_components;
use super::ycbcr::Planes;
use crate::heif::{Chroma, Layer, Signal};

/// What stands between the units of a stream (Rec. ITU-T H.265, annex B).
const START_CODE: [u8; 3] = [0, 0, 1];
/// Where the arrays of parameter sets begin in `hvcC` (ISO/IEC 14496-15, section 8.3.3.1).
const ARRAYS_AT: usize = 22;
/// Bytes of the header of a unit.
const UNIT_HEADER_BYTES: usize = 2;
/// Kinds below this are slices of a picture (table 7-1).
const SLICE_KINDS: u8 = 32;
/// The side of the largest block that a picture is padded to.
const BLOCK: u64 = 64;

/// What a picture costs: its planes of 16 bits, copied for a filter or for cutting, and what is held per block.
pub(super) const fn bytes_per_64_pixels(chroma: Chroma) -> u64 {
    chroma.samples_per_64_pixels() * 2 * 2 + 80
}

/// Decodes the first picture of a part of `layer`. `configuration` is the content of its `hvcC`; `slices_max` bounds
/// the slices, each of which may cost a pass over the picture. Errors are what is wrong with the data.
pub(super) fn decode(
    data: &[u8],
    configuration: &[u8],
    layer: &Layer,
    slices_max: u32,
) -> Result<Box<dyn Planes>, String> {
    let stream = stream(data, configuration, slices_max)?;
    check_sequences(&stream, layer)?;
    let size = layer.part_size;
    let padded = |side: u32| u64::from(side).next_multiple_of(BLOCK);
    let options = DecodeOptions { max_pixels: padded(size.0) * padded(size.1), ..DecodeOptions::default() };
    let frame = decode_picture(&stream, options).map_err(|error| format!("its HEVC data: {error}"))?;
    let chroma = Chroma::from_idc(frame.chroma_format).ok_or("its HEVC data names no chroma")?;
    if chroma != Chroma::None && frame.bit_depth[0] != frame.bit_depth[1] {
        return Err("its luma and its chroma have different depths".to_owned());
    }
    Ok(Box::new(Picture { frame, chroma }))
}

/// Compares what the decoder will allocate by with what was priced.
fn check_sequences(stream: &[u8], layer: &Layer) -> Result<(), String> {
    let said = |error| format!("its HEVC data: {error}");
    for unit in split_annex_b(stream) {
        let unit = NalUnit::parse(unit).map_err(said)?;
        if unit.header.unit_type == NalUnitType::Sps {
            let sequence = Sps::parse(&unit.rbsp).map_err(said)?;
            let chroma =
                Chroma::from_idc(sequence.chroma_format_idc).ok_or("its HEVC data names no chroma")?;
            check_components((chroma, sequence.bit_depth_luma), layer)?;
        }
    }
    Ok(())
}

/// Parameter sets and picture as one stream with start codes.
fn stream(data: &[u8], configuration: &[u8], slices_max: u32) -> Result<Vec<u8>, String> {
    let cut = || "its HEVC data ends inside a unit".to_owned();
    // A start code is at most a byte longer than the length that it replaces, whose unit has at least two.
    let mut stream = Vec::with_capacity(configuration.len() * 2 + data.len() + data.len() / 2);
    let mut arrays = configuration.get(ARRAYS_AT..).unwrap_or_default();
    for _ in 0..take(&mut arrays, 1).ok_or_else(cut)? {
        take(&mut arrays, 1).ok_or_else(cut)?;
        for _ in 0..take(&mut arrays, 2).ok_or_else(cut)? {
            push_unit(&mut stream, unit(&mut arrays, 2).ok_or_else(cut)?);
        }
    }
    let length_bytes = usize::from(configuration.get(ARRAYS_AT - 1).ok_or_else(cut)? & 0b11) + 1;
    let (mut rest, mut slices) = (data, 0);
    while !rest.is_empty() {
        let unit = unit(&mut rest, length_bytes).ok_or_else(cut)?;
        slices += u32::from(is_slice(unit));
        push_unit(&mut stream, unit);
    }
    if slices > slices_max {
        return Err(format!("it has {slices} slices, and at most {slices_max} are decoded"));
    }
    Ok(stream)
}

/// A number of that many bytes.
fn take(data: &mut &[u8], bytes: usize) -> Option<usize> {
    let (number, rest) = data.split_at_checked(bytes)?;
    *data = rest;
    Some(number.iter().fold(0, |number, byte| number << 8 | usize::from(*byte)))
}

/// A unit behind its length.
fn unit<'a>(data: &mut &'a [u8], length_bytes: usize) -> Option<&'a [u8]> {
    let length = take(data, length_bytes)?;
    let (unit, rest) = data.split_at_checked(length)?;
    *data = rest;
    Some(unit)
}

fn is_slice(unit: &[u8]) -> bool {
    unit.first().is_some_and(|header| header >> 1 & 0x3F < SLICE_KINDS)
}

/// Only of the base layer: enhancements of it (Rec. ITU-T H.265, annex F) are other pictures.
fn push_unit(stream: &mut Vec<u8>, unit: &[u8]) {
    let base =
        unit.first_chunk::<UNIT_HEADER_BYTES>().is_some_and(|[high, low]| high & 1 == 0 && low >> 3 == 0);
    if base {
        stream.extend(START_CODE);
        stream.extend_from_slice(unit);
    }
}

struct Picture {
    frame: Frame,
    chroma: Chroma,
}

impl Planes for Picture {
    fn size(&self) -> (u32, u32) {
        (self.frame.widths[0], self.frame.heights[0])
    }

    fn chroma(&self) -> Chroma {
        self.chroma
    }

    fn bit_depth(&self) -> u8 {
        self.frame.bit_depth[0]
    }

    fn signal(&self) -> Signal {
        let (matrix, full_range) = (self.frame.matrix_coeffs.into(), self.frame.full_range);
        Signal { primaries: 2, transfer: 2, matrix, full_range }
    }

    fn copy_row(&self, plane: usize, y: usize, row: &mut [u16]) {
        let width = self.frame.widths[plane] as usize;
        let samples = self.frame.planes[plane].get(y * width..).unwrap_or_default();
        for (to, from) in row.iter_mut().zip(samples) {
            *to = *from;
        }
    }
}
