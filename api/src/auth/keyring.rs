//! The keys that this node signs with and verifies by: a copy of the store's, read again now and then, and earlier when
//! somebody names a key that is not among them.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use darkroom_store::metadata::Metadata;
use darkroom_store::model::signing_keys::{self, FreshKey, KeySecret, Purpose, SigningKey};
use futures_util::future::BoxFuture;
use ring::rand::{SecureRandom, SystemRandom};

use super::clock::Clock;
use super::kept::{Ages, Away, Kept};

/// Bytes of every secret: an Ed25519 seed, and what HMAC-SHA-256 takes without hashing it first.
const SECRET_BYTES: usize = 32;
/// Random bytes of a key's id.
const ID_BYTES: usize = 9;

/// How often the store's keys are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyringOptions {
    /// How old a node's copy may become while it is used. A key that was [replaced](signing_keys::replace) counts for
    /// so much longer on nodes that have not heard of it.
    pub reload: Duration,
    /// Least time between two reads, however many tokens name keys that nobody knows.
    pub reload_min: Duration,
}

impl Default for KeyringOptions {
    fn default() -> Self {
        Self { reload: Duration::from_secs(30), reload_min: Duration::from_secs(5) }
    }
}

/// Reads the store's keys.
pub trait KeySource: Send + Sync + 'static {
    /// All of them.
    fn load(&self) -> BoxFuture<'static, Result<Vec<SigningKey>, String>>;
}

impl KeySource for Metadata {
    fn load(&self) -> BoxFuture<'static, Result<Vec<SigningKey>, String>> {
        let metadata = self.clone();
        Box::pin(async move {
            let read = metadata.read("signing_keys", |tx| async move { signing_keys::all(&tx).await });
            read.await.map_err(|error| error.to_string())
        })
    }
}

/// A copy of the store's keys. Clones mean the same.
#[derive(Clone, Debug)]
pub struct Keyring {
    kept: Kept<Vec<SigningKey>>,
    clock: Clock,
}

impl Keyring {
    /// Of these keys.
    pub fn new(source: impl KeySource, options: KeyringOptions, clock: Clock) -> Self {
        // Keys end by their own times: what was read stays good however long the store is away.
        let ages = Ages { fresh: options.reload, between: options.reload_min, max: Duration::MAX };
        Self { kept: Kept::new(ages, clock.clone(), move || source.load()), clock }
    }

    /// Every key that verifies now, those that will sign later included.
    ///
    /// # Errors
    /// [`Away`].
    pub async fn verifying(&self, purpose: Purpose) -> Result<Vec<SigningKey>, Away> {
        let (keys, now) = (self.kept.get().await?, self.clock.now());
        let verify = |key: &&SigningKey| key.purpose == purpose && key.verifies_at(now);
        Ok(keys.iter().filter(verify).cloned().collect())
    }

    /// The key that is named so, if it verifies now.
    ///
    /// # Errors
    /// [`Away`], if it may be one that could not be read.
    pub async fn find(&self, purpose: Purpose, id: &str) -> Result<Option<SigningKey>, Away> {
        let find = |keys: &Arc<Vec<SigningKey>>| {
            keys.iter().find(|key| key.id == id && key.purpose == purpose).cloned()
        };
        let keys = self.kept.get().await?;
        let found = match find(&keys) {
            Some(key) => Some(key),
            None => self.kept.newer(Some(&keys)).await?.as_ref().and_then(find),
        };
        Ok(found.filter(|key| key.verifies_at(self.clock.now())))
    }

    /// The key that signs now: of several the newest.
    ///
    /// # Errors
    /// [`Away`], also if the store has none, which cannot be after [`signing_keys::ensure`].
    pub async fn signing(&self, purpose: Purpose) -> Result<SigningKey, Away> {
        let find = |keys: &Arc<Vec<SigningKey>>| {
            let now = self.clock.now();
            let signs =
                |key: &&SigningKey| key.purpose == purpose && key.signs_at(now) && key.verifies_at(now);
            keys.iter().rfind(signs).cloned()
        };
        let keys = self.kept.get().await?;
        let found = match find(&keys) {
            Some(key) => Some(key),
            None => self.kept.newer(Some(&keys)).await?.as_ref().and_then(find),
        };
        found.ok_or_else(|| Away("the store has no key to sign with".to_owned()))
    }

    /// Its clock.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }
}

/// A new key, for [`signing_keys::ensure`], [`rotate`](signing_keys::rotate) and [`replace`](signing_keys::replace).
///
/// # Errors
/// A sentence, if the system gives no random bytes.
pub fn fresh_key(purpose: Purpose) -> Result<FreshKey, String> {
    let (mut id, mut secret) = ([0; ID_BYTES], [0; SECRET_BYTES]);
    let random = SystemRandom::new();
    random
        .fill(&mut id)
        .and_then(|()| random.fill(&mut secret))
        .map_err(|_| "the system gives no random bytes: no key could be made".to_owned())?;
    Ok(FreshKey { id: URL_SAFE_NO_PAD.encode(id), purpose, secret: KeySecret::new(&secret) })
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU64, Ordering};

    use darkroom_store::model::Timestamp;

    use super::*;

    /// The time at which tests begin: seconds since the epoch.
    pub(crate) const START: u64 = 1_800_000_000;

    /// A store of keys and a clock, both in the test's hand.
    #[derive(Clone)]
    pub(crate) struct Place {
        pub(crate) keys: Arc<Mutex<Result<Vec<SigningKey>, String>>>,
        pub(crate) loads: Arc<AtomicU64>,
        pub(crate) millis: Arc<AtomicU64>,
    }

    impl Place {
        pub(crate) fn new() -> Self {
            Self {
                keys: Arc::new(Mutex::new(Ok(Vec::new()))),
                loads: Arc::default(),
                millis: Arc::new(AtomicU64::new(START * 1000)),
            }
        }

        pub(crate) fn keyring(&self) -> Keyring {
            Keyring::new(self.clone(), KeyringOptions::default(), Clock::set(Arc::clone(&self.millis)))
        }

        pub(crate) fn now(&self) -> Timestamp {
            Timestamp(self.millis.load(Ordering::Relaxed))
        }

        pub(crate) fn pass(&self, time: Duration) {
            self.millis.fetch_add(u64::try_from(time.as_millis()).unwrap(), Ordering::Relaxed);
        }

        /// A key that signs from now on, in the store alone.
        pub(crate) fn add(&self, purpose: Purpose) -> SigningKey {
            let fresh = fresh_key(purpose).unwrap();
            let key = SigningKey {
                id: fresh.id,
                purpose,
                secret: fresh.secret,
                created: self.now(),
                signs_from: self.now(),
                signs_until: None,
                verifies_until: None,
            };
            self.keys.lock().unwrap().as_mut().unwrap().push(key.clone());
            key
        }

        pub(crate) fn change(&self, id: &str, change: impl Fn(&mut SigningKey)) {
            let mut keys = self.keys.lock().unwrap();
            change(keys.as_mut().unwrap().iter_mut().find(|key| key.id == id).unwrap());
        }

        pub(crate) fn loads(&self) -> u64 {
            self.loads.load(Ordering::Relaxed)
        }
    }

    impl KeySource for Place {
        fn load(&self) -> BoxFuture<'static, Result<Vec<SigningKey>, String>> {
            self.loads.fetch_add(1, Ordering::Relaxed);
            let keys = self.keys.lock().unwrap().clone();
            Box::pin(async move { keys })
        }
    }

    #[tokio::test]
    async fn a_key_of_another_node_is_found_when_it_is_first_named_and_unknown_names_cost_few_reads() {
        let place = Place::new();
        let first = place.add(Purpose::Tokens);
        let keyring = place.keyring();
        assert_eq!(keyring.signing(Purpose::Tokens).await.unwrap(), first);
        place.pass(KeyringOptions::default().reload_min);
        let second = place.add(Purpose::Tokens);
        assert_eq!(keyring.find(Purpose::Tokens, &second.id).await.unwrap(), Some(second.clone()));
        for number in 0..100 {
            assert_eq!(keyring.find(Purpose::Tokens, &format!("nobody's {number}")).await, Ok(None));
        }
        assert_eq!(place.loads(), 2);
        // A key of another purpose is none.
        assert_eq!(keyring.find(Purpose::Links, &first.id).await, Ok(None));
    }

    #[tokio::test]
    async fn keys_of_which_nobody_can_tell_are_not_unknown() {
        let place = Place::new();
        let known = place.add(Purpose::Tokens);
        let keyring = place.keyring();
        keyring.signing(Purpose::Tokens).await.unwrap();
        *place.keys.lock().unwrap() = Err("the store is away".to_owned());
        place.pass(KeyringOptions::default().reload_min);
        keyring.find(Purpose::Tokens, "new").await.unwrap_err();
        assert_eq!(keyring.find(Purpose::Tokens, &known.id).await.unwrap(), Some(known));
    }

    #[test]
    fn no_two_fresh_keys_are_the_same() {
        let (a, b) = (fresh_key(Purpose::Links).unwrap(), fresh_key(Purpose::Links).unwrap());
        assert!(a.id != b.id && a.secret != b.secret && a.id.len() == 12);
        assert_eq!(a.secret.expose().len(), SECRET_BYTES);
    }
}
