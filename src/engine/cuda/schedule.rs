//! Launches and what each of them waits for: a step as a graph.

#[cfg(feature = "emulate")]
use rand::{RngExt, SeedableRng};
#[cfg(feature = "emulate")]
use rand_chacha::ChaCha8Rng;

use super::device::Launch;

/// A launch's place in a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(usize);

/// Launches, each behind those that it waits for. In the order they were added they may run one by one.
#[derive(Clone, Debug, Default)]
pub struct Schedule {
    launches: Vec<Launch>,
    after: Vec<Vec<Place>>,
}

impl Schedule {
    /// One after the other.
    pub fn chain(launches: impl IntoIterator<Item = Launch>) -> Self {
        let mut schedule = Self::default();
        let mut last: Option<Place> = None;
        for launch in launches {
            last = Some(schedule.add(launch, last.as_slice()));
        }
        schedule
    }

    /// Adds a launch that begins when those at `after` have ended. Two that do not wait for each other, directly or
    /// through others, may run at the same time, so neither may touch what the other writes.
    pub fn add(&mut self, launch: Launch, after: &[Place]) -> Place {
        assert!(after.iter().all(|place| place.0 < self.launches.len()), "of another schedule");
        self.launches.push(launch);
        self.after.push(after.to_vec());
        Place(self.launches.len() - 1)
    }

    pub fn launches(&self) -> &[Launch] {
        &self.launches
    }

    /// What launch `i` waits for, as indices of launches before it.
    pub fn after(&self, i: usize) -> impl ExactSizeIterator<Item = usize> + '_ {
        self.after[i].iter().map(|place| place.0)
    }

    /// The one launch that `i` waits for and that nothing else waits for. While it ends, no other launch has a use for
    /// the multiprocessors that it leaves.
    pub fn link(&self, i: usize) -> Option<usize> {
        let &[only] = &self.after[i][..] else { return None };
        let followers = self.after.iter().filter(|after| after.contains(&only)).count();
        (followers == 1).then_some(only.0)
    }
    /// Indices in one of the orders that launches may run in; each has its turn over the seeds.
    #[cfg(feature = "emulate")]
    pub fn shuffled(&self, seed: u64) -> Vec<usize> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut order = Vec::new();
        let mut done = vec![false; self.launches.len()];
        while order.len() < done.len() {
            let ready = |i: &usize| !done[*i] && self.after(*i).all(|from| done[from]);
            let ready: Vec<usize> = (0..done.len()).filter(ready).collect();
            let next = ready[rng.random_range(0..ready.len())];
            done[next] = true;
            order.push(next);
        }
        order
    }
}

#[cfg(test)]
mod tests {
    #[cfg(feature = "emulate")]
    use std::collections::BTreeSet;

    use super::*;

    fn launch() -> Launch {
        Launch::new("k", [1, 1, 1], [32, 1, 1], 0, &0u32, "k")
    }

    #[test]
    fn links_are_where_a_chain_has_no_fork_and_no_join() {
        let mut schedule = Schedule::default();
        let a = schedule.add(launch(), &[]);
        let b = schedule.add(launch(), &[a]);
        let c = schedule.add(launch(), &[b]);
        let d = schedule.add(launch(), &[b]);
        let e = schedule.add(launch(), &[d]);
        schedule.add(launch(), &[c, e]);
        let links: Vec<Option<usize>> = (0..6).map(|i| schedule.link(i)).collect();
        assert_eq!(links, [None, Some(0), None, None, Some(3), None]);
        assert_eq!(schedule.after(5).collect::<Vec<_>>(), [2, 4]);
    }

    #[cfg(feature = "emulate")]
    #[test]
    fn every_allowed_order_comes_up_and_no_other() {
        let mut schedule = Schedule::default();
        let a = schedule.add(launch(), &[]);
        let b = schedule.add(launch(), &[a]);
        schedule.add(launch(), &[a]);
        schedule.add(launch(), &[b]);
        let seen: BTreeSet<Vec<usize>> = (0..64).map(|seed| schedule.shuffled(seed)).collect();
        let allowed = [[0, 1, 2, 3], [0, 1, 3, 2], [0, 2, 1, 3]].map(Vec::from);
        assert_eq!(seen, BTreeSet::from(allowed));
    }

    #[test]
    fn a_chain_is_all_links() {
        let schedule = Schedule::chain([launch(), launch(), launch()]);
        assert_eq!((0..3).map(|i| schedule.link(i)).collect::<Vec<_>>(), [None, Some(0), Some(1)]);
    }
}
