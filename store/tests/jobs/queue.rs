//! What is due, in which order, and how much there is; also as an operator lists it.

use darkroom_store::model::jobs::{self, Class, DeadJob, Entry, Job, Kind, Standing, Turns, Wanted};
use darkroom_store::model::{JobId, PhotoId, Timestamp};

use crate::store::{MINUTE, NOW, SECOND, Store, lease, once};

cases! { crate::store::run:
    every_page_of_a_list_shows_what_was_asked_for_and_together_they_show_all,
    under_a_flood_of_interactive_jobs_a_background_job_is_claimed_within_a_bounded_number_of_claims,
    a_look_behind_the_horizon_finds_what_the_last_one_left_and_what_came_since,
    depths_count_each_class_and_tell_the_longest_due,
}

async fn every_page_of_a_list_shows_what_was_asked_for_and_together_they_show_all(store: &Store) {
    let epoch = store.node().await;
    let mut expected = Vec::new();
    for index in 0..25 {
        let mut job = Job::new(JobId::new(), Kind::Process, PhotoId::new(), NOW);
        job.class = Class::ALL[index % 3];
        match index % 4 {
            0 => {}
            1 => job = job.leased(lease(epoch), NOW.after(SECOND)),
            2 => job.vesting = NOW.after(MINUTE),
            _ => {
                let letter = &DeadJob { job, code: "c".to_owned(), detail: "d".to_owned(), died: NOW };
                once(store, |tx| async move { jobs::bury(&tx, letter) }).await;
                expected.push(Entry::Dead(letter.clone()));
                continue;
            }
        }
        let added = &job;
        once(store, |tx| async move { jobs::enqueue(&tx, added) }).await;
        expected.push(Entry::Live(job));
    }
    let classes = std::iter::once(None).chain(Class::ALL.map(Some));
    for class in classes {
        for standing in std::iter::once(None).chain(Standing::ALL.map(Some)) {
            let mut found = Vec::new();
            let mut wanted = Wanted { class, standing, after: None, limit: 3 };
            loop {
                let page = store.page(&wanted).await;
                assert!(page.entries.len() <= 3);
                found.extend(page.entries);
                match page.next {
                    Some(next) => wanted.after = Some(next),
                    None => break,
                }
            }
            let mut fitting: Vec<_> = expected.clone();
            fitting.retain(|entry| class.is_none_or(|class| class == entry.job().class));
            fitting.retain(|entry| standing.is_none_or(|standing| standing == entry.standing(NOW)));
            let key = |entry: &Entry| entry.job().id;
            found.sort_by_key(key);
            fitting.sort_by_key(key);
            assert_eq!(found, fitting, "{class:?} {standing:?}");
        }
    }
}

async fn under_a_flood_of_interactive_jobs_a_background_job_is_claimed_within_a_bounded_number_of_claims(
    store: &Store,
) {
    let epoch = store.node().await;
    let mut background = Job::new(JobId::new(), Kind::Render, PhotoId::new(), NOW.after(SECOND));
    background.class = Class::Background;
    let flood = |count: usize| async move {
        let jobs = &(0..count)
            .map(|_| Job::new(JobId::new(), Kind::Process, PhotoId::new(), NOW))
            .collect::<Vec<_>>();
        once(store, |tx| async move { jobs.iter().try_for_each(|job| jobs::enqueue(&tx, job)) }).await;
    };
    flood(100).await;
    let job = &background;
    once(store, |tx| async move { jobs::enqueue(&tx, job) }).await;
    let (mut turns, now, mut claims) = (Turns::default(), NOW.after(MINUTE), 0);
    loop {
        let due = once(store, |tx| async move { jobs::due(&tx, now, 64).await }).await;
        let chosen = jobs::choose(&due, turns, jobs::SHARES_DEFAULT, (1, 1), |_| 0);
        turns = chosen[0].after;
        let id = chosen[0].due.id;
        let lease = lease(epoch);
        let until = now.after(MINUTE);
        once(store, |tx| async move { jobs::claim(&tx, id, lease, now, until).await }).await.unwrap();
        claims += 1;
        if id == background.id {
            break;
        }
        flood(2).await; // They come faster than they are taken.
    }
    let bound = 1 + jobs::SHARES_DEFAULT[0] / jobs::SHARES_DEFAULT[2];
    assert!(claims <= bound, "{claims} claims");
}

async fn a_look_behind_the_horizon_finds_what_the_last_one_left_and_what_came_since(store: &Store) {
    let epoch = store.node().await;
    let (_, first) = store.photo(epoch).await;
    let (_, second) = store.photo(epoch).await;
    let look = |horizon: jobs::Horizon, now: Timestamp| async move {
        let horizon = &horizon;
        let due = once(store, |tx| async move { jobs::due_beyond(&tx, horizon, now, 9).await }).await;
        let ids: Vec<_> = due.iter().map(|due| due.id).collect();
        (ids, jobs::Horizon::after(&due, now, SECOND))
    };
    let (found, horizon) = look(jobs::Horizon::default(), NOW).await;
    assert_eq!(found, [first.id, second.id]);
    store.claim(first.id, lease(epoch), NOW).await.unwrap();
    let (found, horizon) = look(horizon, NOW).await;
    assert_eq!(found, [second.id]);
    store.claim(second.id, lease(epoch), NOW).await.unwrap();
    let (found, horizon) = look(horizon, NOW).await;
    assert!(found.is_empty());
    // One that comes by a clock that is a little behind.
    let mut late = Job::new(JobId::new(), Kind::Process, PhotoId::new(), NOW);
    late.vesting = Timestamp(NOW.0 - 500);
    let added = &late;
    once(store, |tx| async move { jobs::enqueue(&tx, added) }).await;
    let (found, horizon) = look(horizon, NOW).await;
    assert_eq!(found, [late.id]);
    // By one that is far behind, it takes a look from the beginning.
    let mut lost = Job::new(JobId::new(), Kind::Process, PhotoId::new(), NOW);
    lost.vesting = Timestamp(1);
    let added = &lost;
    once(store, |tx| async move { jobs::enqueue(&tx, added) }).await;
    assert_eq!(look(horizon.clone(), NOW).await.0, [late.id]);
    assert_eq!(look(jobs::Horizon::default(), NOW).await.0, [lost.id, late.id]);
    assert!(look(horizon, Timestamp(5)).await.0.is_empty(), "the clock was set back");
}

async fn depths_count_each_class_and_tell_the_longest_due(store: &Store) {
    let epoch = store.node().await;
    let (_, job) = store.photo(epoch).await;
    store.photo(epoch).await;
    store.claim(job.id, lease(epoch), NOW).await.unwrap();
    let depths = once(store, |tx| async move { jobs::depths(&tx, NOW, 10).await }).await;
    let [interactive, bulk, background] = depths;
    assert_eq!((interactive.due, interactive.later, interactive.oldest), (1, 1, Some(NOW)));
    assert_eq!((bulk.due, bulk.later, bulk.oldest), (0, 0, None));
    assert_eq!(background.class, Class::Background);
}
