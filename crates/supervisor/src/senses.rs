//! What a model takes beside text, and what is said to whoever sends it more.
//!
//! Not here: which model of a role takes a request (`planner::roles`).

use std::{path::Path, sync::Arc};

use planner::gguf::Header;
use worker_protocol::{Failure, FailureKind, Generate, Loaded, MediaKind, Prompt};

use crate::{engine::Manner, error::AcquireError, handle::Purpose};

/// What a model takes beside text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Senses {
    pub(crate) images: bool,
    pub(crate) sounds: bool,
    /// Why it takes nothing else, and the way out.
    why: Arc<str>,
}

impl Senses {
    /// Of what keeps memory free and is asked for nothing.
    pub(crate) fn none() -> Self {
        Self { images: false, sounds: false, why: "it serves no model".into() }
    }

    /// Of a model without a projector.
    pub(crate) fn of_text(file: &Path) -> Self {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let stem = file.file_stem().unwrap_or_default().to_string_lossy();
        let why = format!(
            "there is no projector for {name}; put its mmproj file beside it, for example as \
             mmproj-{stem}-F16.gguf, or name it with projector in the model's table"
        );
        Self { images: false, sounds: false, why: why.into() }
    }

    /// Of a model whose projector cannot be used.
    pub(crate) fn of_broken(why: &str) -> Self {
        let why = format!("its projector cannot be used: {why}");
        Self { images: false, sounds: false, why: why.into() }
    }

    /// Of a model with this projector.
    pub(crate) fn of_projector(path: &Path, header: &Header) -> Self {
        let why = format!(
            "its projector {} has no encoder for them; ask a model that has one",
            path.display()
        );
        let (images, sounds) = (header.projects_pictures(), header.projects_sounds());
        Self { images, sounds, why: why.into() }
    }

    /// Of a foreign engine. Whether it takes sounds its server says.
    pub(crate) fn of_manner(manner: &Manner) -> Self {
        let takes = manner.chat && manner.images;
        let why = "its server takes text only, as api.images = false and api.chat say in the \
                   configuration; ask another model";
        Self { images: takes, sounds: takes, why: why.into() }
    }

    /// Refuses a request that brings more than the model takes.
    pub(crate) fn check(&self, name: &str, purpose: Purpose<'_>) -> Result<(), AcquireError> {
        let lacks = [
            (MediaKind::Image, self.images, "pictures"),
            (MediaKind::Audio, self.sounds, "sounds"),
        ];
        for (kind, takes, what) in lacks {
            if !takes && brings(purpose, kind) {
                let (name, why) = (name.to_owned(), self.why.to_string());
                return Err(AcquireError::TakesNone { name, what, why });
            }
        }
        Ok(())
    }
}

/// Why a loaded model cannot take a prompt: its worker says what it sees and hears, and a projector that merely
/// lies beside a model may be made for another one. A foreign engine says nothing of the kind.
pub(crate) fn lacking(loaded: Option<&Loaded>, prompt: &Prompt) -> Option<Failure> {
    let loaded = loaded?;
    let lacks = |kind, takes: bool| !takes && count(prompt, kind) > 0;
    let lacking = [
        ("pictures", lacks(MediaKind::Image, loaded.sees)),
        ("sounds", lacks(MediaKind::Audio, loaded.hears)),
    ];
    let (what, _) = lacking.into_iter().find(|(_, lacks)| *lacks)?;
    let message = format!(
        "the model's worker takes no {what}, since it cannot use the projector that lies beside the model: \
         it was made for another model, or the worker does not know its kind; the log says which. Name the \
         model's own with `projector` in its table"
    );
    Some(Failure { kind: FailureKind::Invalid, message })
}

/// Whether a request brings something of this kind.
pub(crate) fn brings(purpose: Purpose<'_>, kind: MediaKind) -> bool {
    match purpose {
        Purpose::Generate(generates) => {
            generates.iter().any(|generate: &Generate| count(&generate.prompt, kind) > 0)
        }
        Purpose::Embed(_)
        | Purpose::Rank(_)
        | Purpose::Listen
        | Purpose::Speak
        | Purpose::Short(..) => false,
    }
}

/// Pictures or sounds in a prompt.
pub(crate) fn count(prompt: &Prompt, kind: MediaKind) -> u64 {
    match prompt {
        Prompt::Chat(chat) => {
            let media = chat.messages.iter().flat_map(|message| &message.media);
            media.filter(|media| media.kind == kind).count() as u64
        }
        Prompt::Text(_) | Prompt::Tokens(_) | Prompt::Infill(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use planner::footprint;
    use worker_protocol::{Chat, Media, Message, Role, limits};

    use super::*;

    fn seen(kind: MediaKind) -> Prompt {
        let media = vec![Media { at: 0, kind, bytes: Vec::new() }];
        let messages = vec![Message { media, ..Message::text(Role::User, "hi") }];
        Prompt::Chat(Chat { messages, ..Chat::default() })
    }

    #[test]
    fn what_a_worker_does_not_take_is_kept_from_it() {
        let loaded = |sees, hears| {
            let json = serde_json::json!({
                "architecture": "gemma3", "parameters": 1, "vocabulary": 1, "embedding_width": 1,
                "context_tokens": 1, "context_tokens_trained": 1, "sequences_max": 1,
                "generates": true, "chat_template": true, "buffers": [], "load_ms": 1,
            });
            let loaded: Loaded = serde_json::from_value(json).unwrap();
            assert!(!loaded.sees && !loaded.hears, "one that does not say so does not");
            Loaded { sees, hears, ..loaded }
        };
        let refused = |sees, hears, kind| {
            let failure = lacking(Some(&loaded(sees, hears)), &seen(kind));
            failure.map(|failure| failure.message.contains("takes no"))
        };
        assert_eq!(refused(false, true, MediaKind::Image), Some(true));
        assert_eq!(refused(true, false, MediaKind::Audio), Some(true));
        assert_eq!(refused(true, false, MediaKind::Image), None);
        assert_eq!(refused(false, true, MediaKind::Audio), None);
        assert_eq!(lacking(Some(&loaded(false, false)), &Prompt::Text("hi".to_owned())), None);
        assert_eq!(lacking(None, &seen(MediaKind::Image)), None, "a server says it itself");
    }

    #[test]
    fn a_server_takes_what_its_settings_say() {
        let manner =
            |chat, images| Senses::of_manner(&Manner { chat, images, ..Manner::default() });
        let generates = [Generate::new(seen(MediaKind::Image))];
        let purpose = Purpose::Generate(&generates);
        assert_eq!(manner(true, true).check("m", purpose), Ok(()));
        for (chat, images) in [(true, false), (false, true)] {
            let error = manner(chat, images).check("m", purpose).unwrap_err().to_string();
            assert!(error.starts_with("model 'm' takes no pictures: its server"), "{error}");
        }
    }

    #[test]
    fn what_is_booked_is_what_is_let_in_and_kept() {
        assert_eq!(footprint::PICTURE_PIXELS_MAX, limits::PICTURE_PIXELS_MAX);
        assert_eq!(footprint::SOUND_SECONDS_MAX, limits::SOUND_SECONDS_MAX);
        assert_eq!(footprint::MEDIA_FILES_BYTES, limits::MEDIA_FILES_BYTES);
        assert_eq!(footprint::MEDIA_VECTORS_BYTES, limits::MEDIA_VECTORS_BYTES);
    }
}
