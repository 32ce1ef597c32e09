//! Everything about HTTP that can be set.

use std::time::Duration;

use crate::BatchOptions;
use crate::EventOptions;
use crate::PeopleOptions;
use crate::auth::AuthOptions;
use crate::hooks::HooksOptions;
use crate::idempotency::IdempotencyOptions;
use crate::limits::ClientLimits;

/// Longest deadline that makes sense.
const DURATION_MAX: Duration = Duration::from_secs(24 * 3600);

/// How requests are taken.
#[derive(Clone, Debug)]
pub struct HttpOptions {
    /// Connections at once. Beyond it those of clients that have more than their share get 503, and beyond half as many more
    /// are closed; others are taken, up to twice as many.
    pub connections_max: usize,
    /// Connections of one client, 0 for any number. Beyond it requests get 429, and beyond twice as many connections are
    /// closed.
    pub connections_per_client_max: usize,
    /// Requests at once in all connections of HTTP/2, until their answers are sent; shared likewise.
    pub h2_requests_max: usize,
    /// Requests at once in one of them.
    pub h2_streams_max: u32,
    /// What a connection of HTTP/2 may send ahead, in bytes.
    pub h2_window_bytes: u32,
    /// A request's headers, in bytes. Also the most that is read of an HTTP/1.1 connection at once.
    pub header_bytes_max: u32,
    /// And their number.
    pub headers_max: usize,
    /// Largest body of a request that carries several photos, in bytes.
    pub request_bytes_max: u64,
    /// Files in such a request.
    pub parts_max: usize,
    /// Outcomes of such files that wait to be told, in all requests.
    pub form_outcomes_max: usize,
    /// Files in a tar archive.
    pub tar_entries_max: u64,
    /// Tar archives at once.
    pub tar_streams_max: usize,
    /// Bytes of the answer to one that may wait for a client which reads nothing before it has sent everything.
    pub tar_answer_bytes: u32,
    /// Until a tar archive must be complete.
    pub tar_timeout: Duration,
    /// How long a file of a tar archive, or a later one of a form, waits for room; and a line of an archive's answer for a
    /// client that reads.
    pub tar_patience: Duration,
    /// Until a request's headers must be complete.
    pub header_timeout: Duration,
    /// How long a body may send nothing.
    pub body_idle_timeout: Duration,
    /// Until a request's body must be complete.
    pub body_timeout: Duration,
    /// Bytes per second that a body must come to, 0 for none.
    pub body_rate_min: u64,
    /// The time over which that is reckoned.
    pub body_rate_window: Duration,
    /// Longest that `Prefer: wait` is honoured.
    pub wait_max: Duration,
    /// How long the rest of a refused request is read and discarded, so that its sender reads the answer.
    pub discard_timeout: Duration,
    /// How many bytes of it at most.
    pub discard_bytes_max: u64,
    /// Batches.
    pub batches: BatchOptions,
    /// People.
    pub people: PeopleOptions,
    /// How events are told.
    pub events: EventOptions,
    /// How idempotency keys are kept.
    pub idempotency: IdempotencyOptions,
    /// Origins whose pages may use the API, as browsers name them; `*` is any.
    pub cors_origins: Vec<String>,
    /// From whom events of the bucket are taken.
    pub hooks: HooksOptions,
    /// What each client may ask for.
    pub clients: ClientLimits,
    /// How people and programs sign in.
    pub auth: AuthOptions,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            connections_max: 1024,
            connections_per_client_max: 0,
            h2_requests_max: 1024,
            h2_streams_max: 32,
            h2_window_bytes: 64 << 10,
            header_bytes_max: 64 << 10,
            headers_max: 100,
            request_bytes_max: 4 << 30,
            parts_max: 1000,
            form_outcomes_max: 32_768,
            tar_entries_max: 100_000,
            tar_streams_max: 32,
            tar_answer_bytes: 2 << 20,
            tar_timeout: Duration::from_secs(3600),
            tar_patience: Duration::from_secs(30),
            header_timeout: Duration::from_secs(30),
            body_idle_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(600),
            body_rate_min: 1 << 10,
            body_rate_window: Duration::from_secs(10),
            wait_max: Duration::from_secs(60),
            discard_timeout: Duration::from_secs(2),
            discard_bytes_max: 256 << 20,
            batches: BatchOptions::default(),
            people: PeopleOptions::default(),
            events: EventOptions::default(),
            idempotency: IdempotencyOptions::default(),
            cors_origins: Vec::new(),
            hooks: HooksOptions::default(),
            clients: ClientLimits::default(),
            auth: AuthOptions::default(),
        }
    }
}

impl HttpOptions {
    /// Refuses options that cannot work.
    ///
    /// # Errors
    /// A sentence that names the setting and what to do.
    pub fn validate(&self) -> Result<(), String> {
        let durations = [
            ("http.header_timeout", self.header_timeout),
            ("http.body_idle_timeout", self.body_idle_timeout),
            ("http.body_timeout", self.body_timeout),
            ("http.tar_timeout", self.tar_timeout),
            ("http.tar_patience", self.tar_patience),
            ("http.body_rate_window", self.body_rate_window),
        ];
        if let Some((name, _)) = durations.iter().find(|(_, value)| value.is_zero()) {
            return Err(format!(
                "{name} is 0, and a request without a deadline is not allowed: set it to what a client may really take"
            ));
        }
        let others = [("http.wait_max", self.wait_max), ("http.discard_timeout", self.discard_timeout)];
        let mut all = durations.iter().chain(&others);
        if let Some((name, value)) = all.find(|(_, value)| *value > DURATION_MAX) {
            return Err(format!(
                "{name} is {} s, longer than a day: set it to what a client may really take",
                value.as_secs()
            ));
        }
        self.idempotency.validate()?;
        self.auth.validate()?;
        let is_origin = |origin: &str| {
            origin == "*"
                || origin.split_once("://").is_some_and(|(scheme, host)| {
                    matches!(scheme, "http" | "https") && !host.is_empty() && !host.contains(['/', ' ', '*'])
                })
        };
        if let Some(origin) = self.cors_origins.iter().find(|origin| !is_origin(origin)) {
            return Err(format!(
                "http.cors_origins has {origin:?}, which is no origin: give scheme, host and port as \
                 \"https://photos.example\" without a path, or \"*\" for any"
            ));
        }
        if self.connections_max == 0 {
            return Err("http.connections_max is 0: set it to 1 or more".to_owned());
        }
        if self.form_outcomes_max / 2 < self.parts_max {
            return Err(format!(
                "http.form_outcomes_max is {}, of which one client has at most half, and a multipart body may have {} \
                 files (http.parts_max): set it to twice that or more",
                self.form_outcomes_max, self.parts_max
            ));
        }
        let least = 64 << 10;
        if self.tar_answer_bytes < least {
            return Err(format!(
                "http.tar_answer_bytes is {}, too little for the lines of a few files: set it to {least} or more",
                self.tar_answer_bytes
            ));
        }
        self.batches.validate()?;
        self.people.validate()?;
        self.events.validate()?;
        self.hooks.validate()?;
        self.validate_protocol()?;
        self.clients.validate()
    }

    fn validate_protocol(&self) -> Result<(), String> {
        let ranges = [
            ("http.h2_requests_max", self.h2_requests_max as u64, 1, 1 << 20),
            ("http.h2_streams_max", self.h2_streams_max.into(), 1, 1000),
            ("http.h2_window", self.h2_window_bytes.into(), 65_535, 16 << 20),
            ("http.header_bytes_max", self.header_bytes_max.into(), 8 << 10, 1 << 20),
            ("http.headers_max", self.headers_max as u64, 10, 1000),
        ];
        let mut wrong = ranges.iter().filter(|(_, value, least, most)| !(least..=most).contains(&value));
        wrong.next().map_or(Ok(()), |(name, value, least, most)| {
            Err(format!("{name} is {value}: set it from {least} to {most}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_client_may_send_the_largest_form() {
        let options = |form_outcomes_max| HttpOptions { form_outcomes_max, ..HttpOptions::default() };
        assert_eq!(options(2000).validate(), Ok(()));
        assert!(options(1999).validate().unwrap_err().contains("http.form_outcomes_max is 1999"));
    }
}
