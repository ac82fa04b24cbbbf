//! A person's own files: read, kept in step with the disk, found, and cited by models in every dialect.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::Stdio,
};

use serde_json::{Value, json};

use crate::http::Request;
use crate::hub::{Hub, binary, free_address, serve, shared};
use crate::made;
use crate::play::{ACTOR, Stage};

const SHIPS: &str = "# Ships\n\nThe Vasa sank in 1628. She was raised in 1961.\n\n## Crew\n\nInvoice INV-20240315 was \
                     paid by the captain.\n";
const CHINESE: &str = "图书馆周一闭馆。周二开放到晚上九点。";
/// The same as old Chinese programs write it.
const CHINESE_IN_GBK: &[u8] = b"\xcd\xbc\xca\xe9\xb9\xdd\xd6\xdc\xd2\xbb\xb1\xd5\xb9\xdd\xa1\xa3\xd6\xdc\xb6\xfe\xbf\xaa\xb7\xc5\xb5\xbd\xcd\xed\xc9\xcf\xbe\xc5\xb5\xe3\xa1\xa3";

/// A few files, one of them broken, in a folder of this one.
pub(crate) fn files(folder: &Path) -> PathBuf {
    let files = folder.join("files");
    fs::create_dir(&files).unwrap();
    fs::write(files.join("ships.md"), SHIPS).unwrap();
    fs::write(files.join("library.txt"), CHINESE_IN_GBK).unwrap();
    fs::write(
        files.join("page.html"),
        "<html><body><p>Fish &amp; chips cost 12 coins.</p></body></html>",
    )
    .unwrap();
    fs::write(files.join("broken.pdf"), "%PDF-1.7 and nothing else").unwrap();
    files
}

/// A folder with a few files, and a hub with a collection `notes` of it that is in step.
pub(crate) fn site(configuration: &str, adjust: &[&str]) -> (tempfile::TempDir, Hub) {
    let folder = tempfile::tempdir().unwrap();
    let files = files(folder.path());
    let hub = Hub::configured_with(folder.path(), configuration, |command| {
        command.args(adjust);
    });
    add(&hub, &files);
    (folder, hub)
}

fn add(hub: &Hub, files: &Path) {
    let new = json!({ "collection": "notes", "paths": [files] });
    let token = format!("Bearer {}", hub.token());
    hub.send(&Request::post("/api/knowledge", &new).header("authorization", &token)).ok();
    in_step(hub);
}

/// Waits until the collection is in step with the disk, and says how it stands.
fn in_step(hub: &Hub) -> Value {
    hub.wait_for("the collection", || {
        let all = hub.get("/api/knowledge").ok();
        let one = all["collections"][0].clone();
        assert_ne!(one["state"], "failed", "{one}");
        (one["state"] == "done").then_some(one)
    })
}

fn search(hub: &Hub, query: &str) -> Value {
    hub.post("/api/knowledge/search", &json!({ "query": query, "collections": ["notes"] })).ok()
}

/// The file and the text of the best passage.
pub(crate) fn best(hub: &Hub, query: &str) -> (String, String) {
    let found = search(hub, query);
    let passage = &found["passages"][0];
    let path = passage["path"].as_str().unwrap_or_default();
    let name = path.rsplit('/').next().unwrap_or_default().to_owned();
    (name, passage["text"].as_str().unwrap_or_default().to_owned())
}

#[test]
fn files_are_found_and_kept_in_step_with_the_disk() {
    let (folder, hub) = site("", &[]);
    let files = folder.path().join("files");
    assert_eq!(best(&hub, "When did the Vasa sink?").0, "ships.md");
    assert_eq!(best(&hub, "图书馆什么时候关门？"), ("library.txt".to_owned(), CHINESE.to_owned()));
    assert_eq!(best(&hub, "inv-20240315").0, "ships.md");
    assert_eq!(
        best(&hub, "chips"),
        ("page.html".to_owned(), "Fish & chips cost 12 coins.".to_owned())
    );
    let stands = in_step(&hub);
    assert_eq!((&stands["files"], &stands["skipped"]), (&json!(3), &json!(1)), "{stands}");
    // Where it stands are the file's own bytes.
    let place = search(&hub, "Vasa")["passages"][0]["place"].clone();
    let first = usize::try_from(place["first_byte"].as_u64().unwrap()).unwrap();
    assert!(SHIPS[first..].starts_with("Ships"), "{place}");

    fs::write(files.join("ships.md"), "The Mary Rose sank in 1545.").unwrap();
    fs::remove_file(files.join("page.html")).unwrap();
    fs::write(files.join("new.txt"), "Zebras have stripes.").unwrap();
    hub.wait_for("the change", || {
        let is_seen = best(&hub, "Mary Rose").1.contains("1545")
            && best(&hub, "zebras").0 == "new.txt"
            && search(&hub, "chips")["passages"] == json!([]);
        is_seen.then_some(())
    });
}

#[test]
fn a_hub_that_was_killed_finds_what_changed_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let (files, data) = (folder.path().join("files"), folder.path().join("data"));
    fs::create_dir(&files).unwrap();
    fs::write(files.join("ships.md"), SHIPS).unwrap();
    fs::create_dir(&data).unwrap();
    let start = || {
        let address = free_address();
        let mut command = serve(&binary("resident"), &data, address);
        Hub::spawn(&mut command, tempfile::tempdir().unwrap(), address)
    };
    let mut hub = start();
    let new = json!({ "collection": "notes", "paths": [files] });
    let token = fs::read_to_string(data.join("token")).unwrap();
    let bearer = format!("Bearer {}", token.trim());
    hub.send(&Request::post("/api/knowledge", &new).header("authorization", &bearer)).ok();
    in_step(&hub);
    hub.kill();
    fs::write(files.join("later.txt"), "Owls hunt at night.").unwrap();
    let hub = start();
    hub.wait_for("the file", || (best(&hub, "owls").0 == "later.txt").then_some(()));
    assert_eq!(best(&hub, "Vasa").0, "ships.md");
}

#[test]
fn an_answer_rests_on_the_files_in_every_dialect() {
    let stage = Stage::open();
    let (_folder, hub) = site(&stage.table(), &[]);
    let model = format!("{ACTOR}+notes");
    let said = r#"When did the Vasa sink? PLAY [{"say": "She sank in 1628 [1]."}]"#;
    let message = json!([{ "role": "user", "content": said }]);
    let cited = "ships.md, bytes ";
    let quote = "“The Vasa sank in 1628.”";
    let check = |text: &str| {
        assert!(text.starts_with("She sank in 1628 [1].\n\n\n[1] /"), "{text}");
        assert!(text.contains(cited) && text.ends_with(quote), "{text}");
    };
    let chat =
        hub.post("/v1/chat/completions", &json!({ "model": model, "messages": message })).ok();
    check(chat["choices"][0]["message"]["content"].as_str().unwrap());
    // The model saw the passage as a quotation, before the question.
    let asked = stage.asked();
    let told = asked[0]["messages"].as_array().unwrap().last().unwrap()["content"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(
        told.contains("<passage number=\"1\" file=\"/") && told.contains("She was raised in 1961."),
        "{told}"
    );
    assert!(told.ends_with(&format!("Question: {said}")), "{told}");

    let field =
        json!({ "model": ACTOR, "knowledge": ["notes"], "messages": message, "stream": true });
    let streamed = hub.stream("/v1/chat/completions", &field).events();
    let pieces: Vec<&str> = streamed
        .iter()
        .filter_map(|event| event["choices"][0]["delta"]["content"].as_str())
        .collect();
    check(&pieces.concat());

    let asked = json!({ "model": model, "max_tokens": 100, "messages": message });
    let anthropic = hub.post("/v1/messages", &asked).ok();
    check(anthropic["content"][0]["text"].as_str().unwrap());
    let asked = json!({ "model": model, "messages": message, "stream": false });
    let ollama = hub.post("/api/chat", &asked).ok();
    check(ollama["message"]["content"].as_str().unwrap());
    let responses = hub.post("/v1/responses", &json!({ "model": model, "input": said })).ok();
    check(responses["output"][0]["content"][0]["text"].as_str().unwrap());

    let unknown = json!({ "model": format!("{ACTOR}+nothing"), "messages": message });
    let refused = hub.post("/v1/chat/completions", &unknown);
    assert_eq!(refused.status, 404);
    assert!(
        refused.json()["error"]["message"].as_str().unwrap().contains("notes"),
        "{}",
        refused.text()
    );
}

#[test]
fn an_embedding_model_of_the_fleet_finds_by_meaning_and_ruins_no_other_language() {
    let Some(minilm) = shared("models/minilm-q8_0.gguf") else { return };
    let model = format!("minilm={}", minilm.display());
    let (_folder, hub) = site("", &["--model", &model]);
    let stands = in_step(&hub);
    assert_eq!(stands["embedder"], "minilm", "{stands}");
    // No word of it stands in the file.
    assert_eq!(best(&hub, "vessels going down at sea").0, "ships.md");
    let found = search(&hub, "图书馆什么时候关门？");
    assert!(found["passages"][0]["text"].as_str().unwrap().contains("图书馆"), "{found}");
    let notes = found["notes"].to_string();
    assert!(notes.contains("only words count"), "{notes}");
}

#[test]
fn a_model_that_ranks_badly_or_cannot_be_asked_changes_no_order() {
    let random = ["--arch", "bert", "--like", "tiny-reranker", "--quant", "q8_0"];
    let random = made::model("bert-tiny-reranker-q8_0", &random);
    let nobody = format!(
        "[upstreams.gone]\nkind = \"tei\"\nservers = [\"http://{}\"]\nmodels = [\"judge\"]\n",
        free_address()
    );
    let ranks = format!("ranks={}", random.display());
    let cases = [
        ("", &["--model", &ranks][..], "the reranker ranks is not used: asked "),
        (&nobody, &[], "the reranker gone/judge could not be examined: "),
    ];
    for (configuration, arguments, says) in cases {
        let (_folder, hub) = site(configuration, arguments);
        let asked = |rerank: Value| {
            let body = json!({ "query": "captain Vasa 图书馆", "rerank": rerank });
            let mut found = hub.post("/api/knowledge/search", &body).ok();
            let notes = found["notes"].take().to_string();
            (found, notes)
        };
        let (without, notes) = asked(json!(false));
        assert_eq!(notes, "[]");
        assert_eq!(without["passages"].as_array().unwrap().len(), 2, "{without}");
        for rerank in [json!(true), Value::Null] {
            let (found, notes) = asked(rerank);
            assert!(notes.contains(says), "{notes}");
            assert_eq!(found, without);
        }
    }
}

/// A PDF with one page, on which a line is drawn and nothing written.
fn drawn_page() -> Vec<u8> {
    let line = "0 0 m 100 100 l S";
    let objects = [
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_owned(),
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 200 200] /Contents 4 0 R >>".to_owned(),
        format!("<< /Length {} >>\nstream\n{line}\nendstream", line.len()),
    ];
    let mut pdf = "%PDF-1.7\n".to_owned();
    let mut table = format!("xref\n0 {}\n0000000000 65535 f \n", objects.len() + 1);
    for (number, object) in (1..).zip(&objects) {
        table += &format!("{:010} 00000 n \n", pdf.len());
        pdf += &format!("{number} 0 obj\n{object}\nendobj\n");
    }
    let at = pdf.len();
    let trailer = format!("trailer\n<< /Size {} /Root 1 0 R >>\n", objects.len() + 1);
    (pdf + &table + &trailer + &format!("startxref\n{at}\n%%EOF\n")).into_bytes()
}

/// A tool that reads of each page which one it is, and how the file begins.
const OCR: &str = r#"
[knowledge]
ocr = "scan"
[tools.scan]
command = ["sh", "-c", "head -c 5 \"$2\"; printf ' on page %s: the harbour opens at nine\\f' \"$1\"", "sh",
    "{page}", "{input}"]
input = "pdf"
serves = "tool"
content_type = "text/plain"
memory = "10MB"
"#;

#[test]
fn pages_that_are_pictures_are_read_once_there_is_a_tool_for_it() {
    let (folder, hub) = site("", &[]);
    fs::write(folder.path().join("files/scan.pdf"), drawn_page()).unwrap();
    let token = format!("Bearer {}", hub.token());
    let unread = || {
        let standing = hub.control("/api/knowledge/notes");
        let files = standing["unread"].as_array().unwrap().clone();
        files.into_iter().find(|file| file["path"].as_str().unwrap().ends_with("scan.pdf"))
    };
    let missing = hub.wait_for("the file", &unread);
    assert_eq!(missing["reasons"], json!(["page 1 needs OCR"]), "{missing}");
    fs::write(folder.path().join("config.toml"), OCR).unwrap();
    let reload = Request::post("/resident/v1/reload", &json!({}));
    hub.send(&reload.header("authorization", &token)).ok();
    hub.wait_for("its page", || (best(&hub, "harbour").0 == "scan.pdf").then_some(()));
    let found = search(&hub, "harbour")["passages"][0].clone();
    assert_eq!(found["text"], "%PDF- on page 1: the harbour opens at nine", "{found}");
    assert_eq!(found["place"]["page"], 1, "{found}");
    assert_eq!(unread(), None);
}

/// `resident kb` with these arguments and this standard input: whether it succeeded, and what it said.
fn kb(hub: &Hub, arguments: &[&str], input: &[u8]) -> (bool, String, String) {
    let mut process = std::process::Command::new(binary("resident"))
        .arg("kb")
        .args(arguments)
        .arg("--data-dir")
        .arg(hub.data_dir())
        .args(["--listen", &hub.address.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // One that reads nothing may be gone.
    let _ = process.stdin.take().unwrap().write_all(input);
    let output = process.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn texts_come_by_standard_input_and_sources_go_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().canonicalize().unwrap().display().to_string();
    fs::write(folder.path().join("a.md"), SHIPS).unwrap();
    let hub = Hub::start(&[]);
    let kb = |arguments: &[&str], input: &str| kb(&hub, arguments, input.as_bytes());
    let found = |words: &str| {
        let (_, shown, _) = kb(&["search", words, "--json"], "");
        let found: Value = serde_json::from_str(&shown).unwrap();
        let passages = found["passages"].as_array().unwrap().clone();
        passages
            .iter()
            .map(|passage| passage["path"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let (done, _, said) =
        kb(&["add", &path, "-", "--name", "minutes.md"], "# Minutes\n\nThe harbour opens at nine.");
    assert!(done && said.contains("files is done: 2 passages of 2 files"), "{said}");
    assert_eq!(found("harbour"), ["minutes.md"]);
    // Another text of that name takes its place.
    assert!(kb(&["add", "-", "--name", "minutes.md"], "The gate opens at ten.").0);
    assert_eq!((found("harbour"), found("gate")), (vec![], vec!["minutes.md".to_owned()]));
    let (done, _, said) = kb(&["add", "-"], "");
    assert!(!done && said.contains("it is empty"), "{said}");
    let (done, _, said) = kb(&["add", "-", "--name", "../x"], "Words.");
    assert!(!done && said.contains("without folders"), "{said}");

    let (done, _, said) = kb(&["rm", "files", "other.md"], "");
    assert!(!done && said.contains("other.md") && said.contains("minutes.md"), "{said}");
    assert!(kb(&["rm", "files", "minutes.md"], "").0);
    assert_eq!((found("gate"), found("Vasa").len()), (vec![], 1));
    assert!(kb(&["rm", "files", &path], "").0);
    let (done, shown, _) = kb(&["ls", "--json"], "");
    let left: Value = serde_json::from_str(&shown).unwrap();
    assert!(done && left["collections"][0]["passages"] == 0, "{shown}");
    assert!(fs::exists(folder.path().join("a.md")).unwrap());
}

#[test]
fn files_are_chosen_by_the_day_they_were_changed() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.md"), SHIPS).unwrap();
    let hub = Hub::start(&[]);
    assert!(kb(&hub, &["add", &folder.path().display().to_string()], b"").0);
    for (arguments, is_found) in [
        (["--changed-from", "2020-01-01"], true),
        (["--changed-from", "2999-01-01"], false),
        (["--changed-before", "2020-01-01"], false),
        (["--changed-before", "2999-01-01"], true),
    ] {
        let (done, shown, _) = kb(&hub, &[&["search", "Vasa"][..], &arguments].concat(), b"");
        assert_eq!((done, shown.contains("1628")), (true, is_found), "{arguments:?}: {shown}");
    }
    let (done, _, said) = kb(&hub, &["search", "Vasa", "--changed-from", "monday"], b"");
    assert!(!done && said.contains("2026-11-30"), "{said}");
}

#[test]
fn the_command_line_adds_finds_and_forgets() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.md"), SHIPS).unwrap();
    let hub = Hub::start(&[]);
    let kb = |arguments: &[&str]| kb(&hub, arguments, b"");
    let path = folder.path().display().to_string();
    let (done, _, said) = kb(&["add", &path]);
    assert!(done && said.contains("files is done: 1 passages of 1 files"), "{said}");
    let (done, shown, said) = kb(&["search", "Vasa"]);
    assert!(done && shown.contains("a.md") && shown.contains("1628"), "{shown}{said}");
    fs::write(folder.path().join("broken.pdf"), "%PDF-1.7 and nothing else").unwrap();
    assert!(kb(&["scan", "files"]).0);
    let (done, shown, said) = kb(&["status", "files"]);
    assert!(done && shown.starts_with("files: done\n"), "{shown}{said}");
    assert!(shown.contains("not read") && shown.contains("broken.pdf: "), "{shown}");
    assert!(shown.contains("by their words alone") && shown.contains("segments, "), "{shown}");
    let (done, shown, said) = kb(&["export", "files"]);
    let lines: Vec<Value> = shown.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(
        done && lines[0] == json!({ "collection": "files", "embedder": null }),
        "{shown}{said}"
    );
    assert_eq!(lines.iter().filter(|line| line["path"].is_string()).count(), 2, "{shown}");
    let passage = lines.iter().find(|line| line["ordinal"] == 0).unwrap();
    assert!(passage["text"].as_str().unwrap().contains("1628"), "{passage}");
    assert!(passage["pieces"][0]["place"]["bytes"]["end"].as_u64().is_some(), "{passage}");
    let beside = tempfile::tempdir().unwrap();
    let to = beside.path().join("files.jsonl").display().to_string();
    assert!(kb(&["export", "files", "--to", &to]).0);
    assert_eq!(fs::read_to_string(&to).unwrap(), shown);
    let (done, _, said) = kb(&["export", "nothing", "--to", &to]);
    assert!(!done && said.contains("no collection is called"), "{said}");
    assert_eq!(fs::read_to_string(&to).unwrap(), shown);
    let (done, shown, _) = kb(&["ls"]);
    assert!(done && shown.contains("files") && shown.contains("done"), "{shown}");
    assert!(kb(&["rm", "files"]).0);
    let (done, _, said) = kb(&["rm", "files"]);
    assert!(!done && said.contains("files"), "{said}");
    assert!(fs::exists(folder.path().join("a.md")).unwrap());
}
