//! PNG, through the png crate: any colour type and depth to 8 bits of luma, RGB or RGBA.

use png::{BitDepth, ColorType, Decoder, DecodingError, Limits as PngLimits, Reader, Transformations};

use super::deadline::{Deadline, TimedReader};
use super::{Decoded, check_same_size};
use crate::color::{Color, Reducer};
use crate::frame::{Frame, Layout};
use crate::{Limits, MediaError, Probe, SourceFormat};

/// Row buffers and the inflate window, which the decoder charges against its own limit.
const WORKING_BYTES: usize = 1 << 20;

pub(super) fn decode(
    original: &[u8],
    probe: &Probe,
    limits: &Limits,
    color: Color,
    deadline: &Deadline,
) -> Result<Decoded, MediaError> {
    let corrupt =
        |error: DecodingError| deadline.or(MediaError::corrupt(SourceFormat::Png, error.to_string()));
    // A pixel has at most 8 bytes.
    let row_bytes = probe.width as usize * 8;
    let bytes = WORKING_BYTES + 2 * row_bytes + 2 * limits.metadata_bytes_max as usize;
    let mut decoder = Decoder::new_with_limits(deadline.reader(original), PngLimits { bytes });
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    // Palettes to RGB, 1 to 4 bits to 8, tRNS to an alpha channel.
    decoder.set_transformations(Transformations::EXPAND);
    let (width, height) = decoder.read_header_info().map_err(corrupt)?.size();
    check_same_size(probe, width.into(), height.into())?;

    let mut reader = decoder.read_info().map_err(corrupt)?;
    let (kind, depth) = reader.output_color_type();
    if kind == ColorType::Indexed {
        return Err(MediaError::corrupt(SourceFormat::Png, "its palette could not be expanded"));
    }
    let color = coding_independent(&reader).unwrap_or(color);
    let color = if kind == ColorType::GrayscaleAlpha { color.of_expanded_gray() } else { color };
    let (data, color) = if depth == BitDepth::Sixteen {
        rows_of_16_bits(&mut reader, probe, kind, color).map_err(corrupt)?
    } else {
        let mut data = vec![0; probe.pixels() as usize * kind.samples()];
        let shown = reader.next_frame(&mut data).map_err(corrupt)?;
        // The first frame of an animation may be a part of the canvas only if it breaks the specification.
        check_same_size(probe, shown.width.into(), shown.height.into())?;
        (with_alpha_expanded(data, kind), color)
    };
    // Also reads what follows the pixels, so that a damaged end is noticed like a damaged beginning.
    reader.finish().map_err(corrupt)?;
    let layout = match kind {
        ColorType::Grayscale => Layout::Luma,
        ColorType::Rgb | ColorType::Indexed => Layout::Rgb,
        ColorType::GrayscaleAlpha | ColorType::Rgba => Layout::Rgba,
    };
    let frame = Frame { width, height, layout, data };
    Ok(Decoded::whole(frame.without_opaque_alpha(), color))
}

/// The colour space of a cICP chunk, which goes before every other (PNG 3, section 11.3.2.6).
fn coding_independent(reader: &Reader<TimedReader<'_>>) -> Option<Color> {
    let points = reader.info().coding_independent_code_points?;
    (points.matrix_coefficients == 0 && points.is_video_full_range_image)
        .then_some(Color::Cicp { primaries: points.color_primaries, transfer: points.transfer_function })
}

/// Rows of 16 bits, reduced to 8 one by one. Gray with alpha becomes RGBA.
fn rows_of_16_bits(
    reader: &mut Reader<TimedReader<'_>>,
    probe: &Probe,
    kind: ColorType,
    color: Color,
) -> Result<(Vec<u8>, Color), DecodingError> {
    let (width, height) = (probe.width as usize, probe.height as usize);
    let stored = kind.samples();
    let channels = if stored == 2 { 4 } else { stored };
    let (mut reducer, color) = Reducer::new(color, channels);
    let mut data = vec![0; width * height * channels];
    let mut samples = vec![0_u16; width * channels];
    if reader.info().interlaced {
        // Passes do not come in rows of the picture: it is held in 16 bits.
        let mut whole = vec![0; width * height * stored * 2];
        reader.next_frame(&mut whole)?;
        let rows = whole.chunks_exact(width * stored * 2).zip(data.chunks_exact_mut(width * channels));
        for (row, reduced) in rows {
            widen(row, stored, &mut samples);
            reducer.reduce(&samples, reduced);
        }
        return Ok((data, color));
    }
    for reduced in data.chunks_exact_mut(width * channels) {
        let Some(row) = reader.next_row()? else { break };
        widen(row.data(), stored, &mut samples);
        reducer.reduce(&samples, reduced);
    }
    Ok((data, color))
}

/// Big-endian bytes to samples. Of two channels the first is red, green and blue.
fn widen(row: &[u8], stored: usize, samples: &mut [u16]) {
    let (words, _) = row.as_chunks::<2>();
    if stored == 2 {
        let (pairs, _) = words.as_chunks::<2>();
        for ([gray, alpha], pixel) in pairs.iter().zip(samples.chunks_exact_mut(4)) {
            let (gray, alpha) = (u16::from_be_bytes(*gray), u16::from_be_bytes(*alpha));
            pixel.copy_from_slice(&[gray, gray, gray, alpha]);
        }
        return;
    }
    for (word, sample) in words.iter().zip(samples) {
        *sample = u16::from_be_bytes(*word);
    }
}

/// Gray with alpha becomes RGBA; everything else stays.
fn with_alpha_expanded(data: Vec<u8>, kind: ColorType) -> Vec<u8> {
    if kind != ColorType::GrayscaleAlpha {
        return data;
    }
    data.as_chunks::<2>().0.iter().flat_map(|[gray, alpha]| [*gray, *gray, *gray, *alpha]).collect()
}
