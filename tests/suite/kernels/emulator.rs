//! The emulator catches what it claims to catch, in every schedule, and nothing else.
//!
//! Each kernel of `kernels/host/planted` has one bug, switched by a flag. With it, every seed and delivery mode must
//! report; without it, every one must give the right numbers.

use bytemuck::{Pod, Zeroable};
use cbp_fast::engine::cuda::device::{Address, Device, Launch};
use cbp_fast::engine::cuda::emulated::{self, Checks, Delivery, EmulatedDevice, Options};
use cbp_fast::engine::cuda::schedule::Schedule;

const SEEDS: u64 = 8;
const DELIVERIES: [Delivery; 3] = [Delivery::AtOnce, Delivery::Random, Delivery::Starved];
const BLOCKS: usize = 3;
const THREADS: usize = 128;
/// Bytes of shared memory that hold a value a thread.
const TILE: u32 = 4 * THREADS as u32;

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Planted {
    input: Address,
    out: Address,
    bug: u32,
    unused: u32,
}

fn input(block: usize, thread: usize) -> f32 {
    (block * THREADS + thread + 1) as f32
}

/// One launch of a planted kernel on fresh memory: 3 blocks of 128 threads, a value each.
fn run(kernel: &'static str, bug: bool, options: Options) -> anyhow::Result<Vec<f32>> {
    let mut device = EmulatedDevice::new(options);
    let values: Vec<f32> = (0..BLOCKS * THREADS).map(|i| input(i / THREADS, i % THREADS)).collect();
    let bytes = 4 * values.len();
    let from = device.alloc(bytes, "in")?;
    let to = device.alloc(bytes, "out")?;
    device.upload(from, bytemuck::cast_slice(&values))?;
    if !kernel.starts_with("uninitialised") {
        device.zero(to, bytes)?;
    }
    let args = Planted { input: from, out: to, bug: bug.into(), unused: 0 };
    // The one kernel with two tiles in use; the others must not notice the room.
    let tiles = if kernel.contains("past_the_end") { 1 } else { 2 };
    let (grid, block) = ([BLOCKS as u32, 1, 1], [THREADS as u32, 1, 1]);
    device.launch(&Launch::new(kernel, grid, block, tiles * TILE, &args, "planted"))?;
    let mut out = vec![0.0f32; values.len()];
    device.download(to, bytemuck::cast_slice_mut(&mut out))?;
    Ok(out)
}

fn schedules() -> impl Iterator<Item = (u64, Delivery)> {
    (0..SEEDS).flat_map(|seed| DELIVERIES.map(|delivery| (seed, delivery)))
}

/// The bug is reported in every schedule with all the given words; the corrected twin is right in every schedule,
/// and without checks.
fn caught(kernel: &'static str, words: &[&str], expected: impl Fn(usize, usize) -> f32) {
    let right = |out: &[f32], how: &str| {
        for (i, &value) in out.iter().enumerate() {
            let (block, thread) = (i / THREADS, i % THREADS);
            let wanted = expected(block, thread);
            assert!(
                value == wanted,
                "{kernel}, {how}: out[{block}][{thread}] is {value}, not {wanted}"
            );
        }
    };
    for (seed, delivery) in schedules() {
        let how = format!("seed {seed}, {delivery:?}");
        let options = Options::checked(seed, delivery);
        right(
            &run(kernel, false, options).unwrap_or_else(|e| panic!("{kernel}, {how}: {e}")),
            &how,
        );
        let report = match run(kernel, true, options) {
            Ok(_) => panic!("{kernel}, {how}: not caught"),
            Err(report) => report.to_string(),
        };
        for word in words.iter().chain(&[kernel, "block (", "thread (", &format!("seed {seed}")]) {
            assert!(report.contains(word), "{kernel}, {how}: no '{word}' in\n{report}");
        }
    }
    right(&run(kernel, false, Options::fast()).unwrap(), "fast");
}

fn of_other(block: usize, thread: usize) -> f32 {
    input(block, (thread + 33) % THREADS)
}

fn of_neighbour(block: usize, thread: usize) -> f32 {
    input(block, thread ^ 1)
}

/// The mean of four rounds, each over the next block's input.
fn of_stages(block: usize, thread: usize) -> f32 {
    (0..4).map(|round| 0.25 * of_other((block + round) % BLOCKS, thread)).sum()
}

#[test]
fn races_in_shared_memory() {
    caught("missing_block_sync", &["shared memory", "no barrier between"], of_other);
    caught("missing_sync_before_reuse", &["shared memory", "no barrier between"], of_other);
    caught("missing_warp_sync", &["shared memory", "no barrier between"], of_neighbour);
}

#[test]
fn races_in_device_memory() {
    caught(
        "blocks_write_one_address",
        &["write of global", "\"out\": 4 bytes", "of block ", "no order"],
        input,
    );
    caught("block_reads_another", &["global memory", "\"out\"", "no order"], input);
    caught("missing_sync_in_global", &["global memory", "\"out\"", "no barrier"], of_other);
    let flag = |block, thread| f32::from_bits((block == 0 && thread == 0).into());
    caught("flag_without_atomic", &["write of global memory", "written by"], flag);
}

#[test]
fn divergence_and_deadlock() {
    caught("barrier_in_branch", &["returned", "block_sync"], of_other);
    caught("barriers_of_two_branches", &["lanes of one warp diverge", "barriers.cu:"], of_other);
    caught("return_before_barrier", &["returned"], of_other);
    caught("lanes_at_two_shuffles", &["lanes of one warp diverge", "barriers.cu:"], of_neighbour);
    caught("lane_missing_at_shuffle", &["warp"], of_neighbour);
    caught("barrier_against_shuffle", &["lanes of one warp diverge"], of_neighbour);
}

#[test]
fn asynchronous_copies() {
    let in_flight = &["shared memory", "asynchronous copy by thread", "not waited for"];
    caught("missing_copy_wait", in_flight, of_other);
    caught("wrong_wait_count", in_flight, of_other);
    caught("missing_commit", in_flight, of_other);
    caught("missing_sync_after_wait", &["shared memory"], of_other);
    caught("stage_filled_too_early", &["shared memory"], of_stages);
    caught(
        "invalid_copy_zero_fills",
        &["read of global memory, out of bounds", "\"in\""],
        |b, t| {
            if t / 4 % 2 == 0 { input(b, t) } else { 0.0 }
        },
    );
}

#[test]
fn bounds_and_alignment() {
    caught("read_past_the_end", &["read", "\"in\": 4 bytes at byte 1536 of 1536"], input);
    caught("write_before_the_start", &["write", "\"out\": 4 bytes at byte -4 of 1536"], input);
    caught(
        "shared_past_the_end",
        &["write of shared", "4 bytes at byte 512 of the block's 512"],
        input,
    );
    caught("misaligned_vector", &["misaligned", "multiple of 16", "\"in\": 16 bytes"], input);
    caught("misaligned_shared_vector", &["misaligned", "multiple of 16"], input);
}

#[test]
fn memory_that_nothing_wrote() {
    for (seed, delivery) in schedules() {
        let checks = Checks { seed, delivery, races: true, uninitialised: true };
        let strict = Options { checks: Some(checks), os_threads: 1 };
        for kernel in ["uninitialised_shared", "uninitialised_global"] {
            let out = run(kernel, false, strict).unwrap();
            assert!(out.iter().enumerate().all(|(i, &v)| v == input(i / THREADS, i % THREADS)));
            let report = run(kernel, true, strict).unwrap_err().to_string();
            assert!(report.contains("never written"), "{report}");
            // By default it is a NaN, which is left to the numbers.
            let out = run(kernel, true, Options::checked(seed, delivery)).unwrap();
            assert!(out[5].is_nan() && out.iter().filter(|v| v.is_nan()).count() >= BLOCKS);
        }
    }
}

/// Without the shadow memory's help, numbers alone show what schedules and delivery modes do.
#[test]
fn schedules_and_deliveries_reach_the_numbers() {
    type Expected = fn(usize, usize) -> f32;
    let is_right = |kernel, expected: Expected, seed, delivery| {
        let checks = Checks { seed, delivery, races: false, uninitialised: false };
        let out = run(kernel, true, Options { checks: Some(checks), os_threads: 1 }).unwrap();
        (0..out.len()).all(|i| out[i] == expected(i / THREADS, i % THREADS))
    };
    let rights = |kernel, expected: Expected, delivery| {
        (0..SEEDS).filter(|&seed| is_right(kernel, expected, seed, delivery)).count() as u64
    };
    for kernel in ["missing_copy_wait", "wrong_wait_count"] {
        let rights = |delivery| rights(kernel, of_other, delivery);
        assert_eq!(rights(Delivery::AtOnce), SEEDS, "{kernel}: a copy at once hides the bug");
        assert_eq!(rights(Delivery::Starved), 0, "{kernel}: a starved copy never does");
        assert!(rights(Delivery::Random) < SEEDS, "{kernel}: nor do all random ones");
    }
    for (kernel, expected) in [
        ("missing_block_sync", of_other as Expected),
        ("missing_sync_before_reuse", of_other),
        ("stage_filled_too_early", of_stages),
    ] {
        assert!(
            rights(kernel, expected, Delivery::AtOnce) < SEEDS,
            "{kernel}: hidden by every order"
        );
    }
}

#[test]
fn addresses_of_nothing() {
    let n = 64;
    let launch = |device: &mut EmulatedDevice, x, y| {
        let args = DoubleIt { x, y, n, unused: 0 };
        device.launch(&Launch::new("double_it", [1, 1, 1], [n, 1, 1], 0, &args, "twice"))
    };
    let mut device = EmulatedDevice::new(Options::checked(1, Delivery::AtOnce));
    let mut another = EmulatedDevice::new(Options::checked(1, Delivery::AtOnce));
    let x = device.alloc(256, "x").unwrap();
    let y = device.alloc(256, "y").unwrap();
    let foreign = another.alloc(256, "y").unwrap();
    launch(&mut device, x, y).unwrap();
    device.free(y).unwrap();
    for bad in [y, foreign, Address::NULL, Address::from_raw(0x1234_5678)] {
        let report = launch(&mut device, x, bad).unwrap_err().to_string();
        assert!(report.contains("in no allocation of this device"), "{report}");
        assert!(device.upload(bad, &[0; 4]).is_err() && device.download(bad, &mut [0; 4]).is_err());
    }
    // The device goes on after a report.
    let y = device.alloc(256, "y").unwrap();
    launch(&mut device, x, y).unwrap();
    let report = device.upload(y, &[0; 257]).unwrap_err().to_string();
    assert!(report.contains("\"y\": 257 bytes at byte 0 of 256"), "{report}");
}

/// Red zones tell on the launch that wrote over them, and on no later one.
#[test]
fn an_overrun_is_reported_once() {
    let mut device = EmulatedDevice::new(Options::fast());
    let x = device.alloc(256, "x").unwrap();
    let y = device.alloc(252, "y").unwrap();
    device.upload(x, &[0; 256]).unwrap();
    let mut launch = |n| {
        let args = DoubleIt { x, y, n, unused: 0 };
        device.launch(&Launch::new("double_it", [1, 1, 1], [64, 1, 1], 0, &args, "twice"))
    };
    assert!(launch(64).unwrap_err().to_string().contains("beside \"y\""));
    launch(63).unwrap();
}

#[test]
fn launches_that_a_driver_would_refuse() {
    let mut device = EmulatedDevice::new(Options::fast());
    let x = device.alloc(256, "x").unwrap();
    let args = DoubleIt { x, y: x, n: 0, unused: 0 };
    let good = Launch::new("double_it", [1, 1, 1], [64, 1, 1], 0, &args, "twice");
    device.launch(&good).unwrap();
    let cases = [
        (Launch { kernel: "no_such_kernel", ..good.clone() }, "no kernel of this name"),
        (Launch { args: vec![0; 8], ..good.clone() }, "arguments of 8 bytes"),
        (Launch { block: [257, 1, 1], ..good.clone() }, "a block of 257 threads"),
        (Launch { block: [0, 1, 1], ..good.clone() }, "a block of 0 threads"),
        (Launch { grid: [1, 65_536, 1], ..good.clone() }, "a grid of 1 x 65536 x 1"),
        (Launch { grid: [1, 0, 1], ..good.clone() }, "a grid of 1 x 0 x 1"),
        (Launch { shared_bytes: 1 << 20, ..good.clone() }, "bytes of shared memory"),
    ];
    for (launch, words) in cases {
        let text = device.launch(&launch).unwrap_err().to_string();
        assert!(text.contains(words), "{text}");
    }
}

#[test]
fn the_registry_lists_kernels_and_their_arguments() {
    let kernels = emulated::kernels();
    let double_it = kernels.iter().find(|kernel| kernel.name == "double_it").unwrap();
    assert_eq!((double_it.args_bytes, double_it.max_threads), (size_of::<DoubleIt>(), 256));
    assert!(kernels.is_sorted_by(|a, b| a.name < b.name));
}

// ---- the simplest kernel

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct DoubleIt {
    x: Address,
    y: Address,
    n: u32,
    unused: u32,
}

fn double_it(options: Options, n: u32, room: usize) -> anyhow::Result<Vec<f32>> {
    let mut device = EmulatedDevice::new(options);
    let input: Vec<f32> = (0..n).map(|i| i as f32).collect();
    let x = device.alloc(4 * n as usize, "x")?;
    let y = device.alloc(4 * room, "y")?;
    device.upload(x, bytemuck::cast_slice(&input))?;
    let args = DoubleIt { x, y, n, unused: 0 };
    let launch = Launch::new("double_it", [n.div_ceil(64), 1, 1], [64, 1, 1], 0, &args, "twice");
    let prepared = device.prepare(Schedule::chain([launch]))?;
    device.run(&prepared)?;
    device.sync()?;
    let mut out = vec![0.0f32; room];
    device.download(y, bytemuck::cast_slice_mut(&mut out))?;
    Ok(out)
}

#[test]
fn a_launch_reads_and_writes_device_memory() {
    for options in [Options::fast(), Options::checked(1, Delivery::AtOnce)] {
        let out = double_it(options, 1000, 1000).unwrap();
        assert!(out.iter().enumerate().all(|(i, &y)| y == 2.0 * i as f32));
    }
}

/// A launch that does not wait for another that it needs goes wrong with some seeds.
#[test]
fn launches_that_wait_for_nothing_run_in_either_order() {
    let mut right = 0;
    for seed in 0..16 {
        let mut device = EmulatedDevice::new(Options::checked(seed, Delivery::AtOnce));
        let [x, y, z] = ["x", "y", "z"].map(|label| device.alloc(256, label).unwrap());
        for (at, value) in [(x, 1.0f32), (y, 10.0), (z, 0.0)] {
            device.upload(at, bytemuck::cast_slice(&[value; 64])).unwrap();
        }
        let launch = |x, y| {
            let args = DoubleIt { x, y, n: 64, unused: 0 };
            Launch::new("double_it", [1, 1, 1], [64, 1, 1], 0, &args, "twice")
        };
        let mut schedule = Schedule::default();
        schedule.add(launch(x, y), &[]);
        schedule.add(launch(y, z), &[]);
        let prepared = device.prepare(schedule).unwrap();
        device.run(&prepared).unwrap();
        let mut out = [0.0f32; 64];
        device.download(z, bytemuck::cast_slice_mut(&mut out)).unwrap();
        // From y = 10, or from y = 2.
        assert!(out == [20.0; 64] || out == [4.0; 64], "seed {seed}: z = {}", out[0]);
        right += usize::from(out[0] == 4.0);
    }
    assert!((1..16).contains(&right), "{right} of 16");
}

#[test]
fn a_write_past_the_end_is_found_without_checks_too() {
    let text = double_it(Options::checked(1, Delivery::AtOnce), 100, 99).unwrap_err().to_string();
    assert!(text.contains("\"y\": 4 bytes at byte 396 of 396"), "{text}");
    assert!(text.contains("block (1,0,0)") && text.contains("thread (35,0,0)"), "{text}");
    let text = double_it(Options::fast(), 100, 99).unwrap_err().to_string();
    assert!(text.contains("beside \"y\""), "{text}");
}
