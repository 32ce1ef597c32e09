//! The check at start: is the bucket there, and may darkroom use it? Every usual mistake has a sentence of its own,
//! which says what to change.

use std::time::Duration;

use bytes::Bytes;
use uuid::Uuid;

use super::error::{Failure, Refusal};
use super::retry::Line;
use super::{Bucket, Checksum, writer};
use crate::StoreError;

/// A server that is away at start is said to be soon: whoever started the daemon waits for it.
const PATIENCE: Duration = Duration::from_secs(5);
/// Where the object for trying lies, after the prefix.
const TRIAL: &str = "start-check/";

/// Lists, writes, reads and deletes in the bucket.
pub(super) async fn check(bucket: &Bucket) -> Result<(), StoreError> {
    list(bucket).await?;
    let name = format!("{}{TRIAL}{}", bucket.options().prefix, Uuid::now_v7());
    let content = Bytes::from_static(b"darkroomd could write here when it started\n");
    let step = |error| wrong(bucket, error);
    writer::put_one(bucket, &name, None, std::slice::from_ref(&content))
        .await
        .map_err(|error| no_put(bucket, error))?;
    let found = super::reader::read_whole(bucket, &name).await.map_err(step)?;
    bucket.delete_name(&name).await.map_err(step)?;
    if found.as_deref() != Some(&content[..]) {
        return Err(StoreError::Unavailable {
            reason: format!(
                "bucket {} did not give back what was just written to it ({name}): its server does not read its \
                 own writes, and cannot be used",
                bucket.bucket()
            ),
        });
    }
    Ok(())
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
    let advice = match (refusal.code.as_str(), refusal.status) {
        ("NoSuchBucket", _) => {
            "there is no such bucket: create it, or mend objects.s3.bucket (darkroom creates none)".to_owned()
        }
        ("InvalidAccessKeyId", _) => {
            "the access key is not known there: check AWS_ACCESS_KEY_ID, or the profile or role that it comes from"
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
            match right {
                Some(right) => format!(
                    "the bucket is in region {right}, and {region} was asked: set objects.s3.region = \"{right}\""
                ),
                None => format!(
                    "the bucket is in another region than {region}: set objects.s3.region to the bucket's"
                ),
            }
        }
        ("AccessDenied" | "AllAccessDisabled" | "AccountProblem", _) | (_, 401 | 403) => format!(
            "the credentials may not use it: allow s3:ListBucket on the bucket and s3:GetObject, s3:PutObject, \
             s3:DeleteObject, s3:AbortMultipartUpload on {}/{}* (docs/s3.md has the policy)",
            options.bucket, options.prefix
        ),
        _ => "docs/s3.md says what is needed".to_owned(),
    };
    format!("{place} cannot be used: {advice}. The server said: {said}")
}

/// The region in "the region 'us-east-1' is wrong; expecting 'eu-west-1'".
fn expected_region(message: &str) -> Option<String> {
    let (_, after) = message.split_once("expecting '")?;
    let (region, _) = after.split_once('\'')?;
    Some(region.to_owned())
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
                "{} can be listed, but not used: {reason}. It must allow s3:PutObject, s3:GetObject and \
                 s3:DeleteObject (docs/s3.md has the policy)",
                place(bucket)
            ),
        },
        other => other,
    }
}

/// An error of the first put, which has headers that a server may not know.
fn no_put(bucket: &Bucket, error: StoreError) -> StoreError {
    match error {
        StoreError::Unavailable { reason }
            if reason.contains("NotImplemented") || reason.contains("InvalidArgument") =>
        {
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
    use crate::objects::s3::S3Options;

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
        for (status, code, message, words) in [
            (404, "NoSuchBucket", "", "objects.s3.bucket"),
            (403, "InvalidAccessKeyId", "", "AWS_ACCESS_KEY_ID"),
            (403, "SignatureDoesNotMatch", "", "AWS_SECRET_ACCESS_KEY"),
            (403, "AccessDenied", "", "s3:ListBucket"),
            (403, "RequestTimeTooSkewed", "", "clock"),
            (400, "AuthorizationHeaderMalformed", malformed, "objects.s3.region = \"eu-west-1\""),
            (301, "PermanentRedirect", "", "another region than us-east-1"),
        ] {
            let text = explain(&bucket, &refusal(status, code, message));
            assert!(text.contains(words) && text.contains("bucket photos") && text.contains(code), "{text}");
        }
        let moved =
            Refusal { region: Some("eu-central-1".to_owned()), ..refusal(301, "PermanentRedirect", "") };
        assert!(explain(&bucket, &moved).contains("objects.s3.region = \"eu-central-1\""));
    }
}
