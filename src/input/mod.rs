//! Stage 1: readers. Bytes in, records out; coordinates are 0-based and half-open from here on.

pub mod assembly;
pub mod bigwig;
mod bigwig_check;
pub mod chrom_sizes;
pub mod fasta;
pub mod folds;
mod guard;
mod gzip;
pub mod intervals;
pub mod lines;
pub mod peak_list;
pub mod pipe;
pub mod reads;
pub mod regions;
pub mod sniff;
pub mod variants;
