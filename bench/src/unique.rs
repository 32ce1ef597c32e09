//! Photos that are each new, made faster than they are sent: one picture, in whose comment segment a number stands. So every
//! one has another digest, and none is a duplicate.

use bytes::Bytes;
use darkroom_media::synth::{PhotoSpec, jpeg};
use rand::RngCore;

/// The two bytes that a JPEG begins with.
const START: usize = 2;
/// A comment segment of 16 bytes: its marker, and its length with the two bytes of the length itself (ITU-T T.81, B.2.4.5).
const COMMENT: [u8; 4] = [0xff, 0xfe, 0, 18];

/// A picture that is sent under many numbers.
#[derive(Debug, Clone)]
pub(crate) struct Unique {
    picture: Vec<u8>,
    /// Tells this run from others against the same server.
    run: u64,
    first: u64,
}

impl Unique {
    /// Their type.
    pub(crate) const MIME: &'static str = "image/jpeg";

    /// Photos of this size and quality.
    pub(crate) fn new(width: u32, height: u32, quality: u8) -> Self {
        let picture = jpeg(&PhotoSpec { width, height, quality, ..PhotoSpec::default() });
        Self { picture, run: rand::rng().next_u64(), first: 0 }
    }

    /// The photos from this number on.
    pub(crate) fn from(&self, first: u64) -> Self {
        Self { first: self.first + first, ..self.clone() }
    }

    /// The photo with this number.
    pub(crate) fn photo(&self, number: u64) -> Bytes {
        let mut bytes = Vec::with_capacity(self.bytes());
        bytes.extend_from_slice(&self.picture[..START]);
        bytes.extend_from_slice(&COMMENT);
        bytes.extend_from_slice(&self.run.to_be_bytes());
        bytes.extend_from_slice(&(self.first + number).to_be_bytes());
        bytes.extend_from_slice(&self.picture[START..]);
        bytes.into()
    }

    /// Bytes of each.
    pub(crate) fn bytes(&self) -> usize {
        self.picture.len() + COMMENT.len() + 2 * size_of::<u64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::probe_only;

    #[test]
    fn each_is_a_photo_and_another_one() {
        let unique = Unique::new(80, 64, 80);
        let photos: Vec<Bytes> = (0..4).map(|number| unique.photo(number)).collect();
        for (index, photo) in photos.iter().enumerate() {
            let probed = probe_only(photo).unwrap();
            assert_eq!((probed.width, probed.height, photo.len()), (80, 64, unique.bytes()));
            assert!(!photos[..index].contains(photo));
        }
        assert_eq!(unique.from(3).photo(0), photos[3]);
        assert_ne!(Unique::new(80, 64, 80).photo(0), photos[0], "another run");
    }
}
