//! Rules that the bucket follows by itself: parts of abandoned uploads go after a day, originals move to a colder
//! class after some. Applied on request only, after the change was shown.

use std::fmt;

use aws_sdk_s3::types::{
    AbortIncompleteMultipartUpload, BucketLifecycleConfiguration, ExpirationStatus, LifecycleExpiration,
    LifecycleRule, LifecycleRuleFilter, Transition, TransitionStorageClass,
};

use super::error::Failure;
use super::{Bucket, S3Options};
use crate::StoreError;
use crate::objects::ObjectKind;

/// What the ids of darkroom's own rules begin with.
const OWN: &str = "darkroom-";

/// What would become of the bucket's rules.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    changes: Vec<Change>,
    /// Every rule that the bucket would have, those of others included.
    rules: Vec<LifecycleRule>,
}

/// What becomes of one rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is somebody else's, or as it should be.
    Keep(String),
    /// It is not there yet.
    Add(String),
    /// It was darkroom's, and is not wanted any more.
    Remove(String),
}

impl Plan {
    /// Whether anything would change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.iter().all(|change| matches!(change, Change::Keep(_)))
    }

    /// What becomes of each rule, in order: those that are there, then new ones.
    #[must_use]
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// What `wanted` makes of the rules `found`.
    fn new(found: &[LifecycleRule], wanted: Vec<LifecycleRule>, options: &S3Options) -> Self {
        let (mut changes, mut rules) = (Vec::new(), Vec::new());
        for rule in found {
            if !is_own(rule, options) || wanted.iter().any(|other| describe(other) == describe(rule)) {
                changes.push(Change::Keep(describe(rule)));
                rules.push(rule.clone());
            } else {
                changes.push(Change::Remove(describe(rule)));
            }
        }
        for rule in wanted {
            if !rules.iter().any(|other| describe(other) == describe(&rule)) {
                changes.push(Change::Add(describe(&rule)));
                rules.push(rule);
            }
        }
        Self { changes, rules }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for change in &self.changes {
            match change {
                Change::Keep(rule) => writeln!(f, "    {rule}")?,
                Change::Add(rule) => writeln!(f, "  + {rule}")?,
                Change::Remove(rule) => writeln!(f, "  - {rule}")?,
            }
        }
        Ok(())
    }
}

impl Bucket {
    /// What the configured rules would change in the bucket.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], with what the server says.
    pub async fn plan_lifecycle(&self) -> Result<Plan, StoreError> {
        let asked = self.line().call("get_lifecycle", || async {
            let request = self.client().get_bucket_lifecycle_configuration().bucket(self.bucket());
            request.send().await.map_err(Failure::of)
        });
        let found = match asked.await? {
            Ok(answer) => answer.rules().to_vec(),
            Err(failure) if failure.is("NoSuchLifecycleConfiguration") => Vec::new(),
            Err(failure) => return Err(self.no_lifecycle(failure)),
        };
        Ok(Plan::new(&found, wanted(self.options())?, self.options()))
    }

    /// Gives the bucket the rules of `plan`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], with what the server says.
    pub async fn apply_lifecycle(&self, plan: &Plan) -> Result<(), StoreError> {
        let rules = BucketLifecycleConfiguration::builder().set_rules(Some(plan.rules.clone()));
        let rules = rules.build().map_err(|error| incomplete(&error))?;
        let asked = self.line().call("put_lifecycle", || async {
            let request = self.client().put_bucket_lifecycle_configuration().bucket(self.bucket());
            request.lifecycle_configuration(rules.clone()).send().await.map(drop).map_err(Failure::of)
        });
        asked.await?.map_err(|failure| self.no_lifecycle(failure))
    }

    fn no_lifecycle(&self, failure: Failure) -> StoreError {
        let refused = format!("the lifecycle rules of bucket {}", self.bucket());
        match failure.into_error(&refused) {
            StoreError::Unavailable { reason } => StoreError::Unavailable {
                reason: format!(
                    "{reason}. The credentials need s3:GetLifecycleConfiguration and s3:PutLifecycleConfiguration, and \
                     not every server has such rules"
                ),
            },
            other => other,
        }
    }
}

/// Whether a rule is darkroom's, for this prefix: another darkroom in the bucket has its own.
fn is_own(rule: &LifecycleRule, options: &S3Options) -> bool {
    let prefix = prefix_of(rule);
    rule.id().is_some_and(|id| id.starts_with(OWN))
        && (prefix == options.prefix || prefix == originals(options))
}

fn prefix_of(rule: &LifecycleRule) -> &str {
    rule.filter().and_then(LifecycleRuleFilter::prefix).unwrap_or_default()
}

fn originals(options: &S3Options) -> String {
    format!("{}{}/", options.prefix, ObjectKind::Original.prefix())
}

/// The rules that the options ask for.
fn wanted(options: &S3Options) -> Result<Vec<LifecycleRule>, StoreError> {
    let lifecycle = &options.lifecycle;
    let rule = |what: &str, prefix: &str| {
        // Ids are unique in a bucket, which several may share.
        let id = format!("{OWN}{}{what}", options.prefix.replace('/', "-"));
        LifecycleRule::builder()
            .id(id)
            .status(ExpirationStatus::Enabled)
            .filter(LifecycleRuleFilter::builder().prefix(prefix).build())
    };
    let days = |days: u32| i32::try_from(days).unwrap_or(i32::MAX);
    let abort = AbortIncompleteMultipartUpload::builder()
        .days_after_initiation(days(lifecycle.abort_uploads_after_days))
        .build();
    let abort = rule("abort-uploads", &options.prefix).abort_incomplete_multipart_upload(abort);
    let mut rules = vec![abort.build().map_err(|error| incomplete(&error))?];
    if let Some(after) = lifecycle.originals_after_days {
        let class = TransitionStorageClass::from(lifecycle.originals_class.as_str());
        let colder = Transition::builder().days(days(after)).storage_class(class).build();
        let colder = rule("colder-originals", &originals(options)).transitions(colder);
        rules.push(colder.build().map_err(|error| incomplete(&error))?);
    }
    Ok(rules)
}

fn incomplete(error: &dyn std::error::Error) -> StoreError {
    StoreError::Unavailable { reason: format!("the lifecycle rules could not be put together: {error}") }
}

/// One line for people, which has all of a rule that darkroom sets. Two of darkroom's rules with the same line are the
/// same.
fn describe(rule: &LifecycleRule) -> String {
    let mut does = Vec::new();
    if let Some(days) = rule
        .abort_incomplete_multipart_upload()
        .and_then(AbortIncompleteMultipartUpload::days_after_initiation)
    {
        does.push(format!("removes parts of unfinished uploads after {}", in_days(days)));
    }
    for transition in rule.transitions() {
        let class = transition.storage_class().map_or("another class", TransitionStorageClass::as_str);
        does.push(format!(
            "moves objects to {class} after {}",
            in_days(transition.days().unwrap_or_default())
        ));
    }
    if let Some(days) = rule.expiration().and_then(LifecycleExpiration::days) {
        does.push(format!("DELETES objects after {}", in_days(days)));
    }
    if does.is_empty() {
        does.push("does what darkroom does not know".to_owned());
    }
    let under = match prefix_of(rule) {
        "" => "everything".to_owned(),
        prefix => prefix.to_owned(),
    };
    let off = if *rule.status() == ExpirationStatus::Enabled { "" } else { " (disabled)" };
    format!("{}{off}, under {under}: {}", rule.id().unwrap_or("(a rule without id)"), does.join(", "))
}

fn in_days(days: i32) -> String {
    if days == 1 { "1 day".to_owned() } else { format!("{days} days") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::s3::LifecycleOptions;

    fn options(after: Option<u32>) -> S3Options {
        let lifecycle = LifecycleOptions { originals_after_days: after, ..LifecycleOptions::default() };
        S3Options { bucket: "photos".to_owned(), prefix: "a/".to_owned(), lifecycle, ..S3Options::default() }
    }

    fn plan(found: &[LifecycleRule], options: &S3Options) -> Plan {
        Plan::new(found, wanted(options).unwrap(), options)
    }

    fn others() -> LifecycleRule {
        let filter = LifecycleRuleFilter::builder().prefix("logs/").build();
        LifecycleRule::builder().id("logs").status(ExpirationStatus::Enabled).filter(filter).build().unwrap()
    }

    #[test]
    fn an_empty_bucket_gets_the_rules_and_then_nothing_more() {
        let first = plan(&[], &options(Some(30)));
        assert_eq!(first.rules.len(), 2);
        let shown = first.to_string();
        assert!(shown.contains("+ darkroom-a-abort-uploads, under a/: removes parts"), "{shown}");
        let colder =
            "+ darkroom-a-colder-originals, under a/originals/: moves objects to STANDARD_IA after 30 days";
        assert!(shown.contains(colder), "{shown}");
        assert!(plan(&first.rules, &options(Some(30))).is_empty());
    }

    #[test]
    fn rules_of_others_stay() {
        let mut found = vec![others()];
        found.extend(wanted(&S3Options { prefix: "b/".to_owned(), ..options(Some(7)) }).unwrap());
        let plan = plan(&found, &options(None));
        assert_eq!(plan.rules.len(), 4);
        assert_eq!(plan.rules[..3], found);
        assert_eq!(plan.changes().iter().filter(|change| matches!(change, Change::Keep(_))).count(), 3);
    }

    #[test]
    fn a_rule_that_is_not_wanted_any_more_goes_and_a_changed_one_is_replaced() {
        let found = plan(&[], &options(Some(30))).rules;
        let without = plan(&found, &options(None));
        assert_eq!(without.rules.len(), 1);
        assert!(matches!(&without.changes()[1], Change::Remove(rule) if rule.contains("colder")));
        let later = plan(&found, &options(Some(60)));
        assert_eq!(later.rules.len(), 2);
        assert!(later.to_string().contains("- ") && later.to_string().contains("60 days"), "{later}");
    }
}
