//! Duplicate uploads, deletes, retries, sweeps and deaths of processes in any order: no live photo ever lacks its
//! original, and nothing unreferenced stays.
//!
//! Several clients do what HTTP and the actors would have a process do, over one embedded engine and one object store. A
//! seed says who goes on next (`turns`), what each does (`node`), and when its process dies. What must hold is looked at
//! all the time (`audit`). The seed decides every choice of the test's own; ids and times are made anew, and with them the
//! order of rows in the queue, so that a failing seed leads to the same kind of trouble rather than to the same step. It
//! is printed, and `DARKROOM_TEST_SEED` repeats it. `DARKROOM_TEST_STEPS` says how far.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod audit;
mod node;
mod turns;

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use darkroom_store::metadata::{EmbeddedOptions, Metadata};
use darkroom_store::model::{OwnerId, Timestamp};
use darkroom_store::objects::ObjectStore;
use darkroom_store::objects::filesystem::FilesystemOptions;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::compute::ComputePool;
use audit::Audit;
use node::Node;
use turns::{Errand, Pauses, begin_turn, turn};

/// Few, so that the same bytes meet all the time.
const OWNERS: [&str; 3] = ["ada", "ben", "cleo"];
const CONTENTS: u8 = 16;
const PHOTO: &[u8] = include_bytes!("../../../media/tests/data/gray.jpg");
/// Clients that do something at any time.
const CLIENTS: usize = 10;
/// Steps between two looks at everything.
const AUDIT_EVERY: u64 = 20;
/// Steps after which everything is brought to rest.
const REST_EVERY: u64 = 1000;
/// One step of so many is a process's death.
const DEATHS_ONE_IN: u32 = 80;
/// Longer than any test runs: what may be late is never deleted before all is at rest.
const LATE: Duration = Duration::from_secs(86_400);

/// How a process's death is noticed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Machines {
    /// By the lock on its data directory, which is free when its last write has ended.
    One,
    /// By its silence: it may be alive, and its writes may arrive late.
    Many,
}

#[tokio::test]
async fn on_one_machine_no_original_is_lost_and_nothing_stays() {
    race(Machines::One).await;
}

#[tokio::test]
async fn on_many_machines_no_original_is_lost_and_nothing_stays() {
    race(Machines::Many).await;
}

async fn race(machines: Machines) {
    let number = |name, default| std::env::var(name).map_or(default, |text| text.parse().expect("a number"));
    let seed = number("DARKROOM_TEST_SEED", u64::from(rand::random::<u32>()));
    let steps = number("DARKROOM_TEST_STEPS", 10_000);
    println!("DARKROOM_TEST_SEED={seed}");
    let began = Instant::now();
    let mut world = World::new(machines, seed).await;
    for step in 1..=steps {
        world.step().await;
        if step % AUDIT_EVERY == 0 {
            world.audit(step).await;
        }
        if step % REST_EVERY == 0 || step == steps {
            world.rest(step).await;
        }
    }
    let swept = world.swept.load(Ordering::Relaxed);
    println!("{steps} steps in {:?}: {:?}, {swept} uploads swept", began.elapsed(), world.done);
    assert!(
        machines == Machines::One || steps < 10_000 || swept > 0,
        "no process was swept while it uploaded"
    );
}

/// What was done, to see that the test tests something.
#[derive(Debug, Default)]
struct Done {
    uploads: u32,
    deletes: u32,
    sweeps: u32,
    claims: u32,
    deaths: u32,
    photos_max: usize,
}

/// A client's errand, and the number of its process.
struct Client {
    process: usize,
    errand: Errand,
}

struct World {
    machines: Machines,
    random: StdRng,
    /// Without pauses, for looking on.
    metadata: Metadata,
    /// With them.
    gated: Metadata,
    objects: ObjectStore,
    compute: Arc<ComputePool>,
    /// Those that live, or do not know yet that they were taken for dead; the last is the newest.
    nodes: Vec<(usize, Node)>,
    /// Those that are dead, while what they wrote last may still be on its way.
    dead: Vec<Node>,
    clients: [Option<Client>; CLIENTS],
    done: Done,
    swept: Arc<AtomicU32>,
    _home: tempfile::TempDir,
}

impl World {
    async fn new(machines: Machines, seed: u64) -> Self {
        // Which write of this machine is lost in a power cut is another test's question.
        let memory = Path::new("/dev/shm");
        let home = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
        let metadata = home.path().join("metadata");
        let options = EmbeddedOptions { shared: machines == Machines::Many, ..EmbeddedOptions::default() };
        let metadata = Metadata::open_embedded(&metadata, options).await.unwrap();
        let objects =
            ObjectStore::open_filesystem(&home.path().join("objects"), FilesystemOptions::default())
                .await
                .unwrap();
        let gated = metadata.clone().gated(Arc::new(Pauses::new(seed)));
        let mut world = Self {
            machines,
            random: StdRng::seed_from_u64(seed),
            metadata,
            gated,
            objects,
            compute: Arc::new(ComputePool::start(1).unwrap()),
            nodes: Vec::new(),
            dead: Vec::new(),
            clients: Default::default(),
            done: Done::default(),
            swept: Arc::default(),
            _home: home,
        };
        world.begin_node().await;
        world
    }

    async fn begin_node(&mut self) {
        let late = if self.machines == Machines::One { Duration::ZERO } else { LATE };
        let (metadata, objects) = (self.gated.clone(), self.objects.clone());
        let mut node = Node::begin(metadata, objects, self.compute.clone(), late).await;
        node.swept = self.swept.clone();
        let number = self.nodes.last().map_or(0, |(number, _)| number + 1);
        self.nodes.push((number, node));
    }

    /// One client goes on, or a process dies.
    async fn step(&mut self) {
        if self.random.random_ratio(1, DEATHS_ONE_IN) {
            return self.death().await;
        }
        let index = self.random.random_range(0..CLIENTS);
        if self.clients[index].is_none() {
            self.clients[index] = Some(self.new_errand());
        }
        if let Some(client) = &mut self.clients[index]
            && turn(&mut client.errand).await
        {
            self.clients[index] = None;
        }
    }

    fn new_errand(&mut self) -> Client {
        // Mostly on the newest process, sometimes on one that does not know that it counts as dead.
        let newest = self.nodes.len() - 1;
        let index =
            if self.random.random_ratio(2, 3) { newest } else { self.random.random_range(0..=newest) };
        let (process, node) = self.nodes[index].clone();
        let owner = format!("{:?}", OWNERS[self.random.random_range(0..OWNERS.len())]);
        let owner: OwnerId = serde_json::from_str(&owner).unwrap();
        let random = StdRng::from_rng(&mut self.random);
        let errand: Errand = match self.random.random_range(0..20) {
            0..9 => {
                self.done.uploads += 1;
                // What follows the end marker belongs to the file, not to the picture.
                let content = [PHOTO, &[self.random.random_range(0..CONTENTS)]].concat();
                Box::pin(node.upload(owner, Bytes::from(content), random))
            }
            9..13 => {
                self.done.deletes += 1;
                Box::pin(node.delete(owner, random))
            }
            13..16 => {
                self.done.sweeps += 1;
                Box::pin(node.sweep_now())
            }
            _ => {
                self.done.claims += 1;
                // Past what a job waits after a failure. On many machines past its lease too, which is stolen then.
                let ahead = if self.machines == Machines::One { 30 } else { 90 };
                let now = Timestamp::now().after(Duration::from_secs(ahead));
                Box::pin(async move {
                    node.reconcile(now, random).await;
                })
            }
        };
        Client { process, errand }
    }

    /// A process dies in the middle of whatever it does, or goes on and counts as dead.
    async fn death(&mut self) {
        self.done.deaths += 1;
        let unknowing = self.machines == Machines::Many && self.random.random_ratio(2, 3);
        if !unknowing {
            let index = self.random.random_range(0..self.nodes.len());
            let (process, node) = self.nodes[index].clone();
            self.kill(process).await;
            self.nodes.remove(index);
            match self.machines {
                Machines::One => node.end().await,
                Machines::Many => self.dead.push(node),
            }
        }
        self.begin_node().await;
    }

    async fn kill(&mut self, process: usize) {
        for client in
            self.clients.iter_mut().filter(|client| client.as_ref().is_some_and(|c| c.process == process))
        {
            // Some die at a pause, some while what they have begun goes on without them.
            if let Some(client) = client
                && self.random.random_ratio(1, 2)
            {
                begin_turn(&mut client.errand).await;
            }
            *client = None;
        }
        // Commits are taken in order: with this one, every earlier one is there.
        let last = |tx: darkroom_store::metadata::Transaction| async move { tx.set(b"last", b"") };
        self.metadata.transact("last", last).await.unwrap();
    }

    async fn audit(&mut self, step: u64) {
        let audit = Audit::read(&self.metadata, &self.objects).await;
        self.done.photos_max = self.done.photos_max.max(audit.photos());
        at(step, audit.holds_at_any_time(&self.objects)).await;
    }

    /// Lets everybody finish, processes what waits, and has the Janitor delete what is left of all processes.
    async fn rest(&mut self, step: u64) {
        for index in 0..CLIENTS {
            if let Some(mut client) = self.clients[index].take() {
                while !turn(&mut client.errand).await {}
            }
        }
        self.end_all().await;
        self.begin_node().await;
        // A job that was given back may wait for its next attempt; a lease that nobody knows of may stand.
        let later = Timestamp::now().after(LATE * 2);
        let (_, node) = &self.nodes[0];
        while node.clone().reconcile(later, StdRng::from_rng(&mut self.random)).await {}
        node.sweep.run_at(later).await.unwrap();
        // What this last process has reserved goes with it.
        self.end_all().await;
        self.begin_node().await;
        let sweep = &self.nodes[0].1.sweep;
        sweep.run_at(later).await.unwrap();
        // What it has just found may be late too.
        sweep.run_at(later.after(LATE)).await.unwrap();
        let audit = Audit::read(&self.metadata, &self.objects).await;
        at(step, audit.holds_at_rest(&self.objects)).await;
    }

    async fn end_all(&mut self) {
        for node in self.nodes.drain(..).map(|(_, node)| node).chain(self.dead.drain(..)) {
            node.end().await;
        }
    }
}

/// Says at which step a check failed.
async fn at(step: u64, check: impl Future<Output = ()>) {
    struct Report(u64);
    impl Drop for Report {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("after {} steps:", self.0);
            }
        }
    }
    let _report = Report(step);
    check.await;
}
