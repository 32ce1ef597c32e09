//! PNG, through the png crate: any colour type and depth to 8 bits of luma or RGB.

use std::io::Cursor;

use png::{ColorType, Decoder, DecodingError, Limits as PngLimits, Transformations};

use super::check_same_size;
use crate::frame::{Frame, Layout, flatten_on_white};
use crate::{Limits, MediaError, Probe, SourceFormat};

/// Row buffers and the inflate window, which the decoder charges against its own limit.
const WORKING_BYTES: usize = 1 << 20;

pub(super) fn decode(original: &[u8], probe: &Probe, limits: &Limits) -> Result<Frame, MediaError> {
    let corrupt = |error: DecodingError| MediaError::corrupt(SourceFormat::Png, error.to_string());
    // A pixel has at most 8 bytes.
    let row_bytes = probe.width as usize * 8;
    let bytes = WORKING_BYTES + 2 * row_bytes + 2 * limits.metadata_bytes_max as usize;
    let mut decoder = Decoder::new_with_limits(Cursor::new(original), PngLimits { bytes });
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    // Palettes to RGB, 1 to 4 bits to 8, tRNS to an alpha channel, 16 bits to 8.
    decoder.set_transformations(Transformations::EXPAND | Transformations::STRIP_16);
    let (width, height) = decoder.read_header_info().map_err(corrupt)?.size();
    check_same_size(probe, width.into(), height.into())?;

    let mut reader = decoder.read_info().map_err(corrupt)?;
    let (color, _) = reader.output_color_type();
    let channels = color.samples();
    let mut data = vec![0; probe.pixels() as usize * channels];
    let shown = reader.next_frame(&mut data).map_err(corrupt)?;
    // The first frame of an animation may be a part of the canvas only if it breaks the specification.
    check_same_size(probe, shown.width.into(), shown.height.into())?;
    // Also reads what follows the pixels, so that a damaged end is noticed like a damaged beginning.
    reader.finish().map_err(corrupt)?;

    let layout = match color {
        ColorType::Grayscale => Layout::Luma,
        ColorType::GrayscaleAlpha => {
            flatten_on_white::<1>(&mut data);
            Layout::Luma
        }
        ColorType::Rgb => Layout::Rgb,
        ColorType::Rgba => {
            flatten_on_white::<3>(&mut data);
            Layout::Rgb
        }
        ColorType::Indexed => {
            return Err(MediaError::corrupt(SourceFormat::Png, "its palette could not be expanded"));
        }
    };
    Ok(Frame { width, height, layout, data })
}
