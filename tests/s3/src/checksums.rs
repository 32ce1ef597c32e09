//! Checksums that come with a body, and whether they are its own.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use hyper::HeaderMap;
use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum as _, Crc32, Crc32c, Crc64Nvme, Md5, Sha1, Sha256};
use s3s::dto::{Checksum, StreamingBlob};
use s3s::{S3Result, TrailingHeaders, s3_error};

/// The checksums of a body that came with it, in headers before or after it.
#[derive(Default)]
pub(crate) struct Announced {
    pub(crate) before: Checksum,
    pub(crate) md5: Option<String>,
    pub(crate) after: Option<TrailingHeaders>,
}

impl Announced {
    /// Reads the body; an error where a checksum is not its own. Returns it with its checksums of the kinds that came.
    pub(crate) async fn check(
        self,
        body: Option<StreamingBlob>,
    ) -> S3Result<(Bytes, Checksum, Vec<&'static str>)> {
        let mut body = body.ok_or_else(|| s3_error!(IncompleteBody))?;
        let mut bytes = BytesMut::new();
        while let Some(piece) = body.next().await {
            bytes.extend_from_slice(&piece.map_err(|error| s3_error!(IncompleteBody, "{error}"))?);
        }
        let bytes = bytes.freeze();
        let (mut announced, mut kinds) = (self.before, Vec::new());
        for (name, field) in FIELDS {
            let trailer =
                self.after.as_ref().and_then(|trailers| trailers.read(|headers| text_of(headers, name)));
            let announced = field(&mut announced);
            *announced = announced.take().or(trailer.flatten());
            kinds.extend(announced.as_ref().map(|_| name));
        }
        if let Some(name) = difference(&announced, &same_kinds(&announced, &bytes)) {
            return Err(s3_error!(BadDigest, "{name} is not the body's"));
        }
        if let Some(announced) = self.md5 {
            kinds.push("content-md5");
            if announced != md5(&bytes) {
                return Err(s3_error!(BadDigest, "Content-MD5 is not the body's"));
            }
        }
        Ok((bytes, announced, kinds))
    }
}

fn text_of(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

type Field = fn(&mut Checksum) -> &mut Option<String>;

/// Every kind of checksum, as its header is called.
const FIELDS: [(&str, Field); 5] = [
    ("x-amz-checksum-crc32", |of| &mut of.checksum_crc32),
    ("x-amz-checksum-crc32c", |of| &mut of.checksum_crc32c),
    ("x-amz-checksum-crc64nvme", |of| &mut of.checksum_crc64nvme),
    ("x-amz-checksum-sha1", |of| &mut of.checksum_sha1),
    ("x-amz-checksum-sha256", |of| &mut of.checksum_sha256),
];

/// The header of an algorithm, `CRC32C` for example.
pub(crate) fn kind_of(algorithm: &str) -> Option<&'static str> {
    let wanted = format!("x-amz-checksum-{}", algorithm.to_lowercase());
    FIELDS.iter().map(|(name, _)| *name).find(|name| *name == wanted)
}

/// Checksums of these bytes, of the kinds that `announced` has.
pub(crate) fn same_kinds(announced: &Checksum, bytes: &[u8]) -> Checksum {
    let mut hasher = ChecksumHasher {
        crc32: announced.checksum_crc32.as_ref().map(|_| Crc32::default()),
        crc32c: announced.checksum_crc32c.as_ref().map(|_| Crc32c::default()),
        crc64nvme: announced.checksum_crc64nvme.as_ref().map(|_| Crc64Nvme::default()),
        sha1: announced.checksum_sha1.as_ref().map(|_| Sha1::default()),
        sha256: announced.checksum_sha256.as_ref().map(|_| Sha256::default()),
    };
    hasher.update(bytes);
    hasher.finalize()
}

/// The header of the first kind that `announced` has and `found` has not so.
pub(crate) fn difference(announced: &Checksum, found: &Checksum) -> Option<&'static str> {
    let (mut announced, mut found) = (announced.clone(), found.clone());
    let differs = |(_, field): &&(&str, Field)| {
        let announced = field(&mut announced);
        announced.is_some() && announced != field(&mut found)
    };
    FIELDS.iter().find(differs).map(|(name, _)| *name)
}

/// That of an object in parts, as S3 has it where nothing else was asked for: the CRC-32C of the parts' CRC-32Cs, and
/// how many parts there are.
pub(crate) fn composite<'a>(parts: impl Iterator<Item = &'a Checksum>) -> Option<String> {
    let (mut sums, mut count) = (Vec::new(), 0);
    for part in parts {
        sums.extend(STANDARD.decode(part.checksum_crc32c.as_ref()?).unwrap());
        count += 1;
    }
    let kind = Checksum { checksum_crc32c: Some(String::new()), ..Checksum::default() };
    let sum = same_kinds(&kind, &sums).checksum_crc32c?;
    Some(format!("{sum}-{count}"))
}

/// Makes every checksum that an XML answer tells that of something else.
pub(crate) fn falsify(xml: &[u8]) -> Vec<u8> {
    let mut text = String::from_utf8_lossy(xml).into_owned();
    for (name, _) in FIELDS {
        let kind = name.trim_start_matches("x-amz-checksum-").to_uppercase();
        let begin = format!("<Checksum{kind}>");
        let Some(at) = text.find(&begin).map(|at| at + begin.len()) else { continue };
        text.replace_range(at..=at, other_digit(&text[at..]));
    }
    text.into_bytes()
}

/// Another one than that with which the base64 begins.
pub(crate) fn other_digit(base64: &str) -> &'static str {
    if base64.starts_with('A') { "B" } else { "A" }
}

/// As the header `Content-MD5` has it.
fn md5(bytes: &[u8]) -> String {
    let mut hasher = Md5::new();
    hasher.update(bytes);
    STANDARD.encode(hasher.finalize())
}
