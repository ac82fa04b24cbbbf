//! Roles in use: what is known now about the models of a role, and the way along them until one
//! takes the request.
//!
//! Not here: who is tried in which order (`planner::roles`), and whether a model may be loaded (the
//! fleet).

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};

use planner::{
    fleet::{Priority, Refusal, Verdict},
    roles::{self, AUTO, Ask, Choice, Kind, Reason, Standing, State, Tokens},
};
use worker_protocol::{Embed, EmbedInput, Generate, MediaKind, Prompt, Rank};

use super::{Edition, Handle, Watch, Wish};
use crate::{
    bytes::readable,
    engine::Engine,
    error::AcquireError,
    lease::Lease,
    model::{Model, ModelSummary},
    preflight::{Launch, Start},
    run_loop::Message,
    senses,
};

/// What a request is about, as far as the choice of a model depends on it.
#[derive(Debug, Clone, Copy)]
pub enum Purpose<'a> {
    /// Text: one for each choice.
    Generate(&'a [Generate]),
    /// Vectors.
    Embed(&'a Embed),
    /// Scores of documents.
    Rank(&'a Rank),
    /// Speech to text, at a server.
    Listen,
    /// Text to speech, at a server.
    Speak,
    /// Something short of this kind, to see who would serve it or to load that one.
    Short(Kind, Form),
}

/// Whether a prompt is a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Plain text, or nothing that could be a conversation.
    Plain,
    /// A conversation.
    Chat,
}

/// Whom a short request for a role would go to now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outlook {
    /// What the request would be about: what the first of its models does.
    pub kind: Kind,
    /// Who would be tried, and who not.
    pub choice: Choice,
}

/// The right to use a model, and which one that is.
#[derive(Debug)]
pub struct Served {
    /// The right to use it.
    pub lease: Lease,
    /// The model's name, where a role was asked for.
    pub model: Option<String>,
}

/// A role that is asked for, and what is known about its models.
#[derive(Clone, Copy)]
struct AskedRole<'a> {
    name: &'a str,
    edition: &'a Edition,
    known: &'a [Known],
}

/// What does not change about a role's model from one request to the next.
#[derive(Debug)]
struct Known {
    name: String,
    state: State,
    /// Whether it takes conversations.
    chats: bool,
    /// What would be started for it, which the fleet is asked about; none when it cannot be used.
    launch: Option<Launch>,
}

/// What was found for a role, and when.
#[derive(Debug)]
pub(super) struct Look {
    when: Instant,
    known: Arc<Vec<Known>>,
}

impl Handle {
    /// The names that people may use instead of models: the configured roles, and the built-in one
    /// when there are any.
    #[must_use]
    pub fn roles(&self) -> Vec<String> {
        let edition = self.shared.edition();
        let mut names: Vec<String> =
            edition.roles().iter().map(|(name, _)| name.to_owned()).collect();
        if !names.is_empty() && !names.iter().any(|name| name == AUTO) {
            names.push(AUTO.to_owned());
        }
        names
    }

    /// Whether this names a role, the built-in one included. A model of that name comes first.
    #[must_use]
    pub fn is_role(&self, name: &str) -> bool {
        self.shared.edition().roles().has(name)
    }

    /// Whom a role ends at, in order; empty when it is none or picks by request.
    #[must_use]
    pub fn candidates(&self, role: &str) -> Vec<String> {
        let edition = self.shared.edition();
        edition.roles().models(role).into_iter().map(str::to_owned).collect()
    }

    /// As [`Self::acquire_with`], but `name` may be a role too: then the first of its models that can
    /// take the request serves it. `watch` shows meanwhile what is waited for.
    ///
    /// # Errors
    /// See [`AcquireError`]; of a role, [`AcquireError::NobodyServes`] says why each could not.
    pub async fn serve(
        &self,
        name: &str,
        purpose: Purpose<'_>,
        wish: Wish,
        watch: Option<&Watch>,
    ) -> Result<Served, AcquireError> {
        // Whoever asks for a model that was used a moment ago pays nothing for roles.
        let edition = self.shared.edition();
        let launch = match edition.fresh_lookup(name) {
            Some(launch) => launch,
            None if edition.roles().has(name) => match self.known(&edition, name).await? {
                Some(known) => {
                    let role = AskedRole { name, edition: &edition, known: &known };
                    return self.serve_role(role, purpose, wish, watch, &[]).await;
                }
                None => self.launch(name).await?,
            },
            None => self.launch(name).await?,
        };
        launch.senses.check(&launch.model.name, purpose)?;
        check_adapters(&launch, purpose)?;
        let lease = self.watched(launch, wish, watch).await?;
        Ok(Served { lease, model: None })
    }

    /// Whom a short request for a role would go to now; `None` when the name is no role.
    ///
    /// # Errors
    /// [`AcquireError::ShuttingDown`].
    pub async fn outlook(&self, role: &str) -> Result<Option<Outlook>, AcquireError> {
        let edition = self.shared.edition();
        if !edition.roles().has(role) {
            return Ok(None);
        }
        let Some(known) = self.known(&edition, role).await? else { return Ok(None) };
        let purpose = short(&known);
        let kind = purpose.ask().kind;
        let asked = AskedRole { name: role, edition: &edition, known: &known };
        Ok(Some(Outlook { kind, choice: self.choose(asked, purpose).await? }))
    }

    /// Loads a model that nobody asks yet, or of a role the first that can be loaded, and returns when
    /// it is ready: its name, where a role was meant. Whoever asks comes first.
    ///
    /// # Errors
    /// See [`AcquireError`].
    pub async fn warm(
        &self,
        name: &str,
        keep_alive: Option<Duration>,
    ) -> Result<Option<String>, AcquireError> {
        let wish = Wish { priority: Priority::Background, keep_alive };
        let edition = self.shared.edition();
        let known = match edition.roles().has(name) {
            true => self.known(&edition, name).await?,
            false => None,
        };
        let purpose = short(known.as_deref().map_or(&[], Vec::as_slice));
        let served = self.serve(name, purpose, wish, None).await?;
        Ok(served.model)
    }

    /// As [`Self::serve`] of a role, for a request that these of its models have lost already.
    ///
    /// # Errors
    /// As there.
    pub async fn serve_without(
        &self,
        lost_by: &[String],
        role: &str,
        purpose: Purpose<'_>,
        wish: Wish,
        watch: Option<&Watch>,
    ) -> Result<Served, AcquireError> {
        let edition = self.shared.edition();
        let known = self.known(&edition, role).await?.unwrap_or_default();
        let role = AskedRole { name: role, edition: &edition, known: &known };
        self.serve_role(role, purpose, wish, watch, lost_by).await
    }

    async fn serve_role(
        &self,
        asked: AskedRole<'_>,
        purpose: Purpose<'_>,
        wish: Wish,
        watch: Option<&Watch>,
        lost_by: &[String],
    ) -> Result<Served, AcquireError> {
        let role = asked.name;
        let mut choice = self.choose(asked, purpose).await?;
        choice.tries.retain(|tried| !lost_by.contains(&tried.model));
        let mut reasons = Vec::new();
        let mut last = None;
        for tried in &choice.tries {
            let lease = async {
                let launch = self.launch(&tried.model).await?;
                check_adapters(&launch, purpose)?;
                self.watched(launch, wish, watch).await
            };
            match lease.await {
                Ok(lease) => {
                    tracing::debug!(role, model = tried.model, why = %tried.why, "role chosen");
                    return Ok(Served { lease, model: Some(tried.model.clone()) });
                }
                Err(error) if is_of_the_model(&error) => {
                    tracing::info!(role, model = tried.model, %error, "on to the next of the role");
                    reasons.push(error.to_string());
                    last = Some(Box::new(error));
                }
                Err(error) => return Err(error),
            }
        }
        Err(nobody(role, &choice, reasons, last))
    }

    async fn watched(
        &self,
        launch: Launch,
        wish: Wish,
        watch: Option<&Watch>,
    ) -> Result<Lease, AcquireError> {
        let ticket = self.ticket(&launch.model.name)?;
        let _watched = watch.map(|watch| watch.waits(&launch.model.name, ticket.request()));
        self.wanted(launch, wish, ticket).await
    }

    async fn choose(
        &self,
        role: AskedRole<'_>,
        purpose: Purpose<'_>,
    ) -> Result<Choice, AcquireError> {
        let AskedRole { name, edition, known } = role;
        let asked: Vec<Launch> = known.iter().filter_map(|known| known.launch.clone()).collect();
        let verdicts = self.ask(|reply| Message::Verdicts { asked, reply }).await;
        let mut verdicts = verdicts.ok_or(AcquireError::ShuttingDown)?.into_iter();
        let is_chat = purpose.is_chat();
        let mut states = BTreeMap::new();
        for known in known {
            let mut state = known.state.clone();
            if known.launch.is_some()
                && let Some(verdict) = verdicts.next()
            {
                state.standing = standing(verdict);
            }
            if is_chat && !known.chats && state.kinds.contains(&Kind::Generate) {
                let why = "it takes no conversations, only plain text".to_owned();
                state.standing = Standing::Unusable { why };
            }
            states.insert(known.name.clone(), state);
        }
        let prefer_resident = edition.prefers_resident();
        let choice = edition.roles().choose(name, &purpose.ask(), &states, prefer_resident);
        Ok(choice.unwrap_or_default())
    }

    /// What is known about a role's models; `None` when the name is a model's after all. It touches
    /// the disk, so that what was found a moment ago still holds.
    async fn known(
        &self,
        edition: &Arc<Edition>,
        role: &str,
    ) -> Result<Option<Arc<Vec<Known>>>, AcquireError> {
        if let Some(known) = edition.fresh_role(role) {
            return Ok(Some(known));
        }
        let edition = Arc::clone(edition);
        let role = role.to_owned();
        let looked_up = tokio::task::spawn_blocking(move || {
            if edition.models.find(&role).is_some() {
                return None;
            }
            let known = Arc::new(edition.look_at_role(&role));
            edition.keep_role(role, Arc::clone(&known));
            Some(known)
        });
        // The runtime cancels a blocking task only when it goes down.
        looked_up.await.map_err(|_| AcquireError::ShuttingDown)
    }
}

impl Edition {
    fn look_at_role(&self, role: &str) -> Vec<Known> {
        let find = |name| self.models.find(name);
        let models: Vec<Model> = match self.roles().models(role) {
            // The built-in role knows all models of this machine. A server elsewhere sees what is
            // sent to it, so it serves only where a role names it.
            named if named.is_empty() => {
                let mut models = self.models.list();
                models.retain(|model| !matches!(model.engine, Engine::Upstream(_)));
                let named = self.roles().iter().flat_map(|(role, _)| self.roles().models(role));
                for name in named {
                    if !models.iter().any(|model| model.name == name) {
                        models.extend(find(name));
                    }
                }
                models
            }
            named => named.into_iter().filter_map(find).collect(),
        };
        let known = |model: &Model| {
            known(&self.preflight.summary(model), self.preflight.launch(model).ok())
        };
        models.iter().map(known).collect()
    }

    fn fresh_role(&self, role: &str) -> Option<Arc<Vec<Known>>> {
        let looked_up = self.roles_looked_up.lock().unwrap_or_else(PoisonError::into_inner);
        let look = looked_up.get(role)?;
        (look.when.elapsed() < self.lookup_age_max).then(|| Arc::clone(&look.known))
    }

    /// As many as there are roles.
    fn keep_role(&self, role: String, known: Arc<Vec<Known>>) {
        let mut looked_up = self.roles_looked_up.lock().unwrap_or_else(PoisonError::into_inner);
        looked_up.insert(role, Look { when: Instant::now(), known });
    }
}

/// Whether another model may do better. What is said of the whole hub, or by the operator, holds for
/// all of a role's models; and who waited long for one is not made to wait again for the next.
fn is_of_the_model(error: &AcquireError) -> bool {
    match error {
        AcquireError::UnknownModel { .. }
        | AcquireError::Unusable { .. }
        | AcquireError::TakesNone { .. }
        | AcquireError::NoSuchAdapter { .. }
        | AcquireError::TooLarge { .. }
        | AcquireError::LoadFailed { .. } => true,
        AcquireError::Overloaded { .. }
        | AcquireError::Stopped { .. }
        | AcquireError::NobodyServes { .. }
        | AcquireError::ShuttingDown => false,
    }
}

/// Refuses a request that chooses adapters which the model does not have, before it is loaded for it. Of a foreign
/// engine nobody here knows which it has; it says so itself.
fn check_adapters(launch: &Launch, purpose: Purpose<'_>) -> Result<(), AcquireError> {
    let (Start::Worker(worker), Purpose::Generate(generates)) = (&launch.start, purpose) else {
        return Ok(());
    };
    generates.iter().try_for_each(|generate| {
        let scales = worker_protocol::scales(&worker.adapters, generate.adapters.as_deref());
        let name = launch.model.name.to_string();
        scales.map(drop).map_err(|why| AcquireError::NoSuchAdapter { name, why })
    })
}

/// A short request as the first of these models takes it.
fn short(known: &[Known]) -> Purpose<'static> {
    let first = known.iter().find_map(|known| Some((*known.state.kinds.first()?, known.chats)));
    match first {
        Some((kind, true)) => Purpose::Short(kind, Form::Chat),
        Some((kind, false)) => Purpose::Short(kind, Form::Plain),
        None => Purpose::Short(Kind::Generate, Form::Plain),
    }
}

fn nobody(
    role: &str,
    choice: &Choice,
    mut reasons: Vec<String>,
    last: Option<Box<AcquireError>>,
) -> AcquireError {
    let is_too_long = |left: &roles::LeftOut| matches!(left.reason, Reason::TooLong { .. });
    let only_too_long = choice.tries.is_empty() && choice.left_out.iter().all(is_too_long);
    let left_out = choice.left_out.iter();
    reasons.extend(left_out.map(|left| format!("model '{}': {}", left.model, left.reason)));
    AcquireError::NobodyServes {
        role: role.to_owned(),
        is_too_long: only_too_long && !reasons.is_empty(),
        reasons,
        last,
        retry_after: choice.retry_in(),
    }
}

fn known(summary: &ModelSummary, launch: Option<Launch>) -> Known {
    let name = summary.name.clone();
    let facts = match &summary.facts {
        Ok(facts) => facts,
        Err(why) => {
            let state = State {
                kinds: Vec::new(),
                context_tokens: None,
                tools: false,
                images: false,
                sounds: false,
                json_schema: false,
                size_bytes: None,
                standing: Standing::Unusable { why: why.clone() },
            };
            return Known { name, state, chats: false, launch: None };
        }
    };
    // Our worker's models do one of the three; a foreign engine may do several.
    let manner = summary.engine.manner();
    let embeds = manner.map_or(!facts.generates && !facts.ranks, |manner| manner.embeddings);
    let kinds = [
        (facts.generates, Kind::Generate),
        (embeds, Kind::Embed),
        (facts.ranks, Kind::Rerank),
        (manner.is_some_and(|manner| manner.transcriptions.is_some()), Kind::Listen),
        (manner.is_some_and(|manner| manner.speech.is_some()), Kind::Speak),
    ];
    let state = State {
        kinds: kinds.into_iter().filter(|(does, _)| *does).map(|(_, kind)| kind).collect(),
        context_tokens: facts.context_tokens,
        tools: manner.map_or(facts.chats, |manner| manner.tools),
        images: facts.skills.images,
        sounds: facts.skills.sounds,
        json_schema: manner.map_or(facts.generates, |manner| manner.json_schema),
        size_bytes: match &summary.engine {
            Engine::Worker(file) => Some(file.file_bytes),
            Engine::Command(command) => Some(command.memory_bytes),
            Engine::Upstream(_) => None,
        },
        standing: Standing::Loadable,
    };
    Known { name, state, chats: facts.chats, launch }
}

/// What the fleet would do with a request, as a role must know it.
fn standing(verdict: Verdict) -> Standing {
    match verdict {
        // What is being loaded need not be loaded again.
        Verdict::Served(_) | Verdict::Queued(_) => Standing::Resident,
        Verdict::Started
        | Verdict::StartedAfterExits
        | Verdict::StartedAfterStopping(_)
        | Verdict::Pressed(_)
        | Verdict::Held { .. }
        | Verdict::Sparing { .. }
        | Verdict::Blocked { .. }
        | Verdict::Behind(_) => Standing::Loadable,
        Verdict::Refused(refusal) => refused(refusal),
    }
}

fn refused(refusal: Refusal) -> Standing {
    match refusal {
        Refusal::CoolingOff { retry_in, .. } => Standing::CoolingOff { retry_in },
        Refusal::TooLarge { needed_bytes, budget_bytes } => Standing::Unusable {
            why: format!(
                "it needs {} of memory, and all models together may take {}",
                readable(needed_bytes),
                readable(budget_bytes)
            ),
        },
        Refusal::Pins { needed_bytes, pinned_bytes, budget_bytes } => Standing::Unusable {
            why: format!(
                "it needs {}, but pinned models hold {} of {}",
                readable(needed_bytes),
                readable(pinned_bytes),
                readable(budget_bytes)
            ),
        },
        Refusal::PinnedGroup { group, holder } => {
            Standing::Unusable { why: format!("'{holder}' of its group '{group}' is pinned") }
        }
        // These are said of the moment or the hub; whoever tries it hears them.
        Refusal::QueueFull { .. }
        | Refusal::WaitedTooLong { .. }
        | Refusal::LoadFailed { .. }
        | Refusal::Stopped
        | Refusal::ShuttingDown => Standing::Loadable,
    }
}

impl Purpose<'_> {
    fn is_chat(self) -> bool {
        match self {
            Self::Generate(generates) => {
                generates.iter().any(|generate| matches!(generate.prompt, Prompt::Chat(_)))
            }
            Self::Embed(_) | Self::Rank(_) | Self::Listen | Self::Speak => false,
            Self::Short(_, form) => form == Form::Chat,
        }
    }

    /// What is asked for.
    fn ask(self) -> Ask {
        match self {
            Self::Short(kind, _) => Ask { kind, ..Ask::generate(Tokens::default()) },
            // How much sound makes how many tokens is the server's affair.
            Self::Listen => Ask { kind: Kind::Listen, ..Ask::generate(Tokens::exactly(0)) },
            Self::Speak => Ask { kind: Kind::Speak, ..Ask::generate(Tokens::exactly(0)) },
            Self::Embed(embed) => {
                // Each input is computed by itself.
                let lengths = embed.inputs.iter().map(|input| match input {
                    EmbedInput::Text(text) => Tokens::of_text(text),
                    EmbedInput::Tokens(tokens) => Tokens::exactly(tokens.len() as u64),
                });
                // What may be cut is too long for nobody.
                let lengths = if embed.truncate { Tokens::exactly(0) } else { longest(lengths) };
                Ask { kind: Kind::Embed, ..Ask::generate(lengths) }
            }
            Self::Rank(rank) => {
                let documents = rank.documents.iter().map(|text| Tokens::of_text(text));
                let document = if rank.truncate { Tokens::exactly(0) } else { longest(documents) };
                let lengths = Tokens::of_text(&rank.query).and(document);
                Ask { kind: Kind::Rerank, ..Ask::generate(lengths) }
            }
            Self::Generate(generates) => {
                // Choices of one prompt follow each other, and it is measured once.
                let mut prompts: Vec<&Prompt> =
                    generates.iter().map(|generate| &generate.prompt).collect();
                prompts.dedup();
                let has_tools = |prompt: &&Prompt| match prompt {
                    Prompt::Chat(chat) => !chat.tools.is_empty(),
                    Prompt::Text(_) | Prompt::Tokens(_) | Prompt::Infill(_) => false,
                };
                Ask {
                    images: senses::brings(self, MediaKind::Image),
                    sounds: senses::brings(self, MediaKind::Audio),
                    tools: prompts.iter().any(has_tools),
                    json_schema: generates.iter().any(|generate| generate.constraint.is_some()),
                    answer_tokens_max: generates.first().and_then(|generate| generate.tokens_max),
                    ..Ask::generate(longest(prompts.into_iter().map(length)))
                }
            }
        }
    }
}

fn longest(lengths: impl Iterator<Item = Tokens>) -> Tokens {
    lengths.fold(Tokens::default(), |longest, length| Tokens {
        at_least: longest.at_least.max(length.at_least),
        at_most: longest.at_most.max(length.at_most),
    })
}

fn length(prompt: &Prompt) -> Tokens {
    let chat = match prompt {
        Prompt::Text(text) => return Tokens::of_text(text),
        Prompt::Tokens(tokens) => return Tokens::exactly(tokens.len() as u64),
        // Snippets that do not fit are left out.
        Prompt::Infill(infill) => {
            return Tokens::of_text(&infill.before).and(Tokens::of_text(&infill.after));
        }
        Prompt::Chat(chat) => chat,
    };
    let mut sum = Tokens::default()
        .in_messages(chat.messages.len() as u64)
        .with_images(senses::count(prompt, MediaKind::Image))
        .with_sounds(senses::count(prompt, MediaKind::Audio));
    for message in &chat.messages {
        sum = sum.and(Tokens::of_text(message.content.as_deref().unwrap_or_default()));
        for call in &message.tool_calls {
            let arguments = Tokens::of_text(&call.arguments.to_string());
            sum = sum.and(Tokens::of_text(&call.name)).and(arguments);
        }
    }
    for value in chat.tools.iter().chain(&chat.documents) {
        sum = sum.and(Tokens::of_text(&value.to_string()));
    }
    // Templates leave out what was thought in earlier turns, so it may count and need not.
    let thought = chat.messages.iter().filter_map(|message| message.reasoning.as_deref());
    let thought = thought.map(Tokens::of_text).fold(0, |sum, tokens| sum + tokens.at_most);
    sum.and(Tokens { at_least: 0, at_most: thought })
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use worker_protocol::{Chat, Media, Message, Role, ToolCall};

    use super::*;

    fn chat(messages: Vec<Message>, tools: Vec<serde_json::Value>) -> Generate {
        Generate::new(Prompt::Chat(Chat { messages, tools, ..Chat::default() }))
    }

    #[test]
    fn everything_that_a_template_writes_counts() {
        let text = "word ".repeat(1000);
        let plain = length(&chat(vec![Message::text(Role::User, "hi")], Vec::new()).prompt);
        let call =
            ToolCall { id: "1".into(), name: "write".into(), arguments: json!({ "text": text }) };
        let called =
            Message { content: None, tool_calls: vec![call], ..Message::text(Role::Assistant, "") };
        let tool = json!({ "type": "function", "function": { "description": text } });
        for generate in [
            chat(vec![Message::text(Role::User, text.as_str())], Vec::new()),
            chat(vec![called], Vec::new()),
            chat(vec![Message::text(Role::User, "hi")], vec![tool]),
        ] {
            let length = length(&generate.prompt);
            assert!(length.at_least > plain.at_least + 300, "{length:?}");
            assert!(length.at_most > plain.at_most + 1000, "{length:?}");
        }
    }

    #[test]
    fn what_was_thought_may_count_and_need_not() {
        let reasoning = Some("word ".repeat(1000));
        let message = Message { reasoning, ..Message::text(Role::Assistant, "hi") };
        let length = length(&chat(vec![message], Vec::new()).prompt);
        assert!(length.at_least < 10 && length.at_most > 1000, "{length:?}");
    }

    #[test]
    fn what_is_seen_and_heard_may_count_and_is_asked_for() {
        let media = |kind| Media { at: 0, kind, bytes: vec![0; 1 << 20] };
        let plain = Message::text(Role::User, "hi");
        let media = vec![media(MediaKind::Image), media(MediaKind::Image)];
        let seen = chat(vec![Message { media, ..plain.clone() }], Vec::new());
        let plain = chat(vec![plain], Vec::new());
        let (with, without) = (length(&seen.prompt), length(&plain.prompt));
        assert_eq!(with.at_least, without.at_least);
        assert!(with.at_most > without.at_most + 1000 && with.at_most < 10_000, "{with:?}");
        let asked = |generate: &Generate| {
            let ask = Purpose::Generate(std::slice::from_ref(generate)).ask();
            (ask.images, ask.sounds)
        };
        assert_eq!((asked(&plain), asked(&seen)), ((false, false), (true, false)));
    }

    #[test]
    fn of_several_prompts_the_longest_counts_and_choices_count_once() {
        let prompts = ["x".to_owned(), "word ".repeat(1000), "y".to_owned()];
        let generates: Vec<Generate> = prompts
            .iter()
            .flat_map(|text| std::iter::repeat_n(Generate::new(Prompt::Text(text.clone())), 3))
            .collect();
        let ask = Purpose::Generate(&generates).ask();
        assert_eq!(ask.prompt_tokens, Tokens::of_text(&prompts[1]));
    }
}
