//! Why a direct upload came to nothing.

use darkroom_store::StoreError;
use darkroom_store::model::photos::Failure;
use darkroom_store::model::{PhotoId, UploadId};

use crate::error::{BodyError, IngestError};

/// Why a direct upload was not opened, or is not a photo.
#[derive(Debug, thiserror::Error)]
pub enum DirectError {
    /// The objects lie in files, to which nobody can send but the daemon.
    #[error("the photos of this daemon are not kept in a bucket, so that nothing can be sent there directly")]
    NoBucket,
    /// There is none of this id.
    #[error("there is no direct upload {0}: it was forgotten, or the id is wrong")]
    Unknown(UploadId),
    /// It was given up, or has expired.
    #[error("the direct upload {id} is {state}: announce another one")]
    Over {
        /// Which.
        id: UploadId,
        /// In one word.
        state: &'static str,
    },
    /// Somebody else is finishing it.
    #[error("the direct upload {0} is being finished by somebody else")]
    Busy(UploadId),
    /// It is not there yet, or not all of it; a sentence that says what is missing.
    #[error("{0}")]
    Incomplete(String),
    /// It was looked at and refused, for good.
    #[error("{}", .0.detail)]
    Refused(Failure),
    /// It was a photo, which was deleted.
    #[error("the photo {0} was deleted")]
    PhotoGone(PhotoId),
    /// The owner has as many open as may be.
    #[error("{open} direct uploads are open, and at most {max} may be: complete or give up some")]
    TooMany {
        /// How many.
        open: u64,
        /// What is allowed.
        max: u64,
    },
    /// The owner's open ones have as many bytes as they may.
    #[error(
        "{open} bytes are announced and not sent yet, and at most {max} may be: complete or give up some"
    )]
    TooManyBytes {
        /// How many.
        open: u64,
        /// What is allowed.
        max: u64,
    },
    /// It has no such part.
    #[error("the direct upload {id} has {count} parts: ask for those from 1 to {count}")]
    NoSuchPart {
        /// Which.
        id: UploadId,
        /// How many there are.
        count: u64,
    },
    /// It could not be taken in now.
    #[error(transparent)]
    Ingest(#[from] IngestError),
}

impl From<StoreError> for DirectError {
    fn from(error: StoreError) -> Self {
        Self::Ingest(error.into())
    }
}

/// Why these bytes are refused for good, in words for the record; `None` where another attempt may succeed.
pub fn refusal(error: &IngestError) -> Option<Failure> {
    let code = match error {
        IngestError::Media(error) => error.code(),
        IngestError::TypeMismatch { .. } => "type-mismatch",
        IngestError::TooExpensive { .. } => "image-too-large",
        IngestError::Body(BodyError::TooLarge { .. }) => "body-too-large",
        IngestError::NotAnnounced(_) => "direct-upload-mismatch",
        // The bytes may be good, and be completed without the batch or with another.
        IngestError::NotAdmitted(_)
        | IngestError::NotPublished(_)
        | IngestError::UploadOver
        | IngestError::OverQuota { .. }
        | IngestError::Body(_)
        | IngestError::Store(_)
        | IngestError::KeyReused
        | IngestError::OtherContent
        | IngestError::BytesLost
        | IngestError::UploadGone
        | IngestError::Restarting => return None,
    };
    Some(Failure { code: code.to_owned(), detail: error.to_string() })
}
