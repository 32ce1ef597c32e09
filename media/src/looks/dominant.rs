//! The colour that there is most of.

/// Colours that share the upper four bits of red, green and blue are counted together.
const CLASSES: usize = 1 << 12;

fn class(red: u8, green: u8, blue: u8) -> usize {
    usize::from(red >> 4) << 8 | usize::from(green & 0xF0) | usize::from(blue >> 4)
}

/// `#rrggbb`, as [`Looks::dominant_color`](super::Looks::dominant_color) says. The mean of the class rather than its
/// middle, so that a picture of one colour has exactly that one.
pub(super) fn dominant_color(rgba: &[u8]) -> String {
    let (pixels, _) = rgba.as_chunks::<4>();
    let mut weights = vec![0_u64; CLASSES];
    for [red, green, blue, alpha] in pixels {
        weights[class(*red, *green, *blue)] += u64::from(*alpha);
    }
    let mut heaviest = 0;
    for (index, weight) in weights.iter().enumerate() {
        if *weight > weights[heaviest] {
            heaviest = index;
        }
    }
    let weight = weights[heaviest];
    if weight == 0 {
        return "#ffffff".to_owned();
    }
    let mut sums = [0_u64; 3];
    for [red, green, blue, alpha] in pixels {
        if class(*red, *green, *blue) == heaviest {
            for (sum, value) in sums.iter_mut().zip([red, green, blue]) {
                *sum += u64::from(*value) * u64::from(*alpha);
            }
        }
    }
    let [red, green, blue] = sums.map(|sum| (sum + weight / 2) / weight);
    format!("#{red:02x}{green:02x}{blue:02x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_frequent_class_wins_with_its_mean() {
        let pixels = [[200, 10, 10, 255], [16, 32, 48, 255], [18, 34, 52, 255], [20, 40, 50, 255]];
        assert_eq!(dominant_color(pixels.as_flattened()), "#122332");
    }

    #[test]
    fn pixels_count_by_alpha() {
        let pixels = [[200, 10, 10, 255], [16, 32, 48, 100], [16, 32, 48, 100]];
        assert_eq!(dominant_color(pixels.as_flattened()), "#c80a0a");
        // And within a class.
        let pixels = [[0, 0, 0, 30], [15, 15, 15, 15]];
        assert_eq!(dominant_color(pixels.as_flattened()), "#050505");
    }

    #[test]
    fn ties_go_to_less_red_then_less_green_then_less_blue() {
        let tie = |one: [u8; 3], other: [u8; 3]| {
            let opaque = |[red, green, blue]: [u8; 3]| [red, green, blue, 255];
            let found = dominant_color([opaque(one), opaque(other)].as_flattened());
            assert_eq!(dominant_color([opaque(other), opaque(one)].as_flattened()), found);
            found
        };
        assert_eq!(tie([32, 0, 0], [16, 255, 255]), "#10ffff");
        assert_eq!(tie([32, 16, 255], [32, 32, 0]), "#2010ff");
        assert_eq!(tie([32, 16, 255], [32, 16, 0]), "#201000");
    }

    #[test]
    fn what_nobody_sees_is_white() {
        assert_eq!(dominant_color(&[9, 9, 9, 0]), "#ffffff");
    }
}
