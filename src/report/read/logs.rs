//! The epoch log (`*.log`), ours or the official tool's.

use std::path::Path;

use anyhow::Result;

use crate::error::Problem;
use crate::files::train_log::{EpochRow, Losses};
use crate::input::lines;

const COLUMNS: [&str; 7] = [
    "epoch",
    "loss",
    "logits_profile_predictions_loss",
    "logcount_predictions_loss",
    "val_loss",
    "val_logits_profile_predictions_loss",
    "val_logcount_predictions_loss",
];

/// One row an epoch; `None` where there is no such file.
pub fn epochs(path: &Path) -> Result<Option<Vec<EpochRow>>> {
    if !path.exists() {
        return Ok(None);
    }
    let mut columns = None;
    let mut rows = Vec::new();
    lines::for_each(path, |number, line| {
        let fields: Vec<&str> = line.split(',').collect();
        let place = lines::place(path, number);
        let Some(columns) = &columns else {
            columns = Some(find_columns(&fields).map_err(|p| p.at(place))?);
            return Ok(());
        };
        rows.push(row(&fields, columns).map_err(|p| p.at(place))?);
        Ok(())
    })?;
    Ok(Some(rows))
}

fn find_columns(header: &[&str]) -> Result<[usize; 7], Problem> {
    let mut columns = [0; 7];
    for (column, name) in columns.iter_mut().zip(COLUMNS) {
        *column = header.iter().position(|h| h.trim() == name).ok_or_else(|| {
            Problem::new(format!("the log has no column {name}"))
                .fix("this is no epoch log (*.log): train again")
        })?;
    }
    Ok(columns)
}

fn row(fields: &[&str], columns: &[usize; 7]) -> Result<EpochRow, Problem> {
    let number = |i: usize| {
        let text = fields.get(columns[i]).copied().unwrap_or_default().trim();
        text.parse::<f64>()
            .map_err(|_| Problem::new(format!("{} is {text:?}, expected a number", COLUMNS[i])))
    };
    let losses = |first: usize| -> Result<Losses, Problem> {
        Ok(Losses {
            total: number(first)?,
            profile: number(first + 1)?,
            counts: number(first + 2)?,
        })
    };
    Ok(EpochRow { train: losses(1)?, valid: losses(4)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::train_log;

    #[test]
    fn reads_what_training_writes_and_names_bad_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bias.log");
        assert_eq!(epochs(&path).unwrap(), None);
        let losses = |x| Losses { total: x, profile: x + 1.0, counts: x + 2.0 };
        let rows = vec![EpochRow { train: losses(5.0), valid: losses(7.5) }; 3];
        train_log::write_epochs(&path, &rows).unwrap();
        assert_eq!(epochs(&path).unwrap().unwrap(), rows);

        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replacen("\n1,", "\n1,x", 1)).unwrap();
        let error = epochs(&path).unwrap_err().to_string();
        assert!(error.contains("line 3") && error.contains("\"x7.0\""), "{error}");
        std::fs::write(&path, "hello\n").unwrap();
        assert!(epochs(&path).unwrap_err().to_string().contains("no column epoch"));
    }
}
