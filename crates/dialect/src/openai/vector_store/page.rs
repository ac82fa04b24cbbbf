//! Pages of a list of stores.

use serde::Serialize;

use super::{Entry, Store};
use crate::{Error, limits::STORES_PAGE_MAX, write::to_json};

/// Stores of a page where nobody says how many.
const PAGE_DEFAULT: usize = 20;

/// Which of many stores are shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    limit: Option<usize>,
    is_descending: bool,
    after: Option<String>,
    before: Option<String>,
}

impl Page {
    /// Reads the query of `GET /v1/vector_stores`.
    ///
    /// # Errors
    /// Names the field that is wrong and what it should be.
    pub fn decode<'q>(query: impl Iterator<Item = (&'q str, &'q str)>) -> Result<Self, Error> {
        let mut page = Self::default();
        for (key, value) in query {
            let refuse = |why: String| {
                let message = format!("{key} must be {why}, but it is {value:?}");
                Error::invalid(message).at(key).code("invalid_value")
            };
            match key {
                "limit" => {
                    let limit =
                        value.parse().ok().filter(|limit| (1..=STORES_PAGE_MAX).contains(limit));
                    let expected = || refuse(format!("a number from 1 to {STORES_PAGE_MAX}"));
                    page.limit = Some(limit.ok_or_else(expected)?);
                }
                "order" => {
                    page.is_descending = match value {
                        "asc" => false,
                        "desc" => true,
                        _ => return Err(refuse("\"asc\" or \"desc\"".to_owned())),
                    };
                }
                "after" => page.after = Some(value.to_owned()),
                "before" => page.before = Some(value.to_owned()),
                _ => {}
            }
        }
        Ok(page)
    }
}

/// The answer to `GET /v1/vector_stores`: a page of `stores`, which are in the order of their names.
///
/// # Errors
/// The page begins or ends at a store that is not there.
pub fn list(stores: &[Store], page: &Page) -> Result<String, Error> {
    #[derive(Serialize)]
    struct List<'a> {
        object: &'static str,
        data: Vec<Entry<'a>>,
        first_id: Option<&'a str>,
        last_id: Option<&'a str>,
        has_more: bool,
    }
    let mut shown: Vec<&Store> = stores.iter().collect();
    if page.is_descending {
        shown.reverse();
    }
    let at = |shown: &[&Store], key: &str, id: &String| {
        shown.iter().position(|store| store.id == *id).ok_or_else(|| {
            let message = format!("{key} is {id:?}, and no vector store has this id");
            Error::invalid(message).at(key).code("invalid_value")
        })
    };
    if let Some(id) = &page.after {
        shown.drain(..=at(&shown, "after", id)?);
    }
    let limit = page.limit.unwrap_or(PAGE_DEFAULT);
    let has_more = match &page.before {
        // The page ends there, and what there is more of comes before it.
        Some(id) => {
            shown.truncate(at(&shown, "before", id)?);
            let more = shown.len().saturating_sub(limit);
            shown.drain(..more);
            more > 0
        }
        None => {
            let more = shown.len() > limit;
            shown.truncate(limit);
            more
        }
    };
    Ok(to_json(&List {
        object: "list",
        first_id: shown.first().map(|store| &*store.id),
        last_id: shown.last().map(|store| &*store.id),
        data: shown.into_iter().map(Entry::new).collect(),
        has_more,
    }))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn names(query: &[(&str, &str)]) -> Result<(Vec<String>, bool), Error> {
        let store = |id: &str| Store { id: id.to_owned(), ..Store::default() };
        let stores = ["a", "b", "c", "d"].map(store);
        let page = Page::decode(query.iter().copied())?;
        let answer: Value = serde_json::from_str(&list(&stores, &page)?).unwrap();
        let data = answer["data"].as_array().unwrap();
        assert_eq!(answer["first_id"], data.first().map_or(Value::Null, |one| one["id"].clone()));
        assert_eq!(answer["last_id"], data.last().map_or(Value::Null, |one| one["id"].clone()));
        let names = data.iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect();
        Ok((names, answer["has_more"] == true))
    }

    #[track_caller]
    fn check(query: &[(&str, &str)], expected: &str, has_more: bool) {
        let (names, more) = names(query).unwrap();
        assert_eq!((names.concat().as_str(), more), (expected, has_more));
    }

    #[test]
    fn pages_follow_each_other() {
        check(&[], "abcd", false);
        check(&[("limit", "2")], "ab", true);
        check(&[("limit", "2"), ("after", "b")], "cd", false);
        check(&[("order", "desc"), ("limit", "3")], "dcb", true);
        check(&[("limit", "2"), ("before", "d")], "bc", true);
        check(&[("after", "a"), ("before", "d")], "bc", false);
        check(&[("after", "d")], "", false);
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        for (key, value) in
            [("limit", "0"), ("limit", "x"), ("order", "up"), ("after", "z"), ("before", "z")]
        {
            let error = names(&[(key, value)]).unwrap_err();
            assert_eq!((error.status, error.param.as_deref()), (400, Some(key)), "{error}");
        }
    }
}
