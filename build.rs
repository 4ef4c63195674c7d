//! Builds what is not Rust, the kernels: for GPUs where there is an nvcc (build/nvcc.rs), and for the
//! host with feature `emulate` (build/emulate.rs).

#[cfg(feature = "emulate")]
#[path = "build/emulate.rs"]
mod emulate;
#[path = "build/nvcc.rs"]
mod nvcc;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=build");
    println!("cargo::rerun-if-changed=kernels");
    nvcc::build();
    #[cfg(feature = "emulate")]
    emulate::build();
}
