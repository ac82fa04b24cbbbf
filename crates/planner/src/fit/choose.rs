//! Which of several files to take, how much context to give it, and what would make it fit.

use crate::footprint::{CacheType, Companions, Layout, check, predict_with};
use crate::gguf::Header;
use crate::machine::Budget;
use crate::quality::{self, Quality};

use super::limits::{CONTEXT_MAX_TOKENS, CONTEXT_MIN_TOKENS, CONTEXT_STEP_TOKENS};
use super::{Judgement, Verdict, judge};

/// How a model is wanted.
pub struct Wanted<'a> {
    /// How it is to be loaded.
    pub layout: Layout,
    /// What is to be loaded with it.
    pub companions: Companions<'a>,
}

impl Wanted<'_> {
    /// A model alone, loaded as `layout` says.
    #[must_use]
    pub fn alone(layout: Layout) -> Self {
        Self { layout, companions: Companions::default() }
    }
}

/// One file that could be taken.
#[derive(Clone, Copy)]
pub struct Candidate<'a> {
    /// Its quantization, as [`quality::of`] reads it.
    pub quantization: &'a str,
    /// Its header.
    pub header: &'a Header,
}

impl Candidate<'_> {
    /// How good it is.
    #[must_use]
    pub fn quality(&self) -> Quality {
        let parameters = self.header.parameters();
        let bits = self.header.tensor_bytes() as f64 * 8.0 / parameters as f64;
        quality::of_bits(self.quantization, (parameters > 0).then_some(bits))
    }
}

/// The file to take.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// Which of the candidates.
    pub index: usize,
    /// How good it is.
    pub quality: Quality,
    /// How it fits.
    pub judgement: Judgement,
}

/// Something that would make a model fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// What would have to change.
    pub change: Change,
    /// How it would fit then.
    pub judgement: Judgement,
}

/// What a person could give up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Keys and values are kept in this type, with fused attention.
    Cache(CacheType),
    /// The context holds only this many tokens.
    Context(u32),
    /// Both.
    CacheAndContext(CacheType, u32),
}

/// How a model fits when it is loaded as wanted.
#[must_use]
pub fn judge_model(header: &Header, wanted: &Wanted<'_>, budget: &Budget) -> Judgement {
    judge(&predict_with(header, &wanted.layout, &wanted.companions), budget)
}

/// Places in `candidates`, best quality first.
#[must_use]
pub fn ranked(candidates: &[Candidate<'_>]) -> Vec<usize> {
    let mut places: Vec<(usize, Quality)> =
        candidates.iter().map(Candidate::quality).enumerate().collect();
    places.sort_by(|(_, one), (_, other)| one.compare(other));
    places.into_iter().map(|(place, _)| place).collect()
}

/// The best of `candidates` that fits at least so well. With [`Verdict::Fits`] and, when that gives
/// nothing, [`Verdict::Tight`], it is what a person should take.
#[must_use]
pub fn choose(
    candidates: &[Candidate<'_>],
    wanted: &Wanted<'_>,
    budget: &Budget,
    at_least: Verdict,
) -> Option<Choice> {
    ranked(candidates).into_iter().find_map(|index| {
        let candidate = &candidates[index];
        let judgement = judge_model(candidate.header, wanted, budget);
        let good = judgement.verdict.is_at_least(at_least);
        good.then(|| Choice { index, quality: candidate.quality(), judgement })
    })
}

/// The longest context, in whole multiples of [`CONTEXT_STEP_TOKENS`] and up to what the model was
/// trained for, with which it fits at least so well. `None` when not even the shortest does.
#[must_use]
pub fn longest_context(
    header: &Header,
    wanted: &Wanted<'_>,
    budget: &Budget,
    at_least: Verdict,
) -> Option<u32> {
    let fits = |steps: u32| {
        let layout = Layout { context_tokens: steps * CONTEXT_STEP_TOKENS, ..wanted.layout };
        let footprint = predict_with(header, &layout, &wanted.companions);
        judge(&footprint, budget).verdict.is_at_least(at_least)
    };
    // A footprint never shrinks when the context grows, so halving finds the edge.
    let (mut fitting, mut beyond) = (0, context_max_tokens(header) / CONTEXT_STEP_TOKENS + 1);
    while beyond - fitting > 1 {
        let middle = fitting + (beyond - fitting) / 2;
        if fits(middle) {
            fitting = middle;
        } else {
            beyond = middle;
        }
    }
    (fitting > 0).then_some(fitting * CONTEXT_STEP_TOKENS)
}

fn context_max_tokens(header: &Header) -> u32 {
    let trained = header.context_trained_tokens().and_then(|tokens| u32::try_from(tokens).ok());
    // A context that is trained for less than one step is still given one.
    trained.unwrap_or(CONTEXT_MAX_TOKENS).clamp(CONTEXT_STEP_TOKENS, CONTEXT_MAX_TOKENS)
}

/// What would make a model fit that does not: smaller caches, and where they are not enough a
/// shorter context. The least loss comes first. Nothing when it fits already or nothing helps.
#[must_use]
pub fn offers(header: &Header, wanted: &Wanted<'_>, budget: &Budget) -> Vec<Offer> {
    if judge_model(header, wanted, budget).verdict != Verdict::DoesNotFit {
        return Vec::new();
    }
    let caches = [CacheType::Q8_0, CacheType::Q4_0].into_iter().filter_map(|cache| {
        let layout = with_cache(&wanted.layout, cache);
        let smaller = cache.bytes(32) < wanted.layout.keys.bytes(32)
            || cache.bytes(32) < wanted.layout.values.bytes(32);
        (smaller && check(header, &layout).is_ok()).then_some((cache, layout))
    });
    let mut offers = Vec::new();
    for (cache, layout) in caches.clone() {
        let changed = Wanted { layout, companions: wanted.companions };
        add_when_it_fits(&mut offers, Change::Cache(cache), header, &changed, budget);
    }
    add_shorter(&mut offers, Change::Context, header, wanted, budget);
    for (cache, layout) in caches {
        let changed = Wanted { layout, companions: wanted.companions };
        let change = |tokens| Change::CacheAndContext(cache, tokens);
        // With this cache alone it fits already, so no context need be given up for it.
        if !offers.iter().any(|offer: &Offer| offer.change == Change::Cache(cache)) {
            add_shorter(&mut offers, change, header, &changed, budget);
        }
    }
    offers
}

fn with_cache(layout: &Layout, cache: CacheType) -> Layout {
    // llama.cpp takes quantized values only with fused attention.
    Layout { keys: cache, values: cache, flash_attention: true, ..*layout }
}

fn add_when_it_fits(
    offers: &mut Vec<Offer>,
    change: Change,
    header: &Header,
    wanted: &Wanted<'_>,
    budget: &Budget,
) {
    let judgement = judge_model(header, wanted, budget);
    if judgement.verdict != Verdict::DoesNotFit {
        offers.push(Offer { change, judgement });
    }
}

/// Offers the longest context that fits, when it is shorter than wanted and long enough for use.
fn add_shorter(
    offers: &mut Vec<Offer>,
    change: impl Fn(u32) -> Change,
    header: &Header,
    wanted: &Wanted<'_>,
    budget: &Budget,
) {
    let longest = longest_context(header, wanted, budget, Verdict::Tight);
    let Some(tokens) = longest
        .filter(|tokens| (CONTEXT_MIN_TOKENS..wanted.layout.context_tokens).contains(tokens))
    else {
        return;
    };
    let layout = Layout { context_tokens: tokens, ..wanted.layout };
    let shorter = Wanted { layout, companions: wanted.companions };
    add_when_it_fits(offers, change(tokens), header, &shorter, budget);
}
