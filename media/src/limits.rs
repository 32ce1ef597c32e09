//! What is too much.

use serde::{Deserialize, Serialize};

use crate::MediaError;

/// Bounds on what an image may announce. They hold before anything is allocated for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Greatest width in pixels, as stored (before orientation).
    pub width_max: u32,
    /// Greatest height in pixels, as stored (before orientation).
    pub height_max: u32,
    /// Greatest number of pixels: width × height.
    pub pixels_max: u64,
    /// Greatest number of bytes of metadata that the probe holds at once: the EXIF block, out of which orientation, camera,
    /// exposure and time are read, or of a TIFF the entries that tell them, of which those beyond it are passed over.
    /// What the probe skips (ICC, XMP, maker notes outside EXIF) it does not limit.
    pub metadata_bytes_max: u32,
    /// Greatest number of scans of a JPEG. Each is a pass over all its pixels, so that a small file of many scans
    /// could keep a processor busy for minutes.
    pub scans_max: u32,
    /// Greatest number of bytes of a colour profile (ICC), inflated. A longer one is passed over, as if the photo had
    /// none: its colours are then taken for sRGB. Cameras' profiles have 500 bytes to 4 KiB, those with tables for
    /// printing up to some MiB.
    pub icc_bytes_max: u32,
    /// Greatest number of frames of an animation whose motion is kept. Of longer ones the first frame is shown.
    pub frames_max: u32,
    /// Greatest number of pixels in all frames together of an animation whose motion is kept.
    pub animation_pixels_max: u64,
    /// Greatest number of bytes that decoding and rendering an animation may hold ([`Probe::cost`](crate::Probe::cost)) if
    /// its motion is kept. Of one that would hold more the first frame is shown.
    pub motion_bytes_max: u64,
    /// Longest time in seconds that decoding and rendering one photo may take. What takes longer fails, at the next row,
    /// strip, tile or frame: codecs of AVIF, HEIC and JPEG XL decode a picture (of a grid, a tile) in one go.
    pub seconds_max: u32,
}

impl Default for Limits {
    /// 65,535 × 65,535, 100 million pixels, 1 MiB of metadata, 100 scans; animations of 500 frames and 500 million pixels;
    /// two minutes.
    fn default() -> Self {
        Self {
            width_max: 65_535,
            height_max: 65_535,
            pixels_max: 100_000_000,
            metadata_bytes_max: 1 << 20,
            scans_max: 100,
            icc_bytes_max: 4 << 20,
            frames_max: 500,
            animation_pixels_max: 500_000_000,
            motion_bytes_max: u64::MAX,
            seconds_max: 120,
        }
    }
}

impl Limits {
    /// Refuses a size beyond the limits. Sizes are in pixels, as stored.
    pub(crate) fn check_size(&self, width: u32, height: u32) -> Result<(), MediaError> {
        if u64::from(width) * u64::from(height) > self.pixels_max {
            return Err(MediaError::TooManyPixels { width, height, limit: self.pixels_max });
        }
        if width > self.width_max {
            return Err(MediaError::TooWide { width, height, limit: self.width_max });
        }
        if height > self.height_max {
            return Err(MediaError::TooTall { width, height, limit: self.height_max });
        }
        Ok(())
    }

    /// Refuses a block of metadata that would have to be held.
    pub(crate) fn check_metadata(&self, bytes: u64) -> Result<(), MediaError> {
        if bytes > u64::from(self.metadata_bytes_max) {
            return Err(MediaError::MetadataTooLarge { bytes, limit: self.metadata_bytes_max });
        }
        Ok(())
    }

    /// Whether a colour profile is read rather than passed over.
    pub(crate) const fn allow_profile(&self, profile: &[u8]) -> bool {
        !profile.is_empty() && profile.len() <= self.icc_bytes_max as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_refused_for_the_reason_that_it_breaks() {
        let limits = Limits::default();
        assert_eq!(limits.check_size(65_500, 1), Ok(()));
        assert_eq!(limits.check_size(10_000, 10_000), Ok(()));
        assert!(matches!(limits.check_size(70_000, 1), Err(MediaError::TooWide { limit: 65_535, .. })));
        assert!(matches!(limits.check_size(1, 70_000), Err(MediaError::TooTall { limit: 65_535, .. })));
        assert!(matches!(limits.check_size(10_001, 10_000), Err(MediaError::TooManyPixels { .. })));
        // The product does not fit into 32 bits.
        assert!(matches!(limits.check_size(u32::MAX, u32::MAX), Err(MediaError::TooManyPixels { .. })));
    }
}
