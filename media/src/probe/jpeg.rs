//! Walking a JPEG (ITU-T T.81, annex B): segments by their lengths, entropy-coded data by its markers.

use super::step::{Seen, Step, Structure};
use super::{Exif, Probe, Subsampling, check_size};
use crate::{MediaError, SourceFormat};

const EXIF_HEADER: &[u8] = b"Exif\0\0";
/// How APP2 begins if it holds a colour profile (ICC.1:2022, section B.4).
const ICC_HEADER: &[u8] = b"ICC_PROFILE\0";
/// Adobe's segment up to the colour transform (T.872, section 6.5.3).
const ADOBE_BYTES: usize = 12;

/// Marker codes, the byte after 0xFF (T.81, table B.1).
mod marker {
    pub(super) const TEM: u8 = 0x01;
    pub(super) const SOF_FIRST: u8 = 0xC0;
    pub(super) const SOF_LAST: u8 = 0xCF;
    pub(super) const DHT: u8 = 0xC4;
    pub(super) const JPG: u8 = 0xC8;
    pub(super) const DAC: u8 = 0xCC;
    pub(super) const RST_FIRST: u8 = 0xD0;
    pub(super) const RST_LAST: u8 = 0xD7;
    pub(super) const SOI: u8 = 0xD8;
    pub(super) const EOI: u8 = 0xD9;
    pub(super) const SOS: u8 = 0xDA;
    pub(super) const DNL: u8 = 0xDC;
    pub(super) const APP1: u8 = 0xE1;
    pub(super) const APP2: u8 = 0xE2;
    pub(super) const APP13: u8 = 0xED;
    pub(super) const APP14: u8 = 0xEE;
}

/// What is collected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum At {
    /// The 0xFF of a marker.
    Marker,
    /// The code of a marker, or more fill bytes 0xFF.
    Code,
    /// Behind the next 0xFF in entropy-coded data.
    ScanCode,
    /// The two bytes of a segment's length.
    Length(u8),
    /// The payload of a frame header, collected.
    Frame(u8),
    /// The payload of a scan header, collected.
    ScanHeader,
    /// The first bytes of APP1, to tell EXIF from XMP. Holds the length of the payload.
    App1(usize),
    /// An EXIF block, collected.
    Exif,
    /// The first bytes of APP2, to find a colour profile. Holds the length of the payload.
    App2(usize),
    /// The first bytes of APP14, to find Adobe's colour transform. Holds the length of the payload.
    App14(usize),
}

/// The frame header's facts (T.81, section B.2.2).
#[derive(Debug, Clone)]
struct Frame {
    width: u32,
    height: u32,
    components: u8,
    progressive: bool,
    subsampling: Option<Subsampling>,
    /// Components named R, G and B.
    named_rgb: bool,
}

#[derive(Debug, Default)]
pub(super) struct Jpeg {
    frame: Option<Frame>,
    exif: Exif,
    scans: u32,
    first_scan_components: u8,
    metadata_bytes: u64,
    has_profile: bool,
    /// Adobe says that three components are RGB.
    adobe_rgb: bool,
}

fn corrupt(detail: impl Into<String>) -> MediaError {
    MediaError::corrupt(SourceFormat::Jpeg, detail)
}

/// Skips so many bytes, behind which the 0xFF of a marker must stand.
const fn next_marker(skipped: usize) -> Step<At> {
    Step::Collect { skipped: skipped as u64, at: At::Marker, bytes: 1 }
}

/// Nothing but 0xFF means anything in entropy-coded data.
const ENTROPY_CODED: Step<At> = Step::Seek { byte: 0xFF, at: At::ScanCode };

impl Structure for Jpeg {
    type At = At;

    fn begin(&self) -> Step<At> {
        // Behind SOI.
        next_marker(2)
    }

    fn next(&mut self, at: At, seen: &Seen<'_>) -> Result<Step<At>, MediaError> {
        match at {
            At::Marker | At::Code | At::ScanCode => return self.marker_byte(at, seen),
            At::Length(code) => return self.segment(code, seen),
            At::Frame(code) => return self.frame_header(code, seen),
            At::ScanHeader => return self.scan_header(seen),
            At::App1(payload) if seen.bytes == EXIF_HEADER => {
                seen.limits.check_metadata(payload as u64)?;
                return Ok(Step::More { at: At::Exif, bytes: payload - EXIF_HEADER.len() });
            }
            At::App1(payload) => return Ok(next_marker(payload - EXIF_HEADER.len())),
            At::Exif => self.exif.read(seen.bytes),
            At::App2(payload) => {
                self.has_profile |= seen.bytes == ICC_HEADER;
                return Ok(next_marker(payload - ICC_HEADER.len()));
            }
            At::App14(payload) => {
                self.adobe_rgb |= seen.bytes.starts_with(b"Adobe") && seen.bytes[11] == 0;
                return Ok(next_marker(payload - ADOBE_BYTES));
            }
        }
        Ok(next_marker(0))
    }

    fn format(&self) -> SourceFormat {
        SourceFormat::Jpeg
    }

    fn size_known(&self) -> bool {
        self.frame.is_some()
    }

    fn finish(self, at: Option<At>, seen: &Seen<'_>, bytes: u64) -> Result<Probe, MediaError> {
        // What was cut in its pixels is shown as far as it goes.
        let (Some(frame), 1..) = (self.frame, self.scans) else {
            return Err(MediaError::Truncated { format: SourceFormat::Jpeg, what: "its header" });
        };
        Ok(Probe {
            orientation: self.exif.orientation.unwrap_or_default(),
            capture: self.exif.capture,
            components: frame.components,
            progressive: frame.progressive,
            subsampling: frame.subsampling,
            coefficients_held: frame.progressive || self.first_scan_components != frame.components,
            metadata_bytes: self.metadata_bytes,
            image_bytes: seen.position,
            truncated: at.is_some(),
            planar: !matches!(frame.subsampling, None | Some(Subsampling::Other))
                && !frame.named_rgb
                && !self.adobe_rgb,
            has_profile: self.has_profile,
            ..Probe::plain(SourceFormat::Jpeg, (frame.width, frame.height), bytes)
        })
    }
}

impl Jpeg {
    /// One byte of a marker, or what may be one.
    fn marker_byte(&self, at: At, seen: &Seen<'_>) -> Result<Step<At>, MediaError> {
        let (byte, place) = (seen.bytes[0], seen.position - 1);
        match (at, byte) {
            (At::Marker, 0xFF) => Ok(Step::collect(At::Code, 1)),
            (At::Marker, byte) => {
                let detail = format!("around byte {place} stands 0x{byte:02X} where a marker must begin");
                Err(corrupt(detail))
            }
            // Any marker may be preceded by fill bytes (T.81, section B.1.1.2).
            (at, 0xFF) => Ok(Step::collect(at, 1)),
            // A stuffed zero, or a restart marker: the data goes on (T.81, sections F.1.2.3 and B.1.1.3).
            (At::ScanCode, 0x00 | marker::RST_FIRST..=marker::RST_LAST) => Ok(ENTROPY_CODED),
            (_, code) => self.marker(code, place),
        }
    }

    /// A marker whose code stands at this place.
    fn marker(&self, code: u8, place: u64) -> Result<Step<At>, MediaError> {
        match code {
            marker::EOI if self.scans == 0 => Err(corrupt("it ends before its first scan")),
            marker::EOI => Ok(Step::End),
            marker::TEM => Ok(next_marker(0)),
            marker::DNL => Err(MediaError::unsupported(
                "a JPEG that tells its height only after its first scan (DNL)",
                "save it again with any image editor",
            )),
            marker::DAC => Err(unsupported_process("arithmetic coding")),
            0x00 | marker::SOI | marker::RST_FIRST..=marker::RST_LAST => {
                Err(corrupt(format!("the marker 0x{code:02X} around byte {place} may not stand there")))
            }
            code => Ok(Step::collect(At::Length(code), 2)),
        }
    }

    /// A segment's length is known: collect its payload, or skip it.
    fn segment(&mut self, code: u8, seen: &Seen<'_>) -> Result<Step<At>, MediaError> {
        let Some(payload) = usize::from(seen.u16_be(0)).checked_sub(2) else {
            return Err(corrupt(format!("the segment 0x{code:02X} has a length below 2")));
        };
        Ok(match code {
            marker::DHT | marker::JPG => next_marker(payload),
            marker::SOF_FIRST..=marker::SOF_LAST => Step::collect(At::Frame(code), payload),
            marker::SOS => Step::collect(At::ScanHeader, payload),
            marker::APP1 | marker::APP2 | marker::APP13 => {
                self.metadata_bytes += payload as u64;
                if code == marker::APP1 && payload > EXIF_HEADER.len() {
                    Step::collect(At::App1(payload), EXIF_HEADER.len())
                } else if code == marker::APP2 && payload > ICC_HEADER.len() {
                    Step::collect(At::App2(payload), ICC_HEADER.len())
                } else {
                    next_marker(payload)
                }
            }
            marker::APP14 if payload >= ADOBE_BYTES => Step::collect(At::App14(payload), ADOBE_BYTES),
            _ => next_marker(payload),
        })
    }

    fn frame_header(&mut self, code: u8, seen: &Seen<'_>) -> Result<Step<At>, MediaError> {
        match code {
            0xC0..=0xC2 => {}
            0xC3 | 0xC7 | 0xCB | 0xCF => return Err(unsupported_process("lossless coding")),
            0xC5 | 0xC6 | 0xCD | 0xCE => return Err(unsupported_process("hierarchical coding")),
            _ => return Err(unsupported_process("arithmetic coding")),
        }
        if self.frame.is_some() {
            return Err(corrupt("it has two frame headers"));
        }
        let [precision, h1, h0, w1, w0, components, specs @ ..] = seen.bytes else {
            return Err(corrupt("its frame header is too short"));
        };
        let (height, width) = (u16::from_be_bytes([*h1, *h0]), u16::from_be_bytes([*w1, *w0]));
        if *precision != 8 {
            return Err(unsupported_process(&format!("{precision} bits per component")));
        }
        if height == 0 && width > 0 {
            return Err(MediaError::unsupported(
                "a JPEG that does not tell its height before its first scan",
                "save it again with any image editor",
            ));
        }
        let (width, height) = (u32::from(width), u32::from(height));
        check_size(SourceFormat::Jpeg, width, height, seen.limits)?;
        if specs.len() != usize::from(*components) * 3 {
            return Err(corrupt("its frame header has another length than its components need"));
        }
        let subsampling = match components {
            1 | 4 => None,
            3 => Some(subsampling(specs)),
            other => return Err(unsupported_process(&format!("{other} components"))),
        };
        check_sampling_factors(specs)?;
        let (components, progressive) = (*components, code == 0xC2);
        let named_rgb = specs.chunks_exact(3).map(|spec| spec[0]).eq(*b"RGB");
        self.frame = Some(Frame { width, height, components, progressive, subsampling, named_rgb });
        Ok(next_marker(0))
    }

    fn scan_header(&mut self, seen: &Seen<'_>) -> Result<Step<At>, MediaError> {
        if self.frame.is_none() {
            return Err(corrupt("a scan comes before the frame header"));
        }
        let Some(components) = seen.bytes.first() else {
            return Err(corrupt("a scan header is empty"));
        };
        if self.scans == 0 {
            self.first_scan_components = *components;
        }
        self.scans += 1;
        if self.scans > seen.limits.scans_max {
            return Err(MediaError::TooManyScans { limit: seen.limits.scans_max });
        }
        Ok(ENTROPY_CODED)
    }
}

fn unsupported_process(process: &str) -> MediaError {
    MediaError::unsupported(format!("a JPEG with {process}"), "save it again as an ordinary RGB JPEG")
}

/// Horizontal and vertical sampling factors of one component of three bytes.
const fn factors(spec: &[u8]) -> (u8, u8) {
    (spec[1] >> 4, spec[1] & 0x0F)
}

/// The decoder handles 1, 2 and 4 horizontally and 1 to 4 vertically; T.81 also allows 3 horizontally.
fn check_sampling_factors(specs: &[u8]) -> Result<(), MediaError> {
    for spec in specs.chunks_exact(3) {
        match factors(spec) {
            (1 | 2 | 4, 1..=4) => {}
            (3, 1..=4) => return Err(unsupported_process("chroma sampled three times per unit")),
            (h, v) => return Err(corrupt(format!("it has the impossible sampling factors {h}×{v}"))),
        }
    }
    Ok(())
}

/// The usual name of the ratio between luma and chroma.
fn subsampling(specs: &[u8]) -> Subsampling {
    let (y, cb, cr) = (factors(&specs[..3]), factors(&specs[3..6]), factors(&specs[6..9]));
    if cb != cr {
        return Subsampling::Other;
    }
    let ratio =
        |luma: u8, chroma: u8| if chroma > 0 && luma.is_multiple_of(chroma) { luma / chroma } else { 0 };
    match (ratio(y.0, cb.0), ratio(y.1, cb.1)) {
        (1, 1) => Subsampling::S444,
        (2, 1) => Subsampling::S422,
        (2, 2) => Subsampling::S420,
        (1, 2) => Subsampling::S440,
        (4, 1) => Subsampling::S411,
        _ => Subsampling::Other,
    }
}
