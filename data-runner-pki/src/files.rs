//! Files with secrets: only their owner reads them, and they are there whole or not at all.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use crate::PkiError;

/// Makes a folder that only its owner may enter, if it is not there.
pub(crate) fn make_private_folder(folder: &Path) -> Result<(), PkiError> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|source| PkiError::Io {
        doing: "make",
        path: folder.to_owned(),
        source,
    })
}

/// The text of a secret file; `None` if there is none. Refuses one that others may read.
pub(crate) fn read_secret(path: &Path) -> Result<Option<String>, PkiError> {
    let failed = |source| PkiError::Io { doing: "read", path: path.to_owned(), source };
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(failed)?,
    };
    if file.metadata().map_err(failed)?.permissions().mode() & 0o077 != 0 {
        return Err(PkiError::Exposed { path: path.to_owned() });
    }
    io::read_to_string(file).map(Some).map_err(failed)
}

/// Writes a file that is there whole or not at all, also after a power failure. `mode` is its own from the first
/// moment.
pub(crate) fn write_whole(path: &Path, text: &str, mode: u32) -> Result<(), PkiError> {
    let temporary = path.with_extension("tmp");
    let written = || {
        // What an interrupted start left may have another mode.
        match std::fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
        // The user's mask may have taken some of it away.
        file.set_permissions(Permissions::from_mode(mode))?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)?;
        path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    };
    written().map_err(|source| PkiError::Io { doing: "write", path: path.to_owned(), source })
}
