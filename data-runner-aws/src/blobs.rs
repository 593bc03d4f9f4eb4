//! Blobs as objects of S3.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{Config, StalledStreamProtectionConfig};
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::{ByteStream, SdkBody};
use aws_sdk_s3::types::ChecksumMode;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use data_runner_core::id::{Hashing, Sha256};
use data_runner_core::port::{
    BlobError, BlobLink, BlobLinks, BlobRef, BlobStore, ByteSource, Checked, Source,
};
use http_body::Frame;
use http_body_util::StreamBody;
use tokio::sync::mpsc;

use crate::call::{AwsAccount, CallError};

/// A place in S3, written `s3://bucket/prefix`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Place {
    /// The bucket.
    pub bucket: String,
    /// What all keys begin with: empty, or ends in `/`.
    pub prefix: String,
}

/// A text that is no place in S3.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no place in S3: write `s3://bucket` or `s3://bucket/prefix`")]
pub struct NotAPlace(String);

impl S3Place {
    /// A place within it.
    #[must_use]
    pub fn within(&self, folder: &str) -> Self {
        Self { bucket: self.bucket.clone(), prefix: format!("{}{folder}/", self.prefix) }
    }
}

impl FromStr for S3Place {
    type Err = NotAPlace;

    fn from_str(given: &str) -> Result<Self, NotAPlace> {
        let not = || NotAPlace(given.to_owned());
        let place = given.strip_prefix("s3://").ok_or_else(not)?;
        let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
        let may_be = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-".contains(c);
        if !(3..=63).contains(&bucket.len()) || !bucket.chars().all(may_be) {
            return Err(not());
        }
        let prefix = prefix.trim_matches('/');
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        Ok(Self { bucket: bucket.to_owned(), prefix })
    }
}

/// A [`BlobStore`] in S3, whose [`BlobLinks`] are presigned: the blob `abcd…` is the object `blobs/abcd…` below the place's prefix. Several may use one place.
///
/// S3 keeps the SHA-256 with the object and checks it when the bytes arrive, so that nothing torn or altered is ever
/// kept, and what is there is recognized without being fetched.
#[derive(Clone)]
pub struct S3Blobs {
    client: Client,
    place: Arc<S3Place>,
}

impl S3Blobs {
    /// A store at that place, with the account's credentials and in its region.
    pub fn new(account: &AwsAccount, place: S3Place) -> Self {
        let moved = account.config.endpoint_url().is_some();
        let config = aws_sdk_s3::config::Builder::from(&account.config)
            .region(aws_sdk_s3::config::Region::new(account.region.clone()))
            // Elsewhere a bucket has no host name of its own.
            .force_path_style(moved);
        Self { client: Client::from_conf(config.build()), place: Arc::new(place) }
    }

    fn key(&self, hash: &Sha256) -> String {
        format!("{}blobs/{hash}", self.place.prefix)
    }

    /// What S3 says of the blob; `None`: it is not there.
    async fn head(&self, hash: &Sha256) -> Result<Option<HeadObjectOutput>, CallError> {
        let asked = self
            .client
            .head_object()
            .bucket(&self.place.bucket)
            .key(self.key(hash))
            .checksum_mode(ChecksumMode::Enabled)
            .send()
            .await;
        match asked {
            Ok(said) => Ok(Some(said)),
            Err(error) if error.as_service_error().is_some_and(|refused| refused.is_not_found()) => Ok(None),
            Err(error) => Err(CallError::of("HeadObject", error)),
        }
    }

    async fn upload(&self, hash: &Sha256, checksum: String, bytes: Bytes) -> Result<(), CallError> {
        let asked = self
            .client
            .put_object()
            .bucket(&self.place.bucket)
            .key(self.key(hash))
            .checksum_sha256(checksum)
            .body(bytes.into())
            .send()
            .await;
        asked.map(drop).map_err(|error| CallError::of("PutObject", error))
    }

    /// Sends what comes of `content` as it comes. It is sent once: whoever has the content tries again.
    async fn upload_pieces(&self, blob: BlobRef, content: Checked) -> Result<(), BlobError> {
        let bytes = i64::try_from(blob.bytes).map_err(|error| BlobError::Unavailable(error.into()))?;
        let (body, pump) = body(content);
        let sending = self
            .client
            .put_object()
            .bucket(&self.place.bucket)
            .key(self.key(&blob.hash))
            .checksum_sha256(checksum(&blob.hash))
            .content_length(bytes)
            .body(body)
            .customize()
            // How fast it comes is not S3's doing.
            .config_override(
                Config::builder().stalled_stream_protection(StalledStreamProtectionConfig::disabled()),
            )
            .send();
        // What is wrong with the content says more than that S3 got too little of it.
        match tokio::join!(pump, sending) {
            (Err(error), _) => Err(error),
            (Ok(()), sent) => sent.map(drop).map_err(|error| unavailable(CallError::of("PutObject", error))),
        }
    }

    async fn open(&self, hash: &Sha256) -> Result<Option<ByteStream>, CallError> {
        let asked = self.client.get_object().bucket(&self.place.bucket).key(self.key(hash)).send().await;
        let object = match asked {
            Ok(object) => object,
            Err(error) if error.as_service_error().is_some_and(|refused| refused.is_no_such_key()) => {
                return Ok(None);
            }
            Err(error) => return Err(CallError::of("GetObject", error)),
        };
        Ok(Some(object.body))
    }

    async fn download(&self, hash: &Sha256) -> Result<Option<Bytes>, CallError> {
        let Some(body) = self.open(hash).await? else { return Ok(None) };
        let collected = body.collect().await;
        let bytes =
            collected.map_err(|error| CallError::NoAnswer { action: "GetObject", source: error.into() })?;
        Ok(Some(bytes.into_bytes()))
    }
}

#[async_trait]
impl BlobLinks for S3Blobs {
    async fn link(&self, hash: &Sha256, valid_for: Duration) -> Result<BlobLink, BlobError> {
        let presigning = PresigningConfig::expires_in(valid_for);
        let presigning = presigning.map_err(|error| BlobError::Unavailable(error.into()))?;
        let get = self.client.get_object().bucket(&self.place.bucket).key(self.key(hash));
        let signed = get.presigned(presigning).await;
        let signed = signed.map_err(|error| unavailable(CallError::of("GetObject", error)))?;
        Ok(BlobLink { url: signed.uri().to_owned() })
    }
}

#[async_trait]
impl BlobStore for S3Blobs {
    async fn put(&self, bytes: Bytes) -> Result<Sha256, BlobError> {
        let hash = Sha256::of(&bytes);
        let checksum = checksum(&hash);
        // Whatever else may be the matter with what is there, it is written anew.
        let there = self.head(&hash).await.ok().flatten();
        if there.is_none_or(|there| there.checksum_sha256() != Some(&checksum)) {
            self.upload(&hash, checksum, bytes).await.map_err(unavailable)?;
        }
        Ok(hash)
    }

    async fn get(&self, hash: &Sha256) -> Result<Bytes, BlobError> {
        match self.download(hash).await.map_err(unavailable)? {
            Some(bytes) if Sha256::of(&bytes) == *hash => Ok(bytes),
            Some(_) => Err(BlobError::Corrupt(hash.clone())),
            None => Err(BlobError::NotFound(hash.clone())),
        }
    }

    async fn contains(&self, hash: &Sha256) -> Result<bool, BlobError> {
        Ok(self.head(hash).await.map_err(unavailable)?.is_some())
    }

    async fn put_pieces(&self, blob: BlobRef, content: Box<dyn ByteSource>) -> Result<(), BlobError> {
        let content = Checked::new(content, blob.clone());
        self.upload_pieces(blob, content).await
    }

    async fn read(&self, hash: &Sha256) -> Result<Box<dyn ByteSource>, BlobError> {
        match self.open(hash).await.map_err(unavailable)? {
            Some(body) => Ok(Box::new(Reader { body, hashing: Hashing::default(), hash: hash.clone() })),
            None => Err(BlobError::NotFound(hash.clone())),
        }
    }

    async fn remove(&self, hash: &Sha256) -> Result<(), BlobError> {
        // Removing what is not there is no error of S3 either.
        let asked = self.client.delete_object().bucket(&self.place.bucket).key(self.key(hash)).send().await;
        asked.map(drop).map_err(|error| unavailable(CallError::of("DeleteObject", error)))
    }
}

/// An object on its way out.
struct Reader {
    body: ByteStream,
    hashing: Hashing,
    hash: Sha256,
}

#[async_trait]
impl ByteSource for Reader {
    async fn next(&mut self) -> Result<Option<Bytes>, Source> {
        loop {
            let piece = self.body.try_next().await.map_err(|error| BlobError::Unavailable(error.into()))?;
            let Some(piece) = piece else {
                let good = std::mem::take(&mut self.hashing).finish() == self.hash;
                return if good { Ok(None) } else { Err(BlobError::Corrupt(self.hash.clone()).into()) };
            };
            if !piece.is_empty() {
                self.hashing.take(&piece);
                return Ok(Some(piece));
            }
        }
    }
}

/// A body that gets what the future, which has to be driven beside it, takes of `content`. One piece waits at a time.
fn body(mut content: Checked) -> (ByteStream, impl Future<Output = Result<(), BlobError>>) {
    let (pieces, mut arriving) = mpsc::channel::<Result<Frame<Bytes>, Source>>(1);
    let stream = futures::stream::poll_fn(move |context| arriving.poll_recv(context));
    let pump = async move {
        loop {
            let next = content.next().await;
            let (piece, result) = match next {
                Ok(Some(piece)) => (Ok(Frame::data(piece)), None),
                // The last piece is out already; only now is it known that all of them were right.
                Ok(None) => return Ok(()),
                Err(error) => (Err("what was to be kept is not whole".into()), Some(Err(error))),
            };
            // Whoever does not take it any more has failed, and says why.
            let taken = pieces.send(piece).await;
            match result {
                Some(result) => return result,
                None if taken.is_err() => return Ok(()),
                None => {}
            }
        }
    };
    (ByteStream::new(SdkBody::from_body_1_x(StreamBody::new(stream))), pump)
}

/// The hash as S3 writes it.
fn checksum(hash: &Sha256) -> String {
    STANDARD.encode(hex::decode(hash.as_str()).unwrap_or_default())
}

fn unavailable(error: CallError) -> BlobError {
    BlobError::Unavailable(error.into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_place_is_a_bucket_and_perhaps_a_prefix() {
        for (given, bucket, prefix) in [
            ("s3://acme-data", "acme-data", ""),
            ("s3://acme-data/", "acme-data", ""),
            ("s3://acme-data/runner/prod/", "acme-data", "runner/prod/"),
        ] {
            let place: S3Place = given.parse().unwrap();
            assert_eq!((place.bucket.as_str(), place.prefix.as_str()), (bucket, prefix));
        }
        for given in ["acme-data", "s3://", "s3://A/b", "https://acme-data.s3.amazonaws.com", "s3://a b/c"] {
            assert_eq!(given.parse::<S3Place>(), Err(NotAPlace(given.to_owned())));
        }
    }
}
