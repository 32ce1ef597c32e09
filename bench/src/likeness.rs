//! How much what was made of a photo is like the photo: SSIM and PSNR against the reference.

use anyhow::{Context, ensure};

use crate::engine::{Fit, probe_only};
use crate::lanczos::{Reference, resize};
use crate::picture::Picture;
use crate::ssim::{Luma, psnr, ssim};

/// A photo, with the references that were made of it.
pub(crate) struct Original {
    picture: Picture,
    /// Made when they are first needed: variants of one fit and size share them.
    known: Vec<(Fit, Reference, Luma)>,
}

/// One variant against its reference.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Likeness {
    /// Of the brightness, at most 1.
    pub(crate) ssim: f64,
    /// Of all three channels, in dB. Infinite where nothing was lost.
    pub(crate) psnr: f64,
}

impl Original {
    /// Fails for what [`Picture::decode`] cannot decode, and for photos with a colour profile: it is not applied here, so
    /// that a variant which was converted as it should be would look wrong.
    pub(crate) fn decode(bytes: &[u8]) -> anyhow::Result<Self> {
        ensure!(
            !probe_only(bytes)?.has_profile,
            "it has a colour profile, which the reference does not apply"
        );
        Ok(Self::of(Picture::decode(bytes)?))
    }

    pub(crate) const fn of(picture: Picture) -> Self {
        Self { picture, known: Vec::new() }
    }

    /// Width and height, upright.
    pub(crate) const fn size(&self) -> (usize, usize) {
        (self.picture.width, self.picture.height)
    }

    /// Compares with the reference of the same size.
    pub(crate) fn compare(&mut self, fit: Fit, shown: &Picture) -> anyhow::Result<Likeness> {
        let size = (shown.width, shown.height);
        let same = |(known, reference, _): &(Fit, Reference, Luma)| {
            *known == fit && (reference.width, reference.height) == size
        };
        let index = self.known.iter().position(same).unwrap_or_else(|| {
            let reference = resize(&self.picture, fit, size);
            let luma = Luma::of_reference(&reference);
            self.known.push((fit, reference, luma));
            self.known.len() - 1
        });
        let (_, reference, luma) = &self.known[index];
        let alike = ssim(luma, &Luma::of_picture(shown)).zip(psnr(reference, shown));
        let (ssim, psnr) = alike.context("an empty picture cannot be compared")?;
        Ok(Likeness { ssim, psnr })
    }
}

#[cfg(test)]
mod tests {
    use darkroom_media::synth::{PhotoSpec, jpeg};

    use super::*;

    #[test]
    fn references_are_made_once_for_each_fit_and_size() {
        let picture = Picture { width: 40, height: 30, pixels: vec![[90; 3]; 40 * 30] };
        let mut original = Original::of(picture);
        let shown = |value| Picture { width: 10, height: 10, pixels: vec![[value; 3]; 100] };
        let same = original.compare(Fit::Cover, &shown(90)).unwrap();
        assert!(same.ssim > 0.999_99 && same.psnr > 80.0, "{same:?}");
        let darker = original.compare(Fit::Cover, &shown(60)).unwrap();
        assert!(darker.ssim < same.ssim && darker.psnr < 20.0, "{darker:?}");
        assert_eq!(original.known.len(), 1);
        original.compare(Fit::Fill, &shown(90)).unwrap();
        assert_eq!(original.known.len(), 2);
    }

    #[test]
    fn a_photo_with_a_profile_is_no_reference() {
        let photo = jpeg(&PhotoSpec { width: 32, height: 32, ..PhotoSpec::default() });
        assert_eq!(Original::decode(&photo).unwrap().size(), (32, 32));
        // After the start of the image: an APP2 segment whose profile nobody reads.
        let mut tagged = photo[..2].to_vec();
        tagged.extend([0xFF, 0xE2, 0, 2 + 14 + 4]);
        tagged.extend(b"ICC_PROFILE\0\x01\x01none");
        tagged.extend(&photo[2..]);
        let error = Original::decode(&tagged).err().map(|error| error.to_string());
        assert_eq!(error.as_deref(), Some("it has a colour profile, which the reference does not apply"));
    }
}
