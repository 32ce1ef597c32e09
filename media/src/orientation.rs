//! Which way is up.

use serde::{Deserialize, Serialize};

use crate::resize::Window;

/// How the stored pixels must be turned to stand upright: EXIF tag 0x0112 (CIPA DC-008, section 4.6.4).
///
/// The names say what is to be done to the stored picture. In JSON it is the EXIF number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub enum Orientation {
    /// 1: nothing.
    #[default]
    Upright,
    /// 2: mirror left and right.
    FlipHorizontal,
    /// 3: turn by 180°.
    Rotate180,
    /// 4: mirror top and bottom.
    FlipVertical,
    /// 5: mirror along the main diagonal.
    Transpose,
    /// 6: turn by 90° clockwise.
    Rotate90,
    /// 7: mirror along the other diagonal.
    Transverse,
    /// 8: turn by 90° counter-clockwise.
    Rotate270,
}

impl Orientation {
    /// All of them, in the order of their EXIF numbers 1 to 8.
    pub const ALL: [Self; 8] = [
        Self::Upright,
        Self::FlipHorizontal,
        Self::Rotate180,
        Self::FlipVertical,
        Self::Transpose,
        Self::Rotate90,
        Self::Transverse,
        Self::Rotate270,
    ];

    /// From the EXIF number. `None` for anything but 1 to 8 (cameras do write 0, which means unknown).
    pub const fn from_exif(value: u16) -> Option<Self> {
        match value {
            1..=8 => Some(Self::ALL[value as usize - 1]),
            _ => None,
        }
    }

    /// The EXIF number, 1 to 8.
    pub const fn exif(self) -> u16 {
        self as u16 + 1
    }

    /// Whether width and height change places.
    pub const fn swaps_axes(self) -> bool {
        matches!(self, Self::Transpose | Self::Rotate90 | Self::Transverse | Self::Rotate270)
    }

    /// A size after turning, or before it: the exchange is its own inverse.
    pub(crate) const fn turn(self, (width, height): (u32, u32)) -> (u32, u32) {
        if self.swaps_axes() { (height, width) } else { (width, height) }
    }

    /// The part of the stored picture that is shown as this part.
    pub(crate) fn untwist(self, shown: Window) -> Window {
        let Window { left, top, width, height } = shown;
        let (mut left, mut top, width, height) =
            if self.swaps_axes() { (top, left, height, width) } else { (left, top, width, height) };
        if self.reads_columns_backwards() {
            left = (1.0 - left - width).max(0.0);
        }
        if self.reads_rows_backwards() {
            top = (1.0 - top - height).max(0.0);
        }
        Window { left, top, width, height }
    }

    /// Turning by this, then by `next`, in one step.
    pub(crate) fn then(self, next: Self) -> Self {
        let reads = |of: Self| (of.swaps_axes(), of.reads_columns_backwards(), of.reads_rows_backwards());
        let ((swaps, columns, rows), (next_swaps, next_columns, next_rows)) = (reads(self), reads(next));
        // What `next` reads backwards are columns and rows of the picture that this has turned already.
        let (more_columns, more_rows) =
            if swaps { (next_rows, next_columns) } else { (next_columns, next_rows) };
        let both = (swaps != next_swaps, columns != more_columns, rows != more_rows);
        Self::ALL.into_iter().find(|candidate| reads(*candidate) == both).unwrap_or_default()
    }

    /// Whether the last stored row is among the first shown (rows, or columns when the axes are swapped).
    pub(crate) const fn reads_rows_backwards(self) -> bool {
        matches!(self, Self::Rotate180 | Self::FlipVertical | Self::Rotate90 | Self::Transverse)
    }

    /// Whether the last stored column is among the first shown.
    pub(crate) const fn reads_columns_backwards(self) -> bool {
        matches!(self, Self::FlipHorizontal | Self::Rotate180 | Self::Transverse | Self::Rotate270)
    }
}

impl From<Orientation> for u16 {
    fn from(orientation: Orientation) -> Self {
        orientation.exif()
    }
}

impl TryFrom<u16> for Orientation {
    type Error = String;

    fn try_from(value: u16) -> Result<Self, Self::Error> {
        Self::from_exif(value).ok_or_else(|| format!("{value} is no EXIF orientation: they go from 1 to 8"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where a stored pixel is shown, on a square that goes from -1 to 1.
    fn place(orientation: Orientation, (x, y): (i32, i32)) -> (i32, i32) {
        match orientation {
            Orientation::Upright => (x, y),
            Orientation::FlipHorizontal => (-x, y),
            Orientation::Rotate180 => (-x, -y),
            Orientation::FlipVertical => (x, -y),
            Orientation::Transpose => (y, x),
            Orientation::Rotate90 => (-y, x),
            Orientation::Transverse => (-y, -x),
            Orientation::Rotate270 => (y, -x),
        }
    }

    #[test]
    fn two_turns_are_one() {
        let corner = (1, 2);
        for first in Orientation::ALL {
            for next in Orientation::ALL {
                let step_by_step = place(next, place(first, corner));
                assert_eq!(place(first.then(next), corner), step_by_step, "{first:?}, then {next:?}");
            }
        }
    }

    #[test]
    #[expect(clippy::float_cmp, reason = "quarters are exact")]
    fn a_part_is_found_where_it_is_stored() {
        let shown = Window { left: 0.25, top: 0.0, width: 0.25, height: 0.5 };
        let part = |number| {
            let Window { left, top, width, height } = Orientation::from_exif(number).unwrap().untwist(shown);
            [left, top, width, height]
        };
        assert_eq!(part(1), [0.25, 0.0, 0.25, 0.5]);
        assert_eq!(part(2), [0.5, 0.0, 0.25, 0.5]);
        assert_eq!(part(3), [0.5, 0.5, 0.25, 0.5]);
        // Turned clockwise to be shown: what is shown on top was stored on the left, what is on the left at the bottom.
        assert_eq!(part(6), [0.0, 0.5, 0.5, 0.25]);
        assert_eq!(part(8), [0.5, 0.25, 0.5, 0.25]);
    }

    #[test]
    fn exif_numbers_go_both_ways() {
        for number in 1..=8 {
            let orientation = Orientation::from_exif(number).unwrap();
            assert_eq!(orientation.exif(), number);
            let json = serde_json::to_string(&orientation).unwrap();
            assert_eq!(json, number.to_string());
            assert_eq!(serde_json::from_str::<Orientation>(&json).unwrap(), orientation);
        }
        assert_eq!(Orientation::from_exif(0), None);
        assert_eq!(Orientation::from_exif(9), None);
        assert!(serde_json::from_str::<Orientation>("9").is_err());
    }
}
