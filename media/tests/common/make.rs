//! Originals of every kind, made from pixels.

use jpeg_encoder::{ChromaSubsamplingMethod, ColorType, Encoder, SamplingFactor};

use super::build::deflate;

/// A picture whose pixels are given by their place.
pub(crate) fn painted<const N: usize>(
    width: u32,
    height: u32,
    pixel: impl Fn(u32, u32) -> [u8; N],
) -> Vec<u8> {
    (0..height).flat_map(|y| (0..width).map(move |x| (x, y))).flat_map(|(x, y)| pixel(x, y)).collect()
}

/// A number from 0 to 255 that looks like chance, and is the same everywhere.
pub(crate) fn noise(x: u32, y: u32) -> u8 {
    let hash = x.wrapping_mul(0x9E37_79B1) ^ y.wrapping_mul(0x85EB_CA77);
    let hash = (hash ^ hash >> 15).wrapping_mul(0xC2B2_AE3D);
    ((hash ^ hash >> 13) >> 8) as u8
}

/// A JPEG; what the encoder is set to beside its quality of 100 and 4:4:4 is up to `set`.
pub(crate) fn jpeg_with(
    (width, height): (u32, u32),
    color: ColorType,
    data: &[u8],
    set: impl FnOnce(&mut Encoder<&mut Vec<u8>>),
) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, 100);
    encoder.set_sampling_factor(SamplingFactor::F_1_1);
    // The default takes the first sample, which moves chroma by half a pixel.
    encoder.set_chroma_subsampling_method(ChromaSubsamplingMethod::Average);
    set(&mut encoder);
    encoder.encode(data, width as u16, height as u16, color).unwrap();
    bytes
}

/// A JPEG of RGB at quality 100, 4:4:4.
pub(crate) fn jpeg_rgb(width: u32, height: u32, rgb: &[u8]) -> Vec<u8> {
    jpeg_with((width, height), ColorType::Rgb, rgb, |_| ())
}

/// A PNG chunk with its checksum.
pub(crate) fn chunk(kind: [u8; 4], data: &[u8]) -> Vec<u8> {
    let mut crc = flate2::Crc::new();
    crc.update(&kind);
    crc.update(data);
    [&(data.len() as u32).to_be_bytes()[..], &kind, data, &crc.sum().to_be_bytes()].concat()
}

/// Columns and rows at which each pass of Adam7 begins, and their distances (ISO/IEC 15948, section 8.2).
const ADAM7: [(usize, usize, usize, usize); 7] =
    [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)];

/// A PNG to be, of any colour type and depth.
#[derive(Debug, Clone)]
pub(crate) struct Png {
    pub(crate) width: usize,
    pub(crate) height: usize,
    /// 0 gray, 2 RGB, 3 palette, 4 gray and alpha, 6 RGBA.
    pub(crate) color_type: u8,
    /// Bits per sample.
    pub(crate) depth: usize,
    /// Row by row from the top, in the range of the depth.
    pub(crate) samples: Vec<u16>,
    pub(crate) interlaced: bool,
    /// The type of each row's filter is its number in the pass plus this, of 5.
    pub(crate) first_filter: usize,
    /// Chunks between header and pixels.
    pub(crate) before: Vec<u8>,
}

impl Png {
    /// Not interlaced.
    pub(crate) fn new(
        (width, height): (usize, usize),
        color_type: u8,
        depth: usize,
        samples: Vec<u16>,
    ) -> Self {
        let png = Self {
            width,
            height,
            color_type,
            depth,
            samples,
            interlaced: false,
            first_filter: 0,
            before: Vec::new(),
        };
        assert_eq!(png.samples.len(), width * height * png.channels());
        png
    }

    /// 8 bits: RGB, or RGBA where there are four bytes per pixel.
    pub(crate) fn of_bytes((width, height): (usize, usize), data: &[u8]) -> Self {
        let color_type = [0, 4, 2, 6][data.len() / (width * height) - 1];
        Self::new((width, height), color_type, 8, data.iter().map(|byte| u16::from(*byte)).collect())
    }

    /// Adds a chunk before the pixels.
    pub(crate) fn with(mut self, kind: [u8; 4], data: &[u8]) -> Self {
        self.before.extend(chunk(kind, data));
        self
    }

    /// Adds a colour profile.
    pub(crate) fn with_profile(self, profile: &[u8]) -> Self {
        self.with(*b"iCCP", &[b"x\0\0", deflate(profile).as_slice()].concat())
    }

    pub(crate) fn interlaced(mut self) -> Self {
        self.interlaced = true;
        self
    }

    fn channels(&self) -> usize {
        [1, 0, 3, 1, 2, 0, 4][usize::from(self.color_type)]
    }

    /// One pass, filtered.
    fn pass(&self, (left, top, across, down): (usize, usize, usize, usize)) -> Vec<u8> {
        let channels = self.channels();
        let stride = (channels * self.depth).div_ceil(8);
        let mut out = Vec::new();
        let mut above = Vec::new();
        for (number, y) in (top..self.height).step_by(down).enumerate() {
            let columns = (left..self.width).step_by(across);
            let samples: Vec<u64> = columns
                .flat_map(|x| &self.samples[(y * self.width + x) * channels..][..channels])
                .map(|sample| u64::from(*sample))
                .collect();
            if samples.is_empty() {
                continue;
            }
            let row = super::build::pack(&samples, self.depth, true);
            above.resize(row.len(), 0);
            let filter = (number + self.first_filter) % 5;
            out.push(filter as u8);
            out.extend(filtered(&row, &above, stride, filter));
            above = row;
        }
        out
    }

    /// The file.
    pub(crate) fn build(&self) -> Vec<u8> {
        let passes: &[_] = if self.interlaced { &ADAM7 } else { &[(0, 0, 1, 1)] };
        let pixels: Vec<u8> = passes.iter().flat_map(|pass| self.pass(*pass)).collect();
        let mut header = [(self.width as u32).to_be_bytes(), (self.height as u32).to_be_bytes()].concat();
        header.extend([self.depth as u8, self.color_type, 0, 0, u8::from(self.interlaced)]);
        [
            b"\x89PNG\r\n\x1A\n".to_vec(),
            chunk(*b"IHDR", &header),
            self.before.clone(),
            chunk(*b"IDAT", &deflate(&pixels)),
            chunk(*b"IEND", &[]),
        ]
        .concat()
    }
}

/// A row filtered with one of the five types (ISO/IEC 15948, section 9.2).
fn filtered(row: &[u8], above: &[u8], stride: usize, filter: usize) -> Vec<u8> {
    let paeth = |a: u8, b: u8, c: u8| {
        let [left, up, corner] = [a, b, c].map(i16::from);
        let guess = left + up - corner;
        let distances = [left, up, corner].map(|value| (guess - value).abs());
        if distances[0] <= distances[1] && distances[0] <= distances[2] {
            a
        } else if distances[1] <= distances[2] {
            b
        } else {
            c
        }
    };
    (0..row.len())
        .map(|at| {
            let before = |line: &[u8]| if at >= stride { line[at - stride] } else { 0 };
            let guess = match filter {
                0 => 0,
                1 => before(row),
                2 => above[at],
                3 => u16::midpoint(u16::from(before(row)), u16::from(above[at])) as u8,
                _ => paeth(before(row), above[at], before(above)),
            };
            row[at].wrapping_sub(guess)
        })
        .collect()
}

/// A RIFF chunk.
pub(crate) fn riff(code: [u8; 4], data: &[u8]) -> Vec<u8> {
    let padding = if data.len().is_multiple_of(2) { &[][..] } else { &[0] };
    [&code, &(data.len() as u32).to_le_bytes()[..], data, padding].concat()
}

/// A WebP of these chunks.
pub(crate) fn webp_of(chunks: &[Vec<u8>]) -> Vec<u8> {
    riff(*b"RIFF", &[b"WEBP".to_vec(), chunks.concat()].concat())
}

/// Three bytes, least significant first.
fn three(value: usize) -> Vec<u8> {
    value.to_le_bytes()[..3].to_vec()
}

/// Flags of [`extended`].
pub(crate) const ICC: u8 = 0x20;
pub(crate) const ALPHA: u8 = 0x10;
pub(crate) const EXIF: u8 = 0x08;
pub(crate) const ANIMATION: u8 = 0x02;

/// The header of an extended WebP.
pub(crate) fn extended(flags: u8, (width, height): (usize, usize)) -> Vec<u8> {
    riff(*b"VP8X", &[vec![flags, 0, 0, 0], three(width - 1), three(height - 1)].concat())
}

/// The bitstream of a lossless WebP, as a chunk. RGB, or RGBA where there are four bytes per pixel.
pub(crate) fn lossless((width, height): (usize, usize), data: &[u8]) -> Vec<u8> {
    let mut file = Vec::new();
    let color = if data.len() == width * height * 4 {
        image_webp::ColorType::Rgba8
    } else {
        image_webp::ColorType::Rgb8
    };
    image_webp::WebPEncoder::new(&mut file).encode(data, width as u32, height as u32, color).unwrap();
    file[12..].to_vec()
}

/// A lossless still WebP with a colour profile.
pub(crate) fn webp_with_profile(size: (usize, usize), data: &[u8], profile: &[u8]) -> Vec<u8> {
    webp_of(&[extended(ICC, size), riff(*b"ICCP", profile), lossless(size, data)])
}

/// A frame of an animated WebP.
#[derive(Debug, Clone)]
pub(crate) struct Anmf {
    /// Even, as the format has it.
    pub(crate) place: (usize, usize),
    pub(crate) size: (usize, usize),
    pub(crate) shown_ms: usize,
    /// Laid on what is there, rather than put in its place.
    pub(crate) blended: bool,
    /// Cleared before the next.
    pub(crate) cleared: bool,
    /// Coded with losses and without alpha.
    pub(crate) opaque_lossy: bool,
    pub(crate) rgba: Vec<u8>,
}

impl Anmf {
    /// The bitstream as this crate codes a PNG.
    fn lossy(&self) -> Vec<u8> {
        let rgb: Vec<u8> = self.rgba.chunks(4).flat_map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect();
        let original = Png::of_bytes(self.size, &rgb).build();
        let side = self.size.0.max(self.size.1) as u32;
        let format = darkroom_media::PresetFormat::WebP;
        let preset = darkroom_media::Preset {
            format,
            ..darkroom_media::Preset::new("x", side, side, darkroom_media::Fit::Inside)
        };
        super::look::rendered(&original, &preset).bytes[12..].to_vec()
    }

    fn chunk(&self) -> Vec<u8> {
        let flags = u8::from(!self.blended) << 1 | u8::from(self.cleared);
        let header = [
            three(self.place.0 / 2),
            three(self.place.1 / 2),
            three(self.size.0 - 1),
            three(self.size.1 - 1),
            three(self.shown_ms),
            vec![flags],
        ];
        let image = if self.opaque_lossy { self.lossy() } else { lossless(self.size, &self.rgba) };
        riff(*b"ANMF", &[header.concat(), image].concat())
    }
}

/// An animated WebP. `exif` is put behind the frames.
pub(crate) fn animated_webp(
    size: (usize, usize),
    loops: u16,
    frames: &[Anmf],
    exif: Option<&[u8]>,
) -> Vec<u8> {
    let flags = ANIMATION | ALPHA | if exif.is_some() { EXIF } else { 0 };
    let mut chunks = vec![extended(flags, size)];
    chunks.push(riff(*b"ANIM", &[vec![0; 4], loops.to_le_bytes().to_vec()].concat()));
    chunks.extend(frames.iter().map(Anmf::chunk));
    chunks.extend(exif.map(|block| riff(*b"EXIF", block)));
    webp_of(&chunks)
}

/// An EXIF block of nothing but an orientation.
pub(crate) fn turned_exif(orientation: u16) -> Vec<u8> {
    let mut block = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01".to_vec();
    block.extend(orientation.to_be_bytes());
    block.extend([0; 6]);
    block
}

/// Where a pixel of the upright picture lies in the stored one, which is `width` × `height` pixels, by the table of EXIF.
pub(crate) fn stored_at(
    orientation: u16,
    (width, height): (usize, usize),
    (x, y): (usize, usize),
) -> (usize, usize) {
    let (right, bottom) = (width - 1, height - 1);
    match orientation {
        2 => (right - x, y),
        3 => (right - x, bottom - y),
        4 => (x, bottom - y),
        5 => (y, x),
        6 => (y, bottom - x),
        7 => (right - y, bottom - x),
        8 => (right - y, x),
        _ => (x, y),
    }
}

/// Width and height of a stored picture when it stands upright.
pub(crate) const fn upright(orientation: u16, (width, height): (usize, usize)) -> (usize, usize) {
    if orientation >= 5 { (height, width) } else { (width, height) }
}
