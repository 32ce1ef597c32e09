//! What one request adds to an upload: its body becomes pieces, and each moves the offset.

use std::time::Duration;

use bytes::Bytes;
use darkroom_media::Prober;
use darkroom_store::StoreError;
use darkroom_store::model::jobs::Lease as Holding;
use darkroom_store::model::uploads::{self, Append, Appended, Kind, Piece, Upload};
use darkroom_store::model::{LeaseId, Timestamp, UploadId};
use darkroom_store::objects::{ObjectKind, ObjectWriter};
use futures_util::StreamExt;

use super::fold::fold;
use super::reader::{self, PieceReader};
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

    /// Which lease this is.
    pub fn lease(&self) -> LeaseId {
        self.holding.id
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
    // What is wrong with bytes whose digest is not compared yet: they may not be those that the client sent.
    let (mut wrong, mut received): (Option<AppendError>, u64) = (None, 0);
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
                received += bytes.len() as u64;
                if let Some(check) = &mut check {
                    check.update(&bytes);
                }
                if wrong.is_some() {
                    receiver.check_room(received)?;
                    continue;
                }
                match receiver.take(bytes).await {
                    Err(error @ AppendError::Refused(_)) if check.is_some() => wrong = Some(error),
                    Err(AppendError::TooManyPieces(_)) => return Err(receiver.give_up().await),
                    taken => taken?,
                }
            }
        }
    };
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
    if let Some(wrong) = wrong {
        return Err(wrong);
    }
    let upload = receiver.finish(matches!(end, End::Whole)).await?;
    drop(place);
    match end {
        End::Whole if receiver.has_other_length() => Err(AppendError::OtherLength(Box::new(upload))),
        End::Whole => Ok(upload),
        End::Cut(error) => Err(AppendError::Cut(Box::new(upload), error)),
        End::Stopped => Err(AppendError::Stopped(Box::new(upload))),
    }
}

impl Receiver {
    /// Takes bytes of the body.
    async fn take(&mut self, mut bytes: Bytes) -> Result<(), AppendError> {
        self.check_room(self.at - self.from + bytes.len() as u64)?;
        self.look.feed(&bytes)?;
        let piece_bytes = self.house.options.uploads.piece_bytes;
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

    /// Whether the upload may have so many bytes of this request.
    fn check_room(&self, bytes: u64) -> Result<(), AppendError> {
        let limit = self.length.unwrap_or(u64::MAX).min(self.house.options.upload_bytes_max);
        if self.from + bytes > limit { Err(AppendError::TooLong { limit }) } else { Ok(()) }
    }

    /// The piece that is being written: a new one begins with the bytes of those that it takes in.
    async fn open(&mut self) -> Result<&mut Writing, AppendError> {
        if self.writing.is_none() {
            if self.upload.pieces + self.put.len() as u64 >= self.house.options.uploads.pieces_max {
                return Err(AppendError::TooManyPieces(Box::new(self.upload.clone())));
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
                while let Some(bytes) = read(&self.house, &mut reader, self.upload.id).await? {
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
            expires: now.after(self.age_max()),
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

    /// No more can be added: gives the lease back, and tells where the upload stands.
    async fn give_up(&mut self) -> AppendError {
        // What is not compared with its digest is not kept; dropped keys are swept.
        self.put.clear();
        match self.commit(false, true).await {
            Ok(()) => AppendError::TooManyPieces(Box::new(self.upload.clone())),
            Err(error) => error,
        }
    }

    /// How long the upload stays if nothing more comes.
    fn age_max(&self) -> Duration {
        let options = &self.house.options.uploads;
        if self.at == 0 { options.expire_empty } else { options.expire }
    }

    /// Whether the client says that these are the last bytes, and there are not as many as it announced.
    fn has_other_length(&self) -> bool {
        self.last == Last::Yes && self.length.is_some_and(|length| length != self.at)
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
            let is_last = whole && self.last == Last::Yes && !self.has_other_length();
            self.commit(self.has_length() || is_last, true).await?;
        }
        Ok(self.upload.clone())
    }
}

/// Bytes that came before. Where they are lost the upload can come to nothing.
async fn read(house: &House, reader: &mut PieceReader, id: UploadId) -> Result<Option<Bytes>, AppendError> {
    match reader.next().await {
        Ok(bytes) => Ok(bytes),
        Err(error) => Err(match reader::judged(house, id, error).await {
            IngestError::Store(error) => AppendError::Store(error),
            lost => AppendError::Refused(Box::new(lost)),
        }),
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
        while let Some(bytes) = read(house, &mut reader, upload.id).await? {
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
