//! How alike two pictures are: SSIM and PSNR.

use crate::lanczos::Reference;
use crate::picture::Picture;

/// Samples on either side of the window's centre: 11 × 11 in all.
const RADIUS: usize = 5;
/// Standard deviation of the window, in pixels.
const SIGMA: f64 = 1.5;
/// (0.01 × 255)² and (0.03 × 255)².
const C1: f64 = 6.5025;
const C2: f64 = 58.5225;

/// Brightness, 0 to 255, row by row from the top.
#[derive(Debug, Clone)]
pub(crate) struct Luma {
    width: usize,
    height: usize,
    values: Vec<f64>,
}

impl Luma {
    /// ITU-R BT.601, as in JPEG.
    fn of(width: usize, height: usize, pixels: impl Iterator<Item = [f64; 3]>) -> Self {
        let values = pixels.map(|[red, green, blue]| 0.299 * red + 0.587 * green + 0.114 * blue).collect();
        Self { width, height, values }
    }

    pub(crate) fn of_reference(reference: &Reference) -> Self {
        Self::of(reference.width, reference.height, reference.pixels.iter().map(|pixel| pixel.map(f64::from)))
    }

    pub(crate) fn of_picture(picture: &Picture) -> Self {
        Self::of(picture.width, picture.height, picture.pixels.iter().map(|pixel| pixel.map(f64::from)))
    }
}

/// Structural similarity of two pictures of one size: at most 1, which only equal pictures have.
///
/// Wang, Bovik, Sheikh and Simoncelli, "Image Quality Assessment: From Error Visibility to Structural Similarity", IEEE
/// Transactions on Image Processing 13(4), 2004: K1 = 0.01, K2 = 0.03, a Gaussian window of 11 × 11 with σ = 1.5 at every
/// place where it lies wholly inside, without their optional reduction of large pictures beforehand; the mean of all
/// places. Where a side has fewer than 11 pixels, the window is cut to the largest odd number that fits.
///
/// `None` when the sizes differ or are empty.
pub(crate) fn ssim(a: &Luma, b: &Luma) -> Option<f64> {
    if (a.width, a.height) != (b.width, b.height) || a.values.is_empty() {
        return None;
    }
    let smooth = |values: &[f64]| blur(values, a.width, a.height);
    let product = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).collect::<Vec<f64>>();
    let (mean_a, mean_b) = (smooth(&a.values), smooth(&b.values));
    let square_a = smooth(&product(&a.values, &a.values));
    let square_b = smooth(&product(&b.values, &b.values));
    let mixed = smooth(&product(&a.values, &b.values));
    let mut sum = 0.0;
    for place in 0..mixed.len() {
        let (mean_a, mean_b) = (mean_a[place], mean_b[place]);
        let covariance = mixed[place] - mean_a * mean_b;
        let variances = square_a[place] - mean_a * mean_a + square_b[place] - mean_b * mean_b;
        let luminance = (2.0 * mean_a * mean_b + C1) / (mean_a * mean_a + mean_b * mean_b + C1);
        sum += luminance * (2.0 * covariance + C2) / (variances + C2);
    }
    Some(sum / mixed.len() as f64)
}

/// Peak signal-to-noise ratio in dB over all three channels, so that a mistake of colour shows which SSIM, on brightness
/// alone, cannot see. Infinite for equal pictures; `None` when the sizes differ or are empty.
pub(crate) fn psnr(reference: &Reference, picture: &Picture) -> Option<f64> {
    let same = (reference.width, reference.height) == (picture.width, picture.height);
    if !same || picture.pixels.is_empty() {
        return None;
    }
    let pairs = reference.pixels.iter().flatten().zip(picture.pixels.iter().flatten());
    let squares: f64 = pairs.map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum();
    let mean = squares / (picture.pixels.len() * 3) as f64;
    Some(10.0 * (255.0 * 255.0 / mean).log10())
}

/// The window's weights along one axis. They add up to 1.
fn window(side: usize) -> Vec<f64> {
    let radius = RADIUS.min((side - 1) / 2);
    let weights: Vec<f64> = (0..=2 * radius)
        .map(|index| {
            let distance = index as f64 - radius as f64;
            (-distance * distance / (2.0 * SIGMA * SIGMA)).exp()
        })
        .collect();
    let sum: f64 = weights.iter().sum();
    weights.iter().map(|weight| weight / sum).collect()
}

/// The weighted mean in each window that lies wholly inside: across, then down.
fn blur(values: &[f64], width: usize, height: usize) -> Vec<f64> {
    let (across, down) = (window(width), window(height));
    let narrow = width + 1 - across.len();
    let mut rows = Vec::with_capacity(narrow * height);
    for row in values.chunks_exact(width) {
        rows.extend(row.windows(across.len()).map(|part| {
            let terms = part.iter().zip(&across).map(|(value, weight)| value * weight);
            terms.sum::<f64>()
        }));
    }
    let mut blurred = Vec::with_capacity(narrow * (height + 1 - down.len()));
    for top in 0..=height - down.len() {
        let mut sums = vec![0.0; narrow];
        for (row, weight) in rows[top * narrow..].chunks_exact(narrow).zip(&down) {
            for (sum, value) in sums.iter_mut().zip(row) {
                *sum += value * weight;
            }
        }
        blurred.extend(sums);
    }
    blurred
}

#[cfg(test)]
mod tests {
    use super::*;

    fn luma(width: usize, height: usize, value: impl Fn(usize, usize) -> f64) -> Luma {
        let values = (0..width * height).map(|index| value(index % width, index / width)).collect();
        Luma { width, height, values }
    }

    fn textured(x: usize, y: usize) -> f64 {
        128.0 + 60.0 * (x as f64 * 0.7).sin() * (y as f64 * 0.5).cos()
    }

    /// -1 to 1, and the same everywhere.
    fn noise(x: usize, y: usize) -> f64 {
        let hash = (x as u32).wrapping_mul(0x9E37_79B1) ^ (y as u32).wrapping_mul(0x85EB_CA77);
        f64::from(hash.wrapping_mul(0xC2B2_AE3D) >> 8) / f64::from(1 << 23) - 1.0
    }

    #[test]
    fn equal_pictures_have_one() {
        let picture = luma(40, 30, textured);
        assert!((ssim(&picture, &picture).unwrap() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn worse_pictures_have_less() {
        let original = luma(64, 48, textured);
        let noisy = |amount: f64| luma(64, 48, move |x, y| textured(x, y) + amount * noise(x, y));
        let values = [1.0, 5.0, 20.0, 60.0].map(|amount| ssim(&original, &noisy(amount)).unwrap());
        assert!(values.is_sorted_by(|a, b| a > b), "{values:?}");
        assert!(values[0] > 0.99 && values[3] < 0.9, "{values:?}");
        // A shift of brightness keeps the structure; its loss does not, at the same mean error.
        let brighter = luma(64, 48, |x, y| textured(x, y) + 10.0);
        let checked = luma(64, 48, |x, y| textured(x, y) + if (x + y) % 2 == 0 { 10.0 } else { -10.0 });
        assert!(ssim(&original, &brighter).unwrap() > ssim(&original, &checked).unwrap());
        assert!(ssim(&original, &luma(64, 48, |x, y| 256.0 - textured(x, y))).unwrap() < 0.0, "a negative");
    }

    #[test]
    fn small_cases_are_as_computed_by_hand() {
        // One pixel has no variance: what is left is (2·100·110 + 6.5025) / (100² + 110² + 6.5025).
        let single = ssim(&luma(1, 1, |_, _| 100.0), &luma(1, 1, |_, _| 110.0)).unwrap();
        assert!((single - 22_006.502_5 / 22_106.502_5).abs() < 1e-12, "{single}");
        // Three pixels: weights e^(-1/4.5) = 0.800737 about 1, so 0.307801, 0.384398, 0.307801.
        // a = 0, 100, 0: mean 38.4398, variance 3843.98 - 1477.62 = 2366.36. b = 0, 50, 0: 19.2199 and 591.59;
        // covariance 1183.18. (2·38.4398·19.2199 + 6.5025) / (1477.62 + 369.405 + 6.5025) = 0.800701;
        // (2366.36 + 58.5225) / (2957.95 + 58.5225) = 0.803880; the product is 0.643668.
        let peak = |height: f64| luma(3, 1, move |x, _| if x == 1 { height } else { 0.0 });
        let three = ssim(&peak(100.0), &peak(50.0)).unwrap();
        assert!((three - 0.643_668).abs() < 2e-5, "{three}");
    }

    #[test]
    fn sizes_must_agree() {
        assert_eq!(ssim(&luma(3, 2, textured), &luma(2, 3, textured)), None);
        let reference = Reference { width: 1, height: 2, pixels: vec![[0.0; 3]; 2] };
        let picture = Picture { width: 2, height: 1, pixels: vec![[0; 3]; 2] };
        assert_eq!(psnr(&reference, &picture), None);
    }

    #[test]
    fn psnr_sees_colour() {
        let reference = Reference { width: 2, height: 1, pixels: vec![[50.0; 3]; 2] };
        let same = Picture { width: 2, height: 1, pixels: vec![[50; 3]; 2] };
        assert_eq!(psnr(&reference, &same), Some(f64::INFINITY));
        // One of six values is off by 6: a mean square of 6, and 10·log10(65025 / 6) = 40.3491.
        let tinted = Picture { width: 2, height: 1, pixels: vec![[50; 3], [50, 50, 56]] };
        assert!((psnr(&reference, &tinted).unwrap() - 40.349_1).abs() < 1e-3);
    }

    #[test]
    fn the_window_is_the_papers() {
        let weights = window(100);
        assert_eq!(weights.len(), 11);
        assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        assert!((weights[5] - 0.266_011_7).abs() < 1e-6, "as in their 11 × 11 table: {weights:?}");
        assert_eq!(window(4).len(), 3);
        assert_eq!(window(1), [1.0]);
    }
}
