//! Who asks: the credentials of a request, looked up in a transaction of that request, so that what was revoked is refused
//! by every request that begins after the revocation was answered, on every node.

use darkroom_store::metadata::Metadata;
use darkroom_store::model::api_keys::{self, ApiKey};
use darkroom_store::model::{ApiKeyId, SessionId, Timestamp, UserId, sessions, users};
use hyper::header::{AUTHORIZATION, HeaderValue};
use hyper::{HeaderMap, Method};

use super::attempts::Tried;
use super::jws::invalid_token;
use super::scopes::{self, Scope, Scopes};
use super::secrets::{KEY_PREFIX, KeySecret};
use crate::Api;
use crate::caller::{Caller, ClientKey, Credential};
use crate::problem::Problem;
use crate::request::header;

/// Names the user for whom a key acts in one request.
pub const ON_BEHALF_OF: &str = "on-behalf-of";
/// Longest credential that is read.
const CREDENTIAL_BYTES_MAX: usize = 8 << 10;

/// Who asks.
///
/// # Errors
/// `invalid-token`, `too-many-attempts`, `forbidden`, `user-not-found`, and those of the store.
pub async fn authenticate(api: &Api, headers: &HeaderMap, client: ClientKey) -> Result<Caller, Problem> {
    let caller = match bearer(headers)? {
        Some(credential) if credential.starts_with(KEY_PREFIX) => by_key(api, credential, client).await?,
        Some(credential) => by_token(api, credential, client).await?,
        // The socket's permission is the authentication.
        None if api.auth().options().open || client == ClientKey::Local => Caller::of(UserId::OPEN, client),
        None => Caller::signed_out(client),
    };
    match headers.get(ON_BEHALF_OF) {
        Some(user) => on_behalf(api, caller, user).await,
        None => Ok(caller),
    }
}

/// What stands behind `Authorization: Bearer`.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut given = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = given.next() else { return Ok(None) };
    let malformed =
        || invalid_token("the header Authorization is not one `Bearer` with a token or a key behind it");
    if given.next().is_some() || value.len() > CREDENTIAL_BYTES_MAX {
        return Err(malformed());
    }
    let (scheme, credential) =
        value.to_str().ok().and_then(|text| text.split_once(' ')).ok_or_else(malformed)?;
    let credential = credential.trim();
    let is_one = scheme.eq_ignore_ascii_case("bearer") && !credential.is_empty();
    if is_one { Ok(Some(credential)) } else { Err(malformed()) }
}

async fn by_key(api: &Api, credential: &str, client: ClientKey) -> Result<Caller, Problem> {
    let wrong = || invalid_token("the API key is unknown, was revoked or has ended");
    let presented = KeySecret::parse(credential).ok_or_else(wrong)?;
    let tried = Tried::new("key", &presented.id.to_string(), client);
    api.auth().attempts().may(&tried)?;
    let Some(key) = live_key(api.pipeline().metadata(), presented.id).await? else {
        api.auth().attempts().failed(&tried);
        return Err(wrong());
    };
    // Digests are compared in constant time.
    if blake3::Hash::from(key.secret.0) != blake3::Hash::from(presented.hash().0) {
        api.auth().attempts().failed(&tried);
        return Err(wrong());
    }
    api.auth().key_uses().note(api.pipeline().metadata(), key.id);
    let credential = Credential::Key(key.id);
    Ok(Caller { scopes: Scopes::of_words(&key.scopes), credential, ..Caller::of(key.user, client) })
}

/// The key, if it and whoever it acts for are there.
async fn live_key(metadata: &Metadata, id: ApiKeyId) -> Result<Option<ApiKey>, Problem> {
    let now = Timestamp::now();
    let look = |tx| async move {
        let Some(key) = api_keys::get(&tx, id, now).await? else { return Ok(None) };
        Ok(users::get(&tx, key.user).await?.map(|_| key))
    };
    Ok(metadata.read("look up key", look).await?)
}

/// A session's or an identity provider's access token.
async fn by_token(api: &Api, credential: &str, client: ClientKey) -> Result<Caller, Problem> {
    let claims = api.auth().verify(api.pipeline().metadata(), credential).await?;
    let (user, credential) = match claims.session {
        Some(session) => {
            let user = live_session(api.pipeline().metadata(), session).await?;
            let gone = || invalid_token("the session of the access token has ended; sign in again");
            (user.filter(|user| *user == claims.user).ok_or_else(gone)?, Credential::Session(session))
        }
        None => (claims.user, Credential::Outside),
    };
    Ok(Caller { scopes: Scopes::of_users(), credential, ..Caller::of(user, client) })
}

/// Whose session it is, if it and they are there.
async fn live_session(metadata: &Metadata, id: SessionId) -> Result<Option<UserId>, Problem> {
    let now = Timestamp::now();
    let look = |tx| async move {
        let Some(session) = sessions::get(&tx, id, now).await? else { return Ok(None) };
        Ok(users::get(&tx, session.user).await?.map(|user| user.id))
    };
    Ok(metadata.read("look up session", look).await?)
}

/// The same request for the user whom it names.
async fn on_behalf(api: &Api, caller: Caller, user: &HeaderValue) -> Result<Caller, Problem> {
    if !caller.scopes.allow(Scope::ActAs) {
        let detail = format!("the header {ON_BEHALF_OF} needs a key with the scope {}", Scope::ActAs);
        return Err(Problem::new("forbidden", detail));
    }
    let text = user.to_str().unwrap_or_default();
    let unknown = || Problem::new("user-not-found", format!("there is no user {text:?} to act for"));
    let id: UserId = text.parse().map_err(|_| unknown())?;
    let look = |tx| async move { users::get(&tx, id).await };
    api.pipeline().metadata().read("get user", look).await?.ok_or_else(unknown)?;
    Ok(Caller { scopes: caller.scopes, credential: caller.credential, ..Caller::of(id, caller.client) })
}

/// Whether the caller may ask this of a path.
///
/// # Errors
/// `unauthenticated`, `forbidden`.
pub fn admit(caller: &Caller, method: &Method, segments: &[&str]) -> Result<(), Problem> {
    if scopes::needs_somebody(method, segments) {
        caller.user()?;
    }
    authorize(caller, scopes::needed(method, segments))
}

/// Whether the caller has this scope.
///
/// # Errors
/// `unauthenticated`, `forbidden`.
pub fn authorize(caller: &Caller, needed: Option<Scope>) -> Result<(), Problem> {
    match needed {
        Some(scope) if !caller.scopes.allow(scope) => {
            caller.user()?;
            let detail = match caller.credential {
                Credential::Key(_) => format!("the API key lacks the scope {scope}: use one that has it"),
                _ => format!("this needs an API key with the scope {scope}"),
            };
            Err(Problem::new("forbidden", detail))
        }
        _ => Ok(()),
    }
}

/// Which user agent a client says it is, as far as it is kept.
pub fn user_agent(headers: &HeaderMap) -> Option<String> {
    /// Characters of it that are kept.
    const CHARS_MAX: usize = 200;
    header(headers, "user-agent").map(|agent| agent.chars().take(CHARS_MAX).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (AUTHORIZATION, value.parse().unwrap())).collect()
    }

    #[test]
    fn one_bearer_is_read_and_anything_else_refused() {
        assert_eq!(bearer(&headers(&[])).unwrap(), None);
        assert_eq!(bearer(&headers(&["Bearer abc"])).unwrap(), Some("abc"));
        assert_eq!(bearer(&headers(&["bearer  abc"])).unwrap(), Some("abc"));
        let long = format!("Bearer {}", "x".repeat(CREDENTIAL_BYTES_MAX));
        for bad in
            [&["Basic abc"][..], &["Bearer"], &["Bearer "], &["abc"], &["Bearer a", "Bearer b"], &[&long]]
        {
            let refused = bearer(&headers(bad)).unwrap_err();
            assert!(refused.is("invalid-token"), "{bad:?}: {refused:?}");
        }
    }

    #[test]
    fn what_a_caller_lacks_is_named() {
        let client = ClientKey::Local;
        let signed_out = authorize(&Caller::signed_out(client), Some(Scope::FeedWrite)).unwrap_err();
        assert!(signed_out.is("unauthenticated"), "{signed_out:?}");
        let user = Caller { scopes: Scopes::of_users(), ..Caller::of(UserId::new(), client) };
        let refused = authorize(&user, Some(Scope::Admin)).unwrap_err();
        assert!(refused.is("forbidden") && refused.detail.contains("admin"), "{refused:?}");
        assert!(authorize(&user, Some(Scope::FeedWrite)).is_ok());
        assert!(authorize(&Caller::signed_out(client), None).is_ok());
    }
}
