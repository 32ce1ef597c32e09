//! `GET /v1/batches/{id}/events`: the counts as they change, as server-sent events
//! (<https://html.spec.whatwg.org/multipage/server-sent-events.html>).

use std::fmt::Write;
use std::sync::Arc;

use bytes::Bytes;
use darkroom_store::model::Timestamp;
use futures_util::{Stream, stream};
use hyper::{HeaderMap, StatusCode};
use tokio::time::{Duration, Instant, timeout_at};

use super::find;
use super::followers::{Follower, Seen, Snapshot};
use super::records::look;
use crate::Api;
use crate::caller::Caller;
use crate::problem::Problem;
use crate::request::{Query, header};
use crate::response::{self, Answer};

/// After how long a client comes again whose connection has ended.
const COME_AGAIN: Duration = Duration::from_secs(2);

/// Follows a batch until it is complete, or for as long as one request may. Every event has the whole batch; its id names
/// the counts, and whoever comes again with the id of the last event is not told the same once more.
///
/// # Errors
/// `batch-not-found`, `too-many-subscribers`, and those of the store.
pub async fn follow(
    api: &Api,
    caller: &Caller,
    headers: &HeaderMap,
    query: Option<&str>,
    id: &str,
) -> Result<Answer, Problem> {
    Query::parse(query, &[])?;
    let batch = find(api, caller, id).await?;
    let id = batch.id;
    let now = Snapshot::new(&look(api.pipeline().metadata(), batch).await?)?;
    let told = header(headers, "last-event-id").map(ToOwned::to_owned);
    if now.complete && told.as_deref() == Some(&now.version) {
        // The specification's way to say: do not come again.
        return Ok(response::empty(StatusCode::NO_CONTENT));
    }
    let options = &api.options().batches;
    let follower = api.followers().join(api, caller, id, now.clone())?;
    let until = Instant::now() + options.events_time_max;
    let heartbeat = options.events_heartbeat;
    let following = Following { follower, told, as_of: now.updated, until, heartbeat, begun: Some(now) };
    // Later than the stream ends by itself: for a client that takes nothing.
    let mut answer = response::streamed("text/event-stream", events(following), until + heartbeat);
    // Proxies that would gather what is sent are asked not to.
    answer.headers_mut().insert("x-accel-buffering", hyper::header::HeaderValue::from_static("no"));
    Ok(answer)
}

/// One client on its way through the events.
struct Following {
    follower: Follower,
    /// The id of the last event that the client has.
    told: Option<String>,
    /// Of when that was: what is older is not told any more.
    as_of: Timestamp,
    until: Instant,
    heartbeat: Duration,
    /// What is to be told before anything is waited for.
    begun: Option<Arc<Snapshot>>,
}

fn events(following: Following) -> impl Stream<Item = Bytes> + Send + 'static {
    stream::unfold(Some(following), |following| async move {
        let mut following = following?;
        let (text, goes_on) = match following.begun.take() {
            Some(now) => {
                let head = format!("retry: {}\n\n", COME_AGAIN.as_millis());
                let (event, goes_on) = following.tell(&now);
                (head + &event, goes_on)
            }
            None => following.next().await,
        };
        Some((Bytes::from(text), goes_on.then_some(following)))
    })
}

impl Following {
    /// What is to be sent next, and whether anything is after it.
    async fn next(&mut self) -> (String, bool) {
        let silent_until = self.until.min(Instant::now() + self.heartbeat);
        loop {
            match timeout_at(silent_until, self.follower.seen.changed()).await {
                // The deadline, which a comment tells: the client comes again by itself.
                Err(_) if Instant::now() >= self.until => return (": come again\n\n".to_owned(), false),
                Err(_) => return (": still here\n\n".to_owned(), true),
                // Nobody looks any more. What was told last may not be what was seen last.
                Ok(Err(_)) => {
                    let seen = self.follower.seen.borrow().clone();
                    return match seen {
                        Seen::Standing(now) => (self.tell(&now).0, false),
                        Seen::Ended => (String::new(), false),
                    };
                }
                Ok(Ok(())) => {
                    let seen = self.follower.seen.borrow_and_update().clone();
                    let Seen::Standing(now) = seen else { return (": come again\n\n".to_owned(), false) };
                    if self.told.as_ref() != Some(&now.version) && now.updated >= self.as_of {
                        return self.tell(&now);
                    }
                }
            }
        }
    }

    /// The event of `now`, if the client does not have it, and whether more are to come.
    fn tell(&mut self, now: &Snapshot) -> (String, bool) {
        let mut text = String::new();
        if self.told.as_ref() != Some(&now.version) {
            let name = if now.complete { "complete" } else { "counts" };
            // Writing to a string does not fail.
            let _ = write!(text, "event: {name}\nid: {}\ndata: {}\n\n", now.version, now.json);
            self.told = Some(now.version.clone());
            self.as_of = now.updated;
        }
        (text, !now.complete)
    }
}
