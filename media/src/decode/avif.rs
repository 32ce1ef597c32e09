//! AV1, through rusty_av1d: rav1d, the Rust port of dav1d, with its safe interface.
//!
//! One thread, no assembly. The decoder is told the size that was priced and allocates for no larger one. It cannot be
//! stopped before the frame is whole.

use std::borrow::Cow;

use rusty_av1d::{Decoder, PixelLayout, PlanarImageComponent, Rav1dError, Settings};

use super::heif::check_components;
use super::obu::{Sequence, Unit, units};
use super::ycbcr::Planes;
use crate::heif::{Chroma, LAYERS_MAX, Layer, Signal};

/// Operating points have five bits.
const OPERATING_POINT_MAX: u8 = 31;

/// What a frame costs: its planes, and what is held per block: modes, motion, filters.
pub(super) const fn bytes_per_64_pixels(bit_depth: u8, chroma: Chroma) -> u64 {
    let sample_bytes = if bit_depth > 8 { 2 } else { 1 };
    chroma.samples_per_64_pixels() * sample_bytes + 48
}

/// A decoded frame.
struct Frame {
    picture: rusty_av1d::Picture,
    size: (u32, u32),
    chroma: Chroma,
    bit_depth: u8,
}

/// Decodes the first frame that is shown, of a part of `layer`. Errors are what is wrong with the data.
pub(super) fn decode(data: Cow<[u8]>, layer: &Layer, operating_point: u8) -> Result<Box<dyn Planes>, String> {
    // Each frame would hold as much memory as the picture itself.
    let frames_max = if layer.layered { LAYERS_MAX } else { 1 };
    let mut frames = 0;
    for unit in units(&data) {
        match unit.ok_or("the units of its AV1 data cannot be told apart")? {
            Unit::Sequence(sequence) => check_sequence(sequence, layer)?,
            Unit::Frame if frames == frames_max => {
                return Err(format!("its AV1 data has more than {frames_max} frames"));
            }
            Unit::Frame => frames += 1,
            Unit::Other => {}
        }
    }
    let size = layer.part_size;
    let mut settings = Settings::new();
    settings.set_n_threads(1);
    settings.set_max_frame_delay(1);
    settings.set_frame_size_limit(u32::try_from(u64::from(size.0) * u64::from(size.1)).unwrap_or(u32::MAX));
    settings.set_all_layers(false);
    // Grain is noise for viewing at full size; drawing it takes another picture, and variants are smaller.
    settings.set_apply_grain(false);
    settings.set_operating_point(operating_point.min(OPERATING_POINT_MAX));
    let said = |error: Rav1dError| format!("its AV1 data is damaged ({error})");
    let mut decoder = Decoder::with_settings(&settings).map_err(said)?;
    match decoder.send_data(data.into_owned().into_boxed_slice(), None, None, None) {
        // More data than the first frame needs.
        Ok(()) | Err(Rav1dError::TryAgain) => {}
        Err(error) => return Err(said(error)),
    }
    let picture = match decoder.get_picture() {
        // The first answer may come before the decoder knows that no more data will.
        Err(Rav1dError::TryAgain) => decoder.get_picture(),
        answer => answer,
    };
    let picture = picture.map_err(|error| match error {
        Rav1dError::TryAgain => "its AV1 data ends before the first frame does".to_owned(),
        error => said(error),
    })?;
    let chroma = match picture.pixel_layout() {
        PixelLayout::I400 => Chroma::None,
        PixelLayout::I420 => Chroma::S420,
        PixelLayout::I422 => Chroma::S422,
        PixelLayout::I444 => Chroma::S444,
    };
    let size = (picture.width(), picture.height());
    let bit_depth = picture.bits_per_component().ok_or("its AV1 data does not say its depth")?.0;
    Ok(Box::new(Frame { picture, size, chroma, bit_depth }))
}

/// Compares what the decoder will allocate by with what was priced.
fn check_sequence(sequence: Sequence, layer: &Layer) -> Result<(), String> {
    let ((width, height), (w, h)) = (layer.part_size, sequence.size);
    // Of layers, the greatest may be one that is not meant.
    if !layer.layered && (w > width || h > height) {
        return Err(format!("its header says {width}×{height} pixels and its image {w}×{h}"));
    }
    check_components((sequence.chroma, sequence.bit_depth), layer)
}

impl Planes for Frame {
    fn size(&self) -> (u32, u32) {
        self.size
    }

    fn chroma(&self) -> Chroma {
        self.chroma
    }

    fn bit_depth(&self) -> u8 {
        self.bit_depth
    }

    fn signal(&self) -> Signal {
        Signal {
            primaries: self.picture.color_primaries() as u16,
            transfer: self.picture.transfer_characteristic() as u16,
            matrix: self.picture.matrix_coefficients() as u16,
            full_range: self.picture.color_range() == rusty_av1d::pixel::YUVRange::Full,
        }
    }

    fn copy_row(&self, plane: usize, y: usize, row: &mut [u16]) {
        let component = match plane {
            0 => PlanarImageComponent::Y,
            1 => PlanarImageComponent::U,
            _ => PlanarImageComponent::V,
        };
        // In bytes, whatever its documentation says.
        let stride = self.picture.stride(component) as usize;
        let samples = self.picture.plane(component).get(y * stride..).unwrap_or_default();
        if self.bit_depth == 8 {
            for (to, from) in row.iter_mut().zip(samples) {
                *to = u16::from(*from);
            }
            return;
        }
        let (samples, _) = samples.as_chunks::<2>();
        for (to, from) in row.iter_mut().zip(samples) {
            *to = u16::from_ne_bytes(*from);
        }
    }
}
