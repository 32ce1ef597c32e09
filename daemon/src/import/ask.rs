//! Small questions in JSON, asked until there is an answer.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::{HeaderMap as Headers, Method};
use serde::Serialize;

use super::client::{Answer, Client};
use super::keys;
use super::patience::{GaveUp, Reason, Tries, judge};
use super::source::Payload;
use super::stop::Stop;

/// Asks one daemon. Cheap to clone.
#[derive(Clone)]
pub(super) struct Asker {
    pub(super) client: Arc<Client>,
    pub(super) stop: Stop,
    pub(super) patience: Duration,
}

impl Asker {
    /// The tries of something that is about to be done.
    pub(super) fn tries(&self) -> Tries<'_> {
        Tries::new(&self.client, &self.stop, self.patience)
    }

    /// Asks, again and again where that may help.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        question: Option<&impl Serialize>,
    ) -> Result<Answer, GaveUp> {
        self.ask_with(method, path, question, &[]).await
    }

    /// The same with headers.
    pub(super) async fn ask_with(
        &self,
        method: Method,
        path: &str,
        question: Option<&impl Serialize>,
        more: &[(&'static str, &str)],
    ) -> Result<Answer, GaveUp> {
        let failed = |error: &dyn std::fmt::Display| GaveUp::Failed(Reason::local(error.to_string()));
        let mut headers: Headers = HeaderMap::new();
        for (name, value) in more {
            let value = HeaderValue::from_str(value).map_err(|error| failed(&error))?;
            headers.insert(HeaderName::from_static(name), value);
        }
        let mut body = Bytes::new();
        if let Some(question) = question {
            body = serde_json::to_vec(question).map_err(|error| failed(&error))?.into();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let mut tries = self.tries();
        loop {
            let sent =
                self.client.send(method.clone(), path, headers.clone(), Payload::of(body.clone())).await;
            let verdict = judge(sent);
            if keys::is_too_many(&verdict, &mut headers) {
                continue;
            }
            if let Some(answer) = tries.weigh(verdict).await? {
                tries.went_forward();
                return Ok(answer);
            }
        }
    }
}
