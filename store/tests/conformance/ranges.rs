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

/// The helper that reads page by page: every edge of a page's size, and rows that come and go meanwhile.
pub(crate) async fn pages_need_no_open_transaction(store: Store) {
    let names: Vec<Vec<u8>> = (0..20_u8).map(|index| vec![b'p', index]).collect();
    let written = &names;
    let fill = |tx: Transaction| async move { written.iter().try_for_each(|name| tx.set(name, b"")) };
    store.metadata.transact("fill", fill).await.expect("fill");
    for rows in [1, 3, 19, 20, 21, usize::MAX] {
        let mut pages = store.metadata.pages("pages", KeyRange::prefix(*b"p"), rows);
        let mut found = Vec::new();
        while let Some(page) = pages.next().await.expect("page") {
            assert!(!page.is_empty() && page.len() <= rows, "pages of {rows}");
            found.extend(page.into_iter().map(|(key, _)| key));
        }
        assert_eq!(found, names, "pages of {rows}");
        assert!(pages.next().await.expect("past the end").is_none());
    }
    for nothing in [KeyRange::prefix(*b"q"), KeyRange::new(*b"z", *b"a"), KeyRange::new(*b"p", *b"p")] {
        assert!(store.metadata.pages("nothing", nothing, 5).next().await.expect("page").is_none());
    }

    let mut pages = store.metadata.pages("moving", KeyRange::prefix(*b"p"), 5);
    pages.next().await.expect("page").expect("the first five");
    let change = |tx: Transaction| async move {
        tx.set(&[b'p', 2, 0], b"behind")?;
        tx.clear(&[b'p', 7])?;
        tx.set(&[b'p', 9, 0], b"ahead")
    };
    store.metadata.transact("change", change).await.expect("change");
    let mut rest = Vec::new();
    while let Some(page) = pages.next().await.expect("page") {
        rest.extend(page.into_iter().map(|(key, _)| key));
    }
    let mut expected: Vec<Vec<u8>> = names[5..].iter().filter(|name| name[1] != 7).cloned().collect();
    expected.push(vec![b'p', 9, 0]);
    expected.sort();
    assert_eq!(rest, expected);
}

/// Keys of nothing but 0x00 and 0xFF, the key of no bytes, and what lies just before the end of all keys: each range
/// with each of them as a bound has exactly the rows that the order of bytes says.
pub(crate) async fn every_edge_as_a_bound(store: Store) {
    let edges: [&[u8]; 9] = [
        b"",
        b"\x00",
        b"\x00\x00",
        b"\x00\xFF",
        b"\x01",
        b"\x7F\xFF\x00",
        b"\xFE",
        b"\xFE\x00",
        b"\xFE\xFF\xFF\xFF",
    ];
    fill(&store, &edges).await;
    let ends = edges.into_iter().chain([&b"\xFF"[..]]);
    for (begin, end) in edges.into_iter().flat_map(|begin| ends.clone().map(move |end| (begin, end))) {
        let range = KeyRange::new(begin, end);
        let inside: Vec<Vec<u8>> =
            edges.iter().filter(|key| begin <= **key && **key < end).map(|key| key.to_vec()).collect();
        let mut reversed = inside.clone();
        reversed.reverse();
        assert_eq!(keys(&store, &range, RangeOptions::default()).await, inside, "{range:?}");
        assert_eq!(keys(&store, &range, RangeOptions::last(usize::MAX)).await, reversed, "{range:?}");
        // One less than there are, exactly as many, and one more.
        for limit in inside.len().saturating_sub(1)..inside.len() + 2 {
            let most = limit.min(inside.len());
            assert_eq!(keys(&store, &range, RangeOptions::first(limit)).await, inside[..most], "{range:?}");
            assert_eq!(keys(&store, &range, RangeOptions::last(limit)).await, reversed[..most], "{range:?}");
        }
    }
}
