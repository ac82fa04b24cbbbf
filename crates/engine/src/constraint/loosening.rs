//! Calls of tools of which some say what cannot be enforced: which these are is found out, and only they are
//! held to less than they say.
//!
//! Not here: what is left of a schema that cannot be enforced (`calls`).

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use blake3::Hash;
use serde_json::Value;
use worker_protocol::{Constraint, Failure};

use super::{Guard, Vocabulary, Wanted, key, not_callable};
use crate::limits::{HARD_TOOLS_KEPT_MAX, TRIED_ALONE_MAX};

/// Tools whose schemas could not be enforced, the last one found at the end.
#[derive(Debug, Default)]
pub(super) struct Hard(VecDeque<Hash>);

impl Hard {
    fn has(&self, function: &Value) -> bool {
        !self.0.is_empty() && self.0.contains(&key(function))
    }

    fn add(&mut self, function: &Value) {
        self.0.push_back(key(function));
        if self.0.len() > HARD_TOOLS_KEPT_MAX {
            self.0.pop_front();
        }
    }
}

/// Compiles calls. Tools that are not strict and cannot be enforced are enforced in part.
///
/// # Errors
/// [`worker_protocol::FailureKind::Invalid`] with what of the tools cannot be enforced,
/// [`worker_protocol::FailureKind::Constraint`] with what of the answer that may come instead.
pub(super) fn compile(
    vocabulary: &Arc<Vocabulary>,
    wanted: &Wanted<'_>,
    hard: &mut Hard,
) -> Result<Guard, Failure> {
    let compiled = |loose: &BTreeSet<&str>| Guard::of_calls(Arc::clone(vocabulary), wanted, loose);
    let lenient = wanted.lenient();
    let known = lenient.iter().filter(|(_, function)| hard.has(function)).map(|(name, _)| *name);
    let mut loose: BTreeSet<&str> = known.collect();
    let reason = match compiled(&loose) {
        Ok(guard) => return Ok(guard),
        Err(reason) => reason,
    };
    if let Some(schema) = wanted.answer {
        // It is its own fault then, and none of the tools'.
        Guard::new(Arc::clone(vocabulary), &Constraint::JsonSchema(schema.clone()))?;
    }
    if lenient.len() == loose.len() {
        return Err(not_callable(&reason));
    }
    tracing::debug!(reason, "schemas of tools are enforced in part");
    let all: BTreeSet<&str> = lenient.iter().map(|(name, _)| *name).collect();
    let loosest = compiled(&all).map_err(|reason| not_callable(&reason))?;
    let others = lenient.iter().filter(|(name, _)| !loose.contains(name));
    let mut found = Vec::new();
    for (at, (name, function)) in others.enumerate() {
        if at >= TRIED_ALONE_MAX {
            found.push(*name);
        } else if !compiles_alone(vocabulary, wanted, name) {
            found.push(*name);
            hard.add(function);
        }
    }
    loose.extend(&found);
    // Without any it is the sum of them that is too much.
    let closer = if found.is_empty() || loose == all { None } else { compiled(&loose).ok() };
    Ok(closer.unwrap_or(loosest))
}

fn compiles_alone(vocabulary: &Arc<Vocabulary>, wanted: &Wanted<'_>, name: &str) -> bool {
    let names = [name.to_owned()];
    let alone = Wanted { names: &names, answer: None, ..*wanted };
    Guard::of_calls(Arc::clone(vocabulary), &alone, &BTreeSet::new()).is_ok()
}
