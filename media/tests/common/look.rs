//! Looking at finished files of every output format.

use darkroom_media::{Limits, Preset, PresetFormat, Scratch, Variant, decode, probe, render};

/// A decoded file: straight RGBA, rows from the top.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) pixels: Vec<[u8; 4]>,
    /// The colour profile that the file carries.
    pub(crate) profile: Option<Vec<u8>>,
}

impl Seen {
    /// Decodes a JPEG, PNG or WebP, the first frame of an animation.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        match bytes {
            [0xFF, 0xD8, ..] => Self::of_jpeg(bytes),
            [0x89, ..] => Self::of_png(bytes),
            _ => Self::of_webp(bytes),
        }
    }

    fn new((width, height): (usize, usize), data: &[u8], profile: Option<Vec<u8>>) -> Self {
        let channels = data.len() / (width * height);
        let pixels = data.chunks_exact(channels).map(|pixel| match *pixel {
            [gray] => [gray, gray, gray, 255],
            [gray, alpha] => [gray, gray, gray, alpha],
            [red, green, blue] => [red, green, blue, 255],
            [red, green, blue, alpha] => [red, green, blue, alpha],
            _ => unreachable!("a pixel has 1 to 4 channels"),
        });
        Self { width, height, pixels: pixels.collect(), profile }
    }

    fn of_jpeg(bytes: &[u8]) -> Self {
        let mut decoder = zune_jpeg::JpegDecoder::new(zune_core::bytestream::ZCursor::new(bytes));
        let pixels = decoder.decode().unwrap();
        Self::new(decoder.dimensions().unwrap(), &pixels, decoder.icc_profile())
    }

    fn of_png(bytes: &[u8]) -> Self {
        let mut decoder = png::Decoder::new(std::io::Cursor::new(bytes));
        decoder.set_transformations(png::Transformations::normalize_to_color8());
        let mut reader = decoder.read_info().unwrap();
        let mut data = vec![0; reader.output_buffer_size().unwrap()];
        let shown = reader.next_frame(&mut data).unwrap();
        data.truncate(shown.buffer_size());
        let profile = reader.info().icc_profile.as_ref().map(|profile| profile.to_vec());
        Self::new((shown.width as usize, shown.height as usize), &data, profile)
    }

    fn of_webp(bytes: &[u8]) -> Self {
        let mut decoder = image_webp::WebPDecoder::new(std::io::Cursor::new(bytes)).unwrap();
        let mut data = vec![0; decoder.output_buffer_size().unwrap()];
        decoder.read_image(&mut data).unwrap();
        let (width, height) = decoder.dimensions();
        let profile = decoder.icc_profile().unwrap();
        Self::new((width as usize, height as usize), &data, profile)
    }

    /// Without transparency.
    pub(crate) fn laid_on_white(mut self) -> Self {
        for [red, green, blue, alpha] in &mut self.pixels {
            for value in [red, green, blue] {
                *value = 255 - ((255 - u16::from(*value)) * u16::from(*alpha) / 255) as u8;
            }
            *alpha = 255;
        }
        self
    }

    pub(crate) fn at(&self, x: usize, y: usize) -> [u8; 4] {
        self.pixels[y * self.width + x]
    }

    pub(crate) fn rgb(&self, x: usize, y: usize) -> [u8; 3] {
        let [red, green, blue, _] = self.at(x, y);
        [red, green, blue]
    }

    /// In the middle of the four quadrants of a part (left, top, width, height).
    pub(crate) fn corners_of(
        &self,
        (left, top, width, height): (usize, usize, usize, usize),
    ) -> [[u8; 3]; 4] {
        let (first, second) = (left + width / 4, left + width * 3 / 4);
        let (upper, lower) = (top + height / 4, top + height * 3 / 4);
        [self.rgb(first, upper), self.rgb(second, upper), self.rgb(first, lower), self.rgb(second, lower)]
    }

    pub(crate) fn corners(&self) -> [[u8; 3]; 4] {
        self.corners_of((0, 0, self.width, self.height))
    }

    /// One number of each pixel.
    pub(crate) fn channel(&self, of: impl Fn([f64; 3]) -> f64) -> Vec<f64> {
        let of = |pixel: &[u8; 4]| of([pixel[0], pixel[1], pixel[2]].map(f64::from));
        self.pixels.iter().map(of).collect()
    }

    /// ITU-R BT.601, as in JPEG.
    pub(crate) fn luma(&self) -> Vec<f64> {
        self.channel(luma)
    }

    /// Three bytes per pixel.
    pub(crate) fn packed(&self) -> Vec<u8> {
        self.pixels.iter().flat_map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect()
    }
}

/// ITU-R BT.601.
pub(crate) fn luma([red, green, blue]: [f64; 3]) -> f64 {
    0.299 * red + 0.587 * green + 0.114 * blue
}

/// The blue difference of JFIF, around 0.
pub(crate) fn blue_difference(rgb: [f64; 3]) -> f64 {
    (rgb[2] - luma(rgb)) / 1.772
}

/// The red difference of JFIF, around 0.
pub(crate) fn red_difference(rgb: [f64; 3]) -> f64 {
    (rgb[0] - luma(rgb)) / 1.402
}

/// Probes, decodes and renders an original, its motion included, within these limits.
pub(crate) fn rendered_within(original: &[u8], presets: &[Preset], limits: &Limits) -> Vec<Variant> {
    let mut scratch = Scratch::default();
    let found = probe(original, limits).unwrap();
    let photo = decode(original, &found, limits, &mut scratch).unwrap();
    let photo = photo.with_motion(original.to_vec().into(), &found);
    let mut variants = Vec::new();
    render(photo, presets, &mut scratch, &mut |variant, _| variants.push(variant)).unwrap();
    variants
}

/// The only variant of a preset.
pub(crate) fn rendered(original: &[u8], preset: &Preset) -> Variant {
    let mut variants = rendered_within(original, std::slice::from_ref(preset), &Limits::default());
    assert_eq!(variants.len(), 1);
    variants.remove(0)
}

/// What the only variant of a preset decodes to. Its size is what the variant says.
pub(crate) fn seen(original: &[u8], preset: &Preset) -> Seen {
    let variant = rendered(original, preset);
    let seen = Seen::of(&variant.bytes);
    assert_eq!((seen.width, seen.height), (variant.width as usize, variant.height as usize));
    seen
}

/// Formats that every build writes.
pub(crate) const FORMATS: [PresetFormat; 3] = [PresetFormat::Jpeg, PresetFormat::WebP, PresetFormat::Png];

/// Whether two colours differ by no more than this in any channel.
pub(crate) fn near(a: [u8; 3], b: [u8; 3], most: u8) -> bool {
    a.iter().zip(b).all(|(a, b)| a.abs_diff(b) <= most)
}
