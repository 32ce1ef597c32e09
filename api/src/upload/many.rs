//! Many photos in one `multipart/form-data` body.

use darkroom_actors::Lease;
use darkroom_store::model::SeriesId;
use hyper::StatusCode;
use serde::Serialize;

use super::intake::{File, Intake, settled};
use super::item::Item;
use super::parts::{Part, Parts};
use crate::Api;
use crate::digests::{Digests, check_encoding};
use crate::idempotency::Claim;
use crate::problem::Problem;
use crate::response::{self, Answer};
use crate::view::PhotoView;

/// Bytes of a form field's value at most.
const FIELD_BYTES_MAX: usize = 1024;
/// Form fields that are known. A file's name stands with the file.
const FIELDS: &[&str] = &["batch_id", "duplicate"];

#[derive(Serialize)]
struct Items {
    items: Vec<Item>,
}

/// Takes them.
///
/// # Errors
/// A problem that concerns the body as a whole.
pub async fn take(
    api: &Api,
    first: Lease,
    mut intake: Intake,
    mut parts: Parts,
    claim: &Claim,
) -> Result<Answer, Problem> {
    let mut items = take_parts(api, first, &mut intake, &mut parts, claim).await?;
    if items.is_empty() {
        return Err(Problem::new(
            "multipart-without-file",
            "the body has no part with a file: send each photo as a part with a filename",
        ));
    }
    // One deadline for all: who waits ten seconds waits ten seconds, however many photos there are.
    let deadline = intake.deadline();
    for item in &mut items {
        if let Some(photo) = item.photo.take() {
            item.photo = Some(settled(api, photo, deadline).await);
        }
    }
    let all_new = items.iter().all(|item| item.status == StatusCode::CREATED.as_u16());
    let status = if all_new { StatusCode::CREATED } else { StatusCode::MULTI_STATUS };
    Ok(response::json(status, &Items { items }))
}

/// The outcome of each part. A body that breaks off, or a field that says what cannot be, is an error only if nothing came
/// of the body before: what is durable must be told.
async fn take_parts(
    api: &Api,
    first: Lease,
    intake: &mut Intake,
    parts: &mut Parts,
    claim: &Claim,
) -> Result<Vec<Item>, Problem> {
    let mut lease = Some(first);
    let mut items = Vec::new();
    loop {
        let part = match parts.next().await {
            Ok(Some(part)) => part,
            Ok(None) => return Ok(items),
            Err(error) if items.is_empty() => return Err(error.into()),
            Err(error) => {
                items.push(Item::new(String::new(), Err(error.into())));
                return Ok(items);
            }
        };
        if items.len() >= api.options().parts_max {
            let detail = format!("only the first {} parts were taken; send the rest again", items.len());
            items.push(Item::new(part.name, Err(Problem::new("too-many-parts", detail))));
            return Ok(items);
        }
        match set(intake, &part).await {
            Ok(false) => {}
            Ok(true) => {
                part.pass_over().await;
                continue;
            }
            Err(problem) if items.is_empty() => return Err(problem),
            Err(problem) => {
                items.push(Item::new(part.name, Err(problem)));
                return Ok(items);
            }
        }
        let name = part.name.clone();
        let outcome = take_part(api, &mut lease, intake, &part, claim.photo(items.len() as u64)).await;
        part.pass_over().await;
        items.push(Item::new(name, outcome));
        if parts.is_broken() {
            return Ok(items); // The part's own outcome says how.
        }
    }
}

/// Takes a form field that says something of the files behind it; false if the part is no such field.
async fn set(intake: &mut Intake, part: &Part) -> Result<bool, Problem> {
    if part.is_file || !FIELDS.contains(&&*part.name) {
        return Ok(false);
    }
    let value = part.text(FIELD_BYTES_MAX).await?;
    intake.set(&part.name, &value)
}

async fn take_part(
    api: &Api,
    lease: &mut Option<Lease>,
    intake: &Intake,
    part: &Part,
    place: Option<(SeriesId, u64)>,
) -> Result<PhotoView, Problem> {
    if !part.is_file {
        let detail = format!("the form field {:?} is not known; a photo needs a filename", part.name);
        return Err(Problem::new("unknown-field", detail));
    }
    check_encoding(&part.headers)?;
    let body = Digests::of_file(&part.headers)?.checked(part.body());
    // How large one part is, is known at its end.
    let lease = match lease.take() {
        Some(lease) => lease,
        None => api.admit(&intake.caller, None).await?,
    };
    let (name, declared_type) = (Some(part.name.clone()), part.declared_type.clone());
    intake.take_in_place(api, lease, File { name, declared_type, body }, place).await
}
