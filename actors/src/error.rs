//! Why an upload was not accepted, and why the pipeline could not start.

use std::time::Duration;

use darkroom_media::{MediaError, SourceFormat};
use darkroom_store::StoreError;
use darkroom_store::model::batches::NotAdmitted;
use darkroom_store::model::posts;
use darkroom_store::model::usage::{Quota, Usage};

/// Why a body ended before its end.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// Nothing came for too long.
    #[error("no byte of the body came for {} s", after.as_secs_f32())]
    Stalled {
        /// For how long.
        after: Duration,
    },
    /// It came more slowly than it may.
    #[error("the body came at less than {rate_min} bytes per second over {} s", over.as_secs_f32())]
    TooSlow {
        /// Bytes per second that must come.
        rate_min: u64,
        /// The time over which that is reckoned.
        over: Duration,
    },
    /// The client closed the connection or broke the protocol.
    #[error("the body broke off: {0}")]
    Broken(String),
    /// A part of a multipart body is not as it must be.
    #[error("the multipart body is malformed: {0}")]
    Malformed(String),
    /// More came than was allowed.
    #[error("the body is larger than {limit} bytes")]
    TooLarge {
        /// What is allowed.
        limit: u64,
    },
    /// Other bytes came than a digest announced.
    #[error("{header} announces {announced}, and what came has {found}")]
    Mismatch {
        /// Where the digest was announced.
        header: &'static str,
        /// The digest, as it is written there.
        announced: String,
        /// That of the bytes.
        found: String,
    },
    /// It is read from the object store, which did not give it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why an upload was not accepted. Nothing of it is left behind.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// The bytes are no photo that can be processed.
    #[error(transparent)]
    Media(#[from] MediaError),
    /// The bytes are a photo, of another type than was declared.
    #[error("the body is {found}, but its Content-Type says {declared:?}")]
    TypeMismatch {
        /// By the client's word.
        declared: String,
        /// By the bytes.
        found: SourceFormat,
    },
    /// Its owner would have more than it may.
    #[error("the photo is more than its owner's quota allows")]
    OverQuota {
        /// What the owner has without it.
        used: Usage,
        /// What it may have.
        quota: Quota,
    },
    /// The photo needs more memory than there is for all of them.
    #[error(
        "the photo is {width}×{height} pixels of a kind that takes {} MiB to process, and there are {} MiB; send a \
         smaller one, or one of another format",
        needed >> 20, budget >> 20
    )]
    TooExpensive {
        /// Pixels per row, as shown.
        width: u32,
        /// Rows, as shown.
        height: u32,
        /// Bytes it would hold.
        needed: u64,
        /// The pixel budget.
        budget: u64,
    },
    /// What was put into the object store is not what was announced; a sentence that says what is other.
    #[error("{0}")]
    NotAnnounced(String),
    /// The direct upload was given up, refused, or has expired meanwhile.
    #[error("the upload was given up or has expired before it was completed")]
    UploadOver,
    /// The body did not arrive.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// The batch that it names does not take it, or no longer does.
    #[error(transparent)]
    NotAdmitted(#[from] NotAdmitted),
    /// Its owner has a photo with these bytes, which cannot be shown in the post that was wished for: why not.
    #[error("you have this photo already, and it cannot be shown in the post that `publish` asks for")]
    NotPublished(Box<posts::Created>),
    /// The store could not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The idempotency key that it came under belongs to other bytes.
    #[error("another photo was uploaded under this idempotency key")]
    KeyReused,
    /// The bytes are not those that the client announced.
    #[error("the bytes have another BLAKE3 than was announced")]
    OtherContent,
    /// Stored bytes of a resumable upload are missing or damaged.
    #[error("stored bytes of the upload are lost")]
    BytesLost,
    /// The resumable upload that it was to end was terminated meanwhile, or its photo was deleted.
    #[error("the upload was terminated")]
    UploadGone,
    /// The Ingestor is being restarted.
    #[error("the ingest pipeline is being restarted")]
    Restarting,
}

impl IngestError {
    /// Whether the same bytes would fare no better another time.
    pub fn is_final(&self) -> bool {
        match self {
            Self::Media(_)
            | Self::TypeMismatch { .. }
            | Self::TooExpensive { .. }
            | Self::OtherContent
            | Self::BytesLost
            | Self::NotAnnounced(_)
            | Self::UploadOver
            | Self::NotAdmitted(_)
            | Self::NotPublished(_)
            | Self::KeyReused
            | Self::Body(BodyError::TooLarge { .. }) => true,
            Self::Body(_) | Self::Store(_) | Self::OverQuota { .. } | Self::UploadGone | Self::Restarting => {
                false
            }
        }
    }
}

/// Why the pipeline could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The options contradict each other.
    #[error("{0}")]
    Options(String),
    /// The store could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No thread, or an actor that did not start.
    #[error("could not start {what}: {why}")]
    Spawn {
        /// What.
        what: &'static str,
        /// The reason.
        why: String,
    },
}
