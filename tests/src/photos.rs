//! Pictures to upload.

use bytes::Bytes;
use darkroom_media::Orientation;
use darkroom_media::synth::{PhotoSpec, jpeg};

/// A JPEG of this size; different for every seed.
pub fn photo(seed: u64, width: u32, height: u32) -> Bytes {
    oriented(seed, width, height, Orientation::Upright)
}

/// The same, with an EXIF orientation.
pub fn oriented(seed: u64, width: u32, height: u32, orientation: Orientation) -> Bytes {
    jpeg(&PhotoSpec { seed, width, height, quality: 92, progressive: false, orientation }).into()
}

/// 12 megapixels, as from a phone held upright.
pub fn phone(seed: u64) -> Bytes {
    oriented(seed, 4032, 3024, Orientation::from_exif(6).expect("a valid orientation"))
}

/// Width and height of a picture.
pub fn size(bytes: &[u8]) -> (u32, u32) {
    darkroom_media::probe(bytes, &darkroom_media::Limits::default()).expect("a picture").shown_size()
}
