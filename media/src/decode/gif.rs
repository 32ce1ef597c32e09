//! GIF, through the gif crate: frames laid on a transparent canvas, row by row.

use std::num::NonZeroU64;

use gif::{ColorOutput, DecodeOptions, Decoder, DecodingError, DisposalMethod, MemoryLimit, Repeat};

use super::deadline::{Deadline, TimedReader};
use super::motion::{Loops, Motion, Moved, Rectangle};
use super::{Decoded, check_same_size};
use crate::color::Color;
use crate::frame::{Frame, Layout};
use crate::{Limits, MediaError, Probe, SourceFormat};

/// First row and distance of each pass of an interlaced frame (`GIF89a`, appendix E), and of the only pass of others.
const INTERLACED: [(usize, usize); 4] = [(0, 8), (4, 8), (2, 4), (1, 2)];
const SEQUENTIAL: [(usize, usize); 1] = [(0, 1)];

/// Browsers show frames that claim less than this for this long instead, in milliseconds.
const SHORTEST_MS: u32 = 20;
const INSTEAD_MS: u32 = 100;

fn corrupt(deadline: &Deadline, error: &DecodingError) -> MediaError {
    deadline.or(MediaError::corrupt(SourceFormat::Gif, error.to_string()))
}

pub(super) fn decode(
    original: &[u8],
    probe: &Probe,
    limits: &Limits,
    deadline: &Deadline,
) -> Result<Decoded, MediaError> {
    let mut motion = GifMotion::open(original, probe, limits, *deadline)?;
    motion.goes_on = false;
    if !motion.lay_next()? {
        return Err(MediaError::corrupt(SourceFormat::Gif, "it holds no image"));
    }
    Ok(Decoded::whole(motion.canvas.without_opaque_alpha(), Color::Srgb))
}

/// What becomes of a frame's rectangle before the next is laid.
struct Disposal {
    method: DisposalMethod,
    rectangle: Rectangle,
    /// The canvas before the frame, if it is to come back.
    before: Option<Vec<u8>>,
}

/// The frames of an animation, one after the other.
pub(super) struct GifMotion<'a> {
    decoder: Decoder<TimedReader<'a>>,
    deadline: Deadline,
    limits: Limits,
    canvas: Frame,
    disposal: Option<Disposal>,
    shown_ms: u32,
    /// Whether another frame follows: else none has to be cleared away, and nothing is kept for it.
    goes_on: bool,
    /// Frames so far.
    laid: u32,
}

impl<'a> GifMotion<'a> {
    pub(super) fn open(
        original: &'a [u8],
        probe: &Probe,
        limits: &Limits,
        deadline: Deadline,
    ) -> Result<Self, MediaError> {
        let mut options = DecodeOptions::new();
        options.set_color_output(ColorOutput::Indexed);
        // It only bounds what is kept of metadata here, which cannot be more than the file: rows are read one by one.
        let bytes = NonZeroU64::new(original.len() as u64).unwrap_or(NonZeroU64::MIN);
        options.set_memory_limit(MemoryLimit::Bytes(bytes));
        let decoder =
            options.read_info(deadline.reader(original)).map_err(|error| corrupt(&deadline, &error))?;
        check_same_size(probe, decoder.width().into(), decoder.height().into())?;
        let canvas = Frame::zeroed(probe.width, probe.height, Layout::Rgba);
        let (limits, goes_on) = (limits.clone(), true);
        Ok(Self { decoder, deadline, limits, canvas, disposal: None, shown_ms: 0, goes_on, laid: 0 })
    }

    /// Clears away the frame before, and lays the next one. `false` if there is none.
    fn lay_next(&mut self) -> Result<bool, MediaError> {
        self.dispose();
        let corrupt = |error: DecodingError| corrupt(&self.deadline, &error);
        let Some(frame) = self.decoder.next_frame_info().map_err(corrupt)? else { return Ok(false) };
        self.limits.check_size(frame.width.into(), frame.height.into())?;
        let (left, top) = (usize::from(frame.left), usize::from(frame.top));
        let (width, height) = (usize::from(frame.width), usize::from(frame.height));
        let (transparent, interlaced, method) = (frame.transparent, frame.interlaced, frame.dispose);
        let delay = u32::from(frame.delay) * 10;
        self.shown_ms = if delay < SHORTEST_MS { INSTEAD_MS } else { delay };
        let palette = self.decoder.palette().map_err(corrupt)?.to_vec();
        let (colors, _) = palette.as_chunks::<3>();

        // A frame may reach beyond the canvas; what does is not shown.
        let (canvas_width, canvas_height) = (self.canvas.width as usize, self.canvas.height as usize);
        let left = left.min(canvas_width);
        let top = top.min(canvas_height);
        let rectangle = Rectangle {
            left,
            top,
            width: width.min(canvas_width - left),
            height: height.min(canvas_height - top),
        };
        let restored = self.goes_on && method == DisposalMethod::Previous;
        let before = restored.then(|| self.canvas.data.clone());
        let mut row = vec![0; width];
        let passes: &[(usize, usize)] = if interlaced { &INTERLACED } else { &SEQUENTIAL };
        for y in passes.iter().flat_map(|(first, step)| (*first..height).step_by(*step)) {
            if !self.decoder.fill_buffer(&mut row).map_err(corrupt)? {
                let detail = format!("its pixel data ends in row {y} of {height}");
                return Err(self.deadline.or(MediaError::corrupt(SourceFormat::Gif, detail)));
            }
            if y < rectangle.height {
                let line = rectangle.line(&self.canvas, y);
                lay(&row[..rectangle.width], colors, transparent, &mut self.canvas.data[line]);
            }
        }
        self.disposal = Some(Disposal { method, rectangle, before });
        Ok(true)
    }

    fn dispose(&mut self) {
        let Some(Disposal { method, rectangle, before }) = self.disposal.take() else { return };
        match (method, before) {
            (DisposalMethod::Previous, Some(before)) => self.canvas.data = before,
            (DisposalMethod::Background, _) => rectangle.clear(&mut self.canvas),
            _ => {}
        }
    }
}

impl Motion for GifMotion<'_> {
    fn loops(&self) -> Loops {
        match self.decoder.repeat() {
            Repeat::Infinite => Loops(0),
            // Shown once, and then repeated so often.
            Repeat::Finite(times) => Loops(times.saturating_add(1)),
        }
    }

    fn next(&mut self) -> Result<Option<Moved>, MediaError> {
        let laid = match self.lay_next() {
            // Damage behind the first frame ends the animation, as it does in viewers.
            Err(_) if self.laid > 0 && !self.deadline.passed() => false,
            laid => laid?,
        };
        self.laid += 1;
        Ok(laid.then(|| Moved { frame: self.canvas.clone(), shown_ms: self.shown_ms }))
    }
}

/// Lays a row of palette indices on the canvas. Indices beyond the palette are as transparent as the transparent one, as
/// in browsers.
fn lay(row: &[u8], colors: &[[u8; 3]], transparent: Option<u8>, line: &mut [u8]) {
    for (index, pixel) in row.iter().zip(line.chunks_exact_mut(4)) {
        if Some(*index) == transparent {
            continue;
        }
        if let Some([red, green, blue]) = colors.get(usize::from(*index)) {
            pixel.copy_from_slice(&[*red, *green, *blue, 255]);
        }
    }
}
