//! Versionstamps: their order, and what cannot be read before it is known.

use darkroom_store::error::StoreError;
use darkroom_store::metadata::{KeyRange, RangeOptions, Transaction};

use super::Store;

const LOG: &[u8] = b"log/";

/// Appends `value` to the log.
async fn append(store: &darkroom_store::metadata::Metadata, value: &[u8]) {
    let append = |tx: Transaction| async move { tx.set_versionstamped_key(LOG, b"/end", value) };
    store.transact("append", append).await.expect("append");
}

pub(crate) async fn order_across_concurrent_writers_and_after_reopen(store: Store) {
    const WRITERS: u8 = 16;
    const APPENDS: u8 = 10;
    let tasks = (0..WRITERS).map(|writer| {
        let metadata = store.metadata.clone();
        tokio::spawn(async move {
            for turn in 0..APPENDS {
                append(&metadata, &[writer, turn]).await;
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.expect("task");
    }
    let before = store.all().await;
    assert_eq!(before.len(), usize::from(WRITERS) * usize::from(APPENDS), "no stamp is given twice");
    for writer in 0..WRITERS {
        let turns: Vec<u8> =
            before.iter().filter(|(_, value)| value[0] == writer).map(|(_, value)| value[1]).collect();
        assert_eq!(
            turns,
            (0..APPENDS).collect::<Vec<_>>(),
            "what was acknowledged first has the lower stamp"
        );
    }
    for (key, _) in &before {
        assert!(key.starts_with(LOG) && key.ends_with(b"/end") && key.len() == LOG.len() + 10 + 4);
    }

    let store = store.reopen().await;
    append(&store.metadata, b"later").await;
    let after = store.all().await;
    assert_eq!(after[..before.len()], before[..]);
    assert_eq!(after[before.len()..].len(), 1);
    assert_eq!(after.last().expect("a row").1, b"later", "stamps go on above those before");
}

pub(crate) async fn key_and_value_carry_the_same_stamp(store: Store) {
    let write = |tx: Transaction| async move {
        tx.set_versionstamped_key(LOG, b"", b"entry")?;
        tx.set_versionstamped_value(b"position", b"<", b">")
    };
    store.metadata.transact("write", write).await.expect("write");
    let rows = store.all().await;
    let stamp = &rows[0].0[LOG.len()..];
    assert_eq!(stamp.len(), 10);
    assert_eq!(rows[1].1, [b"<", stamp, b">"].concat());
}

pub(crate) async fn unreadable_keys(store: Store) {
    append(&store.metadata, b"old").await;
    // What the last commit before a transaction appended cannot be told from what it will append itself.
    store.set(b"between", b"").await;
    for read in 0..4 {
        let check = |tx: Transaction| async move {
            tx.set_versionstamped_key(LOG, b"/end", b"new")?;
            tx.set_versionstamped_value(b"position", b"", b"")?;
            // A later write does not make it known.
            tx.set(b"position", b"later")?;
            let outcome = match read {
                0 => tx.get(b"position").await.map(drop),
                1 => tx.snapshot_get(b"position").await.map(drop),
                2 => tx.get_range(&KeyRange::prefix(LOG), RangeOptions::default()).await.map(drop),
                _ => tx.get_range(&KeyRange::all(), RangeOptions::last(1)).await.map(drop),
            };
            assert!(matches!(outcome, Err(StoreError::UnreadableKey)), "read {read}: {outcome:?}");
            Ok(())
        };
        let outcome = store.metadata.transact("check", check).await;
        assert!(matches!(outcome, Err(StoreError::UnreadableKey)), "commit after read {read}: {outcome:?}");
    }
    // What was there before can be read.
    let check = |tx: Transaction| async move {
        tx.set_versionstamped_key(LOG, b"/end", b"new")?;
        tx.set_versionstamped_value(b"position", b"", b"")?;
        let old = tx.get_range(&KeyRange::prefix(LOG), RangeOptions::first(1)).await?;
        assert_eq!(old[0].1, b"old");
        assert_eq!(tx.get(b"elsewhere").await?, None);
        Ok(())
    };
    store.metadata.transact("check", check).await.expect("check");
    assert_eq!(store.all().await.len(), 4);
}

pub(crate) async fn a_cleared_key_is_readable_again(store: Store) {
    let write = |tx: Transaction| async move {
        tx.set_versionstamped_value(b"position", b"", b"")?;
        tx.clear(b"position")?;
        assert_eq!(tx.get(b"position").await?, None);
        tx.set(b"position", b"known")?;
        assert_eq!(tx.get(b"position").await?, Some(b"known".to_vec()));
        tx.set_versionstamped_key(LOG, b"/end", b"new")?;
        tx.clear_range(&KeyRange::prefix(LOG))?;
        assert!(tx.get_range(&KeyRange::prefix(LOG), RangeOptions::default()).await?.is_empty());
        Ok(())
    };
    store.metadata.transact("write", write).await.expect("write");
    assert_eq!(store.all().await, super::rows(&[(b"position", b"known")]), "the clear came after the append");
}

/// Two entries of one transaction with the same prefix and suffix are one key, and with different ones stand beside each
/// other; those of an earlier transaction stand before both.
pub(crate) async fn entries_of_one_transaction(store: Store) {
    append(&store.metadata, b"earlier").await;
    let write = |tx: Transaction| async move {
        tx.set_versionstamped_key(LOG, b"b", b"second")?;
        tx.set_versionstamped_key(LOG, b"a", b"lost")?;
        tx.set_versionstamped_key(LOG, b"a", b"first")
    };
    store.metadata.transact("write", write).await.expect("write");
    let values: Vec<_> = store.all().await.into_iter().map(|(_, value)| value).collect();
    assert_eq!(values, [&b"earlier"[..], b"first", b"second"]);
}
