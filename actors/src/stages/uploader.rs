//! The Uploader: writes every variant of a photo to the object store.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use darkroom_store::StoreError;
use darkroom_store::model::{Timestamp, jobs, photos};
use darkroom_store::objects::ObjectKind;
use futures_util::future::join_all;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::Semaphore;

use super::decoder::elsewhere;
use super::publisher::PublisherMessage;
use super::{House, send, start};
use crate::faults::Point;
use crate::keys::ReservedKey;
use crate::line::{Line, StageCounters};
use crate::work::{EncodedPhoto, Envelope, FailedPhoto, StoredPhoto};

pub(crate) enum UploaderMessage {
    Upload(Box<EncodedPhoto>),
    Finished(Result<Box<StoredPhoto>, Box<FailedPhoto>>, Duration),
}

pub(crate) struct Uploader;

pub(crate) struct UploaderArguments {
    pub(crate) house: House,
    pub(crate) counters: Arc<StageCounters>,
    pub(crate) publisher: ActorRef<PublisherMessage>,
}

pub(crate) struct UploaderState {
    line: Line<Box<EncodedPhoto>>,
    /// One per object being written.
    network: Arc<Semaphore>,
    arguments: UploaderArguments,
}

impl Actor for Uploader {
    type Msg = UploaderMessage;
    type State = UploaderState;
    type Arguments = UploaderArguments;

    async fn pre_start(
        &self,
        _: ActorRef<Self::Msg>,
        arguments: Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        let slots = arguments.house.options.network_slots;
        Ok(UploaderState {
            line: Line::new("uploader", slots, arguments.counters.clone()),
            network: Arc::new(Semaphore::new(slots)),
            arguments,
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        message: Self::Msg,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            UploaderMessage::Upload(photo) => state.line.push(photo),
            UploaderMessage::Finished(result, took) => {
                state.line.finished(took, result.is_ok());
                send(
                    &state.arguments.publisher,
                    match result {
                        Ok(photo) => PublisherMessage::Publish(photo),
                        Err(failed) => PublisherMessage::Fail(failed),
                    },
                );
            }
        }
        while let Some(photo) = state.line.start_next() {
            let upload = upload(state.arguments.house.clone(), state.network.clone(), *photo);
            start(&myself, upload, UploaderMessage::Finished);
        }
        Ok(())
    }
}

pub(crate) async fn upload(
    house: House,
    network: Arc<Semaphore>,
    photo: EncodedPhoto,
) -> Result<Box<StoredPhoto>, Box<FailedPhoto>> {
    let EncodedPhoto { envelope, variants, looks, damage, encoded } = photo;
    let width = envelope.photo.original.width;
    let puts = variants.into_iter().map(|variant| store(&house, &network, variant, width));
    // The mark of the attempt goes as soon as the pixels are behind us: a process that dies from here on did not
    // die of this photo.
    let (stored, ended) = tokio::join!(join_all(puts), end_attempt(&house, &envelope));
    drop(encoded);
    // All puts have ended, also beside one that failed: a key must not be given up while its object may still
    // appear.
    match ended.and_then(|()| stored.into_iter().collect::<Result<Vec<_>, _>>()) {
        Ok(stored) => {
            let (variants, keys) = stored.into_iter().unzip();
            house.faults.pass(Point::VariantsStored, width);
            // Four strings always have a JSON form.
            let made = photos::Made { variants, looks: serde_json::to_value(&looks).ok(), damage };
            Ok(Box::new(StoredPhoto { envelope, made, keys }))
        }
        Err(error) => Err(Box::new(FailedPhoto { envelope, why: elsewhere(&error.to_string()) })),
    }
}

async fn end_attempt(house: &House, envelope: &Envelope) -> Result<(), StoreError> {
    let (job, lease) = (envelope.held.job.id, envelope.held.lease);
    house.metadata.transact("end attempt", |tx| async move { jobs::end_attempt(&tx, job, lease).await }).await
}

async fn store(
    house: &House,
    network: &Semaphore,
    variant: darkroom_media::Variant,
    width: u32,
) -> Result<(photos::Variant, ReservedKey), StoreError> {
    let _slot = network.acquire().await.map_err(|_| StoreError::Closed)?;
    let key = house.keys.take(ObjectKind::Variant).await?;
    let (key, receipt) = key.put(&house.objects, Bytes::from(variant.bytes)).await?;
    house.faults.pass(Point::VariantStored, width);
    metrics::counter!("darkroom_object_written_bytes_total", "kind" => "variant").increment(receipt.bytes);
    let stored = photos::Variant {
        preset: variant.preset,
        preset_digest: variant.preset_digest,
        media_type: variant.format.mime().to_owned(),
        width: variant.width,
        height: variant.height,
        bytes: receipt.bytes,
        hash: receipt.hash,
        object: key.key().clone(),
        made: Timestamp::now(),
    };
    Ok((stored, key))
}
