//! AVIF, HEIC and JPEG XL: those of [`kinds`](super) whose pictures lie in boxes.

use rav1e::prelude::ChromaSampling;
use zune_core::bit_depth::BitDepth;
use zune_core::colorspace::ColorSpace;

use super::{
    Becomes, CLEAR_CORNER, H, Kind, SHOWN, SIZE, TRUNCATED, UNSUPPORTED, W, by_quadrant, grays, kind, rgba,
};
use crate::coded::{av1, hevc_gray, hevc_of};
use crate::common::{CORNERS, quadrants};
use crate::heif::{HeifFile, Item, boxed, clap, full, grid, imir, irot, nclx, profile, says_alpha};
use crate::jxl::{contained, encoded};

/// Display P3 of [`CORNERS`] (CSS Color 4, section 10).
const P3_CORNERS: [[u8; 3]; 4] = [[184, 56, 49], [88, 177, 77], [52, 60, 192], [217, 201, 87]];

/// The brand and the item of a picture of RGB pixels, so that the same is made of either codec.
type Coding = ([u8; 4], fn(u16, (u32, u32), &[u8]) -> Item);

const AVIF: Coding = (*b"avif", |id, size, pixels| av1(id, size, pixels, ChromaSampling::Cs420, 8));
const HEIC: Coding = (*b"heic", |id, size, pixels| hevc_of(id, size, pixels, 8));

fn whole((brand, coded): Coding, pixels: &[u8]) -> HeifFile {
    HeifFile::of(brand, coded(1, (W, H), pixels))
}

/// Each quadrant in a tile of its own.
fn tiled((brand, coded): Coding) -> HeifFile {
    let size = (W / 2, H / 2);
    let tile = |(id, color): (u16, [u8; 3])| coded(id, size, &color.repeat((size.0 * size.1) as usize));
    grid(brand, 2, (W, H), (1..).zip(CORNERS).map(tile).collect())
}

/// The last quadrant is transparent.
fn with_alpha((brand, coded): Coding, pixels: &[u8], opacity: impl Fn(u16, &[u8]) -> Item) -> HeifFile {
    let mut file = HeifFile::of(brand, coded(1, (W, H), pixels));
    let mut alpha = opacity(2, &by_quadrant([[255; 3], [255; 3], [255; 3], [0; 3]]).concat());
    alpha.properties.push(says_alpha());
    file.items.push(alpha);
    file.references.push((*b"auxl", 2, vec![1]));
    file
}

/// What both codecs' files are turned, cut and put together by.
fn heif_kinds(coding: Coding) -> Vec<Kind> {
    let file = whole(coding, &quadrants(W, H));
    let [red, green, blue, yellow] = CORNERS;
    let lower_right = clap(W / 2, H / 2, (W / 2).cast_signed(), (H / 2).cast_signed());
    let mut overlay = file.clone();
    overlay.items[0].kind = *b"iovl";
    let bytes = file.bytes();
    vec![
        kind("a grid of tiles", tiled(coding).bytes(), SHOWN),
        kind("turned (`irot`)", file.with(&[irot(3)]), Becomes::Shown([blue, red, yellow, green])),
        kind("mirrored (`imir`)", file.with(&[imir(1)]), Becomes::Shown([green, red, yellow, blue])),
        kind("cut to an area (`clap`)", file.with(&[lower_right]), Becomes::Shown([yellow; 4])),
        kind("an overlay of pictures", overlay.bytes(), UNSUPPORTED),
        kind("cut", bytes[..bytes.len() - 4].to_vec(), TRUNCATED),
    ]
}

/// The description of a sequence of so many frames.
fn sequence(frames: u32) -> Vec<u8> {
    let sizes = full(*b"stsz", 0, &[[0; 4], frames.to_be_bytes()].concat());
    [b"stbl", b"minf", b"mdia", b"trak", b"moov"].into_iter().fold(sizes, |inner, kind| boxed(*kind, &inner))
}

pub(super) fn avifs() -> Vec<Kind> {
    let mut kinds = Vec::new();
    for (name, chroma) in
        [("4:2:0", ChromaSampling::Cs420), ("4:2:2", ChromaSampling::Cs422), ("4:4:4", ChromaSampling::Cs444)]
    {
        for depth in [8, 10, 12] {
            let picture = av1(1, (W, H), &quadrants(W, H), chroma, depth);
            kinds.push(kind(format!("{name}, {depth} bits"), HeifFile::of(*b"avif", picture).bytes(), SHOWN));
        }
    }
    let levels = by_quadrant([10_u8, 100, 160, 250].map(|level| [level; 3])).concat();
    for depth in [8, 10] {
        let picture = av1(1, (W, H), &levels, ChromaSampling::Cs400, depth);
        let file = HeifFile::of(*b"avif", picture).bytes();
        kinds.push(kind(format!("gray, {depth} bits"), file, grays([10, 100, 160, 250])));
    }
    kinds
}

pub(super) fn avifs_of_other_pixels() -> Vec<Kind> {
    let opacity = |id, pixels: &[u8]| av1(id, (W, H), pixels, ChromaSampling::Cs400, 8);
    let straight = with_alpha(AVIF, &quadrants(W, H), opacity);
    let black = by_quadrant([CORNERS[0], CORNERS[1], CORNERS[2], [0; 3]]).concat();
    let mut premultiplied = with_alpha(AVIF, &black, opacity);
    premultiplied.references.push((*b"prem", 1, vec![2]));
    let wide = whole(AVIF, &by_quadrant(P3_CORNERS).concat());
    let coded_in = |signal| {
        let mut file = wide.clone();
        file.items[0].properties[2] = signal;
        file.bytes()
    };
    let p3 = moxcms::ColorProfile::new_display_p3().encode().unwrap();
    let mut beside = whole(AVIF, &quadrants(W, H));
    beside.brand = *b"avis";
    let head = boxed(*b"ftyp", b"avis\0\0\0\0msf1");
    let mut kinds = vec![
        kind("alpha", straight.bytes(), CLEAR_CORNER),
        kind("alpha, colours multiplied by it", premultiplied.bytes(), CLEAR_CORNER),
        kind("Display P3 by code points (`nclx`)", coded_in(nclx(12, 13, 6, true)), SHOWN),
        kind("Display P3 by a profile (ICC)", wide.with(&[profile(&p3)]), SHOWN),
        kind("ICtCp (matrix 14)", coded_in(nclx(9, 16, 14, true)), UNSUPPORTED),
        kind("animated (`avis`): its still picture", [beside.bytes(), sequence(3)].concat(), SHOWN),
        kind("animated, without a still picture", [head, sequence(3)].concat(), UNSUPPORTED),
    ];
    kinds.extend(heif_kinds(AVIF));
    kinds
}

/// Of builds with a feature, `present` in this one or not, and of those without it.
fn optional(feature: &str, present: bool, with: Vec<Kind>, any: Vec<u8>) -> Vec<Kind> {
    let without = kind(format!("any, without the feature `{feature}`"), any, UNSUPPORTED);
    let with = with.into_iter().map(|kind| Kind { of_this_build: present, ..kind });
    std::iter::once(Kind { of_this_build: !present, ..without }).chain(with).collect()
}

pub(super) fn heics() -> Vec<Kind> {
    let pixels = quadrants(W, H);
    let of = |picture| HeifFile::of(*b"heic", picture).bytes();
    let levels = by_quadrant([10_u8, 100, 160, 250].map(|level| [level; 3])).concat();
    let opacity = |id, pixels: &[u8]| hevc_gray(id, (W, H), pixels);
    let mut wide = hevc_of(1, (W, H), &by_quadrant(P3_CORNERS).concat(), 8);
    wide.properties[2] = nclx(12, 13, 6, true);
    let file = of(hevc_of(1, (W, H), &pixels, 8));
    let mut kinds = vec![
        kind("4:2:0, 8 bits", file.clone(), SHOWN),
        kind("4:2:0, 10 bits", of(hevc_of(1, (W, H), &pixels, 10)), SHOWN),
        kind("gray, 8 bits", of(hevc_gray(1, (W, H), &levels)), grays([10, 100, 160, 250])),
        kind("alpha", with_alpha(HEIC, &pixels, opacity).bytes(), CLEAR_CORNER),
        kind("Display P3 by code points (`nclx`)", of(wide), SHOWN),
    ];
    kinds.extend(heif_kinds(HEIC));
    optional("heic", cfg!(feature = "heic"), kinds, file)
}

pub(super) fn jxls() -> Vec<Kind> {
    let of = |space, depth, samples: &[u8]| encoded((W, H), space, depth, samples);
    let levels = by_quadrant([10_u8, 100, 160, 250]);
    let with_opacity = by_quadrant([[10, 255], [100, 255], [160, 255], [0, 0]]).concat();
    let words: Vec<u8> =
        quadrants(W, H).iter().flat_map(|byte| (u16::from(*byte) * 257).to_ne_bytes()).collect();
    let bare = of(ColorSpace::RGB, BitDepth::Eight, &quadrants(W, H));
    let boxes = contained(&bare, None);
    let half = SIZE.0 * SIZE.1 / 16;
    let kinds = vec![
        kind("RGB, 8 bits", bare.clone(), SHOWN),
        kind("RGB, 16 bits", of(ColorSpace::RGB, BitDepth::Sixteen, &words), SHOWN),
        kind("RGB and alpha, 8 bits", of(ColorSpace::RGBA, BitDepth::Eight, &rgba()), CLEAR_CORNER),
        kind("gray, 8 bits", of(ColorSpace::Luma, BitDepth::Eight, &levels), grays([10, 100, 160, 250])),
        kind(
            "gray and alpha, 8 bits",
            of(ColorSpace::LumaA, BitDepth::Eight, &with_opacity),
            grays([10, 100, 160, 255]),
        ),
        kind("in a box", boxes.clone(), SHOWN),
        kind("in pieces", contained(&bare, Some(half)), SHOWN),
        kind("in a box, cut", boxes[..boxes.len() - 4].to_vec(), TRUNCATED),
        kind("bare, cut", bare[..bare.len() - 4].to_vec(), Becomes::Refused("corrupt-image")),
    ];
    optional("jxl", cfg!(feature = "jxl"), kinds, bare)
}
