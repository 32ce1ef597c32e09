//! Checksum, concatenation, expiration, termination.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use darkroom_tests::{Client, Daemon, Setup};
use hyper::{Method, StatusCode};
use sha2::Digest;

use super::{TUS, append_rest, became, create, head, offset, patch, patch_with, photo_of};

#[tokio::test]
async fn bytes_that_are_not_those_of_their_checksum_are_not_kept() {
    // Larger than a piece, so that some are put before the end is seen.
    let daemon = Daemon::start_with(&Setup::config("[uploads]\npiece = '1 MiB'"));
    let client = daemon.client();
    let photo = photo_of(1, 3 << 20);
    let path = create(&client, photo.len(), &[]).await;
    let (first, rest) = photo.split_at(2_500_000);
    let digest = |bytes: &[u8]| format!("blake3 {}", STANDARD.encode(blake3::hash(bytes).as_bytes()));
    let wrong = digest(rest);
    let refused = patch_with(&client, &path, 0, first, &[("upload-checksum", &wrong)]).await;
    assert_eq!(refused.status.as_u16(), 460, "{refused:?}");
    assert_eq!(offset(&client, &path).await, 0);
    let unknown = patch_with(&client, &path, 0, first, &[("upload-checksum", "crc32 AAAAAA==")]).await;
    assert_eq!((unknown.status, unknown.problem().as_str()), (StatusCode::BAD_REQUEST, "invalid-header"));
    let kept = patch_with(&client, &path, 0, first, &[("upload-checksum", &digest(first))]).await;
    assert_eq!((kept.status, kept.header("upload-offset")), (StatusCode::NO_CONTENT, "2500000"));
    let last = patch_with(&client, &path, 2_500_000, rest, &[("upload-checksum", &wrong)]).await;
    became(&client, last.header("photo-location"), &photo).await;
}

/// The digest of these bytes as `Upload-Checksum` has it.
fn digest(bytes: &[u8]) -> String {
    format!("blake3 {}", STANDARD.encode(blake3::hash(bytes).as_bytes()))
}

#[tokio::test]
async fn bytes_that_were_damaged_on_their_way_do_not_end_the_upload() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let photo = photo_of(11, 60_000);
    let path = create(&client, photo.len(), &[]).await;
    // The first two bytes are those of a JPEG, and what comes after is no photo's.
    assert_eq!(patch(&client, &path, 0, &photo[..2]).await.status, StatusCode::NO_CONTENT);
    let damaged: Vec<u8> = photo[2..30_000].iter().map(|byte| byte ^ 0x5A).collect();
    let checksum = digest(&photo[2..30_000]);
    let told = patch_with(&client, &path, 2, &damaged, &[("upload-checksum", &checksum)]).await;
    assert_eq!((told.status.as_u16(), told.header("upload-offset")), (460, "2"), "{told:?}");
    assert_eq!(offset(&client, &path).await, 2);
    let sound = patch_with(&client, &path, 2, &photo[2..30_000], &[("upload-checksum", &checksum)]).await;
    assert_eq!(sound.status, StatusCode::NO_CONTENT, "{sound:?}");
    let last = append_rest(&client, &path, &photo, 30_000, 30_000).await;
    became(&client, last.header("photo-location"), &photo).await;
    // What was meant so is refused, as without a checksum.
    let path = create(&client, damaged.len(), &[]).await;
    let refused = patch_with(&client, &path, 0, &damaged, &[("upload-checksum", &digest(&damaged))]).await;
    assert_eq!(refused.problem(), "unsupported-image", "{refused:?}");
}

#[tokio::test]
async fn a_join_that_was_refused_is_refused_again() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let photo = photo_of(12, 30_000);
    let (a, b) = (part(&client, &photo[..200]).await, part(&client, &photo[200..400]).await);
    let first = join(&client, &[&a, &b]).await;
    assert_eq!((first.status.as_u16(), first.problem().as_str()), (422, "truncated-image"), "{first:?}");
    let again = join(&client, &[&a, &b]).await;
    assert_eq!((again.status, again.problem()), (first.status, first.problem()), "{again:?}");
}

/// A partial upload of these bytes; its path.
#[tokio::test]
async fn bytes_that_are_not_those_of_their_digest_are_not_kept() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let photo = photo_of(9, 60_000);
    let path = create(&client, photo.len(), &[]).await;
    assert_eq!(patch(&client, &path, 0, &photo[..20_000]).await.status, StatusCode::NO_CONTENT);
    let sha256 = |bytes: &[u8]| format!("sha-256=:{}:", STANDARD.encode(sha2::Sha256::digest(bytes)));
    let md5 = |bytes: &[u8]| STANDARD.encode(md5::Md5::digest(bytes));
    let (piece, other) = (&photo[20_000..40_000], &photo[..20_000]);
    for (name, wrong) in [("content-digest", sha256(other)), ("content-md5", md5(other))] {
        let refused = patch_with(&client, &path, 20_000, piece, &[(name, &wrong)]).await;
        assert_eq!((refused.status.as_u16(), &*refused.problem()), (422, "digest-mismatch"), "{refused:?}");
        let detail = refused.json()["detail"].as_str().unwrap().to_lowercase();
        assert!(detail.starts_with(name) && detail.contains(&wrong.to_lowercase()), "{detail}");
        assert_eq!((refused.header("upload-offset"), offset(&client, &path).await), ("20000", 20_000));
        let malformed = patch_with(&client, &path, 20_000, piece, &[(name, "nonsense")]).await;
        assert_eq!(malformed.problem(), "digest-malformed");
    }
    let right = [("content-digest", &*sha256(piece)), ("content-md5", &*md5(piece))];
    let taken = patch_with(&client, &path, 20_000, piece, &right).await;
    assert_eq!(taken.header("upload-offset"), "40000", "{taken:?}");
    let last = append_rest(&client, &path, &photo, 40_000, 20_000).await;
    became(&client, last.header("photo-location"), &photo).await;
}

async fn part(client: &Client, bytes: &[u8]) -> String {
    let path = create(client, bytes.len(), &[("upload-concat", "partial")]).await;
    let last = patch(client, &path, 0, bytes).await;
    assert_eq!((last.status, last.header("photo-location")), (StatusCode::NO_CONTENT, ""));
    assert_eq!(head(client, &path).await.header("upload-concat"), "partial");
    path
}

async fn join(client: &Client, parts: &[&str]) -> darkroom_tests::Answer {
    let concat = format!("final;{}", parts.join(" "));
    client.send(Method::POST, "/v1/uploads", &[TUS, ("upload-concat", &concat)], Bytes::new()).await
}

#[tokio::test]
async fn parts_that_came_side_by_side_become_one_photo() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let photo = photo_of(2, 90_000);
    let (a, b, c) = tokio::join!(
        part(&client, &photo[..30_000]),
        part(&client, &photo[30_000..70_001]),
        part(&client, &photo[70_001..])
    );
    let whole = join(&client, &[&a, &b, &format!("http://{}{c}", client.address())]).await;
    assert_eq!(whole.status, StatusCode::CREATED, "{whole:?}");
    let id = became(&client, whole.header("photo-location"), &photo).await;
    let path = whole.header("location");
    let stands = head(&client, path).await;
    assert_eq!(stands.header("upload-offset"), photo.len().to_string());
    assert_eq!(stands.header("upload-length"), photo.len().to_string());
    assert!(stands.header("upload-concat").starts_with(&format!("final;{a} {b} http://")));
    assert_eq!(patch(&client, path, photo.len(), &[]).await.status, StatusCode::FORBIDDEN);
    // Who did not get the answer asks again, and gets the same; others cannot have the parts.
    let again = join(&client, &[&a, &b, &c]).await;
    assert_eq!(
        (again.header("location"), again.header("photo-location")),
        (path, format!("/v1/photos/{id}").as_str())
    );
    assert_eq!(join(&client, &[&b, &a]).await.problem(), "upload-ended");
    assert_eq!(client.get(&a).await.json()["state"], "joined");
    assert_eq!(head(&client, &a).await.header("upload-offset"), "30000");
}

#[tokio::test]
async fn parts_that_cannot_be_joined_are_named() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let photo = photo_of(3, 30_000);
    let whole = part(&client, &photo[..20_000]).await;
    let unfinished = create(&client, 10_000, &[("upload-concat", "partial")]).await;
    let plain = create(&client, 10_000, &[]).await;
    assert_eq!(join(&client, &[&whole, &unfinished]).await.problem(), "upload-part-unfinished");
    assert_eq!(join(&client, &[&whole, &plain]).await.problem(), "upload-not-found");
    assert_eq!(join(&client, &["/v1/uploads/nonsense"]).await.problem(), "upload-not-found");
    patch(&client, &unfinished, 0, &photo[20_000..]).await;
    let joined = join(&client, &[&whole, &unfinished]).await;
    became(&client, joined.header("photo-location"), &photo).await;
}

#[tokio::test]
async fn what_is_terminated_is_gone_and_so_are_its_bytes() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let photo = photo_of(4, 50_000);
    let path = create(&client, photo.len(), &[]).await;
    patch(&client, &path, 0, &photo[..20_000]).await;
    let gone = client.send(Method::DELETE, &path, &[TUS], Bytes::new()).await;
    assert_eq!((gone.status, gone.header("tus-resumable")), (StatusCode::NO_CONTENT, "1.0.0"));
    assert_eq!(head(&client, &path).await.status, StatusCode::NOT_FOUND);
    assert_eq!(patch(&client, &path, 20_000, &photo[20_000..]).await.problem(), "upload-not-found");
    assert_eq!(client.delete(&path).await.problem(), "upload-not-found");
    client.sweep().await;
    assert!(darkroom_tests::daemon::files(&daemon.data().join("objects/uploads")).is_empty());
    // Of one that has become a photo, the photo stays.
    let path = create(&client, photo.len(), &[]).await;
    let last = append_rest(&client, &path, &photo, 0, photo.len()).await;
    assert_eq!(client.delete(&path).await.status, StatusCode::NO_CONTENT);
    became(&client, last.header("photo-location"), &photo).await;
}

#[tokio::test]
async fn an_upload_to_which_nothing_is_added_goes_in_time() {
    let daemon = Daemon::start_with(&Setup::config("[uploads]\nexpire = '1s'\nkeep = '1s'"));
    let client = daemon.client();
    let photo = photo_of(5, 50_000);
    let path = create(&client, photo.len(), &[]).await;
    patch(&client, &path, 0, &photo[..20_000]).await;
    let done = create(&client, photo.len(), &[]).await;
    append_rest(&client, &done, &photo, 0, photo.len()).await;
    let are_gone = async || {
        client.sweep().await;
        client.get(&path).await.status == StatusCode::NOT_FOUND
            && client.get(&done).await.status == StatusCode::NOT_FOUND
    };
    darkroom_tests::eventually("both have gone", are_gone).await;
    client.sweep().await;
    assert!(darkroom_tests::daemon::files(&daemon.data().join("objects/uploads")).is_empty());
    assert_eq!(client.all().await.len(), 1);
}
