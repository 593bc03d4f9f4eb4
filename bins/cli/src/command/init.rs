//! `init`: a small repository that runs as it is.

use std::fs;
use std::path::Path;

use crate::args::InitArgs;
use crate::error::Error;
use crate::output::{Output, say};

const FILES: [(&str, &str); 6] = [
    ("README.md", include_str!("../../templates/init/README.md")),
    (".gitignore", include_str!("../../templates/init/gitignore")),
    (
        "workflows/hello-polars/config.yaml",
        include_str!("../../templates/init/workflows/hello-polars/config.yaml"),
    ),
    (
        "workflows/hello-polars/workflow.py",
        include_str!("../../templates/init/workflows/hello-polars/workflow.py"),
    ),
    (
        "workflows/hello-duckdb/config.yaml",
        include_str!("../../templates/init/workflows/hello-duckdb/config.yaml"),
    ),
    (
        "workflows/hello-duckdb/workflow.sql",
        include_str!("../../templates/init/workflows/hello-duckdb/workflow.sql"),
    ),
];

/// Writes the repository. A file that exists is left as it is; a workflow that exists is never mixed with ours.
pub fn init(args: &InitArgs, output: Output) -> Result<u8, Error> {
    let root = &args.directory;
    let taken = FILES.iter().filter(|(path, _)| path.starts_with("workflows/"));
    if let Some((path, _)) = taken.into_iter().find(|(path, _)| root.join(path).exists()) {
        return Err(Error::failed(
            format!("{} exists already", root.join(path).display()),
            "name a directory that has no such workflow, as in `data-runner init my-jobs`",
        ));
    }
    for (path, text) in FILES {
        let path = root.join(path);
        if path.exists() {
            say(&format!("kept {}, which was there", path.display()));
            continue;
        }
        write(&path, text)?;
        output.line(&path.display().to_string())?;
    }
    let place = root.display();
    say(&format!(
        "\nNext:\n  data-runner dev {place}\n  data-runner run hello-polars        (in another terminal)"
    ));
    Ok(0)
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    let cannot = |source| Error::io(format!("cannot write {}", path.display()), source);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(cannot)?;
    }
    fs::write(path, text).map_err(cannot)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;
    use crate::args::Format;

    const OUTPUT: Output = Output { format: Format::Table, width: None, colours: false };

    #[test]
    fn a_second_init_refuses_rather_than_overwrite() {
        let folder = tempfile::tempdir().expect("a folder");
        let args = InitArgs { directory: folder.path().join("jobs") };
        init(&args, OUTPUT).expect("the first");
        let config = args.directory.join("workflows/hello-polars/config.yaml");
        fs::write(&config, "mine").expect("written");
        let error = init(&args, OUTPUT).expect_err("the second");
        assert!(error.to_string().contains("exists already"), "{error}");
        assert_eq!(fs::read_to_string(config).expect("read"), "mine");
    }

    #[test]
    fn a_readme_that_was_there_is_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("README.md"), "mine").expect("written");
        init(&InitArgs { directory: folder.path().to_owned() }, OUTPUT).expect("made");
        assert_eq!(fs::read_to_string(folder.path().join("README.md")).expect("read"), "mine");
    }
}
