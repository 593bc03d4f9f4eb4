//! The source and the blob store in memory keep their contracts.
#![cfg(feature = "source")]
#![allow(clippy::unwrap_used, missing_docs)]

mod source {
    use std::sync::Arc;

    use async_trait::async_trait;
    use data_runner_core::port::WorkflowSource;
    use data_runner_testkit::contract::workflow_source::SourceFixture;
    use data_runner_testkit::memory::workflow_source::{MemorySource, RepoFiles};

    #[async_trait]
    impl SourceFixture for Fixture {
        fn source(&self) -> Arc<dyn WorkflowSource> {
            Arc::new(self.0.clone())
        }

        fn elsewhere(&self) -> Arc<dyn WorkflowSource> {
            Arc::new(self.0.clone())
        }

        fn reference(&self) -> &str {
            "main"
        }

        async fn publish(&self, files: &RepoFiles) {
            self.0.publish("main", files.clone());
        }
    }

    struct Fixture(MemorySource);

    data_runner_testkit::workflow_source_contract!(Fixture(MemorySource::new()));
}

mod blobs {
    use std::sync::Arc;

    use bytes::Bytes;
    use data_runner_core::id::Sha256;
    use data_runner_core::port::BlobStore;
    use data_runner_testkit::contract::blob_store::BlobFixture;
    use data_runner_testkit::memory::blob_store::MemoryBlobs;

    struct Fixture(MemoryBlobs);

    impl BlobFixture for Fixture {
        fn store(&self) -> Arc<dyn BlobStore> {
            Arc::new(self.0.clone())
        }

        fn reopened(&self) -> Arc<dyn BlobStore> {
            Arc::new(self.0.clone())
        }

        fn damage(&self, hash: &Sha256, bytes: &[u8]) {
            self.0.damage(hash, Bytes::copy_from_slice(bytes));
        }
    }

    data_runner_testkit::blob_store_contract!(Fixture(MemoryBlobs::new()));
}
