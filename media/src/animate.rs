//! Animations that keep their motion: every state of the canvas once through every size, into one encoder each.

use crate::color::Space;
use crate::crop::Cropper;
use crate::decode::{Deadline, Loops, MotionSource, open_motion};
use crate::encode::{Animation, packed};
use crate::finish::finish;
use crate::frame::Picture;
use crate::plan::Moving;
use crate::render::encode_error;
use crate::resize::{Chroma, Scratch, Window, resize};
use crate::{Limits, MediaError, Orientation, Preset};

/// The files of `moving`, in their order, cut as the stills are. Frames beyond the limits, which a file may have although its probe saw fewer, end
/// the animation.
///
/// Fails with what is wrong with a frame, with [`MediaError::TooSlow`], and with [`MediaError::Encode`] for the preset that
/// could not be made.
pub(crate) fn animate(
    (source, limits): (&MotionSource, &Limits),
    moving: &[Moving],
    presets: &[Preset],
    space: &Space,
    deadline: Deadline,
    cropper: &mut Cropper,
    scratch: &mut Scratch,
) -> Result<Vec<Vec<u8>>, MediaError> {
    let mut motion = open_motion(&source.original, &source.probe, limits, deadline)?;
    let loops = motion.loops();
    let failed = |of: &Moving, detail| encode_error(presets, &of.output, detail);
    let mut tracks = Vec::with_capacity(moving.len());
    for moving in moving {
        tracks.push(Track::new(moving, loops, space).map_err(|detail| failed(moving, detail))?);
    }
    let mut now_ms = 0_u32;
    let mut frames = 0;
    while let Some(moved) = motion.next()? {
        deadline.check()?;
        let picture = Picture::Packed(moved.frame).turned(source.probe.orientation);
        for track in &mut tracks {
            track.add(&picture, now_ms, cropper, scratch).map_err(|detail| failed(track.moving, detail))?;
        }
        // Each time has 24 bits, so those of 128 frames may exceed what libwebp counts in.
        now_ms = now_ms.saturating_add(moved.shown_ms).min(i32::MAX as u32);
        frames += 1;
        if frames >= source.probe.frames.min(limits.frames_max) {
            break;
        }
    }
    let finish = |Track { moving, encoder, .. }: Track<'_>| {
        encoder.finish(now_ms).map_err(|detail| failed(moving, detail))
    };
    tracks.into_iter().map(finish).collect()
}

/// One of the files.
struct Track<'a> {
    moving: &'a Moving,
    space: &'a Space,
    encoder: Animation,
    /// The cut is found in the first frame and stays, or the picture would jump.
    window: Option<Window>,
}

impl<'a> Track<'a> {
    /// Fails with libwebp's words.
    fn new(moving: &'a Moving, loops: Loops, space: &'a Space) -> Result<Self, String> {
        let settings = &moving.output.finish;
        let encoder = Animation::new(settings.canvas, loops.0, settings.quality, settings.effort)?;
        Ok(Self { moving, space, encoder, window: None })
    }

    /// Adds an upright state of the canvas. Fails with the words of the resizer, the colour engine or libwebp.
    fn add(
        &mut self,
        picture: &Picture,
        start_ms: u32,
        cropper: &mut Cropper,
        scratch: &mut Scratch,
    ) -> Result<(), String> {
        let Moving { shape, output } = self.moving;
        let window = match self.window {
            Some(found) => found,
            None => *self.window.insert(cropper.window(picture, Orientation::Upright, *shape, scratch)?),
        };
        let resized = resize(picture, window, shape.size(), shape.light, Chroma::Full, scratch)?;
        let finished = finish(&resized, &output.finish, self.space, scratch)?;
        let frame = packed(&finished, scratch)?;
        self.encoder.add(&frame.rgba().data, start_ms)
    }
}
