//! The bytes of an upload as one stream, whatever pieces they lie in.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use darkroom_store::StoreError;
use darkroom_store::model::uploads::{self, Piece};
use darkroom_store::model::{ContentHash, UploadId};
use darkroom_store::objects::ObjectReader;
use futures_util::{StreamExt, stream};

use crate::error::{BodyError, IngestError};
use crate::stages::House;
use crate::stages::decoder::see_store;
use crate::stages::ingestor::Body;

/// Pieces looked up at once.
const PAGE: usize = 256;

/// Reads the pieces of one upload, one after the other, and compares each with its digest.
pub(super) struct PieceReader {
    house: House,
    id: UploadId,
    rest: Range<u64>,
    ahead: VecDeque<Piece>,
    reading: Option<Reading>,
}

struct Reading {
    piece: Piece,
    reader: ObjectReader,
    hasher: blake3::Hasher,
}

impl PieceReader {
    /// Over the bytes of `range`, which begins and ends where pieces do.
    pub(super) fn new(house: House, id: UploadId, range: Range<u64>) -> Self {
        Self { house, id, rest: range, ahead: VecDeque::new(), reading: None }
    }

    /// The next bytes, `None` at the end.
    ///
    /// # Errors
    /// Those of the stores. [`StoreError::Corrupt`] where a piece is missing or is not what was put.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        loop {
            if self.reading.is_none() && !self.open().await? {
                return Ok(None);
            }
            let Some(reading) = &mut self.reading else { continue };
            if let Some(bytes) = reading.reader.next().await? {
                reading.hasher.update(&bytes);
                return Ok(Some(bytes));
            }
            let Reading { piece, hasher, .. } = self.reading.take().ok_or(StoreError::Closed)?;
            if ContentHash::from(hasher.finalize()) != piece.hash {
                return Err(lost(&piece, "is not what was put"));
            }
            self.rest.start = piece.end();
        }
    }

    /// Opens the next piece; false at the end.
    async fn open(&mut self) -> Result<bool, StoreError> {
        if self.rest.is_empty() {
            return Ok(false);
        }
        if self.ahead.is_empty() {
            let (id, from) = (self.id, self.rest.start);
            let list = |tx| async move { uploads::pieces(&tx, id, from, PAGE).await };
            self.ahead = self.house.metadata.read("list pieces", list).await?.into();
        }
        let gap = || StoreError::Corrupt {
            what: format!("upload {}", self.id),
            detail: format!("it has no piece at byte {}", self.rest.start),
        };
        let piece = self.ahead.pop_front().ok_or_else(gap)?;
        if piece.start != self.rest.start {
            return Err(gap());
        }
        let objects = &self.house.objects;
        let mut reader = objects.get(&piece.object, None).await?;
        if reader.is_none() {
            see_store(&self.house).await?;
            // It may have come back in between.
            reader = objects.get(&piece.object, None).await?;
        }
        let reader = reader.ok_or_else(|| lost(&piece, "is not in the object store"))?;
        self.reading = Some(Reading { piece, reader, hasher: blake3::Hasher::new() });
        Ok(true)
    }
}

fn lost(piece: &Piece, what: &str) -> StoreError {
    StoreError::Corrupt { what: format!("piece {}", piece.object), detail: format!("it {what}") }
}

/// What it means for an upload that its bytes could not be read: they are lost only if the store that should have them is
/// there and says so.
pub(super) async fn judged(house: &House, id: UploadId, error: StoreError) -> IngestError {
    match &error {
        StoreError::Corrupt { .. } => {}
        StoreError::Unreadable { .. } => {
            if let Err(away) = see_store(house).await {
                return away.into();
            }
        }
        _ => return error.into(),
    }
    tracing::error!(upload = %id, %error, "stored bytes of an upload are lost");
    IngestError::BytesLost
}

/// Why a [`body`] broke off.
#[derive(Clone, Default)]
pub(super) struct Failure(Arc<Mutex<Option<Broken>>>);

/// What was wrong with the stored bytes.
pub(super) enum Broken {
    /// They could not be read.
    Store(StoreError),
    /// They are not what the client announced.
    OtherContent,
}

impl Failure {
    fn note(&self, why: Broken) -> BodyError {
        let what = match &why {
            Broken::Store(error) => error.to_string(),
            Broken::OtherContent => "the bytes are not those that were announced".to_owned(),
        };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
        BodyError::Broken(what)
    }

    /// What was noted.
    pub(super) fn take(&self) -> Option<Broken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The bytes as a body for the Ingestor, and where to look if it breaks. With `announced`, the last bytes are followed by
/// an error if the whole is something else.
pub(super) fn body(reader: PieceReader, announced: Option<ContentHash>) -> (Body, Failure) {
    let failure = Failure::default();
    let state = (reader, announced.map(|hash| (hash, blake3::Hasher::new())), failure.clone());
    let stream = stream::unfold(Some(state), |state| async move {
        let (mut reader, mut whole, failure) = state?;
        match reader.next().await {
            Ok(Some(bytes)) => {
                if let Some((_, hasher)) = &mut whole {
                    hasher.update(&bytes);
                }
                Some((Ok(bytes), Some((reader, whole, failure))))
            }
            Ok(None) => {
                let other = whole.is_some_and(|(hash, hasher)| ContentHash::from(hasher.finalize()) != hash);
                other.then(|| (Err(failure.note(Broken::OtherContent)), None))
            }
            Err(error) => Some((Err(failure.note(Broken::Store(error))), None)),
        }
    });
    (stream.boxed(), failure)
}
