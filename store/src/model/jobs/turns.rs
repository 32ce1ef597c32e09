//! In which order classes have their turn, and which of the due jobs is chosen.
//!
//! A strict order of urgency would starve the background for as long as interactive work keeps coming. So every
//! class that has due jobs gets a share of the claims: smooth weighted round robin (as nginx spreads requests over
//! servers, <https://github.com/nginx/nginx/commit/52327e0627f49dbda1e8db695e63a4b0af4448b1>). A class without due
//! jobs leaves its turns to the others.

use super::{Class, Due};

/// How many claims of each class in [`Class::ALL`] there are for those of the others.
pub type Shares = [u32; 3];

/// Of twelve claims eight interactive, three bulk, one background.
pub const SHARES_DEFAULT: Shares = [8, 3, 1];

/// Whose turn it is: what each class has been kept waiting for. Carried from round to round.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Turns([i64; 3]);

impl Turns {
    /// The class whose turn it is among those `present`, and whose it is afterwards.
    fn next(self, shares: Shares, present: [bool; 3]) -> Option<(usize, Self)> {
        let mut credits = self.0;
        let mut total = 0;
        for class in (0..3).filter(|class| present[*class]) {
            // A share of nothing would starve the class; options refuse it, and this does too.
            let share = i64::from(shares[class].max(1));
            credits[class] += share;
            total += share;
        }
        // The most urgent of equals.
        let chosen = (0..3).rev().filter(|class| present[*class]).max_by_key(|class| credits[*class])?;
        credits[chosen] -= total;
        Some((chosen, Self(credits)))
    }
}

/// A job that was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Which.
    pub due: Due,
    /// Whose turn it is once this one has had it.
    pub after: Turns,
}

/// Chooses up to `limit` of the jobs in `due`, which is in the order of [`due`](super::due): the classes by their
/// `shares`, in a class each time one of its first `among`. With `among` = 1 the longest due is next; with more, nodes
/// that look at the same time choose different ones. `dice` gives a number below its argument.
///
/// The longest due of a class stays among its first until it is chosen, so it is not passed over for ever.
pub fn choose(
    due: &[Due],
    mut turns: Turns,
    shares: Shares,
    (limit, among): (usize, usize),
    mut dice: impl FnMut(usize) -> usize,
) -> Vec<Turn> {
    let mut left =
        Class::ALL.map(|class| due.iter().filter(|due| due.class == class).copied().collect::<Vec<_>>());
    let mut chosen = Vec::with_capacity(limit.min(due.len()));
    while chosen.len() < limit {
        let present = [0, 1, 2].map(|class: usize| !left[class].is_empty());
        let Some((class, after)) = turns.next(shares, present) else { break };
        let among = among.clamp(1, left[class].len());
        let index = if among == 1 { 0 } else { dice(among).min(among - 1) };
        chosen.push(Turn { due: left[class].remove(index), after });
        turns = after;
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{JobId, Timestamp};

    fn flood(class: Class, count: u64) -> Vec<Due> {
        (0..count).map(|at| Due { id: JobId::new(), class, vesting: Timestamp(at) }).collect()
    }

    #[test]
    fn under_a_flood_each_class_has_its_share_and_a_lone_one_has_it_within_twelve_claims() {
        let mut due = flood(Class::Interactive, 1000);
        due.extend(flood(Class::Bulk, 1000));
        due.extend(flood(Class::Background, 1000));
        let turns = choose(&due, Turns::default(), SHARES_DEFAULT, (120, 1), |_| 0);
        let of = |class| turns.iter().filter(|turn| turn.due.class == class).count();
        assert_eq!(Class::ALL.map(of), [80, 30, 10]);
        for window in turns.chunks(12) {
            assert!(window.iter().any(|turn| turn.due.class == Class::Background));
        }
    }

    #[test]
    fn rounds_of_one_claim_add_up_to_the_same_shares() {
        let mut due = flood(Class::Interactive, 50);
        due.extend(flood(Class::Background, 50));
        let mut turns = Turns::default();
        let mut background = 0;
        for _ in 0..45 {
            let chosen = choose(&due, turns, SHARES_DEFAULT, (1, 1), |_| 0);
            turns = chosen[0].after;
            background += u32::from(chosen[0].due.class == Class::Background);
        }
        assert_eq!(background, 5, "one of nine");
    }

    #[test]
    fn a_class_without_jobs_leaves_its_turns_to_the_others() {
        let due = flood(Class::Background, 5);
        let turns = choose(&due, Turns::default(), SHARES_DEFAULT, (32, 1), |_| 0);
        assert_eq!(turns.iter().map(|turn| turn.due).collect::<Vec<_>>(), due, "and keeps their order");
        assert_eq!(
            turns.last().map(|turn| turn.after),
            Some(Turns::default()),
            "nobody has been kept waiting"
        );
    }

    #[test]
    fn jobs_are_chosen_among_the_first_and_none_twice() {
        let due = flood(Class::Interactive, 10);
        let turns = choose(&due, Turns::default(), SHARES_DEFAULT, (10, 4), |among| among - 1);
        assert_eq!(turns[0].due, due[3]);
        assert_eq!(turns[1].due, due[4]);
        let mut ids: Vec<_> = turns.iter().map(|turn| turn.due.id).collect();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 10);
    }
}
