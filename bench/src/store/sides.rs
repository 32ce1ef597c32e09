//! The stores that are measured, behind one interface.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use darkroom_store::metadata::{EmbeddedOptions, Metadata};
use redb::{Database, TableDefinition};
use tokio::sync::{mpsc, oneshot};

/// Bytes of a row's value.
const VALUE: [u8; 200] = [7; 200];
/// Rows that a transaction writes.
const WRITES: u64 = 3;
/// Transactions of a writer before it comes back to its first keys: so the store does not grow without end, and is larger
/// than what was just written.
const TURNS: u64 = 2_000;
/// Most transactions that redb gets in one commit: as many as the embedded engine takes.
const GROUP_MAX: usize = 8192;
const TABLE: TableDefinition<'static, &'static [u8], &'static [u8]> = TableDefinition::new("rows");

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Embedded,
    EmbeddedWithoutSync,
    Redb,
}

impl Kind {
    pub(super) const ALL: [Self; 3] = [Self::Embedded, Self::EmbeddedWithoutSync, Self::Redb];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::EmbeddedWithoutSync => "embedded, no sync",
            Self::Redb => "redb, batched",
        }
    }
}

/// An open store. Clones mean the same.
#[derive(Clone)]
pub(super) enum Side {
    Embedded(Metadata),
    Redb(Redb),
}

impl Side {
    pub(super) async fn open(kind: Kind, home: &Path) -> anyhow::Result<Self> {
        let unsafe_no_sync = kind == Kind::EmbeddedWithoutSync;
        match kind {
            Kind::Redb => Redb::open(home).map(Self::Redb),
            Kind::Embedded | Kind::EmbeddedWithoutSync => {
                let options = EmbeddedOptions { unsafe_no_sync, ..EmbeddedOptions::default() };
                Ok(Self::Embedded(Metadata::open_embedded(home, options).await?))
            }
        }
    }

    /// Reads one row and writes three; returns when they are durable.
    pub(super) async fn transact(&self, writer: u64, turn: u64) -> anyhow::Result<()> {
        match self {
            Self::Embedded(metadata) => {
                let transaction = |tx: darkroom_store::metadata::Transaction| async move {
                    tx.get(&key(writer, turn, 0)).await?;
                    (0..WRITES).try_for_each(|row| tx.set(&key(writer, turn, row), &VALUE))
                };
                Ok(metadata.transact("measure", transaction).await?)
            }
            Self::Redb(redb) => redb.transact(writer, turn).await,
        }
    }

    /// Whether a transaction's rows are there.
    #[cfg(test)]
    pub(super) async fn holds(&self, writer: u64, turn: u64) -> anyhow::Result<bool> {
        let last = key(writer, turn, WRITES - 1);
        Ok(match self {
            Self::Embedded(metadata) => {
                let last = &last;
                metadata.read("holds", |tx| async move { tx.get(last).await }).await?.is_some()
            }
            Self::Redb(redb) => {
                use redb::ReadableDatabase;
                let table = redb.database.begin_read()?.open_table(TABLE)?;
                redb::ReadableTable::get(&table, &last[..])?.is_some()
            }
        })
    }

    /// How many transactions shared a sync, where the store tells.
    pub(super) fn transactions_per_sync(&self) -> Option<f64> {
        match self {
            Self::Embedded(metadata) => {
                let stats = metadata.stats();
                Some(stats.commits as f64 / stats.groups.max(1) as f64)
            }
            Self::Redb(_) => None,
        }
    }

    pub(super) async fn close(self) {
        if let Self::Embedded(metadata) = self {
            metadata.close().await;
        }
    }
}

/// Keys of one writer lie together, as those of one photo do.
fn key(writer: u64, turn: u64, row: u64) -> [u8; 24] {
    let mut key = [0; 24];
    key[..8].copy_from_slice(&writer.to_be_bytes());
    key[8..16].copy_from_slice(&(turn % TURNS).to_be_bytes());
    key[16..].copy_from_slice(&row.to_be_bytes());
    key
}

/// redb behind a thread that commits all that wait in one of its transactions, with one sync. Nobody checks conflicts
/// here: redb's one writer makes them impossible.
#[derive(Clone)]
pub(super) struct Redb {
    inbox: mpsc::Sender<Waiting>,
    #[cfg_attr(not(test), expect(dead_code, reason = "kept open; read by the test"))]
    database: Arc<Database>,
}

/// A transaction that waits, and whom to tell.
struct Waiting {
    writer: u64,
    turn: u64,
    done: oneshot::Sender<()>,
}

impl Redb {
    fn open(home: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(home)?;
        let database = Arc::new(Database::create(home.join("redb")).context("could not create redb's file")?);
        let (inbox, waiting) = mpsc::channel(GROUP_MAX);
        let theirs = Arc::clone(&database);
        std::thread::Builder::new()
            .name("redb-writer".to_owned())
            .spawn(move || commit_groups(&theirs, waiting))?;
        Ok(Self { inbox, database })
    }

    async fn transact(&self, writer: u64, turn: u64) -> anyhow::Result<()> {
        let (done, answer) = oneshot::channel();
        self.inbox.send(Waiting { writer, turn, done }).await.ok().context("redb's thread has ended")?;
        answer.await.context("redb could not commit")
    }
}

/// Until nobody can ask any more, or redb fails: then those who wait are told by their dropped channels.
fn commit_groups(database: &Database, mut inbox: mpsc::Receiver<Waiting>) {
    while let Some(first) = inbox.blocking_recv() {
        let mut group = vec![first];
        while group.len() < GROUP_MAX {
            let Ok(next) = inbox.try_recv() else { break };
            group.push(next);
        }
        if let Err(error) = commit_group(database, &group) {
            eprintln!("redb: {error:#}");
            return;
        }
        for waiting in group {
            // Whoever has stopped waiting need not know.
            let _ = waiting.done.send(());
        }
    }
}

fn commit_group(database: &Database, group: &[Waiting]) -> anyhow::Result<()> {
    let transaction = database.begin_write()?;
    {
        let mut table = transaction.open_table(TABLE)?;
        for Waiting { writer, turn, .. } in group {
            redb::ReadableTable::get(&table, &key(*writer, *turn, 0)[..])?;
            for row in 0..WRITES {
                table.insert(&key(*writer, *turn, row)[..], &VALUE[..])?;
            }
        }
    }
    // Its default durability syncs once (twice where it is asked for two phases).
    transaction.commit()?;
    Ok(())
}
