//! Before a soak begins: how far rounding goes with each model, and whether what is not rounding would be
//! seen. No cache has a part in it: what is asked was never asked before, or of the hub that keeps
//! nothing.

use std::thread;

use serde_json::{Value, json};

use super::talk::{self, COMPLETIONS, Lengths, Random, Tongue};
use super::verdict::{ALTERNATIVES, Noise, Said, Verdict, compare};
use super::world::{Model, World};

/// Prompts of each model by which rounding is measured.
const PROMPTS: usize = 12;

/// Prompts that are computed beside each other. That rounds by far the most: the same row of a step is
/// computed by other kernels when there are more of them.
const BESIDE: usize = 3;

/// How often the prompts are computed beside each other, each time in other steps.
const BESIDE_ROUNDS: usize = 3;

/// Wrong caches of each model that are played: one for each prompt.
const PLANTED: usize = PROMPTS;

/// How many of these must be seen. The texts of random models part by little now and then, and a machine
/// with other work rounds by more; a cache that is wrong is so for many of the turns that follow.
const CAUGHT_MIN: usize = PLANTED - 1;

/// Tokens of an answer.
const ANSWER_TOKENS: usize = 24;

/// The bound of each model, by its place in the list. Panics where a wrong cache would pass.
pub(super) fn noise(world: &World, lengths: &Lengths, random: &mut Random) -> Vec<Noise> {
    (0..world.models.len()).map(|model| noise_of(world, model, lengths, random)).collect()
}

fn noise_of(world: &World, model: usize, lengths: &Lengths, random: &mut Random) -> Noise {
    let most = lengths.beginning_tokens_max;
    let prompts: Vec<Prompt> = (1..=PROMPTS)
        .map(|number| {
            Prompt::new(world.models[model].tongue, (most * number / PROMPTS).max(4), random)
        })
        .collect();
    let mut answers: Vec<(Said, Said)> =
        prompts.iter().flat_map(|prompt| same_answers(world, model, prompt)).collect();
    answers.extend(answers_beside(world, model, most, random));
    let noise = Noise::measure(answers.iter().map(|(one, other)| (one, other)));
    let mut caught = 0;
    for right in &prompts {
        let wrong = right.damaged(random);
        let ask = |prompt: &Prompt| {
            world.uncached_body(model, COMPLETIONS, &prompt.body(&world.models[model].name))
        };
        let verdict = compare(&ask(&wrong), &ask(right), noise);
        caught += usize::from(matches!(verdict, Verdict::Wrong(_)));
    }
    println!(
        "{}: rounding {noise}; {caught} of {PLANTED} wrong caches seen",
        world.models[model].name
    );
    let name = &world.models[model].name;
    assert!(caught >= CAUGHT_MIN, "{caught} of {PLANTED} wrong caches of {name} were seen only");
    noise
}

/// Pairs of answers that only rounding tells apart: to a prompt computed at once, and to the same when
/// its beginning was there already, half of it or nearly all. A state cannot be taken back, so that
/// beginning is asked for alone, and for one token, which is not computed any more.
fn same_answers(world: &World, model: usize, prompt: &Prompt) -> Vec<(Said, Said)> {
    let name = &world.models[model].name;
    let cold = world.uncached_body(model, COMPLETIONS, &prompt.body(name));
    let later = |beginning: Prompt| {
        let mut body = beginning.body(name);
        body["max_tokens"] = json!(1);
        world.uncached_body(model, COMPLETIONS, &body);
        let said = world.uncached_again(COMPLETIONS, &prompt.body(name));
        assert!(said.hits.live > 0, "{name}: {:?} of {} tokens", said.hits, said.prompt_tokens);
        (cold.clone(), said)
    };
    vec![later(prompt.cut(prompt.len().div_ceil(2))), later(prompt.cut(prompt.len() - 1))]
}

/// Pairs of answers: to a prompt computed alone, and to the same computed beside others by a hub that has
/// never seen it.
fn answers_beside(
    world: &World,
    model: usize,
    tokens_max: usize,
    random: &mut Random,
) -> Vec<(Said, Said)> {
    let Model { name, tongue, .. } = &world.models[model];
    let mut pairs = Vec::new();
    for _ in 0..BESIDE_ROUNDS * PROMPTS / BESIDE {
        let prompt = |_| Prompt::new(*tongue, random.within(4..tokens_max + 1), random);
        let prompts: Vec<Prompt> = (0..BESIDE).map(prompt).collect();
        let beside: Vec<Said> = thread::scope(|scope| {
            let ask = |prompt: &Prompt| {
                let body = prompt.body(name);
                scope.spawn(move || world.unseen(&body))
            };
            let asked: Vec<_> = prompts.iter().map(ask).collect();
            asked.into_iter().map(|asked| asked.join().unwrap()).collect()
        });
        let alone = prompts
            .iter()
            .map(|prompt| world.uncached_body(model, COMPLETIONS, &prompt.body(name)));
        // Texts of few words begin alike.
        pairs.extend(alone.zip(beside).filter(|(_, beside)| beside.hits.tokens() == 0));
    }
    pairs
}

/// A prompt in the way that its model is talked to.
#[derive(Debug, Clone)]
enum Prompt {
    Tokens(Vec<u32>),
    Words(Vec<String>),
}

impl Prompt {
    fn new(tongue: Tongue, tokens: usize, random: &mut Random) -> Self {
        match tongue {
            Tongue::Chat { vocabulary } => Self::Tokens(talk::tokens(random, tokens, vocabulary)),
            Tongue::Text => {
                let text = talk::english(random, tokens / 4);
                Self::Words(text.split(' ').map(str::to_owned).collect())
            }
        }
    }

    /// Of tokens or of words.
    fn len(&self) -> usize {
        match self {
            Self::Tokens(tokens) => tokens.len(),
            Self::Words(words) => words.len(),
        }
    }

    /// The beginning, so long.
    fn cut(&self, length: usize) -> Self {
        match self {
            Self::Tokens(tokens) => Self::Tokens(tokens[..length].to_vec()),
            Self::Words(words) => Self::Words(words[..length].to_vec()),
        }
    }

    /// The same with other tokens in the last third, as if the block of another conversation had come
    /// back; what the prompt ends with stays.
    fn damaged(&self, random: &mut Random) -> Self {
        let mut copy = self.clone();
        match &mut copy {
            Self::Tokens(tokens) => {
                let end = tokens.len() - 1;
                let begin = end * 2 / 3;
                let others = talk::tokens(random, end - begin, 1024);
                tokens[begin..end].copy_from_slice(&others);
            }
            Self::Words(words) => {
                let end = words.len() - 1;
                let begin = end * 2 / 3;
                words[begin..end].reverse();
                words[begin] = "dog dog".to_owned();
            }
        }
        copy
    }

    fn body(&self, model: &str) -> Value {
        let prompt = match self {
            Self::Tokens(tokens) => json!(tokens),
            Self::Words(words) => json!(words.join(" ")),
        };
        json!({
            "model": model, "prompt": prompt, "max_tokens": ANSWER_TOKENS, "temperature": 0,
            "ignore_eos": true, "logprobs": ALTERNATIVES
        })
    }
}
