//! Where weights lie inside `model_weights`.
//!
//! Single models repeat the layer's name (`bpnet_1conv/bpnet_1conv/kernel:0`), nested ones put the
//! model's name first (`model/bpnet_1conv/kernel:0`). Both are found by the innermost group's name.

use hdf5_metno::{Dataset, Group};

use crate::error::Problem;
use crate::files::h5_input;

/// The deepest official file has 3 levels below `model_weights`; more means a damaged or foreign
/// file.
const MAX_DEPTH: usize = 6;

/// The official full model has 90 groups and datasets. Groups that hold each other are seen again
/// and again.
const MAX_MEMBERS: usize = 10_000;

/// A layer's group: its path below `model_weights`, and the group itself.
pub struct LayerGroup {
    pub path: Vec<String>,
    pub group: Group,
}

impl LayerGroup {
    /// `kernel` or `bias`, with or without Keras 2's `:0`.
    ///
    /// Errors: values that are not all stored in this file.
    pub fn dataset(&self, leaf: &str) -> Result<Option<Dataset>, Problem> {
        match h5_input::dataset(&self.group, &format!("{leaf}:0"))? {
            Some(dataset) => Ok(Some(dataset)),
            None => h5_input::dataset(&self.group, leaf),
        }
    }
}

/// Every group below `root` that directly holds a dataset.
///
/// Errors: links that lead elsewhere, groups without an end.
pub fn layer_groups(root: &Group) -> Result<Vec<LayerGroup>, Problem> {
    let mut search = Search { path: Vec::new(), seen: 0, found: Vec::new() };
    search.collect(root)?;
    Ok(search.found)
}

struct Search {
    path: Vec<String>,
    /// Groups and datasets so far.
    seen: usize,
    found: Vec<LayerGroup>,
}

impl Search {
    fn collect(&mut self, group: &Group) -> Result<(), Problem> {
        if self.path.len() > MAX_DEPTH {
            return Ok(());
        }
        let mut holds_data = false;
        for (name, link) in h5_input::members(group)? {
            self.seen += 1;
            if self.seen > MAX_MEMBERS {
                return Err(Problem::new(format!(
                    "more than {MAX_MEMBERS} groups and datasets, expected those of a model"
                ))
                .at("model_weights"));
            }
            h5_input::check_link(group, &name, link)?;
            if group.dataset(&name).is_ok() {
                holds_data = true;
            } else if let Ok(inner) = group.group(&name) {
                self.path.push(name);
                self.collect(&inner)?;
                self.path.pop();
            }
        }
        if holds_data {
            self.found.push(LayerGroup { path: self.path.clone(), group: group.clone() });
        }
        Ok(())
    }
}
