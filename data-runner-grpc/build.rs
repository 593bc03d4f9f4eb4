//! Compiles `proto/data_runner/v1/worker.proto`, without a `protoc` of the system.

use std::error::Error;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").ok_or("cargo names no manifest folder")?)
        .join("../proto");
    println!("cargo::rerun-if-changed={}", root.display());
    let files = protox::compile(["data_runner/v1/worker.proto"], [root])?;
    tonic_prost_build::configure()
        // Payloads stay slices of what was read from the connection.
        .bytes(".")
        // Maps are encoded in one order, always.
        .btree_map(".")
        .compile_fds(files)?;
    Ok(())
}
