//! The Ingestor: streams a body to the object store while it probes and hashes it, and makes the photo
//! durable with its job in one transaction.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use darkroom_media::{Prober, SourceFormat};
use darkroom_store::StoreError;
use darkroom_store::metadata::Transaction;
use darkroom_store::model::direct::{self, Standing};
use darkroom_store::model::idempotency::PhotoKey;
use darkroom_store::model::jobs::{self, Job, Kind};
use darkroom_store::model::photos::{self, Created, Creation, Fields, Original, Photo, Seen, State};
use darkroom_store::model::posts::Draft;
use darkroom_store::model::uploads::Ending;
use darkroom_store::model::visibility::PhotoVisibility;
use darkroom_store::model::{BatchId, ContentHash, JobId, LeaseId, OwnerId, PhotoId, Timestamp, UploadId};
use darkroom_store::objects::{ObjectKind, ObjectWriter, Receipt};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use sha2::{Digest, Sha256};
use tokio::sync::oneshot;

use super::decoder::DecoderMessage;
use super::{House, send, start};
use crate::direct::hex;
use crate::error::{BodyError, IngestError};
use crate::faults::Point;
use crate::keys::ReservedKey;
use crate::line::{Line, StageCounters};
use crate::permits::{Lease, Permit, StagePlace};
use crate::work::{AcceptedPhoto, Envelope};

/// How often an upload whose bytes are stored already looks for them: again only if they have found another place in
/// between.
const LOOKS_MAX: u32 = 8;

/// The bytes of one photo as they arrive. The stream ends a body that stalls with an error by itself.
pub type Body = BoxStream<'static, Result<Bytes, BodyError>>;

/// One photo to take in.
pub struct Upload {
    /// The right to bring it into memory.
    pub lease: Lease,
    /// Its bytes.
    pub body: Body,
    /// Whose it will be.
    pub owner: OwnerId,
    /// The client's word on its type. Not believed, but checked.
    pub declared_type: Option<String>,
    /// The file's name, as the client gave it.
    pub name: Option<String>,
    /// The batch that it belongs to.
    pub batch: Option<BatchId>,
    /// What is said of it.
    pub fields: Fields,
    /// Make a photo of its own even if the owner has one with these bytes.
    pub allow_duplicate: bool,
    /// The post in which it is to be shown.
    pub publish: Option<Draft>,
    /// Its place in a request with an idempotency key.
    pub key: Option<PhotoKey>,
    /// The resumable upload that ends with this photo.
    pub ending: Option<Ending>,
    /// Where the body is read from, if it is stored already.
    pub stored: Option<Stored>,
}

/// Bytes that are stored already, by a copy within the object store: they are looked at, and not written again.
#[derive(Debug)]
pub struct Stored {
    /// Where. If nothing comes of them, it is given up.
    pub(crate) key: ReservedKey,
    /// The direct upload that is settled by the transaction that makes the photo.
    pub(crate) direct: UploadId,
    /// What the client has said of them.
    pub(crate) announced: Announced,
}

/// What a client has said of bytes that it does not send through here.
#[derive(Clone, Debug)]
pub(crate) struct Announced {
    /// How many.
    pub(crate) bytes: u64,
    /// Their BLAKE3.
    pub(crate) blake3: Option<ContentHash>,
    /// Their SHA-256 in hex.
    pub(crate) sha256: Option<String>,
}

impl Upload {
    /// Of which nothing more is known.
    pub fn new(lease: Lease, body: Body, owner: OwnerId) -> Self {
        Self {
            lease,
            body,
            owner,
            declared_type: None,
            name: None,
            batch: None,
            fields: Fields::default(),
            allow_duplicate: false,
            publish: None,
            key: None,
            ending: None,
            stored: None,
        }
    }
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload")
            .field("owner", &self.owner)
            .field("type", &self.declared_type)
            .finish_non_exhaustive()
    }
}

/// A photo that is durable.
#[derive(Clone, Debug)]
pub struct Ingested {
    /// Its record.
    pub photo: Photo,
    /// The owner had a photo with these bytes before: this is that one.
    pub duplicate: bool,
}

pub(crate) type IngestReply = oneshot::Sender<Result<Ingested, IngestError>>;

pub(crate) enum IngestorMessage {
    Ingest(Box<Upload>, IngestReply),
    Finished(Option<Box<AcceptedPhoto>>, bool, Duration),
}

pub(crate) struct Ingestor;

pub(crate) struct IngestorArguments {
    pub(crate) house: House,
    pub(crate) counters: Arc<StageCounters>,
    pub(crate) decoder: ActorRef<DecoderMessage>,
}

pub(crate) struct IngestorState {
    line: Line<(Box<Upload>, IngestReply)>,
    arguments: IngestorArguments,
}

impl Actor for Ingestor {
    type Msg = IngestorMessage;
    type State = IngestorState;
    type Arguments = IngestorArguments;

    async fn pre_start(
        &self,
        _: ActorRef<Self::Msg>,
        arguments: Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        // Leases bound how many there are.
        Ok(IngestorState { line: Line::new("ingestor", usize::MAX, arguments.counters.clone()), arguments })
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        message: Self::Msg,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            IngestorMessage::Ingest(upload, reply) => state.line.push((upload, reply)),
            IngestorMessage::Finished(accepted, ok, took) => {
                state.line.finished(took, ok);
                if let Some(photo) = accepted {
                    send(&state.arguments.decoder, DecoderMessage::Decode(photo));
                }
            }
        }
        while let Some((upload, reply)) = state.line.start_next() {
            let house = state.arguments.house.clone();
            let work = async move {
                let (accepted, answer) = match ingest(&house, *upload).await {
                    Ok((accepted, ingested)) => (accepted, Ok(ingested)),
                    Err(error) => (None, Err(error)),
                };
                let ok = answer.is_ok();
                // A client that has gone away does not undo what is durable.
                let _ = reply.send(answer);
                (accepted.map(Box::new), ok)
            };
            start(&myself, work, |(accepted, ok), took| IngestorMessage::Finished(accepted, ok, took));
        }
        Ok(())
    }
}

pub(crate) async fn ingest(
    house: &House,
    upload: Upload,
) -> Result<(Option<AcceptedPhoto>, Ingested), IngestError> {
    let Upload {
        lease: Lease { slot, window, beside },
        body,
        owner,
        declared_type,
        name,
        batch,
        fields,
        allow_duplicate,
        publish,
        key: place,
        ending,
        stored,
    } = upload;
    let taken_up = Instant::now();
    let direct = stored.as_ref().map(|stored| stored.direct);
    let (probe, receipt, key) = receive(house, body, declared_type.as_deref(), stored).await?;
    drop((window, beside));
    house.faults.pass(Point::OriginalStored, probe.shown_size().0);
    let photo = fields.of(Photo { name, batch, ..record(owner, &probe, &receipt, &key) });
    let hand_over = HandOver::try_reserve(house, &slot, &probe, receipt.bytes);
    let job = new_job(house, photo.id, hand_over.is_some());
    let quota = house.options.quota;
    let mut creation = Creation {
        photo,
        job,
        epoch: house.epoch,
        allow_duplicate,
        key: place,
        seen: None,
        upload: ending,
        quota,
        publish: publish.map(|draft| (draft, house.history)),
    };
    let created = create(house, &mut creation, direct).await;
    let held = creation.job.lease.map(|lease| house.held.hold(creation.job.clone(), lease));
    // On an error the commit may have happened all the same: then dropping `held` and `key` lets the
    // Reconciler and the Janitor find out.
    let (photo, duplicate, queued) = match created? {
        Created::New(photo) => (photo, false, true),
        Created::Retried(photo) => (photo, true, true),
        Created::Duplicate(photo) => (photo, true, false),
        Created::NotAdmitted(why) => return Err(why.into()),
        Created::Replayed { photo, duplicate } | Created::Settled(photo, duplicate) => {
            (photo, duplicate, false)
        }
        Created::KeyReused => return Err(IngestError::KeyReused),
        Created::UploadGone => return Err(IngestError::UploadGone),
        // `create` goes on until it is another.
        Created::Stored(_) => return Err(contended().into()),
        // The bytes just put have no photo: their key goes with `key`.
        Created::OverQuota(used) => return Err(IngestError::OverQuota { used, quota }),
        Created::NotPublished(why) => return Err(IngestError::NotPublished(Box::new(why))),
        Created::IntentGone => {
            key.swept();
            return Err(IngestError::Store(StoreError::Unavailable {
                reason: "the upload took so long that its place in the object store was swept; send it again"
                    .to_owned(),
            }));
        }
    };
    house.faults.pass(Point::PhotoCommitted, photo.original.width);
    if photo.original.object == *key.key() {
        key.referenced();
    }
    note(&photo, duplicate);
    if queued {
        house.admission.processing.added();
    }
    let ingested = Ingested { photo: photo.clone(), duplicate };
    let Some(mut held) = held else {
        if queued {
            house.backlog.added();
        }
        return Ok((None, ingested));
    };
    let Some(HandOver { place, body, pixels }) = hand_over.filter(|_| queued) else {
        held.settled();
        return Ok((None, ingested));
    };
    held.job = held.job.clone().for_photo(photo.id);
    let wanted = house.options.presets.clone().into();
    let envelope = Envelope { photo, held, wanted, taken_up, _slot: slot.handed_over(place) };
    Ok((Some(AcceptedPhoto { envelope, probe, body, pixels }), ingested))
}

/// Makes the photo durable. Where its bytes are stored already, the object that has them is looked for first: it may
/// have been deleted since the metadata's backup was taken, or lost, and then the bytes just put take its place.
async fn create(
    house: &House,
    creation: &mut Creation,
    direct: Option<UploadId>,
) -> Result<Created, IngestError> {
    for _ in 0..LOOKS_MAX {
        let created = {
            let creation = &*creation;
            let create = |tx| async move {
                let created = match direct {
                    None => photos::create(&tx, creation).await?,
                    Some(direct) => match create_of_direct(&tx, creation, direct).await? {
                        Some(created) => created,
                        None => return Ok(None),
                    },
                };
                if !matches!(created, Created::Stored(_)) {
                    house.faults.pass(Point::BeforeCommit, creation.photo.original.width);
                }
                Ok(Some(created))
            };
            house.metadata.transact("create photo", create).await?.ok_or(IngestError::UploadOver)?
        };
        let Created::Stored(object) = created else { return Ok(created) };
        // An error of the store tells nothing of the object: only its answer that there is none does.
        let found = house.objects.head(&object).await?.map(|found| found.bytes);
        let expected = creation.photo.original.bytes;
        creation.seen = Some(if found == Some(expected) {
            Seen::Present(object)
        } else {
            tracing::error!(
                %object, expected, found,
                "the stored original of these bytes is missing or cut; the upload takes its place"
            );
            Seen::Lost(object)
        });
    }
    Err(contended().into())
}

/// As [`photos::create`], which settles the direct upload too; `None` where that is over. One photo at most comes of
/// it, however many finish it at the same time.
async fn create_of_direct(
    tx: &Transaction,
    creation: &Creation,
    id: UploadId,
) -> Result<Option<Created>, StoreError> {
    match direct::standing(tx, id, creation.job.id).await? {
        Standing::Over => return Ok(None),
        Standing::Done(photo, duplicate) => {
            let photo = photos::get(tx, photo).await?;
            return Ok(photo.map(|photo| Created::Settled(photo, duplicate)));
        }
        Standing::Free => {}
    }
    let created = photos::create(tx, creation).await?;
    let (photo, duplicate) = match &created {
        Created::New(photo) => (photo.id, false),
        Created::Duplicate(photo) | Created::Retried(photo) => (photo.id, true),
        _ => return Ok(Some(created)),
    };
    direct::done(tx, id, photo, duplicate, creation.job.id, creation.photo.created).await?;
    Ok(Some(created))
}

fn contended() -> StoreError {
    StoreError::Contended { name: "create photo", attempts: LOOKS_MAX }
}

/// What a fresh photo needs to go on in memory.
struct HandOver {
    place: StagePlace,
    body: Permit,
    pixels: Permit,
}

impl HandOver {
    /// Decided before the commit, so that a photo which must wait is committed waiting. Without room, or
    /// behind a backlog, it waits on disk.
    fn try_reserve(house: &House, slot: &Permit, probe: &darkroom_media::Probe, bytes: u64) -> Option<Self> {
        if house.backlog.is_waiting() || house.admission.is_draining() {
            return None;
        }
        let admission = &house.admission;
        let place = admission.slots.try_stage_place(slot)?;
        let body = admission.bodies.try_waiting(bytes)?;
        let pixels = admission
            .pixels
            .try_fresh(probe.cost(&house.options.presets, &house.options.limits).peak_bytes)?;
        Some(Self { place, body, pixels })
    }
}

fn new_job(house: &House, photo: PhotoId, leased: bool) -> Job {
    let now = Timestamp::now();
    let job = Job::new(JobId::new(), Kind::Process, photo, now);
    if !leased {
        return job;
    }
    let lease = jobs::Lease { id: LeaseId::new(), epoch: house.epoch };
    job.leased(lease, now.after(house.options.lease_duration))
}

fn record(owner: OwnerId, probe: &darkroom_media::Probe, receipt: &Receipt, key: &ReservedKey) -> Photo {
    let now = Timestamp::now();
    let (width, height) = probe.shown_size();
    let mut probe = probe.clone();
    let capture = probe.capture.take();
    let cut = probe.truncated.then(|| "the file ends before the picture does".to_owned());
    Photo {
        id: PhotoId::new(),
        owner,
        state: State::Processing,
        batch: None,
        name: None,
        batch_item: None,
        link_generation: 0,
        title: None,
        tags: Vec::new(),
        visibility: PhotoVisibility::Inherit,
        album: None,
        created: now,
        updated: now,
        original: Original {
            media_type: probe.format.mime().to_owned(),
            width,
            height,
            bytes: receipt.bytes,
            hash: receipt.hash,
            object: key.key().clone(),
            // A probe is made of numbers and names: it always has a JSON form.
            probe: serde_json::to_value(&probe).unwrap_or_default(),
            capture: capture.and_then(|capture| serde_json::to_value(capture).ok()),
        },
        variants: Vec::new(),
        looks: None,
        damage: cut,
        failure: None,
        unrenderable: Vec::new(),
        settled_by: None,
    }
}

fn note(photo: &Photo, duplicate: bool) {
    let outcome = if duplicate { "duplicate" } else { "created" };
    metrics::counter!("darkroom_uploads_total", "outcome" => outcome).increment(1);
    metrics::counter!("darkroom_object_written_bytes_total", "kind" => "original")
        .increment(photo.original.bytes);
    tracing::debug!(photo = %photo.id, bytes = photo.original.bytes, duplicate, "upload acknowledged");
}

/// Streams the body to the store. Whatever is wrong with it is found as soon as the bytes show it; the
/// store is not touched before the bytes have shown to be a photo.
async fn receive(
    house: &House,
    mut body: Body,
    declared: Option<&str>,
    mut stored: Option<Stored>,
) -> Result<(darkroom_media::Probe, Receipt, ReservedKey), IngestError> {
    let limit = house.options.upload_bytes_max;
    let mut prober = Prober::new(house.options.limits.clone());
    let mut place: Option<Place> = None;
    // Bytes that came before the type was known: less than a header.
    let mut early = Vec::new();
    let mut received = 0_u64;
    while let Some(bytes) = body.next().await {
        let bytes = bytes?;
        received += bytes.len() as u64;
        if received > limit {
            return Err(BodyError::TooLarge { limit }.into());
        }
        prober.feed(&bytes)?;
        let Some(place) = &mut place else {
            early.push(bytes);
            if let Some(found) = prober.format() {
                check_type(declared, found)?;
                place = Some(open(house, &mut early, stored.take()).await?);
            }
            continue;
        };
        place.write(bytes).await?;
    }
    let probe = prober.finish()?;
    check_price(house, &probe)?;
    let place = match place {
        Some(place) => place,
        None => open(house, &mut early, stored.take()).await?,
    };
    let (key, receipt) = place.finish().await?;
    Ok((probe, receipt, key))
}

async fn open(house: &House, early: &mut Vec<Bytes>, stored: Option<Stored>) -> Result<Place, IngestError> {
    let mut place = if let Some(stored) = stored {
        Place::There(Look::new(stored))
    } else {
        let key = house.keys.take(ObjectKind::Original).await?;
        Place::Written(house.objects.begin_put(key.key()).await?, key)
    };
    for bytes in early.drain(..) {
        place.write(bytes).await?;
    }
    Ok(place)
}

/// Where the bytes of a photo come to lie.
enum Place {
    /// They are written there as they come.
    Written(ObjectWriter, ReservedKey),
    /// They come from there.
    There(Look),
}

impl Place {
    async fn write(&mut self, bytes: Bytes) -> Result<(), IngestError> {
        match self {
            Self::Written(writer, _) => writer.write(bytes).await?,
            Self::There(look) => look.take(&bytes),
        }
        Ok(())
    }

    async fn finish(self) -> Result<(ReservedKey, Receipt), IngestError> {
        match self {
            Self::Written(writer, key) => Ok(key.finish(writer).await?),
            Self::There(look) => look.finish(),
        }
    }
}

/// What bytes that are stored already have come to.
struct Look {
    stored: Stored,
    bytes: u64,
    blake3: blake3::Hasher,
    /// Only where the client has said what it is to be.
    sha256: Option<Sha256>,
}

impl Look {
    fn new(stored: Stored) -> Self {
        let sha256 = stored.announced.sha256.as_ref().map(|_| Sha256::new());
        Self { stored, bytes: 0, blake3: blake3::Hasher::new(), sha256 }
    }

    fn take(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        self.blake3.update(bytes);
        if let Some(sha256) = &mut self.sha256 {
            sha256.update(bytes);
        }
    }

    /// Where they are what was announced.
    fn finish(self) -> Result<(ReservedKey, Receipt), IngestError> {
        let Stored { key, announced, .. } = self.stored;
        let hash = ContentHash::from(self.blake3.finalize());
        let other = |what: &str, found: &str, announced: &str| {
            let detail = format!("what was put has {what} {found}, and {announced} was announced");
            Err(IngestError::NotAnnounced(detail))
        };
        if self.bytes != announced.bytes {
            return other("so many bytes:", &self.bytes.to_string(), &announced.bytes.to_string());
        }
        if let Some(blake3) = announced.blake3.filter(|announced| *announced != hash) {
            return other("the BLAKE3", &hash.to_string(), &blake3.to_string());
        }
        if let (Some(sha256), Some(announced)) = (self.sha256, announced.sha256) {
            let found = hex(&sha256.finalize());
            if found != announced {
                return other("the SHA-256", &found, &announced);
            }
        }
        Ok((key, Receipt { bytes: self.bytes, hash }))
    }
}

/// Refuses a photo that the whole pixel budget could not hold.
fn check_price(house: &House, probe: &darkroom_media::Probe) -> Result<(), IngestError> {
    let needed = probe.cost(&house.options.presets, &house.options.limits).peak_bytes;
    let budget = house.admission.pixels.total();
    if needed <= budget {
        return Ok(());
    }
    let (width, height) = probe.shown_size();
    Err(IngestError::TooExpensive { width, height, needed, budget })
}

/// Refuses a declared image type that is not what the bytes are. A generic or missing type says nothing.
pub(crate) fn check_type(declared: Option<&str>, found: SourceFormat) -> Result<(), IngestError> {
    let Some(declared) = declared else { return Ok(()) };
    let essence = declared.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let generic = ["", "application/octet-stream", "image/*", "application/x-www-form-urlencoded"];
    if generic.contains(&essence.as_str()) || SourceFormat::from_mime(&essence) == Some(found) {
        return Ok(());
    }
    Err(IngestError::TypeMismatch { declared: declared.to_owned(), found })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_declared_type_must_be_the_bytes_own_or_say_nothing() {
        let check = |declared| check_type(declared, SourceFormat::Jpeg).is_ok();
        assert!(check(None) && check(Some("image/jpeg")) && check(Some("IMAGE/JPEG; q=1")));
        assert!(check(Some("application/octet-stream")) && check(Some("application/x-www-form-urlencoded")));
        assert!(!check(Some("image/png")) && !check(Some("text/plain")));
    }
}
