//! The start: opens both stores, begins a life on them, and the pipeline. What was begun is ended in order where the start
//! goes no further, so that no other node has to wait until this life is known to be over.

use std::time::Duration;

use anyhow::{Context, bail};
use darkroom_actors::Pipeline;
use darkroom_api::auth::access;
use darkroom_config::Config;
use darkroom_store::StoreError;
use darkroom_store::life::{self, Life};
use darkroom_store::metadata::Metadata;

use crate::stores;

/// What ending takes at most: a store that does not answer is left, and others find out by themselves.
const ENDING_MAX: Duration = Duration::from_secs(5);

/// What a start has begun so far. Kept outside of the start itself, which may fail, or be given up halfway.
#[derive(Default)]
pub(crate) struct Begun {
    metadata: Option<Metadata>,
    life: Option<Life>,
    pipeline: Option<Pipeline>,
}

/// What has been started.
pub(crate) struct Started {
    pub(crate) metadata: Metadata,
    pub(crate) life: Life,
    pub(crate) pipeline: Pipeline,
}

impl Begun {
    /// Starts everything that answers no requests yet.
    pub(crate) async fn go_on(&mut self, config: &Config) -> anyhow::Result<Started> {
        let metadata = self.metadata.insert(stores::metadata(config).await?).clone();
        let objects = stores::objects_of(config, &metadata).await?;
        let life = life::begin(&metadata, &objects).await.with_context(|| stores::not_together(config))?;
        let life = self.life.insert(life).clone();
        // Before anything works on photos: one that kills its process would keep a start from its end.
        if let Err(problem) = access::ensure_keys(&metadata).await {
            bail!("the keys that tokens and links are signed with could not be made: {}", problem.detail);
        }
        let pipeline = Pipeline::start(config.pipeline_options(), metadata.clone(), objects, &life).await?;
        self.pipeline = Some(pipeline.clone());
        Ok(Started { metadata, life, pipeline })
    }

    /// Ends what was begun, the last first.
    pub(crate) async fn end(self) {
        let Some(metadata) = self.metadata else { return };
        let ending = async {
            let ended = match (self.pipeline, self.life) {
                (Some(pipeline), _) => pipeline.drain().await,
                (None, Some(life)) => life::end(&metadata, life.epoch).await,
                (None, None) => Ok(()),
            };
            metadata.close().await;
            ended
        };
        let outcome = tokio::time::timeout(ENDING_MAX, ending).await.unwrap_or_else(|_| {
            Err(StoreError::Unavailable { reason: format!("no answer within {ENDING_MAX:?}") })
        });
        if let Err(error) = outcome {
            tracing::warn!(%error, "what the start had begun could not be ended in order; it ends by itself after a while");
        }
    }
}

#[cfg(test)]
mod tests {
    use darkroom_store::metadata::EmbeddedOptions;
    use darkroom_store::model::nodes::{self, Node};

    use super::*;

    fn config_in(home: &tempfile::TempDir) -> Config {
        let mut config = Config::default();
        config.server.data = home.path().to_owned();
        config
    }

    /// The lives on the store, by its metadata.
    async fn lives(config: &Config) -> Vec<Node> {
        let folder = stores::metadata_folder(config);
        let metadata = Metadata::open_embedded(&folder, EmbeddedOptions::default()).await.unwrap();
        let lives = metadata.read("list epochs", |tx| async move { nodes::all(&tx).await }).await.unwrap();
        metadata.close().await;
        lives.into_iter().map(|(_, node)| node).collect()
    }

    #[tokio::test]
    async fn a_start_that_fails_after_its_life_has_begun_ends_it() {
        let home = tempfile::tempdir().unwrap();
        let mut config = config_in(&home);
        // Less than an upload holds, which the pipeline refuses.
        config.budgets.upload_window = "1 B".parse().ok();
        let mut begun = Begun::default();
        begun.go_on(&config).await.err().unwrap();
        begun.end().await;
        let lives = lives(&config).await;
        assert!(lives.len() == 1 && lives[0].dead.is_some(), "{lives:?}");
    }

    #[tokio::test]
    async fn a_start_that_is_given_up_when_all_but_its_doors_are_open_ends_its_life() {
        let home = tempfile::tempdir().unwrap();
        let config = config_in(&home);
        let mut begun = Begun::default();
        begun.go_on(&config).await.unwrap();
        begun.end().await;
        let lives = lives(&config).await;
        assert!(lives.len() == 1 && lives[0].dead.is_some(), "{lives:?}");
    }

    #[tokio::test]
    async fn a_folder_of_objects_that_is_gone_is_not_made_anew() {
        let home = tempfile::tempdir().unwrap();
        let config = config_in(&home);
        let mut begun = Begun::default();
        begun.go_on(&config).await.unwrap();
        begun.end().await;
        let objects = home.path().join("objects");
        std::fs::remove_dir_all(&objects).unwrap();
        let mut begun = Begun::default();
        let refused = format!("{:#}", begun.go_on(&config).await.err().unwrap());
        begun.end().await;
        assert!(refused.contains("is the folder mounted?"), "{refused}");
        assert!(!objects.exists());
    }
}
