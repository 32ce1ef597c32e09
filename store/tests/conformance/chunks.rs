//! Records larger than a value.

use darkroom_store::error::StoreError;
use darkroom_store::metadata::Transaction;
use darkroom_store::model::chunks::{self, CHUNK_BYTES, RECORD_BYTES_MAX};
use darkroom_store::model::subspaces::PHOTOS;

use super::Store;

/// Bytes that differ from those of every other seed, at every place.
fn record(seed: u8, bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at / 251) as u8 ^ (at as u8).wrapping_mul(31) ^ seed.wrapping_mul(89)).collect()
}

fn key() -> Vec<u8> {
    PHOTOS.key(&(7_u64,))
}

async fn write(store: &Store, record: &[u8]) -> Result<(), StoreError> {
    let key = &key();
    store.metadata.transact("write", |tx| async move { chunks::write(&tx, key, record).await }).await
}

async fn read(store: &Store) -> Result<Option<Vec<u8>>, StoreError> {
    let key = &key();
    store.metadata.read("read", |tx| async move { chunks::read(&tx, key).await }).await
}

pub(crate) async fn chunk_edges(store: Store) {
    // Neighbours, which nothing here may touch.
    let neighbours = [PHOTOS.key(&(6_u64,)), PHOTOS.key(&(8_u64,))];
    for neighbour in &neighbours {
        store.set(neighbour, b"neighbour").await;
    }
    assert_eq!(read(&store).await.expect("nothing"), None);
    let sizes = [
        0,
        1,
        CHUNK_BYTES - 1,
        CHUNK_BYTES,
        CHUNK_BYTES + 1,
        2 * CHUNK_BYTES,
        2 * CHUNK_BYTES + 1,
        1_000_000,
    ];
    // Every one over every other: larger over smaller, smaller over larger, and the same again.
    for (seed, size) in sizes.iter().flat_map(|size| sizes.map(|before| (before, *size))).enumerate() {
        let (before, size) = size;
        write(&store, &record(1, before)).await.expect("before");
        let written = record(2 + (seed % 200) as u8, size);
        write(&store, &written).await.expect("write");
        assert!(read(&store).await.expect("read") == Some(written), "{size} bytes over {before}");
        let rows = store.all().await.len() - neighbours.len();
        let expected = if size <= CHUNK_BYTES { 1 } else { 1 + size.div_ceil(CHUNK_BYTES) };
        assert_eq!(rows, expected, "{size} bytes over {before} leave nothing of those");
    }
    let key = &key();
    store.metadata.transact("clear", |tx| async move { chunks::clear(&tx, key).await }).await.expect("clear");
    assert_eq!(store.all().await.len(), neighbours.len());
    assert_eq!(read(&store).await.expect("nothing"), None);
}

pub(crate) async fn the_largest_record_fits_and_a_larger_one_is_refused(store: Store) {
    let largest = record(3, RECORD_BYTES_MAX);
    write(&store, &largest).await.expect("the largest");
    let outcome = write(&store, &record(4, RECORD_BYTES_MAX + 1)).await;
    assert!(matches!(outcome, Err(StoreError::ValueTooLarge { .. })), "{outcome:?}");
    assert!(read(&store).await.expect("read") == Some(largest), "what was there stays");
}

/// A small record that looks like the head of a large one is itself.
pub(crate) async fn a_record_that_looks_like_a_head_is_itself(store: Store) {
    for bytes in [1, 40, 41, 42] {
        let mut looks = record(5, bytes);
        looks[0] = 0xC1;
        write(&store, &looks).await.expect("write");
        assert_eq!(read(&store).await.expect("read"), Some(looks));
    }
}

pub(crate) async fn missing_and_mixed_chunks_are_corrupt(store: Store) {
    let corrupt = |outcome: Result<Option<Vec<u8>>, StoreError>| {
        assert!(
            matches!(outcome, Err(StoreError::Corrupt { .. })),
            "{:?}",
            outcome.map(|record| record.map(|r| r.len()))
        );
    };
    let (size, key) = (3 * CHUNK_BYTES - 10, &key());
    let chunk = |number: u64| PHOTOS.key(&(7_u64, number));
    for number in 0..3 {
        write(&store, &record(6, size)).await.expect("write");
        assert!(store.get(&chunk(number)).await.is_some());
        let (missing, of_another) = (&chunk(number), record(7, size));
        let piece = of_another.chunks(CHUNK_BYTES).nth(number as usize).expect("a piece");
        store.metadata.transact("mix", |tx| async move { tx.set(missing, piece) }).await.expect("mix");
        corrupt(read(&store).await);
        store.metadata.transact("lose", |tx| async move { tx.clear(missing) }).await.expect("lose");
        corrupt(read(&store).await);
    }
    write(&store, &record(6, size)).await.expect("write");
    store.set(&chunk(3), b"one more").await;
    corrupt(read(&store).await);
    // Without its head it is not there at all; nothing can be half there.
    store.metadata.transact("behead", |tx| async move { tx.clear(key) }).await.expect("behead");
    assert_eq!(read(&store).await.expect("nothing"), None);
}

/// Two that write one large record at once do not mix.
pub(crate) async fn large_records_are_written_whole(store: Store) {
    let (one, other) = (&record(8, 4 * CHUNK_BYTES), &record(9, 2 * CHUNK_BYTES));
    let key = &key();
    let put = |record: &'static [u8]| {
        move |tx: Transaction| async move { chunks::write(&tx, &self::key(), record).await }
    };
    let (one_kept, other_kept): (&'static [u8], &'static [u8]) =
        (Box::leak(one.clone().into_boxed_slice()), Box::leak(other.clone().into_boxed_slice()));
    assert_eq!(
        store.attempts(put(one_kept), put(other_kept)).await,
        2,
        "the key is read before it is written"
    );
    assert!(read(&store).await.expect("read").as_ref() == Some(one), "the victim commits last");
    // A reader that has seen the head sees the chunks of that moment.
    let metadata = &store.metadata;
    let torn = metadata.read("torn", |tx| async move {
        tx.get(key).await?;
        metadata.transact("rival", |tx| async move { chunks::write(&tx, key, other).await }).await?;
        chunks::read(&tx, key).await
    });
    assert!(torn.await.expect("torn").as_ref() == Some(one));
    assert!(read(&store).await.expect("read").as_ref() == Some(other));
}
