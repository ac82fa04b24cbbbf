//! Routes that change which models there are, before a library that only remembers what it was asked.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use dialect::Error;
use dialect::ollama::library::Create;
use dialect::ollama::model::Settings;
use dialect::ollama::progress::{Layer, Step};
use gateway::control::pulls::{NewPull, Pull, Pulls};
use gateway::{About, Config, Library, PullChange, Steps};
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

use crate::client::{Ask, within};
use crate::site::{Site, TOKEN, config};

/// A library that remembers what it was asked.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    story: Mutex<Vec<String>>,
    /// Who tells the steps of pulls that were begun.
    steps: Mutex<Vec<mpsc::Sender<Result<Step, Error>>>>,
    pulls: Mutex<Vec<Pull>>,
    changes: watch::Sender<u64>,
}

impl Shelf {
    fn tell(&self, word: impl Into<String>) {
        self.story.lock().unwrap().push(word.into());
    }

    fn story(&self) -> Vec<String> {
        std::mem::take(&mut *self.story.lock().unwrap())
    }

    /// Whoever tells the steps of the pull that was begun last.
    fn telling(&self) -> mpsc::Sender<Result<Step, Error>> {
        self.steps.lock().unwrap().pop().unwrap()
    }

    fn unknown(name: &str) -> Error {
        Error::new(404, format!("model '{name}' not found"))
    }
}

impl Library for Shelf {
    fn pull(&self, source: &str) -> Result<Steps, Error> {
        self.tell(format!("pull {source}"));
        if source == "../x" {
            return Err(Error::invalid("it names no model").at("model"));
        }
        let (sender, steps) = mpsc::channel(8);
        self.steps.lock().unwrap().push(sender);
        Ok(steps)
    }

    fn create(&self, create: Create) -> Result<Steps, Error> {
        self.tell(format!("create {} from {:?}", create.model, create.from));
        let (sender, steps) = mpsc::channel(8);
        let words = ["reading model metadata", "using existing layer sha256:0"];
        for step in words.map(|words| Step::Other(words.to_owned())) {
            sender.try_send(Ok(step)).unwrap();
        }
        sender.try_send(Ok(Step::Success)).unwrap();
        Ok(steps)
    }

    fn copy(&self, source: &str, destination: &str) -> Result<(), Error> {
        self.tell(format!("copy {source} {destination}"));
        if source == "gone" { Err(Self::unknown(source)) } else { Ok(()) }
    }

    fn delete(&self, name: &str) -> Result<(), Error> {
        self.tell(format!("delete {name}"));
        if name == "gone" { Err(Self::unknown(name)) } else { Ok(()) }
    }

    fn has_blob(&self, digest: &str) -> Result<bool, Error> {
        match digest {
            "sha256:here" => Ok(true),
            "odd" => Err(Error::invalid("'odd' is no digest")),
            _ => Ok(false),
        }
    }

    fn put_blob(&self, digest: &str, mut pieces: mpsc::Receiver<Bytes>) -> Result<(), Error> {
        let mut bytes = 0;
        while let Some(piece) = pieces.blocking_recv() {
            bytes += piece.len();
        }
        self.tell(format!("{digest} has {bytes} bytes"));
        if digest == "sha256:wrong" {
            return Err(Error::invalid("the content has another digest"));
        }
        Ok(())
    }

    fn about(&self, _name: &str) -> Option<About> {
        let parameters = json!({ "temperature": 0.25 });
        Some(About {
            template: Some("{{ .Prompt }}".to_owned()),
            licenses: vec!["MIT".to_owned(), "Apache".to_owned()],
            settings: Settings {
                modelfile: "FROM x\n".to_owned(),
                parameters: parameters.as_object().unwrap().clone(),
                system: Some("You are Mario.".to_owned()),
                messages: vec![("user".to_owned(), "Who?".to_owned())],
            },
        })
    }

    fn pulls(&self) -> Vec<Pull> {
        self.pulls.lock().unwrap().clone()
    }

    fn begin_pull(&self, new: &NewPull) -> Result<Pull, Error> {
        let state = "waiting".to_owned();
        let (source, name) = (new.source.clone(), new.name.clone());
        let pull = Pull { id: 7, source, name, state, ..Pull::default() };
        self.pulls.lock().unwrap().push(pull.clone());
        self.changes.send_modify(|changes| *changes += 1);
        Ok(pull)
    }

    fn change_pull(&self, id: u64, change: PullChange) -> Result<Pull, Error> {
        self.tell(format!("{change:?} {id}"));
        let pulls = self.pulls.lock().unwrap();
        pulls
            .iter()
            .find(|pull| pull.id == id)
            .cloned()
            .ok_or_else(|| Error::new(404, "no such pull"))
    }

    fn pulls_changed(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

async fn site() -> (Site, Arc<Shelf>) {
    let shelf = Arc::new(Shelf::default());
    let library = Some(Arc::clone(&shelf) as Arc<dyn Library>);
    (Site::with(Config { library, ..config() }).await, shelf)
}

fn layer(completed_bytes: u64) -> Step {
    let name = "m.gguf".to_owned();
    Step::Layer(Layer { digest: None, name, total_bytes: Some(9), completed_bytes })
}

#[tokio::test]
async fn a_pull_is_told_line_by_line_and_stops_when_nobody_reads() {
    let (site, shelf) = site().await;
    let pull = Ask::post("/api/pull", &json!({ "model": "m:1b" }));
    let address = site.address;
    let opening = tokio::spawn(async move { pull.open(address).await });
    while shelf.steps.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    let telling = shelf.telling();
    telling.send(Ok(Step::Manifest)).await.unwrap();
    let mut open = within(opening).await.unwrap();
    assert_eq!(open.response.headers()["content-type"], "application/x-ndjson");
    assert_eq!(open.piece().await.unwrap(), "{\"status\":\"pulling manifest\"}\n");
    telling.send(Ok(layer(4))).await.unwrap();
    let line = "{\"status\":\"pulling m.gguf\",\"total\":9,\"completed\":4}\n";
    assert_eq!(open.piece().await.unwrap(), line);
    drop(open);
    within(telling.closed()).await;
    assert_eq!(shelf.story(), ["pull m:1b"]);
    site.ends().await;
}

/// What a pull that goes so answers.
async fn pulled(stream: bool, steps: Vec<Result<Step, Error>>) -> crate::client::Answer {
    let (site, shelf) = site().await;
    let pull = Ask::post("/api/pull", &json!({ "name": "m", "stream": stream }));
    let address = site.address;
    let asking = tokio::spawn(async move { pull.send(address).await });
    while shelf.steps.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    let telling = shelf.telling();
    for step in steps {
        telling.send(step).await.unwrap();
    }
    drop(telling);
    let answer = within(asking).await.unwrap();
    site.ends().await;
    answer
}

#[tokio::test]
async fn a_pull_in_one_piece_says_how_it_ended() {
    let answer = pulled(false, vec![Ok(Step::Manifest), Ok(layer(9)), Ok(Step::Success)]).await;
    assert_eq!(answer.ok(), json!({ "status": "success" }));
    let failed = vec![Ok(Step::Manifest), Err(Error::new(500, "the disk is full"))];
    assert_eq!(pulled(false, failed).await.error(500), "the disk is full");
    let broken = pulled(false, vec![Ok(Step::Manifest)]).await;
    assert!(broken.error(500).as_str().unwrap().contains("try again"));
}

#[tokio::test]
async fn an_error_is_a_status_before_the_first_line_and_a_line_after_it() {
    let refused = pulled(true, vec![Err(Error::new(404, "no such model"))]).await;
    assert_eq!(refused.error(404), "no such model");
    let failed = vec![Ok(Step::Manifest), Err(Error::new(500, "the disk is full"))];
    let answer = pulled(true, failed).await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.text,
        "{\"status\":\"pulling manifest\"}\n{\"error\":\"the disk is full\"}\n"
    );
}

#[tokio::test]
async fn models_are_made_copied_and_deleted() {
    let (site, shelf) = site().await;
    let create = Ask::post("/api/create", &json!({ "model": "mario", "from": "m" }));
    let answer = create.send(site.address).await;
    assert_eq!(answer.text.lines().last(), Some("{\"status\":\"success\"}"), "{}", answer.text);
    let copy =
        |source: &str| Ask::post("/api/copy", &json!({ "source": source, "destination": "b" }));
    let copied = copy("a").send(site.address).await;
    assert_eq!((copied.status.as_u16(), &*copied.text), (200, ""));
    let error = copy("gone").send(site.address).await;
    assert_eq!(error.error(404), "model 'gone' not found");
    let delete = |name: &str| {
        let ask = Ask::new("DELETE", "/api/delete").with("content-type", "application/json");
        ask.body(json!({ "model": name }).to_string())
    };
    assert_eq!(delete("a").send(site.address).await.status, 200);
    delete("gone").send(site.address).await.error(404);
    let story =
        ["create mario from Some(\"m\")", "copy a b", "copy gone b", "delete a", "delete gone"];
    assert_eq!(shelf.story(), story);
    let push = Ask::post("/api/push", &json!({ "model": "a" })).send(site.address).await;
    assert!(push.error(400).as_str().unwrap().contains("uploads nothing"));
    site.ends().await;
}

#[tokio::test]
async fn files_come_in_by_their_digests() {
    let (site, shelf) = site().await;
    let head = |digest: &str| Ask::new("HEAD", &format!("/api/blobs/{digest}"));
    assert_eq!(head("sha256:here").send(site.address).await.status, 200);
    assert_eq!(head("sha256:gone").send(site.address).await.status, 404);
    assert_eq!(head("odd").send(site.address).await.status, 400);
    // Without a type, as Ollama's Python client sends it.
    let post =
        |digest: &str| Ask::new("POST", &format!("/api/blobs/{digest}")).body(vec![7; 300_000]);
    let created = post("sha256:new").send(site.address).await;
    assert_eq!((created.status.as_u16(), &*created.text), (201, ""));
    let named = post("sha256:new").with("content-type", "application/json");
    assert_eq!(named.send(site.address).await.status, 201, "as its Go client sends it");
    assert_eq!(shelf.story(), ["sha256:new has 300000 bytes"; 2]);
    post("sha256:wrong").send(site.address).await.error(400);
    shelf.story();
    assert_eq!(post("sha256:here").send(site.address).await.status, 200);
    assert_eq!(shelf.story(), [""; 0], "what is here is not read again");
    site.ends().await;
}

#[tokio::test]
async fn pages_and_strangers_need_the_token() {
    let (site, shelf) = site().await;
    let pull = Ask::post("/api/create", &json!({ "model": "m", "from": "x" }));
    let page = pull.clone().with("origin", "https://chat.example");
    assert!(page.send(site.address).await.error(401).as_str().unwrap().contains("token"));
    let passed_on = pull.clone().with("x-forwarded-for", "10.0.0.7");
    passed_on.send(site.address).await.error(401);
    let form = Ask::new("POST", "/api/pull").body("{\"model\":\"m\"}");
    form.send(site.address).await.error(415);
    assert_eq!(shelf.story(), [""; 0]);
    let told = page.with("authorization", &format!("Bearer {TOKEN}"));
    assert_eq!(told.send(site.address).await.status, 200);
    site.ends().await;

    let shelf = Arc::new(Shelf::default());
    let config = Config { library: Some(shelf.clone()), require_token: true, ..config() };
    let site = Site::with(config).await;
    let refused = pull.send(site.address).await;
    assert!(refused.error(401).as_str().unwrap().contains("require_token"));
    let told = pull.with("authorization", &format!("Bearer {TOKEN}"));
    assert_eq!(told.send(site.address).await.status, 200);
    site.ends().await;
}

#[tokio::test]
async fn a_hub_without_a_library_says_so() {
    let site = Site::new().await;
    let pull = Ask::post("/api/pull", &json!({ "model": "m" })).send(site.address).await;
    assert!(pull.error(503).as_str().unwrap().contains("keeps no models"));
    site.ends().await;
}

async fn control(site: &Site, ask: Ask) -> crate::client::Answer {
    ask.with("authorization", &format!("Bearer {TOKEN}")).send(site.address).await
}

#[tokio::test]
async fn pulls_are_listed_begun_and_changed_with_the_token() {
    let (site, shelf) = site().await;
    Ask::get("/resident/v1/pulls").send(site.address).await.error(401);
    assert_eq!(control(&site, Ask::get("/resident/v1/pulls")).await.ok(), json!({ "pulls": [] }));
    let begin = Ask::post("/resident/v1/pulls", &json!({ "source": "hf:a/b", "name": "c" }));
    let begun: Pull = serde_json::from_value(control(&site, begin).await.ok()).unwrap();
    assert_eq!((begun.id, &*begun.source, begun.name.as_deref()), (7, "hf:a/b", Some("c")));
    let odd = Ask::post("/resident/v1/pulls", &json!({ "model": "x" }));
    control(&site, odd).await.error(400);
    let one = control(&site, Ask::get("/resident/v1/pulls/7")).await.ok();
    assert_eq!(one["state"], "waiting");
    control(&site, Ask::get("/resident/v1/pulls/8")).await.error(404);
    control(&site, Ask::get("/resident/v1/pulls/x")).await.error(404);
    for change in ["pause", "resume", "cancel"] {
        let path = format!("/resident/v1/pulls/7/{change}");
        assert_eq!(control(&site, Ask::post(&path, &json!({}))).await.ok()["id"], 7);
    }
    assert_eq!(shelf.story(), ["Pause 7", "Resume 7", "Cancel 7"]);
    let odd = Ask::post("/resident/v1/pulls/7/burn", &json!({}));
    control(&site, odd).await.error(404);
    site.ends().await;
}

#[tokio::test]
async fn whoever_looks_sees_each_change_of_pulls() {
    let (site, shelf) = site().await;
    let events = Ask::get("/resident/v1/pulls/events");
    let events = events.with("authorization", &format!("Bearer {TOKEN}"));
    let mut open = events.open(site.address).await;
    assert_eq!(open.response.headers()["content-type"], "application/x-ndjson");
    let first: Pulls = serde_json::from_str(&open.piece().await.unwrap()).unwrap();
    assert_eq!(first.pulls, []);
    let new = NewPull { source: "hf:a/b".to_owned(), name: None };
    shelf.begin_pull(&new).unwrap();
    let line: Value = serde_json::from_str(&open.piece().await.unwrap()).unwrap();
    assert_eq!(line["pulls"][0]["source"], "hf:a/b");
    drop(open);
    site.ends().await;
}
