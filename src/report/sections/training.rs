use anyhow::Result;
use maud::{Markup, html};

use super::text;
use crate::figures::loss;
use crate::report::context::Context;
use crate::report::html::missing;
use crate::report::read::logs;

pub fn body(context: &Context) -> Result<Markup> {
    let stem = context.folder.kind.stem();
    let path = context.folder.tree.logs(&format!("{stem}.log"));
    let Some(rows) = logs::epochs(&path)? else {
        return Ok(context.missing_file(&path, "Training writes it after every epoch."));
    };
    let Some(figure) = loss::draw(&rows, stem) else {
        return Ok(missing("The log holds no epoch with a finite loss yet.", ""));
    };
    Ok(html! {
        (text("Validation loss falls and levels off within a few epochs; the weights of its lowest \
               point are kept."))
        (context.figure(&figure, Some("epoch_loss"), "Total loss is the profile's plus the weighted counts' (weight: see Settings)."))
    })
}
