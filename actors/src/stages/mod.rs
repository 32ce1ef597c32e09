//! The stages of the pipeline, in the order in which a photo meets them. One actor each: it owns its queue
//! and its concurrency, starts the work elsewhere (an async task, or a closure on the compute pool), and
//! gets the result back as a message.

pub(crate) mod decoder;
pub(crate) mod ingestor;
pub(crate) mod publisher;
pub(crate) mod resizer;
pub(crate) mod uploader;

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use darkroom_store::life::Nodes;
use darkroom_store::metadata::Metadata;
use darkroom_store::model::Epoch;
use darkroom_store::objects::ObjectStore;
use futures_util::FutureExt;
use ractor::{ActorRef, Message};

use crate::compute::ComputePool;
use crate::faults::Faults;
use crate::heart::Fate;
use crate::held::HeldJobs;
use crate::keys::Keys;
use crate::outcomes::Outcomes;
use crate::permits::Admission;
use crate::{Backlog, PipelineOptions};

/// What every stage may use. Nothing here belongs to a stage.
#[derive(Clone)]
pub(crate) struct House {
    pub(crate) options: Arc<PipelineOptions>,
    pub(crate) metadata: Metadata,
    pub(crate) objects: ObjectStore,
    pub(crate) epoch: Epoch,
    pub(crate) nodes: Nodes,
    pub(crate) history: u64,
    pub(crate) admission: Admission,
    pub(crate) compute: Arc<ComputePool>,
    pub(crate) keys: Keys,
    pub(crate) held: HeldJobs,
    pub(crate) fate: Fate,
    pub(crate) outcomes: Outcomes,
    pub(crate) backlog: Arc<Backlog>,
    pub(crate) faults: Faults,
}

/// Runs `work` as a task and sends its result, with the time it took, back to the actor. If the actor has
/// died in the meantime the result is dropped, and with it whatever it holds. A panic in the work is a bug of
/// the actor's, and ends it: its supervisor starts anew, so that no count of running work stays too high.
pub(crate) fn start<M, T>(
    myself: &ActorRef<M>,
    work: impl Future<Output = T> + Send + 'static,
    finished: impl FnOnce(T, Duration) -> M + Send + 'static,
) where
    M: Message,
    T: Send,
{
    let myself = myself.clone();
    tokio::spawn(async move {
        let began = Instant::now();
        match AssertUnwindSafe(work).catch_unwind().await {
            Ok(result) => send(&myself, finished(result, began.elapsed())),
            Err(panic) => {
                let reason = format!("its work panicked: {}", crate::compute::message(&*panic));
                myself.stop(Some(reason));
            }
        }
    });
}

/// Sends a message to an actor that may be dead: then the message is dropped, which gives back everything
/// that it holds, and the Reconciler brings the job again.
pub(crate) fn send<M: Message>(to: &ActorRef<M>, message: M) {
    if to.send_message(message).is_err() {
        tracing::debug!(actor = ?to.get_id(), "message to a dead actor dropped; its job goes back to the queue");
    }
}
