//! The built-in role: which roles it tries for a request, and who comes after them.

use std::collections::BTreeMap;

use super::{
    AUTO, Ask, Kind, Roles, Standing, State,
    choose::{Place, takes_kind},
    limits::LONG_PROMPT_TOKENS,
};

impl Roles {
    /// Candidates of the roles that suit the request, then every other model that can do what it
    /// asks for: resident ones first, since nothing says which of them the person likes better.
    pub(super) fn automatic<'a>(
        &'a self,
        ask: &Ask,
        states: &'a BTreeMap<String, State>,
    ) -> Vec<Place<'a>> {
        let mut places: Vec<Place<'a>> = roles_for(ask)
            .into_iter()
            .flat_map(|role| self.written_out(role))
            .map(Place::automatic)
            .collect();
        let mut others: Vec<(&String, &State)> = states
            .iter()
            .filter(|(name, state)| {
                takes_kind(state, ask.kind) && !places.iter().any(|place| place.model == *name)
            })
            .collect();
        others.sort_by_key(|(_, state)| state.standing != Standing::Resident);
        places.extend(others.into_iter().map(|(name, _)| Place::start(AUTO).at(name)));
        places
    }
}

/// The usual roles in the order that suits a request. Images and length say most about which model
/// can answer at all; tools say that a program works on something, which models for code do best.
fn roles_for(ask: &Ask) -> Vec<&'static str> {
    match ask.kind {
        Kind::Embed => vec!["embed"],
        Kind::Rerank => vec!["rerank"],
        Kind::Listen => vec!["listen"],
        Kind::Speak => vec!["speak"],
        Kind::Draw => vec!["draw"],
        Kind::Generate => {
            let is_long = ask.prompt_tokens.at_most >= u64::from(LONG_PROMPT_TOKENS);
            let suits = [(ask.images, "vision"), (is_long, "deep"), (ask.tools, "code")];
            let mut roles: Vec<&'static str> =
                suits.into_iter().filter(|(suits, _)| *suits).map(|(_, role)| role).collect();
            for role in ["daily", "code", "deep", "light", "vision"] {
                if !roles.contains(&role) {
                    roles.push(role);
                }
            }
            roles
        }
    }
}
