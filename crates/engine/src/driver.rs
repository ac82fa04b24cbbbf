//! The loop: commands, one step of the model, events, and again.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Instant;

use planner::batch::{Accepted, Admission, Batch, Shape, Step};
use worker_protocol::{
    Command, Embed, Event, Failure, FailureKind, FinishReason, Finished, Generate, Report,
    RequestId, Stats, Usage,
};

use crate::embed::Embedding;
use crate::generation::{Generation, Outlet, refused};
use crate::inbox::{Inbox, Outbox};
use crate::limits::{REQUESTS_MAX, SPEED_TOKENS_MIN, SPEED_WEIGHT, STATS_INTERVAL};
use crate::model::{DecodeError, Model, Row};
use crate::text::template::Template;

/// Serves requests until the hub is gone.
///
/// # Errors
/// The pipe's error when reports cannot be written, which also means that the hub is gone.
pub fn run<M: Model, W: Write>(model: M, inbox: &Inbox, outbox: Outbox<W>) -> io::Result<()> {
    let mut driver = Driver::new(model, outbox);
    loop {
        loop {
            match inbox.poll() {
                Ok(Some(command)) => driver.obey(command),
                Ok(None) => break,
                Err(_closed) => return Ok(()),
            }
        }
        if driver.is_idle() {
            driver.report_stats();
            driver.outbox.flush()?;
            let Some(command) = inbox.wait() else { return Ok(()) };
            driver.obey(command);
        } else {
            driver.turn();
            driver.outbox.flush()?;
            driver.spent.clear();
        }
    }
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
    /// Prompt tokens a second, measured.
    speed: Option<f32>,
    stats: Stats,
    reported: (Stats, Instant),
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
    fn new(model: M, outbox: Outbox<W>) -> Self {
        let (begin, end) = model.boundary_texts();
        let template = model.chat_template().and_then(|source| {
            Template::new(source, begin, end)
                .inspect_err(|error| tracing::warn!(%error, "chat is not available"))
                .ok()
        });
        let facts = model.facts();
        let batch = Batch::new(Shape {
            cells: facts.context_tokens,
            sequences: facts.sequences_max,
            step_tokens_max: model.step_tokens_max(),
            trims: model.trims(),
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
            speed: None,
            stats,
            reported,
        }
    }

    fn is_idle(&self) -> bool {
        self.batch.is_idle() && self.next_embedding().is_none()
    }

    // Commands.

    fn obey(&mut self, command: Command) {
        match command {
            Command::Load(_) => tracing::error!("a second load was ignored"),
            Command::Generate { request, generate } => self.generate(request, generate),
            Command::Embed { request, embed } => self.embed(request, &embed),
            Command::Cancel { request } => self.cancel(request),
            Command::Credit { request, events } => {
                if let Some(open) = self.requests.get_mut(&request) {
                    open.outlet.grant(events);
                    self.drain(request);
                }
            }
            // Kept prefixes stay: the cells of all sequences were allocated once, so that forgetting a
            // prefix gives nothing back and costs its next reader a whole prompt.
            Command::Trim => self.model.give_back(),
        }
    }

    fn generate(&mut self, request: RequestId, generate: Generate) {
        if let Some(failure) = self.crowded() {
            return self.emit(request, Event::Failed(failure));
        }
        let (template, now) = (self.template.as_ref(), Instant::now());
        let prepared = Generation::prepare(&self.model, template, generate, now);
        let queued = prepared.and_then(|(tokens, generation)| {
            self.batch.submit(request.0, tokens).map_err(refused)?;
            Ok(generation)
        });
        match queued {
            Ok(generation) => {
                let work = Work::Generation(Box::new(generation));
                self.requests.insert(request, Request { outlet: Outlet::new(), work });
            }
            Err(failure) => self.emit(request, Event::Failed(failure)),
        }
    }

    fn embed(&mut self, request: RequestId, embed: &Embed) {
        if let Some(failure) = self.crowded() {
            return self.emit(request, Event::Failed(failure));
        }
        match Embedding::prepare(&self.model, embed, Instant::now()) {
            Ok(embedding) => {
                let work = Work::Embedding(embedding);
                self.requests.insert(request, Request { outlet: Outlet::new(), work });
            }
            Err(failure) => self.emit(request, Event::Failed(failure)),
        }
    }

    fn crowded(&self) -> Option<Failure> {
        (self.requests.len() >= REQUESTS_MAX).then(|| Failure {
            kind: FailureKind::Overloaded,
            message: format!("{REQUESTS_MAX} requests are open for this model; try again later"),
        })
    }

    fn cancel(&mut self, request: RequestId) {
        if let Some(open) = self.requests.remove(&request) {
            self.batch.release(request.0);
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
        let outcome = match self.next_embedding() {
            Some(request) if self.has_room_to_embed(request) => self.embed_step(request),
            // Nobody new comes in until the embedding had its turn.
            Some(_) => self.step(),
            None => {
                self.admit();
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
        for admission in self.batch.admit() {
            let cached = if self.take_prefix(admission) {
                admission.cached
            } else {
                self.batch.forget(admission.sequence);
                0
            };
            let Some(open) = self.requests.get_mut(&RequestId(admission.key)) else { continue };
            let Work::Generation(generation) = &mut open.work else { continue };
            if generation.admitted(cached, Instant::now()) {
                self.stats.cached_tokens += u64::from(cached);
                open.outlet.push(generation.progress(cached));
                self.drain(RequestId(admission.key));
            }
        }
    }

    /// Brings the cache to what the admission says.
    fn take_prefix(&mut self, admission: Admission) -> bool {
        let Admission { sequence, source, cached, .. } = admission;
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
        let step = self.batch.step(self.speed);
        for sequence in &step.clears {
            self.model.clear(*sequence);
        }
        if step.rows.is_empty() {
            return Ok(());
        }
        let rows: Vec<Row> = step.rows.iter().map(engine_row).collect();
        let begun = Instant::now();
        self.model.decode(&rows)?;
        self.measure(&step, begun);
        self.report_progress(&step);
        for (index, row) in step.rows.iter().enumerate().filter(|(_, row)| row.output) {
            self.sample(RequestId(row.key), index);
        }
        Ok(())
    }

    fn sample(&mut self, request: RequestId, row: usize) {
        let Some(open) = self.requests.get_mut(&request) else { return };
        let Work::Generation(generation) = &mut open.work else { return };
        let mut events = Vec::new();
        let logits = self.model.logits(row);
        let (token, ended) = generation.sample(&self.model, logits, &mut events);
        self.stats.decode_tokens += 1;
        let ended = ended.or_else(|| match self.batch.accept(request.0, token) {
            Accepted::Continues => None,
            Accepted::Full => Some(generation.cut(&mut events)),
        });
        events.extend(ended.map(|reason| generation.finished(reason)));
        self.deliver(request, events);
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

    fn next_embedding(&self) -> Option<RequestId> {
        let ready = |open: &Request<M::Sampler>| {
            matches!(open.work, Work::Embedding(_)) && !open.outlet.is_behind()
        };
        self.requests.iter().find(|(_, open)| ready(open)).map(|(request, _)| *request)
    }

    /// A generating model embeds in the same cells that its streams use.
    fn has_room_to_embed(&mut self, request: RequestId) -> bool {
        if !self.model.facts().generates {
            return true;
        }
        let Some(Request { work: Work::Embedding(embedding), .. }) = self.requests.get(&request)
        else {
            return false;
        };
        let cells = self.model.facts().context_tokens as usize;
        let needed = embedding.next_tokens(&self.model);
        if self.batch.counts().cells_used as usize + needed > cells {
            for sequence in self.batch.free_unused() {
                self.model.clear(sequence);
            }
        }
        self.batch.counts().cells_used as usize + needed <= cells
    }

    fn embed_step(&mut self, request: RequestId) -> Result<(), DecodeError> {
        let Some(open) = self.requests.get_mut(&request) else { return Ok(()) };
        let Work::Embedding(embedding) = &mut open.work else { return Ok(()) };
        let mut events = Vec::new();
        self.stats.prefill_tokens += embedding.next_tokens(&self.model) as u64;
        embedding.advance(&mut self.model, &mut events)?;
        self.deliver(request, events);
        // Streams of the same model move between the steps of a long embedding.
        self.step()
    }

    // Events.

    /// Hands events to a request's reader; the last event ends the request.
    fn deliver(&mut self, request: RequestId, events: Vec<Event>) {
        let Some(open) = self.requests.get_mut(&request) else { return };
        if events.last().is_some_and(Event::is_last) {
            self.spent.push(std::mem::replace(&mut open.work, Work::Ended));
            self.batch.release(request.0);
        }
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
        if self.stats != self.reported.0 {
            self.outbox.push(&Report::Stats(self.stats));
        }
        self.reported = (self.stats, Instant::now());
    }
}

fn engine_row(row: &planner::batch::Row) -> Row {
    let planner::batch::Row { sequence, position, token, output, .. } = *row;
    Row { token, position, sequence, output }
}
