//! WebP, through image-webp.

use std::io::Cursor;

use image_webp::{DecodingError, WebPDecoder};

use super::check_same_size;
use crate::frame::{Frame, Layout, flatten_on_white};
use crate::{Limits, MediaError, Probe, SourceFormat};

/// What an animation's frames are laid on where they are transparent, as for every other format.
const WHITE: [u8; 4] = [255; 4];

pub(super) fn decode(original: &[u8], probe: &Probe, limits: &Limits) -> Result<Frame, MediaError> {
    let corrupt = |error: DecodingError| MediaError::corrupt(SourceFormat::WebP, error.to_string());
    // The codec allocates by the size inside the bitstream before it compares it with the canvas. The probe compares
    // without allocating, and walks chunk headers only; so it is repeated rather than trusted.
    let again = crate::probe(original, limits)?;
    check_same_size(probe, again.width.into(), again.height.into())?;
    let mut decoder = WebPDecoder::new(Cursor::new(original)).map_err(corrupt)?;
    let (width, height) = decoder.dimensions();
    check_same_size(probe, width.into(), height.into())?;
    if decoder.is_animated() {
        // The codec computes the bytes of the canvas in 32 bits.
        if probe.pixels() > u64::from(u32::MAX / 4) {
            let limit = u64::from(u32::MAX / 4);
            return Err(MediaError::TooManyPixels { width, height, limit });
        }
        decoder.set_background_color(WHITE).map_err(corrupt)?;
    }
    let has_alpha = decoder.has_alpha();
    let channels = if has_alpha { 4 } else { 3 };
    let mut data = vec![0; probe.pixels() as usize * channels];
    decoder.read_image(&mut data).map_err(corrupt)?;
    if has_alpha {
        flatten_on_white::<3>(&mut data);
    }
    Ok(Frame { width, height, layout: Layout::Rgb, data })
}
