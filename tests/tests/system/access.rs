//! Who comes in: tokens and certificates, as people use them.

use data_runner_tests::{Finished, Program, Sandbox, cli, on_host, until};

/// A supervisor with TLS and a login on loopback, and nothing to run.
struct House<'a> {
    sandbox: &'a Sandbox,
    config: String,
    server: Program,
    address: String,
}

impl<'a> House<'a> {
    async fn new(sandbox: &'a Sandbox) -> Self {
        let config = sandbox.text("supervisor.yaml");
        let settings = format!(
            "listen: 127.0.0.1:0\ngrpc_listen: 127.0.0.1:0\nstate: {}\ntls: own\nlogin: true\nlocal: {{workers: 1}}\n",
            sandbox.text("state")
        );
        std::fs::write(&config, settings).unwrap();
        let mut server = Program::supervisor(sandbox, &["--config", &config]);
        let address = until("the server's address", async || {
            assert!(server.ended().is_none(), "{}", server.said());
            let said = server.said();
            let start = said.find("https://127.0.0.1:")?;
            let address = said[start..].split(|c: char| c.is_whitespace() || c == '"').next()?;
            said[start + address.len()..].contains('\n').then(|| address.to_owned())
        })
        .await;
        Self { sandbox, config, server, address }
    }

    /// A command of the supervisor's host.
    async fn host(&self, arguments: &[&str]) -> Finished {
        on_host(self.sandbox, &[&["--config", &self.config], arguments].concat()).await
    }

    /// A command of somebody elsewhere.
    async fn person(&self, arguments: &[&str]) -> Finished {
        cli(self.sandbox, None, arguments).await
    }
}

#[tokio::test]
async fn the_first_token_is_made_on_the_host_and_opens_the_server_over_tls() {
    let sandbox = Sandbox::new();
    let house = House::new(&sandbox).await;
    assert!(house.server.said().contains("token create"), "it says how to begin: {}", house.server.said());
    let ca = sandbox.text("state/ca.pem");
    let there = ["--server", &house.address];

    let unknown = house.person(&[&["ps", "-a"], &there[..]].concat()).await;
    assert_eq!(unknown.code, Some(1), "{}", unknown.stderr);
    assert!(unknown.stderr.contains("certificate") && unknown.stderr.contains("--ca"), "{}", unknown.stderr);
    let nobody = house.person(&[&["ps", "-a", "--ca", &ca], &there[..]].concat()).await;
    assert_eq!(nobody.code, Some(4), "{}", nobody.stderr);
    assert!(nobody.stderr.contains("token create"), "it says how to make the first: {}", nobody.stderr);

    let made = house.host(&["token", "create", "root", "--scope", "admin"]).await;
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    let root = made.text().trim().to_owned();
    assert!(root.starts_with("dr_") && !root.contains(char::is_whitespace), "{root}");

    let added =
        house.person(&["context", "add", "house", &house.address, "--ca", &ca, "--token", &root]).await;
    assert_eq!(added.code, Some(0), "{}", added.stderr);
    let listed = house.person(&["ps", "-a", "-o", "json"]).await;
    assert_eq!((listed.code, listed.text().trim()), (Some(0), "[]"), "{}", listed.stderr);

    let reader = house.person(&["token", "create", "reader", "--scope", "read", "--expires-in", "1d"]).await;
    let reader = reader.text().trim().to_owned();
    let weak = ["workflow", "register", "/nowhere", "--ca", &ca, "--server", &house.address];
    let weak = data_runner_tests::cli_with(&sandbox, &[("DATA_RUNNER_TOKEN", &reader)], &weak).await;
    assert_eq!(weak.code, Some(4), "{}", weak.stderr);
    assert!(weak.stderr.contains("needs admin"), "{}", weak.stderr);

    let names = house.person(&["token", "list", "-o", "name"]).await;
    assert_eq!(names.text(), "reader\nroot\n");
    assert_eq!(house.host(&["token", "revoke", "reader"]).await.code, Some(0));
    assert!(house.host(&["token", "list"]).await.text().starts_with("root "));
    let gone = ["ps", "--ca", &ca, "--server", &house.address];
    let gone = data_runner_tests::cli_with(&sandbox, &[("DATA_RUNNER_TOKEN", &reader)], &gone).await;
    assert_eq!(gone.code, Some(4), "revoked on the host, refused at once: {}", gone.stderr);

    let doctor = house.host(&["doctor"]).await;
    assert!(doctor.text().contains("people come in with tokens"), "{}", doctor.text());
    let doctor = house.person(&["doctor"]).await;
    assert!(doctor.text().contains("server: people come in with tokens"), "{}", doctor.text());
    let image = house.person(&["image", "bake"]).await;
    assert_eq!(image.code, Some(5), "{}", image.stderr);
}

#[tokio::test]
async fn plain_http_finds_nobody_on_the_tls_port() {
    let sandbox = Sandbox::new();
    let house = House::new(&sandbox).await;
    let plain = house.address.replace("https://", "http://");
    let refused = house.person(&["ps", "--server", &plain]).await;
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    let token = [("DATA_RUNNER_TOKEN", "dr_1")];
    let unsafe_ =
        data_runner_tests::cli_with(&sandbox, &token, &["ps", "--server", "http://203.0.113.1:8080"]).await;
    assert_eq!(unsafe_.code, Some(2), "no token leaves this machine unencrypted: {}", unsafe_.stderr);
}
