//! `darkroomd keys`: how programs get in, and no longer.
//!
//! Speaks to the daemon of this machine, or looks into the metadata itself when none runs.

#![expect(clippy::print_stdout, reason = "what a command prints is its result")]

use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use darkroom_api::auth::access;
use darkroom_api::auth::keys::{self, KeyView, Wanted};
use darkroom_api::pages::{LIMIT_MAX, Page};
use darkroom_api::problem::Problem;
use darkroom_config::Config;
use darkroom_store::model::signing_keys::Purpose;
use darkroom_store::model::{ApiKeyId, UserId};
use hyper::Method;
use serde_json::{Value, json};

use crate::admin;
use crate::alone::alone;

/// A key to be made.
pub(crate) struct ToMake {
    pub(crate) name: String,
    pub(crate) scopes: Vec<String>,
    pub(crate) user: Option<UserId>,
    pub(crate) expires_in: Option<Duration>,
}

/// `keys create`.
pub(crate) async fn create(config: &Config, to_make: ToMake, json: bool) -> anyhow::Result<()> {
    let wanted = Wanted {
        name: to_make.name,
        scopes: to_make.scopes,
        user_id: to_make.user,
        expires_in: to_make.expires_in.map(|time| time.as_secs()),
    };
    let body = Bytes::from(serde_json::to_vec(&wanted)?);
    let asked = admin::ask_with(&config.server.data, Method::POST, "/v1/api-keys", body).await?;
    let made: KeyView = match asked {
        Some(answer) => understood(&answer)?,
        None => {
            alone(config, async |metadata| keys::make(metadata, wanted.clone()).await.map_err(said)).await?
        }
    };
    if json {
        println!("{}", serde_json::to_string_pretty(&made)?);
        return Ok(());
    }
    println!("{}", made.key.as_deref().unwrap_or_default());
    println!("\n  id      {}\n  name    {}\n  scopes  {}", made.id, made.name, made.scopes.join(", "));
    println!("\nIt is not shown again. Send it as `Authorization: Bearer <key>`.");
    Ok(())
}

/// `keys list`.
pub(crate) async fn list(config: &Config, json: bool) -> anyhow::Result<()> {
    let (mut found, mut cursor) = (Vec::new(), None);
    loop {
        let page = page(config, cursor.as_deref()).await?;
        found.extend(page.items);
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    if json {
        println!("{}", serde_json::to_string_pretty(&found)?);
        return Ok(());
    }
    for key in &found {
        let (used, ends) = (key.last_used_at.as_deref(), key.expires_at.as_deref());
        println!(
            "{}  {:<24}  used {:<24}  ends {:<24}  {}",
            key.id,
            key.name,
            used.unwrap_or("never"),
            ends.unwrap_or("never"),
            key.scopes.join(",")
        );
    }
    Ok(())
}

async fn page(config: &Config, cursor: Option<&str>) -> anyhow::Result<Page<KeyView>> {
    let more = cursor.map_or_else(String::new, |cursor| format!("&cursor={cursor}"));
    let path = format!("/v1/api-keys?limit={LIMIT_MAX}{more}");
    if let Some(answer) = admin::ask(&config.server.data, Method::GET, &path).await? {
        return understood(&answer);
    }
    let after: Option<ApiKeyId> = cursor.map(str::parse).transpose()?;
    alone(config, async |metadata| keys::page(metadata, after, LIMIT_MAX).await.map_err(said)).await
}

/// `keys revoke`.
pub(crate) async fn revoke(config: &Config, id: ApiKeyId) -> anyhow::Result<()> {
    let path = format!("/v1/api-keys/{id}");
    if admin::ask(&config.server.data, Method::DELETE, &path).await?.is_none() {
        alone(config, async |metadata| keys::remove(metadata, &id.to_string()).await.map_err(said)).await?;
    }
    println!("key {id} is revoked");
    Ok(())
}

/// `keys rotate`.
pub(crate) async fn rotate(config: &Config, purpose: Purpose, at_once: bool) -> anyhow::Result<()> {
    let body = Bytes::from(serde_json::to_vec(&json!({"purpose": purpose, "at_once": at_once}))?);
    let asked = admin::ask_with(&config.server.data, Method::POST, "/v1/admin/signing-keys", body).await?;
    let signs_from = if let Some(answer) = asked {
        understood::<Value>(&answer)?["signs_from"].as_str().unwrap_or_default().to_owned()
    } else {
        let how = config.http_options().auth.following(purpose, at_once);
        let rotate = async |metadata: &_| access::rotate(metadata, purpose, how).await.map_err(said);
        humantime::format_rfc3339_millis(alone(config, rotate).await?.into()).to_string()
    };
    println!("the new key signs from {signs_from} on");
    Ok(())
}

fn understood<T: serde::de::DeserializeOwned>(answer: &[u8]) -> anyhow::Result<T> {
    serde_json::from_slice(answer).context("the daemon's answer is not understood")
}

fn said(problem: Problem) -> anyhow::Error {
    anyhow::anyhow!(problem.detail)
}
