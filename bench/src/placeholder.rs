//! ThumbHash and BlurHash as pictures again, by decoders of others: a hash that says something else is seen.

use anyhow::anyhow;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Longest side of what a BlurHash becomes; a ThumbHash becomes as much by itself.
const SIDE: u32 = 32;

/// A small picture as a PNG.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Placeholder {
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// Straight alpha, four bytes per pixel.
    pixels: Vec<u8>,
}

impl Placeholder {
    /// From base64.
    pub(crate) fn of_thumbhash(hash: &str) -> anyhow::Result<Self> {
        let bytes = STANDARD.decode(hash).map_err(|error| anyhow!("the ThumbHash is not base64: {error}"))?;
        let (width, height, pixels) =
            thumbhash::thumb_hash_to_rgba(&bytes).map_err(|()| anyhow!("the ThumbHash is too short"))?;
        Ok(Self { width: width.try_into()?, height: height.try_into()?, pixels })
    }

    /// For a photo of the given width and height, each at least 1, whose aspect the hash does not hold.
    pub(crate) fn of_blurhash(hash: &str, (width, height): (u32, u32)) -> anyhow::Result<Self> {
        let longest = f64::from(width.max(height));
        let side = |length: u32| ((f64::from(length) / longest * f64::from(SIDE)).round() as u32).max(1);
        let (width, height) = (side(width), side(height));
        let pixels = blurhash::decode(hash, width, height, 1.0)
            .map_err(|error| anyhow!("the BlurHash cannot be decoded: {error}"))?;
        Ok(Self { width, height, pixels })
    }

    pub(crate) fn png(&self) -> anyhow::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, self.width, self.height);
        encoder.set_color(png::ColorType::Rgba);
        encoder.write_header()?.write_image_data(&self.pixels)?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::Picture;

    /// Of a picture whose red grows to the right and whose green grows downwards (vectors of the reference encoders).
    const THUMBHASH: &str = "3wcKNZpwd3dwd3d3d3d3d4CACPiI";
    const BLURHASH: &str = "LxG[?U2mwxX0l~WEjte=gJfdfQfb";

    fn assert_shows_the_picture(placeholder: &Placeholder, size: (usize, usize)) {
        let shown = Picture::decode(&placeholder.png().unwrap()).unwrap();
        assert_eq!((shown.width, shown.height), size);
        let at = |x: usize, y: usize| shown.pixels[y * shown.width + x].map(i32::from);
        let (right, bottom) = (shown.width - 1, shown.height - 1);
        for y in [0, bottom] {
            assert!(at(right, y)[0] > at(0, y)[0] + 100, "red: {:?} {:?}", at(0, y), at(right, y));
        }
        for x in [0, right] {
            assert!(at(x, bottom)[1] > at(x, 0)[1] + 100, "green: {:?} {:?}", at(x, 0), at(x, bottom));
        }
    }

    #[test]
    fn hashes_become_the_picture_again() {
        assert_shows_the_picture(&Placeholder::of_thumbhash(THUMBHASH).unwrap(), (32, 23));
        assert_shows_the_picture(&Placeholder::of_blurhash(BLURHASH, (4032, 3024)).unwrap(), (32, 24));
        let narrow = Placeholder::of_blurhash(BLURHASH, (1, 9000)).unwrap();
        assert_eq!((narrow.width, narrow.height), (1, 32));
    }

    #[test]
    fn what_is_no_hash_is_refused() {
        for hash in ["", "3w==", "no base64"] {
            assert!(Placeholder::of_thumbhash(hash).is_err(), "{hash}");
        }
        for hash in ["", "LxG[", "Lx G?U2mwxX0l~WEjte=gJfdfQf"] {
            assert!(Placeholder::of_blurhash(hash, (4, 3)).is_err(), "{hash}");
        }
    }
}
