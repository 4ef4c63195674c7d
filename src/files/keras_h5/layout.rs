//! Where weights lie inside `model_weights`.
//!
//! Single models repeat the layer's name (`bpnet_1conv/bpnet_1conv/kernel:0`), nested ones put the
//! model's name first (`model/bpnet_1conv/kernel:0`). Both are found by the innermost group's name.

use hdf5_metno::{Dataset, Group};

/// The deepest official file has 3 levels below `model_weights`; more means a damaged or foreign
/// file, and a limit keeps looping links finite.
const MAX_DEPTH: usize = 6;

/// A layer's group: its path below `model_weights`, and the group itself.
pub struct LayerGroup {
    pub path: Vec<String>,
    pub group: Group,
}

impl LayerGroup {
    /// `kernel` or `bias`, with or without Keras 2's `:0`.
    pub fn dataset(&self, leaf: &str) -> Option<Dataset> {
        [format!("{leaf}:0"), leaf.to_string()]
            .iter()
            .filter(|name| self.group.link_exists(name))
            .find_map(|name| self.group.dataset(name).ok())
    }
}

/// Every group below `root` that directly holds a dataset.
pub fn layer_groups(root: &Group) -> hdf5_metno::Result<Vec<LayerGroup>> {
    let mut found = Vec::new();
    collect(root, &mut Vec::new(), &mut found)?;
    Ok(found)
}

fn collect(
    group: &Group,
    path: &mut Vec<String>,
    found: &mut Vec<LayerGroup>,
) -> hdf5_metno::Result<()> {
    if path.len() > MAX_DEPTH {
        return Ok(());
    }
    let mut holds_data = false;
    for name in group.member_names()? {
        if group.dataset(&name).is_ok() {
            holds_data = true;
        } else if let Ok(inner) = group.group(&name) {
            path.push(name);
            collect(&inner, path, found)?;
            path.pop();
        }
    }
    if holds_data {
        found.push(LayerGroup { path: path.clone(), group: group.clone() });
    }
    Ok(())
}
