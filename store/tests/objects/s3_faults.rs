//! An S3 server that is slow, fails, breaks off, damages what it carries, or is gone: what is written counts only when
//! it is whole, what is read is whole or an error, and nobody waits for long.

use std::time::{Duration, Instant};

use darkroom_store::StoreError;
use darkroom_store::model::ContentHash;
use darkroom_store::objects::s3::S3Options;
use darkroom_store::objects::{ObjectKey, ObjectKind, ObjectStore};
use darkroom_test_s3::{Fault, Manner, Rule, Server};
use hyper::Method;

use crate::cases::{content, list, put, read, stream, whole};
use crate::store::{PART_BYTES, THRESHOLD_BYTES, options};

/// An attempt may take so long.
const ATTEMPT: Duration = Duration::from_millis(600);
/// All attempts together.
pub(crate) const DEADLINE: Duration = Duration::from_millis(2_500);
/// Failed attempts that open the breaker.
const FAILURES: u32 = 5;
/// For how long.
const PAUSE: Duration = Duration::from_secs(1);
/// What a busy machine may add.
pub(crate) const SLACK: Duration = Duration::from_secs(5);
/// A failure that asks nobody.
const AT_ONCE: Duration = Duration::from_millis(100);
/// Between two looks at a condition that tells nobody when it comes true.
pub(crate) const POLL: Duration = Duration::from_millis(2);
/// The bytes of an object that is put in one request, and of one in parts.
const SIZES: [usize; 2] = [1_000_000, THRESHOLD_BYTES + PART_BYTES];

pub(crate) async fn open(more: impl FnOnce(S3Options) -> S3Options) -> (Server, ObjectStore) {
    let server = Server::start();
    let options = more(S3Options { breaker_failures: FAILURES, breaker_pause: PAUSE, ..options(&server) });
    let objects = ObjectStore::open_s3(options).await.unwrap();
    (server, objects)
}

/// A server, and a store on it that gives up soon. For small objects.
async fn hasty() -> (Server, ObjectStore) {
    open(|options| S3Options { attempt_timeout: ATTEMPT, operation_deadline: DEADLINE, ..options }).await
}

/// The same for large ones, whose parts take their time on a busy machine.
pub(crate) async fn hasty_for_parts() -> (Server, ObjectStore) {
    open(|options| S3Options { attempt_timeout: 2 * DEADLINE, operation_deadline: 2 * DEADLINE, ..options })
        .await
}

/// The same, with patience for many failures in a row.
pub(crate) async fn patient() -> (Server, ObjectStore) {
    open(|options| S3Options { breaker_failures: 100, ..options }).await
}

pub(crate) fn is_unavailable<T: std::fmt::Debug>(result: &Result<T, StoreError>) -> bool {
    matches!(result, Err(StoreError::Unavailable { .. }))
}

/// Everything that reads, on an object that is there.
async fn failures_of_reading(objects: &ObjectStore, key: &ObjectKey) -> Vec<Option<StoreError>> {
    vec![
        objects.get(key, None).await.err(),
        objects.get(key, Some(0..3)).await.err(),
        objects.get_whole(key, 10).await.err(),
        objects.head(key).await.err(),
        objects.list(ObjectKind::Original, None, 10).await.err(),
        objects.store_id().await.err(),
    ]
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_unavailable_in_bounded_time() {
    let (server, objects) = hasty().await;
    let key = put(&objects, ObjectKind::Original).await;
    server.faults().set([Fault::Slow(Duration::from_secs(3600)).always()]);
    let began = Instant::now();
    assert!(is_unavailable(&objects.put(&ObjectKey::new(ObjectKind::Original), content(1_000)).await));
    assert!(began.elapsed() < DEADLINE + SLACK, "a put took {:?}", began.elapsed());
    let began = Instant::now();
    for error in failures_of_reading(&objects, &key).await {
        assert!(matches!(error, Some(StoreError::Unavailable { .. })), "{error:?}");
    }
    assert!(began.elapsed() < 6 * DEADLINE + SLACK, "reading took {:?}", began.elapsed());
    server.faults().clear();
    recovers(&objects, &key).await;
}

/// An answer that is slow but comes in time is none the worse.
#[tokio::test]
async fn a_slow_answer_is_waited_for() {
    let (server, objects) = hasty().await;
    server.faults().set([Fault::Slow(ATTEMPT / 4).always()]);
    let key = put(&objects, ObjectKind::Original).await;
    assert_eq!(read(&objects, &key, None).await, content(10));
    let asked_twice =
        server.seen().iter().filter(|seen| seen.method == Method::PUT && seen.key == key.as_str()).count();
    assert_eq!(asked_twice, 1);
}

/// Bytes take their time on a slow line, and requests without any do not.
#[tokio::test]
async fn a_large_put_has_more_time_than_a_small_one() {
    let slow_line = |options| S3Options {
        attempt_timeout: ATTEMPT,
        operation_deadline: DEADLINE,
        upload_rate_min: 100_000,
        ..options
    };
    let (server, objects) = open(slow_line).await;
    server.faults().set([Fault::Slow(2 * ATTEMPT).on(Method::PUT, "originals/")]);
    for size in SIZES {
        stream(&objects, &ObjectKey::new(ObjectKind::Original), &content(size)).await;
    }
    let puts = server
        .seen()
        .iter()
        .filter(|seen| seen.method == Method::PUT && seen.key.starts_with("originals/"))
        .count();
    assert_eq!((puts, server.faults().hits()), (4, 4), "one put and three parts, each of them once");
    assert!(is_unavailable(&objects.put(&ObjectKey::new(ObjectKind::Original), content(10)).await));
}

#[tokio::test]
async fn a_server_that_fails_or_has_too_much_to_do_is_asked_again() {
    for fault in [Fault::internal_error(), Fault::slow_down()] {
        let (server, objects) = patient().await;
        for size in SIZES {
            let (key, bytes) = (ObjectKey::new(ObjectKind::Original), content(size));
            // Each kind of request meets it twice: the put, or the beginning, a part and the end of a put in parts.
            server.faults().set([
                fault.clone().on(Method::PUT, "originals/").times(2),
                fault.clone().on(Method::POST, "originals/").query("uploads").times(2),
                fault.clone().on(Method::POST, "originals/").query("uploadId").times(2),
                fault.clone().on(Method::GET, "originals/").times(2),
                fault.clone().on(Method::HEAD, "originals/").times(2),
                fault.clone().on(Method::DELETE, "originals/").times(2),
                fault.clone().on(Method::GET, "").query("list-type=2").times(2),
            ]);
            let receipt = stream(&objects, &key, &bytes).await;
            assert_eq!((receipt.bytes, receipt.hash), (size as u64, ContentHash::of(&bytes)));
            assert!(whole(&objects, &key, bytes.len()).await == bytes);
            assert_eq!(objects.head(&key).await.unwrap().unwrap().bytes, size as u64);
            assert_eq!(list(&objects, ObjectKind::Original, 10).await, std::slice::from_ref(&key));
            objects.delete(&[key]).await.unwrap();
            let expected = if size > THRESHOLD_BYTES { 14 } else { 10 };
            assert_eq!(server.faults().hits(), expected, "{fault:?}, {size} bytes");
            assert!(server.objects().is_empty() && server.open_uploads().is_empty());
        }
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_comes_whole_all_the_same() {
    let (server, objects) = patient().await;
    for size in SIZES {
        let (key, bytes) = (ObjectKey::new(ObjectKind::Original), content(size));
        stream(&objects, &key, &bytes).await;
        for at in [0, 1, size / 2, size - 1] {
            for range in [None, Some(0..size as u64), Some(7..size as u64 - 7)] {
                server.faults().set([Fault::CutAnswer(at).on(Method::GET, "originals/").times(1)]);
                let expected = range
                    .clone()
                    .map_or(&bytes[..], |range| &bytes[range.start as usize..range.end as usize]);
                let got = read(&objects, &key, range.clone()).await;
                assert!(got == expected, "{range:?} of {size} bytes, cut after {at}: {} came", got.len());
            }
        }
        server.faults().set([Fault::CutAnswer(size / 2).on(Method::GET, "originals/").times(1)]);
        assert!(whole(&objects, &key, bytes.len()).await == bytes);
        assert_eq!(server.faults().hits(), 1);
    }
}

#[tokio::test]
async fn a_body_that_always_breaks_off_is_an_error_and_never_short() {
    let (server, objects) = hasty().await;
    let (key, bytes) = (ObjectKey::new(ObjectKind::Original), content(1_000_000));
    objects.put(&key, bytes.clone()).await.unwrap();
    let first = Fault::CutAnswer(400_000).on(Method::GET, "originals/").times(1);
    server.faults().set([first, Fault::CutAnswer(0).on(Method::GET, "originals/")]);
    let began = Instant::now();
    let mut reader = objects.get(&key, None).await.unwrap().unwrap();
    let mut got = Vec::new();
    let error = loop {
        match reader.next().await {
            Ok(Some(piece)) => got.extend_from_slice(&piece),
            Ok(None) => panic!("the end after {} bytes of a million", got.len()),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
    assert!(bytes.starts_with(&got), "other bytes than were written");
    assert!(began.elapsed() < DEADLINE + SLACK, "it took {:?}", began.elapsed());
    assert!(is_unavailable(&objects.get_whole(&key, 10).await));
    server.faults().clear();
    recovers(&objects, &key).await;
}

#[tokio::test]
async fn a_put_that_breaks_off_is_sent_again() {
    let (server, objects) = patient().await;
    let cut = |at: usize, query: &'static str| {
        Fault::CutRequest(at).on(Method::PUT, "originals/").query(query).times(2)
    };
    let faults: [(usize, Rule); 5] = [
        (SIZES[0], cut(0, "")),
        (SIZES[0], cut(SIZES[0] / 2, "")),
        (SIZES[1], cut(PART_BYTES / 2, "partNumber=1")),
        (SIZES[1], cut(PART_BYTES / 2, "partNumber=2")),
        (SIZES[1], Fault::CutRequest(10).on(Method::POST, "originals/").query("uploadId").times(2)),
    ];
    for (size, fault) in faults {
        let (key, bytes) = (ObjectKey::new(ObjectKind::Original), content(size));
        server.faults().set([fault.clone()]);
        let receipt = stream(&objects, &key, &bytes).await;
        assert_eq!(server.faults().hits(), 2, "{fault:?}");
        assert_eq!((receipt.bytes, receipt.hash), (size as u64, ContentHash::of(&bytes)));
        assert!(whole(&objects, &key, bytes.len()).await == bytes, "{fault:?}");
        assert!(server.open_uploads().is_empty(), "{fault:?}");
    }
}

/// The server has done it and nobody knows: to do it again is the same as once.
#[tokio::test]
async fn an_answer_that_is_lost_does_no_harm() {
    let (server, objects) = patient().await;
    for size in SIZES {
        for (method, query) in [(Method::PUT, ""), (Method::POST, "uploadId")] {
            let (key, bytes) = (ObjectKey::new(ObjectKind::Original), content(size));
            server.faults().set([Fault::LoseAnswer.on(method, "originals/").query(query).times(1)]);
            stream(&objects, &key, &bytes).await;
            assert!(whole(&objects, &key, bytes.len()).await == bytes);
            assert!(server.open_uploads().is_empty());
        }
    }
    let key = put(&objects, ObjectKind::Variant).await;
    server.faults().set([Fault::LoseAnswer.on(Method::DELETE, "variants/").times(1)]);
    objects.delete(std::slice::from_ref(&key)).await.unwrap();
    assert!(objects.head(&key).await.unwrap().is_none());
}

#[tokio::test]
async fn bytes_that_change_on_their_way_to_the_server_are_sent_again() {
    for manner in [Manner::Aws, Manner::Garage] {
        let server = Server::start_as(manner);
        let objects = ObjectStore::open_s3(options(&server)).await.unwrap();
        for size in SIZES {
            let (key, bytes) = (ObjectKey::new(ObjectKind::Original), content(size));
            server.faults().set([Fault::CorruptRequest.on(Method::PUT, "originals/").times(2)]);
            stream(&objects, &key, &bytes).await;
            assert_eq!(server.faults().hits(), 2, "{manner:?}, {size} bytes");
            assert!(whole(&objects, &key, bytes.len()).await == bytes);
        }
    }
}

#[tokio::test]
async fn bytes_that_always_change_on_their_way_are_an_error_and_no_object() {
    let (server, objects) = hasty_for_parts().await;
    server.faults().set([Fault::CorruptRequest.on(Method::PUT, "originals/")]);
    for size in SIZES {
        let key = ObjectKey::new(ObjectKind::Original);
        let mut writer = objects.begin_put(&key).await.unwrap();
        let written = writer.write(content(size)).await;
        let failed = if written.is_ok() { writer.finish().await.map(drop) } else { written };
        assert!(is_unavailable(&failed), "{failed:?}");
    }
    assert!(is_unavailable(&objects.put(&ObjectKey::new(ObjectKind::Original), content(SIZES[0])).await));
    assert!(server.objects().is_empty(), "{:?}", server.objects());
}

/// The server says that it has stored something else: whatever is there then, nobody is told that it is the object.
#[tokio::test]
async fn a_put_that_is_answered_with_another_checksum_does_not_count() {
    let (server, objects) = hasty_for_parts().await;
    for size in SIZES {
        let key = ObjectKey::new(ObjectKind::Original);
        server.faults().set([Fault::WrongChecksum.on(Method::PUT, "originals/")]);
        let failed = objects.put(&key, content(size)).await;
        assert!(is_unavailable(&failed), "{size} bytes: {failed:?}");
        server.faults().set([Fault::WrongChecksum.on(Method::PUT, "originals/").times(1)]);
        let receipt = objects.put(&key, content(size)).await.unwrap();
        assert_eq!((receipt.bytes, server.faults().hits()), (size as u64, 1));
        assert!(whole(&objects, &key, size).await == content(size));
    }
}

#[tokio::test]
async fn bytes_that_change_on_their_way_back_are_noticed() {
    let (server, objects) = patient().await;
    for fault in [Fault::CorruptAnswer, Fault::WrongChecksum] {
        let (key, bytes) = (ObjectKey::new(ObjectKind::Original), content(1_000_000));
        objects.put(&key, bytes.clone()).await.unwrap();
        server.faults().set([fault.clone().on(Method::GET, "originals/").times(1)]);
        assert!(whole(&objects, &key, bytes.len()).await == bytes, "{fault:?}: it is read again");
        assert_eq!(server.faults().hits(), 1);
        server.faults().set([fault.clone().on(Method::GET, "originals/")]);
        let error = objects.get_whole(&key, 1_000_000).await.unwrap_err();
        assert!(matches!(error, StoreError::Corrupt { .. }), "{fault:?}: {error}");
        // A reader has given away what came before: it says so at the end, in place of the end.
        let mut reader = objects.get(&key, None).await.unwrap().unwrap();
        let error = loop {
            match reader.next().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("{fault:?}: the end, and no word of the damage"),
                Err(error) => break error,
            }
        };
        assert!(matches!(error, StoreError::Corrupt { .. }), "{fault:?}: {error}");
        server.faults().clear();
        objects.delete(&[key]).await.unwrap();
    }
}

#[tokio::test]
async fn a_server_that_is_gone_is_left_alone_and_found_again() {
    let (server, objects) = hasty().await;
    let key = put(&objects, ObjectKind::Original).await;
    server.go().await;
    let began = Instant::now();
    assert!(is_unavailable(&objects.head(&key).await));
    assert!(began.elapsed() < DEADLINE + SLACK, "it took {:?}", began.elapsed());
    fails_at_once(&objects, &key).await;
    server.come_back();
    recovers(&objects, &key).await;
    assert_eq!(read(&objects, &key, None).await, content(10));
}

#[tokio::test]
async fn while_the_breaker_is_open_nothing_is_asked_and_then_one_asks_for_all() {
    let (server, objects) = hasty().await;
    let key = put(&objects, ObjectKind::Original).await;
    server.faults().set([Fault::internal_error().always()]);
    assert!(is_unavailable(&objects.head(&key).await));
    // The pause begins anew with each that finds the server still failing.
    for trial in 0..3 {
        let (asked, began) = (server.seen().len(), Instant::now());
        while server.seen().len() == asked {
            assert!(is_unavailable(&objects.head(&key).await));
            assert!(began.elapsed() < PAUSE + SLACK, "nothing is asked any more");
            tokio::time::sleep(POLL).await;
        }
        let crowd = (0..20).map(|_| objects.head(&key));
        assert!(futures_util::future::join_all(crowd).await.iter().all(is_unavailable));
        assert_eq!(server.seen().len(), asked + 1, "a crowd came after pause {trial}");
    }
    server.faults().clear();
    recovers(&objects, &key).await;
}

/// Opens the breaker, sees to it that the server is well again, and waits until it may be asked.
async fn well_again_unnoticed(server: &Server, objects: &ObjectStore, key: &ObjectKey) {
    server.faults().set([Fault::internal_error().always()]);
    assert!(is_unavailable(&objects.head(key).await));
    server.faults().clear();
    let began = Instant::now();
    while objects.available().is_err() {
        assert!(began.elapsed() < PAUSE + SLACK, "nothing is ever asked again");
        tokio::time::sleep(POLL).await;
    }
}

#[tokio::test]
async fn a_crowd_that_finds_the_server_back_is_served() {
    let (server, objects) = hasty().await;
    let key = put(&objects, ObjectKind::Original).await;
    for slow in [Duration::ZERO, ATTEMPT / 4] {
        well_again_unnoticed(&server, &objects, &key).await;
        let asked = server.seen().len();
        server.faults().set([Fault::Slow(slow).on(Method::HEAD, "originals/").times(1)]);
        let crowd = (0..20).map(|_| objects.head(&key));
        let found = futures_util::future::join_all(crowd).await;
        assert!(found.iter().all(Result::is_ok), "{found:?}");
        assert_eq!(server.seen().len(), asked + 20);
    }
}

#[tokio::test]
async fn a_crowd_that_finds_the_server_still_away_is_refused_and_one_of_it_has_asked() {
    let (server, objects) = hasty().await;
    let key = put(&objects, ObjectKind::Original).await;
    well_again_unnoticed(&server, &objects, &key).await;
    let asked = server.seen().len();
    server.faults().set([Fault::internal_error().always()]);
    let crowd = (0..20).map(|_| objects.head(&key));
    let found = futures_util::future::join_all(crowd).await;
    assert!(found.iter().all(is_unavailable), "{found:?}");
    assert_eq!(server.seen().len(), asked + 1);
}

#[tokio::test]
async fn many_deletes_at_once_find_the_server_back() {
    let (server, objects) = hasty().await;
    let mut keys = Vec::new();
    for _ in 0..40 {
        keys.push(put(&objects, ObjectKind::Variant).await);
    }
    well_again_unnoticed(&server, &objects, &keys[0]).await;
    assert_eq!(objects.delete(&keys).await.unwrap(), keys.len());
    assert!(server.objects().is_empty(), "{:?}", server.objects());
}

/// Whoever deletes what failed puts have left is told how long that may appear.
#[tokio::test]
async fn a_put_that_has_failed_may_come_about_late() {
    let (server, objects) = hasty().await;
    let key = ObjectKey::new(ObjectKind::Original);
    server.faults().set([Fault::Late(Duration::from_secs(2)).on(Method::PUT, "originals/")]);
    assert!(is_unavailable(&objects.put(&key, content(1_000)).await));
    let failed = Instant::now();
    while !server.objects().contains_key(key.as_str()) {
        assert!(failed.elapsed() < SLACK, "it never came about");
        tokio::time::sleep(POLL).await;
    }
    let ObjectStore::S3(bucket) = &objects else { panic!("it is a bucket") };
    assert!(failed.elapsed() < bucket.late_put_max(), "{:?}", failed.elapsed());
}

/// A proxy before a server that starts knows nothing of objects. What it says of one is not believed.
#[tokio::test]
async fn a_404_that_is_not_s3s_is_no_missing_object() {
    let not_found = hyper::StatusCode::NOT_FOUND;
    for fault in [Fault::Refuse(not_found, ""), Fault::Page(not_found)] {
        let (server, objects) = hasty().await;
        let key = put(&objects, ObjectKind::Original).await;
        for method in [Method::GET, Method::DELETE] {
            server.faults().set([fault.clone().on(method.clone(), "originals/")]);
            let failed = match method {
                Method::GET => objects.get_whole(&key, 10).await.map(drop),
                _ => objects.delete(std::slice::from_ref(&key)).await.map(drop),
            };
            assert!(is_unavailable(&failed), "{fault:?} to {method}: {failed:?}");
            assert!(server.faults().hits() > 1, "{fault:?} to {method} is tried again");
            server.faults().clear();
            recovers(&objects, &key).await;
        }
        server.faults().set([
            fault.clone().on(Method::GET, "originals/").times(2),
            fault.clone().on(Method::DELETE, "originals/").times(2),
        ]);
        assert_eq!(whole(&objects, &key, 10).await, content(10));
        objects.delete(&[key]).await.unwrap();
        assert_eq!(server.faults().hits(), 4);
        assert!(list(&objects, ObjectKind::Original, 10).await.is_empty());
    }
}

/// Somebody's rule has moved it to an archive: no attempt will read it, and the server is well.
#[tokio::test]
async fn an_archived_object_is_unreadable_and_nothing_else_is() {
    let (server, objects) = hasty().await;
    let key = put(&objects, ObjectKind::Original).await;
    let archived = Fault::Refuse(hyper::StatusCode::FORBIDDEN, "InvalidObjectState");
    server.faults().set([archived.on(Method::GET, "originals/")]);
    for error in [objects.get_whole(&key, 10).await.err(), objects.get(&key, None).await.err()] {
        let Some(StoreError::Unreadable { what, detail }) = error else { panic!("{error:?}") };
        assert!(what.contains(key.as_str()) && detail.contains("InvalidObjectState"), "{what}: {detail}");
    }
    assert_eq!(server.faults().hits(), 2, "it is not tried again");
    assert!(objects.head(&key).await.unwrap().is_some());
}

/// A bucket that is gone is not one whose objects are.
#[tokio::test]
async fn a_missing_bucket_is_no_missing_object() {
    let (server, objects) = hasty().await;
    let key = put(&objects, ObjectKind::Original).await;
    server.faults().set([Fault::Refuse(hyper::StatusCode::NOT_FOUND, "NoSuchBucket").always()]);
    assert!(is_unavailable(&objects.get_whole(&key, 10).await));
    assert!(is_unavailable(&objects.delete(&[key]).await));
}

/// What the server refuses is not tried again, and no reason to leave it alone.
#[tokio::test]
async fn a_refusal_is_said_at_once_and_opens_nothing() {
    let (server, objects) = hasty().await;
    let key = put(&objects, ObjectKind::Original).await;
    let denied = Fault::Refuse(hyper::StatusCode::FORBIDDEN, "AccessDenied");
    server.faults().set([denied.on(Method::GET, "originals/")]);
    for tries in 1..=2 * FAILURES as usize {
        let error = objects.get_whole(&key, 10).await.unwrap_err().to_string();
        assert!(error.contains("AccessDenied"), "{error}");
        assert_eq!(server.faults().hits(), tries);
    }
    assert!(objects.head(&key).await.unwrap().is_some());
}

/// With the breaker open: every operation fails, and none takes time.
async fn fails_at_once(objects: &ObjectStore, key: &ObjectKey) {
    let began = Instant::now();
    let mut failed = 0;
    // As many as fit before the breaker tries again.
    while began.elapsed() < PAUSE / 4 {
        assert!(is_unavailable(&objects.head(key).await));
        failed += 1;
    }
    assert!(failed > 10, "only {failed} failures in {:?}", PAUSE / 4);
    let began = Instant::now();
    assert!(objects.begin_put(&ObjectKey::new(ObjectKind::Original)).await.is_err());
    assert!(began.elapsed() < AT_ONCE, "it took {:?}", began.elapsed());
}

/// The server is well again: soon, everything works.
async fn recovers(objects: &ObjectStore, key: &ObjectKey) {
    let began = Instant::now();
    while objects.head(key).await.is_err() {
        assert!(began.elapsed() < PAUSE + SLACK, "it is never asked again");
        tokio::time::sleep(POLL).await;
    }
    objects.put(&ObjectKey::new(ObjectKind::Variant), content(1_000)).await.unwrap();
}
