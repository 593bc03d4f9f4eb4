//! The gRPC Transport keeps the contract, over real TCP, without TLS and with it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;

use data_runner_core::port::{AgentGate, AgentTransport, Transport};
use data_runner_grpc::{AgentOptions, GrpcAgentTransport, GrpcTransport, ServerOptions};

async fn make(gate: Arc<dyn AgentGate>) -> (Arc<dyn Transport>, Arc<dyn AgentTransport>) {
    let loopback = "127.0.0.1:0".parse().unwrap();
    let (supervisor, address) = GrpcTransport::bind(loopback, gate, ServerOptions::default()).await.unwrap();
    let agent = GrpcAgentTransport::new(&format!("http://{address}"), AgentOptions::default()).unwrap();
    (supervisor, Arc::new(agent))
}

data_runner_testkit::transport_contract!(make);

mod with_tls {
    use std::sync::Arc;
    use std::time::{Duration, SystemTime};

    use async_trait::async_trait;
    use data_runner_core::id::WorkerId;
    use data_runner_core::port::{
        AgentGate, AgentSession, AgentTransport, Certificate, JoinAuthority as _, JoinGate, JoinRefused,
        JoinRequest, Transport, TransportError,
    };
    use data_runner_core::time::Timestamp;
    use data_runner_grpc::{
        AgentIdentity, AgentOptions, AgentTls, GrpcAgentTransport, GrpcTransport, ServerOptions, ServerTls,
    };
    use data_runner_pki::{
        AgentKey, CertificateAuthority, InstallationKey, Joining, ServerCertificate, names_to_dial,
        server_for_agents, worker_of,
    };

    struct Nobody;

    #[async_trait]
    impl JoinGate for Nobody {
        async fn join(&self, _: WorkerId, _: JoinRequest) -> Result<Certificate, JoinRefused> {
            Err(JoinRefused::Refused)
        }
    }

    /// For every worker an agent with its certificate.
    struct Agents {
        endpoint: String,
        authority: Arc<CertificateAuthority>,
        joining: Joining,
    }

    #[async_trait]
    impl AgentTransport for Agents {
        async fn connect(&self, worker: WorkerId) -> Result<Box<dyn AgentSession>, TransportError> {
            let key = AgentKey::generate().unwrap();
            let ask = JoinRequest { token: String::new(), signing_request: key.signing_request().unwrap() };
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
            let until = Timestamp::from_micros(0).after(now).after(Duration::from_secs(3600));
            let certificate = self.joining.issue(worker, &ask, until).unwrap().chain;
            let tls = Some(AgentTls::trusting(self.authority.certificate()));
            let options = AgentOptions { tls, ..AgentOptions::default() };
            let agent = GrpcAgentTransport::new(&self.endpoint, options).unwrap();
            agent.identify(AgentIdentity { certificate, key: key.pem() });
            agent.connect(worker).await
        }
    }

    async fn make(gate: Arc<dyn AgentGate>) -> (Arc<dyn Transport>, Arc<dyn AgentTransport>) {
        let folder = tempfile::tempdir().unwrap();
        let authority = CertificateAuthority::open(folder.path(), "test").unwrap();
        let joining = Joining::new(authority.clone(), InstallationKey::open(folder.path()).unwrap());
        let own = ServerCertificate::Own { names: names_to_dial(&[], &[]) };
        let config = server_for_agents(&authority, &own).unwrap();
        let tls = Some(ServerTls { config, worker_of, join: Arc::new(Nobody) });
        let options = ServerOptions { tls, ..ServerOptions::default() };
        let loopback = "127.0.0.1:0".parse().unwrap();
        let (supervisor, address) = GrpcTransport::bind(loopback, gate, options).await.unwrap();
        let endpoint = format!("https://{address}");
        (supervisor, Arc::new(Agents { endpoint, authority, joining }))
    }

    data_runner_testkit::transport_contract!(make);
}
