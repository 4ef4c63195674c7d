//! The device that a command computes on, as it was chosen.

use anyhow::Result;

use super::Device;
use crate::console::Console;
use crate::threads;

/// A device, and how it came to be this one.
#[derive(Clone, Debug)]
pub struct Chosen {
    pub device: Device,
    /// Why it is the CPU although a GPU was looked for.
    pub fallback: Option<String>,
    /// Threads of the pool; 0 takes every core.
    pub threads: usize,
}

impl Chosen {
    /// A device that was asked for, and every core.
    pub fn asked(device: Device) -> Self {
        Self { device, fallback: None, threads: 0 }
    }

    /// Says which device it is, and sets the thread pool up.
    pub fn begin(&self, console: &Console) -> Result<()> {
        let text = format!("device: {}", self.device);
        match &self.fallback {
            None => console.info(text),
            Some(reason) => console.warning(format!("{text}, because {reason}")),
        }
        Ok(threads::pool(self.threads)?)
    }
}
