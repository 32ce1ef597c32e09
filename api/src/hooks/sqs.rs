//! A queue of Amazon SQS is polled for events of the bucket.
//!
//! A message is deleted when all that it tells of is done. What could not be done now comes again when its visibility
//! ends, to whichever node asks then; so does what a node that died had taken. A message that nobody can read is
//! deleted, and said so in the log: it would come back until it is too old.
//!
//! A message that takes long, or cannot be done, holds up no other: each has a place of its own while it is worked on, and
//! is hidden for longer each time it comes again. The polling itself rests only while the queue, the store, or this node
//! has trouble that every message would meet.

use std::sync::Arc;
use std::time::Duration;

use darkroom_store::model::UserId;
use hyper::StatusCode;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::signed::Queue;
use super::{HooksOptions, created, events};
use crate::Api;
use crate::caller::{Caller, ClientKey};

/// Longest that SQS waits for a message.
const WAIT_SECONDS: u64 = 20;
/// Messages that are worked on at once; as many as SQS gives in one answer.
const AT_ONCE: usize = 10;
/// What SQS tells of a message: how often it was given to somebody.
const RECEIVED: &str = "ApproximateReceiveCount";
/// Longest that a message is hidden that comes again and again.
const HIDDEN_MAX: Duration = Duration::from_secs(3600);
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
    let (mut pause, mut work, mut queue) = (Pause::default(), JoinSet::new(), None);
    let mut is_failing = false;
    loop {
        while let Some(taken) = work.try_join_next() {
            pause.note(taken.unwrap_or(Taken::Later));
        }
        while work.len() >= AT_ONCE {
            pause.note(work.join_next().await.and_then(Result::ok).unwrap_or(Taken::Later));
        }
        pause.rest().await;
        match receive(&mut queue, options, AT_ONCE - work.len()).await {
            Ok((queue, messages)) => {
                if std::mem::take(&mut is_failing) {
                    pause = Pause::default();
                }
                for message in messages {
                    work.spawn(take(api.clone(), Arc::clone(&queue), message, options.sqs_visibility));
                }
            }
            Err(why) => {
                metrics::counter!("darkroom_sqs_failures_total").increment(1);
                let next = pause.next;
                tracing::warn!(
                    queue = options.sqs_queue_url,
                    why,
                    pause = ?next,
                    "the queue of events could not be polled"
                );
                (pause.is_due, is_failing) = (true, true);
            }
        }
    }
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taken {
    /// It is deleted.
    Done,
    /// It comes again, for a reason of its own.
    Later,
    /// It comes again, for a reason that others meet as well: the store is away, or this node is full.
    Away,
}

/// When the polling rests.
#[derive(Debug)]
struct Pause {
    next: Duration,
    is_due: bool,
}

impl Default for Pause {
    fn default() -> Self {
        Self { next: PAUSE_FIRST, is_due: false }
    }
}

impl Pause {
    fn note(&mut self, taken: Taken) {
        match taken {
            Taken::Done => *self = Self::default(),
            Taken::Later => {}
            Taken::Away => self.is_due = true,
        }
    }

    async fn rest(&mut self) {
        if std::mem::take(&mut self.is_due) {
            tokio::time::sleep(self.next).await;
            self.next = (self.next * 2).min(PAUSE_MAX);
        }
    }
}

/// Takes up to so many messages, with the queue, which is opened first.
async fn receive(
    queue: &mut Option<Arc<Queue>>,
    options: &HooksOptions,
    places: usize,
) -> Result<(Arc<Queue>, Vec<Value>), String> {
    let queue = match queue {
        Some(queue) => queue,
        none => {
            let region = options.region().unwrap_or_default();
            none.insert(Arc::new(Queue::open(&options.sqs_queue_url, region).await?))
        }
    };
    let asked = json!({
        "MaxNumberOfMessages": places,
        "WaitTimeSeconds": WAIT_SECONDS,
        "VisibilityTimeout": options.sqs_visibility.as_secs(),
        "AttributeNames": [RECEIVED],
    });
    let patience = PATIENCE + Duration::from_secs(WAIT_SECONDS);
    let mut answer = queue.call("ReceiveMessage", asked, patience).await?;
    let messages = match answer["Messages"].take() {
        Value::Array(messages) => messages,
        _ => Vec::new(),
    };
    Ok((Arc::clone(queue), messages))
}

/// Works on one message.
async fn take(api: Api, queue: Arc<Queue>, message: Value, visibility: Duration) -> Taken {
    let text = |name: &str| message[name].as_str().unwrap_or_default();
    let tally = match events::read(text("Body").as_bytes()) {
        Ok(created) => {
            let nobody = Caller::of(UserId::OPEN, ClientKey::Local);
            created::take_all(&api, &nobody, created).await
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
        if why.status_code() == StatusCode::SERVICE_UNAVAILABLE {
            return Taken::Away;
        }
        hide(&queue, &message, visibility).await;
        return Taken::Later;
    }
    let deleted =
        queue.call("DeleteMessage", json!({ "ReceiptHandle": text("ReceiptHandle") }), PATIENCE).await;
    if let Err(why) = deleted {
        tracing::warn!(
            message = text("MessageId"),
            why,
            "a message that is done with could not be deleted; it comes again"
        );
        return Taken::Away;
    }
    Taken::Done
}

/// Lets a message that has come again come later still.
async fn hide(queue: &Queue, message: &Value, visibility: Duration) {
    let received = message["Attributes"][RECEIVED].as_str().and_then(|count| count.parse().ok()).unwrap_or(1);
    let hidden = hidden_for(visibility, received);
    if hidden <= visibility {
        return;
    }
    let asked = json!({ "ReceiptHandle": message["ReceiptHandle"], "VisibilityTimeout": hidden.as_secs() });
    if let Err(why) = queue.call("ChangeMessageVisibility", asked, PATIENCE).await {
        tracing::debug!(why, "a message of the queue of events comes again sooner than it might");
    }
}

/// How long a message is hidden that was received so often and could not be done with.
fn hidden_for(visibility: Duration, received: u32) -> Duration {
    let doubled = visibility.saturating_mul(1 << received.saturating_sub(1).min(20));
    doubled.min(HIDDEN_MAX.max(visibility))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_again_and_again_comes_ever_later() {
        let hidden = |visibility, received| hidden_for(Duration::from_secs(visibility), received).as_secs();
        let times: Vec<_> = [0, 1, 2, 3, 4, 5, u32::MAX].map(|received| hidden(300, received)).into();
        assert_eq!(times, [300, 300, 600, 1200, 2400, 3600, 3600]);
        assert_eq!(hidden(12 * 3600, 7), 12 * 3600);
    }

    #[tokio::test(start_paused = true)]
    async fn the_polling_rests_for_trouble_of_all_and_not_for_that_of_one() {
        let mut pause = Pause::default();
        let rested = async |pause: &mut Pause, taken| {
            let began = tokio::time::Instant::now();
            pause.note(taken);
            pause.rest().await;
            began.elapsed().as_secs()
        };
        assert_eq!(rested(&mut pause, Taken::Later).await, 0);
        for expected in [1, 2, 4, 8, 16, 32, 60, 60] {
            assert_eq!(rested(&mut pause, Taken::Away).await, expected);
            assert_eq!(rested(&mut pause, Taken::Later).await, 0);
        }
        assert_eq!(rested(&mut pause, Taken::Done).await, 0);
        assert_eq!(rested(&mut pause, Taken::Away).await, 1);
    }
}
