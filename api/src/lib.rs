//! HTTP: routes, request and response types, problem+json. No pixels, no keys.
//!
//! In the order in which a request meets them:
//!
//! - [`serve`](mod@serve): accepts connections, speaks HTTP/1.1 and h2c, drains.
//! - [`linger`]: deadlines where HTTP has none, and a close that lets an early refusal be read. `activity`: whether
//!   anything moves on a connection.
//! - [`routes`]: which path and method is which handler. **Start reading there.**
//! - [`request`]: what handlers read from a request: parameters, preferences, the body.
//! - [`auth`]: how people and programs sign in. [`caller`]: who asks. [`limits`]: what a client may ask for, and what its owner may have. `places`: what few may hold
//!   at once, shared by clients.
//! - [`auth`]: tokens, the keys they are signed with, identity providers, links that open without a session. `outbound`: what
//!   is asked of other servers.
//! - [`idempotency`]: requests that are carried out once. [`digests`]: bytes that are what they are said to be.
//! - [`upload`], [`uploads`], [`batches`], [`photos`], [`objects`], [`admin`], [`jobs`], [`health`]: the handlers.
//! - [`conversations`]: what two users write to each other.
//! - [`people`]: users, whom they follow and what they show. [`albums`]: photos that belong together. [`fields`]: what an owner
//!   says of a photo; [`patch`]: edits. `downloads`: how often originals are sent to others.
//! - [`posts`]: photos published with a caption, and what others make of them.
//! - [`feed`]: home timelines, tags, what trends. [`events`]: what happens, as it happens.
//! - [`direct`]: uploads that go to the bucket directly. [`hooks`]: what the bucket tells of itself.
//! - `cors`: what pages of other sites may do.
//! - [`links`]: that open a photo without a session.
//! - [`conditional`]: conditions and ranges. [`accept`]: which of a preset's files a client gets.
//! - [`view`]: the JSON of a photo. [`pages`]: lists.
//! - [`problem`]: every error's answer, in one place.
//! - [`response`]: bodies and small answers.
#![forbid(unsafe_code)]

pub mod accept;
mod activity;
pub mod admin;
pub mod albums;
pub mod auth;
pub mod batches;
pub mod caller;
pub mod conditional;
pub mod conversations;
mod cors;
pub mod digests;
pub mod direct;
mod downloads;
pub mod events;
pub mod feed;
pub mod fields;
pub mod health;
mod held;
pub mod hooks;
pub mod idempotency;
pub mod jobs;
pub mod limits;
pub mod linger;
pub mod links;
pub mod objects;
mod options;
mod outbound;
pub mod pages;
pub mod patch;
pub mod people;
pub mod photos;
mod places;
pub mod posts;
pub mod problem;
pub mod request;
pub mod response;
pub mod routes;
pub mod serve;
pub mod telemetry;
pub mod upload;
pub mod uploads;
pub mod view;

use std::sync::Arc;

use darkroom_actors::Pipeline;
use tokio::sync::Semaphore;

use auth::Auth;
use batches::followers::Followers;
use caller::Caller;
use downloads::Downloads;
use held::Room;
use limits::Limits;
use places::{Places, Taken};
use problem::Problem;

pub use auth::AuthOptions;
pub use batches::options::BatchOptions;
pub use events::EventOptions;
pub use idempotency::IdempotencyOptions;
pub use limits::ClientLimits;
pub use options::HttpOptions;
pub use people::options::PeopleOptions;
pub use serve::serve;

/// What every handler may use. Cheap to clone.
#[derive(Clone)]
pub struct Api {
    inner: Arc<Inner>,
    health_only: bool,
}

struct Inner {
    pipeline: Pipeline,
    options: HttpOptions,
    limits: Limits,
    metrics: MetricsText,
    hooks: hooks::Hooks,
    auth: Auth,
    /// The one place for a backup that is being taken.
    backup_place: Arc<Semaphore>,
    /// Places for archives that are being taken in.
    tar_places: Places,
    /// Outcomes of forms' files that wait to be told.
    form_outcomes: Places,
    /// Places for streams of events.
    event_places: Places,
    /// Who follows batches on this node.
    followers: Followers,
    /// Checks of batches that are answered at once.
    check_places: Places,
    /// For what clients say of direct uploads.
    direct_room: Room,
    /// Originals that were sent to others than their owners, until they are counted.
    downloads: Downloads,
}

/// Renders the metrics in Prometheus' text format.
pub type MetricsText = Box<dyn Fn() -> String + Send + Sync>;

impl Api {
    /// The API over a running pipeline.
    pub fn new(pipeline: Pipeline, options: HttpOptions, metrics: MetricsText) -> Self {
        let backup_place = Arc::new(Semaphore::new(1));
        let followers = Followers::new(options.batches.subscribers_max);
        let event_places = Places::new(options.events.subscribers_max);
        let check_places = Places::new(options.batches.checks_at_once);
        let tar_places = Places::new(options.tar_streams_max);
        let form_outcomes = Places::new(options.form_outcomes_max);
        let hooks = hooks::Hooks::new(&options.hooks);
        let auth = Auth::new(options.auth.clone(), pipeline.metadata());
        let direct_room = Room::new(options.hooks.held_bytes_max);
        // As many as there may be connections, each with one body on HTTP/1.1.
        let limits = Limits::new(options.clients.clone(), options.connections_max);
        let inner = Inner {
            pipeline,
            options,
            limits,
            metrics,
            hooks,
            auth,
            backup_place,
            tar_places,
            form_outcomes,
            event_places,
            followers,
            check_places,
            direct_room,
            downloads: Downloads::default(),
        };
        Self { inner: Arc::new(inner), health_only: false }
    }

    /// The same, answering nothing but health and metrics.
    #[must_use]
    pub fn health_only(mut self) -> Self {
        self.health_only = true;
        self
    }

    pub(crate) fn is_health_only(&self) -> bool {
        self.health_only
    }

    pub(crate) fn pipeline(&self) -> &Pipeline {
        &self.inner.pipeline
    }

    pub(crate) fn options(&self) -> &HttpOptions {
        &self.inner.options
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.inner.limits
    }

    pub(crate) fn auth(&self) -> &Auth {
        &self.inner.auth
    }

    pub(crate) fn hooks(&self) -> &hooks::Hooks {
        &self.inner.hooks
    }

    /// A place for one more archive: lines of the answer may wait for its sender.
    pub(crate) fn tar_place(&self, caller: &Caller) -> Result<Taken, Problem> {
        self.inner.tar_places.take(Limits::party(caller)).ok_or_else(|| self.too_many_archives())
    }

    /// Whether [`Api::tar_place`] would not refuse: to be asked before the archive is read.
    pub(crate) fn expect_tar_place(&self, caller: &Caller) -> Result<(), Problem> {
        let has_one = self.inner.tar_places.has_one_for(Limits::party(caller));
        has_one.then_some(()).ok_or_else(|| self.too_many_archives())
    }

    fn too_many_archives(&self) -> Problem {
        limits::refused("tar_streams");
        let max = self.options().tar_streams_max;
        let detail = format!(
            "as many archives of yours are being taken in as there is room for: {max} may be in all, and some are left for \
             others; send this one later"
        );
        Problem::new("overloaded", detail).retry_after(5)
    }

    pub(crate) fn form_outcomes(&self) -> &Places {
        &self.inner.form_outcomes
    }

    pub(crate) fn backup_place(&self) -> Arc<Semaphore> {
        Arc::clone(&self.inner.backup_place)
    }

    pub(crate) fn event_places(&self) -> &Places {
        &self.inner.event_places
    }

    pub(crate) fn followers(&self) -> &Followers {
        &self.inner.followers
    }

    pub(crate) fn check_places(&self) -> &Places {
        &self.inner.check_places
    }

    pub(crate) fn downloads(&self) -> &Downloads {
        &self.inner.downloads
    }

    pub(crate) fn direct_room(&self) -> &Room {
        &self.inner.direct_room
    }

    pub(crate) fn metrics(&self) -> String {
        (self.inner.metrics)()
    }
}
