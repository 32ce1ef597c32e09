//! Resumable uploads whose pieces lie in a bucket, taken up by another life of the daemon each time.

use darkroom_test_s3::{BUCKET, Fault, KEY_ID, REGION, SECRET_KEY, Server};
use darkroom_tests::{Daemon, Setup};
use hyper::{Method, StatusCode};

use super::{became, create, offset, patch, photo_of};

fn on(server: &Server) -> Setup {
    let config = format!(
        "[objects]\nstore = 's3'\n[objects.s3]\nbucket = '{BUCKET}'\nendpoint = '{}'\nregion = '{REGION}'\n\
         path_style = true\nlate_request_max = '1s'\n",
        server.endpoint()
    );
    let variables = [("AWS_ACCESS_KEY_ID", KEY_ID), ("AWS_SECRET_ACCESS_KEY", SECRET_KEY)];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    Setup { environment: variables, ..Setup::config(&config) }
}

#[tokio::test]
async fn each_request_may_meet_another_node() {
    const PART: usize = 5 << 20;
    let server = Server::start();
    let setup = on(&server);
    let sizes = [5_000_000 - 1, PART, 1, 1, PART, 5_000_000 - 1, 1];
    let photo = photo_of(1, sizes.iter().sum());
    let mut daemon = Daemon::start_with(&setup);
    let path = create(&daemon.client(), photo.len(), &[]).await;
    let mut at = 0;
    for (index, size) in sizes.into_iter().enumerate() {
        // Killed, or ended in order: the next epoch takes up.
        daemon = Daemon::start_on(if index % 2 == 0 { daemon.kill() } else { daemon.stop() }, &setup);
        let client = daemon.client();
        assert_eq!(offset(&client, &path).await, at);
        let answer = patch(&client, &path, at, &photo[at..at + size]).await;
        assert_eq!(answer.status, StatusCode::NO_CONTENT, "{answer:?}");
        at += size;
        assert_eq!(answer.header("upload-offset"), at.to_string());
        if at == photo.len() {
            became(&client, answer.header("photo-location"), &photo).await;
        } else {
            // The tail is an object of its own, and what is small before it is folded into what comes after.
            let pieces = server.objects().into_keys().filter(|key| key.starts_with("uploads/")).count();
            assert!((1..=index + 1).contains(&pieces), "{pieces} after {index}");
        }
    }
}

#[tokio::test]
async fn pieces_are_lost_only_if_the_bucket_is_the_right_one() {
    let server = Server::start();
    let daemon = Daemon::start_with(&on(&server));
    let client = daemon.client();
    let photo = photo_of(2, 60_000);
    let (first, rest) = photo.split_at(20_000);
    let missing = |key| Fault::Refuse(StatusCode::NOT_FOUND, "NoSuchKey").on(Method::GET, key);
    let path = create(&client, photo.len(), &[]).await;
    assert_eq!(patch(&client, &path, 0, first).await.status, StatusCode::NO_CONTENT);
    // The bucket of somebody else: what is folded into the next piece, or read for the photo, is not lost.
    server.faults().set([missing("uploads/"), missing("store-id")]);
    let away = patch(&client, &path, first.len(), rest).await;
    assert_eq!(away.status, StatusCode::SERVICE_UNAVAILABLE, "{away:?}");
    server.faults().clear();
    let at = offset(&client, &path).await;
    let last = patch(&client, &path, at, &photo[at..]).await;
    became(&client, last.header("photo-location"), &photo).await;
    // In the right one they are.
    let path = create(&client, photo.len(), &[]).await;
    assert_eq!(patch(&client, &path, 0, first).await.status, StatusCode::NO_CONTENT);
    server.faults().set([missing("uploads/")]);
    let lost = patch(&client, &path, first.len(), rest).await;
    assert_eq!(lost.problem(), "upload-bytes-lost", "{lost:?}");
    assert_eq!(client.get(&path).await.json()["state"], "refused");
}
