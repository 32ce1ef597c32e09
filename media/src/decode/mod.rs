//! From bytes to one picture.
//!
//! One file per format, each around one codec. What they have in common: the size that the codec reads must be the
//! one that the probe read, so a file whose headers disagree cannot make the codec allocate more than was priced; and
//! damage is an error, except that a JPEG that was cut is shown as far as it goes, and marked.

mod avif;
mod bmp;
#[cfg(test)]
#[path = "../../tests/common/build.rs"]
pub(crate) mod build;
mod deadline;
mod entropy;
mod gif;
#[cfg(feature = "heic")]
mod heic;
mod heif;
mod jpeg;
#[cfg(feature = "jxl")]
mod jxl;
mod motion;
mod obu;
mod png;
mod tiff;
mod webp;
mod ycbcr;

use bytes::Bytes;

use crate::color::Color;
use crate::flat::is_flat;
use crate::frame::{Frame, Picture};
use crate::metadata::{Blocks, blocks};
use crate::{Limits, MediaError, Orientation, Probe, Scratch, SourceFormat};

pub(crate) use bmp::bmp_bytes;
pub(crate) use deadline::Deadline;
pub(crate) use motion::{Loops, open as open_motion};
pub(crate) use tiff::tiff_bytes;

/// What a codec delivers.
pub(crate) struct Decoded {
    pub(crate) picture: Picture,
    pub(crate) color: Color,
    /// Why a part of the picture is missing, if one is.
    pub(crate) damage: Option<String>,
}

impl Decoded {
    /// A whole picture.
    pub(crate) const fn whole(frame: Frame, color: Color) -> Self {
        Self { picture: Picture::Packed(frame), color, damage: None }
    }
}

/// An animation's bytes, from which its motion is read while it is rendered.
#[derive(Debug)]
pub(crate) struct MotionSource {
    pub(crate) original: Bytes,
    pub(crate) probe: Probe,
}

/// The pixels of a photo, as stored: not yet turned.
#[derive(Debug)]
pub struct DecodedPhoto {
    pub(crate) picture: Picture,
    pub(crate) color: Color,
    pub(crate) orientation: Orientation,
    /// The EXIF block, for presets that keep some of it.
    pub(crate) exif: Option<Vec<u8>>,
    /// A drawing or a screenshot.
    pub(crate) flat: bool,
    pub(crate) motion: Option<MotionSource>,
    pub(crate) limits: Limits,
    damage: Option<String>,
}

impl DecodedPhoto {
    /// Bytes of memory that it holds.
    pub fn bytes(&self) -> u64 {
        self.picture.bytes() + self.exif.as_ref().map_or(0, |exif| exif.capacity() as u64)
    }

    /// Why a part of the picture is missing, in words for its user; `None` if it is whole.
    pub fn damage(&self) -> Option<&str> {
        self.damage.as_deref()
    }

    /// Hands over the original again, so that presets that keep motion can have it. Without effect on what has none, or
    /// more frames than the limits allow. What it will hold then is not looked at here: [`Probe::moves`] says whether it may.
    #[must_use]
    pub fn with_motion(mut self, original: Bytes, probe: &Probe) -> Self {
        if probe.can_move(&self.limits) {
            self.motion = Some(MotionSource { original, probe: probe.clone() });
        }
        self
    }
}

/// Decodes the first (or only) picture of an original.
///
/// `probe` must be what [`probe`](crate::probe()) found in the same bytes; `limits` may have become stricter since.
///
/// Fails with [`MediaError::Corrupt`] on damage that the format lets a decoder notice: entropy codes that do not exist,
/// data that ends before the last row, checksums (PNG) that do not match. Damage that happens to be valid code shows in
/// the picture; no decoder can tell. A JPEG whose data ends early is shown as far as it goes
/// ([`DecodedPhoto::damage`]). Fails with [`MediaError::TooSlow`] after [`Limits::seconds_max`], or a little later: codecs are
/// stopped between rows, strips or tiles where they can be, but rav1d, the HEVC decoder and jxl-oxide decode a picture, or
/// a tile of a HEIC or AVIF, in one go.
pub fn decode(
    original: &[u8],
    probe: &Probe,
    limits: &Limits,
    scratch: &mut Scratch,
) -> Result<DecodedPhoto, MediaError> {
    limits.check_size(probe.width, probe.height)?;
    let deadline = Deadline::start(limits);
    let Blocks { exif, icc } = blocks(original, probe.format, limits);
    let color = icc.map_or(Color::Srgb, Color::Icc);
    let decoded = match probe.format {
        SourceFormat::Jpeg => jpeg::decode(original, probe, limits, color, &deadline, scratch)?,
        SourceFormat::Png => png::decode(original, probe, limits, color, &deadline)?,
        SourceFormat::WebP => webp::decode(original, probe, limits, color, &deadline)?,
        SourceFormat::Gif => gif::decode(original, probe, limits, &deadline)?,
        SourceFormat::Bmp => bmp::decode(original, probe, limits, &deadline)?,
        SourceFormat::Tiff => tiff::decode(original, probe, limits, &deadline)?,
        SourceFormat::Avif | SourceFormat::Heic => heif::decode(original, probe, limits, &deadline)?,
        #[cfg(feature = "jxl")]
        SourceFormat::Jxl => jxl::decode(original, probe, limits, &deadline)?,
        #[cfg(not(feature = "jxl"))]
        SourceFormat::Jxl => return Err(MediaError::unsupported("a JPEG XL image", "send a JPEG or PNG")),
    };
    let Decoded { picture, color, damage } = decoded;
    debug_assert_eq!(picture.size(), (probe.width, probe.height));
    let flat = match &picture {
        // A JPEG is noisy even where its picture was flat.
        Picture::Packed(frame) if probe.format != SourceFormat::Jpeg => {
            is_flat(frame.width, frame.height, frame.layout.bytes(), &frame.data)
        }
        _ => false,
    };
    let limits = limits.clone();
    let orientation = probe.orientation;
    Ok(DecodedPhoto { picture, color, orientation, exif, flat, motion: None, limits, damage })
}

/// What a codec's size must be compared with before anything is allocated for it.
fn check_same_size(probe: &Probe, width: u64, height: u64) -> Result<(), MediaError> {
    if (width, height) == (u64::from(probe.width), u64::from(probe.height)) {
        return Ok(());
    }
    let (w, h) = (probe.width, probe.height);
    Err(MediaError::corrupt(
        probe.format,
        format!("its header says {w}×{h} pixels and its image {width}×{height}"),
    ))
}
