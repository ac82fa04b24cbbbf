//! Servers that run already, as real processes that come and go: what is said of a model of theirs is
//! true, and whoever asked for it is sent to somebody else where there is one.

use std::{
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    time::Duration,
};

use planner::roles::{Candidate, Role, check};
use supervisor::{
    AcquireError, Lease, Loss, Model, OpenPool, Purpose, Residence, Server, Wish,
    limits::{UPSTREAM_IDLE_MAX, UPSTREAMS_MAX},
};

use worker_protocol::{Event, FailureKind};

use crate::hub::{Hub, Setup, elsewhere, is_ready, prompt, texts, within};

/// A server that nobody guards. It is killed when dropped.
struct Elsewhere {
    port: u16,
    words: Vec<String>,
    process: Child,
}

impl Elsewhere {
    async fn start(words: &[&str]) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        Self::start_at(free.port(), words.iter().map(ToString::to_string).collect()).await
    }

    async fn start_at(port: u16, words: Vec<String>) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fixture-engine"));
        command.args(["--port", &port.to_string()]).args(&words);
        let process = command.stdin(Stdio::null()).spawn().unwrap();
        within(async {
            while TcpStream::connect(("127.0.0.1", port)).is_err() {
                tokio::task::yield_now().await;
            }
        })
        .await;
        Self { port, words, process }
    }

    fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    async fn comes_back(&mut self) {
        *self = Self::start_at(self.port, self.words.clone()).await;
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn model(&self, name: &str) -> Model {
        elsewhere(name, None, &[&self.url()])
    }

    fn pool(&self, prefix: &str) -> OpenPool {
        let server = Server { base_url: self.url(), key: None };
        OpenPool { prefix: prefix.to_owned(), servers: vec![server] }
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// How a request with this prompt was lost, if it was.
async fn loss(lease: &Lease, text: &str) -> Option<Loss> {
    let mut answer = lease.generate(prompt(text));
    while within(answer.next()).await.is_some() {}
    within(answer.loss()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_dies_shows_as_gone_and_is_taken_up_again_when_it_is_back() {
    let mut server = Elsewhere::start(&[]).await;
    let hub = Hub::new(&[], Setup { foreign: vec![server.model("far")], ..Setup::default() });
    let lease = hub.acquire("far").await.unwrap();
    assert_eq!(texts(lease.generate(prompt("say 5 "))).await, Ok(5));
    server.kill();
    assert!(loss(&lease, "say 5 ").await.is_some(), "nothing of it was there");
    hub.until("far", |resident| resident.is_none()).await;
    drop(lease);
    let refused = hub.acquire("far").await.unwrap_err();
    assert!(matches!(refused, AcquireError::LoadFailed { .. }), "{refused}");
    assert!(refused.to_string().contains("cannot be reached"), "{refused}");
    server.comes_back().await;
    let lease = hub.acquire("far").await.unwrap();
    assert_eq!(texts(lease.generate(prompt("say 5 "))).await, Ok(5));
    drop(lease);
    hub.proves_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_is_not_asked_to_count_tokens() {
    let server = Elsewhere::start(&[]).await;
    let hub = Hub::new(&[], Setup { foreign: vec![server.model("far")], ..Setup::default() });
    let lease = hub.acquire("far").await.unwrap();
    let mut answer = lease.count(prompt("say 2 ").prompt);
    let Some(Event::Failed(failure)) = within(answer.next()).await else { panic!("it counts") };
    assert_eq!(failure.kind, FailureKind::Invalid);
    assert!(failure.message.contains("ask a model that the built-in worker serves"), "{failure}");
    assert_eq!((within(answer.next()).await, within(answer.loss()).await), (None, None));
    assert_eq!(texts(lease.generate(prompt("say 2 "))).await, Ok(2));
    drop((answer, lease));
    hub.proves_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_request_of_whose_answer_nothing_was_there_is_lost() {
    let server = Elsewhere::start(&[]).await;
    let hub = Hub::new(&[], Setup { foreign: vec![server.model("far")], ..Setup::default() });
    let lease = hub.acquire("far").await.unwrap();
    assert_eq!(loss(&lease, "say 2 half-line").await, None);
    assert_eq!(loss(&lease, "say 2 ").await, None);
    assert_eq!(loss(&lease, "say 0 half-line").await, Some(Loss::Broke));
    drop(lease);
    hub.proves_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_leaves_a_server_that_died_and_returns_to_it() {
    let mut server = Elsewhere::start(&[]).await;
    let names = ["far", "near"];
    let candidates = names.into_iter().map(Candidate::new).collect();
    let role = Role { candidates, prefer_resident: Some(false) };
    let roles = check([("daily".to_owned(), role)].into(), &names).unwrap();
    let foreign = vec![server.model("far")];
    let hub = Hub::new(&["near"], Setup { foreign, roles, ..Setup::default() });
    let generates = [prompt("say 3 ")];
    let purpose = Purpose::Generate(&generates);
    let serve = async || {
        let served = within(hub.handle.serve("daily", purpose, Wish::default(), None)).await;
        let served = served.unwrap();
        (served.model.unwrap(), served.lease)
    };
    let (model, lease) = serve().await;
    assert_eq!(model, "far");
    server.kill();
    // Nobody has noticed yet; the request that does is put to the next.
    assert!(loss(&lease, "say 3 ").await.is_some());
    drop(lease);
    let without =
        |lost_by: &[&str]| -> Vec<String> { lost_by.iter().map(ToString::to_string).collect() };
    let lost_by = without(&["far"]);
    let next = hub.handle.serve_without(&lost_by, "daily", purpose, Wish::default(), None);
    let next = within(next).await.unwrap();
    assert_eq!(next.model.as_deref(), Some("near"));
    assert_eq!(texts(next.lease.generate(prompt("say 3"))).await, Ok(3));
    drop(next);
    hub.until("far", |resident| resident.is_none()).await;
    assert_eq!(serve().await.0, "near");
    server.comes_back().await;
    assert_eq!(serve().await.0, "far");
    let lost_by = without(&names);
    let nobody = hub.handle.serve_without(&lost_by, "daily", purpose, Wish::default(), None);
    let nobody = within(nobody).await;
    assert!(matches!(nobody, Err(AcquireError::NobodyServes { .. })), "{nobody:?}");
    hub.proves_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pool_s_models_are_those_that_its_servers_list() {
    let listing = Elsewhere::start(&["lists", "big,small:latest,a name"]).await;
    let silent = Elsewhere::start(&[]).await;
    let open_pools = vec![listing.pool("lab/"), silent.pool("any/")];
    let hub = Hub::new(&["near"], Setup { open_pools, ..Setup::default() });
    within(hub.handle.look_elsewhere()).await;
    let models = hub.handle.models();
    let names: Vec<&str> = models.iter().map(|model| model.name.as_str()).collect();
    assert_eq!(names, ["lab/a name", "lab/big", "lab/small:latest", "near"]);
    for name in ["lab/big", "lab/small", "any/thing"] {
        let lease = hub.acquire(name).await.unwrap();
        assert_eq!(texts(lease.generate(prompt("say 3 "))).await, Ok(3), "{name}");
    }
    let refused = hub.acquire("lab/bog").await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "no model is named 'lab/bog'; did you mean 'lab/big'?; its servers have lab/a name, \
         lab/big, lab/small:latest"
    );
    assert_eq!(hub.handle.model("lab/bog"), None);
    assert!(hub.handle.model("lab/big").is_some());
    assert_eq!(hub.resident("lab/bog").await, None);
    hub.proves_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pool_whose_server_is_away_lists_nothing_and_refuses_no_name() {
    let mut server = Elsewhere::start(&["lists", "big"]).await;
    let setup = Setup { open_pools: vec![server.pool("lab/")], ..Setup::default() };
    let hub = Hub::new(&[], setup);
    server.kill();
    within(hub.handle.look_elsewhere()).await;
    assert_eq!(hub.handle.models(), []);
    let refused = hub.acquire("lab/big").await.unwrap_err();
    assert!(refused.to_string().contains("cannot be reached"), "{refused}");
    hub.goes_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn models_elsewhere_are_bounded_in_count() {
    let server = Elsewhere::start(&[]).await;
    let setup = Setup { open_pools: vec![server.pool("any/")], ..Setup::default() };
    let hub = Hub::new(&[], setup);
    for number in 0..UPSTREAMS_MAX {
        drop(hub.acquire(&format!("any/{number}")).await.unwrap());
    }
    let refused = hub.acquire("any/other").await.unwrap_err();
    assert!(matches!(refused, AcquireError::Overloaded { .. }), "{refused}");
    let expected = format!("{UPSTREAMS_MAX} models of servers elsewhere are in use already");
    assert!(refused.to_string().contains(&expected), "{refused}");
    drop(hub.acquire("any/0").await.unwrap());
    hub.handle.stop("any/0").await.unwrap();
    hub.until("any/0", |resident| resident.is_none()).await;
    drop(hub.acquire("any/other").await.unwrap());
    hub.goes_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn models_elsewhere_leave_when_nobody_asks_for_them() {
    let server = Elsewhere::start(&[]).await;
    let short = Residence { idle_unload: Some(Duration::from_millis(300)), ..Residence::default() };
    let pinned = Residence { pinned: true, ..Residence::default() };
    let foreign = vec![
        Model { residence: short, ..server.model("short") },
        Model { residence: pinned, ..server.model("usual") },
    ];
    let hub = Hub::new(&[], Setup { foreign, ..Setup::default() });
    drop(hub.acquire("short").await.unwrap());
    hub.until("short", |resident| resident.is_none()).await;
    // A client that wants it kept for ever keeps nothing.
    let wish = Wish { keep_alive: Some(Duration::MAX), ..Wish::default() };
    drop(within(hub.handle.acquire_with("usual", wish)).await.unwrap());
    hub.until("usual", |resident| resident.is_some_and(|one| one.unload_in().is_some())).await;
    let resident = hub.resident("usual").await.unwrap();
    assert!(is_ready(Some(&resident)) && !resident.pinned);
    assert!(resident.unload_in().unwrap() <= UPSTREAM_IDLE_MAX);
    hub.goes_down().await;
}
