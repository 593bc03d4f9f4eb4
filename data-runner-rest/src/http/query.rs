//! Query strings: each parameter is taken by name; what is left over was misspelt, and is refused.

use std::str::FromStr;

use axum::extract::{FromRequestParts, Query};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::request::Parts;

use super::refusal::{Kind, Refusal};
use crate::api::Fault;

/// The parameters of a query that were not taken yet.
pub(crate) struct Params(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        match Query::<Vec<(String, String)>>::from_request_parts(parts, state).await {
            Ok(Query(pairs)) => Ok(Self(pairs)),
            Err(rejection) => Err(Refusal::new(Kind::MalformedRequest, rejection.body_text())),
        }
    }
}

impl Params {
    /// All values of a parameter.
    pub(crate) fn all(&mut self, name: &str) -> Vec<String> {
        self.0.extract_if(.., |(given, _)| given == name).map(|(_, value)| value).collect()
    }

    /// The one value of a parameter; one that is empty is as good as absent.
    pub(crate) fn one(&mut self, name: &str) -> Result<Option<String>, Refusal> {
        let mut values = self.all(name);
        if values.len() > 1 {
            return Err(invalid(name, "is given more than once"));
        }
        Ok(values.pop().filter(|value| !value.is_empty()))
    }

    /// A value, read as what `expected` says.
    pub(crate) fn read<T>(
        &mut self,
        name: &str,
        expected: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, Refusal> {
        let Some(text) = self.one(name)? else {
            return Ok(None);
        };
        let value =
            read(&text).ok_or_else(|| invalid(name, &format!("is {text:?}; expected is {expected}")))?;
        Ok(Some(value))
    }

    /// A number.
    pub(crate) fn number<T: FromStr>(&mut self, name: &str) -> Result<Option<T>, Refusal> {
        self.read(name, "a whole number", |text| text.parse().ok())
    }

    /// A switch; absent is off.
    pub(crate) fn switch(&mut self, name: &str) -> Result<bool, Refusal> {
        let read = |text: &str| match text {
            "true" | "1" => Some(true),
            "false" | "0" => Some(false),
            _ => None,
        };
        Ok(self.read(name, "true or false", read)?.unwrap_or(false))
    }

    /// Refuses what nobody took.
    pub(crate) fn finish(self) -> Result<(), Refusal> {
        self.0.first().map_or(Ok(()), |(name, _)| Err(invalid(name, "is unknown to this route")))
    }

    /// How much of a listing is wanted, and from where.
    pub(crate) fn page(&mut self, listing: Listing) -> Result<PageWanted, Refusal> {
        const MOST: usize = 500;
        const USUAL: usize = 50;
        let limit = self
            .read("limit", "1 to 500", |text| text.parse().ok().filter(|limit| (1..=MOST).contains(limit)))?;
        let cursor = self.one("cursor")?;
        let after = cursor.map(|cursor| {
            listing.open(&cursor).ok_or_else(|| {
                Refusal::new(Kind::InvalidCursor, "a cursor comes from `next_cursor` of the same listing")
            })
        });
        Ok(PageWanted { limit: limit.unwrap_or(USUAL), after: after.transpose()? })
    }
}

/// How much of a listing is wanted, and from where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PageWanted {
    /// At most so many.
    pub(crate) limit: usize,
    /// After this one.
    pub(crate) after: Option<String>,
}

/// Which listing a cursor belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Listing {
    Executions,
    Groups,
    Workflows,
    Workers,
    Repos,
    Events,
    Tokens,
}

impl Listing {
    const fn mark(self) -> char {
        match self {
            Self::Executions => 'x',
            Self::Groups => 'g',
            Self::Workflows => 'w',
            Self::Workers => 'k',
            Self::Repos => 'r',
            Self::Events => 'e',
            Self::Tokens => 't',
        }
    }

    /// The cursor of the place after `key`.
    pub(crate) fn cursor(self, key: &str) -> String {
        URL_SAFE_NO_PAD.encode(format!("{}{key}", self.mark()))
    }

    fn open(self, cursor: &str) -> Option<String> {
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
        text.strip_prefix(self.mark()).map(ToOwned::to_owned)
    }

    /// The key of a cursor as what it is made of.
    pub(crate) fn key<T: FromStr>(self, wanted: &PageWanted) -> Result<Option<T>, Refusal> {
        let parse = |text: &String| {
            text.parse()
                .map_err(|_| Refusal::new(Kind::InvalidCursor, "the cursor is not one that was given out"))
        };
        wanted.after.as_ref().map(parse).transpose()
    }
}

pub(crate) fn invalid(name: &str, what: &str) -> Refusal {
    let fault = Fault {
        pointer: None,
        file: None,
        line: None,
        column: None,
        code: "invalid_parameter".to_owned(),
        message: format!("`{name}` {what}"),
        help: None,
    };
    Refusal::new(Kind::InvalidParameter, format!("the query parameter `{name}` {what}")).with([fault])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    fn params(pairs: &[(&str, &str)]) -> Params {
        Params(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn a_cursor_is_of_one_listing_only() {
        let cursor = Listing::Workflows.cursor("samples/orders");
        let mut good = params(&[("cursor", &cursor)]);
        assert_eq!(good.page(Listing::Workflows).unwrap().after.as_deref(), Some("samples/orders"));
        for bad in [cursor.as_str(), "!!", "AAAA"] {
            let refused = params(&[("cursor", bad)]).page(Listing::Executions).unwrap_err();
            assert_eq!(refused.problem().kind, "urn:data-runner:problem:invalid_cursor");
        }
    }

    #[test]
    fn a_misspelt_a_doubled_and_an_unreadable_parameter_are_refused_by_name() {
        let mut doubled = params(&[("tail", "1"), ("tail", "2")]);
        assert!(doubled.one("tail").unwrap_err().problem().detail.unwrap().contains("`tail`"));
        let left = params(&[("tial", "1")]);
        assert!(left.finish().unwrap_err().problem().detail.unwrap().contains("`tial`"));
        let mut wrong = params(&[("limit", "0")]);
        assert!(wrong.page(Listing::Repos).unwrap_err().problem().detail.unwrap().contains("1 to 500"));
    }
}
