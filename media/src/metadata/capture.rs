//! How a photo was taken, as its EXIF block tells it.

use serde::{Deserialize, Serialize};

use super::Rational;
use super::rational::decimal;
use super::tiff::{Entry, Order, Tiff};

/// Longest text, in characters.
const TEXT_CHARS_MAX: usize = 128;
/// The year of the first photograph. Clocks that were never set and writers without a date tell years before it.
const YEAR_MIN: u16 = 1826;
/// The greatest sensitivity that its first tag can hold: it then stands for any greater one, told by another tag.
const ISO_SATURATED: u32 = 65_535;
/// Exposure bias beyond which a value is rubbish, in EV. Cameras offer up to 5.
const BIAS_EV_MAX: f64 = 100.0;

/// What a photo's file tells of camera, exposure, time and author (CIPA DC-008, section 4.6). Fields that it lacks, or
/// tells in a way that makes no sense, are `None`, and are left out of the JSON.
///
/// There is no place and no serial number in it, and there will not be: it is meant to be shown to everyone. Nothing is
/// checked against the truth: anyone can write anything into a file.
///
/// In JSON, `exposure_seconds` is a fraction in a string (`"1/125"`), as [`Rational`] has it; the other fractions are
/// numbers, rounded to thousandths when they are read from the photo, so that nothing is lost in JSON. Texts have at most
/// 128 characters, without control characters and surrounding blanks.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Capture {
    /// When the shutter opened, by the camera's clock: `2024-05-01T18:03:59`, with `.123` where the camera tells
    /// fractions of a second and `+02:00` where it tells its distance to UTC. When it was digitised, if only that is
    /// told, else when the file was changed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub taken: Option<String>,
    /// Who made the camera.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub make: Option<String>,
    /// The camera's model.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub model: Option<String>,
    /// Who made the lens.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub lens_make: Option<String>,
    /// The lens's model.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub lens: Option<String>,
    /// What wrote the file: the camera's firmware, or an editor.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub software: Option<String>,
    /// How long the shutter was open, in seconds; above 0. Exact.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub exposure_seconds: Option<Rational>,
    /// The aperture's f-number; above 0.
    #[serde(skip_serializing_if = "Option::is_none", default, with = "decimal")]
    pub f_number: Option<Rational>,
    /// By how much the photographer asked for more light (or, negative, less), in EV; -100 to 100.
    #[serde(skip_serializing_if = "Option::is_none", default, with = "decimal")]
    pub exposure_bias_ev: Option<Rational>,
    /// The lens's focal length, in millimetres; above 0.
    #[serde(skip_serializing_if = "Option::is_none", default, with = "decimal")]
    pub focal_length_mm: Option<Rational>,
    /// The focal length with the same angle of view on 35 mm film, in millimetres; above 0.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub focal_length_35mm: Option<u32>,
    /// Sensitivity, as an ISO number; above 0.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub iso: Option<u32>,
    /// Whether the flash fired.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub flash_fired: Option<bool>,
    /// Who took the photo.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub artist: Option<String>,
    /// Who holds the rights to it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub copyright: Option<String>,
}

/// Tags of CIPA DC-008, tables 4 and 7 to 9.
mod tag {
    pub(super) const MAKE: u16 = 0x010F;
    pub(super) const MODEL: u16 = 0x0110;
    pub(super) const SOFTWARE: u16 = 0x0131;
    pub(super) const DATE_TIME: u16 = 0x0132;
    pub(super) const ARTIST: u16 = 0x013B;
    pub(super) const COPYRIGHT: u16 = 0x8298;
    pub(super) const EXPOSURE_TIME: u16 = 0x829A;
    pub(super) const F_NUMBER: u16 = 0x829D;
    pub(super) const PHOTOGRAPHIC_SENSITIVITY: u16 = 0x8827;
    pub(super) const STANDARD_OUTPUT_SENSITIVITY: u16 = 0x8831;
    pub(super) const RECOMMENDED_EXPOSURE_INDEX: u16 = 0x8832;
    pub(super) const ISO_SPEED: u16 = 0x8833;
    pub(super) const DATE_TIME_ORIGINAL: u16 = 0x9003;
    pub(super) const DATE_TIME_DIGITIZED: u16 = 0x9004;
    pub(super) const OFFSET_TIME: u16 = 0x9010;
    pub(super) const OFFSET_TIME_ORIGINAL: u16 = 0x9011;
    pub(super) const OFFSET_TIME_DIGITIZED: u16 = 0x9012;
    pub(super) const EXPOSURE_BIAS: u16 = 0x9204;
    pub(super) const FLASH: u16 = 0x9209;
    pub(super) const FOCAL_LENGTH: u16 = 0x920A;
    pub(super) const SUB_SECONDS: u16 = 0x9290;
    pub(super) const SUB_SECONDS_ORIGINAL: u16 = 0x9291;
    pub(super) const SUB_SECONDS_DIGITIZED: u16 = 0x9292;
    pub(super) const FOCAL_LENGTH_35MM: u16 = 0xA405;
    pub(super) const LENS_MAKE: u16 = 0xA433;
    pub(super) const LENS_MODEL: u16 = 0xA434;
}

/// The three times that a file may tell, the best first: the time, its fraction of a second, its distance to UTC.
const TIMES: [(u16, u16, u16); 3] = [
    (tag::DATE_TIME_ORIGINAL, tag::SUB_SECONDS_ORIGINAL, tag::OFFSET_TIME_ORIGINAL),
    (tag::DATE_TIME_DIGITIZED, tag::SUB_SECONDS_DIGITIZED, tag::OFFSET_TIME_DIGITIZED),
    (tag::DATE_TIME, tag::SUB_SECONDS, tag::OFFSET_TIME),
];

/// What an EXIF block tells, from its TIFF header on or with `Exif\0\0` before it. `None` if that is nothing.
pub(crate) fn capture(exif: &[u8]) -> Option<Capture> {
    let tiff = Tiff::parse(exif)?;
    // Converters of raw files put entries of either directory into the other.
    Facts { entries: tiff.image().chain(tiff.exif()).collect() }.told()
}

/// What entries tell that were read elsewhere: tag, type and value of each. `None` if that is nothing.
pub(crate) fn capture_of<'a>(
    big_endian: bool,
    fields: impl Iterator<Item = (u16, u16, &'a [u8])>,
) -> Option<Capture> {
    let order = if big_endian { Order::Big } else { Order::Little };
    Facts { entries: fields.map(|(tag, kind, value)| Entry { tag, kind, order, value }).collect() }.told()
}

/// Whether an entry tells something that [`Capture`] has.
pub(crate) const fn is_capture(number: u16) -> bool {
    matches!(
        number,
        tag::MAKE
            | tag::MODEL
            | tag::SOFTWARE
            | tag::DATE_TIME
            | tag::ARTIST
            | tag::COPYRIGHT
            | tag::EXPOSURE_TIME
            | tag::F_NUMBER
            | tag::PHOTOGRAPHIC_SENSITIVITY
            | tag::STANDARD_OUTPUT_SENSITIVITY..=tag::ISO_SPEED
            | tag::DATE_TIME_ORIGINAL
            | tag::DATE_TIME_DIGITIZED
            | tag::OFFSET_TIME..=tag::OFFSET_TIME_DIGITIZED
            | tag::EXPOSURE_BIAS
            | tag::FLASH
            | tag::FOCAL_LENGTH
            | tag::SUB_SECONDS..=tag::SUB_SECONDS_DIGITIZED
            | tag::FOCAL_LENGTH_35MM
            | tag::LENS_MAKE
            | tag::LENS_MODEL
    )
}

/// The entries of both directories.
struct Facts<'a> {
    entries: Vec<Entry<'a>>,
}

impl<'a> Facts<'a> {
    /// What they tell. `None` if that is nothing.
    fn told(&self) -> Option<Capture> {
        let found = Capture {
            taken: TIMES.iter().find_map(|tags| self.time(*tags)),
            make: self.text(tag::MAKE),
            model: self.text(tag::MODEL),
            lens_make: self.text(tag::LENS_MAKE),
            lens: self.text(tag::LENS_MODEL),
            software: self.text(tag::SOFTWARE),
            exposure_seconds: self.positive(tag::EXPOSURE_TIME),
            f_number: self.positive(tag::F_NUMBER).and_then(Rational::rounded),
            exposure_bias_ev: self.bias(),
            focal_length_mm: self.positive(tag::FOCAL_LENGTH).and_then(Rational::rounded),
            focal_length_35mm: self.count(tag::FOCAL_LENGTH_35MM),
            iso: self.iso(),
            flash_fired: self.find(tag::FLASH).and_then(Entry::unsigned).map(|flash| flash & 1 != 0),
            artist: self.text(tag::ARTIST),
            copyright: self.text(tag::COPYRIGHT),
        };
        (found != Capture::default()).then_some(found)
    }

    fn find(&self, tag: u16) -> Option<&Entry<'a>> {
        self.entries.iter().find(|entry| entry.tag == tag)
    }

    fn bytes(&self, tag: u16) -> Option<&'a [u8]> {
        self.find(tag)?.text()
    }

    /// The first text of an entry that is not blank: a copyright may have two, the photographer's and the editor's, of which
    /// the first is a blank if only the second is meant (section 4.6.5.4).
    fn text(&self, tag: u16) -> Option<String> {
        let mut parts = self.bytes(tag)?.split(|byte| *byte == 0);
        match tag {
            tag::COPYRIGHT => parts.take(2).find_map(readable),
            _ => readable(parts.next()?),
        }
    }

    fn fraction(&self, tag: u16) -> Option<Rational> {
        let (num, den) = self.find(tag)?.fraction()?;
        Rational::new(num, den)
    }

    /// Zero means unknown in all that cannot be zero.
    fn positive(&self, tag: u16) -> Option<Rational> {
        self.fraction(tag).filter(|value| value.num() > 0)
    }

    fn count(&self, tag: u16) -> Option<u32> {
        self.find(tag)?.unsigned().filter(|value| *value > 0)
    }

    fn bias(&self) -> Option<Rational> {
        let bias = self.fraction(tag::EXPOSURE_BIAS)?.rounded()?;
        (bias.as_f64().abs() <= BIAS_EV_MAX).then_some(bias)
    }

    /// The sensitivity that every reader shows, or what stands for it where that is missing or beyond its 16 bits (annex G).
    fn iso(&self) -> Option<u32> {
        let shown = self.count(tag::PHOTOGRAPHIC_SENSITIVITY);
        if shown.is_some_and(|iso| iso != ISO_SATURATED) {
            return shown;
        }
        let others = [tag::RECOMMENDED_EXPOSURE_INDEX, tag::STANDARD_OUTPUT_SENSITIVITY, tag::ISO_SPEED];
        others.into_iter().find_map(|tag| self.count(tag)).or(shown)
    }

    fn time(&self, (time, fraction, offset): (u16, u16, u16)) -> Option<String> {
        let mut taken = date_time(self.bytes(time)?)?;
        if let Some(thousandths) = self.bytes(fraction).and_then(sub_seconds) {
            taken.push('.');
            taken.push_str(&thousandths);
        }
        if let Some(offset) = self.bytes(offset).and_then(utc_offset) {
            taken.push_str(offset);
        }
        Some(taken)
    }
}

/// A text for people. `None` if it is blank.
fn readable(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    let printed: String = text.chars().filter(|letter| !letter.is_control()).collect();
    let cut: String = printed.trim().chars().take(TEXT_CHARS_MAX).collect();
    let kept = cut.trim_end();
    (!kept.is_empty()).then(|| kept.to_owned())
}

/// The number of so many digits at the front of a text.
fn digits<const N: usize>(text: &mut &[u8]) -> Option<u16> {
    let (front, rest) = text.split_first_chunk::<N>()?;
    *text = rest;
    front
        .iter()
        .try_fold(0, |number, digit| digit.is_ascii_digit().then(|| number * 10 + u16::from(digit - b'0')))
}

/// One of some separators at the front of a text.
fn separator(text: &mut &[u8], allowed: &[u8]) -> Option<()> {
    let (front, rest) = text.split_first()?;
    *text = rest;
    allowed.contains(front).then_some(())
}

/// `YYYY:MM:DD HH:MM:SS` as ISO 8601 has it, if there is such a time. Some writers separate dates by hyphens or slashes.
fn date_time(mut text: &[u8]) -> Option<String> {
    const DATE: &[u8] = b":-/";
    let text = &mut text;
    let year = digits::<4>(text)?;
    separator(text, DATE)?;
    let month = digits::<2>(text)?;
    separator(text, DATE)?;
    let day = digits::<2>(text)?;
    separator(text, b" T")?;
    let hour = digits::<2>(text)?;
    separator(text, b":")?;
    let minute = digits::<2>(text)?;
    separator(text, b":")?;
    let second = digits::<2>(text)?;
    let date = year >= YEAR_MIN && (1..=days(year, month)).contains(&day);
    let time = hour < 24 && minute < 60 && second < 60;
    (date && time).then(|| format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"))
}

/// Days of a month, 0 if there is no such month.
const fn days(year: u16, month: u16) -> u16 {
    match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400) => 29,
        2 => 28,
        _ => 0,
    }
}

/// The digits behind the point of a second, as thousandths: `5` is half a second.
fn sub_seconds(text: &[u8]) -> Option<String> {
    let text = text.split(|byte| *byte == 0).next()?.trim_ascii();
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let thousandths: String = text.iter().map(|digit| char::from(*digit)).take(3).collect();
    Some(format!("{thousandths:0<3}"))
}

/// `+HH:MM` or `-HH:MM`. Clocks differ from UTC by at most 14 hours.
fn utc_offset(text: &[u8]) -> Option<&str> {
    let text = text.split(|byte| *byte == 0).next()?.trim_ascii();
    let mut rest = text;
    separator(&mut rest, b"+-")?;
    let hours = digits::<2>(&mut rest)?;
    separator(&mut rest, b":")?;
    let minutes = digits::<2>(&mut rest)?;
    (rest.is_empty() && hours <= 14 && minutes < 60).then_some(())?;
    std::str::from_utf8(text).ok()
}

#[cfg(test)]
mod tests {
    use exif::{In, Tag};
    use proptest::prelude::*;

    use super::*;
    use crate::metadata::sample::{Block, Value, camera};

    fn of_image(image: Vec<(u16, Value)>) -> Capture {
        capture(&Block { image, ..Block::default() }.build()).unwrap_or_default()
    }

    fn of_exif(exif: Vec<(u16, Value)>) -> Capture {
        capture(&Block { exif, ..Block::default() }.build()).unwrap_or_default()
    }

    #[test]
    fn everything_that_a_camera_tells_is_found_in_both_byte_orders() {
        let json = r#"{"taken":"2024-05-01T18:03:59.070+02:00","make":"Canon","model":"EOS R5","lens_make":"Canon","lens":"RF24-70mm F2.8 L IS USM","software":"Firmware 1.8.1","exposure_seconds":"1/125","f_number":2.8,"exposure_bias_ev":-0.333,"focal_length_mm":4.25,"focal_length_35mm":26,"iso":400,"flash_fired":true,"artist":"Ada L.","copyright":"Ada"}"#;
        for big_endian in [false, true] {
            let found = capture(&camera(big_endian).build()).unwrap();
            assert_eq!(serde_json::to_string(&found).unwrap(), json);
            assert_eq!(serde_json::from_str::<Capture>(json).unwrap(), found);
        }
        assert_eq!(serde_json::to_string(&Capture::default()).unwrap(), "{}");
        assert_eq!(serde_json::from_str::<Capture>("{}").unwrap(), Capture::default());
    }

    #[test]
    fn another_reader_finds_the_same() {
        let block = camera(true).build();
        let found = capture(&block).unwrap();
        let other = exif::Reader::new().read_raw(block).unwrap();
        let field = |tag| other.get_field(tag, In::PRIMARY).unwrap();
        let fraction = |tag| match &field(tag).value {
            exif::Value::Rational(values) => values[0].to_f64(),
            exif::Value::SRational(values) => values[0].to_f64(),
            value => panic!("{value:?}"),
        };
        let near = |found: Option<Rational>, tag| (found.unwrap().as_f64() - fraction(tag)).abs() <= 0.0005;
        assert!(near(found.exposure_seconds, Tag::ExposureTime));
        assert!(near(found.f_number, Tag::FNumber));
        assert!(near(found.exposure_bias_ev, Tag::ExposureBiasValue));
        assert!(near(found.focal_length_mm, Tag::FocalLength));
        assert_eq!(found.iso, field(Tag::PhotographicSensitivity).value.get_uint(0));
        assert_eq!(found.focal_length_35mm, field(Tag::FocalLengthIn35mmFilm).value.get_uint(0));
        assert_eq!(format!("{:?}", found.lens.unwrap()), field(Tag::LensModel).display_value().to_string());
    }

    #[test]
    fn of_three_times_the_best_valid_one_counts() {
        let (best, second, third) = ("2024:02:29 00:00:00", "2023:01:02 03:04:05", "2022:12:31 23:59:59");
        let taken = |original, digitized, changed| {
            of_exif(vec![
                (0x9003, Value::text(original)),
                (0x9004, Value::text(digitized)),
                (0x0132, Value::text(changed)),
                (0x9290, Value::text("123456")),
                (0x9292, Value::text("5  ")),
                (0x9010, Value::text("-03:30")),
                (0x9012, Value::text("   :  ")),
            ])
            .taken
        };
        assert_eq!(taken(best, second, third).as_deref(), Some("2024-02-29T00:00:00"));
        assert_eq!(taken("", second, third).as_deref(), Some("2023-01-02T03:04:05.500"));
        assert_eq!(taken("    :  :     :  :  ", "", third).as_deref(), Some("2022-12-31T23:59:59.123-03:30"));
        for wrong in [
            "0000:00:00 00:00:00",
            "0001:01:01 00:00:00",
            "2023:02:29 00:00:00",
            "2100:02:29 00:00:00",
            "2024:13:01 00:00:00",
            "2024:04:31 00:00:00",
            "2024:00:10 00:00:00",
            "2024:01:00 00:00:00",
            "2024:01:01 24:00:00",
            "2024:01:01 00:60:00",
            "2024:01:01 00:00:60",
            "2024:01:01",
            "2024:01:01 00:00",
            "+024:01:01 00:00:00",
            "today",
        ] {
            assert_eq!(taken(wrong, "", "").as_deref(), None, "{wrong}");
        }
        assert_eq!(taken("2000-02-29T12:00:00", "", "").as_deref(), Some("2000-02-29T12:00:00"));
    }

    #[test]
    fn fractions_and_offsets_that_make_no_sense_are_left_out() {
        assert_eq!(sub_seconds(b"04\0"), Some("040".to_owned()));
        assert_eq!(sub_seconds(b" 1234 \0\0"), Some("123".to_owned()));
        for wrong in [b"".as_slice(), b"   ", b"\0", b"1a", b"-1"] {
            assert_eq!(sub_seconds(wrong), None, "{wrong:?}");
        }
        assert_eq!(utc_offset(b"+05:45\0"), Some("+05:45"));
        for wrong in [b"".as_slice(), b"Z", b"05:45", b"+15:00", b"+05:60", b"+0545", b"+05:45x", b"+5:45"] {
            assert_eq!(utc_offset(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn texts_are_made_readable() {
        let make = |bytes: &[u8]| of_image(vec![(0x010F, Value::Raw(2, bytes.to_vec()))]).make;
        assert_eq!(make(b"  NIKON CORPORATION \0rubbish").as_deref(), Some("NIKON CORPORATION"));
        assert_eq!(make(b"not terminated").as_deref(), Some("not terminated"));
        assert_eq!(make(b"a\x07b\r\nc\x1B[31m\xC2\x85d\0").as_deref(), Some("abc[31md"));
        assert_eq!(make(b"caf\xE9\0").as_deref(), Some("caf\u{FFFD}"));
        assert_eq!(make("Kamera für Käse\0".as_bytes()).as_deref(), Some("Kamera für Käse"));
        let long = make("é".repeat(1000).as_bytes()).unwrap();
        assert_eq!((long.chars().count(), long.len()), (128, 256));
        assert_eq!(make([vec![b'a'; 127], b" bcd".to_vec()].concat().as_slice()).unwrap().len(), 127);
        for blank in [b"\0\0\0\0\0\0".as_slice(), b"      \0", b"\x01\x02\x03\x04\x05"] {
            assert_eq!(make(blank), None);
        }
        // As UTF-8, which EXIF 3.0 added; as a number, which no text is.
        assert_eq!(
            of_image(vec![(0x010F, Value::Raw(129, b"Maker\0".to_vec()))]).make.as_deref(),
            Some("Maker")
        );
        assert_eq!(of_image(vec![(0x010F, Value::Short(7))]), Capture::default());
        let copyright = |bytes: &[u8]| of_image(vec![(0x8298, Value::Raw(2, bytes.to_vec()))]).copyright;
        assert_eq!(copyright(b"Ada\0Bob\0").as_deref(), Some("Ada"));
        assert_eq!(copyright(b" \0Bob\0").as_deref(), Some("Bob"));
        assert_eq!(copyright(b" \0 \0Eve\0"), None);
    }

    #[test]
    fn a_zero_that_means_unknown_is_nothing() {
        let rational = |tag, num, den| of_exif(vec![(tag, Value::Rational(vec![(num, den)]))]);
        for tag in [0x829A, 0x829D, 0x920A, 0x9204] {
            assert_eq!(rational(tag, 1, 0), Capture::default());
            assert_eq!(rational(tag, 0, 0), Capture::default());
        }
        for tag in [0x829A, 0x829D, 0x920A] {
            assert_eq!(rational(tag, 0, 1), Capture::default());
        }
        assert_eq!(of_exif(vec![(0xA405, Value::Short(0)), (0x8827, Value::Short(0))]), Capture::default());
        let bias = |num, den| of_exif(vec![(0x9204, Value::Signed(num, den))]).exposure_bias_ev;
        assert_eq!(bias(0, 6), Rational::new(0, 1));
        assert_eq!(bias(2, -3), Rational::new(-667, 1000));
        assert_eq!(bias(i32::MIN, 1), None);
        let whole = of_exif(vec![(0x829A, Value::Rational(vec![(30, 1)])), (0x9209, Value::Short(0x10))]);
        assert_eq!(
            serde_json::to_string(&whole).unwrap(),
            r#"{"exposure_seconds":"30","flash_fired":false}"#
        );
    }

    #[test]
    fn a_sensitivity_beyond_16_bits_stands_in_another_tag() {
        let iso = |fields: &[(u16, u32)]| {
            let long = |(tag, value): &(u16, u32)| match *tag {
                0x8827 => (*tag, Value::Short(*value as u16)),
                _ => (*tag, Value::Long(*value)),
            };
            of_exif(fields.iter().map(long).collect()).iso
        };
        assert_eq!(iso(&[(0x8827, 65_535), (0x8832, 204_800)]), Some(204_800));
        assert_eq!(iso(&[(0x8827, 65_535), (0x8831, 102_400), (0x8832, 0)]), Some(102_400));
        assert_eq!(iso(&[(0x8827, 65_535)]), Some(65_535));
        assert_eq!(iso(&[(0x8827, 100), (0x8832, 125)]), Some(100));
        assert_eq!(iso(&[(0x8833, 80)]), Some(80));
    }

    #[test]
    fn entries_in_the_wrong_directory_are_found() {
        let raw_converter =
            of_image(vec![(0x829A, Value::Rational(vec![(1, 60)])), (0xA434, Value::text("50 mm"))]);
        assert_eq!(raw_converter.exposure_seconds, Rational::new(1, 60));
        assert_eq!(raw_converter.lens.as_deref(), Some("50 mm"));
    }

    #[test]
    fn nothing_is_told_of_nothing() {
        let secrets =
            Block { image: vec![(0x0112, Value::Short(1))], gps: camera(false).gps, ..Block::default() };
        assert_eq!(capture(&secrets.build()), None);
        assert_eq!(
            (capture(b""), capture(b"Exif\0\0"), capture(b"II*\0\xFF\xFF\xFF\xFF")),
            (None, None, None)
        );
    }

    proptest! {
        /// Nothing panics, nothing secret is told, and what is told survives JSON.
        #[test]
        fn damaged_blocks_tell_what_they_can(
            big_endian: bool,
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..20),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut block = camera(big_endian).build();
            for (at, value) in damage {
                let index = at.index(block.len());
                block[index] = value;
            }
            block.truncate(cut.index(block.len()) + 1);
            if let Some(found) = capture(&block) {
                let json = serde_json::to_string(&found).unwrap();
                prop_assert_eq!(serde_json::from_str::<Capture>(&json).unwrap(), found);
            }
        }

        #[test]
        fn rubbish_never_panics(mut bytes in prop::collection::vec(any::<u8>(), 0..300), big_endian: bool) {
            let header: &[u8] = if big_endian { b"MM\0*\0\0\0\x08" } else { b"II*\0\x08\0\0\0" };
            bytes.splice(..0, header.iter().copied());
            let _ = capture(&bytes);
        }
    }
}
