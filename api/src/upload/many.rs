//! Many photos in one `multipart/form-data` body.

use std::ops::ControlFlow;

use darkroom_actors::Lease;
use darkroom_store::model::photos::TAGS_MAX;
use darkroom_store::model::posts::caption::CAPTION_CHARS_MAX;
use darkroom_store::model::tags::TAG_CHARS_MAX;
use http_body_util::BodyExt;
use hyper::StatusCode;
use hyper::header::{HeaderValue, RETRY_AFTER};
use serde::Serialize;

use super::intake::{FIELDS, File, Intake, settled};
use super::item::{Item, cut};
use super::parts::{Part, Parts};
use super::room::admitted;
use crate::Api;
use crate::digests::{Digests, check_encoding};
use crate::idempotency::Claim;
use crate::limits::{Limits, refused};
use crate::places::Taken;
use crate::problem::Problem;
use crate::response::{self, Answer};
use crate::view::PhotoView;

/// Bytes of a form field's value at most: of a caption in characters of four bytes each, or as many tags as there may be,
/// each as long as one may be.
const FIELD_BYTES_MAX: usize = {
    let (caption, tags) = (4 * CAPTION_CHARS_MAX, TAGS_MAX * (4 * TAG_CHARS_MAX + 1));
    if caption > tags { caption } else { tags }
};
/// Bytes that are told of the name of an unknown field.
const UNKNOWN_BYTES_TOLD: usize = 100;

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
    intake: Intake,
    parts: Parts,
    claim: &Claim,
) -> Result<Answer, Problem> {
    let told = api.form_outcomes().none_yet(Limits::party(&intake.caller));
    let mut taking = Taking { api, intake, parts, claim, lease: Some(first), items: Vec::new(), told };
    taking.run().await?;
    let Taking { intake, mut items, told, .. } = taking;
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
    Ok(answer(items, told))
}

/// Tells them, and holds what was taken for them until that is sent.
fn answer(items: Vec<Item>, told: Taken) -> Answer {
    let all_new = items.iter().all(|item| item.status == StatusCode::CREATED.as_u16());
    let status = if all_new { StatusCode::CREATED } else { StatusCode::MULTI_STATUS };
    let retry_after = items.iter().filter_map(|item| item.problem.as_ref()?.retry_after).max();
    let mut answer = response::json(status, &Items { items });
    if let Some(seconds) = retry_after {
        answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    answer.map(|body| {
        let held = move |error| {
            let _until_sent = &told;
            error
        };
        body.map_err(held).boxed_unsync()
    })
}

/// The taking of one body.
struct Taking<'t> {
    api: &'t Api,
    intake: Intake,
    parts: Parts,
    claim: &'t Claim,
    /// The request's, for its first file.
    lease: Option<Lease>,
    /// The outcome of each part.
    items: Vec<Item>,
    /// Room for those.
    told: Taken,
}

impl Taking<'_> {
    /// Takes part after part. A body that breaks off, or a field that says what cannot be, is an error only if nothing came
    /// of the body before: what is durable must be told.
    async fn run(&mut self) -> Result<(), Problem> {
        loop {
            let part = match self.parts.next().await {
                Ok(Some(part)) => part,
                Ok(None) => return Ok(()),
                Err(error) => return self.end(String::new(), error.into()),
            };
            if self.part(part).await?.is_break() {
                return Ok(());
            }
        }
    }

    async fn part(&mut self, mut part: Part) -> Result<ControlFlow<()>, Problem> {
        let name = cut(part.name.clone(), self.api.options().batches.name_bytes_max);
        match self.set(&part).await {
            Ok(false) => {}
            Ok(true) => {
                part.pass_over().await;
                return Ok(ControlFlow::Continue(()));
            }
            Err(problem) => return self.end(name, problem).map(ControlFlow::Break),
        }
        if part.is_nameless && part.is_empty().await {
            return Ok(ControlFlow::Continue(())); // No file was chosen for this input of a form.
        }
        if let Err(problem) = self.room_for_one_more() {
            return self.end(name, problem).map(ControlFlow::Break);
        }
        let outcome = self.take(&part).await;
        part.pass_over().await;
        self.items.push(Item::new(name, outcome));
        // If the body is broken, the part's own outcome says how.
        Ok(if self.parts.is_broken() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }

    /// No further part is taken. The last item says why, if there are others.
    fn end(&mut self, name: String, problem: Problem) -> Result<(), Problem> {
        if self.items.is_empty() {
            return Err(problem);
        }
        self.items.push(Item::new(name, Err(problem)));
        Ok(())
    }

    /// Counts one more outcome.
    fn room_for_one_more(&mut self) -> Result<(), Problem> {
        let taken = self.items.len();
        if taken >= self.api.options().parts_max {
            let detail = format!("only the first {taken} parts were taken; send the rest again");
            return Err(Problem::new("too-many-parts", detail));
        }
        if self.told.one_more() {
            return Ok(());
        }
        refused("form_outcomes");
        let detail = format!(
            "the outcomes of as many files wait to be told as may; the first {taken} parts were taken, send the rest again"
        );
        Err(Problem::new("overloaded", detail).retry_after(5))
    }

    /// Takes a form field that says something of the files behind it; false if the part is no such field.
    async fn set(&mut self, part: &Part) -> Result<bool, Problem> {
        if part.is_file || !FIELDS.contains(&&*part.name) {
            return Ok(false);
        }
        let value = part.text(FIELD_BYTES_MAX).await?;
        self.intake.set(&part.name, &value)
    }

    async fn take(&mut self, part: &Part) -> Result<PhotoView, Problem> {
        if !part.is_file {
            let name = cut(part.name.clone(), UNKNOWN_BYTES_TOLD);
            let detail = format!("the form field {name:?} is not known; a photo needs a filename");
            return Err(Problem::new("unknown-field", detail));
        }
        check_encoding(&part.headers)?;
        let body = Digests::of_file(&part.headers)?.checked(part.body());
        // How large one part is, is known at its end.
        let lease = match self.lease.take() {
            Some(lease) => lease,
            None => admitted(self.api, &self.intake.caller, None).await?,
        };
        let (name, declared_type) = (Some(part.name.clone()), part.declared_type.clone());
        let place = self.claim.photo(self.items.len() as u64);
        self.intake.take_in_place(self.api, lease, File { name, declared_type, body }, place).await
    }
}
