//! What trends.

use darkroom_store::metadata::Transaction;
use darkroom_store::model::trending::{self, Kind};
use darkroom_store::model::visibility::{self, Visibility};
use darkroom_store::model::{PostId, Timestamp, posts};
use hyper::StatusCode;
use serde::Serialize;

use crate::Api;
use crate::caller::Caller;
use crate::pages::{self, Page};
use crate::problem::Problem;
use crate::request::Query;
use crate::response::{self, Answer};

/// What a list holds that does not say how many it wants.
const LIMIT_DEFAULT: usize = 20;
/// What a list holds at most. It has one page.
const LIMIT_MAX: usize = 100;
/// Of how many more the posts are chosen that the caller may see.
const AMONG: usize = 2;

/// A tag that trends.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TrendingTag {
    /// As it stands behind the `#`, in lower case.
    pub tag: String,
    /// The public posts that have it, each the less the older it is.
    pub score: f64,
}

/// `GET /v1/trending/posts`: public ones only, of nobody who has blocked the caller or whom the caller has.
///
/// # Errors
/// `invalid-parameter`, and those of the store.
pub async fn posts(api: &Api, caller: &Caller, query: Option<&str>) -> Result<Answer, Problem> {
    let query = Query::parse(query, &["limit"])?;
    let limit = pages::limit_within(&query, LIMIT_DEFAULT, LIMIT_MAX)?;
    let (viewer, now) = (caller.viewer, Timestamp::now());
    let half_life = api.pipeline().options().feeds.trending_half_life;
    let read = |tx: Transaction| async move {
        let mut seen: Vec<PostId> = Vec::with_capacity(limit);
        for (what, _) in trending::top(&tx, Kind::Posts, half_life, now, AMONG * limit).await? {
            if seen.len() == limit {
                break;
            }
            let Some(id) = what.parse().ok() else { continue };
            let post = posts::get(&tx, id).await?.filter(|post| post.visibility == Visibility::Public);
            if let Some(post) = post
                && visibility::may_see_post(&tx, viewer, &post).await?
            {
                seen.push(id);
            }
        }
        Ok(seen)
    };
    let posts = api.pipeline().metadata().read("read trending posts", read).await?;
    let items: Vec<_> = crate::posts::views(api, viewer, &posts).await?.into_iter().flatten().collect();
    Ok(response::json(StatusCode::OK, &Page { items, next: None }))
}

/// `GET /v1/trending/tags`: those of public posts.
///
/// # Errors
/// `invalid-parameter`, and those of the store.
pub async fn tags(api: &Api, query: Option<&str>) -> Result<Answer, Problem> {
    let query = Query::parse(query, &["limit"])?;
    let limit = pages::limit_within(&query, LIMIT_DEFAULT, LIMIT_MAX)?;
    let (half_life, now) = (api.pipeline().options().feeds.trending_half_life, Timestamp::now());
    let read = |tx: Transaction| async move { trending::top(&tx, Kind::Tags, half_life, now, limit).await };
    let top = api.pipeline().metadata().read("read trending tags", read).await?;
    let items: Vec<_> = top.into_iter().map(|(tag, score)| TrendingTag { tag, score }).collect();
    Ok(response::json(StatusCode::OK, &Page { items, next: None }))
}
