//! What `/api/create` makes a model of. A client names models and what it has sent before, never paths.

use std::{ops::ControlFlow, path::PathBuf};

use dialect::{
    Error,
    ollama::{library::Create, progress::Step},
};
use library::{
    manifest::{Message, Settings},
    modelfile::Modelfile,
    name::Name,
    queue::Job,
    store::{Base, Progress, Recipe, Store},
};
use tokio::sync::mpsc;

use super::{digest, found, job, of_store};
use crate::models::Catalog;

/// What stands before a digest in a Modelfile that a client has rewritten.
const DIGEST_MARK: char = '@';

/// What a request asks to be made, and what has to be pulled before.
///
/// # Errors
/// Names the field that makes no sense.
pub(super) fn recipe(
    catalog: &Catalog,
    store: &Store,
    create: Create,
) -> Result<(Recipe, Option<Job>), Error> {
    let mut create = create;
    if let Some(text) = create.modelfile.take() {
        add_modelfile(&mut create, &text)?;
    }
    let blobs = |layers: Vec<(String, String)>| {
        let blob = |(name, text): (String, String)| Ok(Base::Blob { digest: digest(&text)?, name });
        layers.into_iter().map(blob).collect::<Result<Vec<_>, Error>>()
    };
    let (mut from, mut missing) = (blobs(create.files)?, None);
    if let Some(text) = &create.from {
        match base(catalog, store, text) {
            Some(base) => from.insert(0, base),
            None => missing = Some(job(text, None)?),
        }
    }
    if from.is_empty() && missing.is_none() {
        return Err(
            Error::invalid("neither 'from' nor 'files' says what the model is made of").at("from")
        );
    }
    let messages = create.messages.into_iter().map(|(role, content)| Message { role, content });
    let settings = Settings {
        template: create.template,
        system: create.system,
        parameters: create.parameters,
        messages: messages.collect(),
        licenses: create.licenses,
        ..Settings::default()
    };
    let (adapters, drafts) = (blobs(create.adapters)?, blobs(create.drafts)?);
    Ok((Recipe { from, adapters, drafts, settings }, missing))
}

/// A model of this machine: of the library, or a file that is served.
fn base(catalog: &Catalog, store: &Store, text: &str) -> Option<Base> {
    let shelved = Name::new(text).ok().filter(|name| store.find(name).is_some());
    shelved.map(Base::Model).or_else(|| Some(Base::File(found(catalog, text)?.path)))
}

/// Adds what a Modelfile says. What the request says itself wins.
fn add_modelfile(create: &mut Create, text: &str) -> Result<(), Error> {
    let read = Modelfile::parse(text.as_bytes());
    let read =
        read.map_err(|error| Error::invalid(format!("modelfile: {error}")).at("modelfile"))?;
    let Modelfile { from, adapters, drafts, settings, ignored: _ } = read;
    for (place, text) in from.into_iter().enumerate() {
        match text.strip_prefix(DIGEST_MARK) {
            Some(digest) => {
                create.files.push((format!("model-{}.gguf", place + 1), digest.to_owned()))
            }
            None if create.from.is_none() => create.from = Some(text),
            None => return Err(only_sent("FROM", &text)),
        }
    }
    for (command, texts, layers) in
        [("ADAPTER", adapters, &mut create.adapters), ("DRAFT", drafts, &mut create.drafts)]
    {
        for text in texts {
            let digest = text.strip_prefix(DIGEST_MARK).ok_or_else(|| only_sent(command, &text))?;
            layers.push((format!("{}.gguf", command.to_lowercase()), digest.to_owned()));
        }
    }
    let Settings { template, system, parameters, messages, licenses, .. } = settings;
    create.template = create.template.take().or(template);
    create.system = create.system.take().or(system);
    for (name, value) in parameters {
        create.parameters.entry(name).or_insert(value);
    }
    if create.messages.is_empty() {
        create.messages = messages.into_iter().map(|said| (said.role, said.content)).collect();
    }
    if create.licenses.is_empty() {
        create.licenses = licenses;
    }
    Ok(())
}

fn only_sent(command: &str, text: &str) -> Error {
    let path = PathBuf::from(text);
    Error::invalid(format!(
        "modelfile: {command} {}: a client's files are sent to /api/blobs/DIGEST and named as @sha256:…; resident \
         create reads files of this machine",
        path.display()
    ))
    .at("modelfile")
}

/// Makes it, and tells what it does. It stops when nobody reads that any more.
///
/// # Errors
/// What the store says.
pub(super) async fn make(
    store: Store,
    name: Name,
    recipe: Recipe,
    steps: mpsc::Sender<Result<Step, Error>>,
) -> Result<(), Error> {
    let said = |words: &str| Step::Other(words.to_owned());
    // Whoever is gone is noticed by whoever makes it.
    let _ = steps.send(Ok(said("reading model metadata"))).await;
    let making = tokio::task::spawn_blocking(move || {
        let mut last = String::new();
        let mut watcher = |progress: &Progress<'_>| {
            if progress.what != last {
                progress.what.clone_into(&mut last);
                let _ = steps.blocking_send(Ok(Step::Other(format!("copying {last}"))));
            }
            if steps.is_closed() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let made = store.create(&name, &recipe, &mut watcher).map_err(|error| of_store(&error))?;
        let manifest = made.ok_or_else(|| Error::new(500, "it was given up"))?;
        for file in &manifest.files {
            let _ = steps
                .blocking_send(Ok(Step::Other(format!("using existing layer {}", file.digest))));
        }
        let _ = steps.blocking_send(Ok(Step::Writing));
        Ok(())
    });
    making.await.unwrap_or_else(|error| Err(Error::new(500, error.to_string())))
}
