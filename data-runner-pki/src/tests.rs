//! What an installation's keys promise.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use data_runner_core::cost::Market;
use data_runner_core::id::WorkerId;
use data_runner_core::port::{Certificate, JoinAuthority as _, JoinRefused, JoinRequest};
use data_runner_core::time::Timestamp;
use data_runner_core::worker::Candidate;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};
use serde_json::json;
use uuid::Uuid;

use crate::{
    AgentKey, CertificateAuthority, GivenCertificate, InstallationKey, Joining, KeptIdentity, PkiError,
    ServerCertificate, names_to_dial, server_for_agents, server_for_people, worker_of,
};

const DAY: u64 = 24 * 3600;

/// A clock that is set by hand: seconds since 1970.
#[derive(Debug)]
struct Clock(AtomicU64);

impl Clock {
    fn pass(&self, seconds: u64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_micros(i64::try_from(self.0.load(Ordering::SeqCst)).unwrap() * 1_000_000)
    }
}

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(self.0.load(Ordering::SeqCst))))
    }
}

struct House {
    folder: tempfile::TempDir,
    clock: Arc<Clock>,
    authority: Arc<CertificateAuthority>,
    joining: Joining,
}

fn house() -> House {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(Clock(AtomicU64::new(1_800_000_000)));
    let authority = CertificateAuthority::open_at(folder.path(), "test", clock.clone()).unwrap();
    let key = InstallationKey::open(folder.path()).unwrap();
    let joining = Joining::new(authority.clone(), key);
    House { folder, clock, authority, joining }
}

impl House {
    fn in_an_hour(&self) -> Timestamp {
        self.clock.now().after(Duration::from_secs(3600))
    }

    fn own_certificate(&self) -> Arc<ServerConfig> {
        let names = names_to_dial(&["https://runner.example.com:7070"], &[]);
        server_for_agents(&self.authority, &ServerCertificate::Own { names }).unwrap()
    }

    fn agent(&self, n: u128) -> (AgentKey, Certificate) {
        let key = AgentKey::generate().unwrap();
        let ask = request(&self.joining.token(worker(n), &candidate()), &key);
        let certificate = self.joining.issue(worker(n), &ask, self.in_an_hour()).unwrap();
        (key, certificate)
    }
}

fn worker(n: u128) -> WorkerId {
    WorkerId::from_uuid(Uuid::from_u128(n))
}

fn candidate() -> Candidate {
    Candidate {
        label: "t3.medium, eu-west-1a, on demand".to_owned(),
        instance_type: "t3.medium".to_owned(),
        zone: Some("eu-west-1a".to_owned()),
        market: Market::OnDemand,
        request: json!({"image": "ami-1", "subnet": "subnet-1", "tags": {"b": 1, "a": [true, null]}}),
        price: None,
    }
}

fn request(token: &str, key: &AgentKey) -> JoinRequest {
    JoinRequest { token: token.to_owned(), signing_request: key.signing_request().unwrap() }
}

/// What a client is told to trust, and who it is.
fn client(ca: &str, clock: &Arc<Clock>, identity: Option<&(AgentKey, Certificate)>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.as_bytes()).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_details(crate::crypto::provider(), clock.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    match identity {
        None => builder.with_no_client_auth(),
        Some((key, certificate)) => {
            let chain = CertificateDer::pem_slice_iter(certificate.chain.as_bytes());
            let key = PrivateKeyDer::from_pem_slice(key.pem().as_bytes()).unwrap();
            builder.with_client_auth_cert(chain.map(Result::unwrap).collect(), key).unwrap()
        }
    }
}

/// What the server holds of the client and the client of the server, after a handshake in memory.
fn shake(
    server: &Arc<ServerConfig>,
    client: ClientConfig,
    name: &str,
) -> Result<(Option<Vec<u8>>, Vec<u8>), rustls::Error> {
    let mut server = ServerConnection::new(server.clone()).unwrap();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::new(client), name).unwrap();
    while server.is_handshaking() || client.is_handshaking() {
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).unwrap();
        server.read_tls(&mut bytes.as_slice()).unwrap();
        server.process_new_packets()?;
        let mut bytes = Vec::new();
        server.write_tls(&mut bytes).unwrap();
        client.read_tls(&mut bytes.as_slice()).unwrap();
        client.process_new_packets()?;
    }
    let peer = server.peer_certificates().map(|chain| chain[0].to_vec());
    Ok((peer, client.peer_certificates().unwrap()[0].to_vec()))
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn secrets_are_readable_by_their_owner_only_and_the_certificate_by_all() {
    let house = house();
    assert_eq!(mode(&house.folder.path().join("authority.pem")), 0o600);
    assert_eq!(mode(&house.folder.path().join("installation.key")), 0o600);
    assert_eq!(mode(&house.folder.path().join("ca.pem")), 0o644);
    let text = std::fs::read_to_string(house.folder.path().join("ca.pem")).unwrap();
    assert_eq!(text, house.authority.certificate());
    assert!(!text.contains("PRIVATE"));
}

#[test]
fn authority_and_key_survive_a_restart() {
    let house = house();
    let again = CertificateAuthority::open_at(house.folder.path(), "test", house.clock.clone()).unwrap();
    assert_eq!(again.certificate(), house.authority.certificate());
    let joining = Joining::new(again, InstallationKey::open(house.folder.path()).unwrap());
    assert_eq!(joining.token(worker(1), &candidate()), house.joining.token(worker(1), &candidate()));
    // Who joined before is known after.
    let config = client(house.authority.certificate(), &house.clock, Some(&house.agent(1)));
    let server = server_for_agents(&joining_authority(&house), &own()).unwrap();
    let (peer, _) = shake(&server, config, "localhost").unwrap();
    assert_eq!(worker_of(&peer.unwrap()), Some(worker(1)));
}

fn joining_authority(house: &House) -> Arc<CertificateAuthority> {
    CertificateAuthority::open_at(house.folder.path(), "test", house.clock.clone()).unwrap()
}

fn own() -> ServerCertificate {
    ServerCertificate::Own { names: names_to_dial(&[], &[]) }
}

#[test]
fn a_secret_that_others_may_read_is_refused_with_what_to_do() {
    let house = house();
    for name in ["authority.pem", "installation.key"] {
        let path = house.folder.path().join(name);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    }
    let authority = CertificateAuthority::open(house.folder.path(), "test").unwrap_err();
    assert!(authority.to_string().contains("chmod 600"), "{authority}");
    assert!(matches!(InstallationKey::open(house.folder.path()), Err(PkiError::Exposed { .. })));
}

#[test]
fn a_damaged_secret_is_an_error_and_never_made_anew() {
    let house = house();
    let other = self::house();
    let path = house.folder.path().join("authority.pem");
    let whole = std::fs::read_to_string(&path).unwrap();
    let foreign = std::fs::read_to_string(other.folder.path().join("authority.pem")).unwrap();
    let at = |text: &str| text.find("-----BEGIN CERTIFICATE").unwrap();
    let mixed = format!("{}{}", &whole[..at(&whole)], &foreign[at(&foreign)..]);
    for damaged in ["", "half", &whole[..at(&whole)], &whole[at(&whole)..], &whole.repeat(2), &mixed] {
        std::fs::write(&path, damaged).unwrap();
        let opened = CertificateAuthority::open_at(house.folder.path(), "test", house.clock.clone());
        assert!(matches!(opened, Err(PkiError::Damaged { .. })), "{damaged:?}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), damaged);
    }
    let path = house.folder.path().join("installation.key");
    std::fs::write(&path, "00ff").unwrap();
    assert!(matches!(InstallationKey::open(house.folder.path()), Err(PkiError::Damaged { .. })));
}

#[test]
fn an_authority_that_has_ended_says_so() {
    let house = house();
    house.clock.pass(20 * 365 * DAY);
    let opened = CertificateAuthority::open_at(house.folder.path(), "test", house.clock.clone());
    assert!(matches!(opened, Err(PkiError::AuthorityEnded { .. })));
}

#[test]
fn the_same_worker_and_candidate_have_the_same_token() {
    let house = house();
    let token = house.joining.token(worker(1), &candidate());
    assert_eq!(token.len(), 43, "it fits into user-data");
    assert_eq!(house.joining.token(worker(1), &candidate()), token);
    // What a person reads of it, and how the store writes it, does not matter.
    let text = serde_json::to_string(&candidate()).unwrap();
    let mut stored: Candidate = serde_json::from_str(&text).unwrap();
    stored.label = "said in another way".to_owned();
    assert_eq!(house.joining.token(worker(1), &stored), token);
}

#[test]
fn every_other_worker_candidate_and_installation_has_another_token() {
    let (house, other) = (house(), house());
    let with = |change: fn(&mut Candidate)| {
        let mut candidate = candidate();
        change(&mut candidate);
        house.joining.token(worker(1), &candidate)
    };
    let tokens = [
        with(|_| {}),
        with(|it| it.instance_type = "t3.large".to_owned()),
        with(|it| it.zone = None),
        with(|it| it.zone = Some("eu-west-1b".to_owned())),
        with(|it| it.market = Market::Spot),
        with(|it| it.request["image"] = json!("ami-2")),
        with(|it| it.request["tags"]["a"] = json!([null, true])),
        house.joining.token(worker(2), &candidate()),
        other.joining.token(worker(1), &candidate()),
    ];
    let different: std::collections::BTreeSet<_> = tokens.iter().collect();
    assert_eq!(different.len(), tokens.len());
    let key = AgentKey::generate().unwrap();
    let checked = |token: &str| house.joining.check(worker(1), &candidate(), &request(token, &key));
    assert!(checked(&tokens[0]).is_ok());
    for wrong in tokens[1..].iter().map(String::as_str).chain(["", "?", "AAAA", &tokens[0][..42]]) {
        assert!(matches!(checked(wrong), Err(JoinRefused::Refused)), "{wrong}");
    }
}

#[test]
fn a_request_is_known_by_its_key_and_a_changed_one_is_refused() {
    let house = house();
    let token = house.joining.token(worker(1), &candidate());
    let (one, two) = (AgentKey::generate().unwrap(), AgentKey::generate().unwrap());
    let hash = |ask: &JoinRequest| house.joining.check(worker(1), &candidate(), ask);
    let first = hash(&request(&token, &one)).unwrap();
    assert_eq!(hash(&request(&token, &one)).unwrap(), first, "another signature, the same key");
    assert_ne!(hash(&request(&token, &two)).unwrap(), first);
    let kept = AgentKey::from_pem(&one.pem()).unwrap();
    assert_eq!(hash(&request(&token, &kept)).unwrap(), first, "a restarted agent");
    let whole = request(&token, &one);
    for at in 0..whole.signing_request.len() {
        let mut changed = whole.clone();
        changed.signing_request[at] ^= 1;
        // What a bit changes of the encoding's spare room, if anything, cannot change whose key it is.
        if let Ok(key) = hash(&changed) {
            assert_eq!(key, first, "byte {at}");
        }
    }
    for nonsense in [Vec::new(), vec![0x30; 5_000]] {
        let ask = JoinRequest { token: token.clone(), signing_request: nonsense };
        assert!(matches!(hash(&ask), Err(JoinRefused::Refused)));
        assert!(house.joining.issue(worker(1), &ask, house.in_an_hour()).is_err());
    }
}

#[test]
fn an_agent_is_known_by_its_certificate_and_one_without_may_connect() {
    let house = house();
    let server = house.own_certificate();
    for n in [1, 2] {
        let agent = house.agent(n);
        assert_eq!(agent.1.until, house.in_an_hour());
        let config = client(house.authority.certificate(), &house.clock, Some(&agent));
        let (peer, _) = shake(&server, config, "runner.example.com").unwrap();
        assert_eq!(worker_of(&peer.unwrap()), Some(worker(n)));
    }
    let config = client(house.authority.certificate(), &house.clock, None);
    let (peer, shown) = shake(&server, config, "127.0.0.1").unwrap();
    assert_eq!(peer, None);
    assert_eq!(worker_of(&shown), None, "a server is no worker");
}

#[test]
fn a_certificate_that_ended_is_thrown_out() {
    let house = house();
    let (server, agent) = (house.own_certificate(), house.agent(1));
    house.clock.pass(3_601);
    let config = client(house.authority.certificate(), &house.clock, Some(&agent));
    assert!(shake(&server, config, "localhost").is_err());
    let key = AgentKey::generate().unwrap();
    let late = house.joining.issue(worker(1), &request("", &key), house.clock.now());
    assert!(matches!(late, Err(JoinRefused::Refused)), "no certificate of the past is made");
}

#[test]
fn a_certificate_of_another_authority_is_thrown_out_on_both_sides() {
    let (house, other) = (house(), house());
    let foreign = other.agent(1);
    let config = client(house.authority.certificate(), &house.clock, Some(&foreign));
    assert!(shake(&house.own_certificate(), config, "localhost").is_err());
    let config = client(house.authority.certificate(), &house.clock, None);
    assert!(shake(&other.own_certificate(), config, "localhost").is_err());
    // A server's own certificate is none for an agent, nor an agent's one for a server.
    let config = client(house.authority.certificate(), &house.clock, None);
    assert!(shake(&house.own_certificate(), config, "elsewhere.example.com").is_err());
}

#[test]
fn an_agents_certificate_serves_nobody() {
    let house = house();
    let (key, certificate) = house.agent(1);
    let (cert_file, key_file) = (house.folder.path().join("c"), house.folder.path().join("k"));
    std::fs::write(&cert_file, &certificate.chain).unwrap();
    std::fs::write(&key_file, key.pem()).unwrap();
    let given = ServerCertificate::Given(GivenCertificate { certificate: cert_file, key: key_file });
    let server = server_for_agents(&house.authority, &given).unwrap();
    let config = client(house.authority.certificate(), &house.clock, None);
    assert!(shake(&server, config, "localhost").is_err());
}

#[test]
fn the_servers_certificate_is_made_anew_before_it_ends() {
    let house = house();
    let server = server_for_people(&house.authority, &own()).unwrap();
    let shown = || {
        let config = client(house.authority.certificate(), &house.clock, None);
        shake(&server, config, "localhost").unwrap().1
    };
    let first = shown();
    house.clock.pass(19 * DAY);
    assert_eq!(shown(), first);
    house.clock.pass(2 * DAY);
    let second = shown();
    assert_ne!(second, first);
    house.clock.pass(100 * DAY);
    assert_ne!(shown(), second);
}

#[test]
fn a_machine_whose_clock_is_late_trusts_the_server() {
    let house = house();
    let server = house.own_certificate();
    let late = Arc::new(Clock(AtomicU64::new(1_800_000_000 - DAY + 60)));
    assert!(shake(&server, client(house.authority.certificate(), &late, None), "localhost").is_ok());
}

#[test]
fn a_given_certificate_is_shown_and_agents_are_still_known_by_our_own() {
    let (house, public) = (house(), house());
    let given = public.folder.path().join("server.pem");
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["runner.example.com".to_owned()]).unwrap();
    let span = (public.clock.now(), public.in_an_hour());
    let der = public.authority.issue(params, span, &key).unwrap();
    std::fs::write(&given, crate::authority::pem("CERTIFICATE", &der)).unwrap();
    let key_file = public.folder.path().join("server.key");
    std::fs::write(&key_file, key.serialize_pem()).unwrap();
    let files = GivenCertificate { certificate: given.clone(), key: key_file };
    let server = server_for_agents(&house.authority, &ServerCertificate::Given(files)).unwrap();
    let config = client(public.authority.certificate(), &house.clock, Some(&house.agent(3)));
    let (peer, shown) = shake(&server, config, "runner.example.com").unwrap();
    assert_eq!((worker_of(&peer.unwrap()), shown), (Some(worker(3)), der.to_vec()));

    let wrong = GivenCertificate { certificate: given.clone(), key: given.clone() };
    let error = server_for_people(&house.authority, &ServerCertificate::Given(wrong)).unwrap_err();
    assert!(error.to_string().contains("no private key"), "{error}");
    std::fs::write(public.folder.path().join("other.key"), AgentKey::generate().unwrap().pem()).unwrap();
    let wrong = GivenCertificate { certificate: given, key: public.folder.path().join("other.key") };
    let error = server_for_people(&house.authority, &ServerCertificate::Given(wrong)).unwrap_err();
    assert!(error.to_string().contains("not the key of the certificate"), "{error}");
}

#[test]
fn an_agent_that_is_started_again_has_its_key_and_its_certificate() {
    let house = house();
    let folder = house.folder.path().join("agent");
    let first = KeptIdentity::open(&folder).unwrap();
    let ask = request(&house.joining.token(worker(1), &candidate()), first.key());
    let certificate = house.joining.issue(worker(1), &ask, house.in_an_hour()).unwrap();
    assert_eq!(first.certificate(worker(1), house.clock.now()).unwrap(), None);
    first.keep(&certificate.chain).unwrap();
    assert_eq!((mode(&folder.join("agent.key")), mode(&folder.join("agent.pem"))), (0o600, 0o600));

    let again = KeptIdentity::open(&folder).unwrap();
    assert_eq!(again.key().pem(), first.key().pem());
    let kept = |n, at| again.certificate(worker(n), at).unwrap();
    assert_eq!(kept(1, house.clock.now()), Some(certificate.chain));
    assert_eq!(kept(2, house.clock.now()), None, "it is another worker's");
    assert_eq!(kept(1, house.in_an_hour()), None, "it is over");
    again.keep(&house.agent(1).1.chain).unwrap();
    assert_eq!(kept(1, house.clock.now()), None, "it is of another key");
    again.keep("half").unwrap();
    assert_eq!(kept(1, house.clock.now()), None);
    std::fs::write(folder.join("agent.key"), "half").unwrap();
    assert!(matches!(KeptIdentity::open(&folder), Err(PkiError::Damaged { .. })));
}

#[test]
fn names_come_from_urls_addresses_and_this_machine() {
    let names = names_to_dial(
        &["https://Runner.example.com:8443/x", "http://10.0.0.7:7070", "https://[fd00::1]:1", "nonsense"],
        &["0.0.0.0:7070".parse().unwrap(), "10.0.0.7:1".parse().unwrap(), "10.0.0.8:1".parse().unwrap()],
    );
    let expected = ["runner.example.com", "10.0.0.7", "fd00::1", "10.0.0.8", "localhost", "127.0.0.1", "::1"];
    assert_eq!(names, expected);
}

#[test]
fn nobody_prints_a_secret() {
    let house = house();
    let key = AgentKey::generate().unwrap();
    let printed = format!("{:?} {:?} {:?}", house.joining, key, request("token", &key));
    let secret = std::fs::read_to_string(house.folder.path().join("installation.key")).unwrap();
    assert!(!printed.contains(secret.trim()) && !printed.contains("token"), "{printed}");
}
