//! What variants are compared with: a picture resized as the definition says, and how alike two planes are.
//!
//! Lanczos with a = 3 on the encoded values, widened by the scale where the picture becomes smaller, weights divided by
//! their sum also at the edges. One pass across and one down, in floats, clamped at the end and not rounded.

use std::f64::consts::PI;

const A: f64 = 3.0;

/// By how much lossy coding may differ from what was to be coded.
const NOISE: f64 = 12.0;

/// Samples of one kind, row by row from the top.
#[derive(Debug, Clone)]
pub(crate) struct Plane {
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) values: Vec<f64>,
}

struct Kernel {
    first: usize,
    weights: Vec<f64>,
}

/// sinc(x) · sinc(x / 3) within 3.
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

/// One kernel per output. Sample `i` lies at `i + 0.5`.
fn kernels(input: usize, output: usize) -> Vec<Kernel> {
    let scale = input as f64 / output as f64;
    let widened = scale.max(1.0);
    let kernel = |index: usize| {
        let centre = (index as f64 + 0.5) * scale;
        let first = (centre - A * widened).floor().max(0.0) as usize;
        let end = ((centre + A * widened).ceil() as usize).min(input);
        let weights: Vec<f64> =
            (first..end).map(|sample| lanczos((sample as f64 + 0.5 - centre) / widened)).collect();
        let sum: f64 = weights.iter().sum();
        Kernel { first, weights: weights.iter().map(|weight| weight / sum).collect() }
    };
    (0..output).map(kernel).collect()
}

impl Plane {
    pub(crate) fn new(width: usize, height: usize, values: Vec<f64>) -> Self {
        assert_eq!(values.len(), width * height);
        Self { width, height, values }
    }

    /// The whole plane at another size.
    pub(crate) fn resized(&self, width: usize, height: usize) -> Self {
        let across = kernels(self.width, width);
        let mut narrowed = Vec::with_capacity(width * self.height);
        for row in self.values.chunks_exact(self.width) {
            narrowed.extend(across.iter().map(|kernel| {
                let products =
                    row[kernel.first..].iter().zip(&kernel.weights).map(|(value, weight)| value * weight);
                products.sum::<f64>()
            }));
        }
        let mut values = Vec::with_capacity(width * height);
        for kernel in kernels(self.height, height) {
            let mut sums = vec![0.0; width];
            for (row, weight) in narrowed[kernel.first * width..].chunks_exact(width).zip(&kernel.weights) {
                for (sum, value) in sums.iter_mut().zip(row) {
                    *sum += value * weight;
                }
            }
            values.extend(sums);
        }
        Self::new(width, height, values)
    }

    /// The same with every value inside what 8 bits can hold.
    pub(crate) fn clamped(mut self) -> Self {
        for value in &mut self.values {
            *value = value.clamp(0.0, 255.0);
        }
        self
    }

    /// The centre of gravity of what differs from `ground`, in samples: the first sample's centre is 0.5.
    pub(crate) fn centroid(&self, ground: f64) -> (f64, f64) {
        let mut sums = (0.0, 0.0, 0.0);
        for (index, value) in self.values.iter().enumerate() {
            // What is hardly there is noise of the coding, and counts for much because it is far away.
            let weight = ((value - ground).abs() - NOISE).max(0.0);
            let (x, y) = ((index % self.width) as f64 + 0.5, (index / self.width) as f64 + 0.5);
            sums = (sums.0 + weight * x, sums.1 + weight * y, sums.2 + weight);
        }
        assert!(sums.2 > 0.0, "there is nothing to be seen");
        (sums.0 / sums.2, sums.1 / sums.2)
    }
}

/// Side of the windows of [`ssim`], and their distance.
const WINDOW: usize = 8;
const STEP: usize = 4;
/// (0.01 × 255)² and (0.03 × 255)².
const C1: f64 = 6.5025;
const C2: f64 = 58.5225;

/// Structural similarity (Wang, Bovik, Sheikh and Simoncelli 2004) with even windows of 8 × 8 every 4 samples: the mean.
pub(crate) fn ssim(a: &Plane, b: &Plane) -> f64 {
    assert_eq!((a.width, a.height), (b.width, b.height));
    let (mut sum, mut count) = (0.0, 0.0);
    for top in (0..=a.height - WINDOW).step_by(STEP) {
        for left in (0..=a.width - WINDOW).step_by(STEP) {
            let places = (0..WINDOW * WINDOW).map(|at| (top + at / WINDOW) * a.width + left + at % WINDOW);
            let mut sums = [0.0; 5];
            for (x, y) in places.map(|at| (a.values[at], b.values[at])) {
                for (sum, value) in sums.iter_mut().zip([x, y, x * x, y * y, x * y]) {
                    *sum += value;
                }
            }
            let [mean_a, mean_b, squares_a, squares_b, products] =
                sums.map(|sum| sum / (WINDOW * WINDOW) as f64);
            let covariance = products - mean_a * mean_b;
            let variances = squares_a - mean_a * mean_a + squares_b - mean_b * mean_b;
            let luminance = (2.0 * mean_a * mean_b + C1) / (mean_a * mean_a + mean_b * mean_b + C1);
            sum += luminance * (2.0 * covariance + C2) / (variances + C2);
            count += 1.0;
        }
    }
    sum / count
}

/// Peak signal-to-noise ratio in dB; infinite for equal planes.
pub(crate) fn psnr(a: &Plane, b: &Plane) -> f64 {
    assert_eq!((a.width, a.height), (b.width, b.height));
    let squares: f64 = a.values.iter().zip(&b.values).map(|(a, b)| (a - b).powi(2)).sum();
    10.0 * (255.0 * 255.0 * a.values.len() as f64 / squares).log10()
}

/// The mean of what two planes differ by.
pub(crate) fn difference(a: &Plane, b: &Plane) -> f64 {
    assert_eq!((a.width, a.height), (b.width, b.height));
    let sum: f64 = a.values.iter().zip(&b.values).map(|(a, b)| (a - b).abs()).sum();
    sum / a.values.len() as f64
}
