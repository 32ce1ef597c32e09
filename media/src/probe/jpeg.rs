//! Walking a JPEG (ITU-T T.81, annex B): segments by their lengths, entropy-coded data by its markers.

use super::step::Step;
use super::{Exif, Probe, Subsampling, check_size};
use crate::{Limits, MediaError, SourceFormat};

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

/// What the walker is about to understand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// The 0xFF of a marker.
    Marker,
    /// The code of a marker, or more fill bytes 0xFF.
    Code,
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
    /// A payload that is skipped.
    Skipped,
    /// Entropy-coded data.
    Scan,
    /// Entropy-coded data, just after 0xFF.
    ScanCode,
    /// Behind the end marker: whatever follows belongs to someone else.
    End,
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

#[derive(Debug)]
pub(super) struct Walker {
    at: At,
    step: Step,
    position: u64,
    frame: Option<Frame>,
    exif: Exif,
    scans: u32,
    first_scan_components: u8,
    metadata_bytes: u64,
    has_profile: bool,
    /// Adobe says that three components are RGB.
    adobe_rgb: bool,
}

impl Default for Walker {
    fn default() -> Self {
        // The signature, SOI and the 0xFF of the first marker, was compared by the sniffer.
        let mut step = Step::default();
        step.skip(2);
        Self {
            at: At::Marker,
            step,
            position: 0,
            frame: None,
            exif: Exif::default(),
            scans: 0,
            first_scan_components: 0,
            metadata_bytes: 0,
            has_profile: false,
            adobe_rgb: false,
        }
    }
}

fn corrupt(detail: impl Into<String>) -> MediaError {
    MediaError::corrupt(SourceFormat::Jpeg, detail)
}

impl Walker {
    pub(super) const fn size_known(&self) -> bool {
        self.frame.is_some()
    }

    pub(super) fn feed(&mut self, piece: &[u8], limits: &Limits) -> Result<(), MediaError> {
        let mut rest = piece;
        while !rest.is_empty() && self.at != At::End {
            let before = rest.len();
            let result = self.advance(&mut rest, limits);
            self.position += (before - rest.len()) as u64;
            result?;
        }
        Ok(())
    }

    /// Takes bytes off `rest`, or moves on to the next state without.
    fn advance(&mut self, rest: &mut &[u8], limits: &Limits) -> Result<(), MediaError> {
        match self.at {
            At::Scan => {
                if let Some(index) = memchr::memchr(0xFF, rest) {
                    *rest = &rest[index + 1..];
                    self.at = At::ScanCode;
                } else {
                    *rest = &[];
                }
            }
            At::ScanCode => {
                let code = rest[0];
                *rest = &rest[1..];
                match code {
                    // A stuffed zero, or a restart marker: the data goes on (T.81, sections F.1.2.3 and B.1.1.3).
                    0x00 | marker::RST_FIRST..=marker::RST_LAST => self.at = At::Scan,
                    0xFF => {}
                    code => self.marker(code)?,
                }
            }
            At::Marker | At::Code => {
                // The two bytes of SOI are skipped before the first marker.
                self.step.collect(1);
                if self.step.take(rest) {
                    self.marker_byte(self.step.bytes()[0])?;
                }
            }
            _ => {
                if self.step.take(rest) {
                    self.collected(limits)?;
                }
            }
        }
        Ok(())
    }

    fn marker_byte(&mut self, byte: u8) -> Result<(), MediaError> {
        match (self.at, byte) {
            (At::Marker, 0xFF) => self.at = At::Code,
            // Any marker may be preceded by fill bytes (T.81, section B.1.1.2).
            (At::Code, 0xFF) => {}
            (At::Code, code) => return self.marker(code),
            _ => {
                let at = self.position;
                return Err(corrupt(format!(
                    "around byte {at} stands 0x{byte:02X} where a marker must begin"
                )));
            }
        }
        Ok(())
    }

    fn marker(&mut self, code: u8) -> Result<(), MediaError> {
        match code {
            marker::EOI if self.scans == 0 => Err(corrupt("it ends before its first scan")),
            marker::EOI => {
                self.at = At::End;
                Ok(())
            }
            marker::TEM => {
                self.at = At::Marker;
                Ok(())
            }
            marker::DNL => Err(MediaError::unsupported(
                "a JPEG that tells its height only after its first scan (DNL)",
                "save it again with any image editor",
            )),
            marker::DAC => Err(unsupported_process("arithmetic coding")),
            0x00 | marker::SOI | marker::RST_FIRST..=marker::RST_LAST => {
                let at = self.position;
                Err(corrupt(format!("the marker 0x{code:02X} around byte {at} may not stand there")))
            }
            code => {
                self.at = At::Length(code);
                self.step.collect(2);
                Ok(())
            }
        }
    }

    /// What `at` asked for has been skipped and collected.
    fn collected(&mut self, limits: &Limits) -> Result<(), MediaError> {
        match self.at {
            At::Length(code) => self.segment(code),
            At::Frame(code) => self.frame_header(code, limits),
            At::ScanHeader => self.scan_header(limits),
            At::App1(payload) => {
                if self.step.bytes() == EXIF_HEADER {
                    limits.check_metadata(payload as u64)?;
                    self.step.collect_more(payload - EXIF_HEADER.len());
                    self.at = At::Exif;
                } else {
                    self.skip(payload - EXIF_HEADER.len());
                }
                Ok(())
            }
            At::Exif => {
                self.exif.read(self.step.bytes());
                self.step.collect(0);
                self.at = At::Marker;
                Ok(())
            }
            At::App2(payload) => {
                self.has_profile |= self.step.bytes() == ICC_HEADER;
                self.skip(payload - ICC_HEADER.len());
                Ok(())
            }
            At::App14(payload) => {
                self.adobe_rgb |= self.step.bytes().starts_with(b"Adobe") && self.step.bytes()[11] == 0;
                self.skip(payload - ADOBE_BYTES);
                Ok(())
            }
            At::Skipped | At::Marker | At::Code | At::Scan | At::ScanCode | At::End => {
                self.at = At::Marker;
                Ok(())
            }
        }
    }

    /// A segment's length is known: collect its payload, or skip it.
    fn segment(&mut self, code: u8) -> Result<(), MediaError> {
        let Some(payload) = usize::from(self.step.u16_be(0)).checked_sub(2) else {
            return Err(corrupt(format!("the segment 0x{code:02X} has a length below 2")));
        };
        match code {
            marker::DHT | marker::JPG => self.skip(payload),
            marker::SOF_FIRST..=marker::SOF_LAST => {
                self.at = At::Frame(code);
                self.step.collect(payload);
            }
            marker::SOS => {
                self.at = At::ScanHeader;
                self.step.collect(payload);
            }
            marker::APP1 | marker::APP2 | marker::APP13 => {
                self.metadata_bytes += payload as u64;
                if code == marker::APP1 && payload > EXIF_HEADER.len() {
                    self.at = At::App1(payload);
                    self.step.collect(EXIF_HEADER.len());
                } else if code == marker::APP2 && payload > ICC_HEADER.len() {
                    self.at = At::App2(payload);
                    self.step.collect(ICC_HEADER.len());
                } else {
                    self.skip(payload);
                }
            }
            marker::APP14 if payload >= ADOBE_BYTES => {
                self.at = At::App14(payload);
                self.step.collect(ADOBE_BYTES);
            }
            _ => self.skip(payload),
        }
        Ok(())
    }

    fn skip(&mut self, bytes: usize) {
        self.step.collect(0);
        self.step.skip(bytes as u64);
        // A body of no bytes must not wait for the byte behind it.
        self.at = if bytes == 0 { At::Marker } else { At::Skipped };
    }

    fn frame_header(&mut self, code: u8, limits: &Limits) -> Result<(), MediaError> {
        match code {
            0xC0..=0xC2 => {}
            0xC3 | 0xC7 | 0xCB | 0xCF => return Err(unsupported_process("lossless coding")),
            0xC5 | 0xC6 | 0xCD | 0xCE => return Err(unsupported_process("hierarchical coding")),
            _ => return Err(unsupported_process("arithmetic coding")),
        }
        if self.frame.is_some() {
            return Err(corrupt("it has two frame headers"));
        }
        let header = self.step.bytes();
        let [precision, h1, h0, w1, w0, components, specs @ ..] = header else {
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
        check_size(SourceFormat::Jpeg, width, height, limits)?;
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
        self.at = At::Marker;
        Ok(())
    }

    fn scan_header(&mut self, limits: &Limits) -> Result<(), MediaError> {
        if self.frame.is_none() {
            return Err(corrupt("a scan comes before the frame header"));
        }
        let Some(components) = self.step.bytes().first() else {
            return Err(corrupt("a scan header is empty"));
        };
        if self.scans == 0 {
            self.first_scan_components = *components;
        }
        self.scans += 1;
        if self.scans > limits.scans_max {
            return Err(MediaError::TooManyScans { limit: limits.scans_max });
        }
        self.at = At::Scan;
        Ok(())
    }

    /// After the last of `bytes` bytes.
    pub(super) fn finish(self, bytes: u64) -> Result<Probe, MediaError> {
        let what = match self.at {
            At::Scan | At::ScanCode => "the pixel data",
            _ => "its header",
        };
        let truncated = self.at != At::End;
        // What was cut in its pixels is shown as far as it goes.
        let (Some(frame), 1..) = (self.frame, self.scans) else {
            return Err(MediaError::Truncated { format: SourceFormat::Jpeg, what });
        };
        Ok(Probe {
            orientation: self.exif.orientation.unwrap_or_default(),
            capture: self.exif.capture,
            components: frame.components,
            progressive: frame.progressive,
            subsampling: frame.subsampling,
            coefficients_held: frame.progressive || self.first_scan_components != frame.components,
            metadata_bytes: self.metadata_bytes,
            image_bytes: self.position,
            truncated,
            planar: !matches!(frame.subsampling, None | Some(Subsampling::Other))
                && !frame.named_rgb
                && !self.adobe_rgb,
            has_profile: self.has_profile,
            ..Probe::plain(SourceFormat::Jpeg, (frame.width, frame.height), bytes)
        })
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
