//! AVIF, through ravif: several times slower than everything else together, so only in builds that ask for it.

use ravif::{Encoder, Img, RGB8, RGBA8};

use crate::frame::{Frame, Layout};

/// Encodes a frame with 4:4:4 and 10 bits per channel, which lose less of 8 than 8 do, on one thread. `quality` is 1 to 100,
/// and `effort` 0 to 6 is ravif's speed 10 to 4. Fails with the encoder's words.
pub(super) fn encode(frame: &Frame, quality: u8, effort: u8) -> Result<Vec<u8>, String> {
    let encoder = Encoder::new()
        .with_quality(f32::from(quality))
        .with_alpha_quality(f32::from(quality))
        .with_speed(10 - effort.min(6))
        .with_num_threads(Some(1));
    let (width, height) = (frame.width as usize, frame.height as usize);
    let encoded = if frame.layout == Layout::Rgba {
        let (pixels, _) = frame.data.as_chunks::<4>();
        let pixels: Vec<RGBA8> = pixels.iter().map(|[r, g, b, a]| RGBA8::new(*r, *g, *b, *a)).collect();
        encoder.encode_rgba(Img::new(&pixels, width, height))
    } else {
        let pixels: Vec<RGB8> = match frame.layout {
            Layout::Luma => frame.data.iter().map(|luma| RGB8::new(*luma, *luma, *luma)).collect(),
            _ => frame.data.as_chunks::<3>().0.iter().map(|[r, g, b]| RGB8::new(*r, *g, *b)).collect(),
        };
        encoder.encode_rgb(Img::new(&pixels, width, height))
    };
    encoded.map(|encoded| encoded.avif_file).map_err(|error| error.to_string())
}
