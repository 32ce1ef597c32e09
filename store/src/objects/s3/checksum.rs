//! Checksums of what goes to and comes from the server.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use crc_fast::{CrcAlgorithm, Digest};
use md5::Md5;

use super::Checksum;
use super::error::{Cause, Failure};

/// CRC-32C of bytes as they pass by.
pub(super) struct Crc32c(Digest);

impl Crc32c {
    pub(super) fn new() -> Self {
        Self(Digest::new(CrcAlgorithm::Crc32Iscsi))
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// As S3 writes it: four bytes, big endian, in base64.
    pub(super) fn finish(&self) -> String {
        STANDARD.encode((self.0.finalize() as u32).to_be_bytes())
    }
}

/// What goes with one request, as the headers' values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    pub(super) crc32c: Option<String>,
    pub(super) md5: Option<String>,
}

impl Sums {
    pub(super) fn of(kind: Checksum, pieces: &[Bytes]) -> Self {
        match kind {
            Checksum::Crc32c => {
                let mut crc = Crc32c::new();
                for piece in pieces {
                    crc.update(piece);
                }
                Self { crc32c: Some(crc.finish()), md5: None }
            }
            Checksum::Md5 => {
                use md5::Digest;
                let mut md5 = Md5::new();
                for piece in pieces {
                    md5.update(piece);
                }
                Self { crc32c: None, md5: Some(STANDARD.encode(md5.finalize())) }
            }
            Checksum::Off => Self::default(),
        }
    }

    /// Compares what the server says it has, where it says so.
    pub(super) fn compare(&self, stored: Option<&str>) -> Result<(), Failure> {
        match (&self.crc32c, stored) {
            (Some(sent), Some(stored)) if sent != stored => Err(Failure::passing(
                Cause::Damaged,
                format!("the server has stored other bytes than were sent (CRC-32C {stored}, sent {sent})"),
            )),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_the_standards() {
        // The check values of the CRC catalogue (CRC-32/ISCSI: e3069283) and of RFC 1321 for the same nine digits.
        let pieces = [Bytes::from_static(b"1234"), Bytes::from_static(b"56789")];
        let crc = STANDARD.encode(0xe306_9283_u32.to_be_bytes());
        assert_eq!(Sums::of(Checksum::Crc32c, &pieces).crc32c, Some(crc));
        assert_eq!(Sums::of(Checksum::Md5, &pieces).md5.as_deref(), Some("JfnnlDI7RTiF9RgfG2JNCw=="));
        assert_eq!(Sums::of(Checksum::Off, &pieces), Sums::default());
    }

    #[test]
    fn other_bytes_at_the_server_are_noticed() {
        let sums = Sums::of(Checksum::Crc32c, &[Bytes::from_static(b"photo")]);
        sums.compare(sums.crc32c.as_deref()).unwrap();
        sums.compare(None).unwrap();
        assert!(sums.compare(Some("AAAAAA==")).is_err());
    }
}
