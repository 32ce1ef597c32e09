//! The Decoder: reads the original, counts the attempt, sees that the bytes are those that were uploaded, and turns
//! them into a frame on the compute pool.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use darkroom_store::StoreError;
use darkroom_store::model::photos::{self, Failure, Original};
use darkroom_store::model::{ContentHash, blobs, identity, jobs};
use ractor::{Actor, ActorProcessingErr, ActorRef};

use super::publisher::PublisherMessage;
use super::resizer::ResizerMessage;
use super::{House, send, start};
use crate::compute::Priority;
use crate::faults::Point;
use crate::line::{Line, StageCounters};
use crate::work::{AcceptedPhoto, DecodedPhoto, Envelope, FailedPhoto, Fault};

/// How many originals are read ahead of the compute pool, so that its threads never wait for the disk.
const READ_AHEAD: usize = 2;

pub(crate) enum DecoderMessage {
    Decode(Box<AcceptedPhoto>),
    Finished(Result<Box<DecodedPhoto>, Box<FailedPhoto>>, Duration),
}

pub(crate) struct Decoder;

pub(crate) struct DecoderArguments {
    pub(crate) house: House,
    pub(crate) counters: Arc<StageCounters>,
    pub(crate) resizer: ActorRef<ResizerMessage>,
    pub(crate) publisher: ActorRef<PublisherMessage>,
}

pub(crate) struct DecoderState {
    line: Line<Box<AcceptedPhoto>>,
    arguments: DecoderArguments,
}

impl Actor for Decoder {
    type Msg = DecoderMessage;
    type State = DecoderState;
    type Arguments = DecoderArguments;

    async fn pre_start(
        &self,
        _: ActorRef<Self::Msg>,
        arguments: Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        let limit = arguments.house.options.compute_threads + READ_AHEAD;
        Ok(DecoderState { line: Line::new("decoder", limit, arguments.counters.clone()), arguments })
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        message: Self::Msg,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        let house = &state.arguments.house;
        match message {
            DecoderMessage::Decode(photo) => {
                house.faults.pass(Point::DecoderHandler, photo.envelope.photo.original.width);
                state.line.push(photo);
            }
            DecoderMessage::Finished(result, took) => {
                state.line.finished(took, result.is_ok());
                match result {
                    Ok(photo) => send(&state.arguments.resizer, ResizerMessage::Resize(photo)),
                    Err(failed) => send(&state.arguments.publisher, PublisherMessage::Fail(failed)),
                }
            }
        }
        while let Some(photo) = state.line.start_next() {
            start(&myself, decode(house.clone(), *photo), DecoderMessage::Finished);
        }
        Ok(())
    }
}

pub(crate) async fn decode(
    house: House,
    photo: AcceptedPhoto,
) -> Result<Box<DecodedPhoto>, Box<FailedPhoto>> {
    let AcceptedPhoto { mut envelope, probe, body, pixels } = photo;
    let original = match prepare(&house, &mut envelope).await {
        Ok(original) => original,
        Err(why) => return Err(Box::new(FailedPhoto { envelope, why })),
    };
    let moves = probe.moves(&envelope.wanted, &house.options.limits);
    let (faults, limits) = (house.faults.clone(), house.options.limits.clone());
    let (width, uploaded) = (envelope.photo.original.width, envelope.photo.original.hash);
    // The permits move into the closure that uses the memory: should this task be dropped while the
    // closure runs, they come back only when the memory does.
    let decoded = house
        .compute
        .run(Priority::Decode, move |scratch| {
            let (_body, pixels) = (body, pixels);
            faults.pass(Point::Decode, width);
            unharmed(&original, &uploaded)?;
            let decoded = darkroom_media::decode(&original, &probe, &limits, scratch);
            let frame = decoded.map_err(|error| Fault::media(&error))?;
            // Its price contains motion exactly when it moves, and with it the original, which is read again frame by frame.
            let frame = if moves { frame.with_motion(original.into(), &probe) } else { frame };
            Ok((frame, pixels))
        })
        .await;
    let why = match decoded {
        Ok(Ok((frame, pixels))) => return Ok(Box::new(DecodedPhoto { envelope, frame, pixels })),
        Ok(Err(fault)) => fault,
        Err(panicked) => Fault::Panicked { stage: "decoder", message: panicked.0 },
    };
    Err(Box::new(FailedPhoto { envelope, why }))
}

/// Whether the original is what was uploaded. Not every store knows that of what it reads, and damaged bytes may well
/// decode, to another picture. At gigabytes per second it costs little beside decoding.
fn unharmed(original: &[u8], uploaded: &ContentHash) -> Result<(), Fault> {
    let stored = ContentHash::of(original);
    if stored == *uploaded {
        return Ok(());
    }
    Err(Fault::Damaged(format!("its {} bytes have BLAKE3 {stored}, and had {uploaded}", original.len())))
}

/// Reads the original and then counts the attempt durably: only then may a decoder touch the bytes, so that a file
/// that kills the process is known by it; and a process that ends while the store is slow has not died of this photo.
async fn prepare(house: &House, envelope: &mut Envelope) -> Result<Vec<u8>, Fault> {
    let original = match read_original(house, &envelope.photo.original).await {
        Ok(Some(original)) => Ok(original),
        Ok(None) => {
            tracing::error!(
                photo = %envelope.photo.id, object = %envelope.photo.original.object,
                "the original is missing from the object store: restore it from a backup"
            );
            return Err(Fault::GivenUp(Failure {
                code: photos::ORIGINAL_MISSING.to_owned(),
                detail: "the stored original cannot be found; upload the photo again".to_owned(),
            }));
        }
        // The store knows by itself. That is an attempt like any other: what is damaged there stays so.
        Err(error @ StoreError::Corrupt { .. }) => Err(Fault::Damaged(error.to_string())),
        // Of this original alone, if the store is there otherwise.
        Err(error @ StoreError::Unreadable { .. }) if see_store(house).await.is_ok() => {
            Err(Fault::Unreadable(error.to_string()))
        }
        Err(error) => return Err(elsewhere(&error.to_string())),
    };
    let (job, lease) = (envelope.held.job.id, envelope.held.lease);
    let attempt = house
        .metadata
        .transact("begin attempt", |tx| async move { jobs::begin_attempt(&tx, job, lease).await });
    match attempt.await {
        Ok(ControlFlow::Continue(job)) => {
            envelope.held.job = job;
            original
        }
        Ok(ControlFlow::Break(())) => Err(elsewhere("the job's lease was lost")),
        Err(error) => Err(elsewhere(&error.to_string())),
    }
}

/// The original's bytes, `None` if the store that should have them has not.
async fn read_original(house: &House, original: &Original) -> Result<Option<Vec<u8>>, StoreError> {
    if let found @ Some(_) = look_for(house, original).await? {
        return Ok(found);
    }
    see_store(house).await?;
    // It may have come back in between.
    look_for(house, original).await
}

/// Whether the objects are those of these metadata. Behind a folder that is not mounted, or an address where another server
/// answers, no original is found, and none is lost.
pub(crate) async fn see_store(house: &House) -> Result<(), StoreError> {
    let away = |reason| StoreError::Unavailable { reason };
    let identity = house.metadata.read("read identity", |tx| async move { identity::get(&tx).await }).await?;
    let found = house.objects.store_id().await;
    let found = found.map_err(|error| away(format!("its store-id cannot be read: {error}")))?;
    match (identity.map(|identity| identity.store_id), found) {
        (Some(ours), Some(found)) if found == ours => Ok(()),
        (_, Some(other)) => Err(away(format!("the objects there belong to store {other}"))),
        (_, None) => Err(away("it has no store-id (is its folder mounted?)".to_owned())),
    }
}

/// The original's bytes, `None` if they are nowhere. The photo's record may be older than its blob's: bytes that were lost
/// and uploaded again are elsewhere now.
async fn look_for(house: &House, original: &Original) -> Result<Option<Vec<u8>>, StoreError> {
    if let Some(bytes) = house.objects.get_whole(&original.object, original.bytes).await? {
        return Ok(Some(bytes));
    }
    let hash = &original.hash;
    let blob =
        house.metadata.read("look for the original", |tx| async move { blobs::get(&tx, hash).await }).await?;
    match blob {
        Some(blob) if blob.object != original.object => {
            house.objects.get_whole(&blob.object, original.bytes).await
        }
        _ => Ok(None),
    }
}

/// Not the photo's fault: due again soon, not counted.
pub(crate) fn elsewhere(error: &str) -> Fault {
    Fault::Elsewhere(error.to_owned())
}
