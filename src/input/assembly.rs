//! The contigs of an assembly: names and lengths in the order of their file, found by name.
//!
//! Every input that lists contigs (genome, chromosome sizes, bigWig, packs) is read into this table.

use std::collections::HashMap;
use std::fmt;
use std::ops::Deref;

/// A contig.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contig {
    pub name: String,
    /// bp
    pub length: u64,
}

/// Contigs in order; as a slice it is the list of them. Of two contigs with one name the first is found.
#[derive(Clone, Default)]
pub struct Assembly {
    contigs: Vec<Contig>,
    ids: HashMap<String, u32>,
}

impl Assembly {
    /// Place of a contig in the list.
    pub fn id(&self, name: &str) -> Option<u32> {
        self.ids.get(name).copied()
    }

    /// Length of a contig in bp.
    pub fn length(&self, name: &str) -> Option<u64> {
        self.id(name).map(|id| self.contigs[id as usize].length)
    }

    /// Names in order.
    pub fn names(&self) -> impl Iterator<Item = &str> + Clone {
        self.contigs.iter().map(|contig| contig.name.as_str())
    }
}

/// The contigs in order: the lookup, whose order varies, says no more.
impl fmt::Debug for Assembly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.contigs).finish()
    }
}

impl Deref for Assembly {
    type Target = [Contig];

    fn deref(&self) -> &[Contig] {
        &self.contigs
    }
}

impl<N: Into<String>> FromIterator<(N, u64)> for Assembly {
    fn from_iter<I: IntoIterator<Item = (N, u64)>>(list: I) -> Self {
        let contig = |(name, length): (N, u64)| Contig { name: name.into(), length };
        let contigs: Vec<Contig> = list.into_iter().map(contig).collect();
        let mut ids = HashMap::with_capacity(contigs.len());
        for (contig, id) in contigs.iter().zip(0..) {
            ids.entry(contig.name.clone()).or_insert(id);
        }
        Self { contigs, ids }
    }
}

/// The first three names, for messages: `chr1, chr2, chr3, ...`
pub fn some_names<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let mut names = names.into_iter();
    let shown: Vec<&str> = names.by_ref().take(3).collect();
    format!("{}{}", shown.join(", "), if names.next().is_some() { ", ..." } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contigs_are_found_by_name_the_first_of_equals() {
        let assembly: Assembly = [("b", 3), ("a", 5), ("b", 7)].into_iter().collect();
        assert_eq!(
            (assembly.id("b"), assembly.id("a"), assembly.id("c")),
            (Some(0), Some(1), None)
        );
        assert_eq!((assembly.length("b"), assembly.length("c")), (Some(3), None));
        assert_eq!(assembly.names().collect::<Vec<_>>(), ["b", "a", "b"]);
        assert_eq!((assembly.len(), assembly[2].length), (3, 7));
        assert_eq!(some_names(assembly.names()), "b, a, b");
        assert_eq!(some_names(["a", "b", "c", "d"]), "a, b, c, ...");
    }
}
