//! Durable work, after `QuiCK` (Apple, SIGMOD 2021): a queue ordered by *vesting time*.
//!
//! A job is due once its vesting time has passed. Leasing it moves that time into the future, under a
//! random lease id that also carries the node's epoch; a holder that lives extends it, one that died lets
//! it vest again. Only the holder finishes a job, in the transaction that publishes its result.
//!
//! - `job`: the record: what is to be done, how urgent, who holds it, what became of earlier attempts.
//! - `queue`: adding, removing, and what is due.
//! - `turns`: in which order classes have their turn, so that none starves.
//! - `lease`: taking, keeping and giving back.
//! - `dead`: the letters of jobs that were given up.
//! - `list`: what an operator sees of all that.
//! - `operator`: what an operator does about it: retry and drop.
//!
//! Every change of the vesting time rewrites the job's row in `JOBS_BY_VESTING`, and every change of the
//! holder its row in `JOBS_BY_EPOCH`, so that record and queue never disagree.
//!
//! A transaction may run again after a commit whose outcome was unknown. Each function says what tells its second
//! run of the first: mostly a random id that the caller made (a lease, or that of an operator's command).

mod dead;
mod job;
mod lease;
mod list;
mod operator;
mod queue;
mod turns;

pub use dead::{DeadJob, bury, count_dead, dead, trim_dead, unbury};
pub use job::{Class, Failed, INTERRUPTION_PAUSE_FIRST, Job, Kind, Lease, Work};
pub use lease::{
    GiveBack, begin_attempt, claim, deaths, end_attempt, extend, give_back, held, void_leases_of,
};
pub use list::{Entry, Page, Standing, Wanted, list, show};
pub use operator::{Dropped, Operation, Retried, drop_job, retry};
pub use queue::{Depth, Due, Horizon, depths, due, due_beyond, enqueue, get, of_photo, remove};
pub use turns::{SHARES_DEFAULT, Shares, Turn, Turns, choose};

/// A job whose process died this often while decoding it runs alone next, so that it harms no other.
pub const DEATHS_BEFORE_ALONE: u32 = 2;
/// A job whose process died this often while decoding it is not tried again.
pub const DEATHS_MAX: u32 = 3;
