//! Uploads in parts whose server fails: each comes to the object that was sent or to an error, and leaves nothing.

use std::time::Instant;

use bytes::Bytes;
use darkroom_store::objects::s3::S3Options;
use darkroom_store::objects::{ObjectKey, ObjectKind, ObjectStore};
use darkroom_test_s3::{Fault, Rule, Server};
use hyper::{Method, StatusCode};

use crate::cases::{content, stream, whole};
use crate::s3_faults::{DEADLINE, POLL, SLACK, hasty_for_parts, is_unavailable, open, patient};
use crate::store::{PART_BYTES, THRESHOLD_BYTES};

/// An object that goes in parts.
fn large() -> (ObjectKey, Bytes) {
    (ObjectKey::new(ObjectKind::Original), content(THRESHOLD_BYTES + PART_BYTES))
}

/// Met by requests that begin an upload.
fn at_begin(fault: Fault) -> Rule {
    fault.on(Method::POST, "originals/").query("uploads")
}

/// Met by requests that complete one.
fn at_end(fault: Fault) -> Rule {
    fault.on(Method::POST, "originals/").query("uploadId")
}

/// Waits until these are the keys of the uploads that are open.
async fn open_uploads_become(server: &Server, keys: &[&str]) {
    let began = Instant::now();
    while server.open_uploads() != keys {
        assert!(began.elapsed() < SLACK, "{:?}", server.open_uploads());
        tokio::time::sleep(POLL).await;
    }
}

#[tokio::test]
async fn a_put_in_parts_that_fails_leaves_nothing_behind() {
    let (server, objects) = hasty_for_parts().await;
    let denied = Fault::Refuse(StatusCode::FORBIDDEN, "AccessDenied");
    for fault in [denied, Fault::CorruptRequest] {
        server.faults().set([fault.on(Method::PUT, "originals/").query("partNumber=2")]);
        let key = ObjectKey::new(ObjectKind::Original);
        assert!(is_unavailable(&objects.put(&key, content(4 * PART_BYTES)).await));
        open_uploads_become(&server, &[]).await;
        assert!(server.objects().is_empty());
    }
}

/// Some servers forget an upload with its end: then the object itself tells that it came about.
#[tokio::test]
async fn an_upload_whose_end_is_not_remembered_has_ended_all_the_same() {
    let (server, objects) = patient().await;
    let (key, bytes) = large();
    let forgotten = Fault::Refuse(StatusCode::NOT_FOUND, "NoSuchUpload");
    let end = [at_end(Fault::LoseAnswer).times(1), at_end(forgotten.clone()).times(1)];
    server.faults().set(end.clone());
    let receipt = objects.put(&key, bytes.clone()).await.unwrap();
    assert_eq!((receipt.bytes, server.faults().hits()), (bytes.len() as u64, 2));
    assert!(whole(&objects, &key, bytes.len()).await == bytes);
    // Another object than was sent is none, and without one it has not.
    let [lost, forgotten] = end;
    let wrong = Fault::WrongChecksum.on(Method::HEAD, "originals/");
    server.faults().set([lost, forgotten.clone(), wrong]);
    let failed = objects.put(&ObjectKey::new(ObjectKind::Original), bytes.clone()).await;
    assert!(failed.unwrap_err().to_string().contains("other bytes"));
    server.faults().set([forgotten]);
    assert!(objects.put(&ObjectKey::new(ObjectKind::Original), bytes).await.is_err());
}

/// Each part was right, and the server says that it has put them together to something else: whatever is there then,
/// nobody is told that it is the object.
#[tokio::test]
async fn parts_that_are_put_together_wrongly_do_not_count() {
    let (server, objects) = hasty_for_parts().await;
    let (key, bytes) = large();
    server.faults().set([at_end(Fault::WrongChecksum)]);
    let failed = objects.put(&key, bytes).await;
    assert!(is_unavailable(&failed), "{failed:?}");
    assert!(failed.unwrap_err().to_string().contains("other bytes"));
    assert_eq!(server.faults().hits(), 1, "the server would say the same again");
    server.faults().clear();
    let (key, bytes) = large();
    objects.put(&key, bytes.clone()).await.unwrap();
    assert!(whole(&objects, &key, bytes.len()).await == bytes);
}

/// The server has begun an upload, and nobody knows its name.
#[tokio::test]
async fn an_upload_whose_beginning_was_not_answered_does_not_stay() {
    let (server, objects) = open(|options| S3Options {
        breaker_failures: 1_000,
        attempt_timeout: DEADLINE,
        operation_deadline: DEADLINE,
        ..options
    })
    .await;
    // Others are none of its business.
    let ObjectStore::S3(bucket) = &objects else { panic!("it is a bucket") };
    let other = ObjectKey::new(ObjectKind::Original);
    let id = bucket.begin_parts(&other).await.unwrap();

    let (key, bytes) = large();
    server.faults().set([at_begin(Fault::LoseAnswer).times(2)]);
    stream(&objects, &key, &bytes).await;
    assert_eq!((server.faults().hits(), server.open_uploads()), (2, vec![other.as_str().to_owned()]));
    assert!(whole(&objects, &key, bytes.len()).await == bytes);

    // No answer at all.
    let (key, bytes) = large();
    server.faults().set([at_begin(Fault::LoseAnswer)]);
    assert!(is_unavailable(&objects.put(&key, bytes).await));
    assert!(server.faults().hits() > 1, "{} attempts", server.faults().hits());
    open_uploads_become(&server, &[other.as_str()]).await;
    bucket.abort_parts(&other, &id).await.unwrap();
}
