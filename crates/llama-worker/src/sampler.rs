//! llama.cpp's samplers as a chain for one request.

use std::ffi::CString;
use std::ptr::NonNull;

use llama_cpp_sys_2 as sys;
use worker_protocol::{MirostatVersion, Sampling};

use crate::llama::Weights;

/// llama.cpp's word for "draw a fresh seed".
const FRESH_SEED: u32 = u32::MAX;
/// Tokens that mirostat looks at to estimate the distribution; the paper's value.
const MIROSTAT_CANDIDATES: i32 = 100;

/// Draws tokens as one request wants it.
pub(crate) enum Sampler {
    /// Nothing but the likeliest token is wanted, so no chain is needed.
    Greedy,
    /// llama.cpp's chain, and the candidates it works on.
    Chain(Chain),
}

impl Sampler {
    /// The chain of `Sampling`'s documentation. `cells` stands for "the whole context".
    pub(crate) fn new(weights: &Weights, cells: u32, sampling: &Sampling) -> Result<Self, String> {
        if is_plain_greedy(sampling) {
            return Ok(Self::Greedy);
        }
        let vocabulary_tokens = weights.vocabulary_tokens();
        if let Some((token, _)) = sampling.logit_bias.iter().find(|(t, _)| *t >= vocabulary_tokens)
        {
            return Err(format!(
                "logit_bias names token {token}, but the vocabulary has {vocabulary_tokens} tokens"
            ));
        }
        let mut chain = Chain::new();
        chain.bias(vocabulary_tokens, &sampling.logit_bias);
        chain.penalties(vocabulary_tokens, cells, sampling);
        chain.dry(weights, cells, sampling)?;
        chain.draw(vocabulary_tokens, sampling);
        Ok(Self::Chain(chain))
    }
}

impl engine::Sampler for Sampler {
    fn sample(&mut self, logits: &[f32]) -> u32 {
        match self {
            Self::Greedy => likeliest(logits),
            Self::Chain(chain) => chain.sample(logits),
        }
    }

    fn accept(&mut self, token: u32) {
        if let Self::Chain(chain) = self {
            chain.accept(token);
        }
    }
}

fn is_plain_greedy(sampling: &Sampling) -> bool {
    sampling.temperature <= 0.0
        && sampling.logit_bias.is_empty()
        && !has_penalties(sampling)
        && sampling.dry.is_none()
}

#[expect(clippy::float_cmp, reason = "these exact values mean: off")]
fn has_penalties(sampling: &Sampling) -> bool {
    sampling.repeat_penalty != 1.0
        || sampling.presence_penalty != 0.0
        || sampling.frequency_penalty != 0.0
}

/// The first of the largest logits, as llama.cpp's greedy sampler takes it.
fn likeliest(logits: &[f32]) -> u32 {
    // Lanes let the compiler compare many at once; the order is restored by the search below.
    const LANES: usize = 16;
    let mut best = [f32::NEG_INFINITY; LANES];
    let (chunks, rest) = logits.as_chunks::<LANES>();
    for chunk in chunks {
        for (best, logit) in best.iter_mut().zip(chunk) {
            *best = if *logit > *best { *logit } else { *best };
        }
    }
    let max = best.iter().chain(rest).copied().fold(f32::NEG_INFINITY, f32::max);
    let place = logits.iter().position(|logit| *logit >= max);
    place.and_then(|place| u32::try_from(place).ok()).unwrap_or(0)
}

/// An owned chain of llama.cpp.
pub(crate) struct Chain {
    chain: NonNull<sys::llama_sampler>,
    candidates: Vec<sys::llama_token_data>,
}

impl Chain {
    #[expect(clippy::expect_used, reason = "it only allocates, and that aborts in C++")]
    fn new() -> Self {
        // SAFETY: plain values.
        let chain = unsafe {
            sys::llama_sampler_chain_init(sys::llama_sampler_chain_params { no_perf: true })
        };
        Self { chain: NonNull::new(chain).expect("a chain"), candidates: Vec::new() }
    }

    fn add(&mut self, sampler: *mut sys::llama_sampler) {
        // SAFETY: the chain takes ownership of what llama.cpp just made.
        unsafe { sys::llama_sampler_chain_add(self.chain.as_ptr(), sampler) };
    }

    fn bias(&mut self, vocabulary_tokens: u32, bias: &[(u32, f32)]) {
        if bias.is_empty() {
            return;
        }
        let bias: Vec<sys::llama_logit_bias> = bias
            .iter()
            .map(|(token, bias)| sys::llama_logit_bias { token: signed(*token), bias: *bias })
            .collect();
        let count = i32::try_from(bias.len()).unwrap_or(i32::MAX);
        // SAFETY: the list's length is given and its content is copied.
        self.add(unsafe {
            sys::llama_sampler_init_logit_bias(signed(vocabulary_tokens), count, bias.as_ptr())
        });
    }

    fn penalties(&mut self, vocabulary_tokens: u32, cells: u32, sampling: &Sampling) {
        if !has_penalties(sampling) {
            return;
        }
        // SAFETY: plain values.
        self.add(unsafe {
            sys::llama_sampler_init_penalties(
                signed(vocabulary_tokens),
                looked_back(sampling.penalty_last_tokens, cells),
                sampling.repeat_penalty,
                sampling.frequency_penalty,
                sampling.presence_penalty,
            )
        });
    }

    fn dry(&mut self, weights: &Weights, cells: u32, sampling: &Sampling) -> Result<(), String> {
        let Some(dry) = &sampling.dry else { return Ok(()) };
        let breakers = dry.sequence_breakers.iter().map(|text| CString::new(text.as_str()));
        let breakers: Vec<CString> = breakers
            .collect::<Result<_, _>>()
            .map_err(|_| "a DRY sequence breaker holds a NUL byte; leave it out".to_owned())?;
        let mut pointers: Vec<_> = breakers.iter().map(|text| text.as_ptr()).collect();
        // SAFETY: the strings end with NUL and outlive the call, which copies them; the
        // vocabulary outlives the sampler, because requests end before the model does.
        self.add(unsafe {
            sys::llama_sampler_init_dry(
                weights.vocabulary(),
                dry.multiplier,
                dry.base,
                signed(dry.allowed_length),
                looked_back(dry.last_tokens, cells),
                pointers.as_mut_ptr(),
                pointers.len(),
            )
        });
        Ok(())
    }

    /// Everything that narrows the choice, and the draw.
    fn draw(&mut self, vocabulary_tokens: u32, sampling: &Sampling) {
        let seed = sampling.seed.unwrap_or(FRESH_SEED);
        // SAFETY: plain values throughout.
        unsafe {
            if sampling.temperature <= 0.0 {
                self.add(sys::llama_sampler_init_greedy());
                return;
            }
            if let Some(mirostat) = sampling.mirostat {
                self.add(sys::llama_sampler_init_temp(sampling.temperature));
                let (tau, eta) = (mirostat.tau, mirostat.eta);
                self.add(match mirostat.version {
                    MirostatVersion::One => sys::llama_sampler_init_mirostat(
                        signed(vocabulary_tokens),
                        seed,
                        tau,
                        eta,
                        MIROSTAT_CANDIDATES,
                    ),
                    MirostatVersion::Two => sys::llama_sampler_init_mirostat_v2(seed, tau, eta),
                });
                return;
            }
            self.add(sys::llama_sampler_init_top_k(signed(sampling.top_k)));
            self.add(sys::llama_sampler_init_typical(sampling.typical_p, 1));
            self.add(sys::llama_sampler_init_top_p(sampling.top_p, 1));
            self.add(sys::llama_sampler_init_min_p(sampling.min_p, 1));
            if let Some(xtc) = sampling.xtc {
                self.add(sys::llama_sampler_init_xtc(xtc.probability, xtc.threshold, 1, seed));
            }
            self.add(sys::llama_sampler_init_temp(sampling.temperature));
            self.add(sys::llama_sampler_init_dist(seed));
        }
    }

    fn sample(&mut self, logits: &[f32]) -> u32 {
        self.candidates.clear();
        self.candidates.extend((0..).zip(logits).map(|(id, logit)| sys::llama_token_data {
            id,
            logit: *logit,
            p: 0.0,
        }));
        // What is forbidden is no candidate: typical sampling and mirostat take logarithms of
        // probabilities. Without a branch the look takes some microseconds.
        if logits.iter().fold(false, |found, logit| found | (*logit == f32::NEG_INFINITY)) {
            self.candidates.retain(|candidate| candidate.logit != f32::NEG_INFINITY);
            if self.candidates.is_empty() {
                return likeliest(logits);
            }
        }
        let mut candidates = sys::llama_token_data_array {
            data: self.candidates.as_mut_ptr(),
            size: self.candidates.len(),
            selected: -1,
            sorted: false,
        };
        // SAFETY: the array's size is given; samplers shrink it in place at most, or point it to
        // memory of their own that lives until their next call.
        let chosen = unsafe {
            sys::llama_sampler_apply(self.chain.as_ptr(), &raw mut candidates);
            let selected = usize::try_from(candidates.selected).unwrap_or(0);
            (selected < candidates.size).then(|| (*candidates.data.add(selected)).id)
        };
        chosen.map_or_else(|| likeliest(logits), i32::unsigned_abs)
    }

    fn accept(&mut self, token: u32) {
        // SAFETY: the chain is owned.
        unsafe { sys::llama_sampler_accept(self.chain.as_ptr(), signed(token)) };
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        // SAFETY: owned, freed once; it frees its members.
        unsafe { sys::llama_sampler_free(self.chain.as_ptr()) };
    }
}

/// Tokens to look back on: -1 is the whole context, and so is more than it holds.
fn looked_back(tokens: i32, cells: u32) -> i32 {
    let all = signed(cells);
    if (0..all).contains(&tokens) { tokens } else { all }
}

fn signed(value: u32) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use engine::Sampler as _;
    use worker_protocol::{Mirostat, Xtc};

    use super::*;

    /// What can be asked for without a model.
    fn chain(sampling: &Sampling, vocabulary_tokens: u32) -> Chain {
        let mut chain = Chain::new();
        chain.bias(vocabulary_tokens, &sampling.logit_bias);
        chain.penalties(vocabulary_tokens, 64, sampling);
        chain.draw(vocabulary_tokens, sampling);
        chain
    }

    #[test]
    fn what_is_forbidden_is_never_drawn() {
        let all =
            Sampling { top_k: 0, top_p: 1.0, min_p: 0.0, seed: Some(7), ..Sampling::default() };
        let mirostat = |version| Some(Mirostat { version, tau: 5.0, eta: 0.1 });
        let cases = [
            Sampling::greedy(),
            Sampling { logit_bias: vec![(0, 100.0), (5, -1.0)], ..Sampling::greedy() },
            Sampling::default(),
            Sampling { logit_bias: vec![(0, 100.0), (999, 1.0)], ..all.clone() },
            Sampling { repeat_penalty: 2.0, presence_penalty: 2.0, ..all.clone() },
            Sampling { typical_p: 0.5, ..all.clone() },
            Sampling { xtc: Some(Xtc { probability: 1.0, threshold: 0.1 }), ..all.clone() },
            Sampling { mirostat: mirostat(MirostatVersion::One), ..all.clone() },
            Sampling { mirostat: mirostat(MirostatVersion::Two), ..all.clone() },
            all,
        ];
        for sampling in cases {
            for allowed in [vec![3], vec![3, 5], (100..300).collect::<Vec<u32>>()] {
                let mut logits = vec![f32::NEG_INFINITY; 1000];
                for token in &allowed {
                    logits[*token as usize] = -20.0 - (*token % 7) as f32;
                }
                let mut sampler = Sampler::Chain(chain(&sampling, 1000));
                for _ in 0..50 {
                    let token = sampler.sample(&logits);
                    assert!(allowed.contains(&token), "{token} with {sampling:?}");
                    sampler.accept(token);
                }
            }
        }
        let nothing = [f32::NEG_INFINITY; 8];
        assert_eq!(chain(&Sampling::default(), 8).sample(&nothing), 0, "and no crash");
    }

    /// llama.cpp makes room for as many tokens as it is told to look back at.
    #[test]
    fn nobody_looks_back_farther_than_the_context() {
        for (asked, given) in [(-1, 64), (0, 0), (63, 63), (64, 64), (65, 64), (i32::MAX, 64)] {
            assert_eq!(looked_back(asked, 64), given, "{asked}");
        }
    }

    #[test]
    fn the_first_of_equals_is_taken_whatever_the_length() {
        for length in 1..70 {
            let mut logits = vec![-1.0_f32; length];
            for place in (0..length).rev() {
                logits[place] = 2.0;
                assert_eq!(likeliest(&logits) as usize, place);
            }
        }
        assert_eq!(likeliest(&[f32::NEG_INFINITY; 3]), 0);
        assert_eq!(likeliest(&[f32::NAN, 1.0]), 1);
    }
}
