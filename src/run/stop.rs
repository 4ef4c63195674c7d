//! Pre-emption: SIGTERM, SIGINT and SIGUSR1 ask the training loop to save its state and leave.

use std::sync::Arc;

use anyhow::Result;

use crate::signals::Taker;

/// Set by the first signal. A second SIGINT ends the process at once. Once the last flag is dropped,
/// signals end the process again.
#[derive(Clone, Debug, Default)]
pub struct StopFlag(Option<Arc<Taker>>);

impl StopFlag {
    /// A flag that the signals set.
    pub fn on_signals() -> Result<Self> {
        Ok(Self(Some(Arc::new(Taker::new()?))))
    }

    pub fn is_requested(&self) -> bool {
        self.0.as_ref().is_some_and(|taker| taker.is_requested())
    }
}
