//! The limits, which are the same on every engine.

use darkroom_store::error::StoreError;
use darkroom_store::metadata::{KEY_BYTES_MAX, KeyRange, RangeOptions, Transaction, VALUE_BYTES_MAX};

use super::Store;

async fn try_write(
    store: &Store,
    write: impl Fn(&Transaction) -> Result<(), StoreError> + Sync + Send,
) -> Result<(), StoreError> {
    let write = &write;
    store.metadata.transact("write", |tx| async move { write(&tx) }).await
}

pub(crate) async fn keys(store: Store) {
    let longest = vec![b'k'; KEY_BYTES_MAX];
    let too_long = vec![b'k'; KEY_BYTES_MAX + 1];
    try_write(&store, |tx| tx.set(&longest, b"v")).await.expect("the longest key");
    assert_eq!(store.get(&longest).await, Some(b"v".to_vec()));
    let found = store
        .metadata
        .read("range", |tx| {
            let range = KeyRange::single(&longest);
            async move { tx.get_range(&range, RangeOptions::default()).await }
        })
        .await;
    assert_eq!(found.expect("its range").len(), 1);

    let refused = |outcome: Result<(), StoreError>| {
        assert!(matches!(outcome, Err(StoreError::KeyTooLarge { .. })), "{outcome:?}");
    };
    refused(try_write(&store, |tx| tx.set(&too_long, b"v")).await);
    // As the bound of a range it would do: the range of the longest key alone ends with it.
    let a_zero_more = [&longest[..], &[0]].concat();
    refused(try_write(&store, |tx| tx.set(&a_zero_more, b"v")).await);
    refused(try_write(&store, |tx| tx.clear(&too_long)).await);
    refused(try_write(&store, |tx| tx.atomic_add(&too_long, 1)).await);
    refused(try_write(&store, |tx| tx.clear_range(&KeyRange::new(*b"a", too_long.clone()))).await);
    refused(try_write(&store, |tx| tx.set_versionstamped_key(&longest[10..], b"x", b"v")).await);
    try_write(&store, |tx| tx.set_versionstamped_key(&longest[11..], b"x", b"v")).await.expect("with stamp");
    refused(
        store
            .metadata
            .read("get", |tx| {
                let key = too_long.clone();
                async move { tx.get(&key).await.map(drop) }
            })
            .await,
    );
}

pub(crate) async fn values(store: Store) {
    let largest = vec![7; VALUE_BYTES_MAX];
    try_write(&store, |tx| tx.set(b"k", &largest)).await.expect("the largest value");
    assert_eq!(store.get(b"k").await.as_ref(), Some(&largest));
    let too_large = vec![7; VALUE_BYTES_MAX + 1];
    for outcome in [
        try_write(&store, |tx| tx.set(b"k", &too_large)).await,
        try_write(&store, |tx| tx.set_versionstamped_key(b"k", b"", &too_large)).await,
        try_write(&store, |tx| tx.set_versionstamped_value(b"k", &largest[9..], b"")).await,
    ] {
        assert!(matches!(outcome, Err(StoreError::ValueTooLarge { .. })), "{outcome:?}");
    }
    assert_eq!(store.get(b"k").await, Some(largest));
}

pub(crate) async fn transactions(store: Store) {
    let value = vec![7; VALUE_BYTES_MAX];
    let write = |count: u8| {
        let value = &value;
        move |tx: &Transaction| (0..count).try_for_each(|index| tx.set(&[index], value))
    };
    try_write(&store, write(99)).await.expect("9.9 MB");
    let outcome = try_write(&store, write(101)).await;
    assert!(matches!(outcome, Err(StoreError::TransactionTooLarge { .. })), "{outcome:?}");
    assert_eq!(store.get(&[100]).await, None, "nothing of it is written");
}

/// Engines count alike: what one takes as it writes, each commits.
pub(crate) async fn many_small_writes(store: Store) {
    let until_refused = |tx: Transaction| async move {
        for index in 0_u32.. {
            match tx.set(&index.to_be_bytes(), b"") {
                Err(StoreError::TransactionTooLarge { .. }) => {
                    return Err(StoreError::Unavailable { reason: index.to_string() });
                }
                written => written?,
            }
        }
        Ok(())
    };
    let fitting: u32 = match store.metadata.transact("fill", until_refused).await {
        Err(StoreError::Unavailable { reason }) => reason.parse().expect("how many fit"),
        other => panic!("{other:?}"),
    };
    try_write(&store, |tx| (0..fitting).try_for_each(|index| tx.set(&index.to_be_bytes(), b"")))
        .await
        .expect("as many as fit");
    assert_eq!(store.all().await.len(), fitting as usize);
}

pub(crate) async fn reserved_keys(store: Store) {
    let refused = |outcome: Result<(), StoreError>| {
        assert!(matches!(outcome, Err(StoreError::ReservedKey)), "{outcome:?}");
    };
    refused(try_write(&store, |tx| tx.set(&[0xFF], b"")).await);
    refused(try_write(&store, |tx| tx.set(b"\xFF/status", b"")).await);
    refused(try_write(&store, |tx| tx.clear_range(&KeyRange::new([0], [0xFF, 1]))).await);
    try_write(&store, |tx| tx.clear_range(&KeyRange::all())).await.expect("up to where they begin");
}

/// What is read counts too: the keys of many conflict ranges are a transaction's size as its writes are.
pub(crate) async fn conflict_ranges_count(store: Store) {
    let read_many = |count: u32| {
        let metadata = store.metadata.clone();
        async move {
            let read = |tx: Transaction| async move {
                for number in 0..count {
                    let key = [&number.to_be_bytes()[..], &[7; 9_000]].concat();
                    tx.add_read_conflict_range(&KeyRange::single(&key))?;
                }
                tx.set(b"done", b"")
            };
            metadata.transact("read many", read).await
        }
    };
    read_many(500).await.expect("9 MB of keys");
    let outcome = read_many(600).await;
    assert!(matches!(outcome, Err(StoreError::TransactionTooLarge { .. })), "{outcome:?}");
}
