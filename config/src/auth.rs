//! `[auth]`: tokens, identity providers, signed links. What a key is for is said in `darkroom.toml` beside this crate.

use std::collections::BTreeMap;
use std::time::Duration;

use bytesize::ByteSize;
use darkroom_api::AuthOptions;
use darkroom_api::auth::attempts::AttemptLimits;
use darkroom_api::auth::keyring::KeyringOptions;
use darkroom_api::auth::oidc::{ProviderAlgorithm, ProviderOptions, options};
use darkroom_api::auth::options::Registration as Registering;
use darkroom_api::auth::passwords::PasswordOptions;
use darkroom_api::auth::signed_urls::LinkOptions;
use darkroom_api::auth::tokens::TokenOptions;
use serde::{Deserialize, Serialize};

use crate::sections::section;

/// Who may register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Registration {
    /// Everybody, by themselves.
    Open,
    /// Whom a program registers that has a key for it.
    Keys,
}

section! {
    /// `[auth]`
    Auth {
        registration: Registration = Registration::Open,
        password_chars_min: usize = PasswordOptions::default().chars_min,
        password_memory: ByteSize = ByteSize::kib(PasswordOptions::default().memory_kib.into()),
        password_passes: u32 = PasswordOptions::default().passes,
        password_hashes_at_once: usize = PasswordOptions::default().at_once,
        password_hashes_waiting_max: usize = PasswordOptions::default().waiting_max,
        #[serde(with = "humantime_serde")]
        password_wait: Duration = PasswordOptions::default().wait_max,
        attempts_per_account: u32 = AttemptLimits::default().per_account,
        attempts_per_client: u32 = AttemptLimits::default().per_client,
        attempts_tracked_max: usize = AttemptLimits::default().tracked_max,
        #[serde(with = "humantime_serde")]
        session_lifetime: Duration = AuthOptions::default().session_lifetime,
        sessions_per_user_max: usize = AuthOptions::default().sessions_per_user_max,
        issuer: String = TokenOptions::default().issuer,
        audience: String = TokenOptions::default().audience,
        #[serde(with = "humantime_serde")]
        access_token_lifetime: Duration = TokenOptions::default().lifetime,
        #[serde(with = "humantime_serde")]
        clock_leeway: Duration = TokenOptions::default().leeway,
        token_bytes_max: ByteSize = ByteSize(TokenOptions::default().token_bytes_max as u64),
        #[serde(with = "humantime_serde")]
        key_overlap: Duration = TokenOptions::default().key_overlap,
        #[serde(with = "humantime_serde")]
        keys_reload: Duration = KeyringOptions::default().reload,
        #[serde(with = "humantime_serde")]
        keys_reload_min: Duration = KeyringOptions::default().reload_min,
        #[serde(with = "humantime_serde")]
        link_expiry_max: Duration = LinkOptions::default().expiry_max,
        providers: Vec<Provider> = Vec::new(),
    }
}

section! {
    /// `[[auth.providers]]`
    Provider {
        issuer: String = String::new(),
        audiences: Vec<String> = Vec::new(),
        client_ids: Vec<String> = Vec::new(),
        algorithms: Vec<ProviderAlgorithm> = ProviderOptions::default().algorithms,
        required_claims: BTreeMap<String, String> = BTreeMap::new(),
        name_claim: String = ProviderOptions::default().name_claim,
        email_claim: String = ProviderOptions::default().email_claim,
        jwks_url: String = String::new(),
        #[serde(with = "humantime_serde")]
        refresh_min: Duration = ProviderOptions::default().refresh_min,
        #[serde(with = "humantime_serde")]
        cache: Duration = ProviderOptions::default().cache,
        #[serde(with = "humantime_serde")]
        cache_max: Duration = ProviderOptions::default().cache_max,
    }
}

/// Least time between two readings of the keys: more often costs the store more than a new key is worth.
const RELOAD_MIN: Duration = Duration::from_secs(1);

impl Auth {
    /// How people and programs sign in; `open` says that requests which name nobody may do everything.
    pub(crate) fn options(&self, open: bool) -> AuthOptions {
        AuthOptions {
            open,
            registration: match self.registration {
                Registration::Open => Registering::Open,
                Registration::Keys => Registering::ByKey,
            },
            passwords: PasswordOptions {
                chars_min: self.password_chars_min,
                memory_kib: u32::try_from(self.password_memory.0 / 1024).unwrap_or(u32::MAX),
                passes: self.password_passes,
                at_once: self.password_hashes_at_once,
                waiting_max: self.password_hashes_waiting_max,
                wait_max: self.password_wait,
            },
            attempts: AttemptLimits {
                per_account: self.attempts_per_account,
                per_client: self.attempts_per_client,
                tracked_max: self.attempts_tracked_max,
            },
            session_lifetime: self.session_lifetime,
            sessions_per_user_max: self.sessions_per_user_max,
            tokens: self.tokens(),
            keyring: self.keyring(),
            links: self.links(),
            providers: self.providers(),
        }
    }

    /// Of access tokens.
    pub fn tokens(&self) -> TokenOptions {
        TokenOptions {
            issuer: self.issuer.clone(),
            audience: self.audience.clone(),
            lifetime: self.access_token_lifetime,
            leeway: self.clock_leeway,
            token_bytes_max: usize::try_from(self.token_bytes_max.0).unwrap_or(usize::MAX),
            key_overlap: self.key_overlap,
        }
    }

    /// Of the keys that this node keeps.
    pub fn keyring(&self) -> KeyringOptions {
        KeyringOptions { reload: self.keys_reload, reload_min: self.keys_reload_min }
    }

    /// Of signed links.
    pub fn links(&self) -> LinkOptions {
        LinkOptions { expiry_max: self.link_expiry_max, leeway: self.clock_leeway }
    }

    /// The identity providers.
    pub fn providers(&self) -> Vec<ProviderOptions> {
        self.providers.iter().map(Provider::options).collect()
    }

    /// Refuses what cannot work.
    pub(crate) fn validate(&self) -> Result<(), String> {
        self.tokens().validate()?;
        self.links().validate()?;
        if self.keys_reload_min < RELOAD_MIN || self.keys_reload < self.keys_reload_min {
            return Err("auth.keys_reload_min must be at least 1s, and auth.keys_reload at least that: set them to 5s and 30s"
                .to_owned());
        }
        // What others may keep of the keys is half of the overlap: the other half is for the nodes.
        if self.keys_reload * 4 > self.key_overlap {
            return Err(format!(
                "auth.keys_reload is {:?}, and auth.key_overlap {:?}: a new key would sign before every node has heard of \
                 it; set it to a quarter of the overlap or less",
                self.keys_reload, self.key_overlap
            ));
        }
        options::validate_all(&self.providers(), &self.issuer)
    }
}

impl Provider {
    fn options(&self) -> ProviderOptions {
        ProviderOptions {
            issuer: self.issuer.clone(),
            audiences: self.audiences.clone(),
            client_ids: self.client_ids.clone(),
            algorithms: self.algorithms.clone(),
            required_claims: self.required_claims.clone(),
            name_claim: self.name_claim.clone(),
            email_claim: self.email_claim.clone(),
            jwks_url: self.jwks_url.clone(),
            refresh_min: self.refresh_min,
            cache: self.cache,
            cache_max: self.cache_max,
        }
    }
}

#[cfg(test)]
mod tests {
    use figment::Figment;
    use figment::providers::{Format, Toml};

    use super::*;
    use crate::Config;

    fn auth(file: &str) -> Result<Auth, String> {
        let config: Config =
            Figment::from(Toml::string(file)).extract().map_err(|error| error.to_string())?;
        Ok(config.auth)
    }

    #[test]
    fn every_key_reaches_what_it_is_for() {
        let auth = auth(
            "[auth]\nissuer = 'https://photos.example'\naudience = 'api'\naccess_token_lifetime = '5m'\n\
             clock_leeway = '10s'\ntoken_bytes_max = '4 KiB'\nkey_overlap = '2h'\nkeys_reload = '20s'\n\
             keys_reload_min = '2s'\nlink_expiry_max = '1d'\n\
             [[auth.providers]]\nissuer = 'https://login.example'\naudiences = ['a']\nclient_ids = ['c']\n\
             algorithms = ['ES256']\nrequired_claims = { token_use = 'access' }\nname_claim = 'n'\nemail_claim = 'm'\n\
             jwks_url = 'https://login.example/keys'\nrefresh_min = '11s'\ncache = '2h'\ncache_max = '3h'",
        );
        let auth = auth.unwrap();
        auth.validate().unwrap();
        let seconds = Duration::from_secs;
        let tokens = TokenOptions {
            issuer: "https://photos.example".to_owned(),
            audience: "api".to_owned(),
            lifetime: seconds(300),
            leeway: seconds(10),
            token_bytes_max: 4 << 10,
            key_overlap: seconds(7200),
        };
        assert_eq!(auth.tokens(), tokens);
        assert_eq!(auth.keyring(), KeyringOptions { reload: seconds(20), reload_min: seconds(2) });
        assert_eq!(auth.links(), LinkOptions { expiry_max: seconds(86400), leeway: seconds(10) });
        let limits = auth.options(false).provider_limits();
        assert_eq!((limits.leeway, limits.token_bytes_max), (seconds(10), 4 << 10));
        let provider = ProviderOptions {
            issuer: "https://login.example".to_owned(),
            audiences: vec!["a".to_owned()],
            client_ids: vec!["c".to_owned()],
            algorithms: vec![ProviderAlgorithm::ES256],
            required_claims: [("token_use".to_owned(), "access".to_owned())].into(),
            name_claim: "n".to_owned(),
            email_claim: "m".to_owned(),
            jwks_url: "https://login.example/keys".to_owned(),
            refresh_min: seconds(11),
            cache: seconds(7200),
            cache_max: seconds(10_800),
        };
        assert_eq!(auth.providers(), [provider]);
    }

    #[test]
    fn what_cannot_work_is_refused_by_key() {
        for (file, words) in [
            ("[auth]\nissuer = ''", "auth.issuer"),
            ("[auth]\nkey_overlap = '1s'", "auth.key_overlap"),
            ("[auth]\nkeys_reload_min = '0s'", "auth.keys_reload_min"),
            ("[auth]\nkeys_reload = '1h'", "auth.keys_reload is"),
            ("[auth]\nlink_expiry_max = '0s'", "auth.link_expiry_max"),
            (
                "[[auth.providers]]\nissuer = 'http://login.example'\naudiences = ['a']",
                "auth.providers.issuer",
            ),
            ("[[auth.providers]]\nissuer = 'https://login.example'", "auth.providers.audiences"),
        ] {
            let refusal = auth(file).unwrap().validate().unwrap_err();
            assert!(refusal.contains(words), "{refusal}");
        }
        let unknown = auth("[[auth.providers]]\nalgorithms = ['HS256']").unwrap_err();
        assert!(unknown.contains("HS256"), "{unknown}");
    }
}
