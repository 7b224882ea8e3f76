//! What a browser sends: the fields of a query or of a form.

use std::sync::Arc;

use axum::extract::{Form, FromRequest, FromRequestParts, Query, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;

use super::notices::Notice;
use super::page::Failed;
use crate::http::Shared;
use crate::http::answer::Problem;
use crate::http::guard::Visitor;

/// Fields in the order in which they were sent; one that was left empty counts as not sent.
#[derive(Debug, Default, Clone)]
pub(super) struct Fields(Vec<(String, String)>);

impl Fields {
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, value)| known == name && !value.is_empty()).map(|(_, value)| value.as_str())
    }

    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(known, value)| known == name && !value.is_empty()).map(|(_, value)| value.as_str())
    }

    pub(super) fn owned(&self, name: &str) -> Option<String> {
        self.text(name).map(str::to_owned)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.text(name).is_some()
    }

    /// A number, where it is one.
    pub(super) fn number<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.text(name).and_then(|text| text.trim().parse().ok())
    }

    /// Where a form leads back to: the address that it names, where that is `page`, a part of its list or a page below,
    /// and can stand in a header as it is; else `page`.
    pub(super) fn back(&self, page: &str) -> String {
        let is_own = |back: &&str| {
            let below = back.strip_prefix(page).is_some_and(|rest| rest.is_empty() || rest.starts_with(['?', '/']));
            below && back.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
        };
        self.text("back").filter(is_own).unwrap_or(page).to_owned()
    }

    /// Those whose names begin with `prefix`, without it.
    pub(super) fn below<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        let filled = self.0.iter().filter(|(_, value)| !value.is_empty());
        filled.filter_map(move |(name, value)| Some((name.strip_prefix(prefix)?, value.as_str())))
    }
}

/// Who asks for a page, and for what of it.
pub(super) struct Guest {
    pub(super) visitor: Visitor,
    pub(super) query: Fields,
    /// What the form that led here came to.
    pub(super) notice: Option<Notice>,
}

impl FromRequestParts<Arc<Shared>> for Guest {
    type Rejection = Failed;

    async fn from_request_parts(parts: &mut Parts, shared: &Arc<Shared>) -> Result<Self, Failed> {
        let query = Query::<Vec<(String, String)>>::from_request_parts(parts, shared).await;
        let query = Fields(query.map_err(|error| Problem::bad_request(error.body_text()))?.0);
        let notice = query.text("notice").and_then(|id| shared.notices.find(id));
        Ok(Self { visitor: visitor(parts)?, query, notice })
    }
}

/// A form that somebody has sent who may.
pub(super) struct Sent {
    pub(super) visitor: Visitor,
    pub(super) fields: Fields,
}

impl<S: Send + Sync> FromRequest<S> for Sent {
    type Rejection = Failed;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failed> {
        let Unchecked { visitor, fields } = Unchecked::from_request(request, state).await?;
        if !visitor.operates() {
            let message = "you may only look; this needs a token with the role `operate`";
            return Err(Problem::new(StatusCode::FORBIDDEN, "forbidden", message).into());
        }
        own(&visitor, &fields)?;
        Ok(Self { visitor, fields })
    }
}

/// Refuses a form that is not of the visitor's own pages.
pub(super) fn own(visitor: &Visitor, fields: &Fields) -> Result<(), Failed> {
    if visitor.has_sent(fields.text("form_key").unwrap_or_default()) {
        return Ok(());
    }
    let message = "the form is of no page that this service has made for you since it was started; \
                   go back, load the page anew, and send it once more";
    Err(Problem::new(StatusCode::FORBIDDEN, "foreign_form", message).into())
}

/// A form of which nothing is known yet.
pub(super) struct Unchecked {
    pub(super) visitor: Visitor,
    pub(super) fields: Fields,
}

impl<S: Send + Sync> FromRequest<S> for Unchecked {
    type Rejection = Failed;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failed> {
        let (parts, body) = request.into_parts();
        let visitor = visitor(&parts)?;
        let form = Form::<Vec<(String, String)>>::from_request(Request::from_parts(parts, body), state).await;
        let fields = form.map_err(|error| Problem::new(error.status(), "bad_request", error.body_text()))?.0;
        Ok(Self { visitor, fields: Fields(fields) })
    }
}

fn visitor(parts: &Parts) -> Result<Visitor, Failed> {
    let missing = || engine_abi::Error::internal("nobody was let in; this is a bug of the engine");
    parts.extensions.get().cloned().ok_or_else(|| Problem::from(missing()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_field_is_none() {
        let fields = [("a", ""), ("id", "1"), ("id", "2"), ("param.day", "x"), ("param.n", "")];
        let fields = Fields(fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect());
        assert!(!fields.has("a") && fields.text("b").is_none());
        assert_eq!(fields.all("id").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(fields.number::<u64>("id"), Some(1));
        assert_eq!(fields.below("param.").collect::<Vec<_>>(), [("day", "x")]);
    }

    #[test]
    fn a_form_leads_back_to_its_own_pages_only() {
        let back = |value: &str| Fields(vec![("back".into(), value.into())]).back("/ui/a");
        for own in ["/ui/a", "/ui/a/7", "/ui/a?stage=sinks.db&after=7", "/ui/a?stage=%C3%A9%0d"] {
            assert_eq!(back(own), own);
        }
        for other in [
            "",
            "/",
            "//evil.example",
            "//evil.example/ui/a",
            "/\\evil.example",
            "https://evil.example/ui/a",
            "ui/a",
            "/ui/another",
            "/ui/a\\b",
            "/ui/a/\\evil.example",
            "/ui/a?\r\nset-cookie: a=b",
            "/ui/a?b c",
            "/ui/a?\u{7f}",
            "/ui/a?stage=é",
        ] {
            assert_eq!(back(other), "/ui/a", "{other:?}");
        }
        assert_eq!(Fields::default().back("/ui/a"), "/ui/a");
    }
}
