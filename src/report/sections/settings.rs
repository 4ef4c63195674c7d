use anyhow::Result;
use maud::{Markup, html};

use crate::report::context::Context;
use crate::report::html::pairs;
use crate::report::read::tables;

pub fn body(context: &Context) -> Result<Markup> {
    let stem = context.folder.kind.stem();
    let parts = [
        ("model_params", "Model and training"),
        ("data_params", "Regions that trained: limits of total counts, and how many"),
    ];
    let mut bodies = Vec::new();
    for (name, title) in parts {
        let path = context.folder.tree.logs(&format!("{stem}_{name}.tsv"));
        bodies.push((
            title,
            match tables::pairs(&path)? {
                Some(rows) => pairs(&rows),
                None => context.missing_file(&path, "Training writes it."),
            },
        ));
    }
    Ok(html! { @for (title, body) in &bodies { h3 { (title) } (body) } })
}
