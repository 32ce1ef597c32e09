//! PNG, through the png crate.

use png::{BitDepth, ColorType, Compression, Encoder};

use crate::frame::{Frame, Layout};

/// Encodes a frame with 8 bits per channel. `effort`: 0 to 2 fast, 3 to 4 balanced, 5 to 6 high compression. Fails with
/// the encoder's words.
pub(super) fn encode(frame: &Frame, effort: u8) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, frame.width, frame.height);
    encoder.set_color(match frame.layout {
        Layout::Luma => ColorType::Grayscale,
        Layout::Rgb => ColorType::Rgb,
        Layout::Rgba => ColorType::Rgba,
    });
    encoder.set_depth(BitDepth::Eight);
    encoder.set_compression(match effort {
        0..=2 => Compression::Fast,
        3..=4 => Compression::Balanced,
        _ => Compression::High,
    });
    let mut writer = encoder.write_header().map_err(|error| error.to_string())?;
    writer.write_image_data(&frame.data).map_err(|error| error.to_string())?;
    writer.finish().map_err(|error| error.to_string())?;
    // Variants wait to be stored, and are charged by their length.
    bytes.shrink_to_fit();
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_layout_comes_back_as_it_was() {
        for layout in [Layout::Luma, Layout::Rgb, Layout::Rgba] {
            for effort in 0..=6 {
                let mut frame = Frame::zeroed(17, 3, layout);
                for (index, byte) in frame.data.iter_mut().enumerate() {
                    *byte = (index * 7) as u8;
                }
                let bytes = encode(&frame, effort).unwrap();
                let mut reader = png::Decoder::new(std::io::Cursor::new(&bytes)).read_info().unwrap();
                let mut data = vec![0; reader.output_buffer_size().unwrap()];
                reader.next_frame(&mut data).unwrap();
                assert_eq!(data, frame.data, "{layout:?}");
            }
        }
    }
}
