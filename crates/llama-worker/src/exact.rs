//! That what comes back from the tiers is exactly what was computed: the engine as it ships, with
//! llama.cpp and files, beside twins that keep nothing.
//!
//! A tree is a few conversations that share prefixes of random lengths. They are visited in random
//! order by an engine that is stopped and started anew now and then, so that prefixes come from the
//! context, from memory and from files. Every logit the engine reads is compared twice:
//!
//! - With a *twin* that computes the same rows in the same steps, from nothing: to the last bit. That is
//!   possible where a sequence has the context for itself and each of its cells was computed in a step
//!   that the twin can repeat. Where it has not, the comparison falls to the other one.
//! - With a *cold* run that computes the prompt in steps of its own. llama.cpp rounds differently there,
//!   so the text may part where the two likeliest tokens are as good as equal: a near tie, which is
//!   counted. Anything else that parts is a wrong cache.
//!
//! `KEPT_TREES` says how many trees there are for each model and type of cache. Not here: states of
//! single sequences (`kept`), what is kept when (`engine`).

mod life;
mod lineage;
mod lookups;
pub(crate) mod models;
mod prompts;
mod random;
mod seen;
mod trees;
mod twin;
mod watched;
