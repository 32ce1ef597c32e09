//! What can be wrong with a configuration, in sentences.

use std::path::PathBuf;

use figment::error::Kind;

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file that was asked for is not there.
    #[error("there is no configuration file {}: check the path given with --config", path.display())]
    NoFile {
        /// Which.
        path: PathBuf,
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
    let source = error.metadata.as_ref().map_or_else(String::new, |metadata| {
        let place = metadata.source.as_ref().map_or_else(String::new, |source| format!(" {source}"));
        format!(" (in {}{place})", metadata.name)
    });
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
        kind => format!("`{key}`: {kind}{source}"),
    }
}
