//! What a server does when it is not overloaded.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use crate::connection::Target;
use crate::unique::Unique;
use crate::upload::load::{self, Amount, Load, Source};
use crate::upload::{progress, ready};

/// Connections that are enough to keep the server busy.
const CONNECTIONS: u16 = 16;
/// How long photos may take to become ready.
const READY_TIME_MAX: Duration = Duration::from_secs(1800);

/// Sends photos as fast as they are taken, none of them twice.
pub(crate) struct Bench {
    target: Target,
    photos: Unique,
    next: u64,
    hidden: bool,
}

/// Photos per second.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Capacity {
    /// From the first byte of the first upload until the last photo was ready.
    pub(crate) per_second: f64,
}

/// The part of a photo's record that is looked at.
#[derive(Deserialize)]
struct Record {
    variants: Vec<Variant>,
}

#[derive(Deserialize)]
struct Variant {
    url: String,
}

impl Bench {
    /// On this server. `hidden`: show no progress.
    pub(crate) fn new(target: Target, photos: Unique, hidden: bool) -> Self {
        Self { target, photos, next: 0, hidden }
    }

    /// The number of the next photo.
    pub(crate) fn next_photo(&self) -> u64 {
        self.next
    }

    /// Photos below this number were sent by others.
    pub(crate) fn skip_to(&mut self, next: u64) {
        self.next = next.max(self.next);
    }

    /// Uploads so many photos, waits until they are ready, and says how many a second that were.
    pub(crate) async fn capacity(&mut self, photos: u64) -> anyhow::Result<Capacity> {
        let began = Instant::now();
        let ids = self.upload(photos).await?;
        let bar = progress(self.hidden, Amount::Uploads(photos), "ready");
        let ready = ready::wait(&self.target, ids, READY_TIME_MAX, bar.clone()).await;
        bar.finish_and_clear();
        let Some(last) = ready.last.filter(|_| ready.ready == photos) else {
            bail!("of {photos} photos only {} became ready, without any overload", ready.ready);
        };
        Ok(Capacity { per_second: photos as f64 / last.duration_since(began).as_secs_f64() })
    }

    async fn upload(&mut self, photos: u64) -> anyhow::Result<Vec<String>> {
        let load = Load {
            target: self.target.clone(),
            photos: Source::Unique(self.photos.from(self.next)),
            amount: Amount::Uploads(photos),
            query: String::new(),
        };
        self.next += photos;
        let bar = progress(self.hidden, load.amount, "uploads");
        let uploaded = load::run(load, CONNECTIONS, bar.clone()).await;
        bar.finish_and_clear();
        if let Some(failure) = uploaded.first_failure {
            bail!("an upload failed without any overload: {failure}");
        }
        Ok(uploaded.ids)
    }

    /// Where the last variant of a new photo is, which is ready: the smallest of the default presets.
    pub(crate) async fn variant(&mut self) -> anyhow::Result<String> {
        let ids = self.upload(1).await?;
        let found =
            ready::wait(&self.target, ids.clone(), READY_TIME_MAX, progress(true, Amount::Uploads(1), ""))
                .await;
        let id = ids.first().filter(|_| found.ready == 1).context("the first photo did not become ready")?;
        let answer = self.target.connect().await?.get(&format!("/v1/photos/{id}")).await?;
        let record: Record =
            serde_json::from_slice(&answer.body).context("the first photo's record has no variants")?;
        Ok(record.variants.into_iter().next_back().context("the first photo has no variants")?.url)
    }
}
