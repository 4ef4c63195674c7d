use anyhow::Result;
use maud::{Markup, html};

use super::text;
use crate::report::context::Context;

pub fn body(context: &Context) -> Result<Markup> {
    let prefix = context.folder.tree.evaluation("bw_shift_qc");
    let picture = context.picture(
        &prefix,
        "Base composition around the cut sites, beside the enzyme's textbook pattern.",
        "Bases around the cut sites of this run's counts.",
    )?;
    Ok(match picture {
        Some(picture) => html! {
            (text("The bases around the cut sites should look like the enzyme's own pattern (Tn5 or DNase I), \
                   and fit the textbook best at 0 bp."))
            (picture)
        },
        None => context.missing_file(
            &crate::plot::canvas::with_extension(&prefix, "svg"),
            "Training, `cbp-fast qc` and the pipelines make it; `cbp-fast pack shift-qc` does for any bigWig and assay.",
        ),
    })
}
