//! HEVC, through heifer-hevc-dec: intra pictures of any profile of version 1 and of the range extensions, one thread. It
//! cannot be stopped before the picture is whole.

use std::ops::RangeInclusive;

use heifer_hevc_dec::decoder::{DecodeOptions, decode_picture};
use heifer_hevc_dec::nal::{NalUnit, NalUnitType, split_annex_b};
use heifer_hevc_dec::params::Sps;
use heifer_hevc_dec::recon::Frame;
use memchr::memmem;

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
/// Video, sequence and picture parameter sets.
const PARAMETER_KINDS: RangeInclusive<u8> = 32..=34;
/// Greatest number of parameter sets: as many as have numbers of their own (16, 16 and 64), and some that are said again.
const PARAMETER_SETS_MAX: u32 = 256;
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
    let mut stream = Stream::with_capacity(configuration.len() + data.len(), slices_max);
    let mut arrays = configuration.get(ARRAYS_AT..).unwrap_or_default();
    for _ in 0..take(&mut arrays, 1).ok_or_else(cut)? {
        take(&mut arrays, 1).ok_or_else(cut)?;
        for _ in 0..take(&mut arrays, 2).ok_or_else(cut)? {
            stream.push(unit(&mut arrays, 2).ok_or_else(cut)?)?;
        }
    }
    let length_bytes = usize::from(configuration.get(ARRAYS_AT - 1).ok_or_else(cut)? & 0b11) + 1;
    let mut rest = data;
    while !rest.is_empty() {
        stream.push(unit(&mut rest, length_bytes).ok_or_else(cut)?)?;
    }
    Ok(stream.bytes)
}

/// A stream that grows. The decoder holds a record of every unit, so what it does not need is left out (messages, fillers,
/// kinds to come), and the rest is counted.
struct Stream {
    bytes: Vec<u8>,
    slices: u32,
    slices_max: u32,
    parameter_sets: u32,
}

impl Stream {
    /// For units of so many bytes together with their lengths.
    fn with_capacity(bytes: usize, slices_max: u32) -> Self {
        // A start code may be two bytes longer than the length that it replaces.
        let bytes = bytes + 2 * (slices_max.saturating_add(PARAMETER_SETS_MAX) as usize).min(bytes);
        Self { bytes: Vec::with_capacity(bytes), slices: 0, slices_max, parameter_sets: 0 }
    }

    /// Only of the base layer: enhancements of it (Rec. ITU-T H.265, annex F) are other pictures.
    fn push(&mut self, unit: &[u8]) -> Result<(), String> {
        let Some([high, low]) = unit.first_chunk::<UNIT_HEADER_BYTES>() else { return Ok(()) };
        let (kind, base) = (high >> 1 & 0x3F, high & 1 == 0 && low >> 3 == 0);
        let needed = kind < SLICE_KINDS || PARAMETER_KINDS.contains(&kind);
        if !base || !needed {
            return Ok(());
        }
        let (count, most, what) = if kind < SLICE_KINDS {
            (&mut self.slices, self.slices_max, "slices")
        } else {
            (&mut self.parameter_sets, PARAMETER_SETS_MAX, "parameter sets")
        };
        if *count >= most {
            return Err(format!("it has more than {most} {what}"));
        }
        // The decoder would take it for several units, and they would not be counted. Encoders break such bytes up.
        if memmem::find(unit, &START_CODE).is_some() {
            return Err("a unit of its HEVC data holds a start code".to_owned());
        }
        *count += 1;
        self.bytes.extend(START_CODE);
        self.bytes.extend_from_slice(unit);
        Ok(())
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A configuration without parameter sets, whose lengths have this many bytes.
    fn configuration(length_bytes: u8) -> Vec<u8> {
        [&[0; ARRAYS_AT - 1], [length_bytes - 1, 0].as_slice()].concat()
    }

    #[test]
    fn only_what_the_decoder_needs_is_handed_on() {
        let unit = |kind: u8, layer: u8| vec![2, kind << 1, layer << 3 | 1];
        // A slice, one of another layer, messages, a filler, a kind to come, a picture parameter set, half a header.
        let units =
            [unit(19, 0), unit(19, 1), unit(39, 0), unit(38, 0), unit(50, 0), unit(34, 0), vec![1, 38]];
        let found = stream(&units.concat(), &configuration(1), 1).unwrap();
        assert_eq!(found, [0, 0, 1, 19 << 1, 1, 0, 0, 1, 34 << 1, 1]);
    }

    #[test]
    fn units_do_not_hide_others() {
        let hidden = [7, 34 << 1, 1, 0, 0, 1, 2, 1];
        assert!(stream(&hidden, &configuration(1), 9).unwrap_err().contains("start code"));
    }

    #[test]
    fn units_are_counted() {
        let units = |kind: u8, count: usize| [2, kind << 1, 1].repeat(count);
        let most = PARAMETER_SETS_MAX as usize;
        assert!(stream(&[units(34, most), units(1, 3)].concat(), &configuration(1), 3).is_ok());
        for (what, data) in [("slices", units(1, 4)), ("parameter sets", units(34, most + 1))] {
            let error = stream(&data, &configuration(1), 3).unwrap_err();
            assert!(error.contains(what), "{error}");
        }
    }
}
