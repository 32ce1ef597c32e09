//! What has been acknowledged stays.

use super::Store;

pub(crate) async fn reopening_shows_all_acknowledged(mut store: Store) {
    for round in 0..3_u32 {
        let tasks = (0..50_u32).map(|index| {
            let metadata = store.metadata.clone();
            let key = [round.to_be_bytes(), index.to_be_bytes()].concat();
            tokio::spawn(async move {
                let key = &key;
                metadata.transact("set", |tx| async move { tx.set(key, b"kept") }).await.expect("set");
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.expect("task");
        }
        store = store.reopen().await;
        assert_eq!(store.all().await.len(), 50 * (round as usize + 1));
    }
}

pub(crate) async fn bytes_survive_reopening(store: Store) {
    let every_byte: Vec<u8> = (0..=255).collect();
    store.set(b"", b"the empty key").await;
    store.set(b"\x00", b"").await;
    store.set(&every_byte, &every_byte).await;
    let before = store.all().await;
    let store = store.reopen().await;
    assert_eq!(store.all().await, before);
    assert_eq!(before.len(), 3);
}
