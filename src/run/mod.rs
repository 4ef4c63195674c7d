//! The life of a run, whatever it makes: what it reads and writes is claimed, so that no run disturbs
//! another, loses an input, or leaves what an earlier one made beside what it makes now; its record
//! says what it is made from, so that it goes on where it stopped; its stages are kept while they hold.

pub mod claim;
pub mod clock;
pub mod kind;
pub mod lock;
pub mod prefix;
pub mod prints;
pub mod record;
pub mod settle;
pub mod stages;
pub mod stop;
pub mod tree;
