//! Registration: a name, an e-mail address and a password become a user.

use darkroom_store::model::users::password::{self, Password};
use darkroom_store::model::users::{self, Taken, User};
use darkroom_store::model::{Timestamp, UserId};
use hyper::StatusCode;
use hyper::header::{HeaderValue, LOCATION};
use serde::{Deserialize, Serialize};

use super::attempts::Tried;
use super::options::Registration;
use super::scopes::Scope;
use crate::Api;
use crate::caller::Caller;
use crate::people::profile;
use crate::problem::Problem;
use crate::request::{Query, small_json};
use crate::response::{self, Answer};
use crate::routes::{Asking, Routes};
use crate::view::rfc3339;

/// What is answered here.
pub const ROUTES: Routes = &[("POST", "/v1/users")];

/// Longest body.
const BODY_BYTES_MAX: usize = 16 << 10;
/// Longest address: RFC 5321, section 4.5.3.1.3, without its brackets.
const EMAIL_BYTES_MAX: usize = 254;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    name: String,
    email: String,
    password: String,
    #[serde(default)]
    handle: Option<String>,
}

/// A user, for themselves.
#[derive(Serialize)]
struct Registered {
    id: String,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    handle: Option<String>,
    email: Option<String>,
    created_at: String,
}

/// `POST /v1/users`. Sent again with the same password it answers as the first time. An address that somebody else has
/// registered is refused; that this tells of an account cannot be helped where no mail is sent, so guesses are limited.
///
/// # Errors
/// `invalid-parameter`, `registration-refused`, `handle-taken`, `too-many-attempts`, `unauthenticated` and `forbidden`
/// where registration is not open, and those of the store.
pub async fn register(api: &Api, asking: Asking) -> Result<Answer, Problem> {
    let Asking { request, caller, end, .. } = asking;
    Query::parse(request.uri().query(), &[])?;
    may_register(api, &caller)?;
    let wanted: Wanted = small_json(api, request.into_body(), end, BODY_BYTES_MAX).await?;
    let (name, email) = (profile::name(&wanted.name)?, checked_email(&wanted.email)?);
    let handle = wanted.handle.as_deref().map(profile::handle).transpose()?;
    api.auth().passwords().check(&wanted.password)?;
    let tried = Tried::new("email", &email, caller.client);
    api.auth().attempts().may(&tried)?;
    let hash = api.auth().passwords().hash(wanted.password.clone()).await?;
    let now = Timestamp::now();
    let user = User {
        id: UserId::new(),
        name,
        handle,
        email: Some(email),
        bio: String::new(),
        avatar: None,
        created: now,
        updated: now,
    };
    match create(api, &user, hash).await? {
        Ok(user) => Ok(created(StatusCode::CREATED, user)),
        Err(Taken::Handle) => {
            let handle = user.handle.unwrap_or_default();
            Err(Problem::new(
                "handle-taken",
                format!("somebody else has the handle {handle:?}: choose another"),
            ))
        }
        Err(Taken::Email) => again(api, &user, wanted.password, &tried).await,
    }
}

fn may_register(api: &Api, caller: &Caller) -> Result<(), Problem> {
    if api.auth().options().registration == Registration::Open || caller.scopes.allow(Scope::UsersWrite) {
        return Ok(());
    }
    super::authenticate::authorize(caller, Some(Scope::UsersWrite))
}

async fn create(api: &Api, user: &User, hash: String) -> Result<Result<User, Taken>, Problem> {
    let password = &Password { hash, set: user.created };
    let create = |tx| async move {
        let created = users::create(&tx, user).await?;
        if created.is_ok() {
            password::set(&tx, user.id, password)?;
        }
        Ok(created)
    };
    Ok(api.pipeline().metadata().transact("register", create).await?)
}

/// The address is registered: by an earlier attempt at the same request, if the password is the same.
async fn again(api: &Api, user: &User, password: String, tried: &Tried) -> Result<Answer, Problem> {
    let email = user.email.as_deref().unwrap_or_default();
    let look = |tx| async move {
        let Some(id) = users::by_email(&tx, email).await? else { return Ok(None) };
        let hash = password::get(&tx, id).await?.map(|password| password.hash);
        Ok(users::get(&tx, id).await?.map(|user| (user, hash)))
    };
    let found = api.pipeline().metadata().read("find account", look).await?;
    let (there, hash) = found.map_or((None, None), |(user, hash)| (Some(user), hash));
    let is_right = api.auth().passwords().is_right(password, hash).await?;
    match there {
        Some(there) if is_right && there.name == user.name => Ok(created(StatusCode::OK, there)),
        _ => {
            api.auth().attempts().failed(tried);
            let detail = "nobody can be registered with this e-mail address now; if it is yours, sign in";
            Err(Problem::new("registration-refused", detail))
        }
    }
}

fn created(status: StatusCode, user: User) -> Answer {
    let location = HeaderValue::from_str(&format!("/v1/users/{}", user.id));
    let view = Registered {
        id: user.id.to_string(),
        name: user.name,
        handle: user.handle,
        email: user.email,
        created_at: rfc3339(user.created),
    };
    let mut answer = response::json(status, &view);
    if let Ok(location) = location {
        answer.headers_mut().insert(LOCATION, location);
    }
    answer
}

fn invalid(detail: String) -> Problem {
    Problem::new("invalid-parameter", detail)
}

/// An address that mail could be sent to, as far as that can be told without sending any.
fn checked_email(email: &str) -> Result<String, Problem> {
    let email = email.trim();
    let is_one = email.len() <= EMAIL_BYTES_MAX
        && !email.chars().any(|c| c.is_whitespace() || c.is_control())
        && email.rsplit_once('@').is_some_and(|(local, host)| {
            !local.is_empty() && !host.is_empty() && !host.starts_with('.') && !host.ends_with('.')
        });
    if is_one {
        Ok(email.to_owned())
    } else {
        Err(invalid("the e-mail address is none: give one as name@host".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_checked() {
        assert_eq!(checked_email(" ann@example.org ").unwrap(), "ann@example.org");
        for bad in ["ann", "@example.org", "ann@", "a b@example.org", "ann@.org", &"x".repeat(300)] {
            assert!(checked_email(bad).is_err(), "{bad}");
        }
    }
}
