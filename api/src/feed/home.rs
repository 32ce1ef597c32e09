//! The home timeline.

use darkroom_store::metadata::Transaction;
use darkroom_store::model::PostId;
use darkroom_store::model::ranking::{self, Engagement, Ranking};
use darkroom_store::model::timelines::{self, Wanted};
use hyper::StatusCode;

use crate::Api;
use crate::caller::Caller;
use crate::pages::{self, Page};
use crate::problem::Problem;
use crate::request::Query;
use crate::response::{self, Answer};

/// `GET /v1/feed`: what those whom the caller follows have published, and the caller.
///
/// # Errors
/// `unauthenticated`, `invalid-parameter`, and those of the store.
pub async fn page(api: &Api, caller: &Caller, query: Option<&str>) -> Result<Answer, Problem> {
    let user = caller.user()?;
    let query = Query::parse(query, &["limit", "cursor", "ranking"])?;
    let ranking: Ranking = match query.get("ranking") {
        None => Ranking::default(),
        Some(word) => word
            .parse()
            .map_err(|no| Problem::new("invalid-parameter", format!("ranking={word:?} is unknown: {no}")))?,
    };
    let feeds = &api.pipeline().options().feeds;
    let wanted = &Wanted {
        after: pages::cursor(&query)?,
        limit: pages::limit(&query)?,
        entries_max: feeds.timeline_entries_max,
    };
    let half_life = feeds.trending_half_life;
    let read = |tx: Transaction| async move {
        let page = timelines::page(&tx, user, wanted).await?;
        let mut ranked = Vec::with_capacity(page.entries.len());
        for (_, post) in &page.entries {
            let engagement = match ranking {
                Ranking::Chronological => Engagement::default(),
                Ranking::Engagement => Engagement::of(&tx, post).await?,
            };
            ranked.push((post.id, engagement));
        }
        ranking::order(&mut ranked, ranking, half_life, |(_, engagement)| *engagement);
        Ok((ranked.into_iter().map(|(post, _)| post).collect::<Vec<PostId>>(), page.next))
    };
    let (posts, next) = api.pipeline().metadata().read("read timeline", read).await?;
    let views = crate::posts::views(api, caller.viewer, &posts).await?;
    let next = next.map(|cursor| cursor.to_string());
    // One that is gone since is left out, as those that were gone before.
    let items: Vec<_> = views.into_iter().flatten().collect();
    Ok(response::json(StatusCode::OK, &Page { items, next }))
}
