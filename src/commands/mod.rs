//! One file per subcommand: its Args and its run(); no science in here.

pub mod bench;
pub mod demo;
pub mod pack;
