//! The main picture of a directory: its parts, its transparency, how it is cut and turned, and its colours.

use std::ops::Range;

use super::boxes::Fields;
use super::directory::Directory;
use crate::color::Color;
use crate::{Limits, MediaError, Orientation, Subsampling};

/// Who compressed a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Codec {
    Av1,
    Hevc,
}

/// Which chroma goes with the luma.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Chroma {
    /// None: gray.
    None,
    S420,
    S422,
    S444,
}

impl Chroma {
    /// By the code of HEVC (Rec. ITU-T H.265, table 6-1).
    pub(crate) const fn from_idc(idc: u8) -> Option<Self> {
        match idc {
            0 => Some(Self::None),
            1 => Some(Self::S420),
            2 => Some(Self::S422),
            3 => Some(Self::S444),
            _ => None,
        }
    }

    /// Samples in 64 pixels.
    pub(crate) const fn samples_per_64_pixels(self) -> u64 {
        match self {
            Self::None => 64,
            Self::S420 => 96,
            Self::S422 => 128,
            Self::S444 => 192,
        }
    }

    /// Whether a row of chroma, and a column, stand for two of luma.
    pub(crate) const fn halved(self) -> (bool, bool) {
        (matches!(self, Self::S420), matches!(self, Self::S420 | Self::S422))
    }

    pub(crate) const fn from_subsampling(subsampling: Option<Subsampling>) -> Self {
        match subsampling {
            None => Self::None,
            Some(Subsampling::S420) => Self::S420,
            Some(Subsampling::S422) => Self::S422,
            Some(_) => Self::S444,
        }
    }

    pub(crate) const fn subsampling(self) -> Option<Subsampling> {
        match self {
            Self::None => None,
            Self::S420 => Some(Subsampling::S420),
            Self::S422 => Some(Subsampling::S422),
            Self::S444 => Some(Subsampling::S444),
        }
    }
}

/// What the samples of a picture mean: code points of ITU-T H.273. 2 is "not said".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Signal {
    pub(crate) primaries: u16,
    pub(crate) transfer: u16,
    pub(crate) matrix: u16,
    pub(crate) full_range: bool,
}

impl Signal {
    /// The colours after conversion to RGB. What is not said is sRGB's (MIAF, ISO/IEC 23000-22, section 7.3.6.4).
    pub(crate) fn color(self) -> Color {
        // Reserved codes do not fit into a byte or mean nothing; either way they are not said.
        let code = |code: u16, unsaid: u8| match u8::try_from(code) {
            Ok(code) if code != 2 && code != 0 => code,
            _ => unsaid,
        };
        match (code(self.primaries, 1), code(self.transfer, 13)) {
            (1, 13) => Color::Srgb,
            (primaries, transfer) => Color::Cicp { primaries, transfer },
        }
    }
}

/// One plane of meaning, colour or transparency: a picture or a grid of them.
#[derive(Debug, Clone)]
pub(crate) struct Layer {
    /// The grid, if it is one.
    grid: Option<u32>,
    /// The pictures that the codec decodes, row by row; one if it is no grid.
    pub(crate) parts: Vec<u32>,
    /// Width and height of each part, in pixels.
    pub(crate) part_size: (u32, u32),
    pub(crate) size: (u32, u32),
    pub(crate) codec: Codec,
    pub(crate) bit_depth: u8,
    pub(crate) chroma: Chroma,
    /// Whether a part is made of up to [`LAYERS_MAX`] pictures, each better than the one before.
    pub(crate) layered: bool,
    /// What the container says of the samples, before whatever the codec's own headers say.
    pub(crate) signal: Option<Signal>,
}

/// Layers of an AV1 picture (AV1 specification, section 6.4.1).
pub(crate) const LAYERS_MAX: u32 = 4;

/// What is seen of the coded picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) left: u32,
    pub(crate) top: u32,
    pub(crate) width: u32,
    pub(crate) height: u32,
}

/// The main picture.
#[derive(Debug, Clone)]
pub(crate) struct Picture<'a> {
    pub(crate) color: Layer,
    pub(crate) alpha: Option<Layer>,
    /// Whether the colours were multiplied by the transparency.
    pub(crate) premultiplied: bool,
    pub(crate) window: Window,
    /// Of the window.
    pub(crate) orientation: Orientation,
    pub(crate) icc: Option<&'a [u8]>,
}

impl<'a> Picture<'a> {
    /// Finds the main picture. Every size in it is within the limits.
    pub(crate) fn find(directory: &Directory<'a>, limits: &Limits) -> Result<Self, MediaError> {
        let main = directory.primary;
        let color = Layer::find(directory, main, limits)?;
        let of_alpha = |item: &u32| {
            directory.properties(*item).any(|(kind, content, _)| &kind == b"auxC" && says_alpha(content))
        };
        let alpha = directory.referring(*b"auxl", main).find(of_alpha);
        let premultiplied =
            alpha.is_some_and(|alpha| directory.referred(*b"prem", main).any(|item| item == alpha));
        let alpha = alpha.map(|alpha| Layer::find(directory, alpha, limits)).transpose()?;
        if alpha.as_ref().is_some_and(|alpha| alpha.size != color.size) {
            let found = "a HEIF image whose transparency is of another size";
            return Err(MediaError::unsupported(found, "export it as a PNG"));
        }
        let (window, orientation) = transformed(directory, color.size)?;
        let icc =
            directory.properties(main).find_map(|(kind, content, _)| match content.split_at_checked(4) {
                Some((b"prof" | b"rICC", profile)) if &kind == b"colr" => Some(profile),
                _ => None,
            });
        Ok(Self { color, alpha, premultiplied, window, orientation, icc })
    }

    /// The most pixels that a codec holds at once: of a part, padded to the codec's blocks. Transparency that is stored in
    /// more samples or larger ones than the colours counts as so many more pixels.
    pub(crate) fn coded_pixels(&self) -> u64 {
        let pixels = |layer: &Layer| {
            let block = match layer.codec {
                Codec::Av1 => 128,
                Codec::Hevc => 64,
            };
            let padded = |side: u32| u64::from(side).next_multiple_of(block);
            let (width, height) = layer.part_size;
            padded(width) * padded(height) * if layer.layered { u64::from(LAYERS_MAX) } else { 1 }
        };
        let weight =
            |layer: &Layer| layer.chroma.samples_per_64_pixels() * if layer.bit_depth > 8 { 2 } else { 1 };
        let of_alpha = |alpha: &Layer| (pixels(alpha) * weight(alpha)).div_ceil(weight(&self.color));
        self.alpha.as_ref().map_or(0, of_alpha).max(pixels(&self.color))
    }
}

/// What `auxC` calls transparency: MPEG's name for any codec, and HEVC's own (ISO/IEC 23008-12, section B.2.4.1).
fn says_alpha(content: &[u8]) -> bool {
    let names: [&[u8]; 2] =
        [b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha\0", b"urn:mpeg:hevc:2015:auxid:1\0"];
    content.get(4..).is_some_and(|name| names.iter().any(|alpha| name.starts_with(alpha)))
}

impl Layer {
    fn find(directory: &Directory, item: u32, limits: &Limits) -> Result<Self, MediaError> {
        let Some(kind) = directory.kind(item) else {
            return Err(directory.corrupt("its main picture is not in its directory"));
        };
        let size = size_of(directory, item, limits)?;
        let signal = signal_of(directory, item);
        if &kind != b"grid" {
            let (codec, bit_depth, chroma) = coding_of(directory, item, kind)?;
            let (parts, layered) = (vec![item], is_layered(directory, item));
            let part_size = size;
            return Ok(Self {
                grid: None,
                parts,
                part_size,
                size,
                codec,
                bit_depth,
                chroma,
                layered,
                signal,
            });
        }
        let parts: Vec<u32> = directory.referred(*b"dimg", item).collect();
        let coding = |part: u32| {
            let kind = directory.kind(part).unwrap_or_default();
            let layered = is_layered(directory, part);
            Ok((coding_of(directory, part, kind)?, size_of(directory, part, limits)?, layered))
        };
        let Some(first) = parts.first() else {
            return Err(directory.corrupt("its grid of pictures is empty"));
        };
        let all = coding(*first)?;
        for part in &parts[1..] {
            if coding(*part)? != all {
                return Err(directory.corrupt("the pictures of its grid are not alike"));
            }
        }
        // The grid has a signal of its own, or takes that of its parts.
        let signal = signal.or_else(|| signal_of(directory, *first));
        let ((codec, bit_depth, chroma), part_size, layered) = all;
        Ok(Self { grid: Some(item), parts, part_size, size, codec, bit_depth, chroma, layered, signal })
    }

    /// How many parts stand in a row.
    pub(crate) fn columns(&self, directory: &Directory, original: &[u8]) -> Result<u32, MediaError> {
        let Some(grid) = self.grid else { return Ok(1) };
        let descriptor = directory.bytes(original, grid)?;
        let shape = grid_shape(&descriptor);
        let covers = |parts: u32, part: u32, whole: u32| {
            let (parts, part, whole) = (u64::from(parts), u64::from(part), u64::from(whole));
            // A part that is not seen at all would be decoded for nothing.
            parts * part >= whole && (parts - 1) * part < whole
        };
        match shape {
            Some((columns, rows, size))
                if size == self.size
                    && (columns * rows) as usize == self.parts.len()
                    && covers(columns, self.part_size.0, size.0)
                    && covers(rows, self.part_size.1, size.1) =>
            {
                Ok(columns)
            }
            _ => Err(directory.corrupt("its grid does not fit its pictures")),
        }
    }
}

/// Columns, rows, and the size of the whole (ISO/IEC 23008-12, section 6.6.2.3.2).
fn grid_shape(descriptor: &[u8]) -> Option<(u32, u32, (u32, u32))> {
    let mut fields = Fields(descriptor);
    fields.u8()?;
    let bytes = if fields.u8()? & 1 == 0 { 2 } else { 4 };
    let (rows, columns) = (u32::from(fields.u8()?) + 1, u32::from(fields.u8()?) + 1);
    let size = (fields.number(bytes)? as u32, fields.number(bytes)? as u32);
    Some((columns, rows, size))
}

/// `ispe`.
fn size_of(directory: &Directory, item: u32, limits: &Limits) -> Result<(u32, u32), MediaError> {
    let (_, content, _) = directory
        .properties(item)
        .find(|(kind, ..)| kind == b"ispe")
        .ok_or_else(|| directory.corrupt("the size of a picture is missing"))?;
    let mut fields = Fields(content);
    let size = fields.version().and_then(|_| Some((fields.u32()?, fields.u32()?)));
    let (width, height) = size.ok_or_else(|| directory.corrupt("the size of a picture is cut off"))?;
    if width == 0 || height == 0 {
        return Err(directory.corrupt(format!("it claims to be {width}×{height} pixels")));
    }
    limits.check_size(width, height)?;
    Ok((width, height))
}

/// Codec, bits per sample, and chroma, from `av1C` or `hvcC`.
fn coding_of(directory: &Directory, item: u32, kind: [u8; 4]) -> Result<(Codec, u8, Chroma), MediaError> {
    let (codec, configuration) = match &kind {
        b"av01" => (Codec::Av1, *b"av1C"),
        b"hvc1" => (Codec::Hevc, *b"hvcC"),
        _ => {
            let kind = String::from_utf8_lossy(&kind).into_owned();
            let found = format!("a picture of kind `{}` in a HEIF file", kind.escape_default());
            return Err(MediaError::unsupported(found, "export it as a JPEG or PNG"));
        }
    };
    let content =
        directory.properties(item).find(|(kind, ..)| *kind == configuration).map(|(_, content, _)| content);
    let coding = match (codec, content) {
        (_, None) => None,
        // AV1 Codec ISO Media File Format Binding, section 2.3.3.
        (Codec::Av1, Some(content)) => content.get(2).and_then(|flags| {
            let bits = match flags >> 5 & 0b11 {
                0b00 => 8,
                0b10 => 10,
                0b11 => 12,
                _ => return None,
            };
            let chroma = match flags >> 2 & 0b111 {
                bits if bits & 0b100 != 0 => Chroma::None,
                0b011 => Chroma::S420,
                0b010 => Chroma::S422,
                0b000 => Chroma::S444,
                _ => return None,
            };
            Some((bits, chroma))
        }),
        // ISO/IEC 14496-15, section 8.3.3.1.
        (Codec::Hevc, Some(content)) => content.get(16..19).and_then(|bytes| {
            let chroma = Chroma::from_idc(bytes[0] & 0b11)?;
            let (luma_bits, chroma_bits) = (bytes[1] & 0b111, bytes[2] & 0b111);
            (luma_bits == chroma_bits || chroma == Chroma::None).then_some((luma_bits + 8, chroma))
        }),
    };
    let (bits, chroma) = coding
        .ok_or_else(|| directory.corrupt("the configuration of its codec is missing or makes no sense"))?;
    Ok((codec, bits, chroma))
}

/// Whether an AV1 picture is said to have layers (AVIF 1.1, section 2.3.2).
fn is_layered(directory: &Directory, item: u32) -> bool {
    directory.properties(item).any(|(kind, ..)| matches!(&kind, b"a1lx" | b"a1op" | b"lsel"))
}

/// Which of the operating points of a layered AV1 picture is meant (`a1op`, AVIF 1.1, section 2.3.2.1).
pub(crate) fn operating_point(directory: &Directory, item: u32) -> u8 {
    let named = directory.properties(item).find(|(kind, ..)| kind == b"a1op");
    named.and_then(|(_, content, _)| content.first().copied()).unwrap_or(0)
}

/// The headers of an HEVC picture (`hvcC`).
#[cfg(feature = "heic")]
pub(crate) fn hevc_configuration<'a>(directory: &Directory<'a>, item: u32) -> &'a [u8] {
    let found = directory.properties(item).find(|(kind, ..)| kind == b"hvcC");
    found.map_or(&[], |(_, content, _)| content)
}

/// `colr` with code points (`nclx`).
fn signal_of(directory: &Directory, item: u32) -> Option<Signal> {
    directory.properties(item).find_map(|(kind, content, _)| {
        let mut fields = Fields(content);
        if &kind != b"colr" || &fields.kind()? != b"nclx" {
            return None;
        }
        Some(Signal {
            primaries: fields.u16()?,
            transfer: fields.u16()?,
            matrix: fields.u16()?,
            full_range: fields.u8()? & 0x80 != 0,
        })
    })
}

/// Applies `clap`, `irot` and `imir` in the order in which they are listed.
fn transformed(
    directory: &Directory,
    (width, height): (u32, u32),
) -> Result<(Window, Orientation), MediaError> {
    let mut window = Window { left: 0, top: 0, width, height };
    let mut orientation = Orientation::Upright;
    for (kind, content, essential) in directory.properties(directory.primary) {
        let first = content.first().copied().unwrap_or_default();
        let turn = match &kind {
            b"clap" if orientation == Orientation::Upright => {
                window = clean_aperture(content, window)
                    .ok_or_else(|| directory.corrupt("it is cut to an area that it does not have"))?;
                continue;
            }
            b"clap" => {
                let found = "a HEIF image that is cut after it is turned";
                return Err(MediaError::unsupported(found, "export it as a JPEG"));
            }
            // Counter-clockwise (ISO/IEC 23008-12, section 6.5.10).
            b"irot" => {
                [Orientation::Upright, Orientation::Rotate270, Orientation::Rotate180, Orientation::Rotate90]
                    [usize::from(first & 0b11)]
            }
            // 0 exchanges top and bottom, 1 left and right (section 6.5.12).
            b"imir" => [Orientation::FlipVertical, Orientation::FlipHorizontal][usize::from(first & 1)],
            _ if essential && !KNOWN.contains(&&kind) => {
                let kind = String::from_utf8_lossy(&kind).escape_default().to_string();
                let found = format!("a HEIF image that needs the property `{kind}`");
                return Err(MediaError::unsupported(found, "export it as a JPEG or PNG"));
            }
            _ => continue,
        };
        orientation = orientation.then(turn);
    }
    Ok((window, orientation))
}

/// Properties that a reader may be required to know, and that are read here or by the codec.
const KNOWN: [&[u8; 4]; 9] =
    [b"av1C", b"hvcC", b"ispe", b"pixi", b"colr", b"auxC", b"a1op", b"lsel", b"pasp"];

/// `clap` (ISO/IEC 14496-12, section 12.1.4): size, and distance of its centre from the picture's, as fractions. A
/// window that begins between pixels begins with the whole pixel before.
fn clean_aperture(content: &[u8], window: Window) -> Option<Window> {
    let mut fields = Fields(content);
    let mut fraction = || {
        let (over, under) = (i128::from(fields.u32()? as i32), i128::from(fields.u32()? as i32));
        (under > 0).then_some((over, under))
    };
    let (width, height, right, down) = (fraction()?, fraction()?, fraction()?, fraction()?);
    let cut = |whole: u32, (size, size_under): (i128, i128), (shift, shift_under): (i128, i128)| {
        let length = size / size_under;
        // (whole - length) / 2 + shift, rounded down.
        let twice = (i128::from(whole) - length) * shift_under + 2 * shift;
        let start = twice.div_euclid(2 * shift_under);
        let range: Range<i128> = start..start + length;
        (length > 0 && range.start >= 0 && range.end <= i128::from(whole))
            .then_some((start as u32, length as u32))
    };
    let (left, width) = cut(window.width, width, right)?;
    let (top, height) = cut(window.height, height, down)?;
    Some(Window { left: window.left + left, top: window.top + top, width, height })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aperture(numbers: [i32; 8]) -> Vec<u8> {
        numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
    }

    #[test]
    fn a_clean_aperture_lies_around_its_centre() {
        let whole = Window { left: 0, top: 0, width: 100, height: 50 };
        let cut = |numbers| clean_aperture(&aperture(numbers), whole);
        assert_eq!(cut([100, 1, 50, 1, 0, 1, 0, 1]), Some(whole));
        let middle = Window { left: 10, top: 5, width: 80, height: 40 };
        assert_eq!(cut([80, 1, 40, 1, 0, 1, 0, 1]), Some(middle));
        let corner = Window { left: 0, top: 10, width: 80, height: 40 };
        assert_eq!(cut([160, 2, 40, 1, -10, 1, 5, 1]), Some(corner));
        // An odd rest lies half a pixel to the left.
        let odd = Window { left: 0, top: 0, width: 99, height: 50 };
        assert_eq!(cut([99, 1, 50, 1, 0, 1, 0, 1]), Some(odd));
        for beyond in [
            [101, 1, 50, 1, 0, 1, 0, 1],
            [80, 1, 40, 1, 11, 1, 0, 1],
            [80, 0, 40, 1, 0, 1, 0, 1],
            [80, -1, 40, 1, 0, 1, 0, 1],
            [0, 1, 40, 1, 0, 1, 0, 1],
            [i32::MAX, 1, i32::MIN, 1, i32::MAX, i32::MAX, i32::MIN, 1],
        ] {
            assert_eq!(cut(beyond), None, "{beyond:?}");
        }
        assert_eq!(clean_aperture(&[0; 31], whole), None);
    }
}
