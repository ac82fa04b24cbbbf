//! The loop: commands, one step of the model, events, and again.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::ops::Bound;
use std::rc::Rc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Instant;

use kv_store::Tiers;
use planner::batch::{
    Accepted, Admission, Batch, Cut, Lost, Rates, Row as BatchRow, Run, Scales, Shape, Step,
    is_media,
};
use worker_protocol::{
    Command, Event, Failure, FailureKind, FinishReason, Finished, Generate, Prompt, Report,
    RequestId, Speculation, Stats, Usage, scales,
};

use crate::constraint::Grammars;
use crate::drafting::Drafting;
use crate::embed::Embedding;
use crate::generation::{self, Generation, Outlet, invalid, refused};
use crate::holding;
use crate::inbox::{Inbox, Outbox};
use crate::keeping::{Came, Keeping, Saved};
use crate::limits::{
    LEAVE_WAIT_MAX, REQUESTS_MAX, SPEED_TOKENS_MIN, SPEED_WEIGHT, STATS_INTERVAL, TIERS_LOOK,
};
use crate::media::Media;
use crate::model::{DecodeError, Keeps, Model, Row, RunVectors};
use crate::text::template::Template;

/// Serves requests until the hub is gone. `tiers` gives where prefixes are kept outside the context,
/// once that is open; what was answered before that is kept then. `speculation` says how it guesses ahead.
///
/// # Errors
/// The pipe's error when reports cannot be written, which also means that the hub is gone.
pub fn run<M: Model, W: Write>(
    model: M,
    inbox: &Inbox,
    outbox: Outbox<W>,
    tiers: Option<Receiver<Tiers>>,
    speculation: &Speculation,
) -> io::Result<()> {
    let mut driver = Driver::new(model, outbox, tiers, speculation);
    let outcome = driver.serve(inbox);
    driver.leave();
    outcome
}

struct Driver<M: Model, W> {
    model: M,
    template: Option<Template>,
    batch: Batch,
    requests: BTreeMap<RequestId, Request<M::Sampler>>,
    /// What ended in this turn. Freeing a sampler's megabytes takes half a millisecond, so it waits
    /// until the answer is on its way.
    spent: Vec<Work<M::Sampler>>,
    outbox: Outbox<W>,
    tiers: Option<Receiver<Tiers>>,
    keeping: Option<Keeping>,
    drafting: Drafting,
    grammars: Grammars,
    media: Media,
    /// Whose texts were computed last, so that it is the others' turn.
    embedded: RequestId,
    /// Prompt tokens a second, measured.
    speed: Option<f32>,
    stats: Stats,
    reported: (Stats, Instant),
}

/// What the run of the next step is computed from.
struct Vectors {
    vectors: Rc<Vec<f32>>,
    run: Run,
}

/// Whether a command takes so long to obey that the streams get a step before the next one: a grammar is
/// compiled, a query is read in several ways, or sounds are read to know how many tokens they become.
fn takes_long(command: &Command) -> bool {
    match command {
        Command::Generate { generate, .. } => {
            holding::compiles(generate) || brings_files(&generate.prompt)
        }
        Command::Count { prompt, .. } => brings_files(prompt),
        Command::Rank { .. } => true,
        Command::Load(_)
        // Its texts are read step by step.
        | Command::Embed { .. }
        | Command::Cancel { .. }
        | Command::Credit { .. }
        | Command::Trim => false,
    }
}

fn brings_files(prompt: &Prompt) -> bool {
    let chat = generation::chat_of(prompt);
    chat.is_some_and(|chat| chat.messages.iter().any(|message| !message.media.is_empty()))
}

struct Request<S> {
    outlet: Outlet,
    work: Work<S>,
}

enum Work<S> {
    Generation(Box<Generation<S>>),
    Embedding(Embedding),
    /// It ended; its last events wait for credit.
    Ended,
}

impl<M: Model, W: Write> Driver<M, W> {
    fn new(
        model: M,
        outbox: Outbox<W>,
        tiers: Option<Receiver<Tiers>>,
        speculation: &Speculation,
    ) -> Self {
        let (begin, end) = model.boundary_texts();
        let template = model.chat_template().and_then(|source| {
            Template::new(source, begin, end)
                .inspect_err(|error| tracing::warn!(%error, "chat is not available"))
                .ok()
        });
        let facts = model.facts();
        let keeps_states = match model.keeps() {
            Keeps::Nothing | Keeps::Cells => false,
            Keeps::CellsAndState | Keeps::State => tiers.is_some(),
        };
        let batch = Batch::new(Shape {
            cells: facts.context_tokens,
            sequences: facts.sequences_max,
            step_tokens_max: model.step_tokens_max(),
            trims: model.trims(),
            keeps_states,
            outputs_max: model.outputs_max(),
            takes_back_max: model.takes_back_max(),
        });
        let stats = Stats::default();
        let reported = (stats, Instant::now());
        Self {
            model,
            template,
            batch,
            requests: BTreeMap::new(),
            spent: Vec::new(),
            outbox,
            tiers,
            keeping: None,
            drafting: Drafting::new(speculation),
            grammars: Grammars::default(),
            media: Media::new(),
            embedded: RequestId(0),
            speed: None,
            stats,
            reported,
        }
    }

    fn serve(&mut self, inbox: &Inbox) -> io::Result<()> {
        loop {
            loop {
                match inbox.poll() {
                    Ok(Some(command)) => {
                        let is_slow = takes_long(&command);
                        self.obey(command);
                        if is_slow {
                            break;
                        }
                    }
                    Ok(None) => break,
                    Err(_closed) => return Ok(()),
                }
            }
            self.take_tiers();
            if !self.is_idle() {
                self.turn();
                self.outbox.flush()?;
                self.spent.clear();
                continue;
            }
            self.report_stats();
            self.outbox.flush()?;
            if !self.save_idle() {
                let look = self.tiers.is_some().then_some(TIERS_LOOK);
                let Ok(next) = inbox.wait(look) else { return Ok(()) };
                next.into_iter().for_each(|command| self.obey(command));
            }
        }
    }

    fn is_idle(&self) -> bool {
        let restores = self.keeping.as_ref().is_some_and(Keeping::is_restoring);
        !restores && self.batch.is_idle() && self.next_embedding().is_none()
    }

    // Prefixes outside the context.

    fn take_tiers(&mut self) {
        let tiers = match self.tiers.as_ref().map(Receiver::try_recv) {
            Some(Ok(tiers)) => tiers,
            Some(Err(TryRecvError::Disconnected)) => return self.tiers = None,
            Some(Err(TryRecvError::Empty)) | None => return,
        };
        self.tiers = None;
        let own = own_scales(&self.model);
        let mut keeping = Keeping::new(tiers, self.model.keeps(), own);
        keeping.note_speed(self.speed);
        // What was answered meanwhile is worth keeping too.
        keeping.note_change();
        self.keeping = Some(keeping);
    }

    /// Saves a part of what sequences hold while nobody asks for anything. `false` when there is
    /// nothing to do.
    fn save_idle(&mut self) -> bool {
        let Some(keeping) = self.keeping.as_mut().filter(|keeping| keeping.is_behind()) else {
            return false;
        };
        match keeping.save(&mut self.model, &self.batch) {
            Saved::Some => true,
            Saved::All => false,
            Saved::Full => keeping.wait_for_room(),
        }
    }

    /// Puts what has come back into the context.
    fn restore(&mut self) {
        let next = self.next_embedding();
        let Some(keeping) = self.keeping.as_mut().filter(|keeping| keeping.is_restoring()) else {
            return;
        };
        let waits = self.batch.is_idle() && next.is_none();
        for (key, came) in keeping.restore(&mut self.model, waits) {
            self.batch.restored(key, came.tokens());
            self.admitted(RequestId(key), came);
        }
    }

    /// Keeps the states that a step has ended at.
    fn save_states(&mut self, step: &Step) {
        let Some(keeping) = &mut self.keeping else { return };
        for held in self.batch.held() {
            if step.states.contains(&held.sequence) {
                // Without room this one is not kept; the next one may be.
                keeping.save_state(&mut self.model, held.sequence, held.scales, held.tokens);
            }
        }
    }

    fn give_up(&mut self, lost: &[Lost]) {
        for lost in lost {
            self.rescue(lost);
            self.model.clear(lost.sequence);
        }
    }

    /// Keeps what the context is about to lose, where that is worth its time.
    fn rescue(&mut self, lost: &Lost) {
        if let Some(keeping) = &mut self.keeping {
            keeping.rescue(&mut self.model, lost);
        }
    }

    /// The hub is gone, or wants this process gone.
    fn leave(&mut self) {
        self.take_tiers();
        if let Some(keeping) = &mut self.keeping {
            keeping.leave(&mut self.model, &self.batch, LEAVE_WAIT_MAX);
        }
    }

    /// The request ended, and with it what was on its way for it.
    fn release(&mut self, request: RequestId) {
        if let Some(keeping) = &mut self.keeping {
            if keeping.abandon(&mut self.model, request.0) {
                self.batch.restored(request.0, 0);
            }
            keeping.note_change();
        }
        self.drafting.forget(request.0);
        self.batch.release(request.0);
    }

    // Commands.

    fn obey(&mut self, command: Command) {
        match command {
            Command::Load(_) => tracing::error!("a second load was ignored"),
            Command::Generate { request, generate } => self.generate(request, generate),
            Command::Embed { request, embed } => {
                self.embed(request, |model, now| Embedding::vectors(model, embed, now));
            }
            Command::Rank { request, rank } => {
                self.embed(request, |model, now| Embedding::scores(model, rank, now));
            }
            Command::Count { request, prompt } => self.count(request, prompt),
            Command::Cancel { request } => self.cancel(request),
            Command::Credit { request, events } => {
                if let Some(open) = self.requests.get_mut(&request) {
                    open.outlet.grant(events);
                    self.drain(request);
                }
            }
            // Kept prefixes stay: the cells of all sequences were allocated once, so that forgetting a
            // prefix gives nothing back and costs its next reader a whole prompt.
            Command::Trim => {
                if let Some(keeping) = &self.keeping {
                    keeping.give_back();
                }
                self.media.give_back();
                self.model.give_back();
            }
        }
    }

    fn generate(&mut self, request: RequestId, generate: Generate) {
        if let Some(failure) = self.crowded() {
            return self.emit(request, Event::Failed(failure));
        }
        let queued = self.queue(request, generate);
        match queued {
            Ok(generation) => {
                let work = Work::Generation(Box::new(generation));
                self.requests.insert(request, Request { outlet: Outlet::new(), work });
            }
            Err(failure) => self.emit(request, Event::Failed(failure)),
        }
    }

    fn queue(
        &mut self,
        request: RequestId,
        mut generate: Generate,
    ) -> Result<Generation<M::Sampler>, Failure> {
        let scales = scales(self.model.adapters(), generate.adapters.as_deref());
        let scales = Scales::new(scales.map_err(invalid)?.iter().map(|scale| scale.0));
        let (template, now) = (self.template.as_ref(), Instant::now());
        let seen = self.media.take(&mut self.model, &mut generate.prompt)?;
        let (tokens, runs, generation) =
            Generation::prepare(&self.model, template, &mut self.grammars, (generate, &seen), now)?;
        self.batch.submit_as(request.0, tokens, runs, scales).map_err(refused)?;
        Ok(generation)
    }

    fn embed(
        &mut self,
        request: RequestId,
        prepare: impl FnOnce(&M, Instant) -> Result<Embedding, Failure>,
    ) {
        if let Some(failure) = self.crowded() {
            return self.emit(request, Event::Failed(failure));
        }
        match prepare(&self.model, Instant::now()) {
            Ok(embedding) => {
                let work = Work::Embedding(embedding);
                self.requests.insert(request, Request { outlet: Outlet::new(), work });
            }
            Err(failure) => self.emit(request, Event::Failed(failure)),
        }
    }

    /// Nothing is computed for it, so it takes no place among the requests.
    fn count(&mut self, request: RequestId, mut prompt: Prompt) {
        let seen = self.media.take(&mut self.model, &mut prompt);
        let template = self.template.as_ref();
        let counted =
            seen.and_then(|seen| generation::count(&self.model, template, &prompt, &seen));
        let last = counted.map(|prompt_tokens| {
            let usage = Usage { prompt_tokens, ..Usage::default() };
            Event::Finished(Finished { reason: FinishReason::End, usage })
        });
        self.emit(request, last.unwrap_or_else(Event::Failed));
    }

    fn crowded(&self) -> Option<Failure> {
        (self.requests.len() >= REQUESTS_MAX).then(|| Failure {
            kind: FailureKind::Overloaded,
            message: format!("{REQUESTS_MAX} requests are open for this model; try again later"),
        })
    }

    fn cancel(&mut self, request: RequestId) {
        if let Some(open) = self.requests.remove(&request) {
            self.release(request);
            let reason = FinishReason::Cancelled;
            let last = match open.work {
                Work::Generation(generation) => generation.finished(reason),
                Work::Embedding(_) | Work::Ended => {
                    Event::Finished(Finished { reason, usage: Usage::default() })
                }
            };
            self.emit(request, last);
        }
    }

    // One step.

    fn turn(&mut self) {
        self.stats.threads = self.model.adapt_threads();
        let next = self.next_embedding();
        let outcome = match next.map(|request| (request, self.has_room_to_embed(request))) {
            // Its turn is over with one step, and others come in before the next one.
            Some((request, true)) => self.embed_step(request).and_then(|()| {
                self.admit();
                self.restore();
                self.step()
            }),
            // Nobody new comes in until the embedding had its turn. What is on its way back holds cells
            // that it waits for.
            Some((_, false)) => {
                self.restore();
                self.step()
            }
            None => {
                self.admit();
                self.restore();
                self.step()
            }
        };
        if let Err(error) = outcome {
            self.break_down(&error);
        }
        if self.reported.1.elapsed() >= STATS_INTERVAL {
            self.report_stats();
        }
    }

    fn admit(&mut self) {
        let admissions = match &mut self.keeping {
            Some(keeping) => {
                let rates = keeping.rates();
                self.batch
                    .admit(rates, &mut |key, scales, tokens| keeping.look(key, scales, tokens))
            }
            None => self.batch.admit(Rates::default(), &mut |_, _, _| None),
        };
        for admission in admissions {
            for lost in &admission.lost {
                self.rescue(lost);
                if lost.sequence != admission.sequence {
                    self.model.clear(lost.sequence);
                }
            }
            let live = if self.take_prefix(&admission) { admission.cached } else { 0 };
            let keeping = self.keeping.as_mut();
            if keeping.is_some_and(|keeping| keeping.begin(&admission, live)) {
                continue;
            }
            if live == 0 {
                self.batch.forget(admission.sequence);
            }
            self.batch.restored(admission.key, live);
            self.admitted(RequestId(admission.key), Came { live, ..Came::default() });
        }
    }

    /// A request has its sequence, and in it this much of its prompt.
    fn admitted(&mut self, request: RequestId, came: Came) {
        let Some(open) = self.requests.get_mut(&request) else { return };
        let Work::Generation(generation) = &mut open.work else { return };
        if generation.admitted(came, Instant::now()) {
            self.stats.cached_tokens += u64::from(came.tokens());
            open.outlet.push(generation.progress(came.tokens()));
            self.drain(request);
        }
    }

    /// Brings the cache to what the admission says.
    fn take_prefix(&mut self, admission: &Admission) -> bool {
        let Admission { sequence, source, cached, .. } = *admission;
        match source {
            Some(source) if source == sequence => self.model.trim(sequence, cached),
            Some(source) => self.model.copy(source, sequence, cached),
            None => {
                self.model.clear(sequence);
                true
            }
        }
    }

    fn step(&mut self) -> Result<(), DecodeError> {
        self.draft();
        let vectors = self.encode_next();
        let step = self.batch.step(self.speed);
        self.give_up(&step.lost);
        if step.rows.is_empty() {
            return Ok(());
        }
        self.model.adapt(&step.scales)?;
        let begun = Instant::now();
        // Outputs are told of what was computed last, and rows of runs have none.
        let (seen, said): (Vec<BatchRow>, Vec<BatchRow>) =
            step.rows.iter().partition(|row| is_media(row.token));
        self.compute(vectors.as_ref(), &seen, &said)?;
        let took = begun.elapsed();
        self.measure(&step, begun);
        self.drafting.decoded(&step);
        self.save_states(&step);
        self.report_progress(&step);
        for (index, row) in said.iter().enumerate() {
            if row.output && !row.is_draft {
                self.sample(RequestId(row.key), index);
            }
        }
        self.drafting.stepped(&step, took);
        if let Some(keeping) = &mut self.keeping {
            keeping.note_change();
            keeping.allow(begun.elapsed());
            keeping.save_beside(&mut self.model, &self.batch);
        }
        Ok(())
    }

    fn compute(
        &mut self,
        vectors: Option<&Vectors>,
        seen: &[BatchRow],
        said: &[BatchRow],
    ) -> Result<(), DecodeError> {
        let rows = |rows: &[BatchRow]| rows.iter().map(engine_row).collect::<Vec<Row>>();
        if let Some(first) = seen.first() {
            let none = || DecodeError("rows of a picture without their vectors".to_owned());
            let Vectors { vectors, run } = vectors.ok_or_else(none)?;
            let run = RunVectors {
                vectors,
                rows: run.rows,
                first: first.position.saturating_sub(run.start),
                is_whole: run.cut == Cut::Nowhere,
            };
            self.model.decode_run(&rows(seen), &run)?;
        }
        if said.is_empty() { Ok(()) } else { self.model.decode(&rows(said)) }
    }

    /// Computes the vectors of the run that is waited for, where they are not kept: of one at a time, so
    /// that streams move between two, and what was cancelled meanwhile is not begun.
    fn encode_next(&mut self) -> Option<Vectors> {
        let next = self.batch.next_run()?;
        let request = RequestId(next.key);
        let Work::Generation(generation) = &self.requests.get(&request)?.work else { return None };
        let source = generation.source(next.run)?;
        match self.media.vectors(&mut self.model, source) {
            Ok(vectors) => {
                self.batch.allow_run(next.key);
                Some(Vectors { vectors, run: source.run })
            }
            Err(failure) => {
                self.deliver(request, vec![Event::Failed(failure)]);
                None
            }
        }
    }

    /// Guesses what the streams of the next step say.
    fn draft(&mut self) {
        let tokens_left = |key| match &self.requests.get(&RequestId(key))?.work {
            Work::Generation(generation) => Some(generation.tokens_left()),
            Work::Embedding(_) | Work::Ended => None,
        };
        self.drafting.propose(&mut self.model, &mut self.batch, &tokens_left);
    }

    /// Samples from a row of the step, and from those behind it as long as they were guessed right.
    fn sample(&mut self, request: RequestId, row: usize) {
        let Some(open) = self.requests.get_mut(&request) else { return };
        let Work::Generation(generation) = &mut open.work else { return };
        let mut events = Vec::new();
        let mut failed = None;
        let mut ended = None;
        for row in row.. {
            let logits = self.model.logits(row);
            let masked = &mut self.grammars.masked;
            let (token, reason) = match generation.sample(&self.model, logits, masked, &mut events)
            {
                Ok(sampled) => sampled,
                Err(failure) => {
                    failed = Some(failure);
                    break;
                }
            };
            self.stats.decode_tokens += 1;
            ended = reason;
            if ended.is_some() {
                break;
            }
            match self.batch.accept(request.0, token) {
                Accepted::Guessed => self.drafting.accepted(request.0),
                Accepted::Continues => break,
                Accepted::Full => {
                    ended = Some(generation.cut(&mut events));
                    break;
                }
            }
        }
        let (drafted, accepted) = self.drafting.settled(request.0);
        generation.guessed(drafted, accepted);
        self.stats.drafted_tokens += u64::from(drafted);
        self.stats.accepted_tokens += u64::from(accepted);
        events.extend(ended.map(|reason| generation.finished(reason)));
        events.extend(failed.map(Event::Failed));
        self.settle(request);
        self.deliver(request, events);
    }

    /// Frees the cells of guesses that came to nothing.
    fn settle(&mut self, request: RequestId) {
        let Some(settled) = self.batch.settle(request.0) else { return };
        if !self.model.trim(settled.sequence, settled.tokens) {
            tracing::warn!("a sequence could not be cut back behind a guess; it is computed again");
            self.batch.forget(settled.sequence);
        }
    }

    fn measure(&mut self, step: &Step, begun: Instant) {
        self.stats.prefill_tokens += u64::from(step.prefill_rows);
        if step.prefill_rows < SPEED_TOKENS_MIN {
            return;
        }
        #[expect(clippy::cast_precision_loss, reason = "a step holds some thousand tokens at most")]
        let speed = step.prefill_rows as f32 / begun.elapsed().as_secs_f32().max(1e-6);
        let before = self.speed.unwrap_or(speed);
        self.speed = Some(before + SPEED_WEIGHT * (speed - before));
        if let Some(keeping) = &mut self.keeping {
            keeping.note_speed(self.speed);
        }
    }

    /// Tells readers of long prompts how far they are. The rows of a request are neighbours, so its
    /// last one says it.
    fn report_progress(&mut self, step: &Step) {
        for (row, next) in step.rows.iter().zip(step.rows.iter().skip(1).map(Some).chain([None])) {
            if next.is_some_and(|next| next.key == row.key) {
                continue;
            }
            let Some(open) = self.requests.get_mut(&RequestId(row.key)) else { continue };
            let Work::Generation(generation) = &open.work else { continue };
            if generation.is_in_prompt() && open.outlet.is_roomy() {
                open.outlet.push(generation.progress(row.position + 1));
                self.drain(RequestId(row.key));
            }
        }
    }

    // Embeddings.

    /// Those that are ready take turns, a step each.
    fn next_embedding(&self) -> Option<RequestId> {
        let is_ready = |open: &Request<M::Sampler>| {
            matches!(open.work, Work::Embedding(_)) && !open.outlet.is_behind()
        };
        let behind = (Bound::Excluded(self.embedded), Bound::Unbounded);
        let all = self.requests.range(behind).chain(self.requests.range(..=self.embedded));
        let mut ready = all.filter(|(_, open)| is_ready(open));
        ready.next().map(|(request, _)| *request)
    }

    /// A generating model embeds in the same cells that its streams use. A request with a text that is none
    /// ends here.
    fn has_room_to_embed(&mut self, request: RequestId) -> bool {
        let Some(Request { work: Work::Embedding(embedding), .. }) =
            self.requests.get_mut(&request)
        else {
            return false;
        };
        let needed = match embedding.prepare(&self.model) {
            Ok(needed) => needed,
            Err(failure) => {
                self.deliver(request, vec![Event::Failed(failure)]);
                return false;
            }
        };
        if !self.model.facts().generates {
            return true;
        }
        let cells = self.model.facts().context_tokens as usize;
        if self.batch.counts().cells_used as usize + needed > cells {
            let lost = self.batch.free_unused();
            self.give_up(&lost);
        }
        self.batch.counts().cells_used as usize + needed <= cells
    }

    /// Computes the next texts of a request; streams of the same model move between two such steps.
    fn embed_step(&mut self, request: RequestId) -> Result<(), DecodeError> {
        self.embedded = request;
        let Some(open) = self.requests.get_mut(&request) else { return Ok(()) };
        let Work::Embedding(embedding) = &mut open.work else { return Ok(()) };
        let mut events = Vec::new();
        self.stats.prefill_tokens += embedding.advance(&mut self.model, &mut events)?;
        self.deliver(request, events);
        Ok(())
    }

    // Events.

    /// Hands events to a request's reader; the last event ends the request.
    fn deliver(&mut self, request: RequestId, events: Vec<Event>) {
        let Some(open) = self.requests.get_mut(&request) else { return };
        if events.last().is_some_and(Event::is_last) {
            self.spent.push(std::mem::replace(&mut open.work, Work::Ended));
            self.release(request);
        }
        let Some(open) = self.requests.get_mut(&request) else { return };
        for event in events {
            open.outlet.push(event);
        }
        self.drain(request);
    }

    /// Sends what the reader has credit for. A reader that is behind pauses its request.
    fn drain(&mut self, request: RequestId) {
        let Some(open) = self.requests.get_mut(&request) else { return };
        while let Some(event) = open.outlet.take() {
            self.outbox.push(&Report::Event { request, event });
        }
        let behind = open.outlet.is_behind();
        if matches!(open.work, Work::Ended) && !behind {
            self.requests.remove(&request);
        } else {
            self.batch.set_paused(request.0, behind);
        }
    }

    fn emit(&mut self, request: RequestId, event: Event) {
        self.outbox.push(&Report::Event { request, event });
    }

    /// A step failed. What the cache holds is unknown, so every request that needs it ends here;
    /// the next ones start from an empty context.
    fn break_down(&mut self, error: &DecodeError) {
        tracing::error!(%error, "a step failed");
        for sequence in 0..self.model.facts().sequences_max {
            self.model.clear(sequence);
        }
        self.batch.reset();
        if let Some(keeping) = &mut self.keeping {
            keeping.forget();
        }
        let working: Vec<RequestId> = self
            .requests
            .iter()
            .filter(|(_, open)| !matches!(open.work, Work::Ended))
            .map(|(request, _)| *request)
            .collect();
        for request in working {
            let message = format!("the engine failed in a step: {error}; send the request again");
            let failure = Failure { kind: FailureKind::Broken, message };
            self.deliver(request, vec![Event::Failed(failure)]);
        }
    }

    fn report_stats(&mut self) {
        let counts = self.batch.counts();
        self.stats.waiting = counts.waiting;
        self.stats.running = counts.running;
        self.stats.cells_used = counts.cells_used;
        if let Some(keeping) = &self.keeping {
            let kept = keeping.stats();
            self.stats.kept_ram_bytes = kept.ram_bytes;
            self.stats.kept_ssd_bytes = kept.ssd_bytes;
            self.stats.kept_written_bytes = kept.written_bytes;
            self.stats.cached_ram_tokens = kept.from_ram.tokens;
            self.stats.cached_ssd_tokens = kept.from_ssd.tokens;
        }
        if self.stats != self.reported.0 {
            self.outbox.push(&Report::Stats(self.stats));
        }
        self.reported = (self.stats, Instant::now());
    }
}

/// With which scales it computes where a request chooses none.
fn own_scales(model: &impl Model) -> Scales {
    Scales::new(model.adapters().iter().map(|adapter| adapter.scale.0))
}

fn engine_row(row: &planner::batch::Row) -> Row {
    let planner::batch::Row { sequence, position, token, output, .. } = *row;
    Row { token, position, sequence, output }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use worker_protocol::{
        Chat, Constraint, Media as File, MediaKind, Message, Rank, Role, ToolChoice,
    };

    use super::*;

    #[test]
    fn streams_get_a_step_behind_whatever_takes_long_to_obey() {
        let request = RequestId(1);
        let generate = |generate| Command::Generate { request, generate };
        let heard = || {
            let media = vec![File { at: 0, kind: MediaKind::Audio, bytes: vec![1] }];
            let messages = vec![Message { media, ..Message::text(Role::User, "hi") }];
            Prompt::Chat(Chat { messages, ..Chat::default() })
        };
        let said = || Prompt::Text("hi".to_owned());
        let constraint = Some(Constraint::Json);
        let offered = |strict, tool_choice| {
            let tools = vec![json!({ "function": { "name": "f", "strict": strict } })];
            Generate::new(Prompt::Chat(Chat { tools, tool_choice, ..Chat::default() }))
        };
        let rank = Rank {
            query: "why".to_owned(),
            documents: Vec::new(),
            truncate: false,
            document_tokens_max: None,
        };
        for command in [
            generate(Generate::new(heard())),
            generate(offered(true, ToolChoice::Auto)),
            generate(offered(false, ToolChoice::Required(Vec::new()))),
            generate(Generate { constraint, ..Generate::new(said()) }),
            Command::Rank { request, rank },
            Command::Count { request, prompt: heard() },
        ] {
            assert!(takes_long(&command), "{command:?}");
        }
        for command in [
            generate(Generate::new(said())),
            generate(offered(false, ToolChoice::Auto)),
            generate(offered(true, ToolChoice::None)),
            Command::Count { request, prompt: said() },
            Command::Cancel { request },
        ] {
            assert!(!takes_long(&command), "{command:?}");
        }
    }
}
