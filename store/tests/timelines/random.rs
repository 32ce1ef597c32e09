//! Random people against the model, with a worker that is cut off, replaced, and told nothing, in random order.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use darkroom_store::metadata::{CommitFault, Metadata};
use darkroom_store::model::changes::SHARDS;
use darkroom_store::model::fanout::{self, FeedLimits, Manner};
use darkroom_store::model::posts::Post;
use darkroom_store::model::shards::{Held, Lost};
use darkroom_store::model::timelines::Cursor;
use darkroom_store::model::visibility::Visibility;
use darkroom_store::model::{Position, PostId, UserId};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::truth::{Known, Truth};
use super::world::{World, limits, listed};
use crate::engines::Engine;

cases! { crate::random::run:
    timelines_are_those_of_the_model,
    short_timelines_show_nothing_that_the_model_does_not,
}

#[derive(Clone, Copy)]
struct Run {
    steps: u32,
    seed: u64,
}

/// Runs a case, with as many steps as the engine does in a minute or so, from a seed that is printed.
async fn run<F, Fut>(engine: Engine, case: F)
where
    F: FnOnce(Metadata, Run) -> Fut,
    Fut: Future<Output = ()>,
{
    let steps = match engine {
        Engine::Embedded => 10_000,
        #[cfg(feature = "foundationdb")]
        Engine::FoundationDb => 1_000,
    };
    let seed = std::env::var("DARKROOM_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let run = Run { steps, seed: seed.unwrap_or_else(rand::random) };
    println!("DARKROOM_TEST_SEED={} repeats this run", run.seed);
    super::run(engine, |metadata| case(metadata, run)).await;
}

/// Every so many steps everything is carried out, and timelines must equal the model's.
const STEPS_PER_REST: u32 = 250;
const PEOPLE: usize = 10;
const POSTS_MAX: usize = 120;
const WALKS_MAX: usize = 4;

async fn timelines_are_those_of_the_model(metadata: Metadata, run: Run) {
    let limits = FeedLimits { merge_followers_min: 4, chunk_followers: 3, ..limits() };
    let mut party = Party::new(metadata, limits, run.seed).await;
    for step in 1..=run.steps {
        party.step(step).await;
        if step % STEPS_PER_REST == 0 {
            party.world.settle().await;
            party.note_manners().await;
            for user in party.people.clone() {
                let (is, should) = (party.world.timeline(user).await, party.truth.timeline(user));
                assert_eq!(is, should, "step {step}, user {user}: it is as it was carried out");
            }
        }
    }
    println!("manners met: {:?}, walks ended: {}", party.manners, party.walks_ended);
    assert!(party.walks_ended > run.steps as usize / 500);
    assert!(party.manners.contains("merged") && party.manners.contains("none"), "{:?}", party.manners);
    if run.steps >= 10_000 {
        assert!(party.manners.contains("promoting") && party.manners.contains("demoting"));
        assert!(party.fell_back > 0 && party.lost > 0);
    }
}

async fn short_timelines_show_nothing_that_the_model_does_not(metadata: Metadata, run: Run) {
    let limits = FeedLimits {
        merge_followers_min: 4,
        chunk_followers: 3,
        timeline_entries_max: 12,
        backfill_posts_max: 5,
        ..limits()
    };
    let mut party = Party::new(metadata, limits, run.seed).await;
    party.is_cut = true;
    for step in 1..=run.steps / 4 {
        party.step(step).await;
        if step % STEPS_PER_REST == 0 {
            party.world.settle().await;
            for user in party.people.clone() {
                let (is, should) = (party.world.timeline(user).await, party.truth.timeline(user));
                assert!(is.len() <= 12 && is.iter().all(|entry| should.contains(entry)), "step {step}");
            }
        }
    }
}

/// Somebody who reads page by page.
struct Walk {
    user: UserId,
    /// What stood in the list when its first page was read, and could be seen ever since.
    expected: BTreeSet<(Position, PostId)>,
    shown: BTreeSet<(Position, PostId)>,
    next: Option<Cursor>,
}

struct Party {
    world: World,
    truth: Truth,
    people: Vec<UserId>,
    walks: Vec<Walk>,
    /// A worker that was replaced and does not know.
    stale: Vec<Held>,
    random: StdRng,
    /// Whether lists end before they are over.
    is_cut: bool,
    /// What the tests are about did happen.
    manners: BTreeSet<&'static str>,
    walks_ended: usize,
    fell_back: usize,
    lost: usize,
}

impl Party {
    async fn new(metadata: Metadata, limits: FeedLimits, seed: u64) -> Self {
        let faults = Arc::new(Mutex::new(StdRng::seed_from_u64(seed ^ 1)));
        let faulty = metadata.with_faults(move || match faults.lock().unwrap().random_range(0..60) {
            0 => CommitFault::AnswerLost,
            1 => CommitFault::CommitLost,
            2 => CommitFault::Conflict,
            _ => CommitFault::None,
        });
        let world = World::new(faulty, limits).await;
        let mut people = Vec::new();
        for number in 0..PEOPLE {
            people.push(world.user(&format!("user {number}")).await);
        }
        Self {
            world,
            truth: Truth::default(),
            people,
            walks: Vec::new(),
            stale: Vec::new(),
            random: StdRng::seed_from_u64(seed),
            is_cut: false,
            manners: BTreeSet::new(),
            walks_ended: 0,
            fell_back: 0,
            lost: 0,
        }
    }

    fn dice(&mut self, sides: usize) -> usize {
        self.random.random_range(0..sides)
    }

    fn somebody(&mut self) -> UserId {
        // The first ones are the famous.
        let among = if self.dice(2) == 0 { 3 } else { PEOPLE };
        let which = self.dice(among);
        self.people[which]
    }

    async fn step(&mut self, step: u32) {
        // Crowds gather and leave, so that authors cross both ways.
        let gathers = (step / 400).is_multiple_of(2);
        match self.dice(100) {
            0..14 => self.publish().await,
            14..20 => self.edit().await,
            20..25 => self.delete().await,
            25..40 => self.follow(gathers).await,
            40..46 => self.follow(!gathers).await,
            46..48 => self.block().await,
            48..51 => self.unblock().await,
            51..68 => self.index().await,
            68..85 => self.work().await,
            85..86 => self.replace_worker().await,
            86..88 => self.wake_the_stale().await,
            _ => self.read().await,
        }
        let truth = &self.truth;
        for walk in &mut self.walks {
            let seen: BTreeSet<_> = truth.timeline(walk.user).into_iter().collect();
            walk.expected.retain(|entry| seen.contains(entry));
        }
    }

    async fn publish(&mut self) {
        if self.truth.posts.len() >= POSTS_MAX {
            return self.delete().await;
        }
        let (author, visibility) = (self.somebody(), self.visibility());
        let id = self.world.publish(author, visibility, "").await;
        self.learn(id).await;
    }

    fn visibility(&mut self) -> Visibility {
        let which = self.dice(4).min(2);
        Visibility::ALL[which]
    }

    /// Has the model know the post as it is: where it stands is for the store to say.
    async fn learn(&mut self, id: PostId) {
        self.truth.posts.retain(|known| known.id != id);
        let (post, position) = self.world.post(id).await.unwrap();
        let Post { author, visibility, was_shown, .. } = post;
        self.truth.posts.push(Known { id, author, visibility, was_shown, position });
    }

    async fn edit(&mut self) {
        if self.truth.posts.is_empty() {
            return;
        }
        let (which, visibility) = (self.dice(self.truth.posts.len()), self.visibility());
        let known = self.truth.posts[which];
        self.world.edit(known.id, visibility).await;
        self.learn(known.id).await;
        let now = *self.truth.posts.last().unwrap();
        let keeps_its_place = known.was_shown || visibility == Visibility::Private;
        assert_eq!(now.position == known.position, keeps_its_place);
    }

    async fn delete(&mut self) {
        if self.truth.posts.is_empty() {
            return;
        }
        let which = self.dice(self.truth.posts.len());
        let known = self.truth.posts.remove(which);
        self.world.delete(known.id).await;
    }

    async fn follow(&mut self, follows: bool) {
        let by = self.dice(PEOPLE);
        let (by, to) = (self.people[by], self.somebody());
        if by == to {
            return;
        }
        if follows {
            self.world.follow(by, to).await;
            if !self.truth.is_blocked(by, to) {
                self.truth.follows.insert((by, to));
            }
        } else {
            self.world.unfollow(by, to).await;
            self.truth.follows.remove(&(by, to));
        }
    }

    async fn block(&mut self) {
        let (by, to) = (self.somebody(), self.somebody());
        if by != to {
            self.world.block(by, to).await;
            self.truth.block(by, to);
        }
    }

    async fn unblock(&mut self) {
        let Some((by, to)) = self.truth.blocks.first().copied() else { return };
        self.world.unblock(by, to).await;
        self.truth.blocks.remove(&(by, to));
    }

    async fn index(&mut self) {
        let (shard, most) = (self.dice(usize::from(SHARDS)), 1 + self.dice(5));
        self.world.index(self.world.held[shard], most).await.unwrap();
    }

    /// One piece of up to three of a shard's tasks, whichever.
    async fn work(&mut self) {
        let shard = self.dice(usize::from(SHARDS));
        let held = self.world.held[shard];
        let mut tasks = self.world.tasks(held.shard).await;
        while tasks.len() > 3 {
            let which = self.dice(tasks.len());
            tasks.remove(which);
        }
        self.world.work(held, &tasks).await.unwrap();
        self.note_manners().await;
    }

    async fn replace_worker(&mut self) {
        let held = self.world.take_over().await;
        assert_eq!(held.len(), usize::from(SHARDS), "a dead node's shards are free at once");
        self.stale = std::mem::replace(&mut self.world.held, held);
        self.world.held.sort_unstable_by_key(|held| held.shard);
        self.fell_back += 1;
    }

    /// Who has lost a shard changes nothing any more.
    async fn wake_the_stale(&mut self) {
        for held in self.stale.clone() {
            let tasks = self.world.tasks(held.shard).await;
            assert_eq!(self.world.work(held, &tasks).await, Err(Lost(held.shard)));
            match self.world.index(held, 5).await {
                Ok(entries) => assert_eq!(entries, 0, "there was nothing to be applied"),
                Err(lost) => assert_eq!(lost, Lost(held.shard)),
            }
            self.lost += 1;
        }
        self.stale.clear();
    }

    async fn note_manners(&mut self) {
        for user in self.people.iter().take(3).copied() {
            let manner = |tx| async move { fanout::manner(&tx, user).await };
            self.manners.insert(match self.world.metadata.read("manner", manner).await.unwrap() {
                None => "none",
                Some(Manner::Promoting) => "promoting",
                Some(Manner::Merged) => "merged",
                Some(Manner::Demoting) => "demoting",
            });
        }
    }

    /// Somebody begins to read, or reads on.
    async fn read(&mut self) {
        if self.walks.len() < WALKS_MAX && self.dice(3) == 0 {
            let user = self.somebody();
            let expected = self.world.timeline(user).await.into_iter().collect();
            self.walks.push(Walk { user, expected, shown: BTreeSet::new(), next: None });
            self.page(self.walks.len() - 1).await;
        } else if !self.walks.is_empty() {
            let which = self.dice(self.walks.len());
            self.page(which).await;
        }
    }

    async fn page(&mut self, which: usize) {
        let limit = 1 + self.dice(16);
        let (user, from) = (self.walks[which].user, self.walks[which].next);
        let page = self.world.page(user, from, limit).await;
        let (shown, truth) = (listed(&page), self.truth.timeline(user));
        assert!(shown.len() <= limit && shown.is_sorted_by(|newer, older| newer > older));
        let forbidden: Vec<_> = shown.iter().filter(|entry| !truth.contains(entry)).collect();
        assert!(forbidden.is_empty(), "{user} is shown {forbidden:?}");
        let walk = &mut self.walks[which];
        for entry in &shown {
            assert!(from.is_none_or(|from| entry.0 < from.before), "{entry:?} lies behind the cursor");
            assert!(walk.shown.insert(*entry), "{entry:?} is shown twice");
        }
        let is_passed = |entry: &(Position, PostId)| page.next.is_none_or(|next| entry.0 >= next.before);
        let missing: Vec<_> =
            walk.expected.iter().filter(|entry| is_passed(entry) && !walk.shown.contains(entry)).collect();
        assert!(self.is_cut || missing.is_empty(), "{user} is not shown {missing:?}");
        walk.next = page.next;
        if page.next.is_none() {
            self.walks.remove(which);
            self.walks_ended += 1;
        }
    }
}
