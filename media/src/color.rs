//! What the numbers of a pixel mean: colour profiles, and 16 bits to 8.
//!
//! A photo stays in its own colour space through the cascade and is converted at the end of it, variant by variant: that
//! is less to convert than the whole photo, and averaging is as right in one RGB space as in another.

mod planar;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use moxcms::{
    CicpColorPrimaries, CicpProfile, ColorProfile, DataColorSpace, Layout as Channels, MatrixCoefficients,
    ParsingOptions, TransferCharacteristics, Transform8BitExecutor, Transform16BitExecutor,
    TransformExecutor, TransformOptions,
};

use crate::frame::{Frame, Layout, Planes};
use crate::{Gamut, Limits};

/// The colour space of decoded pixels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Color {
    /// sRGB, or nothing said, which means sRGB.
    Srgb,
    /// An ICC profile (ISO 15076-1), as the file carries it.
    Icc(Vec<u8>),
    /// Code points of ITU-T H.273, as AVIF, HEIC and PNG carry them.
    Cicp {
        /// Colour primaries: 1 is BT.709 (sRGB's), 9 BT.2020, 12 Display P3.
        primaries: u8,
        /// Transfer characteristics: 13 is sRGB's, 16 PQ, 18 HLG.
        transfer: u8,
    },
}

/// Largest tables inside a profile, in bytes and in entries: a few times what printers' profiles have.
const CLUT_BYTES_MAX: usize = 10_000_000;
const CURVE_ENTRIES_MAX: usize = 40_000;

/// Steps of 51 along each axis of RGB, on which two spaces are compared.
const GRID: usize = 6;

/// Two spaces that differ by at most so much anywhere on the grid are one: what the rounding of tables costs.
const SAME_MAX: u8 = 2;

impl Color {
    /// What a file's profile describes. A longer one than the limit is passed over.
    pub(crate) fn of_profile(profile: &[u8], limits: &Limits) -> Self {
        if limits.allow_profile(profile) { Self::Icc(profile.to_vec()) } else { Self::Srgb }
    }

    /// The profile, if there is one that can be read and has this kind of pixels.
    fn profile(&self, space: DataColorSpace) -> Option<ColorProfile> {
        let profile = match self {
            Self::Srgb => return None,
            Self::Icc(bytes) => {
                let options = ParsingOptions {
                    // Beyond the length.
                    max_profile_size: bytes.len() + 1,
                    max_allowed_clut_size: CLUT_BYTES_MAX,
                    max_allowed_trc_size: CURVE_ENTRIES_MAX,
                };
                ColorProfile::new_from_slice_with_options(bytes, options).ok()?
            }
            // 2 is "not specified", 0, 3 and what is missing here are reserved.
            Self::Cicp { primaries, transfer }
                if !matches!(primaries, 1 | 4..=12 | 22) || !matches!(transfer, 1 | 4..=18) =>
            {
                return None;
            }
            Self::Cicp { primaries, transfer } => ColorProfile::new_from_cicp(CicpProfile {
                color_primaries: CicpColorPrimaries::try_from(*primaries).ok()?,
                transfer_characteristics: TransferCharacteristics::try_from(*transfer).ok()?,
                matrix_coefficients: MatrixCoefficients::Identity,
                full_range: true,
            }),
        };
        (profile.color_space == space).then_some(profile)
    }
}

impl Color {
    /// The same for gray pixels that have become RGB: a profile for gray becomes one for RGB with its curve.
    pub(crate) fn of_expanded_gray(self) -> Self {
        let Some(gray) = self.profile(DataColorSpace::Gray) else { return self };
        let mut rgb = ColorProfile::new_srgb();
        (rgb.red_trc, rgb.green_trc, rgb.blue_trc) =
            (gray.gray_trc.clone(), gray.gray_trc.clone(), gray.gray_trc);
        // Else it would be read as what its code points say.
        rgb.cicp = None;
        rgb.encode().map_or(Self::Srgb, Self::Icc)
    }
}

/// What to convert from, found out once for each photo.
pub(crate) enum Space {
    /// Nothing is to be done.
    Srgb,
    /// Display P3, which a preset may keep.
    P3(Conversion),
    /// Something else.
    Other(Conversion),
}

/// From a profile to sRGB. What it takes to make one is kept for all variants.
pub(crate) struct Conversion {
    profile: Box<ColorProfile>,
    /// Of the pixels that `transform` is for.
    layout: Layout,
    transform: Arc<Transform8BitExecutor>,
}

impl Conversion {
    /// For pixels of another layout than the photo's, an animation's for instance, another one is made.
    fn of(&self, layout: Layout) -> Result<Arc<Transform8BitExecutor>, String> {
        if layout == self.layout {
            return Ok(Arc::clone(&self.transform));
        }
        transform_8bit(&self.profile, layout).map_err(|error| format!("{error:?}"))
    }
}

impl fmt::Debug for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Srgb => "Srgb",
            Self::P3(_) => "P3",
            Self::Other(_) => "Other",
        })
    }
}

/// 216 colours, evenly spread.
fn grid() -> Vec<u8> {
    let step = |index: usize| (index * 255 / (GRID - 1)) as u8;
    (0..GRID * GRID * GRID)
        .flat_map(|index| [step(index / (GRID * GRID)), step(index / GRID % GRID), step(index % GRID)])
        .collect()
}

/// Whether a transform of RGB changes nothing.
fn changes_nothing(transform: &Transform8BitExecutor) -> bool {
    let from = grid();
    let mut to = vec![0; from.len()];
    transform.transform(&from, &mut to).is_ok()
        && from.iter().zip(&to).all(|(a, b)| a.abs_diff(*b) <= SAME_MAX)
}

/// Whether `profile` shows RGB as `other` does.
fn same(profile: &ColorProfile, other: &ColorProfile) -> bool {
    let options = TransformOptions::default();
    profile
        .create_transform_8bit(Channels::Rgb, other, Channels::Rgb, options)
        .is_ok_and(|transform| changes_nothing(transform.as_ref()))
}

impl Space {
    /// Of pixels in this layout. A profile that cannot be read, that nothing can be converted from, or that is for other
    /// pixels, is none: as in browsers.
    pub(crate) fn new(color: &Color, layout: Layout) -> Self {
        let kind = if layout == Layout::Luma { DataColorSpace::Gray } else { DataColorSpace::Rgb };
        let Some(profile) = color.profile(kind) else { return Self::Srgb };
        let Ok(transform) = transform_8bit(&profile, layout) else { return Self::Srgb };
        let srgb = match layout {
            Layout::Luma => false,
            Layout::Rgb => changes_nothing(transform.as_ref()),
            Layout::Rgba => same(&profile, &ColorProfile::new_srgb()),
        };
        if srgb {
            return Self::Srgb;
        }
        let p3 = layout != Layout::Luma && same(&profile, &ColorProfile::new_display_p3());
        let conversion = Conversion { profile: Box::new(profile), layout, transform };
        if p3 { Self::P3(conversion) } else { Self::Other(conversion) }
    }

    /// Whether variants of this gamut have other colours than the photo.
    pub(crate) const fn must_convert(&self, gamut: Gamut) -> bool {
        !matches!((self, gamut), (Self::Srgb, _) | (Self::P3(_), Gamut::P3))
    }

    /// The ICC profile that a variant of this gamut carries: none for sRGB.
    pub(crate) fn kept_profile(&self, gamut: Gamut) -> Option<Vec<u8>> {
        match (self, gamut) {
            (Self::P3(_), Gamut::P3) => ColorProfile::new_display_p3().encode().ok(),
            _ => None,
        }
    }

    /// What shows an sRGB colour in a variant of this gamut.
    pub(crate) fn of_srgb(&self, color: [u8; 3], gamut: Gamut) -> [u8; 3] {
        if !matches!((self, gamut), (Self::P3(_), Gamut::P3)) {
            return color;
        }
        let mut converted = color;
        let transform = ColorProfile::new_srgb().create_transform_8bit(
            Channels::Rgb,
            &ColorProfile::new_display_p3(),
            Channels::Rgb,
            TransformOptions::default(),
        );
        match transform.and_then(|transform| transform.transform(&color, &mut converted)) {
            Ok(()) => converted,
            Err(_) => color,
        }
    }

    /// Pixels in sRGB. Fails with the colour engine's words.
    pub(crate) fn to_srgb<'a>(&self, frame: &'a Frame) -> Result<Cow<'a, Frame>, String> {
        let (Self::P3(conversion) | Self::Other(conversion)) = self else { return Ok(Cow::Borrowed(frame)) };
        let mut converted = Frame::zeroed(frame.width, frame.height, frame.layout);
        let transform = conversion.of(frame.layout)?;
        transform.transform(&frame.data, &mut converted.data).map_err(|error| format!("{error:?}"))?;
        Ok(Cow::Owned(converted))
    }

    /// Planes with chroma halved both ways, in sRGB. Fails with the colour engine's words.
    pub(crate) fn planes_to_srgb<'a>(&self, planes: &'a Planes) -> Result<Cow<'a, Planes>, String> {
        let (Self::P3(conversion) | Self::Other(conversion)) = self else { return Ok(Cow::Borrowed(planes)) };
        let transform = conversion.of(Layout::Rgb)?;
        let converted = planar::convert(planes, transform.as_ref()).map_err(|error| format!("{error:?}"))?;
        Ok(Cow::Owned(converted))
    }
}

const fn channels(layout: Layout) -> Channels {
    match layout {
        Layout::Luma => Channels::Gray,
        Layout::Rgb => Channels::Rgb,
        Layout::Rgba => Channels::Rgba,
    }
}

/// The colours of sRGB, or for gray pixels a gray with sRGB's curve.
fn srgb_for(layout: Layout) -> ColorProfile {
    let srgb = ColorProfile::new_srgb();
    if layout != Layout::Luma {
        return srgb;
    }
    let mut gray = ColorProfile::new_gray_with_gamma(2.2);
    gray.gray_trc = srgb.green_trc;
    gray
}

fn transform_8bit(
    profile: &ColorProfile,
    layout: Layout,
) -> Result<Arc<Transform8BitExecutor>, moxcms::CmsError> {
    let to = srgb_for(layout);
    profile.create_transform_8bit(channels(layout), &to, channels(layout), TransformOptions::default())
}

/// CMYK (0 is no ink, the greatest number full ink; four samples per pixel) as sRGB: by the profile if there is one for
/// CMYK, else by the plain formula that every viewer uses. Samples are of 8 bits or of 16.
pub(crate) struct Inks<T: Copy + Default> {
    transform: Option<Arc<dyn TransformExecutor<T> + Send + Sync>>,
    /// Full ink, and full light.
    most: u32,
}

/// Bytes held beside a profile of so many bytes while inks are converted by it: its tables, one of them once more as
/// floating point, and the codec's own of 17 steps along each ink.
pub(crate) const fn inks_bytes(profile_bytes: u64) -> u64 {
    if profile_bytes == 0 { 0 } else { (4 << 20) + 5 * profile_bytes }
}

impl Inks<u8> {
    pub(crate) fn new(color: &Color) -> Self {
        let transform = color.profile(DataColorSpace::Cmyk).and_then(|profile| {
            let (srgb, options) = (ColorProfile::new_srgb(), TransformOptions::default());
            profile.create_transform_8bit(Channels::Rgba, &srgb, Channels::Rgb, options).ok()
        });
        Self { transform, most: u8::MAX.into() }
    }
}

impl Inks<u16> {
    pub(crate) fn new(color: &Color) -> Self {
        let transform = color.profile(DataColorSpace::Cmyk).and_then(|profile| {
            let (srgb, options) = (ColorProfile::new_srgb(), TransformOptions::default());
            profile.create_transform_16bit(Channels::Rgba, &srgb, Channels::Rgb, options).ok()
        });
        Self { transform, most: u16::MAX.into() }
    }
}

impl<T: Copy + Default + Into<u32> + TryFrom<u32>> Inks<T> {
    /// Converts whole pixels, four samples to three.
    pub(crate) fn convert(&self, cmyk: &[T], rgb: &mut [T]) {
        if let Some(transform) = &self.transform
            && transform.transform(cmyk, rgb).is_ok()
        {
            return;
        }
        let (from, _) = cmyk.as_chunks::<4>();
        let (to, _) = rgb.as_chunks_mut::<3>();
        for ([cyan, magenta, yellow, black], pixel) in from.iter().zip(to) {
            let left: u32 = self.most - (*black).into();
            *pixel = [*cyan, *magenta, *yellow].map(|ink| {
                let ink: u32 = ink.into();
                // Fits for 16 bits too, and what comes out is at most full light.
                let light = (self.most - ink) * left + self.most / 2;
                T::try_from(light / self.most).unwrap_or_default()
            });
        }
    }
}

/// Reduces samples of 16 bits (0 to 65,535) to 8 (0 to 255), to the nearest.
///
/// Colours that 8 bits would show in bands (other gamuts than sRGB and Display P3) are converted to sRGB before they are
/// reduced.
pub(crate) struct Reducer {
    transform: Option<Arc<Transform16BitExecutor>>,
    converted: Vec<u16>,
}

impl Reducer {
    /// For rows of pixels of 1 (gray), 3 (RGB) or 4 (RGBA) channels, and the colour space that they have after it.
    pub(crate) fn new(color: Color, channels_per_pixel: usize) -> (Self, Color) {
        let layout = match channels_per_pixel {
            1 => Layout::Luma,
            3 => Layout::Rgb,
            _ => Layout::Rgba,
        };
        let transform = match Space::new(&color, layout) {
            Space::Other(Conversion { profile, .. }) => {
                let options = TransformOptions::default();
                let to = srgb_for(layout);
                profile.create_transform_16bit(channels(layout), &to, channels(layout), options).ok()
            }
            Space::Srgb | Space::P3(_) => None,
        };
        let left = if transform.is_some() { Color::Srgb } else { color };
        (Self { transform, converted: Vec::new() }, left)
    }

    /// Reduces whole pixels. Both are of the same length.
    pub(crate) fn reduce(&mut self, from: &[u16], to: &mut [u8]) {
        let samples = match &self.transform {
            Some(transform) => {
                self.converted.resize(from.len(), 0);
                if transform.transform(from, &mut self.converted).is_ok() { &self.converted } else { from }
            }
            None => from,
        };
        for (sample, reduced) in samples.iter().zip(to) {
            // At most 255.
            *reduced = ((u32::from(*sample) * 255 + 32_767) / 65_535) as u8;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn icc(profile: &ColorProfile) -> Color {
        Color::Icc(profile.encode().unwrap())
    }

    fn pixel(color: [u8; 3]) -> Frame {
        Frame { width: 1, height: 1, layout: Layout::Rgb, data: color.to_vec() }
    }

    #[test]
    fn a_profile_longer_than_the_limit_is_passed_over() {
        let limits = Limits { icc_bytes_max: 3, ..Limits::default() };
        assert_eq!(Color::of_profile(&[1, 2, 3], &limits), Color::Icc(vec![1, 2, 3]));
        assert_eq!(Color::of_profile(&[1, 2, 3, 4], &limits), Color::Srgb);
        assert_eq!(Color::of_profile(&[], &limits), Color::Srgb);
    }

    #[test]
    fn srgb_in_any_dress_is_srgb() {
        for color in [
            Color::Srgb,
            icc(&ColorProfile::new_srgb()),
            Color::Cicp { primaries: 1, transfer: 13 },
            Color::Icc(b"no profile".to_vec()),
            Color::Cicp { primaries: 250, transfer: 250 },
        ] {
            assert!(matches!(Space::new(&color, Layout::Rgb), Space::Srgb), "{color:?}");
        }
        // A profile for other pixels.
        assert!(matches!(
            Space::new(&icc(&ColorProfile::new_gray_with_gamma(1.0)), Layout::Rgb),
            Space::Srgb
        ));
        assert!(matches!(Space::new(&icc(&ColorProfile::new_display_p3()), Layout::Luma), Space::Srgb));
    }

    #[test]
    fn a_profile_that_nothing_can_be_converted_from_is_none() {
        let mut without_curves = ColorProfile::new_adobe_rgb();
        without_curves.red_trc = None;
        let mut gray = ColorProfile::new_gray_with_gamma(1.8);
        gray.gray_trc = None;
        for (profile, layout) in [(without_curves, Layout::Rgb), (gray, Layout::Luma)] {
            let color = icc(&profile);
            assert!(color.profile(profile.color_space).is_some(), "it is not refused when it is read");
            assert!(matches!(Space::new(&color, layout), Space::Srgb));
        }
    }

    #[test]
    fn display_p3_is_converted_or_kept() {
        for color in [icc(&ColorProfile::new_display_p3()), Color::Cicp { primaries: 12, transfer: 13 }] {
            let space = Space::new(&color, Layout::Rgb);
            assert!(matches!(space, Space::P3(_)), "{space:?}");
            assert!(space.must_convert(Gamut::Srgb) && !space.must_convert(Gamut::P3));
            let profile = ColorProfile::new_from_slice(&space.kept_profile(Gamut::P3).unwrap()).unwrap();
            assert!(same(&profile, &ColorProfile::new_display_p3()));
            assert_eq!(space.kept_profile(Gamut::Srgb), None);
            // What sRGB shows as pure red is (234, 51, 35) in Display P3 (CSS Color 4, section 10.4).
            let red = space.to_srgb(&pixel([234, 51, 35])).unwrap().into_owned().data;
            assert!(red[0] >= 253 && red[1] <= 3 && red[2] <= 3, "{red:?}");
            // Neutral colours stay.
            assert_eq!(space.to_srgb(&pixel([128; 3])).unwrap().data, [128; 3]);
        }
    }

    #[test]
    fn adobe_rgb_becomes_srgb() {
        let space = Space::new(&icc(&ColorProfile::new_adobe_rgb()), Layout::Rgb);
        // (219, 0, 0) in Adobe RGB is close to sRGB's pure red.
        let red = space.to_srgb(&pixel([219, 0, 0])).unwrap().into_owned().data;
        assert!(red[0] >= 252 && red[1] <= 8 && red[2] <= 8, "{red:?}");
        assert!(space.must_convert(Gamut::P3), "only Display P3 can be kept");
    }

    #[test]
    fn a_gray_profile_changes_the_curve() {
        let space = Space::new(&icc(&ColorProfile::new_gray_with_gamma(1.0)), Layout::Luma);
        let frame = Frame { width: 3, height: 1, layout: Layout::Luma, data: vec![0, 55, 255] };
        let gray = space.to_srgb(&frame).unwrap().into_owned().data;
        // Linear 0.2157 is sRGB 0.5019.
        assert!(gray[0] <= 1 && gray[1].abs_diff(128) <= 1 && gray[2] >= 254, "{gray:?}");
    }

    #[test]
    fn inks_without_a_profile_darken_each_other() {
        let mut rgb = [0; 12];
        let inks = [0, 0, 0, 0, 255, 0, 0, 0, 0, 0, 0, 255, 0, 128, 255, 128];
        Inks::<u8>::new(&Color::Srgb).convert(&inks, &mut rgb);
        assert_eq!(rgb, [255, 255, 255, 0, 255, 255, 0, 0, 0, 127, 63, 0]);
        let mut deep = [0; 12];
        Inks::<u16>::new(&Color::Srgb).convert(&inks.map(|ink| u16::from(ink) * 257), &mut deep);
        // The product of two halves has more places than 8 bits.
        let expected = [255, 255, 255, 0, 255, 255, 0, 0, 0, 127, 63, 0].map(|light: u16| light * 257);
        assert!(deep.iter().zip(expected).all(|(a, b)| a.abs_diff(b) <= 128), "{deep:?}");
        Inks::<u16>::new(&Color::Srgb).convert(&[0, 65_535, 1, 65_534], &mut deep[..3]);
        assert_eq!(deep[..3], [1, 0, 1]);
    }

    #[test]
    fn sixteen_bits_are_rounded_not_cut() {
        let (mut reducer, left) = Reducer::new(Color::Srgb, 1);
        let mut reduced = [0; 6];
        reducer.reduce(&[0, 128, 129, 257, 65_406, 65_407], &mut reduced);
        assert_eq!((reduced, left), ([0, 0, 1, 1, 254, 255], Color::Srgb));
    }

    #[test]
    fn wide_gamuts_are_converted_before_they_are_reduced() {
        let (mut reducer, left) = Reducer::new(icc(&ColorProfile::new_pro_photo_rgb()), 3);
        assert_eq!(left, Color::Srgb);
        let mut reduced = [0; 3];
        reducer.reduce(&[30_000; 3], &mut reduced);
        assert!(reduced[0] > 117, "gamma 1.8 to sRGB: {reduced:?}");
        assert!(reduced.iter().all(|value| value.abs_diff(reduced[0]) <= 1), "{reduced:?}");
        let p3 = icc(&ColorProfile::new_display_p3());
        assert_eq!(Reducer::new(p3.clone(), 4).1, p3);
    }
}
