//! The check at start: is the bucket there, may darkroom use it, and does it do what is asked of it? Every usual
//! mistake has a sentence of its own, which says what to change.

use std::time::Duration;

use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::types::{ServerSideEncryption as SdkEncryption, StorageClass};
use bytes::Bytes;
use tokio::time::timeout;
use uuid::Uuid;

use super::error::{Failure, Refusal};
use super::retry::Line;
use super::{Bucket, Checksum, S3Options, writer};
use crate::StoreError;
use crate::objects::ObjectKind;

/// A server that is away at start is said to be soon: whoever started the daemon waits for it.
const PATIENCE: Duration = Duration::from_secs(5);
/// Where the object for trying lies, after the prefix.
const TRIAL: &str = "start-check/";
/// What is said of a put whose bytes do not have their checksum.
const DAMAGED: &[&str] =
    &["BadDigest", "InvalidDigest", "XAmzContentChecksumMismatch", "other bytes than were sent"];
/// What is said of a put with a header that the server does not know, or with a value of it.
const UNKNOWN_HEADER: &[&str] =
    &["NotImplemented", "InvalidArgument", "InvalidStorageClass", "InvalidEncryption"];

/// Lists, writes, reads and deletes in the bucket.
pub(super) async fn check(bucket: &Bucket) -> Result<(), StoreError> {
    list(bucket).await?;
    let options = bucket.options();
    try_object(bucket, ObjectKind::Original).await?;
    // A server may take one storage class and refuse another.
    if options.storage_class_variant != options.storage_class_original {
        try_object(bucket, ObjectKind::Variant).await?;
    }
    Ok(())
}

/// Writes an object as those of this kind are written, uses it, and deletes it.
async fn try_object(bucket: &Bucket, kind: ObjectKind) -> Result<(), StoreError> {
    let name = format!("{}{TRIAL}{}", bucket.options().prefix, Uuid::now_v7());
    let used = use_object(bucket, kind, &name).await;
    let deleted = bucket.delete_name(&name);
    match used {
        Ok(()) => deleted.await.map(drop).map_err(|error| wrong(bucket, error)),
        Err(error) => {
            // What could not be used may be there all the same, and nobody would ever look for it.
            let _ = timeout(PATIENCE, deleted).await;
            Err(error)
        }
    }
}

async fn use_object(bucket: &Bucket, kind: ObjectKind, name: &str) -> Result<(), StoreError> {
    let content = Bytes::from_static(b"darkroomd could write here when it started\n");
    writer::put_one(bucket, name, Some(kind), std::slice::from_ref(&content))
        .await
        .map_err(|error| no_put(bucket, error))?;
    let length = content.len() as u64;
    let found = match super::reader::read_whole(bucket, name, length..=length).await {
        // Other bytes than these, whatever it is that they are not.
        Err(StoreError::Corrupt { .. }) => None,
        found => found.map_err(|error| wrong(bucket, error))?,
    };
    if found.as_deref() != Some(&content[..]) {
        return Err(StoreError::Unavailable {
            reason: format!(
                "bucket {} did not give back what was just written to it ({name}): its server does not read its \
                 own writes, and cannot be used",
                bucket.bucket()
            ),
        });
    }
    stored_as_asked(bucket, kind, name).await
}

/// Whether the server says of an object that it is stored as was asked with its put. Some servers take the headers that
/// ask for an encryption or a storage class, and do nothing about them.
async fn stored_as_asked(bucket: &Bucket, kind: ObjectKind, name: &str) -> Result<(), StoreError> {
    let options = bucket.options();
    let (encryption, class) = (writer::encryption(options), writer::storage_class(options, Some(kind)));
    if encryption.is_none() && class.is_none() {
        return Ok(());
    }
    let stored = bucket.ask_head(name, None).await.map_err(|error| wrong(bucket, error))?;
    if let Some(class) = class {
        let told = stored.as_ref().and_then(HeadObjectOutput::storage_class);
        // S3 says nothing of its standard class.
        if told.unwrap_or(&StorageClass::Standard) != &class {
            let told = told.map_or("none", StorageClass::as_str);
            tracing::warn!(
                asked = class.as_str(),
                told,
                "the S3 server does not keep objects in the storage class that objects.s3.storage_class_{} asks for",
                option_of(kind)
            );
        }
    }
    let told = stored.as_ref().and_then(HeadObjectOutput::server_side_encryption);
    match encryption {
        Some(asked) if told != Some(&asked) => {
            Err(StoreError::Unavailable { reason: not_encrypted(bucket, &asked, told) })
        }
        _ => Ok(()),
    }
}

/// What the options of this kind end with.
fn option_of(kind: ObjectKind) -> &'static str {
    match kind {
        ObjectKind::Original => "original",
        ObjectKind::Variant => "variant",
        // No class is asked for: such an object lives for minutes.
        ObjectKind::Upload => "upload",
    }
}

/// A start without what was asked for would leave whoever has asked believing that photos are encrypted.
fn not_encrypted(bucket: &Bucket, asked: &SdkEncryption, told: Option<&SdkEncryption>) -> String {
    let told = match told {
        Some(other) => format!("says of it that it is encrypted by {}", other.as_str()),
        None => "does not say of it that it is encrypted".to_owned(),
    };
    format!(
        "{} does not encrypt as objects.s3.encryption = \"{}\" asks for: the server took an object with that header, \
         and {told}. Set objects.s3.encryption = \"bucket\", and have the server's disks or the bucket itself \
         encrypted if photos must not lie there as they are; or take a server that knows this encryption",
        place(bucket),
        asked.as_str()
    )
}

/// Asks with a request whose answer has a body also when it is an error: that of HEAD would say no more than a status.
async fn list(bucket: &Bucket) -> Result<(), StoreError> {
    let options = bucket.options();
    let line = Line::new(options).within(PATIENCE);
    let asked = line.call("list", || async {
        let request = bucket.client().list_objects_v2().bucket(bucket.bucket()).prefix(&options.prefix);
        request.max_keys(1).send().await.map(drop).map_err(Failure::of)
    });
    match asked.await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(Failure::Refused(refusal))) => {
            Err(StoreError::Unavailable { reason: explain(bucket, &refusal) })
        }
        Ok(Err(failure)) => Err(wrong(bucket, failure.into_error("the check of the bucket"))),
        Err(error) => Err(unreachable(bucket, error)),
    }
}

/// Where the bucket is looked for.
fn place(bucket: &Bucket) -> String {
    let options = bucket.options();
    match &options.endpoint {
        Some(endpoint) => format!("bucket {} at {endpoint}", options.bucket),
        None => format!("bucket {} at AWS", options.bucket),
    }
}

/// What a refusal means, and what to do.
fn explain(bucket: &Bucket, refusal: &Refusal) -> String {
    let (place, said) = (place(bucket), refusal.sentence());
    let options = bucket.options();
    let region = bucket.client().config().region().map(ToString::to_string).unwrap_or_default();
    let advice = match (code_of(refusal), refusal.status) {
        ("NoSuchBucket", _) => {
            "there is no such bucket: create it, or mend objects.s3.bucket (darkroom creates none)".to_owned()
        }
        ("InvalidAccessKeyId", _) => {
            "the access key is not known there, or is no longer valid: check AWS_ACCESS_KEY_ID, or the profile or role \
             that it comes from"
                .to_owned()
        }
        ("SignatureDoesNotMatch", _) => {
            "the secret key is wrong: check AWS_SECRET_ACCESS_KEY, or the profile that it comes from".to_owned()
        }
        ("ExpiredToken" | "TokenRefreshRequired", _) => {
            "the session's token has expired: give the daemon credentials that are renewed".to_owned()
        }
        ("RequestTimeTooSkewed", _) => {
            "the clock of this machine is wrong: set it (timedatectl set-ntp true), then start again".to_owned()
        }
        ("AuthorizationHeaderMalformed" | "PermanentRedirect" | "IllegalLocationConstraintException", _)
        | (_, 301 | 307) => {
            let right = refusal.region.clone().or_else(|| expected_region(&refusal.message));
            match right.filter(|right| *right != region) {
                Some(right) => format!(
                    "the bucket is in region {right}, and {region} was asked: set objects.s3.region = \"{right}\""
                ),
                None => format!(
                    "the bucket is in another region than {region}: set objects.s3.region to the bucket's"
                ),
            }
        }
        ("AccessDenied" | "AllAccessDisabled" | "AccountProblem", _) | (_, 401 | 403) => {
            format!("the credentials may not use it: {}", allow(options, &refusal.message))
        }
        _ => "docs/s3.md says what is needed".to_owned(),
    };
    format!("{place} cannot be used: {advice}. The server said: {said}")
}

/// The code by which S3 tells this. Garage (2.5.0) denies wrong credentials access too, and tells them apart in words.
fn code_of(refusal: &Refusal) -> &str {
    let said = [
        ("Forbidden: No such key", "InvalidAccessKeyId"),
        ("Forbidden: Access key", "InvalidAccessKeyId"),
        ("Forbidden: Invalid signature", "SignatureDoesNotMatch"),
    ];
    let meant = said.iter().find(|(words, _)| refusal.message.starts_with(words)).map(|(_, code)| *code);
    meant.filter(|_| refusal.code == "AccessDenied").unwrap_or(&refusal.code)
}

/// How credentials are allowed what the server has `said` that they may not.
fn allow(options: &S3Options, said: &str) -> String {
    let (bucket, prefix) = (&options.bucket, &options.prefix);
    // Garage's words. It has no policies.
    if said.contains("Operation is not allowed for this key") {
        return format!("allow it by `garage bucket allow --read --write {bucket} --key` and the key's id");
    }
    format!(
        "allow s3:ListBucket on the bucket and s3:GetObject, s3:PutObject, s3:DeleteObject, s3:AbortMultipartUpload on \
         {bucket}/{prefix}* (docs/s3.md has the policy)"
    )
}

/// The region in S3's "the region 'us-east-1' is wrong; expecting 'eu-west-1'", or in the scope of Garage's "unexpected
/// scope: '20261121/us-east-1/s3/aws4_request', expected: '20261121/garage/s3/aws4_request'".
fn expected_region(message: &str) -> Option<String> {
    let quoted = |words| message.split_once(words)?.1.split_once('\'').map(|(quoted, _)| quoted);
    let in_scope = |scope: &'static str| quoted(scope)?.split('/').nth(1);
    quoted("expecting '").or_else(|| in_scope("expected: '")).map(str::to_owned)
}

fn unreachable(bucket: &Bucket, error: StoreError) -> StoreError {
    let StoreError::Unavailable { reason } = error else { return error };
    let hint = if reason.contains("credential") {
        "no credentials were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the machine a role"
    } else if reason.contains("certificate") {
        "its certificate is not trusted: install the system's CA certificates, or name a file with SSL_CERT_FILE"
    } else if bucket.options().endpoint.is_some() {
        "check objects.s3.endpoint (scheme, host and port), and that the server runs"
    } else {
        "check objects.s3.region and the way to the internet"
    };
    StoreError::Unavailable { reason: format!("{} cannot be reached: {hint}. {reason}", place(bucket)) }
}

/// An error of a later step: the bucket is there.
fn wrong(bucket: &Bucket, error: StoreError) -> StoreError {
    match error {
        StoreError::Unavailable { reason } => StoreError::Unavailable {
            reason: format!(
                "{} can be listed, but not used: {reason}. If it is denied: {}",
                place(bucket),
                allow(bucket.options(), &reason)
            ),
        },
        StoreError::Unreadable { detail, .. } => StoreError::Unavailable {
            reason: format!(
                "{} does not give back what is written to it. {detail}; take another storage class \
                 (objects.s3.storage_class_…)",
                place(bucket)
            ),
        },
        other => other,
    }
}

/// An error of the first put, which has headers that a server may not know.
fn no_put(bucket: &Bucket, error: StoreError) -> StoreError {
    let has = |reason: &str, codes: &[&str]| codes.iter().any(|code| reason.contains(code));
    match error {
        StoreError::Unavailable { reason } if has(&reason, DAMAGED) => StoreError::Unavailable {
            reason: format!(
                "{} finds other bytes than were sent to it, each time: something on the way there changes them (a \
                 proxy, bad memory), or the server computes the checksum otherwise (then try objects.s3.checksum = \
                 \"md5\"). {reason}",
                place(bucket)
            ),
        },
        StoreError::Unavailable { reason } if has(&reason, UNKNOWN_HEADER) => {
            let headers = match bucket.options().checksum {
                Checksum::Off => "the storage class or the encryption that the configuration asks for",
                _ => {
                    "the checksum (objects.s3.checksum = \"md5\" or \"off\"), the storage class or the encryption"
                }
            };
            StoreError::Unavailable {
                reason: format!(
                    "{} does not know a header of a put: try without {headers}. {reason}",
                    place(bucket)
                ),
            }
        }
        other => wrong(bucket, other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn bucket() -> Bucket {
        let options = S3Options {
            bucket: "photos".to_owned(),
            region: Some("us-east-1".to_owned()),
            credentials: Some(("id".to_owned(), "secret".to_owned())),
            ..S3Options::default()
        };
        Bucket::connect(options).await.unwrap()
    }

    fn refusal(status: u16, code: &str, message: &str) -> Refusal {
        Refusal { status, code: code.to_owned(), message: message.to_owned(), region: None }
    }

    #[tokio::test]
    async fn every_usual_mistake_is_told_with_its_remedy() {
        let bucket = bucket().await;
        let malformed = "the region 'us-east-1' is wrong; expecting 'eu-west-1'";
        let scope = "Authorization header malformed, unexpected scope: '20261121/us-east-1/s3/aws4_request', \
                     expected: '20261121/garage/s3/aws4_request'";
        for (status, code, message, words) in [
            (404, "NoSuchBucket", "", "objects.s3.bucket"),
            (403, "InvalidAccessKeyId", "", "AWS_ACCESS_KEY_ID"),
            (403, "SignatureDoesNotMatch", "", "AWS_SECRET_ACCESS_KEY"),
            (403, "AccessDenied", "", "s3:ListBucket"),
            (403, "RequestTimeTooSkewed", "", "clock"),
            (400, "AuthorizationHeaderMalformed", malformed, "objects.s3.region = \"eu-west-1\""),
            (400, "AuthorizationHeaderMalformed", scope, "objects.s3.region = \"garage\""),
            (400, "AuthorizationHeaderMalformed", "no word of it", "another region than us-east-1"),
            (301, "PermanentRedirect", "", "another region than us-east-1"),
            (403, "AccessDenied", "Forbidden: No such key: GK31", "AWS_ACCESS_KEY_ID"),
            (403, "AccessDenied", "Forbidden: Access key GK31 has expired", "no longer valid"),
            (403, "AccessDenied", "Forbidden: Invalid signature", "AWS_SECRET_ACCESS_KEY"),
            (403, "AccessDenied", "Forbidden: Operation is not allowed for this key.", "garage bucket allow"),
        ] {
            let text = explain(&bucket, &refusal(status, code, message));
            assert!(text.contains(words) && text.contains("bucket photos") && text.contains(code), "{text}");
        }
        let moved =
            Refusal { region: Some("eu-central-1".to_owned()), ..refusal(301, "PermanentRedirect", "") };
        assert!(explain(&bucket, &moved).contains("objects.s3.region = \"eu-central-1\""));
    }
}
