//! One user: found, shown, and edited by themselves.

use darkroom_store::StoreError;
use darkroom_store::model::users::{self, User};
use darkroom_store::model::{OwnerId, PhotoId, Timestamp, UserId, photos};
use hyper::StatusCode;
use hyper::body::Incoming;
use serde::Deserialize;

use super::view::{UserView, whole};
use super::{named, not_found, oneself, visible};
use crate::Api;
use crate::caller::Caller;
use crate::fields;
use crate::pages::Page;
use crate::patch::Patch;
use crate::problem::Problem;
use crate::request::{BodyEnd, Query, small_json};
use crate::response::{self, Answer};

/// Most characters of a name.
const NAME_CHARS_MAX: usize = 100;
/// Most characters of what somebody says of themselves.
const BIO_CHARS_MAX: usize = 500;
/// Characters of a handle.
const HANDLE_CHARS: std::ops::RangeInclusive<usize> = 2..=30;
/// Bytes of an edit: a character may be written in twelve of JSON.
const EDIT_BYTES_MAX: usize = 12 * (NAME_CHARS_MAX + BIO_CHARS_MAX) + 4096;

async fn view(api: &Api, caller: &Caller, id: UserId) -> Result<Option<UserView>, StoreError> {
    let (viewer, presets) = (caller.viewer, api.pipeline().presets());
    let look = |tx| async move {
        match visible(&tx, viewer, id).await? {
            Some(found) => whole(&tx, viewer, &found, presets).await.map(Some),
            None => Ok(None),
        }
    };
    api.pipeline().metadata().read("show user", look).await
}

/// `GET /v1/users/{id}`.
///
/// # Errors
/// `user-not-found`, and those of the store.
pub async fn show(api: &Api, caller: &Caller, query: Option<&str>, id: &str) -> Result<Answer, Problem> {
    Query::parse(query, &[])?;
    let user = view(api, caller, named(caller, id)?).await?.ok_or_else(|| not_found(id))?;
    Ok(response::json(StatusCode::OK, &user))
}

/// `GET /v1/users?handle=…`: the one user with this handle, or none.
///
/// # Errors
/// `invalid-parameter`, and those of the store.
pub async fn find(api: &Api, caller: &Caller, query: Option<&str>) -> Result<Answer, Problem> {
    let query = Query::parse(query, &["handle"])?;
    let handle = query.get("handle").filter(|handle| !handle.is_empty()).ok_or_else(|| {
        Problem::new("invalid-parameter", "say whom you look for: ?handle=… (users are not listed)")
    })?;
    // What can be nobody's handle is nobody's.
    let found = match self::handle(handle) {
        Ok(handle) => by_handle(api, caller, &handle).await?,
        Err(_) => None,
    };
    Ok(response::json(StatusCode::OK, &Page { items: found.into_iter().collect(), next: None }))
}

async fn by_handle(api: &Api, caller: &Caller, handle: &str) -> Result<Option<UserView>, StoreError> {
    let find = |tx| async move { users::by_handle(&tx, handle).await };
    match api.pipeline().metadata().read("find user", find).await? {
        Some(id) => view(api, caller, id).await,
        None => Ok(None),
    }
}

/// What somebody wants to be said of them.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Wanted {
    name: Option<String>,
    handle: Patch<String>,
    bio: Patch<String>,
    avatar_photo_id: Patch<PhotoId>,
}

/// That, checked.
#[derive(Debug)]
struct Edit {
    name: Option<String>,
    handle: Patch<String>,
    bio: Patch<String>,
    avatar: Patch<PhotoId>,
}

/// A name without what surrounds it.
///
/// # Errors
/// `invalid-parameter`.
pub(crate) fn name(text: &str) -> Result<String, Problem> {
    let name = fields::line("name", text, NAME_CHARS_MAX)?;
    if name.is_empty() {
        return Err(Problem::new("invalid-parameter", "the name is empty: give one of a character or more"));
    }
    Ok(name)
}

impl Wanted {
    fn checked(self) -> Result<Edit, Problem> {
        let name = self.name.map(|text| name(&text)).transpose()?;
        let bio = self.bio.read(|bio| fields::lines("bio", &bio, BIO_CHARS_MAX).map(Some))?;
        let handle = self.handle.read(|text| handle(&text).map(Some))?;
        Ok(Edit { name, handle, bio, avatar: self.avatar_photo_id })
    }
}

/// A handle in its one form.
///
/// # Errors
/// `invalid-parameter`.
pub(crate) fn handle(text: &str) -> Result<String, Problem> {
    let handle = text.strip_prefix('@').unwrap_or(text).to_ascii_lowercase();
    let is_known = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '.');
    let dots = handle.starts_with('.') || handle.ends_with('.') || handle.contains("..");
    if HANDLE_CHARS.contains(&handle.len()) && handle.chars().all(is_known) && !dots && handle != "me" {
        return Ok(handle);
    }
    let detail = format!(
        "the handle is not of {} to {} letters from a to z, digits, \"_\" and single \".\" between them, or it is \"me\": \
         choose another",
        HANDLE_CHARS.start(),
        HANDLE_CHARS.end()
    );
    Err(Problem::new("invalid-parameter", detail))
}

impl Edit {
    fn apply(&self, user: &mut User) {
        if let Some(name) = &self.name {
            user.name.clone_from(name);
        }
        self.handle.apply(&mut user.handle);
        self.avatar.apply(&mut user.avatar);
        match &self.bio {
            Patch::Kept => {}
            Patch::Cleared => user.bio.clear(),
            Patch::Set(bio) => user.bio.clone_from(bio),
        }
    }
}

enum Outcome {
    Gone,
    NoPhoto(PhotoId),
    Taken,
    Done,
}

/// `PATCH /v1/users/{id}`, of oneself.
///
/// # Errors
/// `unauthenticated`, `forbidden`, `user-not-found`, `invalid-json`, `invalid-parameter`, `photo-not-found`,
/// `handle-taken`, and those of the store.
pub async fn edit(
    api: &Api,
    caller: &Caller,
    query: Option<&str>,
    id: &str,
    body: Incoming,
    end: BodyEnd,
) -> Result<Answer, Problem> {
    Query::parse(query, &[])?;
    let me = oneself(api, caller, id).await?;
    let wanted: Wanted = small_json(api, body, end, EDIT_BYTES_MAX).await?;
    let (edit, owner) = (&wanted.checked()?, &OwnerId::of(me));
    let by = (me, Timestamp::now(), api.pipeline().history());
    let change = |tx| async move {
        if let Patch::Set(id) = edit.avatar
            && photos::get(&tx, id).await?.is_none_or(|photo| photo.owner != *owner)
        {
            return Ok(Outcome::NoPhoto(id));
        }
        Ok(match users::update(&tx, by, |user| edit.apply(user)).await? {
            None => Outcome::Gone,
            // Nothing else of theirs is changed that another may have.
            Some(Err(_)) => Outcome::Taken,
            Some(Ok(_)) => Outcome::Done,
        })
    };
    match api.pipeline().metadata().transact("edit user", change).await? {
        Outcome::Done => {}
        Outcome::Gone => return Err(not_found(id)),
        Outcome::NoPhoto(id) => return Err(Problem::photo_not_found(&id.to_string())),
        Outcome::Taken => {
            let detail = "somebody else has this handle: choose another";
            return Err(Problem::new("handle-taken", detail));
        }
    }
    show(api, caller, None, id).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_has_one_form() {
        assert_eq!(handle("@Ann.B_2").unwrap(), "ann.b_2");
        let long = "x".repeat(31);
        for text in ["a", "", "me", "Me", "änn", "a b", ".ann", "ann.", "a..b", "a-b", &long] {
            assert!(handle(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn what_is_not_named_stays() {
        let edit = |text: &str| {
            let before = User { bio: "before".to_owned(), handle: Some("ann".to_owned()), ..User::open() };
            let mut user = before;
            let wanted: Wanted = serde_json::from_str(text).unwrap();
            wanted.checked().map(|edit| edit.apply(&mut user)).map(|()| user)
        };
        let user = edit(r#"{"name": " Ann "}"#).unwrap();
        assert_eq!((&*user.name, &*user.bio, user.handle.as_deref()), ("Ann", "before", Some("ann")));
        let user = edit(r#"{"bio": null, "handle": null}"#).unwrap();
        assert_eq!((&*user.name, &*user.bio, user.handle), ("open", "", None));
        for wrong in [r#"{"name": " "}"#, r#"{"handle": "a b"}"#, r#"{"bio": "\u0007"}"#] {
            assert!(edit(wrong).unwrap_err().is("invalid-parameter"), "{wrong}");
        }
        assert!(serde_json::from_str::<Wanted>(r#"{"email": "x"}"#).is_err(), "it is not changed here");
    }
}
