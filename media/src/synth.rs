//! Photos that never were: JPEGs with the noise and the detail of real ones, for benchmarks and tests.
//!
//! What makes a photo costly is its entropy: coefficients in every block, few runs of zeros. So a picture is built from
//! what a camera sees: large soft areas and texture (octaves of value noise), edges of objects, and the noise of a
//! sensor. At quality 92 and 4:2:0 a 12 MP picture comes out at 3 to 3.5 MB, like a phone's. The noise comes from one
//! periodic tile, read at offsets that depend on the seed, so that a picture is generated faster than it is encoded.

use std::sync::OnceLock;

use jpeg_encoder::{ChromaSubsamplingMethod, Encoder, ImageBuffer, JpegColorType, SamplingFactor};

use crate::Orientation;

/// What to generate. The same spec gives the same bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PhotoSpec {
    /// Other seeds give other pictures.
    pub seed: u64,
    /// Pixels per row, as stored; 1 to 65,535.
    pub width: u32,
    /// Rows, as stored; 1 to 65,535.
    pub height: u32,
    /// 1 to 100, on libjpeg's scale. Phones use about 92.
    pub quality: u8,
    /// Progressive rather than baseline.
    pub progressive: bool,
    /// Written into the EXIF block; the pixels are not turned.
    pub orientation: Orientation,
}

impl Default for PhotoSpec {
    /// 4032 × 3024 pixels (12 MP), quality 92, baseline, upright.
    fn default() -> Self {
        Self {
            seed: 0,
            width: 4032,
            height: 3024,
            quality: 92,
            progressive: false,
            orientation: Orientation::Upright,
        }
    }
}

/// Generates a photo as a 4:2:0 JPEG. Its EXIF block names the orientation, a camera and a GPS position, so that a test
/// can show that variants carry none of them.
///
/// # Panics
///
/// When width, height or quality are outside the ranges of [`PhotoSpec`].
pub fn jpeg(spec: &PhotoSpec) -> Vec<u8> {
    let sides = 1..=u32::from(u16::MAX);
    assert!(
        sides.contains(&spec.width) && sides.contains(&spec.height),
        "a JPEG has sides of 1 to 65535 pixels"
    );
    assert!((1..=100).contains(&spec.quality), "quality goes from 1 to 100");
    let mut bytes = Vec::with_capacity((spec.width as usize * spec.height as usize) / 3 + 4096);
    let mut encoder = Encoder::new(&mut bytes, spec.quality);
    encoder.set_sampling_factor(SamplingFactor::F_2_2);
    encoder.set_chroma_subsampling_method(ChromaSubsamplingMethod::Nearest);
    encoder.set_progressive(spec.progressive);
    let outcome =
        encoder.add_exif_metadata(&exif_block(spec)).and_then(|()| encoder.encode_image(Scene::new(spec)));
    assert!(outcome.is_ok(), "encoding into memory with valid settings cannot fail: {outcome:?}");
    bytes
}

/// Side of the noise tile in pixels, a power of two.
const TILE: usize = 512;
const MASK: usize = TILE - 1;
/// Shapes with hard edges in a picture.
const SHAPES: usize = 40;

/// A pseudorandom sequence (`SplitMix64`, Steele et al. 2014): small, and the same everywhere.
struct Sequence(u64);

impl Sequence {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// From 0 to below `bound`, which is small.
    fn below(&mut self, bound: u32) -> u32 {
        (self.next() >> 32) as u32 % bound
    }
}

/// Noise that repeats every [`TILE`] pixels both ways, about -64 to 64.
struct Tiles {
    /// Octaves of value noise with periods of 64 to 4 pixels.
    texture: Vec<i8>,
    /// White noise of a roughly normal distribution.
    sensor: Vec<i8>,
}

fn tiles() -> &'static Tiles {
    static TILES: OnceLock<Tiles> = OnceLock::new();
    TILES.get_or_init(|| {
        let mut random = Sequence(42);
        let mut texture = vec![0.0_f32; TILE * TILE];
        for (period, amplitude) in [(64_usize, 28.0_f32), (32, 18.0), (16, 12.0), (8, 8.0), (4, 5.0)] {
            let side = TILE / period;
            let grid: Vec<f32> =
                (0..side * side).map(|_| (random.below(2001) as f32 / 1000.0 - 1.0) * amplitude).collect();
            for (index, value) in texture.iter_mut().enumerate() {
                *value += interpolate(&grid, side, period, index & MASK, index / TILE);
            }
        }
        let sensor = (0..TILE * TILE)
            .map(|_| {
                // The sum of four even distributions is close to normal.
                let sum: u32 = (0..4).map(|_| random.below(33)).sum();
                (sum as i32 - 64) as i8
            })
            .collect();
        Tiles { texture: texture.iter().map(|value| value.clamp(-127.0, 127.0) as i8).collect(), sensor }
    })
}

/// Value noise at a pixel: the grid's corners around it, weighted by a smooth step.
fn interpolate(grid: &[f32], side: usize, period: usize, x: usize, y: usize) -> f32 {
    let smooth = |t: f32| t * t * (3.0 - 2.0 * t);
    let (left, top) = (x / period, y / period);
    let (right, bottom) = ((left + 1) % side, (top + 1) % side);
    let across = smooth((x % period) as f32 / period as f32);
    let down = smooth((y % period) as f32 / period as f32);
    let mix = |a: f32, b: f32, t: f32| a + (b - a) * t;
    let upper = mix(grid[top * side + left], grid[top * side + right], across);
    let lower = mix(grid[bottom * side + left], grid[bottom * side + right], across);
    mix(upper, lower, down)
}

/// A slanted bar or an ellipse of another brightness and tint.
#[derive(Debug, Clone, Copy)]
struct Shape {
    x: i32,
    y: i32,
    half_width: i32,
    half_height: i32,
    /// Horizontal shift per row in 1/256 pixel; ellipses have none.
    slant: i32,
    ellipse: bool,
    light: i16,
    tint: i16,
}

impl Shape {
    fn random(random: &mut Sequence, width: i32, height: i32) -> Self {
        let side = width.max(height).max(16) as u32;
        let ellipse = random.below(2) == 0;
        Self {
            x: random.below(width as u32) as i32,
            y: random.below(height as u32) as i32,
            half_width: random.below(side / 8) as i32 + 1,
            half_height: random.below(side / 6) as i32 + 1,
            slant: if ellipse { 0 } else { random.below(512) as i32 - 256 },
            ellipse,
            light: random.below(97) as i16 - 48,
            tint: random.below(49) as i16 - 24,
        }
    }

    /// The columns that it covers in a row.
    fn span(&self, row: i32, width: i32) -> std::ops::Range<usize> {
        let down = row - self.y;
        if down.abs() >= self.half_height {
            return 0..0;
        }
        let half = if self.ellipse {
            let t = down as f32 / self.half_height as f32;
            (self.half_width as f32 * (1.0 - t * t).sqrt()) as i32
        } else {
            self.half_width
        };
        let centre = self.x + down * self.slant / 256;
        // Clamped to the row, so neither is negative.
        (centre - half).clamp(0, width) as usize..(centre + half).clamp(0, width) as usize
    }
}

/// The picture, row by row: nothing is held but the row that the encoder asks for.
struct Scene {
    width: u16,
    height: u16,
    /// Where in the tiles the picture begins: sky, ground, texture, sensor, blue, red.
    offsets: [(usize, usize); 6],
    shapes: Vec<Shape>,
}

impl Scene {
    fn new(spec: &PhotoSpec) -> Self {
        let mut random = Sequence(spec.seed.wrapping_mul(0x2545_F491_4F6C_DD1D) ^ 0x6461_726B);
        let (width, height) = (spec.width as i32, spec.height as i32);
        let offsets = [(); 6].map(|()| (random.next() as usize & MASK, random.next() as usize & MASK));
        let shapes = (0..SHAPES).map(|_| Shape::random(&mut random, width, height)).collect();
        // Both were compared with the greatest side of a JPEG.
        Self { width: spec.width as u16, height: spec.height as u16, offsets, shapes }
    }

    /// A row of a tile: where it begins, and its pixels.
    fn tile_row(tile: &[i8], (_, top): (usize, usize), y: usize) -> &[i8] {
        &tile[((top + y) & MASK) * TILE..][..TILE]
    }
}

impl ImageBuffer for Scene {
    fn get_jpeg_color_type(&self) -> JpegColorType {
        JpegColorType::Ycbcr
    }

    fn width(&self) -> u16 {
        self.width
    }

    fn height(&self) -> u16 {
        self.height
    }

    fn fill_buffers(&self, y: u16, buffers: &mut [Vec<u8>; 4]) {
        let (row, width) = (usize::from(y), usize::from(self.width));
        let mut light = vec![0_i16; width];
        let mut tint = vec![0_i16; width];
        for shape in &self.shapes {
            let span = shape.span(i32::from(y), i32::from(self.width));
            for value in &mut light[span.clone()] {
                *value += shape.light;
            }
            for value in &mut tint[span] {
                *value += shape.tint;
            }
        }
        let tiles = tiles();
        let [sky, ground, texture, sensor, blue, red] = self.offsets;
        let sky_row = Self::tile_row(&tiles.texture, sky, row / 16);
        let ground_row = Self::tile_row(&tiles.texture, ground, row / 4);
        let texture_row = Self::tile_row(&tiles.texture, texture, row);
        let sensor_row = Self::tile_row(&tiles.sensor, sensor, row);
        let blue_row = Self::tile_row(&tiles.texture, blue, row / 8);
        let red_row = Self::tile_row(&tiles.texture, red, row / 8);
        let at = |tile: &[i8], (left, _): (usize, usize), x: usize| i16::from(tile[(left + x) & MASK]);
        let [lumas, blues, reds, _] = buffers;
        lumas.extend((0..width).map(|x| {
            let soft = at(sky_row, sky, x / 16) + at(ground_row, ground, x / 4) / 2;
            let fine = at(texture_row, texture, x) / 4 + at(sensor_row, sensor, x) / 4;
            (128 + soft + fine + light[x]).clamp(0, 255) as u8
        }));
        let chroma = |tile: &[i8], offset, sign: i16| {
            let noise =
                (0..width).map(move |x| at(tile, offset, x / 8) / 3 + at(sensor_row, offset, x / 2) / 16);
            let tinted = noise.zip(&tint).map(move |(noise, tint)| 128 + noise + sign * tint);
            tinted.map(|value| value.clamp(0, 255) as u8).collect::<Vec<u8>>()
        };
        blues.extend(chroma(blue_row, blue, -1));
        reds.extend(chroma(red_row, red, 1));
    }
}

/// A TIFF structure with the orientation, a camera, and a position in the GPS directory (CIPA DC-008).
fn exif_block(spec: &PhotoSpec) -> Vec<u8> {
    const MAKE: &[u8] = b"Darkroom\0";
    const MODEL: &[u8] = b"Synth 1\0";
    // Fixed layout: header 8, four entries, then two strings, the GPS directory of four entries, and two positions.
    const ENTRIES: u16 = 4;
    const DIRECTORY: u32 = 2 + ENTRIES as u32 * 12 + 4;
    const MAKE_AT: u32 = 8 + DIRECTORY;
    const MODEL_AT: u32 = MAKE_AT + 10;
    const GPS_AT: u32 = MODEL_AT + 8;
    const LATITUDE_AT: u32 = GPS_AT + DIRECTORY;
    const LONGITUDE_AT: u32 = LATITUDE_AT + 24;
    let mut out = b"II*\0".to_vec();
    let long = |out: &mut Vec<u8>, value: u32| out.extend(value.to_le_bytes());
    let entry = |out: &mut Vec<u8>, tag: u16, kind: u16, count: u32, value: u32| {
        out.extend(tag.to_le_bytes());
        out.extend(kind.to_le_bytes());
        out.extend(count.to_le_bytes());
        out.extend(value.to_le_bytes());
    };
    long(&mut out, 8);
    out.extend(ENTRIES.to_le_bytes());
    entry(&mut out, 0x010F, 2, MAKE.len() as u32, MAKE_AT);
    entry(&mut out, 0x0110, 2, MODEL.len() as u32, MODEL_AT);
    entry(&mut out, 0x0112, 3, 1, u32::from(spec.orientation.exif()));
    entry(&mut out, 0x8825, 4, 1, GPS_AT);
    long(&mut out, 0);
    out.extend(MAKE);
    out.push(0);
    out.extend(MODEL);
    out.extend(ENTRIES.to_le_bytes());
    entry(&mut out, 1, 2, 2, u32::from(b'N'));
    entry(&mut out, 2, 5, 3, LATITUDE_AT);
    entry(&mut out, 3, 2, 2, u32::from(b'E'));
    entry(&mut out, 4, 5, 3, LONGITUDE_AT);
    long(&mut out, 0);
    for (degrees, minutes) in [(52, spec.seed % 60), (13, spec.seed / 60 % 60)] {
        for value in [degrees, minutes as u32, 30] {
            long(&mut out, value);
            long(&mut out, 1);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Limits, probe};

    #[test]
    fn seeds_differ_and_specs_repeat() {
        let spec = PhotoSpec { width: 320, height: 240, ..PhotoSpec::default() };
        assert_eq!(jpeg(&spec), jpeg(&spec));
        assert_ne!(jpeg(&spec), jpeg(&PhotoSpec { seed: 1, ..spec }));
    }

    #[test]
    fn a_megapixel_weighs_what_a_phone_makes_of_it() {
        let spec = PhotoSpec { width: 1200, height: 900, ..PhotoSpec::default() };
        let bytes = jpeg(&spec).len() as f64 / 1.08;
        // 3.0 to 3.5 MB for 12.2 MP, with some room for the seed.
        assert!((230_000.0..310_000.0).contains(&bytes), "{bytes} bytes per megapixel");
    }

    #[test]
    fn the_exif_block_is_real() {
        let spec = PhotoSpec {
            width: 64,
            height: 48,
            orientation: Orientation::Rotate90,
            progressive: true,
            ..PhotoSpec::default()
        };
        let bytes = jpeg(&spec);
        let exif = exif::Reader::new().read_from_container(&mut std::io::Cursor::new(&bytes)).unwrap();
        let field = |tag| exif.get_field(tag, exif::In::PRIMARY).unwrap().display_value().to_string();
        assert_eq!(field(exif::Tag::Model), "\"Synth 1\"");
        assert_eq!(field(exif::Tag::GPSLatitude), "52 deg 0 min 30 sec");
        assert_eq!(field(exif::Tag::GPSLongitudeRef), "E");
        let probe = probe(&bytes, &Limits::default()).unwrap();
        assert_eq!((probe.orientation, probe.progressive), (Orientation::Rotate90, true));
        assert_eq!(probe.shown_size(), (48, 64));
    }
}
