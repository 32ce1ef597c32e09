//! The anomalies of the Hermitage list (Martin Kleppmann, <https://github.com/ept/hermitage>), by its names. None may
//! happen. Interleaving means here: one transaction runs whole between what another one did and its commit, or two
//! commit at once.

use darkroom_store::error::StoreError;
use darkroom_store::metadata::{KeyRange, RangeOptions, Transaction};

use super::Store;

async fn two_rows(store: &Store) {
    store.set(b"1", b"10").await;
    store.set(b"2", b"20").await;
}

async fn value(tx: &Transaction, key: &[u8]) -> Result<String, StoreError> {
    Ok(tx.get(key).await?.map(|value| String::from_utf8(value).expect("text")).unwrap_or_default())
}

async fn both(tx: &Transaction) -> Result<(String, String), StoreError> {
    Ok((value(tx, b"1").await?, value(tx, b"2").await?))
}

async fn stored(store: &Store) -> (String, String) {
    store.metadata.read("both", |tx| async move { both(&tx).await }).await.expect("both")
}

fn pair(one: &str, two: &str) -> (String, String) {
    (one.to_owned(), two.to_owned())
}

/// G0, write cycles: of two that write the same rows at once, one's writes are on top in all of them.
pub(crate) async fn g0_write_cycles(store: Store) {
    two_rows(&store).await;
    for round in 0..20 {
        let write = |who: &'static [u8]| {
            let metadata = store.metadata.clone();
            tokio::spawn(async move {
                let write = |tx: Transaction| async move {
                    // In opposite orders, so that writing them one by one would mix them.
                    let keys: [&[u8]; 2] = if who == b"a" { [b"1", b"2"] } else { [b"2", b"1"] };
                    keys.iter().try_for_each(|key| tx.set(key, who))
                };
                metadata.transact("write", write).await.expect("write");
            })
        };
        let (one, other) = (write(b"a"), write(b"b"));
        one.await.expect("task");
        other.await.expect("task");
        let (one, two) = stored(&store).await;
        assert_eq!(one, two, "round {round}");
    }
}

/// G1a, aborted reads: nobody ever sees what a transaction wrote that was given up.
pub(crate) async fn g1a_aborted_reads(store: Store) {
    two_rows(&store).await;
    let other = &store;
    let given_up: Result<(), _> = store
        .metadata
        .transact("given up", |tx| async move {
            tx.set(b"1", b"101")?;
            assert_eq!(stored(other).await, pair("10", "20"), "not while it runs");
            Err(StoreError::Unavailable { reason: "given up".to_owned() })
        })
        .await;
    assert!(given_up.is_err());
    assert_eq!(stored(&store).await, pair("10", "20"), "and not afterwards");
}

/// G1b, intermediate reads: nobody sees a value that its transaction wrote over before it ended.
pub(crate) async fn g1b_intermediate_reads(store: Store) {
    two_rows(&store).await;
    let other = &store;
    let write = |tx: Transaction| async move {
        tx.set(b"1", b"101")?;
        assert_eq!(stored(other).await, pair("10", "20"));
        tx.set(b"1", b"11")
    };
    store.metadata.transact("write", write).await.expect("write");
    assert_eq!(stored(&store).await, pair("11", "20"));
}

/// G1c, circular information flow: two that each write a row and read the other's do not both miss the other.
pub(crate) async fn g1c_circular_information_flow(store: Store) {
    two_rows(&store).await;
    let victim = |tx: Transaction| async move {
        tx.set(b"1", b"11")?;
        let seen = value(&tx, b"2").await?;
        tx.set(b"seen by the victim", seen.as_bytes())
    };
    let rival = |tx: Transaction| async move {
        tx.set(b"2", b"22")?;
        assert_eq!(value(&tx, b"1").await?, "10", "not committed");
        Ok(())
    };
    assert_eq!(store.attempts(victim, rival).await, 2);
    assert_eq!(store.get(b"seen by the victim").await, Some(b"22".to_vec()));
}

/// OTV, observed transaction vanishes: who has seen one row of a transaction sees all of it until a newer one is seen.
pub(crate) async fn otv_observed_transaction_vanishes(store: Store) {
    two_rows(&store).await;
    let metadata = &store.metadata;
    let set = |one: &'static [u8], two: &'static [u8]| {
        move |tx: Transaction| async move {
            tx.set(b"1", one)?;
            tx.set(b"2", two)
        }
    };
    let watch = metadata.read("watch", |tx| async move {
        let first = value(&tx, b"1").await?;
        metadata.transact("first", set(b"11", b"19")).await?;
        metadata.transact("second", set(b"12", b"18")).await?;
        Ok((first, both(&tx).await?))
    });
    assert_eq!(watch.await.expect("watch"), ("10".to_owned(), pair("10", "20")));
    let watch = metadata.read("watch", |tx| async move {
        let (first, _) = both(&tx).await?;
        metadata.transact("third", set(b"13", b"17")).await?;
        Ok((first, both(&tx).await?))
    });
    assert_eq!(watch.await.expect("watch"), ("12".to_owned(), pair("12", "18")));
}

async fn rows_with(tx: &Transaction, wanted: &str) -> Result<usize, StoreError> {
    let rows = tx.get_range(&KeyRange::all(), RangeOptions::default()).await?;
    Ok(rows.iter().filter(|(_, value)| value == wanted.as_bytes()).count())
}

/// PMP, predicate-many-preceders: a question over a range has the same answer as long as its transaction lives, and one
/// that writes by that answer is run again when it has changed.
pub(crate) async fn pmp_predicate_many_preceders(store: Store) {
    two_rows(&store).await;
    let metadata = &store.metadata;
    let asked_twice = metadata.read("ask twice", |tx| async move {
        let first = rows_with(&tx, "30").await?;
        metadata.transact("insert", |tx| async move { tx.set(b"3", b"30") }).await?;
        Ok((first, rows_with(&tx, "30").await?))
    });
    assert_eq!(asked_twice.await.expect("ask twice"), (0, 0));

    // Write predicate: delete all that are 20, while another makes them 30 and back.
    let delete = |tx: Transaction| async move {
        for (key, value) in tx.get_range(&KeyRange::all(), RangeOptions::default()).await? {
            if value == b"20" {
                tx.clear(&key)?;
            }
        }
        Ok(())
    };
    let raise = |tx: Transaction| async move {
        tx.set(b"1", b"20")?;
        tx.set(b"2", b"30")
    };
    assert_eq!(store.attempts(delete, raise).await, 2);
    assert_eq!(store.get(b"1").await, None, "what is 20 when the deletion takes place");
    assert_eq!(store.get(b"2").await, Some(b"30".to_vec()));
}

/// P4, lost update: two that each add to what they have read both count.
pub(crate) async fn p4_lost_update(store: Store) {
    two_rows(&store).await;
    let add = |by: i32| {
        move |tx: Transaction| async move {
            let number: i32 = value(&tx, b"1").await?.parse().expect("a number");
            tx.set(b"1", (number + by).to_string().as_bytes())
        }
    };
    assert_eq!(store.attempts(add(1), add(5)).await, 2);
    assert_eq!(stored(&store).await, pair("16", "20"));
}

/// G-single, read skew: who reads two rows sees both before a transaction, or both after it; also by a range, and also
/// when it writes.
pub(crate) async fn g_single_read_skew(store: Store) {
    two_rows(&store).await;
    let victim = |tx: Transaction| async move {
        let first = value(&tx, b"1").await?;
        let sum: i32 =
            first.parse::<i32>().expect("a number") + value(&tx, b"2").await?.parse::<i32>().expect("one");
        assert_eq!(sum, 30, "half of the rival's transaction was seen");
        assert_eq!(rows_with(&tx, &first).await?, 1);
        tx.set(b"sum", sum.to_string().as_bytes())
    };
    let rival = |tx: Transaction| async move {
        tx.set(b"1", b"12")?;
        tx.set(b"2", b"18")
    };
    assert_eq!(store.attempts(victim, rival).await, 2);
    // Between the two reads of a reader.
    let metadata = &store.metadata;
    let skew = metadata.read("skew", |tx| async move {
        let first = value(&tx, b"1").await?;
        metadata.transact("rival", |tx| async move { rival_back(&tx) }).await?;
        Ok((first, value(&tx, b"2").await?))
    });
    assert_eq!(skew.await.expect("skew"), pair("12", "18"));
}

fn rival_back(tx: &Transaction) -> Result<(), StoreError> {
    tx.set(b"1", b"10")?;
    tx.set(b"2", b"20")
}

/// G2-item, write skew on rows that were read.
pub(crate) async fn g2_item_write_skew(store: Store) {
    two_rows(&store).await;
    // Each takes 25 from its row while both together hold it.
    let take = |key: &'static [u8]| {
        move |tx: Transaction| async move {
            let (one, two) = both(&tx).await?;
            let (one, two): (i32, i32) = (one.parse().expect("a number"), two.parse().expect("a number"));
            if one + two < 25 {
                return Ok(());
            }
            let mine = if key == b"1" { one } else { two };
            tx.set(key, (mine - 25).to_string().as_bytes())
        }
    };
    assert_eq!(store.attempts(take(b"1"), take(b"2")).await, 2);
    assert_eq!(stored(&store).await, pair("10", "-5"), "only one of them took");
}

/// G2, anti-dependency cycles: write skew on a question over a range, of two and of three.
pub(crate) async fn g2_anti_dependency_cycles(store: Store) {
    two_rows(&store).await;
    let insert = |key: &'static [u8]| {
        move |tx: Transaction| async move {
            // At most one row may be 30.
            if rows_with(&tx, "30").await? == 0 { tx.set(key, b"30") } else { Ok(()) }
        }
    };
    assert_eq!(store.attempts(insert(b"3"), insert(b"4")).await, 2);
    assert_eq!((store.get(b"3").await, store.get(b"4").await), (None, Some(b"30".to_vec())));

    // A reader between two writers, of whom the first has not committed: it must not see the second alone.
    let metadata = &store.metadata;
    let victim = |tx: Transaction| async move {
        let (_, two) = both(&tx).await?;
        tx.set(b"1", two.as_bytes())
    };
    let rival = |tx: Transaction| async move { tx.set(b"2", b"25") };
    assert_eq!(store.attempts(victim, rival).await, 2);
    let seen = metadata.read("seen", |tx| async move { both(&tx).await }).await.expect("seen");
    assert_eq!(seen, pair("25", "25"));
}
