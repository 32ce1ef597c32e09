//! Memory stays within the budgets, whatever arrives.

use bytes::Bytes;
use darkroom_tests::{Daemon, Setup, photos, scale};
use futures_util::StreamExt;
use hyper::{Method, StatusCode};

const MIB: u64 = 1 << 20;

/// 12-megapixel photos over 16 connections. `DARKROOM_TEST_PHOTOS=200` for the whole of it.
#[tokio::test]
async fn many_photos_over_many_connections_stay_within_the_budgets() {
    let count = scale("DARKROOM_TEST_PHOTOS", 32);
    let daemon = Daemon::start_with(&Setup::config(
        "[limits]\npixels_max = 16000000\nupload_bytes_max = '32 MiB'\n[budgets]\nbodies = '128 MiB'\npixels = '256 MiB'",
    ));
    let client = daemon.client();
    let ids: Vec<String> = futures_util::stream::iter(0..count as u64)
        .map(|seed| {
            let client = client.clone();
            async move {
                let photo = tokio::task::spawn_blocking(move || photos::phone(seed)).await.unwrap();
                let answer = client.upload(&photo).await;
                assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
                answer.json()["id"].as_str().unwrap().to_owned()
            }
        })
        .buffer_unordered(16)
        .collect()
        .await;
    for id in &ids {
        assert_eq!(client.settled(id).await["state"], "ready");
    }
    let tree = client.idle().await;
    assert_eq!(client.all().await.len(), count, "{tree}");
    let (peak, allowed) = (daemon.memory_peak(), (128 + 256 + 150) * MIB);
    println!("{count} photos: peak of {} MiB resident, {} MiB allowed", peak / MIB, allowed / MIB);
    assert!(peak <= allowed, "{} MiB resident", peak / MIB);
}

#[tokio::test]
async fn photos_that_wait_for_a_processor_keep_no_upload_out() {
    // Room for four photos in memory, and both processors stand still for a while.
    let daemon = Daemon::start_with(&Setup::config(
        "[budgets]\njob_slots = 4\n[pipeline]\ncompute_threads = 2\n\
         [[testing.faults]]\npoint = 'decode'\naction = 'pause'\nmillis = 5000\ntimes = 2\n",
    ));
    let client = daemon.client();
    let mut ids = Vec::new();
    for seed in 0..12 {
        let answer = client.upload(&photos::photo(seed, 400, 300)).await;
        assert_eq!(answer.status, StatusCode::CREATED, "photo {seed}: {answer:?}");
        ids.push(answer.json()["id"].as_str().unwrap().to_owned());
    }
    // Half of the slots at most are of photos that are processed.
    client.holds("job_slots", 2).await;
    for id in &ids {
        assert_eq!(client.settled(id).await["state"], "ready");
    }
    client.idle().await;
}

#[tokio::test]
async fn a_full_house_refuses_readably_and_recovers() {
    // Room for three uploads; one connection per photo, all at once.
    let daemon = Daemon::start_with(&Setup::config("[budgets]\njob_slots = 4"));
    let client = daemon.client();
    let photo = photos::photo(1, 1500, 1000);
    let mut open = Vec::new();
    for _ in 0..3 {
        open.push(stalled(&client, &photo).await);
    }
    client.holds("job_slots", 3).await;
    let refused = client.upload(&photo).await;
    assert_eq!((refused.problem().as_str(), refused.header("retry-after")), ("overloaded", "1"));
    assert_eq!(client.get("/readyz").await.status, StatusCode::OK, "a full house is ready");
    drop(open);
    client.idle().await;
    assert_eq!(client.upload_settled(&photo).await["state"], "ready");
}

/// A connection that sends half a photo and keeps its lease.
async fn stalled(client: &darkroom_tests::Client, photo: &[u8]) -> tokio::net::TcpStream {
    use tokio::io::AsyncWriteExt;
    let mut stream = tokio::net::TcpStream::connect(client.address()).await.unwrap();
    let head = format!("POST /v1/photos HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", photo.len());
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&photo[..photo.len() / 2]).await.unwrap();
    stream
}

/// Reads of one file go round among all threads that block, of which there are as many as there was work at once.
#[tokio::test]
async fn a_large_original_is_not_held_by_every_thread_that_reads_a_piece_of_it() {
    const THREADS: u64 = 48;
    let daemon = Daemon::start();
    let client = &daemon.client();
    // What follows the end marker belongs to the file, not to the picture.
    let behind = |seed: u64, bytes: usize| -> Bytes {
        let mut file = photos::photo(seed, 320, 240).to_vec();
        file.resize(bytes, 7);
        file.into()
    };
    let large = behind(1, 40 << 20);
    let photo = client.upload_settled(&large).await;
    let busy = (0..THREADS).map(|seed| {
        let begun = behind(2 + seed, 1 << 20);
        async move {
            let headers = [
                ("tus-resumable", "1.0.0"),
                ("content-type", "application/offset+octet-stream"),
                ("upload-length", "8000000"),
            ];
            for _ in 0..3 {
                let answer = client.send(Method::POST, "/v1/uploads", &headers, begun.clone()).await;
                assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
            }
        }
    });
    futures_util::future::join_all(busy).await;
    let before = daemon.memory_peak();
    let original = client.hash_of(photo["original"]["url"].as_str().unwrap()).await;
    assert_eq!(original, (large.len() as u64, blake3::hash(&large)));
    let grown = daemon.memory_peak() - before;
    println!("{} MiB more at the peak, of {} MiB", grown / MIB, large.len() as u64 / MIB);
    // Where each thread kept what it read, this was over 200 MiB.
    assert!(grown < 64 * MIB, "{} MiB more at the peak", grown / MIB);
}
