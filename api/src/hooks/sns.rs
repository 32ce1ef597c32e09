//! Messages of Amazon SNS ("Parsing Amazon SNS message formats" and "Verifying the signatures of Amazon SNS messages",
//! Amazon SNS developer guide).
//!
//! A message is taken if its topic is configured, and its signature is by a certificate that SNS serves in the topic's
//! region. A subscription is confirmed by fetching a URL that the message names: of that host, too.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::Uri;
use serde::Deserialize;
use tokio::sync::Semaphore;

use super::certificate::{Certificate, Digest, Service};
pub use crate::outbound::Fetch;
use crate::problem::Problem;

/// Certificates that are kept: Amazon has one per region, and a new one every year or so.
const CERTIFICATES_MAX: usize = 16;
/// Requests to Amazon at a time.
const FETCHES_MAX: usize = 4;

/// A message that was verified.
#[derive(Debug, PartialEq, Eq)]
pub enum Message {
    /// The topic sends its messages here from now on; or will not any more.
    Subscribed,
    /// What somebody has published.
    Notification(String),
}

/// Takes messages of some topics.
pub struct Verifier {
    topics: Vec<String>,
    fetch: Box<dyn Fetch>,
    /// By URL.
    certificates: Mutex<HashMap<String, Certificate>>,
    /// Requests to Amazon at a time.
    fetches: Semaphore,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("topics", &self.topics).finish_non_exhaustive()
    }
}

/// A message as it comes.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Envelope {
    #[serde(rename = "Type")]
    kind: String,
    message_id: String,
    #[serde(default)]
    token: Option<String>,
    topic_arn: String,
    #[serde(default)]
    subject: Option<String>,
    message: String,
    timestamp: String,
    signature_version: String,
    signature: String,
    #[serde(rename = "SigningCertURL")]
    certificate_url: String,
    #[serde(rename = "SubscribeURL", default)]
    subscribe_url: Option<String>,
}

impl Envelope {
    /// What is signed of it: names and values, each on a line of its own, in the order of the names.
    fn signed(&self) -> String {
        let fields = [
            ("Message", Some(&self.message)),
            ("MessageId", Some(&self.message_id)),
            ("SubscribeURL", self.subscribe_url.as_ref().filter(|_| !self.is_notification())),
            ("Subject", self.subject.as_ref().filter(|_| self.is_notification())),
            ("Timestamp", Some(&self.timestamp)),
            ("Token", self.token.as_ref().filter(|_| !self.is_notification())),
            ("TopicArn", Some(&self.topic_arn)),
            ("Type", Some(&self.kind)),
        ];
        let lines = fields.iter().filter_map(|(name, value)| Some(format!("{name}\n{}\n", value.as_ref()?)));
        lines.collect()
    }

    fn is_notification(&self) -> bool {
        self.kind == "Notification"
    }
}

impl Verifier {
    /// For messages of these topics; certificates and confirmations are fetched by `fetch`.
    #[must_use]
    pub fn new(topics: Vec<String>, fetch: Box<dyn Fetch>) -> Self {
        Self { topics, fetch, certificates: Mutex::default(), fetches: Semaphore::new(FETCHES_MAX) }
    }

    /// Verifies a message, and confirms a subscription.
    ///
    /// # Errors
    /// `invalid-json`; `hook-not-authentic`; `hook-unverifiable` where Amazon could not be asked.
    pub async fn take(&self, body: &[u8]) -> Result<Message, Problem> {
        let envelope: Envelope = serde_json::from_slice(body)
            .map_err(|error| Problem::new("invalid-json", format!("this is no message of SNS: {error}")))?;
        if !self.topics.contains(&envelope.topic_arn) {
            let detail = format!("direct.sns_topics does not name the topic {:?}", envelope.topic_arn);
            return Err(Problem::new("hook-not-authentic", detail));
        }
        let service = Service::of(&envelope.topic_arn).ok_or_else(|| {
            let detail = format!("{:?} does not say in which region the topic is", envelope.topic_arn);
            Problem::new("hook-not-authentic", detail)
        })?;
        self.verify(&envelope, &service).await?;
        match envelope.kind.as_str() {
            "Notification" => Ok(Message::Notification(envelope.message)),
            "SubscriptionConfirmation" => self.confirm(&envelope, &service).await,
            "UnsubscribeConfirmation" => {
                tracing::warn!(
                    topic = envelope.topic_arn,
                    "a topic of SNS tells nothing to this daemon any more"
                );
                Ok(Message::Subscribed)
            }
            other => Err(Problem::new("invalid-json", format!("messages of type {other:?} are not known"))),
        }
    }

    async fn verify(&self, envelope: &Envelope, service: &Service) -> Result<(), Problem> {
        let digest = match envelope.signature_version.as_str() {
            "1" => Digest::Sha1,
            "2" => Digest::Sha256,
            other => {
                return Err(Problem::new(
                    "hook-not-authentic",
                    format!("signature version {other:?} is not known"),
                ));
            }
        };
        let signature = STANDARD
            .decode(&envelope.signature)
            .map_err(|_| Problem::new("hook-not-authentic", "the signature is not in base64"))?;
        let certificate = self.certificate(&envelope.certificate_url, service).await?;
        // Again for each message: one that is kept ends some day.
        let unfit =
            |why| Problem::new("hook-not-authentic", format!("the certificate of the message: {why}"));
        certificate.check(SystemTime::now(), service).map_err(unfit)?;
        if !certificate.has_signed(digest, envelope.signed().as_bytes(), &signature) {
            return Err(Problem::new("hook-not-authentic", "the signature is not of this message"));
        }
        Ok(())
    }

    /// The certificate at this URL, fetched once.
    async fn certificate(&self, url: &str, service: &Service) -> Result<Certificate, Problem> {
        let path = of_service(url, service)?;
        // An action of SNS's own may answer with what its caller has said.
        let is_certificate =
            path.starts_with("/SimpleNotificationService-") && path.strip_suffix(".pem").is_some();
        if !is_certificate || path.contains('?') {
            let detail = format!("{url:?} is not where Amazon SNS has its certificates");
            return Err(Problem::new("hook-not-authentic", detail));
        }
        if let Some(certificate) = self.kept().get(url) {
            return Ok(certificate.clone());
        }
        let pem = self.fetch(url).await?;
        let certificate = Certificate::from_pem(&pem)
            .map_err(|why| Problem::new("hook-not-authentic", format!("what {url} serves: {why}")))?;
        let mut kept = self.kept();
        if kept.len() >= CERTIFICATES_MAX {
            kept.clear();
        }
        kept.insert(url.to_owned(), certificate.clone());
        Ok(certificate)
    }

    fn kept(&self) -> MutexGuard<'_, HashMap<String, Certificate>> {
        self.certificates.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn confirm(&self, envelope: &Envelope, service: &Service) -> Result<Message, Problem> {
        let url = envelope.subscribe_url.as_deref().unwrap_or_default();
        of_service(url, service)?;
        self.fetch(url).await?;
        tracing::info!(
            topic = envelope.topic_arn,
            "a topic of SNS tells this daemon of its events from now on"
        );
        Ok(Message::Subscribed)
    }

    async fn fetch(&self, url: &str) -> Result<Bytes, Problem> {
        // The URL of a confirmation is a secret until it is used.
        let host = url.split('?').next().unwrap_or_default();
        let unverifiable = |why: &str| {
            tracing::warn!(host, why, "Amazon SNS could not be asked");
            let detail = format!("{host} did not answer: {why}; send the message again");
            Problem::new("hook-unverifiable", detail).retry_after(10)
        };
        // Whoever sends messages that are none makes us ask no more than so often.
        let _place =
            self.fetches.try_acquire().map_err(|_| unverifiable("too much is asked of it already"))?;
        self.fetch.fetch(url).await.map_err(|why| unverifiable(&why))
    }
}

/// Path and query of a URL that is of this service, and of nothing else.
fn of_service(url: &str, service: &Service) -> Result<String, Problem> {
    let parsed = url.parse::<Uri>().ok();
    let parts =
        parsed.as_ref().and_then(|uri| Some((uri.scheme_str()?, uri.authority()?, uri.path_and_query()?)));
    match parts {
        // With nothing before or behind the host: neither a name nor a port.
        Some(("https", authority, path))
            if authority.as_str() == authority.host() && service.is_host(authority.host()) =>
        {
            Ok(path.to_string())
        }
        _ => {
            let detail =
                format!("the message names {url:?}, which is not Amazon SNS in the region of the topic");
            Err(Problem::new("hook-not-authentic", detail))
        }
    }
}

#[cfg(test)]
mod tests;
