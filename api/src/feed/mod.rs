//! Lists of posts: the home timeline, the posts of a tag, what trends.
//!
//! - [`home`]: `GET /v1/feed`.
//! - [`tags`]: `GET /v1/tags/{tag}/posts`.
//! - [`trending`]: `GET /v1/trending/posts` and `/v1/trending/tags`.

pub mod home;
pub mod tags;
pub mod trending;

use hyper::Method;

use crate::Api;
use crate::problem::Problem;
use crate::routes::{Asking, Routed, Routes, not_allowed};

/// What is answered here.
pub const ROUTES: Routes = &[
    ("GET", "/v1/feed"),
    ("GET", "/v1/tags/{tag}/posts"),
    ("GET", "/v1/trending/posts"),
    ("GET", "/v1/trending/tags"),
];

/// What is below `/v1`, of these.
pub async fn route(api: &Api, asking: Asking, rest: &[&str]) -> Routed {
    let Asking { request, caller, .. } = asking;
    let get = *request.method() == Method::GET || *request.method() == Method::HEAD;
    let query = request.uri().query();
    let route = match rest {
        ["feed"] => "/v1/feed",
        ["tags", _, "posts"] => "/v1/tags/{tag}/posts",
        ["trending", "posts"] => "/v1/trending/posts",
        ["trending", "tags"] => "/v1/trending/tags",
        _ => {
            let detail = "there is nothing here: see /openapi.json for what there is";
            return ("unknown", Err(Problem::new("not-found", detail)));
        }
    };
    let answer = match rest {
        _ if !get => not_allowed("GET, HEAD"),
        ["feed"] => home::page(api, &caller, query).await,
        ["tags", tag, ..] => tags::page(api, &caller, query, tag).await,
        [_, "posts"] => trending::posts(api, &caller, query).await,
        _ => trending::tags(api, query).await,
    };
    (route, answer)
}
