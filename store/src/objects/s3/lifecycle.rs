//! Rules that the bucket follows by itself: parts of abandoned uploads go after a day, originals move to a colder
//! class after some. Applied on request only, after the change was shown.

use std::fmt;
use std::time::Duration;

use aws_sdk_s3::types::{
    AbortIncompleteMultipartUpload, BucketLifecycleConfiguration, ExpirationStatus, LifecycleExpiration,
    LifecycleRule, LifecycleRuleFilter, Transition, TransitionStorageClass,
};
use tokio::time::Instant;

use super::error::Failure;
use super::{Bucket, S3Options};
use crate::StoreError;
use crate::objects::ObjectKind;

/// What the ids of darkroom's own rules begin with.
const OWN: &str = "darkroom-";
/// For how long a server may show the rules that it had before. AWS: "there is usually some lag before a new or updated
/// Lifecycle configuration is fully propagated to all the Amazon S3 systems".
pub(super) const LAG_MAX: Duration = Duration::from_secs(5);
/// Between two looks at them.
pub(super) const LAG_PAUSE: Duration = Duration::from_millis(250);

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

    /// Those of the rules that the bucket does not have, having `found`.
    fn missing(&self, found: &[LifecycleRule]) -> Vec<&LifecycleRule> {
        let found = described(found);
        self.rules.iter().filter(|rule| !found.contains(&describe(rule))).collect()
    }

    /// Whether what was `found` is what the bucket had before.
    fn is_former(&self, found: &[LifecycleRule]) -> bool {
        let former = self.changes.iter().filter_map(|change| match change {
            Change::Keep(rule) | Change::Remove(rule) => Some(rule.clone()),
            Change::Add(_) => None,
        });
        let (mut former, mut found) = (former.collect::<Vec<_>>(), described(found));
        former.sort();
        found.sort();
        former == found
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
        show(&self.changes, f)
    }
}

/// A line for each.
pub(super) fn show(changes: &[Change], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for change in changes {
        match change {
            Change::Keep(rule) => writeln!(f, "    {rule}")?,
            Change::Add(rule) => writeln!(f, "  + {rule}")?,
            Change::Remove(rule) => writeln!(f, "  - {rule}")?,
        }
    }
    Ok(())
}

impl Bucket {
    /// What the configured rules would change in the bucket.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], with what the server says.
    pub async fn plan_lifecycle(&self) -> Result<Plan, StoreError> {
        let found = self.read_lifecycle().await?;
        Ok(Plan::new(&found, wanted(self.options())?, self.options()))
    }

    /// The rules that the bucket has.
    async fn read_lifecycle(&self) -> Result<Vec<LifecycleRule>, StoreError> {
        let asked = self.line().call("get_lifecycle", || async {
            let request = self.client().get_bucket_lifecycle_configuration().bucket(self.bucket());
            request.send().await.map_err(Failure::of_bare)
        });
        match asked.await? {
            Ok(answer) => Ok(answer.rules().to_vec()),
            // Older releases of Garage answer this where there are no rules: a status, and nothing more.
            Err(failure) if failure.is("NoSuchLifecycleConfiguration") || failure.is_bare_404() => {
                Ok(Vec::new())
            }
            Err(failure) => Err(self.no_lifecycle(failure)),
        }
    }

    /// Gives the bucket the rules of `plan`, and sees that it has them.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], with what the server says, or with the rules that it took and does not have.
    pub async fn apply_lifecycle(&self, plan: &Plan) -> Result<(), StoreError> {
        let rules = BucketLifecycleConfiguration::builder().set_rules(Some(plan.rules.clone()));
        let rules = rules.build().map_err(|error| incomplete(&error))?;
        let asked = self.line().call("put_lifecycle", || async {
            let request = self.client().put_bucket_lifecycle_configuration().bucket(self.bucket());
            request.lifecycle_configuration(rules.clone()).send().await.map(drop).map_err(Failure::of)
        });
        asked.await?.map_err(|failure| self.no_lifecycle(failure))?;
        self.see_kept(plan).await
    }

    /// Reads the rules back: some servers take every rule, and silently drop of it what they do not know.
    async fn see_kept(&self, plan: &Plan) -> Result<(), StoreError> {
        let began = Instant::now();
        loop {
            let found = self.read_lifecycle().await?;
            let missing = plan.missing(&found);
            if missing.is_empty() {
                return Ok(());
            }
            let late = plan.is_former(&found);
            if !late || began.elapsed() >= LAG_MAX {
                return Err(StoreError::Unavailable { reason: not_kept(self.bucket(), &missing, late) });
            }
            // The server tells nobody when it shows them.
            tokio::time::sleep(LAG_PAUSE).await;
        }
    }

    fn no_lifecycle(&self, failure: Failure) -> StoreError {
        let refused = format!("the lifecycle rules of bucket {}", self.bucket());
        match failure.into_error(&refused) {
            StoreError::Unavailable { reason } => StoreError::Unavailable {
                reason: format!(
                    "{reason}. The credentials need s3:GetLifecycleConfiguration and s3:PutLifecycleConfiguration (on \
                     Garage: `garage bucket allow --owner`), and not every server has such rules"
                ),
            },
            other => other,
        }
    }
}

/// `late`: the server goes on showing what it had before.
fn not_kept(bucket: &str, missing: &[&LifecycleRule], late: bool) -> String {
    let why = if late {
        "It goes on showing those that it had: either it does not know such rules, or it shows new ones late, and then \
         this command, run again in some minutes, has nothing to change"
    } else {
        "It does not know such rules, and nothing will come of them; the others are in force"
    };
    let rules: Vec<_> = missing.iter().map(|rule| describe(rule)).collect();
    let mut text = format!(
        "the server took the lifecycle rules of bucket {bucket}, and has not kept: {}. {why}",
        rules.join("; ")
    );
    if missing.iter().any(|rule| !rule.transitions().is_empty()) {
        text.push_str(". To leave originals where they are, set objects.s3.lifecycle_originals_days = 0");
    }
    if missing.iter().any(|rule| rule.abort_incomplete_multipart_upload().is_some()) {
        text.push_str(
            ". Have the parts of unfinished uploads removed by other means: nobody sees them, and they stay",
        );
    }
    text
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

fn described(rules: &[LifecycleRule]) -> Vec<String> {
    rules.iter().map(describe).collect()
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

    #[test]
    fn what_a_server_drops_of_a_rule_is_missed_and_is_not_what_was_there_before() {
        let plan = plan(&[others()], &options(Some(30)));
        let mut found = plan.rules.clone();
        assert!(plan.missing(&found).is_empty());
        found[2].transitions = None;
        let missing = plan.missing(&found);
        assert_eq!(missing, [&plan.rules[2]]);
        let said = not_kept("photos", &missing, false);
        assert!(said.contains("moves objects to STANDARD_IA") && !said.contains("unfinished"), "{said}");
        assert!(!plan.is_former(&found) && plan.is_former(&[others()]));
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
