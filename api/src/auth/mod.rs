//! How people and programs sign in, and what they may do.
//!
//! In the order in which a request meets them:
//!
//! - [`authenticate`]: who asks, by an access token or an API key. **Start reading there.**
//! - [`scopes`]: what that allows, and what each path needs.
//! - [`secrets`]: API keys and refresh tokens, as clients have them and as they are kept. [`key_uses`]: when keys were last
//!   used.
//! - [`access`]: whose a token is. [`tokens`]: those of this daemon, made and checked. [`oidc`]: those of outside identity
//!   providers.
//! - [`signed_urls`]: links to a photo that open for whoever has them.
//! - [`keyring`]: the keys that this node signs with and verifies by. [`jwks`]: the public ones, for others.
//! - [`jws`]: how a token is written (RFC 7515), within bounds, and what can be wrong with one. `crypto`: its
//!   signatures.
//! - [`kept`]: what is loaded from elsewhere and kept, with limits on how often. [`clock`]: the times by which all of
//!   this goes.
//! - [`passwords`]: hashing, few at a time. [`attempts`]: how often something wrong may be tried.
//! - [`registration`], [`sessions`], [`keys`]: the handlers.
//! - [`options`]: everything that can be set.

pub mod access;
pub mod attempts;
pub mod authenticate;
pub mod clock;
mod crypto;
pub mod jwks;
pub mod jws;
pub mod kept;
pub mod key_uses;
pub mod keyring;
pub mod keys;
pub mod oidc;
pub mod options;
pub mod passwords;
pub mod registration;
pub mod scopes;
pub mod secrets;
pub mod sessions;
pub mod signed_urls;
pub mod tokens;

use attempts::Attempts;
use clock::Clock;
use darkroom_store::metadata::Metadata;
use key_uses::KeyUses;
use keyring::Keyring;
use oidc::Providers;
use passwords::Passwords;
use signed_urls::Links;
use tokens::Tokens;

pub use options::AuthOptions;

use crate::problem::Problem;
use secrets::NoRandomness;

/// What signing in needs.
pub struct Auth {
    options: AuthOptions,
    passwords: Passwords,
    attempts: Attempts,
    key_uses: KeyUses,
    keyring: Keyring,
    tokens: Tokens,
    providers: Providers,
    links: Links,
}

impl Auth {
    /// With these options, which are valid.
    pub fn new(options: AuthOptions, metadata: &Metadata) -> Self {
        let clock = Clock::machine();
        let keyring = Keyring::new(metadata.clone(), options.keyring, clock.clone());
        Self {
            passwords: Passwords::new(options.passwords.clone()),
            attempts: Attempts::new(options.attempts.clone()),
            key_uses: KeyUses::default(),
            tokens: Tokens::new(keyring.clone(), options.tokens.clone()),
            providers: Providers::new(&options.providers, options.provider_limits(), clock),
            links: Links::new(keyring.clone(), options.links),
            keyring,
            options,
        }
    }

    pub(crate) fn options(&self) -> &AuthOptions {
        &self.options
    }

    pub(crate) fn passwords(&self) -> &Passwords {
        &self.passwords
    }

    pub(crate) fn attempts(&self) -> &Attempts {
        &self.attempts
    }

    pub(crate) fn key_uses(&self) -> &KeyUses {
        &self.key_uses
    }

    pub(crate) fn links(&self) -> &Links {
        &self.links
    }

    pub(crate) fn keyring(&self) -> &Keyring {
        &self.keyring
    }
}

impl From<NoRandomness> for Problem {
    fn from(error: NoRandomness) -> Self {
        tracing::error!(%error, "no secret could be made");
        Self::new("internal-error", "no secret could be made; the daemon's log says why")
    }
}
