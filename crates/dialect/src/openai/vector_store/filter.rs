//! OpenAI's filters, as far as they say which files may be found.
//!
//! An index chooses by folders and files, by kinds, and by a span of time, all of which must hold. What a filter says
//! beyond that is refused by name rather than left out, since what was not to be found would be found.

use serde_json::Value;

use crate::{
    Error,
    limits::{FILTERS_MAX, MOMENT_S_MAX, SHORT_VALUE_BYTES_MAX, SOURCE_BYTES_MAX},
    read::{Object, Path},
};

/// Which files may be found. What is empty or absent does not restrict.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Files, or folders with everything below them.
    pub paths: Vec<String>,
    /// Kinds of files, such as `pdf`.
    pub kinds: Vec<String>,
    /// Changed at or after this moment, in seconds since 1970.
    pub changed_from: Option<i64>,
    /// Changed before this moment.
    pub changed_before: Option<i64>,
}

/// What can be chosen by.
const KEYS: &str = "path, kind and modified";

impl Filter {
    /// Reads a filter: a comparison, or several of them.
    pub(super) fn decode(path: &Path<'_>, value: Value) -> Result<Self, Error> {
        let mut fields = Object::new(path, value)?;
        let kind = fields.path("type");
        let word = fields.string("type")?.ok_or_else(|| kind.missing())?;
        match &*word {
            "and" => {
                let all = several(&mut fields)?.into_iter();
                all.enumerate().try_fold(Self::default(), |known, (at, filter)| {
                    known.and(filter).ok_or_else(|| twice(&fields, at))
                })
            }
            "or" => {
                let mut all = several(&mut fields)?.into_iter();
                let first = all.next().unwrap_or_default();
                all.enumerate().try_fold(first, |known, (at, filter)| {
                    known.or(filter).ok_or_else(|| different(&fields, at + 1))
                })
            }
            "eq" | "in" | "gt" | "gte" | "lt" | "lte" => comparison(&mut fields, &word),
            "ne" | "nin" => Err(kind.unsupported(format_args!(
                "is {word:?}, but files can be chosen only by what they are; write \"eq\" or \"in\""
            ))),
            _ => Err(kind.refuse(format_args!(
                "must be a comparison (\"eq\", \"in\", \"gt\", \"gte\", \"lt\", \"lte\"), \"and\" or \"or\", but it is \
                 {word:?}"
            ))),
        }
    }

    /// What both let through; nothing where that cannot be said.
    fn and(self, other: Self) -> Option<Self> {
        let one = |a: Vec<String>, b: Vec<String>| match (a.is_empty(), b.is_empty()) {
            (_, true) => Some(a),
            (true, false) => Some(b),
            (false, false) => None,
        };
        let both = |a: Option<i64>, b: Option<i64>, choose: fn(i64, i64) -> i64| match (a, b) {
            (Some(a), Some(b)) => Some(choose(a, b)),
            (a, b) => a.or(b),
        };
        Some(Self {
            paths: one(self.paths, other.paths)?,
            kinds: one(self.kinds, other.kinds)?,
            changed_from: both(self.changed_from, other.changed_from, i64::max),
            changed_before: both(self.changed_before, other.changed_before, i64::min),
        })
    }

    /// What either lets through; nothing where that cannot be said.
    fn or(mut self, mut other: Self) -> Option<Self> {
        let only_paths = |it: &Self| *it == Self { paths: it.paths.clone(), ..Self::default() };
        let only_kinds = |it: &Self| *it == Self { kinds: it.kinds.clone(), ..Self::default() };
        let is_alike =
            (only_paths(&self) && only_paths(&other)) || (only_kinds(&self) && only_kinds(&other));
        self.paths.append(&mut other.paths);
        self.kinds.append(&mut other.kinds);
        is_alike.then_some(self)
    }
}

/// The filters of a compound one.
fn several(fields: &mut Object<'_>) -> Result<Vec<Filter>, Error> {
    let path = fields.path("filters");
    let list = fields.list("filters", FILTERS_MAX)?.ok_or_else(|| path.missing())?;
    if list.is_empty() {
        return Err(path.refuse("must not be empty"));
    }
    let one = |(at, value)| Filter::decode(&Path::Index(&path, at), value);
    list.into_iter().enumerate().map(one).collect()
}

fn twice(fields: &Object<'_>, at: usize) -> Error {
    let path = fields.path("filters");
    Path::Index(&path, at).unsupported(
        "names what another filter of \"and\" names too; name path and kind once each, with \"in\" for several",
    )
}

fn different(fields: &Object<'_>, at: usize) -> Error {
    let path = fields.path("filters");
    Path::Index(&path, at).unsupported(
        "is joined by \"or\" to a filter of something else; only several paths or several kinds can be: search twice",
    )
}

fn comparison(fields: &mut Object<'_>, word: &str) -> Result<Filter, Error> {
    let path = fields.path("key");
    let key = fields.string("key")?.ok_or_else(|| path.missing())?;
    let texts = |fields: &mut Object<'_>, bytes_max| {
        if matches!(word, "eq" | "in") {
            return texts(fields, word, bytes_max);
        }
        Err(fields.path("type").unsupported(format_args!(
            "is {word:?}, but {key} has no order; write \"eq\" or \"in\""
        )))
    };
    match &*key {
        "path" => Ok(Filter { paths: texts(fields, SOURCE_BYTES_MAX)?, ..Filter::default() }),
        "kind" => Ok(Filter { kinds: texts(fields, SHORT_VALUE_BYTES_MAX)?, ..Filter::default() }),
        "modified" => span(fields, word),
        _ => Err(path.unsupported(format_args!(
            "is {key:?}, but files can be chosen by {KEYS} alone; leave it out, and look at the attributes of what is \
             found"
        ))),
    }
}

/// One text, or with `in` several.
fn texts(fields: &mut Object<'_>, word: &str, bytes_max: usize) -> Result<Vec<String>, Error> {
    let path = fields.path("value");
    let value = fields.take("value").ok_or_else(|| path.missing())?;
    let one = |path: &Path<'_>, value| {
        let text = path.string(value)?;
        if text.is_empty() {
            return Err(path.refuse("must not be an empty string"));
        }
        path.bytes_at_most(text.len(), bytes_max)?;
        Ok(text)
    };
    if word == "eq" {
        return Ok(vec![one(&path, value)?]);
    }
    let list = path.list(value, FILTERS_MAX)?;
    if list.is_empty() {
        return Err(path.refuse("must not be empty"));
    }
    let entry = |(at, value)| one(&Path::Index(&path, at), value);
    list.into_iter().enumerate().map(entry).collect()
}

/// A span of time, in whole seconds.
fn span(fields: &mut Object<'_>, word: &str) -> Result<Filter, Error> {
    if word == "in" {
        let why =
            "is \"in\", but a moment is chosen by \"eq\", \"gt\", \"gte\", \"lt\" and \"lte\"";
        return Err(fields.path("type").unsupported(why));
    }
    let path = fields.path("value");
    let moment =
        fields.integer("value", -MOMENT_S_MAX..=MOMENT_S_MAX)?.ok_or_else(|| path.missing())?;
    let (from, before) = match word {
        "gt" => (Some(moment + 1), None),
        "gte" => (Some(moment), None),
        "lt" => (None, Some(moment)),
        "lte" => (None, Some(moment + 1)),
        _ => (Some(moment), Some(moment + 1)),
    };
    Ok(Filter { changed_from: from, changed_before: before, ..Filter::default() })
}
