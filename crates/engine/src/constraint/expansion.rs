//! How large a schema becomes where parts of it meet: llguidance writes out what several parts say of one
//! place together, with a copy for each way in which their alternatives can be combined, and follows
//! references for that. A few kilobytes can come to more than any memory so; what might is refused.
//!
//! The figure is an upper bound in values of the schema: a union of `n` alternatives that meets another
//! of `m` counts both sizes for each of the `n · m` pairs, and what one part says of any name counts for each
//! name of another. All places where parts meet are added up, since
//! each has a copy of its own.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::check::{schemas, shortened};
use crate::limits::{EXPANDED_VALUES_MAX, REFERENCES_DEPTH_MAX};

/// Keywords that say nothing about which values are right.
const ANNOTATIONS: [&str; 17] = [
    "$anchor",
    "$comment",
    "$defs",
    "$id",
    "$schema",
    "default",
    "definitions",
    "deprecated",
    "description",
    "discriminator",
    "example",
    "examples",
    "nullable",
    "readOnly",
    "title",
    "writeOnly",
    // Options of the compiler, which are replaced.
    "x-guidance",
];

/// Keywords that combine schemas.
const COMBINES: [&str; 3] = ["allOf", "anyOf", "oneOf"];

/// Keywords of schemas by the names of what they are for.
const NAMES: [&str; 2] = ["patternProperties", "properties"];

/// Keywords of schemas for all that has none of its own.
const SPREAD: [&str; 4] = ["additionalItems", "additionalProperties", "items", "patternProperties"];

/// What all places where parts of the schema meet come to, with all that is defined in it and on top of what
/// `before` came to. Over the bound it is an error.
pub(super) fn check(schema: &Value, before: u64) -> Result<u64, String> {
    let mut expansion =
        Expansion { root: schema, known: BTreeMap::new(), followed: 0, total: before };
    expansion.everywhere(schema)?;
    Ok(expansion.total)
}

/// Levels of names in names that are told apart.
const LEVELS: usize = 6;

/// What a schema comes to.
#[derive(Debug, Clone, Copy)]
struct Measure {
    /// Alternatives of which each has to be combined with those of what it meets.
    alternatives: u64,
    /// Values of all of them together.
    values: u64,
    /// What stands in it, level by level; the last one has all that is deeper.
    levels: [Level; LEVELS],
}

/// What stands in a schema at one depth.
#[derive(Debug, Clone, Copy, Default)]
struct Level {
    /// Properties and items that have a schema of their own.
    names: u64,
    /// Values of schemas for any others, which are copied for each name of what they meet.
    spread: u64,
}

impl Level {
    fn plus(self, other: Self) -> Self {
        Self {
            names: self.names.saturating_add(other.names),
            spread: self.spread.saturating_add(other.spread),
        }
    }

    fn times(self, count: u64) -> Self {
        Self { names: self.names.saturating_mul(count), spread: self.spread.saturating_mul(count) }
    }
}

impl Measure {
    const ONE: Self =
        Self { alternatives: 1, values: 1, levels: [Level { names: 0, spread: 0 }; LEVELS] };

    /// A value that is no schema.
    fn of_data(value: &Value) -> Self {
        let mut all = Self::ONE;
        let mut add = |value: &Value| {
            all.add_inner(Self::of_data(value));
            all.levels[0].names += 1;
        };
        match value {
            Value::Array(entries) => entries.iter().for_each(add),
            Value::Object(fields) => fields.values().for_each(&mut add),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
        all
    }

    /// Adds what stands in it, one level deeper.
    fn add_inner(&mut self, inner: Self) {
        self.values = self.values.saturating_add(inner.values);
        for (depth, level) in inner.levels.into_iter().enumerate() {
            let place = &mut self.levels[(depth + 1).min(LEVELS - 1)];
            *place = place.plus(level);
        }
    }

    /// Two that hold for one place together.
    fn meets(self, other: Self) -> Self {
        let levels = self.levels.into_iter().zip(other.levels);
        let mut met = Self {
            alternatives: self.alternatives.saturating_mul(other.alternatives),
            values: (self.values.saturating_mul(other.alternatives))
                .saturating_add(other.values.saturating_mul(self.alternatives)),
            levels: std::array::from_fn(|depth| {
                let (mine, others) = (self.levels[depth], other.levels[depth]);
                mine.times(other.alternatives).plus(others.times(self.alternatives))
            }),
        };
        for (depth, (mine, others)) in levels.enumerate() {
            for (names, spread, copied) in
                [(mine.names, others.spread, &other), (others.names, mine.spread, &self)]
            {
                met.values = met.values.saturating_add(names.saturating_mul(spread));
                // With what is copied comes what stands in it.
                let is_copied = names > 0 && spread > 0;
                for deeper in (depth + 1..LEVELS).filter(|_| is_copied) {
                    met.levels[deeper] =
                        met.levels[deeper].plus(copied.levels[deeper].times(names));
                }
            }
        }
        met
    }

    /// Parts that hold for one place together.
    fn together(parts: &[Self]) -> Self {
        let none = Self { values: 0, ..Self::ONE };
        parts.iter().fold(none, |met, part| met.meets(*part))
    }

    /// Parts of which one holds.
    fn either(parts: &[Self]) -> Self {
        let none = Self { alternatives: 0, ..Self::ONE };
        let sum = parts.iter().fold(none, |sum, part| Self {
            alternatives: sum.alternatives.saturating_add(part.alternatives),
            values: sum.values.saturating_add(part.values),
            levels: std::array::from_fn(|depth| sum.levels[depth].plus(part.levels[depth])),
        });
        // What meets no alternative at all has met its other parts before.
        Self { alternatives: sum.alternatives.max(1), ..sum }
    }
}

struct Expansion<'s> {
    root: &'s Value,
    /// What is referred to: how large it is where it meets something, or nothing as long as that is being
    /// found out.
    known: BTreeMap<&'s str, Option<Measure>>,
    /// References that are being followed, one from within the other.
    followed: usize,
    /// What all places looked at come to.
    total: u64,
}

impl<'s> Expansion<'s> {
    /// Looks at each schema by itself: only parts that meet are written out.
    fn everywhere(&mut self, schema: &'s Value) -> Result<(), String> {
        match schema {
            Value::Array(entries) => entries.iter().try_for_each(|entry| self.everywhere(entry)),
            Value::Object(fields) => {
                if parts_of(fields) > 1 {
                    // It counts all that is in it, too.
                    self.total = self.total.saturating_add(self.merged(schema)?.values);
                    return within(self.total);
                }
                schemas(fields).try_for_each(|(_, schema)| self.everywhere(schema))
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
        }
    }

    /// What a schema, or a list of some, comes to where it meets another.
    fn merged(&mut self, schema: &'s Value) -> Result<Measure, String> {
        match schema {
            Value::Object(fields) => self.together(fields),
            Value::Array(entries) => {
                let mut all = Measure::ONE;
                for entry in entries {
                    all.add_inner(self.merged(entry)?);
                    all.levels[0].names += u64::from(entry.is_object() || entry.is_boolean());
                }
                bounded(all)
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(Measure::ONE),
        }
    }

    /// The parts of a schema that hold for one place together: each union, each schema of `allOf`, what is
    /// referred to, and all that is said directly.
    fn together(&mut self, fields: &'s Map<String, Value>) -> Result<Measure, String> {
        let (mut parts, mut direct) = (Vec::new(), Measure::ONE);
        for (key, value) in fields {
            match (&**key, value) {
                ("anyOf" | "oneOf", Value::Array(schemas)) => {
                    let either = schemas.iter().map(|schema| self.merged(schema));
                    parts.push(bounded(Measure::either(&either.collect::<Result<Vec<_>, _>>()?))?);
                }
                ("allOf", Value::Array(schemas)) => {
                    for schema in schemas {
                        parts.push(self.merged(schema)?);
                    }
                }
                ("enum", Value::Array(values)) => {
                    let values: Vec<_> = values.iter().map(Measure::of_data).collect();
                    parts.push(bounded(Measure::either(&values))?);
                }
                ("$ref", Value::String(target)) => parts.push(self.target(target)?),
                ("const", value) => parts.push(Measure::of_data(value)),
                _ => {}
            }
        }
        for (key, schema) in schemas(fields).filter(|(key, _)| !COMBINES.contains(key)) {
            let inner = self.merged(schema)?;
            if schema.is_array() {
                // Its entries are what has places of their own.
                direct = Measure { alternatives: 1, ..Measure::either(&[direct, inner]) };
                continue;
            }
            direct.add_inner(inner);
            let [first, ..] = &mut direct.levels;
            first.names += u64::from(NAMES.contains(&key));
            if SPREAD.contains(&key) && !schema.is_boolean() {
                first.spread = first.spread.saturating_add(inner.values);
            }
        }
        parts.push(bounded(direct)?);
        bounded(Measure::together(&parts))
    }

    /// What is referred to, where it meets something.
    fn target(&mut self, target: &'s str) -> Result<Measure, String> {
        match self.known.get(target) {
            Some(Some(measure)) => return Ok(*measure),
            Some(None) => return Err(itself(target)),
            None => {}
        }
        let Some(schema) = resolved(self.root, target) else {
            return Err(format!("$ref is {:?}, and nothing is there", shortened(target)));
        };
        self.followed += 1;
        if self.followed > REFERENCES_DEPTH_MAX {
            return Err(format!(
                "references lead from one to the next more than {REFERENCES_DEPTH_MAX} times where parts \
                 meet (allOf, or a $ref beside other keywords)"
            ));
        }
        self.known.insert(target, None);
        let measure = self.merged(schema)?;
        self.known.insert(target, Some(measure));
        self.followed -= 1;
        Ok(measure)
    }
}

/// What is referred to, found as llguidance finds it: names stand in a reference as they are.
fn resolved<'s>(root: &'s Value, target: &str) -> Option<&'s Value> {
    let path = target.strip_prefix("#/").unwrap_or_default();
    let segments = path.split('/').filter(|_| !path.is_empty());
    segments.into_iter().try_fold(root, |value, segment| match value {
        Value::Array(entries) => entries.get(segment.parse::<usize>().ok()?),
        Value::Object(fields) => fields.get(segment),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    })
}

/// How many parts of a schema hold for one place together.
fn parts_of(fields: &Map<String, Value>) -> usize {
    let part = |(key, value): (&String, &Value)| match (&**key, value) {
        ("allOf", Value::Array(schemas)) => schemas.len(),
        ("anyOf" | "oneOf" | "enum", Value::Array(_)) | ("$ref", Value::String(_)) => 1,
        _ => 0,
    };
    let combined: usize = fields.iter().map(part).sum();
    let is_direct = |key: &String| {
        let is_part = COMBINES.contains(&&**key) || key == "$ref" || key == "enum";
        !is_part && !ANNOTATIONS.contains(&&**key)
    };
    combined + usize::from(fields.keys().any(is_direct))
}

fn bounded(measure: Measure) -> Result<Measure, String> {
    within(measure.values)?;
    Ok(measure)
}

fn within(values: u64) -> Result<(), String> {
    if values > EXPANDED_VALUES_MAX {
        return Err(format!(
            "where its parts meet (allOf, a union or a $ref beside other keywords) it comes to more than \
             {EXPANDED_VALUES_MAX} values; say it with fewer alternatives, or in fewer places"
        ));
    }
    Ok(())
}

fn itself(target: &str) -> String {
    format!(
        "$ref {:?} leads back to itself through parts that meet (allOf, or a $ref beside other keywords); \
         refer to it without anything beside it",
        shortened(target)
    )
}
