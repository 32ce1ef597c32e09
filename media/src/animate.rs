//! Animations that keep their motion: every state of the canvas once through every size, into one encoder each.

use crate::color::Space;
use crate::decode::{Deadline, MotionSource, open_motion};
use crate::encode::{Animation, packed, rgba};
use crate::finish::finish;
use crate::frame::Picture;
use crate::plan::Moving;
use crate::render::window;
use crate::resize::{Chroma, Scratch, resize};
use crate::{Limits, MediaError, Orientation};

/// Why no animation was made.
pub(crate) enum Stopped {
    /// The photo's fault, or its time was over.
    Media(MediaError),
    /// What a codec said.
    Encode(String),
}

/// The files of `moving`, in their order. Frames beyond the limits, which a file may have although its probe saw fewer, end
/// the animation.
pub(crate) fn animate(
    source: &MotionSource,
    limits: &Limits,
    moving: &[Moving],
    space: &Space,
    deadline: Deadline,
    scratch: &mut Scratch,
) -> Result<Vec<Vec<u8>>, Stopped> {
    let mut motion =
        open_motion(&source.original, &source.probe, limits, deadline).map_err(Stopped::Media)?;
    let loops = motion.loops();
    let mut encoders = Vec::with_capacity(moving.len());
    for Moving { output, .. } in moving {
        let settings = &output.finish;
        let encoder = Animation::new(settings.canvas, loops.0, settings.quality, settings.effort);
        encoders.push(encoder.map_err(Stopped::Encode)?);
    }
    // The cut is found in the first frame and stays, or the picture would jump.
    let mut windows = Vec::new();
    let mut now_ms = 0_u32;
    let mut frames = 0;
    while let Some(moved) = motion.next().map_err(Stopped::Media)? {
        deadline.check().map_err(Stopped::Media)?;
        let picture = Picture::Packed(moved.frame).turned(source.probe.orientation);
        for (index, (Moving { shape, output }, encoder)) in moving.iter().zip(&mut encoders).enumerate() {
            if frames == 0 {
                let found = window(&picture, Orientation::Upright, *shape, scratch);
                windows.push(found.map_err(Stopped::Encode)?);
            }
            let resized = resize(&picture, windows[index], shape.size(), shape.light, Chroma::Full, scratch)
                .map_err(Stopped::Encode)?;
            let finished = finish(&resized, &output.finish, space, scratch).map_err(Stopped::Encode)?;
            let frame = packed(&finished, scratch).map_err(Stopped::Encode)?;
            encoder.add(&rgba(&frame), now_ms).map_err(Stopped::Encode)?;
        }
        // A format counts in 24 bits of milliseconds per frame; all together stay far inside 31 bits.
        now_ms = now_ms.saturating_add(moved.shown_ms).min(i32::MAX as u32);
        frames += 1;
        if frames >= source.probe.frames.min(limits.frames_max) {
            break;
        }
    }
    encoders.into_iter().map(|encoder| encoder.finish(now_ms).map_err(Stopped::Encode)).collect()
}
