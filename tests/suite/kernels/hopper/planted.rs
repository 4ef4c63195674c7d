//! The emulator catches what can go wrong with copies, mbarriers, proxies and wgmma: by a report in every schedule, or,
//! where only the numbers can tell, by wrong numbers in every schedule.

use bytemuck::{Pod, Zeroable, cast_slice, cast_slice_mut};
use cbp_fast::engine::cuda::device::{Address, Device, Launch, TensorMap, Walk};
use cbp_fast::engine::cuda::emulated::{Delivery, EmulatedDevice, Options};
use half::f16;

use crate::kernels::tensor::Numbers;

const SEEDS: u64 = 8;
const DELIVERIES: [Delivery; 3] = [Delivery::AtOnce, Delivery::Random, Delivery::Starved];

fn schedules() -> impl Iterator<Item = Options> {
    (0..SEEDS).flat_map(|seed| DELIVERIES.map(|delivery| Options::checked(seed, delivery)))
}

/// What a bug comes to.
enum Caught {
    /// With these words; none where it depends on the schedule what is noticed first.
    Reported(&'static [&'static str]),
    WrongNumbers,
}
use Caught::{Reported, WrongNumbers};

/// Every bug of `run` is caught in every schedule, and 0, none, is right in every one, and without checks.
fn all_caught(
    run: impl Fn(u32, Options) -> anyhow::Result<Vec<f32>>,
    wanted: &[f32],
    bugs: &[(&str, Caught)],
) {
    assert!(run(0, Options::fast()).unwrap() == wanted, "without checks");
    for options in schedules() {
        let right = run(0, options).unwrap_or_else(|e| panic!("{options:?}: {e}"));
        assert!(right == wanted, "{options:?}: wrong without a bug");
        for (i, (bug, caught)) in bugs.iter().enumerate() {
            match (run(i as u32 + 1, options), caught) {
                (Err(report), Reported(words)) => {
                    let report = report.to_string();
                    for word in *words {
                        assert!(
                            report.contains(word),
                            "{bug}, {options:?}: no '{word}' in\n{report}"
                        );
                    }
                }
                (Ok(found), WrongNumbers) => {
                    assert!(found != wanted, "{bug}, {options:?}: right all the same");
                }
                (Ok(_), Reported(_)) => panic!("{bug}, {options:?}: not reported"),
                (Err(report), WrongNumbers) => panic!("{bug}, {options:?}: {report}"),
            }
        }
    }
}

/// Small whole numbers: every sum is exact.
fn numbers(n: usize, seed: u64) -> Vec<f32> {
    let mut numbers = Numbers::new(seed);
    (0..n).map(|_| (4.0 * numbers.signed()).round()).collect()
}

fn halves(values: &[f32]) -> Vec<u16> {
    values.iter().map(|&v| f16::from_f32(v).to_bits()).collect()
}

fn upload<T: Pod>(
    device: &mut EmulatedDevice,
    values: &[T],
    label: &str,
) -> anyhow::Result<Address> {
    let at = device.alloc(size_of_val(values), label)?;
    device.upload(at, cast_slice(values))?;
    Ok(at)
}

fn rows(address: Address, length: usize, channels: usize) -> TensorMap {
    TensorMap { address, channels, length, batch: 1, rows: 64, walk: Walk::Rows }
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Bug {
    bug: u32,
    unused: u32,
}

#[test]
fn bugs_of_a_pipeline_across_a_cluster() {
    let input = numbers(256 * 64, 1);
    let run = |bug, options| {
        let mut device = EmulatedDevice::new(options);
        let from = upload(&mut device, &halves(&input), "in")?;
        let to = upload(&mut device, &[0u16; 256 * 64], "out")?;
        let maps = vec![rows(from, 256, 64), rows(to, 256, 64)];
        let args = Bug { bug, unused: 0 };
        let shared = 3 * 8192 + 24;
        let launch =
            Launch::new("planted_pipeline", [2, 1, 1], [128, 1, 1], shared, &args, "planted");
        device.launch(&launch.with_tensor_maps(maps))?;
        let mut out = vec![0u16; input.len()];
        device.download(to, cast_slice_mut(&mut out))?;
        Ok(out.into_iter().map(|bits| f16::from_bits(bits).to_f32()).collect())
    };
    let wanted: Vec<f32> = (0..256 * 64)
        .map(|at| {
            let (row, column) = (at / 64, at % 64);
            let (round, rank, i) = (row / 128, row / 64 % 2, row % 64);
            let of = |half: usize| input[((2 * round + half) * 64 + i) * 64 + column];
            (1 + rank) as f32 * (of(0) + of(1))
        })
        .collect();
    all_caught(
        run,
        &wanted,
        &[
            ("not waited for", Reported(&["shared memory"])),
            ("fewer bytes announced", Reported(&["bytes"])),
            ("no fence after init", Reported(&["no fence_barrier_init"])),
            ("no cluster_sync after init", Reported(&["mbarrier"])),
            ("refilled before it was read", Reported(&["shared memory"])),
            (
                "no fence before the store",
                Reported(&["written by thread", "no fence_async between"]),
            ),
            (
                "staging written while stored",
                Reported(&["bulk stores of thread 0", "not waited for"]),
            ),
            ("swizzle forgotten", WrongNumbers),
            ("an arrival too many", Reported(&[])),
            ("stored before it was complete", Reported(&["written by thread"])),
            ("a store never waited for", Reported(&["returned while bulk stores"])),
            ("not sent to the other block", Reported(&["deadlock", "8192 bytes to come"])),
        ],
    );
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Product {
    out: Address,
    bug: u32,
    unused: u32,
}

#[test]
fn bugs_of_a_product() {
    let (a, b) = (numbers(64 * 64, 2), numbers(64 * 128, 3));
    let run = |bug, options| {
        let mut device = EmulatedDevice::new(options);
        let a = upload(&mut device, &halves(&a), "a")?;
        let b = upload(&mut device, &halves(&b), "b")?;
        let out = upload(&mut device, &[0.0f32; 64 * 128], "out")?;
        let args = Product { out, bug, unused: 0 };
        let launch =
            Launch::new("planted_product", [1, 1, 1], [128, 1, 1], 24_592, &args, "planted");
        device.launch(&launch.with_tensor_maps(vec![rows(a, 64, 64), rows(b, 64, 128)]))?;
        let mut found = vec![0.0f32; 64 * 128];
        device.download(out, cast_slice_mut(&mut found))?;
        Ok(found)
    };
    let wanted: Vec<f32> = (0..64 * 128)
        .map(|at| {
            let product = |k: usize| a[at / 128 * 64 + k] * b[k * 128 + at % 128];
            (0..64).map(product).sum()
        })
        .collect();
    all_caught(
        run,
        &wanted,
        &[
            ("operands not waited for", Reported(&["asynchronous read", "copies that report to"])),
            ("no wgmma_fence", Reported(&["no wgmma_fence"])),
            (
                "operand overwritten under way",
                Reported(&["wgmma of warpgroup 0", "not waited for"]),
            ),
            ("sums read before the wait", WrongNumbers),
            ("wrong leading bytes", WrongNumbers),
            ("wrong step of k", WrongNumbers),
            ("wrong major", WrongNumbers),
            ("descriptors differ", Reported(&["differ between threads"])),
            ("a plain write before", Reported(&["written by thread 0", "no fence_async"])),
            ("no commit", Reported(&["returned while wgmma"])),
            ("threads at two products", Reported(&["warpgroup diverge"])),
        ],
    );
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Positions {
    out: Address,
    start: [i32; 3],
    offset: u32,
}

/// The walk of im2col, written here a second time: position after position, example after example.
#[test]
fn boxes_of_positions() {
    let (length, batch, channels) = (23, 5, 128);
    let values: Vec<u16> = (1..=(length * batch * channels) as u16).collect();
    let probe = |corners: [i32; 2], start: [i32; 3], offset: u32| -> anyhow::Result<Vec<u16>> {
        let mut device = EmulatedDevice::new(Options::checked(1, Delivery::Random));
        let address = upload(&mut device, &values, "tensor")?;
        let out = upload(&mut device, &[0u16; 64 * 64], "out")?;
        let walk = Walk::Positions { lower: corners[0], upper: corners[1] };
        let map = TensorMap { address, channels, length, batch, rows: 64, walk };
        let args = Positions { out, start, offset };
        let launch = Launch::new("probe_positions", [1, 1, 1], [128, 1, 1], 8200, &args, "probe");
        device.launch(&launch.with_tensor_maps(vec![map]))?;
        let mut found = vec![0; 64 * 64];
        device.download(out, cast_slice_mut(&mut found))?;
        Ok(found)
    };
    // forward, dgrad with the tap that reaches furthest and least, then the last example, ragged
    for (corners, [c, l, n], offset) in [
        ([0, -8], [64, 3, 0], 4),
        ([-8, 0], [0, -8, 1], 0),
        ([-8, 0], [0, 20, 2], 8),
        ([0, -8], [64, 14, 4], 8),
    ] {
        let found = probe(corners, [c, l, n], offset).unwrap();
        let (mut l, mut n) = (l, n as usize);
        for row in found.chunks_exact(64) {
            let from = l + offset as i32;
            let inside = (0..length as i32).contains(&from) && n < batch;
            for (i, &value) in row.iter().enumerate() {
                let at = (n * length) as i32 + from;
                let wanted = match inside {
                    true => values[at as usize * channels + c as usize + i],
                    false => 0,
                };
                assert_eq!(value, wanted, "{corners:?}, offset {offset}, position {l} of {n}");
            }
            l += 1;
            if l > length as i32 - 1 + corners[1] {
                (l, n) = (corners[0], n + 1);
            }
        }
    }
    let report = probe([0, -8], [0, 15, 0], 0).unwrap_err().to_string();
    assert!(report.contains("position 15, outside where its tensor map walks"), "{report}");
}

/// Bytes of every size and sign, by the definition of a product. Each is done twice, so that sums are added to.
#[test]
fn wgmma_of_bytes() {
    const K: usize = 128;
    let a: Vec<u8> = (0..64 * K).map(|i| (i * 37 % 256) as u8).collect();
    let b: Vec<i8> = (0..128 * K).map(|i| (i * 53 % 255) as i16 as u8 as i8).collect();
    for options in schedules().chain([Options::fast()]) {
        let mut device = EmulatedDevice::new(options);
        let maps = [
            rows(upload(&mut device, &a, "a").unwrap(), 64, K / 2),
            rows(upload(&mut device, &b, "b").unwrap(), 128, K / 2),
        ];
        let out = upload(&mut device, &[0i32; 64 * 128], "out").unwrap();
        let launch = Launch::new("probe_wgmma_bytes", [1; 3], [128, 1, 1], 24_600, &out, "probe");
        device.launch(&launch.with_tensor_maps(maps.to_vec())).unwrap();
        let mut found = vec![0i32; 64 * 128];
        device.download(out, cast_slice_mut(&mut found)).unwrap();
        for (at, &found) in found.iter().enumerate() {
            let (row, column) = (&a[at / 128 * K..][..K], &b[at % 128 * K..][..K]);
            let products = row.iter().zip(column).map(|(&a, &b)| i32::from(a) * i32::from(b));
            assert_eq!(found, 2 * products.sum::<i32>(), "{options:?}: {} {}", at / 128, at % 128);
        }
    }
}

#[test]
fn launches_that_make_no_clusters() {
    let mut device = EmulatedDevice::new(Options::fast());
    let at = device.alloc(1 << 16, "in").unwrap();
    let args = Bug { bug: 0, unused: 0 };
    let launch = Launch::new("planted_pipeline", [3, 1, 1], [128, 1, 1], 24_600, &args, "planted")
        .with_tensor_maps(vec![rows(at, 256, 64); 2]);
    let report = device.launch(&launch).unwrap_err().to_string();
    assert!(report.contains("clusters of 2"), "{report}");
    // Without maps: what lies there is none.
    let launch = Launch { grid: [2, 1, 1], tensor_maps: Vec::new(), ..launch };
    let report = device.launch(&launch).unwrap_err().to_string();
    assert!(report.contains("no tensor map"), "{report}");
}
