//! A copy of a file in which everything keeps its place: what may be shown is copied, and the rest is zeros.

use std::ops::Range;

use crate::{Limits, MediaError, SourceFormat};

/// How often each byte may be copied or compared on average. Pictures may share parts of a file; a small file of many
/// that share all of it would keep a processor busy for minutes.
const PASSES_MAX: usize = 8;

/// What `strip` makes of a file, if that is still a photo, and nothing is left in it to take away. Of an honest file it is. Where
/// parts lie in each other, one may have been written over another: such a file is refused.
pub(super) fn settled(
    original: &[u8],
    format: SourceFormat,
    strip: impl Fn(&[u8]) -> Result<Vec<u8>, MediaError>,
) -> Result<Vec<u8>, MediaError> {
    let public = strip(original)?;
    // It was compared with the limits when it arrived.
    let any = Limits {
        width_max: u32::MAX,
        height_max: u32::MAX,
        pixels_max: u64::MAX,
        metadata_bytes_max: u32::MAX,
        ..Limits::default()
    };
    if strip(&public).as_ref() != Ok(&public) || crate::probe(&public, &any).is_err() {
        return Err(MediaError::corrupt(format, "its parts lie in each other"));
    }
    Ok(public)
}

#[derive(Debug)]
pub(super) struct InPlace<'a> {
    original: &'a [u8],
    format: SourceFormat,
    out: Vec<u8>,
    /// Bytes that may still be copied or compared.
    room: usize,
    /// Where what was copied or written ends, or what is counted.
    end: usize,
}

impl<'a> InPlace<'a> {
    /// Nothing but zeros.
    pub(super) fn new(original: &'a [u8], format: SourceFormat) -> Self {
        let room = original.len().saturating_mul(PASSES_MAX);
        Self { original, format, out: vec![0; original.len()], room, end: 0 }
    }

    pub(super) const fn original(&self) -> &'a [u8] {
        self.original
    }

    /// Where what was copied or written ends, or what is counted.
    pub(super) const fn end(&self) -> usize {
        self.end
    }

    fn spend(&mut self, bytes: usize) -> Result<(), MediaError> {
        let left = self.room.checked_sub(bytes);
        self.room = left.ok_or_else(|| self.corrupt("its parts overlap"))?;
        Ok(())
    }

    pub(super) fn corrupt(&self, detail: &str) -> MediaError {
        MediaError::corrupt(self.format, detail)
    }

    /// Copies bytes of the original, as many of them as there are.
    pub(super) fn keep(&mut self, mut range: Range<usize>) -> Result<(), MediaError> {
        self.clip(&mut range);
        self.spend(range.len())?;
        self.end = self.end.max(range.end);
        self.out[range.clone()].copy_from_slice(&self.original[range]);
        Ok(())
    }

    /// Goes at least that far, if the original does, though zeros follow: an entry may count more than is kept of it.
    pub(super) fn reach(&mut self, end: usize) {
        self.end = self.end.max(end.min(self.out.len()));
    }

    /// Writes bytes of its own, as many of them as the file is long.
    pub(super) fn write(&mut self, at: usize, bytes: &[u8]) {
        let mut range = at..at.saturating_add(bytes.len());
        self.clip(&mut range);
        self.end = self.end.max(range.end);
        self.out[range.clone()].copy_from_slice(&bytes[..range.len()]);
    }

    /// Takes away what was copied.
    pub(super) fn blank(&mut self, mut range: Range<usize>) {
        self.clip(&mut range);
        self.out[range].fill(0);
    }

    /// Refuses a file in which something was copied from where metadata lies: it could only be shown with that.
    pub(super) fn check_blank(&mut self, mut range: Range<usize>) -> Result<(), MediaError> {
        self.clip(&mut range);
        self.spend(range.len())?;
        if self.out[range].iter().any(|byte| *byte != 0) {
            return Err(self.corrupt("its metadata lies inside its picture"));
        }
        Ok(())
    }

    /// Cuts off what lies behind the end of the file.
    fn clip(&self, range: &mut Range<usize>) {
        range.end = range.end.min(self.out.len());
        range.start = range.start.min(range.end);
    }

    /// The file up to a byte.
    pub(super) fn finish(mut self, end: usize) -> Vec<u8> {
        self.out.truncate(end);
        self.out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_kept_is_there() {
        let mut file = InPlace::new(b"abcdefgh", SourceFormat::Tiff);
        file.keep(1..3).unwrap();
        file.keep(7..100).unwrap();
        file.keep(100..200).unwrap();
        file.write(3, b"X");
        assert!(file.check_blank(4..7).is_ok());
        assert_eq!(file.check_blank(2..7).unwrap_err().code(), "corrupt-image");
        file.blank(5..6);
        assert_eq!(file.end(), 8);
        assert_eq!(file.finish(5), b"\0bcX\0");
    }

    #[test]
    fn parts_that_overlap_again_and_again_are_refused() {
        let mut file = InPlace::new(&[7; 100], SourceFormat::Tiff);
        for _ in 0..PASSES_MAX {
            file.keep(0..100).unwrap();
        }
        assert_eq!(file.keep(0..1).unwrap_err().code(), "corrupt-image");
    }
}
