//! Who is tried for a request, in which order, and why the others are not.

use std::{collections::BTreeMap, fmt, time::Duration};

use super::{AUTO, Ask, Candidate, Kind, Roles, Standing, State, limits::ANSWER_TOKENS_MIN};
use crate::machine::text;

/// The answer for one request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Choice {
    /// Who is tried, in order, each model once.
    pub tries: Vec<Try>,
    /// Who is not, in the order of the role, each model once.
    pub left_out: Vec<LeftOut>,
}

impl Choice {
    /// When somebody can be tried, if it is only a matter of waiting.
    #[must_use]
    pub fn retry_in(&self) -> Option<Duration> {
        if !self.tries.is_empty() {
            return None;
        }
        let waits = self.left_out.iter().filter_map(|left| match left.reason {
            Reason::CoolingOff { retry_in } => Some(retry_in),
            Reason::NotInstalled
            | Reason::Unusable { .. }
            | Reason::OtherKind { .. }
            | Reason::TooLong { .. }
            | Reason::NoTools
            | Reason::NoImages
            | Reason::NoSounds
            | Reason::NoJsonSchema => None,
        });
        waits.min()
    }
}

/// A model that is tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Try {
    /// Its name.
    pub model: String,
    /// The roles on the way to it, the asked one first.
    pub by: Vec<String>,
    /// Why it stands where it stands.
    pub why: Why,
}

/// Why a model stands where it stands in the order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// It is the first in the role that can take the request.
    First,
    /// It comes next in the role.
    Next,
    /// It is resident and no smaller than the first, so nothing has to be loaded.
    Resident {
        /// The model whose place it takes.
        instead_of: String,
        /// Its size.
        bytes: u64,
        /// The size of the other.
        other_bytes: u64,
    },
    /// The prompt may be longer than its context; the models before it surely take it.
    PerhapsTooLong {
        /// Tokens that the prompt may have.
        at_most: u64,
        /// Tokens that it takes.
        limit: u32,
    },
}

/// A model that is not tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// Its name.
    pub model: String,
    /// The roles on the way to it, the asked one first.
    pub by: Vec<String>,
    /// Why not.
    pub reason: Reason,
}

/// Why a model is not tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// Nothing of this name is there now.
    NotInstalled,
    /// It cannot be used.
    Unusable {
        /// Why, as a part of a sentence.
        why: String,
    },
    /// It keeps failing and is left alone for a while.
    CoolingOff {
        /// When it will be tried again.
        retry_in: Duration,
    },
    /// It does something else.
    OtherKind {
        /// What is asked for.
        asked: Kind,
    },
    /// The prompt is surely longer than its context.
    TooLong {
        /// Tokens that the prompt has at least.
        at_least: u64,
        /// Tokens that it takes.
        limit: u32,
    },
    /// It takes no tools.
    NoTools,
    /// It takes no images.
    NoImages,
    /// It takes no sounds.
    NoSounds,
    /// It cannot be held to a JSON schema.
    NoJsonSchema,
}

impl Roles {
    /// Who serves `ask` for `role`, given what is known about each model now. `prefer_resident` is
    /// the general setting, over which the role's own wins. `None` when there is no such role.
    #[must_use]
    pub fn choose(
        &self,
        role: &str,
        ask: &Ask,
        states: &BTreeMap<String, State>,
        prefer_resident: bool,
    ) -> Option<Choice> {
        let configured = self.by_name.get(role);
        let places = match configured {
            Some(_) => self.written_out(role),
            None if role == AUTO => self.automatic(ask, states),
            None => return None,
        };
        let prefer_resident =
            configured.and_then(|role| role.prefer_resident).unwrap_or(prefer_resident);
        Some(choose(&places, ask, states, prefer_resident))
    }
}

fn choose(
    places: &[Place<'_>],
    ask: &Ask,
    states: &BTreeMap<String, State>,
    prefer_resident: bool,
) -> Choice {
    let judged: Vec<(&Place<'_>, Verdict)> =
        places.iter().map(|place| (place, judge(place, ask, states.get(place.model)))).collect();
    let mut choice = Choice::default();
    // A model may stand in several places with several limits: the first that takes the request
    // counts, and only if none does, the first reason.
    for (place, verdict) in &judged {
        if *verdict == Verdict::Fits && !choice.tries_model(place.model) {
            let why = if choice.tries.is_empty() { Why::First } else { Why::Next };
            choice.tries.push(place.tried(why));
        }
    }
    if prefer_resident {
        choice.put_resident_first(states);
    }
    let mut perhaps: Vec<(&Place<'_>, u32)> = judged
        .iter()
        .filter_map(|(place, verdict)| match verdict {
            Verdict::MayFit { limit } => Some((*place, *limit)),
            Verdict::Fits | Verdict::Cannot(_) => None,
        })
        .collect();
    // Whom the longest context belongs to takes what any of them takes.
    perhaps.sort_by_key(|(_, limit)| std::cmp::Reverse(*limit));
    for (place, limit) in perhaps {
        if !choice.tries_model(place.model) {
            let at_most = ask.prompt_tokens.at_most;
            choice.tries.push(place.tried(Why::PerhapsTooLong { at_most, limit }));
        }
    }
    for (place, verdict) in judged {
        if let Verdict::Cannot(reason) = verdict
            && !choice.tries_model(place.model)
            && !choice.left_out.iter().any(|left| left.model == place.model)
        {
            choice.left_out.push(LeftOut {
                model: place.model.to_owned(),
                by: place.by.iter().map(|role| (*role).to_owned()).collect(),
                reason,
            });
        }
    }
    choice
}

impl Choice {
    fn tries_model(&self, model: &str) -> bool {
        self.tries.iter().any(|tried| tried.model == model)
    }

    /// Moves the first resident candidate to the front that is no smaller than the one there, if
    /// the one there would have to be loaded. A smaller one never stands in: that would give
    /// another answer than the person chose, only sooner.
    fn put_resident_first(&mut self, states: &BTreeMap<String, State>) {
        let Some(first) = self.tries.first().map(|first| first.model.clone()) else { return };
        let size = |model: &str| states.get(model).and_then(|state| state.size_bytes);
        let is_resident = |model: &str| {
            states.get(model).is_some_and(|state| state.standing == Standing::Resident)
        };
        let Some(other_bytes) = size(&first).filter(|_| !is_resident(&first)) else { return };
        let better = |tried: &Try| {
            is_resident(&tried.model) && size(&tried.model).is_some_and(|size| size >= other_bytes)
        };
        let Some(place) = self.tries.iter().position(better) else { return };
        self.tries[0].why = Why::Next;
        let mut resident = self.tries.remove(place);
        let bytes = size(&resident.model).unwrap_or(other_bytes);
        resident.why = Why::Resident { instead_of: first, bytes, other_bytes };
        self.tries.insert(0, resident);
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    Fits,
    MayFit { limit: u32 },
    Cannot(Reason),
}

fn judge(place: &Place<'_>, ask: &Ask, state: Option<&State>) -> Verdict {
    let Some(state) = state else { return Verdict::Cannot(Reason::NotInstalled) };
    match &state.standing {
        Standing::Resident | Standing::Loadable => {}
        Standing::CoolingOff { retry_in } => {
            return Verdict::Cannot(Reason::CoolingOff { retry_in: *retry_in });
        }
        Standing::Unusable { why } => {
            return Verdict::Cannot(Reason::Unusable { why: why.clone() });
        }
    }
    if !takes_kind(state, ask.kind) {
        return Verdict::Cannot(Reason::OtherKind { asked: ask.kind });
    }
    let lacks = [
        (ask.images && !(state.images && place.images), Reason::NoImages),
        (ask.sounds && !state.sounds, Reason::NoSounds),
        (ask.tools && !(state.tools && place.tools), Reason::NoTools),
        (ask.json_schema && !state.json_schema, Reason::NoJsonSchema),
    ];
    if let Some((_, reason)) = lacks.into_iter().find(|(lacks, _)| *lacks) {
        return Verdict::Cannot(reason);
    }
    let limits = [place.context_tokens_max, state.context_tokens];
    match limits.into_iter().flatten().min() {
        None => Verdict::Fits,
        Some(limit) => length(ask, limit),
    }
}

fn length(ask: &Ask, limit: u32) -> Verdict {
    let room = match ask.kind {
        Kind::Generate => ask.answer_tokens_max.unwrap_or(u32::MAX).min(ANSWER_TOKENS_MIN),
        Kind::Embed | Kind::Rerank | Kind::Listen | Kind::Speak | Kind::Draw => 0,
    };
    let tokens = ask.prompt_tokens;
    if tokens.at_least > u64::from(limit) {
        Verdict::Cannot(Reason::TooLong { at_least: tokens.at_least, limit })
    } else if tokens.at_most.saturating_add(u64::from(room)) > u64::from(limit) {
        Verdict::MayFit { limit }
    } else {
        Verdict::Fits
    }
}

/// Whether a model does what is asked for.
pub(super) fn takes_kind(state: &State, kind: Kind) -> bool {
    state.kinds.contains(&kind)
}

/// One candidate of a role that is written out: a model, the way to it, and the narrowest limits on
/// that way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place<'a> {
    pub(super) model: &'a str,
    by: Vec<&'a str>,
    context_tokens_max: Option<u32>,
    tools: bool,
    images: bool,
}

impl<'a> Place<'a> {
    /// At the beginning of a role, where no model is named yet.
    pub(super) fn start(role: &'a str) -> Self {
        Self { model: role, by: vec![role], context_tokens_max: None, tools: true, images: true }
    }

    /// The same limits at a model.
    pub(super) fn at(mut self, model: &'a str) -> Self {
        self.model = model;
        self
    }

    /// At a candidate, with its limits too.
    pub(super) fn narrowed(&self, candidate: &'a Candidate) -> Self {
        let limits = [self.context_tokens_max, candidate.context_tokens_max];
        Self {
            model: &candidate.name,
            by: self.by.clone(),
            context_tokens_max: limits.into_iter().flatten().min(),
            tools: self.tools && candidate.tools,
            images: self.images && candidate.images,
        }
    }

    /// On the way through another role.
    pub(super) fn through(mut self, role: &'a str) -> Self {
        self.by.push(role);
        self
    }

    /// The same place when the built-in role leads there.
    pub(super) fn automatic(mut self) -> Self {
        self.by.insert(0, AUTO);
        self
    }

    fn tried(&self, why: Why) -> Try {
        let by = self.by.iter().map(|role| (*role).to_owned()).collect();
        Try { model: self.model.to_owned(), by, why }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::First => out.write_str("first that can take the request"),
            Self::Next => out.write_str("next in the role"),
            Self::Resident { instead_of, bytes, other_bytes } => write!(
                out,
                "in memory already and no smaller than {instead_of} ({} against {})",
                text(*bytes),
                text(*other_bytes)
            ),
            Self::PerhapsTooLong { at_most, limit } => write!(
                out,
                "tried last: the prompt may have up to {at_most} tokens and it takes {limit}"
            ),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotInstalled => out.write_str("not installed"),
            Self::Unusable { why } => write!(out, "cannot be used: {why}"),
            Self::CoolingOff { retry_in } => write!(
                out,
                "kept failing and is left alone for {} s more",
                retry_in.as_secs_f64().ceil()
            ),
            Self::OtherKind { asked } => write!(out, "does not {asked}"),
            Self::TooLong { at_least, limit } => write!(
                out,
                "the prompt has at least {at_least} tokens and it takes {limit} with the answer"
            ),
            Self::NoTools => out.write_str("takes no tools"),
            Self::NoImages => out.write_str("takes no images"),
            Self::NoSounds => out.write_str("takes no sounds"),
            Self::NoJsonSchema => out.write_str("cannot be held to a JSON schema"),
        }
    }
}
