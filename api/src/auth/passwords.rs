//! Passwords: hashed by argon2id, few at a time, since each hash takes memory.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::problem::Problem;

/// Longest password, in bytes: what is hashed is read whole.
pub const BYTES_MAX: usize = 1024;

/// How passwords are hashed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PasswordOptions {
    /// Shortest password, in characters.
    pub chars_min: usize,
    /// Memory of one hash, in KiB.
    pub memory_kib: u32,
    /// Passes over that.
    pub passes: u32,
    /// Hashes at once.
    pub at_once: usize,
    /// Requests that wait for one.
    pub waiting_max: usize,
    /// How long they wait.
    pub wait_max: Duration,
}

impl Default for PasswordOptions {
    /// Memory and passes as OWASP's password storage cheat sheet advises (2026): 19 MiB, two passes, one lane.
    fn default() -> Self {
        Self {
            chars_min: 10,
            memory_kib: 19 * 1024,
            passes: 2,
            at_once: 2,
            waiting_max: 64,
            wait_max: Duration::from_secs(10),
        }
    }
}

impl PasswordOptions {
    /// Refuses options that cannot work.
    ///
    /// # Errors
    /// A sentence that names the setting and what to do.
    pub fn validate(&self) -> Result<(), String> {
        if self.at_once == 0 {
            return Err(
                "auth.password_hashes_at_once is 0, so that nobody could sign in: set it to 1 or more"
                    .to_owned(),
            );
        }
        if self.chars_min == 0 || self.chars_min > BYTES_MAX / 4 {
            return Err(format!("auth.password_chars_min is not between 1 and {}", BYTES_MAX / 4));
        }
        self.params().map(|_| ()).map_err(|error| {
            format!("auth.password_memory and auth.password_passes cannot be used together: {error}")
        })
    }

    fn params(&self) -> argon2::Result<Params> {
        Params::new(self.memory_kib, self.passes, 1, None)
    }
}

/// Hashes and compares passwords. Cheap to clone.
#[derive(Clone)]
pub struct Passwords {
    options: Arc<PasswordOptions>,
    places: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    /// Compared with where there is no password, so that this takes as long as any other time. Made with the first comparison,
    /// whatever that is: a start does not wait for it.
    nobodys: Arc<OnceLock<String>>,
}

impl Passwords {
    /// With these options, which are valid.
    pub fn new(options: PasswordOptions) -> Self {
        let places = Arc::new(Semaphore::new(options.at_once));
        let waiting = Arc::new(Semaphore::new(options.waiting_max.saturating_add(options.at_once)));
        Self { options: Arc::new(options), places, waiting, nobodys: Arc::default() }
    }

    /// Refuses what is no good password.
    ///
    /// # Errors
    /// `invalid-parameter`.
    pub fn check(&self, password: &str) -> Result<(), Problem> {
        let (chars, least) = (password.chars().count(), self.options.chars_min);
        let problem = |detail| Err(Problem::new("invalid-parameter", detail));
        if chars < least {
            return problem(format!("the password has {chars} characters: choose one of at least {least}"));
        }
        if password.len() > BYTES_MAX {
            let bytes = password.len();
            return problem(format!("the password has {bytes} bytes: choose one of at most {BYTES_MAX}"));
        }
        Ok(())
    }

    /// The hash of a password, as a PHC string.
    ///
    /// # Errors
    /// `overloaded`, while too many wait.
    pub async fn hash(&self, password: String) -> Result<String, Problem> {
        let options = Arc::clone(&self.options);
        self.work(move || hash_now(&options, &password)).await?
    }

    /// Whether the password is the one of this hash. With no hash it is not, after the same time.
    ///
    /// # Errors
    /// `overloaded`, while too many wait.
    pub async fn is_right(&self, password: String, hash: Option<String>) -> Result<bool, Problem> {
        if password.len() > BYTES_MAX {
            return Ok(false);
        }
        let (known, nobodys, options) =
            (hash.is_some(), Arc::clone(&self.nobodys), Arc::clone(&self.options));
        let compare = move || {
            let nobodys =
                nobodys.get_or_init(|| hash_now(&options, "nobody has this password").unwrap_or_default());
            is_same(&password, hash.as_deref().unwrap_or(nobodys))
        };
        let same = self.work(compare).await?;
        Ok(same && known)
    }

    async fn work<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
        let place = self.place().await?;
        let working = tokio::task::spawn_blocking(move || {
            let outcome = work();
            // Given back when the memory is, also where nobody waits for the outcome any more.
            drop(place);
            outcome
        });
        working.await.map_err(|_| Problem::new("internal-error", "a password could not be hashed"))
    }

    async fn place(&self) -> Result<OwnedSemaphorePermit, Problem> {
        let crowded = || {
            crate::limits::refused("passwords");
            let detail = "too many sign in at this moment; try again shortly";
            Problem::new("overloaded", detail).retry_after(1)
        };
        let _waits = self.waiting.try_acquire().map_err(|_| crowded())?;
        match timeout(self.options.wait_max, Arc::clone(&self.places).acquire_owned()).await {
            Ok(Ok(place)) => Ok(place),
            _ => Err(crowded()),
        }
    }
}

fn hash_now(options: &PasswordOptions, password: &str) -> Result<String, Problem> {
    let failed = |error: &dyn std::fmt::Display| {
        tracing::error!(%error, "a password could not be hashed");
        Problem::new("internal-error", "the password could not be hashed")
    };
    let params = options.params().map_err(|error| failed(&error))?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon2.hash_password(password.as_bytes()).map(|hash| hash.to_string()).map_err(|error| failed(&error))
}

/// By the parameters that are in the hash.
fn is_same(password: &str, hash: &str) -> bool {
    PasswordHash::new(hash)
        .is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quick() -> PasswordOptions {
        PasswordOptions { memory_kib: 64, passes: 1, ..PasswordOptions::default() }
    }

    #[tokio::test]
    async fn only_the_right_password_is_right() {
        let passwords = Passwords::new(quick());
        let hash = passwords.hash("correct horse".to_owned()).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=64,t=1,p=1$"), "{hash}");
        assert!(passwords.is_right("correct horse".to_owned(), Some(hash.clone())).await.unwrap());
        assert!(!passwords.is_right("correct horsf".to_owned(), Some(hash)).await.unwrap());
        assert!(!passwords.is_right("nobody has this password".to_owned(), None).await.unwrap());
    }

    #[tokio::test]
    async fn beyond_those_who_may_wait_one_is_refused() {
        let passwords = Passwords::new(PasswordOptions { at_once: 1, waiting_max: 1, ..quick() });
        let held = passwords.place().await.unwrap();
        let waits = tokio::spawn({
            let passwords = passwords.clone();
            async move { passwords.hash("correct horse".to_owned()).await }
        });
        eventually(|| passwords.waiting.available_permits() == 1).await;
        // One place to wait is left: the first place's holder has stopped waiting.
        let second = tokio::spawn({
            let passwords = passwords.clone();
            async move { passwords.hash("correct horse".to_owned()).await }
        });
        eventually(|| passwords.waiting.available_permits() == 0).await;
        let refused = passwords.hash("correct horse".to_owned()).await.unwrap_err();
        assert!(refused.is("overloaded"), "{refused:?}");
        drop(held);
        waits.await.unwrap().unwrap();
        second.await.unwrap().unwrap();
    }

    /// Until a condition holds that other tasks bring about.
    async fn eventually(condition: impl Fn() -> bool) {
        let wait = async {
            while !condition() {
                tokio::task::yield_now().await;
            }
        };
        timeout(Duration::from_secs(30), wait).await.unwrap();
    }

    #[test]
    fn short_and_endless_passwords_are_refused() {
        let passwords = Passwords::new(quick());
        assert!(passwords.check("ninechars").is_err());
        assert!(passwords.check("tenletters").is_ok());
        assert!(passwords.check(&"x".repeat(BYTES_MAX + 1)).is_err());
    }
}
