//! `[roles]`: names to use instead of models.

use std::collections::BTreeMap;

use planner::roles::{self, Candidate, Role, Roles};

use super::super::raw;

/// Reads all roles and checks them against the names of everything that can serve. Names that
/// begin with one of `open` cannot be known before its servers are asked.
///
/// # Errors
/// A sentence that names the role.
pub(super) fn read(
    raw: BTreeMap<String, raw::Role>,
    known: &[&str],
    open: &[String],
) -> Result<Roles, String> {
    let mut by_name = BTreeMap::new();
    for (name, role) in raw {
        crate::models::check_name(&name).map_err(|error| error.to_string())?;
        by_name.insert(name.clone(), self::role(&name, role)?);
    }
    let of_open = |name: &&str| open.iter().any(|pool| name.starts_with(pool.as_str()));
    let taken = by_name.values().flat_map(|role| &role.candidates);
    let unasked: Vec<String> = taken
        .map(|candidate| candidate.name.clone())
        .filter(|name| of_open(&name.as_str()))
        .collect();
    let known: Vec<&str> =
        known.iter().copied().chain(unasked.iter().map(String::as_str)).collect();
    roles::check(by_name, &known).map_err(|wrong| wrong.to_string())
}

fn role(name: &str, raw: raw::Role) -> Result<Role, String> {
    let (candidates, prefer_resident) = match raw {
        raw::Role::Candidates(candidates) => (candidates, None),
        raw::Role::Differing(role) => (role.models, role.prefer_resident),
    };
    let candidates = candidates
        .into_iter()
        .map(|candidate| match candidate {
            raw::Candidate::Name(name) => Ok(Candidate::new(name)),
            raw::Candidate::Limited(limited) if limited.context_max == Some(0) => Err(format!(
                "the role '{name}' limits {} to a context of 0; it must be 1 or more, or left out",
                limited.model
            )),
            raw::Candidate::Limited(limited) => Ok(Candidate {
                name: limited.model,
                context_tokens_max: limited.context_max,
                tools: limited.tools.unwrap_or(true),
                images: limited.images.unwrap_or(true),
            }),
        })
        .collect::<Result<_, String>>()?;
    Ok(Role { candidates, prefer_resident })
}
