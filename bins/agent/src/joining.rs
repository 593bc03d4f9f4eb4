//! How an agent comes to a line to its supervisor: plain on one machine, else by TLS with a certificate that it joins
//! for once.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use data_runner_core::id::WorkerId;
use data_runner_core::port::{JoinRequest, Retry, TransportError};
use data_runner_grpc::{AgentIdentity, AgentTls, GrpcAgentTransport};
use data_runner_pki::KeptIdentity;
use rand::TryRng as _;

use crate::AgentOptions;
use crate::own_machine::now;

/// The folder of key and certificate, in the state folder.
const FOLDER: &str = "identity";
/// How long an agent tries to join; a machine that nobody lets in is of no use.
const JOIN_FOR: Duration = Duration::from_secs(15 * 60);
/// The first wait between two tries, and the longest.
const WAITS: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// The line to the supervisor. With an authority to trust, the agent has a certificate when this returns: the one that
/// it kept, or a new one for its token.
pub(crate) async fn transport(
    options: &AgentOptions,
    worker: WorkerId,
) -> anyhow::Result<GrpcAgentTransport> {
    let plain = data_runner_grpc::AgentOptions::default();
    let Some(ca) = &options.ca else {
        if options.join_token_file.is_some() {
            bail!("a join token is told to nobody whom nobody vouches for: give the authority with --ca");
        }
        return Ok(GrpcAgentTransport::new(&options.supervisor, plain)?);
    };
    let authority =
        std::fs::read_to_string(ca).with_context(|| format!("{} cannot be read", ca.display()))?;
    let tls = Some(AgentTls::trusting(&authority));
    let transport =
        GrpcAgentTransport::new(&options.supervisor, data_runner_grpc::AgentOptions { tls, ..plain })?;
    let own = KeptIdentity::open(&options.state_dir.join(FOLDER))?;
    let certificate = match own.certificate(worker, now())? {
        Some(kept) => kept,
        None => {
            let Some(file) = &options.join_token_file else {
                bail!("this agent has no certificate, and no token to get one with: give --join-token-file");
            };
            let token = read_token(file)?;
            let ask = JoinRequest { token, signing_request: own.key().signing_request()? };
            let chain = join(&transport, worker, ask).await?;
            own.keep(&chain)?;
            chain
        }
    };
    transport.identify(AgentIdentity { certificate, key: own.key().pem() });
    Ok(transport)
}

fn read_token(file: &Path) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("the join token in {} cannot be read", file.display()))?;
    Ok(text.trim().to_owned())
}

/// Asks again and again with the same key, since a reply may be lost, until there is an answer.
async fn join(transport: &GrpcAgentTransport, worker: WorkerId, ask: JoinRequest) -> anyhow::Result<String> {
    let began = tokio::time::Instant::now();
    let mut wait = WAITS.0;
    loop {
        let error = match transport.join(worker, ask.clone()).await {
            Ok(certificate) => {
                tracing::info!(%worker, until = %certificate.until, "joined");
                return Ok(certificate.chain);
            }
            Err(error) => error,
        };
        match (error.retry(), &error) {
            (Retry::Never, TransportError::Refused { .. }) => {
                return Err(error).context(
                    "the supervisor does not let this agent join: its token is wrong or of another machine, \
                     it joined with another key before, or its time to join is over",
                );
            }
            (Retry::Never, _) => {
                return Err(error).context("this agent and the supervisor do not understand each other");
            }
            (Retry::Later, _) if began.elapsed() >= JOIN_FOR => {
                return Err(error).context("nobody let this agent join in time");
            }
            (Retry::Later, _) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "not joined yet");
                tokio::time::sleep(jittered(wait)).await;
                wait = wait.saturating_mul(2).min(WAITS.1);
            }
        }
    }
}

/// Between half of it and all of it, so that many machines that start together do not ask together.
fn jittered(wait: Duration) -> Duration {
    // Without randomness it is all of it.
    let share = rand::rngs::SysRng.try_next_u32().unwrap_or(u32::MAX);
    wait.mul_f64(0.5 + 0.5 * f64::from(share) / f64::from(u32::MAX))
}
