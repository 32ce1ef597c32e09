//! WebP, through image-webp.

use image_webp::{DecodingError, LoopCount, WebPDecoder};

use super::deadline::{Deadline, TimedReader};
use super::motion::{Loops, Motion, Moved, Rectangle};
use super::{Decoded, check_same_size};
use crate::color::Color;
use crate::frame::{Frame, Layout};
use crate::metadata::webp::{self, Chunks};
use crate::{Limits, MediaError, Probe, SourceFormat};

/// In VP8X: pixels may be transparent.
const ALPHA_FLAG: u8 = 0x10;

/// What an animation's frames are laid on: nothing.
const CLEAR: [u8; 4] = [0; 4];

fn corrupt(detail: impl Into<String>) -> MediaError {
    MediaError::corrupt(SourceFormat::WebP, detail)
}

fn open<'a>(
    original: &'a [u8],
    probe: &Probe,
    limits: &Limits,
    deadline: &Deadline,
) -> Result<WebPDecoder<TimedReader<'a>>, MediaError> {
    let corrupt = |error: DecodingError| deadline.or(corrupt(error.to_string()));
    // The codec allocates by the size inside the bitstream before it compares it with the canvas. The probe compares
    // without allocating, and walks chunk headers only; so it is repeated rather than trusted.
    let again = crate::probe(original, limits)?;
    check_same_size(probe, again.width.into(), again.height.into())?;
    let mut decoder = WebPDecoder::new(deadline.reader(original)).map_err(corrupt)?;
    decoder.set_memory_limit(limits.metadata_bytes_max as usize);
    let (width, height) = decoder.dimensions();
    check_same_size(probe, width.into(), height.into())?;
    if decoder.is_animated() {
        // The codec computes the bytes of the canvas in 32 bits.
        if probe.pixels() > u64::from(u32::MAX / 4) {
            let limit = u64::from(u32::MAX / 4);
            return Err(MediaError::TooManyPixels { width, height, limit });
        }
        decoder.set_background_color(CLEAR).map_err(corrupt)?;
    }
    Ok(decoder)
}

pub(super) fn decode(
    original: &[u8],
    probe: &Probe,
    limits: &Limits,
    color: Color,
    deadline: &Deadline,
) -> Result<Decoded, MediaError> {
    let mut decoder = open(original, probe, limits, deadline)?;
    let layout = if decoder.has_alpha() { Layout::Rgba } else { Layout::Rgb };
    let mut frame = Frame::zeroed(probe.width, probe.height, layout);
    decoder
        .read_image(&mut frame.data)
        .map_err(|error| deadline.or(MediaError::corrupt(SourceFormat::WebP, error.to_string())))?;
    Ok(Decoded::whole(frame.without_opaque_alpha(), color))
}

/// What the header of a frame says (RFC 9649, section 2.7.1.1).
#[derive(Debug, Clone, Copy)]
struct Control {
    rectangle: Rectangle,
    shown_ms: u32,
    /// Laid on what is there rather than put in its place.
    blended: bool,
    /// To be cleared before the next frame.
    cleared: bool,
}

impl Control {
    /// `None` if the frame reaches beyond the canvas.
    fn read(header: &[u8], canvas: &Frame) -> Option<Self> {
        let three = |at: usize| {
            let bytes = header.get(at..at + 3)?;
            Some(usize::from(bytes[0]) | usize::from(bytes[1]) << 8 | usize::from(bytes[2]) << 16)
        };
        let (left, top) = (2 * three(0)?, 2 * three(3)?);
        let (width, height) = (three(6)? + 1, three(9)? + 1);
        let inside = left + width <= canvas.width as usize && top + height <= canvas.height as usize;
        let flags = *header.get(15)?;
        inside.then_some(Self {
            rectangle: Rectangle { left, top, width, height },
            // Of three bytes.
            shown_ms: three(12)? as u32,
            blended: flags & 2 == 0,
            cleared: flags & 1 == 1,
        })
    }
}

/// The frames of an animation, one after the other.
///
/// The codec decodes each by itself, and they are laid on the canvas here: image-webp 0.2.4 clears all of the canvas where
/// a frame as large as it follows a smaller one that is to be cleared, and other pixels where an opaque one does.
pub(super) struct WebPMotion<'a> {
    chunks: Chunks<'a>,
    loops: Loops,
    limits: Limits,
    deadline: Deadline,
    canvas: Frame,
    to_clear: Option<Rectangle>,
    left: u32,
}

impl<'a> WebPMotion<'a> {
    pub(super) fn open(
        original: &'a [u8],
        probe: &Probe,
        limits: &Limits,
        deadline: Deadline,
    ) -> Result<Self, MediaError> {
        let decoder = open(original, probe, limits, &deadline)?;
        let loops = match decoder.loop_count() {
            LoopCount::Forever => Loops(0),
            LoopCount::Times(times) => Loops(times.get()),
        };
        Ok(Self {
            chunks: Chunks::new(original).ok_or_else(|| corrupt("it does not begin as a WebP"))?,
            loops,
            limits: limits.clone(),
            deadline,
            canvas: Frame::zeroed(probe.width, probe.height, Layout::Rgba),
            to_clear: None,
            left: decoder.num_frames(),
        })
    }

    /// The pixels of one frame, as a file of their own.
    fn decoded(&self, image: &[u8], rectangle: Rectangle) -> Result<Frame, MediaError> {
        let parts: Vec<_> = Chunks::inside(image).collect();
        let coded = parts.iter().find(|part| matches!(&part.code, b"VP8 " | b"VP8L"));
        let coded = coded.ok_or_else(|| corrupt("a frame has no image"))?;
        let alpha = parts.iter().find(|part| &part.code == b"ALPH" && &coded.code == b"VP8 ");
        let mut file = Vec::with_capacity(image.len() + 64);
        webp::begin(&mut file);
        if let Some(alpha) = alpha {
            let mut header = webp::extended(coded).ok_or_else(|| corrupt("a frame has no size"))?;
            header[0] |= ALPHA_FLAG;
            webp::push_chunk(&mut file, *b"VP8X", &header);
            webp::push_chunk(&mut file, alpha.code, alpha.data);
        }
        webp::push_chunk(&mut file, coded.code, coded.data);
        webp::finish(&mut file, 0);
        let found = crate::probe(&file, &self.limits)?;
        check_same_size(&found, rectangle.width as u64, rectangle.height as u64)?;
        let mut decoder = open(&file, &found, &self.limits, &self.deadline)?;
        let layout = if decoder.has_alpha() { Layout::Rgba } else { Layout::Rgb };
        let mut frame = Frame::zeroed(found.width, found.height, layout);
        decoder.read_image(&mut frame.data).map_err(|error| self.deadline.or(corrupt(error.to_string())))?;
        Ok(frame)
    }

    /// Clears what the frame before asked for, and lays this one.
    fn lay(&mut self, frame: &Frame, control: Control) {
        if let Some(rectangle) = self.to_clear.take() {
            rectangle.clear(&mut self.canvas);
        }
        let bytes = frame.layout.bytes();
        let rows = frame.data.chunks_exact(control.rectangle.width * bytes);
        for (y, row) in rows.enumerate() {
            let line = control.rectangle.line(&self.canvas, y);
            let (pixels, _) = self.canvas.data[line].as_chunks_mut::<4>();
            for (from, to) in row.chunks_exact(bytes).zip(pixels) {
                match *from {
                    [red, green, blue] => *to = [red, green, blue, 255],
                    [red, green, blue, alpha] if control.blended => {
                        *to = over([red, green, blue, alpha], *to);
                    }
                    [red, green, blue, alpha] => *to = [red, green, blue, alpha],
                    _ => {}
                }
            }
        }
        self.to_clear = control.cleared.then_some(control.rectangle);
    }
}

/// A pixel of straight alpha laid on another (RFC 9649, section 2.7.1.1).
fn over(above: [u8; 4], below: [u8; 4]) -> [u8; 4] {
    let (alpha, under) = (u32::from(above[3]), u32::from(below[3]));
    if alpha == 255 || under == 0 {
        return above;
    }
    // In 255ths of 255ths.
    let kept = under * (255 - alpha);
    let sum = alpha * 255 + kept;
    if sum == 0 {
        return [0; 4];
    }
    // Means of bytes: at most 255.
    let mixed = |index: usize| {
        let (above, below) = (u32::from(above[index]), u32::from(below[index]));
        ((above * alpha * 255 + below * kept + sum / 2) / sum) as u8
    };
    [mixed(0), mixed(1), mixed(2), ((sum + 127) / 255) as u8]
}

impl Motion for WebPMotion<'_> {
    fn loops(&self) -> Loops {
        self.loops
    }

    fn next(&mut self) -> Result<Option<Moved>, MediaError> {
        let next = self.chunks.find(|chunk| &chunk.code == b"ANMF");
        let Some(chunk) = next.filter(|_| self.left > 0) else { return Ok(None) };
        self.deadline.check()?;
        self.left -= 1;
        let (header, image) = chunk
            .data
            .split_at_checked(webp::FRAME_HEADER_BYTES)
            .ok_or_else(|| corrupt("a frame is shorter than its header"))?;
        let control = Control::read(header, &self.canvas)
            .ok_or_else(|| corrupt("a frame reaches beyond the canvas"))?;
        let frame = self.decoded(image, control.rectangle)?;
        self.lay(&frame, control);
        // Whatever the file says of its alpha: what was cleared is transparent.
        let frame = self.canvas.clone().without_opaque_alpha();
        Ok(Some(Moved { frame, shown_ms: control.shown_ms }))
    }
}
