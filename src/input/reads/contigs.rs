//! The genome's contigs as readers look them up: by name, with the last name remembered.

use std::collections::HashMap;

use crate::error::Problem;

/// Names and lengths (bp) of a genome's contigs.
#[derive(Clone, Debug, Default)]
pub struct Contigs {
    list: Vec<(String, u64)>,
    ids: HashMap<Vec<u8>, u32>,
    /// Contigs that another input knows with another length: no read may lie on them.
    disputes: HashMap<u32, Problem>,
}

impl Contigs {
    /// The order is that of `ReadEnd::contig`. Of two contigs with one name the first counts.
    pub fn new(list: impl IntoIterator<Item = (String, u64)>) -> Self {
        let list: Vec<(String, u64)> = list.into_iter().collect();
        let mut ids = HashMap::with_capacity(list.len());
        for (id, (name, _)) in list.iter().enumerate() {
            ids.entry(name.clone().into_bytes()).or_insert(id as u32);
        }
        Self { list, ids, disputes: HashMap::new() }
    }

    pub fn list(&self) -> &[(String, u64)] {
        &self.list
    }

    pub fn id(&self, name: &[u8]) -> Option<u32> {
        self.ids.get(name).copied()
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
        &self.list[id as usize].0
    }

    /// bp
    pub fn length(&self, id: u32) -> i64 {
        self.list[id as usize].1 as i64
    }

    /// The first three names, for messages.
    pub(super) fn some_names(&self) -> String {
        some(self.list.iter().map(|(name, _)| name.as_str()))
    }
}

/// `chr1, chr2, chr3, ...`
pub(super) fn some<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let mut names = names.into_iter();
    let shown: Vec<&str> = names.by_ref().take(3).collect();
    format!("{}{}", shown.join(", "), if names.next().is_some() { ", ..." } else { "" })
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
