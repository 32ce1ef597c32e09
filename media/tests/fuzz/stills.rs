//! BMPs and TIFFs among the seeds.

use super::build::{Bmp, LONG, Place, SHORT, Tiff, deflate, lzw, pack, pack_bits};
use super::seeds::samples;
use super::targets::Seed;

pub(crate) fn bmp() -> Vec<Seed> {
    let grays: Vec<[u8; 3]> = (0..16).map(|value| [value * 16; 3]).collect();
    let of_palette = |bits: u16, row: usize| Bmp {
        palette: grays[..16.min(1 << bits)].to_vec(),
        ..Bmp::new(13, 7, bits, samples(row * 7).iter().map(|value| value & 0x11).collect::<Vec<_>>())
    };
    let of_16 = Bmp::new(13, 7, 16, samples(28 * 7));
    let of_24 = Bmp::new(13, 7, 24, samples(40 * 7));
    let of_32 = Bmp::new(13, -7, 32, samples(52 * 7));
    // A run, a literal of three, a move, the end of a line; then as many lines as there are, and the end.
    let lengths =
        [&[5, 1, 0, 3, 1, 2, 3, 0, 0, 2, 1, 0, 2, 2, 0, 0].repeat(5), [0, 0, 0, 1].as_slice()].concat();
    let run_lengths = |bits: u16, compression: u32| {
        let bmp = Bmp { compression, ..of_palette(bits, 0) };
        Bmp { pixels: lengths.clone(), ..bmp }
    };
    vec![
        ("1", of_palette(1, 4).build()),
        ("4", of_palette(4, 8).build()),
        ("8", of_palette(8, 16).build()),
        ("os2", Bmp { header: 12, ..of_palette(4, 8) }.build()),
        ("16", of_16.build()),
        ("565", Bmp { compression: 3, masks: vec![0xF800, 0x7E0, 0x1F], ..of_16 }.build()),
        ("24", of_24.build()),
        ("profile", Bmp { header: 124, profile: samples(30), ..of_24 }.build()),
        ("32", of_32.build()),
        (
            "fields",
            Bmp { compression: 6, masks: vec![0xFF, 0xFF00, 0xFF_0000, 0xFF00_0000], ..of_32 }.build(),
        ),
        ("run-lengths-8", run_lengths(8, 1).build()),
        ("run-lengths-4", run_lengths(4, 2).build()),
    ]
}

/// An empty TIFF of 13 × 7.
fn empty(place: Place, big_endian: bool, big: bool) -> Tiff {
    let mut tiff = Tiff::new(13, 7);
    (tiff.place, tiff.big_endian, tiff.big) = (place, big_endian, big);
    tiff
}

/// Strips of two rows of RGB, compressed.
fn strips(tiff: Tiff, compression: u64, compress: fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let tiff = tiff.kind(2, 3, 8).with(278, LONG, &[2]).with(259, SHORT, &[compression]);
    samples(13 * 3 * 7).chunks(13 * 3 * 2).fold(tiff, |tiff, strip| tiff.chunk(compress(strip))).build()
}

/// Each row begins with a byte of its own.
fn rows_of_12_bits(samples: &[u64]) -> Vec<u8> {
    samples.chunks(13 * 3).flat_map(|row| pack(row, 12, false)).collect()
}

pub(crate) fn tiff() -> Vec<Seed> {
    let colors: Vec<u64> = (0..48).map(|value| value * 1300).collect();
    let jpeg = {
        let mut bytes = Vec::new();
        let encoder = jpeg_encoder::Encoder::new(&mut bytes, 90);
        encoder.encode(&samples(13 * 7 * 3), 13, 7, jpeg_encoder::ColorType::Rgb).unwrap();
        bytes
    };
    let words: Vec<u64> = samples(13 * 7 * 3).into_iter().map(|value| u64::from(value) * 16).collect();
    let tiled = |tiff: Tiff| tiff.with(322, SHORT, &[16]).with(323, SHORT, &[16]);
    let first = |big_endian| empty(Place::First, big_endian, false);
    vec![
        ("plain", first(false).chunk(samples(13 * 7)).build()),
        ("lzw", strips(first(false), 5, lzw)),
        ("lzw-big-last", strips(empty(Place::Last, true, true), 5, lzw)),
        ("lzw-predicted", strips(first(true).with(317, SHORT, &[2]), 5, lzw)),
        ("deflate", strips(empty(Place::Middle, false, false).with(274, SHORT, &[6]), 8, deflate)),
        ("packbits", strips(first(false), 32_773, pack_bits)),
        ("jpeg", first(true).kind(6, 3, 8).with(259, SHORT, &[7]).chunk(jpeg).build()),
        ("palette", first(false).kind(3, 1, 4).with(320, SHORT, &colors).chunk(samples(49)).build()),
        ("white-is-zero", first(false).kind(0, 1, 1).chunk(samples(14)).build()),
        ("12", first(false).kind(2, 3, 12).chunk(rows_of_12_bits(&words)).build()),
        ("16-big-endian", first(true).kind(2, 3, 16).chunk(pack(&words, 16, true)).build()),
        ("inks", first(false).kind(5, 4, 8).chunk(samples(13 * 7 * 4)).build()),
        (
            "planar-tiles",
            (0..4)
                .fold(
                    tiled(first(false).kind(2, 4, 16).with(284, SHORT, &[2]).with(338, SHORT, &[1])),
                    |tiff, _| tiff.chunk(samples(512)),
                )
                .build(),
        ),
    ]
}
