//! API keys: made, listed and revoked by whoever has the scope `admin`.

use std::time::Duration;

use darkroom_store::metadata::Metadata;
use darkroom_store::model::api_keys::{self, ApiKey};
use darkroom_store::model::{ApiKeyId, Timestamp, UserId, users};
use hyper::{Method, StatusCode};
use serde::{Deserialize, Serialize};

use super::scopes::Scope;
use super::secrets::{KeySecret, NoRandomness};
use crate::Api;
use crate::pages::{self, Page};
use crate::problem::Problem;
use crate::request::{Query, small_json};
use crate::response::{self, Answer};
use crate::routes::{Asking, Routed, Routes, not_allowed};
use crate::view::rfc3339;

/// What is answered here.
pub const ROUTES: Routes = &[
    ("POST", "/v1/api-keys"),
    ("GET", "/v1/api-keys"),
    ("GET", "/v1/api-keys/{id}"),
    ("DELETE", "/v1/api-keys/{id}"),
];

/// Longest body.
const BODY_BYTES_MAX: usize = 8 << 10;
/// Longest name, in characters.
const NAME_CHARS_MAX: usize = 100;
/// The name of the key that the first start makes.
const FIRST_NAME: &str = "made at the first start";

/// What is below `/v1/api-keys`.
pub async fn route(api: &Api, asking: Asking, rest: &[&str]) -> Routed {
    let method = asking.request.method().clone();
    let query = asking.request.uri().query().map(ToOwned::to_owned);
    let get = method == Method::GET || method == Method::HEAD;
    match rest {
        [] if get => ("/v1/api-keys", list(api, query.as_deref()).await),
        [] if method == Method::POST => ("/v1/api-keys", create(api, asking).await),
        [] => ("/v1/api-keys", not_allowed("GET, HEAD, POST")),
        [id] if get => ("/v1/api-keys/{id}", show(api, id).await),
        [id] if method == Method::DELETE => ("/v1/api-keys/{id}", revoke(api, id).await),
        [_] => ("/v1/api-keys/{id}", not_allowed("GET, HEAD, DELETE")),
        _ => ("unknown", Err(Problem::new("not-found", "there is nothing here: see /openapi.json"))),
    }
}

/// A key to be made.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// What it is for.
    pub name: String,
    /// What it allows, by the words of [`Scope`].
    pub scopes: Vec<String>,
    /// For whom it acts; the user `open`, if for nobody.
    #[serde(default)]
    pub user_id: Option<UserId>,
    /// Seconds until it ends; for ever, if none.
    #[serde(default)]
    pub expires_in: Option<u64>,
}

/// A key as an administrator sees it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KeyView {
    /// Its id.
    pub id: String,
    /// What it is for.
    pub name: String,
    /// What it allows.
    pub scopes: Vec<String>,
    /// For whom it acts.
    pub user_id: String,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339; never, if none.
    pub expires_at: Option<String>,
    /// RFC 3339, to the minute; never so far, if none.
    pub last_used_at: Option<String>,
    /// The key itself: in the answer to its creation, and never again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

impl KeyView {
    fn new(key: &ApiKey, last_use: Option<Timestamp>) -> Self {
        Self {
            id: key.id.to_string(),
            name: key.name.clone(),
            scopes: key.scopes.clone(),
            user_id: key.user.to_string(),
            created_at: rfc3339(key.created),
            expires_at: key.expires.map(rfc3339),
            last_used_at: last_use.map(rfc3339),
            key: None,
        }
    }
}

/// `POST /v1/api-keys`. Without an idempotency key, since an answer that holds a secret is not kept: a key whose answer was
/// lost is found in the list, unused, and revoked.
async fn create(api: &Api, asking: Asking) -> Result<Answer, Problem> {
    Query::parse(asking.request.uri().query(), &[])?;
    let wanted: Wanted = small_json(api, asking.request.into_body(), asking.end, BODY_BYTES_MAX).await?;
    Ok(response::json(StatusCode::CREATED, &make(api.pipeline().metadata(), wanted).await?))
}

/// Makes a key, and tells it.
///
/// # Errors
/// `invalid-parameter`, `user-not-found`, and those of the store.
pub async fn make(metadata: &Metadata, wanted: Wanted) -> Result<KeyView, Problem> {
    let scopes = checked_scopes(&wanted.scopes)?;
    let chars = wanted.name.chars().count();
    if chars == 0 || chars > NAME_CHARS_MAX {
        let detail = format!("the name has {chars} characters: give one of 1 to {NAME_CHARS_MAX}");
        return Err(Problem::new("invalid-parameter", detail));
    }
    let (secret, now) = (KeySecret::new()?, Timestamp::now());
    let user = wanted.user_id.unwrap_or(UserId::OPEN);
    let key = &ApiKey {
        id: secret.id,
        name: wanted.name,
        scopes: scopes.iter().map(ToString::to_string).collect(),
        user,
        secret: secret.hash(),
        created: now,
        expires: wanted.expires_in.map(|seconds| now.after(Duration::from_secs(seconds))),
    };
    let create = |tx| async move {
        if users::get(&tx, user).await?.is_none() {
            return Ok(false);
        }
        api_keys::create(&tx, key).map(|()| true)
    };
    if !metadata.transact("create key", create).await? {
        return Err(Problem::new("user-not-found", format!("there is no user {user} to make a key for")));
    }
    tracing::info!(key = %key.id, name = key.name, scopes = ?key.scopes, "an API key was made");
    Ok(KeyView { key: Some(secret.reveal()), ..KeyView::new(key, None) })
}

fn checked_scopes(words: &[String]) -> Result<Vec<Scope>, Problem> {
    let scopes: Result<Vec<Scope>, String> = words.iter().map(|word| word.parse()).collect();
    match scopes {
        Ok(scopes) if !scopes.is_empty() => Ok(scopes),
        Ok(_) => Err(Problem::new("invalid-parameter", "scopes is empty: such a key would allow nothing")),
        Err(why) => Err(Problem::new("invalid-parameter", why)),
    }
}

/// `GET /v1/api-keys`: those that were not revoked, the oldest first.
async fn list(api: &Api, query: Option<&str>) -> Result<Answer, Problem> {
    let query = Query::parse(query, &["limit", "cursor"])?;
    let (limit, after) = (pages::limit(&query)?, pages::cursor::<ApiKeyId>(&query)?);
    Ok(response::json(StatusCode::OK, &page(api.pipeline().metadata(), after, limit).await?))
}

/// A page of the keys that were not revoked.
///
/// # Errors
/// Those of the store.
pub async fn page(
    metadata: &Metadata,
    after: Option<ApiKeyId>,
    limit: usize,
) -> Result<Page<KeyView>, Problem> {
    let list = |tx| async move {
        let mut found = Vec::new();
        for key in api_keys::list(&tx, after, limit + 1).await? {
            let last_use = api_keys::last_use(&tx, key.id).await?;
            found.push((key, last_use));
        }
        Ok(found)
    };
    let found = metadata.read("list keys", list).await?;
    let page = Page::of(found, limit, |(key, _)| key.id.to_string());
    Ok(page.map(|(key, last_use)| KeyView::new(&key, last_use)))
}

fn unknown(id: &str) -> Problem {
    Problem::new("key-not-found", format!("there is no API key {id:?}: it was revoked, or the id is wrong"))
}

/// `GET /v1/api-keys/{id}`.
async fn show(api: &Api, id: &str) -> Result<Answer, Problem> {
    let (parsed, now): (ApiKeyId, _) = (id.parse().map_err(|_| unknown(id))?, Timestamp(0));
    let look = |tx| async move {
        let Some(key) = api_keys::get(&tx, parsed, now).await? else { return Ok(None) };
        Ok(Some((api_keys::last_use(&tx, parsed).await?, key)))
    };
    let found = api.pipeline().metadata().read("get key", look).await?;
    let (last_use, key) = found.ok_or_else(|| unknown(id))?;
    Ok(response::json(StatusCode::OK, &KeyView::new(&key, last_use)))
}

/// `DELETE /v1/api-keys/{id}`: refused by every request that begins after this is answered.
async fn revoke(api: &Api, id: &str) -> Result<Answer, Problem> {
    remove(api.pipeline().metadata(), id).await?;
    Ok(response::empty(StatusCode::NO_CONTENT))
}

/// Revokes a key.
///
/// # Errors
/// `key-not-found`, and those of the store.
pub async fn remove(metadata: &Metadata, id: &str) -> Result<(), Problem> {
    let parsed: ApiKeyId = id.parse().map_err(|_| unknown(id))?;
    let revoke = |tx| async move { api_keys::revoke(&tx, parsed).await };
    if !metadata.transact("revoke key", revoke).await? {
        return Err(unknown(id));
    }
    tracing::info!(key = %parsed, "an API key was revoked");
    Ok(())
}

/// Why there is no first key.
#[derive(Debug, thiserror::Error)]
pub enum NoFirstKey {
    /// No secret could be made.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    /// The metadata did not take it.
    #[error(transparent)]
    Store(#[from] darkroom_store::StoreError),
}

/// Makes the first key of a store, which may do everything; `None` where one was made before. To be shown once.
///
/// # Errors
/// [`NoFirstKey`].
pub async fn first(metadata: &Metadata) -> Result<Option<KeySecret>, NoFirstKey> {
    let (secret, now) = (KeySecret::new()?, Timestamp::now());
    let key = &ApiKey {
        id: secret.id,
        name: FIRST_NAME.to_owned(),
        scopes: vec![Scope::Admin.to_string()],
        user: UserId::OPEN,
        secret: secret.hash(),
        created: now,
        expires: None,
    };
    let create = |tx| async move { api_keys::create_first(&tx, key).await };
    Ok(metadata.transact("make first key", create).await?.then_some(secret))
}
