//! Pulls that do what a test says, so that what the queue does can be told from what pulls do.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{sync::oneshot, time::timeout};

use super::*;
use crate::{limits::FAILURE_CHARACTERS_MAX, pull::FileProgress, transfer::Wanted};

/// Longer than anything here takes.
const DEADLINE: Duration = Duration::from_secs(20);

/// How long pulls wait that could not reach their servers, by a clock that a test may move.
const RETRY: Duration = Duration::from_secs(3600);

type End = Result<Name, Failure>;

/// What happened to pulls, and how those that go on are ended.
#[derive(Clone, Default)]
struct World(Arc<Mutex<Seen>>);

#[derive(Default)]
struct Seen {
    /// `+a` is begun, `-a` is stopped before its end, `x1` is one file forgotten.
    story: Vec<String>,
    running: BTreeMap<String, oneshot::Sender<End>>,
    /// Whether pulls say at once of which file they are.
    has_files: bool,
}

/// Says that a pull ended without having been told to.
struct Stopped(World, String, bool);

impl Drop for Stopped {
    fn drop(&mut self) {
        if !self.2 {
            self.0.tell(format!("-{}", self.1));
        }
    }
}

impl World {
    fn tell(&self, word: String) {
        self.0.lock().unwrap().story.push(word);
    }

    fn work(&self) -> Work {
        let (pulls, forgets) = (self.clone(), self.clone());
        let pull = move |job: Job, events: watch::Sender<Progress>| -> Pulling {
            let (end, ended) = oneshot::channel();
            pulls.tell(format!("+{}", job.source));
            let mut world = pulls.0.lock().unwrap();
            world.running.insert(job.source.clone(), end);
            if world.has_files {
                let name = job.source.clone();
                let (addresses, bytes, digest) = (vec![], Some(9), None);
                let wanted = Wanted { addresses, bytes, digest, name: name.clone() };
                let file = FileProgress { name, wanted, done_bytes: 5, whole_bytes: Some(9) };
                events.send_modify(|progress| progress.files.push(file));
            }
            drop(world);
            let stopped = Stopped(pulls.clone(), job.source, false);
            Box::pin(async move {
                // All of it moves in here, not the one field that is set.
                let mut stopped = stopped;
                let outcome = ended.await.unwrap();
                stopped.2 = true;
                outcome
            })
        };
        let forget = move |keys: &[Key]| forgets.tell(format!("x{}", keys.len()));
        Work { pull: Box::new(pull), forget: Box::new(forget), retry: RETRY }
    }

    fn end(&self, source: &str, outcome: End) {
        let end = self.0.lock().unwrap().running.remove(source).unwrap();
        end.send(outcome).unwrap();
    }

    fn story(&self) -> String {
        self.0.lock().unwrap().story.join(" ")
    }
}

struct Site {
    world: World,
    queue: Queue,
    folder: tempfile::TempDir,
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn job(source: &str) -> Job {
    Job { source: source.to_owned(), name: None }
}

impl Site {
    fn new() -> Self {
        let (world, folder) = (World::default(), tempfile::tempdir().unwrap());
        let queue = Queue::open(folder.path(), world.work());
        Self { world, queue, folder }
    }

    /// Waits until the pulls are told so: `source state`, in their order.
    async fn until(&self, expected: &[&str]) {
        let mut changes = self.queue.changes();
        let seen = async {
            loop {
                let told: Vec<String> = self.queue.rows().iter().map(shown).collect();
                if told == expected {
                    return;
                }
                changes.changed().await.unwrap();
            }
        };
        if timeout(DEADLINE, seen).await.is_err() {
            panic!(
                "{:?} and not {expected:?}",
                self.queue.rows().iter().map(shown).collect::<Vec<_>>()
            );
        }
    }

    /// Waits until this has happened.
    async fn until_story(&self, expected: &str) {
        let seen = async {
            while self.world.story() != expected {
                tokio::task::yield_now().await;
            }
        };
        let in_time = timeout(DEADLINE, seen).await.is_ok();
        assert!(in_time, "'{}' and not '{expected}'", self.world.story());
    }

    /// As after the end of the program, and its start.
    async fn restarted(self) -> Self {
        let Self { queue, folder, .. } = self;
        queue.close();
        let shared = Arc::downgrade(&queue.shared);
        drop(queue);
        let gone = async {
            while shared.strong_count() > 0 {
                tokio::task::yield_now().await;
            }
        };
        timeout(DEADLINE, gone).await.expect("a closed queue ends");
        let world = World::default();
        let queue = Queue::open(folder.path(), world.work());
        Self { world, queue, folder }
    }
}

fn failed(why: &str) -> End {
    Err(Failure::Final(why.to_owned()))
}

fn gone() -> End {
    Err(Failure::Passing("no network".to_owned()))
}

fn shown(row: &Row) -> String {
    let state = match &row.state {
        State::Waiting => "waiting".to_owned(),
        State::Running => "running".to_owned(),
        State::Paused => "paused".to_owned(),
        State::Failed(why) => format!("failed: {why}"),
        State::Done(name) => format!("done: {name}"),
        State::Cancelled => "cancelled".to_owned(),
    };
    format!("{} {state}", row.job.source)
}

#[tokio::test]
async fn one_follows_the_other_in_their_order() {
    let site = Site::new();
    for source in ["a", "b", "c"] {
        site.queue.add(job(source)).unwrap();
    }
    site.until(&["a running", "b waiting", "c waiting"]).await;
    site.world.end("a", Ok(name("one")));
    site.until(&["b running", "c waiting", "a done: one"]).await;
    site.world.end("b", failed("no such model"));
    site.until(&["b failed: no such model", "c running", "a done: one"]).await;
    site.world.end("c", Ok(name("three")));
    site.until(&["b failed: no such model", "c done: three", "a done: one"]).await;
    assert_eq!(site.world.story(), "+a +b +c");
}

#[tokio::test]
async fn the_same_pull_is_there_once() {
    let site = Site::new();
    let first = site.queue.add(job("a")).unwrap();
    assert_eq!(site.queue.add(job("a")).unwrap().id, first.id);
    let other = Job { name: Some(name("other")), ..job("a") };
    assert_ne!(site.queue.add(other).unwrap().id, first.id, "another name is another model");
}

#[tokio::test]
async fn a_paused_one_lets_others_go_on_and_goes_on_itself_when_it_is_told() {
    let site = Site::new();
    let a = site.queue.add(job("a")).unwrap().id;
    let b = site.queue.add(job("b")).unwrap().id;
    assert_eq!(site.queue.pause(a).unwrap().state, State::Paused);
    site.until(&["a paused", "b running"]).await;
    site.until_story("+a +b -a").await;
    site.queue.resume(a).unwrap();
    site.until(&["a waiting", "b running"]).await;
    site.queue.pause(b).unwrap();
    site.until(&["a running", "b paused"]).await;
    site.world.end("a", failed("odd"));
    site.until(&["a failed: odd", "b paused"]).await;
    site.queue.resume(a).unwrap();
    site.until(&["a running", "b paused"]).await;
}

#[tokio::test]
async fn what_a_cancelled_one_has_is_thrown_away_once_it_has_stopped() {
    let site = Site::new();
    let a = site.queue.add(job("a")).unwrap().id;
    site.until(&["a running"]).await;
    assert_eq!(site.queue.cancel(a).unwrap().state, State::Cancelled);
    site.until(&["a cancelled"]).await;
    site.until_story("+a -a x0").await;
    assert_eq!(site.queue.resume(a).unwrap_err(), Error::Ended { id: a });
    assert_eq!(site.queue.pause(99).unwrap_err(), Error::Unknown { id: 99 });
}

#[tokio::test]
async fn an_attended_one_begins_at_once_and_stops_when_nobody_looks() {
    let site = Site::new();
    site.queue.add(job("a")).unwrap();
    let (one, two) = (site.queue.attend(job("b")).unwrap(), site.queue.attend(job("b")).unwrap());
    site.until(&["a running", "b running"]).await;
    drop(one);
    site.until(&["a running", "b running"]).await;
    drop(two);
    site.until(&["a running"]).await;
    site.until_story("+a +b -b").await;
    let again = site.queue.attend(job("b")).unwrap();
    site.until(&["a running", "b running"]).await;
    site.world.end("b", Ok(name("two")));
    site.until(&["a running", "b done: two"]).await;
    assert_eq!(again.row().unwrap().state, State::Done(name("two")));
}

#[tokio::test]
async fn one_that_is_wanted_anyway_goes_on_when_nobody_looks() {
    let site = Site::new();
    let attended = site.queue.attend(job("a")).unwrap();
    site.queue.add(job("a")).unwrap();
    drop(attended);
    site.until(&["a running"]).await;
    assert_eq!(site.world.story(), "+a");
}

#[tokio::test]
async fn after_a_restart_they_go_on_and_paused_ones_stay_so() {
    let site = Site::new();
    let a = site.queue.add(job("a")).unwrap().id;
    site.queue.add(job("b")).unwrap();
    site.queue.add(job("c")).unwrap();
    let attended = site.queue.attend(job("d")).unwrap();
    site.queue.pause(a).unwrap();
    site.until(&["a paused", "b running", "c waiting", "d running"]).await;
    site.world.end("b", failed("full"));
    site.until(&["a paused", "b failed: full", "c running", "d running"]).await;
    drop(attended);
    let site = site.restarted().await;
    site.until(&["a paused", "b failed: full", "c running"]).await;
    assert!(site.queue.add(job("e")).unwrap().id > 4, "no number is given twice");
}

#[tokio::test]
async fn a_second_program_neither_takes_over_nor_overwrites_what_the_first_has() {
    let site = Site::new();
    site.queue.add(job("a")).unwrap();
    let world = World::default();
    let second = Queue::open(site.folder.path(), world.work());
    assert!(second.rows().is_empty());
    second.add(job("z")).unwrap();
    let site = site.restarted().await;
    site.until(&["a running"]).await;
}

#[tokio::test]
async fn a_file_that_cannot_be_read_is_no_hindrance() {
    let site = Site::new();
    std::fs::write(site.folder.path().join("queue.json"), "{\"last_id\":").unwrap();
    let Site { folder, queue, .. } = site;
    drop(queue);
    let world = World::default();
    let site = Site { queue: Queue::open(folder.path(), world.work()), world, folder };
    assert!(site.queue.rows().is_empty());
    site.queue.add(job("a")).unwrap();
    site.until(&["a running"]).await;
}

#[tokio::test]
async fn one_that_is_given_up_after_a_restart_leaves_nothing() {
    let site = Site::new();
    site.world.0.lock().unwrap().has_files = true;
    let a = site.queue.add(job("a")).unwrap().id;
    site.until(&["a running"]).await;
    let mut changes = site.queue.changes();
    while site.queue.rows()[0].progress.files.is_empty() {
        timeout(DEADLINE, changes.changed()).await.unwrap().unwrap();
    }
    site.queue.pause(a).unwrap();
    let site = site.restarted().await;
    site.until(&["a paused"]).await;
    // Its next run comes no farther than its manifest, and says nothing of files.
    site.queue.resume(a).unwrap();
    site.until(&["a running"]).await;
    site.queue.cancel(a).unwrap();
    site.until_story("+a -a x1").await;
}

#[tokio::test]
async fn what_its_files_are_is_written_down_before_anything_is_done_to_it() {
    let site = Site::new();
    site.world.0.lock().unwrap().has_files = true;
    site.queue.add(job("a")).unwrap();
    let path = site.folder.path().join("queue.json");
    let is_written = async {
        while !std::fs::read_to_string(&path).is_ok_and(|text| text.contains("\"address-")) {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, is_written).await.unwrap();
}

#[tokio::test]
async fn one_long_reason_does_not_lose_the_others() {
    let site = Site::new();
    site.queue.add(job("bad")).unwrap();
    site.queue.add(job("good")).unwrap();
    site.until(&["bad running", "good waiting"]).await;
    site.world.end("bad", failed(&"é".repeat(40_000_000)));
    let kept = format!("bad failed: {}…", "é".repeat(FAILURE_CHARACTERS_MAX));
    site.until(&[&kept, "good running"]).await;
    let site = site.restarted().await;
    site.until(&[&kept, "good running"]).await;
}

#[tokio::test(start_paused = true)]
async fn one_that_cannot_reach_its_servers_is_tried_again_and_holds_nobody_up() {
    let site = Site::new();
    site.queue.add(job("a")).unwrap();
    site.queue.add(job("b")).unwrap();
    site.until(&["a running", "b waiting"]).await;
    site.world.end("a", gone());
    site.until(&["a waiting", "b running"]).await;
    let rows = site.queue.rows();
    assert_eq!(rows[0].trouble.as_deref(), Some("no network"));
    assert_eq!(rows[1].trouble, None);
    site.world.end("b", Ok(name("two")));
    site.until(&["a waiting", "b done: two"]).await;
    assert_eq!(site.world.story(), "+a +b");
    tokio::time::sleep(RETRY).await;
    site.until(&["a running", "b done: two"]).await;
    site.world.end("a", gone());
    site.until(&["a waiting", "b done: two"]).await;
    // Who says so, or knows that there is a network again, does not wait.
    site.queue.resume(1).unwrap();
    site.until(&["a running", "b done: two"]).await;
    site.world.end("a", gone());
    site.until(&["a waiting", "b done: two"]).await;
    site.queue.start_over();
    site.until(&["a running", "b done: two"]).await;
    assert_eq!(site.queue.rows()[0].trouble, None);
}

#[tokio::test]
async fn who_looks_on_is_told_that_servers_cannot_be_reached() {
    let site = Site::new();
    let attended = site.queue.attend(job("a")).unwrap();
    site.until(&["a running"]).await;
    site.world.end("a", gone());
    site.until(&["a failed: no network"]).await;
    assert_eq!(attended.row().unwrap().state, State::Failed("no network".to_owned()));
}

#[tokio::test]
async fn what_goes_on_begins_again_when_something_else_is_asked() {
    let site = Site::new();
    let a = site.queue.add(job("a")).unwrap().id;
    let b = site.queue.add(job("b")).unwrap().id;
    site.queue.pause(b).unwrap();
    site.until(&["a running", "b paused"]).await;
    site.queue.start_over();
    site.until_story("+a +a -a").await;
    site.until(&["a running", "b paused"]).await;
    site.queue.cancel(a).unwrap();
}

#[tokio::test]
async fn there_is_an_end_to_what_waits() {
    let site = Site::new();
    for number in 0..PULLS_MAX {
        site.queue.add(job(&number.to_string())).unwrap();
    }
    assert_eq!(site.queue.add(job("more")).unwrap_err(), Error::Full);
    assert!(site.queue.attend(job("more")).is_err());
}
