//! What a PATCH says of one member: nothing, null, or a value.

use serde::{Deserialize, Deserializer};

/// A member of a PATCH's body that may be cleared with null. To be used with `#[serde(default)]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Patch<T> {
    /// It is not there: what it names stays as it is.
    #[default]
    Kept,
    /// It is null.
    Cleared,
    /// It is this.
    Set(T),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Patch<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Option::<T>::deserialize(deserializer).map(|value| value.map_or(Self::Cleared, Self::Set))
    }
}

impl<T> Patch<T> {
    /// The same of what `read` makes of the value, which may be nothing.
    ///
    /// # Errors
    /// Those of `read`.
    pub fn read<U, E>(self, read: impl FnOnce(T) -> Result<Option<U>, E>) -> Result<Patch<U>, E> {
        Ok(match self {
            Self::Kept => Patch::Kept,
            Self::Cleared => Patch::Cleared,
            Self::Set(value) => read(value)?.map_or(Patch::Cleared, Patch::Set),
        })
    }
}

impl<T: Clone> Patch<T> {
    /// Carries it out.
    pub fn apply(&self, to: &mut Option<T>) {
        match self {
            Self::Kept => {}
            Self::Cleared => *to = None,
            Self::Set(value) => *to = Some(value.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Wanted {
        #[serde(default)]
        bio: Patch<String>,
    }

    #[test]
    fn nothing_and_null_are_told_apart() {
        let after = |text| {
            let mut bio = Some("before".to_owned());
            serde_json::from_str::<Wanted>(text).unwrap().bio.apply(&mut bio);
            bio
        };
        assert_eq!(after("{}").as_deref(), Some("before"));
        assert_eq!(after(r#"{"bio": null}"#), None);
        assert_eq!(after(r#"{"bio": "now"}"#).as_deref(), Some("now"));
    }
}
