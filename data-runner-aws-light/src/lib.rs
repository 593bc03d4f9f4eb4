//! AWS without its SDK, for agents: instance metadata, credentials, spot notices, secrets.
