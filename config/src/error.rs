//! What can be wrong with a configuration, in sentences.

use std::path::PathBuf;

use darkroom_store::StoreError;
use figment::error::{Actual, Kind};

use crate::load::PREFIX;

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file that was asked for is not there.
    #[error("there is no configuration file {}: check the path given with --config or DARKROOM_CONFIG", path.display())]
    NoFile {
        /// Which.
        path: PathBuf,
    },
    /// The file is there and cannot be read.
    #[error("the configuration file {} cannot be read ({reason}): name a file that this user may read", path.display())]
    ClosedFile {
        /// Which.
        path: PathBuf,
        /// What the operating system says.
        reason: std::io::Error,
    },
    /// Keys or values that are not understood, one sentence each.
    #[error("{}", .0.join("\n"))]
    Unreadable(Vec<String>),
    /// Values that contradict each other.
    #[error("{0}")]
    Invalid(String),
}

/// How alike two names must be for one to be offered in place of the other.
const ALIKE: f64 = 0.75;

impl From<figment::Error> for ConfigError {
    fn from(error: figment::Error) -> Self {
        Self::Unreadable(error.into_iter().map(|error| sentence(&error)).collect())
    }
}

fn sentence(error: &figment::Error) -> String {
    let key = error.path.join(".");
    let source = source(error);
    match &error.kind {
        Kind::UnknownField(name, known) => {
            let section = error.path.iter().filter(|part| *part != name).map(|part| format!("{part}."));
            let section: String = section.collect();
            let nearest = known
                .iter()
                .map(|known| (strsim::jaro_winkler(name, known), known))
                .filter(|(alike, _)| *alike >= ALIKE)
                .max_by(|(a, _), (b, _)| a.total_cmp(b));
            let advice = match nearest {
                Some((_, nearest)) => format!("did you mean `{section}{nearest}`?"),
                None => format!("known here: {}", known.join(", ")),
            };
            format!("unknown key `{section}{name}`{source}: {advice}")
        }
        Kind::InvalidType(found, wanted) | Kind::InvalidValue(found, wanted) => {
            let found = match found {
                Actual::Str(text) => format!("{text:?}"),
                other => other.to_string(),
            };
            format!("`{key}` is {found}{source}: set it to {}", wanted_in_words(wanted))
        }
        Kind::UnknownVariant(found, known) => {
            let known: Vec<_> = known.iter().map(|known| format!("{known:?}")).collect();
            format!("`{key}` is {found:?}{source}: set it to {}", known.join(" or "))
        }
        kind if key.is_empty() => format!("the configuration cannot be read{source}: {kind}"),
        // Of an address, nothing but this is told.
        Kind::Message(message) if message == "invalid socket address syntax" => {
            format!("`{key}` is no address{source}: set it to one with a port, such as \"127.0.0.1:8080\"")
        }
        kind => format!("`{key}`: {kind}{source}"),
    }
}

/// Where it stands: the file, or the variable.
fn source(error: &figment::Error) -> String {
    let Some(metadata) = &error.metadata else { return String::new() };
    if metadata.name.contains(PREFIX) {
        let variable: Vec<_> = error.path.iter().map(|part| part.to_uppercase()).collect();
        return format!(" (in the variable {PREFIX}{})", variable.join("__"));
    }
    let place = metadata.source.as_ref().map_or_else(String::new, |source| format!(" {source}"));
    format!(" (in {}{place})", metadata.name)
}

/// What serde wants, in words for people who do not read Rust.
fn wanted_in_words(wanted: &str) -> String {
    match wanted {
        "u16" | "u32" | "u64" | "usize" => "a whole number, neither negative nor too large".to_owned(),
        "f64" => "a number".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "a duration" => "a time such as \"30s\"".to_owned(),
        // Of a size.
        "parsable string" => "a size such as \"64 MiB\"".to_owned(),
        other => match other.strip_prefix("an array of length ") {
            Some(length) => format!("a list of {length}"),
            None => other.to_owned(),
        },
    }
}

/// What the store says, in words of the configuration file: an option is named by its key in `section`.
pub(crate) fn in_keys(error: &StoreError, section: &str) -> String {
    match error {
        StoreError::InvalidOption { option: "engine", detail } => {
            format!("metadata.engine is foundationdb: {detail}")
        }
        StoreError::InvalidOption { option, detail } => {
            let key = match *option {
                "part_bytes" => "part_size",
                // Sizes have their unit in the value.
                other => other.strip_suffix("_bytes").unwrap_or(other),
            };
            format!("{section}.{key} {detail}")
        }
        StoreError::Unavailable { reason } => reason.clone(),
        other => other.to_string(),
    }
}
