//! Reading an object: streamed, its length checked, and continued where a connection broke.

use std::fmt;
use std::ops::{Range, RangeInclusive};
use std::time::{Duration, Instant};

use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use futures_util::FutureExt;

use super::checksum::Crc32c;
use super::error::{Cause, Failure};
use super::{Bucket, no_length, seconds};
use crate::StoreError;
use crate::objects::{other_length, telemetry};

/// The pause before a body that broke is continued; it doubles while nothing comes.
const RESUME_PAUSE: Duration = Duration::from_millis(50);
/// How often a whole object whose checksum is wrong is read again: once damaged on its way, twice damaged in store.
const WHOLE_ATTEMPTS: u32 = 2;
/// S3's code for an object in an archive, such as the storage classes `GLACIER` and `DEEP_ARCHIVE`.
const ARCHIVED: &str = "InvalidObjectState";

/// An object being read.
pub struct BucketReader {
    bucket: Bucket,
    name: String,
    /// The next byte, and where to end.
    left: Range<u64>,
    /// None where it broke, and is to be continued.
    body: Option<ByteStream>,
    /// What the server has for the whole object, and what has come.
    sum: Option<(String, Crc32c)>,
}

impl fmt::Debug for BucketReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BucketReader")
            .field("name", &self.name)
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}

impl BucketReader {
    pub(super) async fn open(
        bucket: Bucket,
        name: String,
        range: Option<Range<u64>>,
    ) -> Result<Option<Self>, StoreError> {
        if let Some(range) = range.clone().filter(Range::is_empty) {
            // No Range header says "nothing".
            let found = bucket.head_name(&name).await?;
            return Ok(found.map(|_| Self { bucket, name, left: range, body: None, sum: None }));
        }
        let Some(answer) = request(&bucket, &name, range.clone()).await? else { return Ok(None) };
        let length = answer.content_length().and_then(|bytes| u64::try_from(bytes).ok());
        let whole = range.is_none();
        let left = range.unwrap_or(0..length.ok_or_else(|| no_length(&name))?);
        // A checksum of parts ends with their number, and says nothing of the whole.
        let sum = answer.checksum_crc32_c().filter(|sum| whole && !sum.contains('-'));
        let sum = sum.map(|sum| (sum.to_owned(), Crc32c::new()));
        Ok(Some(Self { bucket, name, left, body: Some(answer.body), sum }))
    }

    pub(in crate::objects) fn remaining(&self) -> u64 {
        self.left.end.saturating_sub(self.left.start)
    }

    pub(in crate::objects) async fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        let (started, mut pause) = (Instant::now(), RESUME_PAUSE);
        while self.remaining() > 0 {
            let (cause, reason) = match self.piece().await? {
                Ok(bytes) => return self.take(bytes).map(Some),
                Err(broken) => broken,
            };
            telemetry::count_retry("get", cause.name());
            let wait = pause.mul_f64(rand::random::<f64>());
            let elapsed = started.elapsed();
            if elapsed + wait >= self.bucket.options().operation_deadline {
                return Err(StoreError::Unavailable {
                    reason: format!(
                        "{} broke off {} bytes before its end, and did not go on for {}: {reason}",
                        self.name,
                        self.remaining(),
                        seconds(elapsed)
                    ),
                });
            }
            tokio::time::sleep(wait).await;
            pause *= 2;
        }
        Ok(None)
    }

    /// The next bytes, or why the body broke.
    async fn piece(&mut self) -> Result<Result<Bytes, (Cause, String)>, StoreError> {
        let mut body = match self.body.take() {
            Some(body) => body,
            None => self.resume().boxed().await?,
        };
        loop {
            let limit = self.bucket.line().attempt_timeout();
            let Ok(next) = tokio::time::timeout(limit, body.next()).await else {
                return Ok(Err((Cause::Timeout, format!("nothing came for {}", seconds(limit)))));
            };
            match next {
                Some(Ok(bytes)) if bytes.is_empty() => {}
                Some(Ok(bytes)) => {
                    self.body = Some(body);
                    return Ok(Ok(bytes));
                }
                Some(Err(error)) => return Ok(Err((Cause::Transport, error.to_string()))),
                None => return Ok(Err((Cause::Transport, "the body ended early".to_owned()))),
            }
        }
    }

    /// The rest of the body: the object never changes, so that it is the same one.
    async fn resume(&self) -> Result<ByteStream, StoreError> {
        telemetry::count_resumed();
        let answer = request(&self.bucket, &self.name, Some(self.left.clone())).await?;
        let answer = answer.ok_or_else(|| StoreError::Unavailable {
            reason: format!("{} was deleted while it was read", self.name),
        })?;
        Ok(answer.body)
    }

    /// Counts bytes in, and checks the whole with the last of them: who gets those knows that all are right.
    fn take(&mut self, bytes: Bytes) -> Result<Bytes, StoreError> {
        telemetry::count_received(bytes.len());
        if bytes.len() as u64 > self.remaining() {
            return Err(self.corrupt(format!(
                "the server sent more than the {} bytes that were left",
                self.remaining()
            )));
        }
        self.left.start += bytes.len() as u64;
        if let Some((announced, sum)) = &mut self.sum {
            sum.update(&bytes);
            if self.left.is_empty() && sum.finish() != *announced {
                let detail =
                    format!("its CRC-32C is {}, and was {announced} when it was written", sum.finish());
                return Err(self.corrupt(detail));
            }
        }
        Ok(bytes)
    }

    fn corrupt(&self, detail: String) -> StoreError {
        StoreError::Corrupt { what: what(&self.bucket, &self.name), detail }
    }
}

/// An object in the words of an error.
fn what(bucket: &Bucket, name: &str) -> String {
    format!("object {name} of bucket {}", bucket.bucket())
}

/// Reads an object into memory, if its length is one of these: nothing is allocated for another.
pub(super) async fn read_whole(
    bucket: &Bucket,
    name: &str,
    lengths: RangeInclusive<u64>,
) -> Result<Option<Vec<u8>>, StoreError> {
    let mut made = 1;
    loop {
        match read_once(bucket, name, &lengths).await {
            // Damaged on its way, perhaps.
            Err(StoreError::Corrupt { detail, .. }) if made < WHOLE_ATTEMPTS => {
                telemetry::count_retry("get_whole", Cause::Damaged.name());
                tracing::warn!(object = name, detail, "an object came damaged; it is read again");
                made += 1;
            }
            result => return result,
        }
    }
}

async fn read_once(
    bucket: &Bucket,
    name: &str,
    lengths: &RangeInclusive<u64>,
) -> Result<Option<Vec<u8>>, StoreError> {
    let Some(mut reader) = BucketReader::open(bucket.clone(), name.to_owned(), None).await? else {
        return Ok(None);
    };
    let length = reader.remaining();
    if !lengths.contains(&length) {
        return Err(other_length(what(bucket, name), length, lengths));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
    while let Some(piece) = reader.next().await? {
        bytes.extend_from_slice(&piece);
    }
    Ok(Some(bytes))
}

/// Asks for an object, or for a range of it, which is not empty; `None` if there is none.
async fn request(
    bucket: &Bucket,
    name: &str,
    range: Option<Range<u64>>,
) -> Result<Option<GetObjectOutput>, StoreError> {
    let asked = bucket.line().call("get", || async {
        let header = range.as_ref().map(|range| format!("bytes={}-{}", range.start, range.end - 1));
        let request = bucket.client().get_object().bucket(bucket.bucket()).key(name).set_range(header);
        // Asks for the checksum without having the SDK compare it: it would know nothing of a body that was
        // continued.
        let request = request.customize().mutate_request(|request| {
            request.headers_mut().insert("x-amz-checksum-mode", "ENABLED");
        });
        let answer = request.send().await.map_err(Failure::of)?;
        match &range {
            Some(range) => fits(&answer, range).map(|()| answer),
            None => Ok(answer),
        }
    });
    match asked.await? {
        Ok(answer) => Ok(Some(answer)),
        Err(failure) if failure.is_missing() => Ok(None),
        Err(failure) if failure.is("InvalidRange") => Err(StoreError::Corrupt {
            what: what(bucket, name),
            detail: "it is shorter than what is recorded of it".to_owned(),
        }),
        // No attempt will do it, until somebody has it brought back.
        Err(failure) if failure.is(ARCHIVED) => Err(StoreError::Unreadable {
            what: what(bucket, name),
            detail: format!(
                "it was moved to a storage class that is not read at once ({ARCHIVED}): restore it by S3's means, copy it \
                 over itself in a class that is, and remove the rule that moves objects there"
            ),
        }),
        Err(failure) => Err(failure.into_error(&format!("get of {name}"))),
    }
}

/// Whether the answer has the range that was asked for.
fn fits(answer: &GetObjectOutput, range: &Range<u64>) -> Result<(), Failure> {
    let begins = format!("bytes {}-{}/", range.start, range.end - 1);
    match answer.content_range() {
        Some(found) if found.starts_with(&begins) => Ok(()),
        Some(found) => Err(Failure::Corrupt(format!("the server has {found} where {begins} was asked for"))),
        None => Err(Failure::Corrupt("the server does not know ranges".to_owned())),
    }
}
