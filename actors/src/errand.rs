//! Work that a background loop does one at a time, and again if it was wanted meanwhile.

/// Whether an errand is wanted, and whether it runs.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Errand {
    wanted: bool,
    running: bool,
}

impl Errand {
    /// Somebody wants it done.
    pub(crate) fn want(&mut self) {
        self.wanted = true;
    }

    /// Whether to start it now. Follow with [`Errand::ended`].
    pub(crate) fn begins(&mut self) -> bool {
        let begins = self.wanted && !self.running;
        if begins {
            *self = Self { wanted: false, running: true };
        }
        begins
    }

    /// It has ended.
    pub(crate) fn ended(&mut self) {
        self.running = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wanted_while_it_runs_is_done_once_more() {
        let mut errand = Errand::default();
        assert!(!errand.begins());
        errand.want();
        assert!(errand.begins());
        errand.want();
        errand.want();
        assert!(!errand.begins(), "one at a time");
        errand.ended();
        assert!(errand.begins());
        errand.ended();
        assert!(!errand.begins());
    }
}
