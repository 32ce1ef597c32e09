//! From the bytes of a row to numbers: byte order, predictors, and samples of 1 to 64 bits to 8 or 16.

use crate::directory::{Compression, Directory, Kind, Photometric, Predictor, corrupt, tag, unsupported};
use crate::{MediaError, SourceFormat};

/// What a sample is (section 19, tag SampleFormat).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Unsigned,
    Float,
}

/// How the samples of a row are stored, and what becomes of them: 0 to 255 for up to 8 bits, else 0 to 65,535. Floating
/// point counts from 0 to 1, and what lies beyond is clamped. Indices into a palette stay as they are.
pub(super) struct Samples {
    bits: usize,
    form: Form,
    big_endian: bool,
    predictor: Predictor,
    /// Indices, not amounts.
    indices: bool,
    /// For predictors that rearrange bytes.
    rearranged: Vec<u8>,
}

impl Samples {
    pub(super) fn of(directory: &Directory, kind: &Kind, original: &[u8]) -> Result<Self, MediaError> {
        let bits = same(directory, tag::BITS, kind, original, 1)?;
        let form = match same(directory, tag::SAMPLE_FORMAT, kind, original, 1)? {
            // 4 is said to be undefined, and means what is written when nothing is said.
            1 | 4 => Form::Unsigned,
            2 => return Err(unsupported("of signed numbers")),
            3 => Form::Float,
            _ => return Err(unsupported("of complex numbers")),
        };
        let lab = matches!(kind.photometric, Photometric::CieLab | Photometric::IccLab);
        let known = match form {
            Form::Float => matches!(bits, 16 | 32 | 64) && !lab,
            Form::Unsigned if kind.photometric == Photometric::Palette => bits <= 8,
            Form::Unsigned if kind.photometric == Photometric::YCbCr => bits == 8,
            Form::Unsigned if kind.compression == Compression::Jpeg => bits == 8,
            Form::Unsigned if lab => matches!(bits, 8 | 16),
            Form::Unsigned => matches!(bits, 1..=16 | 24 | 32 | 64),
        };
        let predicted = match kind.predictor {
            Predictor::None => true,
            Predictor::Horizontal => matches!(bits, 8 | 16 | 32 | 64),
            Predictor::Float => form == Form::Float,
        };
        if bits == 0 {
            return Err(corrupt("its samples have no bits"));
        }
        if !known || !predicted {
            return Err(unsupported(&format!("of {bits} bits per sample")));
        }
        Ok(Self {
            bits: bits as usize,
            form,
            big_endian: directory.shape.big_endian || kind.predictor == Predictor::Float,
            predictor: kind.predictor,
            indices: kind.photometric == Photometric::Palette,
            rearranged: Vec::new(),
        })
    }

    /// Whether samples become 16 bits rather than 8.
    pub(super) const fn deep(&self) -> bool {
        self.bits > 8
    }

    /// What a full sample becomes.
    pub(super) const fn most(&self) -> u16 {
        if self.deep() { u16::MAX } else { 255 }
    }

    /// Bytes of so many samples, which begin at a byte.
    pub(super) const fn row_bytes(&self, samples: u64) -> usize {
        // At most 8 samples of 8 bytes for each pixel of a row, whose length was compared with the limits.
        (samples * self.bits as u64).div_ceil(8) as usize
    }

    /// Takes apart a row of pixels of `stored` samples each. Writes the first of each pixel, as many as there are up to `used`,
    /// at every multiple of `used` in `row`.
    pub(super) fn unpack(&mut self, raw: &mut [u8], stored: usize, row: &mut [u16], used: usize) {
        match (self.predictor, self.bits) {
            (Predictor::None, _) => {}
            (Predictor::Horizontal, 8) => accumulate::<1>(raw, stored, self.big_endian),
            (Predictor::Horizontal, 16) => accumulate::<2>(raw, stored, self.big_endian),
            (Predictor::Horizontal, 32) => accumulate::<4>(raw, stored, self.big_endian),
            (Predictor::Horizontal, _) => accumulate::<8>(raw, stored, self.big_endian),
            (Predictor::Float, _) => self.undo_float(raw, stored),
        }
        let raw = &*raw;
        let layout = (stored, used);
        match (self.form, self.bits) {
            (Form::Unsigned, 8) => {
                each(row, layout, |index| raw.get(index).map_or(0, |byte| u16::from(*byte)));
            }
            (Form::Unsigned, 16) if self.big_endian => {
                each(row, layout, |index| u16::from_be_bytes(bytes_at(raw, index)));
            }
            (Form::Unsigned, 16) => each(row, layout, |index| u16::from_le_bytes(bytes_at(raw, index))),
            (Form::Unsigned, bits @ (24 | 32 | 64)) => {
                each(row, layout, |index| (self.number(raw, index) >> (bits - 16)) as u16);
            }
            (Form::Unsigned, bits) if self.indices => each(row, layout, |index| bits_at(raw, index, bits)),
            (Form::Unsigned, bits) => {
                let (full, most) = (u32::from(self.most()), (1_u32 << bits) - 1);
                each(row, layout, |index| {
                    // At most `full`.
                    ((u32::from(bits_at(raw, index, bits)) * full + most / 2) / most) as u16
                });
            }
            (Form::Float, 16) => each(row, layout, |index| scaled(half(self.number(raw, index) as u16))),
            (Form::Float, 32) => {
                each(row, layout, |index| scaled(f32::from_bits(self.number(raw, index) as u32).into()));
            }
            (Form::Float, _) => each(row, layout, |index| scaled(f64::from_bits(self.number(raw, index)))),
        }
    }

    /// A sample of whole bytes.
    fn number(&self, raw: &[u8], index: usize) -> u64 {
        let size = self.bits / 8;
        let bytes = raw.get(index * size..(index + 1) * size).unwrap_or_default();
        let shift = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
        if self.big_endian { bytes.iter().fold(0, shift) } else { bytes.iter().rev().fold(0, shift) }
    }

    /// Undoes the predictor of floating point (Technical Note 3): differences between bytes, and the bytes of all samples
    /// sorted by their weight, the most significant first.
    fn undo_float(&mut self, raw: &mut [u8], stored: usize) {
        accumulate::<1>(raw, stored, true);
        self.rearranged.clear();
        self.rearranged.extend_from_slice(raw);
        let size = self.bits / 8;
        let samples = raw.len() / size;
        for (index, sample) in raw.chunks_exact_mut(size).enumerate() {
            for (weight, byte) in sample.iter_mut().enumerate() {
                *byte = self.rearranged[weight * samples + index];
            }
        }
    }
}

/// The value of a tag that must be the same for all samples that are read; `default` if the tag is missing.
fn same(
    directory: &Directory,
    tag: u16,
    kind: &Kind,
    original: &[u8],
    default: u64,
) -> Result<u64, MediaError> {
    let Some(entry) = directory.find(tag) else {
        return Ok(default);
    };
    let missing = || MediaError::Truncated { format: SourceFormat::Tiff, what: "its header" };
    let value = |index| entry.value(directory.shape, original, index).ok_or_else(missing);
    let first = value(0)?;
    // One value may stand for all.
    for index in 1..entry.count.min(kind.samples) {
        if value(index)? != first {
            return Err(unsupported("whose samples differ in kind"));
        }
    }
    Ok(first)
}

/// Fills the first samples of each pixel.
fn each(row: &mut [u16], (stored, used): (usize, usize), sample: impl Fn(usize) -> u16) {
    for (index, pixel) in row.chunks_mut(used).enumerate() {
        for (place, value) in pixel.iter_mut().take(stored).enumerate() {
            *value = sample(index * stored + place);
        }
    }
}

/// Undoes the horizontal predictor: each sample is the difference from the one of the same kind to its left.
fn accumulate<const N: usize>(raw: &mut [u8], stored: usize, big_endian: bool) {
    let (samples, _) = raw.as_chunks_mut::<N>();
    for index in stored..samples.len() {
        let (left, mut sum) = (samples[index - stored], samples[index]);
        let mut carry = 0;
        for place in 0..N {
            // From the least significant byte upwards.
            let at = if big_endian { N - 1 - place } else { place };
            let added = u16::from(left[at]) + u16::from(sum[at]) + carry;
            // The lower eight bits; what overflows the last byte is meant to be lost.
            sum[at] = added as u8;
            carry = added >> 8;
        }
        samples[index] = sum;
    }
}

fn bytes_at(raw: &[u8], index: usize) -> [u8; 2] {
    raw.as_chunks::<2>().0.get(index).copied().unwrap_or_default()
}

/// A sample of 1 to 16 bits. Bits follow each other from the most significant of the first byte, in either byte order.
fn bits_at(raw: &[u8], index: usize, bits: usize) -> u16 {
    let first = index * bits;
    // A sample touches at most three bytes.
    let byte = |place: usize| raw.get(first / 8 + place).map_or(0, |byte| u32::from(*byte));
    let three = byte(0) << 16 | byte(1) << 8 | byte(2);
    let shifted = three >> (24 - first % 8 - bits);
    (shifted & ((1 << bits) - 1)) as u16
}

/// 0 to 1 becomes 0 to 65,535; what is beyond is clamped, and what is no number is 0.
fn scaled(value: f64) -> u16 {
    (value * 65_535.0 + 0.5) as u16
}

/// The value of a float of 16 bits (IEEE 754 binary16).
fn half(bits: u16) -> f64 {
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1F), f64::from(bits & 0x3FF));
    let magnitude = match exponent {
        0 => fraction * 2_f64.powi(-24),
        31 if fraction > 0.0 => f64::NAN,
        31 => f64::INFINITY,
        _ => (1024.0 + fraction) * 2_f64.powi(exponent - 25),
    };
    if bits >> 15 == 0 { magnitude } else { -magnitude }
}
