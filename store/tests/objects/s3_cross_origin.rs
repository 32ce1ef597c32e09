//! The rule that lets pages of other sites put into the bucket.

use darkroom_store::objects::s3::{Bucket, S3Options};
use darkroom_test_s3::{Fault, Server};
use hyper::{Method, StatusCode};

use crate::store::options;

async fn bucket(server: &Server, prefix: &str) -> Bucket {
    let options = S3Options { prefix: prefix.to_owned(), ..options(server) };
    Bucket::connect(options).await.unwrap()
}

fn origins(origins: &[&str]) -> Vec<String> {
    origins.iter().map(|origin| (*origin).to_owned()).collect()
}

/// The bucket takes the rule, gives it back as it is, and then nothing is left to do, until other sites are wanted.
#[tokio::test]
async fn a_rule_is_shown_applied_changed_and_removed_and_others_stay() {
    let server = Server::start();
    let (ours, others) = (bucket(&server, "").await, bucket(&server, "b/").await);
    assert!(ours.plan_cross_origin(&[]).await.unwrap().changes().is_empty());
    let theirs = others.plan_cross_origin(&origins(&["*"])).await.unwrap();
    assert_eq!(theirs.to_string(), "  + darkroom-uploads-b/: pages of * may PUT, and read ETag\n");
    assert!(others.apply_cross_origin(&theirs).await.unwrap());

    let one = origins(&["https://one.example"]);
    let plan = ours.plan_cross_origin(&one).await.unwrap();
    assert_eq!(ours.plan_cross_origin(&one).await.unwrap(), plan, "to look changes nothing");
    assert!(
        !plan.is_empty() && plan.to_string().contains("+ darkroom-uploads: pages of https://one"),
        "{plan}"
    );
    assert!(ours.apply_cross_origin(&plan).await.unwrap());
    assert!(ours.plan_cross_origin(&one).await.unwrap().is_empty());

    let two = origins(&["https://one.example", "https://two.example"]);
    let plan = ours.plan_cross_origin(&two).await.unwrap();
    assert_eq!(plan.changes().len(), 3, "{plan}");
    assert!(ours.apply_cross_origin(&plan).await.unwrap());
    assert!(ours.plan_cross_origin(&two).await.unwrap().is_empty());

    for bucket in [&ours, &others] {
        let plan = bucket.plan_cross_origin(&[]).await.unwrap();
        assert!(plan.to_string().contains("  - darkroom-uploads"), "{plan}");
        assert!(bucket.apply_cross_origin(&plan).await.unwrap());
        let plan = bucket.plan_cross_origin(&[]).await.unwrap();
        assert!(plan.is_empty(), "{plan}");
    }
    assert!(ours.plan_cross_origin(&[]).await.unwrap().changes().is_empty(), "none is left");
}

#[tokio::test]
async fn a_rule_that_is_shown_late_is_waited_for_and_one_that_is_not_kept_is_named() {
    let server = Server::start();
    let bucket = bucket(&server, "").await;
    let plan = bucket.plan_cross_origin(&origins(&["https://one.example"])).await.unwrap();
    let none =
        Fault::Refuse(StatusCode::NOT_FOUND, "NoSuchCORSConfiguration").on(Method::GET, "").query("cors");
    server.faults().set([none.clone().times(1)]);
    assert!(bucket.apply_cross_origin(&plan).await.unwrap());
    assert_eq!(server.faults().hits(), 1);
    server.faults().set([none]);
    let said = bucket.apply_cross_origin(&plan).await.unwrap_err().to_string();
    assert!(said.contains("does not show: darkroom-uploads: pages of https://one.example"), "{said}");
}

#[tokio::test]
async fn a_server_without_such_rules_and_one_that_refuses_are_told_apart() {
    let server = Server::start();
    let bucket = bucket(&server, "").await;
    let wanted = origins(&["https://one.example"]);
    // As MinIO answers: there are none, and none can be set.
    let refused = |method, status, code| Fault::Refuse(status, code).on(method, "").query("cors");
    server.faults().set([refused(Method::PUT, StatusCode::NOT_IMPLEMENTED, "NotImplemented")]);
    let plan = bucket.plan_cross_origin(&wanted).await.unwrap();
    assert!(!bucket.apply_cross_origin(&plan).await.unwrap());
    assert_eq!(server.faults().hits(), 1, "it is not asked again");

    server.faults().set([refused(Method::GET, StatusCode::FORBIDDEN, "AccessDenied")]);
    let said = bucket.plan_cross_origin(&wanted).await.unwrap_err().to_string();
    assert!(said.contains("AccessDenied") && said.contains("s3:GetBucketCORS"), "{said}");
    assert!(bucket.plan_cross_origin(&[]).await.unwrap().is_empty(), "nothing is wanted of it");
}
