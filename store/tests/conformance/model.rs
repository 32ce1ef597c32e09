//! Random transactions against a map, alone and at once. The seed is printed with a failure; `SEED` in the
//! environment repeats it.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use darkroom_store::error::StoreError;
use darkroom_store::metadata::{
    KEY_BYTES_MAX, KeyRange, Metadata, RangeOptions, Transaction, VALUE_BYTES_MAX, Watch,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::{Store, integer};

type Map = BTreeMap<Vec<u8>, Vec<u8>>;
type Rows = Vec<(Vec<u8>, Vec<u8>)>;

/// One step of a transaction.
#[derive(Debug, Clone)]
enum Step {
    Get(Vec<u8>),
    GetRange(KeyRange, RangeOptions),
    Set(Vec<u8>, Vec<u8>),
    Clear(Vec<u8>),
    ClearRange(KeyRange),
    Add(Vec<u8>, i64),
    Max(Vec<u8>, u64),
}

pub(crate) fn random_generator(test: &str) -> StdRng {
    let seed = std::env::var("SEED").map_or_else(|_| rand::random(), |seed| seed.parse().expect("a number"));
    println!("{test}: SEED={seed}");
    StdRng::seed_from_u64(seed)
}

/// Few keys, so that transactions meet, with the bytes at which order goes wrong.
fn random_key(random: &mut StdRng) -> Vec<u8> {
    const BYTES: [u8; 5] = [0x00, 0x01, b'a', b'b', 0xFF];
    let mut key = vec![b'k'];
    for _ in 0..random.random_range(0..3) {
        key.push(BYTES[random.random_range(0..BYTES.len())]);
    }
    key
}

fn random_range(random: &mut StdRng) -> KeyRange {
    KeyRange::new(random_key(random), random_key(random))
}

fn random_step(random: &mut StdRng) -> Step {
    let key = random_key(random);
    match random.random_range(0..12) {
        0..3 => Step::Get(key),
        3..6 => {
            let limit = if random.random() { usize::MAX } else { random.random_range(0..6) };
            let options = RangeOptions { limit, reverse: random.random(), snapshot: random.random() };
            Step::GetRange(random_range(random), options)
        }
        6..8 => Step::Set(key, (0..random.random_range(0..12)).map(|_| random.random()).collect()),
        8 => Step::Clear(key),
        9 => Step::ClearRange(random_range(random)),
        10 => Step::Add(key, random.random_range(-300..300)),
        _ => Step::Max(key, random.random_range(0..100_000)),
    }
}

fn random_steps(random: &mut StdRng) -> Vec<Step> {
    (0..random.random_range(1..8)).map(|_| random_step(random)).collect()
}

/// How a transaction ends, after its steps.
#[derive(Debug, Clone)]
enum Ending {
    Plain,
    /// Given up: nothing of it may be seen.
    GivenUp,
    /// Asks for what is over a limit, which is refused and changes nothing of the rest.
    OverLimit(Vec<u8>),
    /// Writes a key that holds the versionstamp.
    StampedKey(Vec<u8>, Vec<u8>),
    /// Writes a value that holds it.
    StampedValue(Vec<u8>, Vec<u8>),
}

/// Where a transaction with a versionstamp leaves it for the test.
const STAMP: &[u8] = b"stamp";

fn random_ending(random: &mut StdRng) -> Ending {
    let key = random_key(random);
    match random.random_range(0..10) {
        0 | 1 => Ending::GivenUp,
        2 => Ending::OverLimit(key),
        3 => Ending::StampedKey(key, vec![random.random()]),
        4 => Ending::StampedValue(key, vec![random.random()]),
        _ => Ending::Plain,
    }
}

/// Ends a transaction of the store so.
async fn end_in_store(tx: &Transaction, ending: &Ending) -> Result<(), StoreError> {
    match ending {
        Ending::Plain => Ok(()),
        Ending::GivenUp => Err(StoreError::Closed),
        Ending::OverLimit(key) => {
            let long = [&key[..], &vec![0; KEY_BYTES_MAX]].concat();
            assert!(matches!(tx.set(&long, b""), Err(StoreError::KeyTooLarge { .. })));
            assert!(matches!(tx.get(&long).await, Err(StoreError::KeyTooLarge { .. })));
            let large = vec![0; VALUE_BYTES_MAX + 1];
            assert!(matches!(tx.set(key, &large), Err(StoreError::ValueTooLarge { .. })));
            Ok(())
        }
        Ending::StampedKey(prefix, suffix) => {
            tx.set_versionstamped_key(prefix, suffix, b"stamped")?;
            end_with_stamp(tx)
        }
        Ending::StampedValue(key, around) => {
            tx.set_versionstamped_value(key, around, around)?;
            end_with_stamp(tx)
        }
    }
}

fn end_with_stamp(tx: &Transaction) -> Result<(), StoreError> {
    tx.set_versionstamped_value(STAMP, b"", b"")
}

/// Ends it in a map, now that the stamp is known.
fn end_in_map(map: &mut Map, ending: &Ending, stamp: Option<Vec<u8>>) {
    let Some(stamp) = stamp else { return };
    match ending {
        Ending::StampedKey(prefix, suffix) => {
            map.insert([&prefix[..], &stamp, suffix].concat(), b"stamped".to_vec());
        }
        Ending::StampedValue(key, around) => {
            map.insert(key.clone(), [&around[..], &stamp, around].concat());
        }
        Ending::Plain | Ending::GivenUp | Ending::OverLimit(_) => return,
    }
    map.insert(STAMP.to_vec(), stamp);
}

/// Watches that wait, each with its key and what it saw there.
#[derive(Default)]
struct Watching(Vec<(Vec<u8>, Option<Vec<u8>>, Watch)>);

impl Watching {
    async fn begin(&mut self, store: &Store, key: Vec<u8>) {
        let watched = &key;
        let watch = |tx: Transaction| async move { Ok((tx.get(watched).await?, tx.watch(watched)?)) };
        let (seen, watch) = store.metadata.read("watch", watch).await.expect("watch");
        self.0.push((key, seen, watch));
    }

    /// Those whose keys have changed, and stay so while nobody writes, end.
    async fn end_where_changed(&mut self, map: &Map) {
        for (key, seen, watch) in std::mem::take(&mut self.0) {
            if map.get(&key) == seen.as_ref() {
                self.0.push((key, seen, watch));
            } else {
                tokio::time::timeout(PATIENCE, watch).await.expect("the watch of a changed key ends");
            }
        }
    }
}

/// Far longer than any change takes to be told.
const PATIENCE: Duration = Duration::from_secs(20);

/// Takes `steps` in a map, and answers what they saw.
fn take_in_map(map: &mut Map, steps: &[Step]) -> Vec<Rows> {
    steps.iter().map(|step| take_one_in_map(map, step)).collect()
}

fn take_one_in_map(map: &mut Map, step: &Step) -> Rows {
    let padded = |map: &Map, key: &[u8]| {
        let mut bytes = map.get(key).cloned().unwrap_or_default();
        bytes.resize(8, 0);
        u64::from_le_bytes(bytes.try_into().expect("8 bytes"))
    };
    match step {
        Step::Get(key) => {
            return map.get_key_value(key).map(|(k, v)| (k.clone(), v.clone())).into_iter().collect();
        }
        Step::GetRange(range, options) => {
            let inside =
                map.iter().filter(|(key, _)| range.contains(key)).map(|(k, v)| (k.clone(), v.clone()));
            let mut inside: Rows = inside.collect();
            if options.reverse {
                inside.reverse();
            }
            inside.truncate(options.limit);
            return inside;
        }
        Step::Set(key, value) => drop(map.insert(key.clone(), value.clone())),
        Step::Clear(key) => drop(map.remove(key)),
        Step::ClearRange(range) => map.retain(|key, _| !range.contains(key)),
        Step::Add(key, delta) => {
            let sum = padded(map, key).wrapping_add_signed(*delta);
            map.insert(key.clone(), sum.to_le_bytes().to_vec());
        }
        Step::Max(key, value) => {
            let max = padded(map, key).max(*value);
            map.insert(key.clone(), max.to_le_bytes().to_vec());
        }
    }
    Rows::new()
}

/// Takes `steps` in a transaction, and answers what they saw.
async fn take_in_store(tx: &Transaction, steps: &[Step]) -> Result<Vec<Rows>, StoreError> {
    let mut seen = Vec::new();
    for step in steps {
        let mut rows = Rows::new();
        match step {
            Step::Get(key) => rows.extend(tx.get(key).await?.map(|value| (key.clone(), value))),
            Step::GetRange(range, options) => rows = tx.get_range(range, *options).await?,
            Step::Set(key, value) => tx.set(key, value)?,
            Step::Clear(key) => tx.clear(key)?,
            Step::ClearRange(range) => tx.clear_range(range)?,
            Step::Add(key, delta) => tx.atomic_add(key, *delta)?,
            Step::Max(key, value) => tx.atomic_max(key, *value)?,
        }
        seen.push(rows);
    }
    Ok(seen)
}

/// Thousands of transactions, one after the other: some given up, some refused for a limit, some with versionstamps;
/// with watches that end, and the store reopened now and then.
pub(crate) async fn random_transactions_agree_with_a_map(mut store: Store) {
    const TRANSACTIONS: u32 = 3_000;
    let mut random = random_generator("random_transactions_agree_with_a_map");
    let (mut map, mut watching, mut last_stamp) = (Map::new(), Watching::default(), Vec::new());
    for number in 0..TRANSACTIONS {
        let (steps, ending) = (random_steps(&mut random), random_ending(&mut random));
        let (taken, ended) = (&steps, &ending);
        let mut expected = map.clone();
        let expected_seen = take_in_map(&mut expected, &steps);
        let expected_seen = &expected_seen;
        let transaction = |tx: Transaction| async move {
            let seen = take_in_store(&tx, taken).await?;
            assert_eq!(seen, *expected_seen, "transaction {number}: {taken:?}");
            end_in_store(&tx, ended).await
        };
        match store.metadata.transact("random", transaction).await {
            Ok(()) => {
                let stamped = matches!(ending, Ending::StampedKey(..) | Ending::StampedValue(..));
                let stamp = if stamped { store.get(STAMP).await } else { None };
                if let Some(stamp) = &stamp {
                    assert!(*stamp > last_stamp, "transaction {number}: stamps ascend");
                    last_stamp.clone_from(stamp);
                }
                end_in_map(&mut expected, &ending, stamp);
                map = expected;
            }
            Err(StoreError::Closed) => assert!(matches!(ending, Ending::GivenUp), "transaction {number}"),
            Err(error) => panic!("transaction {number}: {error}"),
        }
        if number % 20 == 7 {
            watching.begin(&store, random_key(&mut random)).await;
        }
        if number % 50 == 49 {
            assert_eq!(store.all().await, map.clone().into_iter().collect::<Rows>(), "after {number}");
            watching.end_where_changed(&map).await;
        }
        if number % 500 == 499 {
            // They end with the store that they watched.
            watching = Watching::default();
            store = store.reopen().await;
        }
    }
}

/// Many tasks run random transactions at once. Each also appends its number to a log in the order of commits;
/// taken again in that order on a map, every one must have seen exactly what it saw in the store.
pub(crate) async fn concurrent_history_is_serializable(store: Store) {
    const TASKS: u32 = 16;
    const TRANSACTIONS: u32 = 100;
    let mut random = random_generator("concurrent_history_is_serializable");
    let tasks = (0..TASKS).map(|task| {
        let (metadata, random) = (store.metadata.clone(), StdRng::from_rng(&mut random));
        tokio::spawn(run_history(metadata, task, TRANSACTIONS, random))
    });
    let mut history = HashMap::new();
    for task in tasks.collect::<Vec<_>>() {
        history.extend(task.await.expect("task"));
    }

    let mut map = Map::new();
    let log = KeyRange::prefix(*b"log");
    let rows = store.all().await;
    for (_, number) in rows.iter().filter(|(key, _)| log.contains(key)) {
        let (steps, seen) = history.remove(number).expect("logged once");
        assert_eq!(take_in_map(&mut map, &steps), seen, "{steps:?}");
    }
    assert!(history.is_empty(), "all are in the log");
    let left: Rows = rows.into_iter().filter(|(key, _)| !log.contains(key)).collect();
    assert_eq!(left, map.into_iter().collect::<Rows>());
}

type History = Vec<(Vec<u8>, (Vec<Step>, Vec<Rows>))>;

async fn run_history(metadata: Metadata, task: u32, transactions: u32, mut random: StdRng) -> History {
    let mut history = History::new();
    for turn in 0..transactions {
        let number = &[task.to_be_bytes(), turn.to_be_bytes()].concat();
        let mut steps = random_steps(&mut random);
        // A snapshot read promises nothing about the order of commits.
        for step in &mut steps {
            if let Step::GetRange(_, options) = step {
                options.snapshot = false;
            }
        }
        let taken = &steps;
        let transaction = |tx: Transaction| async move {
            tx.set_versionstamped_key(b"log", b"", number)?;
            take_in_store(&tx, taken).await
        };
        let seen = metadata.transact("history", transaction).await.expect("history");
        history.push((number.clone(), (steps, seen)));
    }
    history
}

/// Transfers between few accounts, with auditors who must find the same sum at any time.
pub(crate) async fn money_is_neither_made_nor_lost(store: Store) {
    const ACCOUNTS: u8 = 8;
    const SUM: i64 = 8 * 100;
    for account in 0..ACCOUNTS {
        store.set(&[b'a', account], &integer(100)).await;
    }
    let mut random = random_generator("money_is_neither_made_nor_lost");
    let transfers = (0..12).map(|_| {
        let (metadata, mut random) = (store.metadata.clone(), StdRng::from_rng(&mut random));
        tokio::spawn(async move {
            for _ in 0..40 {
                let from = [b'a', random.random_range(0..ACCOUNTS)];
                let to = [b'a', random.random_range(0..ACCOUNTS)];
                let amount = random.random_range(1..50);
                let transfer = |tx: Transaction| async move { transfer(&tx, &from, &to, amount).await };
                metadata.transact("transfer", transfer).await.expect("transfer");
            }
        })
    });
    let transfers: Vec<_> = transfers.collect();
    while !transfers.iter().all(tokio::task::JoinHandle::is_finished) {
        assert_eq!(audit(&store.metadata).await, SUM);
    }
    for transfer in transfers {
        transfer.await.expect("task");
    }
    assert_eq!(audit(&store.metadata).await, SUM);
}

async fn transfer(tx: &Transaction, from: &[u8], to: &[u8], amount: i64) -> Result<(), StoreError> {
    let balance =
        |value: Option<Vec<u8>>| i64::from_le_bytes(value.expect("an account").try_into().expect("8 bytes"));
    let available = balance(tx.get(from).await?);
    if available < amount {
        return Ok(());
    }
    tx.set(from, &integer(available - amount))?;
    // Read after the write, so that a transfer to oneself counts.
    let received = balance(tx.get(to).await?) + amount;
    tx.set(to, &integer(received))
}

async fn audit(metadata: &Metadata) -> i64 {
    let accounts = KeyRange::prefix(*b"a");
    let accounts = &accounts;
    let read = |tx: Transaction| async move { tx.get_range(accounts, RangeOptions::default()).await };
    let rows = metadata.read("audit", read).await.expect("audit");
    rows.into_iter().map(|(_, value)| i64::from_le_bytes(value.try_into().expect("8 bytes"))).sum()
}
