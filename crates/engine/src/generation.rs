//! One request for text: from the command to its last event.

use std::collections::VecDeque;
use std::time::Instant;

use planner::batch::{Refusal, Run, is_media};
use worker_protocol::{
    Alternative, Chat, Constraint, Event, Failure, FailureKind, FinishReason, Finished, Generate,
    Prompt, TokenLogprob, ToolChoice, Usage, limits::EVENT_CREDIT,
};

use crate::constraint::{Grammars, Guard, broken};
use crate::holding::{self, Held};
use crate::infill;
use crate::keeping::Came;
use crate::limits::{LOGPROBS_MAX, SHORTENED_ROOM_SHARE, STOP_BYTES_MAX, STOPS_MAX};
use crate::logprobs;
use crate::media::{Placed, Seen, Source};
use crate::model::{Model, Sampler};
use crate::shorten;
use crate::strict::Strict;
use crate::text::{Markup, Text, Then, template::Template};

/// Events on their way to one reader, which grants credit for them.
#[derive(Debug)]
pub(crate) struct Outlet {
    credit: u32,
    held: VecDeque<Event>,
}

impl Outlet {
    pub(crate) fn new() -> Self {
        Self { credit: EVENT_CREDIT, held: VecDeque::new() }
    }

    pub(crate) fn grant(&mut self, events: u32) {
        self.credit = self.credit.saturating_add(events);
    }

    pub(crate) fn push(&mut self, event: Event) {
        self.held.push_back(event);
    }

    /// The next event that may go. The last one needs no credit.
    pub(crate) fn take(&mut self) -> Option<Event> {
        let is_last = self.held.front()?.is_last();
        if !is_last {
            self.credit = self.credit.checked_sub(1)?;
        }
        self.held.pop_front()
    }

    /// Whether the reader is behind: something waits for credit.
    pub(crate) fn is_behind(&self) -> bool {
        !self.held.is_empty()
    }

    /// Whether an event that can be left out may go: the reader has plenty of credit.
    pub(crate) fn is_roomy(&self) -> bool {
        self.held.is_empty() && self.credit > EVENT_CREDIT / 2
    }
}

/// The state of a request for text.
#[derive(Debug)]
pub(crate) struct Generation<S> {
    sampler: S,
    text: Text,
    /// What the runs of its prompt are computed from.
    sources: Vec<Source>,
    /// What the answer must look like.
    guard: Option<Guard>,
    /// What its calls must look like, if it makes some.
    strict: Option<Strict>,
    /// The answer ends behind its first call.
    one_call: bool,
    /// The answer must be a call.
    must_call: bool,
    reasoning_tokens_max: Option<u32>,
    /// Tokens of reasoning so far.
    reasoned: u32,
    /// Whether the reasoning was closed for the model.
    was_closed: bool,
    /// What comes next whatever the model says.
    forced: VecDeque<u32>,
    tokens_max: Option<u32>,
    logprobs: Option<u8>,
    ignore_end: bool,
    usage: Usage,
    submitted: Instant,
    admitted: Option<Instant>,
    first_token: Option<Instant>,
}

/// A request that was read: its prompt as tokens, the runs among them, and its state.
pub(crate) type Prepared<S> = (Vec<u32>, Vec<Run>, Generation<S>);

impl<S: Sampler> Generation<S> {
    /// Renders and tokenizes the prompt, from which its files were taken, and makes a sampler.
    pub(crate) fn prepare<M: Model<Sampler = S>>(
        model: &M,
        template: Option<&Template>,
        grammars: &mut Grammars,
        (generate, seen): (Generate, &Seen),
        now: Instant,
    ) -> Result<Prepared<S>, Failure> {
        check(model, &generate)?;
        let (placed, markup) = fitting(model, template, &generate, seen)?;
        let Placed { tokens, runs, sources } = placed;
        let mut sampler = model.sampler(&generate.sampling).map_err(invalid)?;
        // Penalties look back on the prompt too, as far as it is text.
        let words = tokens.iter().filter(|token| !is_media(**token));
        words.for_each(|token| sampler.accept(*token));
        let Held { markup, guard, strict } = holding::hold(model, grammars, &generate, markup)?;
        let text = Text::new(generate.stop, markup);
        let usage = Usage {
            prompt_tokens: u32::try_from(tokens.len()).unwrap_or(u32::MAX),
            ..Usage::default()
        };
        let generation = Self {
            sampler,
            guard: guard.map(|guard| guard.after_reasoning(text.is_reasoning())),
            strict,
            one_call: chat_of(&generate.prompt).is_some_and(|chat| chat.one_call),
            must_call: chat_of(&generate.prompt).is_some_and(must_call),
            reasoning_tokens_max: generate.reasoning_tokens_max,
            reasoned: 0,
            was_closed: false,
            forced: VecDeque::new(),
            text,
            sources,
            tokens_max: generate.tokens_max,
            logprobs: generate.logprobs,
            ignore_end: generate.ignore_end,
            usage,
            submitted: now,
            admitted: None,
            first_token: None,
        };
        Ok((tokens, runs, generation))
    }

    /// What a run of its prompt is computed from.
    pub(crate) fn source(&self, run: usize) -> Option<&Source> {
        self.sources.get(run)
    }

    /// It has a sequence now. A request that was parked comes here again; the first time counts.
    pub(crate) fn admitted(&mut self, came: Came, now: Instant) -> bool {
        if self.admitted.is_some() {
            return false;
        }
        self.admitted = Some(now);
        self.usage.cached_tokens = came.tokens();
        self.usage.cached_ram_tokens = came.ram;
        self.usage.cached_ssd_tokens = came.ssd;
        self.usage.queue_us = micros(self.submitted, now);
        true
    }

    pub(crate) fn progress(&self, processed: u32) -> Event {
        let total = self.usage.prompt_tokens;
        Event::Progress {
            processed: processed.min(total),
            total,
            cached: self.usage.cached_tokens,
            cached_ram: self.usage.cached_ram_tokens,
            cached_ssd: self.usage.cached_ssd_tokens,
        }
    }

    /// Tokens that it may still say.
    pub(crate) fn tokens_left(&self) -> u32 {
        self.tokens_max.map_or(u32::MAX, |max| max.saturating_sub(self.usage.completion_tokens))
    }

    /// Of its guesses in a step so many were checked, and so many came true.
    pub(crate) fn guessed(&mut self, drafted: u32, accepted: u32) {
        self.usage.drafted_tokens += drafted;
        self.usage.accepted_tokens += accepted;
    }

    pub(crate) fn is_in_prompt(&self) -> bool {
        self.first_token.is_none()
    }

    /// Samples the next token from `logits`, turns it into events, and says why the text ends if it
    /// does. `masked` is room for logits.
    ///
    /// # Errors
    /// Why the answer cannot be held to its constraint any further.
    pub(crate) fn sample<M: Model<Sampler = S>>(
        &mut self,
        model: &M,
        logits: &[f32],
        masked: &mut Vec<f32>,
        events: &mut Vec<Event>,
    ) -> Result<(u32, Option<FinishReason>), Failure> {
        let chosen = self.choose(model, logits, masked, events)?;
        let token = chosen.token;
        self.sampler.accept(token);
        // A token is there when it is chosen; with a large vocabulary that takes a millisecond.
        self.count(Instant::now());
        if model.ends(token) && !self.ignore_end && chosen.whose != Whose::Forced {
            return Ok((token, Some(self.ended(events))));
        }
        let logprob = self.logprobs.map(|count| report(model, logits, token, count));
        let (bytes, is_special) = match chosen.whose {
            Whose::Blank => (Vec::new(), false),
            Whose::Model | Whose::Forced => text_bytes(&self.text, model, token),
        };
        self.reasoned += u32::from(self.text.thinks());
        if let Some(stop) = self.text.push(&bytes, is_special, logprob, events) {
            return Ok((token, Some(FinishReason::StopString(stop))));
        }
        // Nothing more is allowed, so the model need not be asked.
        let is_complete = self.guard.as_ref().is_some_and(Guard::is_complete);
        if is_complete || self.one_call && self.text.called_tools() {
            return Ok((token, Some(self.ended(events))));
        }
        if self.tokens_max.is_some_and(|max| self.usage.completion_tokens >= max) {
            self.text.finish(events);
            return Ok((token, Some(FinishReason::Length)));
        }
        Ok((token, None))
    }

    /// The answer is over by itself.
    fn ended(&mut self, events: &mut Vec<Event>) -> FinishReason {
        self.text.finish(events);
        if self.text.called_tools() { FinishReason::ToolCalls } else { FinishReason::End }
    }

    /// The next token, as free as the constraint leaves it.
    fn choose<M: Model<Sampler = S>>(
        &mut self,
        model: &M,
        logits: &[f32],
        masked: &mut Vec<f32>,
        events: &mut Vec<Event>,
    ) -> Result<Chosen, Failure> {
        if self.forced.is_empty() && self.is_out_of_reasoning() {
            self.close_reasoning(model);
        }
        if let Some(token) = self.forced.pop_front() {
            return self.force(token);
        }
        let Some(guard) = &self.guard else {
            let Self { strict, text, sampler, .. } = self;
            let token = match strict {
                None => sampler.sample(logits),
                Some(strict) => {
                    let read = |token| text_bytes(text, model, token);
                    strict.choose(model, text, sampler, (logits, masked), read)?
                }
            };
            return Ok(Chosen::of_model(token));
        };
        let has_begun = guard.has_begun();
        let may_reason = !has_begun && self.text.is_reasoning();
        if may_reason {
            if let Some(token) = self.choose_reasoning(model, logits, masked, events) {
                return Ok(Chosen::of_model(token));
            }
            // It would answer, and not as it must: its reasoning ends before that.
            match self.text.shutting() {
                // What has been said of its mark cannot be taken back.
                Some(shutting) => self.close_with(model, &shutting),
                None => self.close_reasoning(model),
            }
            if let Some(token) = self.forced.pop_front() {
                return self.force(token);
            }
        }
        let Some(guard) = &mut self.guard else { return Err(broken("it is not held any more")) };
        guard.mask(logits, masked)?;
        let token = self.sampler.sample(masked);
        let is_its = guard.accept(token)?;
        if is_its && !has_begun && !self.text.begin_answer(false, events) {
            return Err(broken("it began with neither its reasoning nor what is allowed"));
        }
        Ok(Chosen { token, whose: if is_its { Whose::Model } else { Whose::Blank } })
    }

    /// Whether its reasoning has taken all that it may. A character that it has begun it may end.
    fn is_out_of_reasoning(&self) -> bool {
        self.reasoning_tokens_max.is_some_and(|max| self.reasoned >= max)
            && !self.text.is_mid_character()
    }

    /// Where the model is in its reasoning, what comes next is the mark that closes it.
    fn close_reasoning<M: Model<Sampler = S>>(&mut self, model: &M) {
        let next = if self.must_call { Then::Call } else { Then::Answer };
        if let Some(closing) = self.text.closing(self.was_closed.then_some(next)) {
            self.close_with(model, &closing);
        }
    }

    fn close_with<M: Model<Sampler = S>>(&mut self, model: &M, closing: &str) {
        self.was_closed = true;
        self.forced = model.tokenize(closing, false, true).into();
    }

    /// A token that the model was not asked for.
    fn force(&mut self, token: u32) -> Result<Chosen, Failure> {
        if let Some(guard) = self.guard.as_mut().filter(|guard| guard.has_begun()) {
            guard.follow(token)?;
        }
        Ok(Chosen { token, whose: Whose::Forced })
    }

    /// The next token where the model may reason, which is free. `None` when it answers instead, and not
    /// as it must: its answer is to be drawn again from what is allowed.
    fn choose_reasoning<M: Model<Sampler = S>>(
        &mut self,
        model: &M,
        logits: &[f32],
        masked: &mut Vec<f32>,
        events: &mut Vec<Event>,
    ) -> Option<u32> {
        let mut token = self.sampler.sample(logits);
        if model.ends(token) {
            // The answer is still to come.
            self.guard.as_ref()?.mask_ends(logits, masked);
            token = self.sampler.sample(masked);
        }
        let (bytes, is_special) = text_bytes(&self.text, model, token);
        let answer = self.text.preview(&bytes, is_special);
        let answer = answer.trim_start();
        if answer.is_empty() {
            return Some(token);
        }
        // Half a character is no beginning yet; what is allowed is drawn by bytes.
        if answer.ends_with(char::REPLACEMENT_CHARACTER) {
            return None;
        }
        let guard = self.guard.as_mut()?;
        let is_all = answer.as_bytes() == bytes;
        let begins = is_all && guard.begin_with(&[token]) || !is_special && guard.begin(answer);
        if begins {
            self.text.begin_answer(true, events);
        }
        begins.then_some(token)
    }

    /// The context is full.
    pub(crate) fn cut(&mut self, events: &mut Vec<Event>) -> FinishReason {
        self.text.finish(events);
        FinishReason::Length
    }

    pub(crate) fn finished(&self, reason: FinishReason) -> Event {
        let usage = Usage { reasoning_tokens: self.reasoned, ..self.usage };
        Event::Finished(Finished { reason, usage })
    }

    fn count(&mut self, now: Instant) {
        self.usage.completion_tokens += 1;
        let first = *self.first_token.get_or_insert(now);
        self.usage.prefill_us = micros(self.admitted.unwrap_or(self.submitted), first);
        self.usage.decode_us = micros(first, now);
    }
}

/// The next token, and where it comes from.
#[derive(Debug, Clone, Copy)]
struct Chosen {
    token: u32,
    whose: Whose,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    Model,
    /// The model's, white space before the answer and no part of it.
    Blank,
    /// Nobody asked the model.
    Forced,
}

impl Chosen {
    fn of_model(token: u32) -> Self {
        Self { token, whose: Whose::Model }
    }
}

/// The bytes of a token as far as they are text, and whether it is special. A special token is text where it
/// marks something.
fn text_bytes<M: Model>(text: &Text, model: &M, token: u32) -> (Vec<u8>, bool) {
    let bytes = model.token_bytes(token, false);
    if bytes.is_empty() {
        let special = model.token_bytes(token, true);
        if text.reads(&special) {
            return (special, true);
        }
    }
    (bytes, false)
}

/// The conversation of a prompt that is one.
pub(crate) fn chat_of(prompt: &Prompt) -> Option<&Chat> {
    match prompt {
        Prompt::Chat(chat) => Some(chat),
        Prompt::Text(_) | Prompt::Tokens(_) | Prompt::Infill(_) => None,
    }
}

fn must_call(chat: &Chat) -> bool {
    matches!(chat.tool_choice, ToolChoice::Required(_))
}

/// Bounds that the gateway checks too; a worker trusts nobody.
fn check<M: Model>(model: &M, generate: &Generate) -> Result<(), Failure> {
    if !model.facts().generates {
        let does = if model.facts().ranks { "ranks texts" } else { "embeds text" };
        return Err(invalid(format!(
            "a model of architecture {} {does} and cannot generate any; choose another model",
            model.facts().architecture
        )));
    }
    if generate.stop.len() > STOPS_MAX {
        return Err(invalid(format!("{} stop strings; at most {STOPS_MAX}", generate.stop.len())));
    }
    if let Some(stop) = generate.stop.iter().find(|stop| stop.len() > STOP_BYTES_MAX) {
        return Err(invalid(format!("a stop of {} bytes; at most {STOP_BYTES_MAX}", stop.len())));
    }
    check_held(generate)?;
    if generate.logprobs.is_some_and(|count| count > LOGPROBS_MAX) {
        return Err(invalid(format!("more than {LOGPROBS_MAX} alternatives per token")));
    }
    Ok(())
}

/// How many tokens a prompt has, from which its files were taken.
pub(crate) fn count<M: Model>(
    model: &M,
    template: Option<&Template>,
    prompt: &Prompt,
    seen: &Seen,
) -> Result<u32, Failure> {
    let (placed, _) = tokenize(model, template, prompt, seen, None)?;
    Ok(u32::try_from(placed.tokens.len()).unwrap_or(u32::MAX))
}

/// What cannot go together with what holds an answer to something.
fn check_held(generate: &Generate) -> Result<(), Failure> {
    let chat = chat_of(&generate.prompt);
    let what = match &generate.constraint {
        Some(Constraint::Json | Constraint::JsonSchema(_)) => "JSON",
        Some(Constraint::Lark(_)) => "a grammar",
        None if chat.is_some_and(must_call) => "a call of a tool",
        None => return Ok(()),
    };
    if generate.ignore_end {
        return Err(invalid(format!(
            "an answer cannot be held to {what} and go on past its end; leave one of them out"
        )));
    }
    let Some(chat) = chat else { return Ok(()) };
    if chat.continues {
        return Err(invalid(format!(
            "an answer cannot be held to {what} and go on from the assistant's last message; end with \
             another message"
        )));
    }
    if must_call(chat) && chat.tools.is_empty() {
        return Err(invalid("a call of a tool is demanded, and no tools are offered".to_owned()));
    }
    let is_grammar = matches!(generate.constraint, Some(Constraint::Lark(_)));
    if is_grammar && !chat.tools.is_empty() && chat.tool_choice != ToolChoice::None {
        return Err(invalid(format!(
            "an answer cannot be held to {what} while tools are offered, since a call of one is \
             something else; leave one of them out"
        )));
    }
    Ok(())
}

/// The prompt of an answer. A conversation that is longer than the context is shortened where its sender wants
/// that; one with files never is.
fn fitting<M: Model>(
    model: &M,
    template: Option<&Template>,
    generate: &Generate,
    seen: &Seen,
) -> Result<(Placed, Markup), Failure> {
    let read = |prompt: &Prompt| tokenize(model, template, prompt, seen, generate.tokens_max);
    let all = read(&generate.prompt)?;
    let cells = model.facts().context_tokens;
    let room = generate.tokens_max.unwrap_or(u32::MAX).min(cells / SHORTENED_ROOM_SHARE).max(1);
    let fits =
        |(placed, _): &(Placed, Markup)| placed.tokens.len() + room as usize <= cells as usize;
    match chat_of(&generate.prompt).filter(|chat| chat.shortens) {
        Some(chat) if all.0.tokens.len() >= cells as usize && seen.is_empty() => {
            let shorter = |chat: &Chat| Ok(Some(read(&Prompt::Chat(chat.clone()))?).filter(fits));
            Ok(shorten::fitting(chat, shorter)?.unwrap_or(all))
        }
        Some(_) | None => Ok(all),
    }
}

fn tokenize<M: Model>(
    model: &M,
    template: Option<&Template>,
    prompt: &Prompt,
    seen: &Seen,
    answer_tokens: Option<u32>,
) -> Result<(Placed, Markup), Failure> {
    let plain = |tokens| (Placed::of_tokens(tokens), Markup::default());
    match prompt {
        Prompt::Text(text) => Ok(plain(model.tokenize(text, true, false))),
        Prompt::Tokens(tokens) => {
            let vocabulary = model.facts().vocabulary;
            match tokens.iter().find(|token| **token >= vocabulary) {
                Some(token) => Err(invalid(format!(
                    "token {token} is not in the vocabulary of {vocabulary} tokens"
                ))),
                None => Ok(plain(tokens.clone())),
            }
        }
        Prompt::Infill(infill) => Ok(plain(infill::tokenize(model, infill, answer_tokens)?)),
        Prompt::Chat(chat) => {
            let template = template.ok_or_else(|| {
                invalid("this model has no chat template; use the completions endpoint".to_owned())
            })?;
            let rendered = template.render_for_answer(chat).map_err(|e| invalid(e.to_string()))?;
            // A template that writes the begin token must not get a second one.
            let (begin, _) = model.boundary_texts();
            let specials = begin.is_empty() || !rendered.text.starts_with(&begin);
            let markup = rendered.markup.of_model(model);
            Ok((seen.place(model, &rendered.text, specials)?, markup))
        }
    }
}

/// The failure that a refusal of the batch is for the client.
pub(crate) fn refused(refusal: Refusal) -> Failure {
    let kind = match refusal {
        Refusal::Empty | Refusal::EndsInRun | Refusal::LongRun { .. } => FailureKind::Invalid,
        Refusal::TooLong { prompt_tokens, cells } => FailureKind::ContextLength {
            prompt_tokens: u32::try_from(prompt_tokens).unwrap_or(u32::MAX),
            context_tokens: cells,
        },
        Refusal::Crowded => FailureKind::Overloaded,
    };
    Failure { kind, message: refusal.to_string() }
}

pub(crate) fn invalid(message: String) -> Failure {
    Failure { kind: FailureKind::Invalid, message }
}

fn report<M: Model>(model: &M, logits: &[f32], token: u32, count: u8) -> TokenLogprob {
    let (logprob, top) = logprobs::read(logits, token, usize::from(count));
    let alternative =
        |(id, logprob)| Alternative { id, bytes: model.token_bytes(id, true), logprob };
    TokenLogprob {
        token: alternative((token, logprob)),
        top: top.into_iter().map(alternative).collect(),
    }
}

fn micros(from: Instant, to: Instant) -> u64 {
    u64::try_from(to.saturating_duration_since(from).as_micros()).unwrap_or(u64::MAX)
}
