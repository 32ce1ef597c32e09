//! The way of a photo, from upload to every variant.

use darkroom_media::Orientation;
use darkroom_tests::{Daemon, photos};
use hyper::{Method, StatusCode};

#[tokio::test]
async fn a_phone_photo_becomes_every_variant_upright_and_without_metadata() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let original = photos::phone(1);
    let answer = client.send(Method::POST, "/v1/photos", &[("prefer", "wait=30")], original.clone()).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
    let photo = answer.json();
    let id = photo["id"].as_str().unwrap();
    assert_eq!(answer.header("location"), format!("/v1/photos/{id}"));
    assert_eq!(photo["state"], "ready", "{photo}");
    assert_eq!((&photo["width"], &photo["height"]), (&3024.into(), &4032.into()), "as shown");
    assert_eq!(photo["type"], "image/jpeg");
    assert_eq!(photo["bytes"], original.len());
    assert_eq!(photo["blake3"], blake3::hash(&original).to_hex().as_str());
    let sizes = [
        ("large", (1536, 2048)),
        ("medium", (810, 1080)),
        ("small", (480, 640)),
        ("thumb", (240, 320)),
        ("square", (150, 150)),
    ];
    assert_eq!(photo["variants"].as_array().unwrap().len(), sizes.len());
    for (variant, (preset, size)) in photo["variants"].as_array().unwrap().iter().zip(sizes) {
        assert_eq!(variant["preset"], preset);
        let bytes = client.get(variant["url"].as_str().unwrap()).await.body;
        assert_eq!(photos::size(&bytes), size, "{preset}");
        assert_eq!(variant["blake3"], blake3::hash(&bytes).to_hex().as_str());
        for secret in [&b"Exif"[..], b"GPS", b"Apple"] {
            assert!(!bytes.windows(secret.len()).any(|window| window == secret), "{preset} carries metadata");
        }
    }
    assert_eq!(client.get(&format!("/v1/photos/{id}/original")).await.body, original);
    assert_eq!(client.get(&format!("/v1/photos/{id}")).await.json(), photo);
}

#[tokio::test]
async fn all_orientations_are_shown_as_they_were_taken() {
    let daemon = Daemon::start();
    let client = daemon.client();
    for number in 1..=8 {
        let orientation = Orientation::from_exif(number).unwrap();
        let photo = client.upload_settled(&photos::oriented(number.into(), 400, 200, orientation)).await;
        let shown = if number < 5 { (400, 200) } else { (200, 400) };
        assert_eq!((photo["width"].as_u64().unwrap(), photo["height"].as_u64().unwrap()), shown);
        let url = photo["variants"][2]["url"].as_str().unwrap();
        let size = photos::size(&client.get(url).await.body);
        assert_eq!((u64::from(size.0), u64::from(size.1)), shown, "never enlarged, orientation {number}");
    }
}

#[tokio::test]
async fn extreme_shapes_become_every_variant() {
    let daemon = Daemon::start();
    let client = daemon.client();
    for (seed, width, height) in [(1, 1, 1), (2, 65_500, 1), (3, 17, 3), (4, 1, 3000)] {
        let photo = client.upload_settled(&photos::photo(seed, width, height)).await;
        assert_eq!(photo["state"], "ready", "{photo}");
        for variant in photo["variants"].as_array().unwrap() {
            assert!(variant["width"].as_u64().unwrap() >= 1 && variant["height"].as_u64().unwrap() >= 1);
            assert_eq!(client.get(variant["url"].as_str().unwrap()).await.status, StatusCode::OK);
        }
    }
}
