//! Projectors: who takes pictures and sounds, and what is said to whoever sends them to somebody else.

use std::{collections::BTreeMap, fs};

use planner::gguf::{Header, Tensor, TensorType, Value, write};
use planner::roles::{Candidate, Role, check};
use supervisor::{AcquireError, Purpose, Roles, Served, Wish};
use worker_protocol::{Chat, Generate, Media, MediaKind, Message, Prompt, Role as Speaker};

use crate::hub::{Hub, Setup, WEIGHTS_BYTES, within};

const PROJECTOR_BYTES: u64 = 1 << 20;

/// Writes a projector with these encoders, which lies where the folder of these tests looks for one.
fn write_projector(hub: &Hub, model: &str, vision: bool, audio: bool) {
    let metadata = [
        ("general.architecture", Value::String("clip".to_owned())),
        ("clip.has_vision_encoder", Value::Bool(vision)),
        ("clip.has_audio_encoder", Value::Bool(audio)),
    ];
    let metadata = metadata.map(|(key, value)| (key.to_owned(), value)).into();
    let tensor = Tensor {
        name: "mm.0.weight".to_owned(),
        dimensions: [PROJECTOR_BYTES / 4, 1, 1, 1],
        kind: TensorType::F32,
        offset: 0,
        bytes: PROJECTOR_BYTES,
    };
    let header =
        Header { version: 3, metadata, tensors: vec![tensor], alignment: 32, data_offset: 0 };
    let bytes = write::write(&header).unwrap();
    let path = hub.file(&format!("{model}.mmproj"));
    fs::write(&path, &bytes).unwrap();
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_len(bytes.len() as u64 + PROJECTOR_BYTES).unwrap();
}

fn seen(kinds: &[MediaKind]) -> Generate {
    let media = kinds.iter().map(|kind| Media { at: 0, kind: *kind, bytes: vec![1, 2, 3] });
    let message = Message { media: media.collect(), ..Message::text(Speaker::User, "say 1") };
    Generate::new(Prompt::Chat(Chat { messages: vec![message], ..Chat::default() }))
}

async fn serve(hub: &Hub, name: &str, generate: &Generate) -> Result<Served, AcquireError> {
    let purpose = Purpose::Generate(std::slice::from_ref(generate));
    within(hub.handle.serve(name, purpose, Wish::default(), None)).await
}

fn daily(models: &[&str]) -> Roles {
    let candidates = models.iter().map(|model| Candidate::new(*model)).collect();
    let role = Role { candidates, prefer_resident: None };
    check(BTreeMap::from([("daily".to_owned(), role)]), models).unwrap()
}

#[tokio::test]
async fn a_model_without_a_projector_is_not_even_loaded_for_a_picture() {
    let hub = Hub::new(&["model", "chats"], Setup::default());
    write_projector(&hub, "chats", true, false);
    let picture = seen(&[MediaKind::Image]);
    let error = serve(&hub, "model", &picture).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "model 'model' takes no pictures: there is no projector for model.gguf; put its mmproj file \
         beside it, for example as mmproj-model-F16.gguf, or name it with projector in the model's table"
    );
    assert_eq!(hub.handle.metrics().await.workers_started, 0);

    let served = serve(&hub, "chats", &picture).await.unwrap();
    assert!(served.lease.loaded().unwrap().sees, "its worker was told of the projector");
    let error = serve(&hub, "chats", &seen(&[MediaKind::Image, MediaKind::Audio])).await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("'chats' takes no sounds: its projector"), "{error}");
    drop(served);

    let facts = hub.handle.model("chats").unwrap().facts.unwrap();
    assert_eq!((facts.skills.images, facts.skills.sounds), (true, false));
    let booked = facts.needs.iter().filter(|need| need.what == "projector");
    let booked_bytes: u64 = booked.map(|need| need.bytes).sum();
    assert!(booked_bytes > PROJECTOR_BYTES, "its weights, and a picture while it is decoded");
    assert!(facts.needed_bytes > WEIGHTS_BYTES + booked_bytes);
    hub.goes_down().await;
}

#[tokio::test]
async fn a_role_passes_over_whoever_cannot_see_or_hear() {
    let models = ["model", "chats"];
    let hub = Hub::new(&models, Setup { roles: daily(&models), ..Setup::default() });
    let picture = seen(&[MediaKind::Image]);
    let error = serve(&hub, "daily", &picture).await.unwrap_err().to_string();
    assert!(error.contains("model 'chats': takes no images"), "{error}");
    write_projector(&hub, "chats", true, false);
    assert_eq!(serve(&hub, "daily", &picture).await.unwrap().model.as_deref(), Some("chats"));
    let error = serve(&hub, "daily", &seen(&[MediaKind::Audio])).await.unwrap_err().to_string();
    assert!(error.contains("model 'chats': takes no sounds"), "{error}");
    hub.goes_down().await;
}

#[tokio::test]
async fn a_projector_that_comes_later_is_taken_and_a_broken_one_leaves_the_text() {
    let hub = Hub::new(&["chats"], Setup::default());
    let (text, picture) = (seen(&[]), seen(&[MediaKind::Image]));
    let served = serve(&hub, "chats", &text).await.unwrap();
    assert!(!served.lease.loaded().unwrap().sees);
    drop(served);
    write_projector(&hub, "chats", true, true);
    let served = serve(&hub, "chats", &picture).await.unwrap();
    assert!(served.lease.loaded().unwrap().sees, "another version of the model was started");
    drop(served);
    fs::write(hub.file("chats.mmproj"), "no projector").unwrap();
    let error = serve(&hub, "chats", &picture).await.unwrap_err().to_string();
    assert!(
        error.contains("its projector cannot be used") && error.contains("chats.mmproj"),
        "{error}"
    );
    let served = serve(&hub, "chats", &text).await.unwrap();
    assert!(!served.lease.loaded().unwrap().sees);
    drop(served);
    // What the user named is a promise.
    fs::rename(hub.file("chats.mmproj"), hub.file("chats.named")).unwrap();
    let error = serve(&hub, "chats", &text).await.unwrap_err();
    assert!(matches!(error, AcquireError::Unusable { .. }), "{error:?}");
    hub.goes_down().await;
}

/// That it was made for another model only the worker finds out.
#[tokio::test]
async fn a_projector_that_merely_lies_there_and_does_not_fit_leaves_the_text() {
    let hub = Hub::new(&["misfits"], Setup::default());
    write_projector(&hub, "misfits", true, false);
    let served = serve(&hub, "misfits", &seen(&[])).await.unwrap();
    assert!(!served.lease.loaded().unwrap().sees, "it is told that nobody named it");
    drop(served);
    let [beside, named] = ["mmproj", "named"].map(|ending| hub.file(&format!("misfits.{ending}")));
    fs::rename(beside, named).unwrap();
    let served = serve(&hub, "misfits", &seen(&[])).await.unwrap();
    assert!(served.lease.loaded().unwrap().sees, "it is told that the user named it");
    drop(served);
    hub.goes_down().await;
}
