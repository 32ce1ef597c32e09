//! Walking a BMP: its two headers. What follows them has no structure that must be walked.

use super::Probe;
use super::step::{Seen, Step, Structure};
use crate::bitmap::{Coding, FILE_HEADER_BYTES, Header, header_bytes};
use crate::{MediaError, SourceFormat};

#[derive(Debug, Default)]
pub(super) struct Bmp {
    header: Option<Header>,
}

impl Structure for Bmp {
    /// Everything that is collected is the beginning of the headers.
    type At = ();

    fn begin(&self) -> Step<()> {
        // With the length of the header behind the file header.
        Step::collect((), FILE_HEADER_BYTES + 4)
    }

    fn next(&mut self, _at: (), seen: &Seen<'_>) -> Result<Step<()>, MediaError> {
        let missing = header_bytes(seen.bytes)?.saturating_sub(seen.bytes.len());
        if missing > 0 {
            return Ok(Step::More { at: (), bytes: missing });
        }
        self.header = Some(Header::read(seen.bytes, seen.limits)?);
        Ok(Step::End)
    }

    fn format(&self) -> SourceFormat {
        SourceFormat::Bmp
    }

    fn size_known(&self) -> bool {
        self.header.is_some()
    }

    fn finish(self, _at: Option<()>, _seen: &Seen<'_>, bytes: u64) -> Result<Probe, MediaError> {
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
