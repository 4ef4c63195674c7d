//! The emulator catches what it claims to catch, and nothing else.

use bytemuck::{Pod, Zeroable};
use cbp_fast::engine::cuda::device::{Address, Device, Launch};
use cbp_fast::engine::cuda::emulated::{Delivery, EmulatedDevice, Options};

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
    device.launch(&Launch::new(
        "double_it",
        [n.div_ceil(64), 1, 1],
        [64, 1, 1],
        0,
        &args,
        "twice",
    ))?;
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

#[test]
fn a_write_past_the_end_is_reported() {
    let text = double_it(Options::checked(1, Delivery::AtOnce), 100, 99).unwrap_err().to_string();
    assert!(text.contains("\"y\": 4 bytes at byte 396 of 396"), "{text}");
    assert!(text.contains("block (1,0,0)") && text.contains("thread (35,0,0)"), "{text}");
    let text = double_it(Options::fast(), 100, 99).unwrap_err().to_string();
    assert!(text.contains("beside \"y\""), "{text}");
}
