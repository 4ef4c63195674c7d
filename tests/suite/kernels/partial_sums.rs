//! Parts of a weight gradient, added up in place: exact, and nothing else is touched.

use cbp_fast::engine::cuda::emulated::Options;
use cbp_fast::engine::cuda::ops::partial_sums::PartialSums;

use super::memory::{Memory, Random, schedules};

fn check(splits: usize, len: usize, options: Options) {
    let partials = Random::new(5).values(splits * len);
    let mut memory = Memory::new(options);
    let at = memory.put("partials", &partials);
    let sums = PartialSums { splits, len };
    memory.launch(&sums.launch(at, "sums").unwrap());
    let found: Vec<f32> = memory.get(at, splits * len);
    let in_order = |i: usize| (0..splits).map(|s| partials[s * len + i]).reduce(|sum, p| sum + p);
    let wanted: Vec<f32> = (0..len).map(|i| in_order(i).unwrap()).collect();
    assert!(found[..len] == wanted, "{splits} parts of {len}");
    assert!(found[len..] == partials[len..], "{splits} parts of {len}: the others stay");
}

#[test]
fn sums_are_those_in_order() {
    schedules().for_each(|options| check(3, 1052, options));
    for (splits, len) in [(2, 4), (11, 3072), (7, 1024), (16, 4100)] {
        check(splits, len, Options::fast());
    }
}

#[test]
fn one_part_is_its_sum() {
    let at = Memory::new(Options::fast()).put("partials", &[1.0f32; 4]);
    assert!(PartialSums { splits: 1, len: 4 }.launch(at, "sums").is_none());
}
