//! The outer layer of an AV1 stream: its units, and what its sequence header says that memory is needed for.
//!
//! The decoder allocates by the stream's own headers. They are read here before it does, and compared with those of the
//! container, by which the picture was priced (AV1 specification, sections 5.3 and 5.5).

use crate::heif::Chroma;

/// Kinds of units (section 6.2.2): the header of a sequence, and those that each cost a frame.
const SEQUENCE_HEADER: u8 = 1;
const FRAME_HEADER: u8 = 3;
const FRAME: u8 = 6;

/// What a sequence holds at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sequence {
    /// Greatest width and height of a frame.
    pub(super) size: (u32, u32),
    pub(super) bit_depth: u8,
    pub(super) chroma: Chroma,
}

/// A unit of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Sequence(Sequence),
    Frame,
    /// What costs no memory.
    Other,
}

/// Walks the units of a stream. They are handed out one by one, because a stream may have millions. `None` is the last, if
/// the rest cannot be told apart, or a sequence header ends too early.
pub(super) fn units(mut data: &[u8]) -> impl Iterator<Item = Option<Unit>> {
    std::iter::from_fn(move || {
        if data.is_empty() {
            return None;
        }
        let unit = next(&mut data);
        if unit.is_none() {
            data = &[];
        }
        Some(unit)
    })
}

/// Takes the next unit.
fn next(data: &mut &[u8]) -> Option<Unit> {
    let (header, rest) = data.split_first()?;
    *data = rest;
    if header & 0b100 != 0 {
        *data = data.get(1..)?;
    }
    let size = if header & 0b10 != 0 { leb128(data)? } else { data.len() };
    let (content, rest) = data.split_at_checked(size)?;
    *data = rest;
    Some(match header >> 3 & 0x0F {
        SEQUENCE_HEADER => Unit::Sequence(sequence(&mut Bits { data: content, position: 0 })?),
        FRAME_HEADER | FRAME => Unit::Frame,
        _ => Unit::Other,
    })
}

/// A number of up to eight bytes with seven bits each (section 4.10.5).
fn leb128(data: &mut &[u8]) -> Option<usize> {
    let mut number = 0_u64;
    for shift in (0..56).step_by(7) {
        let (byte, rest) = data.split_first()?;
        *data = rest;
        number |= u64::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            return usize::try_from(number).ok();
        }
    }
    None
}

/// Bits from the most significant on.
struct Bits<'a> {
    data: &'a [u8],
    position: usize,
}

impl Bits<'_> {
    fn number(&mut self, bits: u32) -> Option<u32> {
        let mut number = 0;
        for _ in 0..bits {
            let byte = *self.data.get(self.position / 8)?;
            number = number << 1 | u32::from(byte >> (7 - self.position % 8) & 1);
            self.position += 1;
        }
        Some(number)
    }

    fn flag(&mut self) -> Option<bool> {
        self.number(1).map(|bit| bit == 1)
    }

    fn skip(&mut self, bits: u32) -> Option<()> {
        self.number(bits).map(|_| ())
    }

    /// A number behind as many zeros as it has bits (section 4.10.3).
    fn skip_variable(&mut self) -> Option<()> {
        let mut zeros = 0;
        while !self.flag()? {
            zeros += 1;
        }
        // 32 zeros and more stand for the greatest number, without bits of its own.
        self.skip(if zeros < 32 { zeros } else { 0 })
    }
}

/// Section 5.5.1.
fn sequence(bits: &mut Bits) -> Option<Sequence> {
    let profile = bits.number(3)?;
    bits.skip(1)?;
    let reduced = bits.flag()?;
    if reduced {
        bits.skip(5)?;
    } else {
        skip_operating_points(bits)?;
    }
    let (width_bits, height_bits) = (bits.number(4)? + 1, bits.number(4)? + 1);
    let size = (bits.number(width_bits)? + 1, bits.number(height_bits)? + 1);
    if !reduced && bits.flag()? {
        bits.skip(4 + 3)?;
    }
    // Superblocks, filter of intra prediction, edge filter.
    bits.skip(3)?;
    if !reduced {
        skip_inter_tools(bits)?;
    }
    // Super-resolution, CDEF, restoration.
    bits.skip(3)?;
    let (bit_depth, chroma) = color(bits, profile)?;
    Some(Sequence { size, bit_depth, chroma })
}

/// Timing and operating points, of which only the lengths matter.
fn skip_operating_points(bits: &mut Bits) -> Option<()> {
    let mut delay_bits = None;
    if bits.flag()? {
        bits.skip(32)?;
        bits.skip(32)?;
        if bits.flag()? {
            bits.skip_variable()?;
        }
        if bits.flag()? {
            delay_bits = Some(bits.number(5)? + 1);
            bits.skip(32)?;
            bits.skip(5 + 5)?;
        }
    }
    let display_delays = bits.flag()?;
    for _ in 0..=bits.number(5)? {
        bits.skip(12)?;
        // Levels above 3.3 have a tier.
        if bits.number(5)? > 7 {
            bits.skip(1)?;
        }
        if let Some(delay_bits) = delay_bits
            && bits.flag()?
        {
            bits.skip(delay_bits)?;
            bits.skip(delay_bits)?;
            bits.skip(1)?;
        }
        if display_delays && bits.flag()? {
            bits.skip(4)?;
        }
    }
    Some(())
}

fn skip_inter_tools(bits: &mut Bits) -> Option<()> {
    bits.skip(4)?;
    let order_hints = bits.flag()?;
    if order_hints {
        bits.skip(2)?;
    }
    // Whether screen content tools are chosen per frame, and if not, whether they are used.
    let screen_content = bits.flag()? || bits.flag()?;
    if screen_content && !bits.flag()? {
        bits.skip(1)?;
    }
    if order_hints { bits.skip(3) } else { Some(()) }
}

/// Bits per sample and chroma (section 5.5.2).
fn color(bits: &mut Bits, profile: u32) -> Option<(u8, Chroma)> {
    let high = bits.flag()?;
    let twelve = high && profile == 2 && bits.flag()?;
    let bit_depth = match (high, twelve) {
        (_, true) => 12,
        (true, false) => 10,
        (false, false) => 8,
    };
    if profile != 1 && bits.flag()? {
        return Some((bit_depth, Chroma::None));
    }
    let srgb = bits.flag()? && bits.number(24)? == (1 << 16 | 13 << 8);
    // Identity in sRGB has no flag for its range and is never subsampled.
    if srgb {
        return Some((bit_depth, Chroma::S444));
    }
    bits.skip(1)?;
    let chroma = match profile {
        0 => Chroma::S420,
        1 => Chroma::S444,
        _ if bit_depth < 12 => Chroma::S422,
        _ => match (bits.flag()?, bits.flag()) {
            (false, _) => Chroma::S444,
            (true, Some(false)) => Chroma::S422,
            (true, Some(true)) => Chroma::S420,
            (true, None) => return None,
        },
    };
    Some((bit_depth, chroma))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_told_apart_by_their_sizes() {
        // A temporal delimiter, a frame with an extension, a frame header without a size.
        let stream = [0x12, 0, 0x36, 0, 2, 9, 9, 0x18, 7];
        assert_eq!(units(&stream).collect::<Vec<_>>(), [Unit::Other, Unit::Frame, Unit::Frame].map(Some));
        let endless = [0x32, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1];
        for cut in [&stream[..4], &stream[..5], &stream[..6], &[0x32, 0x80], &[0x32; 2], &endless] {
            assert_eq!(units(cut).last(), Some(None), "{cut:?}");
            assert_eq!(units(cut).filter(Option::is_none).count(), 1, "{cut:?}");
        }
    }

    #[test]
    fn sequence_headers_of_stills_are_read() {
        let found =
            |content: &[u8]| units(&[&[0x0A, content.len() as u8], content].concat()).collect::<Vec<_>>();
        // As libaom wrote it for 1204 × 800 pixels of 4:2:2: profile 2, reduced.
        let still = [0x59, 0x6A, 0x65, 0x9E, 0x3F, 0xC1, 0x01, 0x0D, 0x09, 0x10];
        assert_eq!(
            found(&still),
            [Some(Unit::Sequence(Sequence { size: (1204, 800), bit_depth: 8, chroma: Chroma::S422 }))]
        );
        for length in 0..9 {
            assert_eq!(found(&still[..length]), [None], "{length}");
        }
    }
}
