//! Everything about the pipeline that can be set, with defaults and validation.

use std::time::Duration;

use darkroom_media::{Limits, Preset};
use darkroom_store::model::jobs::{self, Shares};
use darkroom_store::model::usage::Quota;

use crate::UploadOptions;
use crate::direct::DirectOptions;
use crate::faults::Fault;
use crate::indexer::FeedOptions;

/// How often an original is in memory while what is private is taken out of it: as it was read, as it will be sent, and what
/// is left of that when it is stripped once more, to see that nothing was.
pub(crate) const STRIPPING_COPIES: u64 = 3;

/// One mebibyte.
const MIB: u64 = 1 << 20;
/// A photo's record lists its variants, about 500 bytes each, in a value of at most 100 kB.
const VARIANTS_MAX: usize = 64;
/// Longest lease that makes sense: its holder's death is noticed when it ends.
const LEASE_MAX: Duration = Duration::from_secs(3600);
/// More would have each look at the queue read too much.
const CLAIM_AMONG_MAX: usize = 1000;
/// More would have a class wait too long for its turn.
const SHARE_MAX: u32 = 1000;

/// How the pipeline runs.
#[derive(Clone, Debug)]
pub struct PipelineOptions {
    /// The presets that every photo is made in, in any order.
    pub presets: Vec<Preset>,
    /// What is refused before a pixel is decoded.
    pub limits: Limits,
    /// Largest original in bytes.
    pub upload_bytes_max: u64,
    /// Photos that may be in memory at once, in any stage.
    pub job_slots: u32,
    /// Bytes for bodies: windows of uploads, and originals read for decoding.
    pub bodies_bytes: u64,
    /// Bytes for pixels: everything that decoding, resizing and encoding hold.
    pub pixels_bytes: u64,
    /// Bytes for originals that are served without what is private: each, and what is left of it until it is sent.
    pub stripping_bytes: u64,
    /// What one upload is charged while it streams to the store.
    pub upload_window_bytes: u64,
    /// Share of slots, bodies and pixels that fresh uploads leave to work that waits on disk, 0 to 1.
    pub reserved_share: f64,
    /// Share of what fresh uploads may hold that only those get whose client holds less than others, 0 to 0.5.
    pub spare_share: f64,
    /// Threads that decode and resize.
    pub compute_threads: usize,
    /// Objects written to the store at once.
    pub network_slots: usize,
    /// Attempts after which a photo is failed whose processing panics, or whose stored original is damaged.
    pub attempts_max: u32,
    /// How long a job's lease lasts without a heartbeat.
    pub lease_duration: Duration,
    /// On a shared engine: how long this node counts as alive after a heartbeat. Three heartbeats are tried in it.
    pub node_timeout: Duration,
    /// On a shared engine: how far the nodes' clocks may be apart, by which jobs vest. Also how much longer than
    /// `node_timeout` another node is silent before it is declared dead, which is by the judge's clock alone.
    pub clock_skew_max: Duration,
    /// How long after a node was declared dead what it was about to write is deleted, in case it lives all the same: an
    /// object that it writes after that is found by nobody.
    pub dead_node_sweep_delay: Duration,
    /// Claims of jobs for each class (interactive, bulk, background), while all of them have due jobs.
    pub class_shares: Shares,
    /// On a shared engine: a job is chosen at random among so many of the longest due of its class, so that nodes that
    /// look at the same time choose different ones. A node that is alone takes the longest due.
    pub claim_among: usize,
    /// Longest that a job waits which was interrupted for a reason that is not its photo's: what waits for a store that
    /// is away is taken up so long after it is back. The first time it waits half a second, then twice as long each
    /// time.
    pub interruption_pause_max: Duration,
    /// How long the letter of a job that was given up is kept.
    pub dead_jobs_age_max: Duration,
    /// How many letters of jobs that were given up are kept, the newest.
    pub dead_jobs_max: u64,
    /// Bytes that are kept of a file's name.
    pub name_bytes_max: usize,
    /// Files of one batch that were refused and are kept as items: further ones are only counted.
    pub refused_kept_max: u64,
    /// Photos that may wait for processing; beyond that uploads are refused.
    pub backlog_photos_max: u64,
    /// What each owner may have.
    pub quota: Quota,
    /// Longest that an upload whose client holds less than its share of slots waits for one. Zero: not at all.
    pub admission_wait_max: Duration,
    /// Uploads that may wait so at once.
    pub admission_waiting_max: usize,
    /// Uploads of one client that may.
    pub admission_waiting_per_client_max: usize,
    /// How often background loops look for work nobody told them of.
    pub idle_poll: Duration,
    /// Files that come in more than one request.
    pub uploads: UploadOptions,
    /// How direct uploads are taken.
    pub direct: DirectOptions,
    /// How posts reach timelines, and what trends.
    pub feeds: FeedOptions,
    /// Faults to inject, for tests.
    pub faults: Vec<Fault>,
}

/// Longest that an upload may wait for its turn.
const ADMISSION_WAIT_MAX: Duration = Duration::from_secs(10);

impl Default for PipelineOptions {
    fn default() -> Self {
        Self {
            presets: Preset::default_ladder(),
            limits: Limits::default(),
            upload_bytes_max: 64 * MIB,
            job_slots: 256,
            bodies_bytes: 256 * MIB,
            pixels_bytes: 1536 * MIB,
            stripping_bytes: 192 * MIB,
            upload_window_bytes: MIB,
            reserved_share: 0.25,
            spare_share: 0.125,
            compute_threads: std::thread::available_parallelism().map_or(2, usize::from),
            network_slots: 32,
            attempts_max: 3,
            lease_duration: Duration::from_secs(60),
            node_timeout: Duration::from_secs(30),
            clock_skew_max: Duration::from_secs(10),
            dead_node_sweep_delay: Duration::from_secs(600),
            class_shares: jobs::SHARES_DEFAULT,
            claim_among: 64,
            interruption_pause_max: Duration::from_secs(20),
            dead_jobs_age_max: Duration::from_secs(30 * 24 * 3600),
            dead_jobs_max: 10_000,
            name_bytes_max: 255,
            refused_kept_max: 10_000,
            backlog_photos_max: 1_000_000,
            quota: Quota::default(),
            admission_wait_max: Duration::from_millis(300),
            admission_waiting_max: 256,
            admission_waiting_per_client_max: 16,
            idle_poll: Duration::from_secs(1),
            uploads: UploadOptions::default(),
            direct: DirectOptions::default(),
            feeds: FeedOptions::default(),
            faults: Vec::new(),
        }
    }
}

impl PipelineOptions {
    /// Refuses a configuration that could not do what it allows.
    ///
    /// # Errors
    /// A sentence that names the setting and what to do.
    pub fn validate(&self) -> Result<(), String> {
        self.validate_presets()?;
        if !(0.0..=0.9).contains(&self.reserved_share) {
            return Err(format!(
                "budgets.reserved_share is {}: set it between 0 and 0.9",
                self.reserved_share
            ));
        }
        if !(0.0..=0.5).contains(&self.spare_share) {
            return Err(format!("budgets.spare_share is {}: set it between 0 and 0.5", self.spare_share));
        }
        let positive = [
            ("budgets.job_slots", u64::from(self.job_slots)),
            ("pipeline.compute_threads", self.compute_threads as u64),
            ("pipeline.network_slots", self.network_slots as u64),
            ("pipeline.attempts_max", u64::from(self.attempts_max)),
            ("pipeline.backlog_photos_max", self.backlog_photos_max),
            ("limits.upload_bytes_max", self.upload_bytes_max),
        ];
        if let Some((name, _)) = positive.iter().find(|(_, value)| *value == 0) {
            return Err(format!("{name} is 0: set it to 1 or more"));
        }
        if self.job_slots < 4 {
            return Err(format!(
                "budgets.job_slots is {}: set it to 4 or more, so that both uploads and waiting jobs get some",
                self.job_slots
            ));
        }
        if self.admission_wait_max > ADMISSION_WAIT_MAX {
            return Err(
                "limits.admission_wait must be at most 10 s: an upload that is refused should know it soon"
                    .to_owned(),
            );
        }
        if !(Duration::from_secs(1)..=LEASE_MAX).contains(&self.lease_duration) {
            return Err(
                "pipeline.lease_duration must be from 1 s to 1 h: set it to several times a photo's \
                        processing time"
                    .to_owned(),
            );
        }
        self.direct.validate()?;
        self.feeds.validate()?;
        self.validate_nodes_and_jobs()?;
        self.uploads.validate()?;
        self.validate_budgets()
    }

    fn validate_nodes_and_jobs(&self) -> Result<(), String> {
        if !(Duration::from_secs(1)..=LEASE_MAX).contains(&self.node_timeout) {
            return Err(
                "nodes.timeout must be from 1 s to 1 h: set it to several times the longest that a node \
                        stands still"
                    .to_owned(),
            );
        }
        if self.clock_skew_max > LEASE_MAX {
            return Err(
                "nodes.clock_skew_max must be at most 1 h: have the nodes' clocks set by NTP".to_owned()
            );
        }
        if !(1..=CLAIM_AMONG_MAX).contains(&self.claim_among) {
            return Err(format!(
                "jobs.choose_among is {}: set it from 1 to {CLAIM_AMONG_MAX}",
                self.claim_among
            ));
        }
        if !(jobs::INTERRUPTION_PAUSE_FIRST..=LEASE_MAX).contains(&self.interruption_pause_max) {
            return Err(
                "jobs.interruption_pause_max must be from 500 ms to 1 h: set it to what acknowledged photos may \
                 wait after the object store is back"
                    .to_owned(),
            );
        }
        if self.class_shares.iter().any(|share| !(1..=SHARE_MAX).contains(share)) {
            return Err(format!(
                "jobs.shares is {:?}: set each from 1 to {SHARE_MAX}, so that no class of jobs starves",
                self.class_shares
            ));
        }
        Ok(())
    }

    fn validate_presets(&self) -> Result<(), String> {
        if self.presets.is_empty() {
            return Err("no preset is configured: add at least one [[presets]]".to_owned());
        }
        let variants: usize = self.presets.iter().map(Preset::variants_max).sum();
        if variants > VARIANTS_MAX {
            return Err(format!(
                "the presets make up to {variants} variants of a photo, and at most {VARIANTS_MAX} fit into its record: remove some presets (one whose format is \"auto\" makes two)"
            ));
        }
        for (index, preset) in self.presets.iter().enumerate() {
            preset.validate()?;
            if self.presets[..index].iter().any(|earlier| earlier.name == preset.name) {
                return Err(format!("two presets are named {:?}: rename one", preset.name));
            }
        }
        Ok(())
    }

    fn validate_budgets(&self) -> Result<(), String> {
        let window = self.upload_window_bytes;
        if window < MIB {
            return Err(format!(
                "budgets.upload_window is {window} bytes, and an upload takes up to 1 MiB: set it to 1 MiB or more"
            ));
        }
        if self.upload_bytes_max + window > self.bodies_bytes {
            return Err(format!(
                "budgets.bodies ({} bytes) cannot hold the largest allowed original ({} bytes) beside the window \
                 of an upload: raise budgets.bodies or lower limits.upload_bytes_max",
                self.bodies_bytes, self.upload_bytes_max
            ));
        }
        let left = self.bodies_bytes as f64 * (1.0 - self.reserved_share);
        if left < window as f64 {
            return Err(format!(
                "budgets.bodies ({} MiB) leaves fresh uploads {} MiB beside budgets.reserved_share, and each is charged up \
                 to {} MiB: raise budgets.bodies, or lower budgets.reserved_share",
                self.bodies_bytes / MIB,
                left as u64 / MIB,
                window / MIB
            ));
        }
        if self.upload_bytes_max.saturating_mul(STRIPPING_COPIES) > self.stripping_bytes {
            return Err(format!(
                "budgets.stripping ({} bytes) cannot hold the largest allowed original ({} bytes) three times, \
                 as it is read, stripped and checked: raise budgets.stripping or lower limits.upload_bytes_max",
                self.stripping_bytes, self.upload_bytes_max
            ));
        }
        let largest = self.limits.largest_cost(&self.presets).peak_bytes;
        if largest > self.pixels_bytes {
            return Err(format!(
                "budgets.pixels ({} MiB) cannot hold the largest allowed photo ({} pixels, up to {} MiB to \
                 process): raise budgets.pixels to {} MiB or lower limits.pixels_max",
                self.pixels_bytes / MIB,
                self.limits.pixels_max,
                largest.div_ceil(MIB),
                largest.div_ceil(MIB)
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid() {
        PipelineOptions::default().validate().unwrap();
    }

    #[test]
    fn a_pixel_budget_below_the_largest_photo_is_refused_with_both_ways_out() {
        let options = PipelineOptions { pixels_bytes: 64 * MIB, ..Default::default() };
        let error = options.validate().unwrap_err();
        assert!(error.contains("budgets.pixels") && error.contains("limits.pixels_max"), "{error}");
    }

    #[test]
    fn a_body_budget_below_the_largest_original_is_refused() {
        let options = PipelineOptions { bodies_bytes: 16 * MIB, ..Default::default() };
        assert!(options.validate().unwrap_err().contains("limits.upload_bytes_max"));
    }

    #[test]
    fn a_body_budget_that_would_take_no_upload_is_refused() {
        let options =
            PipelineOptions { upload_window_bytes: 32 * MIB, reserved_share: 0.9, ..Default::default() };
        let error = options.validate().unwrap_err();
        assert!(error.contains("budgets.reserved_share") && error.contains("32 MiB"), "{error}");
    }

    #[test]
    fn a_stripping_budget_below_what_the_largest_original_takes_is_refused() {
        let least = STRIPPING_COPIES * PipelineOptions::default().upload_bytes_max;
        let options = |stripping_bytes| PipelineOptions { stripping_bytes, ..Default::default() };
        options(least).validate().unwrap();
        let error = options(least - 1).validate().unwrap_err();
        assert!(error.contains("budgets.stripping") && error.contains("limits.upload_bytes_max"), "{error}");
    }

    #[test]
    fn settings_of_nodes_and_jobs_outside_their_ranges_are_refused_by_name() {
        let refused = |options: PipelineOptions| options.validate().unwrap_err();
        let zero = Duration::ZERO;
        assert!(
            refused(PipelineOptions { node_timeout: zero, ..Default::default() }).contains("nodes.timeout")
        );
        let skew = PipelineOptions { clock_skew_max: 2 * LEASE_MAX, ..Default::default() };
        assert!(refused(skew).contains("nodes.clock_skew_max"));
        let among = PipelineOptions { claim_among: 0, ..Default::default() };
        assert!(refused(among).contains("jobs.choose_among"));
        let pause = PipelineOptions { interruption_pause_max: zero, ..Default::default() };
        assert!(refused(pause).contains("jobs.interruption_pause_max"));
        let shares = PipelineOptions { class_shares: [8, 3, 0], ..Default::default() };
        assert!(refused(shares).contains("jobs.shares"));
    }

    #[test]
    fn two_presets_of_one_name_are_refused() {
        let mut options = PipelineOptions::default();
        options.presets.push(options.presets[0].clone());
        assert!(options.validate().unwrap_err().contains("large"));
    }
}
