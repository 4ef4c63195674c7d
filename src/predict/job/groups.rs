//! Which models are predicted together, and the prefix of their files.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::Job;
use crate::console::Console;
use crate::files::keras_h5::Role;
use crate::predict::models::{ModelFile, Models};
use crate::run::prefix as prefixes;
use crate::run::prefix::suffixed;

/// Models of one role.
pub struct Group {
    pub prefix: PathBuf,
    pub models: Models,
}

/// Reads every model. The official flags come in the official order, which decides whose statistics
/// stay.
pub fn read(job: &Job, console: &Console) -> Result<Vec<Group>> {
    if !job.models.any.is_empty() {
        return by_role(&job.models.any, &job.output_prefix, console);
    }
    let mut groups = Vec::new();
    for (paths, flag, role) in [
        (&job.models.nobias, "-cmb", Role::WithoutBias),
        (&job.models.full, "-cm", Role::Full),
        (&job.models.bias, "-bm", Role::Bias),
    ] {
        if paths.is_empty() {
            continue;
        }
        let models = Models::read_role(paths, role, flag, console)?;
        let prefix = suffixed(&job.output_prefix, &format!("_{}", role.stem()));
        groups.push(Group { prefix, models });
    }
    Ok(groups)
}

/// Models of any role, grouped in the order of their first appearance. With one role the prefix is
/// the one given.
fn by_role(paths: &[PathBuf], prefix: &Path, console: &Console) -> Result<Vec<Group>> {
    let mut by_role: Vec<(&str, Vec<ModelFile>)> = Vec::new();
    for path in paths {
        let file = ModelFile::read(path, console)?;
        let role = file.model.role();
        match by_role.iter_mut().find(|(r, _)| *r == role) {
            Some((_, files)) => files.push(file),
            None => by_role.push((role, vec![file])),
        }
    }
    let one = by_role.len() == 1;
    by_role
        .into_iter()
        .map(|(role, files)| {
            let prefix = match one {
                true => prefixes::of_role(prefix, role),
                false => suffixed(prefix, &format!("_{role}")),
            };
            Ok(Group { prefix, models: Models::of(files)? })
        })
        .collect()
}
