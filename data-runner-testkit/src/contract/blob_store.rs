//! The contract of [`BlobStore`], a clause a function; [`blob_store_contract!`](crate::blob_store_contract) makes one
//! test of each.

use std::sync::Arc;

use bytes::Bytes;
use data_runner_core::id::Sha256;
use data_runner_core::port::{BlobError, BlobStore};

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
