//! Everything about identity that can be set.

use std::time::Duration;

use darkroom_store::model::Timestamp;
use darkroom_store::model::signing_keys::{Purpose, Rotation};

use super::access::Following;
use super::attempts::AttemptLimits;
use super::keyring::KeyringOptions;
use super::oidc::{Limits, ProviderOptions};
use super::passwords::PasswordOptions;
use super::signed_urls::LinkOptions;
use super::tokens::TokenOptions;

/// Who may register.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Registration {
    /// Everybody, by themselves.
    #[default]
    Open,
    /// Those whom a program registers that has the scope `users:write`.
    ByKey,
}

/// How people and programs sign in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthOptions {
    /// Requests that name nobody are those of the user `open`, who may do everything.
    pub open: bool,
    /// Who may register.
    pub registration: Registration,
    /// How passwords are hashed.
    pub passwords: PasswordOptions,
    /// How often something wrong may be tried.
    pub attempts: AttemptLimits,
    /// How long a session lives after its tokens were last renewed.
    pub session_lifetime: Duration,
    /// Sessions of one user at once: with one more, the oldest ends.
    pub sessions_per_user_max: usize,
    /// Access tokens.
    pub tokens: TokenOptions,
    /// How often the keys are read.
    pub keyring: KeyringOptions,
    /// Signed links.
    pub links: LinkOptions,
    /// Outside identity providers.
    pub providers: Vec<ProviderOptions>,
}

impl Default for AuthOptions {
    fn default() -> Self {
        Self {
            open: false,
            registration: Registration::Open,
            passwords: PasswordOptions::default(),
            attempts: AttemptLimits::default(),
            session_lifetime: Duration::from_secs(30 * 24 * 3600),
            sessions_per_user_max: 50,
            tokens: TokenOptions::default(),
            keyring: KeyringOptions::default(),
            links: LinkOptions::default(),
            providers: Vec::new(),
        }
    }
}

impl AuthOptions {
    /// What holds for tokens of all providers.
    pub fn provider_limits(&self) -> Limits {
        Limits { leeway: self.tokens.leeway, token_bytes_max: self.tokens.token_bytes_max }
    }

    /// How another key of this purpose is to follow.
    pub fn following(&self, purpose: Purpose, at_once: bool) -> Following {
        if at_once {
            return Following::AtOnce;
        }
        let longest = match purpose {
            Purpose::Tokens => self.tokens.longest(),
            Purpose::Links => self.links.longest(),
        };
        Following::InTurn(Rotation { now: Timestamp::now(), overlap: self.tokens.key_overlap, longest })
    }

    /// Refuses options that cannot work.
    ///
    /// # Errors
    /// A sentence that names the setting and what to do.
    pub fn validate(&self) -> Result<(), String> {
        self.passwords.validate()?;
        let longest = Duration::from_secs(400 * 24 * 3600);
        if self.session_lifetime < Duration::from_secs(60) || self.session_lifetime > longest {
            return Err("auth.session_lifetime is not between a minute and 400 days".to_owned());
        }
        if self.sessions_per_user_max == 0 || self.sessions_per_user_max > 500 {
            return Err("auth.sessions_per_user_max is not between 1 and 500".to_owned());
        }
        if self.attempts.tracked_max == 0 {
            return Err("auth.attempts_tracked_max is 0: set it to 1 or more".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Change = fn(&mut AuthOptions);

    #[test]
    fn what_cannot_work_is_refused_by_name() {
        let with = |change: fn(&mut AuthOptions)| {
            let mut options = AuthOptions::default();
            change(&mut options);
            options.validate()
        };
        assert_eq!(with(|_| ()), Ok(()));
        let cases: [(Change, &str); 6] = [
            (|o| o.passwords.at_once = 0, "auth.password_hashes_at_once"),
            (|o| o.passwords.chars_min = 0, "auth.password_chars_min"),
            (|o| o.passwords.memory_kib = 1, "auth.password_memory"),
            (|o| o.session_lifetime = Duration::ZERO, "auth.session_lifetime"),
            (|o| o.sessions_per_user_max = 0, "auth.sessions_per_user_max"),
            (|o| o.attempts.tracked_max = 0, "auth.attempts_tracked_max"),
        ];
        for (change, key) in cases {
            let refused = with(change).unwrap_err();
            assert!(refused.contains(key), "{refused}");
        }
    }
}
