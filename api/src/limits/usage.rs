//! `GET /v1/usage`, and the quotas that are looked at before a body is read. The transaction that creates a photo looks
//! again, when its size is known.

use darkroom_store::model::usage::{self, Quota, Usage};
use hyper::StatusCode;
use serde_json::{Value, json};

use super::{Limits, refused};
use crate::Api;
use crate::caller::Caller;
use crate::problem::Problem;
use crate::request::Query;
use crate::response::{self, Answer};

/// What the caller uses, and may.
///
/// # Errors
/// `invalid-parameter`; those of the store.
pub async fn get(api: &Api, caller: &Caller, query: Option<&str>) -> Result<Answer, Problem> {
    Query::parse(query, &[])?;
    let used = of(api, caller).await?;
    let (limits, party) = (api.limits().limits(), Limits::party(caller));
    let (uploads, bytes) = api.limits().clients.uploads(party);
    let mut usage = stored(&used, &api.pipeline().options().quota);
    usage["uploads_at_once"] = one(uploads.into(), most(limits.uploads_at_once_max.into()));
    usage["bytes_in_flight"] = one(bytes, most(limits.bytes_in_flight_max));
    if limits.requests_per_second > 0 {
        let left = api.limits().clients.standing(party).left;
        usage["requests"] =
            json!({ "per_second": limits.requests_per_second, "burst": limits.burst(), "left": left });
    }
    Ok(response::json(StatusCode::OK, &usage))
}

async fn of(api: &Api, caller: &Caller) -> Result<Usage, Problem> {
    let owner = &caller.owner;
    Ok(api.pipeline().metadata().read("read usage", |tx| async move { usage::of(&tx, owner).await }).await?)
}

fn stored(used: &Usage, quota: &Quota) -> Value {
    json!({ "photos": one(used.photos, quota.photos_max), "stored_bytes": one(used.bytes, quota.bytes_max) })
}

fn one(used: u64, max: Option<u64>) -> Value {
    json!({ "used": used, "max": max })
}

fn most(max: u64) -> Option<u64> {
    (max > 0).then_some(max)
}

impl Api {
    /// Whether the caller may store one more photo, of so many bytes if that is known.
    ///
    /// # Errors
    /// `quota-exceeded`; those of the store.
    pub(crate) async fn check_room(&self, caller: &Caller, bytes: Option<u64>) -> Result<(), Problem> {
        let quota = self.pipeline().options().quota;
        if !quota.is_limited() {
            return Ok(());
        }
        let used = of(self, caller).await?;
        // Of one whose size is not known, at least a byte will come.
        if quota.has_room(&used, bytes.unwrap_or(1)) { Ok(()) } else { Err(quota_exceeded(&used, &quota)) }
    }
}

/// What an owner is told who has too much.
pub(crate) fn quota_exceeded(used: &Usage, quota: &Quota) -> Problem {
    refused("quota");
    let part = |used: u64, max: Option<u64>, what: &str| {
        max.map(|max| format!("{used} {what} of yours are stored, and {max} may be"))
    };
    let parts = [part(used.photos, quota.photos_max, "photos"), part(used.bytes, quota.bytes_max, "bytes")];
    let parts: Vec<_> = parts.into_iter().flatten().collect();
    let detail = format!("this photo is more than your quota: {}; delete some first", parts.join("; "));
    Problem::new("quota-exceeded", detail).member("usage", stored(used, quota))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_too_much_is_told_how_much() {
        let used = Usage { photos: 3, bytes: 900 };
        let quota = Quota { photos_max: None, bytes_max: Some(1000) };
        let problem = quota_exceeded(&used, &quota);
        assert_eq!((problem.status, problem.retry_after), (507, None));
        assert!(
            problem.detail.contains("900 bytes") && problem.detail.contains("1000"),
            "{}",
            problem.detail
        );
        let json = serde_json::to_value(&problem).unwrap();
        assert_eq!(json["usage"]["stored_bytes"], json!({"used": 900, "max": 1000}));
        assert_eq!(json["usage"]["photos"], json!({"used": 3, "max": null}));
    }
}
