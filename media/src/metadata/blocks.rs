//! EXIF and colour profile out of an original.

use std::io::Read;

use flate2::read::ZlibDecoder;

use super::boxes::boxes;
use super::exif::{Keep, filtered_as_stored};
use super::jpeg::{Part, Parts, marker, name};
use super::tiff::Tiff;
use super::{png, webp};
use crate::heif;
use crate::{Limits, SourceFormat};

/// Longest name of a colour profile in a PNG, in bytes (ISO/IEC 15948, section 11.3.2.3).
const PROFILE_NAME_BYTES_MAX: usize = 79;

/// The metadata that concerns a variant. A block that is broken, incomplete or beyond the limits is none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Blocks {
    /// The first EXIF block whose header can be read, from its TIFF header on.
    pub(crate) exif: Option<Vec<u8>>,
    /// The colour profile, inflated. Not looked into.
    pub(crate) icc: Option<Vec<u8>>,
}

/// Reads the blocks of an original. Never fails, and holds nothing beyond the limits.
///
/// Profiles it reads of JPEG, PNG and WebP only: a GIF's colours are sRGB, and the decoders of the others hand theirs out.
pub(crate) fn blocks(original: &[u8], format: SourceFormat, limits: &Limits) -> Blocks {
    match format {
        SourceFormat::Jpeg => of_jpeg(original, limits),
        SourceFormat::Png => of_png(original, limits),
        SourceFormat::WebP => of_webp(original, limits),
        SourceFormat::Avif | SourceFormat::Heic => {
            Blocks { exif: heif::exif_item(original).and_then(|block| exif_within(block, limits)), icc: None }
        }
        SourceFormat::Jxl => Blocks { exif: of_jxl(original, limits), icc: None },
        // The file itself is the block: a small one is made of what could remain of it anyhow.
        SourceFormat::Tiff => {
            let block = filtered_as_stored(original, Keep::AllButPrivate);
            Blocks {
                exif: block.filter(|block| block.len() <= limits.metadata_bytes_max as usize),
                icc: None,
            }
        }
        SourceFormat::Gif | SourceFormat::Bmp => Blocks::default(),
    }
}

fn of_jxl(original: &[u8], limits: &Limits) -> Option<Vec<u8>> {
    let whole = 0..original.len();
    let mut parts = boxes(original, &whole).filter(|part| part.complete && &part.kind == b"Exif");
    parts.find_map(|part| exif_within(heif::exif_block(&original[part.content])?, limits))
}

/// The TIFF structure of an EXIF block within the limits.
fn exif_within(block: &[u8], limits: &Limits) -> Option<Vec<u8>> {
    let within = block.len() <= limits.metadata_bytes_max as usize;
    Tiff::parse(block).filter(|_| within).map(|tiff| tiff.bytes().to_vec())
}

/// A colour profile within the limits.
fn icc_within(profile: &[u8], limits: &Limits) -> Option<Vec<u8>> {
    limits.allow_profile(profile).then(|| profile.to_vec())
}

fn of_jpeg(original: &[u8], limits: &Limits) -> Blocks {
    let mut exif = None;
    let mut profile = Profile::default();
    let parts = Parts::new(original).into_iter().flatten();
    // Both stand before the pixels, which need not be searched.
    let segments = parts.map_while(|part| match part {
        Ok(Part::Segment { code, payload }) if code != marker::SOS => Some((code, payload)),
        _ => None,
    });
    for (code, payload) in segments {
        match code {
            marker::APP1 if exif.is_none() && payload.starts_with(name::EXIF) => {
                exif = exif_within(payload, limits);
            }
            marker::APP2 => {
                if let Some(piece) = payload.strip_prefix(name::ICC) {
                    profile.add(piece);
                }
            }
            _ => {}
        }
    }
    Blocks { exif, icc: profile.joined(limits) }
}

/// A colour profile in numbered pieces (ICC.1:2022, annex B.4).
#[derive(Debug, Default)]
struct Profile<'a> {
    /// By number, which counts from 1.
    pieces: Vec<Option<&'a [u8]>>,
    broken: bool,
}

impl<'a> Profile<'a> {
    /// Takes a piece that begins with its number and the number of all.
    fn add(&mut self, piece: &'a [u8]) {
        let [number, count, data @ ..] = piece else {
            self.broken = true;
            return;
        };
        if self.pieces.is_empty() {
            self.pieces = vec![None; usize::from(*count)];
        }
        let known = self.pieces.len() == usize::from(*count);
        let index = usize::from(*number).checked_sub(1);
        match index.and_then(|index| self.pieces.get_mut(index)) {
            Some(place @ None) if known => *place = Some(data),
            _ => self.broken = true,
        }
    }

    fn joined(&self, limits: &Limits) -> Option<Vec<u8>> {
        let pieces: Vec<&[u8]> = self.pieces.iter().copied().collect::<Option<_>>()?;
        let bytes: usize = pieces.iter().map(|piece| piece.len()).sum();
        let within = bytes > 0 && bytes <= limits.icc_bytes_max as usize;
        (within && !self.broken).then(|| pieces.concat())
    }
}

fn of_png(original: &[u8], limits: &Limits) -> Blocks {
    let mut found = Blocks::default();
    // EXIF may also stand behind the pixels, the profile may not. Only one may stand there at all: a second is not tried,
    // since each could inflate to the limit.
    let mut profile_may_come = true;
    for chunk in png::Chunks::new(original).into_iter().flatten().filter(|chunk| chunk.complete) {
        match &chunk.kind {
            b"IDAT" => profile_may_come = false,
            b"eXIf" if found.exif.is_none() => found.exif = exif_within(chunk.data, limits),
            b"iCCP" if profile_may_come => {
                profile_may_come = false;
                found.icc = inflated(chunk.data, limits);
            }
            _ => {}
        }
    }
    found
}

/// The profile in an iCCP chunk: a name, a zero, the compression method 0, and a zlib stream.
fn inflated(chunk: &[u8], limits: &Limits) -> Option<Vec<u8>> {
    let name_bytes = chunk.iter().take(PROFILE_NAME_BYTES_MAX + 1).position(|byte| *byte == 0)?;
    let stream = chunk.get(name_bytes + 1..)?.strip_prefix(&[0])?;
    let bytes_max = u64::from(limits.icc_bytes_max);
    let mut profile = Vec::new();
    // One byte more than allowed tells that it goes on.
    ZlibDecoder::new(stream).take(bytes_max + 1).read_to_end(&mut profile).ok()?;
    profile.shrink_to_fit();
    (!profile.is_empty() && profile.len() as u64 <= bytes_max).then_some(profile)
}

fn of_webp(original: &[u8], limits: &Limits) -> Blocks {
    let mut found = Blocks::default();
    for chunk in webp::Chunks::new(original).into_iter().flatten().filter(|chunk| chunk.complete) {
        match &chunk.code {
            b"EXIF" if found.exif.is_none() => found.exif = exif_within(chunk.data, limits),
            b"ICCP" if found.icc.is_none() => found.icc = icc_within(chunk.data, limits),
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::OutputFormat;
    use crate::metadata::jpeg::push_segment;
    use crate::metadata::sample::camera;
    use crate::metadata::{capture, embed};
    use crate::synth::{PhotoSpec, jpeg};

    fn limits() -> Limits {
        Limits::default()
    }

    /// Numbers that do not deflate to nothing, and repeat nowhere.
    fn profile(bytes: usize) -> Vec<u8> {
        (0..bytes as u32)
            .flat_map(|index| index.wrapping_mul(2_654_435_761).to_be_bytes())
            .take(bytes)
            .collect()
    }

    fn photo() -> Vec<u8> {
        jpeg(&PhotoSpec { width: 40, height: 24, ..PhotoSpec::default() })
    }

    /// A JPEG with pieces of a profile: number, count and data of each.
    fn with_pieces(pieces: &[(u8, u8, &[u8])]) -> Vec<u8> {
        let photo = photo();
        let mut out = photo[..2].to_vec();
        for (number, count, data) in pieces {
            push_segment(&mut out, marker::APP2, &[name::ICC, &[*number, *count]].concat(), data);
        }
        out.extend(&photo[2..]);
        out
    }

    #[test]
    fn a_profile_in_pieces_is_joined_in_the_order_of_their_numbers() {
        let icc =
            |pieces: &[(u8, u8, &[u8])]| blocks(&with_pieces(pieces), SourceFormat::Jpeg, &limits()).icc;
        assert_eq!(icc(&[(1, 1, b"all")]).as_deref(), Some(b"all".as_slice()));
        assert_eq!(icc(&[(3, 3, b"c"), (1, 3, b"a"), (2, 3, b"b")]).as_deref(), Some(b"abc".as_slice()));
        let broken: [&[(u8, u8, &[u8])]; 8] = [
            &[],
            &[(1, 2, b"a")],
            &[(2, 2, b"b")],
            &[(1, 2, b"a"), (2, 3, b"b")],
            &[(1, 2, b"a"), (1, 2, b"a"), (2, 2, b"b")],
            &[(0, 1, b"a")],
            &[(1, 0, b"a")],
            &[(1, 1, b"")],
        ];
        for pieces in broken {
            assert_eq!(icc(pieces), None, "{pieces:?}");
        }
        // A piece without numbers spoils the others.
        let mut short = photo()[..2].to_vec();
        push_segment(&mut short, marker::APP2, name::ICC, &[1]);
        push_segment(&mut short, marker::APP2, name::ICC, &[1, 1, b'a']);
        assert_eq!(blocks(&short, SourceFormat::Jpeg, &limits()), Blocks::default());
    }

    #[test]
    fn of_several_exif_blocks_the_first_readable_one_counts() {
        let photo = photo();
        let mut file = photo[..2].to_vec();
        push_segment(&mut file, marker::APP1, b"http://ns.adobe.com/xap/1.0/\0", b"<x:xmpmeta/>");
        push_segment(&mut file, marker::APP1, name::EXIF, b"broken");
        push_segment(&mut file, marker::APP1, name::EXIF, &camera(true).build());
        file.extend(&photo[2..]);
        let found = blocks(&file, SourceFormat::Jpeg, &limits()).exif.unwrap();
        assert_eq!(found, camera(true).build());
        let own = blocks(&photo, SourceFormat::Jpeg, &limits()).exif.unwrap();
        assert_eq!(capture(&own).unwrap().model.as_deref(), Some("Synth 1"));
    }

    #[test]
    fn what_other_encoders_write_is_read() {
        let (exif, icc) = (camera(false).build(), profile(3000));
        let mut bytes = Vec::new();
        let mut encoder = jpeg_encoder::Encoder::new(&mut bytes, 90);
        encoder.add_exif_metadata(&exif).unwrap();
        encoder.add_icc_profile(&profile(150_000)).unwrap();
        encoder.encode(&[7; 48], 4, 4, jpeg_encoder::ColorType::Rgb).unwrap();
        let found = blocks(&bytes, SourceFormat::Jpeg, &limits());
        assert_eq!(found, Blocks { exif: Some(exif.clone()), icc: Some(profile(150_000)) });

        let mut info = ::png::Info::with_size(4, 4);
        info.icc_profile = Some(icc.clone().into());
        info.exif_metadata = Some(exif.clone().into());
        let mut bytes = Vec::new();
        let mut writer = ::png::Encoder::with_info(&mut bytes, info).unwrap().write_header().unwrap();
        writer.write_image_data(&[7; 16]).unwrap();
        writer.finish().unwrap();
        let both = Blocks { exif: Some(exif.clone()), icc: Some(icc.clone()) };
        assert_eq!(blocks(&bytes, SourceFormat::Png, &limits()), both);

        let mut bytes = Vec::new();
        let mut encoder = image_webp::WebPEncoder::new(&mut bytes);
        encoder.set_exif_metadata([b"Exif\0\0".as_slice(), &exif].concat());
        encoder.set_icc_profile(icc);
        encoder.encode(&[7; 48], 4, 4, image_webp::ColorType::Rgb8).unwrap();
        assert_eq!(blocks(&bytes, SourceFormat::WebP, &limits()), both);
        assert_eq!(blocks(&bytes, SourceFormat::Gif, &limits()), Blocks::default());
        assert_eq!(blocks(&bytes, SourceFormat::Png, &limits()), Blocks::default());
    }

    /// A picture in each format, with both blocks.
    fn files(exif: &[u8], icc: &[u8]) -> Vec<(SourceFormat, Vec<u8>)> {
        let mut png = Vec::new();
        let mut writer = ::png::Encoder::new(&mut png, 4, 4).write_header().unwrap();
        writer.write_image_data(&[7; 16]).unwrap();
        writer.finish().unwrap();
        let mut webp = Vec::new();
        let encoder = image_webp::WebPEncoder::new(&mut webp);
        encoder.encode(&[7; 48], 4, 4, image_webp::ColorType::Rgb8).unwrap();
        let with = |format, file| embed(format, file, Some(exif), Some(icc));
        vec![
            (SourceFormat::Jpeg, with(OutputFormat::Jpeg, photo())),
            (SourceFormat::Png, with(OutputFormat::Png, png)),
            (SourceFormat::WebP, with(OutputFormat::WebP, webp)),
        ]
    }

    #[test]
    fn a_block_beyond_its_limit_is_none() {
        let (exif, icc) = (camera(false).build(), profile(100_000));
        let (exif_bytes, icc_bytes) = (exif.len() as u32, icc.len() as u32);
        for (format, file) in files(&exif, &icc) {
            let within = Limits { metadata_bytes_max: exif_bytes + 6, icc_bytes_max: icc_bytes, ..limits() };
            let both = Blocks { exif: Some(exif.clone()), icc: Some(icc.clone()) };
            assert_eq!(blocks(&file, format, &within), both, "{format}");
            let below =
                Limits { metadata_bytes_max: exif_bytes - 1, icc_bytes_max: icc_bytes - 1, ..limits() };
            assert_eq!(blocks(&file, format, &below), Blocks::default(), "{format}");
        }
        // A megabyte of zeros in a kilobyte.
        let bomb = files(&exif, &vec![0; 1 << 20]).swap_remove(1).1;
        assert!(bomb.len() < 1 << 13);
        let small = Limits { icc_bytes_max: 1 << 16, ..limits() };
        assert_eq!(blocks(&bomb, SourceFormat::Png, &small).icc, None);
        // Nor is a second one inflated, whatever it holds.
        let mut second = bomb[..33].to_vec();
        png::push_chunk(&mut second, *b"iCCP", b"a\0\0", b"broken");
        second.extend(&bomb[33..]);
        assert_eq!(blocks(&second, SourceFormat::Png, &limits()).icc, None);
        assert!(blocks(&bomb, SourceFormat::Png, &limits()).icc.is_some());
    }

    #[test]
    fn cut_anywhere_a_file_has_whole_blocks_or_none() {
        let (exif, icc) = (camera(true).build(), profile(300));
        for (format, file) in files(&exif, &icc) {
            for length in 0..file.len() {
                let found = blocks(&file[..length], format, &limits());
                assert!(found.exif.is_none_or(|found| found == exif), "{format} cut to {length}");
                assert!(found.icc.is_none_or(|found| found == icc), "{format} cut to {length}");
            }
        }
    }

    proptest! {
        #[test]
        fn damaged_files_never_panic(
            file in 0_usize..3,
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..10),
        ) {
            let (format, mut bytes) = files(&camera(false).build(), &profile(300)).swap_remove(file);
            for (at, value) in damage {
                let index = at.index(bytes.len().min(2000));
                bytes[index] = value;
            }
            let _ = blocks(&bytes, format, &limits());
        }

        #[test]
        fn rubbish_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200), file in 0_usize..4) {
            let signature: &[u8] =
                [b"\xFF\xD8\xFF".as_slice(), b"\x89PNG\r\n\x1A\n", b"RIFF\xFF\0\0\0WEBP", b""][file];
            let bytes = [signature, &bytes].concat();
            for format in SourceFormat::ALL {
                let _ = blocks(&bytes, format, &limits());
            }
        }
    }
}
