//! Secrets that clients hold: API keys and refresh tokens. Random, told once, and kept as hashes.
//!
//! - An API key is `drk_`, its id and 32 random bytes: `drk_<32 hex>_<64 hex>`.
//! - A refresh token is `drr_`, its session's id, 16 random bytes that all tokens of the session have, and 32 of its own:
//!   `drr_<32 hex>_<32 hex>_<64 hex>`.
//!
//! The prefixes let scanners find keys that were published by mistake. 256 random bits are not guessed, so a fast hash
//! is enough.

use std::fmt;

use darkroom_store::model::sessions::Presented;
use darkroom_store::model::{ApiKeyId, ContentHash, SessionId};
use ring::rand::{SecureRandom, SystemRandom};
use uuid::Uuid;

/// What an API key begins with.
pub const KEY_PREFIX: &str = "drk_";
/// What a refresh token begins with.
pub const REFRESH_PREFIX: &str = "drr_";

const FAMILY_BYTES: usize = 16;
const SECRET_BYTES: usize = 32;

/// The machine gives no random bytes.
#[derive(Debug, thiserror::Error)]
#[error("the system's source of random bytes does not answer")]
pub struct NoRandomness;

fn random<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| NoRandomness)?;
    Ok(bytes)
}

/// An API key as its client has it. Shown once.
#[derive(Clone, PartialEq, Eq)]
pub struct KeySecret {
    /// Which key.
    pub id: ApiKeyId,
    secret: [u8; SECRET_BYTES],
}

impl KeySecret {
    /// A new one.
    ///
    /// # Errors
    /// [`NoRandomness`].
    pub fn new() -> Result<Self, NoRandomness> {
        Ok(Self { id: ApiKeyId::new(), secret: random()? })
    }

    /// Reads what a client sent.
    pub fn parse(text: &str) -> Option<Self> {
        let (id, secret) = text.strip_prefix(KEY_PREFIX)?.split_once('_')?;
        Some(Self { id: ApiKeyId(simple_uuid(id)?), secret: from_hex(secret)? })
    }

    /// What is kept of it.
    pub fn hash(&self) -> ContentHash {
        hash(&self.secret)
    }

    /// The text that its client is told.
    pub fn reveal(&self) -> String {
        format!("{KEY_PREFIX}{}_{}", self.id.0.as_simple(), hex(&self.secret))
    }
}

/// It is told by [`KeySecret::reveal`] alone.
impl fmt::Debug for KeySecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeySecret").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A refresh token as its client has it.
#[derive(Clone, PartialEq, Eq)]
pub struct RefreshSecret {
    /// Of which session.
    pub session: SessionId,
    family: [u8; FAMILY_BYTES],
    own: [u8; SECRET_BYTES],
}

impl RefreshSecret {
    /// The first of a session.
    ///
    /// # Errors
    /// [`NoRandomness`].
    pub fn first(session: SessionId) -> Result<Self, NoRandomness> {
        Ok(Self { session, family: random()?, own: random()? })
    }

    /// The one after this.
    ///
    /// # Errors
    /// [`NoRandomness`].
    pub fn next(&self) -> Result<Self, NoRandomness> {
        Ok(Self { own: random()?, ..*self })
    }

    /// Reads what a client sent.
    pub fn parse(text: &str) -> Option<Self> {
        let (session, rest) = text.strip_prefix(REFRESH_PREFIX)?.split_once('_')?;
        let (family, own) = rest.split_once('_')?;
        let session = SessionId(simple_uuid(session)?);
        Some(Self { session, family: from_hex(family)?, own: from_hex(own)? })
    }

    /// What is kept of it.
    pub fn hashes(&self) -> Presented {
        Presented { family: hash(&self.family), newest: hash(&self.own) }
    }

    /// The text that its client is told.
    pub fn reveal(&self) -> String {
        format!("{REFRESH_PREFIX}{}_{}_{}", self.session.0.as_simple(), hex(&self.family), hex(&self.own))
    }
}

/// It is told by [`RefreshSecret::reveal`] alone.
impl fmt::Debug for RefreshSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RefreshSecret").field("session", &self.session).finish_non_exhaustive()
    }
}

/// Under a key of its own, so that no hash of anything else is one of a secret.
fn hash(secret: &[u8]) -> ContentHash {
    ContentHash(blake3::derive_key("darkroom 2026 hash of a client's secret", secret))
}

fn simple_uuid(text: &str) -> Option<Uuid> {
    (text.len() == 32).then(|| Uuid::try_parse(text).ok()).flatten()
}

fn hex(bytes: &[u8]) -> String {
    use fmt::Write;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let value = |digit: u8| char::from(digit).to_digit(16);
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.as_chunks::<2>().0) {
        *byte = u8::try_from(value(pair[0])? << 4 | value(pair[1])?).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_survive_their_text_and_do_not_show_in_logs() {
        let key = KeySecret::new().unwrap();
        assert_eq!(KeySecret::parse(&key.reveal()), Some(key.clone()));
        let refresh = RefreshSecret::first(SessionId::new()).unwrap();
        assert_eq!(RefreshSecret::parse(&refresh.reveal()), Some(refresh.clone()));
        assert!(!format!("{key:?} {refresh:?}").contains(&hex(&key.secret)));
        assert!(!format!("{refresh:?}").contains(&hex(&refresh.family)));
    }

    #[test]
    fn tokens_of_one_session_have_its_family_and_nothing_else_in_common() {
        let first = RefreshSecret::first(SessionId::new()).unwrap();
        let next = first.next().unwrap();
        assert_eq!(first.hashes().family, next.hashes().family);
        assert_ne!(first.hashes().newest, next.hashes().newest);
        let other = RefreshSecret::first(first.session).unwrap();
        assert_ne!(first.hashes().family, other.hashes().family);
    }

    #[test]
    fn what_is_no_secret_is_none() {
        let key = KeySecret::new().unwrap().reveal();
        for bad in [&key[1..], &key[..key.len() - 1], "drk_", "drk__", "drk_x_y", ""] {
            assert!(KeySecret::parse(bad).is_none(), "{bad}");
        }
        assert!(KeySecret::parse(&key.replacen(|c: char| c.is_ascii_digit(), "é", 1)).is_none());
        assert!(RefreshSecret::parse(&key).is_none());
    }
}
