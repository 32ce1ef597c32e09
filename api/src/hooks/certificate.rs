//! The certificate that SNS signs its messages with.
//!
//! It is fetched over TLS from the host of the topic's own region, which is what it is trusted for, as by Amazon's own validators: what
//! is served there need not have the certificates between it and a root. Beside that it has to be valid now, and for
//! a name of SNS.

use std::time::{SystemTime, UNIX_EPOCH};

use ring::signature::{
    RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey,
};
use x509_cert::Certificate as Parsed;
use x509_cert::der::asn1::{Ia5StringRef, ObjectIdentifier, PrintableStringRef, Utf8StringRef};
use x509_cert::der::{Decode, DecodePem};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

/// The attribute of a subject that is its name (RFC 5280, appendix A.1).
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

/// What is used of it.
#[derive(Clone, Debug)]
pub(super) struct Certificate {
    /// An RSAPublicKey (RFC 8017, appendix A.1.1).
    key: Vec<u8>,
    valid_from: SystemTime,
    valid_until: SystemTime,
    names: Vec<String>,
}

/// The digest that was signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Digest {
    /// `SignatureVersion` 1.
    Sha1,
    /// `SignatureVersion` 2.
    Sha256,
}

impl Certificate {
    /// Reads one in PEM.
    ///
    /// # Errors
    /// A sentence.
    pub(super) fn from_pem(pem: &[u8]) -> Result<Self, String> {
        let parsed = Parsed::from_pem(pem).map_err(|error| format!("it is no certificate: {error}"))?;
        let inner = &parsed.tbs_certificate;
        let key = inner.subject_public_key_info.subject_public_key.as_bytes();
        Ok(Self {
            key: key.ok_or("its key is not of whole bytes")?.to_vec(),
            valid_from: UNIX_EPOCH + inner.validity.not_before.to_unix_duration(),
            valid_until: UNIX_EPOCH + inner.validity.not_after.to_unix_duration(),
            names: names(&parsed),
        })
    }

    /// Whether it is valid at this time, and for a name of this service.
    ///
    /// # Errors
    /// A sentence.
    pub(super) fn check(&self, now: SystemTime, service: &Service) -> Result<(), String> {
        if now < self.valid_from || now > self.valid_until {
            return Err("it is not valid now".to_owned());
        }
        if self.names.iter().any(|name| service.has_name(name)) {
            return Ok(());
        }
        Err(format!("it is for {}, and not for SNS", self.names.join(", ")))
    }

    /// Whether the signature is of these bytes and by its key.
    pub(super) fn has_signed(&self, digest: Digest, signed: &[u8], signature: &[u8]) -> bool {
        let algorithm = match digest {
            Digest::Sha1 => &RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY,
            Digest::Sha256 => &RSA_PKCS1_2048_8192_SHA256,
        };
        UnparsedPublicKey::new(algorithm, &self.key).verify(signed, signature).is_ok()
    }
}

/// The service of the region that a topic is of. Its host is not told by its looks: a bucket named `sns` has one like it,
/// `sns.s3-eu-west-1.amazonaws.com`, and serves what its owner likes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Service {
    region: String,
    suffix: &'static str,
}

impl Service {
    /// That of a topic, by its ARN: `arn:<partition>:sns:<region>:<account>:<name>`.
    pub(super) fn of(topic: &str) -> Option<Self> {
        let parts: Vec<_> = topic.split(':').collect();
        let ["arn", partition, "sns", region, _, _] = parts[..] else { return None };
        let suffix = match partition {
            "aws" | "aws-us-gov" => "amazonaws.com",
            "aws-cn" => "amazonaws.com.cn",
            _ => return None,
        };
        let is_region =
            !region.is_empty() && region.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        is_region.then(|| Self { region: region.to_ascii_lowercase(), suffix })
    }

    /// The one host that serves its certificates, and takes confirmations.
    pub(super) fn is_host(&self, host: &str) -> bool {
        let Self { region, suffix } = self;
        host.eq_ignore_ascii_case(&format!("sns.{region}.{suffix}"))
    }

    /// Whether its certificates are for this name: most regions share one, those that are opted into, China and the
    /// Government's have their own.
    fn has_name(&self, name: &str) -> bool {
        let Self { region, suffix } = self;
        let shared = if region.starts_with("us-gov-") { "sns-us-gov-west-1" } else { "sns" };
        let own = ["sns.", "sns-", "sns-signing."].map(|prefix| format!("{prefix}{region}.{suffix}"));
        own.into_iter().chain([format!("{shared}.{suffix}")]).any(|own| own.eq_ignore_ascii_case(name))
    }
}

/// The subject's name, and the alternative ones.
fn names(parsed: &Parsed) -> Vec<String> {
    let inner = &parsed.tbs_certificate;
    let attributes = inner.subject.0.iter().flat_map(|relative| relative.0.iter());
    let common = attributes.filter(|attribute| attribute.oid == COMMON_NAME).filter_map(|attribute| {
        let value = &attribute.value;
        let printable = PrintableStringRef::try_from(value).map(|text| text.to_string());
        let utf8 = || Utf8StringRef::try_from(value).map(|text| text.to_string());
        let ia5 = || Ia5StringRef::try_from(value).map(|text| text.to_string());
        printable.or_else(|_| utf8()).or_else(|_| ia5()).ok()
    });
    let mut names: Vec<_> = common.collect();
    let extensions = inner.extensions.iter().flatten();
    let alternative = extensions.filter(|extension| extension.extn_id.to_string() == "2.5.29.17");
    for extension in alternative {
        let Ok(alternative) = SubjectAltName::from_der(extension.extn_value.as_bytes()) else { continue };
        names.extend(alternative.0.iter().filter_map(|name| match name {
            GeneralName::DnsName(name) => Some(name.to_string()),
            _ => None,
        }));
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_host_of_a_topics_own_region_is() {
        let service = Service::of("arn:aws:sns:eu-west-1:123456789012:photos").unwrap();
        assert!(
            service.is_host("sns.eu-west-1.amazonaws.com") && service.is_host("SNS.eu-west-1.AmazonAWS.com")
        );
        for host in [
            // A bucket named sns, by the names that S3 has.
            "sns.s3.amazonaws.com",
            "sns.s3-eu-west-1.amazonaws.com",
            "sns.s3-accelerate.amazonaws.com",
            "sns.eu-central-1.amazonaws.com",
            "sns.eu-west-1.amazonaws.com.cn",
            "sns.amazonaws.com",
            "sns.evil.example",
            "sns.eu-west-1.amazonaws.com.evil.example",
            "evil.example/sns.eu-west-1.amazonaws.com",
            "snsxeu-west-1.amazonaws.com",
            "",
        ] {
            assert!(!service.is_host(host), "{host}");
        }
        let china = Service::of("arn:aws-cn:sns:cn-north-1:1:photos").unwrap();
        assert!(
            china.is_host("sns.cn-north-1.amazonaws.com.cn")
                && !china.is_host("sns.cn-north-1.amazonaws.com")
        );
    }

    #[test]
    fn a_certificate_is_for_the_names_that_amazon_gives_them() {
        for (topic, name) in [
            ("arn:aws:sns:eu-west-1:1:x", "sns.amazonaws.com"),
            ("arn:aws:sns:af-south-1:1:x", "sns-signing.af-south-1.amazonaws.com"),
            ("arn:aws:sns:af-south-1:1:x", "sns.af-south-1.amazonaws.com"),
            ("arn:aws-cn:sns:cn-north-1:1:x", "sns-cn-north-1.amazonaws.com.cn"),
            ("arn:aws-us-gov:sns:us-gov-east-1:1:x", "sns-us-gov-west-1.amazonaws.com"),
        ] {
            assert!(Service::of(topic).unwrap().has_name(name), "{topic}: {name}");
        }
        let service = Service::of("arn:aws:sns:eu-west-1:1:x").unwrap();
        for name in ["sns.s3.amazonaws.com", "*.s3.amazonaws.com", "sns-signing.af-south-1.amazonaws.com", ""]
        {
            assert!(!service.has_name(name), "{name}");
        }
    }
}
