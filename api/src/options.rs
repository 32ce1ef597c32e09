//! Everything about HTTP that can be set.

use std::time::Duration;

use crate::BatchOptions;
use crate::idempotency::IdempotencyOptions;

/// Longest deadline that makes sense.
const DURATION_MAX: Duration = Duration::from_secs(24 * 3600);

/// How requests are taken.
#[derive(Clone, Debug)]
pub struct HttpOptions {
    /// Connections at once. Beyond it requests get 503, and beyond twice as many connections are closed.
    pub connections_max: usize,
    /// Largest body of a request that carries several photos, in bytes.
    pub request_bytes_max: u64,
    /// Files in such a request.
    pub parts_max: usize,
    /// Until a request's headers must be complete.
    pub header_timeout: Duration,
    /// How long a body may send nothing.
    pub body_idle_timeout: Duration,
    /// Until a request's body must be complete.
    pub body_timeout: Duration,
    /// Longest that `Prefer: wait` is honoured.
    pub wait_max: Duration,
    /// How long the rest of a refused request is read and discarded, so that its sender reads the answer.
    pub discard_timeout: Duration,
    /// How many bytes of it at most.
    pub discard_bytes_max: u64,
    /// Batches.
    pub batches: BatchOptions,
    /// How idempotency keys are kept.
    pub idempotency: IdempotencyOptions,
    /// Origins whose pages may use the API, as browsers name them; `*` is any.
    pub cors_origins: Vec<String>,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            connections_max: 1024,
            request_bytes_max: 4 << 30,
            parts_max: 1000,
            header_timeout: Duration::from_secs(30),
            body_idle_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(600),
            wait_max: Duration::from_secs(60),
            discard_timeout: Duration::from_secs(2),
            discard_bytes_max: 256 << 20,
            batches: BatchOptions::default(),
            idempotency: IdempotencyOptions::default(),
            cors_origins: Vec::new(),
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
        self.batches.validate()
    }
}
