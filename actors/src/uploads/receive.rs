//! What one request adds to an upload: its body becomes pieces, and each moves the offset.

use bytes::Bytes;
use darkroom_media::Prober;
use darkroom_store::StoreError;
use darkroom_store::model::Timestamp;
use darkroom_store::model::jobs::Lease as Holding;
use darkroom_store::model::uploads::{self, Append, Appended, Kind, Piece, Upload};
use darkroom_store::objects::{ObjectKind, ObjectWriter};
use futures_util::StreamExt;

use super::fold::fold;
use super::reader::PieceReader;
use super::registry::Place;
use super::{AppendError, Chunk, Last};
use crate::error::{BodyError, IngestError};
use crate::faults::Point;
use crate::keys::ReservedKey;
use crate::stages::House;
use crate::stages::ingestor::check_type;

/// Stored bytes that are read again so that what follows them can be probed. Whatever has not shown its size by then is
/// probed at its end.
const PROBED_BYTES_MAX: u64 = 1 << 20;

/// An upload that this request may append to.
pub struct Held {
    pub(super) upload: Upload,
    /// Its last pieces.
    pub(super) tail: Vec<Piece>,
    pub(super) holding: Holding,
    pub(super) place: Place,
}

impl Held {
    /// The upload as it stood when the lease was taken.
    pub fn upload(&self) -> &Upload {
        &self.upload
    }

    /// Resolves when a later request takes the upload over, or the daemon ends: whoever holds it has to let go then.
    pub async fn stopped(&self) {
        self.place.stopping().cancelled().await;
    }
}

/// How the body of a request ended.
enum End {
    Whole,
    Cut(BodyError),
    Stopped,
}

/// A piece that is being written.
struct Writing {
    writer: ObjectWriter,
    key: ReservedKey,
    start: u64,
    bytes: u64,
}

/// One request's work.
pub(super) struct Receiver {
    house: House,
    upload: Upload,
    holding: Holding,
    look: Look,
    /// Older pieces that the first new one repeats, and that are replaced once it is there.
    folded: Vec<Piece>,
    writing: Option<Writing>,
    /// Written and not committed.
    put: Vec<(Piece, ReservedKey)>,
    /// Where the request began.
    from: u64,
    /// Offset after the last byte that was written.
    at: u64,
    length: Option<u64>,
    last: Last,
    /// Nothing is committed before all was compared with its checksum.
    all_or_nothing: bool,
    /// Everything that the upload is to have is committed, and the lease is given back.
    ended: bool,
}

/// Appends the body of a request.
pub(super) async fn receive(house: House, held: Held, chunk: Chunk) -> Result<Upload, AppendError> {
    let Held { upload, tail, holding, place } = held;
    let Chunk { mut body, bytes, mut check, length, last } = chunk;
    let stop = place.stopping();
    let folded = tail[tail.len() - fold(&tail, bytes)..].to_vec();
    let mut receiver = Receiver {
        look: Look::new(&house, &upload).await?,
        from: upload.offset,
        at: upload.offset,
        folded,
        writing: None,
        put: Vec::new(),
        length: upload.length.or(length),
        last,
        all_or_nothing: check.is_some(),
        ended: false,
        house,
        upload,
        holding,
    };
    let end = loop {
        let next = tokio::select! {
            biased;
            () = stop.cancelled() => break End::Stopped,
            next = body.next() => next,
        };
        match next {
            None => break End::Whole,
            Some(Err(error)) => break End::Cut(error),
            Some(Ok(bytes)) => {
                if let Some(check) = &mut check {
                    check.update(&bytes);
                }
                receiver.take(bytes).await?;
            }
        }
    };
    let received = receiver.at - receiver.from;
    // A connection that was given up may end its body early without saying so.
    let end = match (end, bytes) {
        (End::Whole, Some(expected)) if received < expected => {
            End::Cut(BodyError::Broken(format!("{received} of {expected} bytes came")))
        }
        (end, _) => end,
    };
    if let Some(check) = check {
        match end {
            End::Whole => {
                if let Some(error) = check.mismatch() {
                    // Dropped keys are swept; the offset is where it was.
                    return Err(AppendError::OtherBytes(error));
                }
            }
            End::Cut(error) => return Err(AppendError::Cut(Box::new(receiver.upload), error)),
            End::Stopped => return Err(AppendError::Stopped(Box::new(receiver.upload))),
        }
    }
    let upload = receiver.finish(matches!(end, End::Whole)).await?;
    drop(place);
    match end {
        End::Whole => Ok(upload),
        End::Cut(error) => Err(AppendError::Cut(Box::new(upload), error)),
        End::Stopped => Err(AppendError::Stopped(Box::new(upload))),
    }
}

impl Receiver {
    /// Takes bytes of the body.
    async fn take(&mut self, mut bytes: Bytes) -> Result<(), AppendError> {
        let options = &self.house.options;
        let limit = self.length.unwrap_or(u64::MAX).min(options.upload_bytes_max);
        if self.at + bytes.len() as u64 > limit {
            return Err(AppendError::TooLong { limit });
        }
        self.look.feed(&bytes)?;
        let piece_bytes = options.uploads.piece_bytes;
        while !bytes.is_empty() {
            let writing = self.open().await?;
            let room = piece_bytes.saturating_sub(writing.bytes).max(1);
            let part = bytes.split_to(bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX)));
            let count = part.len() as u64;
            writing.writer.write(part).await?;
            writing.bytes += count;
            let is_full = writing.bytes >= piece_bytes;
            self.at += count;
            metrics::counter!("darkroom_upload_received_bytes_total").increment(count);
            if is_full {
                self.close().await?;
                if !self.all_or_nothing {
                    let is_all = self.has_length();
                    self.commit(is_all, is_all).await?;
                }
            }
        }
        Ok(())
    }

    /// The piece that is being written: a new one begins with the bytes of those that it takes in.
    async fn open(&mut self) -> Result<&mut Writing, AppendError> {
        if self.writing.is_none() {
            if self.upload.pieces + self.put.len() as u64 >= self.house.options.uploads.pieces_max {
                return Err(AppendError::TooManyPieces);
            }
            let key = self.house.keys.take(ObjectKind::Upload).await?;
            let writer = self.house.objects.begin_put(key.key()).await?;
            let mut writing = Writing { writer, key, start: self.at, bytes: 0 };
            // Only the first takes any in.
            if self.put.is_empty()
                && let Some(first) = self.folded.first()
            {
                writing.start = first.start;
                let range = first.start..self.at;
                let mut reader = PieceReader::new(self.house.clone(), self.upload.id, range);
                while let Some(bytes) = reader.next().await? {
                    writing.bytes += bytes.len() as u64;
                    writing.writer.write(bytes).await?;
                }
                metrics::counter!("darkroom_upload_folded_bytes_total").increment(writing.bytes);
            }
            self.writing = Some(writing);
        }
        self.writing.as_mut().ok_or(AppendError::Store(StoreError::Closed))
    }

    /// Makes the piece durable that is being written, if one is.
    async fn close(&mut self) -> Result<(), AppendError> {
        let Some(Writing { writer, key, start, bytes }) = self.writing.take() else { return Ok(()) };
        let (key, receipt) = key.finish(writer).await?;
        let piece = Piece { start, bytes, object: key.key().clone(), hash: receipt.hash };
        self.house.faults.pass(Point::PieceStored, 0);
        self.put.push((piece, key));
        metrics::counter!("darkroom_upload_pieces_total").increment(1);
        Ok(())
    }

    /// What was put is the upload's from now on.
    async fn commit(&mut self, complete: bool, release: bool) -> Result<(), AppendError> {
        let now = Timestamp::now();
        let (pieces, keys): (Vec<_>, Vec<_>) = std::mem::take(&mut self.put).into_iter().unzip();
        let folded = if pieces.is_empty() { Vec::new() } else { std::mem::take(&mut self.folded) };
        let append = &Append {
            id: self.upload.id,
            lease: self.holding,
            epoch: self.house.epoch,
            now,
            expires: now.after(self.house.options.uploads.expire),
            folded: &folded,
            pieces: &pieces,
            length: self.length,
            recognized: self.look.is_recognized(),
            complete,
            release,
        };
        let run = |tx| async move { uploads::append(&tx, append).await };
        match self.house.metadata.transact("append to upload", run).await? {
            Appended::Done(upload) => {
                keys.into_iter().for_each(ReservedKey::referenced);
                self.upload = upload;
                self.ended = release;
                self.house.faults.pass(Point::PieceCommitted, 0);
                Ok(())
            }
            Appended::LeaseLost => Err(AppendError::LeaseLost),
            Appended::IntentGone => {
                keys.into_iter().for_each(ReservedKey::swept);
                Err(AppendError::Store(StoreError::Unavailable {
                    reason: "the bytes took so long that their place in the object store was swept; send them again"
                        .to_owned(),
                }))
            }
        }
    }

    /// Whether the upload ends by its length, and that is reached. Then it is complete whatever else becomes of the
    /// request: a client that finds it there takes it to be.
    fn has_length(&self) -> bool {
        self.last == Last::AtLength && self.length == Some(self.at)
    }

    /// Commits the rest, and gives the lease back. `whole` is whether the body came to its end.
    async fn finish(&mut self, whole: bool) -> Result<Upload, AppendError> {
        self.close().await?;
        if !self.ended {
            self.commit(self.has_length() || whole && self.last == Last::Yes, true).await?;
        }
        Ok(self.upload.clone())
    }
}

/// Looks at the first bytes: what cannot be a photo is refused as soon as they show it.
enum Look {
    /// Nothing is known yet.
    Probing { prober: Prober, declared: Option<String>, typed: bool, seen: u64 },
    /// There is nothing to look for here: it was found before, comes later, or is a part of something else.
    Not { recognized: bool },
}

impl Look {
    async fn new(house: &House, upload: &Upload) -> Result<Self, AppendError> {
        if upload.recognized || upload.kind != Kind::Plain || upload.offset > PROBED_BYTES_MAX {
            return Ok(Self::Not { recognized: upload.recognized });
        }
        let prober = Prober::new(house.options.limits.clone());
        let declared = upload.wishes.declared_type.clone();
        let mut look = Self::Probing { prober, declared, typed: false, seen: 0 };
        let mut reader = PieceReader::new(house.clone(), upload.id, 0..upload.offset);
        while let Some(bytes) = reader.next().await? {
            look.feed(&bytes)?;
        }
        Ok(look)
    }

    fn feed(&mut self, bytes: &[u8]) -> Result<(), AppendError> {
        let Self::Probing { prober, declared, typed, seen } = self else { return Ok(()) };
        let refused = |error: IngestError| AppendError::Refused(Box::new(error));
        prober.feed(bytes).map_err(|error| refused(error.into()))?;
        *seen += bytes.len() as u64;
        if let Some(found) = prober.format().filter(|_| !*typed) {
            check_type(declared.as_deref(), found).map_err(refused)?;
            *typed = true;
        }
        Ok(())
    }

    fn is_recognized(&self) -> bool {
        match self {
            Self::Probing { prober, seen, .. } => prober.size_known() || *seen > PROBED_BYTES_MAX,
            Self::Not { recognized } => *recognized,
        }
    }
}
