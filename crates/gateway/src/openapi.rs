//! `GET /openapi.json`: the document that describes every route of the table. `docs/openapi.json` is the same, and a
//! test keeps it so.
//!
//! Here are the hub's own routes; `dialect::openapi` has those of vendors. Control routes describe themselves where
//! their shapes are ours (`control`); what the fleet says of itself is described here.

use std::sync::LazyLock;

use dialect::openapi::shape::{
    Shape, anything, bytes, count, either, fields, list, map, object, of, text, truth, whole, word,
};
use dialect::openapi::{Access, Api, Operation, Words};
use utoipa::openapi::{Info, InfoBuilder};

use crate::control::pulls::{NewPull, Pull, Pulls};
use crate::control::{ExplainedRole, Models, Pin, Reloaded, Residents, Stop, Warm, Warmed, WhatIf};
use crate::knowledge::{
    Collection, Collections, Forgotten, Found, NewSources, Read, Reading, Search, Standing,
};

/// The document, as it is in `docs`.
pub(crate) fn document() -> &'static str {
    static DOCUMENT: LazyLock<String> = LazyLock::new(written);
    &DOCUMENT
}

fn written() -> String {
    let mut api = Api::default();
    api.extend(own());
    api.extend(dialect::openapi::operations());
    api.extend(control());
    let document = api.document(info());
    // A document has keys of text alone.
    let text = document.to_pretty_json();
    text.unwrap_or_else(|error| unreachable!("a document is JSON: {error}")) + "\n"
}

fn info() -> Info {
    InfoBuilder::new()
        .title("Resident")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "A private local AI hub: models on this machine, asked in the words of OpenAI, Anthropic and Ollama. \
             Each route is asked and answers, errors included, in the words of the vendor that it is of; what a \
             vendor does not know is an extension that its clients ignore. `HEAD` is `GET` without the body. \
             Another method is refused with 405, and any other path with 404.",
        ))
        .build()
}

/// What any server has, and tools by their names.
fn own() -> Vec<Operation> {
    let health = fields("That it is well.").has("status", "`ok`.", word(&["ok"]));
    vec![
        Operation::get("/health", Words::OpenAi, "health", "Says that the hub is there")
            .tag(HUB)
            .access(Access::Open)
            .answers(health.named("Health")),
        Operation::get("/openapi.json", Words::OpenAi, "openapi", "This document")
            .tag(HUB)
            .access(Access::Open)
            .answers(object()),
        Operation::get("/metrics", Words::OpenAi, "metrics", "Figures, for Prometheus")
            .tag(HUB)
            .answers_as("text/plain", text()),
        Operation::post("/api/tools/{name}", Words::OpenAi, "tool", "Runs a tool on a file")
            .tag(HUB)
            .about(
                "The places of the tool's command are filled from the query, as in `?voice=en`; the answer is what \
                 it wrote, of the type that its configuration names. Forms and plain text are no bodies here.",
            )
            .name_in_path("name", "The tool's name.", text())
            .takes_as("application/octet-stream", bytes())
            .answers_as("*/*", bytes())
            .fails(&[404, 415, 500, 503, 504]),
    ]
}

const HUB: &str = "Hub";

/// Routes of the same person's programs.
fn control() -> Vec<Operation> {
    let operations = [
        get("/resident/v1/ps", "residents", "Lists what is in memory").answers(of::<Residents>()),
        get("/resident/v1/models", "control_models", "Lists models with what is known of them")
            .answers(of::<Models>()),
        post("/resident/v1/stop", "stop", "Stops a model, whoever uses it")
            .takes(of::<Stop>())
            .answers(fields("That it stops.").has("stopped", "True.", truth()).named("Stopped"))
            .fails(&[404, 503]),
        post("/resident/v1/warm", "warm", "Loads a model")
            .about("The answer comes when it is loaded; of a role, the first of its models that can be.")
            .takes(of::<Warm>())
            .answers(of::<Warmed>())
            .asks_a_model(),
        post("/resident/v1/pin", "pin", "Keeps a model in memory, or takes that back")
            .takes(of::<Pin>())
            .answers(of::<Pin>())
            .asks_a_model(),
        post("/resident/v1/reload", "reload", "Reads the configuration again")
            .about("It takes no body, but the content type `application/json`. A configuration is taken whole, or \
                 refused with the reason.")
            .answers(of::<Reloaded>())
            .fails(&[400, 409, 415, 503]),
        get("/resident/v1/explain", "explain", "Says what would happen to a request, and why")
            .query("model", "Name of a model or role.", text())
            .answers(either([of::<ExplainedRole>(), explained()]))
            .asks_a_model(),
        post("/resident/v1/what-if", "what_if", "Says what would happen to a model that is not here")
            .takes(of::<WhatIf>())
            .answers(explained())
            .asks_a_model(),
        get("/resident/v1/requests", "requests", "Lists requests that wait or use a model")
            .answers(requests()),
        get("/resident/v1/events", "events", "Tells what the fleet is told and decides")
            .about("Server-sent events, from now on and without an end.")
            .streams(happening()),
    ];
    operations.into_iter().chain(pulls()).chain(knowledge()).collect()
}

fn knowledge() -> [Operation; 9] {
    let get = |path, id, summary| Operation::get(path, Words::OpenAi, id, summary).tag("Knowledge");
    let post =
        |path, id, summary| Operation::post(path, Words::OpenAi, id, summary).tag("Knowledge");
    let name =
        |operation: Operation| operation.name_in_path("name", "The collection's name.", text());
    [
        get("/api/knowledge", "collections", "Lists collections of files, and how they stand")
            .answers(of::<Collections>())
            .fails(&[500, 503]),
        name(get("/api/knowledge/{name}", "collection", "Says how a collection stands, and what was not read"))
            .access(Access::Token)
            .answers(of::<Standing>())
            .fails(&[404, 500, 503]),
        name(get("/api/knowledge/{name}/export", "knowledge_export", "Gives all of a collection"))
            .access(Access::Token)
            .about("A line for the collection, then one for each file and, behind it, one for each of its passages.")
            .streams_lines(exported())
            .fails(&[404, 500, 503]),
        post("/api/knowledge/search", "knowledge_search", "Finds passages of files")
            .takes(of::<Search>())
            .answers(of::<Found>())
            .fails(&[404, 500, 503]),
        post("/api/knowledge/read", "knowledge_read", "Reads what a file of a collection says")
            .about(
                "Around a passage that was found, or from a passage of a file on. It is the text that was read into the \
                 collection; a file that is in none is not read.",
            )
            .takes(of::<Read>())
            .answers(of::<Reading>())
            .fails(&[404, 500, 503]),
        post("/api/knowledge", "knowledge_add", "Adds folders, files and texts to a collection")
            .access(Access::Token)
            .takes(of::<NewSources>())
            .answers(of::<Collection>())
            .fails(&[500, 503]),
        name(post("/api/knowledge/{name}/forget", "knowledge_forget", "Forgets some of what a collection is made of"))
            .access(Access::Token)
            .about("The files stay where they are.")
            .takes(of::<Forgotten>())
            .answers(of::<Collection>())
            .fails(&[404, 500, 503]),
        name(post(
            "/api/knowledge/{name}/{change}",
            "knowledge_change",
            "Changes what becomes of a collection",
        ))
        .access(Access::Token)
        .about("Its body is not read; its content type is `application/json`.")
        .name_in_path("change", "What.", word(&["scan", "pause", "resume", "rebuild"]))
        .answers(of::<Collection>())
        .fails(&[400, 404, 415, 500, 503]),
        name(Operation::delete(
            "/api/knowledge/{name}",
            Words::OpenAi,
            "knowledge_remove",
            "Forgets a collection",
        ))
        .tag("Knowledge")
        .access(Access::Token)
        .about("Its files stay where they are. The answer lists the others.")
        .answers(of::<Collections>())
        .fails(&[404, 500, 503]),
    ]
}

fn exported() -> Shape {
    let collection = fields("What is exported.").has("collection", "Its name.", text()).has(
        "embedder",
        "Who made its vectors.",
        text().or_null(),
    );
    let file = fields("A file.")
        .has("file", "Its number.", count())
        .has("path", "Where it is.", text())
        .has("path_bytes", "The same in hexadecimal, where it is no text.", text().or_null())
        .has("kind", "What it is, such as `pdf`.", text())
        .has("size", "Bytes.", count())
        .has("modified_ns", "When it was changed, since 1970.", whole().or_null())
        .has("blake3", "What it held.", text().or_null())
        .has("state", "How it stands.", word(&["stored", "indexed", "skipped"]))
        .has("reason", "Why it was not read.", text().or_null())
        .has("title", "What it calls itself.", text().or_null())
        .has("gaps", "What could not be read of it.", list(object()))
        .has("passages", "How many there are.", count());
    let passage = fields("A passage of the file before.")
        .has("passage", "Its number.", count())
        .has("file", "Its file's number.", count())
        .has("ordinal", "Which passage of the file, from 0.", count())
        .has("headings", "What it stands below.", list(text()))
        .has("text", "What it says.", text())
        .has("tokens", "Tokens of what is embedded.", count())
        .has("pieces", "Ranges of its text, and the place of each.", list(object()));
    let (file, passage) = (file.named("ExportedFile"), passage.named("ExportedPassage"));
    either([collection.named("ExportedCollection"), file, passage])
}

fn pulls() -> [Operation; 5] {
    let id = |operation: Operation| operation.name_in_path("id", "The pull's number.", count());
    [
        get("/resident/v1/pulls", "pulls", "Lists pulls").answers(of::<Pulls>()).fails(&[500, 503]),
        get("/resident/v1/pulls/events", "pull_events", "Tells how far pulls are")
            .about("All of them now and whenever something has changed, a line each time, without an end.")
            .streams_lines(of::<Pulls>())
            .fails(&[503]),
        id(get("/resident/v1/pulls/{id}", "pull", "Says how far a pull is"))
            .answers(of::<Pull>())
            .fails(&[404, 500, 503]),
        post("/resident/v1/pulls", "begin_pull", "Puts a pull behind the others")
            .takes(of::<NewPull>())
            .answers(of::<Pull>())
            .fails(&[500, 503]),
        id(post("/resident/v1/pulls/{id}/{change}", "change_pull", "Changes what becomes of a pull"))
            .about("Its body is not read; its content type is `application/json`.")
            .name_in_path("change", "What.", word(&["pause", "resume", "cancel"]))
            .answers(of::<Pull>())
            .fails(&[400, 404, 415, 500, 503]),
    ]
}

fn get(path: &'static str, id: &str, summary: &str) -> Operation {
    Operation::get(path, Words::OpenAi, id, summary).tag("Control").access(Access::Token)
}

fn post(path: &'static str, id: &str, summary: &str) -> Operation {
    Operation::post(path, Words::OpenAi, id, summary).tag("Control").access(Access::Token)
}

// What the fleet says of itself, whose types are the planner's.

fn explained() -> Shape {
    fields("What would happen to a request for a model now.")
        .has("model", "Name of the model.", text())
        .has("at", "Since the hub began.", duration())
        .has("group", "Its group, if that is exclusive.", text().or_null())
        .has("needed_bytes", "What it needs.", count())
        .has("budget_bytes", "What all models may hold.", count())
        .has("booked_bytes", "What they hold.", count())
        .has("pledged_bytes", "What those were promised who come before.", count())
        .has("pressure", "How short of memory the machine is.", word(&["Calm", "Some", "Full"]))
        .has("holders", "Who holds it, in the order of starting.", list(holder()))
        .has("departure", "How it left last, if it did.", object().or_null())
        .has(
            "verdict",
            "What would happen: a word, or an object whose one key is the word.",
            verdict(),
        )
        .named("Explained")
}

fn holder() -> Shape {
    let standings =
        ["Itself", "Leaving", "Chosen", "ChosenForGroup", "Pinned", "InUse", "Wanted", "Spared"];
    fields("A worker that holds memory.")
        .has("worker", "Its number.", count())
        .has("model", "Its model.", model())
        .has("bytes", "What it counts for.", count())
        .has("promised_bytes", "What it was started with.", count())
        .has("measured_bytes", "The most it was seen to hold; 0 before it was measured.", count())
        .has("leases", "Requests that use it.", count())
        .has("idle_for", "How long nobody has used it.", duration().or_null())
        .has("unload_in", "When it will be stopped unless someone uses it.", duration().or_null())
        .has("cost_ms_per_hour", "What it is expected to cost to do without it.", count())
        .has("standing", "What it is to the request in question.", word(&standings))
        .named("Holder")
}

fn verdict() -> Shape {
    either([word(&["Started", "StartedAfterExits"]), object()])
}

fn requests() -> Shape {
    let request = fields("A request.")
        .has("request", "Its number since the hub began.", count())
        .has("model", "What it wants or uses.", text())
        .has(
            "turn",
            "Where it stands: `Using` a worker, or `Waiting`, with its place and why.",
            object(),
        );
    fields("Requests that wait or use a model, in the order of their arrival.")
        .has("requests", "The requests.", list(request.named("RequestRow")))
        .has(
            "workers",
            "Names of models, by the numbers of their workers.",
            map(text(), usize::MAX),
        )
        .named("Requests")
}

fn happening() -> Shape {
    let kinds = ["began", "continues", "told", "lost", "ended"];
    let about = "An object whose one key says what kind of entry it is: ";
    let described = fields(&[about, &kinds.join(", "), "."].concat());
    kinds
        .into_iter()
        .fold(described, |entry, kind| entry.at_times(kind, "What there is to say.", anything()))
        .named("Happening")
}

fn model() -> Shape {
    fields("A model as it is on the disk.")
        .has("name", "Its name.", text())
        .has("version", "Another one when its file or the way to load it is.", count())
        .shape()
}

fn duration() -> Shape {
    fields("A span of time.")
        .has("secs", "Whole seconds.", count())
        .has("nanos", "Nanoseconds beside them.", count())
        .named("Duration")
}

#[cfg(test)]
mod tests {
    use expect_test::expect_file;

    use super::*;

    /// After a wanted change run with `UPDATE_EXPECT=1` and read the difference.
    #[test]
    fn the_document_that_is_served_is_the_one_in_docs() {
        expect_file!["../../../docs/openapi.json"].assert_eq(document());
    }

    #[test]
    fn operations_have_names_of_their_own() {
        let document: serde_json::Value = serde_json::from_str(document()).unwrap();
        assert_eq!(document["openapi"], "3.1.0");
        let mut ids: Vec<&str> = document["paths"]
            .as_object()
            .unwrap()
            .values()
            .flat_map(|item| item.as_object().unwrap().values())
            .map(|operation| operation["operationId"].as_str().unwrap())
            .collect();
        let count = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), count);
    }
}
