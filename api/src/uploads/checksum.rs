//! `Upload-Checksum`: tus' checksum of one request's bytes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::HeaderMap;

use super::invalid_header;
use crate::digests::{Algorithm, Digests, UPLOAD_CHECKSUM};
use crate::problem::Problem;
use crate::request::header;

/// What is announced as `Tus-Checksum-Algorithm`.
pub(super) const ALGORITHMS: &str = "sha1,sha256,sha512,blake3";

/// What a request of tus announces of its body: this checksum, and the digests that may stand in any request.
///
/// # Errors
/// `invalid-header` for an algorithm that is not known, or what is no digest of it; `digest-malformed`.
pub(super) fn announced(headers: &HeaderMap) -> Result<Digests, Problem> {
    let mut digests = Digests::of_content(headers)?;
    if let Some(checksum) = header(headers, UPLOAD_CHECKSUM) {
        let (algorithm, digest) = parse(checksum)?;
        digests.announce(UPLOAD_CHECKSUM, algorithm, digest)?;
    }
    Ok(digests)
}

fn parse(checksum: &str) -> Result<(Algorithm, Vec<u8>), Problem> {
    let wrong = || {
        let advice = format!("give one of {ALGORITHMS}, a space, and the digest in Base64");
        invalid_header(UPLOAD_CHECKSUM, &advice)
    };
    let (name, digest) = checksum.trim().split_once(' ').ok_or_else(wrong)?;
    let algorithm = Algorithm::named_by_tus(name).ok_or_else(wrong)?;
    let digest = STANDARD.decode(digest.trim()).ok().filter(|digest| digest.len() == algorithm.bytes());
    Ok((algorithm, digest.ok_or_else(wrong)?))
}

#[cfg(test)]
mod tests {
    use sha2::Digest;

    use super::*;

    fn read(checksum: &str) -> Result<Digests, Problem> {
        let mut headers = HeaderMap::new();
        headers.insert("upload-checksum", checksum.parse().unwrap());
        announced(&headers)
    }

    /// What is wrong with bytes, if anything is.
    fn wrong(checksum: &str, bytes: &[u8]) -> Option<String> {
        let mut check = read(checksum).unwrap().check().unwrap();
        check.update(&bytes[..bytes.len() / 2]);
        check.update(&bytes[bytes.len() / 2..]);
        check.mismatch().map(|error| error.to_string())
    }

    #[test]
    fn each_algorithm_knows_its_bytes() {
        let known = STANDARD.encode(blake3::hash(b"hello world").as_bytes());
        let long = STANDARD.encode(sha2::Sha512::digest(b"hello world"));
        for checksum in [
            // The protocol's own example.
            "sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=",
            "sha256 uU0nuZNNPgilLlLX2n2r+sSE7+N6U4DukIj3rOLvzek=",
            &format!("sha512 {long}"),
            &format!("blake3 {known}"),
        ] {
            assert_eq!(wrong(checksum, b"hello world"), None);
            let told = wrong(checksum, b"hello worle").unwrap();
            assert!(told.starts_with("Upload-Checksum") && told.contains(checksum), "{told}");
        }
    }

    #[test]
    fn what_is_no_checksum_is_refused() {
        for header in ["sha1", "crc32 AAAAAA==", "sha1 !!", "sha1 AAAA", "SHA1 Kq5sNclPz7QV2+lfQIuc6R7oRu0="]
        {
            assert!(read(header).is_err(), "{header}");
        }
        assert!(announced(&HeaderMap::new()).unwrap().check().is_none());
    }
}
