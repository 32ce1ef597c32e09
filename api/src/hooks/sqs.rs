//! A queue of Amazon SQS is polled for events of the bucket.
//!
//! A message is deleted when all that it tells of is done. What could not be done now comes again when its visibility
//! ends, to whichever node asks then; so does what a node that died had taken. A message that nobody can read is
//! deleted, and said so in the log: it would come back until it is too old.

use std::time::Duration;

use darkroom_store::model::OwnerId;
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::signed::Queue;
use super::{HooksOptions, created, events};
use crate::Api;
use crate::caller::{Caller, ClientKey};

/// Longest that SQS waits for a message.
const WAIT_SECONDS: u64 = 20;
/// Most messages in one answer of SQS.
const MESSAGES_MAX: u64 = 10;
/// Messages that are worked on at once.
const AT_ONCE: usize = 4;
/// How long an answer may take, beside the wait.
const PATIENCE: Duration = Duration::from_secs(15);
/// The first pause after a failure; it doubles up to the longest.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// Polls the configured queue until it is stopped. Returns at once where none is configured.
pub async fn poll(api: Api, stop: CancellationToken) {
    let options = api.options().hooks.clone();
    if options.sqs_queue_url.is_empty() {
        return;
    }
    // What is cut off comes back when its visibility ends.
    stop.run_until_cancelled(Box::pin(poll_for_ever(&api, &options))).await;
}

async fn poll_for_ever(api: &Api, options: &HooksOptions) {
    let mut pause = PAUSE_FIRST;
    let mut queue = None;
    loop {
        let polled = async {
            let queue = match &mut queue {
                Some(queue) => queue,
                none => none
                    .insert(Queue::open(&options.sqs_queue_url, options.region().unwrap_or_default()).await?),
            };
            poll_once(api, queue, options).await
        };
        match polled.await {
            Ok(all_done) if all_done => pause = PAUSE_FIRST,
            Ok(_) => rest(&mut pause).await,
            Err(why) => {
                metrics::counter!("darkroom_sqs_failures_total").increment(1);
                tracing::warn!(
                    queue = options.sqs_queue_url,
                    why,
                    ?pause,
                    "the queue of events could not be polled"
                );
                rest(&mut pause).await;
            }
        }
    }
}

async fn rest(pause: &mut Duration) {
    tokio::time::sleep(*pause).await;
    *pause = (*pause * 2).min(PAUSE_MAX);
}

/// Takes some messages; whether all that they told of is done.
async fn poll_once(api: &Api, queue: &Queue, options: &HooksOptions) -> Result<bool, String> {
    let asked = json!({
        "MaxNumberOfMessages": MESSAGES_MAX,
        "WaitTimeSeconds": WAIT_SECONDS,
        "VisibilityTimeout": options.sqs_visibility.as_secs(),
    });
    let patience = PATIENCE + Duration::from_secs(WAIT_SECONDS);
    let answer = queue.call("ReceiveMessage", asked, patience).await?;
    let messages = answer["Messages"].as_array().cloned().unwrap_or_default();
    let work = stream::iter(messages).map(|message| take(api, queue, message));
    let done: Vec<bool> = work.buffer_unordered(AT_ONCE).collect().await;
    Ok(done.into_iter().all(|done| done))
}

/// Works on one message; whether it is done with.
async fn take(api: &Api, queue: &Queue, message: Value) -> bool {
    let text = |name: &str| message[name].as_str().unwrap_or_default();
    let tally = match events::read(text("Body").as_bytes()) {
        Ok(created) => {
            let nobody = Caller { owner: OwnerId::open(), client: ClientKey::Local };
            created::take_all(api, &nobody, created).await
        }
        Err(problem) => {
            tracing::error!(
                message = text("MessageId"),
                why = problem.detail,
                "a message of the queue of events cannot be read; it is thrown away"
            );
            created::Tally::default()
        }
    };
    if let Some(why) = &tally.later {
        tracing::debug!(message = text("MessageId"), why = why.detail, "an event comes again later");
        return false;
    }
    let deleted =
        queue.call("DeleteMessage", json!({ "ReceiptHandle": text("ReceiptHandle") }), PATIENCE).await;
    if let Err(why) = deleted {
        tracing::warn!(
            message = text("MessageId"),
            why,
            "a message that is done with could not be deleted; it comes again"
        );
        return false;
    }
    true
}
