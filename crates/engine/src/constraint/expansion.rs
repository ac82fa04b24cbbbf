//! How large a schema becomes where parts of it meet: llguidance writes out what several parts say of one
//! place together, with a copy for each way in which their alternatives can be combined, and follows
//! references for that. A few kilobytes can come to more than any memory so; what might is refused.
//!
//! The figure is an upper bound in values of the schema: a union of `n` alternatives that meets another
//! of `m` counts both sizes for each of the `n · m` pairs.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::check::{DATA, schemas, shortened};
use crate::limits::{EXPANDED_VALUES_MAX, REFERENCES_DEPTH_MAX};

/// Keywords that say nothing about which values are right.
const ANNOTATIONS: [&str; 16] = [
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
];

/// Keywords that combine schemas.
const COMBINES: [&str; 3] = ["allOf", "anyOf", "oneOf"];

/// Whether the whole schema, with all that is defined in it, stays within its bound.
pub(super) fn check(schema: &Value) -> Result<(), String> {
    Expansion { root: schema, known: BTreeMap::new(), followed: 0 }.everywhere(schema)
}

/// What a schema comes to.
#[derive(Debug, Clone, Copy)]
struct Measure {
    /// Alternatives of which each has to be combined with those of what it meets.
    alternatives: u64,
    /// Values of all of them together.
    values: u64,
}

impl Measure {
    const ONE: Self = Self { alternatives: 1, values: 1 };

    /// Parts that hold for one place together.
    fn together(parts: &[Self]) -> Self {
        let ways = parts.iter().fold(1_u64, |ways, part| ways.saturating_mul(part.alternatives));
        let share = |part: &Self| (ways / part.alternatives.max(1)).saturating_mul(part.values);
        let values = parts.iter().map(share).fold(0, u64::saturating_add);
        Self { alternatives: ways, values }
    }

    /// Parts of which one holds.
    fn either(parts: &[Self]) -> Self {
        parts.iter().fold(Self { alternatives: 0, values: 1 }, |sum, part| Self {
            alternatives: sum.alternatives.saturating_add(part.alternatives),
            values: sum.values.saturating_add(part.values),
        })
    }
}

struct Expansion<'s> {
    root: &'s Value,
    /// What is referred to: how large it is where it meets something, or nothing as long as that is being
    /// found out.
    known: BTreeMap<&'s str, Option<Measure>>,
    /// References that are being followed, one from within the other.
    followed: usize,
}

impl<'s> Expansion<'s> {
    /// Looks at each schema by itself: only parts that meet are written out.
    fn everywhere(&mut self, schema: &'s Value) -> Result<(), String> {
        match schema {
            Value::Array(entries) => entries.iter().try_for_each(|entry| self.everywhere(entry)),
            Value::Object(fields) => {
                if parts_of(fields) > 1 {
                    self.merged(schema)?;
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
                    all.values = all.values.saturating_add(self.merged(entry)?.values);
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
                ("$ref", Value::String(target)) => parts.push(self.target(target)?),
                (key, value) if DATA.contains(&key) => {
                    direct.values = direct.values.saturating_add(count(value));
                }
                _ => {}
            }
        }
        let others = schemas(fields).filter(|(key, _)| !COMBINES.contains(key));
        for (_, schema) in others {
            direct.values = direct.values.saturating_add(self.merged(schema)?.values);
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
        let path = target.strip_prefix('#').unwrap_or(target);
        let Some(schema) = self.root.pointer(path) else {
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

/// How many parts of a schema hold for one place together.
fn parts_of(fields: &Map<String, Value>) -> usize {
    let part = |(key, value): (&String, &Value)| match (&**key, value) {
        ("allOf", Value::Array(schemas)) => schemas.len(),
        ("anyOf" | "oneOf", Value::Array(_)) | ("$ref", Value::String(_)) => 1,
        _ => 0,
    };
    let combined: usize = fields.iter().map(part).sum();
    let is_direct = |key: &String| {
        !ANNOTATIONS.contains(&&**key) && !COMBINES.contains(&&**key) && key != "$ref"
    };
    combined + usize::from(fields.keys().any(is_direct))
}

/// Values of what is no schema.
fn count(value: &Value) -> u64 {
    match value {
        Value::Array(entries) => entries.iter().map(count).fold(1, u64::saturating_add),
        Value::Object(fields) => fields.values().map(count).fold(1, u64::saturating_add),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 1,
    }
}

fn bounded(measure: Measure) -> Result<Measure, String> {
    if measure.values > EXPANDED_VALUES_MAX {
        return Err(format!(
            "where its parts meet (allOf, a union or a $ref beside other keywords) it comes to more than \
             {EXPANDED_VALUES_MAX} values; say it with fewer alternatives"
        ));
    }
    Ok(measure)
}

fn itself(target: &str) -> String {
    format!(
        "$ref {:?} leads back to itself through parts that meet (allOf, or a $ref beside other keywords); \
         refer to it without anything beside it",
        shortened(target)
    )
}
