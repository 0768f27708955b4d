//! The terminal while an exec plugin runs, which may turn off its echo to ask for a password.

#[cfg(unix)]
pub(super) use unix::Terminal;

#[cfg(unix)]
mod unix {
    use std::fs::{File, OpenOptions};

    use rustix::process::getpgrp;
    use rustix::termios::{
        OptionalActions, QueueSelector, Termios, tcflush, tcgetattr, tcgetpgrp, tcsetattr,
    };

    /// The terminal's settings, to be restored.
    pub(crate) struct Terminal {
        terminal: File,
        settings: Termios,
    }

    impl Terminal {
        /// Returns `None` if there is no terminal, or another job has it.
        pub(crate) fn save() -> Option<Self> {
            // Where programs ask for passwords, even if their input comes from elsewhere.
            let terminal = OpenOptions::new().read(true).write(true).open("/dev/tty").ok()?;
            let settings = tcgetattr(&terminal).ok()?;
            Some(Self { terminal, settings }).filter(Self::is_ours)
        }

        /// Restores the settings. `discard`: what was typed for the plugin must not reach the next reader, which may
        /// be a shell.
        pub(crate) fn restore(&self, discard: bool) {
            if !self.is_ours() {
                return;
            }
            // A terminal that has vanished needs neither.
            if discard {
                let _ = tcflush(&self.terminal, QueueSelector::IFlush);
            }
            let _ = tcsetattr(&self.terminal, OptionalActions::Now, &self.settings);
        }

        /// A process in the background would be stopped by changing the terminal.
        fn is_ours(&self) -> bool {
            tcgetpgrp(&self.terminal).is_ok_and(|group| group == getpgrp())
        }
    }
}

#[cfg(not(unix))]
pub(super) struct Terminal;

#[cfg(not(unix))]
impl Terminal {
    pub(super) fn save() -> Option<Self> {
        None
    }

    pub(super) fn restore(&self, _discard: bool) {}
}
