//! `darkroomd bucket`: what concerns the bucket that holds the objects. Speaks to the bucket itself, whether a daemon
//! runs or not.

#![expect(clippy::print_stdout, reason = "what a command prints is its result")]

use std::io::{BufRead, IsTerminal, Write};

use anyhow::{Context, bail};
use darkroom_config::Config;
use darkroom_config::sections::ObjectsIn;
use darkroom_store::objects::s3::Bucket;

use crate::commands::runtime;

/// `bucket apply`: gives the bucket the lifecycle rules of the configuration, after it has shown what would change.
pub(crate) fn apply(config: &Config, yes: bool) -> anyhow::Result<()> {
    if config.objects.store != ObjectsIn::S3 {
        bail!(
            "objects.store is \"filesystem\": a folder has no lifecycle rules, and nothing was changed; this command is \
             for objects.store = \"s3\""
        );
    }
    runtime()?.block_on(async {
        let options = config.s3_options();
        let name = options.bucket.clone();
        let bucket = Bucket::connect(options).await?;
        let plan = bucket.plan_lifecycle().await.context("could not read the bucket's lifecycle rules")?;
        println!("lifecycle rules of bucket {name} (+ new, - removed, others stay):\n{plan}");
        if plan.is_empty() {
            println!("nothing to change");
            return Ok(());
        }
        if !yes && !confirmed()? {
            bail!("nothing was changed");
        }
        bucket.apply_lifecycle(&plan).await.context("could not set the bucket's lifecycle rules")?;
        println!("applied");
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
