//! Conversations: what two users write to each other.

use darkroom_store::metadata::Metadata;
use darkroom_store::model::conversations::{self, Beginning, Conversation, Message, Sending};
use darkroom_store::model::users::counts::{self, Counted};
use darkroom_store::model::{ConversationId, MessageId, Position, Timestamp, UserId, users};
use hyper::{Method, Request, StatusCode};
use serde::{Deserialize, Serialize};

use crate::Api;
use crate::caller::Caller;
use crate::idempotency::{self, Asked, Claimed};
use crate::pages::{self, Page};
use crate::problem::Problem;
use crate::request::{Query, small_json};
use crate::response::{self, Answer};
use crate::routes::{Asking, Routed, Routes, not_allowed};
use crate::view::rfc3339;

/// What is answered here.
pub const ROUTES: Routes = &[
    ("GET", "/v1/conversations"),
    ("POST", "/v1/conversations"),
    ("GET", "/v1/conversations/unread"),
    ("GET", "/v1/conversations/{id}"),
    ("GET", "/v1/conversations/{id}/messages"),
    ("POST", "/v1/conversations/{id}/messages"),
    ("DELETE", "/v1/conversations/{id}/messages/{message}"),
    ("PUT", "/v1/conversations/{id}/read"),
];

/// Longest body: a message of the longest text, as JSON may write it.
const BODY_BYTES_MAX: usize = 6 * 4 * TEXT_CHARS_MAX + 1024;
/// Longest message, in characters.
const TEXT_CHARS_MAX: usize = 4000;

/// What is below `/v1/conversations`.
pub async fn route(api: &Api, asking: Asking, rest: &[&str]) -> Routed {
    let method = asking.request.method().clone();
    let query = asking.request.uri().query().map(ToOwned::to_owned);
    let (query, caller) = (query.as_deref(), asking.caller.clone());
    let get = method == Method::GET || method == Method::HEAD;
    match (rest, &method) {
        ([], _) if get => ("/v1/conversations", list(api, &caller, query).await),
        ([], &Method::POST) => ("/v1/conversations", begin(api, asking).await),
        ([], _) => ("/v1/conversations", not_allowed("GET, HEAD, POST")),
        (["unread"], _) => (
            "/v1/conversations/unread",
            if get { unread(api, &caller, query).await } else { not_allowed("GET, HEAD") },
        ),
        ([id], _) => (
            "/v1/conversations/{id}",
            if get { show(api, &caller, query, id).await } else { not_allowed("GET, HEAD") },
        ),
        ([id, "messages"], _) if get => {
            ("/v1/conversations/{id}/messages", messages(api, &caller, query, id).await)
        }
        ([id, "messages"], &Method::POST) => ("/v1/conversations/{id}/messages", send(api, asking, id).await),
        ([_, "messages"], _) => ("/v1/conversations/{id}/messages", not_allowed("GET, HEAD, POST")),
        ([id, "messages", message], &Method::DELETE) => {
            ("/v1/conversations/{id}/messages/{message}", delete(api, &caller, id, message).await)
        }
        ([_, "messages", _], _) => ("/v1/conversations/{id}/messages/{message}", not_allowed("DELETE")),
        ([id, "read"], &Method::PUT) => ("/v1/conversations/{id}/read", read(api, asking, id).await),
        ([_, "read"], _) => ("/v1/conversations/{id}/read", not_allowed("PUT")),
        _ => ("unknown", Err(Problem::new("not-found", "there is nothing here: see /openapi.json"))),
    }
}

/// Whom a conversation is with.
#[derive(Serialize)]
struct With {
    id: String,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    handle: Option<String>,
}

#[derive(Serialize)]
struct ConversationView {
    id: String,
    with: With,
    unread_count: u64,
    /// Numbers of messages: of the last, and of those up to which each of the two has read.
    last: u64,
    read: u64,
    read_by_other: u64,
    created_at: String,
    updated_at: String,
    last_message: Option<MessageView>,
}

#[derive(Serialize)]
struct MessageView {
    id: String,
    number: u64,
    from: String,
    sent_at: String,
    /// None, if it was deleted.
    text: Option<String>,
}

impl MessageView {
    fn new((number, message): (u64, Message)) -> Self {
        Self {
            id: message.id.to_string(),
            number,
            from: message.from.to_string(),
            sent_at: rfc3339(message.sent),
            text: message.text,
        }
    }
}

fn unknown(id: &str) -> Problem {
    Problem::new("conversation-not-found", format!("you have no conversation {id:?}"))
}

fn parse(id: &str) -> Result<ConversationId, Problem> {
    id.parse().map_err(|_| unknown(id))
}

/// The views of conversations as they are now, without those that are hidden meanwhile.
async fn views(
    metadata: &Metadata,
    user: UserId,
    conversations: &[Conversation],
) -> Result<Vec<ConversationView>, Problem> {
    let look = |tx| async move {
        let tx = &tx;
        let look = |conversation: &Conversation| {
            let conversation = conversation.clone();
            async move {
                let with = users::get(tx, conversation.other(user)).await?;
                let last = conversations::messages(tx, conversation.id, None, 1).await?.pop();
                Ok::<_, darkroom_store::StoreError>((conversation, with, last))
            }
        };
        futures_util::future::try_join_all(conversations.iter().map(look)).await
    };
    let found = metadata.read("look at conversations", look).await?;
    Ok(found.into_iter().map(|(conversation, with, last)| view(user, &conversation, with, last)).collect())
}

fn view(
    user: UserId,
    conversation: &Conversation,
    with: Option<users::User>,
    last: Option<(u64, Message)>,
) -> ConversationView {
    let read = |of: UserId| conversation.last - conversation.unread(of);
    let other = conversation.other(user);
    let (name, handle) = with.map_or((String::new(), None), |with| (with.name, with.handle));
    ConversationView {
        id: conversation.id.to_string(),
        with: With { id: other.to_string(), name, handle },
        unread_count: conversation.unread(user),
        last: conversation.last,
        read: read(user),
        read_by_other: read(other),
        created_at: rfc3339(conversation.created),
        updated_at: rfc3339(conversation.updated),
        last_message: last.map(MessageView::new),
    }
}

async fn one(api: &Api, user: UserId, conversation: Conversation) -> Result<ConversationView, Problem> {
    let id = conversation.id;
    let mut views = views(api.pipeline().metadata(), user, &[conversation]).await?;
    views.pop().ok_or_else(|| unknown(&id.to_string()))
}

/// `GET /v1/conversations`: the one in which something was said last is first. A page may be short: those with somebody
/// who is blocked are left out.
async fn list(api: &Api, caller: &Caller, query: Option<&str>) -> Result<Answer, Problem> {
    let query = Query::parse(query, &["limit", "cursor"])?;
    let (limit, before) = (pages::limit(&query)?, pages::cursor::<Position>(&query)?);
    let (user, metadata) = (caller.user()?, api.pipeline().metadata());
    let list = |tx| async move { conversations::of_user(&tx, user, before, limit + 1).await };
    let found = metadata.read("list conversations", list).await?;
    let Page { items, next } = Page::of(found, limit, |(position, _)| position.to_string());
    let seen: Vec<_> =
        items.into_iter().map(|(_, found)| found).filter(|conversation| !conversation.hidden).collect();
    let items = views(metadata, user, &seen).await?;
    Ok(response::json(StatusCode::OK, &Page { items, next }))
}

/// `GET /v1/conversations/unread`: messages that the caller has not read, in all conversations.
async fn unread(api: &Api, caller: &Caller, query: Option<&str>) -> Result<Answer, Problem> {
    Query::parse(query, &[])?;
    let user = caller.user()?;
    let count = |tx| async move { counts::read(&tx, user, Counted::Unread).await };
    let count = api.pipeline().metadata().read("count unread", count).await?;
    Ok(response::json(StatusCode::OK, &serde_json::json!({"unread_count": count})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    user_id: UserId,
}

/// `POST /v1/conversations`: the caller's conversation with somebody, 201 if it begins with this. Two have one, so that the
/// request may be sent again.
async fn begin(api: &Api, asking: Asking) -> Result<Answer, Problem> {
    Query::parse(asking.request.uri().query(), &[])?;
    let by = asking.caller.user()?;
    let Wanted { user_id: with } =
        small_json(api, asking.request.into_body(), asking.end, BODY_BYTES_MAX).await?;
    if with == by {
        return Err(Problem::new(
            "invalid-parameter",
            "user_id is your own: nobody writes to themselves here",
        ));
    }
    let (id, history) = (ConversationId::new(), api.pipeline().history());
    let beginning = &Beginning { id, by, with, now: Timestamp::now(), history };
    let begin = |tx| async move { conversations::begin(&tx, beginning).await };
    let begun = api.pipeline().metadata().transact("begin conversation", begin).await?;
    let Some((conversation, is_new)) = begun else {
        return Err(Problem::new("user-not-found", format!("there is no user {with} to write to")));
    };
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok(response::json(status, &one(api, by, conversation).await?))
}

/// `GET /v1/conversations/{id}`.
async fn show(api: &Api, caller: &Caller, query: Option<&str>, id: &str) -> Result<Answer, Problem> {
    Query::parse(query, &[])?;
    let (user, parsed) = (caller.user()?, parse(id)?);
    let look = |tx| async move { conversations::seen_by(&tx, user, parsed).await };
    let found = api.pipeline().metadata().read("get conversation", look).await?;
    let conversation = found.ok_or_else(|| unknown(id))?;
    Ok(response::json(StatusCode::OK, &one(api, user, conversation).await?))
}

/// `GET /v1/conversations/{id}/messages`: the newest first.
async fn messages(api: &Api, caller: &Caller, query: Option<&str>, id: &str) -> Result<Answer, Problem> {
    let query = Query::parse(query, &["limit", "cursor"])?;
    let (limit, before) = (pages::limit(&query)?, pages::cursor::<u64>(&query)?);
    let (user, parsed) = (caller.user()?, parse(id)?);
    let list = |tx| async move {
        match conversations::seen_by(&tx, user, parsed).await? {
            Some(_) => conversations::messages(&tx, parsed, before, limit + 1).await.map(Some),
            None => Ok(None),
        }
    };
    let found = api.pipeline().metadata().read("list messages", list).await?.ok_or_else(|| unknown(id))?;
    let page = Page::of(found, limit, |(number, _)| number.to_string());
    Ok(response::json(StatusCode::OK, &page.map(MessageView::new)))
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    text: String,
}

/// `POST /v1/conversations/{id}/messages`.
async fn send(api: &Api, asking: Asking, id: &str) -> Result<Answer, Problem> {
    Query::parse(asking.request.uri().query(), &[])?;
    let (user, parsed) = (asking.caller.user()?, parse(id)?);
    // A key that cannot be read is told before the body is.
    Asked::new(&asking.request, &[])?;
    let (head, body) = asking.request.into_parts();
    let said: Said = small_json(api, body, asking.end, BODY_BYTES_MAX).await?;
    let chars = said.text.chars().count();
    if said.text.trim().is_empty() || chars > TEXT_CHARS_MAX {
        let detail =
            format!("the text has {chars} characters: write 1 to {TEXT_CHARS_MAX} that are not all blank");
        return Err(Problem::new("invalid-parameter", detail));
    }
    let asked = Asked::new(&Request::from_parts(head, ()), &[said.text.as_bytes()])?;
    match idempotency::claim(api, &asking.caller.owner, asked, false).await? {
        Claimed::Answered(answer) => Ok(answer),
        Claimed::Go(claim) => {
            let message = Message {
                id: MessageId(claim.series().0),
                from: user,
                sent: Timestamp::now(),
                text: Some(said.text),
            };
            let sent = say(api, parsed, message).await;
            claim.answer(sent).await
        }
    }
}

async fn say(api: &Api, conversation: ConversationId, message: Message) -> Result<Answer, Problem> {
    let sending = &Sending { conversation, message, history: api.pipeline().history() };
    let send = |tx| async move { conversations::send(&tx, sending).await };
    let number = api.pipeline().metadata().transact("send message", send).await?;
    let number = number.ok_or_else(|| unknown(&conversation.to_string()))?;
    Ok(response::json(StatusCode::CREATED, &MessageView::new((number, sending.message.clone()))))
}

/// `DELETE /v1/conversations/{id}/messages/{message}`: takes the words of one's own message away. Its place stays.
async fn delete(api: &Api, caller: &Caller, id: &str, message: &str) -> Result<Answer, Problem> {
    let none = || Problem::new("message-not-found", format!("there is no message {message:?} of yours here"));
    let (user, parsed): (_, MessageId) = (caller.user()?, message.parse().map_err(|_| none())?);
    let conversation = parse(id)?;
    let delete = |tx| async move { conversations::delete_message(&tx, user, conversation, parsed).await };
    let deleted = api.pipeline().metadata().transact("delete message", delete).await?;
    if deleted { Ok(response::empty(StatusCode::NO_CONTENT)) } else { Err(none()) }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Read {
    up_to: u64,
}

/// `PUT /v1/conversations/{id}/read` `{"up_to": number}`: the caller has read so far.
async fn read(api: &Api, asking: Asking, id: &str) -> Result<Answer, Problem> {
    Query::parse(asking.request.uri().query(), &[])?;
    let (user, parsed) = (asking.caller.user()?, parse(id)?);
    let Read { up_to } = small_json(api, asking.request.into_body(), asking.end, BODY_BYTES_MAX).await?;
    let read = |tx| async move { conversations::read_up_to(&tx, user, parsed, up_to).await };
    let found = api.pipeline().metadata().transact("read conversation", read).await?;
    let conversation = found.ok_or_else(|| unknown(id))?;
    Ok(response::json(StatusCode::OK, &one(api, user, conversation).await?))
}
