//! Registering the repositories that an installation begins with.

use data_runner_engine::Handle;
use data_runner_engine::supervisor::{Registered, Registration as Request, RequestError};

use crate::installation::{Installation, StartRepository};

/// What became of one repository.
#[derive(Debug)]
pub struct Registration {
    /// The repository.
    pub repository: StartRepository,
    /// Its workflows, or why it could not be registered.
    pub result: Result<Registered, RequestError>,
}

/// Registers the installation's repositories, one after the other. One that fails hinders no other.
pub async fn register(handle: &Handle, installation: &Installation) -> Vec<Registration> {
    let configured = installation.settings.repositories.iter().map(|repo| StartRepository {
        name: Some(repo.name.to_string()),
        url: repo.url.clone(),
        reference: Some(repo.reference.clone()),
    });
    let mut registrations = Vec::new();
    for repository in configured.chain(installation.repositories.iter().cloned()) {
        let request = Request {
            url: repository.url.clone(),
            name: repository.name.clone(),
            reference: repository.reference.clone(),
            path: None,
        };
        let result = handle.register(request).await;
        registrations.push(Registration { repository, result });
    }
    registrations
}
