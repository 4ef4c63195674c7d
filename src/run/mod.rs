//! How a run begins: what it reads and writes is claimed, so that no run disturbs another, loses an
//! input, or leaves what an earlier one made beside what it makes now.

pub mod claim;
pub mod clock;
pub mod lock;
pub mod outputs;
pub mod prints;
