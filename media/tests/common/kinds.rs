//! A file of every kind, and what is to become of it.

mod containers;

use jpeg_encoder::{ColorType, SamplingFactor};

use crate::common::build::{Bmp, LONG, Place, SHORT, Tiff, deflate, lzw, pack, pack_bits};
use crate::common::make::{Anmf, Png, animated_webp, chunk, jpeg_with, lossless, turned_exif, webp_of};
use crate::common::{CORNERS, WHITE, fixture, quadrants};

/// Width and height of the files that are made here.
const W: u32 = 48;
const H: u32 = 32;
const SIZE: (usize, usize) = (W as usize, H as usize);

/// The colours in the middle of the quadrants.
pub(crate) type Corners = [[u8; 3]; 4];

/// What is to become of a file.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Becomes {
    /// Variants of these colours, on white where they are transparent.
    Shown(Corners),
    /// Variants of a part of it.
    Marked,
    /// An error of this code.
    Refused(&'static str),
}

/// A kind of file.
pub(crate) struct Kind {
    pub(crate) name: String,
    pub(crate) file: Vec<u8>,
    pub(crate) becomes: Becomes,
    /// Whether this build, with its features, is one of which that is said.
    pub(crate) of_this_build: bool,
}

fn kind(name: impl Into<String>, file: Vec<u8>, becomes: Becomes) -> Kind {
    Kind { name: name.into(), file, becomes, of_this_build: true }
}

const SHOWN: Becomes = Becomes::Shown(CORNERS);
const CLEAR_CORNER: Becomes = Becomes::Shown([CORNERS[0], CORNERS[1], CORNERS[2], WHITE]);
const UNSUPPORTED: Becomes = Becomes::Refused("unsupported-image");
const TRUNCATED: Becomes = Becomes::Refused("truncated-image");

/// Title and files of every table.
pub(crate) fn sections() -> Vec<(&'static str, Vec<Kind>)> {
    vec![
        ("JPEG", [jpegs(), jpegs_of_other_colors(), jpegs_that_are_not_read()].concat_kinds()),
        ("PNG", pngs()),
        ("WebP", webps()),
        ("GIF", gifs()),
        ("BMP", bmps()),
        ("TIFF", [tiffs(), tiffs_of_other_samples()].concat_kinds()),
        ("AVIF", [containers::avifs(), containers::avifs_of_other_pixels()].concat_kinds()),
        ("HEIC", containers::heics()),
        ("JPEG XL", containers::jxls()),
        ("Everything else", others()),
    ]
}

trait ConcatKinds {
    fn concat_kinds(self) -> Vec<Kind>;
}

impl<const N: usize> ConcatKinds for [Vec<Kind>; N] {
    fn concat_kinds(self) -> Vec<Kind> {
        self.into_iter().flatten().collect()
    }
}

/// One number per pixel, by quadrant.
fn by_quadrant<T: Copy>(values: [T; 4]) -> Vec<T> {
    (0..SIZE.0 * SIZE.1)
        .map(|at| {
            let (x, y) = (at % SIZE.0, at / SIZE.0);
            values[usize::from(x >= SIZE.0 / 2) + 2 * usize::from(y >= SIZE.1 / 2)]
        })
        .collect()
}

/// RGBA whose last quadrant is transparent.
fn rgba() -> Vec<u8> {
    let pixel = |corner: usize| {
        [CORNERS[corner][0], CORNERS[corner][1], CORNERS[corner][2], if corner == 3 { 0 } else { 255 }]
    };
    by_quadrant([pixel(0), pixel(1), pixel(2), pixel(3)]).concat()
}

fn grays(values: [u8; 4]) -> Becomes {
    Becomes::Shown(values.map(|value| [value; 3]))
}

fn jpeg(set: impl FnOnce(&mut jpeg_encoder::Encoder<&mut Vec<u8>>)) -> Vec<u8> {
    jpeg_with((W, H), ColorType::Rgb, &quadrants(W, H), set)
}

/// Changes the frame header: its marker, or bytes of its payload.
fn with_frame(mut file: Vec<u8>, change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let at = file.windows(2).position(|pair| matches!(pair, [0xFF, 0xC0..=0xC2])).unwrap();
    change(&mut file[at..]);
    file
}

fn jpegs() -> Vec<Kind> {
    let mut kinds = vec![
        kind("baseline", jpeg(|_| ()), SHOWN),
        kind("extended sequential, 8 bits", with_frame(jpeg(|_| ()), |frame| frame[1] = 0xC1), SHOWN),
        kind("progressive", jpeg(|encoder| encoder.set_progressive(true)), SHOWN),
        kind(
            "components in separate scans",
            jpeg(|encoder| encoder.set_optimized_huffman_tables(true)),
            SHOWN,
        ),
        kind("restart markers", jpeg(|encoder| encoder.set_restart_interval(2)), SHOWN),
    ];
    let factors = [
        ("4:2:2", SamplingFactor::F_2_1),
        ("4:2:0", SamplingFactor::F_2_2),
        ("4:4:0", SamplingFactor::F_1_2),
        ("4:1:1", SamplingFactor::F_4_1),
        ("4:1:0", SamplingFactor::F_4_2),
        ("chroma quartered vertically", SamplingFactor::F_1_4),
        ("chroma halved horizontally and quartered vertically", SamplingFactor::F_2_4),
    ];
    kinds.extend(
        factors.map(|(name, factor)| kind(name, jpeg(|encoder| encoder.set_sampling_factor(factor)), SHOWN)),
    );
    let turned = jpeg(|encoder| encoder.add_exif_metadata(&turned_exif(6)).unwrap());
    let [red, green, blue, yellow] = CORNERS;
    kinds.push(kind("turned by EXIF", turned, Becomes::Shown([blue, red, yellow, green])));
    let whole = jpeg(|_| ());
    let scan = whole.windows(2).position(|pair| pair == [0xFF, 0xDA]).unwrap();
    // Noise, so that half of the bytes is half of the rows.
    let noisy = darkroom_media::synth::jpeg(&darkroom_media::synth::PhotoSpec {
        width: W,
        height: H,
        ..Default::default()
    });
    kinds.push(kind("cut in its pixels", noisy[..noisy.len() - 300].to_vec(), Becomes::Marked));
    kinds.push(kind("cut in its header", whole[..scan].to_vec(), TRUNCATED));
    kinds
}

fn jpegs_of_other_colors() -> Vec<Kind> {
    let gray = by_quadrant([10_u8, 100, 160, 250]);
    let mut named_rgb = jpeg_with((W, H), ColorType::Ycbcr, &quadrants(W, H), |_| ());
    for (marker, first, stride) in [(0xC0, 10, 3), (0xDA, 5, 2)] {
        let at = named_rgb.windows(2).position(|pair| pair == [0xFF, marker]).unwrap();
        for (index, name) in b"RGB".iter().enumerate() {
            named_rgb[at + first + index * stride] = *name;
        }
    }
    // An encoder's JFIF header would say YCbCr.
    let jfif = 2 + 2 + usize::from(u16::from_be_bytes([named_rgb[4], named_rgb[5]]));
    let named_rgb = [&named_rgb[..2], &named_rgb[jfif..]].concat();
    let inks = CORNERS.map(|[red, green, blue]| [255 - red, 255 - green, 255 - blue, 0]);
    let inked = |color| jpeg_with((W, H), color, &by_quadrant(inks).concat(), |_| ());
    vec![
        kind("gray", jpeg_with((W, H), ColorType::Luma, &gray, |_| ()), grays([10, 100, 160, 250])),
        kind("RGB (Adobe's transform 0)", fixture("rgb.jpg"), SHOWN),
        kind("RGB (components named R, G, B)", named_rgb, SHOWN),
        kind("CMYK, by its profile or else the plain formula", inked(ColorType::Cmyk), SHOWN),
        kind("YCCK, by its profile or else the plain formula", inked(ColorType::CmykAsYcck), SHOWN),
    ]
}

fn jpegs_that_are_not_read() -> Vec<Kind> {
    let of = |marker: u8| with_frame(jpeg(|_| ()), |frame| frame[1] = marker);
    vec![
        kind("12 bits", with_frame(of(0xC1), |frame| frame[4] = 12), UNSUPPORTED),
        kind("arithmetic coding", of(0xC9), UNSUPPORTED),
        kind("lossless", of(0xC3), UNSUPPORTED),
        kind("hierarchical", of(0xC5), UNSUPPORTED),
        kind(
            "height behind the first scan (DNL)",
            with_frame(jpeg(|_| ()), |frame| frame[5..7].fill(0)),
            UNSUPPORTED,
        ),
        kind(
            "two components",
            with_frame(jpeg(|_| ()), |frame| {
                frame[3] -= 3;
                frame[9] = 2;
            }),
            UNSUPPORTED,
        ),
        kind("chroma sampled three times", with_frame(jpeg(|_| ()), |frame| frame[11] = 0x31), UNSUPPORTED),
    ]
}

fn pngs() -> Vec<Kind> {
    let mut kinds = Vec::new();
    for depth in [1, 2, 4, 8, 16] {
        let most = (1_u32 << depth) - 1;
        let levels = [0, most, most / 3, most - most / 3].map(|level| level as u16);
        let shown = levels.map(|level| ((u32::from(level) * 510 + most) / (2 * most)) as u8);
        let png = Png::new(SIZE, 0, depth, by_quadrant(levels));
        kinds.push((format!("gray, {depth} {}", if depth == 1 { "bit" } else { "bits" }), png, grays(shown)));
    }
    let deep = |bytes: Vec<u8>| bytes.into_iter().map(|byte| u16::from(byte) * 257).collect::<Vec<u16>>();
    kinds.push(("RGB, 8 bits".to_owned(), Png::of_bytes(SIZE, &quadrants(W, H)), SHOWN));
    kinds.push(("RGB, 16 bits".to_owned(), Png::new(SIZE, 2, 16, deep(quadrants(W, H))), SHOWN));
    for depth in [1, 2, 4, 8] {
        let indices = if depth == 1 { [0, 1, 1, 0] } else { [0, 1, 2, 3] };
        let colors = indices.map(|index| CORNERS[usize::from(index)]);
        let used = if depth == 1 { 2 } else { 4 };
        let png = Png::new(SIZE, 3, depth, by_quadrant(indices)).with(*b"PLTE", &CORNERS[..used].concat());
        kinds.push((
            format!("palette, {depth} {}", if depth == 1 { "bit" } else { "bits" }),
            png,
            Becomes::Shown(colors),
        ));
    }
    let gray_alpha = by_quadrant([[10_u8, 255], [100, 255], [160, 255], [250, 0]]).concat();
    let shown = grays([10, 100, 160, 255]);
    kinds.push(("gray and alpha, 8 bits".to_owned(), Png::of_bytes(SIZE, &gray_alpha), shown));
    kinds.push(("gray and alpha, 16 bits".to_owned(), Png::new(SIZE, 4, 16, deep(gray_alpha)), shown));
    kinds.push(("RGBA, 8 bits".to_owned(), Png::of_bytes(SIZE, &rgba()), CLEAR_CORNER));
    kinds.push(("RGBA, 16 bits".to_owned(), Png::new(SIZE, 6, 16, deep(rgba())), CLEAR_CORNER));
    let mut rows: Vec<Kind> = Vec::new();
    for (name, png, becomes) in kinds {
        rows.push(kind(name.clone(), png.build(), becomes));
        rows.push(kind(format!("{name}, interlaced"), png.interlaced().build(), becomes));
    }
    rows.extend(other_pngs());
    rows
}

fn other_pngs() -> Vec<Kind> {
    let words = |values: &[u16]| values.iter().flat_map(|value| value.to_be_bytes()).collect::<Vec<u8>>();
    let rgb = Png::of_bytes(SIZE, &quadrants(W, H));
    let clear = CORNERS[3].map(u16::from);
    let gray = Png::new(SIZE, 0, 8, by_quadrant([10, 100, 160, 250]));
    let palette = Png::new(SIZE, 3, 2, by_quadrant([0, 1, 2, 3])).with(*b"PLTE", &CORNERS.concat());
    let file = rgb.build();
    let animated = {
        let frame = |number: u32| {
            let words = [number, W, H, 0, 0].map(u32::to_be_bytes).concat();
            chunk(*b"fcTL", &[words.as_slice(), &[0, 1, 0, 10, 0, 0]].concat())
        };
        let data = [&2_u32.to_be_bytes()[..], &deflate(&vec![0; (SIZE.0 * 3 + 1) * SIZE.1])].concat();
        let control = chunk(*b"acTL", &[2_u32.to_be_bytes(), 0_u32.to_be_bytes()].concat());
        let tail = [frame(1), chunk(*b"fdAT", &data), chunk(*b"IEND", &[])].concat();
        // Behind the header stand the pixels, and the end.
        let pixels = &file[33..file.len() - 12];
        [&file[..33], &control, &frame(0), pixels, &tail].concat()
    };
    let mut damaged = file.clone();
    damaged[60] ^= 0xFF;
    vec![
        kind(
            "transparent colour (tRNS), gray",
            gray.with(*b"tRNS", &words(&[250])).build(),
            grays([10, 100, 160, 255]),
        ),
        kind(
            "transparent colour (tRNS), RGB",
            rgb.clone().with(*b"tRNS", &words(&clear)).build(),
            CLEAR_CORNER,
        ),
        kind("transparent palette (tRNS)", palette.with(*b"tRNS", &[255, 255, 255, 0]).build(), CLEAR_CORNER),
        kind(
            "gamma, background, chromaticities: ignored",
            rgb.with(*b"gAMA", &100_000_u32.to_be_bytes()).with(*b"bKGD", &[0; 6]).build(),
            SHOWN,
        ),
        kind("animated (APNG): its default image", animated, SHOWN),
        kind("a checksum or pixels that are damaged", damaged, Becomes::Refused("corrupt-image")),
        kind("cut", file[..file.len() - 20].to_vec(), TRUNCATED),
    ]
}

fn webps() -> Vec<Kind> {
    let file = webp_of(&[lossless(SIZE, &quadrants(W, H))]);
    let opaque: Vec<u8> =
        quadrants(W, H).chunks(3).flat_map(|pixel| [pixel[0], pixel[1], pixel[2], 255]).collect();
    let still = |rgba: Vec<u8>| Anmf {
        place: (0, 0),
        size: SIZE,
        shown_ms: 100,
        blended: false,
        cleared: false,
        opaque_lossy: false,
        rgba,
    };
    let animated = animated_webp(SIZE, 0, &[still(opaque), still(rgba())], None);
    vec![
        kind("lossy", fixture("lossy.webp"), SHOWN),
        kind("lossless", file.clone(), SHOWN),
        kind("lossy with alpha", fixture("lossy-alpha.webp"), CLEAR_CORNER),
        kind("lossless with alpha", webp_of(&[lossless(SIZE, &rgba())]), CLEAR_CORNER),
        kind("animated", animated, SHOWN),
        kind("cut", file[..file.len() - 4].to_vec(), TRUNCATED),
    ]
}

/// A GIF of the quadrants, so many times.
fn gif(frames: usize, set: impl Fn(&mut gif::Frame<'_>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut probe = gif::Frame::default();
    set(&mut probe);
    let global = if probe.palette.is_some() { Vec::new() } else { CORNERS.concat() };
    let mut encoder = gif::Encoder::new(&mut bytes, W as u16, H as u16, &global).unwrap();
    for _ in 0..frames {
        let mut frame = gif::Frame {
            width: W as u16,
            height: H as u16,
            buffer: by_quadrant([0, 1, 2, 3]).into(),
            ..gif::Frame::default()
        };
        set(&mut frame);
        encoder.write_frame(&frame).unwrap();
    }
    drop(encoder);
    bytes
}

fn gifs() -> Vec<Kind> {
    let plain = gif(1, |_| ());
    let mut old = plain.clone();
    old[4] = b'7';
    let interlaced = gif(1, |frame| {
        frame.interlaced = true;
        let rows: Vec<Vec<u8>> = frame.buffer.chunks(SIZE.0).map(<[u8]>::to_vec).collect();
        let passes = [(0, 8), (4, 8), (2, 4), (1, 2)];
        let order = passes.iter().flat_map(|(first, step)| (*first..rows.len()).step_by(*step));
        frame.buffer = order.flat_map(|y| rows[y].clone()).collect::<Vec<u8>>().into();
    });
    vec![
        kind("GIF87a", old, SHOWN),
        kind("GIF89a", plain.clone(), SHOWN),
        kind("interlaced", interlaced, SHOWN),
        kind("transparent colour", gif(1, |frame| frame.transparent = Some(3)), CLEAR_CORNER),
        kind("palette of its own", gif(1, |frame| frame.palette = Some(CORNERS.concat())), SHOWN),
        kind("animated", gif(2, |_| ()), SHOWN),
        kind("without its trailer", plain[..plain.len() - 1].to_vec(), SHOWN),
        kind("cut in its pixels", plain[..plain.len() - 12].to_vec(), TRUNCATED),
    ]
}

/// Rows of a BMP: blue first, from the bottom, padded to four bytes.
fn upwards(bits: usize, values: &[u64]) -> Vec<u8> {
    let per_row = values.len() / SIZE.1;
    let rows = values.chunks(per_row).rev().map(|row| {
        let mut row = pack(row, bits, false);
        row.resize(row.len().next_multiple_of(4), 0);
        row
    });
    rows.flatten().collect()
}

fn bmps() -> Vec<Kind> {
    let (width, height) = (W.cast_signed(), H.cast_signed());
    let swapped = CORNERS.map(|[red, green, blue]| [blue, green, red]);
    let bytes =
        |pixels: &[[u8; 3]; 4]| by_quadrant(*pixels).concat().into_iter().map(u64::from).collect::<Vec<_>>();
    let indexed = |bits: u16, indices: [u64; 4]| Bmp {
        palette: swapped.to_vec(),
        ..Bmp::new(width, height, bits, upwards(bits.into(), &by_quadrant(indices)))
    };
    let run_lengths = (0..SIZE.1).rev().flat_map(|y| {
        let [left, right] = if y >= SIZE.1 / 2 { [2, 3] } else { [0, 1] };
        [W as u8 / 2, left, W as u8 / 2, right, 0, 0]
    });
    let run_lengths =
        Bmp { compression: 1, pixels: run_lengths.chain([0, 1]).collect(), ..indexed(8, [0; 4]) };
    let plain = Bmp::new(width, height, 24, upwards(8, &bytes(&swapped)));
    let down: Vec<u8> = plain.pixels.chunks(SIZE.0 * 3).rev().flatten().copied().collect();
    let five = |[red, green, blue]: [u8; 3]| {
        u64::from(red >> 3) << 10 | u64::from(green >> 3) << 5 | u64::from(blue >> 3)
    };
    let four = |[red, green, blue]: [u8; 3], alpha: u64| {
        alpha << 24 | u64::from(red) << 16 | u64::from(green) << 8 | u64::from(blue)
    };
    let with_alpha = by_quadrant([
        four(CORNERS[0], 255),
        four(CORNERS[1], 255),
        four(CORNERS[2], 255),
        four(CORNERS[3], 0),
    ]);
    let masks = vec![0xFF_0000, 0xFF00, 0xFF, 0xFF00_0000];
    let wraps = |compression| Bmp { compression, bits: 0, ..plain.clone() }.build();
    let two = [CORNERS[0], CORNERS[1], CORNERS[1], CORNERS[0]];
    vec![
        kind(
            "palette, 1 bit",
            Bmp { palette: swapped[..2].to_vec(), ..indexed(1, [0, 1, 1, 0]) }.build(),
            Becomes::Shown(two),
        ),
        kind("palette, 4 bits", indexed(4, [0, 1, 2, 3]).build(), SHOWN),
        kind("palette, 8 bits", indexed(8, [0, 1, 2, 3]).build(), SHOWN),
        kind("palette, 8 bits, run lengths", run_lengths.build(), SHOWN),
        kind(
            "16 bits",
            Bmp::new(width, height, 16, upwards(16, &by_quadrant(CORNERS.map(five)))).build(),
            SHOWN,
        ),
        kind("24 bits", plain.build(), SHOWN),
        kind("24 bits, rows from the top", Bmp::new(width, -height, 24, down).build(), SHOWN),
        kind("24 bits, OS/2", Bmp { header: 12, ..plain.clone() }.build(), SHOWN),
        kind("24 bits, version 5", Bmp { header: 124, ..plain.clone() }.build(), SHOWN),
        kind(
            "32 bits",
            Bmp::new(width, height, 32, upwards(32, &by_quadrant(CORNERS.map(|color| four(color, 0)))))
                .build(),
            SHOWN,
        ),
        kind(
            "32 bits with masks and alpha",
            Bmp { compression: 6, masks, ..Bmp::new(width, height, 32, upwards(32, &with_alpha)) }.build(),
            CLEAR_CORNER,
        ),
        kind("a JPEG inside", wraps(4), UNSUPPORTED),
        kind("a PNG inside", wraps(5), UNSUPPORTED),
        kind("cut", plain.build()[..2000].to_vec(), TRUNCATED),
    ]
}

/// The lists behind the directory, so that the probe reads them.
fn tiff() -> Tiff {
    let mut tiff = Tiff::new(W, H).kind(2, 3, 8);
    tiff.place = Place::First;
    tiff
}

fn laid_out(place: Place, big_endian: bool, big: bool) -> Tiff {
    let mut tiff = tiff();
    (tiff.place, tiff.big_endian, tiff.big) = (place, big_endian, big);
    tiff
}

/// In strips of eight rows.
fn strips(tiff: Tiff, compress: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let pixels = quadrants(W, H);
    let tiff = tiff.with(278, LONG, &[8]);
    pixels.chunks(SIZE.0 * 3 * 8).fold(tiff, |tiff, strip| tiff.chunk(compress(strip))).build()
}

fn tiffs() -> Vec<Kind> {
    let whole = quadrants(W, H);
    let plain = |tiff: Tiff| tiff.chunk(whole.clone()).build();
    let tiled = {
        let tiff = tiff().with(322, SHORT, &[16]).with(323, SHORT, &[16]);
        let tile = |left: usize, top: usize| {
            (0..16).flat_map(|y| whole[((top + y) * SIZE.0 + left) * 3..][..48].to_vec()).collect::<Vec<u8>>()
        };
        let places =
            (0..SIZE.1).step_by(16).flat_map(|top| (0..SIZE.0).step_by(16).map(move |left| (left, top)));
        places.fold(tiff, |tiff, (left, top)| tiff.chunk(tile(left, top))).build()
    };
    let planar = (0..3).fold(tiff().with(284, SHORT, &[2]), |tiff, channel| {
        tiff.chunk(whole.iter().skip(channel).step_by(3).copied().collect::<Vec<u8>>())
    });
    let differences = |strip: &[u8]| {
        let rows = strip.chunks(SIZE.0 * 3).flat_map(|row| {
            (0..row.len()).map(|at| row[at].wrapping_sub(if at < 3 { 0 } else { row[at - 3] }))
        });
        lzw(&rows.collect::<Vec<u8>>())
    };
    let coded = jpeg(|_| ());
    let compressed = |code| tiff().with(259, SHORT, &[code]);
    let [red, green, blue, yellow] = CORNERS;
    let refused = |code| plain(compressed(code));
    vec![
        kind("strips", strips(tiff(), <[u8]>::to_vec), SHOWN),
        kind("tiles", tiled, SHOWN),
        kind("planes", planar.build(), SHOWN),
        kind("big-endian", plain(laid_out(Place::First, true, false)), SHOWN),
        kind("BigTIFF", plain(laid_out(Place::First, false, true)), SHOWN),
        kind("pixels before the directory", plain(laid_out(Place::Last, false, false)), SHOWN),
        kind(
            "turned by its orientation",
            plain(tiff().with(274, SHORT, &[6])),
            Becomes::Shown([blue, red, yellow, green]),
        ),
        kind("LZW", strips(compressed(5), lzw), SHOWN),
        kind("LZW with differences", strips(compressed(5).with(317, SHORT, &[2]), differences), SHOWN),
        kind("deflate", strips(compressed(8), deflate), SHOWN),
        kind("PackBits", strips(compressed(32_773), pack_bits), SHOWN),
        kind("JPEG", compressed(7).with(262, SHORT, &[6]).chunk(coded).build(), SHOWN),
        kind("fax (CCITT)", refused(4), UNSUPPORTED),
        kind("JPEG of the old style", refused(6), UNSUPPORTED),
        kind("Zstandard", refused(50_000), UNSUPPORTED),
        kind("a camera raw photo (DNG)", plain(tiff().with(50_706, 1, &[1, 4, 0, 0])), UNSUPPORTED),
        kind("cut", strips(laid_out(Place::First, false, false), <[u8]>::to_vec)[..3000].to_vec(), TRUNCATED),
    ]
}

fn tiffs_of_other_samples() -> Vec<Kind> {
    let gray = |bits: u64, levels: [u64; 4]| {
        Tiff::new(W, H).kind(1, 1, bits).chunk(pack(&by_quadrant(levels), bits as usize, false)).build()
    };
    let words: Vec<u64> = quadrants(W, H).iter().map(|byte| u64::from(*byte) * 257).collect();
    let reals: Vec<u64> =
        quadrants(W, H).iter().map(|byte| u64::from((f32::from(*byte) / 255.0).to_bits())).collect();
    let palette: Vec<u64> = (0..3)
        .flat_map(|channel| {
            (0..16).map(move |index| CORNERS.get(index).map_or(0, |color| u64::from(color[channel]) * 257))
        })
        .collect();
    let indices = pack(&by_quadrant([0, 1, 2, 3]), 4, false);
    let inks =
        by_quadrant(CORNERS.map(|[red, green, blue]| [255 - red, 255 - green, 255 - blue, 0])).concat();
    let grays_of = |levels: [u8; 4]| grays(levels);
    vec![
        kind("gray, 1 bit", gray(1, [0, 1, 1, 0]), grays_of([0, 255, 255, 0])),
        kind("gray, 4 bits", gray(4, [0, 5, 10, 15]), grays_of([0, 85, 170, 255])),
        kind("gray, 8 bits", gray(8, [10, 100, 160, 250]), grays_of([10, 100, 160, 250])),
        kind("gray, 12 bits", gray(12, [0, 1365, 2730, 4095]), grays_of([0, 85, 170, 255])),
        kind("gray, 16 bits", gray(16, [0, 21_845, 43_690, 65_535]), grays_of([0, 85, 170, 255])),
        kind(
            "palette, 4 bits",
            Tiff::new(W, H).kind(3, 1, 4).with(320, SHORT, &palette).chunk(indices).build(),
            SHOWN,
        ),
        kind("RGB, 16 bits", Tiff::new(W, H).kind(2, 3, 16).chunk(pack(&words, 16, false)).build(), SHOWN),
        kind(
            "RGB, floats of 32 bits",
            Tiff::new(W, H)
                .kind(2, 3, 32)
                .with(339, SHORT, &[3, 3, 3])
                .chunk(pack(&reals, 32, false))
                .build(),
            SHOWN,
        ),
        kind(
            "RGB and alpha, 8 bits",
            Tiff::new(W, H).kind(2, 4, 8).with(338, SHORT, &[2]).chunk(rgba()).build(),
            CLEAR_CORNER,
        ),
        kind(
            "CMYK, by its profile or else the plain formula",
            Tiff::new(W, H).kind(5, 4, 8).chunk(inks).build(),
            SHOWN,
        ),
        kind(
            "signed samples",
            Tiff::new(W, H).kind(2, 3, 8).with(339, SHORT, &[2, 2, 2]).chunk(quadrants(W, H)).build(),
            UNSUPPORTED,
        ),
    ]
}

fn others() -> Vec<Kind> {
    let padded = |head: &[u8]| [head, &[b' '; 64]].concat();
    vec![
        kind("SVG", padded(b"<svg xmlns='http://www.w3.org/2000/svg'/>"), UNSUPPORTED),
        kind("PDF", padded(b"%PDF-1.7\n"), UNSUPPORTED),
        kind("Photoshop", padded(b"8BPS\0\x01"), UNSUPPORTED),
        kind("JPEG 2000", padded(b"\0\0\0\x0CjP  \r\n\x87\n"), UNSUPPORTED),
        kind("a camera raw photo (Fujifilm)", padded(b"FUJIFILMCCD-RAW 0201"), UNSUPPORTED),
        kind("a video", padded(b"\0\0\0\x18ftypisom\0\0\0\0"), UNSUPPORTED),
        kind("text", padded(b"hello"), UNSUPPORTED),
        kind("nothing", Vec::new(), Becomes::Refused("empty-image")),
    ]
}
