//! The certificate that SNS signs its messages with.
//!
//! It is fetched over TLS from a host of Amazon's, which is what it is trusted for, as by Amazon's own validators: what
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

    /// Whether it is valid at this time, and for a name of SNS.
    ///
    /// # Errors
    /// A sentence.
    pub(super) fn check(&self, now: SystemTime) -> Result<(), String> {
        if now < self.valid_from || now > self.valid_until {
            return Err("it is not valid now".to_owned());
        }
        if self.names.iter().any(|name| is_sns(name)) {
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

/// `sns.amazonaws.com`, or that of a region or of China.
pub(super) fn is_sns(host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    let Some(inside) = host.strip_suffix(".amazonaws.com").or_else(|| host.strip_suffix(".amazonaws.com.cn"))
    else {
        return false;
    };
    let region =
        |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    inside == "sns"
        || inside.strip_prefix("sns.").is_some_and(region)
        || inside.strip_prefix("sns-").is_some_and(region)
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
    fn only_hosts_of_sns_are() {
        for host in [
            "sns.eu-central-1.amazonaws.com",
            "sns.amazonaws.com",
            "sns-us-gov-west-1.amazonaws.com",
            "sns.cn-north-1.amazonaws.com.cn",
            "SNS.eu-west-1.AmazonAWS.com",
        ] {
            assert!(is_sns(host), "{host}");
        }
        for host in [
            "sns.evil.example",
            "sns.eu-west-1.amazonaws.com.evil.example",
            "evil.example/sns.amazonaws.com",
            "s3.eu-west-1.amazonaws.com",
            "bucket.s3.amazonaws.com",
            "sns.a.b.amazonaws.com",
            "snsx.amazonaws.com",
            "sns..amazonaws.com",
            "",
        ] {
            assert!(!is_sns(host), "{host}");
        }
    }
}
