//! Walking a BMP: its two headers. What follows them has no structure that must be walked.

use super::Probe;
use super::step::Step;
use crate::bitmap::{Coding, FILE_HEADER_BYTES, Header, header_bytes};
use crate::{Limits, MediaError, SourceFormat};

#[derive(Debug)]
pub(super) struct Walker {
    step: Step,
    header: Option<Header>,
}

impl Default for Walker {
    fn default() -> Self {
        let mut step = Step::default();
        // With the length of the header behind the file header.
        step.collect(FILE_HEADER_BYTES + 4);
        Self { step, header: None }
    }
}

impl Walker {
    pub(super) const fn size_known(&self) -> bool {
        self.header.is_some()
    }

    pub(super) fn feed(&mut self, piece: &[u8], limits: &Limits) -> Result<(), MediaError> {
        let mut rest = piece;
        while self.header.is_none() && self.step.take(&mut rest) {
            let (wanted, held) = (header_bytes(self.step.bytes())?, self.step.bytes().len());
            if wanted > held {
                self.step.collect_more(wanted - held);
            } else {
                self.header = Some(Header::read(self.step.bytes(), limits)?);
            }
        }
        Ok(())
    }

    /// After the last of `bytes` bytes.
    pub(super) fn finish(self, bytes: u64) -> Result<Probe, MediaError> {
        let truncated = |what| MediaError::Truncated { format: SourceFormat::Bmp, what };
        let header = self.header.ok_or_else(|| truncated("its header"))?;
        let pixels_end = header.pixels_end().unwrap_or(header.pixels_offset);
        let end = pixels_end.max(header.profile_end().unwrap_or(0));
        if end > bytes {
            return Err(truncated("the pixel data"));
        }
        // Run lengths end where a code in them says so.
        let image_bytes = if header.coding == Coding::RunLengths { bytes } else { end };
        Ok(Probe {
            components: if header.bits <= 8 { 1 } else { 3 },
            palette: header.bits <= 8,
            has_profile: header.profile_bytes() > 0,
            bit_depth: header.bits.min(8) as u8,
            has_alpha: header.has_alpha(),
            metadata_bytes: header.profile_bytes(),
            image_bytes,
            ..Probe::plain(SourceFormat::Bmp, (header.width, header.height), bytes)
        })
    }
}
