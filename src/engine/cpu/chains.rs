//! Which outputs of a dilated layer a prediction takes together.
//!
//! A layer of dilation `d` is `d` layers without dilation, side by side: the *chains* `p, p + d,
//! p + 2d, ...`. A chain's outputs are cut into groups of 4 and 2 neighbours; an odd one out is one of
//! those that stay alone in training too (`Shape::singles`). Equal groups of neighbouring chains lie in
//! neighbouring rows: a *run*.

use std::ops::Range;

use super::pairs::Shape;

/// Group sizes, largest first.
pub const GROUPS: [usize; 2] = [4, 2];

/// Groups at `first..first + n`, the first outputs of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainRun {
    pub first: usize,
    pub n: usize,
}

/// The groups of `size` outputs of a layer, in the order of their first outputs' blocks.
pub fn runs(shape: &Shape, size: usize) -> Vec<ChainRun> {
    let (length, d) = (shape.length_out(), shape.dilation);
    let (short, longer) = (length / d, length % d);
    let mut found: Vec<ChainRun> = Vec::new();
    // Chains below `longer` have an output more than the others.
    let kinds: [(Range<usize>, Range<usize>); 2] =
        [(0..longer, members(short + 1, size)), (longer..d, members(short, size))];
    let steps = kinds.iter().map(|(_, members)| members.end).max().unwrap_or(0);
    for step in (0..steps).step_by(size) {
        for (chains, members) in &kinds {
            // A kind's groups of one size start at multiples of it, after those of larger sizes.
            if !members.contains(&step) || chains.is_empty() {
                continue;
            }
            let run = ChainRun { first: step * d + chains.start, n: chains.len() };
            match found.last_mut() {
                Some(last) if last.first + last.n == run.first && !run.first.is_multiple_of(d) => {
                    last.n += run.n;
                }
                _ => found.push(run),
            }
        }
    }
    found
}

/// The outputs of a chain of `length` that groups of `size` take.
fn members(length: usize, size: usize) -> Range<usize> {
    let larger = GROUPS.iter().take_while(|&&group| group > size).min();
    let start = larger.map_or(0, |group| length / group * group);
    start..length / size * size
}

/// Cuts runs into tiles of at most `size` groups.
pub fn tiles(runs: &[ChainRun], size: usize) -> Vec<Vec<ChainRun>> {
    let mut tiles = vec![Vec::new()];
    let mut room = size;
    for &ChainRun { mut first, mut n } in runs {
        while n > 0 {
            if room == 0 {
                tiles.push(Vec::new());
                room = size;
            }
            let taken = n.min(room);
            if let Some(tile) = tiles.last_mut() {
                tile.push(ChainRun { first, n: taken });
            }
            (first, n, room) = (first + taken, n - taken, room - taken);
        }
    }
    tiles.retain(|tile| !tile.is_empty());
    tiles
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_and_singles_cover_every_output_once() {
        for dilation in [1, 2, 4, 8, 64] {
            for length_out in 1..400 {
                let length_in = length_out + 2 * dilation;
                let shape = Shape { filters: 1, dilation, length_in, pairs: true };
                let mut seen = vec![0; length_out];
                for size in GROUPS {
                    let all = runs(&shape, size);
                    let tiled: usize = tiles(&all, 7).concat().iter().map(|run| run.n).sum();
                    assert_eq!(tiled, all.iter().map(|run| run.n).sum::<usize>());
                    for ChainRun { first, n } in all {
                        for t in first..first + n {
                            (0..size).for_each(|i| seen[t + i * dilation] += 1);
                        }
                    }
                }
                shape.singles().for_each(|t| seen[t] += 1);
                assert!(seen.iter().all(|&n| n == 1), "d {dilation}, length {length_out}");
            }
        }
    }

    #[test]
    fn fours_take_all_but_the_last_three_of_a_chain() {
        let shape = Shape { filters: 1, dilation: 256, length_in: 1074 + 512, pairs: true };
        assert_eq!(runs(&shape, 4), [ChainRun { first: 0, n: 256 }]);
        assert_eq!(runs(&shape, 2), []);
        assert_eq!(shape.singles(), 1024..1074);
    }
}
