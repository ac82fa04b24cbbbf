//! Random conversations: begun, continued, branched, resumed after a long while, forgotten. What is said
//! follows from the seed and from the answers of the uncached hub.

use serde_json::{Value, json};

use super::verdict::{ALTERNATIVES, Said};

/// Numbers from a seed (SplitMix64).
#[derive(Debug, Clone)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from `range`.
    pub(super) fn within(&mut self, range: std::ops::Range<usize>) -> usize {
        range.start + (self.next() % (range.end - range.start) as u64) as usize
    }

    pub(super) fn percent(&mut self, percent: u64) -> bool {
        self.next() % 100 < percent
    }
}

/// How a model is talked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tongue {
    /// It has a chat template, and a vocabulary of so many tokens that mean nothing.
    Chat { vocabulary: u32 },
    /// It goes on with English text.
    Text,
}

/// How an answer is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    Whole,
    Streamed,
    /// Streamed, and the client goes away after so many events.
    Cancelled {
        after_events: usize,
    },
}

/// One thing to ask.
#[derive(Debug, Clone)]
pub(super) struct Turn {
    /// Which model, by its place in the list.
    pub(super) model: usize,
    /// Which conversation of that model.
    pub(super) conversation: usize,
    pub(super) manner: Manner,
    /// Whether the answer tells log-probabilities.
    pub(super) tells_logprobs: bool,
    pub(super) path: &'static str,
    /// The request, without what the manner and the wish for log-probabilities change.
    body: Value,
}

impl Turn {
    /// The request as this turn wants it, but for its manner.
    pub(super) fn body(&self, manner: Manner) -> Value {
        let mut body = self.body.clone();
        if !self.tells_logprobs {
            let fields = body.as_object_mut().unwrap();
            fields.remove("logprobs");
            fields.remove("top_logprobs");
        }
        body["stream"] = json!(manner != Manner::Whole);
        body
    }

    /// The request as the uncached hub gets it: whole, with log-probabilities.
    pub(super) fn plain_body(&self) -> Value {
        self.body.clone()
    }
}

/// What a conversation has said so far.
#[derive(Debug, Clone)]
enum Form {
    Chat(Vec<Value>),
    Tokens(Vec<u32>),
    Text(String),
}

#[derive(Debug, Clone)]
struct Conversation {
    form: Form,
    /// Tokens of its last prompt.
    tokens: u64,
    /// When it was used last, in turns.
    used: u64,
}

/// How long things are, in tokens or words.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lengths {
    /// A conversation whose prompt was longer than this is not continued.
    pub(super) tokens_max: u64,
    /// What a prompt of tokens begins with, at most.
    pub(super) beginning_tokens_max: usize,
    /// What each turn adds, at most.
    pub(super) turn_words_max: usize,
    /// An answer, at most.
    pub(super) answer_tokens_max: usize,
}

pub(super) const COMPLETIONS: &str = "/v1/completions";
const CHAT: &str = "/v1/chat/completions";

/// Beginnings that conversations share.
const SYSTEM_PROMPTS: usize = 4;

/// Conversations of each model that may be resumed; of more, some are forgotten.
const CONVERSATIONS_MAX: usize = 40;

const CONSONANTS: &[u8] = b"bcdfghjklmnpqrstvwxyz";
const VOWELS: &[u8] = b"aeiou";
const ENGLISH: [&str; 16] = [
    "Once", "there", "was", "a", "little", "girl", "named", "Lily", "who", "loved", "to", "play",
    "with", "her", "dog", "outside",
];

/// All conversations with all models.
#[derive(Debug)]
pub(super) struct Talk {
    tongues: Vec<Tongue>,
    names: Vec<String>,
    lengths: Lengths,
    conversations: Vec<Vec<Conversation>>,
    systems: Vec<String>,
    turns: u64,
    /// How often conversations were begun, continued, branched, resumed, and asked the same again.
    pub(super) kinds: [u64; 5],
}

impl Talk {
    pub(super) fn new(models: &[(String, Tongue)], lengths: Lengths, random: &mut Random) -> Self {
        let systems = (0..SYSTEM_PROMPTS)
            .map(|number| words(random, 20 + 40 * number * lengths.turn_words_max / 100))
            .collect();
        Self {
            tongues: models.iter().map(|(_, tongue)| *tongue).collect(),
            names: models.iter().map(|(name, _)| name.clone()).collect(),
            lengths,
            conversations: vec![Vec::new(); models.len()],
            systems,
            turns: 0,
            kinds: [0; 5],
        }
    }

    /// What to ask this model next. `busy` are its conversations that are being asked already.
    pub(super) fn turn(&mut self, model: usize, busy: &[usize], random: &mut Random) -> Turn {
        self.turns += 1;
        let conversation = self.choose(model, busy, random);
        let tokens_max = random.within(4..self.lengths.answer_tokens_max + 1);
        let manner = match random.within(0..100) {
            0..55 => Manner::Whole,
            55..85 => Manner::Streamed,
            _ => Manner::Cancelled { after_events: random.within(1..tokens_max.max(2)) },
        };
        let chosen = &mut self.conversations[model][conversation];
        chosen.used = self.turns;
        let (path, body) = body(&self.names[model], &chosen.form, tokens_max);
        // Of raw text the bytes of its tokens are not told, so that texts alone cannot be compared.
        let tells_logprobs = path == COMPLETIONS || random.percent(75);
        Turn { model, conversation, manner, tells_logprobs, path, body }
    }

    /// What the uncached hub answered becomes part of the conversation.
    pub(super) fn heard(&mut self, turn: &Turn, said: &Said) {
        let chosen = &mut self.conversations[turn.model][turn.conversation];
        chosen.tokens = said.prompt_tokens;
        match &mut chosen.form {
            Form::Chat(messages) => {
                messages.push(json!({"role": "assistant", "content": said.text}));
            }
            // The answer's tokens are not known by their numbers: its client dropped it.
            Form::Tokens(_) => {}
            Form::Text(text) => *text += &said.text,
        }
    }

    /// Forgets conversations beyond the most there may be. Nobody may be asking any.
    pub(super) fn forget(&mut self, random: &mut Random) {
        for conversations in &mut self.conversations {
            while conversations.len() > CONVERSATIONS_MAX {
                conversations.swap_remove(random.within(0..conversations.len()));
            }
        }
    }

    fn choose(&mut self, model: usize, busy: &[usize], random: &mut Random) -> usize {
        let all = &self.conversations[model];
        let mut open: Vec<usize> = (0..all.len()).filter(|index| !busy.contains(index)).collect();
        open.sort_by_key(|index| std::cmp::Reverse(all[*index].used));
        let draw = random.within(0..100);
        if open.is_empty() || draw < 30 {
            return self.begin(model, random);
        }
        // Those used last are continued, any may be resumed or branched.
        let recent = open[random.within(0..open.len().min(3))];
        let any = open[random.within(0..open.len())];
        match draw {
            30..65 => self.go_on(model, recent, 1, random),
            65..80 => {
                let copy = self.branch(model, any, random);
                self.go_on(model, copy, 2, random)
            }
            80..94 => self.go_on(model, any, 3, random),
            _ => {
                self.kinds[4] += 1;
                self.take_answer_back(model, recent);
                recent
            }
        }
    }

    fn begin(&mut self, model: usize, random: &mut Random) -> usize {
        self.kinds[0] += 1;
        let most = self.lengths.beginning_tokens_max;
        let form = match self.tongues[model] {
            Tongue::Chat { vocabulary } if random.percent(40) => {
                let count = random.within(1..most + 1);
                Form::Tokens(tokens(random, count, vocabulary))
            }
            Tongue::Chat { .. } => {
                let system = &self.systems[random.within(0..SYSTEM_PROMPTS)];
                let count = random.within(1..self.lengths.turn_words_max + 1);
                Form::Chat(vec![
                    json!({"role": "system", "content": system}),
                    json!({"role": "user", "content": words(random, count)}),
                ])
            }
            Tongue::Text => Form::Text(english(random, most / 4)),
        };
        let conversations = &mut self.conversations[model];
        conversations.push(Conversation { form, tokens: 0, used: self.turns });
        conversations.len() - 1
    }

    /// Adds what the user says next. One that is long enough is followed by a new one.
    fn go_on(&mut self, model: usize, index: usize, kind: usize, random: &mut Random) -> usize {
        if self.conversations[model][index].tokens > self.lengths.tokens_max {
            return self.begin(model, random);
        }
        self.kinds[kind] += 1;
        let count = random.within(1..self.lengths.turn_words_max + 1);
        let tongue = self.tongues[model];
        match &mut self.conversations[model][index].form {
            Form::Chat(messages) => {
                messages.push(json!({"role": "user", "content": words(random, count)}));
            }
            Form::Tokens(sofar) => {
                let Tongue::Chat { vocabulary } = tongue else { return index };
                sofar.extend(tokens(random, count, vocabulary));
            }
            Form::Text(text) => {
                text.push(' ');
                *text += &english(random, count / 2);
            }
        }
        index
    }

    /// A copy of a conversation that ends somewhere within it.
    fn branch(&mut self, model: usize, index: usize, random: &mut Random) -> usize {
        let mut copy = self.conversations[model][index].clone();
        match &mut copy.form {
            Form::Chat(messages) => messages.truncate(1 + random.within(0..messages.len()) / 2 * 2),
            Form::Tokens(tokens) => tokens.truncate(random.within(1..tokens.len() + 1)),
            Form::Text(text) => {
                let spaces: Vec<usize> = text.match_indices(' ').map(|(at, _)| at).collect();
                if !spaces.is_empty() {
                    text.truncate(spaces[random.within(0..spaces.len())]);
                }
            }
        }
        self.conversations[model].push(copy);
        self.conversations[model].len() - 1
    }

    /// The same is asked again.
    fn take_answer_back(&mut self, model: usize, index: usize) {
        if let Form::Chat(messages) = &mut self.conversations[model][index].form
            && messages.last().is_some_and(|message| message["role"] == "assistant")
        {
            messages.pop();
        }
    }
}

/// The request for what follows.
fn body(model: &str, form: &Form, tokens_max: usize) -> (&'static str, Value) {
    let mut body = json!({
        "model": model, "max_tokens": tokens_max, "temperature": 0, "ignore_eos": true
    });
    match form {
        Form::Chat(messages) => {
            body["messages"] = json!(messages);
            body["logprobs"] = json!(true);
            body["top_logprobs"] = json!(ALTERNATIVES);
            return (CHAT, body);
        }
        Form::Tokens(tokens) => body["prompt"] = json!(tokens),
        Form::Text(text) => body["prompt"] = json!(text),
    }
    body["logprobs"] = json!(ALTERNATIVES);
    (COMPLETIONS, body)
}

/// Words of the made vocabularies: syllables of a consonant and a vowel.
pub(super) fn words(random: &mut Random, count: usize) -> String {
    let mut text = String::new();
    for _ in 0..count {
        for _ in 0..random.within(1..4) {
            text.push(CONSONANTS[random.within(0..CONSONANTS.len())].into());
            text.push(VOWELS[random.within(0..VOWELS.len())].into());
        }
        text.push(' ');
    }
    text.truncate(text.trim_end().len());
    text
}

pub(super) fn english(random: &mut Random, count: usize) -> String {
    let words = (0..count.max(1)).map(|_| ENGLISH[random.within(0..ENGLISH.len())]);
    words.collect::<Vec<_>>().join(" ")
}

/// Tokens that are neither control tokens nor the one that no prompt begins with.
pub(super) fn tokens(random: &mut Random, count: usize, vocabulary: u32) -> Vec<u32> {
    (0..count).map(|_| 2 + random.within(0..vocabulary as usize - 16) as u32).collect()
}

/// What the uncached hub is asked in between, so that no prompt finds anything of the one before: no
/// prompt begins with it. Texts do begin with the first token of that vocabulary.
pub(super) fn nothing(model: &str, tongue: Tongue) -> Value {
    json!({"model": model, "prompt": [1 + u32::from(tongue == Tongue::Text)], "max_tokens": 1, "temperature": 0})
}
