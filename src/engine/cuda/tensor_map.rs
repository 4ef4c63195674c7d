//! Tensor maps as the driver encodes them.

use std::ffi::c_void;

use anyhow::Result;
use cudarc::driver::sys;

use super::device::{TensorMap, Walk};
use super::driver;
use crate::error::Problem;

/// Channels of a box: 128 bytes, the width of the swizzle.
const BOX_CHANNELS: u32 = 64;

/// For a GPU whose driver supports CUDA `version`.
pub fn encode(map: &TensorMap, version: (u32, u32)) -> Result<[u8; TensorMap::BYTES]> {
    // What is copied are 16 bits, whatever they mean; outside the tensor they are zeros.
    let element = sys::CUtensorMapDataType_enum::CU_TENSOR_MAP_DATA_TYPE_UINT16;
    let interleave = sys::CUtensorMapInterleave_enum::CU_TENSOR_MAP_INTERLEAVE_NONE;
    let swizzle = sys::CUtensorMapSwizzle_enum::CU_TENSOR_MAP_SWIZZLE_128B;
    let promotion = sys::CUtensorMapL2promotion_enum::CU_TENSOR_MAP_L2_PROMOTION_L2_256B;
    let fill = sys::CUtensorMapFloatOOBfill_enum::CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE;
    let [channels, length, batch] = [map.channels, map.length, map.batch].map(|n| n as u64);
    let bytes = 2 * channels * length * batch;
    let rows = map.rows as u32;
    let address = map.address.raw() as *mut c_void;
    let mut encoded = sys::CUtensorMap { opaque: [0; 16] };
    let status = match map.walk {
        Walk::Rows => {
            let (sizes, strides) = ([channels, batch * length], [2 * channels]);
            let (in_box, steps) = ([BOX_CHANNELS, rows], [1; 2]);
            // SAFETY: arrays of the rank's length (strides: one less); the address is stored, not followed.
            unsafe {
                sys::cuTensorMapEncodeTiled(
                    &mut encoded,
                    element,
                    2,
                    address,
                    sizes.as_ptr(),
                    strides.as_ptr(),
                    in_box.as_ptr(),
                    steps.as_ptr(),
                    interleave,
                    swizzle,
                    promotion,
                    fill,
                )
            }
        }
        Walk::Positions { lower, upper } => {
            let (sizes, strides) =
                ([channels, length, batch], [2 * channels, 2 * channels * length]);
            let steps = [1; 3];
            // SAFETY: as above; corners have two entries less than the rank.
            unsafe {
                sys::cuTensorMapEncodeIm2col(
                    &mut encoded,
                    element,
                    3,
                    address,
                    sizes.as_ptr(),
                    strides.as_ptr(),
                    &lower,
                    &upper,
                    BOX_CHANNELS,
                    rows,
                    steps.as_ptr(),
                    interleave,
                    swizzle,
                    promotion,
                    fill,
                )
            }
        }
    };
    status.result().map_err(|e| {
        Problem::new(format!("the driver refuses a tensor map: {}", driver::text(e)))
            .at(format!("{map:?}"))
    })?;
    if map.walk != Walk::Rows && bytes < SMALL_TENSOR && version <= (13, 1) {
        encoded.opaque[1] &= !SMALL_TENSOR_BIT;
    }
    Ok(bytemuck::cast(encoded.opaque))
}

/// Drivers up to CUDA 13.1 set a bit in im2col maps of tensors below this size that makes copies read wrongly; CUTLASS
/// clears it (cute/arch/copy_sm90_desc.hpp and the im2col traits beside it).
const SMALL_TENSOR: u64 = 131_072;
const SMALL_TENSOR_BIT: u64 = 1 << 21;
