//! Whose a token is: one of this daemon's own, or of an identity provider.

use darkroom_store::StoreError;
use darkroom_store::metadata::Metadata;
use darkroom_store::model::signing_keys::{self, FreshKey, Purpose, Rotated, Rotation};
use darkroom_store::model::users::{self, User};
use darkroom_store::model::{SessionId, Timestamp, UserId};

use hyper::body::Incoming;
use hyper::{Request, StatusCode};
use serde::Deserialize;
use serde_json::json;

use super::keyring::fresh_key;
use super::oidc::Identity;
use super::tokens::Minted;
use super::{Auth, jwks, jws};
use crate::Api;
use crate::problem::Problem;
use crate::request::{BodyEnd, small_json};
use crate::response::{self, Answer};
use crate::view::rfc3339;

/// Who somebody is, by a token that was verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claims {
    /// Who.
    pub user: UserId,
    /// By which session, which may have ended; none with a token of an identity provider.
    pub session: Option<SessionId>,
}

/// Longest body.
const BODY_BYTES_MAX: usize = 1 << 10;
/// Longest name that is taken over from a provider, in characters.
const NAME_CHARS_MAX: usize = 64;

impl Auth {
    /// A token for a session.
    ///
    /// # Errors
    /// `store-unavailable`, while the keys cannot be read.
    pub(crate) async fn mint(&self, user: UserId, session: SessionId) -> Result<Minted, Problem> {
        Ok(self.tokens.mint(user, session).await?)
    }

    /// Whose a token is. The user of an identity provider appears with their first.
    ///
    /// # Errors
    /// `invalid-token`, `identity-provider-unavailable`, and those of the store.
    pub(crate) async fn verify(&self, metadata: &Metadata, token: &str) -> Result<Claims, Problem> {
        if !self.providers.is_empty() {
            let issuer = jws::unverified_issuer(token, self.options.tokens.token_bytes_max)?;
            if issuer != self.tokens.issuer() {
                let identity = self.providers.verify(token).await?;
                return Ok(Claims { user: user_of(metadata, identity).await?, session: None });
            }
        }
        let token = self.tokens.verify(token).await?;
        Ok(Claims { user: token.user, session: Some(token.session) })
    }
}

/// The user whom a provider vouches for.
async fn user_of(metadata: &Metadata, identity: Identity) -> Result<UserId, StoreError> {
    let Identity { issuer, subject, name, email, .. } = &identity;
    let known = |tx| async move { users::known_subject(&tx, (issuer, subject)).await };
    if let Some(user) = metadata.read("find user of provider", known).await? {
        return Ok(user);
    }
    let now = Timestamp::now();
    let name = name.as_deref().map(str::trim).filter(|name| !name.is_empty()).unwrap_or("somebody");
    let fresh = &User {
        id: UserId::new(),
        name: name.chars().filter(|c| !c.is_control()).take(NAME_CHARS_MAX).collect(),
        email: email.clone(),
        created: now,
        updated: now,
        ..User::open()
    };
    let create = |tx| async move { users::of_subject(&tx, (issuer, subject), fresh).await };
    let user = metadata.transact("make user of provider", create).await?;
    if user.id == fresh.id {
        tracing::info!(user = %user.id, issuer, "somebody came for the first time by an identity provider");
    }
    Ok(user.id)
}

/// Makes the keys that tokens and links are signed with, where there are none.
///
/// # Errors
/// `internal-error` without random bytes, and those of the store.
pub async fn ensure_keys(metadata: &Metadata) -> Result<(), Problem> {
    for purpose in [Purpose::Tokens, Purpose::Links] {
        let (fresh, now) = (&fresh(purpose)?, Timestamp::now());
        let ensure = |tx| async move { signing_keys::ensure(&tx, fresh, now).await };
        metadata.transact("ensure signing keys", ensure).await?;
    }
    Ok(())
}

fn fresh(purpose: Purpose) -> Result<FreshKey, Problem> {
    fresh_key(purpose).map_err(|reason| Problem::new("internal-error", reason))
}

/// How a key is to be followed by another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Following {
    /// With overlap: nobody notices.
    InTurn(Rotation),
    /// At once: whatever the others have signed is refused, since somebody else may know them.
    AtOnce,
}

/// Has another key sign; from when on it does.
///
/// # Errors
/// `too-many-signing-keys`, `internal-error` without random bytes, and those of the store.
pub async fn rotate(metadata: &Metadata, purpose: Purpose, how: Following) -> Result<Timestamp, Problem> {
    let (fresh, now) = (&fresh(purpose)?, Timestamp::now());
    let rotate = |tx| async move {
        match how {
            Following::InTurn(rotation) => signing_keys::rotate(&tx, fresh, rotation).await,
            Following::AtOnce => signing_keys::replace(&tx, fresh, now).await.map(Rotated::Done),
        }
    };
    match metadata.transact("rotate signing keys", rotate).await? {
        Rotated::Done(key) | Rotated::Waits(key) => Ok(key.signs_from),
        Rotated::TooMany(ends) => {
            let ends = ends.map_or_else(String::new, |ends| format!(", the first until {}", rfc3339(ends)));
            let detail = format!("as many keys verify as may be{ends}; rotate again when one has ended");
            Err(Problem::new("too-many-signing-keys", detail))
        }
    }
}

/// `GET /.well-known/jwks.json`.
///
/// # Errors
/// `store-unavailable`.
pub async fn public_keys(api: &Api) -> Result<Answer, Problem> {
    jwks::answer(api.auth().keyring(), &api.auth().options().tokens).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    purpose: Purpose,
    #[serde(default)]
    at_once: bool,
}

/// `POST /v1/admin/signing-keys` `{"purpose", "at_once"}`: another key is to sign, and from when on it does.
///
/// # Errors
/// Those of [`rotate`], and of the body.
pub async fn follow(api: &Api, request: Request<Incoming>, end: BodyEnd) -> Result<Answer, Problem> {
    let wanted: Wanted = small_json(api, request.into_body(), end, BODY_BYTES_MAX).await?;
    let how = api.auth().options().following(wanted.purpose, wanted.at_once);
    let signs_from = rotate(api.pipeline().metadata(), wanted.purpose, how).await?;
    Ok(response::json(StatusCode::OK, &json!({"signs_from": rfc3339(signs_from)})))
}
