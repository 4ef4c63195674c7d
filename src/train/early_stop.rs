//! Which epoch is best and when to give up, as Keras' EarlyStopping(monitor=val_loss) decides.

use serde::{Deserialize, Serialize};

/// The best epoch so far. `patience` epochs in a row without a strictly lower val_loss end the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Best {
    pub val_loss: Option<f64>,
    pub epoch: usize,
    /// Epochs since then.
    pub stale: usize,
}

impl Best {
    /// Takes note of an epoch; true when it is the best so far.
    pub fn update(&mut self, epoch: usize, val_loss: f64) -> bool {
        if self.val_loss.is_none_or(|best| val_loss < best) {
            *self = Self { val_loss: Some(val_loss), epoch, stale: 0 };
            return true;
        }
        self.stale += 1;
        false
    }

    /// Keras never stops after the very first epoch, whatever the patience.
    pub fn should_stop(&self, patience: usize) -> bool {
        self.stale > 0 && self.stale >= patience
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stops_after_patience_epochs_without_improvement() {
        let mut best = Best::default();
        let losses = [5.0, 4.0, 4.0, 4.5, 3.9, 4.0, 4.0];
        let improved: Vec<bool> =
            losses.iter().enumerate().map(|(e, l)| best.update(e, *l)).collect();
        assert_eq!(improved, [true, true, false, false, true, false, false]);
        assert_eq!((best.epoch, best.stale), (4, 2));
        assert!(best.should_stop(2) && !best.should_stop(3));
    }

    #[test]
    fn nan_is_never_best_once_there_is_a_number() {
        let mut best = Best::default();
        best.update(0, 1.0);
        assert!(!best.update(1, f64::NAN));
    }
}
