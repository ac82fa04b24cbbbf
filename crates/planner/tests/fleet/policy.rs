//! One story for each rule of policy: groups, pins, keep-alive, the warm model, holding, priorities,
//! failed loads, pressure, a policy that changes.

use std::time::Duration;

use planner::fleet::{
    Action, Cause, Event, Pressure, Priority, Refusal, RequestId, Standing, StopReason, Turn,
    Verdict, WaitingFor, WorkerId,
    limits::{
        BACKGROUND_FAIR_WAIT, BACKGROUND_WAITING_MAX, FAIR_WAIT, LOAD_FAILURES_MAX,
        PRESSURE_SETTLES, WARM_AFTER_IDLE,
    },
};

use crate::{
    machine::{Fate, Machine, Nature, Want, name, terms},
    stories::{FOR_EVER, IDLE_UNLOAD, SECOND, machine, refusals, stopped},
};

/// A machine with 100 bytes, two models in a group and one outside.
fn grouped() -> Machine {
    let in_group = |bytes| Nature { group: Some('a'), ..Nature::of(bytes) };
    let mut machine = Machine::new(100, IDLE_UNLOAD, &[in_group(30), in_group(40), Nature::of(20)]);
    machine.set_policy(100, &['a']);
    machine
}

fn background(model: usize) -> Want {
    Want { model, uses_for: SECOND, priority: Priority::Background, keep_alive: None }
}

fn kept_alive(model: usize, keep_alive: Duration) -> Want {
    let priority = Priority::Interactive;
    Want { model, uses_for: SECOND, priority, keep_alive: Some(keep_alive) }
}

fn started(machine: &Machine) -> Vec<String> {
    let started = |action: &Action| match action {
        Action::Start { model, .. } => Some(model.name.to_string()),
        Action::Stop { .. }
        | Action::Grant { .. }
        | Action::Refuse { .. }
        | Action::Trim { .. } => None,
    };
    machine.log.iter().filter_map(|(_, action)| started(action)).collect()
}

fn trimmed(machine: &Machine) -> usize {
    machine.log.iter().filter(|(_, action)| matches!(action, Action::Trim { .. })).count()
}

#[test]
fn of_an_exclusive_group_one_is_resident_and_the_next_loads_while_it_leaves() {
    let mut machine = grouped();
    machine.want(2, SECOND);
    machine.want(0, SECOND);
    machine.advance(SECOND * 60);
    machine.want(1, SECOND);
    assert_eq!(stopped(&machine, StopReason::Evicted), ["0"], "there is memory for both");
    assert_eq!(started(&machine), ["2", "0", "1"], "nothing but the place was in the way");
    machine.settle();
}

#[test]
fn whoever_waits_for_a_place_in_a_group_gets_it_in_turn() {
    let mut machine = grouped();
    machine.want(0, FOR_EVER);
    machine.advance(SECOND * 3);
    let other = machine.want(1, SECOND * 9);
    machine.advance(FAIR_WAIT);
    let newcomer = machine.want(0, SECOND);
    assert!(machine.waits(newcomer), "the turn of the other has come");
    let verdict = machine.explain(1).verdict;
    assert_eq!(verdict, Verdict::Blocked { missing_bytes: 0, workers: vec![WorkerId(0)] });
    machine.crash(0);
    machine.advance(SECOND * 3);
    assert!(machine.is_using(other) && machine.waits(newcomer));
    machine.settle();
}

#[test]
fn a_group_that_becomes_exclusive_empties_as_its_members_become_idle() {
    let mut machine = grouped();
    machine.set_policy(100, &[]);
    machine.want(0, SECOND * 30);
    machine.want(1, SECOND * 60);
    machine.advance(SECOND * 10);
    machine.set_policy(100, &['a']);
    assert_eq!(stopped(&machine, StopReason::Evicted), Vec::<String>::new());
    machine.advance(SECOND * 30);
    assert_eq!(stopped(&machine, StopReason::Evicted), ["0"]);
    machine.settle();
}

#[test]
fn a_pinned_model_never_leaves_and_what_needs_its_room_is_refused_with_the_sum() {
    let mut machine = machine(&[60, 50, 40]);
    machine.pin(0, Some(true));
    machine.want(0, SECOND);
    machine.advance(IDLE_UNLOAD * 2);
    assert_eq!(machine.fleet().unload_at(WorkerId(0)), None);
    let hopeless = machine.want(1, SECOND);
    let (needed_bytes, pinned_bytes, budget_bytes) = (50, 60, 100);
    let sum = Refusal::Pins { needed_bytes, pinned_bytes, budget_bytes };
    assert_eq!(refusals(&machine), [(hopeless, sum)]);
    let fits = machine.want(2, SECOND * 9);
    machine.advance(SECOND * 3);
    assert!(machine.is_using(fits));
    let explanation = machine.explain(2);
    assert_eq!(explanation.holders[0].standing, Standing::Pinned);
    machine.pin(0, None);
    machine.advance(SECOND);
    assert_eq!(stopped(&machine, StopReason::Idle), ["0"], "its time was over long ago");
    machine.settle();
}

#[test]
fn the_operator_s_word_on_a_pin_wins_over_the_terms() {
    let pinned = Nature { pinned: true, ..Nature::of(60) };
    let mut machine = Machine::new(100, IDLE_UNLOAD, &[pinned, Nature::of(60)]);
    machine.want(0, SECOND);
    machine.advance(SECOND * 3);
    machine.want(1, SECOND);
    assert_eq!(refusals(&machine).len(), 1);
    machine.pin(0, Some(false));
    let other = machine.want(1, SECOND);
    machine.advance(SECOND * 20);
    assert_eq!(
        (stopped(&machine, StopReason::Evicted), machine.waits(other)),
        (vec!["0".into()], false)
    );
    machine.settle();
}

#[test]
fn a_pin_refuses_those_who_wait_already() {
    let mut machine = machine(&[60, 60]);
    machine.want(0, FOR_EVER);
    machine.advance(SECOND * 3);
    let waiter = machine.want(1, SECOND);
    assert!(machine.waits(waiter));
    machine.pin(0, Some(true));
    let [(refused, Refusal::Pins { .. })] = refusals(&machine)[..] else { panic!("not refused") };
    assert_eq!(refused, waiter);
}

#[test]
fn a_pinned_member_closes_its_group() {
    let mut machine = grouped();
    machine.pin(0, Some(true));
    machine.want(0, SECOND);
    let refused = machine.want(1, SECOND);
    let reason = Refusal::PinnedGroup { group: "a".into(), holder: "0".into() };
    assert_eq!(refusals(&machine), [(refused, reason)]);
    machine.settle();
}

#[test]
fn a_request_says_how_long_its_worker_stays_and_the_next_one_may_say_otherwise() {
    let mut machine = machine(&[30]);
    machine.want_so(kept_alive(0, SECOND * 5));
    machine.advance(SECOND * 7);
    machine.want(0, SECOND);
    machine.advance(IDLE_UNLOAD);
    assert_eq!(stopped(&machine, StopReason::Idle), Vec::<String>::new());
    machine.want_so(kept_alive(0, Duration::ZERO));
    machine.advance(SECOND);
    assert_eq!(stopped(&machine, StopReason::Idle), ["0"], "it leaves with its last lease");
    machine.settle();
}

#[test]
fn a_model_s_own_time_wins_over_the_policy_s() {
    let natures =
        [SECOND * 9, FOR_EVER].map(|time| Nature { idle_unload: Some(time), ..Nature::of(30) });
    let mut machine = Machine::new(100, IDLE_UNLOAD, &natures);
    machine.want(0, SECOND);
    machine.want(1, SECOND);
    machine.advance(SECOND * 3 + SECOND * 9);
    assert_eq!(stopped(&machine, StopReason::Idle), ["0"]);
    machine.advance(IDLE_UNLOAD * 10);
    assert_eq!(stopped(&machine, StopReason::Idle), ["0"]);
}

#[test]
fn the_warm_model_is_there_at_once_and_again_when_the_machine_was_idle() {
    let mut machine = machine(&[60, 60]);
    machine.choose_warm(Some(0));
    assert_eq!(started(&machine), ["0"]);
    machine.advance(IDLE_UNLOAD * 2);
    assert_eq!(stopped(&machine, StopReason::Idle), Vec::<String>::new(), "it stays warm");
    machine.want(1, SECOND);
    machine.advance(WARM_AFTER_IDLE - SECOND);
    assert_eq!(started(&machine), ["0", "1"]);
    // The exits of both take a second.
    machine.advance(SECOND * 3);
    assert_eq!(started(&machine), ["0", "1", "0"]);
    assert_eq!(stopped(&machine, StopReason::Evicted), ["0", "1"]);
    machine.operator_stops(0);
    machine.advance(WARM_AFTER_IDLE * 3);
    assert_eq!(started(&machine).len(), 3, "the operator's stop holds until somebody wants it");
    machine.want(0, SECOND);
    machine.settle();
}

#[test]
fn the_warm_model_takes_nothing_that_is_in_use() {
    let mut machine = machine(&[60, 60]);
    machine.want(1, WARM_AFTER_IDLE * 2);
    machine.advance(SECOND * 3);
    machine.choose_warm(Some(0));
    machine.advance(WARM_AFTER_IDLE + SECOND * 60);
    assert_eq!(started(&machine), ["1"]);
    machine.advance(WARM_AFTER_IDLE);
    assert_eq!(started(&machine), ["1", "0"]);
}

#[test]
fn a_model_that_was_just_used_is_held_once_and_a_lone_client_is_not_held_up_for_long() {
    let natures = [60, 60].map(|bytes| Nature { load_time: SECOND * 4, ..Nature::of(bytes) });
    let mut machine = Machine::new(100, IDLE_UNLOAD, &natures);
    let mut waits = Vec::new();
    for model in [0, 1, 0, 1, 0, 1, 0, 1] {
        let since = machine.now;
        let request = machine.want(model, SECOND);
        while machine.waits(request) {
            machine.advance(SECOND / 2);
        }
        waits.push((machine.now - since).as_secs());
        machine.advance(SECOND);
    }
    // Exit and load take three seconds.
    assert_eq!(waits, [2, 7, 7, 7, 7, 3, 3, 3], "each switch that nobody minded is held less");
}

#[test]
fn two_clients_who_take_turns_are_served_several_at_a_time() {
    let natures = [60, 60].map(|bytes| Nature { load_time: SECOND * 4, ..Nature::of(bytes) });
    let mut machine = Machine::new(100, IDLE_UNLOAD, &natures);
    for _ in 0..100 {
        machine.want(0, SECOND / 2);
        machine.advance(SECOND * 2);
        machine.want(1, SECOND / 2);
        machine.advance(SECOND * 2);
    }
    machine.settle();
    assert!(machine.starts() < 30, "{} loads for 200 requests in 400 s", machine.starts());
    assert!(machine.longest_excess <= SECOND * 10, "{:?}", machine.longest_excess);
}

#[test]
fn the_cheaper_one_to_bring_back_leaves_though_it_was_used_later() {
    let dear = Nature { load_time: SECOND * 30, ..Nature::of(50) };
    let cheap = Nature { load_time: SECOND * 2, ..Nature::of(50) };
    let mut machine = Machine::new(100, IDLE_UNLOAD, &[dear, cheap, Nature::of(40)]);
    machine.want(0, SECOND);
    machine.advance(SECOND * 20);
    machine.want(1, SECOND);
    machine.advance(SECOND * 20);
    let explanation = machine.fleet().what_if(machine.when(), &name(2), &terms(&Nature::of(40)));
    assert_eq!(explanation.verdict, Verdict::StartedAfterStopping(vec![WorkerId(1)]));
    let [first, second] = &explanation.holders[..] else { panic!("{explanation:?}") };
    assert_eq!((first.standing, second.standing), (Standing::Spared, Standing::Chosen));
    assert!(first.cost_ms_per_hour > second.cost_ms_per_hour * 5);
    machine.want(2, SECOND);
    assert_eq!(stopped(&machine, StopReason::Evicted), ["1"]);
    let departure = machine.explain(1).departure.unwrap();
    let cause = Cause::Stopped { why: StopReason::Evicted, for_model: Some(name(2)) };
    assert_eq!((departure.when, departure.cause), (machine.when(), cause));
}

#[test]
fn a_dear_idle_model_is_spared_while_a_cheap_one_is_in_use_but_not_past_a_turn() {
    let dear = Nature { load_time: SECOND * 30, ..Nature::of(50) };
    let cheap = Nature { load_time: SECOND * 2, ..Nature::of(50) };
    let mut machine = Machine::new(100, IDLE_UNLOAD, &[dear, cheap, Nature::of(40)]);
    machine.want(0, SECOND);
    machine.want(1, FOR_EVER);
    machine.advance(SECOND * 60);
    let request = machine.want(2, SECOND);
    let Some(Turn::Waiting(wait)) = machine.fleet().explain_request(machine.when(), request) else {
        panic!("it waits")
    };
    let waiting_for = WaitingFor::Sparing { workers: vec![WorkerId(1)], ends_in: FAIR_WAIT };
    assert_eq!((wait.place, wait.waiting_for), (1, waiting_for));
    machine.advance(FAIR_WAIT - SECOND);
    assert_eq!(stopped(&machine, StopReason::Evicted), Vec::<String>::new());
    machine.advance(SECOND);
    assert_eq!(stopped(&machine, StopReason::Evicted), ["0"]);
}

#[test]
fn interactive_requests_come_first_and_background_ones_come_too() {
    let mut machine = machine(&[60, 60, 60]);
    machine.want(0, SECOND * 10);
    machine.advance(SECOND * 3);
    let patient = machine.want_so(background(1));
    machine.advance(SECOND);
    let person = machine.want(2, SECOND * 9);
    machine.advance(SECOND * 14);
    assert!(machine.is_using(person) && machine.waits(patient), "{:?}", started(&machine));
    // People keep coming, and each would go first.
    let since = machine.now;
    for round in 0.. {
        if !machine.waits(patient) {
            break;
        }
        machine.want(if round % 2 == 0 { 0 } else { 2 }, SECOND * 3);
        machine.advance(SECOND * 2);
    }
    let waited = machine.now - since;
    assert!(waited <= BACKGROUND_FAIR_WAIT + SECOND * 15, "{waited:?}");
    machine.settle();
}

#[test]
fn the_background_cannot_fill_the_queue() {
    let mut machine = machine(&[60, 60]);
    machine.want(0, FOR_EVER);
    machine.advance(SECOND * 3);
    for _ in 0..BACKGROUND_WAITING_MAX {
        machine.want_so(background(1));
    }
    let refused = machine.want_so(background(1));
    let full = Refusal::QueueFull { limit: BACKGROUND_WAITING_MAX };
    assert_eq!(refusals(&machine), [(refused, full)]);
    let person = machine.want(1, SECOND);
    assert!(machine.waits(person));
}

#[test]
fn what_left_for_a_load_that_failed_comes_back() {
    let mut machine = machine(&[60, 70]);
    machine.fates = vec![Fate::default(), Fate { fails: true, ..Fate::default() }];
    machine.want(0, SECOND);
    machine.advance(SECOND * 20);
    machine.want(1, SECOND);
    machine.advance(SECOND * 3);
    assert_eq!(started(&machine), ["0", "1", "0"]);
    assert_eq!(refusals(&machine).len(), 1);
    machine.settle();
}

#[test]
fn a_worker_that_dies_at_its_first_request_each_time_is_left_alone() {
    let mut machine = machine(&[60]);
    for _ in 0..LOAD_FAILURES_MAX {
        machine.want(0, FOR_EVER);
        machine.advance(SECOND * 3);
        machine.crash(0);
    }
    machine.want(0, SECOND);
    let [(_, Refusal::CoolingOff { failures, .. })] = refusals(&machine)[..] else {
        panic!("{:?}", refusals(&machine))
    };
    assert_eq!(failures, LOAD_FAILURES_MAX);
}

#[test]
fn what_a_model_was_seen_to_hold_is_what_it_is_promised_next() {
    let grows = Nature { real_bytes: 80, ..Nature::of(40) };
    let mut machine = Machine::new(100, IDLE_UNLOAD, &[grows, Nature::of(50)]);
    machine.want(0, SECOND);
    machine.advance(SECOND * 3);
    machine.operator_stops(0);
    machine.advance(SECOND * 3);
    machine.want(1, FOR_EVER);
    let blocked = machine.want(0, SECOND);
    assert!(machine.waits(blocked), "40 were free, but it takes 80");
    let explanation = machine.explain(0);
    assert_eq!(explanation.needed_bytes, 80);
}

#[test]
fn under_pressure_workers_trim_and_then_idle_ones_leave_one_at_a_time() {
    let natures = [SECOND * 9, SECOND * 3].map(|load_time| Nature { load_time, ..Nature::of(30) });
    let mut machine = Machine::new(100, IDLE_UNLOAD, &natures);
    machine.want(0, SECOND);
    machine.want(1, SECOND);
    machine.advance(SECOND * 5);
    machine.press(Pressure::Some);
    machine.press(Pressure::Some);
    assert_eq!((trimmed(&machine), stopped(&machine, StopReason::Pressure).len()), (2, 0));
    machine.press(Pressure::Full);
    assert_eq!(stopped(&machine, StopReason::Pressure), ["1"], "the cheaper one");
    machine.advance(SECOND + PRESSURE_SETTLES - SECOND / 10);
    assert_eq!(stopped(&machine, StopReason::Pressure), ["1"]);
    machine.advance(SECOND / 10);
    assert_eq!(stopped(&machine, StopReason::Pressure), ["1", "0"]);
    machine.press(Pressure::Calm);
    machine.want(0, SECOND);
    machine.advance(SECOND * 5);
    machine.press(Pressure::Some);
    assert_eq!(trimmed(&machine), 3, "once in each time of pressure");
}

/// Nothing is won by its leaving, so it leaves only when nobody has used it for its time, however
/// much others want room and however short of memory the machine is.
#[test]
fn what_holds_nothing_leaves_for_nobody_but_does_leave_when_it_is_idle() {
    let mut machine = machine(&[0, 60, 60]);
    for model in [0, 1, 2] {
        machine.want(model, SECOND);
        machine.advance(SECOND * 20);
    }
    assert_eq!(stopped(&machine, StopReason::Evicted), ["1"]);
    machine.set_policy(50, &[]);
    assert_eq!(stopped(&machine, StopReason::Evicted), ["1", "2"]);
    machine.press(Pressure::Full);
    machine.advance(PRESSURE_SETTLES * 3);
    assert_eq!(stopped(&machine, StopReason::Pressure), [""; 0]);
    machine.press(Pressure::Calm);
    machine.advance(IDLE_UNLOAD);
    assert_eq!(stopped(&machine, StopReason::Idle), ["0"]);
}

#[test]
fn what_is_in_use_and_holds_nothing_is_not_closed_to_newcomers() {
    let mut machine = machine(&[0, 80, 80]);
    let slow = Fate { load: FAIR_WAIT * 3, ..Fate::default() };
    machine.fates = vec![Fate::default(), slow];
    machine.want(0, FAIR_WAIT * 3);
    machine.want(1, SECOND);
    // Nobody in use could give enough, so all who could give anything are closed.
    machine.want(2, SECOND);
    machine.advance(FAIR_WAIT * 2);
    let newcomer = machine.want(0, SECOND);
    assert!(machine.is_using(newcomer));
    machine.settle();
}

#[test]
fn while_the_machine_is_about_to_swap_nothing_starts_beside_what_can_still_leave() {
    let mut machine = machine(&[20, 20, 20]);
    machine.want(0, SECOND);
    let used = machine.want(1, SECOND * 30);
    machine.advance(SECOND * 5);
    machine.press(Pressure::Full);
    let waits = machine.want(2, SECOND);
    assert_eq!(started(&machine), ["0", "1"], "there is room by the books");
    let Some(Turn::Waiting(wait)) = machine.fleet().explain_request(machine.when(), waits) else {
        panic!("it waits")
    };
    assert_eq!(wait.waiting_for, WaitingFor::Pressure(vec![WorkerId(0), WorkerId(1)]));
    let verdict = machine.fleet().what_if(machine.when(), &name(2), &terms(&Nature::of(20)));
    assert_eq!(verdict.verdict, Verdict::Pressed(vec![WorkerId(0), WorkerId(1)]));
    machine.advance(SECOND * 20);
    assert_eq!(stopped(&machine, StopReason::Pressure), ["0"]);
    assert!(machine.waits(waits) && machine.is_using(used), "what is in use is let finish");
    let newcomer = machine.want(1, SECOND);
    assert!(machine.waits(newcomer), "the turn of the other has come");
    machine.settle();
    assert_eq!(started(&machine)[2..], ["2", "1"], "one at a time");
    assert_eq!(refusals(&machine), []);
}

#[test]
fn a_machine_that_others_fill_still_serves_one_model_and_what_is_pinned() {
    let mut machine = machine(&[20, 20]);
    machine.pin(0, Some(true));
    machine.press(Pressure::Full);
    machine.want(0, SECOND);
    machine.advance(SECOND * 5);
    let other = machine.want(1, SECOND * 9);
    assert_eq!(started(&machine), ["0", "1"], "the pinned one never leaves, so nothing is won");
    machine.advance(SECOND * 5);
    assert!(machine.is_using(other));
    machine.settle();
}

#[test]
fn what_waits_because_the_machine_is_short_starts_when_it_is_not() {
    let mut machine = machine(&[20, 20]);
    machine.want(0, FOR_EVER);
    machine.advance(SECOND * 5);
    machine.press(Pressure::Full);
    machine.want(1, SECOND);
    machine.advance(SECOND);
    assert_eq!(started(&machine), ["0"]);
    machine.press(Pressure::Some);
    assert_eq!(started(&machine), ["0", "1"]);
    machine.settle();
}

#[test]
fn a_smaller_budget_stops_nothing_that_is_in_use() {
    let mut machine = machine(&[60, 30, 70]);
    machine.want(0, SECOND * 30);
    machine.want(1, SECOND);
    machine.advance(SECOND * 10);
    let too_large = machine.want(2, SECOND);
    machine.set_policy(50, &[]);
    assert_eq!(stopped(&machine, StopReason::Evicted), ["1"]);
    let reason = Refusal::TooLarge { needed_bytes: 70, budget_bytes: 50 };
    assert_eq!(refusals(&machine), [(too_large, reason)], "it can never be now");
    machine.advance(SECOND * 30);
    assert_eq!(stopped(&machine, StopReason::Evicted), ["1", "0"]);
    assert_eq!(machine.fleet().budget_bytes(), 50);
    machine.settle();
}

#[test]
fn a_request_can_be_told_where_it_stands() {
    let mut machine = machine(&[60, 60, 101]);
    let using = machine.want(0, FOR_EVER);
    let explain = |machine: &Machine, request: RequestId| {
        machine.fleet().explain_request(machine.when(), request)
    };
    let Some(Turn::Waiting(loading)) = explain(&machine, using) else { panic!("it loads") };
    assert_eq!(loading.waiting_for, WaitingFor::Load(WorkerId(0)));
    assert_eq!(loading.refused_in, None, "a load has its own end");
    machine.advance(SECOND * 3);
    assert_eq!(explain(&machine, using), Some(Turn::Using(WorkerId(0))));
    let other = machine.want(1, SECOND);
    machine.advance(SECOND * 5);
    let Some(Turn::Waiting(wait)) = explain(&machine, other) else { panic!("it waits") };
    assert_eq!((wait.place, wait.waited, wait.turn_in), (1, SECOND * 5, FAIR_WAIT - SECOND * 5));
    assert_eq!(wait.refused_in, Some(SECOND * 595));
    let workers = vec![WorkerId(0)];
    assert_eq!(wait.waiting_for, WaitingFor::InUse { missing_bytes: 20, workers });
    machine.advance(FAIR_WAIT);
    let newcomer = machine.want(0, SECOND);
    let Some(Turn::Waiting(wait)) = explain(&machine, newcomer) else { panic!("it waits") };
    let drained = WaitingFor::Drained { worker: WorkerId(0), behind: other };
    assert_eq!((wait.place, wait.waiting_for), (2, drained));
    let refused = machine.want(2, SECOND);
    assert_eq!(explain(&machine, refused), None);
    machine.operator_stops(0);
    let Some(Turn::Waiting(wait)) = explain(&machine, other) else { panic!("it waits") };
    assert_eq!(wait.waiting_for, WaitingFor::Exits(vec![WorkerId(0)]));
    machine.settle();
}

#[test]
fn what_a_client_makes_up_is_not_remembered_for_ever() {
    use planner::fleet::{Fleet, Model, limits::REMEMBERED_MODELS_MAX};
    let policy = machine(&[]).policy;
    let mut fleet = Fleet::new(policy);
    let wanted = |version: u64| Event::Wanted {
        request: RequestId(version),
        model: Model { name: "changing".into(), version },
        terms: terms(&Nature::of(101)),
        priority: Priority::Interactive,
        keep_alive: None,
    };
    let models = REMEMBERED_MODELS_MAX as u64;
    let moment = |second: u64| planner::fleet::When(SECOND * u32::try_from(second).unwrap());
    for version in 0..=models {
        fleet.handle(moment(version), wanted(version), &mut Vec::new());
    }
    let written = serde_json::to_value(&fleet).unwrap();
    let remembered = written["habits"]["models"].as_array().unwrap();
    let versions = remembered.iter().filter_map(|pair| pair[0]["version"].as_u64());
    assert!(versions.eq(1..=models), "the oldest is forgotten");
}

#[test]
fn what_is_not_served_any_more_leaves_with_its_last_user_pinned_or_not() {
    let mut machine = machine(&[60, 50]);
    machine.pin(0, Some(true));
    let user = machine.want(0, SECOND * 30);
    machine.advance(SECOND * 3);
    machine.withdraw(0);
    assert!(machine.is_using(user), "nobody is cut off");
    let other = machine.want(1, SECOND);
    assert_eq!(refusals(&machine), [], "a pin that is promised to nobody is in nobody's way");
    machine.advance(SECOND * 40);
    assert_eq!(stopped(&machine, StopReason::Withdrawn), ["0"]);
    assert!(!machine.waits(other));
    // Whoever wants it again has it served again.
    machine.want(0, SECOND);
    machine.advance(SECOND * 40);
    assert!(machine.has_live(0), "it is pinned again");
    machine.settle();
}

#[test]
fn whoever_waits_for_what_is_withdrawn_is_still_served_by_it() {
    let mut machine = machine(&[60]);
    let early = machine.want(0, SECOND);
    machine.withdraw(0);
    machine.advance(SECOND * 2);
    assert!(machine.is_using(early));
    machine.advance(SECOND * 3);
    assert_eq!(stopped(&machine, StopReason::Withdrawn), ["0"]);
    machine.choose_warm(Some(0));
    machine.withdraw(0);
    machine.advance(WARM_AFTER_IDLE * 2);
    assert!(!machine.has_live(0), "nor is it kept warm");
    machine.settle();
}

#[test]
fn budget_and_pins_change_in_one_step() {
    let pinned = Nature { pinned: true, ..Nature::of(60) };
    let mut machine = Machine::new(100, IDLE_UNLOAD, &[pinned, Nature::of(40)]);
    machine.want(0, SECOND);
    machine.advance(SECOND * 3);
    machine.want(0, SECOND * 20);
    let waiting = machine.want(1, SECOND);
    machine.natures[0].pinned = false;
    machine.reconfigure(70, 0, true);
    assert_eq!(refusals(&machine), [], "neither alone would have left room for it");
    machine.advance(SECOND * 60);
    assert!(!machine.waits(waiting));
    machine.settle();
}
