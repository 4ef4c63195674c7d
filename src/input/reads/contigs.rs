//! The genome's contigs as readers look them up: by name, with the last name remembered.

use std::collections::HashMap;

use crate::error::Problem;
use crate::input::assembly::{Assembly, Contig, some_names};

/// Names and lengths (bp) of a genome's contigs.
#[derive(Clone, Debug, Default)]
pub struct Contigs {
    assembly: Assembly,
    /// Contigs that another input knows with another length: no read may lie on them.
    disputes: HashMap<u32, Problem>,
}

impl Contigs {
    /// The order is that of `ReadEnd::contig`. Of two contigs with one name the first counts.
    pub fn new(list: impl IntoIterator<Item = (String, u64)>) -> Self {
        Self::from(list.into_iter().collect::<Assembly>())
    }

    pub fn list(&self) -> &[Contig] {
        &self.assembly
    }

    pub fn id(&self, name: &[u8]) -> Option<u32> {
        self.assembly.id(std::str::from_utf8(name).ok()?)
    }

    /// Makes a read on the contig `name` an error, which `problem` tells.
    pub fn disputed(&mut self, name: &str, problem: Problem) {
        if let Some(id) = self.id(name.as_bytes()) {
            self.disputes.insert(id, problem);
        }
    }

    pub(super) fn dispute(&self, id: u32) -> Option<&Problem> {
        self.disputes.get(&id)
    }

    pub fn name(&self, id: u32) -> &str {
        &self.assembly[id as usize].name
    }

    /// bp
    pub fn length(&self, id: u32) -> i64 {
        self.assembly[id as usize].length as i64
    }

    /// The first three names, for messages.
    pub(super) fn some_names(&self) -> String {
        some_names(self.assembly.names())
    }
}

impl From<Assembly> for Contigs {
    fn from(assembly: Assembly) -> Self {
        Self { assembly, disputes: HashMap::new() }
    }
}

/// Looks names up; neighbouring records mostly share one, so a comparison saves the hash.
#[derive(Default)]
pub(super) struct Lookup {
    last: Vec<u8>,
    id: Option<u32>,
}

impl Lookup {
    /// Errors: a contig whose length is disputed.
    pub fn id(&mut self, contigs: &Contigs, name: &[u8]) -> Result<Option<u32>, Problem> {
        if self.last != name || name.is_empty() {
            let id = contigs.id(name);
            if let Some(problem) = id.and_then(|id| contigs.dispute(id)) {
                return Err(problem.clone());
            }
            self.last.clear();
            self.last.extend_from_slice(name);
            self.id = id;
        }
        Ok(self.id)
    }
}
