//! Signing in and out.

use darkroom_store::model::sessions::{self, Renewed, Session};
use darkroom_store::model::users::{self, password};
use darkroom_store::model::{SessionId, Timestamp, UserId};
use hyper::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};

use super::attempts::Tried;
use super::authenticate::user_agent;
use super::jws::invalid_token;
use super::secrets::RefreshSecret;
use crate::Api;
use crate::caller::{Caller, ClientKey, Credential};
use crate::pages::Page;
use crate::problem::Problem;
use crate::request::{Query, small_json};
use crate::response::{self, Answer};
use crate::routes::{Asking, Routed, Routes, not_allowed};
use crate::view::rfc3339;

/// What is answered here.
pub const ROUTES: Routes = &[
    ("GET", "/v1/sessions"),
    ("POST", "/v1/sessions"),
    ("POST", "/v1/sessions/refresh"),
    ("DELETE", "/v1/sessions/{id}"),
];

/// Longest body.
const BODY_BYTES_MAX: usize = 8 << 10;

/// What is below `/v1/sessions`.
pub async fn route(api: &Api, asking: Asking, rest: &[&str]) -> Routed {
    let method = asking.request.method().clone();
    let query = asking.request.uri().query().map(ToOwned::to_owned);
    let get = method == hyper::Method::GET || method == hyper::Method::HEAD;
    match rest {
        [] if get => ("/v1/sessions", list(api, &asking.caller, query.as_deref()).await),
        [] if method == hyper::Method::POST => ("/v1/sessions", sign_in(api, asking).await),
        [] => ("/v1/sessions", not_allowed("GET, HEAD, POST")),
        ["refresh"] if method == hyper::Method::POST => ("/v1/sessions/refresh", renew(api, asking).await),
        ["refresh"] => ("/v1/sessions/refresh", not_allowed("POST")),
        [id] if method == hyper::Method::DELETE => ("/v1/sessions/{id}", end(api, &asking.caller, id).await),
        [_] => ("/v1/sessions/{id}", not_allowed("DELETE")),
        _ => ("unknown", Err(Problem::new("not-found", "there is nothing here: see /openapi.json"))),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Credentials {
    email: String,
    password: String,
}

/// The tokens of a session. Told once.
#[derive(Serialize)]
struct Tokens {
    access_token: String,
    token_type: &'static str,
    expires_in: u64,
    refresh_token: String,
    refresh_expires_in: u64,
    session_id: String,
    user_id: String,
}

async fn tokens(api: &Api, session: &Session, refresh: &RefreshSecret) -> Result<Answer, Problem> {
    let minted = api.auth().mint(session.user, session.id).await?;
    let tokens = Tokens {
        access_token: minted.token,
        token_type: "Bearer",
        expires_in: minted.expires_in.as_secs(),
        refresh_token: refresh.reveal(),
        refresh_expires_in: session.expires.since(session.renewed).as_secs(),
        session_id: session.id.to_string(),
        user_id: session.user.to_string(),
    };
    Ok(response::json(StatusCode::OK, &tokens))
}

/// `POST /v1/sessions`. Its answers do not tell whether there is an account, nor does the time that they take.
async fn sign_in(api: &Api, asking: Asking) -> Result<Answer, Problem> {
    let Asking { request, caller, end, .. } = asking;
    Query::parse(request.uri().query(), &[])?;
    let (head, body) = request.into_parts();
    let given: Credentials = small_json(api, body, end, BODY_BYTES_MAX).await?;
    let (user, hash) = check_password(api, given, caller.client).await?;
    let session = begin(api, user, &hash, &head.headers).await?;
    let Some((session, refresh)) = session else { return Err(wrong()) };
    let mut answer = tokens(api, &session, &refresh).await?;
    *answer.status_mut() = StatusCode::CREATED;
    Ok(answer)
}

fn wrong() -> Problem {
    Problem::new("invalid-credentials", "the e-mail address or the password is wrong")
}

/// Whose e-mail address and password these are, and the hash that the latter was compared with.
async fn check_password(
    api: &Api,
    given: Credentials,
    client: ClientKey,
) -> Result<(UserId, String), Problem> {
    let Credentials { email, password } = given;
    let tried = Tried::new("email", &email, client);
    api.auth().attempts().may(&tried)?;
    let email = &email;
    let look = |tx| async move {
        let Some(user) = users::by_email(&tx, email).await? else { return Ok(None) };
        Ok(password::get(&tx, user).await?.map(|password| (user, password.hash)))
    };
    let found = api.pipeline().metadata().read("find account", look).await?;
    let hash = found.as_ref().map(|(_, hash)| hash.clone());
    let is_right = api.auth().passwords().is_right(password, hash).await?;
    match found {
        Some(found) if is_right => Ok(found),
        _ => {
            api.auth().attempts().failed(&tried);
            Err(wrong())
        }
    }
}

/// Begins a session, if the password is still the one that was compared.
async fn begin(
    api: &Api,
    user: UserId,
    hash: &str,
    headers: &HeaderMap,
) -> Result<Option<(Session, RefreshSecret)>, Problem> {
    let refresh = RefreshSecret::first(SessionId::new())?;
    let (now, hashes, options) = (Timestamp::now(), refresh.hashes(), api.auth().options());
    let session = &Session {
        id: refresh.session,
        user,
        created: now,
        renewed: now,
        expires: now.after(options.session_lifetime),
        family: hashes.family,
        newest: hashes.newest,
        client: user_agent(headers),
    };
    let begin = |tx| async move {
        let current = password::get(&tx, user).await?;
        if current.is_none_or(|current| current.hash != hash) {
            return Ok(false);
        }
        sessions::make_room(&tx, user, options.sessions_per_user_max).await?;
        sessions::begin(&tx, session)?;
        Ok(true)
    };
    let begun = api.pipeline().metadata().transact("begin session", begin).await?;
    Ok(begun.then(|| (session.clone(), refresh)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Refresh {
    refresh_token: String,
}

/// `POST /v1/sessions/refresh`: the next tokens of the session.
async fn renew(api: &Api, asking: Asking) -> Result<Answer, Problem> {
    Query::parse(asking.request.uri().query(), &[])?;
    let given: Refresh = small_json(api, asking.request.into_body(), asking.end, BODY_BYTES_MAX).await?;
    let unknown = || invalid_token("the refresh token is of no session that lives; sign in again");
    let presented = RefreshSecret::parse(&given.refresh_token).ok_or_else(unknown)?;
    let (next, now) = (presented.next()?, Timestamp::now());
    let (old, new) = ((presented.session, presented.hashes()), next.hashes().newest);
    let until = (now, api.auth().options().session_lifetime);
    let renew = |tx| async move { sessions::renew(&tx, old, new, until).await };
    match api.pipeline().metadata().transact("renew session", renew).await? {
        Renewed::Done(session) => tokens(api, &session, &next).await,
        Renewed::Reused(user) => {
            metrics::counter!("darkroom_refresh_reuses_total").increment(1);
            tracing::warn!(%user, session = %presented.session, "a refresh token was used twice: its session has ended");
            let detail = "the refresh token had been used before, so that somebody else may have it: the session has \
                          ended; sign in again";
            Err(invalid_token(detail))
        }
        Renewed::Unknown => Err(unknown()),
    }
}

/// A session, for its user.
#[derive(Serialize)]
struct SessionView {
    id: String,
    created_at: String,
    renewed_at: String,
    expires_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<String>,
    current: bool,
}

/// `GET /v1/sessions`: the caller's, the latest first; all on one page, since they are few.
async fn list(api: &Api, caller: &Caller, query: Option<&str>) -> Result<Answer, Problem> {
    Query::parse(query, &[])?;
    let (user, now) = (caller.user()?, Timestamp::now());
    let max = api.auth().options().sessions_per_user_max;
    let list = |tx| async move { sessions::of_user(&tx, user, max).await };
    let sessions = api.pipeline().metadata().read("list sessions", list).await?;
    let live = sessions.into_iter().filter(|session| now < session.expires);
    let items = live.map(|session| SessionView {
        id: session.id.to_string(),
        created_at: rfc3339(session.created),
        renewed_at: rfc3339(session.renewed),
        expires_at: rfc3339(session.expires),
        current: caller.credential == Credential::Session(session.id),
        user_agent: session.client,
    });
    Ok(response::json(StatusCode::OK, &Page { items: items.collect(), next: None }))
}

/// `DELETE /v1/sessions/{id}`, where `current` is the one that the request names.
async fn end(api: &Api, caller: &Caller, id: &str) -> Result<Answer, Problem> {
    let user = caller.user()?;
    let unknown = || Problem::new("session-not-found", format!("you have no session {id:?}"));
    let session = match (id, caller.credential) {
        ("current", Credential::Session(session)) => session,
        _ => id.parse().map_err(|_| unknown())?,
    };
    let now = Timestamp::now();
    let end = |tx| async move {
        match sessions::get(&tx, session, now).await? {
            Some(found) if found.user == user => sessions::end(&tx, session).await,
            _ => Ok(tx.may_repeat()),
        }
    };
    let ended = api.pipeline().metadata().transact("end session", end).await?;
    if ended { Ok(response::empty(StatusCode::NO_CONTENT)) } else { Err(unknown()) }
}
