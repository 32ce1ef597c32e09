//! The metrics of the object store, named and described in one place.

use std::time::Instant;

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

use crate::StoreError;

const OPERATION_SECONDS: &str = "darkroom_object_operation_duration_seconds";
const TRANSFER_BYTES: &str = "darkroom_object_transfer_bytes_total";
const ATTEMPTS_FAILED: &str = "darkroom_object_attempts_failed_total";
const RESUMES: &str = "darkroom_object_reads_resumed_total";
const BREAKER_STATE: &str = "darkroom_object_breaker_state";
const BREAKER_OPENS: &str = "darkroom_object_breaker_opens_total";

/// Runs one operation of the store and records how long it took and how it ended.
pub(super) async fn timed<T>(
    operation: &'static str,
    work: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    let started = Instant::now();
    let result = work.await;
    let outcome = match &result {
        Ok(_) => "ok",
        Err(StoreError::Unavailable { .. }) => "unavailable",
        Err(_) => "error",
    };
    metrics::histogram!(OPERATION_SECONDS, "operation" => operation, "outcome" => outcome)
        .record(started.elapsed());
    result
}

/// Counts bytes that went to the store.
pub(super) fn count_sent(bytes: u64) {
    metrics::counter!(TRANSFER_BYTES, "direction" => "sent").increment(bytes);
}

/// Counts bytes that came from the store.
pub(super) fn count_received(bytes: usize) {
    metrics::counter!(TRANSFER_BYTES, "direction" => "received").increment(bytes as u64);
}

/// Counts an attempt that failed in a way that another may not.
pub(super) fn count_retry(operation: &'static str, cause: &'static str) {
    metrics::counter!(ATTEMPTS_FAILED, "operation" => operation, "cause" => cause).increment(1);
}

/// Counts a read that went on where a connection had broken.
pub(super) fn count_resumed() {
    metrics::counter!(RESUMES).increment(1);
}

/// 0 closed, 1 half open, 2 open.
pub(super) fn breaker_state(state: u8) {
    metrics::gauge!(BREAKER_STATE).set(f64::from(state));
}

/// Counts that the breaker opened.
pub(super) fn count_breaker_opened() {
    metrics::counter!(BREAKER_OPENS).increment(1);
}

/// Describes every metric of the object store to the installed recorder. Call it once, after installing it.
pub fn describe_metrics() {
    describe_histogram!(
        OPERATION_SECONDS,
        Unit::Seconds,
        "Operations of the object store, by operation (begin_put, finish, put, get, get_whole, head, delete, list) \
         and outcome (ok, unavailable, error), all attempts and pauses included. A get ends with its first bytes."
    );
    describe_counter!(
        TRANSFER_BYTES,
        Unit::Bytes,
        "Bytes to and from the object store, by direction (sent, received)."
    );
    describe_counter!(
        ATTEMPTS_FAILED,
        "Attempts at S3 that failed in a way that another may not, by operation and cause (transport, timeout, \
         throttled, server, damaged)."
    );
    describe_counter!(RESUMES, "Reads from S3 that went on where a connection had broken.");
    describe_gauge!(
        BREAKER_STATE,
        "The circuit breaker before S3: 0 closed (all is well), 1 half open (one attempt is made), 2 open \
         (nothing is asked)."
    );
    describe_counter!(BREAKER_OPENS, "How often the circuit breaker before S3 opened.");
}
