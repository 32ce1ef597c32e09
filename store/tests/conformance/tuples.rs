//! Keys are tuples: the order of their bytes is the order of what is in them.

use std::cmp::Ordering;

use darkroom_store::metadata::{RangeOptions, Transaction};
use darkroom_store::model::subspaces::{JOBS_BY_VESTING, PHOTOS_BY_OWNER};
use foundationdb_tuple::{Element, pack, unpack};
use rand::Rng;
use rand::rngs::StdRng;
use uuid::Uuid;

use super::Store;
use super::model::random_generator;

fn random_bytes(random: &mut StdRng) -> Vec<u8> {
    // The bytes at which escaping goes wrong.
    const BYTES: [u8; 6] = [0x00, 0x01, 0x7F, 0x80, 0xFE, 0xFF];
    (0..random.random_range(0..5)).map(|_| BYTES[random.random_range(0..BYTES.len())]).collect()
}

fn random_text(random: &mut StdRng) -> String {
    const CHARS: [char; 6] = ['\0', 'a', 'b', 'ß', '\u{7FF}', '\u{10FFFF}'];
    (0..random.random_range(0..5)).map(|_| CHARS[random.random_range(0..CHARS.len())]).collect()
}

/// Numbers of every length, and those beside where the length changes.
fn random_number(random: &mut StdRng) -> i64 {
    let power = 1_i64 << random.random_range(0..63);
    let near = power.wrapping_add(random.random_range(-2..3));
    if random.random() { near } else { near.wrapping_neg() }
}

fn random_element(random: &mut StdRng, depth: u32) -> Element<'static> {
    match random.random_range(0..if depth < 2 { 8 } else { 7 }) {
        0 => Element::Nil,
        1 => Element::Bytes(random_bytes(random).into()),
        2 => Element::String(random_text(random).into()),
        3 | 4 => Element::Int(random_number(random)),
        5 => Element::Bool(random.random()),
        6 => Element::Uuid(Uuid::from_u128(random.random())),
        _ => Element::Tuple(random_tuple(random, depth + 1)),
    }
}

fn random_tuple(random: &mut StdRng, depth: u32) -> Vec<Element<'static>> {
    (0..random.random_range(0..4)).map(|_| random_element(random, depth)).collect()
}

/// The order that a tuple promises, written down again: kinds in the order of their codes, then by content.
fn order(one: &Element<'_>, other: &Element<'_>) -> Ordering {
    let kind = |element: &Element<'_>| match element {
        Element::Nil => 0,
        Element::Bytes(_) => 1,
        Element::String(_) => 2,
        Element::Tuple(_) => 3,
        Element::Int(_) => 4,
        Element::Bool(_) => 5,
        Element::Uuid(_) => 6,
        other => panic!("{other:?} is not made here"),
    };
    match (one, other) {
        (Element::Bytes(one), Element::Bytes(other)) => one.as_ref().cmp(other.as_ref()),
        (Element::String(one), Element::String(other)) => one.as_bytes().cmp(other.as_bytes()),
        (Element::Tuple(one), Element::Tuple(other)) => order_of_tuples(one, other),
        (Element::Int(one), Element::Int(other)) => one.cmp(other),
        (Element::Bool(one), Element::Bool(other)) => one.cmp(other),
        (Element::Uuid(one), Element::Uuid(other)) => one.as_bytes().cmp(other.as_bytes()),
        _ => kind(one).cmp(&kind(other)),
    }
}

fn order_of_tuples(one: &[Element<'_>], other: &[Element<'_>]) -> Ordering {
    let differs = one.iter().zip(other).map(|(one, other)| order(one, other)).find(|order| order.is_ne());
    differs.unwrap_or_else(|| one.len().cmp(&other.len()))
}

/// Random tuples, stored in a random order, are read in that of their content, and come back as they were.
pub(crate) async fn byte_order_is_tuple_order(store: Store) {
    let mut random = random_generator("byte_order_is_tuple_order");
    let mut tuples: Vec<Vec<Element<'static>>> = (0..400).map(|_| random_tuple(&mut random, 0)).collect();
    // Tuples that begin alike are where order is hard.
    for at in 0..200 {
        let mut longer = tuples[at].clone();
        longer.push(random_element(&mut random, 0));
        tuples.push(longer);
    }
    let keys: Vec<Vec<u8>> = tuples.iter().map(pack).collect();
    for piece in keys.chunks(100) {
        let fill = |tx: Transaction| async move { piece.iter().try_for_each(|key| tx.set(key, b"")) };
        store.metadata.transact("fill", fill).await.expect("fill");
    }
    tuples.sort_by(|one, other| order_of_tuples(one, other));
    tuples.dedup_by(|one, other| order_of_tuples(one, other).is_eq());
    let stored = store.all().await;
    assert_eq!(stored.len(), tuples.len(), "equal tuples are one key, and no others");
    for ((key, _), tuple) in stored.iter().zip(&tuples) {
        let found: Vec<Element<'_>> = unpack(key).expect("a tuple");
        assert!(order_of_tuples(&found, tuple).is_eq(), "{found:?} stands where {tuple:?} should");
    }
}

/// What the model's subspaces are for: due jobs in the order of their class and time, an owner's photos by theirs, and
/// the owner `a` without those of `a` and a zero byte.
pub(crate) async fn subspaces_keep_their_order(store: Store) {
    let ids: Vec<Uuid> = (0..3).map(|_| Uuid::now_v7()).collect();
    let expected = vec![
        PHOTOS_BY_OWNER.key(&("a", ids[0])),
        PHOTOS_BY_OWNER.key(&("a", ids[1])),
        PHOTOS_BY_OWNER.key(&("a\0", ids[2])),
        PHOTOS_BY_OWNER.key(&("b", ids[0])),
        JOBS_BY_VESTING.key(&(0_u64, 255_u64, ids[1])),
        JOBS_BY_VESTING.key(&(0_u64, 256_u64, ids[0])),
        JOBS_BY_VESTING.key(&(2_u64, 0_u64, ids[0])),
    ];
    for key in expected.iter().rev() {
        store.set(key, b"").await;
    }
    let stored: Vec<_> = store.all().await.into_iter().map(|(key, _)| key).collect();
    assert_eq!(stored, expected);
    let range = PHOTOS_BY_OWNER.range(&("a",));
    let range = &range;
    let own =
        store.metadata.read("own", |tx| async move { tx.get_range(range, RangeOptions::default()).await });
    assert_eq!(own.await.expect("own").len(), 2);
}
