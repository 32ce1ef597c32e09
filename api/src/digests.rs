//! Digests that a client sends with its bytes: `Content-Digest` and `Repr-Digest` (RFC 9530), `Content-MD5` (RFC 1864), and tus'
//! `Upload-Checksum`, which is read in `uploads/checksum.rs`.
//!
//! Each that is known is compared with what came, at the end of the body: other bytes end it with an error in the place of
//! its end, so that nothing is made of them. Algorithms that are not known are passed over, as RFC 9530 has it (section 2);
//! what is no digest at all is refused before the body is read.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use darkroom_actors::{Body, BodyError, Check};
use futures_util::{StreamExt, stream};
use hyper::HeaderMap;
use hyper::header::CONTENT_ENCODING;
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest as _, Sha256, Sha512};

use crate::problem::Problem;

/// As RFC 9651, section 4.2.7, has it read.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

const CONTENT_DIGEST: &str = "Content-Digest";
const REPR_DIGEST: &str = "Repr-Digest";
const CONTENT_MD5: &str = "Content-MD5";
/// tus' own, which has its own way to write a digest and its own problem.
pub(crate) const UPLOAD_CHECKSUM: &str = "Upload-Checksum";

/// What a request, or a part of one, announces of its bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Digests(Vec<Announced>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Announced {
    header: &'static str,
    algorithm: Algorithm,
    value: Vec<u8>,
}

/// How a digest is reckoned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Sha1,
    Sha256,
    Sha512,
    Blake3,
    Md5,
}

impl Algorithm {
    /// By its name in a dictionary of digests. MD5 is not taken there: RFC 9530 has deprecated it.
    fn named(name: &str) -> Option<Self> {
        match name {
            "sha-256" => Some(Self::Sha256),
            "sha-512" => Some(Self::Sha512),
            _ => None,
        }
    }

    /// By its name in tus.
    pub(crate) fn named_by_tus(name: &str) -> Option<Self> {
        match name {
            "sha1" => Some(Self::Sha1),
            "sha256" => Some(Self::Sha256),
            "sha512" => Some(Self::Sha512),
            "blake3" => Some(Self::Blake3),
            _ => None,
        }
    }

    /// Bytes of a digest.
    pub(crate) fn bytes(self) -> usize {
        match self {
            Self::Md5 => 16,
            Self::Sha1 => 20,
            Self::Sha256 | Self::Blake3 => 32,
            Self::Sha512 => 64,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "SHA-1",
            Self::Sha256 => "SHA-256",
            Self::Sha512 => "SHA-512",
            Self::Blake3 => "BLAKE3",
            Self::Md5 => "MD5",
        }
    }

    /// A digest as `header` has it.
    fn show(self, header: &str, value: &[u8]) -> String {
        let (name, value) = (self.name().to_ascii_lowercase(), STANDARD.encode(value));
        match header {
            UPLOAD_CHECKSUM => format!("{} {value}", name.replace('-', "")),
            CONTENT_MD5 => value,
            _ => format!("{name}=:{value}:"),
        }
    }
}

impl Digests {
    /// Of a body that is a whole file: its content is what it represents.
    ///
    /// # Errors
    /// `digest-malformed`.
    pub fn of_file(headers: &HeaderMap) -> Result<Self, Problem> {
        let mut digests = Self::of_content(headers)?;
        digests.read_dictionary(headers, REPR_DIGEST)?;
        Ok(digests)
    }

    /// Of a body that may be a part of a file: what is said of the body alone.
    ///
    /// # Errors
    /// `digest-malformed`.
    pub fn of_content(headers: &HeaderMap) -> Result<Self, Problem> {
        let mut digests = Self::default();
        digests.read_dictionary(headers, CONTENT_DIGEST)?;
        for value in headers.get_all(CONTENT_MD5) {
            let value = value.to_str().ok().and_then(|text| LENIENT.decode(text.trim()).ok());
            let value = value.ok_or_else(|| malformed(CONTENT_MD5, "it is not base64"))?;
            digests.announce(CONTENT_MD5, Algorithm::Md5, value)?;
        }
        Ok(digests)
    }

    fn read_dictionary(&mut self, headers: &HeaderMap, header: &'static str) -> Result<(), Problem> {
        let lines: Result<Vec<_>, _> = headers.get_all(header).iter().map(|value| value.to_str()).collect();
        let lines = lines.map_err(|_| malformed(header, "it is not ASCII"))?.join(",");
        for (name, value) in byte_sequences(&lines).map_err(|what| malformed(header, &what))? {
            if let Some(algorithm) = Algorithm::named(name) {
                // The last of a name counts: RFC 9651, section 4.2.2.
                self.0.retain(|known| (known.header, known.algorithm) != (header, algorithm));
                self.announce(header, algorithm, value)?;
            }
        }
        Ok(())
    }

    /// What is said in `header`.
    ///
    /// # Errors
    /// `digest-malformed`, for what is not as long as a digest of this algorithm.
    pub(crate) fn announce(
        &mut self,
        header: &'static str,
        algorithm: Algorithm,
        value: Vec<u8>,
    ) -> Result<(), Problem> {
        if value.len() != algorithm.bytes() {
            let what =
                format!("{} has {} bytes and not {}", algorithm.name(), algorithm.bytes(), value.len());
            return Err(malformed(header, &what));
        }
        self.0.push(Announced { header, algorithm, value });
        Ok(())
    }

    /// Refuses a digest of all of a body whose files are durable before its end is seen.
    ///
    /// # Errors
    /// `digest-unsupported`.
    pub fn none_of_many(headers: &HeaderMap) -> Result<(), Problem> {
        match Self::of_file(headers)?.0.first() {
            None => Ok(()),
            Some(announced) => Err(Problem::new(
                "digest-unsupported",
                format!(
                    "{} is of a body of many photos, which are stored one by one before its end is seen: send each part \
                     with a digest of its own, or none",
                    announced.header
                ),
            )),
        }
    }

    /// The same bytes, with an error in the place of their end if they are not those that were announced.
    pub fn checked(self, body: Body) -> Body {
        let Some(check) = self.check() else { return body };
        stream::unfold(Some((body, check)), |state| async move {
            let (mut body, mut check) = state?;
            match body.next().await {
                Some(Ok(bytes)) => {
                    check.update(&bytes);
                    Some((Ok(bytes), Some((body, check))))
                }
                Some(Err(error)) => Some((Err(error), None)),
                None => check.mismatch().map(|error| (Err(error), None)),
            }
        })
        .boxed()
    }

    /// What compares bytes with all that was announced, if anything was.
    pub fn check(self) -> Option<Box<dyn Check>> {
        let hashers: Vec<_> = self.0.into_iter().map(Hasher::new).collect();
        (!hashers.is_empty()).then(|| Box::new(Hashers(hashers)) as Box<dyn Check>)
    }
}

/// Everything that was announced of the same bytes.
struct Hashers(Vec<Hasher>);

impl Check for Hashers {
    fn update(&mut self, bytes: &[u8]) {
        for hasher in &mut self.0 {
            hasher.feed(bytes);
        }
    }

    fn mismatch(self: Box<Self>) -> Option<BodyError> {
        self.0.into_iter().find_map(Hasher::mismatch)
    }
}

struct Hasher {
    announced: Announced,
    state: State,
}

enum State {
    Sha1(Sha1),
    Sha256(Sha256),
    Sha512(Box<Sha512>),
    Blake3(Box<blake3::Hasher>),
    Md5(Md5),
}

impl Hasher {
    fn new(announced: Announced) -> Self {
        let state = match announced.algorithm {
            Algorithm::Sha1 => State::Sha1(Sha1::new()),
            Algorithm::Sha256 => State::Sha256(Sha256::new()),
            Algorithm::Sha512 => State::Sha512(Box::default()),
            Algorithm::Blake3 => State::Blake3(Box::default()),
            Algorithm::Md5 => State::Md5(Md5::new()),
        };
        Self { announced, state }
    }

    fn feed(&mut self, bytes: &[u8]) {
        match &mut self.state {
            State::Sha1(state) => state.update(bytes),
            State::Sha256(state) => state.update(bytes),
            State::Sha512(state) => state.update(bytes),
            State::Blake3(state) => drop(state.update(bytes)),
            State::Md5(state) => state.update(bytes),
        }
    }

    fn mismatch(self) -> Option<BodyError> {
        let found = match self.state {
            State::Sha1(state) => state.finalize().to_vec(),
            State::Sha256(state) => state.finalize().to_vec(),
            State::Sha512(state) => state.finalize().to_vec(),
            State::Blake3(state) => state.finalize().as_bytes().to_vec(),
            State::Md5(state) => state.finalize().to_vec(),
        };
        let Announced { header, algorithm, value } = self.announced;
        (found != value).then(|| BodyError::Mismatch {
            header,
            announced: algorithm.show(header, &value),
            found: algorithm.show(header, &found),
        })
    }
}

/// The members of a dictionary of byte sequences (RFC 9651, sections 3.2 and 3.3.5). Parameters are passed over.
fn byte_sequences(text: &str) -> Result<Vec<(&str, Vec<u8>)>, String> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    text.split(',').map(|member| byte_sequence(member.trim_matches([' ', '\t']))).collect()
}

fn byte_sequence(member: &str) -> Result<(&str, Vec<u8>), String> {
    let is_name = |name: &str| {
        name.starts_with(|first: char| first.is_ascii_lowercase() || first == '*')
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-.*".contains(c))
    };
    let wanted = || format!("{member:?} is not like sha-256=:<base64>:");
    let (name, value) = member.split_once('=').filter(|(name, _)| is_name(name)).ok_or_else(wanted)?;
    let (value, parameters) =
        value.strip_prefix(':').and_then(|value| value.split_once(':')).ok_or_else(wanted)?;
    if !parameters.is_empty() && !parameters.trim_start().starts_with(';') {
        return Err(wanted());
    }
    let value = LENIENT.decode(value).map_err(|error| format!("{name} is not base64: {error}"))?;
    Ok((name, value))
}

fn malformed(header: &str, what: &str) -> Problem {
    Problem::new("digest-malformed", format!("{header} cannot be read: {what}; mend it, or leave it out"))
}

/// Refuses bytes that are wrapped in something that would have to be taken off first.
///
/// # Errors
/// `content-encoding-unsupported`.
pub fn check_encoding(headers: &HeaderMap) -> Result<(), Problem> {
    let is_plain = |value: &str| {
        value.split(',').all(|coding| matches!(coding.trim().to_ascii_lowercase().as_str(), "" | "identity"))
    };
    match headers.get_all(CONTENT_ENCODING).iter().find(|value| !value.to_str().is_ok_and(is_plain)) {
        None => Ok(()),
        Some(coding) => Err(Problem::new(
            "content-encoding-unsupported",
            format!("Content-Encoding {coding:?} is not taken off here: send the file's own bytes"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    const HELLO_SHA256: &str = "sha-256=:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=:";
    const HELLO_MD5: &str = "XUFAKrxLKna5cZ2REBfFkg==";

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            let name = hyper::header::HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.append(name, value.parse().unwrap());
        }
        headers
    }

    async fn check(lines: &[(&'static str, &str)], pieces: &[&'static str]) -> Result<usize, BodyError> {
        let pieces: Vec<_> = pieces.iter().map(|piece| Ok(Bytes::from_static(piece.as_bytes()))).collect();
        let mut body = Digests::of_file(&headers(lines)).unwrap().checked(stream::iter(pieces).boxed());
        let mut bytes = 0;
        while let Some(piece) = body.next().await {
            bytes += piece?.len();
        }
        Ok(bytes)
    }

    #[tokio::test]
    async fn the_right_bytes_pass_and_others_end_with_both_digests() {
        let pieces = ["hel", "", "lo"];
        for header in ["content-digest", "repr-digest"] {
            assert_eq!(check(&[(header, HELLO_SHA256)], &pieces).await.unwrap(), 5);
            let error = check(&[(header, HELLO_SHA256)], &["hallo"]).await.unwrap_err().to_string();
            assert!(error.contains(HELLO_SHA256) && error.matches("sha-256=:").count() == 2, "{error}");
            assert!(error.to_lowercase().starts_with(header), "{error}");
        }
        assert_eq!(check(&[("content-md5", HELLO_MD5)], &pieces).await.unwrap(), 5);
        let error = check(&[("content-md5", HELLO_MD5)], &[]).await.unwrap_err().to_string();
        assert!(error.contains("1B2M2Y8AsgTpgAmY7PhCfg=="), "{error}");
    }

    #[tokio::test]
    async fn every_digest_that_is_known_must_fit() {
        let sha512 = "sha-512=:m3HSJL1i83hdltRq0+o9czGb+8KJDKra4t/3JRlnPKcjI8PZm6XBHXx6zG4UuMXaDEZjR1wuXDre9G9zvN7AQw==:";
        let both = format!("{HELLO_SHA256}, {sha512}, blake3=:AAAA:;x=1");
        assert_eq!(check(&[("content-digest", &both)], &["hello"]).await.unwrap(), 5);
        let wrong = both.replace("m3HS", "m3HT");
        assert!(check(&[("content-digest", &wrong)], &["hello"]).await.is_err());
        // In several lines, of which the last counts.
        let other = HELLO_SHA256.replace("LPJN", "LPJO");
        let lines = [("content-digest", &*other), ("content-digest", HELLO_SHA256)];
        assert_eq!(check(&lines, &["hello"]).await.unwrap(), 5);
    }

    #[tokio::test]
    async fn what_is_not_known_is_passed_over() {
        let unknown = "md5=:XUFAKrxLKna5cZ2REBfFkg==:, crc32c=:AAAAAA==:, adler=:AAAA:";
        assert_eq!(check(&[("content-digest", unknown)], &["anything"]).await.unwrap(), 8);
        assert_eq!(check(&[("content-digest", "")], &["anything"]).await.unwrap(), 8);
    }

    #[test]
    fn what_is_no_digest_is_refused() {
        let malformed = [
            ("content-digest", "sha-256=LPJNul"),
            ("content-digest", "sha-256=:LPJNul"),
            ("content-digest", "sha-256=:LP*:"),
            ("content-digest", "sha-256=:LPJNulow:"),
            ("content-digest", "sha-256"),
            ("repr-digest", "SHA-256=:AAAA:"),
            ("repr-digest", "sha-256=:AAAA:x"),
            ("content-md5", "5d41402abc4b2a76b9719d911017c592"),
            ("content-md5", "?"),
        ];
        for (header, value) in malformed {
            let problem = Digests::of_file(&headers(&[(header, value)])).unwrap_err();
            assert!(problem.is("digest-malformed"), "{value}: {problem:?}");
            assert!(problem.detail.to_lowercase().contains(header), "{}", problem.detail);
        }
        // What is said of a whole file says nothing of a part of it.
        assert_eq!(
            Digests::of_content(&headers(&[("repr-digest", "nonsense")])).unwrap(),
            Digests::default()
        );
    }

    #[test]
    fn only_plain_bytes_are_taken() {
        for plain in ["identity", "Identity", ""] {
            assert!(check_encoding(&headers(&[("content-encoding", plain)])).is_ok());
        }
        for coded in ["gzip", "identity, br"] {
            let problem = check_encoding(&headers(&[("content-encoding", coded)])).unwrap_err();
            assert!(problem.is("content-encoding-unsupported") && problem.detail.contains(coded));
        }
    }
}
