//! What the API tells and serves of a photo beyond its variants' bytes: formats, placeholders, camera, damage, and
//! originals without what is private.

use bytes::Bytes;
use darkroom_media::SourceFormat;
use darkroom_tests::{Daemon, Setup, photos};
use hyper::{Method, StatusCode};

/// A file of the media engine's tests.
fn fixture(name: &str) -> Bytes {
    let path = format!("{}/../media/tests/data/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}")).into()
}

fn format(bytes: &[u8]) -> (SourceFormat, u32) {
    let probe = darkroom_media::probe(bytes, &darkroom_media::Limits::default()).unwrap();
    (probe.format, probe.frames)
}

#[tokio::test]
async fn a_cut_photo_is_shown_and_marked() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let whole = photos::photo(1, 1000, 800);
    let accepted = client.upload(&whole.slice(..whole.len() / 2)).await;
    assert_eq!(accepted.status, StatusCode::CREATED, "{accepted:?}");
    assert_eq!(accepted.json()["damage"], "the file ends before the picture does");
    let photo = client.settled(accepted.json()["id"].as_str().unwrap()).await;
    assert_eq!(photo["state"], "ready", "{photo}");
    let damage = photo["damage"].as_str().unwrap();
    assert!(damage.starts_with("its pixel data ends after row ") && damage.ends_with(" of 800"), "{damage}");
    let variant = client.get(photo["variants"][0]["url"].as_str().unwrap()).await;
    assert_eq!(photos::size(&variant.body), (1000, 800));
    // Whole ones say nothing.
    let photo = client.upload_settled(&whole).await;
    assert!(photo.get("damage").is_none(), "{photo}");
}

#[tokio::test]
async fn a_photo_tells_its_camera_and_its_looks_and_never_its_place() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let accepted = client.upload(&photos::photo(7, 640, 480)).await.json();
    assert_eq!(
        (&accepted["camera"]["make"], &accepted["camera"]["model"]),
        (&"Darkroom".into(), &"Synth 1".into())
    );
    assert!(accepted.get("looks").is_none(), "nothing is decoded yet: {accepted}");
    let photo = client.settled(accepted["id"].as_str().unwrap()).await;
    let looks = &photo["looks"];
    assert!(looks["dominant_color"].as_str().unwrap().starts_with('#'), "{photo}");
    assert_eq!(looks["perceptual_hash"].as_str().unwrap().len(), 16);
    assert!(
        looks["thumbhash"].as_str().unwrap().len() > 20 && looks["blurhash"].as_str().unwrap().len() > 20
    );
    assert!(!photo.to_string().to_lowercase().contains("gps"), "{photo}");
    // The same picture in other bytes has nearly the same hash.
    let again = darkroom_media::synth::jpeg(&darkroom_media::synth::PhotoSpec {
        seed: 7,
        width: 640,
        height: 480,
        quality: 60,
        ..Default::default()
    });
    let again = client.upload_settled(&again.into()).await;
    let hash = |photo: &serde_json::Value| photo["looks"]["perceptual_hash"].as_str().unwrap().to_owned();
    let distance = darkroom_media::perceptual_distance(&hash(&photo), &hash(&again)).unwrap();
    assert!(distance <= 6, "{distance} bits");
}

#[tokio::test]
async fn an_open_format_follows_what_the_client_accepts() {
    let setup = Setup::config(
        "[[presets]]\nname = \"auto\"\nwidth = 300\nheight = 300\nformat = \"auto\"\n\
         [[presets]]\nname = \"plain\"\nwidth = 100\nheight = 100\n",
    );
    let daemon = Daemon::start_with(&setup);
    let client = daemon.client();
    let photo = client.upload_settled(&photos::photo(1, 800, 600)).await;
    let auto = &photo["variants"][0];
    assert_eq!((&auto["type"], &auto["formats"][0]["type"]), (&"image/jpeg".into(), &"image/webp".into()));
    let url = auto["url"].as_str().unwrap();
    let cases = [
        ("*/*", "image/jpeg"),
        ("image/avif,image/webp,image/apng,image/*,*/*;q=0.8", "image/webp"),
        ("text/html, IMAGE/WEBP;q=0.5", "image/webp"),
        ("image/webp;q=0, */*", "image/jpeg"),
        ("image/png", "image/jpeg"),
    ];
    for (accept, expected) in cases {
        let answer = client.get_with(url, &[("accept", accept)]).await;
        assert_eq!(answer.header("content-type"), expected, "{accept}");
        assert_eq!(format(&answer.body).0.mime(), expected);
        assert_eq!(answer.header("vary"), "accept");
        assert_eq!(answer.header("cache-control"), "private, max-age=31536000, immutable");
        let tag = answer.header("etag").to_owned();
        let again = client.get_with(url, &[("accept", accept), ("if-none-match", &tag)]).await;
        assert_eq!((again.status, again.header("vary")), (StatusCode::NOT_MODIFIED, "accept"));
    }
    let plain = client.get(photo["variants"][1]["url"].as_str().unwrap()).await;
    assert_eq!(plain.header("vary"), "", "nothing to choose from");
    assert!(photo["variants"][1].get("formats").is_none());

    // What is transparent is no JPEG.
    let clear = client.upload_settled(&fixture("lossy-alpha.webp")).await;
    assert_eq!(clear["variants"][0]["type"], "image/png", "{clear}");
}

#[tokio::test]
async fn an_animation_keeps_its_motion_where_the_preset_says_so() {
    let setup = Setup::config(
        "[[presets]]\nname = \"moving\"\nwidth = 80\nheight = 80\nformat = \"webp\"\nanimated = true\n\
         [[presets]]\nname = \"still\"\nwidth = 80\nheight = 80\nformat = \"webp\"\n",
    );
    let daemon = Daemon::start_with(&setup);
    let client = daemon.client();
    let original = fixture("animated.webp");
    let frames = format(&original).1;
    assert!(frames > 1);
    let photo = client.upload_settled(&original).await;
    let mut found = Vec::new();
    for index in 0..2 {
        let answer = client.get(photo["variants"][index]["url"].as_str().unwrap()).await;
        found.push(format(&answer.body));
    }
    assert_eq!(found, [(SourceFormat::WebP, frames), (SourceFormat::WebP, 1)]);
}

#[tokio::test]
async fn an_original_is_served_without_what_is_private() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let original = photos::phone(3);
    let photo = client.upload_settled(&original).await;
    let path = format!("/v1/photos/{}/original", photo["id"].as_str().unwrap());
    // EXIF tag 0x8825 points to the place; the generated photo has one.
    let has_place =
        |bytes: &[u8]| bytes[..1000].windows(2).any(|pair| pair == [0x88, 0x25] || pair == [0x25, 0x88]);
    assert!(has_place(&client.get(&path).await.body), "or this shows nothing");
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
    let unchanged = client.get_with(&format!("{path}?strip=private"), &[("if-none-match", &tag)]).await;
    assert_eq!(unchanged.status, StatusCode::NOT_MODIFIED);
    let head = client.send(Method::HEAD, &format!("{path}?strip=private"), &[], "").await;
    assert_eq!((head.status, head.body.len()), (StatusCode::OK, 0));
    assert_eq!(client.get(&format!("{path}?strip=none")).await.body, original);
    let answer = client.get(&format!("{path}?strip=everything")).await;
    assert_eq!((answer.status, answer.problem().as_str()), (StatusCode::BAD_REQUEST, "invalid-parameter"));
    // The memory that it took has come back.
    client.holds("bodies", 0).await;
}
