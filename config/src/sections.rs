//! The sections of the configuration file. What a key is for is said in `darkroom.toml` beside this crate.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use darkroom_actors::faults::Fault;
use darkroom_actors::{PipelineOptions, UploadOptions};
use darkroom_api::{ClientLimits, HttpOptions, IdempotencyOptions};
use darkroom_media::{Limits, Preset};
use darkroom_store::StoreError;
use darkroom_store::metadata::{EmbeddedOptions, FoundationDbOptions, RetryOptions};
use darkroom_store::model::uploads::Limits as UploadLimits;
use darkroom_store::model::usage::Quota;
use darkroom_store::objects::filesystem::{FilesystemOptions, PUT_BYTES_MAX};
use darkroom_store::objects::s3::S3Options;
use serde::{Deserialize, Serialize};

use crate::ConfigError;
use crate::auth::Auth;
use crate::batches::Batches;
use crate::direct::Direct;
use crate::error::in_keys;
use crate::events::Events;
use crate::feeds::Feeds;
use crate::people::People;
use crate::s3::{self, S3};

/// The whole configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "each section is described where its keys are, in darkroom.toml")]
pub struct Config {
    pub server: Server,
    pub http: Http,
    pub auth: Auth,
    pub idempotency: Idempotency,
    pub limits: LimitsSection,
    pub budgets: Budgets,
    pub pipeline: Pipeline,
    pub uploads: Uploads,
    pub jobs: Jobs,
    pub batches: Batches,
    pub people: People,
    pub feeds: Feeds,
    pub events: Events,
    pub nodes: Nodes,
    pub metadata: Metadata,
    pub objects: Objects,
    pub direct: Direct,
    pub log: Log,
    pub presets: Vec<Preset>,
    pub testing: Testing,
}

macro_rules! section {
    ($(#[$meta:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident: $type:ty = $default:expr,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        #[expect(missing_docs, reason = "every key is described in darkroom.toml")]
        pub struct $name { $($(#[$field_meta])* pub $field: $type,)* }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }
    };
}
pub(crate) use section;

section! {
    /// `[server]`
    Server {
        listen: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 8080)),
        health_listen: Option<SocketAddr> = None,
        data: PathBuf = PathBuf::from("darkroom-data"),
        open: bool = false,
        #[serde(with = "humantime_serde")]
        shutdown_deadline: Duration = Duration::from_secs(30),
    }
}

section! {
    /// `[http]`
    Http {
        connections_max: usize = HttpOptions::default().connections_max,
        connections_per_client_max: usize = HttpOptions::default().connections_per_client_max,
        h2_requests_max: usize = HttpOptions::default().h2_requests_max,
        h2_streams_max: u32 = HttpOptions::default().h2_streams_max,
        h2_window: ByteSize = ByteSize(HttpOptions::default().h2_window_bytes.into()),
        header_bytes_max: ByteSize = ByteSize(HttpOptions::default().header_bytes_max.into()),
        headers_max: usize = HttpOptions::default().headers_max,
        request_bytes_max: ByteSize = ByteSize(HttpOptions::default().request_bytes_max),
        parts_max: usize = HttpOptions::default().parts_max,
        form_outcomes_max: usize = HttpOptions::default().form_outcomes_max,
        tar_entries_max: u64 = HttpOptions::default().tar_entries_max,
        tar_streams_max: usize = HttpOptions::default().tar_streams_max,
        tar_answer_bytes: ByteSize = ByteSize(HttpOptions::default().tar_answer_bytes.into()),
        #[serde(with = "humantime_serde")]
        tar_timeout: Duration = HttpOptions::default().tar_timeout,
        #[serde(with = "humantime_serde")]
        tar_patience: Duration = HttpOptions::default().tar_patience,
        #[serde(with = "humantime_serde")]
        header_timeout: Duration = HttpOptions::default().header_timeout,
        #[serde(with = "humantime_serde")]
        body_idle_timeout: Duration = HttpOptions::default().body_idle_timeout,
        #[serde(with = "humantime_serde")]
        body_timeout: Duration = HttpOptions::default().body_timeout,
        body_rate_min: ByteSize = ByteSize(HttpOptions::default().body_rate_min),
        #[serde(with = "humantime_serde")]
        body_rate_window: Duration = HttpOptions::default().body_rate_window,
        #[serde(with = "humantime_serde")]
        wait_max: Duration = HttpOptions::default().wait_max,
        #[serde(with = "humantime_serde")]
        discard_timeout: Duration = HttpOptions::default().discard_timeout,
        discard_bytes_max: ByteSize = ByteSize(HttpOptions::default().discard_bytes_max),
        cors_origins: Vec<String> = Vec::new(),
    }
}

section! {
    /// `[idempotency]`
    Idempotency {
        #[serde(with = "humantime_serde")]
        keep: Duration = IdempotencyOptions::default().keep,
        keys_max: u64 = IdempotencyOptions::default().keys_max,
    }
}

section! {
    /// `[limits]`
    LimitsSection {
        upload_bytes_max: ByteSize = ByteSize(PipelineOptions::default().upload_bytes_max),
        pixels_max: u64 = Limits::default().pixels_max,
        width_max: u32 = Limits::default().width_max,
        height_max: u32 = Limits::default().height_max,
        scans_max: u32 = Limits::default().scans_max,
        metadata_bytes_max: ByteSize = ByteSize(Limits::default().metadata_bytes_max.into()),
        icc_bytes_max: ByteSize = ByteSize(Limits::default().icc_bytes_max.into()),
        frames_max: u32 = Limits::default().frames_max,
        animation_pixels_max: u64 = Limits::default().animation_pixels_max,
        #[serde(with = "humantime_serde")]
        decode_time_max: Duration = Duration::from_secs(Limits::default().seconds_max.into()),
        #[serde(with = "humantime_serde")]
        admission_wait: Duration = PipelineOptions::default().admission_wait_max,
        admission_waiting_max: usize = PipelineOptions::default().admission_waiting_max,
        admission_waiting_per_client_max: usize = PipelineOptions::default().admission_waiting_per_client_max,
        requests_per_second: u32 = ClientLimits::default().requests_per_second,
        requests_burst: u32 = ClientLimits::default().requests_burst,
        uploads_at_once_max: u32 = ClientLimits::default().uploads_at_once_max,
        bytes_in_flight_max: ByteSize = ByteSize(ClientLimits::default().bytes_in_flight_max),
        clients_tracked_max: usize = ClientLimits::default().clients_tracked_max,
        stored_photos_max: u64 = 0,
        stored_bytes_max: ByteSize = ByteSize(0),
    }
}

section! {
    /// `[budgets]`
    Budgets {
        job_slots: u32 = PipelineOptions::default().job_slots,
        bodies: ByteSize = ByteSize(PipelineOptions::default().bodies_bytes),
        pixels: ByteSize = ByteSize(PipelineOptions::default().pixels_bytes),
        stripping: ByteSize = ByteSize(PipelineOptions::default().stripping_bytes),
        upload_window: Option<ByteSize> = None,
        reserved_share: f64 = PipelineOptions::default().reserved_share,
        spare_share: f64 = PipelineOptions::default().spare_share,
    }
}

section! {
    /// `[pipeline]`
    Pipeline {
        compute_threads: Option<usize> = None,
        network_slots: usize = PipelineOptions::default().network_slots,
        attempts_max: u32 = PipelineOptions::default().attempts_max,
        #[serde(with = "humantime_serde")]
        lease_duration: Duration = PipelineOptions::default().lease_duration,
        backlog_photos_max: u64 = PipelineOptions::default().backlog_photos_max,
    }
}

section! {
    /// `[uploads]`
    Uploads {
        piece: ByteSize = ByteSize(UploadOptions::default().piece_bytes),
        pieces_max: u64 = UploadOptions::default().pieces_max,
        #[serde(with = "humantime_serde")]
        expire: Duration = UploadOptions::default().expire,
        #[serde(with = "humantime_serde")]
        expire_empty: Duration = UploadOptions::default().expire_empty,
        #[serde(with = "humantime_serde")]
        keep: Duration = UploadOptions::default().keep,
        open_max: u64 = UploadOptions::default().limits.open_max,
        open_per_owner_max: u64 = UploadOptions::default().limits.open_per_owner_max,
        bytes_max: ByteSize = ByteSize(UploadOptions::default().limits.bytes_max),
        bytes_per_owner_max: ByteSize = ByteSize(UploadOptions::default().limits.bytes_per_owner_max),
        metadata_bytes_max: ByteSize = ByteSize(UploadOptions::default().metadata_bytes_max as u64),
        #[serde(with = "humantime_serde")]
        takeover_wait: Duration = UploadOptions::default().takeover_wait,
    }
}

impl Uploads {
    fn options(&self) -> UploadOptions {
        UploadOptions {
            piece_bytes: self.piece.0,
            pieces_max: self.pieces_max,
            expire: self.expire,
            expire_empty: self.expire_empty,
            keep: self.keep,
            limits: UploadLimits {
                open_max: self.open_max,
                open_per_owner_max: self.open_per_owner_max,
                bytes_max: self.bytes_max.0,
                bytes_per_owner_max: self.bytes_per_owner_max.0,
            },
            metadata_bytes_max: usize::try_from(self.metadata_bytes_max.0).unwrap_or(usize::MAX),
            takeover_wait: self.takeover_wait,
        }
    }
}

/// What keeps the metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MetadataEngine {
    /// This process, in the data directory.
    Embedded,
    /// A `FoundationDB` cluster.
    FoundationDb,
}

section! {
    /// `[jobs]`
    Jobs {
        shares: [u32; 3] = PipelineOptions::default().class_shares,
        choose_among: usize = PipelineOptions::default().claim_among,
        #[serde(with = "humantime_serde")]
        interruption_pause_max: Duration = PipelineOptions::default().interruption_pause_max,
        #[serde(with = "humantime_serde")]
        dead_age_max: Duration = PipelineOptions::default().dead_jobs_age_max,
        dead_max: u64 = PipelineOptions::default().dead_jobs_max,
    }
}

section! {
    /// `[nodes]`
    Nodes {
        #[serde(with = "humantime_serde")]
        timeout: Duration = PipelineOptions::default().node_timeout,
        #[serde(with = "humantime_serde")]
        clock_skew_max: Duration = PipelineOptions::default().clock_skew_max,
        #[serde(with = "humantime_serde")]
        sweep_delay: Duration = PipelineOptions::default().dead_node_sweep_delay,
    }
}

section! {
    /// `[metadata]`
    Metadata {
        engine: MetadataEngine = MetadataEngine::Embedded,
        cache: ByteSize = ByteSize(EmbeddedOptions::default().cache_bytes),
        memtable: ByteSize = ByteSize(EmbeddedOptions::default().memtable_bytes),
        free_space_min: ByteSize = ByteSize(EmbeddedOptions::default().free_space_min_bytes),
        foundationdb: FoundationDb = FoundationDb::default(),
    }
}

section! {
    /// `[metadata.foundationdb]`
    FoundationDb {
        cluster_file: PathBuf = FoundationDbOptions::default().cluster_file,
        prefix: String = FoundationDbOptions::default().prefix,
        #[serde(with = "humantime_serde")]
        transaction_timeout: Duration = FoundationDbOptions::default().transaction_timeout,
        retries_max: u32 = RetryOptions::default().attempts_max - 1,
        #[serde(with = "humantime_serde")]
        open_deadline: Duration = FoundationDbOptions::default().open_deadline,
        watches_max: u32 = FoundationDbOptions::default().watches_max,
    }
}

/// Where objects lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ObjectsIn {
    /// In the data directory.
    Filesystem,
    /// In a bucket.
    S3,
}

section! {
    /// `[objects]`
    Objects {
        store: ObjectsIn = ObjectsIn::Filesystem,
        free_space_min: ByteSize = ByteSize::mib(256),
        writes_max: Option<usize> = None,
        shared: bool = false,
        s3: S3 = S3::default(),
    }
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people on a terminal, JSON otherwise.
    Auto,
    /// For people.
    Human,
    /// One object per line.
    Json,
}

section! {
    /// `[log]`
    Log {
        level: String = "info".to_owned(),
        format: LogFormat = LogFormat::Auto,
    }
}

section! {
    /// `[testing]`
    Testing {
        faults: Vec<Fault> = Vec::new(),
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            server: Server::default(),
            http: Http::default(),
            auth: Auth::default(),
            idempotency: Idempotency::default(),
            limits: LimitsSection::default(),
            budgets: Budgets::default(),
            pipeline: Pipeline::default(),
            uploads: Uploads::default(),
            jobs: Jobs::default(),
            batches: Batches::default(),
            people: People::default(),
            feeds: Feeds::default(),
            events: Events::default(),
            nodes: Nodes::default(),
            metadata: Metadata::default(),
            objects: Objects::default(),
            direct: Direct::default(),
            log: Log::default(),
            presets: Preset::default_ladder(),
            testing: Testing::default(),
        }
    }
}

/// Longest shutdown that makes sense.
const DURATION_MAX: Duration = Duration::from_secs(24 * 3600);

impl Config {
    /// The pipeline's options.
    pub fn pipeline_options(&self) -> PipelineOptions {
        let defaults = PipelineOptions::default();
        PipelineOptions {
            presets: self.presets.clone(),
            limits: Limits {
                width_max: self.limits.width_max,
                height_max: self.limits.height_max,
                pixels_max: self.limits.pixels_max,
                metadata_bytes_max: u32::try_from(self.limits.metadata_bytes_max.0).unwrap_or(u32::MAX),
                scans_max: self.limits.scans_max,
                icc_bytes_max: u32::try_from(self.limits.icc_bytes_max.0).unwrap_or(u32::MAX),
                frames_max: self.limits.frames_max,
                animation_pixels_max: self.limits.animation_pixels_max,
                seconds_max: u32::try_from(self.limits.decode_time_max.as_secs()).unwrap_or(u32::MAX),
                // The pipeline sets it by its budget.
                ..Limits::default()
            },
            upload_bytes_max: self.limits.upload_bytes_max.0,
            job_slots: self.budgets.job_slots,
            bodies_bytes: self.budgets.bodies.0,
            pixels_bytes: self.budgets.pixels.0,
            stripping_bytes: self.budgets.stripping.0,
            upload_window_bytes: self.budgets.upload_window.map_or(self.put_bytes(), |window| window.0),
            reserved_share: self.budgets.reserved_share,
            spare_share: self.budgets.spare_share,
            compute_threads: self.pipeline.compute_threads.unwrap_or(defaults.compute_threads),
            network_slots: self.pipeline.network_slots,
            attempts_max: self.pipeline.attempts_max,
            lease_duration: self.pipeline.lease_duration,
            name_bytes_max: self.batches.name_bytes_max,
            refused_kept_max: self.batches.refused_max,
            backlog_photos_max: self.pipeline.backlog_photos_max,
            quota: self.quota(),
            admission_wait_max: self.limits.admission_wait,
            admission_waiting_max: self.limits.admission_waiting_max,
            admission_waiting_per_client_max: self.limits.admission_waiting_per_client_max,
            node_timeout: self.nodes.timeout,
            clock_skew_max: self.nodes.clock_skew_max,
            dead_node_sweep_delay: self.nodes.sweep_delay,
            class_shares: self.jobs.shares,
            claim_among: self.jobs.choose_among,
            interruption_pause_max: self.jobs.interruption_pause_max,
            dead_jobs_age_max: self.jobs.dead_age_max,
            dead_jobs_max: self.jobs.dead_max,
            direct: self.direct.options(),
            feeds: self.feeds.options(),
            idle_poll: defaults.idle_poll,
            uploads: self.uploads.options(),
            faults: self.testing.faults.clone(),
        }
    }

    /// Most that one upload holds while it goes to the object store.
    fn put_bytes(&self) -> u64 {
        match self.objects.store {
            ObjectsIn::Filesystem => PUT_BYTES_MAX,
            ObjectsIn::S3 => self.s3_options().window_bytes(),
        }
    }

    fn validate_objects(&self) -> Result<(), ConfigError> {
        if self.objects.store == ObjectsIn::S3 {
            self.objects.s3.validate().map_err(ConfigError::Invalid)?;
        }
        let invalid = |error: StoreError| ConfigError::Invalid(in_keys(&error, "objects"));
        self.filesystem_options().validate().map_err(invalid)?;
        let bucket = (self.objects.store == ObjectsIn::S3).then_some(&*self.objects.s3.prefix);
        self.direct.validate(bucket).map_err(ConfigError::Invalid)?;
        let (charged, held) = (self.pipeline_options().upload_window_bytes, self.put_bytes());
        if charged < held {
            return Err(ConfigError::Invalid(format!(
                "budgets.upload_window is {}, and an upload to this object store holds up to {}: raise it, or leave it \
                 out to have it follow",
                ByteSize(charged),
                ByteSize(held)
            )));
        }
        Ok(())
    }

    /// How the folder of objects is used.
    pub fn filesystem_options(&self) -> FilesystemOptions {
        let defaults = FilesystemOptions::default();
        FilesystemOptions {
            free_space_min_bytes: self.objects.free_space_min.0,
            writes_max: self.objects.writes_max.unwrap_or(defaults.writes_max),
        }
    }

    /// How the bucket is used.
    pub fn s3_options(&self) -> S3Options {
        self.objects.s3.options()
    }

    /// The HTTP options.
    pub fn http_options(&self) -> HttpOptions {
        HttpOptions {
            connections_max: self.http.connections_max,
            connections_per_client_max: self.http.connections_per_client_max,
            h2_requests_max: self.http.h2_requests_max,
            h2_streams_max: self.http.h2_streams_max,
            h2_window_bytes: u32::try_from(self.http.h2_window.0).unwrap_or(u32::MAX),
            header_bytes_max: u32::try_from(self.http.header_bytes_max.0).unwrap_or(u32::MAX),
            headers_max: self.http.headers_max,
            request_bytes_max: self.http.request_bytes_max.0,
            parts_max: self.http.parts_max,
            form_outcomes_max: self.http.form_outcomes_max,
            tar_entries_max: self.http.tar_entries_max,
            tar_streams_max: self.http.tar_streams_max,
            // More than anybody means: what does not fit in 32 bits is bounded there.
            tar_answer_bytes: u32::try_from(self.http.tar_answer_bytes.0).unwrap_or(u32::MAX),
            tar_timeout: self.http.tar_timeout,
            tar_patience: self.http.tar_patience,
            header_timeout: self.http.header_timeout,
            body_idle_timeout: self.http.body_idle_timeout,
            body_timeout: self.http.body_timeout,
            body_rate_min: self.http.body_rate_min.0,
            body_rate_window: self.http.body_rate_window,
            wait_max: self.http.wait_max,
            discard_timeout: self.http.discard_timeout,
            discard_bytes_max: self.http.discard_bytes_max.0,
            batches: self.batches.options(),
            people: self.people.options(),
            events: self.events.options(),
            idempotency: IdempotencyOptions {
                keep: self.idempotency.keep,
                keys_max: self.idempotency.keys_max,
            },
            cors_origins: self.http.cors_origins.clone(),
            hooks: self.direct.hooks(&self.objects.s3.region),
            clients: self.client_limits(),
            auth: self.auth.options(self.server.open),
        }
    }

    /// What each client may ask for.
    fn client_limits(&self) -> ClientLimits {
        ClientLimits {
            requests_per_second: self.limits.requests_per_second,
            requests_burst: self.limits.requests_burst,
            uploads_at_once_max: self.limits.uploads_at_once_max,
            bytes_in_flight_max: self.limits.bytes_in_flight_max.0,
            clients_tracked_max: self.limits.clients_tracked_max,
        }
    }

    /// What each owner may have. In the file, 0 is any number.
    fn quota(&self) -> Quota {
        let most = |max: u64| (max > 0).then_some(max);
        Quota {
            photos_max: most(self.limits.stored_photos_max),
            bytes_max: most(self.limits.stored_bytes_max.0),
        }
    }

    /// The embedded engine's options.
    pub fn embedded_options(&self) -> EmbeddedOptions {
        EmbeddedOptions {
            cache_bytes: self.metadata.cache.0,
            memtable_bytes: self.metadata.memtable.0,
            free_space_min_bytes: self.metadata.free_space_min.0,
            ..EmbeddedOptions::default()
        }
    }

    /// The `FoundationDB` engine's options.
    pub fn foundationdb_options(&self) -> FoundationDbOptions {
        let section = &self.metadata.foundationdb;
        FoundationDbOptions {
            cluster_file: section.cluster_file.clone(),
            prefix: section.prefix.clone(),
            transaction_timeout: section.transaction_timeout,
            open_deadline: section.open_deadline,
            watches_max: section.watches_max,
            retry: RetryOptions {
                attempts_max: section.retries_max.saturating_add(1),
                ..RetryOptions::default()
            },
        }
    }

    /// Refuses what contradicts itself.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`].
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.server.open && !self.server.listen.ip().is_loopback() {
            return Err(ConfigError::Invalid(format!(
                "server.listen is {}, and with --open (or server.open) everybody may do everything: that is allowed on a \
                 loopback address alone, such as 127.0.0.1:8080; leave --open out to have users and keys",
                self.server.listen
            )));
        }
        if self.server.health_listen.is_some_and(|health| health == self.server.listen && health.port() != 0)
        {
            return Err(ConfigError::Invalid(
                "server.health_listen is the same as server.listen: give it a port of its own, or leave it out"
                    .to_owned(),
            ));
        }
        if self.server.shutdown_deadline > DURATION_MAX {
            return Err(ConfigError::Invalid(
                "server.shutdown_deadline is longer than a day: set it to 24h or less".to_owned(),
            ));
        }
        if self.limits.decode_time_max.is_zero() || self.limits.decode_time_max.subsec_nanos() > 0 {
            return Err(ConfigError::Invalid(format!(
                "limits.decode_time_max is {:?}, and is kept in whole seconds: set it to 1s or more",
                self.limits.decode_time_max
            )));
        }
        if !self.testing.faults.is_empty() && !self.server.open {
            return Err(ConfigError::Invalid(
                "testing.faults are only taken together with --open: remove them".to_owned(),
            ));
        }
        self.validate_objects()?;
        self.pipeline_options().validate().map_err(ConfigError::Invalid)?;
        self.http_options().validate().map_err(ConfigError::Invalid)?;
        self.auth.validate().map_err(ConfigError::Invalid)?;
        self.validate_metadata()
    }

    fn validate_metadata(&self) -> Result<(), ConfigError> {
        let invalid = |error: StoreError| ConfigError::Invalid(self.in_keys_of_metadata(&error));
        match self.metadata.engine {
            MetadataEngine::Embedded => self.embedded_options().validate().map_err(invalid),
            MetadataEngine::FoundationDb => {
                self.foundationdb_options().validate().map_err(invalid)?;
                self.validate_shared_objects()
            }
        }
    }

    /// What the metadata's engine says when it is opened, with options by their keys.
    pub fn in_keys_of_metadata(&self, error: &StoreError) -> String {
        match self.metadata.engine {
            MetadataEngine::Embedded => in_keys(error, "metadata"),
            MetadataEngine::FoundationDb => in_keys(error, "metadata.foundationdb"),
        }
    }

    /// What the object store says when it is opened, with options by their keys.
    pub fn in_keys_of_objects(&self, error: &StoreError) -> String {
        in_keys(error, if self.objects.store == ObjectsIn::S3 { s3::SECTION } else { "objects" })
    }

    /// Whether other nodes may use the folder of objects at the same time.
    pub fn shares_objects(&self) -> bool {
        self.objects.shared || self.metadata.engine == MetadataEngine::FoundationDb
    }

    /// Nodes that share their metadata must find each other's objects, too.
    fn validate_shared_objects(&self) -> Result<(), ConfigError> {
        if self.objects.shared || self.objects.store == ObjectsIn::S3 {
            return Ok(());
        }
        Err(ConfigError::Invalid(format!(
            "metadata.engine is foundationdb, which many nodes can share, but the objects are in the folder {}: if every \
             node finds the same files there (a network file system, or there is one node only), say so with \
             objects.shared = true; otherwise keep them in a bucket, with objects.store = \"s3\"",
            self.server.data.join("objects").display()
        )))
    }
}
