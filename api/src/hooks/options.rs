//! Everything about events of the bucket that can be set.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::certificate::Service;

/// Two of the largest bodies: those of 10,000 parts.
const HELD_BYTES_LEAST: usize = 4 << 20;
/// Longest that SQS hides a message.
const VISIBILITY_MAX: Duration = Duration::from_secs(12 * 3600);

/// From whom events are taken. From nobody, unless something is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HooksOptions {
    /// The ARNs of the topics of SNS whose messages are taken.
    pub sns_topics: Vec<String>,
    /// What MinIO sends in the header `Authorization`; empty: nothing is taken of it.
    pub webhook_token: Secret,
    /// The URL of a queue of SQS that is polled; empty: none is.
    pub sqs_queue_url: String,
    /// The region of that queue; empty: by its URL.
    pub sqs_region: String,
    /// How long a message that is being worked on is hidden from others.
    pub sqs_visibility: Duration,
    /// Bytes of messages that are held at once; and of what clients say of direct uploads as many again.
    pub held_bytes_max: usize,
}

impl Default for HooksOptions {
    fn default() -> Self {
        Self {
            sns_topics: Vec::new(),
            webhook_token: Secret::default(),
            sqs_queue_url: String::new(),
            sqs_region: String::new(),
            sqs_visibility: Duration::from_secs(300),
            held_bytes_max: 16 << 20,
        }
    }
}

impl HooksOptions {
    /// Refuses options that cannot work.
    ///
    /// # Errors
    /// A sentence that names the setting and what to do.
    pub fn validate(&self) -> Result<(), String> {
        if self.held_bytes_max < HELD_BYTES_LEAST {
            return Err(format!(
                "direct.held_bytes_max is {}, too little for one message: set it to 4 MiB or more",
                self.held_bytes_max
            ));
        }
        if let Some(bad) = self.sns_topics.iter().find(|arn| Service::of(arn).is_none()) {
            return Err(format!(
                "direct.sns_topics has {bad:?}: give the topic's ARN, like \"arn:aws:sns:eu-central-1:123456789012:photos\""
            ));
        }
        let url = &self.sqs_queue_url;
        if !url.is_empty() && !url.starts_with("https://") && !url.starts_with("http://") {
            return Err(format!("direct.sqs_queue_url is {url:?}: begin it with https://"));
        }
        if !url.is_empty() && self.region().is_none() {
            return Err(format!(
                "direct.sqs_queue_url is {url:?}, which does not name its region: set direct.sqs_region"
            ));
        }
        if !(Duration::from_secs(10)..=VISIBILITY_MAX).contains(&self.sqs_visibility) {
            return Err(
                "direct.sqs_visibility must be from 10 s to 12 h: set it to several times what a photo takes to be copied"
                    .to_owned(),
            );
        }
        Ok(())
    }

    /// The region of the queue, as said, or by its URL: `https://sqs.<region>.amazonaws.com/…`.
    #[must_use]
    pub fn region(&self) -> Option<&str> {
        if !self.sqs_region.is_empty() {
            return Some(&self.sqs_region);
        }
        let host = self.sqs_queue_url.split("://").nth(1)?;
        let region = host.strip_prefix("sqs.")?.split('.').next()?;
        host.contains(".amazonaws.com").then_some(region)
    }
}

/// Text that no log shows.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The text.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_empty() { "\"\"" } else { "\"…\"" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_work_is_refused_by_key() {
        HooksOptions::default().validate().unwrap();
        let queue = |url: &str| HooksOptions { sqs_queue_url: url.to_owned(), ..Default::default() };
        assert!(queue("sqs.eu-west-1.amazonaws.com/1/q").validate().unwrap_err().contains("sqs_queue_url"));
        assert!(queue("https://localhost/1/q").validate().unwrap_err().contains("direct.sqs_region"));
        let ours = queue("https://sqs.eu-west-1.amazonaws.com/1/q");
        ours.validate().unwrap();
        assert_eq!(ours.region(), Some("eu-west-1"));
        for topic in
            ["photos", "arn:aws:sqs:eu-west-1:1:photos", "arn:aws:sns::1:photos", "arn:aws:sns:a.b:1:x"]
        {
            let topic = HooksOptions { sns_topics: vec![topic.to_owned()], ..Default::default() };
            assert!(topic.validate().unwrap_err().contains("direct.sns_topics"), "{topic:?}");
        }
        let small = HooksOptions { held_bytes_max: 1 << 20, ..Default::default() };
        assert!(small.validate().unwrap_err().contains("direct.held_bytes_max"));
    }

    #[test]
    fn a_secret_is_not_shown() {
        let options = HooksOptions { webhook_token: "hunter2".into(), ..Default::default() };
        assert!(!format!("{options:?}").contains("hunter2"));
    }
}
