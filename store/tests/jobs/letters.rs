//! What an operator sees of jobs that were given up, and does about them: retry and drop.

use darkroom_store::model::jobs::{
    self, DeadJob, Dropped, Entry, GiveBack, Job, Kind, Retried, Standing, Wanted,
};
use darkroom_store::model::photos::{self, Failure, Made, Photo, Settled, Settling, State};
use darkroom_store::model::{JobId, PhotoId, Timestamp};

use crate::store::{MINUTE, NOW, Store, give_back, lease, once, operation, twice};

cases! { crate::store::run:
    a_job_that_is_given_up_leaves_a_letter_and_a_retry_has_its_photo_processed_again,
    a_job_that_backs_off_is_due_at_once_when_retried,
    a_retry_of_what_nobody_wants_any_more_changes_nothing,
    a_dropped_jobs_photo_fails_with_that_reason_and_its_holder_finds_out,
    dropping_a_render_leaves_its_photo_ready,
    letters_are_trimmed_by_age_and_by_count_the_oldest_first,
}

async fn a_job_that_is_given_up_leaves_a_letter_and_a_retry_has_its_photo_processed_again(store: &Store) {
    let epoch = store.node().await;
    let (photo, job) = store.photo(epoch).await;
    let (id, held) = (job.id, lease(epoch));
    store.claim(id, held, NOW).await.unwrap();
    assert!(store.begin(id, held).await);
    let how = &give_back(true, Some("it panicked"));
    twice!(store, |tx| jobs::give_back(&tx, id, held.id, how).await);
    let held = lease(epoch);
    store.claim(id, held, NOW).await.unwrap();
    assert!(store.begin(id, held).await);
    let failure = &Failure { code: "processing-panicked".to_owned(), detail: "why".to_owned() };
    let by = Settling { photo: photo.id, job: id, lease: held, now: NOW.after(MINUTE), history: 0 };
    let settled = twice!(store, |tx| photos::give_up(&tx, &by, failure, &[]).await);
    assert!(matches!(settled, Settled::Done(Photo { state: State::Failed, .. })));

    let Some(Entry::Dead(letter)) = store.show(id).await else { panic!("a letter") };
    assert_eq!((&letter.code, letter.died, letter.job.attempts), (&failure.code, by.now, 2));
    assert_eq!(letter.job.failures[0].error, "it panicked");
    assert_eq!(once(store, |tx| async move { jobs::count_dead(&tx).await }).await, 1);

    let command = &operation();
    let Retried::Due(again) = twice!(store, |tx| jobs::retry(&tx, id, command).await) else { panic!("due") };
    assert_eq!((again.attempts, again.deaths, again.vesting), (0, 0, NOW));
    assert_eq!(again.failures.len(), 1, "what went wrong before is still told");
    let revived = store.get(photo.id).await;
    assert_eq!((revived.state, revived.failure), (State::Processing, None));
    assert_eq!((store.count(State::Processing).await, store.count(State::Failed).await), (1, 0));
    assert_eq!(once(store, |tx| async move { jobs::count_dead(&tx).await }).await, 0);

    let held = lease(epoch);
    assert!(store.claim(id, held, NOW).await.is_some());
    let other = &operation();
    assert!(matches!(twice!(store, |tx| jobs::retry(&tx, id, other).await), Retried::Held(_)));
    let by = Settling { lease: held, ..by };
    let made = &Made::default();
    assert!(matches!(twice!(store, |tx| photos::publish(&tx, &by, made).await), Settled::Done(_)));
    assert_eq!(twice!(store, |tx| jobs::retry(&tx, id, other).await), Retried::NotFound);
}

async fn a_job_that_backs_off_is_due_at_once_when_retried(store: &Store) {
    let epoch = store.node().await;
    let (_, job) = store.photo(epoch).await;
    let (id, held) = (job.id, lease(epoch));
    store.claim(id, held, NOW).await.unwrap();
    let how = &GiveBack { due: NOW.after(MINUTE), ..give_back(false, Some("the store was away")) };
    twice!(store, |tx| jobs::give_back(&tx, id, held.id, how).await);
    assert_eq!(store.show(id).await.unwrap().standing(NOW), Standing::Waiting);
    let command = &operation();
    assert!(matches!(twice!(store, |tx| jobs::retry(&tx, id, command).await), Retried::Due(_)));
    assert_eq!(store.show(id).await.unwrap().standing(NOW), Standing::Due);
}

async fn a_retry_of_what_nobody_wants_any_more_changes_nothing(store: &Store) {
    let epoch = store.node().await;
    let (photo, job) = store.photo(epoch).await;
    let (id, held, photo) = (job.id, lease(epoch), photo.id);
    store.claim(id, held, NOW).await.unwrap();
    let failure = &Failure { code: "processing-crashed".to_owned(), detail: "why".to_owned() };
    let by = Settling { photo, job: id, lease: held, now: NOW, history: 0 };
    twice!(store, |tx| photos::give_up(&tx, &by, failure, &[]).await);
    once(store, |tx| async move { photos::delete(&tx, photo, NOW, 0).await }).await;
    let command = &operation();
    assert_eq!(twice!(store, |tx| jobs::retry(&tx, id, command).await), Retried::Unneeded);
    let seen = &store.show(id).await.unwrap();
    assert_eq!(twice!(store, |tx| jobs::drop_job(&tx, seen, command).await), Dropped::Done);
    assert!(store.show(id).await.is_none());
}

async fn a_dropped_jobs_photo_fails_with_that_reason_and_its_holder_finds_out(store: &Store) {
    let epoch = store.node().await;
    let (photo, job) = store.photo(epoch).await;
    let (id, held) = (job.id, lease(epoch));
    store.claim(id, held, NOW).await.unwrap();
    let (seen, command) = (&store.show(id).await.unwrap(), &operation());
    assert_eq!(twice!(store, |tx| jobs::drop_job(&tx, seen, command).await), Dropped::Done);
    let failed = store.get(photo.id).await;
    assert_eq!((failed.state, failed.failure.unwrap().code.as_str()), (State::Failed, "dropped"));
    assert_eq!((store.count(State::Processing).await, store.count(State::Failed).await), (0, 1));
    let by = Settling { photo: photo.id, job: id, lease: held, now: NOW, history: 0 };
    let made = &Made::default();
    assert!(matches!(twice!(store, |tx| photos::publish(&tx, &by, made).await), Settled::LeaseLost));
    let other = &operation();
    assert_eq!(twice!(store, |tx| jobs::drop_job(&tx, seen, other).await), Dropped::NotFound);
}

async fn dropping_a_render_leaves_its_photo_ready(store: &Store) {
    let epoch = store.node().await;
    let (photo, job) = store.photo(epoch).await;
    let held = lease(epoch);
    store.claim(job.id, held, NOW).await.unwrap();
    let by = Settling { photo: photo.id, job: job.id, lease: held, now: NOW, history: 0 };
    let made = &Made::default();
    twice!(store, |tx| photos::publish(&tx, &by, made).await);
    let render = &Job::new(JobId::new(), Kind::Render, photo.id, NOW);
    assert!(twice!(store, |tx| photos::request_render(&tx, render).await));
    let (seen, command) = (&store.show(render.id).await.unwrap(), &operation());
    assert_eq!(twice!(store, |tx| jobs::drop_job(&tx, seen, command).await), Dropped::Done);
    assert_eq!(store.get(photo.id).await.state, State::Ready);
    assert!(store.show(render.id).await.is_none());
}

async fn letters_are_trimmed_by_age_and_by_count_the_oldest_first(store: &Store) {
    let mut ids = Vec::new();
    for died in 0..10 {
        // A letter needs no photo: any kind of job may leave one.
        let job = Job::new(JobId::new(), Kind::Process, PhotoId::new(), NOW);
        ids.push(job.id);
        let letter =
            &DeadJob { job, code: "code".to_owned(), detail: "why".to_owned(), died: Timestamp(died) };
        once(store, |tx| async move { jobs::bury(&tx, letter) }).await;
    }
    let left = || async move { store.page(&Wanted { limit: 99, ..Default::default() }).await.entries };
    let trim = |before, keep| async move {
        let trim = |tx| async move { jobs::trim_dead(&tx, Timestamp(before), keep, 2).await };
        let mut trimmed = 0;
        loop {
            match once(store, trim).await {
                0 => return trimmed,
                count => trimmed += count,
            }
        }
    };
    assert_eq!(trim(3, 100).await, 3, "by age");
    assert_eq!(trim(0, 5).await, 2, "by count");
    let left: Vec<_> = left().await.iter().map(|entry| entry.job().id).collect();
    assert_eq!(left, ids[5..]);
    assert_eq!(once(store, |tx| async move { jobs::count_dead(&tx).await }).await, 5);
}
