//! `[direct]`: uploads that go to the bucket directly. What a key is for is said in `darkroom.toml` beside this crate.

use std::time::Duration;

use bytesize::ByteSize;
use darkroom_actors::direct::DirectOptions;
use darkroom_api::hooks::{HooksOptions, Secret};
use darkroom_store::objects::ObjectKind;
use serde::{Deserialize, Serialize};

use crate::sections::section;

section! {
    /// `[direct]`
    Direct {
        #[serde(with = "humantime_serde")]
        expires: Duration = DirectOptions::default().expires,
        #[serde(with = "humantime_serde")]
        kept: Duration = DirectOptions::default().kept,
        parts_above: ByteSize = ByteSize(DirectOptions::default().parts_above_bytes),
        part_bytes: ByteSize = ByteSize(DirectOptions::default().part_bytes),
        part_urls_max: usize = DirectOptions::default().part_urls_max,
        open_max: u64 = DirectOptions::default().open_max,
        open_bytes_max: ByteSize = ByteSize(DirectOptions::default().open_bytes_max),
        #[serde(with = "humantime_serde")]
        finish_timeout: Duration = DirectOptions::default().finish_timeout,
        import_prefix: String = DirectOptions::default().import_prefix,
        import_delete: bool = DirectOptions::default().import_delete,
        sns_topics: Vec<String> = HooksOptions::default().sns_topics,
        webhook_token: Secret = HooksOptions::default().webhook_token,
        sqs_queue_url: String = HooksOptions::default().sqs_queue_url,
        sqs_region: String = HooksOptions::default().sqs_region,
        #[serde(with = "humantime_serde")]
        sqs_visibility: Duration = HooksOptions::default().sqs_visibility,
        held_bytes_max: ByteSize = ByteSize(HooksOptions::default().held_bytes_max as u64),
    }
}

impl Direct {
    /// The pipeline's options.
    pub(crate) fn options(&self) -> DirectOptions {
        DirectOptions {
            expires: self.expires,
            kept: self.kept,
            parts_above_bytes: self.parts_above.0,
            part_bytes: self.part_bytes.0,
            part_urls_max: self.part_urls_max,
            open_max: self.open_max,
            open_bytes_max: self.open_bytes_max.0,
            finish_timeout: self.finish_timeout,
            import_prefix: self.import_prefix.clone(),
            import_delete: self.import_delete,
        }
    }

    /// From whom events are taken. A queue whose URL and own key name no region is in `region`.
    pub(crate) fn hooks(&self, region: &str) -> HooksOptions {
        let mut hooks = HooksOptions {
            sns_topics: self.sns_topics.clone(),
            webhook_token: self.webhook_token.clone(),
            sqs_queue_url: self.sqs_queue_url.clone(),
            sqs_region: self.sqs_region.clone(),
            sqs_visibility: self.sqs_visibility,
            held_bytes_max: usize::try_from(self.held_bytes_max.0).unwrap_or(usize::MAX),
        };
        if hooks.region().is_none() {
            region.clone_into(&mut hooks.sqs_region);
        }
        hooks
    }

    /// Refuses what could never be told of, or would come back for ever. `bucket` is what all keys begin with, where
    /// there is a bucket.
    pub(crate) fn validate(&self, bucket: Option<&str>) -> Result<(), String> {
        let set = [
            ("import_prefix", !self.import_prefix.is_empty()),
            ("sns_topics", !self.sns_topics.is_empty()),
            ("webhook_token", !self.webhook_token.is_empty()),
            ("sqs_queue_url", !self.sqs_queue_url.is_empty()),
        ];
        let Some(prefix) = bucket else {
            let key = set.iter().find(|(_, is_set)| *is_set);
            return key.map_or(Ok(()), |(key, _)| {
                Err(format!(
                    "direct.{key} is set, and there is no bucket that it could be about: set objects.store = \"s3\", or \
                     remove it"
                ))
            });
        };
        let import = &self.import_prefix;
        let own = ObjectKind::ALL.map(|kind| format!("{prefix}{}/", kind.prefix()));
        if let Some(own) = own.iter().find(|own| own.starts_with(import.as_str()) || import.starts_with(*own))
            && !import.is_empty()
        {
            return Err(format!(
                "direct.import_prefix is {import:?}, and darkroom's own objects are under {own:?}: what it writes would come \
                 back as photos; choose a prefix beside them"
            ));
        }
        Ok(())
    }
}
