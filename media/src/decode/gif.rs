//! GIF, through the gif crate: the first frame, laid on a white canvas, row by row.

use std::num::NonZeroU64;

use gif::{ColorOutput, DecodeOptions, DecodingError, MemoryLimit};

use super::check_same_size;
use crate::frame::{Frame, Layout};
use crate::{Limits, MediaError, Probe, SourceFormat};

/// First row and distance of each pass of an interlaced frame (`GIF89a`, appendix E), and of the only pass of others.
const INTERLACED: [(usize, usize); 4] = [(0, 8), (4, 8), (2, 4), (1, 2)];
const SEQUENTIAL: [(usize, usize); 1] = [(0, 1)];

const WHITE: u8 = 255;

pub(super) fn decode(original: &[u8], probe: &Probe, limits: &Limits) -> Result<Frame, MediaError> {
    let corrupt = |error: DecodingError| MediaError::corrupt(SourceFormat::Gif, error.to_string());
    let mut options = DecodeOptions::new();
    options.set_color_output(ColorOutput::Indexed);
    // It only bounds what is kept of metadata here, which cannot be more than the file: rows are read one by one.
    let bytes = NonZeroU64::new(original.len() as u64).unwrap_or(NonZeroU64::MIN);
    options.set_memory_limit(MemoryLimit::Bytes(bytes));
    let mut decoder = options.read_info(original).map_err(corrupt)?;
    check_same_size(probe, decoder.width().into(), decoder.height().into())?;

    let first = decoder.next_frame_info().map_err(corrupt)?;
    let Some(first) = first else {
        return Err(MediaError::corrupt(SourceFormat::Gif, "it holds no image"));
    };
    let (left, top) = (usize::from(first.left), usize::from(first.top));
    let (width, height) = (usize::from(first.width), usize::from(first.height));
    let (transparent, interlaced) = (first.transparent, first.interlaced);
    limits.check_size(first.width.into(), first.height.into())?;
    let palette = decoder.palette().map_err(corrupt)?.to_vec();
    let (colors, _) = palette.as_chunks::<3>();

    let mut canvas = Frame::zeroed(probe.width, probe.height, Layout::Rgb);
    canvas.data.fill(WHITE);
    let mut row = vec![0; width];
    let passes: &[(usize, usize)] = if interlaced { &INTERLACED } else { &SEQUENTIAL };
    for y in passes.iter().flat_map(|(first, step)| (*first..height).step_by(*step)) {
        if !decoder.fill_buffer(&mut row).map_err(corrupt)? {
            let detail = format!("its pixel data ends in row {y} of {height}");
            return Err(MediaError::corrupt(SourceFormat::Gif, detail));
        }
        // A frame may reach beyond the canvas; what does is not shown.
        if top + y < probe.height as usize {
            let canvas_row = (top + y) * probe.width as usize;
            let visible = width.min((probe.width as usize).saturating_sub(left));
            let start = (canvas_row + left.min(probe.width as usize)) * 3;
            let line = &mut canvas.data[start..start + visible * 3];
            lay(&row[..visible], colors, transparent, line);
        }
    }
    Ok(canvas)
}

/// Lays a row of palette indices on the canvas. Indices beyond the palette are as transparent as the transparent one, as
/// in browsers.
fn lay(row: &[u8], colors: &[[u8; 3]], transparent: Option<u8>, line: &mut [u8]) {
    for (index, pixel) in row.iter().zip(line.chunks_exact_mut(3)) {
        if Some(*index) == transparent {
            continue;
        }
        if let Some(color) = colors.get(usize::from(*index)) {
            pixel.copy_from_slice(color);
        }
    }
}
