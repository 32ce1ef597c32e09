//! What is done about an object that is said to have been created.

use darkroom_actors::direct::{DirectError, Found, Sent};
use darkroom_actors::{IngestError, Ingested};
use darkroom_store::model::direct::State;
use darkroom_store::model::{UploadId, UserId};
use futures_util::{StreamExt, stream};
use serde::Serialize;

use super::events::Created;
use crate::Api;
use crate::caller::Caller;
use crate::problem::Problem;

/// Events of one message that are worked on at once.
const AT_ONCE: usize = 8;

/// What became of the events of a message.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Tally {
    /// They are photos now, or were before.
    photos: usize,
    /// What was put is refused.
    refused: usize,
    /// They are of objects that are not ours, or are gone.
    ignored: usize,
    /// Why one of them is to be sent again, if any is.
    #[serde(skip)]
    pub(super) later: Option<Problem>,
}

/// What became of one event.
enum Outcome {
    Photo,
    Refused,
    Ignored,
    Later(Problem),
}

impl Outcome {
    fn as_str(&self) -> &'static str {
        match self {
            Self::Photo => "photo",
            Self::Refused => "refused",
            Self::Ignored => "ignored",
            Self::Later(_) => "later",
        }
    }

    fn of(result: Result<Ingested, DirectError>) -> Self {
        match result {
            Ok(_) => Self::Photo,
            Err(DirectError::Refused(_)) => Self::Refused,
            Err(DirectError::Ingest(error)) if darkroom_actors::direct::refusal(&error).is_some() => {
                Self::Refused
            }
            // Over, or gone, or not there yet, or for its client to complete with another batch: nothing is to be done
            // about it, however often it is told.
            Err(DirectError::Ingest(
                IngestError::NotAdmitted(_) | IngestError::NotPublished(_) | IngestError::UploadOver,
            )) => Self::Ignored,
            Err(error @ (DirectError::Busy(_) | DirectError::Ingest(_))) => Self::Later(error.into()),
            Err(_) => Self::Ignored,
        }
    }
}

/// Works on all of them.
pub(super) async fn take_all(api: &Api, caller: &Caller, created: Vec<Created>) -> Tally {
    let work = stream::iter(created).map(|created| take(api, caller, created));
    let mut outcomes = work.buffer_unordered(AT_ONCE);
    let mut tally = Tally::default();
    while let Some(outcome) = outcomes.next().await {
        metrics::counter!("darkroom_bucket_events_total", "outcome" => outcome.as_str()).increment(1);
        match outcome {
            Outcome::Photo => tally.photos += 1,
            Outcome::Refused => tally.refused += 1,
            Outcome::Ignored => tally.ignored += 1,
            Outcome::Later(why) => tally.later = Some(why),
        }
    }
    tally
}

async fn take(api: &Api, caller: &Caller, created: Created) -> Outcome {
    let outcome = match api.pipeline().meaning_of(&created.bucket, &created.name) {
        Found::Upload(id) => finish(api, caller, id).await,
        Found::Import(name) => import(api, caller, &name).await,
        Found::Nothing => Ok(Outcome::Ignored),
    };
    outcome.unwrap_or_else(Outcome::Later)
}

/// As if the client had completed it. The photo is the owner's whom the record names, whoever sent the event.
async fn finish(api: &Api, caller: &Caller, id: UploadId) -> Result<Outcome, Problem> {
    let Some(upload) = api.pipeline().find_direct(id).await? else { return Ok(Outcome::Ignored) };
    if upload.state != State::Open {
        return Ok(Outcome::of(api.pipeline().outcome_of(&upload).await));
    }
    let of_owner = Caller::of_owner(upload.owner, caller.client);
    let lease = api.admit(&of_owner, Some(upload.bytes)).await?;
    Ok(Outcome::of(api.pipeline().finish_direct(lease, id, Sent::default()).await))
}

async fn import(api: &Api, caller: &Caller, name: &str) -> Result<Outcome, Problem> {
    let Some(found) = api.pipeline().look_at_found(name).await? else { return Ok(Outcome::Ignored) };
    let of_owner = Caller::of(UserId::OPEN, caller.client);
    let lease = api.admit(&of_owner, Some(found.bytes)).await?;
    Ok(Outcome::of(api.pipeline().import_found(lease, of_owner.owner, name, &found).await))
}
