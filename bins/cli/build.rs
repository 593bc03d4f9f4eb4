//! Puts the sample workflows of `examples/` into the binary, so that `dev --demo` works in any directory.

use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// The folders of `examples/` that make a workflow repository.
const FOLDERS: [&str; 2] = ["lib", "workflows"];

fn main() -> Result<(), Box<dyn Error>> {
    let examples =
        PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?).join("../../examples").canonicalize()?;
    let mut files = Vec::new();
    for folder in FOLDERS {
        println!("cargo::rerun-if-changed={}", examples.join(folder).display());
        collect(&examples.join(folder), &mut files)?;
    }
    files.sort();
    let mut code = String::from("&[\n");
    for file in files {
        let name = file.strip_prefix(&examples)?.to_string_lossy().replace('\\', "/");
        writeln!(code, "    ({name:?}, include_bytes!({:?}).as_slice()),", file.display().to_string())?;
    }
    code.push_str("]\n");
    fs::write(PathBuf::from(std::env::var("OUT_DIR")?).join("samples.rs"), code)?;
    Ok(())
}

/// All files below `folder`, but for what running them by hand leaves behind.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let left_behind = ["__pycache__", "out"].contains(&name.as_str()) || name.ends_with(".parquet");
        if path.is_dir() && !left_behind {
            println!("cargo::rerun-if-changed={}", path.display());
            collect(&path, files)?;
        } else if path.is_file() && !left_behind {
            files.push(path);
        }
    }
    Ok(())
}
