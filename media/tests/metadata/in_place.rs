//! TIFF, AVIF and HEIC, in which everything keeps its place, and JPEG XL, which loses the boxes that are not its picture.

use super::*;

#[test]
fn of_a_tiff_remains_the_picture() {
    for big_endian in [false, true] {
        for build in [Block::build, forward] {
            let original = private_files::tiff(big_endian, build);
            let after = assert_public(&original, "TIFF");
            assert_eq!(found(&after).orientation, Orientation::Rotate90);
            assert_eq!(after[after.len() - 32..], original[original.len() - SECRET.len() - 32..][..32]);
            let tags = tags(&after);
            assert!(tags.contains(&exif::Tag::LensModel) && tags.contains(&exif::Tag::Orientation));
            assert!(!tags.iter().any(|tag| tag.context() == exif::Context::Gps), "{tags:?}");
        }
    }
}

#[test]
fn an_entry_of_a_tiff_may_count_more_than_its_text() {
    let image = vec![(0x013B, Value::Raw(2, [b"Ada\0", SECRET].concat()))];
    let block = tiff_of(&Block { image, ..Block::default() }, Block::build);
    // The text is the last thing in the file.
    let pixels = block[block.len() - 32..].to_vec();
    let mut original = [&block[..block.len() - 32 - 10], &pixels, b"Ada\0".as_slice(), SECRET].concat();
    let strip = memchr::memmem::find(&original, &[0x11, 0x01, 4, 0, 1, 0, 0, 0]).unwrap() + 8;
    let text = memchr::memmem::find(&original, &[0x3B, 0x01, 2, 0]).unwrap() + 8;
    let end = original.len() as u32;
    original[strip..strip + 4].copy_from_slice(&(end - 42).to_le_bytes());
    original[text..text + 4].copy_from_slice(&(end - 10).to_le_bytes());
    let after = without_private(&original, SourceFormat::Tiff).unwrap();
    assert!(tells_secret(&original) && !tells_secret(&after));
    assert_eq!(after.len(), original.len());
    assert!(tags(&after).contains(&exif::Tag::Artist));
    assert_eq!(picture(&after), picture(&original));
    assert_eq!(without_private(&after, SourceFormat::Tiff).unwrap(), after);
}

#[test]
fn tiffs_of_every_kind_stay_what_they_are() {
    let pixels = quadrants(13, 7);
    for (big_endian, big) in [(false, false), (true, false), (false, true), (true, true)] {
        for place in [Place::First, Place::Middle, Place::Last] {
            for (compression, compress) in [(5, lzw as fn(&[u8]) -> Vec<u8>), (8, deflate)] {
                let mut tiff = Tiff::new(13, 7).kind(2, 3, 8).with(278, SHORT, &[2]);
                (tiff.place, tiff.big_endian, tiff.big) = (place, big_endian, big);
                let tiff = tiff.with(259, SHORT, &[compression]).with_block(700, &[SECRET, b"<x>"].concat());
                let tiff = tiff.with_block(0x927C, SECRET).with_block(34_675, b"a profile");
                let strips = pixels.chunks(13 * 3 * 2);
                let original = strips.fold(tiff, |tiff, strip| tiff.chunk(compress(strip))).build();
                let after = without_private(&original, SourceFormat::Tiff).unwrap();
                assert!(tells_secret(&original) && !tells_secret(&after));
                assert_eq!(picture(&after), picture(&original), "{place:?} {big_endian} {big}");
                assert!(found(&after).has_profile);
                assert_eq!(without_private(&after, SourceFormat::Tiff).unwrap(), after);
            }
        }
    }
}

#[test]
fn of_a_big_tiff_nothing_private_is_told_under_another_name() {
    for big_endian in [false, true] {
        let original = private_files::big_tiff(big_endian);
        let after = assert_public(&original, "BigTIFF");
        assert_eq!(found(&after).capture.unwrap().lens.as_deref(), Some("RF24-70mm F2.8L"));
        for strip in [Strip::Private, Strip::None] {
            let preset = Preset { strip, ..Preset::new("kept", 8, 8, Fit::Inside) };
            let variant = variants(&original, &[preset]).1.swap_remove(0).bytes;
            assert!(!tells_secret(&variant), "{strip:?}");
            assert_eq!(tags(&variant), [exif::Tag::LensModel], "{strip:?}");
        }
    }
}

#[test]
fn the_jpegs_in_a_tiff_lose_their_segments() {
    let photo = jpeg(&PhotoSpec { width: 16, height: 8, ..PhotoSpec::default() });
    let hidden = [segment(0xFE, &[SECRET]), segment(0xE1, &[b"Exif\0\0", &camera(true).build()])].concat();
    let mut tiff = Tiff::new(16, 8).kind(6, 3, 8).with(259, SHORT, &[7]);
    tiff.place = Place::First;
    let original = tiff.clone().chunk([&photo[..2], &hidden, &photo[2..]].concat()).build();
    let after = assert_public(&original, "JPEG in a TIFF");
    assert_eq!(after.len(), original.len());
    let rubbish = tiff.chunk([&photo[..2], SECRET, &photo[2..]].concat()).build();
    assert_eq!(without_private(&rubbish, SourceFormat::Tiff).unwrap_err().code(), "corrupt-image");
}

#[test]
fn a_tiff_whose_pixels_cannot_be_told_from_the_rest_is_refused() {
    // Strips that do not say how long they are, and are compressed.
    let tiff = Tiff::new(13, 7).with(259, SHORT, &[5]).with(279, 4, &[0]).chunk(lzw(&[7; 91]));
    let error = without_private(&tiff.build(), SourceFormat::Tiff).unwrap_err();
    assert_eq!(error.code(), "unsupported-image", "{error}");
    // Without compression their length follows from the size.
    let plain = Tiff::new(13, 7).with(279, 4, &[0]).with_block(700, SECRET).chunk([7; 91]).build();
    let after = without_private(&plain, SourceFormat::Tiff).unwrap();
    assert!(tells_secret(&plain) && !tells_secret(&after));
    assert_eq!(picture(&after), picture(&plain));
    // The place stands inside the pixels.
    let block = Block { gps: camera(false).gps, ..Block::default() };
    let mut inside = tiff_of(&block, Block::build);
    let strip = memchr::memmem::find(&inside, &[0x11, 0x01, 4, 0, 1, 0, 0, 0]).unwrap();
    inside[strip + 8..strip + 12].copy_from_slice(&8_u32.to_le_bytes());
    let error = without_private(&inside, SourceFormat::Tiff).unwrap_err();
    assert!(error.to_string().contains("metadata lies inside its picture"), "{error}");
}

#[test]
fn strips_that_share_everything_do_not_take_for_ever() {
    // Each row claims the whole file.
    let tiff = Tiff::new(1, 4_000).with(278, SHORT, &[1]).chunk([7; 4_000]);
    let bytes = tiff.clone().build();
    let tiff = tiff.with(273, 4, &vec![8; 4_000]).with(279, 4, &vec![bytes.len() as u64 - 8; 4_000]);
    let error = without_private(&tiff.build(), SourceFormat::Tiff).unwrap_err();
    assert!(error.to_string().contains("parts overlap"), "{error}");
}

#[test]
fn of_an_avif_or_heic_remain_the_pictures() {
    let picture = || HeifFile::of(*b"avif", avif(1, (48, 32), &quadrants(48, 32), 8).1);
    let mut with_alpha = picture();
    let mut alpha = avif(2, (48, 32), &quadrants(48, 32), 8).1;
    alpha.properties.push(heif::says_alpha());
    with_alpha.items.push(alpha);
    with_alpha.references.push((*b"auxl", 2, vec![1]));
    let tile = |id| avif(id, (32, 16), &quadrants(32, 16), 8).1;
    let grid = heif::grid(*b"avif", 2, (50, 25), (1..=4).map(tile).collect());
    let files = [
        ("AVIF", picture()),
        ("with alpha", with_alpha),
        ("a grid", grid),
        #[cfg(feature = "heic")]
        ("HEIC", HeifFile::of(*b"heic", heif::hevc(1, (48, 32), [100, 110, 140]))),
    ];
    for (name, file) in files {
        let original = private_files::with_film(&private_files::heif(file));
        let after = assert_public(&original, name);
        let camera = found(&after).capture.unwrap();
        assert_eq!(camera.lens.as_deref(), Some("RF24-70mm F2.8 L IS USM"), "{name}");
        let tags = tags(&after);
        assert!(tags.contains(&exif::Tag::LensModel), "{name}");
        assert!(!tags.iter().any(|tag| tag.context() == exif::Context::Gps), "{name}: {tags:?}");
    }
}

#[test]
fn a_heif_file_that_cannot_be_cleaned_is_refused() {
    let file = private_files::heif(HeifFile::of(*b"avif", avif(1, (16, 16), &quadrants(16, 16), 8).1));
    let bytes = file.bytes();
    let sequence = [bytes.clone(), boxed(*b"moov", b"")].concat();
    let error = without_private(&sequence, SourceFormat::Avif).unwrap_err();
    assert_eq!(error.code(), "unsupported-image", "{error}");
    // The EXIF block claims to lie where the picture does.
    let picture_at = memchr::memmem::find(&bytes, b"mdat").unwrap() as u64 + 4;
    let exif_at = picture_at + file.items[0].data.len() as u64;
    let entry = memchr::memmem::find(&bytes, &exif_at.to_be_bytes()).unwrap();
    let mut inside = bytes;
    inside[entry..entry + 8].copy_from_slice(&picture_at.to_be_bytes());
    let error = without_private(&inside, SourceFormat::Avif).unwrap_err();
    assert!(error.to_string().contains("metadata lies inside its picture"), "{error}");
}

#[test]
fn of_a_jpeg_xl_remains_the_codestream() {
    let codestream = b"\xFF\x0Anobody looks into it".as_slice();
    let original = private_files::jxl(codestream);
    let after = without_private(&original, SourceFormat::Jxl).unwrap();
    assert!(tells_secret(&original) && !tells_secret(&after));
    assert!(after.ends_with(&boxed(*b"jxlc", codestream)));
    assert!(after.starts_with(&original[..32]));
    let exif_at = memchr::memmem::find(&after, b"Exif").unwrap();
    let fields = exif_blocks::fields(&after[exif_at + 8..after.len() - codestream.len() - 8]);
    assert!(fields.iter().any(|(tag, _)| *tag == 0xA434), "{fields:?}");
    assert_eq!(without_private(&after, SourceFormat::Jxl).unwrap(), after);
    assert_eq!(without_private(codestream, SourceFormat::Jxl).unwrap(), codestream);
    for length in 0..original.len() {
        if let Ok(cut) = without_private(&original[..length], SourceFormat::Jxl) {
            assert!(!tells_secret(&cut), "cut to {length} bytes");
        }
    }
}

#[cfg(feature = "jxl")]
#[test]
fn a_jpeg_xl_in_boxes_stays_the_same_picture() {
    use zune_core::{bit_depth::BitDepth, colorspace::ColorSpace};
    let codestream = jxl_files::encoded((48, 32), ColorSpace::RGB, BitDepth::Eight, &quadrants(48, 32));
    let after = assert_public(&private_files::jxl(&codestream), "JPEG XL");
    assert_eq!(found(&after).capture.unwrap().model.as_deref(), Some("EOS R5"));
}
