//! What an answer must look like, enforced token by token: a JSON schema or a grammar becomes a mask over
//! the vocabulary, and what it forbids is never drawn.
//!
//! llguidance does the work: it compiles the grammar and computes the masks. Here are the bounds around it
//! (`check`), the vocabulary that it reads (`vocabulary`), calls of tools as a grammar (`calls`), tools of
//! which less can be enforced (`loosening`), and when an answer is complete.
//!
//! Not here: which part of an answer is constrained (`generation`), and drawing (the sampler).

mod calls;
mod check;
mod expansion;
mod loosening;
mod parts;
mod vocabulary;

use std::collections::{BTreeSet, VecDeque};
use std::fmt::Debug;
use std::io::Write;
use std::sync::Arc;

use blake3::Hash;
use llguidance::api::{StopReason, TopLevelGrammar};
use llguidance::toktrie::SimpleVob;
use llguidance::{JsonCompileOptions, Matcher};
use serde_json::{Map, Value};
use worker_protocol::{Constraint, Failure, FailureKind};

use crate::limits::{
    COMPILE_STACK_BYTES, COMPILED_KEPT_MAX, CONSTRAINED_MAX, JSON_SPACE_MAX, LEADING_BLANKS_MAX,
    REASON_CHARS_MAX,
};
use crate::model::Model;
pub(crate) use calls::{Wanted, any_strict};
pub use vocabulary::Vocabulary;

/// What all constrained requests of one model share.
#[derive(Default)]
pub struct Grammars {
    /// Built for the first request that needs it.
    vocabulary: Option<Arc<Vocabulary>>,
    /// Grammars as they were compiled, each with what tells it from others, the last one asked for at the
    /// end: agents send the same tools with each request.
    compiled: VecDeque<(Hash, Guard)>,
    hard: loosening::Hard,
    /// Logits of the allowed tokens, with those of all others at minus infinity.
    pub(crate) masked: Vec<f32>,
}

impl Grammars {
    /// Compiles what a request wants. The first time takes as long as reading the vocabulary takes.
    ///
    /// # Errors
    /// [`FailureKind::Constraint`] with what is wrong with it, [`FailureKind::Overloaded`] when too many
    /// are held.
    pub(crate) fn compile<M: Model>(
        &mut self,
        model: &M,
        constraint: &Constraint,
    ) -> Result<Guard, Failure> {
        self.guard(model, key(constraint), |vocabulary| Guard::new(vocabulary, constraint))
    }

    /// Compiles calls of tools. Schemas that cannot be enforced are, as far as nobody asked for strictness,
    /// enforced in part.
    ///
    /// # Errors
    /// [`FailureKind::Invalid`] with what of the tools cannot be enforced, [`FailureKind::Constraint`] with
    /// what of the answer that may come instead, [`FailureKind::Overloaded`] when too many are held.
    pub(crate) fn compile_calls<M: Model>(
        &mut self,
        model: &M,
        wanted: &Wanted<'_>,
    ) -> Result<Guard, Failure> {
        let mut hard = std::mem::take(&mut self.hard);
        let guard = self.guard(model, key(wanted), |vocabulary| {
            loosening::compile(&vocabulary, wanted, &mut hard)
        });
        self.hard = hard;
        guard
    }

    /// A guard that was compiled before, or is now.
    fn guard<M: Model>(
        &mut self,
        model: &M,
        key: Hash,
        compile: impl FnOnce(Arc<Vocabulary>) -> Result<Guard, Failure>,
    ) -> Result<Guard, Failure> {
        let vocabulary = match &self.vocabulary {
            Some(vocabulary) => vocabulary,
            None => self.vocabulary.insert(Arc::new(read(model)?)),
        };
        // One is held here, one by each kept grammar, and one by each request.
        if Arc::strong_count(vocabulary) - self.compiled.len() > CONSTRAINED_MAX {
            return Err(Failure {
                kind: FailureKind::Overloaded,
                message: format!(
                    "{CONSTRAINED_MAX} answers of this model are being held to a schema, a grammar or to \
                     calls of tools; try again later"
                ),
            });
        }
        let kept = self.compiled.iter().position(|(kept, _)| *kept == key);
        let compiled = match kept.and_then(|at| self.compiled.remove(at)) {
            Some((_, guard)) => guard,
            None => compile(Arc::clone(vocabulary))?,
        };
        let guard = compiled.again();
        self.compiled.push_back((key, compiled));
        if self.compiled.len() > COMPILED_KEPT_MAX {
            self.compiled.pop_front();
        }
        Ok(guard)
    }
}

/// What tells this from anything else, in as few bytes however long it is.
fn key(wanted: &impl Debug) -> Hash {
    let mut hasher = blake3::Hasher::new();
    // A hash takes whatever is written into it.
    let _ = write!(hasher, "{wanted:?}");
    hasher.finalize()
}

fn read<M: Model>(model: &M) -> Result<Vocabulary, Failure> {
    let begun = std::time::Instant::now();
    let tokens = model.facts().vocabulary;
    let bytes = |token| model.token_bytes(token, false);
    let vocabulary = Vocabulary::new(tokens, bytes, |token| model.ends(token))
        .map_err(|reason| refused(&format!("this model's vocabulary cannot be read: {reason}")))?;
    tracing::info!(tokens, took = ?begun.elapsed(), "read the vocabulary for constrained answers");
    Ok(vocabulary)
}

/// Holds one answer to its constraint.
pub struct Guard {
    vocabulary: Arc<Vocabulary>,
    matcher: Matcher,
    /// White space behind it adds nothing to it.
    is_json: bool,
    /// Control tokens that its grammar names.
    marks: Vec<u32>,
    has_begun: bool,
    blanks_left: u8,
    /// The mask for the next token, once it was computed.
    allowed: Option<SimpleVob>,
    is_complete: bool,
}

impl Guard {
    /// Checks and compiles a constraint.
    ///
    /// # Errors
    /// [`FailureKind::Constraint`] with what is wrong with it.
    pub fn new(vocabulary: Arc<Vocabulary>, constraint: &Constraint) -> Result<Self, Failure> {
        let what = match constraint {
            Constraint::Json | Constraint::JsonSchema(_) => "the schema",
            Constraint::Lark(_) => "the grammar",
        };
        let refused = |reason: String| refused(&format!("{what} cannot be enforced: {reason}"));
        Self::compiled(vocabulary, || source(constraint)).map_err(refused)
    }

    /// Compiles calls of tools, of which some are held to less than they say.
    fn of_calls(
        vocabulary: Arc<Vocabulary>,
        wanted: &Wanted<'_>,
        loose: &BTreeSet<&str>,
    ) -> Result<Self, String> {
        Self::compiled(vocabulary, || {
            let calls::Grammar { lark, marks } = wanted.grammar(loose)?;
            Ok(Source { grammar: TopLevelGrammar::from_lark(lark), is_json: true, marks })
        })
    }

    fn compiled(
        vocabulary: Arc<Vocabulary>,
        source: impl FnOnce() -> Result<Source, String> + Send,
    ) -> Result<Self, String> {
        let (parser, is_json, marks) = guarded(|| {
            let Source { grammar, is_json, marks } = source()?;
            let parser = vocabulary.factory.create_parser(grammar).map_err(reason)?;
            Ok((parser, is_json, marks))
        })?;
        let mut guard = Self {
            vocabulary,
            matcher: Matcher::new(Ok(parser)),
            is_json,
            marks,
            has_begun: false,
            blanks_left: 0,
            allowed: None,
            is_complete: false,
        };
        // What cannot even begin is refused before the prompt is computed.
        guard.prepare_mask()?;
        Ok(guard)
    }

    /// The same from the beginning, which shares nothing that grows.
    pub(crate) fn again(&self) -> Self {
        Self {
            vocabulary: Arc::clone(&self.vocabulary),
            matcher: self.matcher.deep_clone(),
            marks: self.marks.clone(),
            allowed: self.allowed.clone(),
            ..*self
        }
    }

    /// Where the answer comes behind reasoning, or may, a little white space may stand between.
    pub(crate) fn after_reasoning(self, may_reason: bool) -> Self {
        let blanks_left = if may_reason && !self.has_begun { LEADING_BLANKS_MAX } else { 0 };
        Self { blanks_left, allowed: None, ..self }
    }

    /// Nothing is free before it.
    pub(crate) fn begun(self) -> Self {
        Self { has_begun: true, ..self }
    }

    /// Whether something of the constrained answer is there already.
    pub(crate) fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// Whether the answer is whole and nothing can be added to it.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// Begins with these tokens. `false` when no allowed answer begins so; nothing has changed then.
    pub(crate) fn begin_with(&mut self, tokens: &[u32]) -> bool {
        let takes_all =
            self.matcher.validate_tokens(tokens).is_ok_and(|valid| valid == tokens.len());
        takes_all && self.advance(tokens).is_ok()
    }

    /// Begins with text that came in one token with something before the answer. `false` when no allowed
    /// answer begins so; nothing has changed then.
    pub(crate) fn begin(&mut self, text: &str) -> bool {
        let trie = self.vocabulary.factory.tok_env().tok_trie();
        let tokens = trie.greedy_tokenize(text.as_bytes());
        trie.decode_raw(&tokens) == text.as_bytes() && self.begin_with(&tokens)
    }

    /// Copies logits into `masked`, with minus infinity for tokens that end the text.
    pub(crate) fn mask_ends(&self, logits: &[f32], masked: &mut Vec<f32>) {
        masked.clear();
        masked.extend_from_slice(logits);
        for end in self.vocabulary.ends.iter() {
            if let Some(logit) = masked.get_mut(end as usize) {
                *logit = f32::NEG_INFINITY;
            }
        }
    }

    /// Copies the logits of allowed tokens into `masked`; all others are minus infinity there.
    ///
    /// # Errors
    /// What went wrong in the grammar; the answer cannot go on.
    pub fn mask(&mut self, logits: &[f32], masked: &mut Vec<f32>) -> Result<(), Failure> {
        self.prepare_mask().map_err(|reason| broken(&reason))?;
        let words = self.allowed.as_ref().map_or(&[][..], SimpleVob::as_slice);
        masked.clear();
        masked.reserve(logits.len());
        let chunks = logits.chunks(u32::BITS as usize);
        for (chunk, word) in chunks.zip(words.iter().chain(std::iter::repeat(&0))) {
            match *word {
                0 => masked.extend(chunk.iter().map(|_| f32::NEG_INFINITY)),
                u32::MAX => masked.extend_from_slice(chunk),
                some => masked.extend((0..u32::BITS).zip(chunk).map(|(bit, logit)| {
                    if some >> bit & 1 == 1 { *logit } else { f32::NEG_INFINITY }
                })),
            }
        }
        Ok(())
    }

    /// A token was chosen, and not from what [`Self::mask`] left.
    ///
    /// # Errors
    /// The grammar has no place for it.
    pub(crate) fn follow(&mut self, token: u32) -> Result<(), Failure> {
        self.advance(&[token]).map_err(|reason| broken(&reason))
    }

    /// A token was drawn from what [`Self::mask`] left. One that ends the text changes nothing. `false`
    /// when it is white space before the answer and no part of it.
    ///
    /// # Errors
    /// What went wrong in the grammar, or that the token was not allowed; the answer cannot go on.
    pub fn accept(&mut self, token: u32) -> Result<bool, Failure> {
        let has = |set: &SimpleVob| (token as usize) < set.len() && set.is_allowed(token);
        if !self.allowed.as_ref().is_some_and(has) {
            return Err(broken("no token that is allowed was likely enough to be drawn"));
        }
        if has(&self.vocabulary.ends) {
            return Ok(true);
        }
        if !self.has_begun && has(&self.vocabulary.blanks) && !self.takes(token) {
            self.blanks_left -= 1;
            self.allowed = None;
            return Ok(false);
        }
        self.advance(&[token]).map_err(|reason| broken(&reason))?;
        Ok(true)
    }

    /// Whether the grammar itself has a place for the token.
    fn takes(&mut self, token: u32) -> bool {
        self.matcher.validate_tokens(&[token]).is_ok_and(|valid| valid == 1)
    }

    fn advance(&mut self, tokens: &[u32]) -> Result<(), String> {
        self.has_begun = true;
        self.allowed = None;
        self.matcher.consume_tokens(tokens).map_err(reason)?;
        if self.matcher.is_stopped() {
            self.is_complete = self.matcher.stop_reason().is_ok();
            return Ok(());
        }
        if self.is_json && self.matcher.is_accepting().map_err(reason)? {
            self.prepare_mask()?;
            self.is_complete = self.allowed.as_ref().is_some_and(|allowed| {
                let mut more = allowed.clone();
                more.sub(&self.vocabulary.ends);
                more.sub(&self.vocabulary.blanks);
                more.is_zero()
            });
        }
        Ok(())
    }

    fn prepare_mask(&mut self) -> Result<(), String> {
        if self.allowed.is_none() {
            let mut allowed = self.matcher.compute_mask().map_err(reason)?;
            let is_allowed = |mark: &&u32| allowed.is_allowed(**mark);
            let marks: Vec<u32> = self.marks.iter().filter(is_allowed).copied().collect();
            allowed.and(&self.vocabulary.choosable);
            marks.into_iter().for_each(|mark| allowed.allow_token(mark));
            if !self.has_begun && self.blanks_left > 0 {
                allowed.or(&self.vocabulary.blanks);
            }
            if allowed.is_zero() {
                return Err(NOTHING_ALLOWED.to_owned());
            }
            self.allowed = Some(allowed);
        }
        Ok(())
    }
}

impl Debug for Guard {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { has_begun, is_complete, .. } = self;
        write!(out, "Guard {{ has_begun: {has_begun}, is_complete: {is_complete} }}")
    }
}

/// What is compiled.
struct Source {
    grammar: TopLevelGrammar,
    /// It is that of a JSON value.
    is_json: bool,
    /// Control tokens that it names.
    marks: Vec<u32>,
}

fn source(constraint: &Constraint) -> Result<Source, String> {
    let schema = match constraint {
        Constraint::Json => Map::from_iter([("type".to_owned(), "object".into())]),
        Constraint::JsonSchema(schema) => check::schema(schema)?.clone(),
        Constraint::Lark(grammar) => {
            check::lark(grammar)?;
            let grammar = TopLevelGrammar::from_lark(grammar.clone());
            return Ok(Source { grammar, is_json: false, marks: Vec::new() });
        }
    };
    let grammar = TopLevelGrammar::from_json_schema(with_options(schema));
    Ok(Source { grammar, is_json: true, marks: Vec::new() })
}

/// llguidance reads its options from the schema itself; the request's own are replaced. It panics at a
/// schema that is no object.
fn with_options(schema: Map<String, Value>) -> Value {
    let options = JsonCompileOptions {
        whitespace_pattern: Some(format!(r"[\x20\x0A\x0D\x09]{{1,{JSON_SPACE_MAX}}}")),
        ..JsonCompileOptions::default()
    };
    let mut schema = Value::Object(schema);
    options.apply_to(&mut schema);
    schema
}

/// Runs on a stack that is as deep as a schema may be. A panic in there is a reason like another.
fn guarded<T: Send>(compile: impl FnOnce() -> Result<T, String> + Send) -> Result<T, String> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("grammar".to_owned())
            .stack_size(COMPILE_STACK_BYTES)
            .spawn_scoped(scope, compile)
            .map_err(|error| format!("no thread can be started to compile it: {error}"))?;
        thread.join().unwrap_or_else(|_| Err("it makes the compiler panic".to_owned()))
    })
}

/// No token of the vocabulary goes on, which llguidance says in a word of its own.
const NOTHING_ALLOWED: &str = "no text can go on in a way that keeps to it";

/// What llguidance says, without its state.
fn reason(error: impl std::fmt::Display) -> String {
    let text = format!("{error:#}");
    let text = text.split("<backtrace>").next().unwrap_or_default();
    let text = text.split("<non-verbose/>").next().unwrap_or_default().trim();
    if text == StopReason::NoExtensionBias.to_string() {
        return NOTHING_ALLOWED.to_owned();
    }
    let mut shown: String = text.chars().take(REASON_CHARS_MAX).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

fn refused(reason: &str) -> Failure {
    Failure { kind: FailureKind::Constraint, message: reason.to_owned() }
}

/// Calls of these tools cannot be held to what they say.
fn not_callable(reason: &str) -> Failure {
    let message = format!(
        "tools: {reason}; mend the tool, send it without strict, or name others in tool_choice"
    );
    Failure { kind: FailureKind::Invalid, message }
}

/// It went wrong in the middle of an answer.
pub(crate) fn broken(reason: &str) -> Failure {
    let message = format!(
        "the answer cannot be held to its schema or grammar any further: {reason}; simplify it, or ask \
         again"
    );
    Failure { kind: FailureKind::Constraint, message }
}

#[cfg(test)]
mod tests;
