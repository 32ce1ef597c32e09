//! `/v1/hooks/s3`: the bucket tells what was put into it. See docs/direct-uploads.md.
//!
//! In the order in which an event meets them:
//!
//! - [`sns`]: a message of Amazon's notification service, and its signature. `certificate`: by whom. The
//!   webhook of MinIO is known by its token ([`HooksOptions::webhook_token`]).
//! - [`sqs`]: a queue that is polled, in place of being told. `signed`: its requests.
//! - [`events`]: what the messages of all of them say. `created`: what is done about it.
//!
//! Events are hints. They come again, late, out of order, and of objects that are gone; whoever may write to the topic,
//! the queue or the webhook may make some up. So each is only a reason to look: at the record of the direct upload that
//! the name belongs to, and at the object itself.

mod certificate;
mod created;
pub mod events;
mod options;
mod signed;
pub mod sns;
pub mod sqs;

use hyper::header::AUTHORIZATION;
use hyper::{HeaderMap, Method, StatusCode};
use ring::digest::{SHA256, digest};
use serde::Serialize;

use crate::Api;
use crate::caller::Caller;
use crate::held::Room;
use crate::outbound::Https;
use crate::problem::Problem;
use crate::request::header;
use crate::response::{self, Answer};
use crate::routes::{Asking, Routed, Routes, not_allowed};
use created::Tally;

pub use options::{HooksOptions, Secret};

/// What is answered here.
pub const ROUTES: Routes = &[("POST", "/v1/hooks/s3")];

/// Longest message: SNS and SQS take up to 256 KiB.
const BODY_BYTES_MAX: usize = 1 << 20;

/// What verifies messages, for the whole process.
#[derive(Debug)]
pub(crate) struct Hooks {
    verifier: sns::Verifier,
    /// For the messages of those who are not known yet, and of those who are.
    room: Room,
}

impl Hooks {
    pub(crate) fn new(options: &HooksOptions) -> Self {
        let fetch = Box::new(Https::default());
        Self {
            verifier: sns::Verifier::new(options.sns_topics.clone(), fetch),
            room: Room::new(options.held_bytes_max),
        }
    }
}

/// What was made of a request.
#[derive(Serialize)]
struct View {
    /// `events`, or `subscribed`.
    what: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    events: Option<Tally>,
}

/// Answers what is below `/v1/hooks`.
pub(crate) async fn route(api: &Api, asking: Asking, rest: &[&str]) -> Routed {
    match rest {
        ["s3"] if asking.request.method() == Method::POST => ("/v1/hooks/s3", take(api, asking).await),
        ["s3"] => ("/v1/hooks/s3", not_allowed("POST")),
        _ => (
            "unknown",
            Err(Problem::new("not-found", "there is nothing here: see /openapi.json for what there is")),
        ),
    }
}

async fn take(api: &Api, asking: Asking) -> Result<Answer, Problem> {
    let options = &api.options().hooks;
    let (headers, caller) = (asking.request.headers().clone(), asking.caller.clone());
    let is_sns = headers.contains_key("x-amz-sns-message-type");
    if is_sns && options.sns_topics.is_empty() || !is_sns && options.webhook_token.is_empty() {
        let keys = "direct.sns_topics for Amazon SNS, or direct.webhook_token for MinIO";
        let detail = format!("nobody is expected to send events here: set {keys}");
        return Err(Problem::new("hook-not-configured", detail));
    }
    if !is_sns && !has_token(&headers, options.webhook_token.expose()) {
        let detail = "the Authorization header does not have the token that direct.webhook_token says";
        return Err(Problem::new("hook-not-authentic", detail));
    }
    let (body, end) = (asking.request.into_body(), asking.end);
    let held = api.hooks().room.read(api, body, end, BODY_BYTES_MAX).await?;
    let message = held.bytes();
    if is_sns { sns_message(api, &caller, message).await } else { events(api, &caller, message).await }
}

/// Whether the token is the configured one. Digests are compared, so that the time tells nothing of what is right of
/// it.
fn has_token(headers: &HeaderMap, token: &str) -> bool {
    let given = header(headers, AUTHORIZATION.as_str()).unwrap_or_default();
    // As MinIO does: a token with a scheme before it is sent as it is.
    let given = given.strip_prefix("Bearer ").filter(|_| !token.contains(' ')).unwrap_or(given);
    let (given, token) = (digest(&SHA256, given.as_bytes()), digest(&SHA256, token.as_bytes()));
    given.as_ref() == token.as_ref()
}

async fn sns_message(api: &Api, caller: &Caller, body: &[u8]) -> Result<Answer, Problem> {
    match api.hooks().verifier.take(body).await? {
        sns::Message::Subscribed => {
            Ok(response::json(StatusCode::OK, &View { what: "subscribed", events: None }))
        }
        sns::Message::Notification(text) => events(api, caller, text.as_bytes()).await,
    }
}

async fn events(api: &Api, caller: &Caller, body: &[u8]) -> Result<Answer, Problem> {
    let created = events::read(body)?;
    let tally = created::take_all(api, caller, created).await;
    if let Some(why) = &tally.later {
        return Err(later(why.clone()));
    }
    Ok(response::json(StatusCode::OK, &View { what: "events", events: Some(tally) }))
}

/// Why a message is to come again, so that it does: SNS takes every status of 400 to 499 but 429 for its end.
fn later(why: Problem) -> Problem {
    if why.status_code() == StatusCode::SERVICE_UNAVAILABLE {
        return why;
    }
    let detail =
        format!("not all that the message tells of could be done now: {}; send it again", why.detail);
    Problem::new("hook-later", detail).retry_after(why.retry_after.unwrap_or(5))
}

#[cfg(test)]
mod tests {
    use darkroom_actors::direct::DirectError;
    use darkroom_store::model::UploadId;

    use super::*;

    #[test]
    fn what_is_to_come_again_is_told_in_a_way_that_makes_it_come_again() {
        let busy = later(DirectError::Busy(UploadId::new()).into());
        assert!(busy.is("hook-later") && busy.detail.contains("being finished"), "{busy:?}");
        for why in ["direct-upload-busy", "quota-exceeded", "too-many-uploads", "body-timeout", "draining"] {
            assert_eq!(
                later(Problem::new(why, "why")).status_code(),
                StatusCode::SERVICE_UNAVAILABLE,
                "{why}"
            );
        }
        assert!(later(Problem::new("store-unavailable", "it is away")).is("store-unavailable"));
    }

    #[test]
    fn a_token_is_taken_as_minio_sends_it() {
        let has = |value: &str, token: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, value.parse().unwrap());
            has_token(&headers, token)
        };
        assert!(has("Bearer secret", "secret") && has("secret", "secret") && has("Basic abc=", "Basic abc="));
        assert!(!has("Bearer other", "secret") && !has("", "secret") && !has("Bearer ", "secret"));
        assert!(!has_token(&HeaderMap::new(), "secret"));
    }
}
