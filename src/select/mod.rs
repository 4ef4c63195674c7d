//! Stage 4: which regions train a model, exactly as the official code decides.
//!
//! In: regions, folds, tracks. Out: the rows that train, validate and test, the thresholds and the
//! loss weight that follow from their counts, and a reason for every row left out.

pub mod bias;
pub mod chrombpnet;
pub mod dropped;
pub mod edges;
pub mod selected;

mod candidates;
mod columns;

pub use bias::{BiasOptions, select_bias};
pub use chrombpnet::{
    ChrombpnetOptions, bias_logcount_offset, select_chrombpnet, select_chrombpnet_with_draw,
};
pub use columns::ColumnTypes;
pub use dropped::{DropReason, Dropped};
pub use selected::{BiasSelection, ChrombpnetSelection, DataParams, SelectedRegions, Thresholds};
