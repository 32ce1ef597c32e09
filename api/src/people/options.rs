//! Everything about people that can be set.

/// Most that one may follow: what a timeline reads grows with it.
const FOLLOWING_MAX: u64 = 1_000_000;
/// Most albums of one owner: they are counted when another is made.
const ALBUMS_MAX: usize = 10_000;

/// What people may do, and what they see of each other's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeopleOptions {
    /// How many users one may follow.
    pub following_max: u64,
    /// How many albums one may have.
    pub albums_max: usize,
    /// Whether whoever may see a photo gets its original as it was uploaded, too. Otherwise that is its owner's alone, and
    /// others get it without what is private.
    pub originals_for_viewers: bool,
}

impl Default for PeopleOptions {
    fn default() -> Self {
        Self { following_max: 7500, albums_max: 1000, originals_for_viewers: false }
    }
}

impl PeopleOptions {
    /// Refuses options that cannot work.
    ///
    /// # Errors
    /// A sentence that names the setting and what to do.
    pub fn validate(&self) -> Result<(), String> {
        let counts = [
            ("people.following_max", self.following_max, FOLLOWING_MAX),
            ("people.albums_max", self.albums_max as u64, ALBUMS_MAX as u64),
        ];
        match counts.iter().find(|(_, value, max)| *value == 0 || value > max) {
            Some((name, value, max)) => Err(format!("{name} is {value}: set it to a number from 1 to {max}")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_work_is_refused_by_its_key() {
        assert_eq!(PeopleOptions::default().validate(), Ok(()));
        let refused = |options: PeopleOptions| options.validate().unwrap_err();
        let nobody = PeopleOptions { following_max: 0, ..PeopleOptions::default() };
        assert!(refused(nobody).contains("people.following_max is 0"));
        let endless = PeopleOptions { albums_max: ALBUMS_MAX + 1, ..PeopleOptions::default() };
        assert!(refused(endless).contains("from 1 to 10000"));
    }
}
