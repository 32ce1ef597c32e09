//! Animations: frame after frame, each as the whole canvas looks while it is shown.

use std::ops::Range;

use super::deadline::Deadline;
use super::gif::GifMotion;
use super::webp::WebPMotion;
use crate::frame::Frame;
use crate::{Limits, MediaError, Probe, SourceFormat};

/// How often an animation is shown; 0 is for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Loops(pub(crate) u16);

/// One state of the canvas.
#[derive(Debug)]
pub(crate) struct Moved {
    pub(crate) frame: Frame,
    /// How long it is shown, in milliseconds.
    pub(crate) shown_ms: u32,
}

/// A part of the canvas, in pixels, inside it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rectangle {
    pub(super) left: usize,
    pub(super) top: usize,
    pub(super) width: usize,
    pub(super) height: usize,
}

impl Rectangle {
    /// Its row `y` in the bytes of a canvas of RGBA.
    pub(super) const fn line(self, canvas: &Frame, y: usize) -> Range<usize> {
        let start = ((self.top + y) * canvas.width as usize + self.left) * 4;
        start..start + self.width * 4
    }

    /// To nothing, as browsers do, whatever colour a file calls its background.
    pub(super) fn clear(self, canvas: &mut Frame) {
        for y in 0..self.height {
            let line = self.line(canvas, y);
            canvas.data[line].fill(0);
        }
    }
}

/// An opened animation. Holds one canvas, never all of them.
pub(crate) trait Motion {
    fn loops(&self) -> Loops;

    /// The next state of the canvas, `None` after the last.
    fn next(&mut self) -> Result<Option<Moved>, MediaError>;
}

/// Opens an animation from its beginning.
pub(crate) fn open<'a>(
    original: &'a [u8],
    probe: &Probe,
    limits: &Limits,
    deadline: Deadline,
) -> Result<Box<dyn Motion + 'a>, MediaError> {
    Ok(match probe.format {
        SourceFormat::Gif => Box::new(GifMotion::open(original, probe, limits, deadline)?),
        SourceFormat::WebP => Box::new(WebPMotion::open(original, probe, limits, deadline)?),
        other => return Err(MediaError::corrupt(other, "it has no motion that is read here")),
    })
}

impl Probe {
    /// Whether its motion can be kept: it has any, in a format whose frames are read here, and not more than the limits
    /// allow.
    pub(crate) fn can_move(&self, limits: &Limits) -> bool {
        let read = matches!(self.format, SourceFormat::Gif | SourceFormat::WebP);
        let summed = self.pixels().saturating_mul(self.frames.into());
        read && self.is_animated()
            && self.frames <= limits.frames_max
            && summed <= limits.animation_pixels_max
    }
}
