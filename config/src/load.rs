//! Reads file and environment into a [`Config`].

use std::fs::File;
use std::io::ErrorKind;
use std::path::Path;

use figment::Figment;
use figment::providers::{Env, Format, Toml};

use crate::{Config, ConfigError};

/// Variables that begin so set keys: `DARKROOM__HTTP__BODY_TIMEOUT=5m`.
pub(crate) const PREFIX: &str = "DARKROOM__";

/// The configuration of `file`, if one is given, under the environment's. Not validated yet: flags come on
/// top.
///
/// # Errors
/// [`ConfigError`].
pub fn load(file: Option<&Path>) -> Result<Config, ConfigError> {
    let mut figment = Figment::new();
    if let Some(path) = file {
        check_readable(path)?;
        figment = figment.merge(Toml::file_exact(path));
    }
    Ok(figment.merge(Env::prefixed(PREFIX).split("__")).extract()?)
}

/// Tells what is wrong with the file itself.
fn check_readable(path: &Path) -> Result<(), ConfigError> {
    let closed = |reason| ConfigError::ClosedFile { path: path.to_owned(), reason };
    match File::open(path).and_then(|file| file.metadata()) {
        Ok(found) if found.is_file() => Ok(()),
        Ok(_) => Err(closed(ErrorKind::IsADirectory.into())),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err(ConfigError::NoFile { path: path.to_owned() })
        }
        Err(error) => Err(closed(error)),
    }
}

#[cfg(test)]
#[expect(clippy::result_large_err, reason = "figment's Jail gives its own error type")]
mod tests {
    use std::time::Duration;

    use darkroom_store::StoreError;
    use darkroom_store::objects::s3::{Checksum, LifecycleOptions, S3Options, ServerSideEncryption};
    use figment::Jail;

    use super::*;
    use crate::DEFAULT_FILE;

    /// Loads `file` with `variables` in a folder and environment of its own.
    fn load_text(file: &str, variables: &[(&str, &str)]) -> Result<Config, String> {
        let mut result = Err(String::new());
        Jail::expect_with(|jail| {
            jail.create_file("darkroom.toml", file)?;
            for (name, value) in variables {
                jail.set_env(name, value);
            }
            result = load(Some(Path::new("darkroom.toml"))).map_err(|error| error.to_string());
            Ok(())
        });
        result
    }

    /// The default file with every commented key switched on.
    fn uncommented() -> String {
        let keys = DEFAULT_FILE.lines().map(|line| match line.strip_prefix("#") {
            // Prose has a space after the mark, keys have none.
            Some(key) if !key.starts_with(' ') => key,
            _ => line,
        });
        keys.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn the_default_file_and_the_defaults_are_the_same() {
        let defaults = Config::default();
        assert_eq!(load_text(DEFAULT_FILE, &[]).unwrap(), defaults);
        let mut all = load_text(&uncommented(), &[]).unwrap();
        // These have no default value to write down, so the file shows an example.
        assert!(all.server.health_listen.take().is_some());
        assert!(all.pipeline.compute_threads.take().is_some());
        assert!(all.objects.writes_max.take().is_some());
        // This one follows the object store.
        assert!(all.budgets.upload_window.take().is_some());
        all.testing.faults.clear();
        // There is none by default; the file shows one as it is where nothing is said.
        assert_eq!(std::mem::take(&mut all.auth.providers), [crate::auth::Provider::default()]);
        assert_eq!(all, defaults);
        defaults.validate().unwrap();
    }

    #[test]
    fn the_default_file_names_every_key() {
        let file = uncommented();
        let value = figment::value::Value::serialize(Config::default()).unwrap();
        for (section, keys) in value.as_dict().unwrap() {
            assert_names_every_key(&file, section, keys);
        }
    }

    fn assert_names_every_key(file: &str, section: &str, keys: &figment::value::Value) {
        for (key, value) in keys.as_dict().into_iter().flatten() {
            let path = format!("{section}.{key}");
            let named = file.lines().any(|line| line.starts_with(&format!("{key} =")));
            // A table, or a list of them, which is empty by default.
            let header = file.contains(&format!("[{path}]"));
            assert!(named || header, "darkroom.toml lacks {path}");
            assert_names_every_key(file, &path, value);
        }
    }

    #[test]
    fn every_key_of_a_bucket_reaches_the_store() {
        let file = "[objects]\nstore = 's3'\n[objects.s3]\nbucket = 'photos'\nprefix = 'a/'\nregion = 'garage'\n\
                    endpoint = 'http://localhost:3900'\npath_style = true\nchecksum = 'md5'\nencryption = 'aws:kms'\n\
                    kms_key = 'k'\nstorage_class_original = 'STANDARD_IA'\nstorage_class_variant = 'ONEZONE_IA'\n\
                    multipart_threshold = '6 MiB'\npart_size = '7 MiB'\nparts_at_once = 3\nconnect_timeout = '1s'\n\
                    attempt_timeout = '4s'\noperation_deadline = '5s'\nupload_rate_min = '8 KiB'\n\
                    breaker_failures = 2\nbreaker_pause = '7s'\nlate_request_max = '9s'\n\
                    lifecycle_abort_uploads_days = 2\nlifecycle_originals_days = 30\n\
                    lifecycle_originals_class = 'GLACIER_IR'";
        let config = load_text(file, &[]).unwrap();
        config.validate().unwrap();
        let expected = S3Options {
            bucket: "photos".to_owned(),
            prefix: "a/".to_owned(),
            region: Some("garage".to_owned()),
            endpoint: Some("http://localhost:3900".to_owned()),
            path_style: true,
            credentials: None,
            checksum: Checksum::Md5,
            server_side_encryption: ServerSideEncryption::Kms { key_id: Some("k".to_owned()) },
            storage_class_original: Some("STANDARD_IA".to_owned()),
            storage_class_variant: Some("ONEZONE_IA".to_owned()),
            multipart_threshold_bytes: 6 << 20,
            part_bytes: 7 << 20,
            parts_at_once: 3,
            connect_timeout: Duration::from_secs(1),
            attempt_timeout: Duration::from_secs(4),
            operation_deadline: Duration::from_secs(5),
            upload_rate_min: 8 << 10,
            breaker_failures: 2,
            breaker_pause: Duration::from_secs(7),
            late_request_max: Duration::from_secs(9),
            lifecycle: LifecycleOptions {
                abort_uploads_after_days: 2,
                originals_after_days: Some(30),
                originals_class: "GLACIER_IR".to_owned(),
            },
        };
        assert_eq!(config.s3_options(), expected);
        assert_eq!(config.pipeline_options().upload_window_bytes, expected.window_bytes());
    }

    #[test]
    fn a_bucket_that_could_not_be_used_is_refused_by_key() {
        for (keys, words) in [
            ("", "objects.s3.bucket"),
            ("bucket = 'photos'\npart_size = '1 MiB'", "objects.s3.part_size"),
            ("bucket = 'photos'\nkms_key = 'k'", "objects.s3.kms_key"),
        ] {
            let config = load_text(&format!("[objects]\nstore = 's3'\n[objects.s3]\n{keys}"), &[]).unwrap();
            let error = config.validate().unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn a_folder_of_objects_that_could_not_be_written_is_refused_by_key() {
        let config = load_text("[objects]\nwrites_max = 0", &[]).unwrap();
        let error = config.validate().unwrap_err().to_string();
        assert!(error.contains("objects.writes_max must be at least 1"), "{error}");
        let config = load_text("[objects]\nwrites_max = 32", &[]).unwrap();
        assert_eq!(config.filesystem_options().writes_max, 32);
    }

    #[test]
    fn foundationdb_asks_for_its_feature_and_for_shared_objects() {
        let engine = "[metadata]\nengine = \"foundationdb\"\n";
        let config = load_text(engine, &[("DARKROOM__METADATA__FOUNDATIONDB__PREFIX", "other/")]).unwrap();
        assert_eq!(config.foundationdb_options().prefix, "other/");
        let refusal = config.validate().unwrap_err().to_string();
        let has_engine = config.foundationdb_options().validate().is_ok();
        assert_eq!(refusal.contains("--features foundationdb"), !has_engine, "{refusal}");
        assert_eq!(refusal.contains("objects.shared = true"), has_engine, "{refusal}");
        let shared = load_text(&format!("{engine}[objects]\nshared = true"), &[]).unwrap();
        assert_eq!(shared.validate().is_ok(), has_engine);
    }

    #[test]
    fn an_upload_is_charged_what_the_object_store_makes_it_hold() {
        let bucket = "[objects]\nstore = 's3'\n[objects.s3]\nbucket = 'photos'\n";
        assert_eq!(load_text("", &[]).unwrap().pipeline_options().upload_window_bytes, 1 << 20);
        let config = load_text(bucket, &[]).unwrap();
        assert_eq!(config.pipeline_options().upload_window_bytes, 16 << 20);
        let config = load_text(&format!("{bucket}[budgets]\nupload_window = '2 MiB'"), &[]).unwrap();
        let error = config.validate().unwrap_err().to_string();
        assert!(error.contains("budgets.upload_window is 2.0 MiB") && error.contains("16.0 MiB"), "{error}");
    }

    #[test]
    fn a_misspelt_key_is_refused_with_the_nearest_and_where_it_stands() {
        let error = load_text("[http]\nbody_timout = \"5m\"", &[]).unwrap_err();
        assert!(error.contains("`http.body_timout`") && error.contains("`http.body_timeout`"), "{error}");
        assert!(error.contains("darkroom.toml"), "{error}");
        let error = load_text("", &[("DARKROOM__BUDGETS__PIXEL", "1 GiB")]).unwrap_err();
        assert!(error.contains("`budgets.pixels`"), "{error}");
        let error = load_text("[nonsense]", &[]).unwrap_err();
        assert!(error.contains("known here: server, http"), "{error}");
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named_with_what_to_do() {
        let home = std::env::temp_dir();
        let missing = load(Some(&home.join("no such darkroom.toml"))).unwrap_err().to_string();
        assert!(
            missing.contains("no such darkroom.toml") && missing.contains("DARKROOM_CONFIG"),
            "{missing}"
        );
        let folder = load(Some(&home)).unwrap_err().to_string();
        assert!(folder.contains("cannot be read") && folder.contains("is a directory"), "{folder}");
        let broken = load_text("[http\n", &[]).unwrap_err();
        assert!(broken.contains("darkroom.toml") && broken.contains("line 1"), "{broken}");
    }

    #[test]
    fn what_a_store_refuses_at_start_is_told_by_key() {
        let config = Config::default();
        let error = StoreError::InvalidOption { option: "memtable_bytes", detail: "must be less".to_owned() };
        assert_eq!(config.in_keys_of_metadata(&error), "metadata.memtable must be less");
        let file = "[metadata]\nmemtable = '1 B'";
        let refusal = load_text(file, &[]).unwrap().validate().unwrap_err().to_string();
        assert!(refusal.starts_with("metadata.memtable must be from 1 MiB"), "{refusal}");
        let error = StoreError::InvalidOption { option: "writes_max", detail: "must be more".to_owned() };
        assert_eq!(config.in_keys_of_objects(&error), "objects.writes_max must be more");
        let config = load_text("[objects]\nstore = 's3'", &[]).unwrap();
        let error = StoreError::InvalidOption { option: "region", detail: "is not set".to_owned() };
        assert_eq!(config.in_keys_of_objects(&error), "objects.s3.region is not set");
        let error = StoreError::Unavailable { reason: "the bucket is gone".to_owned() };
        assert_eq!(config.in_keys_of_objects(&error), "the bucket is gone");
    }

    #[test]
    fn objects_are_shared_where_it_is_said_or_the_metadata_are() {
        assert!(!Config::default().shares_objects());
        assert!(load_text("[objects]\nshared = true", &[]).unwrap().shares_objects());
        assert!(load_text("[metadata]\nengine = 'foundationdb'", &[]).unwrap().shares_objects());
    }

    #[test]
    fn the_environment_goes_before_the_file() {
        let file = "[budgets]\npixels = \"2 GiB\"\nbodies = \"300 MiB\"";
        let config = load_text(file, &[("DARKROOM__BUDGETS__PIXELS", "3 GiB")]).unwrap();
        assert_eq!((config.budgets.pixels.0, config.budgets.bodies.0), (3 << 30, 300 << 20));
    }

    #[test]
    fn every_limit_reaches_the_media_engine() {
        let file = "[limits]\npixels_max = 1\nwidth_max = 2\nheight_max = 3\nscans_max = 4\nmetadata_bytes_max = '5 B'\n\
                    icc_bytes_max = '6 B'\nframes_max = 7\nanimation_pixels_max = 8\ndecode_time_max = '9s'";
        let limits = load_text(file, &[]).unwrap().pipeline_options().limits;
        let expected = darkroom_media::Limits {
            pixels_max: 1,
            width_max: 2,
            height_max: 3,
            scans_max: 4,
            metadata_bytes_max: 5,
            icc_bytes_max: 6,
            frames_max: 7,
            animation_pixels_max: 8,
            seconds_max: 9,
            ..darkroom_media::Limits::default()
        };
        assert_eq!(limits, expected);
    }

    #[test]
    fn every_budget_reaches_the_pipeline() {
        let file = "[budgets]\njob_slots = 5\nbodies = '6 B'\npixels = '7 B'\nstripping = '8 B'\nupload_window = '9 B'";
        let options = load_text(file, &[]).unwrap().pipeline_options();
        let found = (options.job_slots, options.bodies_bytes, options.pixels_bytes, options.stripping_bytes);
        assert_eq!((found, options.upload_window_bytes), ((5, 6, 7, 8), 9));
    }

    #[test]
    fn every_setting_of_jobs_and_nodes_reaches_the_pipeline() {
        let file = "[jobs]\nshares = [5, 4, 3]\nchoose_among = 2\ninterruption_pause_max = '3s'\n\
                    dead_age_max = '1d'\ndead_max = 6\n\
                    [nodes]\ntimeout = '7s'\nclock_skew_max = '8s'\nsweep_delay = '9s'";
        let options = load_text(file, &[]).unwrap().pipeline_options();
        assert_eq!((options.class_shares, options.claim_among), ([5, 4, 3], 2));
        assert_eq!(options.interruption_pause_max.as_secs(), 3);
        assert_eq!((options.dead_jobs_age_max.as_secs(), options.dead_jobs_max), (86400, 6));
        assert_eq!((options.node_timeout.as_secs(), options.clock_skew_max.as_secs()), (7, 8));
        assert_eq!(options.dead_node_sweep_delay.as_secs(), 9);
        let error = load_text("[jobs]\nshares = [8, 3, 0]", &[]).unwrap().validate().unwrap_err().to_string();
        assert!(error.contains("jobs.shares"), "{error}");
    }

    #[test]
    fn a_time_for_decoding_that_cannot_be_kept_is_refused() {
        for time in ["0s", "500ms", "1500ms"] {
            let config = load_text(&format!("[limits]\ndecode_time_max = '{time}'"), &[]).unwrap();
            let error = config.validate().unwrap_err().to_string();
            assert!(error.contains("limits.decode_time_max") && error.contains("whole seconds"), "{error}");
        }
        load_text("[limits]\ndecode_time_max = '1s'", &[]).unwrap().validate().unwrap();
    }

    #[test]
    fn a_wrong_value_is_refused_by_key() {
        for (section, key, value, wanted) in [
            (
                "http",
                "body_timeout",
                "'soon'",
                "is \"soon\" (in TOML file darkroom.toml): set it to a time such as \"30s\"",
            ),
            (
                "budgets",
                "pixels",
                "'lots'",
                "is \"lots\" (in TOML file darkroom.toml): set it to a size such as \"64 MiB\"",
            ),
            ("budgets", "job_slots", "-1", "set it to a whole number"),
            ("objects", "shared", "'perhaps'", "set it to true or false"),
            ("metadata", "engine", "'fdb'", "set it to \"embedded\" or \"foundationdb\""),
            ("jobs", "shares", "1", "set it to a list of 3"),
            ("server", "listen", "'here'", "such as \"127.0.0.1:8080\""),
        ] {
            let error = load_text(&format!("[{section}]\n{key} = {value}"), &[]).unwrap_err();
            assert!(error.contains(&format!("`{section}.{key}`")) && error.contains(wanted), "{error}");
        }
        let error = load_text("", &[("DARKROOM__HTTP__PARTS_MAX", "many")]).unwrap_err();
        assert!(
            error.contains("`http.parts_max` is \"many\" (in the variable DARKROOM__HTTP__PARTS_MAX)"),
            "{error}"
        );
    }

    #[test]
    fn an_open_door_to_the_world_is_refused() {
        let mut config = Config::default();
        config.server.listen = ([0, 0, 0, 0], 8080).into();
        config.validate().unwrap();
        config.server.open = true;
        let error = config.validate().unwrap_err().to_string();
        assert!(error.contains("0.0.0.0:8080") && error.contains("loopback"), "{error}");
    }
}
