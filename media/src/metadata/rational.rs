//! Fractions as EXIF has them, and their two forms in JSON.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A fraction in lowest terms: two are equal when their values are.
///
/// In JSON it is a string as photographers write it: `"1/125"`, `"5/2"`, `"-1/3"`, or `"30"` where it is whole. Fields
/// that people know as decimals (an aperture of 2.8) are numbers instead; see [`Capture`](crate::Capture).
///
/// ```
/// use darkroom_media::Rational;
///
/// let time = Rational::new(10, 1250).unwrap();
/// assert_eq!((time.num(), time.den()), (1, 125));
/// assert_eq!(serde_json::to_string(&time).unwrap(), "\"1/125\"");
/// assert_eq!(Rational::new(1, 0), None);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Rational {
    num: i64,
    den: u32,
}

impl Rational {
    /// `num / den`, in lowest terms. `None` if `den` is 0, or if the lowest terms do not fit into 64 bits and 32 bits.
    pub fn new(num: i64, den: i64) -> Option<Self> {
        let divisor = greatest_common_divisor(num.unsigned_abs(), den.unsigned_abs());
        if den == 0 {
            return None;
        }
        let magnitude = i64::try_from(num.unsigned_abs() / divisor).ok()?;
        let den_reduced = u32::try_from(den.unsigned_abs() / divisor).ok()?;
        let negative = (num < 0) != (den < 0);
        Some(Self { num: if negative { -magnitude } else { magnitude }, den: den_reduced })
    }

    /// The numerator, which has the sign.
    pub const fn num(self) -> i64 {
        self.num
    }

    /// The denominator, at least 1.
    pub const fn den(self) -> u32 {
        self.den
    }

    /// The nearest floating-point number.
    pub fn as_f64(self) -> f64 {
        self.num as f64 / f64::from(self.den)
    }

    /// The nearest thousandth, halves away from zero: what [`decimal`] can write and read again without loss.
    pub(super) fn rounded(self) -> Option<Self> {
        Self::new(self.thousandths()?, 1_000)
    }

    /// `None` beyond 64 bits.
    fn thousandths(self) -> Option<i64> {
        let den = i128::from(self.den);
        let doubled = i128::from(self.num) * 2_000;
        let half = if doubled < 0 { -den } else { den };
        i64::try_from((doubled + half) / (2 * den)).ok()
    }
}

/// At least 1 unless both are 0.
const fn greatest_common_divisor(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

impl fmt::Display for Rational {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.den {
            1 => write!(f, "{}", self.num),
            den => write!(f, "{}/{den}", self.num),
        }
    }
}

impl FromStr for Rational {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (num, den) = text.split_once('/').unwrap_or((text, "1"));
        let fraction = match (num.parse(), den.parse()) {
            (Ok(num), Ok(den)) => Self::new(num, den),
            _ => None,
        };
        fraction.ok_or_else(|| format!("`{text}` is no fraction like 1/125"))
    }
}

impl From<Rational> for String {
    fn from(fraction: Rational) -> Self {
        fraction.to_string()
    }
}

impl TryFrom<String> for Rational {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// A [`Rational`] as a JSON number of at most three decimals, whole where it can be: `2.8`, `50`, `-0.333`. For
/// `#[serde(with)]` on a field that may be missing.
pub(super) mod decimal {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Rational;

    /// Beyond it a floating-point number has no thousandths.
    const VALUE_MAX: f64 = 1e12;

    #[expect(clippy::ref_option, reason = "serde calls it with a reference to the field")]
    pub(in crate::metadata) fn serialize<S: Serializer>(
        value: &Option<Rational>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match value.and_then(Rational::thousandths) {
            Some(thousandths) if thousandths % 1_000 == 0 => (thousandths / 1_000).serialize(serializer),
            Some(thousandths) => (thousandths as f64 / 1_000.0).serialize(serializer),
            None => serializer.serialize_none(),
        }
    }

    pub(in crate::metadata) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Rational>, D::Error> {
        let Some(value) = Option::<f64>::deserialize(deserializer)? else {
            return Ok(None);
        };
        if !value.is_finite() || value.abs() > VALUE_MAX {
            return Err(D::Error::custom(format!("{value} is beyond what a photo can have")));
        }
        // Compared just above.
        Ok(Rational::new((value * 1_000.0).round() as i64, 1_000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn fractions_are_reduced_and_signed() {
        let parts = |num, den| Rational::new(num, den).map(|found| (found.num(), found.den()));
        assert_eq!(parts(10, 1250), Some((1, 125)));
        assert_eq!(parts(0, 7), Some((0, 1)));
        assert_eq!(parts(-4, 6), Some((-2, 3)));
        assert_eq!(parts(4, -6), Some((-2, 3)));
        assert_eq!(parts(-4, -6), Some((2, 3)));
        assert_eq!(parts(i64::from(i32::MIN), i64::from(i32::MIN)), Some((1, 1)));
        assert_eq!(parts(1, i64::from(i32::MIN)), Some((-1, 1 << 31)));
        assert_eq!(parts(i64::MIN, 1), None);
        assert_eq!((parts(0, 0), parts(5, 0)), (None, None));
    }

    #[test]
    fn thousandths_are_rounded_away_from_zero() {
        let rounded = |num, den| Rational::new(num, den).unwrap().rounded().unwrap().as_f64();
        assert_eq!(rounded(1, 3).to_string(), "0.333");
        assert_eq!(rounded(-2, 3).to_string(), "-0.667");
        assert_eq!(rounded(1, 2_000).to_string(), "0.001");
        assert_eq!(rounded(-1, 2_000).to_string(), "-0.001");
        assert_eq!(rounded(28, 10).to_string(), "2.8");
    }

    #[test]
    fn what_is_no_fraction_is_refused() {
        for text in ["", "/", "1/", "1/0", "a", "1/2/3", "1.5"] {
            assert!(text.parse::<Rational>().is_err(), "{text}");
        }
        assert_eq!("2/-4".parse::<Rational>().unwrap(), Rational::new(-1, 2).unwrap());
    }

    #[derive(Serialize, Deserialize)]
    struct Field {
        #[serde(with = "decimal")]
        value: Option<Rational>,
    }

    proptest! {
        #[test]
        fn text_and_number_are_read_again(num: i32, den: i32) {
            prop_assume!(den != 0);
            let exact = Rational::new(i64::from(num), i64::from(den)).unwrap();
            prop_assert_eq!(exact.to_string().parse(), Ok(exact));
            let rounded = exact.rounded();
            let json = serde_json::to_string(&Field { value: rounded }).unwrap();
            prop_assert_eq!(serde_json::from_str::<Field>(&json).unwrap().value, rounded, "{}", json);
        }
    }
}
