//! The rules that the bucket follows by itself.

use darkroom_store::objects::s3::{Bucket, LifecycleOptions, S3Options};
use darkroom_test_s3::{Fault, Manner, Server};
use hyper::{Method, StatusCode};

use crate::store::options;

/// A bucket whose originals are to move to a colder class after so many days.
async fn bucket(server: &Server, originals_after_days: Option<u32>) -> Bucket {
    let lifecycle = LifecycleOptions { originals_after_days, ..LifecycleOptions::default() };
    let options = S3Options { lifecycle, prefix: "a/".to_owned(), ..options(server) };
    Bucket::connect(options).await.unwrap()
}

/// The bucket takes the rules, gives them back as they are, and then nothing is left to do.
#[tokio::test]
async fn lifecycle_rules_are_shown_applied_and_then_as_they_should_be() {
    let server = Server::start();
    let bucket = bucket(&server, Some(30)).await;
    let plan = bucket.plan_lifecycle().await.unwrap();
    assert_eq!((plan.is_empty(), plan.changes().len()), (false, 2), "{plan}");
    assert_eq!(bucket.plan_lifecycle().await.unwrap(), plan, "to look changes nothing");
    bucket.apply_lifecycle(&plan).await.unwrap();
    let again = bucket.plan_lifecycle().await.unwrap();
    assert!(again.is_empty(), "{again}");
    let without = self::bucket(&server, None).await;
    let plan = without.plan_lifecycle().await.unwrap();
    assert!(!plan.is_empty() && plan.to_string().contains("- darkroom-a-colder-originals"), "{plan}");
    without.apply_lifecycle(&plan).await.unwrap();
    assert!(without.plan_lifecycle().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_rule_that_the_server_takes_and_does_not_keep_is_named() {
    let server = Server::start_as(Manner::Garage);
    let bucket = bucket(&server, Some(30)).await;
    // The second time, what the server has is what it had before.
    for time in 0..2 {
        let plan = bucket.plan_lifecycle().await.unwrap();
        let said = bucket.apply_lifecycle(&plan).await.unwrap_err().to_string();
        for words in ["moves objects to STANDARD_IA after 30 days", "objects.s3.lifecycle_originals_days = 0"]
        {
            assert!(said.contains(words), "time {time}: {said}");
        }
        assert!(!said.contains("abort-uploads"), "that one is kept: {said}");
    }
    let without = self::bucket(&server, None).await;
    without.apply_lifecycle(&without.plan_lifecycle().await.unwrap()).await.unwrap();
    assert!(without.plan_lifecycle().await.unwrap().is_empty());
}

#[tokio::test]
async fn rules_that_are_shown_late_are_waited_for() {
    let server = Server::start();
    let bucket = bucket(&server, Some(30)).await;
    let plan = bucket.plan_lifecycle().await.unwrap();
    let none = Fault::Refuse(StatusCode::NOT_FOUND, "NoSuchLifecycleConfiguration");
    server.faults().set([none.on(Method::GET, "").query("lifecycle").times(1)]);
    bucket.apply_lifecycle(&plan).await.unwrap();
    assert_eq!(server.faults().hits(), 1);
}

#[tokio::test]
async fn an_answer_without_a_code_is_that_of_a_bucket_without_rules() {
    let server = Server::start();
    let bucket = bucket(&server, None).await;
    server.faults().set([Fault::Refuse(StatusCode::NOT_FOUND, "").on(Method::GET, "").query("lifecycle")]);
    let plan = bucket.plan_lifecycle().await.unwrap();
    assert_eq!((plan.is_empty(), plan.changes().len()), (false, 1), "{plan}");
    let gone = Fault::Refuse(StatusCode::NOT_FOUND, "NoSuchBucket");
    server.faults().set([gone.on(Method::GET, "").query("lifecycle")]);
    let said = bucket.plan_lifecycle().await.unwrap_err().to_string();
    assert!(said.contains("NoSuchBucket"), "{said}");
}
