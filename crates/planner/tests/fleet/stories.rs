//! One story for each rule of the fleet.

use std::time::Duration;

use planner::fleet::{
    Action, Refusal, RequestId, Standing, StopReason, Verdict,
    limits::{
        COOL_OFF, FAIR_WAIT, LEASES_PER_WORKER_MAX, LOAD_FAILURES_MAX, WAIT_MAX, WAITING_MAX,
    },
};

use crate::machine::{Fate, Machine, Nature, name, terms};

pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const FOR_EVER: Duration = Duration::MAX;
pub(crate) const IDLE_UNLOAD: Duration = Duration::from_secs(600);

/// A machine with 100 bytes and models of these sizes.
pub(crate) fn machine(sizes: &[u64]) -> Machine {
    let natures: Vec<Nature> = sizes.iter().map(|bytes| Nature::of(*bytes)).collect();
    Machine::new(100, IDLE_UNLOAD, &natures)
}

pub(crate) fn refusals(machine: &Machine) -> Vec<(RequestId, Refusal)> {
    let refusal = |action: &Action| match action {
        Action::Refuse { request, reason } => Some((*request, reason.clone())),
        Action::Start { .. } | Action::Stop { .. } | Action::Grant { .. } | Action::Trim { .. } => {
            None
        }
    };
    machine.log.iter().filter_map(|(_, action)| refusal(action)).collect()
}

/// Models that were stopped for this reason, in order.
pub(crate) fn stopped(machine: &Machine, reason: StopReason) -> Vec<String> {
    let mut models = std::collections::BTreeMap::new();
    let mut stopped = Vec::new();
    for (_, action) in &machine.log {
        match action {
            Action::Start { worker, model } => drop(models.insert(*worker, model.name.to_string())),
            Action::Stop { worker, why } if *why == reason => stopped.push(models[worker].clone()),
            Action::Stop { .. }
            | Action::Grant { .. }
            | Action::Refuse { .. }
            | Action::Trim { .. } => {}
        }
    }
    stopped
}

#[test]
fn the_least_recently_used_leaves_and_only_as_many_as_needed() {
    let mut machine = machine(&[30, 30, 30, 50]);
    for model in [0, 1, 2, 0] {
        machine.want(model, SECOND);
        machine.advance(SECOND * 10);
    }
    let newcomer = machine.want(3, SECOND);
    assert_eq!(stopped(&machine, StopReason::Evicted), ["1", "2"]);
    machine.advance(SECOND * 3);
    assert!(machine.is_using(newcomer));
    machine.settle();
}

#[test]
fn one_that_is_not_in_the_way_stays_though_it_was_used_before_the_one_that_is() {
    let mut machine = machine(&[10, 80, 60]);
    for model in [0, 1] {
        machine.want(model, SECOND);
        machine.advance(SECOND * 10);
    }
    machine.want(2, SECOND);
    assert_eq!(stopped(&machine, StopReason::Evicted), ["1"]);
    machine.settle();
}

#[test]
fn nothing_is_evicted_for_what_would_not_fit_anyway() {
    let mut machine = machine(&[60, 30, 80]);
    machine.want(0, FOR_EVER);
    machine.want(1, SECOND);
    machine.advance(SECOND * 10);
    let blocked = machine.want(2, SECOND);
    machine.advance(SECOND);
    assert!(machine.waits(blocked));
    assert_eq!(stopped(&machine, StopReason::Evicted), Vec::<String>::new());
}

#[test]
fn what_is_larger_than_the_budget_is_refused_before_anything_is_stopped() {
    let mut machine = machine(&[90, 101]);
    machine.want(0, SECOND);
    machine.advance(SECOND * 10);
    let hopeless = machine.want(1, SECOND);
    let reason = Refusal::TooLarge { needed_bytes: 101, budget_bytes: 100 };
    assert_eq!(refusals(&machine), [(hopeless, reason)]);
    assert_eq!(stopped(&machine, StopReason::Evicted), Vec::<String>::new());
}

#[test]
fn memory_counts_until_the_exit_was_seen() {
    let mut machine = machine(&[60, 60]);
    machine.fates = vec![Fate { exit: SECOND * 30, ..Fate::default() }];
    machine.want(0, SECOND);
    machine.advance(SECOND * 10);
    let newcomer = machine.want(1, SECOND);
    machine.advance(SECOND * 29);
    assert_eq!((machine.starts(), machine.fleet().booked_bytes()), (1, 60));
    machine.advance(SECOND);
    assert_eq!(machine.starts(), 2);
    machine.advance(SECOND * 2);
    assert!(machine.is_using(newcomer));
    machine.settle();
}

#[test]
fn a_request_that_comes_while_its_model_leaves_gets_a_new_worker() {
    let mut machine = machine(&[60]);
    machine.fates = vec![Fate { exit: SECOND * 30, ..Fate::default() }];
    machine.want(0, SECOND);
    machine.advance(SECOND * 3 + IDLE_UNLOAD);
    assert_eq!(stopped(&machine, StopReason::Idle), ["0"]);
    let late = machine.want(0, SECOND);
    machine.advance(SECOND * 33);
    assert_eq!(machine.starts(), 2);
    assert!(!machine.waits(late));
    machine.settle();
}

#[test]
fn a_leaving_worker_delays_its_own_model_only_by_its_memory() {
    let mut machine = machine(&[40]);
    machine.want(0, SECOND);
    machine.advance(SECOND * 3);
    machine.operator_stops(0);
    machine.want(0, SECOND);
    assert_eq!(machine.starts(), 2);
    machine.settle();
}

#[test]
fn memory_that_is_about_to_be_free_is_kept_for_whoever_waits_for_it() {
    let mut machine = machine(&[50, 60, 45]);
    machine.want(0, SECOND);
    machine.advance(SECOND * 3);
    machine.operator_stops(0);
    let first = machine.want(1, SECOND * 10);
    let second = machine.want(2, SECOND);
    assert_eq!(machine.starts(), 1, "45 of 100 bytes are free, and the first needs 60");
    machine.advance(SECOND * 3);
    assert!(machine.is_using(first) && machine.waits(second));
    machine.settle();
}

#[test]
fn newcomers_are_let_in_again_when_the_one_that_starved_gave_up() {
    let mut machine = machine(&[60, 60]);
    machine.want(0, FOR_EVER);
    machine.advance(SECOND * 3);
    machine.want(1, SECOND);
    machine.advance(FAIR_WAIT);
    let newcomer = machine.want(0, SECOND);
    assert!(machine.waits(newcomer));
    machine.abandon(0);
    assert!(machine.is_using(newcomer));
    let verdict =
        machine.fleet().what_if(machine.when(), &name(0), &terms(&Nature::of(60))).verdict;
    assert!(matches!(verdict, Verdict::Served(_)), "{verdict:?}");
}

#[test]
fn an_idle_model_leaves_after_its_time_and_use_puts_that_off() {
    let mut machine = machine(&[60]);
    machine.want(0, SECOND);
    machine.advance(SECOND * 3 + IDLE_UNLOAD / 2);
    machine.want(0, SECOND);
    machine.advance(IDLE_UNLOAD);
    assert_eq!(stopped(&machine, StopReason::Idle), Vec::<String>::new());
    machine.advance(SECOND);
    assert_eq!(stopped(&machine, StopReason::Idle), ["0"]);
}

#[test]
fn a_stream_of_requests_for_a_loaded_model_cannot_starve_another() {
    let mut machine = machine(&[60, 60, 10]);
    let uses = SECOND * 3;
    machine.want(0, uses);
    machine.want(2, uses);
    machine.advance(SECOND * 4);
    let other = machine.want(1, uses);
    let since = machine.when().0;
    // A newcomer each second, each staying for three: the model is never idle by itself.
    while machine.waits(other) {
        machine.want(0, uses);
        let bystander = machine.want(2, uses);
        assert!(machine.is_using(bystander), "the small one is in nobody's way");
        machine.advance(SECOND);
        assert!(machine.when().0 - since < FAIR_WAIT * 2, "it starves");
    }
    let waited = machine.when().0 - since;
    let served = |action: &Action| matches!(action, Action::Grant { worker, .. } if worker.0 == 0);
    let last_grant = machine.log.iter().rev().find(|(_, action)| served(action)).unwrap().0;
    assert!(last_grant < since + FAIR_WAIT, "newcomers overtook it at {last_grant:?}");
    assert!(last_grant + SECOND * 2 >= since + FAIR_WAIT, "newcomers were held up too early");
    assert!(waited <= FAIR_WAIT + uses + SECOND * 4, "{waited:?} is more than its turn takes");
    machine.settle();
}

#[test]
fn two_that_never_fit_together_take_turns_and_serve_at_every_turn() {
    let mut machine = machine(&[60, 60]);
    for _ in 0..300 {
        machine.want(0, SECOND * 3);
        machine.want(1, SECOND * 3);
        machine.advance(SECOND);
    }
    machine.settle();
    assert!(machine.longest_wait <= FAIR_WAIT * 3, "{:?}", machine.longest_wait);
    assert!(machine.starts() < 60, "{} loads in 300 s is thrashing", machine.starts());
    assert_eq!(refusals(&machine), []);
}

#[test]
fn a_smaller_model_may_slip_past_one_that_is_blocked_until_its_turn_comes() {
    let mut machine = machine(&[60, 80, 20, 15]);
    machine.want(0, FOR_EVER);
    machine.advance(SECOND * 3);
    machine.want(1, SECOND);
    let small = machine.want(2, SECOND);
    machine.advance(SECOND * 3);
    assert!(!machine.waits(small));
    machine.advance(FAIR_WAIT);
    let late = machine.want(3, SECOND);
    machine.advance(SECOND * 3);
    assert!(machine.waits(late));
}

#[test]
fn a_wait_ends_even_if_a_lease_never_does() {
    let mut machine = machine(&[60, 60]);
    machine.want(0, FOR_EVER);
    machine.advance(SECOND * 3);
    let patient = machine.want(1, SECOND);
    machine.advance(WAIT_MAX);
    assert_eq!(refusals(&machine), [(patient, Refusal::WaitedTooLong { limit: WAIT_MAX })]);
    let newcomer = machine.want(0, SECOND);
    assert!(machine.is_using(newcomer), "nobody is in the way any more");
}

#[test]
fn a_load_may_take_longer_than_a_wait() {
    let mut machine = machine(&[60]);
    machine.fates = vec![Fate { load: WAIT_MAX * 2, ..Fate::default() }];
    let patient = machine.want(0, FOR_EVER);
    machine.advance(WAIT_MAX + SECOND);
    machine.want(0, SECOND);
    assert!(machine.waits(patient));
    machine.advance(WAIT_MAX - SECOND);
    assert!(machine.is_using(patient));
}

#[test]
fn waiting_and_using_are_bounded_in_count() {
    let mut machine = machine(&[60]);
    let all = LEASES_PER_WORKER_MAX + 10;
    let requests: Vec<_> = (0..all).map(|_| machine.want(0, SECOND * 5)).collect();
    machine.advance(SECOND * 3);
    let using = requests.iter().filter(|request| machine.is_using(**request)).count();
    assert_eq!(using, LEASES_PER_WORKER_MAX);
    machine.settle();
    for _ in 0..LEASES_PER_WORKER_MAX + WAITING_MAX {
        machine.want(0, FOR_EVER);
    }
    assert_eq!(refusals(&machine), []);
    let one_too_many = machine.want(0, SECOND);
    assert_eq!(refusals(&machine), [(one_too_many, Refusal::QueueFull { limit: WAITING_MAX })]);
}

#[test]
fn a_model_that_keeps_failing_is_left_alone_for_a_while() {
    let mut machine = machine(&[60]);
    machine.fates = vec![Fate { fails: true, ..Fate::default() }; LOAD_FAILURES_MAX + 1];
    for _ in 0..LOAD_FAILURES_MAX {
        machine.want(0, SECOND);
        machine.advance(SECOND * 3);
    }
    let starts = machine.starts();
    let refused = machine.want(0, SECOND);
    let (request, reason) = refusals(&machine).pop().unwrap();
    assert_eq!(request, refused);
    let Refusal::CoolingOff { failures, retry_in, reason } = reason else { panic!("{reason:?}") };
    assert_eq!((failures, retry_in), (LOAD_FAILURES_MAX, COOL_OFF - SECOND));
    assert_eq!(reason, "exit of 2");
    assert_eq!(machine.starts(), starts);
    machine.advance(COOL_OFF);
    machine.want(0, SECOND);
    assert_eq!(machine.starts(), starts + 1);
    // It fails once more, which is enough to be left alone again, and for twice as long.
    machine.advance(SECOND * 3);
    for _ in 0..2 {
        let refused = machine.want(0, SECOND);
        assert!(!machine.waits(refused));
        machine.advance(COOL_OFF);
    }
    let served = machine.want(0, SECOND * 5);
    machine.advance(SECOND * 3);
    assert!(machine.is_using(served));
    machine.settle();
}

#[test]
fn a_crash_takes_the_leases_and_whoever_had_none_gets_a_new_worker() {
    let mut machine = machine(&[60]);
    let all: Vec<_> = (0..=LEASES_PER_WORKER_MAX).map(|_| machine.want(0, SECOND * 100)).collect();
    machine.advance(SECOND * 3);
    let last = all[LEASES_PER_WORKER_MAX];
    assert!(machine.waits(last));
    machine.crash(0);
    machine.advance(SECOND * 2);
    assert!(machine.is_using(last));
    assert_eq!(refusals(&machine), []);
    machine.settle();
}

#[test]
fn the_operator_s_stop_wins_over_users_and_waiters() {
    let mut machine = machine(&[60]);
    let user = machine.want(0, FOR_EVER);
    machine.advance(SECOND * 3);
    machine.operator_stops(0);
    assert!(!machine.is_using(user));
    assert_eq!(stopped(&machine, StopReason::Operator), ["0"]);
    let waiter = machine.want(0, SECOND);
    machine.operator_stops(0);
    assert_eq!(refusals(&machine), [(waiter, Refusal::Stopped)]);
    machine.settle();
}

#[test]
fn explaining_tells_what_would_happen_and_changes_nothing() {
    let mut machine = machine(&[60, 30, 50, 101, 45]);
    let verdict = |machine: &Machine, model: usize, bytes: u64| {
        machine.fleet().what_if(machine.when(), &name(model), &terms(&Nature::of(bytes))).verdict
    };
    assert_eq!(verdict(&machine, 0, 60), Verdict::Started);
    machine.want(0, SECOND * 10);
    let Verdict::Queued(first) = verdict(&machine, 0, 60) else { panic!("it is loading") };
    machine.advance(SECOND * 3);
    assert_eq!(verdict(&machine, 0, 60), Verdict::Served(first));
    assert_eq!(
        verdict(&machine, 2, 50),
        Verdict::Blocked { missing_bytes: 10, workers: vec![first] }
    );
    machine.advance(SECOND * 20);
    assert_eq!(verdict(&machine, 2, 50), Verdict::StartedAfterStopping(vec![first]));
    assert_eq!(verdict(&machine, 1, 30), Verdict::Started);
    let hopeless = Refusal::TooLarge { needed_bytes: 101, budget_bytes: 100 };
    assert_eq!(verdict(&machine, 3, 101), Verdict::Refused(hopeless));
    let starts = machine.starts();
    machine.want(2, SECOND);
    assert_eq!(machine.starts(), starts);
    assert_eq!(verdict(&machine, 1, 30), Verdict::Started);
    assert_eq!(verdict(&machine, 4, 45), Verdict::StartedAfterExits);
    let explanation = machine.fleet().what_if(machine.when(), &name(1), &terms(&Nature::of(30)));
    assert_eq!((explanation.booked_bytes, explanation.budget_bytes), (60, 100));
    assert_eq!(explanation.holders[0].standing, Standing::Leaving);
    machine.settle();
}
