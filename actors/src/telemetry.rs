//! The names, units and meanings of this crate's metrics.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// Describes every metric that this crate records, for whoever exports them. Call it once, after the
/// recorder is installed.
pub fn describe() {
    describe_indexer();
    describe_counter!("darkroom_uploads_total", "Uploads acknowledged, by outcome (created, duplicate).");
    describe_counter!(
        "darkroom_photos_settled_total",
        "Photos that processing has ended for, by outcome (ready, failed)."
    );
    describe_counter!(
        "darkroom_object_written_bytes_total",
        Unit::Bytes,
        "Bytes written to the object store, by kind (original, variant)."
    );
    describe_counter!("darkroom_objects_deleted_total", "Objects deleted because nothing refers to them.");
    describe_counter!("darkroom_jobs_claimed_total", "Waiting jobs taken from the durable queue, by class.");
    describe_counter!(
        "darkroom_jobs_claim_conflicts_total",
        "Due jobs that were chosen and found taken by another node."
    );
    describe_counter!(
        "darkroom_jobs_stolen_total",
        "Claims of jobs whose holder had let its lease run out: it died, stood still, or lost the store."
    );
    describe_counter!(
        "darkroom_jobs_dead_lettered_total",
        "Jobs that were given up and left a letter for the operator, by code."
    );
    describe_counter!(
        "darkroom_nodes_declared_dead_total",
        "Other nodes that this one declared dead, because they gave no sign of life."
    );
    describe_counter!(
        "darkroom_jobs_abandoned_total",
        "Jobs given back to the durable queue because their holder in this process was gone."
    );
    describe_gauge!("darkroom_admission_waiting", "Uploads that wait for their turn before the front door.");
    describe_histogram!(
        "darkroom_admission_wait_seconds",
        Unit::Seconds,
        "Time that uploads waited for their turn, also those that were refused then."
    );
    describe_counter!("darkroom_panics_total", "Panics caught on the compute pool, by stage.");
    describe_counter!(
        "darkroom_actor_restarts_total",
        "Actors that died and were restarted, by the one that died first. An actor's death is a bug."
    );
    describe_histogram!(
        "darkroom_photo_settle_seconds",
        Unit::Seconds,
        "Time from the acknowledgement of an upload until its photo was ready or failed."
    );
    describe_histogram!(
        "darkroom_stage_wait_seconds",
        Unit::Seconds,
        "Time a photo waited in a stage's queue."
    );
    describe_histogram!("darkroom_stage_duration_seconds", Unit::Seconds, "Time a stage worked on a photo.");
    describe_histogram!("darkroom_variant_resize_seconds", Unit::Seconds, "Time to resize one variant.");
    describe_histogram!("darkroom_variant_encode_seconds", Unit::Seconds, "Time to encode one variant.");
    describe_gauge!("darkroom_stage_queue_photos", "Photos that wait in a stage's queue.");
    describe_gauge!("darkroom_stage_in_flight_photos", "Photos that a stage works on.");
    describe_gauge!("darkroom_job_slots_used", "Photos in memory, in any stage, uploads included.");
    describe_gauge!("darkroom_job_slots_limit", "Photos that may be in memory.");
    describe_gauge!(
        "darkroom_permits_used_bytes",
        Unit::Bytes,
        "Memory held, by budget (bodies, pixels, stripping)."
    );
    describe_gauge!(
        "darkroom_permits_limit_bytes",
        Unit::Bytes,
        "Size of a budget (bodies, pixels, stripping)."
    );
    describe_gauge!("darkroom_compute_threads", "Threads of the compute pool.");
    describe_gauge!("darkroom_compute_busy_threads", "Threads of the compute pool that work.");
    describe_gauge!("darkroom_compute_queue_tasks", "Closures that wait for a thread of the compute pool.");
    describe_gauge!("darkroom_photos", "Photos by state.");
    describe_gauge!("darkroom_jobs", "Durable jobs, waiting or held, counted up to 10,000 of each class.");
    describe_gauge!("darkroom_jobs_due", "Durable jobs that are due, by class, counted up to 10,000.");
    describe_gauge!(
        "darkroom_jobs_dead",
        "Letters of jobs that were given up: see `darkroomd jobs list --state dead`."
    );
    describe_gauge!("darkroom_batches_open", "Batches that take uploads.");
    describe_gauge!("darkroom_nodes", "Nodes that count as alive.");
    describe_gauge!(
        "darkroom_jobs_oldest_due_seconds",
        Unit::Seconds,
        "How long the longest due job of a class has been due; 0 without one."
    );
    describe_uploads();
}

/// Those of uploads that come in more than one request, or go to the bucket directly.
fn describe_uploads() {
    describe_counter!(
        "darkroom_upload_received_bytes_total",
        Unit::Bytes,
        "Bytes that resumable uploads have brought, before they are committed."
    );
    describe_counter!("darkroom_upload_pieces_total", "Pieces of resumable uploads that were put.");
    describe_counter!(
        "darkroom_upload_folded_bytes_total",
        Unit::Bytes,
        "Bytes of small pieces of resumable uploads that were written once more with what followed them."
    );
    describe_counter!(
        "darkroom_upload_ended_total",
        "Resumable uploads that ended, by outcome (done, refused, joined, terminated, expired)."
    );
    describe_gauge!("darkroom_upload_open", "Resumable uploads that have not ended.");
    describe_gauge!("darkroom_upload_open_bytes", Unit::Bytes, "Bytes that lie in them.");
    describe_gauge!(
        "darkroom_upload_reserved_bytes",
        Unit::Bytes,
        "Bytes that they may come to, of which uploads.bytes_max are allowed."
    );
    describe_counter!(
        "darkroom_direct_uploads_opened_total",
        "Uploads announced that go to the bucket directly."
    );
    describe_counter!(
        "darkroom_direct_uploads_settled_total",
        "Direct uploads that are over, by outcome (done, refused, aborted, expired)."
    );
    describe_counter!(
        "darkroom_direct_uploads_copied_bytes_total",
        Unit::Bytes,
        "Bytes that the object store has copied by itself to be originals."
    );
}

fn describe_indexer() {
    describe_gauge!(
        "darkroom_indexer_lag_entries",
        "Entries of the change log that are still to be applied, by shard, up to 1,000. Only shards that this node carries."
    );
    describe_gauge!(
        "darkroom_indexer_lag_seconds",
        Unit::Seconds,
        "Age of the oldest entry that is still to be applied, by shard. Only shards that this node carries."
    );
    describe_gauge!(
        "darkroom_indexer_tasks_open",
        "Fan-outs and other long work of feeds that is under way, by shard, up to 1,000. Only shards that this node carries."
    );
    describe_gauge!("darkroom_indexer_shards", "Shards of the change log that this node carries.");
    describe_counter!(
        "darkroom_indexer_entries_total",
        "Entries of the change log, by outcome: applied, or passed_by because they failed every time."
    );
    describe_counter!(
        "darkroom_indexer_tasks_total",
        "Long work of feeds that has ended, by outcome: done, or dropped because it failed every time."
    );
    describe_counter!("darkroom_indexer_chunks_total", "Pieces of long work of feeds that were done.");
}
