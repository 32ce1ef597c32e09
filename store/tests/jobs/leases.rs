//! Claiming a job, keeping it, giving it back, and what an attempt that did not end counts as.

use std::sync::atomic::{AtomicU32, Ordering};

use darkroom_store::model::jobs::GiveBack;
use darkroom_store::model::{JobId, jobs};

use crate::store::{MINUTE, NOW, SECOND, Store, give_back, lease, once, twice};

cases! { crate::store::run:
    jobs_vest_are_claimed_once_and_extended_by_their_holder,
    attempts_count_only_what_is_the_photos_own_fault,
    an_attempt_that_lost_its_lease_does_not_count_and_is_no_death_while_its_node_lives,
    a_node_that_lost_its_lease_by_vesting_and_turns_out_dead_is_a_death,
    a_dead_nodes_jobs_are_due_at_once_and_its_cut_off_attempts_are_deaths,
    claims_of_different_jobs_do_not_conflict_and_of_one_only_one_wins,
}

async fn jobs_vest_are_claimed_once_and_extended_by_their_holder(store: &Store) {
    let (slow, thief) = (store.node().await, store.node().await);
    let (_, job) = store.photo(slow).await;
    let id = job.id;
    let first = lease(slow);
    let claimed = store.claim(id, first, NOW).await.unwrap();
    assert_eq!(claimed.taken_from, None);
    assert!(store.claim(id, lease(thief), NOW).await.is_none(), "it is held");

    let later = NOW.after(MINUTE * 2);
    let due = once(store, |tx| async move { jobs::due(&tx, later, 9).await }).await;
    assert_eq!(due.iter().map(|due| due.id).collect::<Vec<_>>(), [id], "the holder gave no sign of life");
    let second = lease(thief);
    let claimed = store.claim(id, second, later).await.unwrap();
    assert_eq!(claimed.taken_from, Some(first), "stolen");
    assert!(store.claim(id, lease(slow), later).await.is_none(), "somebody else was faster");

    let until = later.after(MINUTE * 3);
    assert!(!twice!(store, |tx| jobs::extend(&tx, id, first.id, until).await), "it has lost its lease");
    assert!(twice!(store, |tx| jobs::extend(&tx, id, second.id, until).await));
    assert!(twice!(store, |tx| jobs::extend(&tx, id, second.id, later).await), "never back");
    assert_eq!(store.job(id).await.unwrap().vesting, until);
}

async fn attempts_count_only_what_is_the_photos_own_fault(store: &Store) {
    let epoch = store.node().await;
    let (_, mut job) = store.photo(epoch).await;
    let (id, mut now) = (job.id, NOW);
    for (counts, attempts, interruptions) in [(true, 1, 0), (false, 1, 1), (true, 2, 1), (false, 2, 2)] {
        let held = lease(epoch);
        assert!(store.claim(id, held, now).await.is_some());
        assert!(store.begin(id, held).await);
        twice!(store, |tx| jobs::end_attempt(&tx, id, held).await);
        let pause = store.job(id).await.unwrap().interruption_pause(MINUTE);
        assert_eq!(pause, SECOND / 2 * 2_u32.pow(job.interruptions), "it waits longer each time");
        let how = &GiveBack { due: NOW.after(pause), ..give_back(counts, Some("why")) };
        assert!(twice!(store, |tx| jobs::give_back(&tx, id, held.id, how).await));
        job = store.job(id).await.unwrap();
        assert_eq!((job.attempts, job.deaths, job.interruptions), (attempts, 0, interruptions));
        assert_eq!((job.last_error.as_deref(), job.vesting), (Some("why"), NOW.after(pause)));
        now = now.after(MINUTE);
    }
    assert_eq!(store.job(id).await.unwrap().failures.len(), 4);
    // Given back before its attempt began: nothing was counted, and nothing is taken back.
    let held = lease(epoch);
    store.claim(id, held, now).await.unwrap();
    let how = &give_back(false, None);
    assert!(twice!(store, |tx| jobs::give_back(&tx, id, held.id, how).await));
    assert_eq!(store.job(id).await.unwrap().attempts, 2);
}

async fn an_attempt_that_lost_its_lease_does_not_count_and_is_no_death_while_its_node_lives(store: &Store) {
    let (slow, thief) = (store.node().await, store.node().await);
    let (_, job) = store.photo(slow).await;
    let (id, first, second) = (job.id, lease(slow), lease(thief));
    store.claim(id, first, NOW).await.unwrap();
    assert!(store.begin(id, first).await);
    let later = NOW.after(MINUTE * 2);
    let stolen = store.claim(id, second, later).await.unwrap();
    assert_eq!((stolen.attempts, stolen.deaths, &stolen.unsettled[..]), (0, 0, &[first][..]));
    assert!(!store.begin(id, first).await, "it has lost its lease");
    // Its decode ends well: whatever becomes of its node later is not of this photo.
    twice!(store, |tx| jobs::end_attempt(&tx, id, first).await);
    store.die(slow).await;
    let job = store.job(id).await.unwrap();
    assert!(job.unsettled.is_empty());
    assert_eq!(twice!(store, |tx| jobs::deaths(&tx, &jobs::get(&tx, id).await?.unwrap()).await), 0);
    let how = &give_back(false, None);
    assert!(!twice!(store, |tx| jobs::give_back(&tx, id, first.id, how).await));
    assert_eq!(store.job(id).await.unwrap().lease, Some(second), "the thief holds it as before");
}

async fn a_node_that_lost_its_lease_by_vesting_and_turns_out_dead_is_a_death(store: &Store) {
    let (slow, thief) = (store.node().await, store.node().await);
    let (_, job) = store.photo(slow).await;
    let (id, first) = (job.id, lease(slow));
    store.claim(id, first, NOW).await.unwrap();
    assert!(store.begin(id, first).await);
    store.claim(id, lease(thief), NOW.after(MINUTE * 2)).await.unwrap();
    store.die(slow).await;
    assert_eq!(
        once(store, |tx| async move { jobs::deaths(&tx, &jobs::get(&tx, id).await?.unwrap()).await }).await,
        1
    );
    let third = store.claim(id, lease(thief), NOW.after(MINUTE * 4)).await.unwrap();
    assert_eq!((third.deaths, third.attempts, third.unsettled.len()), (1, 1, 0));
}

async fn a_dead_nodes_jobs_are_due_at_once_and_its_cut_off_attempts_are_deaths(store: &Store) {
    let (dying, other) = (store.node().await, store.node().await);
    let (_, idle) = store.photo(dying).await;
    let (_, decoding) = store.photo(dying).await;
    let (_, uploading) = store.photo(dying).await;
    let (_, theirs) = store.photo(other).await;
    let held = lease(dying);
    for job in [&idle, &decoding, &uploading] {
        store.claim(job.id, held, NOW).await.unwrap();
    }
    let kept = lease(other);
    store.claim(theirs.id, kept, NOW).await.unwrap();
    assert!(store.begin(decoding.id, held).await);
    assert!(store.begin(uploading.id, held).await);
    let id = uploading.id;
    twice!(store, |tx| jobs::end_attempt(&tx, id, held).await);
    store.die(dying).await;
    assert_eq!(store.job(theirs.id).await.unwrap().lease, Some(kept), "a living node keeps its own");
    for (job, deaths, attempts) in [(&idle, 0, 0), (&decoding, 1, 1), (&uploading, 0, 0)] {
        let claimed = store.claim(job.id, lease(other), NOW).await.unwrap();
        assert_eq!((claimed.deaths, claimed.attempts), (deaths, attempts));
        assert_eq!((claimed.decoding, claimed.taken_from), (None, None), "not stolen: it was void");
    }
}

async fn claims_of_different_jobs_do_not_conflict_and_of_one_only_one_wins(store: &Store) {
    let epoch = store.node().await;
    let (_, one) = store.photo(epoch).await;
    let (_, other) = store.photo(epoch).await;
    let until = NOW.after(MINUTE);
    let claim_during = |mine: JobId, theirs: JobId| async move {
        let runs = &AtomicU32::new(0);
        let lease_now = lease(epoch);
        let claimed = once(store, |tx| async move {
            // A look at the queue is part of no claim's conflicts.
            jobs::due(&tx, NOW, 9).await?;
            let claimed = jobs::claim(&tx, mine, lease_now, NOW, until).await?;
            if runs.fetch_add(1, Ordering::SeqCst) == 0 {
                let lease = lease(epoch);
                let theirs =
                    once(store, |tx| async move { jobs::claim(&tx, theirs, lease, NOW, until).await });
                assert!(theirs.await.is_some());
            }
            Ok(claimed)
        })
        .await;
        (claimed.is_some(), runs.load(Ordering::SeqCst))
    };
    assert_eq!(claim_during(one.id, other.id).await, (true, 1), "no conflict");
    let (_, contended) = store.photo(epoch).await;
    assert_eq!(claim_during(contended.id, contended.id).await, (false, 2), "the second run sees the winner");
}
