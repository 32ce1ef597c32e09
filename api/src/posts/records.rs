//! A post is created, shared, shown, changed, deleted.

use darkroom_store::model::posts::{
    self, Created, Creation, Deleted, Edit, Edited, Editing, PHOTOS_MAX, POSTS_PER_PHOTO_MAX, Post,
};
use darkroom_store::model::visibility::{Viewer, Visibility};
use darkroom_store::model::{PhotoId, PostId, Timestamp, UserId};
use hyper::body::Incoming;
use hyper::header::{HeaderValue, LOCATION};
use hyper::{Request, StatusCode};
use serde::{Deserialize, Serialize};

use super::view::PostView;
use super::{not_found, parse_id, text, views};
use crate::Api;
use crate::caller::Caller;
use crate::idempotency::{self, Asked, Claimed};
use crate::problem::Problem;
use crate::request::{BodyEnd, Query, small_json};
use crate::response::{self, Answer};

/// How visible a post is of which nothing is said.
fn visibility_default() -> Visibility {
    Visibility::Followers
}

/// What a client says of a new post.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    #[serde(default)]
    photo_ids: Vec<PhotoId>,
    #[serde(default)]
    shared_post_id: Option<PostId>,
    #[serde(default)]
    caption: String,
    #[serde(default = "visibility_default")]
    visibility: Visibility,
}

/// What a client says of a post that shares another.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WantedShare {
    #[serde(default)]
    caption: String,
    #[serde(default = "visibility_default")]
    visibility: Visibility,
}

/// What a client says of a post that is to be changed.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WantedEdit {
    #[serde(default)]
    caption: Option<String>,
    #[serde(default)]
    visibility: Option<Visibility>,
    #[serde(default)]
    photo_ids: Option<Vec<PhotoId>>,
}

/// `POST /v1/posts`.
///
/// # Errors
/// `invalid-json`, `invalid-text`, `invalid-post-photos`, those of [`refusal`], and those of the store.
pub async fn create(
    api: &Api,
    caller: &Caller,
    query: Option<&str>,
    request: Request<Incoming>,
    end: BodyEnd,
) -> Result<Answer, Problem> {
    Query::parse(query, &[])?;
    caller.user()?;
    let (head, body) = request.into_parts();
    let wanted = small_json(api, body, end, text::BODY_BYTES_MAX).await?;
    once(api, caller, &Request::from_parts(head, ()), wanted).await
}

/// `POST /v1/posts/{id}/share`: a post that shows another.
///
/// # Errors
/// As [`create`]'s.
pub async fn share(
    api: &Api,
    caller: &Caller,
    query: Option<&str>,
    (request, end): (Request<Incoming>, BodyEnd),
    id: &str,
) -> Result<Answer, Problem> {
    Query::parse(query, &[])?;
    caller.user()?;
    let shared_post_id = Some(parse_id(id)?);
    let (head, body) = request.into_parts();
    let WantedShare { caption, visibility } = small_json(api, body, end, text::BODY_BYTES_MAX).await?;
    let wanted = Wanted { photo_ids: Vec::new(), shared_post_id, caption, visibility };
    once(api, caller, &Request::from_parts(head, ()), wanted).await
}

/// Creates a post, once under an idempotency key.
async fn once(api: &Api, caller: &Caller, request: &Request<()>, wanted: Wanted) -> Result<Answer, Problem> {
    let content = serde_json::to_vec(&wanted).unwrap_or_default();
    let asked = Asked::new(request, &[&content])?;
    let wanted = checked(wanted)?;
    match idempotency::claim(api, &caller.owner, asked, false).await? {
        Claimed::Answered(answer) => Ok(answer),
        Claimed::Go(claim) => {
            let outcome = make(api, caller.user()?, wanted, PostId(claim.series().0)).await;
            claim.answer(outcome).await
        }
    }
}

/// What can be told of a post without looking at anything stored.
fn checked(wanted: Wanted) -> Result<Wanted, Problem> {
    let photos = &wanted.photo_ids;
    let wrong = |detail: String| Err(Problem::new("invalid-post-photos", detail));
    if let Some(post) = wanted.shared_post_id {
        if !photos.is_empty() {
            return wrong(format!(
                "a post that shares another ({post}) has no photos of its own: leave them out"
            ));
        }
    } else if photos.is_empty() {
        return wrong("the post has no photo: name from 1 to 10 of yours in `photo_ids`".to_owned());
    }
    if photos.len() > PHOTOS_MAX {
        return wrong(format!("the post has {} photos: name at most {PHOTOS_MAX}", photos.len()));
    }
    if let Some(twice) = named_twice(photos) {
        return wrong(format!("photo {twice} is named twice: a post shows each once"));
    }
    Ok(Wanted { caption: text::caption(wanted.caption)?, ..wanted })
}

fn named_twice(photos: &[PhotoId]) -> Option<PhotoId> {
    photos.iter().enumerate().find(|(place, photo)| photos[..*place].contains(photo)).map(|(_, photo)| *photo)
}

async fn make(api: &Api, author: UserId, wanted: Wanted, id: PostId) -> Result<Answer, Problem> {
    let draft = Post::new((id, author), wanted.caption, wanted.visibility, Timestamp::now());
    let post = Post { photos: wanted.photo_ids, shared: wanted.shared_post_id, ..draft };
    let creation = &Creation { post, history: api.pipeline().history() };
    let create = |tx| async move { posts::create(&tx, creation).await };
    match api.pipeline().metadata().transact("create post", create).await? {
        Created::New(post) => {
            let mut answer =
                response::json(StatusCode::CREATED, &view(api, Viewer::User(author), post.id).await?);
            if let Ok(location) = HeaderValue::from_str(&format!("/v1/posts/{}", post.id)) {
                answer.headers_mut().insert(LOCATION, location);
            }
            Ok(answer)
        }
        refused => Err(refusal(&refused)),
    }
}

/// Why a post was not made.
pub(crate) fn refusal(refused: &Created) -> Problem {
    match refused {
        Created::NoPhoto(photo) => Problem::photo_not_found(&photo.to_string()),
        Created::Wider(photo) => wider(*photo),
        Created::ShownTooOften(photo) => Problem::new(
            "photo-in-too-many-posts",
            format!(
                "photo {photo} is in {POSTS_PER_PHOTO_MAX} posts, as many as it may be: delete one of them"
            ),
        ),
        Created::TooManyPhotos => {
            Problem::new("invalid-post-photos", format!("name at most {PHOTOS_MAX} photos"))
        }
        Created::NoPost(post) => not_found(&post.to_string()),
        Created::NotShareable(post) => Problem::new(
            "post-not-shareable",
            format!(
                "post {post} may not be shared: only what is public may be, once it is published, and by its author \
                     also what is not public"
            ),
        ),
        Created::New(_) => Problem::new("internal-error", "a bug of the daemon's own: the post was made"),
    }
}

fn wider(photo: PhotoId) -> Problem {
    Problem::new(
        "post-wider-than-photo",
        format!(
            "photo {photo} is not for all who would see the post: make the post narrower, or the photo wider"
        ),
    )
}

/// The post as somebody sees it.
async fn view(api: &Api, viewer: Viewer, id: PostId) -> Result<PostView, Problem> {
    views(api, viewer, &[id]).await?.pop().flatten().ok_or_else(|| not_found(&id.to_string()))
}

/// `GET /v1/posts/{id}`.
///
/// # Errors
/// `post-not-found`, and those of the store.
pub async fn show(api: &Api, caller: &Caller, query: Option<&str>, id: &str) -> Result<Answer, Problem> {
    Query::parse(query, &[])?;
    Ok(response::json(StatusCode::OK, &view(api, caller.viewer, parse_id(id)?).await?))
}

/// `PATCH /v1/posts/{id}`.
///
/// # Errors
/// `post-not-found`, `forbidden`, `invalid-text`, `invalid-post-photos`, `post-wider-than-photo`, and those of the store.
pub async fn edit(
    api: &Api,
    caller: &Caller,
    query: Option<&str>,
    (request, end): (Request<Incoming>, BodyEnd),
    id: &str,
) -> Result<Answer, Problem> {
    Query::parse(query, &[])?;
    let (by, post) = (caller.user()?, parse_id(id)?);
    let WantedEdit { caption, visibility, photo_ids } =
        small_json(api, request.into_body(), end, text::BODY_BYTES_MAX).await?;
    let edit = Edit { caption: caption.map(text::caption).transpose()?, visibility, photos: photo_ids };
    let editing = &Editing { post, by, edit, now: Timestamp::now(), history: api.pipeline().history() };
    let edit = |tx| async move { posts::edit(&tx, editing).await };
    let wrong = |detail: String| Err(Problem::new("invalid-post-photos", detail));
    match api.pipeline().metadata().transact("edit post", edit).await? {
        Edited::Done(_) => Ok(response::json(StatusCode::OK, &view(api, caller.viewer, post).await?)),
        Edited::Others => Err(not_yours()),
        Edited::Unseen => Err(not_found(id)),
        Edited::NotInPost(photo) => wrong(format!(
            "photo {photo} is not in the post, or is named twice: name photos of the post, each once; others come in a new \
             post"
        )),
        Edited::NoPhotos => wrong("no photo would be left: delete the post instead".to_owned()),
        Edited::Wider(photo) => Err(wider(photo)),
    }
}

fn not_yours() -> Problem {
    Problem::new("forbidden", "the post is somebody else's: only its author may change or delete it")
}

/// `DELETE /v1/posts/{id}`.
///
/// # Errors
/// `post-not-found`, `forbidden`, and those of the store.
pub async fn delete(api: &Api, caller: &Caller, query: Option<&str>, id: &str) -> Result<Answer, Problem> {
    Query::parse(query, &[])?;
    let (by, post) = (caller.user()?, parse_id(id)?);
    let (now, history) = (Timestamp::now(), api.pipeline().history());
    let delete = |tx| async move { posts::delete_by(&tx, (post, by), now, history).await };
    match api.pipeline().metadata().transact("delete post", delete).await? {
        Deleted::Done => Ok(response::empty(StatusCode::NO_CONTENT)),
        Deleted::Others => Err(not_yours()),
        Deleted::Unseen => Err(not_found(id)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(text: &str) -> Result<Wanted, Problem> {
        checked(serde_json::from_str(text).unwrap())
    }

    #[test]
    fn a_post_has_photos_or_another_post() {
        let id = PhotoId::new();
        let one = wanted(&format!(r#"{{"photo_ids": ["{id}"]}}"#)).unwrap();
        assert_eq!((one.photo_ids, one.visibility), (vec![id], Visibility::Followers));
        assert!(wanted(&format!(r#"{{"shared_post_id": "{id}"}}"#)).is_ok());
        let many = vec![format!("{:?}", PhotoId::new().to_string()); 11].join(",");
        for refused in [
            "{}".to_owned(),
            format!(r#"{{"photo_ids": ["{id}", "{id}"]}}"#),
            format!(r#"{{"photo_ids": ["{id}"], "shared_post_id": "{id}"}}"#),
            format!(r#"{{"photo_ids": [{many}]}}"#),
        ] {
            assert!(wanted(&refused).unwrap_err().is("invalid-post-photos"), "{refused}");
        }
    }

    #[test]
    fn what_is_not_known_of_a_post_is_refused() {
        assert!(serde_json::from_str::<Wanted>(r#"{"photos": []}"#).is_err());
        assert!(serde_json::from_str::<Wanted>(r#"{"visibility": "friends"}"#).is_err());
        assert!(serde_json::from_str::<WantedEdit>(r#"{"shared_post_id": null}"#).is_err());
    }
}
