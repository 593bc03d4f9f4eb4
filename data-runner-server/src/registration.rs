//! Registering the repositories that an installation begins with.

use std::time::Duration;

use data_runner_core::port::Retry;
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
        let result = handle.register(request(&repository)).await;
        registrations.push(Registration { repository, result });
    }
    registrations
}

/// Tries again and again what could not be reached; ends when nothing is left to try.
pub(crate) async fn persist(handle: Handle, mut repositories: Vec<StartRepository>) {
    while !repositories.is_empty() {
        tokio::time::sleep(AGAIN).await;
        let mut left = Vec::new();
        for repository in repositories {
            let url = &repository.url;
            match handle.register(request(&repository)).await {
                Ok(found) => {
                    tracing::info!(url, workflows = found.items.len(), "repository registered at last")
                }
                Err(error) if error.retry() == Retry::Later => left.push(repository),
                Err(error) => {
                    tracing::error!(
                        url,
                        error = &error as &dyn std::error::Error,
                        "repository not registered"
                    );
                }
            }
        }
        repositories = left;
    }
}

/// How long to wait before a repository that could not be reached is tried again.
const AGAIN: Duration = Duration::from_secs(30);

fn request(repository: &StartRepository) -> Request {
    Request {
        url: repository.url.clone(),
        name: repository.name.clone(),
        reference: repository.reference.clone(),
        path: None,
    }
}
