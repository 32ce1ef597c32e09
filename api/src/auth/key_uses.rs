//! When a key was last used: recorded beside its request, at most once in a while for each key.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use darkroom_store::metadata::Metadata;
use darkroom_store::model::{ApiKeyId, Timestamp, api_keys};
use tokio::time::Instant;

/// How exact the record is.
const EVERY: Duration = Duration::from_secs(60);

/// What was recorded of late. As many as there are keys in use.
#[derive(Default)]
pub struct KeyUses(Mutex<HashMap<ApiKeyId, Instant>>);

impl KeyUses {
    /// The key was used just now.
    pub fn note(&self, metadata: &Metadata, id: ApiKeyId) {
        if !self.is_due(id) {
            return;
        }
        let (metadata, now) = (metadata.clone(), Timestamp::now());
        tokio::spawn(async move {
            let used = |tx| async move { api_keys::used(&tx, id, now) };
            if let Err(error) = metadata.transact("note use of key", used).await {
                tracing::warn!(%error, key = %id, "that a key was used could not be recorded");
            }
        });
    }

    fn is_due(&self, id: ApiKeyId) -> bool {
        let now = Instant::now();
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        noted.retain(|_, at| now < *at + EVERY);
        let is_due = !noted.contains_key(&id);
        if is_due {
            noted.insert(id, now);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_key_that_is_in_use_is_recorded_once_in_a_while() {
        let (uses, one, other) = (KeyUses::default(), ApiKeyId::new(), ApiKeyId::new());
        assert!(uses.is_due(one) && !uses.is_due(one) && uses.is_due(other));
        tokio::time::advance(EVERY).await;
        assert!(uses.is_due(one));
        assert_eq!(uses.0.lock().unwrap().len(), 1, "what is not due is kept");
    }
}
