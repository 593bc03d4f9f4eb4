//! The installation's secret key.

use std::fmt;
use std::path::Path;

use hmac::{Hmac, KeyInit as _, Mac as _};
use rand::TryRng as _;

use crate::{PkiError, files};

const FILE: &str = "installation.key";

/// 32 random bytes that only this installation has. What is derived from them need not be stored.
#[derive(Clone)]
pub struct InstallationKey([u8; 32]);

impl InstallationKey {
    /// The key in `folder`; made, once, if there is none. Fails if it is damaged or others may read it.
    pub fn open(folder: &Path) -> Result<Self, PkiError> {
        files::make_private_folder(folder)?;
        let path = folder.join(FILE);
        if let Some(text) = files::read_secret(&path)? {
            let mut key = [0; 32];
            return hex::decode_to_slice(text.trim_end(), &mut key).map(|()| Self(key)).map_err(|_| {
                PkiError::Damaged { path, what: "it does not hold 64 hexadecimal digits".to_owned() }
            });
        }
        let mut key = [0; 32];
        rand::rngs::SysRng.try_fill_bytes(&mut key).map_err(PkiError::Entropy)?;
        files::write_whole(&path, &format!("{}\n", hex::encode(key)), 0o600)?;
        Ok(Self(key))
    }

    /// A key of its own for another use, which says nothing of this one: HMAC-SHA256 of the use's name.
    pub fn derived(&self, usage: &str) -> [u8; 32] {
        // A key that is shorter than a block is filled up with zeros: RFC 2104.
        let mut block = [0; 64];
        block[..32].copy_from_slice(&self.0);
        let mut mac = Hmac::<sha2::Sha256>::new(&block.into());
        mac.update(usage.as_bytes());
        mac.finalize().into_bytes().into()
    }

    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for InstallationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InstallationKey(secret)")
    }
}
