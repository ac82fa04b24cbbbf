//! LoRA adapters of a loaded model: all are loaded with it, and each step says how strongly they act.
//!
//! Not here: llama.cpp's calls (`llama::adapter`), which steps want which scales (`planner::batch`).

use engine::DecodeError;
use planner::adapter;
use planner::batch::Scales;
use worker_protocol::{Load, LoadFailure};

use crate::header;
use crate::llama::{Adapter, Context, Weights};
use crate::model::unusable;

/// The adapters of a model. The default is none.
#[derive(Default)]
pub(crate) struct Adapters {
    /// What was asked for.
    all: Vec<worker_protocol::Adapter>,
    /// The same in llama.cpp.
    loaded: Vec<Adapter>,
}

impl Adapters {
    /// Loads those of a model, each held against it first: llama.cpp says why it refuses one in its log alone.
    pub(crate) fn load(load: &Load, weights: &Weights) -> Result<Self, LoadFailure> {
        let model = if load.adapters.is_empty() { None } else { header::read(&load.path) };
        let one = |one: &worker_protocol::Adapter| {
            let refused = |why: &str| {
                unusable(&load.path, &format!("the adapter {} {why}", one.path.display()))
            };
            if let Some((model, header)) = model.as_ref().zip(header::read(&one.path)) {
                adapter::check(model, &header).map_err(|why| refused(&why))?;
            }
            weights.adapter(&one.path).ok_or_else(|| {
                refused("cannot be loaded; the worker's log says why, and one that was cut short must be \
                         got again")
            })
        };
        let loaded = load.adapters.iter().map(one).collect::<Result<_, _>>()?;
        Ok(Self { all: load.adapters.clone(), loaded })
    }

    pub(crate) fn all(&self) -> &[worker_protocol::Adapter] {
        &self.all
    }

    /// The scales of a request that chooses none.
    pub(crate) fn own(&self) -> Scales {
        Scales::new(self.all.iter().map(|adapter| adapter.scale.0))
    }

    /// Lets them act with these scales in the context's next steps. Costs nothing where they do already.
    pub(crate) fn act(&self, scales: &Scales, context: &mut Context) -> Result<(), DecodeError> {
        if self.loaded.is_empty() {
            return Ok(());
        }
        let acting: Vec<(Adapter, f32)> = self.loaded.iter().copied().zip(scales.iter()).collect();
        let why = "llama.cpp refuses the model's adapters; the worker's log says why";
        context.set_adapters(&acting).then_some(()).ok_or_else(|| DecodeError(why.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use engine::{Model as _, Row};
    use planner::batch::{Accepted, Batch, Rates, Shape};

    use super::*;
    use crate::exact::models;
    use crate::model::LlamaModel;

    /// Logits of the same weights in other steps and other cells: sums in another order. Other scales are
    /// apart by much more.
    const TOLERANCE: f32 = 1e-3;

    /// Tokens of each answer.
    const ANSWER_TOKENS: usize = 12;

    fn prompt(length: u32) -> Vec<u32> {
        (0..length).map(|at| 3 + (at * at * 7 + at) % 900).collect()
    }

    fn likeliest(logits: &[f32]) -> u32 {
        let tokens = (0..).zip(logits);
        tokens.max_by(|one, other| one.1.total_cmp(other.1)).map(|(token, _)| token).unwrap()
    }

    /// Answers the same prompt with each of these scales at once, as the engine's loop does; of each answer
    /// the logits of all its tokens. Between two steps something is embedded.
    fn answers(model: &mut LlamaModel, scales: &[Scales], embeds: bool) -> Vec<Vec<Vec<f32>>> {
        let mut batch = Batch::new(Shape {
            cells: model.facts().context_tokens,
            sequences: model.facts().sequences_max,
            step_tokens_max: 64,
            trims: model.trims(),
            keeps_states: false,
            outputs_max: model.outputs_max(),
            takes_back_max: model.takes_back_max(),
        });
        let mut answers: BTreeMap<u64, Vec<Vec<f32>>> = BTreeMap::new();
        for (key, scales) in (0..).zip(scales) {
            batch.submit_as(key, prompt(150), Vec::new(), scales.clone()).unwrap();
        }
        let (mut steps, mut changes, mut last) = (0, 0, None);
        while !batch.is_idle() {
            for admission in batch.admit(Rates::default(), &mut |_, _, _| None) {
                assert_eq!(admission.source, None, "nothing is shared between other scales");
                model.clear(admission.sequence);
            }
            if embeds && steps % 5 == 2 {
                model.embed(&[&prompt(9)]).unwrap();
            }
            let step = batch.step(None);
            changes += usize::from(last.replace(step.scales.clone()) != Some(step.scales.clone()));
            model.adapt(&step.scales).unwrap();
            let row = |row: &planner::batch::Row| Row {
                token: row.token,
                position: row.position,
                sequence: row.sequence,
                output: row.output,
            };
            let rows: Vec<Row> = step.rows.iter().map(row).collect();
            model.decode(&rows).unwrap();
            for (index, row) in step.rows.iter().enumerate().filter(|(_, row)| row.output) {
                let logits = model.logits(index).to_vec();
                let token = likeliest(&logits);
                let answer = answers.entry(row.key).or_default();
                answer.push(logits);
                if answer.len() < ANSWER_TOKENS {
                    assert_eq!(batch.accept(row.key, token), Accepted::Continues);
                } else {
                    batch.release(row.key);
                }
            }
            steps += 1;
            assert!(steps < 1000, "it never ends");
        }
        assert!(scales.len() < 2 || changes > 2 * scales.len(), "{changes} changes: no turns");
        answers.into_values().collect()
    }

    fn apart(one: &[Vec<f32>], other: &[Vec<f32>]) -> f32 {
        let pairs = one.iter().flatten().zip(other.iter().flatten());
        pairs.map(|(one, other)| (one - other).abs()).fold(0.0, f32::max)
    }

    /// What a worker computes for requests with other scales that run at once is what workers compute that
    /// were loaded with one each.
    #[test]
    fn scales_of_requests_at_once_are_those_of_models_that_were_loaded_with_them() {
        let folder = tempfile::tempdir().unwrap();
        for architecture in ["qwen3", "gemma3"] {
            let path = models::made(architecture, "f32", folder.path());
            let adapters = ["7", "8"]
                .map(|seed| models::made_adapter(architecture, "tiny", seed, folder.path()));
            let load = |scales: [f32; 2], sequences| {
                let [one, other] = [0, 1].map(|place| (&*adapters[place], scales[place]));
                models::load_adapted(&path, &[one, other], sequences)
            };
            let choices = [[1.0, 0.0], [0.0, 0.0], [0.5, 0.0], [0.25, -1.0]];
            let scales = choices.map(Scales::new);
            let mut model = load([1.0, 0.0], 4);
            let embedded = model.embed(&[&prompt(9)]).unwrap();
            let together = answers(&mut model, &scales, true);
            let again = model.embed(&[&prompt(9)]).unwrap();
            let vectors = apart(&embedded, &again);
            assert!(vectors < TOLERANCE, "embedding is with the model's own: {vectors} apart");
            let alone: Vec<_> = choices
                .iter()
                .map(|choice| {
                    answers(&mut load(*choice, 1), &[Scales::new(*choice)], false).remove(0)
                })
                .collect();
            for (place, one) in together.iter().enumerate() {
                assert_eq!(one.len(), ANSWER_TOKENS);
                for (other_place, other) in alone.iter().enumerate() {
                    let apart = apart(one, other);
                    let names = format!("{architecture}: {place} and {other_place}: {apart}");
                    if place == other_place {
                        assert!(apart < TOLERANCE, "{names}");
                    } else {
                        assert!(apart > 20.0 * TOLERANCE, "{names}");
                    }
                }
            }
        }
    }
}
