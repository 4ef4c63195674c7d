//! Stage 8: what is left on disk for people and other tools.

pub mod atomic;
pub mod bigwig;
pub mod bigwig_stream;
pub(crate) mod content;
pub mod contributions_h5;
pub mod folds_json;
pub(crate) mod h5_damage;
pub mod h5_file;
pub mod h5_input;
pub mod h5_out;
pub mod keras_h5;
pub mod leftovers;
pub mod params_tsv;
pub mod predictions_h5;
pub mod region_track;
pub mod row_spool;
pub mod table;
pub mod text;
pub mod track_stats;
pub mod train_log;
pub mod train_state;
pub mod variant_h5;
