//! Compiles the kernels: for GPUs where there is an nvcc, and for the host with feature `emulate`.

#[path = "build/nvcc.rs"]
mod nvcc;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=build");
    nvcc::build();
}
