//! `GET /v1/events`: what happens and concerns the caller, as server-sent events
//! (<https://html.spec.whatwg.org/multipage/server-sent-events.html>).
//!
//! An event's id is the cursor after it. Whoever comes again with the last one, by `Last-Event-ID`, is told what happened
//! meanwhile, each event once; where that is no longer known, they get an event `reset`. In silence the id moves on, too.

use std::fmt::Write;
use std::time::Duration;

use bytes::Bytes;
use darkroom_actors::events::{Cursor, Next, Subscription};
use darkroom_store::model::changes::{Change, What};
use futures_util::{Stream, stream};
use hyper::Method;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use crate::Api;
use crate::limits::{self, Limits};
use crate::places::Taken;
use crate::problem::Problem;
use crate::request::{Query, header};
use crate::response::{self, Answer};
use crate::routes::{Asking, Routed, Routes, not_allowed};
use crate::view::rfc3339;

/// What is answered here.
pub const ROUTES: Routes = &[("GET", "/v1/events")];

/// After how long a client comes again whose connection has ended.
const COME_AGAIN: Duration = Duration::from_secs(2);
/// How often it is looked whether the daemon ends.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How events are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventOptions {
    /// Streams at once on this node.
    pub subscribers_max: usize,
    /// After such a silence the id is told, so that proxies and clients see that somebody is there.
    pub heartbeat: Duration,
    /// How long one stream lasts.
    pub time_max: Duration,
}

impl Default for EventOptions {
    fn default() -> Self {
        Self {
            subscribers_max: 1000,
            heartbeat: Duration::from_secs(15),
            time_max: Duration::from_secs(3600),
        }
    }
}

impl EventOptions {
    /// Refuses options that cannot work.
    ///
    /// # Errors
    /// A sentence that names the setting and what to do.
    pub fn validate(&self) -> Result<(), String> {
        if self.subscribers_max == 0 {
            return Err("events.subscribers_max is 0: set it to 1 or more".to_owned());
        }
        let day = Duration::from_secs(24 * 3600);
        if self.heartbeat < LOOK_EVERY || self.heartbeat > self.time_max || self.time_max > day {
            return Err("events.heartbeat and events.time_max must be between 1s and 24h, and the heartbeat the shorter one"
                .to_owned());
        }
        Ok(())
    }
}

/// `GET /v1/events`.
pub async fn route(api: &Api, asking: Asking) -> Routed {
    let method = asking.request.method();
    let answer = if *method == Method::GET { follow(api, &asking).await } else { not_allowed("GET") };
    ("/v1/events", answer)
}

async fn follow(api: &Api, asking: &Asking) -> Result<Answer, Problem> {
    Query::parse(asking.request.uri().query(), &[])?;
    let user = asking.caller.user()?;
    let after = header(asking.request.headers(), "last-event-id").filter(|id| !id.is_empty());
    let after = after.map(str::parse::<Cursor>).transpose().map_err(|error| {
        Problem::new(
            "invalid-header",
            format!("Last-Event-ID is {error}: leave it out to begin with what happens now"),
        )
    })?;
    let options = &api.options().events;
    let place = api.event_places().take(Limits::party(&asking.caller)).ok_or_else(|| {
        limits::refused("event_streams");
        let detail = "as many event streams of yours are open as there is room for on this node; close one, or come later";
        Problem::new("too-many-subscribers", detail).retry_after(5)
    })?;
    let subscription = api.pipeline().subscribe(user, after).await?;
    let until = Instant::now() + options.time_max;
    let heartbeat = options.heartbeat;
    let following =
        Following { api: api.clone(), subscription, until, heartbeat, has_begun: false, _place: place };
    // Later than the stream ends by itself: for a client that takes nothing.
    let mut answer = response::streamed("text/event-stream", events(following), until + heartbeat);
    // Proxies that would gather what is sent are asked not to.
    answer.headers_mut().insert("x-accel-buffering", hyper::header::HeaderValue::from_static("no"));
    Ok(answer)
}

/// One client on its way through the events.
struct Following {
    api: Api,
    subscription: Subscription,
    until: Instant,
    heartbeat: Duration,
    has_begun: bool,
    _place: Taken,
}

fn events(following: Following) -> impl Stream<Item = Bytes> + Send + 'static {
    stream::unfold(Some(following), |following| async move {
        let mut following = following?;
        if !following.has_begun {
            following.has_begun = true;
            let head = format!("retry: {}\n\n", COME_AGAIN.as_millis());
            return Some((Bytes::from(head), Some(following)));
        }
        let (text, goes_on) = following.next().await;
        Some((Bytes::from(text), goes_on.then_some(following)))
    })
}

impl Following {
    /// What is to be sent next, and whether anything is after it.
    async fn next(&mut self) -> (String, bool) {
        let silent_until = Instant::now() + self.heartbeat;
        loop {
            if Instant::now() >= self.until || self.api.pipeline().is_draining() {
                return (": come again\n\n".to_owned(), false);
            }
            match self.subscription.next(LOOK_EVERY).await {
                Ok(Ok(Next::Event(event))) => return (event_text(&event.change, &event.cursor), true),
                Ok(Ok(Next::Reset(cursor))) => {
                    return (format!("event: reset\nid: {cursor}\ndata: {{}}\n\n"), true);
                }
                // An id without data moves the client's on, and is no event to it.
                Ok(Ok(Next::Nothing(cursor))) if Instant::now() >= silent_until => {
                    return (format!(": still here\nid: {cursor}\n\n"), true);
                }
                Ok(Ok(Next::Nothing(_))) => {}
                Ok(Err(too_slow)) => return (format!(": {too_slow}\n\n"), false),
                Err(error) => {
                    tracing::warn!(%error, "events could not be read; their client comes again");
                    return (": come again\n\n".to_owned(), false);
                }
            }
        }
    }
}

fn event_text(change: &Change, cursor: &Cursor) -> String {
    let (name, mut data) = view(&change.what);
    data.insert("at".to_owned(), json!(rfc3339(change.at)));
    let mut text = String::new();
    // Writing to a string does not fail, and JSON has no bare line ends.
    let _ = write!(text, "event: {name}\nid: {cursor}\ndata: {}\n\n", Value::Object(data));
    text
}

/// An event's name, and its data: ids, by which the rest is asked for.
fn view(what: &What) -> (&'static str, Map<String, Value>) {
    let (name, data) = match what {
        What::PhotoReady { photo, .. } => ("photo.ready", json!({"photo_id": photo})),
        What::PhotoFailed { photo, .. } => ("photo.failed", json!({"photo_id": photo})),
        What::PhotoChanged { photo, .. } => ("photo.changed", json!({"photo_id": photo})),
        What::PhotoDeleted { photo, .. } => ("photo.deleted", json!({"photo_id": photo})),
        What::PostPublished { post, author } => {
            ("post.published", json!({"post_id": post, "author_id": author}))
        }
        What::PostChanged { post, author } => ("post.changed", json!({"post_id": post, "author_id": author})),
        What::PostDeleted { post, author } => ("post.deleted", json!({"post_id": post, "author_id": author})),
        What::PostLiked { post, by, kind, .. } => {
            ("post.liked", json!({"post_id": post, "user_id": by, "kind": kind}))
        }
        What::PostUnliked { post, by, .. } => ("post.unliked", json!({"post_id": post, "user_id": by})),
        What::PostCommented { post, by, comment, .. } => {
            ("post.commented", json!({"post_id": post, "user_id": by, "comment_id": comment}))
        }
        What::CommentDeleted { post, by, comment, .. } => {
            ("comment.deleted", json!({"post_id": post, "user_id": by, "comment_id": comment}))
        }
        What::PostShared { post, by, share, .. } => {
            ("post.shared", json!({"post_id": post, "user_id": by, "share_id": share}))
        }
        What::UserFollowed { by, .. } => ("user.followed", json!({"user_id": by})),
        What::UserUnfollowed { by, .. } => ("user.unfollowed", json!({"user_id": by})),
        What::UserBlocked { by, .. } => ("user.blocked", json!({"user_id": by})),
        What::UserUnblocked { by, .. } => ("user.unblocked", json!({"user_id": by})),
        What::UserChanged { user } => ("user.changed", json!({"user_id": user})),
        What::UserDeleted { user } => ("user.deleted", json!({"user_id": user})),
        What::MessageSent { conversation, message, from, .. } => {
            ("message.sent", json!({"conversation_id": conversation, "message_id": message, "from": from}))
        }
    };
    let Value::Object(data) = data else { return (name, Map::new()) };
    (name, data)
}

#[cfg(test)]
mod tests {
    use darkroom_store::model::{PhotoId, Timestamp};

    use super::*;

    #[test]
    fn an_event_has_a_name_an_id_and_one_line_of_data() {
        let photo = PhotoId::new();
        let change = Change { at: Timestamp(0), what: What::PhotoReady { photo, owner: None } };
        let cursor: Cursor = "A".repeat(427).parse().unwrap();
        let text = event_text(&change, &cursor);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "event: photo.ready");
        assert_eq!(lines[1], format!("id: {cursor}"));
        let data: Value = serde_json::from_str(lines[2].strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!(data, json!({"photo_id": photo, "at": "1970-01-01T00:00:00.000Z"}));
        assert!(text.ends_with("\n\n"));
    }

    #[test]
    fn what_cannot_work_is_refused_by_its_key() {
        assert_eq!(EventOptions::default().validate(), Ok(()));
        let none = EventOptions { subscribers_max: 0, ..EventOptions::default() };
        assert!(none.validate().unwrap_err().contains("events.subscribers_max"));
        let silent = EventOptions { heartbeat: Duration::from_secs(7200), ..EventOptions::default() };
        assert!(silent.validate().unwrap_err().contains("events.heartbeat"));
    }
}
