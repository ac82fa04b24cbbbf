//! The hub's name for what a client asks for: of a model, or of a role.

use dialect::ollama::model::TAG_DEFAULT;
use supervisor::Handle;

/// The name without the tag that means none, where only that is known. Clients that read Ollama's lists
/// ask for what stands there in every dialect.
pub(crate) async fn known(hub: &Handle, asked: &str) -> String {
    let Some(plain) = asked.strip_suffix(TAG_DEFAULT).filter(|plain| !plain.is_empty()) else {
        return asked.to_owned();
    };
    // Within an open pool any name may be there until its servers have said what is.
    hub.look_elsewhere().await;
    let is_other = !is_known(hub, asked).await && is_known(hub, plain).await;
    if is_other { plain } else { asked }.to_owned()
}

/// The model and the collections of files that `asked` names together, as in `daily+notes+letters`; nothing where it
/// is the name of a model itself, or begins with none.
pub(crate) async fn with_collections(hub: &Handle, asked: &str) -> Option<(String, Vec<String>)> {
    if !asked.contains('+') {
        return None;
    }
    let asked = asked.strip_suffix(TAG_DEFAULT).unwrap_or(asked);
    if is_known(hub, asked).await {
        return None;
    }
    // A name may have the sign itself, so the longest that is one counts.
    for (at, _) in asked.rmatch_indices('+') {
        let model = known(hub, &asked[..at]).await;
        if is_known(hub, &model).await {
            let collections = asked[at + 1..].split('+').filter(|name| !name.is_empty());
            return Some((model, collections.map(str::to_owned).collect()));
        }
    }
    None
}

async fn is_known(hub: &Handle, name: &str) -> bool {
    hub.is_role(name) || of_model(hub, name).await.is_some()
}

/// What the model is called that this names, if it names one: of a library's, capitals make no difference.
/// Reading a header touches the disk, so it leaves the thread that serves connections.
pub(crate) async fn of_model(hub: &Handle, name: &str) -> Option<String> {
    let (hub, name) = (hub.clone(), name.to_owned());
    let found = tokio::task::spawn_blocking(move || hub.model(&name)).await.ok()??;
    Some(found.name)
}
