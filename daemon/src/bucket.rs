//! `darkroomd bucket`: what concerns the bucket that holds the objects. Speaks to the bucket itself, whether a daemon
//! runs or not.

#![expect(clippy::print_stdout, reason = "what a command prints is its result")]

use std::io::{BufRead, IsTerminal, Write};

use anyhow::{Context, bail};
use darkroom_config::Config;
use darkroom_config::sections::ObjectsIn;
use darkroom_store::objects::s3::Bucket;

use crate::commands::runtime;

/// Of servers such as `MinIO`.
const NO_CROSS_ORIGIN: &str = "this server has no cross-origin rules of buckets: its own settings say which sites' pages may \
                               put into them, if any may not";

/// `bucket apply`: gives the bucket the lifecycle rules of the configuration, and the rule that lets pages of
/// `http.cors_origins` put into it, after it has shown what would change.
pub(crate) fn apply(config: &Config, yes: bool) -> anyhow::Result<()> {
    if config.objects.store != ObjectsIn::S3 {
        bail!(
            "objects.store is \"filesystem\": a folder has no rules, and nothing was changed; this command is \
             for objects.store = \"s3\""
        );
    }
    runtime()?.block_on(async {
        let options = config.s3_options();
        let name = options.bucket.clone();
        let bucket = Bucket::connect(options).await?;
        let plan = bucket.plan_lifecycle().await.context("could not read the bucket's lifecycle rules")?;
        println!("lifecycle rules of bucket {name} (+ new, - removed, others stay):\n{plan}");
        let sites = bucket.plan_cross_origin(&config.http.cors_origins).await;
        let sites = sites.context("could not read the bucket's cross-origin rules")?;
        if !sites.changes().is_empty() {
            println!("cross-origin rules of bucket {name}, for http.cors_origins:\n{sites}");
        }
        if plan.is_empty() && sites.is_empty() {
            println!("nothing to change");
            return Ok(());
        }
        if !yes && !confirmed()? {
            bail!("nothing was changed");
        }
        if !plan.is_empty() {
            bucket.apply_lifecycle(&plan).await.context("could not set the bucket's lifecycle rules")?;
        }
        let asked = if sites.is_empty() { Ok(true) } else { bucket.apply_cross_origin(&sites).await };
        if asked.context(
            "could not set the bucket's cross-origin rules; those of its lifecycle are as they should be",
        )? {
            println!("applied");
        } else {
            println!("applied the lifecycle rules; {NO_CROSS_ORIGIN}");
        }
        Ok(())
    })
}

/// Asks whoever sits at the terminal.
fn confirmed() -> anyhow::Result<bool> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        bail!("nobody is here to be asked, and nothing was changed: add --yes to apply this");
    }
    print!("apply this? [y/N] ");
    std::io::stdout().flush()?;
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer)?;
    Ok(["y", "yes"].contains(&answer.trim().to_ascii_lowercase().as_str()))
}
