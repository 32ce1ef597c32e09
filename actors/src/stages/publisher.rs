//! The Publisher: settles photos. One transaction makes a photo ready, failed, or due again.

use std::sync::Arc;
use std::time::Duration;

use darkroom_store::StoreError;
use darkroom_store::model::Timestamp;
use darkroom_store::model::jobs::{self, GiveBack};
use darkroom_store::model::photos::{self, Failure, Settled, Settling, State};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use rand::Rng;

use super::{House, start};
use crate::faults::Point;
use crate::keys::ReservedKey;
use crate::line::{Line, StageCounters};
use crate::work::{Envelope, FailedPhoto, Fault, StoredPhoto};

/// Transactions at once. They share fsyncs, so many cost hardly more than one.
const TRANSACTIONS: usize = 64;
/// Wait before the second attempt of a photo that panicked; doubles with each.
const BACKOFF: Duration = Duration::from_millis(500);
/// Wait before another attempt of one whose original came damaged: if that is the fault of the way to it, or of this
/// node, it may pass, or another node may take the job.
const PAUSE_DAMAGED: Duration = Duration::from_secs(5);

pub(crate) enum PublisherMessage {
    Publish(Box<StoredPhoto>),
    Fail(Box<FailedPhoto>),
    Finished(bool, Duration),
}

pub(crate) struct Publisher;

pub(crate) struct PublisherArguments {
    pub(crate) house: House,
    pub(crate) counters: Arc<StageCounters>,
}

pub(crate) enum Work {
    Publish(Box<StoredPhoto>),
    Fail(Box<FailedPhoto>),
}

pub(crate) struct PublisherState {
    line: Line<Work>,
    house: House,
}

impl Actor for Publisher {
    type Msg = PublisherMessage;
    type State = PublisherState;
    type Arguments = PublisherArguments;

    async fn pre_start(
        &self,
        _: ActorRef<Self::Msg>,
        arguments: Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        Ok(PublisherState {
            line: Line::new("publisher", TRANSACTIONS, arguments.counters),
            house: arguments.house,
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        message: Self::Msg,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            PublisherMessage::Publish(photo) => state.line.push(Work::Publish(photo)),
            PublisherMessage::Fail(failed) => state.line.push(Work::Fail(failed)),
            PublisherMessage::Finished(ok, took) => state.line.finished(took, ok),
        }
        while let Some(work) = state.line.start_next() {
            let house = state.house.clone();
            let settle = async move {
                match work {
                    Work::Publish(photo) => publish(&house, *photo).await,
                    Work::Fail(failed) => fail(&house, *failed).await,
                }
            };
            start(&myself, settle, PublisherMessage::Finished);
        }
        Ok(())
    }
}

fn settling(house: &House, envelope: &Envelope) -> Settling {
    Settling {
        photo: envelope.photo.id,
        job: envelope.held.job.id,
        lease: envelope.held.lease,
        now: Timestamp::now(),
        history: house.history,
    }
}

pub(crate) async fn publish(house: &House, photo: StoredPhoto) -> bool {
    let StoredPhoto { envelope, made, keys } = photo;
    let (by, made) = (settling(house, &envelope), &made);
    let width = envelope.photo.original.width;
    let publish = |tx| async move {
        let settled = photos::publish(&tx, &by, made).await?;
        house.faults.pass(Point::BeforePublish, width);
        Ok(settled)
    };
    let result = house.metadata.transact("publish photo", publish).await;
    match result {
        Ok(Settled::Done(_)) => {
            house.faults.pass(Point::Published, width);
            keys.into_iter().for_each(ReservedKey::referenced);
        }
        Ok(Settled::IntentGone) => keys.into_iter().for_each(ReservedKey::swept),
        // On an error the commit may have happened all the same: then the Janitor finds no intents.
        _ => drop(keys),
    }
    conclude(house, envelope, result, "ready").await
}

pub(crate) async fn fail(house: &House, failed: FailedPhoto) -> bool {
    let FailedPhoto { envelope, why } = failed;
    match why {
        Fault::Photo(failure) => settle_failed(house, envelope, failure, Letter::None).await,
        Fault::GivenUp(failure) => settle_failed(house, envelope, failure, Letter::Kept).await,
        Fault::Elsewhere(reason) => interrupted(house, envelope, reason).await,
        Fault::Panicked { stage, message } => {
            metrics::counter!("darkroom_panics_total", "stage" => stage).increment(1);
            let attempts = envelope.held.job.attempts;
            tracing::error!(photo = %envelope.photo.id, stage, attempts, panic = message, "processing panicked");
            let failure = Failure {
                code: "processing-panicked".to_owned(),
                detail: format!(
                    "processing this photo failed {attempts} times for a reason of our own; the original is kept, and \
                     uploading it again tries again"
                ),
            };
            let backoff = BACKOFF * 2_u32.saturating_pow(attempts.saturating_sub(1).min(6));
            let error = format!("{stage} panicked: {message}");
            Box::pin(attempt_failed(house, envelope, failure, error, backoff)).await
        }
        Fault::Damaged(detail) => {
            let what = "is damaged: its bytes are not those that were uploaded";
            Box::pin(without_original(house, envelope, what, &detail)).await
        }
        Fault::Unreadable(detail) => {
            let what = "cannot be read, and others of the same store can";
            Box::pin(without_original(house, envelope, what, &detail)).await
        }
    }
}

/// The store has the original, and it is of no use: `what` says why to the photo's user, `detail` to the operator.
async fn without_original(house: &House, envelope: Envelope, what: &str, detail: &str) -> bool {
    tracing::error!(
        photo = %envelope.photo.id, object = %envelope.photo.original.object,
        attempts = envelope.held.job.attempts, detail,
        "the stored original {what}: restore it from a backup"
    );
    let failure = Failure {
        // Uploading it again puts the bytes in its place, as where it is missing.
        code: photos::ORIGINAL_MISSING.to_owned(),
        detail: format!("the stored original {what}; upload the photo again"),
    };
    let error = format!("the stored original {what}: {detail}");
    attempt_failed(house, envelope, failure, error, PAUSE_DAMAGED).await
}

/// An attempt that counts came to nothing: another one is made after about this pause, and after the last the photo
/// fails. (Callers box it: it is rare, and the deepest of what may become of a photo.)
async fn attempt_failed(
    house: &House,
    envelope: Envelope,
    failure: Failure,
    error: String,
    pause: Duration,
) -> bool {
    if envelope.held.job.attempts >= house.options.attempts_max {
        return settle_failed(house, envelope, failure, Letter::Kept).await;
    }
    let jitter = rand::rng().random_range(0.5..1.5);
    let now = Timestamp::now();
    let due = now.after(pause.mul_f64(jitter));
    give_back(house, envelope, GiveBack { now, due, counts: true, error: Some(error) }).await
}

/// Not the photo's fault: due again, later each time up to a bound, and not counted.
async fn interrupted(house: &House, envelope: Envelope, reason: String) -> bool {
    tracing::warn!(photo = %envelope.photo.id, reason, "processing interrupted; the job goes back to the queue");
    let pause = envelope.held.job.interruption_pause(house.options.interruption_pause_max);
    // Those that were interrupted together do not come back in step.
    let jitter = rand::rng().random_range(0.5..=1.0);
    let now = Timestamp::now();
    let how = GiveBack { now, due: now.after(pause.mul_f64(jitter)), counts: false, error: Some(reason) };
    give_back(house, envelope, how).await
}

/// Whether a photo that fails leaves the letter of its job for the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Letter {
    None,
    Kept,
}

async fn settle_failed(house: &House, envelope: Envelope, failure: Failure, letter: Letter) -> bool {
    tracing::info!(photo = %envelope.photo.id, code = failure.code, detail = failure.detail, "photo failed");
    let digests: Vec<_> = envelope.wanted.iter().map(darkroom_media::Preset::digest).collect();
    let (by, failure, wanted) = (settling(house, &envelope), &failure, &digests);
    let result = house
        .metadata
        .transact("fail photo", |tx| async move {
            match letter {
                Letter::None => photos::fail(&tx, &by, failure, wanted).await,
                Letter::Kept => photos::give_up(&tx, &by, failure, wanted).await,
            }
        })
        .await;
    if letter == Letter::Kept && matches!(result, Ok(Settled::Done(_))) {
        metrics::counter!("darkroom_jobs_dead_lettered_total", "code" => failure.code.clone()).increment(1);
    }
    conclude(house, envelope, result, "failed").await
}

/// Ends the photo's way through this process. Returns whether it is settled.
async fn conclude(
    house: &House,
    envelope: Envelope,
    result: Result<Settled, StoreError>,
    outcome: &'static str,
) -> bool {
    let id = envelope.photo.id;
    match result {
        Ok(Settled::Done(photo)) => {
            // A photo that is ready and gets new variants was never among them.
            if envelope.photo.state == State::Processing {
                house.admission.processing.settled();
            }
            metrics::counter!("darkroom_photos_settled_total", "outcome" => outcome).increment(1);
            metrics::histogram!("darkroom_photo_settle_seconds")
                .record(photo.updated.since(envelope.held.job.enqueued));
            tracing::debug!(photo = %id, outcome, took = ?envelope.taken_up.elapsed(), "photo settled");
            envelope.held.settled();
            house.outcomes.settled(id);
            true
        }
        Ok(settled @ (Settled::LeaseLost | Settled::PhotoGone)) => {
            tracing::info!(photo = %id, ?settled, "result discarded: the photo is no longer this process's");
            survived(house, &envelope).await;
            envelope.held.settled();
            house.outcomes.settled(id);
            false
        }
        Ok(Settled::IntentGone) => {
            interrupted(house, envelope, "a variant's key was swept before it was published".to_owned()).await
        }
        Err(error) => interrupted(house, envelope, error.to_string()).await,
    }
}

/// Whoever has the job now must not take our attempt for one that killed its process.
async fn survived(house: &House, envelope: &Envelope) {
    let (job, lease) = (envelope.held.job.id, envelope.held.lease);
    let ended =
        house.metadata.transact("end attempt", |tx| async move { jobs::end_attempt(&tx, job, lease).await });
    if let Err(error) = ended.await {
        tracing::warn!(%job, %error, "could not note that an attempt under a lost lease has ended");
    }
}

async fn give_back(house: &House, envelope: Envelope, how: GiveBack) -> bool {
    let (job, lease, how) = (envelope.held.job.id, envelope.held.lease.id, &how);
    let given = house
        .metadata
        .transact("give job back", |tx| async move { jobs::give_back(&tx, job, lease, how).await })
        .await;
    match given {
        Ok(_) => envelope.held.settled(),
        Err(error) => tracing::error!(%job, %error, "could not give the job back; trying again"),
    }
    house.backlog.added();
    false
}
