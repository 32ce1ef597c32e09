//! The estimate of memory against the truth, counted by the allocator.
//!
//! One test, because the allocator counts for the whole process.
#![allow(clippy::unwrap_used, reason = "in a test, what is missing should panic")]
#![allow(unsafe_code, reason = "a global allocator cannot be written without; it only counts and passes on")]

mod common;
#[path = "common/heif.rs"]
mod heif;

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::Cursor;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::build::{Bmp, SHORT, Tiff, deflate, lzw};
use common::fixture;
use common::make::jpeg_with;
use common::printer::odd_printer;
use darkroom_media::synth::{PhotoSpec, jpeg};
use darkroom_media::{Limits, Orientation, Preset, Scratch, decode, probe, render};

/// Counts live bytes and their peak.
struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

fn grown(bytes: usize) {
    let live = LIVE.fetch_add(bytes, Ordering::Relaxed) + bytes;
    PEAK.fetch_max(live, Ordering::Relaxed);
}

// SAFETY: every call is passed on to the system's allocator unchanged, and counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grown(layout.size());
        // SAFETY: the caller keeps the contract of `alloc`, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        grown(layout.size());
        // SAFETY: the caller keeps the contract of `alloc_zeroed`, which is the same.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `dealloc`, which is the same.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // While it moves, the old block and the new one are both held.
        grown(size);
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `realloc`, which is the same.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Bytes held at the peak beyond what was held before, variants kept as by a caller who stores them late.
fn truth(original: &[u8], presets: &[Preset], scratch: &mut Scratch) -> u64 {
    let limits = Limits::default();
    let found = probe(original, &limits).unwrap();
    let before = LIVE.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let mut variants = Vec::with_capacity(presets.len());
    let photo = decode(original, &found, &limits, scratch).unwrap();
    render(photo, presets, scratch, &mut |variant, _| variants.push(variant)).unwrap();
    (PEAK.load(Ordering::Relaxed) - before) as u64
}

#[expect(clippy::print_stdout, reason = "`cargo test --test memory -- --nocapture` shows the figures")]
/// Compares estimate and truth with a fresh scratch. `tight` also asks for an estimate of at most half above the truth.
fn compare(name: &str, original: &[u8], presets: &[Preset], tight: bool) {
    let estimate = probe(original, &Limits::default()).unwrap().cost(presets, &Limits::default()).peak_bytes;
    let truth = truth(original, presets, &mut Scratch::default());
    let ratio = estimate as f64 / truth as f64;
    println!(
        "{name:32} estimate {:8.2} MB, truth {:8.2} MB, ratio {ratio:.3}",
        estimate as f64 / 1e6,
        truth as f64 / 1e6
    );
    assert!(truth <= estimate, "{name}: {truth} bytes were held and {estimate} estimated");
    assert!(!tight || ratio <= 1.5, "{name}: the estimate of {estimate} bytes is {ratio:.2} times the truth");
}

const WIDTH: u32 = 4032;
const HEIGHT: u32 = 3024;

/// Pixels that compress neither well nor badly: a gradient with noise in the low bits.
fn pixels(channels: usize, width: u32, height: u32) -> Vec<u8> {
    let mut state = 1_u32;
    (0..width as usize * height as usize * channels)
        .map(|index| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            ((index / 4096) as u8).wrapping_add((state >> 28) as u8)
        })
        .collect()
}

fn png(color: png::ColorType, depth: png::BitDepth, bytes_per_pixel: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, WIDTH, HEIGHT);
    encoder.set_color(color);
    encoder.set_depth(depth);
    encoder.set_compression(png::Compression::Fastest);
    encoder.write_header().unwrap().write_image_data(&pixels(bytes_per_pixel, WIDTH, HEIGHT)).unwrap();
    bytes
}

fn webp(color: image_webp::ColorType, channels: usize) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    let encoder = image_webp::WebPEncoder::new(&mut bytes);
    encoder.encode(&pixels(channels, WIDTH, HEIGHT), WIDTH, HEIGHT, color).unwrap();
    bytes.into_inner()
}

fn gif(dispose: gif::DisposalMethod) -> Vec<u8> {
    let palette: Vec<u8> = (0..=255_u8).flat_map(|value| [value; 3]).collect();
    let mut bytes = Vec::new();
    let mut encoder = gif::Encoder::new(&mut bytes, WIDTH as u16, HEIGHT as u16, &palette).unwrap();
    let frame = gif::Frame {
        width: WIDTH as u16,
        height: HEIGHT as u16,
        buffer: pixels(1, WIDTH, HEIGHT).into(),
        dispose,
        ..gif::Frame::default()
    };
    encoder.write_frame(&frame).unwrap();
    drop(encoder);
    bytes
}

#[test]
fn the_estimate_is_never_below_the_truth_and_at_twelve_megapixels_close_to_it() {
    let ladder = Preset::default_ladder();
    let photo = PhotoSpec::default();
    compare("JPEG baseline", &jpeg(&photo), &ladder, true);
    compare("JPEG progressive", &jpeg(&PhotoSpec { progressive: true, ..photo }), &ladder, true);
    let turned = PhotoSpec { orientation: Orientation::Rotate90, ..photo };
    compare("JPEG turned", &jpeg(&turned), &ladder, true);
    compare("JPEG portrait", &jpeg(&PhotoSpec { width: HEIGHT, height: WIDTH, ..photo }), &ladder, true);
    compare("PNG RGB", &png(png::ColorType::Rgb, png::BitDepth::Eight, 3), &ladder, true);
    compare("PNG RGBA", &png(png::ColorType::Rgba, png::BitDepth::Eight, 4), &ladder, true);
    compare("PNG RGBA 16 bit", &png(png::ColorType::Rgba, png::BitDepth::Sixteen, 8), &ladder, true);
    compare("WebP lossless", &webp(image_webp::ColorType::Rgb8, 3), &ladder, true);
    compare("WebP lossless with alpha", &webp(image_webp::ColorType::Rgba8, 4), &ladder, true);
    compare("WebP lossy", &fixture("flat-12mp.webp"), &ladder, true);
    compare("GIF", &gif(gif::DisposalMethod::Keep), &ladder, true);
    compare("GIF, restored after its frame", &gif(gif::DisposalMethod::Previous), &ladder, true);

    heif_and_jxl(&ladder);

    // Where the shape or the presets are unusual, the estimate may be far above, but not below.
    compare("PNG gray", &png(png::ColorType::Grayscale, png::BitDepth::Eight, 1), &ladder, false);
    for (width, height) in [(1, 1), (17, 3), (640, 480), (2048, 1536), (65_500, 1), (1, 65_500), (65_500, 64)]
    {
        for progressive in [false, true] {
            for orientation in [Orientation::Upright, Orientation::Rotate90] {
                let spec = PhotoSpec { width, height, progressive, orientation, ..photo };
                let name = format!("JPEG {width}×{height}");
                compare(&name, &jpeg(&spec), &ladder, false);
            }
        }
    }
    let huge = |side, quality| Preset { width: side, height: side, quality, ..ladder[0].clone() };
    let dense = [huge(16_384, 100), huge(4000, 100), huge(3900, 90), huge(2000, 80), huge(2000, 50)];
    compare("JPEG with large presets", &jpeg(&photo), &dense, false);
    compare("JPEG turned with large presets", &jpeg(&turned), &dense, false);
    compare(
        "PNG RGBA with large presets",
        &png(png::ColorType::Rgba, png::BitDepth::Eight, 4),
        &dense,
        false,
    );
    for name in ["animated.webp", "lossy-alpha.webp", "turned.png", "interlaced.gif", "rgb.jpg"] {
        compare(name, &fixture(name), &ladder, false);
    }
    bitmaps(&ladder);
    warm_scratch(&ladder);
}

/// BMP and TIFF: rows go into the frame one by one, but for JPEGs inside a TIFF.
fn bitmaps(ladder: &[Preset]) {
    let tiff = |samples, bits, compression| {
        Tiff::new(WIDTH, HEIGHT).kind(2, samples, bits).with(259, SHORT, &[compression])
    };
    compare("TIFF RGB, one strip", &tiff(3, 8, 1).chunk(pixels(3, WIDTH, HEIGHT)).build(), ladder, true);
    let deep = tiff(3, 16, 5).with(317, SHORT, &[2]).chunk(lzw(&pixels(6, WIDTH, HEIGHT)));
    compare("TIFF RGB 16 bit, one LZW strip", &deep.build(), ladder, true);
    let tiles = tiff(3, 16, 8).with(284, SHORT, &[2]).with(322, SHORT, &[512]).with(323, SHORT, &[512]);
    let tile = deflate(&pixels(2, 512, 512));
    let tiles = (0..3 * 8 * 6).fold(tiles, |tiff, _| tiff.chunk(tile.clone()));
    compare("TIFF RGB 16 bit, planar tiles", &tiles.build(), ladder, true);
    let cmyk = Tiff::new(WIDTH, HEIGHT).kind(5, 4, 8).chunk(pixels(4, WIDTH, HEIGHT));
    compare("TIFF CMYK", &cmyk.build(), ladder, true);
    let printer = odd_printer();
    let cmyk = Tiff::new(WIDTH, HEIGHT).kind(5, 4, 16).with_block(34_675, &printer);
    let cmyk = cmyk.chunk(pixels(8, WIDTH, HEIGHT));
    compare("TIFF CMYK 16 bit, with a profile", &cmyk.build(), ladder, true);
    for (width, height) in [(1, 1), (640, 480)] {
        let inks = pixels(4, width, height);
        let cmyk = Tiff::new(width, height).kind(5, 4, 8).with_block(34_675, &printer).chunk(inks.clone());
        compare(&format!("TIFF CMYK {width}×{height}, with a profile"), &cmyk.build(), ladder, false);
        let color = jpeg_encoder::ColorType::Cmyk;
        let cmyk =
            jpeg_with((width, height), color, &inks, |encoder| encoder.add_icc_profile(&printer).unwrap());
        compare(&format!("JPEG CMYK {width}×{height}, with a profile"), &cmyk, ladder, false);
    }
    let ycbcr = |strip: Vec<u8>| tiff(3, 8, 7).with(262, SHORT, &[6]).chunk(strip).build();
    compare("TIFF of one JPEG", &ycbcr(jpeg(&PhotoSpec::default())), ladder, false);
    let small = Tiff::new(20, 20).with(259, SHORT, &[8]).chunk(deflate(&[7; 400]));
    compare("TIFF 20×20", &small.build(), ladder, false);
    for (width, height) in [(1, 1), (2000, 1000), (65_500, 1), (1, 65_500)] {
        let name = format!("TIFF {width}×{height}, planar inks");
        let inks = Tiff::new(width, height).kind(5, 4, 16).with(259, SHORT, &[5]).with(284, SHORT, &[2]);
        let plane = lzw(&pixels(2, width, height));
        compare(&name, &(0..4).fold(inks, |tiff, _| tiff.chunk(plane.clone())).build(), ladder, false);
        let name = format!("TIFF {width}×{height}, JPEG");
        let strip = jpeg(&PhotoSpec { width, height, ..PhotoSpec::default() });
        let one = Tiff::new(width, height).kind(6, 3, 8).with(259, SHORT, &[7]).chunk(strip);
        compare(&name, &one.build(), ladder, false);
    }
    let bmp =
        |bits: u16| Bmp::new(WIDTH as i32, HEIGHT as i32, bits, pixels(usize::from(bits / 8), WIDTH, HEIGHT));
    compare("BMP 24 bit", &bmp(24).build(), ladder, true);
    compare("BMP 8 bit", &Bmp { palette: vec![[1, 2, 3]; 256], ..bmp(8) }.build(), ladder, true);
}

/// The formats whose codecs hold more than the picture.
fn heif_and_jxl(ladder: &[Preset]) {
    #[cfg(any(feature = "heic", feature = "jxl"))]
    let (width, height) = (2048, 1536);
    // A tile many times: to encode a whole picture takes minutes without optimisation.
    let tiled = |brand, (across, down): (u32, u32), tile: &heif::Item, side: u32| {
        let (columns, rows) = (across.div_ceil(side), down.div_ceil(side));
        let parts = (1..=columns * rows).map(|id| heif::Item { id: id as u16, ..tile.clone() }).collect();
        heif::grid(brand, columns as u8, (across, down), parts).bytes()
    };
    for depth in [8, 10] {
        let (_, tile) = heif::avif(1, (128, 128), &pixels(3, 128, 128), depth);
        compare(
            &format!("AVIF of tiles, {depth} bits"),
            &tiled(*b"avif", (1536, 1024), &tile, 128),
            ladder,
            false,
        );
        let (whole, _) = heif::avif(1, (400, 300), &pixels(3, 400, 300), depth);
        compare(&format!("AVIF in one piece, {depth} bits"), &whole, ladder, false);
    }
    #[cfg(feature = "heic")]
    {
        // As phones store 12 MP.
        let tile = heif::hevc(1, (512, 512), [90, 120, 140]);
        compare("HEIC of tiles", &tiled(*b"heic", (WIDTH, HEIGHT), &tile, 512), ladder, true);
        let whole = heif::HeifFile::of(*b"heic", heif::hevc(1, (width, height), [90, 120, 140]));
        compare("HEIC in one piece", &whole.bytes(), ladder, false);
    }
    #[cfg(feature = "jxl")]
    {
        use zune_core::{bit_depth::BitDepth, colorspace::ColorSpace, options::EncoderOptions};
        let options = EncoderOptions::new(width as usize, height as usize, ColorSpace::RGB, BitDepth::Eight);
        let (samples, mut file) = (pixels(3, width, height), Vec::new());
        let encoder = zune_jpegxl::JxlSimpleEncoder::new(&samples, options);
        encoder.encode(&mut file).unwrap();
        compare("JPEG XL, lossless", &file, ladder, false);
    }
}

/// A scratch that served a large photo adds at most what it says it keeps.
fn warm_scratch(ladder: &[Preset]) {
    let mut scratch = Scratch::default();
    truth(&jpeg(&PhotoSpec::default()), ladder, &mut scratch);
    let kept = scratch.bytes();
    assert!(kept > 0 && kept <= Scratch::KEPT_BYTES_MAX, "{kept} bytes are kept");
    let small = jpeg(&PhotoSpec { width: 640, height: 480, ..PhotoSpec::default() });
    let estimate = probe(&small, &Limits::default()).unwrap().cost(ladder, &Limits::default()).peak_bytes;
    let more = truth(&small, ladder, &mut scratch);
    assert!(more <= estimate, "{more} bytes beyond the scratch, {estimate} estimated");
    let larger = jpeg(&PhotoSpec { width: 6000, height: 4500, ..PhotoSpec::default() });
    truth(&larger, ladder, &mut scratch);
    assert!(scratch.bytes() <= Scratch::KEPT_BYTES_MAX, "{} bytes are kept", scratch.bytes());
}
