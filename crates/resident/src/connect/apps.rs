//! Programs to chat with: Cherry Studio, Open WebUI. What is known of each has its source.

use super::{
    client::Piece,
    places::Places,
    subject::{KEY_VARIABLE, NO_KEY, Subject},
};

/// OpenAI's chat; it adds `/v1/chat/completions` to the address itself. Its settings are in a database of
/// its own.
/// <https://docs.cherry-ai.com/docs/en-us/pre-basic/settings/providers>
pub(super) fn cherry_studio(subject: &Subject, _places: &Places) -> Vec<Piece> {
    let key = if subject.has_key { "the hub's key" } else { NO_KEY };
    let (url, name) = (&subject.url, &subject.model.name);
    let steps = format!(
        "1. Settings, Model Provider, Add: name Resident, type OpenAI\n\
         2. API Key: {key}\n\
         3. API Host: {url}\n\
         4. Manage, and add {name}; or Add, and write it\n\
         5. Turn the provider on (the switch at the top)\n\
         If it is told that its web pages may not call this hub, add the origin that the hub names to\n\
         `origins` in the hub's configuration."
    );
    vec![Piece::Text { heading: "in its window:".to_owned(), text: steps }]
}

/// OpenAI's chat; the address ends in `/v1`. The variables count at the first start only and are kept in
/// its database from then on, so whoever has it already goes through the window.
/// <https://docs.openwebui.com/reference/env-configuration>
pub(super) fn open_webui(subject: &Subject, places: &Places) -> Vec<Piece> {
    let (v1, name) = (subject.v1(), &subject.model.name);
    let (key, said) = match subject.has_key {
        true => (places.value_of(KEY_VARIABLE), "the hub's key"),
        false => (NO_KEY.to_owned(), NO_KEY),
    };
    let start = places.variables(&[
        ("OPENAI_API_BASE_URL", v1.clone()),
        ("OPENAI_API_KEY", key),
        ("ENABLE_OLLAMA_API", "False".to_owned()),
        ("DEFAULT_MODELS", name.clone()),
    ]);
    let steps = format!(
        "1. Admin Panel, Settings, Connections, OpenAI API, +\n\
         2. URL: {v1}\n\
         3. Key: {said}\n\
         4. Choose {name} in a new chat"
    );
    let container = format!(
        "In a container 127.0.0.1 is the container itself. On Linux start it with --network=host; with\n\
         Docker Desktop write {} for the address, and\n\
         hosts = [\"host.docker.internal\"] in the hub's configuration.",
        in_container(&v1)
    );
    vec![
        Piece::Text {
            heading: "before its first start:".to_owned(),
            text: format!("{start}\nopen-webui serve"),
        },
        Piece::Text { heading: "or, if it has been started before:".to_owned(), text: steps },
        Piece::Text { heading: "in Docker:".to_owned(), text: container },
    ]
}

/// An address of this machine as a container of Docker Desktop calls it.
fn in_container(address: &str) -> String {
    ["127.0.0.1", "localhost", "[::1]"]
        .iter()
        .fold(address.to_owned(), |address, own| address.replace(own, "host.docker.internal"))
}
