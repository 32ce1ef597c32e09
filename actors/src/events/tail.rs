//! Follows the shards of the log on this node, while anybody is connected.

use std::sync::Arc;
use std::time::Duration;

use darkroom_store::StoreError;
use darkroom_store::metadata::Watch;
use darkroom_store::model::Position;
use darkroom_store::model::changes::{self, Change, SHARDS};
use futures_util::future::join_all;

use super::hub::{Hub, Told};

/// Entries that are read at once.
const PAGE: usize = 200;
/// A watch is a hint: so often it is looked without one.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Before it is tried again what the store refused.
const PAUSE: Duration = Duration::from_millis(500);

/// Follows every shard; never ends.
pub(super) async fn follow_all(hub: &Hub) {
    join_all((0..SHARDS).map(|shard| follow(hub, shard))).await;
}

async fn follow(hub: &Hub, shard: u8) {
    let mut connected = hub.connected();
    loop {
        // The sender is the hub's, which lives as long as this.
        let _ = connected.wait_for(|connected| *connected > 0).await;
        let nobody = async {
            let _ = hub.connected().wait_for(|connected| *connected == 0).await;
        };
        tokio::select! {
            () = hand_on_all(hub, shard) => {}
            () = nobody => {}
        }
        hub.end(shard);
    }
}

/// Hands everything on that happens from now on; never ends.
async fn hand_on_all(hub: &Hub, shard: u8) {
    let mut position = persistently(shard, || last(hub, shard)).await;
    hub.begin(shard, position);
    loop {
        let watch = persistently(shard, || watch(hub, shard)).await;
        while hand_on_page(hub, shard, &mut position).await {}
        // What came before the watch was found by that look.
        let _ = tokio::time::timeout(LOOK_EVERY, watch).await;
    }
}

/// Hands on what follows `position`; whether there may be more.
async fn hand_on_page(hub: &Hub, shard: u8, position: &mut Position) -> bool {
    let from = *position;
    let page = persistently(shard, || after(hub, shard, from)).await;
    let more = page.len() == PAGE;
    for (at, change) in page {
        let told = Told { shard, position: at, change: Arc::new(change) };
        persistently(shard, || hub.hand_on(told.clone())).await;
        *position = at;
    }
    more
}

async fn last(hub: &Hub, shard: u8) -> Result<Position, StoreError> {
    hub.metadata().read("end of changes", |tx| async move { changes::last(&tx, shard).await }).await
}

async fn after(hub: &Hub, shard: u8, position: Position) -> Result<Vec<(Position, Change)>, StoreError> {
    let read = |tx| async move { changes::after(&tx, shard, position, PAGE).await };
    hub.metadata().read("follow changes", read).await
}

async fn watch(hub: &Hub, shard: u8) -> Result<Watch, StoreError> {
    let key = &changes::signal_key(shard)[..];
    hub.metadata().read("watch changes", |tx| async move { tx.watch(key) }).await
}

/// Until the store answers: those who are connected wait meanwhile, and miss nothing.
async fn persistently<T, F>(shard: u8, attempt: impl Fn() -> F) -> T
where
    F: Future<Output = Result<T, StoreError>>,
{
    loop {
        match attempt().await {
            Ok(value) => return value,
            Err(error) => {
                tracing::warn!(shard, %error, "events wait for the store");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}
