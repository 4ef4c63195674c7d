//! Pre-emption: SIGTERM, SIGINT and SIGUSR1 ask the training loop to save its state and leave.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;
use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};
use signal_hook::flag;

/// Set by the first signal. A second SIGINT ends the process at once.
#[derive(Clone, Debug, Default)]
pub struct StopFlag(Arc<AtomicBool>);

impl StopFlag {
    /// A flag that the signals set.
    pub fn on_signals() -> Result<Self> {
        let requested = Arc::new(AtomicBool::new(false));
        // Order matters: this handler sees the flag as the *previous* SIGINT left it.
        flag::register_conditional_shutdown(SIGINT, 130, Arc::clone(&requested))?;
        for signal in [SIGINT, SIGTERM, SIGUSR1] {
            flag::register(signal, Arc::clone(&requested))?;
        }
        Ok(Self(requested))
    }

    pub fn is_requested(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
