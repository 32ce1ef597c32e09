//! What travels between the stages, in the order in which a photo becomes it.
//!
//! Each carries the envelope and the permits for exactly the memory that it holds. Dropping one anywhere
//! gives everything back: the slot, the permits, the durable job, the reserved keys.

use std::sync::Arc;
use std::time::Instant;

use darkroom_media::{Preset, Probe};
use darkroom_store::model::photos::{self, Failure, Photo};

use crate::held::HeldJob;
use crate::keys::ReservedKey;
use crate::permits::Permit;

/// What every message about one photo has in common.
#[derive(Debug)]
pub(crate) struct Envelope {
    pub(crate) photo: Photo,
    /// The durable job, held by this process.
    pub(crate) held: HeldJob,
    /// The presets to make.
    pub(crate) wanted: Arc<[Preset]>,
    /// When this process took the photo up.
    pub(crate) taken_up: Instant,
    /// The place in memory.
    pub(crate) _slot: Permit,
}

/// Accepted for processing: its memory is reserved, nothing is read yet.
#[derive(Debug)]
pub(crate) struct AcceptedPhoto {
    pub(crate) envelope: Envelope,
    pub(crate) probe: Probe,
    /// For the original's bytes.
    pub(crate) body: Permit,
    /// For everything until the variants are encoded.
    pub(crate) pixels: Permit,
}

/// Decoded at the size that serves its largest variant.
pub(crate) struct DecodedPhoto {
    pub(crate) envelope: Envelope,
    pub(crate) frame: darkroom_media::DecodedPhoto,
    pub(crate) pixels: Permit,
}

/// Every wanted variant, encoded and in memory.
#[derive(Debug)]
pub(crate) struct EncodedPhoto {
    pub(crate) envelope: Envelope,
    pub(crate) variants: Vec<darkroom_media::Variant>,
    pub(crate) looks: darkroom_media::Looks,
    /// Why a part of the picture is missing, if one is.
    pub(crate) damage: Option<String>,
    /// What is left of the pixel permit: the encoded bytes.
    pub(crate) encoded: Permit,
}

/// Every wanted variant, durable in the object store, referenced by nothing.
#[derive(Debug)]
pub(crate) struct StoredPhoto {
    pub(crate) envelope: Envelope,
    pub(crate) made: photos::Made,
    pub(crate) keys: Vec<ReservedKey>,
}

/// A photo whose processing ended before its variants were stored.
#[derive(Debug)]
pub(crate) struct FailedPhoto {
    pub(crate) envelope: Envelope,
    pub(crate) why: Fault,
}

/// Why processing ended.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The photo's own: trying again would end the same way.
    Photo(Failure),
    /// Not the photo's, or not known to be: it is not tried again by itself, but an operator may.
    GivenUp(Failure),
    /// The stored original is not what was uploaded, in the words for the log. It may have been damaged on its way: it is
    /// read again, and counts as an attempt, since nothing else would ever end it.
    Damaged(String),
    /// The store knows that it cannot give the original (a bad sector, an archive), in the words for the log. As for one
    /// that is damaged, nothing else would ever end it.
    Unreadable(String),
    /// Processing panicked at this stage: it may be tried again, and counts as an attempt.
    Panicked {
        /// Where.
        stage: &'static str,
        /// The panic's message, for the log.
        message: String,
    },
    /// Not the photo's (the store, a lost lease): back to the queue, without counting.
    Elsewhere(String),
}

impl Fault {
    /// The photo's own fault, in the media engine's words.
    pub(crate) fn media(error: &darkroom_media::MediaError) -> Self {
        Self::Photo(Failure { code: error.code().to_owned(), detail: error.to_string() })
    }
}
