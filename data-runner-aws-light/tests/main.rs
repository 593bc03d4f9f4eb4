//! The real client over HTTP against a small AWS: metadata with tokens, parameters, secrets.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod small_aws;

use std::time::Duration;

use data_runner_aws_light::{
    AwsSecrets, CredentialsError, EnvironmentSecrets, Imds, MachineCredentials, Notice,
    ProvideCredentials as _, SecretNames, notices,
};
use data_runner_core::port::{Retry, SecretError, SecretProbe as _, SecretResolver as _, Verdict};
use data_runner_core::workflow::SecretRef;
use small_aws::SmallAws;

fn reference(text: &str) -> SecretRef {
    text.parse().unwrap()
}

#[tokio::test]
async fn metadata_is_asked_for_with_one_token_and_a_new_one_when_that_is_refused() {
    let aws = SmallAws::start().await;
    aws.metadata("placement/region", "eu-west-1");
    let imds = Imds::new(&aws.url).unwrap();
    assert_eq!(imds.region().await.unwrap().unwrap(), "eu-west-1");
    assert_eq!(imds.get("spot/instance-action").await.unwrap(), None);
    assert_eq!(aws.tokens(), 1);
    aws.forget_tokens();
    assert_eq!(imds.region().await.unwrap().unwrap(), "eu-west-1");
    assert_eq!(aws.tokens(), 2);
}

#[tokio::test]
async fn a_machine_without_the_service_is_known_within_moments() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let imds = Imds::new(&format!("http://{closed}")).unwrap();
    let error = MachineCredentials::new(Some(imds)).provide_credentials().await.unwrap_err();
    assert!(matches!(error, CredentialsError::ProviderError(_)), "{error:?}");
}

#[tokio::test]
async fn the_roles_credentials_are_kept_while_they_are_good() {
    let aws = SmallAws::start().await;
    aws.role("AKIA1", Duration::from_secs(3600));
    let credentials = MachineCredentials::new(Some(Imds::new(&aws.url).unwrap()));
    let key = async || credentials.provide_credentials().await.unwrap().access_key_id().to_owned();
    assert_eq!(key().await, "AKIA1");
    aws.role("AKIA2", Duration::from_secs(3600));
    assert_eq!(key().await, "AKIA1", "an hour is long");

    // Another process of the machine.
    let credentials = MachineCredentials::new(Some(Imds::new(&aws.url).unwrap()));
    let first = credentials.provide_credentials().await.unwrap();
    assert_eq!((first.access_key_id(), first.session_token()), ("AKIA2", Some("session")));
}

#[tokio::test]
async fn a_machine_without_a_role_says_so() {
    let aws = SmallAws::start().await;
    let credentials = MachineCredentials::new(Some(Imds::new(&aws.url).unwrap()));
    let error = credentials.provide_credentials().await.unwrap_err();
    assert!(matches!(error, CredentialsError::CredentialsNotLoaded(_)), "{error:?}");

    let error = aws.secrets().resolve(&reference("aws-ssm:///a")).await.unwrap_err();
    assert!(error.to_string().contains("instance profile"), "{error}");
    assert_eq!(error.retry(), Retry::Never);
}

#[tokio::test]
async fn parameters_and_secrets_are_read_by_calls_that_the_role_signed() {
    let aws = SmallAws::start().await;
    aws.role("AKIA1", Duration::from_secs(3600));
    aws.answer("GetParameter", 200, r#"{"Parameter": {"Name": "/prod/key", "Value": "k3y"}}"#);
    aws.answer("GetSecretValue", 200, r#"{"SecretString": "{\"dsn\": \"postgres://\", \"port\": 5432}"}"#);
    let secrets = aws.secrets();
    let resolve = async |text: &str| secrets.resolve(&reference(text)).await.unwrap().expose().to_owned();
    assert_eq!(resolve("aws-ssm:///prod/key").await, "k3y");
    assert_eq!(resolve("aws-secretsmanager://pg#dsn").await, "postgres://");
    assert_eq!(resolve("aws-secretsmanager://pg#port").await, "5432");
    assert_eq!(resolve("aws-secretsmanager://pg").await, r#"{"dsn": "postgres://", "port": 5432}"#);

    let calls = aws.calls();
    let first = &calls[0];
    assert_eq!(first.target, "AmazonSSM.GetParameter");
    assert_eq!(first.body, r#"{"Name":"/prod/key","WithDecryption":true}"#);
    assert_eq!(first.security_token, "session");
    assert!(first.authorization.starts_with("AWS4-HMAC-SHA256 Credential=AKIA1/"), "{}", first.authorization);
    assert!(first.authorization.contains("/eu-west-1/ssm/aws4_request"), "{}", first.authorization);
    assert_eq!(calls[1].target, "secretsmanager.GetSecretValue");
    assert!(calls[1].authorization.contains("/eu-west-1/secretsmanager/aws4_request"));

    resolve("aws-secretsmanager://arn:aws:secretsmanager:us-east-2:123456789012:secret:pg").await;
    assert!(aws.calls().pop().unwrap().authorization.contains("/us-east-2/secretsmanager/"));
}

#[tokio::test]
async fn a_no_of_aws_says_which_reference_and_what_to_do() {
    let aws = SmallAws::start().await;
    aws.role("AKIA1", Duration::from_secs(3600));
    let secrets = aws.secrets();
    let no = async |code: &str| {
        aws.answer("GetSecretValue", 400, &format!(r#"{{"__type": "{code}", "Message": "no"}}"#));
        secrets.resolve(&reference("aws-secretsmanager://prod/pg#dsn")).await.unwrap_err()
    };
    assert!(matches!(no("ResourceNotFoundException").await, SecretError::NotFound { .. }));
    for (code, hint) in [
        ("AccessDeniedException", "secretsmanager:GetSecretValue"),
        ("DecryptionFailure", "kms:Decrypt"),
        ("UnrecognizedClientException", "clock"),
        ("InvalidRequestException", "no"),
    ] {
        let error = no(code).await;
        assert!(matches!(error, SecretError::Refused { .. }), "{code}: {error:?}");
        let text = error.to_string();
        assert!(text.contains("aws-secretsmanager://prod/pg#dsn") && text.contains(hint), "{text}");
    }
}

#[tokio::test]
async fn a_key_that_is_not_there_and_a_secret_of_bytes_are_told_without_showing_anything() {
    let aws = SmallAws::start().await;
    aws.role("AKIA1", Duration::from_secs(3600));
    let secrets = aws.secrets();
    aws.answer("GetSecretValue", 200, r#"{"SecretString": "hunter2"}"#);
    let error = secrets.resolve(&reference("aws-secretsmanager://pg#dsn")).await.unwrap_err();
    assert!(matches!(error, SecretError::Refused { .. }));
    assert!(!format!("{error:?}").contains("hunter2"));
    aws.answer("GetSecretValue", 200, r#"{"SecretString": "{\"other\": \"hunter2\"}"}"#);
    let error = secrets.resolve(&reference("aws-secretsmanager://pg#dsn")).await.unwrap_err();
    assert!(matches!(error, SecretError::NotFound { .. }));
    aws.answer("GetSecretValue", 200, r#"{"SecretBinary": "aHVudGVyMg=="}"#);
    let error = secrets.resolve(&reference("aws-secretsmanager://pg")).await.unwrap_err();
    assert!(matches!(error, SecretError::Refused { .. }));
}

#[tokio::test]
async fn the_names_of_secrets_are_looked_for_and_no_value_is_read() {
    let aws = SmallAws::start().await;
    aws.role("AKIA1", Duration::from_secs(3600));
    let names = SecretNames::new(aws.client());
    let look = async |text: &str| names.probe(&reference(text)).await;

    aws.answer_once("DescribeParameters", 200, r#"{"Parameters": [], "NextToken": "more"}"#);
    aws.answer("DescribeParameters", 200, r#"{"Parameters": [{"Name": "/prod/key"}]}"#);
    let there = look("aws-ssm:///prod/key").await;
    assert_eq!((there.verdict, there.check.as_str()), (Verdict::Good, "aws-ssm:///prod/key"));
    let help = there.help.unwrap();
    assert!(help.contains("ssm:GetParameter on arn:aws:ssm:*:*:parameter/prod/key"), "{help}");
    assert!(aws.calls().last().unwrap().body.contains(r#""NextToken":"more""#));
    aws.answer("DescribeParameters", 200, r#"{"Parameters": []}"#);
    assert_eq!(look("aws-ssm:///prod/no").await.verdict, Verdict::Bad);

    aws.answer("DescribeSecret", 200, r#"{"Name": "prod/pg"}"#);
    let there = look("aws-secretsmanager://prod/pg#dsn").await;
    assert_eq!(there.verdict, Verdict::Good);
    let help = there.help.unwrap();
    assert!(help.contains("secretsmanager:GetSecretValue") && help.contains("\"dsn\""), "{help}");
    aws.answer("DescribeSecret", 200, r#"{"Name": "prod/pg", "DeletedDate": 1.7e9}"#);
    assert_eq!(look("aws-secretsmanager://prod/pg").await.verdict, Verdict::Bad);
    aws.answer("DescribeSecret", 400, r#"{"__type": "ResourceNotFoundException", "Message": "no"}"#);
    assert_eq!(look("aws-secretsmanager://prod/no").await.verdict, Verdict::Bad);

    aws.answer("DescribeSecret", 400, r#"{"__type": "AccessDeniedException", "Message": "no"}"#);
    let unknown = look("aws-secretsmanager://prod/pg").await;
    assert_eq!(unknown.verdict, Verdict::Warning);
    assert!(
        unknown.message.starts_with("not known here, since secretsmanager:DescribeSecret"),
        "{unknown:?}"
    );
    assert!(unknown.help.unwrap().contains("secretsmanager:GetSecretValue"));
    assert_eq!(look("env://PG_DSN").await.verdict, Verdict::Bad);
    assert!(aws.calls().iter().all(|call| call.target.contains(".Describe")), "only names were asked for");
}

#[tokio::test]
async fn a_throttled_call_is_repeated() {
    let aws = SmallAws::start().await;
    aws.role("AKIA1", Duration::from_secs(3600));
    aws.answer("GetParameter", 200, r#"{"Parameter": {"Value": "v"}}"#);
    aws.answer_once("GetParameter", 400, r#"{"__type": "ThrottlingException", "message": "Rate exceeded"}"#);
    assert_eq!(aws.secrets().resolve(&reference("aws-ssm://a")).await.unwrap().expose(), "v");
    assert_eq!(aws.calls().len(), 2);
}

#[tokio::test]
async fn the_environment_is_read_only_where_it_is_served() {
    let aws = SmallAws::start().await;
    // Cargo sets it.
    let named = reference("env://CARGO_PKG_NAME");
    let served = AwsSecrets::new(aws.client(), EnvironmentSecrets::Served);
    assert_eq!(served.resolve(&named).await.unwrap().expose(), "data-runner-aws-light");
    let missing = served.resolve(&reference("env://NOBODY_SETS_THIS")).await.unwrap_err();
    assert!(matches!(missing, SecretError::NotFound { .. }));
    assert!(matches!(aws.secrets().resolve(&named).await.unwrap_err(), SecretError::Refused { .. }));
}

#[tokio::test]
async fn each_notice_is_said_once_and_an_interruption_is_the_last() {
    let aws = SmallAws::start().await;
    let mut told = notices(Imds::new(&aws.url).unwrap(), Duration::from_millis(5));
    aws.metadata("events/recommendations/rebalance", r#"{"noticeTime": "2026-08-01T00:00:00Z"}"#);
    assert_eq!(told.recv().await, Some(Notice::Rebalance));
    aws.forget_tokens();
    aws.metadata("spot/instance-action", r#"{"action": "terminate", "time": "2026-08-01T00:02:00Z"}"#);
    assert_eq!(told.recv().await, Some(Notice::Interruption));
    assert_eq!(told.recv().await, None);
}
