//! Lists of posts over HTTP: their shape, and what they refuse.

use darkroom_tests::Daemon;
use serde_json::json;

#[tokio::test]
async fn lists_of_posts_have_one_shape_and_refuse_what_they_do_not_know() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let empty = json!({"items": [], "next": null});
    for path in [
        "/v1/feed",
        "/v1/feed?limit=200&ranking=engagement",
        "/v1/tags/caf%C3%A9/posts",
        "/v1/trending/posts",
        "/v1/trending/tags?limit=100",
    ] {
        let answer = client.get(path).await;
        assert_eq!((answer.status.as_u16(), answer.json()), (200, empty.clone()), "{path}");
    }
    for path in [
        "/v1/feed?limit=201",
        "/v1/feed?ranking=best",
        "/v1/feed?cursor=1",
        "/v1/tags/sea/posts?cursor=x",
        "/v1/trending/posts?limit=101",
        "/v1/trending/tags?cursor=1",
    ] {
        let answer = client.get(path).await;
        assert_eq!((answer.status.as_u16(), &*answer.problem()), (400, "invalid-parameter"), "{path}");
    }
    for path in ["/v1/tags/a%20b/posts", "/v1/tags/%ff/posts", "/v1/tags/sea", "/v1/trending/users"] {
        assert_eq!(client.get(path).await.problem(), "not-found", "{path}");
    }
    assert_eq!(client.delete("/v1/feed").await.problem(), "method-not-allowed");
}
