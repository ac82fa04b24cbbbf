//! The fleet's embedding model as `knowledge` asks for it: leased like for any other request, and told what a text is
//! as it was trained to be told (`prefix`).

use super::prefix::{Prefixes, Said};
use knowledge::search::{Embed, Failed, Purpose};
use supervisor::{Handle, Lease, ModelSummary, Priority, Served, Wish};
use tokio::runtime;
use worker_protocol::{EmbedInput, Event, Failure, Prompt};

/// The role that embeds where it is configured.
const ROLE: &str = "embed";

/// What a collection that is embedded now would name as its embedder, without asking it anything.
pub(super) fn name(hub: &Handle, said: &Said) -> Option<String> {
    chosen(hub).map(|model| Prefixes::of(&model, said).named(&model.name))
}

fn chosen(hub: &Handle) -> Option<ModelSummary> {
    let candidates = if hub.is_role(ROLE) { hub.candidates(ROLE) } else { Vec::new() };
    let only_embeds = |model: &ModelSummary| {
        model.facts.as_ref().is_ok_and(|facts| !facts.generates && !facts.ranks)
    };
    let mut models = hub.models().into_iter();
    match candidates.first() {
        Some(name) => models.find(|model| model.name == *name),
        None => models.find(only_embeds),
    }
}

/// A model that embeds, for one piece of work. It blocks, so it is used where blocking is allowed.
pub(super) struct Embedder {
    hub: Handle,
    runtime: runtime::Handle,
    model: String,
    prefixes: Prefixes,
    /// What it is called in a collection: another one where its vectors are others.
    name: String,
    dimension: usize,
    tokens_max: usize,
    priority: Priority,
}

impl Embedder {
    /// The first model of the role `embed`, or else the first that does nothing but embed. Its dimension is what it is
    /// seen to give, so that it is loaded for this.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub(super) fn find(
        hub: &Handle,
        runtime: &runtime::Handle,
        priority: Priority,
        said: &Said,
    ) -> Result<Option<Self>, Failed> {
        let Some(model) = chosen(hub) else { return Ok(None) };
        let facts = model.facts.as_ref().map_err(|why| Failed(why.clone()))?;
        let tokens_max = facts.context_tokens.map_or(TOKENS_MAX_UNKNOWN, |tokens| tokens as usize);
        let prefixes = Prefixes::of(&model, said);
        let mut embedder = Self {
            hub: hub.clone(),
            runtime: runtime.clone(),
            name: prefixes.named(&model.name),
            model: model.name,
            prefixes,
            dimension: 0,
            tokens_max,
            priority,
        };
        let seen = embedder.embed(&["?"], Purpose::Query)?;
        embedder.dimension = seen.first().map_or(0, Vec::len);
        let prefix = embedder.prefixes.before(Purpose::Passage);
        if !prefix.is_empty() {
            let taken = embedder.count_tokens(&[prefix])?.first().copied().unwrap_or(0);
            embedder.tokens_max = tokens_max.saturating_sub(taken);
        }
        Ok(Some(embedder))
    }

    async fn lease(&self, embed: &worker_protocol::Embed) -> Result<Lease, Failed> {
        let wish = Wish { priority: self.priority, keep_alive: None };
        let purpose = supervisor::Purpose::Embed(embed);
        let served = self.hub.serve(&self.model, purpose, wish, None).await;
        let Served { lease, model: _ } = served.map_err(|error| Failed(error.to_string()))?;
        Ok(lease)
    }

    fn failed(&self, failure: &Failure) -> Failed {
        Failed(format!("{}: {}", self.model, failure.message))
    }

    async fn embedded(&self, texts: &[&str], purpose: Purpose) -> Result<Vec<Vec<f32>>, Failed> {
        let before = self.prefixes.before(purpose);
        let input = |text: &&str| EmbedInput::Text([before, text].concat());
        let inputs = texts.iter().map(input).collect();
        // Passages were counted; a question may be longer, and its beginning says what it is about.
        let embed = worker_protocol::Embed { inputs, truncate: true };
        let lease = self.lease(&embed).await?;
        let mut answer = lease.embed(embed);
        let mut vectors = vec![Vec::new(); texts.len()];
        while let Some(event) = answer.next().await {
            match event {
                Event::Embedded { index, vector } => {
                    if let Some(place) = vectors.get_mut(index as usize) {
                        *place = vector;
                    }
                }
                Event::Finished(_) => return Ok(vectors),
                Event::Failed(failure) => return Err(self.failed(&failure)),
                Event::Progress { .. }
                | Event::Text(_)
                | Event::Reasoning(_)
                | Event::ToolCall(_)
                | Event::Ranked { .. } => {}
            }
        }
        Err(Failed(format!("{} broke off", self.model)))
    }

    async fn counted(&self, texts: &[&str]) -> Result<Vec<usize>, Failed> {
        let nothing = worker_protocol::Embed { inputs: Vec::new(), truncate: false };
        let lease = self.lease(&nothing).await?;
        let mut counts = Vec::with_capacity(texts.len());
        for text in texts {
            match lease.count(Prompt::Text((*text).to_owned())).next().await {
                Some(Event::Finished(finished)) => {
                    counts.push(finished.usage.prompt_tokens as usize)
                }
                Some(Event::Failed(failure)) => return Err(self.failed(&failure)),
                Some(_) | None => return Err(Failed(format!("{} did not count", self.model))),
            }
        }
        Ok(counts)
    }
}

/// Tokens of a text where only a foreign engine knows how many it takes: what the smallest embedding models do.
const TOKENS_MAX_UNKNOWN: usize = 512;

impl Embed for Embedder {
    fn name(&self) -> &str {
        &self.name
    }

    fn dimension(&self) -> usize {
        self.dimension
    }

    fn tokens_max(&self) -> usize {
        self.tokens_max
    }

    fn count_tokens(&self, texts: &[&str]) -> Result<Vec<usize>, Failed> {
        self.runtime.block_on(self.counted(texts))
    }

    fn embed(&self, texts: &[&str], purpose: Purpose) -> Result<Vec<Vec<f32>>, Failed> {
        self.runtime.block_on(self.embedded(texts, purpose))
    }
}
