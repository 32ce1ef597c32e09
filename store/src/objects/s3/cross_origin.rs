//! Which sites' pages may put into the bucket by themselves (CORS): those that the configuration lets use the API. One
//! rule among those of others, applied on request only, after the change was shown.

use aws_sdk_s3::types::{CorsConfiguration, CorsRule};
use tokio::time::Instant;

use super::error::Failure;
use super::lifecycle::{Change, LAG_MAX, LAG_PAUSE, show};
use super::{Bucket, S3Options};
use crate::StoreError;

/// What the id of darkroom's own rule begins with; the rest is its prefix, since another darkroom in the bucket has its
/// own rule.
const OWN: &str = "darkroom-uploads";
/// For how long a browser need not ask again.
const MAX_AGE_SECONDS: i32 = 3600;

/// What would become of the bucket's cross-origin rules.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    changes: Vec<Change>,
    /// Every rule that the bucket would have, those of others included.
    rules: Vec<CorsRule>,
    id: String,
}

impl Plan {
    /// Whether anything would change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.iter().all(|change| matches!(change, Change::Keep(_)))
    }

    /// What becomes of each rule, in order: those that are there, then a new one.
    #[must_use]
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    fn new(found: Vec<CorsRule>, wanted: Option<CorsRule>, id: String) -> Self {
        let (mut changes, mut rules) = (Vec::new(), Vec::new());
        for rule in found {
            if !is(&rule, &id) || wanted.as_ref() == Some(&rule) {
                changes.push(Change::Keep(describe(&rule)));
                rules.push(rule);
            } else {
                changes.push(Change::Remove(describe(&rule)));
            }
        }
        if let Some(rule) = wanted.filter(|wanted| !rules.contains(wanted)) {
            changes.push(Change::Add(describe(&rule)));
            rules.push(rule);
        }
        Self { changes, rules, id }
    }

    /// Darkroom's rule as it would be.
    fn own(&self) -> Option<&CorsRule> {
        self.rules.iter().find(|rule| is(rule, &self.id))
    }

    /// Whether that is what there is of it among the rules `found`.
    fn is_kept(&self, found: &[CorsRule]) -> bool {
        found.iter().filter(|rule| is(rule, &self.id)).eq(self.own())
    }
}

impl std::fmt::Display for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        show(&self.changes, f)
    }
}

impl Bucket {
    /// What it would change in the bucket that pages of these origins, as in `https://photos.example` or `*` for any, may
    /// put into it with presigned URLs.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], with what the server says.
    pub async fn plan_cross_origin(&self, origins: &[String]) -> Result<Plan, StoreError> {
        let found = match self.read_cross_origin().await? {
            Ok(found) => found,
            // Nothing is wanted of the server: it need neither have such rules nor show them.
            Err(Failure::Refused(_)) if origins.is_empty() => Vec::new(),
            Err(failure) => return Err(self.no_cross_origin(failure)),
        };
        let id = id_of(self.options());
        Ok(Plan::new(found, wanted(origins, &id)?, id))
    }

    /// The rules that the bucket has.
    async fn read_cross_origin(&self) -> Result<Result<Vec<CorsRule>, Failure>, StoreError> {
        let asked = self.line().call("get_cors", || async {
            let request = self.client().get_bucket_cors().bucket(self.bucket());
            request.send().await.map_err(Failure::of_bare)
        });
        Ok(match asked.await? {
            Ok(answer) => Ok(answer.cors_rules().to_vec()),
            Err(failure) if failure.is("NoSuchCORSConfiguration") || failure.is_bare_404() => Ok(Vec::new()),
            Err(failure) => Err(failure),
        })
    }

    /// Gives the bucket the rules of `plan`, and sees that it has them. False where the server has no such rules at all:
    /// nothing was changed then.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], with what the server says, or with the rule that it took and does not have.
    pub async fn apply_cross_origin(&self, plan: &Plan) -> Result<bool, StoreError> {
        let asked = if plan.rules.is_empty() {
            // S3 takes no empty list of them.
            let asked = self.line().call("delete_cors", || async {
                let request = self.client().delete_bucket_cors().bucket(self.bucket());
                request.send().await.map(drop).map_err(Failure::of)
            });
            asked.await?
        } else {
            let rules = CorsConfiguration::builder().set_cors_rules(Some(plan.rules.clone()));
            let rules = rules.build().map_err(|error| incomplete(&error))?;
            let asked = self.line().call("put_cors", || async {
                let request = self.client().put_bucket_cors().bucket(self.bucket());
                request.cors_configuration(rules.clone()).send().await.map(drop).map_err(Failure::of)
            });
            asked.await?
        };
        match asked {
            Ok(()) => self.see_cross_origin(plan).await.map(|()| true),
            Err(failure) if failure.is("NotImplemented") => Ok(false),
            Err(failure) => Err(self.no_cross_origin(failure)),
        }
    }

    /// Reads the rules back, as with those of the lifecycle.
    async fn see_cross_origin(&self, plan: &Plan) -> Result<(), StoreError> {
        let began = Instant::now();
        loop {
            let found = self.read_cross_origin().await?.map_err(|failure| self.no_cross_origin(failure))?;
            if plan.is_kept(&found) {
                return Ok(());
            }
            if began.elapsed() >= LAG_MAX {
                let bucket = self.bucket();
                let wanted = plan.own().map_or("no rule of darkroom's".to_owned(), describe);
                let reason = format!(
                    "the server took the cross-origin rules of bucket {bucket}, and does not show: {wanted}. Either it \
                     does not keep such rules as they are, or it shows new ones late, and then this command, run again \
                     in some minutes, has nothing to change"
                );
                return Err(StoreError::Unavailable { reason });
            }
            // The server tells nobody when it shows them.
            tokio::time::sleep(LAG_PAUSE).await;
        }
    }

    fn no_cross_origin(&self, failure: Failure) -> StoreError {
        match failure.into_error(&format!("the cross-origin rules of bucket {}", self.bucket())) {
            StoreError::Unavailable { reason } => StoreError::Unavailable {
                reason: format!(
                    "{reason}. The credentials need s3:GetBucketCORS and s3:PutBucketCORS (on Garage: `garage bucket \
                     allow --owner`)"
                ),
            },
            other => other,
        }
    }
}

fn id_of(options: &S3Options) -> String {
    if options.prefix.is_empty() { OWN.to_owned() } else { format!("{OWN}-{}", options.prefix) }
}

fn is(rule: &CorsRule, id: &str) -> bool {
    rule.id() == Some(id)
}

/// The rule that lets pages of these origins put what was announced, and read what they need to complete it.
fn wanted(origins: &[String], id: &str) -> Result<Option<CorsRule>, StoreError> {
    if origins.is_empty() {
        return Ok(None);
    }
    let rule = CorsRule::builder()
        .id(id)
        .set_allowed_origins(Some(origins.to_vec()))
        .allowed_methods("PUT")
        // Those that a presigned URL is signed with, which are not the same for each.
        .allowed_headers("*")
        .expose_headers("ETag")
        .max_age_seconds(MAX_AGE_SECONDS);
    rule.build().map(Some).map_err(|error| incomplete(&error))
}

fn incomplete(error: &dyn std::error::Error) -> StoreError {
    StoreError::Unavailable { reason: format!("the cross-origin rules could not be put together: {error}") }
}

/// One line for people.
fn describe(rule: &CorsRule) -> String {
    let id = rule.id().unwrap_or("(a rule without id)");
    let (origins, methods) = (rule.allowed_origins().join(", "), rule.allowed_methods().join(", "));
    let reads = match rule.expose_headers() {
        [] => String::new(),
        exposed => format!(", and read {}", exposed.join(", ")),
    };
    format!("{id}: pages of {origins} may {methods}{reads}")
}
