//! End to end: the real binary, real HTTP, real files, killed and restarted.

mod bad_input;
mod budgets;
mod crashes;
mod faults;
mod first_photo;
mod lifecycle;
mod refusals;
mod serving;
mod uploads;
