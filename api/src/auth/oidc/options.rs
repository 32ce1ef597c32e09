//! Everything about an identity provider that can be set.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::outbound::Transport;

/// Longest that keys are kept while their provider is away: by then it has withdrawn some.
const CACHE_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// An algorithm that a provider may sign with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProviderAlgorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256, by keys of 2048 bits or more.
    RS256,
    /// ECDSA over P-256 with SHA-256.
    ES256,
    /// Ed25519.
    EdDSA,
}

impl ProviderAlgorithm {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::RS256, Self::ES256, Self::EdDSA];

    /// As tokens and keys name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RS256 => "RS256",
            Self::ES256 => "ES256",
            Self::EdDSA => "EdDSA",
        }
    }
}

/// An identity provider whose tokens are taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderOptions {
    /// `iss` of its tokens, to the letter. An HTTPS URL; HTTP on 127.0.0.1 or [::1] is taken, for tests.
    pub issuer: String,
    /// One of these must be in `aud`. Empty: tokens must have no `aud`, and `client_ids` says whose they are.
    pub audiences: Vec<String>,
    /// `client_id` or `azp` must be one of these. Empty: it may be any.
    pub client_ids: Vec<String>,
    /// What its keys may be for.
    pub algorithms: Vec<ProviderAlgorithm>,
    /// Claims that tokens must have, with what they must be.
    pub required_claims: BTreeMap<String, String>,
    /// The claim with the user's name.
    pub name_claim: String,
    /// The claim with the user's e-mail address, taken only where `email_verified` says that it was verified.
    pub email_claim: String,
    /// Where its keys are; empty: its discovery document says it.
    pub jwks_url: String,
    /// Least time between two fetches of its keys.
    pub refresh_min: Duration,
    /// How long its keys are used without a look at newer ones.
    pub cache: Duration,
    /// How long they are used at most, while it is away.
    pub cache_max: Duration,
}

impl Default for ProviderOptions {
    fn default() -> Self {
        Self {
            issuer: String::new(),
            audiences: Vec::new(),
            client_ids: Vec::new(),
            algorithms: ProviderAlgorithm::ALL.to_vec(),
            required_claims: BTreeMap::new(),
            name_claim: "name".to_owned(),
            email_claim: "email".to_owned(),
            jwks_url: String::new(),
            refresh_min: Duration::from_secs(10),
            cache: Duration::from_secs(3600),
            cache_max: Duration::from_secs(24 * 3600),
        }
    }
}

impl ProviderOptions {
    /// Refuses options that cannot work, or would take anybody's tokens.
    ///
    /// # Errors
    /// A sentence that names the key of the configuration and what to do.
    pub fn validate(&self) -> Result<(), String> {
        let wrong = |key: &str, what: &str| {
            Err(format!("auth.providers.{key} of the provider {:?} {what}", self.issuer))
        };
        let transport = match Transport::of(&self.issuer) {
            Ok(transport) if !self.issuer.contains(['?', '#']) => transport,
            Ok(_) => {
                return wrong("issuer", "has a query or a fragment: give it as the provider names itself");
            }
            Err(reason) => {
                return wrong("issuer", &format!("cannot be reached ({reason}): set it to the issuer's URL"));
            }
        };
        if !self.jwks_url.is_empty()
            && let Err(reason) = reachable_as(transport, &self.jwks_url)
        {
            return wrong(
                "jwks_url",
                &format!("cannot be reached ({reason}): leave it out to have it discovered"),
            );
        }
        let named = self.audiences.iter().chain(&self.client_ids);
        if self.audiences.is_empty() && self.client_ids.is_empty() || named.clone().any(String::is_empty) {
            return wrong(
                "audiences",
                "says nobody whose tokens are meant, so that those of all of its clients were taken: set it to this API's \
                 identifier there, or, where tokens have no aud, set client_ids",
            );
        }
        if self.algorithms.is_empty() {
            return wrong("algorithms", "is empty: leave it out for RS256, ES256 and EdDSA");
        }
        if self.name_claim.is_empty() || self.email_claim.is_empty() {
            return wrong("name_claim", "(or email_claim) is empty: leave it out for \"name\" and \"email\"");
        }
        if !(Duration::from_secs(1)..=Duration::from_secs(600)).contains(&self.refresh_min) {
            return wrong("refresh_min", "must be from 1s to 10m: set it to 10s");
        }
        if self.cache < self.refresh_min || self.cache > self.cache_max || self.cache_max > CACHE_MAX {
            return wrong(
                "cache",
                "must be from refresh_min to cache_max, and cache_max at most 7d: set them to 1h and 24h",
            );
        }
        Ok(())
    }

    /// Where its discovery document is (OpenID Connect Discovery 1.0, section 4.1).
    pub fn discovery_url(&self) -> String {
        format!("{}/.well-known/openid-configuration", self.issuer.trim_end_matches('/'))
    }
}

/// Refuses providers of which one cannot be told from another.
///
/// # Errors
/// A sentence that names the key of the configuration and what to do.
pub fn validate_all(providers: &[ProviderOptions], own_issuer: &str) -> Result<(), String> {
    let mut seen = HashSet::from([own_issuer]);
    for provider in providers {
        provider.validate()?;
        if !seen.insert(&provider.issuer) {
            return Err(format!(
                "auth.providers has {:?} twice, or auth.issuer is the same: keep one of them",
                provider.issuer
            ));
        }
    }
    Ok(())
}

/// Whether a URL that belongs to an issuer may be fetched: never over HTTP, or on this machine, where the issuer is
/// elsewhere.
///
/// # Errors
/// A sentence.
pub(super) fn reachable_as(issuer: Transport, url: &str) -> Result<(), String> {
    match (issuer, Transport::of(url)?) {
        (Transport::Https, Transport::Loopback) => Err(format!("{url:?} is no HTTPS, and its issuer is")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usable() -> ProviderOptions {
        ProviderOptions {
            issuer: "https://login.example/".to_owned(),
            audiences: vec!["https://photos.example".to_owned()],
            ..ProviderOptions::default()
        }
    }

    #[test]
    fn what_cannot_work_is_refused_by_key() {
        usable().validate().unwrap();
        let (none, second) = (Vec::new(), Duration::from_secs(1));
        for (options, key) in [
            (ProviderOptions { issuer: "http://login.example".to_owned(), ..usable() }, "issuer"),
            (ProviderOptions { issuer: "https://login.example/?a=b".to_owned(), ..usable() }, "issuer"),
            (ProviderOptions { issuer: "login".to_owned(), ..usable() }, "issuer"),
            (ProviderOptions { jwks_url: "http://127.0.0.1/keys".to_owned(), ..usable() }, "jwks_url"),
            (ProviderOptions { audiences: none.clone(), ..usable() }, "audiences"),
            (ProviderOptions { audiences: vec![String::new()], ..usable() }, "audiences"),
            (ProviderOptions { algorithms: Vec::new(), ..usable() }, "algorithms"),
            (ProviderOptions { name_claim: String::new(), ..usable() }, "name_claim"),
            (ProviderOptions { refresh_min: second / 2, ..usable() }, "refresh_min"),
            (ProviderOptions { cache: second, ..usable() }, "cache"),
            (ProviderOptions { cache_max: second * 60, ..usable() }, "cache"),
        ] {
            let refusal = options.validate().unwrap_err();
            assert!(refusal.contains(&format!("auth.providers.{key} ")), "{refusal}");
        }
        let clients = ProviderOptions { audiences: none, client_ids: vec!["app".to_owned()], ..usable() };
        clients.validate().unwrap();
    }

    #[test]
    fn each_issuer_is_there_once() {
        let other = ProviderOptions { issuer: "https://other.example".to_owned(), ..usable() };
        validate_all(&[usable(), other.clone()], "darkroom").unwrap();
        for (providers, own) in
            [(vec![usable(), usable()], "darkroom"), (vec![other], "https://other.example")]
        {
            let refusal = validate_all(&providers, own).unwrap_err();
            assert!(refusal.contains("auth.providers has"), "{refusal}");
        }
    }

    #[test]
    fn the_document_is_below_the_issuer_with_or_without_its_slash() {
        assert_eq!(usable().discovery_url(), "https://login.example/.well-known/openid-configuration");
        let realm = ProviderOptions { issuer: "https://kc.example/realms/a".to_owned(), ..usable() };
        assert_eq!(realm.discovery_url(), "https://kc.example/realms/a/.well-known/openid-configuration");
    }
}
