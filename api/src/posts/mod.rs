//! `/v1/posts`: photos published with a caption, and what others make of them.
//!
//! - [`records`]: created, shared, shown, changed, deleted.
//! - [`likes`], [`comments`]: what is said of them.
//! - [`loading`]: many posts at once, as somebody sees them. Every list of posts is made with it.
//! - [`people`]: the users who are named in answers. [`text`]: what people write.
//! - [`view`]: the JSON of all that.

pub mod comments;
pub mod likes;
pub mod loading;
pub mod people;
pub mod records;
pub mod text;
pub mod view;

use darkroom_store::model::{CommentId, PostId};
use hyper::Method;

use crate::Api;
use crate::problem::Problem;
use crate::routes::{Asking, Routed, Routes, not_allowed};

pub use loading::views;

/// What is answered here.
pub const ROUTES: Routes = &[
    ("POST", "/v1/posts"),
    ("GET", "/v1/posts/{id}"),
    ("PATCH", "/v1/posts/{id}"),
    ("DELETE", "/v1/posts/{id}"),
    ("POST", "/v1/posts/{id}/share"),
    ("PUT", "/v1/posts/{id}/like"),
    ("DELETE", "/v1/posts/{id}/like"),
    ("GET", "/v1/posts/{id}/likes"),
    ("POST", "/v1/posts/{id}/comments"),
    ("GET", "/v1/posts/{id}/comments"),
    ("GET", "/v1/posts/{id}/comments/{comment}"),
    ("DELETE", "/v1/posts/{id}/comments/{comment}"),
];

/// What is below `/v1/posts`.
pub async fn route(api: &Api, asking: Asking, rest: &[&str]) -> Routed {
    let Asking { request, caller, end, .. } = asking;
    let method = request.method().clone();
    let get = method == Method::GET || method == Method::HEAD;
    let query = request.uri().query().map(ToOwned::to_owned);
    let query = query.as_deref();
    match rest {
        [] => (
            "/v1/posts",
            match method {
                Method::POST => records::create(api, &caller, query, request, end).await,
                _ => not_allowed("POST"),
            },
        ),
        [id] => (
            "/v1/posts/{id}",
            match method {
                Method::PATCH => records::edit(api, &caller, query, (request, end), id).await,
                Method::DELETE => records::delete(api, &caller, query, id).await,
                _ if get => records::show(api, &caller, query, id).await,
                _ => not_allowed("GET, HEAD, PATCH, DELETE"),
            },
        ),
        [id, "share"] => (
            "/v1/posts/{id}/share",
            match method {
                Method::POST => records::share(api, &caller, query, (request, end), id).await,
                _ => not_allowed("POST"),
            },
        ),
        [id, "like"] => (
            "/v1/posts/{id}/like",
            match method {
                Method::PUT => likes::like(api, &caller, query, (request, end), id).await,
                Method::DELETE => likes::unlike(api, &caller, query, id).await,
                _ => not_allowed("PUT, DELETE"),
            },
        ),
        [id, "likes"] => (
            "/v1/posts/{id}/likes",
            if get { likes::list(api, &caller, query, id).await } else { not_allowed("GET, HEAD") },
        ),
        [id, "comments"] => (
            "/v1/posts/{id}/comments",
            match method {
                Method::POST => comments::write(api, &caller, query, (request, end), id).await,
                _ if get => comments::list(api, &caller, query, id).await,
                _ => not_allowed("GET, HEAD, POST"),
            },
        ),
        [id, "comments", comment] => (
            "/v1/posts/{id}/comments/{comment}",
            match method {
                Method::DELETE => comments::delete(api, &caller, query, (id, comment)).await,
                _ if get => comments::show(api, &caller, query, (id, comment)).await,
                _ => not_allowed("GET, HEAD, DELETE"),
            },
        ),
        _ => ("unknown", {
            Err(Problem::new("not-found", "there is nothing here: see /openapi.json for what there is"))
        }),
    }
}

/// The id in a path.
///
/// # Errors
/// `post-not-found`: what is no id is no post's.
pub fn parse_id(text: &str) -> Result<PostId, Problem> {
    text.parse().map_err(|_| not_found(text))
}

/// No post has this id, or none that the asker may see.
pub fn not_found(id: &str) -> Problem {
    let detail = format!("there is no post {id:?} that you may see: it was deleted, or the id is wrong");
    Problem::new("post-not-found", detail)
}

fn parse_comment(text: &str) -> Result<CommentId, Problem> {
    text.parse().map_err(|_| comment_not_found(text))
}

fn comment_not_found(id: &str) -> Problem {
    let detail = format!("there is no comment {id:?} that you may see: it was deleted, or the id is wrong");
    Problem::new("comment-not-found", detail)
}
