//! Reading ranges: their edges, both directions, limits, and own writes in between.

use darkroom_store::metadata::{KeyRange, RangeOptions, Transaction};

use super::{Store, rows};

/// The keys of a range, as a reader sees them.
async fn keys(store: &Store, range: &KeyRange, options: RangeOptions) -> Vec<Vec<u8>> {
    let found = store.metadata.read("keys", |tx| async move { tx.get_range(range, options).await });
    found.await.expect("range").into_iter().map(|(key, _)| key).collect()
}

async fn fill(store: &Store, keys: &[&[u8]]) {
    for key in keys {
        store.set(key, key).await;
    }
}

pub(crate) async fn empty_ranges(store: Store) {
    fill(&store, &[b"a", b"b", b"c"]).await;
    let nothing: Vec<Vec<u8>> = Vec::new();
    for options in [RangeOptions::default(), RangeOptions::last(10)] {
        assert_eq!(keys(&store, &KeyRange::new(*b"b", *b"b"), options).await, nothing, "no width");
        assert_eq!(keys(&store, &KeyRange::new(*b"c", *b"a"), options).await, nothing, "inverted");
        assert_eq!(keys(&store, &KeyRange::new(*b"aa", *b"az"), options).await, nothing, "nothing inside");
        assert_eq!(keys(&store, &KeyRange::prefix(*b"d"), options).await, nothing, "after all");
    }
    assert_eq!(keys(&store, &KeyRange::all(), RangeOptions::first(0)).await, nothing, "no limit left");
    let clear = |tx: Transaction| async move {
        tx.set(b"bb", b"own")?;
        tx.clear_range(&KeyRange::new(*b"c", *b"a"))?;
        let inverted = KeyRange::new(*b"c", *b"a");
        assert!(tx.get_range(&inverted, RangeOptions::default()).await?.is_empty());
        Ok(())
    };
    store.metadata.transact("clear", clear).await.expect("clear");
    assert_eq!(store.all().await.len(), 4, "an inverted range clears nothing");
}

pub(crate) async fn both_directions_and_limits(store: Store) {
    fill(&store, &[b"a", b"b", b"c", b"d"]).await;
    let range = KeyRange::new(*b"a", *b"d");
    let expect = |names: &[&[u8]]| names.iter().map(|name| name.to_vec()).collect::<Vec<_>>();
    assert_eq!(keys(&store, &range, RangeOptions::default()).await, expect(&[b"a", b"b", b"c"]));
    assert_eq!(keys(&store, &range, RangeOptions::last(usize::MAX)).await, expect(&[b"c", b"b", b"a"]));
    assert_eq!(keys(&store, &range, RangeOptions::first(2)).await, expect(&[b"a", b"b"]));
    assert_eq!(keys(&store, &range, RangeOptions::last(2)).await, expect(&[b"c", b"b"]));
    assert_eq!(keys(&store, &range, RangeOptions::first(3)).await.len(), 3, "exactly the limit");
    assert_eq!(keys(&store, &range, RangeOptions::first(4)).await.len(), 3, "more than there are");
}

pub(crate) async fn bytes_at_the_edges(store: Store) {
    let edges: [&[u8]; 8] =
        [b"", b"\x00", b"\x00\x00", b"\x00\xFF", b"a", b"a\x00", b"a\xFF", b"\xFE\xFF\xFF"];
    fill(&store, &edges).await;
    let sorted: Vec<Vec<u8>> = edges.iter().map(|key| key.to_vec()).collect();
    let mut reversed = sorted.clone();
    reversed.reverse();
    assert_eq!(keys(&store, &KeyRange::all(), RangeOptions::default()).await, sorted);
    assert_eq!(keys(&store, &KeyRange::all(), RangeOptions::last(100)).await, reversed);
    assert_eq!(keys(&store, &KeyRange::prefix(*b"a"), RangeOptions::default()).await, sorted[4..7]);
    assert_eq!(keys(&store, &KeyRange::single(b"a"), RangeOptions::default()).await, sorted[4..5]);
    assert_eq!(keys(&store, &KeyRange::prefix([0]), RangeOptions::default()).await, sorted[1..4]);
    assert_eq!(keys(&store, &KeyRange::prefix([0xFE, 0xFF]), RangeOptions::default()).await, sorted[7..]);
    for key in edges {
        assert_eq!(store.get(key).await.as_deref(), Some(key));
    }
    let clear = |tx: Transaction| async move { tx.clear_range(&KeyRange::new(*b"\x00\x00", *b"a\x00")) };
    store.metadata.transact("clear", clear).await.expect("clear");
    let left: [&[u8]; 5] = [b"", b"\x00", b"a\x00", b"a\xFF", b"\xFE\xFF\xFF"];
    let left: Vec<Vec<u8>> = left.iter().map(|key| key.to_vec()).collect();
    assert_eq!(keys(&store, &KeyRange::all(), RangeOptions::default()).await, left);
}

pub(crate) async fn own_writes_between_stored_rows(store: Store) {
    fill(&store, &[b"b", b"d", b"f"]).await;
    let mix = |tx: Transaction| async move {
        tx.set(b"a", b"own")?;
        tx.set(b"d", b"own")?;
        tx.clear(b"f")?;
        tx.set(b"g", b"own")?;
        let all = KeyRange::all();
        let seen = rows(&[(b"a", b"own"), (b"b", b"b"), (b"d", b"own"), (b"g", b"own")]);
        let reversed: Vec<_> = seen.iter().rev().cloned().collect();
        assert_eq!(tx.get_range(&all, RangeOptions::default()).await?, seen);
        assert_eq!(tx.get_range(&all, RangeOptions::last(100)).await?, reversed);
        assert_eq!(tx.get_range(&all, RangeOptions::first(2)).await?, seen[..2]);
        assert_eq!(tx.get_range(&all, RangeOptions::last(2)).await?, reversed[..2]);
        Ok(())
    };
    store.metadata.transact("mix", mix).await.expect("mix");
}

pub(crate) async fn pages_cover_a_range(store: Store) {
    let names: Vec<Vec<u8>> = (0..25_u8).map(|index| vec![b'p', index]).collect();
    let names_read = &names;
    let fill = |tx: Transaction| async move { names_read.iter().try_for_each(|name| tx.set(name, b"")) };
    store.metadata.transact("fill", fill).await.expect("fill");

    let mut forward = Vec::new();
    let mut left = KeyRange::prefix(*b"p");
    loop {
        let page = keys(&store, &left, RangeOptions::first(5)).await;
        let Some(last) = page.last() else { break };
        left = left.after(last);
        forward.extend(page);
    }
    assert_eq!(forward, names);

    let mut backward = Vec::new();
    let mut left = KeyRange::prefix(*b"p");
    loop {
        let page = keys(&store, &left, RangeOptions::last(7)).await;
        let Some(last) = page.last() else { break };
        left = left.before(last);
        backward.extend(page);
    }
    backward.reverse();
    assert_eq!(backward, names);
}
