//! JPEG, through zune-jpeg.
//!
//! Photos stay in `YCbCr`, the colours that they are stored in and will be encoded in: resizing is linear, so the
//! outcome is the same as by way of RGB, and two conversions are saved.

use zune_core::bytestream::{ZByteReaderTrait, ZCursor};
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use super::check_same_size;
use super::entropy::{PaddedImage, Shortage};
use crate::frame::{Frame, Layout};
use crate::{Limits, MediaError, Probe, SourceFormat};

fn corrupt(detail: impl Into<String>) -> MediaError {
    MediaError::corrupt(SourceFormat::Jpeg, detail)
}

pub(super) fn decode(original: &[u8], probe: &Probe, limits: &Limits) -> Result<Frame, MediaError> {
    // Strict, because the lenient decoder fills what it cannot read with gray and reports success.
    let options = DecoderOptions::default()
        .set_strict_mode(true)
        .set_max_width(probe.width as usize)
        .set_max_height(probe.height as usize)
        .jpeg_set_max_scans(limits.scans_max as usize);
    let image = original.get(..probe.image_bytes as usize).unwrap_or(original);
    if probe.coefficients_held {
        // Of several scans only the last ends at the end marker.
        return decode_from(JpegDecoder::new_with_options(ZCursor::new(image), options), probe);
    }
    let shortage = Shortage::default();
    let padded =
        PaddedImage::new(image, &shortage).ok_or_else(|| corrupt("it does not end where it should"))?;
    let frame = decode_from(JpegDecoder::new_with_options(padded, options), probe)?;
    if shortage.found() {
        return Err(corrupt("its pixel data ends before its last row"));
    }
    Ok(frame)
}

fn decode_from<T: ZByteReaderTrait>(mut decoder: JpegDecoder<T>, probe: &Probe) -> Result<Frame, MediaError> {
    decoder.decode_headers().map_err(|error| corrupt(format!("{error:?}")))?;
    let (width, height) = decoder.dimensions().unwrap_or_default();
    check_same_size(probe, width as u64, height as u64)?;

    let stored = decoder.input_colorspace().unwrap_or(ColorSpace::Unknown);
    let layout = match (stored, probe.components) {
        (ColorSpace::Luma, 1) => Layout::Luma,
        // Three components with Adobe's transform 0, or with the component ids R, G and B. The decoder names the first kind
        // CMYK until it has read the whole header.
        (ColorSpace::RGB | ColorSpace::CMYK, 3) => Layout::Rgb,
        (ColorSpace::YCbCr | ColorSpace::YCCK, 3) => Layout::YCbCr,
        (other, components) => {
            return Err(corrupt(format!("it has {components} components that claim to be {other:?}")));
        }
    };
    // As stored: the decoder copies and converts nothing.
    let wanted = match layout {
        Layout::Luma => ColorSpace::Luma,
        Layout::Rgb => ColorSpace::RGB,
        Layout::YCbCr => ColorSpace::YCbCr,
    };
    decoder.set_options(decoder.options().jpeg_set_out_colorspace(wanted));
    let mut frame = Frame::zeroed(probe.width, probe.height, layout);
    decoder.decode_into(&mut frame.data).map_err(|error| corrupt(format!("{error:?}")))?;
    Ok(frame)
}
