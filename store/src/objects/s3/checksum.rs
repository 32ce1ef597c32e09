//! Checksums of what goes to and comes from the server.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use crc_fast::{CrcAlgorithm, Digest, checksum_combine};
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

    pub(super) fn value(&self) -> u32 {
        self.0.finalize() as u32
    }

    /// As S3 writes it.
    pub(super) fn finish(&self) -> String {
        encode(self.value())
    }
}

/// A CRC-32C as S3 writes it: four bytes, big endian, in base64.
fn encode(crc32c: u32) -> String {
    STANDARD.encode(crc32c.to_be_bytes())
}

/// What goes with one request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    crc32c: Option<u32>,
    /// The header's value.
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
                Self { crc32c: Some(crc.value()), md5: None }
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

    /// The header's value.
    pub(super) fn crc32c(&self) -> Option<String> {
        self.crc32c.map(encode)
    }

    /// Compares what the server says it has, where it says so.
    pub(super) fn compare(&self, stored: Option<&str>) -> Result<(), Failure> {
        match (self.crc32c(), stored) {
            (Some(sent), Some(stored)) if sent != stored => {
                Err(Failure::passing(Cause::Damaged, other_bytes(stored, &sent)))
            }
            _ => Ok(()),
        }
    }
}

fn other_bytes(stored: &str, sent: &str) -> String {
    format!("the server has stored other bytes than were sent (CRC-32C {stored}, sent {sent})")
}

/// What an object that was sent in parts must be: for the answer to its completion, when the server has put it
/// together.
#[derive(Clone, Debug, Default)]
pub(super) struct SumOfParts {
    /// CRC-32C and length of each part, in order; `None` where parts went without.
    parts: Vec<Option<(u32, u64)>>,
}

impl SumOfParts {
    /// Adds the next part.
    pub(super) fn add(&mut self, sums: &Sums, bytes: u64) {
        self.parts.push(sums.crc32c.map(|sum| (sum, bytes)));
    }

    /// Compares what the server says it has, where it says so and the parts went with theirs. Servers have one of two
    /// sums (AWS, "Checking object integrity in Amazon S3"): a composite one, which is the CRC-32C of the parts'
    /// CRC-32Cs with the number of parts behind it, or that of the full object.
    pub(super) fn compare(&self, stored: Option<&str>) -> Result<(), String> {
        let (Some(stored), Some(parts)) = (stored, self.parts.iter().copied().collect::<Option<Vec<_>>>())
        else {
            return Ok(());
        };
        let sent = if stored.contains('-') { composite(&parts) } else { encode(full(&parts)) };
        if sent == stored { Ok(()) } else { Err(other_bytes(stored, &sent)) }
    }
}

fn composite(parts: &[(u32, u64)]) -> String {
    let mut crc = Crc32c::new();
    for (sum, _) in parts {
        crc.update(&sum.to_be_bytes());
    }
    format!("{}-{}", crc.finish(), parts.len())
}

fn full(parts: &[(u32, u64)]) -> u32 {
    // That of nothing is 0, and adds nothing to what follows.
    let append = |all: u64, (sum, bytes): &(u32, u64)| {
        checksum_combine(CrcAlgorithm::Crc32Iscsi, all, u64::from(*sum), *bytes)
    };
    parts.iter().fold(0, append) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_the_standards() {
        // The check values of the CRC catalogue (CRC-32/ISCSI: e3069283) and of RFC 1321 for the same nine digits.
        let pieces = [Bytes::from_static(b"1234"), Bytes::from_static(b"56789")];
        let crc = STANDARD.encode(0xe306_9283_u32.to_be_bytes());
        assert_eq!(Sums::of(Checksum::Crc32c, &pieces).crc32c(), Some(crc));
        assert_eq!(Sums::of(Checksum::Md5, &pieces).md5.as_deref(), Some("JfnnlDI7RTiF9RgfG2JNCw=="));
        assert_eq!(Sums::of(Checksum::Off, &pieces), Sums::default());
    }

    #[test]
    fn other_bytes_at_the_server_are_noticed() {
        let sums = Sums::of(Checksum::Crc32c, &[Bytes::from_static(b"photo")]);
        sums.compare(sums.crc32c().as_deref()).unwrap();
        sums.compare(None).unwrap();
        assert!(sums.compare(Some("AAAAAA==")).is_err());
    }

    #[test]
    fn an_object_in_parts_is_known_by_either_of_its_sums() {
        let parts = [Bytes::from_static(b"1234"), Bytes::new(), Bytes::from_static(b"56789")];
        let sum_of = |kind| {
            let mut sum = SumOfParts::default();
            for part in &parts {
                sum.add(&Sums::of(kind, std::slice::from_ref(part)), part.len() as u64);
            }
            sum
        };
        let sum = sum_of(Checksum::Crc32c);
        let full = encode(0xe306_9283);
        sum.compare(Some(&full)).unwrap();
        // By hand: the sums of the parts one behind the other, and their sum.
        let sum_of_part = |part| Sums::of(Checksum::Crc32c, std::slice::from_ref(part)).crc32c().unwrap();
        let sums: Vec<u8> =
            parts.iter().flat_map(|part| STANDARD.decode(sum_of_part(part)).unwrap()).collect();
        let composite = Sums::of(Checksum::Crc32c, &[sums.into()]).crc32c().unwrap();
        sum.compare(Some(&format!("{composite}-3"))).unwrap();
        sum.compare(None).unwrap();
        for wrong in [format!("{composite}-2"), composite, format!("{full}-3"), "AAAAAA==".to_owned()] {
            assert!(sum.compare(Some(&wrong)).unwrap_err().contains(&wrong));
        }
        // Nothing is known of parts that went with another sum, or with none.
        sum_of(Checksum::Md5).compare(Some("AAAAAA==")).unwrap();
    }
}
