//! The contract of [`TokenStore`](data_runner_core::port::TokenStore).
//!
//! An adapter runs it by `data_runner_testkit::token_store_contract!(fixture)`, with a
//! [`StoreFixture`](super::state_store::StoreFixture).

use std::time::Duration;

use data_runner_core::access::{Scope, Token, TokenSecret};
use data_runner_core::id::TokenId;
use data_runner_core::port::TokenCreated;
use data_runner_core::time::Entropy;

use super::state_store::{StoreFixture, acquired, put};
use crate::sample::{at, execution, uuid};

fn token(n: u64, name: &str) -> Token {
    Token {
        id: TokenId::from_uuid(uuid(n)),
        name: name.parse().expect("a name"),
        scope: Scope::ALL[n as usize % Scope::ALL.len()],
        hash: TokenSecret::generate(&mut Entropy::from_number(n)).hash(),
        created_at: at(n as i64),
        expires_at: n.is_multiple_of(2).then(|| at(n as i64).after(Duration::from_secs(60))),
        last_used_at: None,
    }
}

/// Every field comes back, after a crash too.
pub async fn what_was_created_comes_back_in_order_of_names(fixture: &dyn StoreFixture) {
    let store = fixture.open().await;
    assert_eq!(store.tokens().await.expect("read"), []);
    let tokens = [token(1, "zoe"), token(2, "ci"), token(3, "0-first")];
    for token in &tokens {
        assert_eq!(store.create_token(token.clone()).await.expect("create"), TokenCreated::Created);
    }
    let [zoe, ci, first] = tokens;
    let expected = [first, ci, zoe];
    assert_eq!(store.tokens().await.expect("read"), expected);
    fixture.crash(store).await;
    assert_eq!(fixture.open().await.tokens().await.expect("read"), expected);
}

/// A name stands for one token; the second one is not kept in any form.
pub async fn a_name_is_given_once(fixture: &dyn StoreFixture) {
    let store = fixture.open().await;
    store.create_token(token(1, "ci")).await.expect("create");
    assert_eq!(store.create_token(token(2, "ci")).await.expect("answer"), TokenCreated::NameTaken);
    assert_eq!(store.tokens().await.expect("read"), [token(1, "ci")]);
}

/// It is gone at once and for good, and its name can be used again.
pub async fn a_revoked_token_is_gone_and_its_name_free(fixture: &dyn StoreFixture) {
    let store = fixture.open().await;
    store.create_token(token(1, "ci")).await.expect("create");
    store.create_token(token(2, "other")).await.expect("create");
    assert_eq!(store.revoke_token(token(1, "ci").id).await.expect("revoke"), Some(token(1, "ci")));
    assert_eq!(store.tokens().await.expect("read"), [token(2, "other")]);
    assert_eq!(store.revoke_token(token(1, "ci").id).await.expect("revoke"), None);
    assert_eq!(store.create_token(token(3, "ci")).await.expect("create"), TokenCreated::Created);
}

/// The newest use counts, in whatever order uses are told; a revoked token does not come back by being used.
pub async fn the_last_use_is_remembered(fixture: &dyn StoreFixture) {
    let store = fixture.open().await;
    store.create_token(token(1, "ci")).await.expect("create");
    for second in [100, 160, 130] {
        store.token_used(token(1, "ci").id, at(second)).await.expect("used");
    }
    let read = store.tokens().await.expect("read");
    assert_eq!(read, [Token { last_used_at: Some(at(160)), ..token(1, "ci") }]);
    store.revoke_token(token(1, "ci").id).await.expect("revoke");
    store.token_used(token(1, "ci").id, at(200)).await.expect("nothing to do");
    assert_eq!(store.tokens().await.expect("read"), []);
}

/// The operator's command makes tokens on the supervisor's host while that is at work.
pub async fn another_process_makes_and_revokes_beside_the_supervisor(fixture: &dyn StoreFixture) {
    let (supervisor, epoch) = acquired(fixture).await;
    put(&*supervisor, epoch, &execution(1)).await;
    let command = fixture.open().await;
    assert_eq!(command.create_token(token(1, "ci")).await.expect("create"), TokenCreated::Created);
    assert_eq!(supervisor.tokens().await.expect("read"), [token(1, "ci")]);
    put(&*supervisor, epoch, &execution(2)).await;
    supervisor.token_used(token(1, "ci").id, at(9)).await.expect("used");
    assert_eq!(command.tokens().await.expect("read")[0].last_used_at, Some(at(9)));
    command.revoke_token(token(1, "ci").id).await.expect("revoke");
    assert_eq!(supervisor.tokens().await.expect("read"), []);
    put(&*supervisor, epoch, &execution(3)).await;
}

/// The contract of a TokenStore, a test a clause, in a module `token_store`.
#[macro_export]
macro_rules! token_store_contract {
    ($fixture:expr) => {
        $crate::store_clauses!($fixture, token_store:
            what_was_created_comes_back_in_order_of_names
            a_name_is_given_once
            a_revoked_token_is_gone_and_its_name_free
            the_last_use_is_remembered
            another_process_makes_and_revokes_beside_the_supervisor
        );
    };
}
