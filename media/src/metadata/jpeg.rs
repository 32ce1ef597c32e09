//! The parts of a JPEG (ITU-T T.81, annex B), in place.

use crate::{MediaError, SourceFormat};

/// Marker codes, the byte after 0xFF (T.81, table B.1).
pub(super) mod marker {
    pub(in crate::metadata) const TEM: u8 = 0x01;
    pub(in crate::metadata) const SOF_FIRST: u8 = 0xC0;
    pub(in crate::metadata) const JPG: u8 = 0xC8;
    pub(in crate::metadata) const RST_FIRST: u8 = 0xD0;
    pub(in crate::metadata) const RST_LAST: u8 = 0xD7;
    pub(in crate::metadata) const SOI: u8 = 0xD8;
    pub(in crate::metadata) const EOI: u8 = 0xD9;
    pub(in crate::metadata) const SOS: u8 = 0xDA;
    pub(in crate::metadata) const EXP: u8 = 0xDF;
    pub(in crate::metadata) const APP0: u8 = 0xE0;
    pub(in crate::metadata) const APP1: u8 = 0xE1;
    pub(in crate::metadata) const APP2: u8 = 0xE2;
    pub(in crate::metadata) const APP14: u8 = 0xEE;
}

/// How the payloads of application segments begin that are understood here.
pub(super) mod name {
    pub(in crate::metadata) const EXIF: &[u8] = crate::metadata::tiff::PREFIX;
    pub(in crate::metadata) const ICC: &[u8] = b"ICC_PROFILE\0";
    pub(in crate::metadata) const JFIF: &[u8] = b"JFIF\0";
    pub(in crate::metadata) const ADOBE: &[u8] = b"Adobe";
}

/// Longest payload of a segment: its length is a u16 that counts itself.
pub(super) const PAYLOAD_BYTES_MAX: usize = 0xFFFF - 2;

/// A part of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part<'a> {
    /// A segment, with its payload behind the length.
    Segment { code: u8, payload: &'a [u8] },
    /// A segment in which the file ends, from its length on.
    CutSegment { code: u8, rest: &'a [u8] },
    /// Entropy-coded data with its restart markers and stuffed zeros, behind the scan header.
    Scan(&'a [u8]),
    /// The end marker. What follows it belongs to others.
    End,
}

/// The parts of a JPEG, without markers' fill bytes. Ends after [`Part::End`], where the file ends, or after an error.
#[derive(Debug)]
pub(super) struct Parts<'a> {
    bytes: &'a [u8],
    at: usize,
    in_scan: bool,
    done: bool,
}

impl<'a> Parts<'a> {
    /// `None` if the file does not begin as a JPEG.
    pub(super) fn new(bytes: &'a [u8]) -> Option<Self> {
        bytes.starts_with(&[0xFF, marker::SOI]).then_some(Self { bytes, at: 2, in_scan: false, done: false })
    }

    /// Where the next part begins: its distance from the file's beginning, in bytes.
    pub(super) const fn at(&self) -> usize {
        self.at
    }

    /// Entropy-coded data from here on, up to the fill bytes or the 0xFF of the next marker.
    fn scan(&mut self) -> Part<'a> {
        let start = self.at;
        let mut searched = start;
        while let Some(found) = memchr::memchr(0xFF, &self.bytes[searched..]) {
            let marker = searched + found;
            let fill = self.bytes[marker..].iter().take_while(|byte| **byte == 0xFF).count();
            match self.bytes.get(marker + fill) {
                Some(0x00 | marker::RST_FIRST..=marker::RST_LAST) => searched = marker + fill + 1,
                Some(_) => {
                    self.at = marker;
                    return Part::Scan(&self.bytes[start..marker]);
                }
                None => break,
            }
        }
        self.at = self.bytes.len();
        Part::Scan(&self.bytes[start..])
    }

    /// The part that begins with a marker here. `None` where the file ends.
    fn marked(&mut self) -> Result<Option<Part<'a>>, MediaError> {
        let rest = &self.bytes[self.at..];
        let fill = rest.iter().take_while(|byte| **byte == 0xFF).count();
        let Some(code) = rest.get(fill).copied() else { return Ok(None) };
        let at = self.at;
        let body = &rest[fill + 1..];
        self.at += fill + 1;
        match code {
            _ if fill == 0 => {
                Err(corrupt(format!("at byte {at} stands 0x{code:02X} where a marker must begin")))
            }
            0x00 | marker::SOI | marker::RST_FIRST..=marker::RST_LAST => {
                Err(corrupt(format!("the marker 0x{code:02X} at byte {at} may not stand there")))
            }
            marker::EOI => Ok(Some(Part::End)),
            marker::TEM => Ok(Some(Part::Segment { code, payload: &[] })),
            code => Ok(Some(self.segment(code, body)?)),
        }
    }

    /// A segment whose length is at the beginning of `body`.
    fn segment(&mut self, code: u8, body: &'a [u8]) -> Result<Part<'a>, MediaError> {
        let length = body.first_chunk().map(|length| usize::from(u16::from_be_bytes(*length)));
        if length.is_some_and(|length| length < 2) {
            return Err(corrupt(format!("the segment 0x{code:02X} has a length below 2")));
        }
        let Some(payload) = length.and_then(|length| body.get(2..length)) else {
            self.at = self.bytes.len();
            return Ok(Part::CutSegment { code, rest: body });
        };
        self.at += 2 + payload.len();
        self.in_scan = code == marker::SOS;
        Ok(Part::Segment { code, payload })
    }
}

impl<'a> Iterator for Parts<'a> {
    type Item = Result<Part<'a>, MediaError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        if std::mem::take(&mut self.in_scan) {
            return Some(Ok(self.scan()));
        }
        let part = self.marked().transpose();
        self.done = !matches!(part, Some(Ok(Part::Segment { .. } | Part::CutSegment { .. })));
        part
    }
}

/// Appends a segment. Its payload, which comes in two pieces, has at most [`PAYLOAD_BYTES_MAX`] bytes together.
pub(super) fn push_segment(out: &mut Vec<u8>, code: u8, name: &[u8], payload: &[u8]) {
    debug_assert!(name.len() + payload.len() <= PAYLOAD_BYTES_MAX);
    out.extend([0xFF, code]);
    out.extend(((2 + name.len() + payload.len()) as u16).to_be_bytes());
    out.extend(name);
    out.extend(payload);
}

pub(super) fn corrupt(detail: impl Into<String>) -> MediaError {
    MediaError::corrupt(SourceFormat::Jpeg, detail)
}
