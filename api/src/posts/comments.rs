//! What people say about a post.

use darkroom_store::StoreError;
use darkroom_store::metadata::Transaction;
use darkroom_store::model::comments::{self, Comment, Deleted, Deleting, Writing, Written};
use darkroom_store::model::visibility::Viewer;
use darkroom_store::model::{CommentId, PostId, Timestamp, UserId, posts};
use futures_util::future::{try_join, try_join_all};
use hyper::body::Incoming;
use hyper::header::{HeaderValue, LOCATION};
use hyper::{Request, StatusCode};
use serde::{Deserialize, Serialize};

use super::people::People;
use super::view::{CommentView, ThreadView};
use super::{comment_not_found, not_found, parse_comment, parse_id, text};
use crate::Api;
use crate::caller::Caller;
use crate::idempotency::{self, Asked, Claimed};
use crate::pages::{self, Page};
use crate::problem::Problem;
use crate::request::{BodyEnd, Query, small_json};
use crate::response::{self, Answer};

/// Replies that are shown with their comment; `?reply_to=` lists all.
const REPLIES_SHOWN: usize = 3;

/// What a client says of a new comment.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    #[serde(default)]
    text: String,
    #[serde(default)]
    reply_to: Option<CommentId>,
}

/// `POST /v1/posts/{id}/comments`.
///
/// # Errors
/// `post-not-found`, `comment-not-found`, `reply-to-reply`, `invalid-text`, `invalid-json`, and those of the store.
pub async fn write(
    api: &Api,
    caller: &Caller,
    query: Option<&str>,
    (request, end): (Request<Incoming>, BodyEnd),
    id: &str,
) -> Result<Answer, Problem> {
    Query::parse(query, &[])?;
    let (by, post) = (caller.user()?, parse_id(id)?);
    let (head, body) = request.into_parts();
    let wanted: Wanted = small_json(api, body, end, text::BODY_BYTES_MAX).await?;
    let content = serde_json::to_vec(&wanted).unwrap_or_default();
    let asked = Asked::new(&Request::from_parts(head, ()), &[&content])?;
    let wanted = Wanted { text: text::comment(&wanted.text)?, ..wanted };
    match idempotency::claim(api, &caller.owner, asked, false).await? {
        Claimed::Answered(answer) => Ok(answer),
        Claimed::Go(claim) => {
            let outcome = make(api, (by, post), wanted, CommentId(claim.series().0)).await;
            claim.answer(outcome).await
        }
    }
}

async fn make(
    api: &Api,
    (by, post): (UserId, PostId),
    wanted: Wanted,
    id: CommentId,
) -> Result<Answer, Problem> {
    let (now, history) = (Timestamp::now(), api.pipeline().history());
    let Wanted { text, reply_to } = wanted;
    let writing = &Writing { id, post, by, text, reply_to, now, history };
    let write = |tx| async move { comments::write(&tx, writing).await };
    match api.pipeline().metadata().transact("write comment", write).await? {
        Written::New(comment) => {
            let view = view(api, Viewer::User(by), (post, comment.id)).await?;
            let mut answer = response::json(StatusCode::CREATED, &view);
            if let Ok(location) = HeaderValue::from_str(&format!("/v1/posts/{post}/comments/{}", comment.id))
            {
                answer.headers_mut().insert(LOCATION, location);
            }
            Ok(answer)
        }
        Written::NoPost => Err(not_found(&post.to_string())),
        Written::NoComment(parent) => Err(comment_not_found(&parent.to_string())),
        Written::IsReply { reply, to } => Err(Problem::new(
            "reply-to-reply",
            format!(
                "comment {reply} is a reply itself, and there is one level of replies: reply to {to} instead"
            ),
        )
        .member("reply_to", to.to_string().into())),
    }
}

async fn view(
    api: &Api,
    viewer: Viewer,
    (post, comment): (PostId, CommentId),
) -> Result<CommentView, Problem> {
    let one = |tx| async move { one(&tx, viewer, (post, comment)).await };
    match api.pipeline().metadata().read("view comment", one).await? {
        None => Err(not_found(&post.to_string())),
        Some(None) => Err(comment_not_found(&comment.to_string())),
        Some(Some(view)) => Ok(view),
    }
}

/// `GET /v1/posts/{id}/comments/{comment}`.
///
/// # Errors
/// `post-not-found`, `comment-not-found`, and those of the store.
pub async fn show(
    api: &Api,
    caller: &Caller,
    query: Option<&str>,
    (post, comment): (&str, &str),
) -> Result<Answer, Problem> {
    Query::parse(query, &[])?;
    let ids = (parse_id(post)?, parse_comment(comment)?);
    Ok(response::json(StatusCode::OK, &view(api, caller.viewer, ids).await?))
}

/// `GET /v1/posts/{id}/comments`: those that reply to none, with their first replies; with `reply_to`, the replies to one.
///
/// # Errors
/// `post-not-found`, `comment-not-found`, `invalid-parameter`, and those of the store.
pub async fn list(api: &Api, caller: &Caller, query: Option<&str>, id: &str) -> Result<Answer, Problem> {
    let query = Query::parse(query, &["limit", "cursor", "reply_to"])?;
    let (limit, after) = (pages::limit(&query)?, pages::cursor::<CommentId>(&query)?);
    let reply_to = query.get("reply_to").map(parse_comment).transpose()?;
    let (viewer, post) = (caller.viewer, parse_id(id)?);
    let page = |tx| async move { page(&tx, viewer, (post, reply_to), (after, limit)).await };
    match api.pipeline().metadata().read("list comments", page).await? {
        None => Err(not_found(id)),
        Some(None) => Err(comment_not_found(query.get("reply_to").unwrap_or_default())),
        Some(Some(page)) => Ok(response::json(StatusCode::OK, &page)),
    }
}

/// `DELETE /v1/posts/{id}/comments/{comment}`.
///
/// # Errors
/// `post-not-found`, `comment-not-found`, `forbidden`, and those of the store.
pub async fn delete(
    api: &Api,
    caller: &Caller,
    query: Option<&str>,
    (post, comment): (&str, &str),
) -> Result<Answer, Problem> {
    Query::parse(query, &[])?;
    let (by, now, history) = (caller.user()?, Timestamp::now(), api.pipeline().history());
    let deleting = &Deleting { post: parse_id(post)?, comment: parse_comment(comment)?, by, now, history };
    let delete = |tx| async move { comments::delete(&tx, deleting).await };
    match api.pipeline().metadata().transact("delete comment", delete).await? {
        Deleted::Done => Ok(response::empty(StatusCode::NO_CONTENT)),
        Deleted::Others => {
            let detail = "the comment is somebody else's: its author may delete it, and the post's author";
            Err(Problem::new("forbidden", detail))
        }
        Deleted::NoPost => Err(not_found(post)),
        Deleted::NoComment => Err(comment_not_found(comment)),
    }
}

/// What was looked for on a post: `None` if there is no such post for the viewer, `Some(None)` if there is no such comment.
type Found<T> = Option<Option<T>>;

async fn one(
    tx: &Transaction,
    viewer: Viewer,
    (post, comment): (PostId, CommentId),
) -> Result<Found<CommentView>, StoreError> {
    if posts::seen(tx, viewer, post).await?.is_none() {
        return Ok(None);
    }
    let found = comments::get(tx, post, comment).await?;
    Ok(Some(seen(tx, viewer, found.into_iter().collect()).await?.pop()))
}

async fn page(
    tx: &Transaction,
    viewer: Viewer,
    (post, reply_to): (PostId, Option<CommentId>),
    (after, limit): (Option<CommentId>, usize),
) -> Result<Found<Page<CommentView>>, StoreError> {
    if posts::seen(tx, viewer, post).await?.is_none() {
        return Ok(None);
    }
    // One more than asked for tells whether there is a next page.
    let found = match reply_to {
        None => comments::list(tx, post, after, limit + 1).await?,
        Some(parent) => {
            let Some(Some(_)) = one(tx, viewer, (post, parent)).await? else { return Ok(Some(None)) };
            comments::replies(tx, (post, parent), after, limit + 1).await?
        }
    };
    let Page { items, next } = Page::of(found, limit, |comment| comment.id.to_string());
    Ok(Some(Some(Page { items: seen(tx, viewer, items).await?, next })))
}

/// Comments as somebody sees them, with their first replies: those of users who are gone, or whom a block hides, are left out
/// with the replies to them.
async fn seen(tx: &Transaction, viewer: Viewer, found: Vec<Comment>) -> Result<Vec<CommentView>, StoreError> {
    let threads = try_join_all(found.iter().map(|comment| thread(tx, comment))).await?;
    let all = found.iter().chain(threads.iter().flatten().flat_map(|(_, replies)| replies));
    let people = People::find(tx, viewer, all.map(|comment| comment.author)).await?;
    let views = found.iter().zip(&threads).filter_map(|(comment, thread)| {
        let thread = thread.as_ref().map(|(replies_count, replies)| {
            let seen = replies.iter().filter_map(|reply| view_of(&people, reply, None));
            ThreadView { replies_count: *replies_count, replies: seen.take(REPLIES_SHOWN).collect() }
        });
        view_of(&people, comment, thread)
    });
    Ok(views.collect())
}

fn view_of(people: &People, comment: &Comment, thread: Option<ThreadView>) -> Option<CommentView> {
    let author = people.seen(comment.author);
    match comment.deleted {
        // Who has written it is nobody's business any more, nor whether a block would hide them.
        Some(_) => Some(CommentView::new(comment, None, thread)),
        None => Some(CommentView::new(comment, Some(author?.clone()), thread)),
    }
}

/// How many replies a comment has, and the first of them; none of a reply.
async fn thread(tx: &Transaction, comment: &Comment) -> Result<Option<(u64, Vec<Comment>)>, StoreError> {
    if comment.reply_to.is_some() {
        return Ok(None);
    }
    let (post, id) = (comment.post, comment.id);
    let count = comments::replies_count(tx, post, id);
    let first = comments::replies(tx, (post, id), None, REPLIES_SHOWN);
    try_join(count, first).await.map(Some)
}
