//! Exact pixels of every kind of TIFF that is decoded.

use super::*;
use crate::decode::build::{LONG, Place, SHORT, Tiff, deflate, lzw, pack, pack_bits};
use crate::decode::deadline::clock::assert_ends_in_time;

fn decoded(file: &[u8]) -> Result<Decoded, MediaError> {
    let limits = Limits::default();
    let found = crate::probe(file, &limits)?;
    decode(file, &found, &limits, &Deadline::start(&limits))
}

fn frame(file: &[u8]) -> Frame {
    match decoded(file).unwrap().picture {
        crate::frame::Picture::Packed(frame) => frame,
        crate::frame::Picture::Planar(_) => panic!("a TIFF is not decoded to planes"),
    }
}

/// Sizes on and off the boundaries of bytes, strips and tiles.
const SIZES: [(u32, u32); 6] = [(1, 1), (17, 3), (3, 17), (8, 8), (16, 32), (37, 19)];

/// Numbers of so many bits that use all of them.
fn ramp(count: usize, bits: usize) -> Vec<u64> {
    let most = u64::MAX >> (64 - bits);
    (0..count as u64).map(|index| index.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29) & most).collect()
}

/// A number of so many bits as 8.
fn eight(value: u64, bits: usize) -> u8 {
    let rounded = |value: u64, most: u64, full: u64| (value * full + most / 2) / most;
    match bits {
        1..=8 => rounded(value, (1 << bits) - 1, 255) as u8,
        9..=16 => rounded(rounded(value, (1 << bits) - 1, 65_535), 65_535, 255) as u8,
        _ => rounded(value >> (bits - 16), 65_535, 255) as u8,
    }
}

fn rows(values: &[u64], per_row: usize, bits: usize, big_endian: bool) -> Vec<u8> {
    values.chunks(per_row).flat_map(|row| pack(row, bits, big_endian)).collect()
}

#[test]
fn every_depth_in_both_byte_orders() {
    for bits in (1..=16).chain([24, 32, 64]) {
        for (width, height) in SIZES {
            for (big_endian, photometric, samples) in
                [(false, 1, 1), (true, 1, 1), (false, 0, 1), (false, 2, 3), (true, 2, 3)]
            {
                let per_row = width as usize * samples as usize;
                let values = ramp(per_row * height as usize, bits);
                let mut tiff = Tiff::new(width, height).kind(photometric, samples, bits as u64);
                tiff.big_endian = big_endian;
                let found = frame(&tiff.chunk(rows(&values, per_row, bits, big_endian)).build());
                assert_eq!((found.width, found.height), (width, height));
                assert_eq!(found.layout, if samples == 1 { Layout::Luma } else { Layout::Rgb });
                let most = u64::MAX >> (64 - bits);
                let shown = |value: &u64| eight(if photometric == 0 { most - value } else { *value }, bits);
                let expected: Vec<u8> = values.iter().map(shown).collect();
                assert_eq!(
                    found.data, expected,
                    "{bits} bits, {width}×{height}, {photometric}, {big_endian}"
                );
            }
        }
    }
}

/// Cuts a picture of pixels of so many bytes into strips or tiles, those at the edge padded with 0xEE.
fn cut(
    pixels: &[u8],
    (width, height): (usize, usize),
    bytes: usize,
    (w, h): (usize, usize),
    tiled: bool,
) -> Vec<Vec<u8>> {
    let mut chunks = Vec::new();
    for top in (0..height).step_by(h) {
        for left in (0..width).step_by(w) {
            let mut chunk = Vec::new();
            for y in top..top + h {
                if y >= height && !tiled {
                    break;
                }
                for x in left..left + w {
                    let at = (y * width + x) * bytes;
                    let inside = x < width && y < height;
                    chunk.extend(if inside { pixels[at..at + bytes].to_vec() } else { vec![0xEE; bytes] });
                }
            }
            chunks.push(chunk);
        }
    }
    chunks
}

/// Differences of neighbours of the same kind, in rows of `per_row` samples of 1 or 2 bytes.
fn differences(bytes: &[u8], per_row: usize, stride: usize, size: usize, big_endian: bool) -> Vec<u8> {
    let read = |bytes: &[u8]| match (size, big_endian) {
        (1, _) => u16::from(bytes[0]),
        (_, true) => u16::from_be_bytes([bytes[0], bytes[1]]),
        (_, false) => u16::from_le_bytes([bytes[0], bytes[1]]),
    };
    let mut out = Vec::new();
    for row in bytes.chunks(per_row * size) {
        let values: Vec<u16> = row.chunks(size).map(read).collect();
        for (index, value) in values.iter().enumerate() {
            let left = if index < stride { 0 } else { values[index - stride] };
            let difference = u64::from(value.wrapping_sub(left)) & if size == 1 { 0xFF } else { 0xFFFF };
            out.extend(pack(&[difference], size * 8, big_endian));
        }
    }
    out
}

#[test]
fn every_cut_compression_and_predictor_gives_the_same_pixels() {
    type Compress = fn(&[u8]) -> Vec<u8>;
    let ways: [(u64, Compress, bool); 6] = [
        (1, <[u8]>::to_vec, false),
        (5, lzw, false),
        (5, lzw, true),
        (8, deflate, true),
        (32_946, deflate, false),
        (32_773, pack_bits, false),
    ];
    let cuts = [(None, 1), (None, 2), (None, 100), (Some(16), 16), (Some(32), 16), (Some(48), 64)];
    for (width, height) in SIZES {
        let size = (width as usize, height as usize);
        for (bits, big_endian) in [(8, false), (16, false), (16, true)] {
            let values = ramp(size.0 * size.1 * 3, bits);
            let expected: Vec<u8> = values.iter().map(|value| eight(*value, bits)).collect();
            for (compression, compress, predicted) in ways {
                for (tile, rows) in cuts {
                    for planar in [false, true] {
                        let mut tiff = Tiff::new(width, height).kind(2, 3, bits as u64);
                        (tiff.big_endian, tiff.big) = (big_endian, planar);
                        tiff.place = [Place::First, Place::Middle, Place::Last][rows % 3];
                        tiff =
                            tiff.with(259, SHORT, &[compression]).with(284, SHORT, &[1 + u64::from(planar)]);
                        tiff = tiff.with(317, SHORT, &[1 + u64::from(predicted)]);
                        tiff = match tile {
                            Some(side) => tiff.with(322, SHORT, &[side]).with(323, LONG, &[rows as u64]),
                            None => tiff.with(278, LONG, &[rows as u64]),
                        };
                        let chunk = (tile.map_or(size.0, |side| side as usize), rows);
                        let planes: Vec<Vec<u64>> = if planar {
                            (0..3)
                                .map(|plane| values.iter().skip(plane).step_by(3).copied().collect())
                                .collect()
                        } else {
                            vec![values.clone()]
                        };
                        let stride = if planar { 1 } else { 3 };
                        for plane in planes {
                            let bytes = pack(&plane, bits, big_endian);
                            for bytes in cut(&bytes, size, stride * bits / 8, chunk, tile.is_some()) {
                                let bytes = if predicted {
                                    differences(&bytes, chunk.0 * stride, stride, bits / 8, big_endian)
                                } else {
                                    bytes
                                };
                                tiff = tiff.chunk(compress(&bytes));
                            }
                        }
                        let what = format!(
                            "{size:?}, {bits} bits, {compression}, {tile:?}, {rows}, planar {planar}"
                        );
                        assert_eq!(frame(&tiff.build()).data, expected, "{what}");
                    }
                }
            }
        }
    }
}

#[test]
fn floats_count_from_0_to_1_and_are_clamped() {
    let values: [f32; 8] = [0.0, 1.0, 0.5, -3.0, 2.0, f32::NAN, f32::INFINITY, 0.25];
    let expected = [0, 255, 128, 0, 255, 0, 255, 64];
    // Of 16 bits, by hand.
    let halves = [0, 0x3C00, 0x3800, 0xC200, 0x4000, 0x7E00, 0x7C00, 0x3400];
    let singles = values.map(|value| u64::from(value.to_bits()));
    let doubles = values.map(|value| f64::from(value).to_bits());
    for (bits, numbers) in [(16, halves), (32, singles), (64, doubles)] {
        for big_endian in [false, true] {
            let mut tiff = Tiff::new(8, 1).with(258, SHORT, &[bits as u64]).with(339, SHORT, &[3]);
            tiff.big_endian = big_endian;
            let plain = tiff.clone().chunk(pack(&numbers, bits, big_endian));
            assert_eq!(frame(&plain.build()).data, expected, "{bits}");
            // The predictor of floats: bytes sorted by weight, then differences.
            let sorted: Vec<u8> = (0..bits / 8)
                .flat_map(|weight| numbers.map(|number| number.to_be_bytes()[8 - bits / 8 + weight]))
                .collect();
            let differences = differences(&sorted, sorted.len(), 1, 1, true);
            let predicted = tiff.with(259, SHORT, &[8]).with(317, SHORT, &[3]).chunk(deflate(&differences));
            assert_eq!(frame(&predicted.build()).data, expected, "{bits}, predicted");
        }
    }
}

#[test]
fn palettes_of_16_bits_and_of_8_by_mistake() {
    for bits in [1_usize, 2, 4, 8] {
        let colors = 1_usize << bits;
        let palette: Vec<u64> = (0..3 * colors as u64).map(|value| value * 84 % 256).collect();
        let indices = ramp(37 * 19, bits);
        let expected: Vec<u8> = indices
            .iter()
            .flat_map(|index| [0, 1, 2].map(|channel| palette[channel * colors + *index as usize] as u8))
            .collect();
        for scale in [1, 257] {
            let palette: Vec<u64> = palette.iter().map(|value| value * scale).collect();
            let tiff = Tiff::new(37, 19).kind(3, 1, bits as u64).with(320, SHORT, &palette);
            let found = frame(&tiff.chunk(rows(&indices, 37, bits, false)).build());
            assert_eq!(
                (found.layout, &found.data),
                (Layout::Rgb, &expected),
                "{bits} bits, palette × {scale}"
            );
        }
    }
    let without = Tiff::new(1, 1).kind(3, 1, 8).chunk([0]);
    assert!(decoded(&without.build()).is_err_and(|error| error.to_string().contains("no palette")));
    // An index beyond the palette is black.
    let short = Tiff::new(2, 1).kind(3, 1, 8).with(320, SHORT, &[65_535; 3]).chunk([0, 9]);
    assert_eq!(frame(&short.build()).data, [255, 255, 255, 0, 0, 0]);
}

#[test]
fn inks_become_rgb_by_the_plain_formula() {
    let inks = [0, 0, 0, 0, 255, 0, 0, 0, 0, 255, 0, 0, 0, 0, 255, 0, 0, 0, 0, 255, 100, 50, 0, 128];
    let expected = [255, 255, 255, 0, 255, 255, 255, 0, 255, 255, 255, 0, 0, 0, 0, 77, 102, 127];
    let found = frame(&Tiff::new(6, 1).kind(5, 4, 8).chunk(inks).build());
    assert_eq!((found.layout, found.data.as_slice()), (Layout::Rgb, expected.as_slice()));
    let deep = pack(&inks.map(|ink| u64::from(ink) * 257), 16, false);
    assert_eq!(frame(&Tiff::new(6, 1).kind(5, 4, 16).chunk(deep).build()).data, expected);
    // A fifth channel, a spot colour, is not shown.
    let spot: Vec<u8> = inks.chunks(4).flat_map(|inks| [inks, &[99]].concat()).collect();
    let tiff = Tiff::new(6, 1).kind(5, 5, 8).with(338, SHORT, &[0]).chunk(spot);
    assert_eq!(frame(&tiff.build()).data, expected);
    let other = Tiff::new(6, 1).kind(5, 4, 8).with(332, SHORT, &[2]).chunk(inks);
    assert_eq!(decoded(&other.build()).err().map(|error| error.code()), Some("unsupported-image"));
}

#[test]
fn luma_and_chroma_become_rgb() {
    let stored = [76, 85, 255, 150, 44, 21, 29, 255, 107, 128, 128, 128];
    let tiff = Tiff::new(4, 1).kind(6, 3, 8).with(530, SHORT, &[1, 1]).chunk(stored);
    // Red, green, blue and gray, as JFIF's formula gives them.
    assert_eq!(frame(&tiff.build()).data, [254, 0, 0, 0, 255, 1, 0, 0, 254, 128, 128, 128]);
    // Subsampled by default.
    let tiff = tiff.without(530);
    assert_eq!(decoded(&tiff.build()).err().map(|error| error.code()), Some("unsupported-image"));
}

#[test]
fn lab_becomes_srgb() {
    // White, black, middle gray, and sRGB's red and blue: L* a* b* of D50.
    let colors = [
        (100.0, 0.0, 0.0),
        (0.0, 0.0, 0.0),
        (53.585, 0.0, 0.0),
        (54.29, 80.81, 69.89),
        (29.57, 68.30, -112.03),
    ];
    let expected = [255, 255, 255, 0, 0, 0, 128, 128, 128, 255, 0, 0, 0, 0, 255];
    for (photometric, offset) in [(8, 0.0), (9, 128.0)] {
        let eight: Vec<u8> = colors
            .iter()
            .flat_map(|(lightness, a, b)| {
                let chroma = |value: f64| (value + offset).round() as i32 as u8;
                [(lightness * 2.55_f64).round() as u8, chroma(*a), chroma(*b)]
            })
            .collect();
        let full: f64 = if photometric == 8 { 65_535.0 } else { 65_280.0 };
        let sixteen: Vec<u64> = colors
            .iter()
            .flat_map(|(lightness, a, b)| {
                let chroma = |value: f64| u64::from(((value + offset) * 256.0).round() as i32 as u16);
                [(lightness / 100.0 * full).round() as u64, chroma(*a), chroma(*b)]
            })
            .collect();
        let near =
            |found: &[u8], tolerance: u8| found.iter().zip(expected).all(|(a, b)| a.abs_diff(b) <= tolerance);
        let found = frame(&Tiff::new(5, 1).kind(photometric, 3, 8).chunk(eight).build()).data;
        // Eight bits of Lab are coarser than eight of sRGB.
        assert!(near(&found, 6), "{photometric}: {found:?}");
        let found =
            frame(&Tiff::new(5, 1).kind(photometric, 3, 16).chunk(pack(&sixteen, 16, false)).build()).data;
        assert!(near(&found, 1), "{photometric}: {found:?}");
    }
}

#[test]
fn alpha_is_straight_afterwards() {
    // Straight, and the same multiplied by its alpha.
    let straight = [200, 100, 0, 255, 200, 100, 50, 51, 9, 9, 9, 0];
    let multiplied = [200, 100, 0, 255, 40, 20, 10, 51, 9, 9, 9, 0];
    let rgba =
        |extra: u64, pixels: [u8; 12]| Tiff::new(3, 1).kind(2, 4, 8).with(338, SHORT, &[extra]).chunk(pixels);
    for (extra, pixels) in [(2, straight), (1, multiplied)] {
        let found = frame(&rgba(extra, pixels).build());
        assert_eq!((found.layout, found.data), (Layout::Rgba, straight.to_vec()), "extra sample {extra}");
        let deep = Tiff::new(3, 1).kind(2, 4, 16).with(338, SHORT, &[extra]);
        let file = deep.chunk(pack(&pixels.map(|value| u64::from(value) * 257), 16, false)).build();
        assert_eq!(frame(&file).data, straight);
    }
    // More than its alpha: as much as there can be.
    let found = frame(&rgba(1, [200, 100, 0, 100, 0, 0, 0, 0, 0, 0, 0, 0]).build());
    assert_eq!(found.data[..4], [255, 255, 0, 100]);
    // Said to be something else, and forgotten to be said.
    let found = frame(&rgba(0, straight).build());
    assert_eq!((found.layout, found.data.len()), (Layout::Rgb, 9));
    assert_eq!(frame(&rgba(0, straight).without(338).build()).layout, Layout::Rgba);
    // Gray.
    let gray = Tiff::new(2, 1).kind(0, 2, 8).with(338, SHORT, &[2]).chunk([10, 255, 250, 7]);
    assert_eq!(frame(&gray.build()).data, [245, 245, 245, 255, 5, 5, 5, 7]);
    // In planes.
    let planar = Tiff::new(3, 1).kind(2, 4, 8).with(338, SHORT, &[2]).with(284, SHORT, &[2]);
    let planes = (0..4).map(|plane| straight.iter().skip(plane).step_by(4).copied().collect::<Vec<u8>>());
    assert_eq!(frame(&planes.fold(planar, Tiff::chunk).build()).data, straight);
}

#[test]
fn bits_in_reverse_order() {
    let tiff = Tiff::new(8, 1).with(258, SHORT, &[1]).with(266, SHORT, &[2]).chunk([0b0000_0111]);
    assert_eq!(frame(&tiff.build()).data, [255, 255, 255, 0, 0, 0, 0, 0]);
    let tiff = tiff.with(259, SHORT, &[5]);
    assert_eq!(decoded(&tiff.build()).err().map(|error| error.code()), Some("unsupported-image"));
}

fn jpeg(width: u16, height: u16, color: jpeg_encoder::ColorType, pixels: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = jpeg_encoder::Encoder::new(&mut bytes, 100);
    encoder.set_sampling_factor(jpeg_encoder::SamplingFactor::F_1_1);
    encoder.encode(pixels, width, height, color).unwrap();
    bytes
}

#[test]
fn jpegs_in_strips_and_tiles() {
    let near = |found: &[u8], expected: &[u8]| {
        assert_eq!(found.len(), expected.len());
        let worst = found.iter().zip(expected).map(|(a, b)| a.abs_diff(*b)).max();
        assert!(worst <= Some(4), "{worst:?}");
    };
    let pixels: Vec<u8> =
        (0..40 * 24).flat_map(|at| [(at % 40 * 6) as u8, (at / 40 * 10) as u8, 90]).collect();
    let rgb = jpeg_encoder::ColorType::Rgb;
    let strips = |tiff: Tiff| {
        pixels
            .chunks(40 * 3 * 16)
            .fold(tiff, |tiff, strip| tiff.chunk(jpeg(40, (strip.len() / 120) as u16, rgb, strip)))
    };
    let tiff = Tiff::new(40, 24).kind(6, 3, 8).with(259, SHORT, &[7]).with(278, LONG, &[16]);
    near(&frame(&strips(tiff.clone()).build()).data, &pixels);
    // Tiles reach beyond the edges.
    let tiled = tiff.clone().without(278).with(322, SHORT, &[32]).with(323, SHORT, &[16]);
    let padded: Vec<u8> = cut(&pixels, (40, 24), 3, (32, 16), true).concat();
    let tiled = padded.chunks(32 * 16 * 3).fold(tiled, |tiff, tile| tiff.chunk(jpeg(32, 16, rgb, tile)));
    near(&frame(&tiled.build()).data[..32 * 3], &pixels[..32 * 3]);
    // With the tables of each image kept apart: all segments before the frame header.
    let whole = jpeg(40, 24, rgb, &pixels);
    let frame_header = whole.windows(2).position(|two| two == [0xFF, 0xC0]).unwrap();
    let tables = [&whole[..frame_header], &[0xFF, 0xD9]].concat();
    let bare = [&[0xFF, 0xD8], &whole[frame_header..]].concat();
    let apart = tiff.clone().without(278).with_block(347, &tables).chunk(bare);
    near(&frame(&apart.build()).data, &pixels);
    // Gray, and CMYK as it is.
    let gray: Vec<u8> = pixels.iter().step_by(3).copied().collect();
    let luma = jpeg(40, 24, jpeg_encoder::ColorType::Luma, &gray);
    near(&frame(&Tiff::new(40, 24).with(259, SHORT, &[7]).chunk(luma.clone()).build()).data, &gray);
    // Of another size or other components than the TIFF says, or ending too early.
    for (tiff, strip) in [
        (Tiff::new(41, 24), luma.clone()),
        (Tiff::new(40, 23), luma.clone()),
        (Tiff::new(40, 24).kind(2, 3, 8), luma.clone()),
        (Tiff::new(40, 24), [&luma[..luma.len() / 2], &[0xFF, 0xD9]].concat()),
        (Tiff::new(40, 24), luma[..luma.len() - 2].to_vec()),
    ] {
        let error = decoded(&tiff.with(259, SHORT, &[7]).chunk(strip).build()).err();
        assert_eq!(error.as_ref().map(MediaError::code), Some("corrupt-image"), "{error:?}");
    }
    let mut progressive = Vec::new();
    let mut encoder = jpeg_encoder::Encoder::new(&mut progressive, 90);
    encoder.set_progressive(true);
    encoder.encode(&gray, 40, 24, jpeg_encoder::ColorType::Luma).unwrap();
    let tiff = Tiff::new(40, 24).with(259, SHORT, &[7]).chunk(progressive);
    assert_eq!(decoded(&tiff.build()).err().map(|error| error.code()), Some("unsupported-image"));
}

fn ends_in_time(looks_min: u32, file: &[u8]) {
    let limits = Limits::default();
    let found = crate::probe(file, &limits).unwrap();
    assert_ends_in_time(looks_min, |deadline| decode(file, &found, &limits, deadline));
}

#[test]
fn decoding_ends_in_time() {
    let (width, height) = (100, 200);
    let bytes: Vec<u8> = ramp(width * height * 3, 8).into_iter().map(|value| value as u8).collect();
    let rgb = jpeg_encoder::ColorType::Rgb;
    let strip_jpeg: fn(&[u8]) -> Vec<u8> = |strip| jpeg(100, 50, jpeg_encoder::ColorType::Rgb, strip);
    for (compression, compress) in [
        (1, <[u8]>::to_vec as fn(&[u8]) -> Vec<u8>),
        (5, lzw),
        (7, strip_jpeg),
        (8, deflate),
        (32_773, pack_bits),
    ] {
        let tiff = Tiff::new(100, 200).kind(2, 3, 8).with(259, SHORT, &[compression]).with(278, LONG, &[50]);
        let strips = bytes.chunks(width * 3 * 50).fold(tiff, |tiff, strip| tiff.chunk(compress(strip)));
        // Before every strip, and every 16 KiB of rows.
        ends_in_time(4 + 3, &strips.build());
    }
    let one = Tiff::new(100, 200).kind(2, 3, 8).with(259, SHORT, &[7]).chunk(jpeg(100, 200, rgb, &bytes));
    ends_in_time(4, &one.build());
}

#[test]
fn bytes_that_show_nothing_take_time_too() {
    let codes = [[256].repeat(100_000), vec![9, 257]].concat();
    let empty_block = [0, 0, 0, 0xFF, 0xFF];
    let last_block = [1, 1, 0, 0xFE, 0xFF, 9];
    let zlib = [&[0x78, 0x01], empty_block.repeat(20_000).as_slice(), &last_block, &[0, 10, 0, 10]].concat();
    let packed = [vec![128; 100_000], vec![0, 9]].concat();
    for (compression, bytes) in [(5, pack(&codes, 9, true)), (8, zlib), (32_773, packed)] {
        let file = Tiff::new(1, 1).with(259, SHORT, &[compression]).chunk(bytes).build();
        assert_eq!(frame(&file).data, [9], "{compression}");
        ends_in_time(6, &file);
    }
}

#[test]
fn a_profile_comes_with_the_pixels_that_it_describes() {
    let profile = vec![7; 300];
    let gray = Tiff::new(1, 1).with_block(34_675, &profile).chunk([9]);
    assert_eq!(decoded(&gray.build()).unwrap().color, Color::Icc(profile.clone()));
    // Beyond the limit it is passed over.
    let limits = Limits { icc_bytes_max: 299, ..Limits::default() };
    let file = gray.build();
    let found = crate::probe(&file, &limits).unwrap();
    let passed_over = decode(&file, &found, &limits, &Deadline::start(&limits)).unwrap();
    assert_eq!(passed_over.color, Color::Srgb);
    // Inks are converted by it, or without it if it is none.
    let inks = Tiff::new(1, 1).kind(5, 4, 8).with_block(34_675, &profile).chunk([9; 4]);
    assert_eq!(decoded(&inks.build()).unwrap().color, Color::Srgb);
    assert_eq!(decoded(&Tiff::new(1, 1).chunk([9]).build()).unwrap().color, Color::Srgb);
}

#[test]
fn what_another_library_writes() {
    use tiff::encoder::{Compression, DeflateLevel, Predictor, TiffEncoder, colortype};
    let values: Vec<u8> = ramp(37 * 19 * 4, 8).into_iter().map(|value| value as u8).collect();
    let deep: Vec<u16> = ramp(37 * 19 * 3, 16).into_iter().map(|value| value as u16).collect();
    let expected: Vec<u8> = deep.iter().map(|value| eight((*value).into(), 16)).collect();
    let ways = [
        (Compression::Uncompressed, Predictor::None),
        (Compression::Packbits, Predictor::None),
        (Compression::Lzw, Predictor::None),
        (Compression::Lzw, Predictor::Horizontal),
        (Compression::Deflate(DeflateLevel::Fast), Predictor::None),
        (Compression::Deflate(DeflateLevel::Fast), Predictor::Horizontal),
    ];
    for (index, (compression, predictor)) in ways.into_iter().enumerate() {
        let mut file = std::io::Cursor::new(Vec::new());
        let encoder = TiffEncoder::new(&mut file).unwrap().with_compression(compression);
        encoder.with_predictor(predictor).write_image::<colortype::RGBA8>(37, 19, &values).unwrap();
        assert_eq!(frame(&file.into_inner()).data, values, "{index}, {predictor:?}");
        let mut file = std::io::Cursor::new(Vec::new());
        let encoder = TiffEncoder::new_big(&mut file).unwrap().with_compression(compression);
        encoder.with_predictor(predictor).write_image::<colortype::RGB16>(37, 19, &deep).unwrap();
        assert_eq!(frame(&file.into_inner()).data, expected, "{index}, {predictor:?}");
    }
}
