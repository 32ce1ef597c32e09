//! A new EXIF block from the part of an old one that may be shown.
//!
//! A block is never edited: what is wanted is copied into a new one, entry by entry, and everything that was not
//! understood stays behind. So do gaps between values, where editors leave what they removed, and entries whose values lie
//! where private ones do.

use std::ops::Range;

use super::tiff::{self, Entry, FRAME_BYTES, ORIENTATION, Order, Tiff, element_bytes, kind};

/// Longest block that is written, in bytes: what a JPEG's segment holds besides its length and `Exif\0\0`.
pub(super) const EXIF_BYTES_MAX: usize = 0xFFFF - 2 - tiff::PREFIX.len();

/// Tag of the copyright.
const COPYRIGHT: u16 = 0x8298;

/// What of an EXIF block is to remain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// Artist and copyright.
    Copyright,
    /// Those, and how the photo was taken: camera, lens, software, exposure, sensitivity, focal lengths, modes, colour
    /// space, and the times.
    Descriptive,
    /// Everything that EXIF defines for a picture, but what may tell a place, a person other than the author, or which
    /// copy of a camera it was: see [`is_private`].
    AllButPrivate,
}

/// Of the tags that a photo's first two directories may have (CIPA DC-008, tables 4 and 7 to 11), those that do not
/// say where or how its pixels are stored: these would be wrong in any other file.
///
/// Entries that neither TIFF nor EXIF define are left behind by every [`Keep`]: they are camera makers' and editors' own,
/// and may hold anything. So are pointers: to positions (GPS), to directories of thumbnails and raw data, to XMP
/// (0x02BC), IPTC (0x83BB) and Photoshop's blocks (0x8649).
const fn is_defined(tag: u16) -> bool {
    matches!(tag,
        // Description, make, model; resolution; transfer function, software, time; artist; white point and primaries.
        0x010E..=0x0110 | 0x011A | 0x011B | 0x0128 | 0x012D | 0x0131 | 0x0132 | 0x013B | 0x013E | 0x013F
        // YCbCr and reference values; ratings; copyright.
        | 0x0211..=0x0214 | 0x4746 | 0x4749 | 0x8298
        // Exposure, aperture, program, spectral sensitivity, ISO, conversion function; time zone, self-timer; sensitivities.
        | 0x829A | 0x829D | 0x8822 | 0x8824 | 0x8827 | 0x8828 | 0x882A | 0x882B | 0x8830..=0x8835
        // Version, times, offsets, components; APEX values, distance, metering, light, flash, focal length, subject area.
        | 0x9000 | 0x9003 | 0x9004 | 0x9010..=0x9012 | 0x9101 | 0x9102 | 0x9201..=0x920A | 0x9214
        // Maker note, user comment, fractions of seconds, temperature to elevation angle.
        | 0x927C | 0x9286 | 0x9290..=0x9292 | 0x9400..=0x9405
        // Flashpix version, colour space; sound file; flash energy to scene type and pattern.
        | 0xA000 | 0xA001 | 0xA004 | 0xA20B | 0xA20C | 0xA20E..=0xA210 | 0xA214 | 0xA215 | 0xA217 | 0xA300..=0xA302
        // Rendering to subject distance range; identities; lens; title to software; composite images; gamma.
        | 0xA401..=0xA40C | 0xA420 | 0xA430..=0xA43C | 0xA460..=0xA462 | 0xA500
    )
}

/// Of the defined tags those that may tell who or where: serial numbers, the camera's owner and the person who edited
/// (but not the author), whatever camera makers and programs write for themselves (maker note, device settings, user
/// comment), the name of a sound file, and temperature, pressure, depth and direction around the camera.
///
/// A user comment goes because it is mostly written by programs, position included. An image description, a title and a
/// photographer's name stay: they are written to be read.
const fn is_private(tag: u16) -> bool {
    matches!(
        tag,
        0x927C | 0x9286 | 0x9400..=0x9405 | 0xA004 | 0xA40B | 0xA420 | 0xA430 | 0xA431 | 0xA435 | 0xA438
    )
}

/// Artist and copyright.
const fn is_authorship(tag: u16) -> bool {
    matches!(tag, 0x013B | COPYRIGHT)
}

/// The entries of [`Keep::Descriptive`].
const fn is_descriptive(tag: u16) -> bool {
    matches!(tag,
        // Make, model, software, time, artist, copyright.
        0x010F | 0x0110 | 0x0131 | 0x0132 | 0x013B | 0x8298
        // Exposure, aperture, program, ISO and the other sensitivities.
        | 0x829A | 0x829D | 0x8822 | 0x8827 | 0x8830..=0x8835
        // Version, times and offsets; APEX values with bias, metering, light, flash and focal length, but not the distance.
        | 0x9000 | 0x9003 | 0x9004 | 0x9010..=0x9012 | 0x9201..=0x9205 | 0x9207..=0x920A | 0x9290..=0x9292
        // Colour space; sensing, file source and scene type; exposure mode, white balance, zoom, 35 mm, scene to sharpness.
        | 0xA001 | 0xA217 | 0xA300 | 0xA301 | 0xA401..=0xA40A
        // Lens specification, make and model.
        | 0xA432..=0xA434
    )
}

/// Entries that describe the others or the format: without others they say nothing.
const fn is_formal(tag: u16) -> bool {
    matches!(tag, 0x9000 | 0x9101 | 0xA000)
}

impl Keep {
    pub(super) const fn keeps(self, tag: u16) -> bool {
        match self {
            Self::Copyright => is_authorship(tag),
            Self::Descriptive => is_descriptive(tag),
            Self::AllButPrivate => is_defined(tag) && !is_private(tag),
        }
    }
}

/// Where private values of a block lie in memory. What claims to lie there as well would tell them under another name.
pub(super) struct Hidden(Vec<Range<usize>>);

fn addresses(value: &[u8]) -> Range<usize> {
    let range = value.as_ptr_range();
    range.start.addr()..range.end.addr()
}

impl Hidden {
    /// The GPS directory and its values, and those values of the others that [`is_private`].
    pub(super) fn of(tiff: &Tiff<'_>) -> Self {
        let (directory, gps) = tiff.gps();
        let private = tiff.image().chain(tiff.exif()).filter(|entry| is_private(entry.tag));
        // Shorter ones lie in their entries.
        let values = gps.into_iter().chain(private).map(|entry| entry.value).filter(|value| value.len() > 4);
        let all = values.chain(Some(directory).filter(|directory| !directory.is_empty()));
        let mut places: Vec<Range<usize>> = all.map(addresses).collect();
        places.sort_unstable_by_key(|place| place.start);
        places.dedup_by(|next, place| {
            let meet = next.start <= place.end;
            place.end = if meet { place.end.max(next.end) } else { place.end };
            meet
        });
        Self(places)
    }

    pub(super) fn touches(&self, value: &[u8]) -> bool {
        let value = addresses(value);
        let first = self.0.partition_point(|place| place.end <= value.start);
        self.0.get(first).is_some_and(|place| place.start < value.end)
    }
}

/// A new block with what `keep` keeps of an old one, which begins with its TIFF header or with `Exif\0\0` before it. The
/// new one begins with its TIFF header and has the old one's byte order.
///
/// It names no orientation and no size, because variants are stored upright. It has at most 65,527 bytes, and not many
/// more than the old one: of a block whose entries share their values only the first so many are kept. `None` if nothing
/// is left, or if the old block cannot be read.
pub(crate) fn filtered(exif: &[u8], keep: Keep) -> Option<Vec<u8>> {
    rebuilt(&Tiff::parse(exif)?, keep, None)
}

/// The same with the orientation that the old block names, for a file whose pixels stay as they are.
pub(super) fn filtered_as_stored(exif: &[u8], keep: Keep) -> Option<Vec<u8>> {
    rebuilt(&Tiff::parse(exif)?, keep, tiff::orientation(exif).map(crate::Orientation::exif))
}

fn rebuilt(tiff: &Tiff<'_>, keep: Keep, orientation: Option<u16>) -> Option<Vec<u8>> {
    let order = tiff.order();
    let bytes = tiff.bytes().len();
    // Values that a writer shared, such as two equal resolutions, are written twice, and odd ones are padded.
    let mut room = (bytes + bytes / 8 + 64).min(EXIF_BYTES_MAX).saturating_sub(FRAME_BYTES);
    let orientation = orientation.map(|number| order.short(number));
    let turned = orientation.as_ref().map(|value| turned(order, value));
    let hidden = Hidden::of(tiff);
    let is_kept = |entry: &Entry<'_>| keep.keeps(entry.tag);
    let image = selected(turned.into_iter().chain(tiff.image().filter(is_kept)), &hidden, &mut room);
    let exif = selected(tiff.exif().filter(is_kept), &hidden, &mut room);
    let says_something = image.iter().chain(&exif).any(|entry| !is_formal(entry.tag));
    says_something.then(|| tiff::write(order, &image, &exif))
}

/// The entry that names the orientation.
const fn turned(order: Order, value: &[u8]) -> Entry<'_> {
    Entry { tag: ORIENTATION, kind: kind::SHORT, order, value }
}

/// The first entry of each tag, sorted by tag, as far as there is room. Values are looked at last: a thousand entries may
/// name the same one.
fn selected<'a>(
    entries: impl Iterator<Item = Entry<'a>>,
    hidden: &Hidden,
    room: &mut usize,
) -> Vec<Entry<'a>> {
    // A BigTIFF has types that a block cannot.
    let can_be_written = |entry: &Entry<'_>| !entry.value.is_empty() && element_bytes(entry.kind).is_some();
    let mut entries: Vec<Entry<'a>> = entries.filter(can_be_written).collect();
    entries.sort_by_key(|entry| entry.tag);
    entries.dedup_by_key(|entry| entry.tag);
    entries.retain_mut(|entry| {
        *entry = terminated(*entry, *room);
        if hidden.touches(entry.value) {
            return false;
        }
        let left = room.checked_sub(entry.written_bytes());
        *room = left.unwrap_or(*room);
        left.is_some()
    });
    entries
}

/// A text up to its terminator, if that is among its first bytes: its entry may count more, which are left from a longer
/// text or are a neighbour's. A copyright has two texts, the second the editor's.
pub(super) fn terminated(entry: Entry<'_>, searched: usize) -> Entry<'_> {
    let texts = if entry.tag == COPYRIGHT { 2 } else { 1 };
    let Some(text) = entry.text() else { return entry };
    let front = &text[..text.len().min(searched)];
    let last = memchr::memchr_iter(0, front).take(texts).last();
    Entry { value: last.map_or(text, |at| &text[..=at]), ..entry }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::metadata::sample::{Block, SECRET, Value, camera, fields, tells_secret};

    const KEEPS: [Keep; 3] = [Keep::Copyright, Keep::Descriptive, Keep::AllButPrivate];

    fn tags(block: &[u8]) -> Vec<u16> {
        fields(block).into_iter().map(|(tag, _)| tag).collect()
    }

    #[test]
    fn of_a_cameras_block_remains_what_was_asked_for() {
        for big_endian in [false, true] {
            let original = camera(big_endian).build();
            assert!(tells_secret(&original));
            let kept = |keep| filtered(&original, keep).unwrap();
            assert_eq!(tags(&kept(Keep::Copyright)), [0x013B, 0x8298]);
            let descriptive = [
                0x010F, 0x0110, 0x0131, 0x0132, 0x013B, 0x8298, 0x829A, 0x829D, 0x8827, 0x9000, 0x9003,
                0x9011, 0x9204, 0x9207, 0x9209, 0x920A, 0x9291, 0xA001, 0xA403, 0xA405, 0xA432, 0xA433,
                0xA434,
            ];
            assert_eq!(tags(&kept(Keep::Descriptive)), descriptive);
            let mut all = descriptive.to_vec();
            all.extend([0x010E, 0x011A, 0x011B]);
            let mut found = tags(&kept(Keep::AllButPrivate));
            found.sort_unstable();
            all.sort_unstable();
            assert_eq!(found, all);
            for keep in KEEPS {
                assert!(!tells_secret(&kept(keep)), "{keep:?}");
                assert_eq!(kept(keep)[..2], original[..2]);
                // Values are the same to another reader, wherever they lie.
                let before = fields(&original_without_gps(big_endian));
                for field in fields(&kept(keep)) {
                    assert!(before.contains(&field), "{field:?} in {before:?}");
                }
            }
        }
    }

    /// The camera's block as far as `fields` reads any.
    fn original_without_gps(big_endian: bool) -> Vec<u8> {
        Block { gps: Vec::new(), thumbnail: Vec::new(), ..camera(big_endian) }.build()
    }

    #[test]
    fn the_orientation_remains_only_where_pixels_do() {
        let original = camera(true).build();
        assert_eq!(tiff::orientation(&filtered(&original, Keep::AllButPrivate).unwrap()), None);
        let stored = filtered_as_stored(&original, Keep::AllButPrivate).unwrap();
        assert_eq!(tiff::orientation(&stored), Some(crate::Orientation::Rotate90));
        assert!(!tells_secret(&stored));
        let upright = Block { image: vec![(ORIENTATION, Value::Short(6))], ..Block::default() }.build();
        assert_eq!(filtered(&upright, Keep::AllButPrivate), None);
        let prefixed = [tiff::PREFIX, &upright].concat();
        assert_eq!(fields(&filtered_as_stored(&prefixed, Keep::Copyright).unwrap()).len(), 1);
        // Of 0, which means unknown, and of two, nothing wrong is made.
        let image = vec![(ORIENTATION, Value::Short(0)), (ORIENTATION, Value::Short(3))];
        let unknown = Block { image, ..Block::default() }.build();
        assert_eq!(filtered_as_stored(&unknown, Keep::AllButPrivate), None);
    }

    #[test]
    fn filtering_twice_changes_nothing_more() {
        for keep in KEEPS {
            let once = filtered(&camera(false).build(), keep).unwrap();
            assert_eq!(filtered(&once, keep).as_ref(), Some(&once));
        }
    }

    #[test]
    fn where_nothing_is_left_there_is_no_block() {
        let secrets = Block {
            exif: vec![(0x9000, Value::Raw(7, b"0232".to_vec())), (0x927C, Value::secret(7))],
            gps: camera(false).gps,
            ..Block::default()
        };
        for keep in KEEPS {
            assert_eq!(filtered(&secrets.build(), keep), None);
            assert_eq!(filtered(b"", keep), None);
            assert_eq!(filtered(b"Exif\0\0II*\0", keep), None);
        }
    }

    #[test]
    fn pointers_to_nowhere_and_counts_that_overflow_cost_only_themselves() {
        let mut image = camera(false).image;
        image.extend([(0x8769, Value::Long(u32::MAX)), (0x8825, Value::Long(3)), (0x014A, Value::Long(0))]);
        let lost = Block { image, ..Block::default() }.build();
        assert_eq!(filtered(&lost, Keep::Copyright).map(|block| tags(&block)), Some(vec![0x013B, 0x8298]));

        let whole = Block {
            image: vec![(0x013B, Value::text("Ada")), (0x010F, Value::text("Maker"))],
            ..Block::default()
        };
        let mut overflowing = whole.build();
        let make = memchr::memmem::find(&overflowing, b"\x0F\x01\x02\0").unwrap();
        overflowing[make + 4..make + 8].fill(0xFF);
        assert_eq!(filtered(&overflowing, Keep::Descriptive).map(|block| tags(&block)), Some(vec![0x013B]));
    }

    #[test]
    fn a_text_ends_at_its_terminator() {
        // The entry counts two bytes too many, which are a neighbour's.
        let long = Block {
            image: vec![(0x013B, Value::Raw(2, b"Ada Lovelace\0SECRET".to_vec()))],
            ..Block::default()
        };
        let kept = filtered(&long.build(), Keep::Copyright).unwrap();
        assert!(!tells_secret(&kept));
        assert_eq!(fields(&kept), [(0x013B, "\"Ada Lovelace\"".to_owned())]);
        let third = Block {
            image: vec![(0x8298, Value::Raw(2, b"Ada\0Bob\0SECRET\0".to_vec()))],
            ..Block::default()
        };
        let kept = filtered(&third.build(), Keep::Copyright).unwrap();
        assert!(!tells_secret(&kept) && memchr::memmem::find(&kept, b"Ada\0Bob\0").is_some());
    }

    #[test]
    fn nothing_private_is_told_under_another_name() {
        for (tag, kind) in [(0x010E, 2_u16), (0xA302, 7), (0x8298, 2)] {
            for big_endian in [false, true] {
                // An entry that counts on from its own value over the place, the serial number, or all of the block.
                let image = vec![(0x010F, Value::text("Maker")), (tag, Value::Raw(kind, vec![b'x'; 6]))];
                let exif = vec![(0xA431, Value::secret(2))];
                let gps = vec![(2, Value::secret(5))];
                let block = Block { big_endian, image, exif, gps, thumbnail: Vec::new() }.build();
                let long = |value: u32| if big_endian { value.to_be_bytes() } else { value.to_le_bytes() };
                let short = if big_endian { tag.to_be_bytes() } else { tag.to_le_bytes() };
                let first: [u8; 4] = block[4..8].try_into().unwrap();
                let first = if big_endian { u32::from_be_bytes(first) } else { u32::from_le_bytes(first) };
                let entry = first as usize + 2 + 12;
                assert_eq!(block[entry..entry + 2], short);
                for secret in memchr::memmem::find_iter(&block, SECRET) {
                    for (at, count) in [(secret, 6), (8, block.len() - 8), (secret + 5, 10)] {
                        let mut bytes = block.clone();
                        bytes[entry + 4..entry + 8].copy_from_slice(&long(count as u32));
                        bytes[entry + 8..entry + 12].copy_from_slice(&long(at as u32));
                        for keep in KEEPS {
                            let kept = filtered(&bytes, keep).map(|kept| tags(&kept)).unwrap_or_default();
                            let expected: &[u16] = if keep == Keep::Copyright { &[] } else { &[0x010F] };
                            assert_eq!(kept, expected, "{tag:04X} at {at}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn values_that_are_shared_do_not_make_a_block_grow() {
        // A hundred entries of which each is nearly the whole block.
        let image: Vec<_> =
            (0..100_u16).map(|index| (0xA401 + index % 10, Value::Raw(7, vec![7; 6]))).collect();
        let tags = [0x829A, 0x829D, 0x8822, 0x8827, 0x9003, 0x9004, 0x9010, 0x9011, 0x9012, 0x9201, 0x9202];
        let mut block = Block { image: image[..10].to_vec(), ..Block::default() };
        block.image.extend(tags.map(|tag| (tag, Value::Raw(7, vec![7; 6]))));
        block.thumbnail = vec![1; 30_000];
        let mut bytes = block.build();
        let first = u32::from_le_bytes(bytes[4..8].try_into().unwrap()) as usize;
        for index in 0..block.image.len() {
            let entry = first + 2 + index * 12;
            bytes[entry + 4..entry + 8].copy_from_slice(&30_000_u32.to_le_bytes());
            bytes[entry + 8..entry + 12].copy_from_slice(&8_u32.to_le_bytes());
        }
        let kept = filtered(&bytes, Keep::AllButPrivate).unwrap();
        assert!(kept.len() <= bytes.len() + bytes.len() / 8 + 64, "{} of {}", kept.len(), bytes.len());
        assert_eq!(fields(&kept).len(), 1);
    }

    /// Entries in any order, of any tag and type.
    fn any_fields() -> impl Strategy<Value = Vec<(u16, Value)>> {
        let known: Vec<u16> = (0..=u16::MAX).filter(|tag| is_defined(*tag) || is_descriptive(*tag)).collect();
        let tag = prop_oneof![prop::sample::select(known), any::<u16>()];
        let kind = prop::sample::select(vec![1_u16, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 129]);
        prop::collection::vec((tag, kind), 0..40).prop_map(|fields| {
            let is_shown = |tag| (is_defined(tag) && !is_private(tag)) || tag == ORIENTATION;
            let shown = |kind| Value::Raw(kind, b"sixteen of these".to_vec());
            let value = |(tag, kind)| (tag, if is_shown(tag) { shown(kind) } else { Value::secret(kind) });
            // Pointers would make other directories of these.
            fields.into_iter().filter(|(tag, _)| ![0x8769, 0x8825].contains(tag)).map(value).collect()
        })
    }

    proptest! {
        #[test]
        fn no_secret_is_ever_kept(big_endian: bool, image in any_fields(), exif in any_fields()) {
            let Block { gps, thumbnail, .. } = camera(big_endian);
            let block = Block { big_endian, image, exif, gps, thumbnail }.build();
            for keep in KEEPS {
                for kept in [filtered(&block, keep), filtered_as_stored(&block, keep)].into_iter().flatten() {
                    prop_assert!(!tells_secret(&kept));
                    prop_assert!(kept.len() <= block.len() + block.len() / 8 + 64);
                }
            }
        }

        /// Whatever a block is damaged to, only what may be kept is, and only as much as fits.
        #[test]
        fn damaged_blocks_are_filtered_like_others(
            big_endian: bool,
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..20),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut block = camera(big_endian).build();
            for (at, value) in damage {
                let index = at.index(block.len());
                block[index] = value;
            }
            block.truncate(cut.index(block.len()) + 1);
            for keep in KEEPS {
                let Some(kept) = filtered(&block, keep) else { continue };
                prop_assert!(kept.len() <= block.len() + block.len() / 8 + 64);
                let tiff = Tiff::parse(&kept).unwrap();
                for entry in tiff.image().chain(tiff.exif()) {
                    prop_assert!(entry.tag == 0x8769 || keep.keeps(entry.tag), "{:04X}", entry.tag);
                }
                prop_assert_eq!(filtered(&kept, keep), Some(kept));
            }
        }

        #[test]
        fn rubbish_is_filtered_to_something_or_nothing(mut bytes in prop::collection::vec(any::<u8>(), 0..300), header in 0..3) {
            let headers: [&[u8]; 3] = [b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08", b""];
            bytes.splice(..0, headers[header as usize].iter().copied());
            for keep in KEEPS {
                if let Some(kept) = filtered(&bytes, keep) {
                    prop_assert!(Tiff::parse(&kept).is_some());
                }
            }
        }
    }

    #[test]
    fn the_secret_is_long_enough_to_be_one() {
        assert!(
            SECRET.len() > 4,
            "shorter ones would stand inside the entries, and could be there by chance"
        );
    }
}
