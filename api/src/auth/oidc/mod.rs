//! Tokens of outside identity providers: OpenID Connect's, such as Cognito, Auth0 and Keycloak.
//!
//! - [`options`]: what can be set of a provider. `keys`: its keys, fetched and kept. `claims`: what its tokens must
//!   say, and who they say somebody is.
//!
//! A provider's keys are fetched when its first token comes, and again when they are old or a token names one that is
//! not among them, but no more often than [`ProviderOptions::refresh_min`]. A provider that is away leaves its keys in
//! use.

mod claims;
mod keys;
pub mod options;

use std::sync::Arc;
use std::time::Duration;

use super::clock::Clock;
use super::jws::{self, Times, TokenError};
use super::kept::{Ages, Away, Kept};
use crate::outbound::{self, Fetch};

pub use claims::Identity;
pub use options::{ProviderAlgorithm, ProviderOptions};

use keys::NamedKey;

/// The providers whose tokens are taken.
#[derive(Clone, Debug)]
pub struct Providers {
    all: Arc<[Provider]>,
    clock: Clock,
    limits: Limits,
}

/// What holds for tokens of all providers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// By how much clocks may differ.
    pub leeway: Duration,
    /// Longest token that is read.
    pub token_bytes_max: usize,
}

#[derive(Debug)]
struct Provider {
    options: Arc<ProviderOptions>,
    keys: Kept<Vec<NamedKey>>,
}

impl Providers {
    /// Of these, which have been [validated](options::validate_all). Their keys are fetched when they are first needed.
    pub fn new(options: &[ProviderOptions], limits: Limits, clock: Clock) -> Self {
        let fetch: Arc<dyn Fetch> = Arc::new(outbound::Provider::default());
        Self::fetching(&fetch, options, limits, clock)
    }

    fn fetching(fetch: &Arc<dyn Fetch>, options: &[ProviderOptions], limits: Limits, clock: Clock) -> Self {
        let provider = |options: &ProviderOptions| Provider::new(fetch, options.clone(), &clock);
        Self { all: options.iter().map(provider).collect(), clock, limits }
    }

    /// Whether there are any.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Who somebody is, by a token of one of them.
    ///
    /// # Errors
    /// [`TokenError`].
    pub async fn verify(&self, token: &str) -> Result<Identity, TokenError> {
        let header = jws::header(token, self.limits.token_bytes_max)?;
        // It says whose keys are asked, and is compared again when a key of theirs has verified it.
        let issuer = jws::unverified_issuer(token, self.limits.token_bytes_max)?;
        let provider = self.all.iter().find(|provider| provider.options.issuer == issuer);
        let provider = provider.ok_or(TokenError::WrongIssuer)?;
        let key = provider.key(&header).await?;
        let claims = key.key.claims(token, &header)?;
        let times = Times { now: self.clock.now(), leeway: self.limits.leeway };
        claims::check(&claims, &provider.options, times)
    }
}

impl Provider {
    fn new(fetch: &Arc<dyn Fetch>, options: ProviderOptions, clock: &Clock) -> Self {
        let ages = Ages { fresh: options.cache, between: options.refresh_min, max: options.cache_max };
        let (fetch, options) = (Arc::clone(fetch), Arc::new(options));
        let load = {
            let options = Arc::clone(&options);
            move || -> futures_util::future::BoxFuture<'static, Result<Vec<NamedKey>, String>> {
                let (fetch, options) = (Arc::clone(&fetch), Arc::clone(&options));
                Box::pin(async move {
                    let fetched = keys::fetch(&*fetch, &options).await;
                    if let Err(reason) = &fetched {
                        // At most every `refresh_min`.
                        tracing::warn!(
                            issuer = options.issuer,
                            reason,
                            "the keys of a provider were not fetched"
                        );
                    }
                    fetched
                })
            }
        };
        Self { options, keys: Kept::new(ages, clock.clone(), load) }
    }

    /// The key that a token names, for the algorithm that it says; or another key of that name, with which it is then
    /// refused.
    async fn key(&self, header: &jws::Header) -> Result<NamedKey, TokenError> {
        let find = |keys: &Arc<Vec<NamedKey>>| {
            let named = || keys.iter().filter(|key| key.id == header.key);
            named().find(|key| key.key.algorithm == header.algorithm).or_else(|| named().next()).cloned()
        };
        let away = |_: Away| TokenError::ProviderAway {
            issuer: self.options.issuer.clone(),
            again_after: self.options.refresh_min.as_secs().max(1),
        };
        let keys = self.keys.get().await.map_err(away)?;
        if let Some(key) = find(&keys) {
            return Ok(key);
        }
        let newer = self.keys.newer(Some(&keys)).await.map_err(away)?;
        newer.as_ref().and_then(find).ok_or(TokenError::UnknownKey)
    }
}

#[cfg(test)]
mod tests;
