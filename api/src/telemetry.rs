//! The names, units and meanings of this crate's metrics.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// Describes every metric that this crate records. Call it once, after the recorder is installed.
pub fn describe() {
    describe_counter!("darkroom_http_requests_total", "Requests answered, by route, method and status.");
    describe_histogram!(
        "darkroom_http_request_duration_seconds",
        Unit::Seconds,
        "Time from a request's headers until its answer's headers, by route and method."
    );
    describe_counter!(
        "darkroom_http_received_body_bytes_total",
        Unit::Bytes,
        "Bytes of request bodies read, also of those that were refused in the end."
    );
    describe_counter!(
        "darkroom_http_sent_object_bytes_total",
        Unit::Bytes,
        "Bytes of originals and variants sent."
    );
    describe_counter!(
        "darkroom_idempotent_requests_total",
        "Requests with an idempotency key, by outcome; and photos that were answered from what their key has made."
    );
    describe_counter!(
        "darkroom_bucket_events_total",
        "Events of the bucket, by outcome (photo, refused, ignored, or later: to come again)."
    );
    describe_counter!("darkroom_sqs_failures_total", "Polls of the queue of events that failed.");
    describe_counter!(
        "darkroom_refusals_total",
        "Requests, uploads and connections turned away for a limit, by reason: full, waited (for its turn, in vain), \
         backlog, draining, store_away; requests, uploads, bytes_in_flight, quota, client_connections \
         (the client's own); connections, connections_closed (without an answer)."
    );
    describe_gauge!("darkroom_http_connections", "Open connections.");
    describe_gauge!("darkroom_batch_subscribers", "Clients that follow batches by their event streams.");
}
