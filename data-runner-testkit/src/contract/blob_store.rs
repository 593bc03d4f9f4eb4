//! The contract of [`BlobStore`], a clause a function; [`blob_store_contract!`](crate::blob_store_contract) makes one
//! test of each.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use data_runner_core::id::Sha256;
use data_runner_core::port::{BlobError, BlobRef, BlobStore, ByteSource, Source};

/// A store under test.
pub trait BlobFixture: Send + Sync {
    /// The store.
    fn store(&self) -> Arc<dyn BlobStore>;

    /// The same store, opened again as after a restart.
    fn reopened(&self) -> Arc<dyn BlobStore>;

    /// Puts `bytes` in the place of what is kept under `hash`, behind the store's back.
    fn damage(&self, hash: &Sha256, bytes: &[u8]);
}

fn sample(n: u8) -> Bytes {
    Bytes::from(vec![n; 100_000])
}

/// What was put is given back, to the byte, under its SHA-256.
pub async fn what_is_put_is_given_back(fixture: &dyn BlobFixture) {
    let hash = fixture.store().put(sample(1)).await.unwrap();
    assert_eq!(hash, Sha256::of(&sample(1)));
    assert_eq!(fixture.store().get(&hash).await.unwrap(), sample(1));
    let empty = fixture.store().put(Bytes::new()).await.unwrap();
    assert_eq!(fixture.store().get(&empty).await.unwrap(), Bytes::new());
}

/// It is still there after a restart.
pub async fn it_outlives_a_restart(fixture: &dyn BlobFixture) {
    let hash = fixture.store().put(sample(2)).await.unwrap();
    assert_eq!(fixture.reopened().get(&hash).await.unwrap(), sample(2));
    assert!(fixture.reopened().contains(&hash).await.unwrap());
}

/// Putting the same bytes again changes nothing.
pub async fn putting_again_changes_nothing(fixture: &dyn BlobFixture) {
    let first = fixture.store().put(sample(3)).await.unwrap();
    let second = fixture.store().put(sample(3)).await.unwrap();
    assert_eq!(first, second);
    assert_eq!(fixture.store().get(&first).await.unwrap(), sample(3));
}

/// What nobody put is not there.
pub async fn what_nobody_put_is_not_found(fixture: &dyn BlobFixture) {
    let hash = Sha256::of(b"nobody put this");
    assert!(!fixture.store().contains(&hash).await.unwrap());
    let error = fixture.store().get(&hash).await.unwrap_err();
    assert!(matches!(&error, BlobError::NotFound(missing) if *missing == hash), "{error:?}");
}

/// Bytes that no longer have the hash are never given.
pub async fn damaged_bytes_are_never_given(fixture: &dyn BlobFixture) {
    let hash = fixture.store().put(sample(4)).await.unwrap();
    for damage in [&sample(5)[..], &sample(4)[..99_999], b""] {
        fixture.damage(&hash, damage);
        let error = fixture.store().get(&hash).await.unwrap_err();
        assert!(matches!(&error, BlobError::Corrupt(damaged) if *damaged == hash), "{error:?}");
    }
}

/// Putting the bytes of a damaged blob again mends it.
pub async fn putting_again_mends_what_was_damaged(fixture: &dyn BlobFixture) {
    let hash = fixture.store().put(sample(6)).await.unwrap();
    fixture.damage(&hash, b"torn");
    fixture.store().put(sample(6)).await.unwrap();
    assert_eq!(fixture.store().get(&hash).await.unwrap(), sample(6));
}

/// Gives these pieces, and then its end or an error.
struct Pieces {
    left: std::vec::IntoIter<Bytes>,
    breaks: bool,
}

impl Pieces {
    fn of(pieces: &[Bytes]) -> Box<dyn ByteSource> {
        Box::new(Self { left: Vec::from(pieces).into_iter(), breaks: false })
    }

    fn broken(pieces: &[Bytes]) -> Box<dyn ByteSource> {
        Box::new(Self { left: Vec::from(pieces).into_iter(), breaks: true })
    }
}

#[async_trait]
impl ByteSource for Pieces {
    async fn next(&mut self) -> Result<Option<Bytes>, Source> {
        match self.left.next() {
            None if self.breaks => Err("the agent went".into()),
            piece => Ok(piece),
        }
    }
}

fn blob(bytes: &[u8]) -> BlobRef {
    BlobRef { hash: Sha256::of(bytes), bytes: bytes.len() as u64 }
}

async fn read(store: &dyn BlobStore, hash: &Sha256) -> Result<Bytes, BlobError> {
    let mut source = store.read(hash).await?;
    let mut bytes = BytesMut::new();
    loop {
        match source.next().await {
            Ok(Some(piece)) => {
                assert!(!piece.is_empty(), "a piece is never empty");
                bytes.extend_from_slice(&piece);
            }
            Ok(None) => return Ok(bytes.freeze()),
            Err(error) => return Err(*error.downcast::<BlobError>().expect("an error of the store")),
        }
    }
}

/// What comes in pieces is kept as if it had come at once, and read as it was put.
pub async fn what_comes_in_pieces_is_one_blob(fixture: &dyn BlobFixture) {
    let store = fixture.store();
    let pieces = [sample(7), Bytes::from_static(b"x"), sample(8), Bytes::from(vec![9; 3 << 20])];
    let whole = Bytes::from(pieces.concat());
    store.put_pieces(blob(&whole), Pieces::of(&pieces)).await.unwrap();
    assert!(store.get(&Sha256::of(&whole)).await.unwrap() == whole);
    assert!(read(&*fixture.reopened(), &Sha256::of(&whole)).await.unwrap() == whole);
    store.put_pieces(blob(b""), Pieces::of(&[])).await.unwrap();
    assert_eq!(read(&*store, &Sha256::of(b"")).await.unwrap(), Bytes::new());
    let hash = store.put(sample(1)).await.unwrap();
    assert_eq!(read(&*store, &hash).await.unwrap(), sample(1), "however it was put");
}

/// Content that is not the blob is refused, and nothing but the blob is ever given.
pub async fn other_content_is_not_kept(fixture: &dyn BlobFixture) {
    let store = fixture.store();
    let wanted = blob(&sample(10));
    for wrong in [&[sample(11)][..], &[sample(10), sample(10)], &[sample(10).slice(..99_999)], &[]] {
        let error = store.put_pieces(wanted.clone(), Pieces::of(wrong)).await.unwrap_err();
        assert!(matches!(&error, BlobError::Different(hash) if *hash == wanted.hash), "{error:?}");
        match store.get(&wanted.hash).await {
            Err(BlobError::NotFound(_)) => {}
            // Where too much came, the blob may have been whole before that was seen.
            other => assert_eq!(other.unwrap(), sample(10)),
        }
    }
}

/// Content that breaks off is not kept, and leaves what was there.
pub async fn content_that_breaks_off_is_not_kept(fixture: &dyn BlobFixture) {
    let store = fixture.store();
    let half = sample(12).slice(..50_000);
    for there in [false, true] {
        let error = store
            .put_pieces(blob(&sample(12)), Pieces::broken(std::slice::from_ref(&half)))
            .await
            .unwrap_err();
        assert!(matches!(error, BlobError::Broken(_)), "{error:?}");
        assert_eq!(store.contains(&Sha256::of(&sample(12))).await.unwrap(), there);
        store.put_pieces(blob(&sample(12)), Pieces::of(&[sample(12)])).await.unwrap();
        assert_eq!(read(&*store, &Sha256::of(&sample(12))).await.unwrap(), sample(12));
    }
}

/// What is read of damaged bytes does not end in good order, and putting the bytes again mends them.
pub async fn reading_damaged_bytes_ends_in_an_error(fixture: &dyn BlobFixture) {
    let store = fixture.store();
    let hash = store.put(sample(13)).await.unwrap();
    for damage in [&sample(14)[..], &sample(13)[..99_999], b""] {
        fixture.damage(&hash, damage);
        let error = read(&*store, &hash).await.unwrap_err();
        assert!(matches!(&error, BlobError::Corrupt(damaged) if *damaged == hash), "{error:?}");
    }
    store.put_pieces(blob(&sample(13)), Pieces::of(&[sample(13)])).await.unwrap();
    assert_eq!(read(&*store, &hash).await.unwrap(), sample(13));
}

/// What was removed is not found, can be removed again, and can be put again.
pub async fn what_is_removed_is_gone(fixture: &dyn BlobFixture) {
    let store = fixture.store();
    let (hash, other) = (store.put(sample(15)).await.unwrap(), store.put(sample(16)).await.unwrap());
    for _ in 0..2 {
        store.remove(&hash).await.unwrap();
        assert!(!store.contains(&hash).await.unwrap());
        for error in [store.get(&hash).await.unwrap_err(), read(&*store, &hash).await.unwrap_err()] {
            assert!(matches!(&error, BlobError::NotFound(missing) if *missing == hash), "{error:?}");
        }
    }
    assert_eq!(store.get(&other).await.unwrap(), sample(16), "another stays");
    store.put(sample(15)).await.unwrap();
    assert_eq!(fixture.reopened().get(&hash).await.unwrap(), sample(15));
}

/// Many callers at once, of the same bytes too, do not disturb each other.
pub async fn calls_run_in_parallel(fixture: &dyn BlobFixture) {
    let puts: Vec<_> = (0..32)
        .map(|n| {
            let store = fixture.store();
            tokio::spawn(async move {
                let hash = store.put(sample(n % 4)).await.unwrap();
                assert_eq!(store.get(&hash).await.unwrap(), sample(n % 4));
            })
        })
        .collect();
    for put in puts {
        put.await.unwrap();
    }
}

/// One test for each clause of the contract; `$fixture` is an expression that makes a fresh fixture.
#[macro_export]
macro_rules! blob_store_contract {
    ($fixture:expr) => {
        $crate::blob_store_contract!(@clauses $fixture;
            what_is_put_is_given_back
            it_outlives_a_restart
            putting_again_changes_nothing
            what_nobody_put_is_not_found
            damaged_bytes_are_never_given
            putting_again_mends_what_was_damaged
            what_comes_in_pieces_is_one_blob
            other_content_is_not_kept
            content_that_breaks_off_is_not_kept
            reading_damaged_bytes_ends_in_an_error
            what_is_removed_is_gone
            calls_run_in_parallel
        );
    };
    (@clauses $fixture:expr; $($clause:ident)*) => {$(
        #[tokio::test]
        async fn $clause() {
            $crate::contract::blob_store::$clause(&$fixture).await;
        }
    )*};
}
