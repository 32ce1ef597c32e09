//! JPEG, through zune-jpeg, to planes.
//!
//! Photos stay in `YCbCr`, the colours that they are stored in and will be encoded in, with chroma at its own size:
//! resizing is linear, so the outcome is the same as by way of RGB, and two conversions and half of the samples are saved.
//! What JPEG holds beside (gray, RGB, inks) becomes a packed frame.
//!
//! Rows of units are pulled one by one, so that of a file that was cut we know how far it goes.

use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::errors::DecodeErrors;
use zune_jpeg::{JpegDecoder, PlaneInfo, RawImcuRowStatus};

use super::deadline::Deadline;
use super::entropy::{PaddedImage, Shortage};
use super::{Decoded, check_same_size};
use crate::color::{Color, Inks};
use crate::frame::{Frame, Layout, Picture, Plane, Planes};
use crate::resize::{Scratch, resize_to};
use crate::ycbcr;
use crate::{Limits, MediaError, Probe, SourceFormat};

/// Samples of an inverse transform, along one side.
const BLOCK: usize = 8;
/// What is shown where nothing was decoded: the middle of the range, as decoders do.
const NOTHING: u8 = 128;

fn corrupt(detail: impl Into<String>) -> MediaError {
    MediaError::corrupt(SourceFormat::Jpeg, detail)
}

/// What the header says of the components' meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Model {
    Luma,
    YCbCr,
    Rgb,
    Cmyk,
    /// `YCbCr` of the inverted inks, and black.
    Ycck,
}

/// Components as stored, and why they are not whole, if they are not.
struct Components {
    model: Model,
    planes: Vec<Plane>,
    damage: Option<String>,
}

pub(super) fn decode(
    original: &[u8],
    probe: &Probe,
    limits: &Limits,
    color: Color,
    deadline: &Deadline,
    scratch: &mut Scratch,
) -> Result<Decoded, MediaError> {
    let image = original.get(..probe.image_bytes as usize).unwrap_or(original);
    let shortage = Shortage::default();
    let image = match (probe.truncated, probe.coefficients_held) {
        // What a whole stream of rows lacks is told by the decoder itself. Of several scans only the last ends at the end
        // marker, and rows come after all of them.
        (true, false) | (false, true) => PaddedImage::plain(image, &shortage),
        (true, true) => PaddedImage::closed(image, &shortage),
        (false, false) => {
            PaddedImage::new(image, &shortage).ok_or_else(|| corrupt("it does not end where it should"))?
        }
    };
    let components = read(image, probe, limits, &shortage, deadline)?;
    let Components { model, planes, damage } = components;
    let inverted = has_adobe_segment(original);
    let (picture, color) = picture(model, planes, probe, color, inverted, scratch).map_err(corrupt)?;
    Ok(Decoded { picture, color, damage })
}

fn read(
    reader: PaddedImage<'_>,
    probe: &Probe,
    limits: &Limits,
    shortage: &Shortage,
    deadline: &Deadline,
) -> Result<Components, MediaError> {
    let options = DecoderOptions::default()
        // Of the header nothing is believed that the probe has not seen: its oddities do no harm.
        .set_strict_mode(false)
        .set_max_width(probe.width as usize)
        .set_max_height(probe.height as usize)
        .jpeg_set_max_scans(limits.scans_max as usize);
    let mut decoder = JpegDecoder::new_with_options(reader, options);
    let until = *deadline;
    decoder.set_cancel(move || until.passed());
    decoder.decode_headers().map_err(|error| codec_error(&error, deadline))?;
    let (width, height) = decoder.dimensions().unwrap_or_default();
    check_same_size(probe, width as u64, height as u64)?;
    // The lenient decoder fills what it cannot read of the pixels with gray and reports success.
    decoder.set_options(decoder.options().set_strict_mode(!probe.truncated));
    let stored = decoder.input_colorspace().unwrap_or(ColorSpace::Unknown);
    let model = model(stored, probe.components)?;

    let mut raw = decoder.raw_output();
    let count = usize::from(probe.components);
    let layout = raw.layout().filter(|_| raw.num_components() == Some(count));
    let layout = layout.ok_or_else(|| corrupt("its components contradict its header"))?;
    let layout = &layout[..count];
    let mut planes: Vec<Plane> =
        layout.iter().map(|info| Plane::filled(info.width as u32, info.height as u32, NOTHING)).collect();
    let strides: Vec<usize> = layout.iter().map(|info| info.width).collect();
    let mut rows = vec![0; count];
    let mut damage = None;
    loop {
        let mut slices = rest_of(&mut planes, &rows, layout);
        match raw.decode_next_imcu_row(&mut slices, &strides) {
            Ok(RawImcuRowStatus::RowReady { rows_written }) if !shortage.found() => {
                for (done, written) in rows.iter_mut().zip(rows_written) {
                    *done += written;
                }
            }
            Ok(RawImcuRowStatus::Complete) => break,
            Ok(_) => {
                // The row in which the data ran out is not shown: its end is made of nothing.
                damage = Some(cut_after(rows[0], layout[0].height));
                break;
            }
            Err(error) if probe.truncated && !deadline.passed() => {
                damage = Some(format!("{}: {error:?}", cut_after(rows[0], layout[0].height)));
                break;
            }
            Err(error) => return Err(codec_error(&error, deadline)),
        }
    }
    if rows[0] == 0 {
        return Err(corrupt("its pixel data ends before its first row"));
    }
    if damage.is_none() && probe.truncated {
        damage = Some("it ends before its last scan: details are missing".to_owned());
    }
    Ok(Components { model, planes, damage })
}

fn codec_error(error: &DecodeErrors, deadline: &Deadline) -> MediaError {
    deadline.or(corrupt(format!("{error:?}")))
}

fn cut_after(row: usize, height: usize) -> String {
    format!("its pixel data ends after row {row} of {height}")
}

/// What is still to be filled of each plane: the next row of units and all that follows.
fn rest_of<'a>(planes: &'a mut [Plane], rows: &[usize], layout: &[PlaneInfo]) -> Vec<&'a mut [u8]> {
    debug_assert!(layout.iter().zip(rows).all(|(info, row)| row % BLOCK == 0 || *row == info.height));
    planes.iter_mut().zip(rows).map(|(plane, row)| &mut plane.data[row * plane.width as usize..]).collect()
}

fn model(stored: ColorSpace, components: u8) -> Result<Model, MediaError> {
    Ok(match (stored, components) {
        (_, 1) => Model::Luma,
        // Three components with Adobe's transform 0, or with the component ids R, G and B. The decoder names the first kind
        // CMYK until it has read the whole header.
        (ColorSpace::RGB | ColorSpace::CMYK, 3) => Model::Rgb,
        (ColorSpace::YCbCr | ColorSpace::YCCK, 3) => Model::YCbCr,
        (ColorSpace::YCCK, 4) => Model::Ycck,
        (ColorSpace::CMYK, 4) => Model::Cmyk,
        (other, components) => {
            return Err(corrupt(format!("it has {components} components that claim to be {other:?}")));
        }
    })
}

/// Planes where chroma can stay as it is, else a packed frame.
fn picture(
    model: Model,
    mut planes: Vec<Plane>,
    probe: &Probe,
    color: Color,
    inverted: bool,
    scratch: &mut Scratch,
) -> Result<(Picture, Color), String> {
    let size = (probe.width, probe.height);
    if model == Model::Luma {
        let plane = resize_to(planes.remove(0), size, scratch)?;
        let frame = Frame { width: size.0, height: size.1, layout: Layout::Luma, data: plane.data };
        return Ok((Picture::Packed(frame), color));
    }
    if model == Model::YCbCr
        && let Some(step) = step(&planes, size)
    {
        let [luma, blue, red] = <[Plane; 3]>::try_from(planes).map_err(|_| "three planes are needed")?;
        return Ok((Picture::Planar(Planes { luma, blue, red, step }), color));
    }
    for plane in &mut planes {
        let small = std::mem::replace(plane, Plane::filled(0, 0, 0));
        *plane = resize_to(small, size, scratch)?;
    }
    let mut planes = planes.into_iter();
    let mut next = || planes.next().ok_or("a component is missing");
    let (first, second, third) = (next()?, next()?, next()?);
    let rgb = |first: Plane, second: Plane, third: Plane, convert: fn([u8; 3]) -> [u8; 3]| {
        let mut frame = Frame::zeroed(size.0, size.1, Layout::Rgb);
        let (pixels, _) = frame.data.as_chunks_mut::<3>();
        let samples = first.data.iter().zip(&second.data).zip(&third.data);
        for (pixel, ((a, b), c)) in pixels.iter_mut().zip(samples) {
            *pixel = convert([*a, *b, *c]);
        }
        frame
    };
    Ok(match model {
        Model::Rgb => (Picture::Packed(rgb(first, second, third, |pixel| pixel)), color),
        Model::Luma | Model::YCbCr => (Picture::Packed(rgb(first, second, third, ycbcr::rgb)), color),
        Model::Cmyk | Model::Ycck => {
            // YCCK is YCbCr of what the inks leave, as libjpeg's jdcolor.c has it.
            let of_ycc = |pixel: [u8; 3]| ycbcr::rgb(pixel).map(|value| 255 - value);
            let convert = if model == Model::Ycck { of_ycc } else { |pixel: [u8; 3]| pixel };
            let black = next()?;
            let frame = rgb(first, second, third, convert);
            (Picture::Packed(from_inks(frame, &black, inverted, &color)), Color::Srgb)
        }
    })
}

/// How many luma samples each chroma sample stands for, if that is the same for both and the luma is whole.
fn step(planes: &[Plane], size: (u32, u32)) -> Option<(u32, u32)> {
    let [luma, blue, red] = planes else { return None };
    let chroma = (blue.width, blue.height);
    if (luma.width, luma.height) != size || (red.width, red.height) != chroma {
        return None;
    }
    let along = |whole: u32, part: u32| [1, 2, 4].into_iter().find(|step| whole.div_ceil(*step) == part);
    Some((along(size.0, chroma.0)?, along(size.1, chroma.1)?))
}

/// Inks to sRGB, in place of the frame that holds the first three.
fn from_inks(mut frame: Frame, black: &Plane, inverted: bool, color: &Color) -> Frame {
    let inks = Inks::<u8>::new(color);
    let width = frame.width as usize;
    let mut row = vec![0; width * 4];
    // Adobe stores 255 for no ink.
    let ink = |value: u8| if inverted { 255 - value } else { value };
    for (line, blacks) in frame.data.chunks_exact_mut(width * 3).zip(black.data.chunks_exact(width)) {
        let (pixels, _) = line.as_chunks::<3>();
        let (quads, _) = row.as_chunks_mut::<4>();
        for ((quad, [c, m, y]), k) in quads.iter_mut().zip(pixels).zip(blacks) {
            *quad = [ink(*c), ink(*m), ink(*y), ink(*k)];
        }
        inks.convert(&row, line);
    }
    frame
}

/// Whether an APP14 segment of Adobe stands before the first scan (T.872, section 6.5.3).
fn has_adobe_segment(image: &[u8]) -> bool {
    let mut at = 2;
    while let Some([0xFF, code, high, low]) = image.get(at..at + 4) {
        if *code == 0xDA {
            return false;
        }
        if *code == 0xEE && image.get(at + 4..at + 9) == Some(b"Adobe") {
            return true;
        }
        // A fill byte before a marker, else a segment.
        at += if *code == 0xFF { 1 } else { 2 + usize::from(u16::from_be_bytes([*high, *low])) };
    }
    false
}
