//! A new migration must reach the program, though no Rust file changes with it.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
