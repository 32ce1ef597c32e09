//! `Upload-Checksum`: tus' checksum of one request's bytes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use darkroom_actors::Check;
use sha1::Digest;

use super::invalid_header;
use crate::problem::Problem;

/// What is announced as `Tus-Checksum-Algorithm`.
pub(super) const ALGORITHMS: &str = "sha1,sha256,sha512,blake3";

/// Reads the header, if there is one.
///
/// # Errors
/// `invalid-header` for an algorithm that is not known, or what is no digest of it.
pub(super) fn parse(header: Option<&str>) -> Result<Option<Box<dyn Check>>, Problem> {
    let Some(header) = header else { return Ok(None) };
    let wrong = || {
        let advice = format!("give one of {ALGORITHMS}, a space, and the digest in Base64");
        invalid_header("Upload-Checksum", &advice)
    };
    let (algorithm, digest) = header.trim().split_once(' ').ok_or_else(wrong)?;
    let digest = STANDARD.decode(digest.trim()).map_err(|_| wrong())?;
    let hasher = match algorithm {
        "sha1" => Hasher::Sha1(sha1::Sha1::new()),
        "sha256" => Hasher::Sha256(sha2::Sha256::new()),
        "sha512" => Hasher::Sha512(sha2::Sha512::new()),
        "blake3" => Hasher::Blake3(Box::default()),
        _ => return Err(wrong()),
    };
    if digest.len() != hasher.bytes() {
        return Err(wrong());
    }
    Ok(Some(Box::new(Checksum { hasher, digest })))
}

struct Checksum {
    hasher: Hasher,
    digest: Vec<u8>,
}

enum Hasher {
    Sha1(sha1::Sha1),
    Sha256(sha2::Sha256),
    Sha512(sha2::Sha512),
    Blake3(Box<blake3::Hasher>),
}

impl Hasher {
    /// Bytes of a digest.
    fn bytes(&self) -> usize {
        match self {
            Self::Sha1(_) => 20,
            Self::Sha256(_) | Self::Blake3(_) => 32,
            Self::Sha512(_) => 64,
        }
    }
}

impl Check for Checksum {
    fn update(&mut self, bytes: &[u8]) {
        match &mut self.hasher {
            Hasher::Sha1(hasher) => hasher.update(bytes),
            Hasher::Sha256(hasher) => hasher.update(bytes),
            Hasher::Sha512(hasher) => hasher.update(bytes),
            Hasher::Blake3(hasher) => {
                hasher.update(bytes);
            }
        }
    }

    fn matches(self: Box<Self>) -> bool {
        let digest = match self.hasher {
            Hasher::Sha1(hasher) => hasher.finalize().to_vec(),
            Hasher::Sha256(hasher) => hasher.finalize().to_vec(),
            Hasher::Sha512(hasher) => hasher.finalize().to_vec(),
            Hasher::Blake3(hasher) => hasher.finalize().as_bytes().to_vec(),
        };
        digest == self.digest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(header: &str, bytes: &[u8]) -> bool {
        let mut check = parse(Some(header)).unwrap().unwrap();
        check.update(&bytes[..bytes.len() / 2]);
        check.update(&bytes[bytes.len() / 2..]);
        check.matches()
    }

    #[test]
    fn each_algorithm_knows_its_bytes() {
        // The first is the protocol's own example.
        assert!(matches("sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=", b"hello world"));
        let known = STANDARD.encode(blake3::hash(b"hello world").as_bytes());
        assert!(matches(&format!("blake3 {known}"), b"hello world"));
        assert!(matches("sha256 uU0nuZNNPgilLlLX2n2r+sSE7+N6U4DukIj3rOLvzek=", b"hello world"));
        let known = STANDARD.encode(sha2::Sha512::digest(b"hello world"));
        assert!(matches(&format!("sha512 {known}"), b"hello world"));
        assert!(!matches("sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=", b"hello worle"));
    }

    #[test]
    fn what_is_no_checksum_is_refused() {
        for header in ["sha1", "crc32 AAAAAA==", "sha1 !!", "sha1 AAAA", "SHA1 Kq5sNclPz7QV2+lfQIuc6R7oRu0="]
        {
            assert!(parse(Some(header)).is_err(), "{header}");
        }
        assert!(parse(None).unwrap().is_none());
    }
}
