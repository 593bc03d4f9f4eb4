//! Bundles as they come: a tar archive, compressed with Zstandard.

use std::io::{Error, ErrorKind};
use std::path::Path;

use bytes::Bytes;
use data_runner_engine::CodeUnpacker;
use data_runner_exec::bundle::{self, UnpackError};

/// Unpacks with [`bundle::unpack`], which refuses whatever would leave the folder.
#[derive(Debug, Clone, Copy, Default)]
pub struct TarZstd;

impl CodeUnpacker for TarZstd {
    fn unpack(&self, bundle: &Bytes, folder: &Path) -> std::io::Result<()> {
        bundle::unpack(bundle, folder).map_err(|error| match error {
            UnpackError::Io(source) => source,
            refused @ UnpackError::Refused { .. } => Error::new(ErrorKind::InvalidData, refused),
        })
    }
}
