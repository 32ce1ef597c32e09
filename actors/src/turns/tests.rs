//! Clients that want more than there is.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::task::JoinSet;
use tokio::time::sleep;

use super::*;
use crate::PipelineOptions;
use crate::permits::Admission;

const WAIT_MAX: Duration = Duration::from_millis(300);
const SLOTS: usize = 12;

fn admission() -> Admission {
    admission_with(|_| {})
}

fn admission_with(change: impl FnOnce(&mut PipelineOptions)) -> Admission {
    let mut options = PipelineOptions {
        job_slots: SLOTS as u32,
        reserved_share: 0.0,
        spare_share: 0.0,
        admission_wait_max: WAIT_MAX,
        ..PipelineOptions::default()
    };
    change(&mut options);
    Admission::new(&options)
}

fn party(name: &str) -> Party {
    Party::of(&name)
}

/// As many slots as this client gets at once.
async fn all_it_gets(admission: &Admission, name: &str) -> Vec<Lease> {
    let mut leases = Vec::new();
    while let Ok(lease) = admission.admit(party(name), None).await {
        leases.push(lease);
    }
    leases
}

type Waiting<'a> = Pin<Box<dyn Future<Output = Result<Lease, Refused>> + 'a>>;

/// An upload that has asked, and its answer, if there is one at once.
fn ask<'a>(admission: &'a Admission, name: &str) -> (Waiting<'a>, Option<Result<Lease, Refused>>) {
    let mut waiting: Waiting<'a> = Box::pin(admission.admit(party(name), None));
    let answer = look(&mut waiting);
    (waiting, answer)
}

fn look(waiting: &mut Waiting<'_>) -> Option<Result<Lease, Refused>> {
    match waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => Some(answer),
        Poll::Pending => None,
    }
}

fn is_full(answer: Option<&Result<Lease, Refused>>) -> bool {
    matches!(answer, Some(Err(Refused::Full)))
}

#[tokio::test(start_paused = true)]
async fn a_lone_client_gets_every_slot_and_is_refused_at_once_beyond() {
    let admission = admission();
    let began = Instant::now();
    let leases = all_it_gets(&admission, "a").await;
    assert_eq!(leases.len(), SLOTS);
    for _ in 0..1000 {
        assert!(admission.admit(party("a"), None).await.is_err());
    }
    assert_eq!(began.elapsed(), Duration::ZERO, "nobody waited");
    assert_eq!(admission.prospect(party("a"), None), Err(Refused::Full));
    assert_eq!(admission.prospect(party("b"), None), Ok(()), "another would have a turn");
}

#[tokio::test(start_paused = true)]
async fn a_single_upload_beside_a_thousand_gets_the_next_slot() {
    let admission = admission();
    let mut held = all_it_gets(&admission, "many").await;
    let (mut single, answer) = ask(&admission, "single");
    assert!(answer.is_none(), "it waits");
    for _ in 0..988 {
        assert!(is_full(ask(&admission, "many").1.as_ref()), "the others have their share, and do not wait");
    }
    held.pop();
    assert!(is_full(ask(&admission, "many").1.as_ref()), "the free one is not theirs");
    assert!(look(&mut single).unwrap().is_ok());
}

/// With the defaults, beside a client that has taken all it may and gives nothing back.
fn beside_a_hoard() -> (Admission, Vec<Lease>) {
    let admission = Admission::new(&PipelineOptions::default());
    let hoard: Vec<_> = std::iter::from_fn(|| ask(&admission, "many").1.unwrap().ok()).collect();
    (admission, hoard)
}

#[tokio::test(start_paused = true)]
async fn a_single_upload_beside_slots_that_do_not_come_back_gets_one_at_once() {
    let (admission, hoard) = beside_a_hoard();
    assert_eq!(hoard.len(), 168, "a lone client has seven of eight");
    let began = Instant::now();
    for number in 0..100 {
        assert_eq!(admission.prospect(party("single"), None), Ok(()));
        let lease = admission.admit(party("single"), None).await;
        assert!(lease.is_ok(), "{number}");
    }
    assert_eq!(began.elapsed(), Duration::ZERO, "it did not wait");
    assert_eq!(
        admission.prospect(party("many"), None),
        Err(Refused::Full),
        "the spare ones are not for them"
    );
}

#[tokio::test(start_paused = true)]
async fn there_is_something_to_spare_for_the_next_client_too() {
    let (admission, _hoard) = beside_a_hoard();
    let mut held = Vec::new();
    for (name, expected) in [("b", 12), ("c", 6), ("d", 3), ("e", 2), ("f", 1)] {
        let before = held.len();
        loop {
            let (_waiting, answer) = ask(&admission, name);
            let Some(Ok(lease)) = answer else { break };
            held.push(lease);
        }
        assert_eq!(held.len() - before, expected, "{name}");
    }
    assert_eq!(admission.slots.used(), 192);
    drop(held);
    assert_eq!(admission.slots.used(), 168);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_spare_slot_gets_the_next() {
    let (admission, _hoard) = beside_a_hoard();
    let mut few: Vec<_> = (0..12).map(|_| ask(&admission, "few").1.unwrap().unwrap()).collect();
    let (mut next, answer) = ask(&admission, "few");
    assert!(answer.is_none(), "it has half of them, and is below its share");
    assert!(ask(&admission, "other").1.unwrap().is_ok(), "another does not wait behind it");
    few.pop();
    assert!(look(&mut next).unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn photos_that_are_processed_keep_no_spare_slot() {
    let (admission, _hoard) = beside_a_hoard();
    let waiting: Vec<_> = std::iter::from_fn(|| admission.slots.try_waiting(1)).collect();
    assert_eq!(waiting.len(), 64, "all that is left");
    for _ in 0..100 {
        let lease = ask(&admission, "single").1.unwrap().unwrap();
        assert!(admission.slots.try_stage_place(&lease.slot).is_none(), "its photo waits on disk");
    }
}

#[tokio::test(start_paused = true)]
async fn memory_is_spared_as_slots_are() {
    let admission = admission_with(|options| {
        options.job_slots = 256;
        options.spare_share = 0.125;
        options.upload_window_bytes = 16 << 20;
    });
    let _hoard = all_it_gets(&admission, "many").await;
    assert!(admission.slots.used() < 224, "bodies are spent before slots");
    for _ in 0..100 {
        assert!(ask(&admission, "single").1.unwrap().is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn shares_become_even_to_within_one() {
    let admission = admission();
    let mut first = all_it_gets(&admission, "first").await;
    let names = ["b", "c", "d"];
    let mut waiting: Vec<_> = names.iter().map(|name| Vec::from([ask(&admission, name).0])).collect();
    let mut got: Vec<Vec<Lease>> = names.map(|_| Vec::new()).into();
    while first.len() > SLOTS / 4 {
        first.pop();
        for (index, name) in names.iter().enumerate() {
            let before = got[index].len();
            let answers = waiting[index].iter_mut().filter_map(look);
            got[index].extend(answers.map(|answer| answer.unwrap()));
            if got[index].len() > before {
                waiting[index].clear();
            }
            // Each asks for another as soon as it has one.
            if waiting[index].is_empty() && got[index].len() < SLOTS / 4 {
                waiting[index].push(ask(&admission, name).0);
            }
        }
        let held = got.iter().map(Vec::len);
        let (least, most) = (held.clone().min().unwrap(), held.max().unwrap());
        assert!(most - least <= 1, "{least} and {most} while the first holds {}", first.len());
    }
    assert!(got.iter().all(|leases| leases.len() == SLOTS / 4));
    for name in names.iter().chain(&["first"]) {
        assert!(is_full(ask(&admission, name).1.as_ref()), "{name} has its share");
    }
}

#[tokio::test(start_paused = true)]
async fn a_thousand_connections_do_not_slow_a_single_one_down() {
    const WORK: Duration = Duration::from_millis(100);
    let admission = admission();
    let mut crowd = JoinSet::new();
    for number in 0..1000_u64 {
        let admission = admission.clone();
        crowd.spawn(async move {
            // They do not all come in the same moment, and each comes again as soon as it is refused.
            sleep(Duration::from_millis(number % 100)).await;
            loop {
                match admission.admit(party("crowd"), None).await {
                    Ok(_lease) => sleep(WORK).await,
                    Err(_) => sleep(Duration::from_millis(1)).await,
                }
            }
        });
    }
    sleep(Duration::from_secs(1)).await;
    let mut longest = Duration::ZERO;
    for _ in 0..50 {
        let began = Instant::now();
        let lease = admission.admit(party("single"), None).await.expect("it gets through");
        longest = longest.max(began.elapsed());
        sleep(WORK).await;
        drop(lease);
    }
    assert!(longest <= WORK, "{longest:?}");
    crowd.shutdown().await;
    assert_eq!((admission.slots.used(), admission.waiting()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn who_waits_in_vain_is_refused_in_time_and_leaves_no_trace() {
    let admission = admission();
    let held = all_it_gets(&admission, "a").await;
    let began = Instant::now();
    assert_eq!(admission.admit(party("b"), None).await.unwrap_err(), Refused::Waited);
    assert_eq!(began.elapsed(), WAIT_MAX);
    let (waiting, _) = ask(&admission, "b");
    assert_eq!(admission.waiting(), 1);
    drop(waiting);
    assert_eq!(admission.waiting(), 0, "a client that has gone waits no more");
    drop(held);
    assert_eq!(admission.slots.used(), 0);
    assert_eq!(all_it_gets(&admission, "b").await.len(), SLOTS);
}

#[tokio::test(start_paused = true)]
async fn a_slot_that_is_given_to_a_client_that_has_gone_goes_on_to_the_next() {
    let admission = admission();
    let mut held = all_it_gets(&admission, "a").await;
    let (gone, _) = ask(&admission, "b");
    let (mut next, _) = ask(&admission, "c");
    held.pop();
    drop(gone); // It was given the slot, and has not looked.
    assert!(look(&mut next).unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn the_queue_is_bounded_for_each_and_for_all() {
    let admission = admission_with(|options| {
        options.job_slots = 1000;
        options.admission_waiting_per_client_max = 3;
        options.admission_waiting_max = 5;
    });
    let _held: Vec<_> = (0..256).map_while(|_| admission.lease(None).ok()).collect();
    let mut waiting = Vec::new();
    for (name, refused) in
        [("b", false), ("b", false), ("b", false), ("b", true), ("c", false), ("c", false), ("d", true)]
    {
        let (place, answer) = ask(&admission, name);
        assert_eq!(is_full(answer.as_ref()), refused, "{name}, {} wait", admission.waiting());
        waiting.push(place);
    }
    assert_eq!(admission.waiting(), 5);
}

#[tokio::test(start_paused = true)]
async fn memory_that_comes_back_from_elsewhere_is_given_to_who_waits() {
    let admission = admission_with(|options| {
        options.job_slots = 2 * SLOTS as u32;
        options.upload_window_bytes = 16 << 20;
    });
    let mut held = all_it_gets(&admission, "a").await;
    assert!(held.len() < 2 * SLOTS, "bodies are spent before slots");
    let original = admission.bodies.try_waiting(admission.bodies.total() - admission.bodies.used()).unwrap();
    held.pop();
    let taken = admission.bodies.try_waiting(16 << 20).unwrap();
    let (mut waiting, _) = ask(&admission, "b");
    assert!(look(&mut waiting).is_none());
    drop(taken);
    assert!(look(&mut waiting).unwrap().is_ok());
    drop(original);
}

#[tokio::test(start_paused = true)]
async fn a_closed_door_sends_everybody_away() {
    let admission = admission();
    let _held = all_it_gets(&admission, "a").await;
    let (mut waiting, _) = ask(&admission, "b");
    admission.close();
    assert_eq!(look(&mut waiting).unwrap().unwrap_err(), Refused::Draining);
    assert_eq!(admission.waiting(), 0);
}
