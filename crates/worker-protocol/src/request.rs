//! The canonical request: what a client wants, whatever dialect it was said in.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{bytes, words::Scale};

/// A request for text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Generate {
    /// What to continue.
    pub prompt: Prompt,
    /// How the next token is chosen.
    pub sampling: Sampling,
    /// Tokens to generate at most; `None` goes on until the model stops or the context is full.
    pub tokens_max: Option<u32>,
    /// Strings that end the text; none of them is part of it.
    pub stop: Vec<String>,
    /// Report each token's log-probability with this many alternatives; `None` reports none.
    pub logprobs: Option<u8>,
    /// Go on past the end-of-text token. For benches, which need an exact number of tokens.
    pub ignore_end: bool,
    /// What the answer must look like; `None` leaves that to the model. The model's reasoning before
    /// the answer is free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub constraint: Option<Constraint>,
    /// Tokens of reasoning at most; behind them it is closed for the model, so that an answer comes.
    /// 0 leaves none; `None` leaves that to the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning_tokens_max: Option<u32>,
    /// How strongly the model's adapters act; those that are not listed do not act at all. `None` leaves
    /// all as the model was loaded with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adapters: Option<Vec<ChosenAdapter>>,
}

impl Generate {
    /// A request with default sampling and no limits.
    #[must_use]
    pub fn new(prompt: Prompt) -> Self {
        Self {
            prompt,
            sampling: Sampling::default(),
            tokens_max: None,
            stop: Vec::new(),
            logprobs: None,
            ignore_end: false,
            constraint: None,
            reasoning_tokens_max: None,
            adapters: None,
        }
    }
}

/// An adapter of the model, and how strongly it acts in one request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChosenAdapter {
    /// Which one.
    pub adapter: WhichAdapter,
    /// How strongly.
    pub scale: Scale,
}

/// How a request says which adapter it means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum WhichAdapter {
    /// By its place among the model's, counted from 0.
    Place(u32),
    /// By its name.
    Name(String),
}

/// What an answer must look like. Tokens that would break it are never drawn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Constraint {
    /// Any JSON object.
    Json,
    /// JSON that a JSON Schema (2020-12 or older) describes. Keywords that cannot be enforced are
    /// refused, not passed over.
    JsonSchema(Value),
    /// Text of a grammar in llguidance's form of Lark.
    Lark(String),
}

/// What to continue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Prompt {
    /// A conversation, rendered with the model's own chat template.
    Chat(Chat),
    /// Text as it stands; special tokens in it are text, the model's begin token is added.
    Text(String),
    /// Token ids as they stand; nothing is added.
    Tokens(Vec<u32>),
    /// What stands between two texts, by a model that was trained to fill it in.
    Infill(Infill),
}

/// Two texts, and what else a model should have seen to write what stands between them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Infill {
    /// The text before the gap.
    pub before: String,
    /// The text behind it.
    pub after: String,
    /// What the filling begins with; the model goes on from there.
    pub begun: String,
    /// Parts of other files, the least important first.
    pub snippets: Vec<Snippet>,
}

impl Infill {
    /// The text before the gap with the snippets in front of it, for servers that have no field for
    /// them.
    #[must_use]
    pub fn before_with_snippets(&self) -> String {
        let snippets = self.snippets.iter();
        let snippets = snippets.flat_map(|snippet| [&*snippet.file, "\n", &*snippet.text, "\n\n"]);
        snippets.chain([&*self.before]).collect()
    }
}

/// A part of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snippet {
    /// The file's name.
    pub file: String,
    /// What stands in it.
    pub text: String,
}

/// A conversation and what its template may refer to.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Chat {
    /// Oldest first.
    pub messages: Vec<Message>,
    /// Tools as JSON in OpenAI's form (`{"type":"function","function":{…}}`), which is what chat
    /// templates expect.
    pub tools: Vec<Value>,
    /// Documents for templates that know them (`{"title":…,"text":…}`).
    pub documents: Vec<Value>,
    /// Further template variables (`enable_thinking` and the like).
    pub variables: Map<String, Value>,
    /// Whether the answer calls tools.
    #[serde(default, skip_serializing_if = "ToolChoice::is_auto")]
    pub tool_choice: ToolChoice,
    /// The answer ends behind its first call.
    #[serde(default, skip_serializing_if = "is_false")]
    pub one_call: bool,
    /// The last message is the assistant's own, and the answer goes on from its text.
    #[serde(default, skip_serializing_if = "is_false")]
    pub continues: bool,
    /// Where it is longer than the context its oldest turns are left out; else it is refused.
    #[serde(default, skip_serializing_if = "is_false")]
    pub shortens: bool,
}

/// Whether an answer calls the tools that are offered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToolChoice {
    /// As the model likes.
    #[default]
    Auto,
    /// It calls none; what looks like a call is text.
    None,
    /// It calls at least one, of those with these names; of all where none is named.
    Required(Vec<String>),
}

impl ToolChoice {
    fn is_auto(&self) -> bool {
        *self == Self::Auto
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

/// One message of a conversation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// Who says it.
    pub role: Role,
    /// The text; `None` for an assistant's message that holds only tool calls.
    pub content: Option<String>,
    /// What the assistant thought before it.
    pub reasoning: Option<String>,
    /// Calls that the assistant made.
    pub tool_calls: Vec<ToolCall>,
    /// The call that a tool's message answers.
    pub tool_call_id: Option<String>,
    /// Name of the speaker or of the tool.
    pub name: Option<String>,
    /// Pictures and sounds in it, in the order of their places.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub media: Vec<Media>,
}

impl Message {
    /// A plain text message.
    #[must_use]
    pub fn text(role: Role, content: impl Into<String>) -> Self {
        Self {
            role,
            content: Some(content.into()),
            reasoning: None,
            tool_calls: Vec::new(),
            tool_call_id: None,
            name: None,
            media: Vec::new(),
        }
    }
}

/// A picture or a sound in a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Media {
    /// Bytes of the message's content before it, always at the boundary of a character; 0 where there is
    /// no content.
    pub at: u32,
    /// What it is.
    pub kind: MediaKind,
    /// The file as it came.
    #[serde(with = "bytes")]
    pub bytes: Vec<u8>,
}

/// What a model can take beside text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MediaKind {
    /// A picture: PNG, JPEG, WebP, BMP or GIF, of which the first picture counts.
    Image,
    /// A sound: WAV, MP3 or FLAC.
    Audio,
}

/// Who says a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Instructions.
    System,
    /// Instructions, in the word of newer OpenAI clients.
    Developer,
    /// The person.
    User,
    /// The model.
    Assistant,
    /// A tool's result.
    Tool,
}

impl Role {
    /// The word that chat templates compare with.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Developer => "developer",
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::Tool => "tool",
        }
    }
}

/// A call of a tool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolCall {
    /// Ties the call to its result.
    pub id: String,
    /// Name of the function.
    pub name: String,
    /// Arguments as a JSON object.
    pub arguments: Value,
}

/// How the next token is chosen. The defaults are llama.cpp's. The samplers run in this order:
/// logit bias, penalties, DRY, top-k, typical, top-p, min-p, XTC, temperature, then a draw; with
/// mirostat only bias, penalties, DRY and temperature precede it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sampling {
    /// Flattens (above 1) or sharpens (below 1) the distribution; 0 always takes the likeliest.
    pub temperature: f32,
    /// Keep the k likeliest tokens; 0 keeps all.
    pub top_k: u32,
    /// Keep the likeliest tokens that together have this probability; 1 keeps all.
    pub top_p: f32,
    /// Drop tokens less likely than this share of the likeliest; 0 drops none.
    pub min_p: f32,
    /// Locally typical sampling; 1 is off.
    pub typical_p: f32,
    /// Divides the logit of tokens seen lately; 1 is off.
    pub repeat_penalty: f32,
    /// Tokens that the three penalties look back on; 0 is off, -1 the whole context.
    pub penalty_last_tokens: i32,
    /// Subtracted once from tokens seen lately.
    pub presence_penalty: f32,
    /// Subtracted for every time a token was seen lately.
    pub frequency_penalty: f32,
    /// "Don't repeat yourself": punishes continuing a repeated sequence.
    pub dry: Option<Dry>,
    /// "Exclude top choices".
    pub xtc: Option<Xtc>,
    /// Mirostat replaces top-k, top-p, min-p, typical and XTC.
    pub mirostat: Option<Mirostat>,
    /// Added to the logits of these tokens.
    pub logit_bias: Vec<(u32, f32)>,
    /// Seed of the draw; `None` draws a fresh one.
    pub seed: Option<u32>,
    /// Which of them were said. What was not may be what the model has instead. It never leaves the hub,
    /// which fills them in.
    #[serde(skip)]
    pub said: Vec<Parameter>,
}

/// A parameter of [`Sampling`] that has a value though nobody says one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parameter {
    /// `temperature`
    Temperature,
    /// `top_k`
    TopK,
    /// `top_p`
    TopP,
    /// `min_p`
    MinP,
    /// `typical_p`
    TypicalP,
    /// `repeat_penalty`
    RepeatPenalty,
    /// `penalty_last_tokens`
    PenaltyLastTokens,
    /// `presence_penalty`
    PresencePenalty,
    /// `frequency_penalty`
    FrequencyPenalty,
    /// `seed`: said where a fresh one is asked for, too.
    Seed,
    /// [`Generate::tokens_max`]: said where no bound is asked for, too.
    TokensMax,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            temperature: 0.8,
            top_k: 40,
            top_p: 0.95,
            min_p: 0.05,
            typical_p: 1.0,
            repeat_penalty: 1.0,
            penalty_last_tokens: 64,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            dry: None,
            xtc: None,
            mirostat: None,
            logit_bias: Vec::new(),
            seed: None,
            said: Vec::new(),
        }
    }
}

impl Sampling {
    /// Always the likeliest token.
    #[must_use]
    pub fn greedy() -> Self {
        Self { temperature: 0.0, ..Self::default() }
    }

    /// Takes over what `other` says and this does not.
    pub fn fill_in(&mut self, other: &Self) {
        for parameter in &other.said {
            if self.said.contains(parameter) {
                continue;
            }
            match parameter {
                Parameter::Temperature => self.temperature = other.temperature,
                Parameter::TopK => self.top_k = other.top_k,
                Parameter::TopP => self.top_p = other.top_p,
                Parameter::MinP => self.min_p = other.min_p,
                Parameter::TypicalP => self.typical_p = other.typical_p,
                Parameter::RepeatPenalty => self.repeat_penalty = other.repeat_penalty,
                Parameter::PenaltyLastTokens => {
                    self.penalty_last_tokens = other.penalty_last_tokens;
                }
                Parameter::PresencePenalty => self.presence_penalty = other.presence_penalty,
                Parameter::FrequencyPenalty => self.frequency_penalty = other.frequency_penalty,
                Parameter::Seed => self.seed = other.seed,
                // It is not among them.
                Parameter::TokensMax => continue,
            }
            self.said.push(*parameter);
        }
    }
}

/// Parameters of the DRY sampler.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Dry {
    /// Strength; the penalty is `multiplier * base ^ (length - allowed_length)`.
    pub multiplier: f32,
    /// Growth with the length of the repetition.
    pub base: f32,
    /// Repetitions up to this many tokens go free.
    pub allowed_length: u32,
    /// Tokens to look back on; -1 the whole context.
    pub last_tokens: i32,
    /// A repetition ends at any of these strings.
    pub sequence_breakers: Vec<String>,
}

/// Parameters of the XTC sampler.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Xtc {
    /// Chance that the sampler acts at all.
    pub probability: f32,
    /// Of the tokens at least this likely, all but the least likely go.
    pub threshold: f32,
}

/// Parameters of mirostat.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Mirostat {
    /// Which of the two algorithms.
    pub version: MirostatVersion,
    /// Target surprise.
    pub tau: f32,
    /// Learning rate.
    pub eta: f32,
}

/// The two algorithms of the mirostat paper.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum MirostatVersion {
    /// Mirostat.
    One,
    /// Mirostat 2.0.
    Two,
}

/// A request for embeddings. Each input is answered by one `Event::Embedded`, then `Finished`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Embed {
    /// What to embed, in order.
    pub inputs: Vec<EmbedInput>,
    /// Whether an input that is longer than the model takes is cut at its end; otherwise it is refused.
    #[serde(default)]
    pub truncate: bool,
}

/// One thing to embed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum EmbedInput {
    /// Text; the model's own special tokens are added.
    Text(String),
    /// Token ids as they stand.
    Tokens(Vec<u32>),
}

/// A request to say how well documents answer a query. Each document is answered by one `Event::Ranked`,
/// then `Finished`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rank {
    /// What is asked.
    pub query: String,
    /// What may answer it.
    pub documents: Vec<String>,
    /// Whether a document that is longer than the model takes beside the query is cut at its end;
    /// otherwise it is refused.
    pub truncate: bool,
    /// Tokens of a document that are read at most; what is behind them is left out.
    pub document_tokens_max: Option<u32>,
}
