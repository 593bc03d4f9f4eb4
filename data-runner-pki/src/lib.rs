//! Certificates and join tokens of an installation.
