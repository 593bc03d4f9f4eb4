//! Who may ask for what: API tokens, and what each lets its bearer do.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use subtle::{Choice, ConditionallySelectable as _, ConstantTimeEq as _};

use crate::id::{InvalidId, Sha256, TokenId, TokenName};
use crate::time::{Entropy, Timestamp};

/// What a token lets its bearer do. Each includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Look at everything but tokens.
    Read,
    /// Run what is registered, or a folder of one's own, and end it.
    Run,
    /// Everything: register code, end workers, make tokens.
    Admin,
}

impl Scope {
    /// Every scope, the weakest first.
    pub const ALL: [Self; 3] = [Self::Read, Self::Run, Self::Admin];

    /// The name as people write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Run => "run",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Scope {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == text).ok_or_else(|| InvalidId {
            what: "scope",
            given: text.to_owned(),
            expected: "read, run or admin",
        })
    }
}

/// A token as it is kept: enough to know it again, not enough to use it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Its id.
    pub id: TokenId,
    /// What people call it; unique.
    pub name: TokenName,
    /// What it lets its bearer do.
    pub scope: Scope,
    /// The SHA-256 of its secret.
    pub hash: Sha256,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it is worth nothing; `None`: until it is revoked.
    pub expires_at: Option<Timestamp>,
    /// When it was last used, to the minute; `None`: never.
    pub last_used_at: Option<Timestamp>,
}

/// What the bearer of a token shows: `dr_` and 256 random bits in hexadecimal. It is shown once, when it is made, and
/// kept nowhere. The prefix lets scanners find a secret that was published by mistake.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenSecret(String);

impl TokenSecret {
    /// What every secret begins with.
    pub const PREFIX: &'static str = "dr_";

    /// A new one.
    pub fn generate(entropy: &mut Entropy) -> Self {
        Self(format!("{}{}", Self::PREFIX, hex::encode(entropy.secret())))
    }

    /// The text that its bearer sends.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What is kept of it. It needs no salt and no slow hash: nobody guesses 256 random bits.
    pub fn hash(&self) -> Sha256 {
        Sha256::of(self.0.as_bytes())
    }
}

impl From<String> for TokenSecret {
    /// Whatever somebody sends; one that is no secret of ours has no token.
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for TokenSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenSecret(…)")
    }
}

/// Why a bearer may not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// No token has this secret.
    #[error("this token is not known here")]
    Unknown,
    /// The token's time is over.
    #[error("the token {name} has expired at {at}")]
    Expired {
        /// The token.
        name: TokenName,
        /// When.
        at: Timestamp,
    },
    /// The token may do less.
    #[error("the token {name} has the scope {has}, this needs {needs}")]
    TooWeak {
        /// The token.
        name: TokenName,
        /// What it may do.
        has: Scope,
        /// What is needed.
        needs: Scope,
    },
}

/// The token that belongs to `secret`, if it lets its bearer do what needs the scope `needs`.
///
/// Every token is compared, and each to its last byte: how long it takes says nothing about what is kept.
///
/// # Errors
/// Why not.
pub fn admit<'t>(
    tokens: &'t [Token],
    secret: &TokenSecret,
    needs: Scope,
    now: Timestamp,
) -> Result<&'t Token, Refused> {
    let hash = secret.hash();
    let mut place = u64::MAX;
    for (index, token) in (0_u64..).zip(tokens) {
        let same: Choice = token.hash.as_str().as_bytes().ct_eq(hash.as_str().as_bytes());
        place.conditional_assign(&index, same);
    }
    let found = usize::try_from(place).ok().and_then(|place| tokens.get(place));
    let token = found.ok_or(Refused::Unknown)?;
    if let Some(at) = token.expires_at
        && at <= now
    {
        return Err(Refused::Expired { name: token.name.clone(), at });
    }
    if token.scope < needs {
        return Err(Refused::TooWeak { name: token.name.clone(), has: token.scope, needs });
    }
    Ok(token)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Duration;

    use super::*;

    const NOW: Timestamp = Timestamp::from_micros(1_785_542_400_000_000);

    fn token(name: &str, secret: &TokenSecret, scope: Scope) -> Token {
        Token {
            id: TokenId::generate(NOW, &mut Entropy::from_number(1)),
            name: name.parse().unwrap(),
            scope,
            hash: secret.hash(),
            created_at: NOW,
            expires_at: None,
            last_used_at: None,
        }
    }

    fn secrets() -> [TokenSecret; 3] {
        let mut entropy = Entropy::from_number(7);
        [(); 3].map(|()| TokenSecret::generate(&mut entropy))
    }

    #[test]
    fn a_secret_has_256_bits_a_prefix_and_no_debug() {
        let [a, b, _] = secrets();
        assert!(a.reveal().starts_with("dr_") && a.reveal().len() == 3 + 64, "{}", a.reveal());
        assert_ne!(a, b);
        assert!(!format!("{a:?}").contains(&a.reveal()[3..9]));
        assert!(!token("ci", &a, Scope::Run).hash.as_str().contains(&a.reveal()[3..9]), "kept as its hash");
    }

    #[test]
    fn a_secret_finds_its_own_token_wherever_that_stands() {
        let secrets = secrets();
        let tokens: Vec<Token> = ["a", "b", "c"]
            .iter()
            .zip(&secrets)
            .map(|(name, secret)| token(name, secret, Scope::Run))
            .collect();
        for (secret, own) in secrets.iter().zip(&tokens) {
            assert_eq!(admit(&tokens, secret, Scope::Read, NOW), Ok(own));
        }
        let other = TokenSecret::from("dr_".to_owned() + &"0".repeat(64));
        assert_eq!(admit(&tokens, &other, Scope::Read, NOW), Err(Refused::Unknown));
        assert_eq!(
            admit(&tokens, &TokenSecret::from(String::new()), Scope::Read, NOW),
            Err(Refused::Unknown)
        );
        let hash_as_secret = TokenSecret::from(tokens[0].hash.to_string());
        assert_eq!(admit(&tokens, &hash_as_secret, Scope::Read, NOW), Err(Refused::Unknown));
        assert_eq!(admit(&[], &secrets[0], Scope::Read, NOW), Err(Refused::Unknown));
    }

    #[test]
    fn a_scope_includes_the_weaker_ones_and_no_stronger_one() {
        let [secret, ..] = secrets();
        for has in Scope::ALL {
            let tokens = [token("t", &secret, has)];
            for needs in Scope::ALL {
                assert_eq!(admit(&tokens, &secret, needs, NOW).is_ok(), needs <= has, "{has} for {needs}");
            }
        }
    }

    #[test]
    fn a_token_is_worth_nothing_from_its_end_on() {
        let [secret, ..] = secrets();
        let end = NOW.after(Duration::from_secs(60));
        let tokens = [Token { expires_at: Some(end), ..token("t", &secret, Scope::Admin) }];
        let just_before = NOW.after(Duration::from_secs(59));
        assert!(admit(&tokens, &secret, Scope::Read, just_before).is_ok());
        assert!(matches!(admit(&tokens, &secret, Scope::Read, end), Err(Refused::Expired { .. })));
    }
}
