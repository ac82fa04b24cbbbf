//! Golden scripts: a fleet is told a story, and what a person would read about it is compared with
//! what is written here. `UPDATE_EXPECT=1` writes it anew.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use expect_test::{Expect, expect};
use gateway::control::{Explained, ExplainedRole, RequestRow, Requests};
use planner::fleet::{
    Action, Event, Fleet, Model, Policy, Pressure, Priority, RequestId, Terms, Turn, When, WorkerId,
};

use supervisor::{
    Outlook,
    roles::{Ask, Candidate, Kind, Role, Standing, State, Tokens, check},
};

use super::{of_model, of_request, of_role};
use crate::terminal::Paint;

/// What the machine of these stories may hold.
const BUDGET_GIB: u64 = 12;

/// A fleet in a story, and what its actions were.
struct Stage {
    fleet: Fleet,
    now: Duration,
    workers: BTreeMap<WorkerId, Model>,
    sizes: BTreeMap<&'static str, Terms>,
    requests: u64,
}

impl Stage {
    /// Models with their sizes in GiB. Those whose name begins with `main-` are of the exclusive
    /// group `main`.
    fn new(models: &[(&'static str, u64)]) -> Self {
        let policy = Policy {
            budget_bytes: BUDGET_GIB << 30,
            idle_unload: Duration::from_secs(600),
            exclusive: [Arc::from("main")].into(),
        };
        let terms = |(name, gib): &(&'static str, u64)| {
            let group = name.starts_with("main-").then(|| Arc::from("main"));
            let (pinned, idle_unload, once) = (false, None, false);
            let load_time = Duration::from_secs(1);
            (*name, Terms { bytes: gib << 30, group, pinned, idle_unload, load_time, once })
        };
        Self {
            fleet: Fleet::new(policy),
            now: Duration::ZERO,
            workers: BTreeMap::new(),
            sizes: models.iter().map(terms).collect(),
            requests: 0,
        }
    }

    fn tell(&mut self, event: Event) {
        let mut actions = Vec::new();
        self.fleet.handle(When(self.now), event, &mut actions);
        for action in actions {
            match action {
                Action::Start { worker, model } => drop(self.workers.insert(worker, model)),
                Action::Stop { .. }
                | Action::Grant { .. }
                | Action::Trim { .. }
                | Action::Refuse { .. } => {}
            }
        }
    }

    /// Lets time pass.
    fn wait(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        self.tell(Event::Tick);
    }

    /// A request comes; its number.
    fn want(&mut self, name: &'static str) -> RequestId {
        let request = RequestId(self.requests);
        self.requests += 1;
        let (model, terms) = (model(name), self.sizes[name].clone());
        let (priority, keep_alive) = (Priority::Interactive, None);
        self.tell(Event::Wanted { request, model, terms, priority, keep_alive });
        request
    }

    /// The newest worker of a model.
    fn worker(&self, name: &str) -> WorkerId {
        let of = |(id, model): (&WorkerId, &Model)| (*model.name == *name).then_some(*id);
        self.workers.iter().rev().find_map(of).unwrap()
    }

    /// Its load ends well.
    fn ready(&mut self, name: &'static str) {
        let measured_bytes = self.sizes[name].bytes;
        self.tell(Event::Ready { worker: self.worker(name), measured_bytes });
    }

    fn gone(&mut self, name: &'static str, reason: &str) {
        self.tell(Event::Exited { worker: self.worker(name), reason: reason.to_owned() });
    }

    /// Somebody asks, the model is loaded and goes on being used.
    fn used(&mut self, name: &'static str) -> RequestId {
        let request = self.want(name);
        self.ready(name);
        request
    }

    /// Somebody asks and is answered within a second.
    fn idle(&mut self, name: &'static str) {
        let request = self.used(name);
        self.wait(1);
        self.tell(Event::Released { request });
    }

    fn requests(&self) -> Requests {
        let row = |(request, turn): (RequestId, Turn)| {
            let model = match &turn {
                Turn::Using(worker) => self.workers[worker].name.to_string(),
                Turn::Waiting(wait) => wait.model.name.to_string(),
            };
            RequestRow { request: request.0, model, turn }
        };
        let workers = self.workers.iter().map(|(id, model)| (*id, model.name.to_string()));
        Requests {
            requests: self.fleet.turns(When(self.now)).into_iter().map(row).collect(),
            workers: workers.collect(),
        }
    }

    /// What a person reads who asks about this model.
    fn shows(&self, name: &'static str, expected: Expect) {
        let explanation = self.fleet.what_if(When(self.now), &model(name), &self.sizes[name]);
        let explained = Explained { model: name.to_owned(), explanation };
        // As the command line gets it.
        let sent = serde_json::to_string(&explained).unwrap();
        let explained: Explained = serde_json::from_str(&sent).unwrap();
        let lines = of_model(&explained, &self.requests(), Paint::plain());
        expected.assert_eq(&lines.join("\n"));
    }

    /// What a person reads who asks about this request.
    fn shows_request(&self, request: RequestId, expected: Expect) {
        let open = self.requests();
        let sent = serde_json::to_string(&open).unwrap();
        assert_eq!(serde_json::from_str::<Requests>(&sent).unwrap(), open);
        let row = open.requests.iter().find(|row| row.request == request.0).unwrap();
        expected.assert_eq(&of_request(row.request, &row.model, &row.turn, &open).join("\n"));
    }
}

fn model(name: &str) -> Model {
    Model { name: name.into(), version: 1 }
}

#[test]
fn it_fits() {
    let mut stage = Stage::new(&[("small", 3), ("chat", 5)]);
    stage.shows(
        "chat",
        expect![[r#"
        chat is not loaded: nobody has asked this hub for it yet.
        If it were asked for now: it would be loaded at once: there is room.

        THE SUM             BYTES
          in memory             0        0 B
        + chat         5368709120    5.0 GiB
        = together     5368709120    5.0 GiB
          budget      12884901888   12.0 GiB"#]],
    );
    stage.idle("small");
    stage.wait(20);
    stage.shows(
        "chat",
        expect![[r#"
        chat is not loaded: nobody has asked this hub for it yet.
        If it were asked for now: it would be loaded at once: there is room.

        IN MEMORY        BYTES             WHAT IT WOULD DO
        small       3221225472   3.0 GiB   stay (idle for 20s): nobody needs to leave

        THE SUM             BYTES
          in memory    3221225472    3.0 GiB
        + chat         5368709120    5.0 GiB
        = together     8589934592    8.0 GiB
          budget      12884901888   12.0 GiB"#]],
    );
}

#[test]
fn it_is_loading_and_served() {
    let mut stage = Stage::new(&[("chat", 5)]);
    let request = stage.want("chat");
    stage.wait(3);
    stage.shows(
        "chat",
        expect![[r#"
        chat is loaded only in part: it is loading.
        If it were asked for now: it would be served when it is loaded, which has begun.

        IN MEMORY        BYTES             WHAT IT WOULD DO
        chat        5368709120   5.0 GiB   answer"#]],
    );
    stage.shows_request(request, expect![[r#"
        Request 0 has waited 3s for chat, as number 1 of 1 who wait.
        It waits until chat is loaded.
        Its turn comes in 12s at the latest; until then requests for models that are loaded may overtake it.
        It is not refused while its model loads; a load that fails answers it."#]]);
    stage.ready("chat");
    stage.shows(
        "chat",
        expect![[r#"
        chat is loaded, in use by 1 request.
        If it were asked for now: it would be served at once.

        IN MEMORY        BYTES             WHAT IT WOULD DO
        chat        5368709120   5.0 GiB   answer"#]],
    );
    stage.shows_request(request, expect!["Request 0 uses chat now."]);
    stage.tell(Event::Released { request });
    stage.wait(70);
    stage.shows(
        "chat",
        expect![[r#"
        chat is loaded, idle for 1m 10s, and unloads in 8m 50s.
        If it were asked for now: it would be served at once.

        IN MEMORY        BYTES             WHAT IT WOULD DO
        chat        5368709120   5.0 GiB   answer"#]],
    );
}

#[test]
fn one_has_to_leave() {
    let mut stage = Stage::new(&[("chat", 5), ("coder", 9)]);
    stage.idle("chat");
    stage.wait(300);
    stage.shows("coder", expect![[r#"
        coder is not loaded: nobody has asked this hub for it yet.
        If it were asked for now: chat would leave, and then it would be loaded.

        IN MEMORY        BYTES             WHAT IT WOULD DO
        chat        5368709120   5.0 GiB   leave (idle for 5m 0s): to be without it costs least, 23.1 s of loading an hour

        THE SUM               BYTES
          in memory      5368709120    5.0 GiB
        + coder          9663676416    9.0 GiB
        - what leaves    5368709120    5.0 GiB
        = together       9663676416    9.0 GiB
          budget        12884901888   12.0 GiB"#]]);
}

#[test]
fn of_two_idle_ones_the_cheaper_leaves() {
    let mut stage = Stage::new(&[("chat", 4), ("coder", 4), ("tiny", 1), ("deep", 6)]);
    stage.idle("chat");
    stage.idle("tiny");
    stage.wait(200);
    stage.idle("coder");
    stage.wait(100);
    stage.shows("deep", expect![[r#"
        deep is not loaded: nobody has asked this hub for it yet.
        If it were asked for now: chat would leave, and then it would be loaded.

        IN MEMORY        BYTES             WHAT IT WOULD DO
        chat        4294967296   4.0 GiB   leave (idle for 5m 2s): to be without it costs least, 18.4 s of loading an hour
        tiny        1073741824   1.0 GiB   stay (idle for 5m 1s): it costs only 8.6 s of loading an hour, but does not give enough
        coder       4294967296   4.0 GiB   stay (idle for 1m 40s): to be without it costs more, 35.2 s of loading an hour

        THE SUM               BYTES
          in memory      9663676416    9.0 GiB
        + deep           6442450944    6.0 GiB
        - what leaves    4294967296    4.0 GiB
        = together      11811160064   11.0 GiB
          budget        12884901888   12.0 GiB"#]]);
}

#[test]
fn a_pinned_model_is_in_the_way() {
    let mut stage = Stage::new(&[("chat", 5), ("coder", 9)]);
    stage.idle("chat");
    stage.tell(Event::PinAsked { name: "chat".into(), pinned: Some(true) });
    stage.wait(300);
    stage.shows("coder", expect![[r#"
        coder is not loaded: nobody has asked this hub for it yet.
        If it were asked for now: it would be refused. It needs 9.0 GiB, pinned models hold 5.0 GiB, and the budget is 12.0 GiB: 2.0 GiB too much. Unpin one.

        IN MEMORY        BYTES             WHAT IT WOULD DO
        chat        5368709120   5.0 GiB   stay: it is pinned, and never leaves for another"#]]);
}

#[test]
fn what_is_in_use_stays() {
    let mut stage = Stage::new(&[("chat", 5), ("small", 2), ("coder", 9)]);
    stage.used("chat");
    stage.want("chat");
    stage.idle("small");
    stage.wait(30);
    stage.shows("coder", expect![[r#"
        coder is not loaded: nobody has asked this hub for it yet.
        If it were asked for now: it would wait until chat (in use by 2 requests) is done: 2.0 GiB would still be missing if every idle model left, and what is in use is never stopped for another.

        IN MEMORY        BYTES             WHAT IT WOULD DO
        chat        5368709120   5.0 GiB   stay: it is in use by 2 requests
        small       2147483648   2.0 GiB   stay (idle for 30s): it could leave, but that is not enough

        THE SUM               BYTES
          in memory      7516192768    7.0 GiB
        + coder          9663676416    9.0 GiB
        = together      17179869184   16.0 GiB
          budget        12884901888   12.0 GiB
          too much by    4294967296    4.0 GiB"#]]);
    let waits = stage.want("coder");
    stage.wait(4);
    stage.shows_request(waits, expect![[r#"
        Request 3 has waited 4s for coder, as number 1 of 1 who wait.
        It waits until chat is done, because 2.0 GiB more are needed than idle models could give.
        Its turn comes in 11s at the latest; until then requests for models that are loaded may overtake it.
        If nothing comes of it, it is refused in 9m 56s."#]]);
    stage.wait(20);
    stage.shows_request(
        waits,
        expect![[r#"
        Request 3 has waited 24s for coder, as number 1 of 1 who wait.
        It waits until chat is done, because 2.0 GiB more are needed than idle models could give.
        Its turn has come: nobody of another model overtakes it any more.
        If nothing comes of it, it is refused in 9m 36s."#]],
    );
}

#[test]
fn whose_turn_has_come_is_first() {
    let mut stage = Stage::new(&[("chat", 5), ("coder", 9), ("deep", 8)]);
    stage.used("chat");
    let first = stage.want("coder");
    stage.wait(20);
    stage.shows(
        "deep",
        expect![[r#"
            deep is not loaded: nobody has asked this hub for it yet.
            If it were asked for now: it would wait behind request 1 for coder, which came first.

            IN MEMORY        BYTES             WHAT IT WOULD DO
            chat        5368709120   5.0 GiB   stay: it is in use by 1 request"#]],
    );
    let second = stage.want("deep");
    stage.wait(1);
    stage.shows_request(
        first,
        expect![[r#"
        Request 1 has waited 21s for coder, as number 1 of 2 who wait.
        It waits until chat is done, because 2.0 GiB more are needed than idle models could give.
        Its turn has come: nobody of another model overtakes it any more.
        If nothing comes of it, it is refused in 9m 39s."#]],
    );
    stage.shows_request(second, expect![[r#"
        Request 2 has waited 1s for deep, as number 2 of 2 who wait.
        It waits until request 1 is served, which came first.
        Its turn comes in 14s at the latest; until then requests for models that are loaded may overtake it.
        If nothing comes of it, it is refused in 9m 59s."#]]);
    stage.shows("chat", expect![[r#"
        chat is loaded, in use by 1 request.
        If it were asked for now: it would wait: 1 request uses it, and no more are let in for the moment, because it is full or another model's turn has come.

        IN MEMORY        BYTES             WHAT IT WOULD DO
        chat        5368709120   5.0 GiB   answer"#]]);
    let newcomer = stage.want("chat");
    stage.shows_request(newcomer, expect![[r#"
        Request 3 has waited 0s for chat, as number 3 of 3 who wait.
        It waits until request 1 is served, for which chat takes nobody in.
        Its turn comes in 15s at the latest; until then requests for models that are loaded may overtake it.
        If nothing comes of it, it is refused in 10m 0s."#]]);
}

#[test]
fn of_a_group_only_one_stays() {
    let mut stage = Stage::new(&[("main-a", 5), ("main-b", 5), ("small", 1)]);
    stage.idle("main-a");
    stage.idle("small");
    stage.wait(300);
    stage.shows("main-b", expect![[r#"
        main-b is not loaded: nobody has asked this hub for it yet.
        If it were asked for now: main-a would leave, and then it would be loaded.

        IN MEMORY        BYTES             WHAT IT WOULD DO
        main-a      5368709120   5.0 GiB   leave (idle for 5m 1s): of the group 'main' only one is in memory at a time
        small       1073741824   1.0 GiB   stay (idle for 5m 0s): the others give enough

        THE SUM               BYTES
          in memory      6442450944    6.0 GiB
        + main-b         5368709120    5.0 GiB
        - what leaves    5368709120    5.0 GiB
        = together       6442450944    6.0 GiB
          budget        12884901888   12.0 GiB"#]]);
    let request = stage.want("main-a");
    stage.shows("main-b", expect![[r#"
        main-b is not loaded: nobody has asked this hub for it yet.
        If it were asked for now: it would wait until main-a (in use by 1 request) is done: of the group 'main' only one model is in memory at a time, and what is in use is never stopped for another.

        IN MEMORY        BYTES             WHAT IT WOULD DO
        main-a      5368709120   5.0 GiB   stay: it is in use by 1 request
        small       1073741824   1.0 GiB   stay (idle for 5m 0s): it is not in the way

        THE SUM             BYTES
          in memory    6442450944    6.0 GiB
        + main-b       5368709120    5.0 GiB
        = together    11811160064   11.0 GiB
          budget      12884901888   12.0 GiB"#]]);
    let waits = stage.want("main-b");
    stage.shows_request(waits, expect![[r#"
        Request 3 has waited 0s for main-b, as number 1 of 1 who wait.
        It waits until main-a is done, which is in use and of the same group.
        Its turn comes in 15s at the latest; until then requests for models that are loaded may overtake it.
        If nothing comes of it, it is refused in 10m 0s."#]]);
    stage.tell(Event::Released { request });
    stage.tell(Event::Abandoned { request: waits });
    stage.tell(Event::PinAsked { name: "main-a".into(), pinned: Some(true) });
    stage.shows("main-b", expect![[r#"
        main-b is not loaded: nobody has asked this hub for it yet.
        If it were asked for now: it would be refused. Of the group 'main' only one model is in memory at a time, and main-a is pinned. Unpin it with: resident unpin main-a

        IN MEMORY        BYTES             WHAT IT WOULD DO
        main-a      5368709120   5.0 GiB   stay: it is pinned, and never leaves for another
        small       1073741824   1.0 GiB   stay (idle for 5m 0s): nothing is started now"#]]);
}

#[test]
fn it_is_too_large() {
    let mut stage = Stage::new(&[("chat", 5), ("huge", 14)]);
    stage.idle("chat");
    stage.shows("huge", expect![[r#"
        huge is not loaded: nobody has asked this hub for it yet.
        If it were asked for now: it would be refused. It needs 14.0 GiB, and all models together may take 12.0 GiB: 2.0 GiB too much even alone. Take a smaller quantization or a shorter context, or raise the budget.

        IN MEMORY        BYTES             WHAT IT WOULD DO
        chat        5368709120   5.0 GiB   stay (idle for 0s): nothing is started now"#]]);
}

#[test]
fn it_failed_too_often() {
    let mut stage = Stage::new(&[("broken", 5)]);
    for _ in 0..3 {
        stage.want("broken");
        stage.gone("broken", "the file ends in the middle of a tensor.");
        stage.wait(5);
    }
    stage.shows("broken", expect![[r#"
        broken is not loaded: it left 5s ago, because it ended by itself: the file ends in the middle of a tensor.
        If it were asked for now: it would be refused. It failed 3 times, so it is left alone for another 55s; the last time because: the file ends in the middle of a tensor. A file that was changed is tried at once."#]]);
}

#[test]
fn another_is_leaving() {
    let mut stage = Stage::new(&[("chat", 5), ("coder", 9)]);
    stage.idle("chat");
    stage.wait(300);
    let waits = stage.want("coder");
    stage.wait(1);
    stage.shows("chat", expect![[r#"
        chat is not loaded: it left 1s ago, because coder needed its memory.
        If it were asked for now: it would wait until those are served who wait already: 9.0 GiB are promised to them, and beside that 2.0 GiB would be missing.

        IN MEMORY        BYTES             WHAT IT WOULD DO
        chat        5368709120   5.0 GiB   leave: it was told to, and counts until its exit is seen

        THE SUM                                      BYTES
          in memory                             5368709120    5.0 GiB
        + promised to those who wait already    9663676416    9.0 GiB
        + chat                                  5368709120    5.0 GiB
        - what leaves                           5368709120    5.0 GiB
        = together                             15032385536   14.0 GiB
          budget                               12884901888   12.0 GiB
          too much by                           2147483648    2.0 GiB"#]]);
    stage.shows_request(waits, expect![[r#"
        Request 1 has waited 1s for coder, as number 1 of 1 who wait.
        It waits until chat is gone, which is leaving.
        Its turn comes in 14s at the latest; until then requests for models that are loaded may overtake it.
        If nothing comes of it, it is refused in 9m 59s."#]]);
    stage.gone("chat", "it ended");
    stage.ready("coder");
    stage.wait(60);
    stage.shows("chat", expect![[r#"
        chat is not loaded: it left 1m 1s ago, because coder needed its memory.
        If it were asked for now: it would wait until coder (in use by 1 request) is done: 2.0 GiB would still be missing if every idle model left, and what is in use is never stopped for another.

        IN MEMORY        BYTES             WHAT IT WOULD DO
        coder       9663676416   9.0 GiB   stay: it is in use by 1 request

        THE SUM               BYTES
          in memory      9663676416    9.0 GiB
        + chat           5368709120    5.0 GiB
        = together      15032385536   14.0 GiB
          budget        12884901888   12.0 GiB
          too much by    2147483648    2.0 GiB"#]]);
}

#[test]
fn it_is_held_for_its_users() {
    let mut stage = Stage::new(&[("chat", 5), ("coder", 9)]);
    stage.idle("chat");
    stage.wait(1);
    stage.shows("coder", expect![[r#"
        coder is not loaded: nobody has asked this hub for it yet.
        If it were asked for now: chat would leave for it in 2s at the latest, and is kept that long for users of its own, who asked a moment ago.

        IN MEMORY        BYTES             WHAT IT WOULD DO
        chat        5368709120   5.0 GiB   leave (idle for 1s): to be without it costs least, 79.9 s of loading an hour

        THE SUM               BYTES
          in memory      5368709120    5.0 GiB
        + coder          9663676416    9.0 GiB
        - what leaves    5368709120    5.0 GiB
        = together       9663676416    9.0 GiB
          budget        12884901888   12.0 GiB"#]]);
    let waits = stage.want("coder");
    stage.wait(1);
    stage.shows_request(waits, expect![[r#"
        Request 1 has waited 1s for coder, as number 1 of 1 who wait.
        It waits until chat leaves for it, in 1s at the latest: so long it is kept for users of its own.
        Its turn comes in 14s at the latest; until then requests for models that are loaded may overtake it.
        If nothing comes of it, it is refused in 9m 59s."#]]);
}

#[test]
fn a_dear_one_is_spared_while_a_cheap_one_is_in_use() {
    let mut stage = Stage::new(&[("chat", 5), ("voice", 5), ("coder", 5)]);
    stage.idle("chat");
    for _ in 0..5 {
        let request = stage.want("chat");
        stage.wait(1);
        stage.tell(Event::Released { request });
    }
    stage.used("voice");
    stage.wait(10);
    stage.shows("coder", expect![[r#"
        coder is not loaded: nobody has asked this hub for it yet.
        If it were asked for now: it would wait until voice is idle, for 15s at most: what is idle now is dearer to be without.

        IN MEMORY        BYTES             WHAT IT WOULD DO
        chat        5368709120   5.0 GiB   stay (idle for 10s): to be without it costs more, 878.4 s of loading an hour
        voice       5368709120   5.0 GiB   stay: it is in use by 1 request"#]]);
    let waits = stage.want("coder");
    stage.wait(1);
    stage.shows_request(waits, expect![[r#"
        Request 7 has waited 1s for coder, as number 1 of 1 who wait.
        It waits until voice is idle, for 14s at most: what is idle now is dearer to be without.
        Its turn comes in 14s at the latest; until then requests for models that are loaded may overtake it.
        If nothing comes of it, it is refused in 9m 59s."#]]);
}

#[test]
fn the_machine_itself_is_short_of_memory() {
    let mut stage = Stage::new(&[("chat", 5), ("coder", 3)]);
    stage.idle("chat");
    stage.used("coder");
    stage.wait(60);
    stage.tell(Event::Pressure { level: Pressure::Full });
    stage.gone("chat", "it ended");
    stage.wait(10);
    stage.shows("chat", expect![[r#"
        chat is not loaded: it left 10s ago, because the machine itself was short of memory.
        The machine itself is short of memory, whatever is booked here: idle models leave one by one until it is not.
        If it were asked for now: it would wait until coder is gone or the machine has enough memory again: until then nothing is loaded beside another.

        IN MEMORY        BYTES             WHAT IT WOULD DO
        coder       3221225472   3.0 GiB   stay: it is in use by 1 request"#]]);
    let waits = stage.want("chat");
    stage.wait(1);
    stage.shows_request(waits, expect![[r#"
        Request 2 has waited 1s for chat, as number 1 of 1 who wait.
        It waits until coder is gone or the machine itself, which is short of memory, has enough again.
        Its turn comes in 14s at the latest; until then requests for models that are loaded may overtake it.
        If nothing comes of it, it is refused in 9m 59s."#]]);
}

#[test]
fn it_left_for_other_reasons() {
    let mut stage = Stage::new(&[("chat", 5)]);
    stage.idle("chat");
    stage.wait(600);
    stage.gone("chat", "it ended");
    stage.wait(3_600);
    stage.shows(
        "chat",
        expect![[r#"
        chat is not loaded: it left 1h 0m ago, because nobody had used it for its time.
        If it were asked for now: it would be loaded at once: there is room.

        THE SUM             BYTES
          in memory             0        0 B
        + chat         5368709120    5.0 GiB
        = together     5368709120    5.0 GiB
          budget      12884901888   12.0 GiB"#]],
    );
    stage.idle("chat");
    stage.gone("chat", "killed by signal 9\n");
    stage.shows(
        "chat",
        expect![[r#"
        chat is not loaded: it left 0s ago, because it ended by itself: killed by signal 9.
        If it were asked for now: it would be loaded at once: there is room.

        THE SUM             BYTES
          in memory             0        0 B
        + chat         5368709120    5.0 GiB
        = together     5368709120    5.0 GiB
          budget      12884901888   12.0 GiB"#]],
    );
}

#[test]
fn the_sums_add_up_to_the_byte() {
    let mut stage = Stage::new(&[("chat", 5), ("small", 2), ("coder", 9)]);
    stage.idle("chat");
    stage.idle("small");
    stage.wait(300);
    let explanation = stage.fleet.what_if(When(stage.now), &model("coder"), &stage.sizes["coder"]);
    let open = stage.requests();
    let explained = Explained { model: "coder".to_owned(), explanation };
    let lines = of_model(&explained, &open, Paint::plain());
    let figure = |label: &str| -> u64 {
        let line = lines.iter().find(|line| line.starts_with(label)).unwrap();
        line[label.len()..].split_whitespace().next().unwrap().parse().unwrap()
    };
    let together = figure("= together");
    assert_eq!(figure("  in memory") + figure("+ coder") - figure("- what leaves"), together);
    assert_eq!(figure("chat") + figure("small"), figure("  in memory"));
    assert!(together <= figure("  budget"));
}

/// What a role that begins with `fast` would do with a short request.
fn explained_role(standings: &[(&str, Standing)], candidates: &[&str], expected: Expect) {
    let role = |names: &[&str]| Role {
        candidates: names.iter().map(|name| Candidate::new(*name)).collect(),
        prefer_resident: None,
    };
    let names: Vec<&str> = candidates.iter().copied().filter(|name| *name != "fast").collect();
    let by_name = [("daily", role(candidates)), ("fast", role(&["gemma"]))];
    let by_name = by_name.map(|(name, role)| (name.to_owned(), role)).into();
    let known: Vec<&str> = names.into_iter().chain(["gemma"]).collect();
    let roles = check(by_name, &known).unwrap();
    let state = |(size, (name, standing)): (u64, &(&str, Standing))| {
        let state = State {
            kinds: vec![Kind::Generate],
            context_tokens: Some(4096),
            tools: true,
            images: false,
            sounds: false,
            json_schema: false,
            size_bytes: Some(size << 30),
            standing: standing.clone(),
        };
        ((*name).to_owned(), state)
    };
    let states = (1..).zip(standings).map(state).collect();
    let ask = Ask::generate(Tokens::default());
    let choice = roles.choose("daily", &ask, &states, true).unwrap();
    let outlook = Outlook { kind: ask.kind, choice };
    let explained = ExplainedRole::new("daily".to_owned(), &outlook);
    expected.assert_eq(&of_role(&explained, Paint::plain()).join("\n"));
}

#[test]
fn a_role_says_who_serves_it_and_why_not_another() {
    let retry_in = Duration::from_secs(40);
    explained_role(
        &[
            ("qwen3-8b", Standing::Loadable),
            ("gemma", Standing::Resident),
            ("broken", Standing::CoolingOff { retry_in }),
        ],
        &["qwen3-8b", "fast", "broken", "gone"],
        expect![[r#"
            daily is a role. A short request to generate text would go to gemma.

                MODEL      WHY
            1   gemma      in memory already and no smaller than qwen3-8b (2.0 GiB against 1.0 GiB), through fast
            2   qwen3-8b   next in the role
            -   broken     kept failing and is left alone for 40 s more
            -   gone       not installed

            `resident explain MODEL` says more of each."#]],
    );
}

#[test]
fn a_role_that_nobody_serves_says_why() {
    explained_role(
        &[("broken", Standing::Unusable { why: "broken.gguf is truncated".to_owned() })],
        &["broken", "gone"],
        expect![[r#"
            daily is a role. A short request to generate text would be refused: none of its models can serve it.

                MODEL    WHY
            -   broken   cannot be used: broken.gguf is truncated
            -   gone     not installed

            `resident explain MODEL` says more of each."#]],
    );
}
