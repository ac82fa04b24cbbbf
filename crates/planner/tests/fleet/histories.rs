//! Random histories, each made from a number. What must hold is checked by the machine at every
//! step. One that fails is made as short as it can be and printed with its number.
//!
//! `FLEET_HISTORIES=1000000 cargo test -p planner --test fleet histories` plays more of them.
#![expect(clippy::print_stdout, reason = "a history that fails is shown")]

use std::{
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::Once,
    time::Duration,
};

use planner::fleet::{Pressure, Priority, limits::WAIT_MAX, planted};

use crate::{
    lies::Lie,
    machine::{Fate, Machine, Nature, Want},
    random::Random,
};

/// Histories of each kind in an ordinary run.
const HISTORIES: u64 = 4_000;
const BUDGET_BYTES: u64 = 100;
const MODELS: usize = 6;
const STEPS_MAX: u64 = 60;
/// Where a stream of requests keeps a model busy there are few models and steps, and short uses.
const STREAMED_MODELS: usize = 2;
const STREAMS_MAX: u64 = 6;
const STREAMED_USE_S_MAX: u64 = 3;
const USE_S_MAX: u64 = 20;
const LOAD_S_MAX: u64 = 10;
const EXIT_S_MAX: u64 = 5;

/// What a history is about. Each makes other things likely.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Requests come and go.
    Plain,
    /// Processes take more than they promise, and more and more.
    Growing,
    /// Most loads fail.
    Failing,
    /// Operators pin, warm, stop and change the policy, and the machine runs short.
    Meddling,
    /// Requests for one model come so close that it is never idle by itself.
    Streaming,
}

impl Kind {
    pub(crate) const ALL: [Self; 5] =
        [Self::Plain, Self::Growing, Self::Failing, Self::Meddling, Self::Streaming];

    fn models(self) -> usize {
        if self == Self::Streaming { STREAMED_MODELS } else { MODELS }
    }

    fn use_s_max(self) -> u64 {
        if self == Self::Streaming { STREAMED_USE_S_MAX } else { USE_S_MAX }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct History {
    kind: Kind,
    natures: Vec<Nature>,
    exclusive: Vec<char>,
    idle_unload: Duration,
    fates: Vec<Fate>,
    steps: Vec<Step>,
    goes_down: bool,
    /// Some requests never end, so waits end by refusal only.
    has_endless: bool,
}

#[derive(Debug, Clone)]
enum Step {
    Want(Want),
    Abandon(usize),
    Crash(usize),
    Stop(usize),
    Grow {
        nth: usize,
        bytes: u64,
    },
    Pin {
        model: usize,
        pinned: Option<bool>,
    },
    Warm(Option<usize>),
    Policy {
        budget_bytes: u64,
        exclusive: Vec<char>,
    },
    Press(Pressure),
    Withdraw(usize),
    Reconfigure {
        budget_bytes: u64,
        model: usize,
        terms_now: bool,
    },
    Renature {
        model: usize,
        pinned: bool,
        group: Option<char>,
    },
    /// So many requests for a model, one each second.
    Stream {
        model: usize,
        seconds: u64,
    },
    Advance(Duration),
}

impl History {
    /// The history of this number.
    pub(crate) fn of(kind: Kind, seed: u64) -> Self {
        let mut random =
            Random::new(seed.wrapping_mul(Kind::ALL.len() as u64).wrapping_add(kind as u64));
        let streams = kind == Kind::Streaming;
        let has_endless = one_in(16, &mut random) && !streams;
        let natures = (0..kind.models()).map(|_| nature(kind, &mut random)).collect();
        let fates = (0..random.below(40)).map(|_| fate(kind, &mut random)).collect();
        let count = random.below(if streams { STREAMS_MAX } else { STEPS_MAX });
        let step = |_| match streams {
            true => streamed_step(&mut random),
            false => step(has_endless, kind, &mut random),
        };
        let steps = (0..count).map(step).collect();
        Self {
            kind,
            natures,
            exclusive: if one_in(2, &mut random) { vec!['a'] } else { Vec::new() },
            idle_unload: Duration::from_secs(1 + random.below(120)),
            fates,
            steps,
            goes_down: one_in(4, &mut random),
            has_endless,
        }
    }

    /// Plays it on this new machine and panics at the first thing that must not be.
    fn play(&self, machine: &mut Machine) {
        machine.fates.clone_from(&self.fates);
        machine.set_policy(BUDGET_BYTES, &self.exclusive);
        for step in &self.steps {
            take(machine, step);
        }
        machine.advance(Duration::from_secs(400));
        machine.check_written_down();
        if self.goes_down {
            machine.shut_down();
        }
        machine.settle();
        // For each model ahead: whoever uses memory ends, leaves, and it loads and serves in turn.
        let turn_s = EXIT_S_MAX + LOAD_S_MAX + 2 * self.kind.use_s_max();
        let turns = Duration::from_secs(turn_s * (self.kind.models() as u64 + 1));
        if self.has_endless {
            let bound = WAIT_MAX + Duration::from_secs(LOAD_S_MAX);
            assert!(machine.longest_wait <= bound, "someone waited {:?}", machine.longest_wait);
        } else {
            let excess = machine.longest_excess;
            assert!(excess <= turns, "someone waited {excess:?} after its turn");
        }
    }

    fn machine(&self) -> Machine {
        Machine::new(BUDGET_BYTES, self.idle_unload, &self.natures)
    }

    /// What went wrong, if anything did.
    pub(crate) fn complaint(&self, lie: Option<Lie>) -> Option<String> {
        let mut machine = self.machine();
        machine.lie = lie;
        let play = AssertUnwindSafe(|| self.play(&mut machine));
        let panic = quietly(|| catch_unwind(play)).err()?;
        let text = panic.downcast_ref::<String>().cloned();
        Some(text.unwrap_or_else(|| (*panic.downcast_ref::<&str>().unwrap_or(&"?")).to_owned()))
    }

    /// Shows what happened until it went wrong, and panics with that.
    fn replay(&self) {
        let mut machine = self.machine();
        let panic = catch_unwind(AssertUnwindSafe(|| self.play(&mut machine)));
        machine.log.iter().for_each(|(when, action)| println!("{when:?} {action:?}"));
        if let Err(panic) = panic {
            resume_unwind(panic);
        }
    }

    /// As short as it can be made by leaving steps out, so that it still goes wrong.
    fn shortened(&self) -> Self {
        let mut shortest = self.clone();
        let mut length = shortest.steps.len().max(1);
        while length > 0 {
            let mut from = 0;
            while from < shortest.steps.len() {
                let mut shorter = shortest.clone();
                shorter.steps.drain(from..(from + length).min(shortest.steps.len()));
                if shorter.complaint(None).is_some() {
                    shortest = shorter;
                } else {
                    from += length;
                }
            }
            length /= 2;
        }
        while let Some(fate) = shortest.fates.pop() {
            if shortest.complaint(None).is_none() {
                shortest.fates.push(fate);
                break;
            }
        }
        shortest
    }
}

/// Does something without the noise of its panics.
fn quietly<T>(work: impl FnOnce() -> T) -> T {
    thread_local! {
        static QUIET: Cell<bool> = const { Cell::new(false) };
    }
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !QUIET.get() {
                usual(panic);
            }
        }));
    });
    QUIET.set(true);
    let done = work();
    QUIET.set(false);
    done
}

impl std::fmt::Display for History {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(out, "exclusive {:?}, idle unload {:?}", self.exclusive, self.idle_unload)?;
        for (model, nature) in self.natures.iter().enumerate() {
            writeln!(out, "model {model}: {nature:?}")?;
        }
        self.fates.iter().try_for_each(|fate| writeln!(out, "{fate:?}"))?;
        self.steps.iter().try_for_each(|step| writeln!(out, "{step:?}"))?;
        write!(out, "goes down: {}", self.goes_down)
    }
}

/// Whether this is the one time in `times`.
fn one_in(times: u64, random: &mut Random) -> bool {
    random.below(times) == 0
}

fn nature(kind: Kind, random: &mut Random) -> Nature {
    let promised_bytes_max = if one_in(8, random) { 110 } else { 60 };
    let promised_bytes = 1 + random.below(promised_bytes_max);
    let growth = if kind == Kind::Growing { random.below(30) } else { 0 };
    let pins = if kind == Kind::Meddling { 6 } else { 40 };
    Nature {
        real_bytes: promised_bytes + growth,
        group: one_in(3, random).then_some('a'),
        pinned: one_in(pins, random),
        idle_unload: one_in(4, random).then(|| Duration::from_secs(random.below(60))),
        load_time: Duration::from_secs(random.below(LOAD_S_MAX)),
        once: one_in(8, random),
        promised_bytes,
    }
}

fn fate(kind: Kind, random: &mut Random) -> Fate {
    let failing = if kind == Kind::Failing { 80 } else { 10 };
    Fate {
        load: Duration::from_secs(random.below(LOAD_S_MAX + 1)),
        fails: random.below(100) < failing,
        exit: Duration::from_secs(random.below(EXIT_S_MAX + 1)),
    }
}

fn streamed_step(random: &mut Random) -> Step {
    let model = random.below(STREAMED_MODELS as u64) as usize;
    match random.below(4) {
        0 | 1 => {
            let uses_for = Duration::from_secs(random.below(STREAMED_USE_S_MAX + 1));
            let priority =
                if one_in(8, random) { Priority::Background } else { Priority::Interactive };
            Step::Want(Want { model, uses_for, priority, keep_alive: None })
        }
        2 => Step::Stream { model, seconds: random.below(180) },
        _ => Step::Advance(Duration::from_millis(random.below(30_000))),
    }
}

fn step(has_endless: bool, kind: Kind, random: &mut Random) -> Step {
    let meddles = kind == Kind::Meddling;
    let model = random.below(MODELS as u64) as usize;
    match random.below(if meddles { 26 } else { 16 }) {
        0..=5 => Step::Want(want(model, has_endless, random)),
        6..=11 => {
            let long = if one_in(12, random) { 700_000 } else { 20_000 };
            Step::Advance(Duration::from_millis(random.below(long)))
        }
        12 => Step::Abandon(random.below(4) as usize),
        13 => Step::Crash(random.below(4) as usize),
        14 if kind == Kind::Growing => {
            Step::Grow { nth: random.below(4) as usize, bytes: random.below(120) }
        }
        14 => Step::Stop(model),
        15 | 16 => Step::Want(want(model, has_endless, random)),
        17 | 18 => {
            let pinned = [None, Some(true), Some(true), Some(false)][random.below(4) as usize];
            Step::Pin { model, pinned }
        }
        19 => Step::Warm((!one_in(4, random)).then_some(model)),
        20 => Step::Policy {
            budget_bytes: 40 + random.below(100),
            exclusive: if one_in(2, random) { vec!['a'] } else { Vec::new() },
        },
        21 | 22 => {
            let levels = [Pressure::Calm, Pressure::Some, Pressure::Full];
            Step::Press(levels[random.below(3) as usize])
        }
        23 => Step::Withdraw(model),
        24 => Step::Reconfigure {
            budget_bytes: 40 + random.below(100),
            model,
            terms_now: one_in(2, random),
        },
        _ => Step::Renature {
            model,
            pinned: one_in(3, random),
            group: one_in(2, random).then_some('a'),
        },
    }
}

fn want(model: usize, has_endless: bool, random: &mut Random) -> Want {
    let endless = has_endless && one_in(4, random);
    let background = one_in(3, random);
    Want {
        model,
        uses_for: match endless {
            true => Duration::MAX,
            false => Duration::from_secs(random.below(USE_S_MAX + 1)),
        },
        priority: if background { Priority::Background } else { Priority::Interactive },
        keep_alive: one_in(6, random).then(|| Duration::from_secs(random.below(40) / 2)),
    }
}

fn take(machine: &mut Machine, step: &Step) {
    match step {
        Step::Want(want) => drop(machine.want_so(*want)),
        Step::Abandon(nth) => machine.abandon(*nth),
        Step::Crash(nth) => machine.crash(*nth),
        Step::Stop(model) => machine.operator_stops(*model),
        Step::Grow { nth, bytes } => machine.grow(*nth, *bytes),
        Step::Pin { model, pinned } => machine.pin(*model, *pinned),
        Step::Warm(model) => machine.choose_warm(*model),
        Step::Policy { budget_bytes, exclusive } => machine.set_policy(*budget_bytes, exclusive),
        Step::Press(level) => machine.press(*level),
        Step::Withdraw(model) => machine.withdraw(*model),
        Step::Reconfigure { budget_bytes, model, terms_now } => {
            machine.reconfigure(*budget_bytes, *model, *terms_now);
        }
        Step::Renature { model, pinned, group } => {
            let nature = &mut machine.natures[*model];
            (nature.pinned, nature.group) = (*pinned, *group);
        }
        Step::Stream { model, seconds } => {
            for _ in 0..*seconds {
                machine.want(*model, Duration::from_secs(STREAMED_USE_S_MAX));
                machine.advance(Duration::from_secs(1));
            }
        }
        Step::Advance(time) => machine.advance(*time),
    }
}

/// How many histories of each kind to play.
#[expect(clippy::disallowed_methods, reason = "a test may be told how long to run")]
fn histories() -> u64 {
    let asked = std::env::var("FLEET_HISTORIES").ok().and_then(|count| count.parse::<u64>().ok());
    asked.map_or(HISTORIES, |count| count / Kind::ALL.len() as u64)
}

fn all_are_orderly(kind: Kind) {
    planted::plant(None);
    for seed in 0..histories() {
        let history = History::of(kind, seed);
        if history.complaint(None).is_some() {
            let shortest = history.shortened();
            println!("history {seed} of kind {kind:?}, shortened:\n{shortest}");
            shortest.replay();
        }
    }
}

#[test]
fn plain_histories_are_orderly() {
    all_are_orderly(Kind::Plain);
}

#[test]
fn histories_with_processes_that_outgrow_their_promise_are_orderly() {
    all_are_orderly(Kind::Growing);
}

#[test]
fn histories_with_loads_that_mostly_fail_are_orderly() {
    all_are_orderly(Kind::Failing);
}

#[test]
fn histories_with_streams_of_requests_are_orderly() {
    all_are_orderly(Kind::Streaming);
}

#[test]
fn histories_with_an_operator_who_meddles_are_orderly() {
    all_are_orderly(Kind::Meddling);
}
