//! Budgets and the permits that spend them.
//!
//! A permit is charged for what is held and rides with what holds it, so it comes back by `Drop` on every
//! path. Waiting is in order of arrival: a large request is neither overtaken for ever nor refused for
//! being large. The order in which one photo takes its permits is fixed: slot and body, pixels, processor,
//! network. Who comes in first where there is no room for all is said in `turns`.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::processing::Processing;
use crate::turns::{Party, Patience, Returned, Turns};

/// What the smallest upload is charged: what a connection reads at once is held beside the body.
const UPLOAD_BYTES_MIN: u64 = 1 << 20;

/// The name of the budget of slots; the others are of bytes.
pub(crate) const SLOTS: &str = "job_slots";

/// A resource of which only so much may be held. Cheap to clone.
///
/// Two kinds of work spend it. *Fresh* work (an upload that has just arrived) gets its share at once or is turned away;
/// only before the front door it may wait for its turn. *Waiting* work (a photo that is durable and is to be processed)
/// waits in order. A part of the budget is kept from each of them for the other: arrivals leave room for what was
/// acknowledged, and what was acknowledged, however much it is, leaves room for arrivals. Where a part is *spare*, it is
/// apart from both: `turns` says who may have it.
#[derive(Clone, Debug)]
pub struct Budget {
    name: &'static str,
    /// What one permit of the semaphores stands for: 1024 for bytes, 1 for slots.
    unit: u64,
    total: u32,
    all: Arc<Semaphore>,
    /// What fresh work may hold at most: taken beside `all`.
    fresh: Arc<Semaphore>,
    /// What waiting work may hold at most, likewise, and how much that is.
    waiting: Arc<Semaphore>,
    waiting_max: u32,
    /// What is in none of the three above, and how much that is.
    spare: Arc<Semaphore>,
    spare_max: u32,
    /// Who waits before the front door for what comes back.
    turns: Option<Arc<Turns>>,
}

/// A held part of a [`Budget`]; given back by `Drop`.
#[derive(Debug)]
pub struct Permit {
    unit: u64,
    all: OwnedSemaphorePermit,
    /// The same, of the share of its kind of work.
    share: OwnedSemaphorePermit,
    /// Of what is spare.
    is_spare: bool,
    // The last field: by the time it is dropped, the others are back.
    returned: Option<Returned>,
}

impl Budget {
    /// A budget of `total` bytes (rounded down to KiB), of which fresh work may hold all but `reserved`.
    pub fn bytes(name: &'static str, total: u64, reserved: u64) -> Self {
        let kib = |bytes: u64| u32::try_from(bytes / 1024).unwrap_or(u32::MAX);
        Self::new(name, 1024, kib(total), kib(reserved))
    }

    /// A budget of `total` slots, of which fresh work may hold all but `reserved`.
    pub fn slots(name: &'static str, total: u32, reserved: u32) -> Self {
        Self::new(name, 1, total, reserved)
    }

    fn new(name: &'static str, unit: u64, total: u32, reserved: u32) -> Self {
        let reserved = reserved.min(total);
        Self {
            name,
            unit,
            total,
            all: Arc::new(Semaphore::new(total as usize)),
            fresh: Arc::new(Semaphore::new((total - reserved) as usize)),
            waiting: Arc::new(Semaphore::new(total as usize)),
            waiting_max: total,
            spare: Arc::new(Semaphore::new(0)),
            spare_max: 0,
            turns: None,
        }
    }

    /// The same budget, of which a share of what fresh work may hold is spare: at least `least`, in bytes or slots, which
    /// is what one upload takes, unless fresh work has less than four times as much.
    fn sparing(self, share: f64, least: u64) -> Self {
        let (fresh, least) = (self.fresh.available_permits() as u32, self.units(least));
        let is_wanted = share > 0.0 && fresh / 4 >= least;
        let spare = if is_wanted { ((f64::from(fresh) * share) as u32).max(least) } else { 0 };
        let common = self.total - spare;
        Self {
            all: Arc::new(Semaphore::new(common as usize)),
            fresh: Arc::new(Semaphore::new((fresh - spare) as usize)),
            waiting: Arc::new(Semaphore::new(common as usize)),
            waiting_max: common,
            spare: Arc::new(Semaphore::new(spare as usize)),
            spare_max: spare,
            ..self
        }
    }

    /// The same budget, of which waiting work may hold at most so much, in bytes or slots.
    fn waiting_at_most(self, amount: u64) -> Self {
        let waiting_max = self.units(amount);
        Self { waiting: Arc::new(Semaphore::new(waiting_max as usize)), waiting_max, ..self }
    }

    /// The same budget, which tells this queue of what comes back.
    fn before(self, turns: &Arc<Turns>) -> Self {
        Self { turns: Some(turns.clone()), ..self }
    }

    fn permit(&self, all: OwnedSemaphorePermit, share: OwnedSemaphorePermit) -> Permit {
        let returned = self.turns.as_ref().map(Returned::to);
        Permit { unit: self.unit, all, share, is_spare: false, returned }
    }

    /// What is asked for in units, at most everything that is not spare: who needs more runs alone.
    fn units(&self, amount: u64) -> u32 {
        u32::try_from(amount.div_ceil(self.unit)).unwrap_or(u32::MAX).min(self.total - self.spare_max)
    }

    /// `amount` for fresh work, if it is free now and nobody waits for it.
    pub fn try_fresh(&self, amount: u64) -> Option<Permit> {
        let units = self.units(amount);
        let fresh = self.fresh.clone().try_acquire_many_owned(units).ok()?;
        let all = self.all.clone().try_acquire_many_owned(units).ok()?;
        Some(self.permit(all, fresh))
    }

    /// Whether [`Budget::try_fresh`] would have so much to give now.
    pub(crate) fn has_fresh(&self, amount: u64) -> bool {
        let units = self.units(amount) as usize;
        self.fresh.available_permits() >= units && self.all.available_permits() >= units
    }

    /// `amount` of what is spare, if it is free now.
    pub(crate) fn try_spare(&self, amount: u64) -> Option<Permit> {
        let all = self.spare.clone().try_acquire_many_owned(self.units(amount)).ok()?;
        let share = self.spare.clone().try_acquire_many_owned(0).ok()?;
        Some(Permit { is_spare: true, ..self.permit(all, share) })
    }

    /// What is spare and free now, in bytes or slots.
    pub(crate) fn spare_left(&self) -> u64 {
        self.spare.available_permits() as u64 * self.unit
    }

    /// `amount` for waiting work, if it is free now and nobody waits for it.
    pub fn try_waiting(&self, amount: u64) -> Option<Permit> {
        let units = self.waiting_units(amount);
        let share = self.waiting.clone().try_acquire_many_owned(units).ok()?;
        let all = self.all.clone().try_acquire_many_owned(units).ok()?;
        Some(self.permit(all, share))
    }

    /// `amount` for waiting work, in order of arrival. `None` once the budget is closed.
    pub async fn waiting(&self, amount: u64) -> Option<Permit> {
        let units = self.waiting_units(amount);
        let share = self.waiting.clone().acquire_many_owned(units).await.ok()?;
        let all = self.all.clone().acquire_many_owned(units).await.ok()?;
        Some(self.permit(all, share))
    }

    /// A place among waiting work, for what has this slot as fresh work now. For a slot that is spare it is also one that
    /// is not.
    pub(crate) fn try_stage_place(&self, slot: &Permit) -> Option<StagePlace> {
        let share = self.waiting.clone().try_acquire_owned().ok()?;
        let instead = if slot.is_spare { Some(self.all.clone().try_acquire_owned().ok()?) } else { None };
        Some(StagePlace { share, instead })
    }

    /// As [`Budget::units`], of what waiting work may hold.
    fn waiting_units(&self, amount: u64) -> u32 {
        self.units(amount).min(self.waiting_max)
    }

    /// Waits until everything has come back.
    pub async fn all_returned(&self) {
        drop(self.all.acquire_many(self.total - self.spare_max).await);
        drop(self.spare.acquire_many(self.spare_max).await);
    }

    /// The name in metrics.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Everything there is, in bytes or slots.
    pub fn total(&self) -> u64 {
        u64::from(self.total) * self.unit
    }

    /// What is held now, in bytes or slots.
    pub fn used(&self) -> u64 {
        let free = self.all.available_permits() + self.spare.available_permits();
        u64::from(self.total).saturating_sub(free as u64) * self.unit
    }
}

/// A place among waiting work: the slot that goes with it is held already.
#[derive(Debug)]
pub(crate) struct StagePlace {
    share: OwnedSemaphorePermit,
    /// The slot that takes the place of a spare one.
    instead: Option<OwnedSemaphorePermit>,
}

impl Permit {
    /// What is held, in bytes or slots.
    pub fn amount(&self) -> u64 {
        self.all.num_permits() as u64 * self.unit
    }

    /// Gives back all but `amount`: pixels that have become encoded bytes.
    pub fn shrink_to(&mut self, amount: u64) {
        let keep = usize::try_from(amount.div_ceil(self.unit)).unwrap_or(usize::MAX);
        for part in [&mut self.all, &mut self.share] {
            drop(part.split(part.num_permits().saturating_sub(keep)));
        }
        if let Some(returned) = &self.returned {
            returned.part();
        }
    }

    pub(crate) fn is_spare(&self) -> bool {
        self.is_spare
    }

    pub(crate) fn returned_to(self, returned: Returned) -> Self {
        Self { returned: Some(returned), ..self }
    }

    /// The same slot, of an upload that has become a photo in the stages: it counts among waiting work, and its client
    /// no longer holds it.
    pub(crate) fn handed_over(self, place: StagePlace) -> Self {
        let Self { unit, all, share, is_spare: _, returned } = self;
        let to_all = returned.as_ref().map(Returned::without_party);
        let all = match place.instead {
            Some(common) => {
                drop(all);
                common
            }
            None => all,
        };
        drop((share, returned));
        Self { unit, all, share: place.share, is_spare: false, returned: to_all }
    }
}

/// Why an upload is turned away before its body is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Every slot or all memory for bodies is taken.
    #[error("the daemon is working on as many uploads as it may hold in memory")]
    Full,
    /// As `Full`, and none came free while it waited for its turn.
    #[error("the daemon is working on as many uploads as it may hold in memory, and none was done in time")]
    Waited,
    /// More photos wait for processing than may.
    #[error("too many photos wait to be processed")]
    Backlog,
    /// The daemon is shutting down.
    #[error("the daemon is shutting down")]
    Draining,
    /// The object store has not answered lately.
    #[error("photos cannot be stored now")]
    StoreAway,
}

impl Refused {
    /// The word in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Waited => "waited",
            Self::Backlog => "backlog",
            Self::Draining => "draining",
            Self::StoreAway => "store_away",
        }
    }
}

/// The right to bring one photo into memory: a job slot, and the window of its body.
#[derive(Debug)]
pub struct Lease {
    pub(crate) slot: Permit,
    pub(crate) window: Permit,
    pub(crate) beside: Beside,
}

impl Lease {
    pub(crate) fn new(slot: Permit, window: Permit) -> Self {
        Self { slot, window, beside: Beside(None) }
    }

    /// The same, with something that is dropped when the body has been received or refused: what its client is counted
    /// for as long as it sends.
    #[must_use]
    pub fn beside(self, counted: impl Send + Sync + 'static) -> Self {
        Self { beside: Beside(Some(Box::new(counted))), ..self }
    }
}

/// What rides with a lease until its body is there.
pub(crate) struct Beside(
    #[expect(dead_code, reason = "held for its drop")] Option<Box<dyn Any + Send + Sync>>,
);

impl fmt::Debug for Beside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Beside")
    }
}

/// The front door: what is held in memory, and who may add to it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Admission {
    /// Photos in memory.
    pub slots: Budget,
    /// Windows of uploads, and originals read for decoding.
    pub bodies: Budget,
    /// What decoding, resizing and encoding hold.
    pub pixels: Budget,
    /// Originals that are served without what is private. Apart from bodies, so that slow readers hold up no upload.
    pub stripping: Budget,
    turns: Arc<Turns>,
    window_bytes: u64,
    draining: Arc<AtomicBool>,
    /// Photos that are to be processed, and how many of them there may be.
    pub(crate) processing: Processing,
    processing_max: u64,
}

impl Admission {
    pub(crate) fn new(options: &crate::PipelineOptions) -> Self {
        let share = |total: f64| (total * options.reserved_share).round();
        // Half is left to arrivals, so that uploads come in at the pace of the store while photos wait for a processor.
        let slots_waiting = u64::from(options.job_slots).div_ceil(2);
        let bodies_waiting = (options.bodies_bytes / 2).max(options.upload_bytes_max);
        // At least one original of any size can be read for decoding, however slowly uploads arrive.
        let bodies_reserved = (share(options.bodies_bytes as f64) as u64).max(options.upload_bytes_max);
        let pixels_reserved = share(options.pixels_bytes as f64) as u64;
        let slots = Budget::slots(SLOTS, options.job_slots, share(options.job_slots.into()) as u32)
            .sparing(options.spare_share, 1);
        let bodies = Budget::bytes("bodies", options.bodies_bytes, bodies_reserved)
            .sparing(options.spare_share, options.upload_window_bytes);
        let patience = Patience {
            wait: options.admission_wait_max,
            places: options.admission_waiting_max,
            places_each: options.admission_waiting_per_client_max,
        };
        let turns = Turns::new(&slots, &bodies, patience);
        Self {
            slots: slots.waiting_at_most(slots_waiting).before(&turns),
            bodies: bodies.waiting_at_most(bodies_waiting).before(&turns),
            pixels: Budget::bytes("pixels", options.pixels_bytes, pixels_reserved),
            stripping: Budget::bytes("stripping", options.stripping_bytes, 0),
            turns,
            window_bytes: options.upload_window_bytes,
            draining: Arc::default(),
            processing: Processing::default(),
            processing_max: options.backlog_photos_max,
        }
    }

    /// A lease for one upload, at once or not at all. It is charged the window that a put may hold, or what a body
    /// of `bytes` can come to at most, if it is known and less.
    ///
    /// # Errors
    /// Why not.
    pub fn lease(&self, bytes: Option<u64>) -> Result<Lease, Refused> {
        self.check()?;
        self.turns.take_now(Party::OURS, self.window(bytes))
    }

    /// As [`Admission::lease`], for a client's upload: where there is no room, who holds less than its share may wait for
    /// its turn.
    ///
    /// # Errors
    /// Why not.
    pub async fn admit(&self, party: Party, bytes: Option<u64>) -> Result<Lease, Refused> {
        self.check()?;
        let lease = self.turns.take(party, self.window(bytes)).await;
        // Who waited while the daemon began to shut down is told so.
        lease.map_err(|refused| self.check().err().unwrap_or(refused))
    }

    /// Whether [`Admission::admit`] would not refuse at once: asked before the first bytes of a body are read.
    ///
    /// # Errors
    /// Why it would.
    pub fn prospect(&self, party: Party, bytes: Option<u64>) -> Result<(), Refused> {
        self.check()?;
        if self.turns.would_take(party, self.window(bytes)) { Ok(()) } else { Err(Refused::Full) }
    }

    fn check(&self) -> Result<(), Refused> {
        if self.draining.load(Ordering::Relaxed) {
            return Err(Refused::Draining);
        }
        if self.processing.count() >= self.processing_max {
            return Err(Refused::Backlog);
        }
        Ok(())
    }

    fn window(&self, bytes: Option<u64>) -> u64 {
        bytes.map_or(u64::MAX, |bytes| bytes.saturating_add(UPLOAD_BYTES_MIN)).min(self.window_bytes)
    }

    /// Uploads that wait for their turn.
    pub fn waiting(&self) -> usize {
        self.turns.waiting()
    }

    /// From now on every upload is refused.
    pub fn close(&self) {
        self.draining.store(true, Ordering::Relaxed);
        self.turns.send_away();
    }

    /// Whether the daemon is shutting down.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// All budgets, for metrics.
    pub fn budgets(&self) -> [&Budget; 4] {
        [&self.slots, &self.bodies, &self.pixels, &self.stripping]
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn fresh_work_leaves_the_reserved_share_to_waiting_work() {
        let budget = Budget::bytes("test", 100 * 1024, 25 * 1024);
        let fresh = budget.try_fresh(75 * 1024).unwrap();
        assert!(budget.try_fresh(1).is_none(), "the fresh share is spent");
        let waiting = budget.try_waiting(25 * 1024).unwrap();
        assert_eq!(budget.used(), 100 * 1024);
        drop((fresh, waiting));
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn fresh_work_does_not_overtake_who_waits() {
        let budget = Budget::bytes("test", 100 * 1024, 0);
        let held = budget.try_fresh(50 * 1024).unwrap();
        let mut large = Box::pin(budget.waiting(80 * 1024));
        assert!((&mut large).now_or_never().is_none());
        assert!(budget.try_fresh(10 * 1024).is_none(), "the free half belongs to the one in line");
        drop(held);
        assert_eq!(large.now_or_never().flatten().unwrap().amount(), 80 * 1024);
    }

    #[test]
    fn who_needs_more_than_everything_gets_everything() {
        let budget = Budget::bytes("test", 10 * 1024, 0);
        assert_eq!(budget.try_waiting(1 << 40).unwrap().amount(), 10 * 1024);
    }

    #[test]
    fn shrinking_gives_the_rest_back_to_both_shares() {
        let budget = Budget::bytes("test", 100 * 1024, 50 * 1024);
        let mut permit = budget.try_fresh(50 * 1024).unwrap();
        permit.shrink_to(1);
        assert_eq!((permit.amount(), budget.used()), (1024, 1024));
        assert!(budget.try_fresh(49 * 1024).is_some());
    }

    #[test]
    fn waiting_work_leaves_room_for_what_arrives() {
        let budget = Budget::slots("test", 8, 2).waiting_at_most(4);
        let waiting: Vec<_> = std::iter::from_fn(|| budget.try_waiting(1)).collect();
        assert_eq!(waiting.len(), 4);
        let mut next = Box::pin(budget.waiting(1));
        assert!((&mut next).now_or_never().is_none());
        let fresh: Vec<_> = std::iter::from_fn(|| budget.try_fresh(1)).collect();
        assert_eq!(fresh.len(), 4, "who waits for a place among waiting work keeps nothing from arrivals");
        drop(waiting);
        assert_eq!(next.now_or_never().flatten().unwrap().amount(), 1);
        assert_eq!(
            Budget::bytes("test", 8192, 0).waiting_at_most(4096).try_waiting(8192).unwrap().amount(),
            4096
        );
    }

    #[test]
    fn what_is_spare_is_neither_for_fresh_nor_for_waiting_work() {
        let budget = Budget::slots("test", 16, 0).sparing(0.125, 1);
        let fresh: Vec<_> = std::iter::from_fn(|| budget.try_fresh(1)).collect();
        assert_eq!((fresh.len(), budget.spare_left(), budget.used()), (14, 2, 14));
        assert!(budget.try_waiting(1).is_none());
        let spare = budget.try_spare(1).unwrap();
        assert_eq!((spare.amount(), budget.spare_left(), budget.used()), (1, 1, 15));
        assert!(budget.try_spare(2).is_none());
        drop((fresh, spare));
        assert_eq!((budget.spare_left(), budget.used(), budget.total()), (2, 0, 16));
    }

    #[test]
    fn a_budget_of_few_uploads_has_nothing_to_spare() {
        let spare = |total, least| Budget::slots("test", total, 0).sparing(0.125, least).spare_left();
        assert_eq!((spare(3, 1), spare(4, 1), spare(16, 3), spare(8, 3)), (0, 1, 3, 0));
        assert_eq!(Budget::slots("test", 16, 0).sparing(0.0, 1).spare_left(), 0);
    }

    #[test]
    fn a_spare_slot_is_given_back_when_its_photo_goes_on() {
        let budget = Budget::slots("test", 8, 0).sparing(0.125, 1).waiting_at_most(4);
        let spare = budget.try_spare(1).unwrap();
        let place = budget.try_stage_place(&spare).unwrap();
        let stage = spare.handed_over(place);
        assert_eq!((budget.spare_left(), budget.used()), (1, 1));
        let _all: Vec<_> = std::iter::from_fn(|| budget.try_fresh(1)).collect();
        let spare = budget.try_spare(1).unwrap();
        assert!(budget.try_stage_place(&spare).is_none(), "there is no other slot to go on with");
        drop(stage);
        assert!(budget.try_stage_place(&spare).is_some());
    }

    #[test]
    fn a_slot_that_is_handed_over_makes_room_for_the_next_upload() {
        let options = crate::PipelineOptions { job_slots: 8, spare_share: 0.0, ..Default::default() };
        let admission = Admission::new(&options);
        let mut leases: Vec<_> = std::iter::from_fn(|| admission.lease(None).ok()).collect();
        assert_eq!(leases.len(), 6, "a quarter is kept from arrivals");
        let mut stages = Vec::new();
        while let Some(place) = admission.slots.try_stage_place(&leases.last().unwrap().slot) {
            stages.push(leases.pop().unwrap().slot.handed_over(place));
        }
        assert_eq!((stages.len(), leases.len(), admission.slots.used()), (4, 2, 6));
        leases.extend(std::iter::from_fn(|| admission.lease(None).ok()));
        assert_eq!((leases.len(), admission.slots.used()), (4, 8), "half is kept for arrivals");
        drop(stages);
        leases.extend(std::iter::from_fn(|| admission.lease(None).ok()));
        assert_eq!(leases.len(), 6);
        drop(leases);
        assert_eq!(admission.slots.used(), 0);
    }

    #[test]
    fn a_closed_door_says_why() {
        let options = crate::PipelineOptions { backlog_photos_max: 2, ..Default::default() };
        let admission = Admission::new(&options);
        admission.processing.added();
        let lease = admission.lease(None).unwrap();
        assert_eq!(lease.slot.amount(), 1);
        admission.processing.added();
        assert_eq!(admission.lease(None).unwrap_err(), Refused::Backlog);
        admission.processing.settled();
        drop(admission.lease(None).unwrap());
        admission.close();
        assert_eq!(admission.lease(None).unwrap_err(), Refused::Draining);
    }

    #[test]
    fn a_small_body_is_charged_what_it_is_and_a_large_one_the_window() {
        const MIB: u64 = 1 << 20;
        let options = crate::PipelineOptions { upload_window_bytes: 16 * MIB, ..Default::default() };
        let admission = Admission::new(&options);
        for (bytes, charged) in [(Some(3 * MIB), 4 * MIB), (Some(60 * MIB), 16 * MIB), (None, 16 * MIB)] {
            assert_eq!(admission.lease(bytes).unwrap().window.amount(), charged);
        }
    }

    #[tokio::test]
    async fn all_returned_waits_for_the_last_lease() {
        let admission = Admission::new(&crate::PipelineOptions::default());
        let lease = admission.lease(None).unwrap();
        let slots = admission.slots.clone();
        let returned = tokio::spawn(async move { slots.all_returned().await });
        drop(lease);
        returned.await.unwrap();
    }
}
