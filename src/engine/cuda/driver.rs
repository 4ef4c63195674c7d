//! What the NVIDIA driver of this machine offers, and why a GPU cannot be used where it cannot.
//!
//! The driver library is opened at run time: a machine without it runs the same binary on its CPU.

use cudarc::driver::DriverError;
use cudarc::driver::result;
use cudarc::driver::sys::{self, CUdevice_attribute_enum as Attribute};

use super::binaries;

/// A GPU as the driver describes it.
#[derive(Clone, Debug, PartialEq)]
pub struct Gpu {
    pub ordinal: u32,
    pub name: String,
    /// compute capability
    pub capability: (u32, u32),
    /// bytes
    pub memory: u64,
    pub multiprocessors: u32,
    /// L2 cache, bytes
    pub l2: u64,
    /// CUDA version of the driver
    pub driver: (u32, u32),
}

impl Gpu {
    /// Why this binary cannot use the GPU.
    pub fn refusal(&self) -> Option<String> {
        let release = binaries::RELEASE.unwrap_or_default();
        let major: u32 = release.split('.').next().and_then(|m| m.parse().ok()).unwrap_or(0);
        let (driver, capability) = (self.driver, self.capability);
        if binaries::FATBINS.is_empty() {
            Some("this binary was built without CUDA kernels".into())
        } else if capability.0 < 8 {
            Some(format!(
                "{} has compute capability {}.{}, and Ampere (8.0) or newer is needed",
                self.name, capability.0, capability.1
            ))
        } else if driver.0 < major {
            Some(format!(
                "the driver supports CUDA {}.{}, and the kernels, compiled with CUDA {release}, need {major}.0",
                driver.0, driver.1
            ))
        } else {
            None
        }
    }

    /// `NVIDIA H200, sm_90, 141 GiB, driver CUDA 12.8`
    pub fn line(&self) -> String {
        format!(
            "{}, sm_{}{}, {:.0} GiB, driver CUDA {}.{}",
            self.name,
            self.capability.0,
            self.capability.1,
            self.memory as f64 / f64::from(1u32 << 30),
            self.driver.0,
            self.driver.1
        )
    }
}

/// `CUDA_ERROR_NO_DEVICE (no CUDA-capable device is detected)`
pub fn text(error: DriverError) -> String {
    let name = error.error_name().map(|s| s.to_string_lossy().into_owned());
    let said = error.error_string().map(|s| s.to_string_lossy().into_owned());
    match (name, said) {
        (Ok(name), Ok(said)) => format!("{name} ({said})"),
        (Ok(name), Err(_)) => name,
        _ => format!("driver error {}", error.0 as u32),
    }
}

/// CUDA version of the driver.
///
/// Errors with the reason why there is none.
pub fn version() -> Result<(u32, u32), String> {
    // SAFETY: opening the library runs its initialisers, nothing else.
    if !unsafe { sys::is_culib_present() } {
        return Err("this machine has no NVIDIA driver (libcuda cannot be opened)".into());
    }
    let mut version = 0;
    // SAFETY: writes one int; may be called before cuInit.
    unsafe { sys::cuDriverGetVersion(&mut version) }
        .result()
        .map_err(|e| format!("the driver reports {}", text(e)))?;
    Ok((version as u32 / 1000, version as u32 % 1000 / 10))
}

/// All GPUs that the driver shows to this process (CUDA_VISIBLE_DEVICES narrows them).
///
/// Errors with the driver's reason when there is none.
pub fn gpus() -> Result<Vec<Gpu>, String> {
    let driver = version()?;
    let says = |e: DriverError| format!("the driver reports {}", text(e));
    result::init().map_err(says)?;
    let count = result::device::get_count().map_err(says)?;
    let mut gpus = Vec::new();
    for ordinal in 0..count {
        let device = result::device::get(ordinal).map_err(says)?;
        // SAFETY: `device` comes from the driver.
        let attribute = |what| unsafe { result::device::get_attribute(device, what) };
        let number = |what| attribute(what).map(|v| v as u32).map_err(says);
        gpus.push(Gpu {
            ordinal: ordinal as u32,
            name: result::device::get_name(device).map_err(says)?,
            capability: (
                number(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
                number(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
            ),
            // SAFETY: as above.
            memory: unsafe { result::device::total_mem(device) }.map_err(says)? as u64,
            multiprocessors: number(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?,
            l2: u64::from(number(Attribute::CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE)?),
            driver,
        });
    }
    if gpus.is_empty() {
        return Err("the driver shows no GPU to this process".into());
    }
    Ok(gpus)
}

/// The GPU to use: number `ordinal`, or without one the first that can be used.
///
/// Errors with the reason why not.
pub fn choose(ordinal: Option<u32>) -> Result<Gpu, String> {
    let gpus = gpus()?;
    let count = gpus.len();
    if let Some(ordinal) = ordinal {
        let Some(gpu) = gpus.into_iter().nth(ordinal as usize) else {
            return Err(format!(
                "there is no GPU {ordinal}: the driver shows {count}, counted from 0"
            ));
        };
        return gpu.refusal().map_or(Ok(gpu), Err);
    }
    let mut reasons = Vec::new();
    for gpu in gpus {
        match gpu.refusal() {
            None => return Ok(gpu),
            Some(reason) => reasons.push(format!("GPU {}: {reason}", gpu.ordinal)),
        }
    }
    Err(reasons.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_gpus_and_drivers_are_refused_with_both_numbers() {
        let gpu = Gpu {
            ordinal: 0,
            name: "Tesla V100".into(),
            capability: (7, 0),
            memory: 16 << 30,
            multiprocessors: 80,
            l2: 6 << 20,
            driver: (11, 4),
        };
        assert_eq!(gpu.line(), "Tesla V100, sm_70, 16 GiB, driver CUDA 11.4");
        let reason = gpu.refusal().unwrap();
        if binaries::FATBINS.is_empty() {
            assert!(reason.contains("without CUDA kernels"));
            return;
        }
        assert!(reason.contains("7.0") && reason.contains("8.0"), "{reason}");
        let newer = Gpu { capability: (8, 0), ..gpu };
        let reason = newer.refusal().unwrap();
        assert!(reason.contains("11.4"), "{reason}");
        assert_eq!(Gpu { driver: (99, 0), ..newer }.refusal(), None);
    }

    #[test]
    fn a_machine_says_what_it_has_or_why_not() {
        match gpus() {
            Ok(gpus) => assert!(gpus.iter().all(|g| g.multiprocessors > 0 && g.memory > 0)),
            Err(reason) => {
                println!("skipped: {reason}");
                assert!(choose(None).is_err_and(|why| why == reason));
            }
        }
    }
}
