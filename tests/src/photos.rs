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

/// A file of the media engine's tests.
pub fn fixture(name: &str) -> Bytes {
    let path = format!("{}/../media/tests/data/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}")).into()
}

/// Whether a file tells latitude or longitude of the generated photo of this seed: degrees, minutes and seconds, as EXIF
/// has them.
pub fn tells_place(file: &[u8], seed: u64) -> bool {
    [(52, seed % 60), (13, seed / 60 % 60)].into_iter().any(|(degrees, minutes)| {
        let fields = [degrees, minutes as u32, 30].map(|value| [value, 1]);
        let bytes: Vec<u8> = fields.as_flattened().iter().flat_map(|field| field.to_le_bytes()).collect();
        file.windows(bytes.len()).any(|window| window == bytes)
    })
}
