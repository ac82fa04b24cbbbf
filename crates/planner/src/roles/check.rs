//! Whether roles hold together: known names, no circles, no flood.

use std::collections::BTreeMap;

use super::{
    AUTO, Candidate, Role, Roles, USUAL,
    choose::Place,
    limits::{CANDIDATES_MAX, LIKENESS_MIN, ROLES_MAX},
};

/// What is wrong with roles.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// A role without anybody in it.
    #[error("the role '{role}' names nobody; list at least one model")]
    Empty {
        /// The role.
        role: String,
    },
    /// A name of which nobody knows.
    #[error(
        "the role '{role}' names '{name}', which is neither a model nor a role{}",
        hint(name, nearest.as_deref())
    )]
    Unknown {
        /// The role.
        role: String,
        /// The name.
        name: String,
        /// A name that was perhaps meant.
        nearest: Option<String>,
    },
    /// A role that comes back to itself.
    #[error("roles go in a circle: {}; take one of them out", chain.join(" -> "))]
    Circle {
        /// The names on the way, the first one again at the end.
        chain: Vec<String>,
    },
    /// A name for two things.
    #[error("'{name}' is the name of a model and of a role; rename the role")]
    AlsoModel {
        /// The name.
        name: String,
    },
    /// More than anybody would want to be tried.
    #[error(
        "the role '{role}' has {count} candidates with those of the roles it names, but at most \
         {CANDIDATES_MAX} are tried; shorten it"
    )]
    TooMany {
        /// The role.
        role: String,
        /// How many it has.
        count: usize,
    },
    /// More roles than anybody has.
    #[error("{count} roles are configured, but at most {ROLES_MAX} are kept; take some out")]
    TooManyRoles {
        /// How many there are.
        count: usize,
    },
}

fn hint(name: &str, nearest: Option<&str>) -> String {
    match nearest {
        Some(nearest) => format!("; did you mean '{nearest}'?"),
        None if USUAL.contains(&name) => {
            format!("; '{name}' is a usual name of a role, but no role of that name is configured")
        }
        None => "; add it to [models], [upstreams] or [tools], or put its file into the models \
                 folder"
            .to_owned(),
    }
}

/// Checks roles against each other and against the names of everything else that can serve.
///
/// # Errors
/// The first thing that is wrong, in the order of the roles' names.
pub fn check(by_name: BTreeMap<String, Role>, models: &[&str]) -> Result<Roles, Wrong> {
    if by_name.len() > ROLES_MAX {
        return Err(Wrong::TooManyRoles { count: by_name.len() });
    }
    for (role, content) in &by_name {
        if models.contains(&role.as_str()) {
            return Err(Wrong::AlsoModel { name: role.clone() });
        }
        if content.candidates.is_empty() {
            return Err(Wrong::Empty { role: role.clone() });
        }
        for Candidate { name, .. } in &content.candidates {
            let known = models.contains(&name.as_str()) || by_name.contains_key(name);
            if !known {
                return Err(unknown(role, name, &by_name, models));
            }
        }
    }
    let mut counts = BTreeMap::new();
    for role in by_name.keys() {
        let count = count(role, &by_name, &mut Vec::new(), &mut counts)?;
        if count > CANDIDATES_MAX {
            return Err(Wrong::TooMany { role: role.clone(), count });
        }
    }
    Ok(Roles { by_name })
}

fn unknown(role: &str, name: &str, by_name: &BTreeMap<String, Role>, models: &[&str]) -> Wrong {
    // The built-in role picks among the others, so none of them can fall back on it.
    if name == AUTO {
        return Wrong::Circle { chain: vec![AUTO.to_owned(), role.to_owned(), AUTO.to_owned()] };
    }
    let roles = by_name.keys().map(String::as_str).filter(|other| *other != role);
    let nearest = models
        .iter()
        .copied()
        .chain(roles)
        .map(|known| (strsim::jaro_winkler(name, known), known))
        .filter(|(likeness, _)| *likeness >= LIKENESS_MIN)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, known)| known.to_owned());
    Wrong::Unknown { role: role.to_owned(), name: name.to_owned(), nearest }
}

/// Candidates of `role` written out. Each role is counted once, so that roles which name each other
/// many times over cost no more than their lines.
fn count<'a>(
    role: &'a str,
    by_name: &'a BTreeMap<String, Role>,
    way: &mut Vec<&'a str>,
    counts: &mut BTreeMap<&'a str, usize>,
) -> Result<usize, Wrong> {
    if let Some(start) = way.iter().position(|on_way| *on_way == role) {
        let chain = way[start..].iter().chain([&role]).map(|name| (*name).to_owned()).collect();
        return Err(Wrong::Circle { chain });
    }
    if let Some(known) = counts.get(role) {
        return Ok(*known);
    }
    let Some(content) = by_name.get(role) else { return Ok(1) };
    way.push(role);
    let mut sum = 0_usize;
    for candidate in &content.candidates {
        sum = sum.saturating_add(count(&candidate.name, by_name, way, counts)?);
    }
    way.pop();
    counts.insert(role, sum);
    Ok(sum)
}

impl Roles {
    /// The candidates of a role in order, those of the roles it names in their place, with the
    /// limits on the way.
    pub(super) fn written_out<'a>(&'a self, role: &'a str) -> Vec<Place<'a>> {
        let mut places = Vec::new();
        if let Some(content) = self.by_name.get(role) {
            let start = Place::start(role);
            self.write_out(content, &start, &mut places);
        }
        places
    }

    fn write_out<'a>(&'a self, role: &'a Role, so_far: &Place<'a>, places: &mut Vec<Place<'a>>) {
        for candidate in &role.candidates {
            let place = so_far.narrowed(candidate);
            match self.by_name.get(&candidate.name) {
                Some(inner) => self.write_out(inner, &place.through(&candidate.name), places),
                None => places.push(place),
            }
        }
    }
}
