//! Whether servers are ready and well, and what they say about themselves.
//!
//! Errors are fragments that go on after a server's name.

use std::sync::Arc;

use dialect::openai::upstream;
use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval_at, timeout},
};
use worker_protocol::{Chat, EmbedInput, Event, Generate, Message, Prompt, Role};

use super::{
    super::{http::Endpoint, pool::Member},
    Voice, Waits,
    exchange::{self, Stream},
};
use crate::{
    engine::{Ready, Server},
    limits::PROBE_BYTES_MAX,
};

/// What an engine that is ready says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Probed {
    /// The smallest context of its servers; `None` is unknown.
    pub(crate) context_tokens: Option<u32>,
}

/// The names of the models that a server lists.
///
/// # Errors
/// Why it cannot be asked, as a whole sentence.
pub(crate) async fn served_models(server: &Server) -> Result<Vec<String>, String> {
    let (endpoint, waits) = (Endpoint::new(server)?, Waits::default());
    let asked = timeout(waits.probe, get(&endpoint, "/v1/models", waits)).await;
    let body = asked.unwrap_or_else(|_| Err(late(waits)));
    let body = body.map_err(|what| format!("{} {what}", endpoint.shown()))?;
    Ok(upstream::models(&body))
}

/// Asks all servers at once; one that is ready is enough.
pub(super) async fn all(voice: &Arc<Voice>) -> Result<Probed, String> {
    let mut looks = look_at(voice, |_| true);
    let (mut context_tokens, mut reasons) = (None::<u32>, Vec::new());
    let mut ready = false;
    while let Some(look) = looks.join_next().await {
        match look.unwrap_or_else(|error| Err(error.to_string())) {
            Ok(Probed { context_tokens: known }) => {
                ready = true;
                // A server that does not say is taken to have as much as the others.
                context_tokens = context_tokens.into_iter().chain(known).min();
            }
            Err(reason) => reasons.push(reason),
        }
    }
    if ready { Ok(Probed { context_tokens }) } else { Err(reasons.join("; ")) }
}

/// Looks at the servers again and again, until none of them is well; returns why. They were looked
/// at when the engine became ready, so the first look has time.
pub(super) async fn watch(voice: &Arc<Voice>) -> String {
    let pool = &voice.pool;
    let mut interval = interval_at(Instant::now() + voice.waits.health, voice.waits.health);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // A completion is work for a server, and may keep a model in its memory for ever, so one that is
    // well is not bothered; nor is one that answers, which may be slow to do more.
    let is_costly = voice.ready == Ready::Completion;
    let wants_a_look = |member: &Member| !member.is_well() || !is_costly && member.busy() == 0;
    loop {
        tokio::select! {
            _ = interval.tick() => looked(look_at(voice, wants_a_look)).await,
            () = pool.someone_went_down() => {}
        }
        // Whoever still waits for an answer loses it by what follows, so it must be sure.
        if pool.all_down().is_some() && pool.is_busy() {
            looked(look_at(voice, |_| true)).await;
        }
        if let Some(reasons) = pool.all_down() {
            return reasons;
        }
    }
}

/// Waits for these looks. What was seen is noted by each itself.
async fn looked(mut looks: JoinSet<Result<Probed, String>>) {
    while looks.join_next().await.is_some() {}
}

fn look_at(
    voice: &Arc<Voice>,
    wanted: impl Fn(&Member) -> bool,
) -> JoinSet<Result<Probed, String>> {
    let members = voice.pool.members().iter().filter(|member| wanted(member));
    let mut looks = JoinSet::new();
    for member in members {
        looks.spawn(look(Arc::clone(voice), Arc::clone(member)));
    }
    looks
}

async fn look(voice: Arc<Voice>, member: Arc<Member>) -> Result<Probed, String> {
    let endpoint = &member.endpoint;
    let looked = timeout(voice.waits.probe, async {
        is_ready(&voice, endpoint).await?;
        Ok(Probed { context_tokens: context_tokens(&voice, endpoint).await })
    });
    let looked = looked.await.unwrap_or_else(|_| Err(late(voice.waits)));
    member.looked_at(looked.as_ref().map(drop).map_err(String::as_str));
    looked.map_err(|reason| format!("{} {reason}", endpoint.shown()))
}

async fn is_ready(voice: &Voice, endpoint: &Endpoint) -> Result<(), String> {
    match &voice.ready {
        Ready::Path(path) => get(endpoint, path, voice.waits).await.map(drop),
        Ready::Completion => completes(voice, endpoint).await,
    }
}

/// The least work that shows that the engine does its work.
async fn completes(voice: &Voice, endpoint: &Endpoint) -> Result<(), String> {
    let connection = endpoint.connect(voice.waits.connect).await?;
    let manner = &voice.manner;
    if !manner.chat && !manner.completions {
        let inputs = [EmbedInput::Text("hi".to_owned())];
        let vectors = exchange::vectors(voice, endpoint, connection, &inputs).await;
        return vectors.map(drop).map_err(|failure| failure.message);
    }
    let prompt = if manner.chat {
        let messages = vec![Message::text(Role::User, "hi")];
        Prompt::Chat(Chat { messages, ..Chat::default() })
    } else {
        Prompt::Text("hi".to_owned())
    };
    let generate = Generate { tokens_max: Some(1), ..Generate::new(prompt) };
    let stream = Stream::begin(voice, endpoint, connection, &generate).await;
    let mut stream = stream.map_err(|failure| failure.message)?;
    loop {
        match stream.next().await {
            Event::Finished(_) => return Ok(()),
            Event::Failed(failure) => return Err(failure.message),
            Event::Progress { .. }
            | Event::Text(_)
            | Event::Reasoning(_)
            | Event::ToolCall(_)
            | Event::Embedded { .. }
            | Event::Ranked { .. } => {}
        }
    }
}

/// What the server says its context is; else what the configuration says. A server that does not
/// say it is ready nevertheless.
async fn context_tokens(voice: &Voice, endpoint: &Endpoint) -> Option<u32> {
    let manner = &voice.manner;
    let Some((path, keys)) = manner.context_from.as_deref().and_then(|from| from.split_once('.'))
    else {
        return manner.context_tokens;
    };
    let body = get(endpoint, &format!("/{path}"), voice.waits).await.ok();
    body.and_then(|body| upstream::figure(&body, keys.split('.'))).or(manner.context_tokens)
}

/// The body at a path that must be there.
async fn get(endpoint: &Endpoint, path: &str, waits: Waits) -> Result<Vec<u8>, String> {
    let connection = endpoint.connect(waits.connect).await?;
    let reply = connection.get(endpoint, path, waits.silence).await?;
    if reply.status() != 200 {
        return Err(format!("answered {} at {path}", reply.status()));
    }
    reply.whole(PROBE_BYTES_MAX, waits.silence).await
}

fn late(waits: Waits) -> String {
    format!("did not show within {} s that it is ready", waits.probe.as_secs_f32())
}
