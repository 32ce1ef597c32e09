//! Originals without what is private: what they lose, what they cost, and who has to wait.

use bytes::Bytes;
use darkroom_tests::{Client, Daemon, Setup, photos};
use hyper::{Method, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

#[tokio::test]
async fn an_original_is_served_without_what_is_private() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let original = photos::phone(3);
    let photo = client.upload_settled(&original).await;
    let path = format!("/v1/photos/{}/original", photo["id"].as_str().unwrap());
    // EXIF tag 0x8825 points to the place; the generated photo has one.
    let has_place = |bytes: &[u8]| {
        let mut pairs = bytes[..1000].windows(2);
        pairs.any(|pair| pair == [0x88, 0x25] || pair == [0x25, 0x88]) || photos::tells_place(bytes, 3)
    };
    assert!(photos::tells_place(&client.get(&path).await.body, 3), "or this shows nothing");
    let stripped = client.get(&format!("{path}?strip=private")).await;
    assert_eq!((stripped.status, stripped.header("content-type")), (StatusCode::OK, "image/jpeg"));
    assert_eq!(stripped.header("content-length"), stripped.body.len().to_string());
    assert!(!has_place(&stripped.body));
    assert_eq!(photos::size(&stripped.body), (3024, 4032), "it still stands upright");
    assert!(
        original.ends_with(&stripped.body[stripped.body.len() - 1_000_000..]),
        "its pixels are untouched"
    );

    let tag = stripped.header("etag").to_owned();
    let version = darkroom_media::WITHOUT_PRIVATE_VERSION;
    assert_eq!(tag, format!("\"{}-private{version}\"", &photo["blake3"].as_str().unwrap()[..16]));
    let link = format!("{path}?strip=private");
    let unchanged = client.get_with(&link, &[("if-none-match", &tag)]).await;
    assert_eq!(unchanged.status, StatusCode::NOT_MODIFIED);
    // What is removed has no date, and no ranges.
    let dated = client.get_with(&link, &[("if-modified-since", "Fri, 01 Jan 2100 00:00:00 GMT")]).await;
    assert_eq!((dated.status, &dated.body), (StatusCode::OK, &stripped.body));
    let part = client.get_with(&link, &[("range", "bytes=0-9")]).await;
    assert_eq!((part.status, &part.body), (StatusCode::OK, &stripped.body));
    for answer in [&stripped, &unchanged] {
        assert_eq!((answer.header("last-modified"), answer.header("accept-ranges")), ("", ""));
    }
    // The length is not known before the work is done.
    let head = client.send(Method::HEAD, &link, &[], "").await;
    assert_eq!((head.status, head.body.len()), (StatusCode::OK, 0));
    assert_eq!((head.header("etag"), head.header("content-length")), (tag.as_str(), ""));
    let head = client.send_h2(Method::HEAD, &link, Bytes::new()).await;
    assert_eq!((head.status, head.header("content-length"), head.body.len()), (StatusCode::OK, "", 0));
    assert_eq!(client.get(&format!("{path}?strip=none")).await.body, original);
    let answer = client.get(&format!("{path}?strip=everything")).await;
    assert_eq!((answer.status, answer.problem().as_str()), (StatusCode::BAD_REQUEST, "invalid-parameter"));
    // The memory that it took has come back.
    client.holds("stripping", 0).await;
}

/// A bitmap of 2 × 2 pixels: a format out of which nothing is taken.
fn bitmap() -> Bytes {
    let mut bmp = b"BM".to_vec();
    for field in [54 + 16, 0, 54, 40, 2, 2] {
        bmp.extend(u32::to_le_bytes(field));
    }
    bmp.extend([1, 0, 24, 0]);
    bmp.resize(54, 0);
    bmp.extend([200; 16]);
    bmp.into()
}

/// The link to a photo's original without what is private.
async fn stripped(client: &Client, original: &Bytes) -> String {
    let photo = client.upload_settled(original).await;
    format!("/v1/photos/{}/original?strip=private", photo["id"].as_str().unwrap())
}

#[tokio::test]
async fn a_format_that_cannot_be_stripped_is_refused_with_its_name() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let link = stripped(&client, &bitmap()).await;
    let refused = client.get(&link).await;
    assert_eq!((refused.status.as_u16(), refused.problem().as_str()), (415, "unsupported-image"));
    assert!(refused.json()["detail"].as_str().unwrap().contains("BMP"), "{refused:?}");
    assert_eq!(client.send(Method::HEAD, &link, &[], "").await.status.as_u16(), 415);
    assert_eq!(client.get(link.split_once('?').unwrap().0).await.body, bitmap());
}

#[tokio::test]
async fn an_original_that_is_gone_is_said_to_be() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let link = stripped(&client, &photos::photo(1, 40, 30)).await;
    for file in darkroom_tests::daemon::files(&daemon.data().join("objects/originals")) {
        std::fs::remove_file(file).unwrap();
    }
    assert_eq!(client.get(&link).await.problem(), "object-missing");
    client.holds("stripping", 0).await;
}

/// A photo of 14 MB, all of which stays when it is stripped: a colour profile of as many parts as one can have. More than
/// the buffers of a connection hold.
fn heavy() -> Bytes {
    const PARTS: u8 = 215;
    const PART_BYTES: usize = 65_519;
    let photo = photos::photo(1, 400, 300);
    let mut heavy = photo[..2].to_vec();
    for part in 1..=PARTS {
        heavy.extend([0xFF, 0xE2, 0xFF, 0xFF]);
        heavy.extend(b"ICC_PROFILE\0");
        heavy.extend([part, PARTS]);
        heavy.resize(heavy.len() + PART_BYTES, part);
    }
    heavy.extend(&photo[2..]);
    heavy.into()
}

/// A connection whose answer has begun, and is not read.
async fn unread(client: &Client, link: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(client.address().parse().unwrap()).await.unwrap();
    stream.write_all(format!("GET {link} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await.unwrap();
    let mut status = [0; 15];
    stream.read_exact(&mut status).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 200 OK");
    stream
}

#[tokio::test]
async fn slow_readers_hold_up_their_like_and_no_upload() {
    // Room for one that is being stripped.
    let daemon = Daemon::start_with(&Setup::config(
        "[limits]\nupload_bytes_max = '15 MiB'\n[budgets]\nstripping = '45 MiB'\nbodies = '32 MiB'",
    ));
    let client = daemon.client();
    let original = heavy();
    let link = stripped(&client, &original).await;
    let bitmap = stripped(&client, &bitmap()).await;
    client.idle().await;
    let slow = unread(&client, &link).await;
    client.holds("stripping", (original.len() as u64).next_multiple_of(1024)).await;
    let refused = client.get(&link).await;
    assert_eq!((refused.problem().as_str(), refused.header("retry-after")), ("overloaded", "1"));
    let detail = refused.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("originals") && detail.ends_with("ask for it again later"), "{detail}");
    // It would not help this one to come again.
    assert_eq!(client.get(&bitmap).await.problem(), "unsupported-image");
    // Everybody else is served.
    assert_eq!(client.upload_settled(&photos::photo(2, 640, 480)).await["state"], "ready");
    assert_eq!(client.get(link.split_once('?').unwrap().0).await.body, original);
    drop(slow);
    client.idle().await;
    let answer = client.get(&link).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert!(answer.body.len() > 14_000_000, "{} bytes", answer.body.len());
}

#[tokio::test]
async fn a_reader_that_takes_too_long_is_cut_off_and_holds_nothing() {
    // Only the whole answer's deadline can end it.
    let daemon = Daemon::start_with(&Setup::config("[http]\nbody_timeout = '3s'\nbody_idle_timeout = '10m'"));
    let client = daemon.client();
    let original = heavy();
    let link = stripped(&client, &original).await;
    let mut slow = unread(&client, &link).await;
    client.idle().await;
    let (mut read, mut piece) = (0, vec![0; 1 << 20]);
    while let Ok(count @ 1..) = slow.read(&mut piece).await {
        read += count;
    }
    assert!(read < 14_000_000, "all {read} bytes came");
}
