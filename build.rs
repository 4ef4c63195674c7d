//! Builds what is not Rust: with feature `emulate`, the kernels for the host (build/emulate.rs).

#[cfg(feature = "emulate")]
#[path = "build/emulate.rs"]
mod emulate;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=build");
    println!("cargo::rerun-if-changed=kernels");
    #[cfg(feature = "emulate")]
    emulate::build();
}
