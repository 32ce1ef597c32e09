//! Two daemons at once on one cluster and one bucket: what one of them was told, the other knows, and goes on with where
//! the first is gone.
//!
//! Where `DARKROOM_TEST_FDB_CLUSTER_FILE` names a cluster and the daemon (`DARKROOMD_BIN`) is built with `--features
//! foundationdb`; see `docs/foundationdb.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use bytes::Bytes;
use darkroom_test_s3::Server;
use darkroom_tests::{Answer, Client, Daemon, Setup, photos};
use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use super::batches::{Batch, counts};
use super::direct::{announce, complete, id_of, make, original, post};
use super::promises::{ALLOW, Halfway, assert_same, claimed, keyed, until};
use super::s3::on;

/// A node that is gone is declared dead soon.
const SOON_DEAD: &str = "[nodes]\ntimeout = '5s'\nclock_skew_max = '1s'\n";

/// Two daemons at once, or none where there is no cluster to have them on.
pub(super) fn two_nodes(server: &Server, more: &str) -> Option<(Setup, [Daemon; 2])> {
    let Ok(cluster) = std::env::var("DARKROOM_TEST_FDB_CLUSTER_FILE") else {
        println!("skipped: DARKROOM_TEST_FDB_CLUSTER_FILE names no cluster");
        return None;
    };
    assert!(Path::new(&cluster).is_absolute(), "{cluster}");
    let setup = on(
        server,
        &format!(
            "[metadata]\nengine = 'foundationdb'\n[metadata.foundationdb]\ncluster_file = '{cluster}'\nprefix = \
             'test/{:016x}/'\n{more}",
            rand::random::<u64>()
        ),
    );
    let start = || Daemon::try_start_on(std::sync::Arc::new(tempfile::tempdir().unwrap()), &setup);
    match start() {
        Ok(one) => Some((setup.clone(), [one, start().unwrap_or_else(|log| panic!("{log}"))])),
        Err(log) if log.contains("--features foundationdb") => {
            println!("skipped: DARKROOMD_BIN is built without the feature foundationdb");
            None
        }
        Err(log) => panic!("{log}"),
    }
}

/// Photos of these seeds as a batch, to each node in turn, some at once; how many got which status.
async fn upload_in_turn(nodes: &[Batch; 2], seeds: impl Iterator<Item = u64>) -> BTreeMap<u16, u64> {
    let statuses = stream::iter(seeds.enumerate()).map(|(number, seed)| async move {
        loop {
            let name = format!("{seed}.jpg");
            let answer = nodes[number % 2].upload(&name, photos::photo(seed, 48, 32)).await;
            if answer.status != StatusCode::SERVICE_UNAVAILABLE {
                return answer.status.as_u16();
            }
        }
    });
    let statuses: Vec<_> = statuses.buffer_unordered(8).collect().await;
    let mut found = BTreeMap::new();
    for status in statuses {
        *found.entry(status).or_insert(0) += 1;
    }
    found
}

#[tokio::test]
async fn a_batch_over_two_nodes_is_counted_exactly() {
    const PHOTOS: u64 = 60;
    let server = Server::start();
    let Some((_, nodes)) = two_nodes(&server, "") else { return };
    let first = Batch::open(&nodes[0].client(), &json!({"expected": PHOTOS + 10})).await;
    let second = Batch { client: nodes[1].client(), id: first.id.clone() };
    // Followed at each node, which ends when all that is expected was finished, wherever it was.
    let following = [&first, &second].map(|batch| {
        let (client, path) = (batch.client.clone(), batch.path("/events"));
        tokio::spawn(async move { client.get(&path).await })
    });
    let batches = [first, second];
    // Every sixth comes twice: the second time, to the same node or the other, it is a duplicate.
    let seeds = (0..PHOTOS).chain((0..PHOTOS).step_by(6));
    let statuses = upload_in_turn(&batches, seeds).await;
    assert_eq!(statuses, BTreeMap::from([(201, PHOTOS), (200, 10)]));
    let expected = BTreeMap::from([("received", PHOTOS + 10), ("ready", PHOTOS), ("duplicates", 10)]);
    for batch in &batches {
        let settled = batch.settled().await;
        assert_eq!((counts(&settled), &settled["complete"]), (expected.clone(), &json!(true)), "{settled}");
    }
    for followed in following {
        let followed = followed.await.unwrap();
        let text = String::from_utf8(followed.body.to_vec()).unwrap();
        let last = text.lines().rev().find_map(|line| line.strip_prefix("data:")).unwrap();
        let last: Value = serde_json::from_str(last).unwrap();
        assert_eq!(counts(&last), expected, "{text}");
    }
    // Cancelled at one node, it takes nothing at the other.
    assert_eq!(batches[0].post("/cancel", "").await.json()["state"], "cancelled");
    let late = batches[1].upload("late.jpg", photos::photo(PHOTOS, 48, 32)).await;
    assert_eq!(late.problem(), "batch-cancelled");
}

#[tokio::test]
async fn equal_photos_to_two_nodes_at_once_are_one() {
    let server = Server::start();
    let Some((_, nodes)) = two_nodes(&server, "") else { return };
    let clients = [nodes[0].client(), nodes[1].client()];
    for seed in 0..10 {
        let photo = photos::photo(seed, 90, 60);
        let answers = join_all((0..6).map(|number| clients[number % 2].upload(&photo))).await;
        let ids: BTreeSet<_> = answers.iter().map(|answer| id_of(&answer.json()).to_owned()).collect();
        let created = answers.iter().filter(|answer| answer.status == StatusCode::CREATED).count();
        assert_eq!((ids.len(), created), (1, 1), "{answers:?}");
    }
    assert_eq!(clients[0].all().await.len(), 10);
}

#[tokio::test]
async fn a_request_under_a_key_is_carried_out_once_over_two_nodes() {
    let server = Server::start();
    let Some((_, nodes)) = two_nodes(&server, "") else { return };
    let [one, other] = [nodes[0].client(), nodes[1].client()];
    let (photo, another) = (photos::photo(1, 300, 200), photos::photo(2, 300, 200));
    let slow = Halfway::send(&one, ALLOW, &[("idempotency-key", "k")], &photo, 1000).await;
    claimed(&one).await;
    let meanwhile = keyed(&other, ALLOW, "k", &photo).await;
    assert_eq!(
        (meanwhile.status, meanwhile.problem().as_str()),
        (StatusCode::CONFLICT, "request-in-progress")
    );
    assert_eq!(meanwhile.header("retry-after"), "1");
    assert_eq!(slow.finish().await, 201);
    let first = keyed(&one, ALLOW, "k", &photo).await;
    assert_eq!(first.status, StatusCode::CREATED);
    assert_same(&keyed(&other, ALLOW, "k", &photo).await, &first);
    assert_eq!(keyed(&other, ALLOW, "k", &another).await.problem(), "idempotency-key-reused");
    // To both at once.
    let clients = [&one, &other];
    let answers = join_all((0..8).map(|number| keyed(clients[number % 2], ALLOW, "race", &another))).await;
    let last = keyed(&other, ALLOW, "race", &another).await;
    for answer in &answers {
        assert!([StatusCode::CREATED, StatusCode::CONFLICT].contains(&answer.status), "{answer:?}");
        if answer.status == StatusCode::CREATED {
            assert_same(answer, &last);
        }
    }
    assert_eq!(other.all().await.len(), 2);
}

/// What a client does whose node dies: it sends everything again, under the same keys, to another.
#[tokio::test]
async fn what_a_dead_node_was_sent_under_keys_is_there_once_when_another_is_sent_it_again() {
    const PHOTOS: u64 = 40;
    let server = Server::start();
    let Some((_, [doomed, other])) = two_nodes(&server, SOON_DEAD) else { return };
    let batch = Batch::open(&doomed.client(), &json!({"expected": PHOTOS})).await;
    let path = &format!("{ALLOW}&batch_id={}", batch.id);
    // Photos that take some time, so that the node dies with some in its stages.
    let send = |client: Client, seed: u64| async move {
        let (key, photo) = (seed.to_string(), photos::photo(seed, 640, 480));
        let request = client.request(Method::POST, path, &[("idempotency-key", &key)], photo);
        client.try_send(request).await
    };
    let client = doomed.client();
    let uploads = stream::iter(0..PHOTOS).map(|seed| {
        let sent = send(client.clone(), seed);
        async move { (seed, sent.await.unwrap()) }
    });
    let mut uploads = Box::pin(uploads.buffer_unordered(8));
    let mut acknowledged = BTreeMap::new();
    while let Some((seed, answer)) = uploads.next().await {
        assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
        acknowledged.insert(seed, answer);
        if acknowledged.len() == 10 {
            break; // The others are on their way.
        }
    }
    doomed.kill();
    drop(uploads);
    let batch = Batch { client: other.client(), id: batch.id };
    let again = |seed: u64| {
        let client = other.client();
        async move { until(StatusCode::CREATED, async || send(client.clone(), seed).await.unwrap()).await }
    };
    let answers: Vec<_> = stream::iter(0..PHOTOS).map(again).buffered(8).collect().await;
    for (seed, first) in &acknowledged {
        assert_same(&answers[usize::try_from(*seed).unwrap()], first);
    }
    let settled = batch.settled().await;
    assert_eq!(counts(&settled), BTreeMap::from([("received", PHOTOS), ("ready", PHOTOS)]), "{settled}");
    assert_eq!((settled["complete"].clone(), other.client().all().await.len()), (json!(true), 40));
}

#[tokio::test]
async fn a_direct_upload_is_completed_and_given_up_at_whichever_node() {
    let server = Server::start();
    let parted = "[direct]\npart_bytes = '5 MiB'\nparts_above = '6 MiB'\npart_urls_max = 2\n";
    let Some((_, nodes)) = two_nodes(&server, parted) else { return };
    let [one, other] = [nodes[0].client(), nodes[1].client()];
    let photo = photos::photo(1, 640, 480);
    let upload = announce(&one, &json!({"bytes": photo.len(), "filename": "a.jpg"})).await;
    assert_eq!(complete(&other, &upload).await.problem(), "direct-upload-incomplete");
    assert_eq!(make(&upload["put"], photo.clone()).await.status, StatusCode::OK);
    let completed = complete(&other, &upload).await;
    assert_eq!(completed.status, StatusCode::CREATED, "{completed:?}");
    let id = id_of(&completed.json()).to_owned();
    let again = complete(&one, &upload).await;
    assert_eq!((again.status, id_of(&again.json())), (StatusCode::CREATED, &*id));
    let shown = one.get(&format!("/v1/direct-uploads/{}", id_of(&upload))).await.json();
    assert_eq!((&shown["state"], &shown["photo"]["id"]), (&json!("done"), &json!(id)));
    assert!(original(&one, &id).await == photo);

    // In parts, whose addresses are of both nodes, and completed at both at once.
    let photo: Bytes = [&photos::photo(2, 640, 480)[..], vec![7; 12 << 20].as_slice()].concat().into();
    let upload = announce(&one, &json!({"bytes": photo.len(), "duplicate": "allow"})).await;
    let path = format!("/v1/direct-uploads/{}", id_of(&upload));
    let more = post(&other, &format!("{path}/parts"), &json!({"from": 3})).await.json();
    let parts = upload["parts"].as_array().unwrap().iter().chain(more["parts"].as_array().unwrap());
    let (mut left, mut sent) = (photo.clone(), Vec::new());
    for part in parts {
        let bytes = left.split_to(usize::try_from(part["bytes"].as_u64().unwrap()).unwrap());
        let answer = make(part, bytes).await;
        sent.push(json!({"number": part["number"], "etag": answer.header("etag")}));
    }
    let (finish, sent) = (format!("{path}/complete"), json!({"parts": sent}));
    let clients = [&one, &other];
    let answers = join_all((0..6).map(|number| post(clients[number % 2], &finish, &sent))).await;
    let done = until(StatusCode::CREATED, async || post(&one, &finish, &sent).await).await;
    let id = id_of(&done.json()).to_owned();
    for answer in &answers {
        let is_done = answer.status == StatusCode::CREATED;
        assert!(if is_done { id_of(&answer.json()) == id } else { answer.problem() == "direct-upload-busy" });
    }
    assert!(original(&other, &id).await == photo);
    assert_eq!(one.all().await.len(), 2);

    let given_up = announce(&one, &json!({"bytes": 5000, "parts": true})).await;
    let path = format!("/v1/direct-uploads/{}", id_of(&given_up));
    assert_eq!(other.delete(&path).await.status, StatusCode::NO_CONTENT);
    assert_eq!(complete(&one, &given_up).await.problem(), "direct-upload-over");
    assert!(server.open_uploads().is_empty());
}

#[tokio::test]
async fn a_quota_holds_over_both_nodes() {
    let server = Server::start();
    let Some((_, nodes)) = two_nodes(&server, "[limits]\nstored_photos_max = 10\n") else { return };
    let clients = [nodes[0].client(), nodes[1].client()];
    let upload = async |number: u64| -> Answer {
        let client = &clients[usize::try_from(number % 2).unwrap()];
        client.upload(&photos::photo(number, 90, 60)).await
    };
    let answers = join_all((0..30).map(upload)).await;
    let (created, refused): (Vec<_>, Vec<_>) =
        answers.iter().partition(|answer| answer.status == StatusCode::CREATED);
    assert_eq!(created.len(), 10);
    for answer in refused {
        assert_eq!(answer.problem(), "quota-exceeded");
    }
    for client in &clients {
        assert_eq!(client.get("/v1/usage").await.json()["photos"], json!({"used": 10, "max": 10}));
        assert_eq!(client.all().await.len(), 10);
    }
    let id = id_of(&created[0].json()).to_owned();
    assert_eq!(clients[0].delete(&format!("/v1/photos/{id}")).await.status, StatusCode::NO_CONTENT);
    assert_eq!(
        upload(31).await.status,
        StatusCode::CREATED,
        "deleted at one node, there is room at the other"
    );
    assert_eq!(upload(32).await.problem(), "quota-exceeded");
}
