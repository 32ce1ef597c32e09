//! JPEG XL, through jxl-oxide: the first frame that is shown, upright, in one thread.
//!
//! The codec works in floating point and can convert to sRGB before it rounds, so it is asked to wherever it knows the
//! colours. Only a lossless picture with a profile stays in the profile's colours. What the codec allocates is counted
//! against what was priced, and more is an error.
//!
//! It is fed the codestream without the boxes around it: metadata in boxes may be compressed, and nobody needs it. Between
//! portions it can be stopped; what it has then been fed it decodes in one go.

use std::borrow::Cow;

use jxl_oxide::color::ColourEncoding;
use jxl_oxide::image::ExtraChannelInfo;
use jxl_oxide::{
    AllocTracker, EnumColourEncoding, FrameBufferSample, ImageStream, InitializeResult, JxlImage,
    JxlThreadPool, RenderingIntent,
};

use super::deadline::{Deadline, Watch};
use super::heif::unmultiply;
use super::ycbcr::to_8_bits;
use super::{Decoded, check_same_size};
use crate::color::{Color, Reducer};
use crate::frame::{Frame, Layout};
use crate::heif::BoxHeader;
use crate::{Limits, MediaError, Probe, SourceFormat};

/// Least number of bytes that the codec is fed at once. It copies them, and tries again from the beginning to read a header
/// that was not whole, so portions grow with what it has: all tries together cost no more than a few passes.
const FED_BYTES_MIN: usize = 64 << 10;
/// Which part of what it has a portion is.
const FED_PART: usize = 4;
/// Index of a piece of the codestream, before its bytes.
const PIECE_INDEX_BYTES: usize = 4;

fn corrupt(detail: impl Into<String>) -> MediaError {
    MediaError::corrupt(SourceFormat::Jxl, detail)
}

#[expect(clippy::needless_pass_by_value, reason = "in the shape that map_err calls")]
fn said(error: Box<dyn std::error::Error + Send + Sync>) -> MediaError {
    let said = error.to_string();
    // The codec's words for its limit. Only pictures with many layers or channels reach it.
    if said.contains("failed to allocate") {
        let found = "a JPEG XL image that takes far more memory than its pixels do";
        return MediaError::unsupported(found, "export it without layers, as a JPEG or PNG");
    }
    corrupt(said)
}

/// Looks at the clock between the portions that the codec is fed, before and after it renders, and between rows. It cannot
/// be stopped while it renders.
pub(super) fn decode(
    original: &[u8],
    probe: &Probe,
    limits: &Limits,
    deadline: &Deadline,
) -> Result<Decoded, MediaError> {
    let mut image = load(original, probe, limits, deadline)?;
    check_same_size(probe, image.width().into(), image.height().into())?;
    if image.pixel_format().has_black() {
        return Err(MediaError::unsupported("a JPEG XL image in CMYK", "export it as RGB"));
    }
    let color = ask_for_srgb(&mut image, limits);
    let metadata = &image.image_header().metadata;
    let premultiplied = metadata.ec_info.iter().find_map(ExtraChannelInfo::alpha_associated).unwrap_or(false);
    let deep = color != Color::Srgb && metadata.bit_depth.bits_per_sample() > 8;

    deadline.check()?;
    let render = image.render_frame(0).map_err(said)?;
    deadline.check()?;
    let mut stream = render.stream();
    check_same_size(probe, stream.width().into(), stream.height().into())?;
    let colors = if image.pixel_format().is_grayscale() { 1 } else { 3 };
    let alpha = stream.channels() as usize == colors + 1;
    if stream.channels() as usize != colors + usize::from(alpha) || alpha != probe.has_alpha {
        return Err(corrupt("it has other channels than its header says"));
    }
    let layout = match (alpha, colors) {
        (true, _) => Layout::Rgba,
        (false, 1) => Layout::Luma,
        (false, _) => Layout::Rgb,
    };
    let mut frame = Frame::zeroed(probe.width, probe.height, layout);
    let color = if deep {
        read_deep(&mut stream, &mut frame, color, colors, deadline.watch())?
    } else {
        read_shallow(&mut stream, &mut frame, colors, deadline.watch())?;
        color
    };
    if premultiplied && layout == Layout::Rgba {
        unmultiply(&mut frame.data);
    }
    Ok(Decoded::whole(frame, color))
}

/// Feeds the codec until it has the first frame that is shown.
fn load(
    original: &[u8],
    probe: &Probe,
    limits: &Limits,
    deadline: &Deadline,
) -> Result<JxlImage, MediaError> {
    let tracker = AllocTracker::with_limit(usize::try_from(probe.jxl_codec_bytes()).unwrap_or(usize::MAX));
    let builder = JxlImage::builder().alloc_tracker(tracker).pool(JxlThreadPool::none());
    let mut waiting = Some(builder.build_uninit());
    let mut begun: Option<JxlImage> = None;
    let codestream = codestream(original)?;
    let mut fed = 0;
    while fed < codestream.len() {
        deadline.check()?;
        let end = codestream.len().min(fed + FED_BYTES_MIN.max(fed / FED_PART));
        let bytes = &codestream[fed..end];
        fed = end;
        if let Some(mut uninit) = waiting.take() {
            uninit.feed_bytes(bytes).map_err(said)?;
            match uninit.try_init().map_err(said)? {
                InitializeResult::NeedMoreData(uninit) => waiting = Some(uninit),
                InitializeResult::Initialized(image) => begun = Some(image),
            }
        } else if let Some(image) = &mut begun {
            image.feed_bytes(bytes).map_err(said)?;
        }
        let Some(image) = begun.take_if(|image| image.num_loaded_keyframes() > 0) else {
            let frames = begun.as_ref().map_or(0, JxlImage::num_loaded_frames);
            if frames > limits.scans_max as usize {
                let most = limits.scans_max;
                return Err(corrupt(format!("it puts its picture together from more than {most} frames")));
            }
            continue;
        };
        return Ok(image);
    }
    Err(corrupt("its pixel data ends too early"))
}

/// The codestream: the whole file if it is bare, else what lies in its boxes, copied only if it lies in pieces.
fn codestream(original: &[u8]) -> Result<Cow<'_, [u8]>, MediaError> {
    if original.starts_with(&[0xFF]) {
        return Ok(Cow::Borrowed(original));
    }
    let (mut rest, mut joined) = (original, Cow::Borrowed(&[][..]));
    while let Some(header) = BoxHeader::read(rest) {
        let size = header.size.and_then(|size| usize::try_from(size).ok()).unwrap_or(rest.len());
        let Some((whole, behind)) = rest.split_at_checked(size) else { break };
        rest = behind;
        let content = whole.get(header.bytes..).unwrap_or_default();
        let piece = match &header.kind {
            b"jxlc" => content,
            b"jxlp" => content.get(PIECE_INDEX_BYTES..).ok_or_else(|| corrupt("a piece of it is cut off"))?,
            _ => continue,
        };
        match &mut joined {
            Cow::Borrowed([]) => joined = Cow::Borrowed(piece),
            Cow::Borrowed(first) => {
                let mut pieces = Vec::with_capacity(original.len());
                pieces.extend_from_slice(first);
                pieces.extend_from_slice(piece);
                joined = Cow::Owned(pieces);
            }
            Cow::Owned(pieces) => pieces.extend_from_slice(piece),
        }
    }
    Ok(joined)
}

/// Asks the codec to convert to sRGB, if it can. Answers with the colours that it will deliver.
fn ask_for_srgb(image: &mut JxlImage, limits: &Limits) -> Color {
    let metadata = &image.image_header().metadata;
    let known = metadata.xyb_encoded || matches!(metadata.colour_encoding, ColourEncoding::Enum(_));
    if !known && let Some(profile) = image.original_icc() {
        return Color::of_profile(profile, limits);
    }
    let intent = RenderingIntent::Relative;
    let srgb = if metadata.grayscale() {
        EnumColourEncoding::gray_srgb(intent)
    } else {
        EnumColourEncoding::srgb(intent)
    };
    image.request_color_encoding(srgb);
    Color::Srgb
}

/// Reads the next row: `colors` samples per pixel, and one more of opacity if there is any.
fn read_row<S: FrameBufferSample>(stream: &mut ImageStream, row: &mut [S]) {
    // It writes less behind the last row only, and the caller has compared the sizes.
    let written = stream.write_to_buffer(row);
    debug_assert_eq!(written, row.len());
}

/// Copies the colours of a pixel; gray is three times the same.
fn set_color(pixel: &mut [u8], color: &[u8]) {
    for (channel, to) in pixel[..3].iter_mut().enumerate() {
        *to = color[channel.min(color.len() - 1)];
    }
}

/// The codec rounds to 8 bits.
fn read_shallow(
    stream: &mut ImageStream,
    frame: &mut Frame,
    colors: usize,
    mut watch: Watch,
) -> Result<(), MediaError> {
    let bytes = frame.layout.bytes();
    let gray_with_opacity = frame.layout == Layout::Rgba && colors == 1;
    let mut row = vec![0_u8; if gray_with_opacity { frame.width as usize * 2 } else { 0 }];
    for line in frame.data.chunks_exact_mut(frame.width as usize * bytes) {
        watch.took(line.len())?;
        if !gray_with_opacity {
            read_row(stream, line);
            continue;
        }
        read_row(stream, &mut row);
        for (pixel, read) in line.chunks_exact_mut(4).zip(row.chunks_exact(2)) {
            set_color(pixel, &read[..1]);
            pixel[3] = read[1];
        }
    }
    Ok(())
}

/// More than 8 bits in the colours of a profile: reduced together with their conversion.
fn read_deep(
    stream: &mut ImageStream,
    frame: &mut Frame,
    color: Color,
    colors: usize,
    mut watch: Watch,
) -> Result<Color, MediaError> {
    let (mut reducer, color) = Reducer::new(color, colors);
    let (width, bytes) = (frame.width as usize, frame.layout.bytes());
    let alpha = frame.layout == Layout::Rgba;
    let read_channels = colors + usize::from(alpha);
    let mut row = vec![0_u16; width * read_channels];
    let mut color_row = vec![0_u16; width * colors];
    let mut reduced = vec![0_u8; width * colors];
    for line in frame.data.chunks_exact_mut(width * bytes) {
        watch.took(line.len())?;
        read_row(stream, &mut row);
        let pixels = row.chunks_exact(read_channels);
        for (to, pixel) in color_row.chunks_exact_mut(colors).zip(pixels.clone()) {
            to.copy_from_slice(&pixel[..colors]);
        }
        reducer.reduce(&color_row, &mut reduced);
        if !alpha {
            line.copy_from_slice(&reduced);
            continue;
        }
        for ((to, color), pixel) in line.chunks_exact_mut(4).zip(reduced.chunks_exact(colors)).zip(pixels) {
            set_color(to, color);
            to[3] = to_8_bits(pixel[colors]);
        }
    }
    Ok(color)
}

impl Probe {
    /// Bytes that the codec of a JPEG XL holds beside the finished picture.
    pub(crate) fn jxl_bytes(&self) -> u64 {
        // The codestream, out of its boxes; what the codec was fed stays with it in part; tables are not counted.
        self.jxl_codec_bytes() + 3 * self.bytes + (2 << 20)
    }

    /// Bytes that the codec may allocate for planes.
    fn jxl_codec_bytes(&self) -> u64 {
        let channels = 3 + u64::from(self.has_alpha);
        self.pixels() * channels * 12 + (4 << 20)
    }
}

#[cfg(test)]
mod tests {
    use zune_core::bit_depth::BitDepth;
    use zune_core::colorspace::ColorSpace;
    use zune_core::options::EncoderOptions;
    use zune_jpegxl::JxlSimpleEncoder;

    use super::super::deadline::clock::assert_ends_in_time;
    use super::*;
    use crate::pictures::hashed;

    fn picture(space: ColorSpace, depth: BitDepth, samples: &[u8]) -> (Frame, Color) {
        let options = EncoderOptions::new(20, 10, space, depth);
        let mut bytes = Vec::new();
        JxlSimpleEncoder::new(samples, options).encode(&mut bytes).unwrap();
        let limits = Limits::default();
        let probe = crate::probe(&bytes, &limits).unwrap();
        let decoded = decode(&bytes, &probe, &limits, &Deadline::start(&limits)).unwrap();
        match decoded.picture {
            crate::frame::Picture::Packed(frame) => (frame, decoded.color),
            crate::frame::Picture::Planar(_) => panic!("planes"),
        }
    }

    fn ramp(count: usize) -> Vec<u8> {
        (0..count).map(|index| (index * 7 % 256) as u8).collect()
    }

    #[test]
    fn eight_bits_come_out_as_they_went_in() {
        for (space, channels, layout) in [
            (ColorSpace::Luma, 1, Layout::Luma),
            (ColorSpace::RGB, 3, Layout::Rgb),
            (ColorSpace::RGBA, 4, Layout::Rgba),
        ] {
            let samples = ramp(200 * channels);
            let (frame, color) = picture(space, BitDepth::Eight, &samples);
            assert_eq!((frame.width, frame.height, frame.layout, color), (20, 10, layout, Color::Srgb));
            assert_eq!(frame.data, samples);
        }
    }

    #[test]
    fn decoding_ends_in_time() {
        let samples: Vec<u8> = (0..300 * 200 * 3).map(|index| (hashed(index) >> 8) as u8).collect();
        let options = EncoderOptions::new(300, 200, ColorSpace::RGB, BitDepth::Eight);
        let mut bytes = Vec::new();
        JxlSimpleEncoder::new(&samples, options).encode(&mut bytes).unwrap();
        let limits = Limits::default();
        let probe = crate::probe(&bytes, &limits).unwrap();
        assert!(bytes.len() > 2 * FED_BYTES_MIN, "noise does not get smaller: {}", bytes.len());
        // Three portions, before and after the picture, and every 16 KiB of its rows.
        let looks_min = 3 + 2 + samples.len() as u32 / (17 << 10);
        assert_ends_in_time(looks_min, |deadline| decode(&bytes, &probe, &limits, deadline));
    }

    #[test]
    fn pieces_are_joined_however_small_they_are() {
        let boxed = |kind: &[u8; 4], content: &[u8]| {
            [&(content.len() as u32 + 8).to_be_bytes(), kind.as_slice(), content].concat()
        };
        let file = |contents: &[&[u8]]| {
            let mut file = boxed(b"JXL ", b"\r\n\x87\n");
            for content in contents {
                file.extend(boxed(b"jxlp", &[b"\0\0\0\0", *content].concat()));
                file.extend(boxed(b"Exif", b"nothing"));
            }
            file
        };
        for contents in [&[b"abc".as_slice()][..], &[b"a", b"", b"b", b"c"], &[b"", b"ab", b"c"]] {
            assert_eq!(codestream(&file(contents)).unwrap(), b"abc".as_slice());
        }
        assert!(codestream(&boxed(b"jxlp", b"\0\0")).is_err());
        assert_eq!(codestream(b"\xFF\x0Arest").unwrap(), b"\xFF\x0Arest".as_slice());
    }

    #[test]
    fn gray_with_opacity_becomes_rgba() {
        let samples = ramp(400);
        let (frame, _) = picture(ColorSpace::LumaA, BitDepth::Eight, &samples);
        let expected: Vec<u8> =
            samples.as_chunks::<2>().0.iter().flat_map(|[g, a]| [*g, *g, *g, *a]).collect();
        assert_eq!((frame.layout, frame.data), (Layout::Rgba, expected));
    }

    #[test]
    fn sixteen_bits_are_reduced_to_the_nearest() {
        let values: Vec<u16> = (0..600_u32).map(|index| (index * 109 % 65_536) as u16).collect();
        let samples: Vec<u8> = values.iter().flat_map(|value| value.to_ne_bytes()).collect();
        let (frame, _) = picture(ColorSpace::RGB, BitDepth::Sixteen, &samples);
        let expected: Vec<u8> = values.iter().map(|value| to_8_bits(*value)).collect();
        assert_eq!(frame.data, expected);
    }
}
