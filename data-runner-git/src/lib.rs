//! Where workflows come from: git repositories, and plain folders in development.
//!
//! [`Opener`] decides by a repository's URL which of the two it is:
//!
//! | URL | what it is |
//! |---|---|
//! | `https://host/path`, `ssh://[user@]host[:port]/path`, `[user@]host:path` | [`GitSource`] |
//! | `http://…`, `git://…` | [`GitSource`] if [`OpenerOptions::insecure`] allows it, else refused |
//! | `file:///path` | [`GitSource`] of the commits there, unless [`LocalPaths::Refuse`] |
//! | a path of a bare repository | [`GitSource`] likewise |
//! | any other path | [`FolderSource`] with [`LocalPaths::Files`], [`GitSource`] with [`LocalPaths::Commits`] |
//!
//! So `dev DIR` runs the uncommitted files of `DIR`, and `file:///DIR`, registered at a server, runs commits.
//! Anything that bears a password is refused: URLs end up in logs, lists and errors.
//!
//! What somebody sends without pushing it is an [`UploadedSource`]; [`pack`] makes it of a folder.
//!
//! A git repository is mirrored, as far back as it is needed, into a bare one of our own and read from its object
//! database: there is no checkout, so that no hook, no filter and no submodule is ever at work. What was resolved once
//! is kept there by a ref, also when the branch is rewritten.

mod access;
mod bundle;
mod changes;
mod folder_source;
mod git_source;
mod host_keys;
mod leftovers;
mod location;
mod mirror;
mod opener;
mod remote;
mod snapshot;
mod tree;
mod uploaded;

pub use access::{Access, Helper, Secret, SshKey, Token};
pub use bundle::Limits;
pub use folder_source::{FolderSource, pack};
pub use git_source::GitSource;
pub use opener::{Insecure, LocalPaths, Opener, OpenerOptions};
pub use uploaded::UploadedSource;
