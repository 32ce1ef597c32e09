//! From samples to gray, RGB or RGBA.

use super::samples::Samples;
use crate::MediaError;
use crate::color::{Color, Inks};
use crate::directory::{Alpha, Directory, Kind, Photometric, corrupt, tag};
use crate::ycbcr;

/// Entries of the table from linear light to sRGB. Between two of them lies at most a fifth of a step of 8 bits.
const GAMMA_STEPS: usize = 16 << 10;

/// What samples stand for.
enum Colors {
    Gray { inverted: bool },
    Rgb,
    Palette(Vec<[u16; 3]>),
    Cmyk(Inks<u16>),
    YCbCr,
    Lab(Box<Lab>),
}

/// What a sample of 8 bits is in 16.
const WIDENED: u16 = 257;

/// Makes pixels of samples, both of 0 to `most`.
pub(super) struct Painter {
    colors: Colors,
    alpha: Option<Alpha>,
    most: u16,
}

impl Painter {
    /// `color` is what the numbers of the file mean: inks are converted by it.
    pub(super) fn of(
        directory: &Directory,
        kind: &Kind,
        samples: &Samples,
        original: &[u8],
        color: &Color,
    ) -> Result<Self, MediaError> {
        let most = samples.most();
        let colors = match kind.photometric {
            Photometric::WhiteIsZero => Colors::Gray { inverted: true },
            Photometric::BlackIsZero => Colors::Gray { inverted: false },
            Photometric::Rgb => Colors::Rgb,
            Photometric::Palette => Colors::Palette(palette(directory, original)?),
            Photometric::Cmyk => Colors::Cmyk(Inks::<u16>::new(color)),
            Photometric::YCbCr => Colors::YCbCr,
            Photometric::CieLab => Colors::Lab(Box::new(Lab::new(most, false))),
            Photometric::IccLab => Colors::Lab(Box::new(Lab::new(most, true))),
        };
        Ok(Self { colors, alpha: kind.alpha, most })
    }

    /// Paints a row. `row` is used up; `pixels` are of the layout that the kind asks for.
    pub(super) fn paint(&self, row: &mut [u16], pixels: &mut [u16]) {
        match &self.colors {
            Colors::Gray { inverted } => {
                let stride = if self.alpha.is_some() { 2 } else { 1 };
                if *inverted {
                    row.iter_mut().step_by(stride).for_each(|gray| *gray = self.most - *gray);
                }
                self.gray(row, pixels);
            }
            Colors::Rgb if self.alpha.is_some() => self.rgba(row, pixels),
            Colors::Rgb => pixels.copy_from_slice(row),
            Colors::Palette(palette) => {
                for (pixel, index) in pixels.as_chunks_mut::<3>().0.iter_mut().zip(row) {
                    *pixel = palette.get(usize::from(*index)).copied().unwrap_or_default();
                }
            }
            Colors::Cmyk(inks) => self.inks(inks, row, pixels),
            // Of 8 bits, in full range: JFIF's, which is the default of section 21.
            Colors::YCbCr => {
                each(row, pixels, |stored| ycbcr::rgb(stored.map(|sample| sample as u8)).map(u16::from));
            }
            Colors::Lab(lab) => each(row, pixels, |stored| lab.to_rgb(stored)),
        }
    }

    /// In 16 bits, whatever the samples have: there is one conversion, and no rounding before it.
    fn inks(&self, inks: &Inks<u16>, row: &mut [u16], pixels: &mut [u16]) {
        let deep = self.most > 255;
        if !deep {
            for ink in row.iter_mut() {
                *ink *= WIDENED;
            }
        }
        inks.convert(row, pixels);
        if !deep {
            let widened = u32::from(WIDENED);
            // To the nearest; it cannot become more than 255.
            for light in pixels {
                *light = ((u32::from(*light) + widened / 2) / widened) as u16;
            }
        }
    }

    fn gray(&self, row: &[u16], pixels: &mut [u16]) {
        let Some(alpha) = self.alpha else {
            pixels.copy_from_slice(row);
            return;
        };
        for (pixel, [gray, opacity]) in pixels.as_chunks_mut::<4>().0.iter_mut().zip(row.as_chunks::<2>().0) {
            let gray = self.straight(*gray, *opacity, alpha);
            *pixel = [gray, gray, gray, *opacity];
        }
    }

    fn rgba(&self, row: &[u16], pixels: &mut [u16]) {
        let alpha = self.alpha.unwrap_or(Alpha::Straight);
        for (pixel, [red, green, blue, opacity]) in
            pixels.as_chunks_mut::<4>().0.iter_mut().zip(row.as_chunks::<4>().0)
        {
            let [red, green, blue] = [red, green, blue].map(|value| self.straight(*value, *opacity, alpha));
            *pixel = [red, green, blue, *opacity];
        }
    }

    /// A colour as it is without its alpha.
    fn straight(&self, value: u16, opacity: u16, alpha: Alpha) -> u16 {
        if alpha == Alpha::Straight || opacity == 0 {
            return value;
        }
        let (value, opacity, most) = (u32::from(value), u32::from(opacity), u32::from(self.most));
        // A colour cannot be more than its alpha, but files say so.
        ((value * most + opacity / 2) / opacity).min(most) as u16
    }
}

fn each<const N: usize>(row: &[u16], pixels: &mut [u16], paint: impl Fn([u16; N]) -> [u16; 3]) {
    for (pixel, samples) in pixels.as_chunks_mut::<3>().0.iter_mut().zip(row.as_chunks::<N>().0) {
        *pixel = paint(*samples);
    }
}

/// All reds, all greens, all blues, of 16 bits each.
fn palette(directory: &Directory, original: &[u8]) -> Result<Vec<[u16; 3]>, MediaError> {
    let entry = directory.find(tag::PALETTE).ok_or_else(|| corrupt("it has no palette"))?;
    // Indices have at most 8 bits.
    let colors = (entry.count / 3).min(256);
    let value = |index| entry.value(directory.shape, original, index);
    let mut palette = Vec::new();
    for index in 0..colors {
        let color = [0, 1, 2].map(|channel| value(channel * (entry.count / 3) + index));
        let [Some(red), Some(green), Some(blue)] = color else {
            return Err(corrupt("its palette lies beyond its end"));
        };
        palette.push([red, green, blue].map(|value| u16::try_from(value).unwrap_or(u16::MAX)));
    }
    // Some writers forget that a palette has 16 bits, and write 8. libtiff notices it in the same way.
    if palette.iter().flatten().any(|value| *value > 255) {
        palette.iter_mut().flatten().for_each(|value| *value >>= 8);
    }
    Ok(palette)
}

/// CIE L*a*b* of D50 to sRGB.
struct Lab {
    /// What samples of 16 bits are divided by to be those of 8, apart from the lightness.
    unit: f32,
    /// What the greatest lightness, 100, is stored as.
    lightness: f32,
    /// Of 8 bits: a* and b* have 128 added rather than being signed.
    offset: bool,
    most: u16,
    gamma: Vec<u16>,
}

impl Lab {
    fn new(most: u16, offset: bool) -> Self {
        let deep = most > 255;
        let lightness = match (deep, offset) {
            // Sections 6.3.4.2 of ICC.1:2001 and 23 of TIFF 6.0.
            (true, true) => 65_280.0,
            (true, false) => 65_535.0,
            (false, _) => 255.0,
        };
        let full = f64::from(most);
        let gamma = (0..=GAMMA_STEPS)
            .map(|step| {
                let linear = step as f64 / GAMMA_STEPS as f64;
                let encoded = if linear <= 0.003_130_8 {
                    12.92 * linear
                } else {
                    1.055 * linear.powf(1.0 / 2.4) - 0.055
                };
                (encoded * full + 0.5) as u16
            })
            .collect();
        Self { unit: if deep { 256.0 } else { 1.0 }, lightness, offset, most, gamma }
    }

    fn to_rgb(&self, [lightness, green_red, blue_yellow]: [u16; 3]) -> [u16; 3] {
        let chroma = |stored: u16| {
            let value = f32::from(stored) / self.unit;
            match (self.offset, value >= 128.0) {
                (true, _) => value - 128.0,
                (false, true) => value - 256.0,
                (false, false) => value,
            }
        };
        let lightness = (f32::from(lightness) / self.lightness * 100.0 + 16.0) / 116.0;
        let cube = |value: f32| {
            if value > 6.0 / 29.0 { value * value * value } else { (value - 4.0 / 29.0) * (108.0 / 841.0) }
        };
        // D50, the white of Lab, to the primaries of sRGB, adapted to D65 (Bradford).
        let (x, y, z) = (
            cube(lightness + chroma(green_red) / 500.0) * 0.964_22,
            cube(lightness),
            cube(lightness - chroma(blue_yellow) / 200.0) * 0.825_21,
        );
        let red = 3.133_856 * x - 1.616_867 * y - 0.490_615 * z;
        let green = -0.978_768 * x + 1.916_142 * y + 0.033_454 * z;
        let blue = 0.071_945 * x - 0.228_991 * y + 1.405_243 * z;
        [red, green, blue].map(|linear| {
            // Negative light and what is no number become the first step.
            let step = (linear * GAMMA_STEPS as f32 + 0.5) as usize;
            self.gamma.get(step).copied().unwrap_or(self.most)
        })
    }
}
