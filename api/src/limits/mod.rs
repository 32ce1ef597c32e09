//! What one client may ask for, beside what the daemon can do for all of them (`darkroom_actors::permits`).
//!
//! In the order in which an upload meets them: [`Limits::request`], requests per second; [`Limits::upload`], uploads and
//! bytes that are on their way at once; [`usage`], what its owner has stored; [`opening`], the first bytes of its body; and
//! then the pipeline's own front door. All of it before a slot is held.
//!
//! A client is a user; of those who are not signed in, and of those who all are the user `open`, it is where a connection
//! comes from. The socket of this machine is the operator's, and has no limits.

mod clients;
mod fields;
pub mod opening;
pub(crate) mod places;
pub mod usage;

use std::sync::Arc;

use darkroom_actors::{Party, Refused};
use darkroom_store::model::UserId;
use hyper::HeaderMap;
use serde_json::json;

use crate::caller::{Caller, ClientKey};
use crate::problem::Problem;
use clients::{Clients, Over, Place};
use places::Places;

/// What each client may ask for; 0 is any number.
#[derive(Clone, Debug)]
pub struct ClientLimits {
    /// Requests per second, on average.
    pub requests_per_second: u32,
    /// Requests that may come at once after a pause. 0: ten seconds' worth.
    pub requests_burst: u32,
    /// Uploads that are received at once.
    pub uploads_at_once_max: u32,
    /// Bytes of them, as announced; one of unknown length counts as the largest photo.
    pub bytes_in_flight_max: u64,
    /// Clients that are told apart. More share what one may.
    pub clients_tracked_max: usize,
}

impl Default for ClientLimits {
    fn default() -> Self {
        Self {
            requests_per_second: 0,
            requests_burst: 0,
            uploads_at_once_max: 0,
            bytes_in_flight_max: 0,
            clients_tracked_max: 10_000,
        }
    }
}

impl ClientLimits {
    /// Requests that may come at once.
    pub(crate) fn burst(&self) -> u32 {
        if self.requests_burst > 0 {
            self.requests_burst
        } else {
            self.requests_per_second.saturating_mul(10)
        }
    }

    /// Refuses limits that cannot work.
    ///
    /// # Errors
    /// A sentence that names the setting and what to do.
    pub fn validate(&self) -> Result<(), String> {
        if self.clients_tracked_max == 0 {
            return Err("limits.clients_tracked_max is 0: set it to 1 or more".to_owned());
        }
        if self.requests_burst > 0 && self.requests_per_second == 0 {
            return Err(
                "limits.requests_burst says how many may come at once, and there is no limit of requests: set \
                 limits.requests_per_second too, or leave it out"
                    .to_owned(),
            );
        }
        Ok(())
    }
}

/// The state of all clients' limits. Cheap to clone.
#[derive(Clone)]
pub struct Limits {
    clients: Arc<Clients>,
    /// Bodies whose first bytes are awaited: each holds some.
    opening: Places<Party>,
}

impl Limits {
    /// With nothing used so far; so many bodies may have their first bytes awaited at once.
    pub fn new(limits: ClientLimits, opening_max: usize) -> Self {
        Self { clients: Arc::new(Clients::new(limits)), opening: Places::new(opening_max) }
    }

    /// With whom this caller shares.
    pub fn party(caller: &Caller) -> Party {
        match caller.viewer.user() {
            None | Some(UserId::OPEN) => Party::of(&caller.client),
            Some(_) => Party::of(&caller.owner),
        }
    }

    /// Counts a request.
    ///
    /// # Errors
    /// `too-many-requests`.
    pub fn request(&self, caller: &Caller) -> Result<(), Problem> {
        if caller.client == ClientKey::Local || self.limits().requests_per_second == 0 {
            return Ok(());
        }
        self.clients.request(Self::party(caller)).map(|_| ()).map_err(|standing| {
            refused("requests");
            let detail = format!(
                "you may send {} requests per second, and {} at once after a pause; send this one again later",
                self.limits().requests_per_second,
                self.limits().burst()
            );
            Problem::new("too-many-requests", detail)
                .retry_after(standing.more_in)
                .member("violated-policies", json!([fields::REQUESTS]))
        })
    }

    /// Says in an answer how many requests its client may still send.
    pub fn tell(&self, caller: &Caller, headers: &mut HeaderMap) {
        if caller.client != ClientKey::Local && self.limits().requests_per_second > 0 {
            let standing = self.clients.standing(Self::party(caller));
            fields::tell_requests(headers, self.limits(), &standing);
        }
    }

    /// Counts an upload of so many bytes until what this returns is dropped.
    ///
    /// # Errors
    /// `too-many-uploads`.
    pub fn upload(&self, caller: &Caller, bytes: u64) -> Result<Option<Place>, Problem> {
        let limits = self.limits();
        let is_limited = limits.uploads_at_once_max > 0 || limits.bytes_in_flight_max > 0;
        if caller.client == ClientKey::Local || !is_limited {
            return Ok(None);
        }
        let place = self.clients.upload(Self::party(caller), bytes);
        place.map(Some).map_err(|over| self.too_many_uploads(over))
    }

    fn too_many_uploads(&self, over: Over) -> Problem {
        let (policy, what, used, max) = match over {
            Over::Uploads { used } => {
                (fields::UPLOADS, "uploads", u64::from(used), u64::from(self.limits().uploads_at_once_max))
            }
            Over::Bytes { used } => (fields::BYTES, "bytes", used, self.limits().bytes_in_flight_max),
        };
        refused(if policy == fields::UPLOADS { "uploads" } else { "bytes_in_flight" });
        let detail = format!(
            "{used} {what} of yours are on their way, and {max} may be; send this when others are done"
        );
        let mut problem = Problem::new("too-many-uploads", detail)
            .retry_after(1)
            .member("violated-policies", json!([policy]))
            .member("usage", json!({ policy: {"used": used, "max": max} }));
        fields::tell_uploads(problem.headers_mut(), policy, used, max);
        problem
    }

    fn limits(&self) -> &ClientLimits {
        self.clients.limits()
    }
}

/// The daemon has no room, or none for this client.
pub(crate) fn no_room(reason: Refused) -> Problem {
    refused(reason.as_str());
    reason.into()
}

/// Counts a refusal, by its reason.
pub(crate) fn refused(reason: &'static str) {
    metrics::counter!("darkroom_refusals_total", "reason" => reason).increment(1);
}
