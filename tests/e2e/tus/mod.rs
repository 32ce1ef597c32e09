//! Resumable uploads over the wire, by both protocols: what is told stays true, whoever dies.
//!
//! - `core`: creation, offsets, the photo at the end. `broken`: cut and hanging connections, and `kill -9`.
//! - `extensions`: checksum, concatenation, expiration, termination. `refusals`: what is refused, and how.
//! - `keys`: uploads that are begun under an idempotency key. `draft`: the IETF's draft. `s3`: the same on S3. `browsers`: pages of other sites.

mod broken;
mod browsers;
mod core;
mod draft;
mod extensions;
mod keys;
mod refusals;
mod s3;

use bytes::Bytes;
use darkroom_tests::{Answer, Client, photos};
use hyper::{Method, StatusCode};

const TUS: (&str, &str) = ("tus-resumable", "1.0.0");
const STREAM: (&str, &str) = ("content-type", "application/offset+octet-stream");

/// A photo of this many bytes: what follows the end marker belongs to the file, not to the picture.
fn photo_of(seed: u64, bytes: usize) -> Bytes {
    let mut file = photos::photo(seed, 320, 240).to_vec();
    assert!(file.len() <= bytes, "the photo alone has {} bytes", file.len());
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    while file.len() < bytes {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        file.push((state >> 56) as u8);
    }
    file.into()
}

/// Begins an upload of so many bytes; its path.
async fn create(client: &Client, length: usize, headers: &[(&str, &str)]) -> String {
    let length = length.to_string();
    let headers = [&[TUS, ("upload-length", &length)], headers].concat();
    let answer = client.send(Method::POST, "/v1/uploads", &headers, Bytes::new()).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
    assert_eq!(answer.header("tus-resumable"), "1.0.0");
    answer.header("location").to_owned()
}

/// Appends at `offset`.
async fn patch(client: &Client, path: &str, offset: usize, bytes: &[u8]) -> Answer {
    patch_with(client, path, offset, bytes, &[]).await
}

async fn patch_with(
    client: &Client,
    path: &str,
    offset: usize,
    bytes: &[u8],
    headers: &[(&str, &str)],
) -> Answer {
    let offset = offset.to_string();
    let headers = [&[TUS, STREAM, ("upload-offset", offset.as_str())], headers].concat();
    client.send(Method::PATCH, path, &headers, Bytes::copy_from_slice(bytes)).await
}

async fn head(client: &Client, path: &str) -> Answer {
    client.send(Method::HEAD, path, &[TUS], Bytes::new()).await
}

/// Where the upload stands.
async fn offset(client: &Client, path: &str) -> usize {
    let answer = head(client, path).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert_eq!(answer.header("cache-control"), "no-store");
    answer.header("upload-offset").parse().unwrap()
}

/// Appends everything from `from` on, in requests of `step` bytes; the last answer.
async fn append_rest(client: &Client, path: &str, photo: &[u8], mut from: usize, step: usize) -> Answer {
    loop {
        let to = photo.len().min(from + step);
        let answer = patch(client, path, from, &photo[from..to]).await;
        assert_eq!(answer.status, StatusCode::NO_CONTENT, "at {from}: {answer:?}");
        assert_eq!(answer.header("upload-offset"), to.to_string());
        from = to;
        if from == photo.len() {
            return answer;
        }
        assert_eq!(answer.header("photo-location"), "");
    }
}

/// The photo is ready, and its original is what was sent. Its id.
async fn became(client: &Client, location: &str, photo: &[u8]) -> String {
    let id = location.strip_prefix("/v1/photos/").unwrap_or_else(|| panic!("no photo: {location:?}"));
    assert_eq!(client.settled(id).await["state"], "ready");
    let original = client.get(&format!("{location}/original")).await.body;
    assert!(original == photo, "{} bytes became {}", photo.len(), original.len());
    id.to_owned()
}
