//! S3's side of the blob store's contract, against a fake S3.

use std::sync::Mutex;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use data_runner_core::port::{BlobError, BlobLinks as _, BlobStore};
use data_runner_testkit::blob_store_contract;
use data_runner_testkit::contract::blob_store::BlobFixture;

use sha2::Digest as _;

use super::*;
use crate::S3Blobs;

const CHECKSUM: &str = "x-amz-checksum-sha256";

/// Objects by path, with the checksum that they came with.
type Objects = Arc<Mutex<BTreeMap<String, (Bytes, Option<String>)>>>;

struct Bucket {
    objects: Objects,
    account: AwsAccount,
}

impl Bucket {
    async fn start() -> Self {
        let objects = Objects::default();
        let app =
            axum::Router::new().route("/{*path}", axum::routing::any(serve)).with_state(Arc::clone(&objects));
        let app = app.layer(axum::extract::DefaultBodyLimit::disable());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { objects, account: account_at(&url, Duration::from_secs(20)).await }
    }

    fn blobs(&self) -> S3Blobs {
        S3Blobs::new(&self.account, "s3://acme/runner".parse().unwrap())
    }
}

async fn serve(
    State(objects): State<Objects>,
    method: Method,
    Path(path): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut objects = objects.lock().unwrap();
    if method == Method::PUT {
        let checksum = headers.get(CHECKSUM).map(|checksum| checksum.to_str().unwrap().to_owned());
        let hash = base64::engine::general_purpose::STANDARD.encode(sha2::Sha256::digest(&body));
        if checksum.as_ref().is_some_and(|checksum| *checksum != hash) {
            let text = "<Error><Code>BadDigest</Code><Message>the bytes are others</Message></Error>";
            return (StatusCode::BAD_REQUEST, text).into_response();
        }
        objects.insert(path, (body, checksum));
        return StatusCode::OK.into_response();
    }
    if method == Method::DELETE {
        objects.remove(&path);
        return StatusCode::NO_CONTENT.into_response();
    }
    match objects.get(&path) {
        Some((bytes, checksum)) => {
            let mut answer = bytes.clone().into_response();
            if let Some(checksum) = checksum {
                answer.headers_mut().insert(CHECKSUM, checksum.parse().unwrap());
            }
            answer
        }
        None if path.starts_with("acme/") => {
            let text = "<Error><Code>NoSuchKey</Code><Message>no such key</Message></Error>";
            (StatusCode::NOT_FOUND, text).into_response()
        }
        None => {
            let text = "<Error><Code>AccessDenied</Code><Message>not yours</Message></Error>";
            (StatusCode::FORBIDDEN, text).into_response()
        }
    }
}

impl BlobFixture for Bucket {
    fn store(&self) -> Arc<dyn BlobStore> {
        Arc::new(self.blobs())
    }

    fn reopened(&self) -> Arc<dyn BlobStore> {
        Arc::new(self.blobs())
    }

    fn damage(&self, hash: &Sha256, bytes: &[u8]) {
        // As if somebody had put it there without a checksum.
        let path = format!("acme/runner/blobs/{hash}");
        self.objects.lock().unwrap().insert(path, (Bytes::copy_from_slice(bytes), None));
    }
}

blob_store_contract!(Bucket::start().await);

#[tokio::test]
async fn what_is_there_is_not_sent_again() {
    let bucket = Bucket::start().await;
    let hash = bucket.blobs().put(Bytes::from_static(b"code")).await.unwrap();
    let path = format!("acme/runner/blobs/{hash}");
    let checksum = bucket.objects.lock().unwrap()[&path].1.clone();
    assert!(checksum.is_some(), "S3 can check what it gets");
    // If it were sent again, this would be gone.
    bucket.objects.lock().unwrap().insert(path.clone(), (Bytes::from_static(b"mark"), checksum));
    bucket.blobs().put(Bytes::from_static(b"code")).await.unwrap();
    assert_eq!(bucket.objects.lock().unwrap()[&path].0, "mark");
}

#[tokio::test]
async fn a_bucket_that_refuses_is_not_an_empty_one() {
    let bucket = Bucket::start().await;
    let elsewhere = S3Blobs::new(&bucket.account, "s3://theirs".parse().unwrap());
    let hash = Sha256::of(b"code");
    for error in [elsewhere.get(&hash).await.unwrap_err(), elsewhere.contains(&hash).await.unwrap_err()] {
        assert!(matches!(error, BlobError::Unavailable(_)), "{error:?}");
    }
}

#[tokio::test]
async fn a_link_is_for_one_blob_and_for_so_long() {
    let bucket = Bucket::start().await;
    let hash = Sha256::of(b"code");
    let link = bucket.blobs().link(&hash, Duration::from_secs(600)).await.unwrap();
    let (path, query) = link.url.split_once('?').unwrap();
    assert!(path.ends_with(&format!("/acme/runner/blobs/{hash}")), "{path}");
    assert!(query.contains("X-Amz-Expires=600") && query.contains("X-Amz-Signature="), "{query}");
    // Nothing is signed that a plain GET does not send.
    assert!(query.contains("X-Amz-SignedHeaders=host&"), "{query}");
    assert!(!format!("{link:?}").contains("Signature"), "a link is a secret while it is good");
    let too_long = Duration::from_secs(8 * 24 * 3600);
    assert!(bucket.blobs().link(&hash, too_long).await.is_err(), "S3 signs for a week at the most");
}
