//! Noticing that a JPEG's pixel data ends too early.
//!
//! A decoder of JPEG may assume zeros behind the end marker (T.81, section F.2.2.5 leaves it open), and zune-jpeg does
//! so silently: a photo that was cut and closed with an end marker, as some recovery tools and cameras leave it, comes out
//! with a garbled lower half. The codec does not tell, but its reads do. So it is shown the image with some zeros before
//! its end marker. A decoder with enough data fetches at most eight bytes of them ahead; one that still has rows to fill
//! fetches them all.
//!
//! Images that are not padded are read through the same reader, because a decoder is compiled for each kind of reader.

use std::cell::Cell;

use zune_core::bytestream::{ZByteIoError, ZByteReaderTrait, ZSeekFrom};

/// Zeros before the end marker.
const ZEROS: usize = 64;
/// The end marker, EOI.
const END: [u8; 2] = [0xFF, 0xD9];
/// The codec fetches entropy-coded data in words of so many bytes, and nothing else.
const WORD: usize = 4;
/// More words than this behind the data mean that it was too short. Two are fetched ahead; less than sixteen bytes are
/// missing when four are, which is a unit or two of 16 × 16 pixels in the last corner.
const WORDS_AHEAD_MAX: u32 = 4;

/// Counts how often the codec fetched what is not there.
#[derive(Debug, Default)]
pub(super) struct Shortage {
    words: Cell<u32>,
}

impl Shortage {
    /// Whether the pixel data was too short.
    pub(super) fn found(&self) -> bool {
        self.words.get() > WORDS_AHEAD_MAX
    }
}

/// An image in memory, with zeros before its end marker.
pub(super) struct PaddedImage<'a> {
    /// Up to the end marker, which is left out where it is added again.
    data: &'a [u8],
    zeros: usize,
    end: &'static [u8],
    position: usize,
    shortage: &'a Shortage,
}

impl<'a> PaddedImage<'a> {
    /// `None` if `image` does not end with its end marker.
    pub(super) fn new(image: &'a [u8], shortage: &'a Shortage) -> Option<Self> {
        Some(Self { data: image.strip_suffix(&END)?, zeros: ZEROS, end: &END, position: 0, shortage })
    }

    /// An image that was cut, closed with an end marker so that what there is can be decoded.
    pub(super) const fn closed(image: &'a [u8], shortage: &'a Shortage) -> Self {
        Self { data: image, zeros: 0, end: &END, position: 0, shortage }
    }

    /// An image as it is.
    pub(super) const fn plain(image: &'a [u8], shortage: &'a Shortage) -> Self {
        Self { data: image, zeros: 0, end: &[], position: 0, shortage }
    }

    fn len(&self) -> usize {
        self.data.len() + self.zeros + self.end.len()
    }

    /// The byte at a position before [`Self::len`], zero beyond.
    fn byte(&self, position: usize) -> u8 {
        match position.checked_sub(self.data.len()) {
            None => self.data[position],
            Some(behind) => {
                behind.checked_sub(self.zeros).and_then(|at| self.end.get(at)).copied().unwrap_or(0)
            }
        }
    }

    /// Copies what is there to `buffer` and says how much it was. Does not move.
    fn copy(&self, buffer: &mut [u8]) -> usize {
        let count = buffer.len().min(self.len().saturating_sub(self.position));
        for (index, byte) in buffer[..count].iter_mut().enumerate() {
            *byte = self.byte(self.position + index);
        }
        count
    }

    /// Off the hot path: everything that reaches behind the data.
    #[cold]
    fn read_behind(&mut self, buffer: &mut [u8]) -> Result<(), ZByteIoError> {
        if self.zeros > 0 && buffer.len() == WORD && self.position >= self.data.len() {
            self.shortage.words.set(self.shortage.words.get() + 1);
        }
        let count = self.copy(buffer);
        if count < buffer.len() {
            return Err(ZByteIoError::NotEnoughBytes(count, buffer.len()));
        }
        self.position += count;
        Ok(())
    }
}

impl ZByteReaderTrait for PaddedImage<'_> {
    #[inline]
    fn read_byte_no_error(&mut self) -> u8 {
        let byte = self.data.get(self.position).copied().unwrap_or_else(|| self.byte(self.position));
        self.position += 1;
        byte
    }

    #[inline]
    fn read_exact_bytes(&mut self, buffer: &mut [u8]) -> Result<(), ZByteIoError> {
        let end = self.position.saturating_add(buffer.len());
        if let Some(bytes) = self.data.get(self.position..end) {
            buffer.copy_from_slice(bytes);
            self.position = end;
            return Ok(());
        }
        self.read_behind(buffer)
    }

    fn read_bytes(&mut self, buffer: &mut [u8]) -> Result<usize, ZByteIoError> {
        let count = self.copy(buffer);
        self.position += count;
        Ok(count)
    }

    fn peek_bytes(&mut self, buffer: &mut [u8]) -> Result<usize, ZByteIoError> {
        Ok(self.copy(buffer))
    }

    fn peek_exact_bytes(&mut self, buffer: &mut [u8]) -> Result<(), ZByteIoError> {
        let count = self.copy(buffer);
        if count < buffer.len() {
            return Err(ZByteIoError::NotEnoughBytes(count, buffer.len()));
        }
        Ok(())
    }

    #[inline]
    fn z_seek(&mut self, from: ZSeekFrom) -> Result<u64, ZByteIoError> {
        let (base, offset) = match from {
            // Positions come from this reader, so they fit into a usize.
            ZSeekFrom::Start(position) => (position as usize, 0),
            ZSeekFrom::End(offset) => (self.len(), offset as isize),
            ZSeekFrom::Current(offset) => (self.position, offset as isize),
        };
        let position =
            base.checked_add_signed(offset).ok_or(ZByteIoError::SeekError("before the beginning"))?;
        self.position = position;
        Ok(position as u64)
    }

    #[inline]
    fn is_eof(&mut self) -> Result<bool, ZByteIoError> {
        Ok(self.position >= self.len())
    }

    fn z_position(&mut self) -> Result<u64, ZByteIoError> {
        Ok(self.position as u64)
    }

    fn read_remaining(&mut self, sink: &mut Vec<u8>) -> Result<usize, ZByteIoError> {
        let count = self.len().saturating_sub(self.position);
        sink.extend((self.position..self.len()).map(|position| self.byte(position)));
        self.position += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_image_then_zeros_then_the_end_marker() {
        let shortage = Shortage::default();
        let mut image = PaddedImage::new(&[1, 2, 3, 4, 5, 0xFF, 0xD9], &shortage).unwrap();
        let mut word = [0; WORD];
        image.read_exact_bytes(&mut word).unwrap();
        assert_eq!(word, [1, 2, 3, 4]);
        image.z_seek(ZSeekFrom::Current(-1)).unwrap();
        image.read_exact_bytes(&mut word).unwrap();
        assert_eq!(word, [4, 5, 0, 0]);
        assert!(!shortage.found());
        let mut rest = Vec::new();
        image.read_remaining(&mut rest).unwrap();
        assert_eq!(rest.len(), ZEROS - 2 + END.len());
        assert!(rest.ends_with(&[0, 0xFF, 0xD9]));
        assert!(image.is_eof().unwrap());
        assert!(image.read_exact_bytes(&mut word).is_err());
        assert_eq!(image.read_byte_no_error(), 0);
    }

    #[test]
    fn words_fetched_behind_the_data_are_a_shortage() {
        let shortage = Shortage::default();
        let mut image = PaddedImage::new(&[0xFF, 0xD9], &shortage).unwrap();
        for _ in 0..WORDS_AHEAD_MAX {
            image.read_exact_bytes(&mut [0; WORD]).unwrap();
        }
        // Looking for a marker, byte by byte, is none.
        image.read_exact_bytes(&mut [0]).unwrap();
        assert!(!shortage.found());
        image.read_exact_bytes(&mut [0; WORD]).unwrap();
        assert!(shortage.found());
    }

    #[test]
    fn an_image_without_its_end_marker_is_not_padded() {
        assert!(PaddedImage::new(&[1, 2, 3], &Shortage::default()).is_none());
    }
}
