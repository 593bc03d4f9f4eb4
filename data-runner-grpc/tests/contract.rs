//! The gRPC Transport keeps the contract, over real TCP.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;

use data_runner_core::port::{AgentTransport, BundleGate, Transport};
use data_runner_grpc::{AgentOptions, GrpcAgentTransport, GrpcTransport, ServerOptions};

async fn make(gate: Arc<dyn BundleGate>) -> (Arc<dyn Transport>, Arc<dyn AgentTransport>) {
    let loopback = "127.0.0.1:0".parse().unwrap();
    let (supervisor, address) = GrpcTransport::bind(loopback, gate, ServerOptions::default()).await.unwrap();
    let agent = GrpcAgentTransport::new(&format!("http://{address}"), AgentOptions::default()).unwrap();
    (supervisor, Arc::new(agent))
}

data_runner_testkit::transport_contract!(make);
