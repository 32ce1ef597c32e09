//! What streams do on their way: they come in pieces, and with bytes that are not those that were sent.

use std::fmt;
use std::ops::Range;

use darkroom_media::{DecodedPhoto, Limits, MediaError, Probe, Prober, Scratch, decode, probe};
use proptest::prelude::*;

/// What is found in a stream that comes in these pieces.
pub(crate) fn fed(
    pieces: impl IntoIterator<Item = impl AsRef<[u8]>>,
    limits: &Limits,
) -> Result<Probe, MediaError> {
    let mut prober = Prober::new(limits.clone());
    for piece in pieces {
        prober.feed(piece.as_ref())?;
    }
    prober.finish()
}

/// Probes and decodes.
pub(crate) fn decoded(bytes: &[u8], limits: &Limits) -> Result<DecodedPhoto, MediaError> {
    decode(bytes, &probe(bytes, limits)?, limits, &mut Scratch::default())
}

/// Cuts a stream at these places, each counted round and round it. Some pieces may be empty.
pub(crate) fn cut(bytes: &[u8], cuts: Vec<usize>) -> Vec<&[u8]> {
    let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut % bytes.len()).collect();
    cuts.extend([0, bytes.len()]);
    cuts.sort_unstable();
    cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

/// Some places to cut a stream at.
pub(crate) fn cuts() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(any::<usize>(), 0..20)
}

/// A file in which some bytes have other values.
#[derive(Clone)]
pub(crate) struct Damaged {
    pub(crate) bytes: Vec<u8>,
    name: &'static str,
    damage: Vec<(usize, u8)>,
}

/// A failure is told by what was done to which file: its bytes would say nothing to anyone.
impl fmt::Debug for Damaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} with {:?}", self.name, self.damage)
    }
}

/// One of the files, with so many of its bytes changed.
pub(crate) fn damaged(
    files: Vec<(&'static str, Vec<u8>)>,
    changes: Range<usize>,
) -> impl Strategy<Value = Damaged> {
    let changed = (0..files.len(), prop::collection::vec((any::<usize>(), any::<u8>()), changes));
    changed.prop_map(move |(file, mut damage)| {
        let (name, mut bytes) = files[file].clone();
        for (place, value) in &mut damage {
            *place %= bytes.len();
            bytes[*place] = *value;
        }
        Damaged { bytes, name, damage }
    })
}

/// Puts something behind an image, which must not matter. An image that `tells_its_end` must be found to end there.
pub(crate) fn assert_more_is_ignored(name: &str, bytes: &[u8], tells_its_end: bool) {
    let limits = Limits::default();
    let whole = probe(bytes, &limits).unwrap();
    let longer = [bytes, b"\xFF\xD8\xFFanother image"].concat();
    let found = probe(&longer, &limits).unwrap();
    let image_bytes = if tells_its_end { whole.image_bytes } else { found.image_bytes };
    assert_eq!(found, Probe { bytes: longer.len() as u64, image_bytes, ..whole }, "{name}");
    let photo = decode(&longer, &found, &limits, &mut Scratch::default());
    assert!(photo.is_ok(), "{name}: {photo:?}");
}

/// Whatever the bytes are, the cutting does not matter, nothing panics, and what the probe lets through is decoded or
/// refused.
pub(crate) fn assert_harmless(bytes: &[u8], piece: usize) {
    // Damage may name a large size, which is allowed but slow to decode many times.
    let small = Limits { pixels_max: 1 << 16, ..Limits::default() };
    let whole = probe(bytes, &small);
    assert_eq!(fed(bytes.chunks(piece), &small), whole);
    if let Ok(found) = whole {
        let _ = decode(bytes, &found, &small, &mut Scratch::default());
    }
}

/// When a prober knew something, in bytes of the stream.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known {
    pub(crate) format_at: usize,
    pub(crate) size_at: usize,
}

/// Feeds a whole image byte by byte. The format that the prober names at the end must be what the image is.
pub(crate) fn known(name: &str, bytes: &[u8]) -> Known {
    let mut prober = Prober::new(Limits::default());
    let (mut format_at, mut size_at) = (None, None);
    for (index, byte) in bytes.iter().enumerate() {
        prober.feed(&[*byte]).unwrap();
        format_at = format_at.or_else(|| prober.format().map(|_| index + 1));
        size_at = size_at.or_else(|| prober.size_known().then_some(index + 1));
    }
    let format = prober.format();
    assert_eq!(format, Some(prober.finish().unwrap().format), "{name}");
    let (Some(format_at), Some(size_at)) = (format_at, size_at) else {
        panic!("{name}: {format:?}, known at {format_at:?}, its size at {size_at:?}");
    };
    Known { format_at, size_at }
}
