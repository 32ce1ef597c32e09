//! The reference that variants are compared with: a photo resized as the definition says, and nothing else.
//!
//! Lanczos with a = 3 on the gamma-encoded values of each channel, widened by the scale where the picture becomes smaller
//! (so that it does not alias), weights divided by their sum also at the edges. One pass across and one down, from the
//! photo's full size: no shrink-on-load, no cascade, no rounding in between.

use std::f64::consts::PI;

use crate::engine::Fit;
use crate::picture::Picture;

/// Samples on either side of the centre, before widening.
const A: f64 = 3.0;

/// RGB on the scale of 0 to 255, neither rounded nor clamped until [`resize`] has finished; row by row from the top.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Reference {
    pub(crate) width: usize,
    pub(crate) height: usize,
    /// `width` × `height` pixels, clamped to 0 to 255 as any 8-bit picture would be, but not rounded.
    pub(crate) pixels: Vec<[f32; 3]>,
}

/// Resizes to `width` × `height` pixels, both at least 1: the whole picture, or with [`Fit::Cover`] the largest centred part
/// of it that has the new aspect.
pub(crate) fn resize(picture: &Picture, fit: Fit, (width, height): (usize, usize)) -> Reference {
    let scale = (picture.width as f64 / width as f64, picture.height as f64 / height as f64);
    let scale = match fit {
        Fit::Inside | Fit::Outside | Fit::Fill | Fit::Contain => scale,
        Fit::Cover => (scale.0.min(scale.1), scale.0.min(scale.1)),
    };
    let across = kernels(picture.width, width, scale.0);
    let down = kernels(picture.height, height, scale.1);
    let mut narrowed = Vec::with_capacity(width * picture.height);
    for row in picture.pixels.chunks_exact(picture.width) {
        narrowed.extend(across.iter().map(|kernel| {
            let mut sum = [0.0_f32; 3];
            for (pixel, weight) in row[kernel.first..].iter().zip(&kernel.weights) {
                add(&mut sum, pixel.map(f32::from), *weight);
            }
            sum
        }));
    }
    let mut pixels = Vec::with_capacity(width * height);
    for kernel in &down {
        let mut sums = vec![[0.0_f32; 3]; width];
        let rows = narrowed[kernel.first * width..].chunks_exact(width);
        for (row, weight) in rows.zip(&kernel.weights) {
            for (sum, pixel) in sums.iter_mut().zip(row) {
                add(sum, *pixel, *weight);
            }
        }
        pixels.extend(sums.into_iter().map(|sum| sum.map(|value| value.clamp(0.0, 255.0))));
    }
    Reference { width, height, pixels }
}

fn add(sum: &mut [f32; 3], pixel: [f32; 3], weight: f32) {
    for (sum, value) in sum.iter_mut().zip(pixel) {
        *sum += value * weight;
    }
}

/// The samples that one output is made of. The weights add up to 1.
#[derive(Debug)]
struct Kernel {
    first: usize,
    weights: Vec<f32>,
}

/// One kernel per output. Sample `i` lies at `i + 0.5`; the window of `output` × `scale` samples is centred. Kernels at the
/// edge of the window reach beyond it as long as there are samples.
fn kernels(input: usize, output: usize, scale: f64) -> Vec<Kernel> {
    let widened = scale.max(1.0);
    let begin = (input as f64 - output as f64 * scale) / 2.0;
    let kernel = |index: usize| {
        let centre = begin + (index as f64 + 0.5) * scale;
        let reach = A * widened;
        // Both ends are inside the picture, and floats of that size are exact.
        let first = (centre - reach).floor().max(0.0) as usize;
        let end = ((centre + reach).ceil() as usize).min(input);
        let weights: Vec<f64> =
            (first..end).map(|sample| lanczos((sample as f64 + 0.5 - centre) / widened)).collect();
        let sum: f64 = weights.iter().sum();
        Kernel { first, weights: weights.iter().map(|weight| (weight / sum) as f32).collect() }
    };
    (0..output).map(kernel).collect()
}

/// sinc(x) · sinc(x / a) within a, and 0 outside (Turkowski, "Filters for Common Resampling Tasks", 1990).
fn lanczos(x: f64) -> f64 {
    if x == 0.0 {
        return 1.0;
    }
    if x.abs() >= A {
        return 0.0;
    }
    let angle = PI * x;
    A * angle.sin() * (angle / A).sin() / (angle * angle)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(width: usize, height: usize, value: impl Fn(usize, usize) -> u8) -> Picture {
        let pixels = (0..width * height).map(|index| [value(index % width, index / width); 3]).collect();
        Picture { width, height, pixels }
    }

    fn close(a: f32, b: f32) -> bool {
        (a - b).abs() < 1e-3
    }

    #[test]
    fn a_constant_picture_stays_constant() {
        let flat = picture(37, 23, |_, _| 201);
        for (fit, size) in
            [(Fit::Inside, (10, 7)), (Fit::Cover, (9, 9)), (Fit::Inside, (37, 23)), (Fit::Cover, (1, 1))]
        {
            let resized = resize(&flat, fit, size);
            assert_eq!((resized.width, resized.height), size);
            assert!(resized.pixels.iter().flatten().all(|value| close(*value, 201.0)), "{fit:?} {size:?}");
        }
    }

    #[test]
    fn the_size_of_the_photo_leaves_it_as_it_is() {
        let noise = picture(16, 12, |x, y| (x * 37 + y * 101) as u8);
        let same = resize(&noise, Fit::Inside, (16, 12));
        let pairs = same.pixels.iter().zip(&noise.pixels);
        assert!(pairs.into_iter().all(|(a, b)| close(a[0], f32::from(b[0]))));
    }

    #[test]
    fn a_ramp_is_not_shifted() {
        // Halved, each value lies between the two samples that it replaces; far from the edges exactly so.
        let ramp = picture(120, 4, |x, _| (x * 2) as u8);
        let halved = resize(&ramp, Fit::Inside, (60, 2));
        for x in 6..54 {
            let expected = (x * 4 + 1) as f32;
            assert!(close(halved.pixels[x][0], expected), "{x}: {} for {expected}", halved.pixels[x][0]);
        }
        // Shown from the other side, the same values come out in the other order.
        let mirrored = resize(&picture(120, 4, |x, _| ((119 - x) * 2) as u8), Fit::Inside, (60, 2));
        for x in 0..60 {
            assert!(close(halved.pixels[x][0], mirrored.pixels[59 - x][0]));
        }
    }

    #[test]
    fn half_of_a_step_is_what_the_definition_gives() {
        // 0 to the left of sample 8, 240 from there on. The output at 3 is centred on 7.0: samples 8 and on lie at
        // 1.5, 2.5, … 5.5, widened by 2 at 0.75, 1.25, 1.75, 2.25, 2.75; 7 lies at 0.25 and belongs to the left.
        let step = picture(16, 1, |x, _| if x < 8 { 0 } else { 240 });
        let sinc = |x: f64| (PI * x).sin() / (PI * x);
        let weight = |x: f64| sinc(x) * sinc(x / 3.0);
        let right: f64 = [0.75, 1.25, 1.75, 2.25, 2.75].map(weight).iter().sum();
        let all = 2.0 * (right + weight(0.25));
        let expected = (240.0 * right / all).max(0.0) as f32;
        let halved = resize(&step, Fit::Inside, (8, 1));
        assert!(close(halved.pixels[3][0], expected), "{} for {expected}", halved.pixels[3][0]);
        assert!(close(halved.pixels[3][0] + halved.pixels[4][0], 240.0), "both sides of the step are alike");
        assert!(close(halved.pixels[0][0], 0.0) && close(halved.pixels[7][0], 240.0));
    }

    #[test]
    fn the_finest_pattern_becomes_its_mean() {
        let stripes = picture(64, 4, |x, _| if x % 2 == 0 { 0 } else { 200 });
        let halved = resize(&stripes, Fit::Inside, (32, 2));
        // What is left of the stripes is what Lanczos lets through at twice the new Nyquist frequency: little.
        assert!((4..28).all(|x| (halved.pixels[x][0] - 100.0).abs() < 2.0), "{:?}", &halved.pixels[..32]);
    }

    #[test]
    fn a_cover_is_cut_from_the_centre() {
        let thirds = picture(90, 30, |x, _| [10, 120, 240][x / 30]);
        let centre = resize(&thirds, Fit::Cover, (10, 10));
        let row = &centre.pixels[50..60];
        assert!(row[3..7].iter().all(|pixel| close(pixel[0], 120.0)), "{row:?}");
        assert!(row[0][0] < 119.0 && row[9][0] > 121.0, "kernels reach beyond the window: {row:?}");
    }
}
