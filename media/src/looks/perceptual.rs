//! Whether two pictures are the same one: pHash, a hash of the lowest cosines.
//!
//! After C. Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions" (2010), section 3.2.2, and N.
//! Krawetz, "Looks Like It" (2011). Exactly:
//!
//! 1. Luma (BT.601, 0 to 255) of the picture laid on white, averaged to 32 × 32 pixels whatever the aspect.
//! 2. Its orthonormal DCT-II, divided by 16, so that a wave along both axes is worth its amplitude in steps of luma.
//! 3. Of the 8 × 8 lowest terms all but the mean: 63. Their median.
//! 4. A bit for each of the 64, by rows, the first being the most significant: 1 where the term is above the median by
//!    more than [`MARGIN`]; the mean's is 0.
//!
//! The margin is not in the sources. Symmetric and drawn pictures have many terms that are zero but for rounding and
//! the noise of the codec, as is then their median, and without it their bits would be those of the noise.

use super::small::{Premultiplied, Small};
use crate::ycbcr;

/// Side of the picture that is transformed.
const SIDE: usize = 32;
/// Terms along each axis.
const TERMS: usize = 8;
/// Waves of less than half a step of luma are noise.
const MARGIN: f32 = 0.5;

/// The hash as 16 hexadecimal digits.
pub(super) fn perceptual_hash(small: &Small) -> String {
    let terms = small.averaged((SIDE, SIDE), luma_on_white).cosines(TERMS, TERMS, 0.5);
    let mut amplitudes = [0.0; TERMS * TERMS];
    for (index, (amplitude, term)) in amplitudes.iter_mut().zip(&terms).enumerate() {
        // The factors of an orthonormal transform: less for a wave of no frequency along either axis.
        let axis = |frequency: usize| if frequency == 0 { std::f32::consts::SQRT_2 } else { 2.0 };
        *amplitude = term[0] * axis(index % TERMS) * axis(index / TERMS);
    }
    let mut sorted = amplitudes;
    let (_, median, _) = sorted[1..].select_nth_unstable_by((TERMS * TERMS - 1) / 2, f32::total_cmp);
    let bit = |amplitude: &f32| u64::from(*amplitude > *median + MARGIN);
    let hash = amplitudes[1..].iter().fold(0, |hash, amplitude| hash << 1 | bit(amplitude));
    format!("{hash:016x}")
}

fn luma_on_white([red, green, blue, alpha]: Premultiplied) -> [f32; 4] {
    let luma = ycbcr::luma([red, green, blue]) + 1.0 - alpha;
    [luma * 255.0, 0.0, 0.0, 0.0]
}

/// In how many of their 64 bits two [perceptual hashes](crate::Looks::perceptual_hash) differ. Copies of one picture
/// are at most about 10 apart, different pictures about 30. `None` where one of them is not 16 hexadecimal digits.
pub fn perceptual_distance(a: &str, b: &str) -> Option<u32> {
    let bits = |hash: &str| {
        let valid = hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
        valid.then(|| u64::from_str_radix(hash, 16).ok()).flatten()
    };
    Some((bits(a)? ^ bits(b)?).count_ones())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pictures::{logo, page, painted, photo, resized, through_jpeg, with_alpha};

    const WIDTH: u32 = 320;
    const HEIGHT: u32 = 240;

    fn hash(rgb: &[u8], width: u32, height: u32) -> String {
        perceptual_hash(&Small::of(width, height, &with_alpha(rgb)))
    }

    fn pictures() -> Vec<(String, Vec<u8>)> {
        let photos = (0..12).map(|seed| (format!("photo {seed}"), photo(seed, WIDTH, HEIGHT)));
        let logos = (0..8).map(|seed| (format!("logo {seed}"), logo(seed, WIDTH, HEIGHT)));
        let pages = (0..4).map(|seed| (format!("page {seed}"), page(seed, WIDTH, HEIGHT)));
        photos.chain(logos).chain(pages).collect()
    }

    fn recoloured(rgb: &[u8]) -> Vec<u8> {
        let curve = |value: u8, gain: f32, lift: f32| (f32::from(value) * gain + lift) as u8;
        let warmer = |[red, green, blue]: &[u8; 3]| {
            [curve(*red, 0.9, 20.0), curve(*green, 0.88, 12.0), curve(*blue, 0.8, 8.0)]
        };
        rgb.as_chunks::<3>().0.iter().flat_map(warmer).collect()
    }

    #[test]
    fn copies_are_near() {
        let mut worst = 0;
        for (name, rgb) in pictures() {
            let original = hash(&rgb, WIDTH, HEIGHT);
            let scaled =
                |width, height| hash(&resized(&rgb, (WIDTH, HEIGHT), (width, height)), width, height);
            let copies = [
                ("at quality 70", hash(&through_jpeg(&rgb, WIDTH, HEIGHT, 70), WIDTH, HEIGHT)),
                ("at quality 30", hash(&through_jpeg(&rgb, WIDTH, HEIGHT, 30), WIDTH, HEIGHT)),
                ("of half the size", scaled(160, 120)),
                ("of 113 × 85 pixels", scaled(113, 85)),
                ("enlarged", scaled(500, 375)),
                ("stretched", scaled(300, 300)),
                ("recoloured", hash(&recoloured(&rgb), WIDTH, HEIGHT)),
            ];
            for (how, copy) in copies {
                let distance = perceptual_distance(&original, &copy).unwrap();
                worst = worst.max(distance);
                assert!(distance <= 10, "{name} {how}: {original} and {copy} differ in {distance} bits");
            }
        }
        println!("worst copy: {worst}");
    }

    #[test]
    fn different_pictures_are_far() {
        let hashes: Vec<_> =
            pictures().iter().map(|(name, rgb)| (name.clone(), hash(rgb, WIDTH, HEIGHT))).collect();
        let mut distances = Vec::new();
        for (index, (name, one)) in hashes.iter().enumerate() {
            for (other_name, other) in &hashes[..index] {
                let distance = perceptual_distance(one, other).unwrap();
                assert!(distance > 10, "{name} ({one}) and {other_name} ({other}): {distance}");
                distances.push(distance);
            }
        }
        distances.sort_unstable();
        println!("different: {:?} … median {}", &distances[..10], distances[distances.len() / 2]);
        assert!(distances[distances.len() / 20] > 16, "one in twenty is nearer");
        assert!(distances[distances.len() / 2] > 20, "half are nearer");
    }

    #[test]
    fn the_bits_of_symmetric_pictures_are_not_those_of_noise() {
        // Mirrored both ways, so three of four terms are zero but for the noise of the codec.
        let ring = painted(WIDTH, HEIGHT, |x, y| {
            let distance = (f64::from(x) - 159.5).hypot(f64::from(y) - 119.5);
            [if (60.0..90.0).contains(&distance) { 40 } else { 220 }; 3]
        });
        let original = hash(&ring, WIDTH, HEIGHT);
        for quality in [90, 70, 50, 30] {
            let copy = hash(&through_jpeg(&ring, WIDTH, HEIGHT, quality), WIDTH, HEIGHT);
            let distance = perceptual_distance(&original, &copy).unwrap();
            assert!(distance <= 1, "quality {quality}: {original} and {copy} differ in {distance} bits");
        }
    }

    #[test]
    fn even_pictures_have_no_waves() {
        let gradient: Vec<u8> = (0..64 * 64).flat_map(|index| [(index % 64 * 4) as u8; 3]).collect();
        assert_eq!(hash(&[90; 64 * 64 * 3], 64, 64), "0000000000000000");
        // A slope to the right: the odd waves along x, of a sign that depends on the direction.
        let found = hash(&gradient, 64, 64);
        assert_eq!(&found[2..], "00000000000000", "{found}");
        let mirrored: Vec<u8> = gradient.iter().map(|value| 252 - value).collect();
        assert_ne!(hash(&mirrored, 64, 64), found);
    }

    #[test]
    fn distances_of_what_is_no_hash_are_none() {
        let hash = "0123456789abcdef";
        assert_eq!(perceptual_distance(hash, "0123456789ABCDEF"), Some(0));
        assert_eq!(perceptual_distance(hash, "0123456789abcdee"), Some(1));
        assert_eq!(perceptual_distance("0000000000000000", "ffffffffffffffff"), Some(64));
        for wrong in
            ["", "0123456789abcde", "0123456789abcdef0", "+123456789abcdef", "0123456789abcdeg", "äääääääą"]
        {
            assert_eq!(perceptual_distance(hash, wrong), None, "{wrong}");
            assert_eq!(perceptual_distance(wrong, hash), None, "{wrong}");
        }
    }
}
