//! The Resizer: makes every wanted variant of a decoded photo, in one closure on one thread.

use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};

use super::publisher::PublisherMessage;
use super::uploader::UploaderMessage;
use super::{House, send, start};
use crate::compute::Priority;
use crate::line::{Line, StageCounters};
use crate::work::{DecodedPhoto, EncodedPhoto, FailedPhoto, Fault};

pub(crate) enum ResizerMessage {
    Resize(Box<DecodedPhoto>),
    Finished(Result<Box<EncodedPhoto>, Box<FailedPhoto>>, Duration),
}

pub(crate) struct Resizer;

pub(crate) struct ResizerArguments {
    pub(crate) house: House,
    pub(crate) counters: Arc<StageCounters>,
    pub(crate) uploader: ActorRef<UploaderMessage>,
    pub(crate) publisher: ActorRef<PublisherMessage>,
}

pub(crate) struct ResizerState {
    line: Line<Box<DecodedPhoto>>,
    arguments: ResizerArguments,
}

impl Actor for Resizer {
    type Msg = ResizerMessage;
    type State = ResizerState;
    type Arguments = ResizerArguments;

    async fn pre_start(
        &self,
        _: ActorRef<Self::Msg>,
        arguments: Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        // Every decoded frame goes to the pool at once: there it comes before the next decode.
        Ok(ResizerState { line: Line::new("resizer", usize::MAX, arguments.counters.clone()), arguments })
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        message: Self::Msg,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            ResizerMessage::Resize(photo) => state.line.push(photo),
            ResizerMessage::Finished(result, took) => {
                state.line.finished(took, result.is_ok());
                match result {
                    Ok(photo) => send(&state.arguments.uploader, UploaderMessage::Upload(photo)),
                    Err(failed) => send(&state.arguments.publisher, PublisherMessage::Fail(failed)),
                }
            }
        }
        while let Some(photo) = state.line.start_next() {
            start(&myself, resize(state.arguments.house.clone(), *photo), ResizerMessage::Finished);
        }
        Ok(())
    }
}

pub(crate) async fn resize(house: House, photo: DecodedPhoto) -> Result<Box<EncodedPhoto>, Box<FailedPhoto>> {
    let DecodedPhoto { envelope, frame, pixels } = photo;
    let wanted = envelope.wanted.clone();
    let rendered = house
        .compute
        .run(Priority::Resize, move |scratch| {
            let mut variants = Vec::with_capacity(wanted.len());
            let damage = frame.damage().map(str::to_owned);
            let looks = darkroom_media::render(frame, &wanted, scratch, &mut |variant, times| {
                metrics::histogram!("darkroom_variant_resize_seconds").record(times.resize);
                metrics::histogram!("darkroom_variant_encode_seconds").record(times.encode);
                variants.push(variant);
            })?;
            // The frames are gone; what is held from here on is the encoded bytes.
            let mut encoded = pixels;
            encoded.shrink_to(variants.iter().map(|variant| variant.bytes.len() as u64).sum());
            Ok((variants, looks, damage, encoded))
        })
        .await;
    let why = match rendered {
        Ok(Ok((variants, looks, damage, encoded))) => {
            return Ok(Box::new(EncodedPhoto { envelope, variants, looks, damage, encoded }));
        }
        Ok(Err(error)) => Fault::media(&error),
        Err(panicked) => Fault::Panicked { stage: "resizer", message: panicked.0 },
    };
    Err(Box::new(FailedPhoto { envelope, why }))
}
