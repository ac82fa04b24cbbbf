//! A long time of random conversations with a KV cache on disk: models that take turns, clients that go
//! away, workers and hubs that are killed at any moment, a machine that runs short of memory.
//!
//! Two hubs share one folder. One lives all the time, so that growth of its memory would be seen; the
//! other one is killed now and then. A third hub keeps nothing, and computes every prompt from its first
//! token: it says what every answer must be (`verdict` tells rounding from a wrong cache).
//!
//! By default a number of turns that takes about a minute; RESIDENT_SOAK_S=3600 goes on for an hour with
//! larger models and a folder of 2 GB. RESIDENT_SOAK_SEED chooses other conversations.
#![cfg(target_os = "linux")]

mod talk;
mod trial;
pub(crate) mod verdict;
mod watch;
mod world;

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use talk::{Lengths, Manner, Random, Talk, Turn};
use verdict::{Hits, Noise, Verdict, compare};
use world::{Asked, Kill, Target, World};

/// What chance has not brought after so many turns comes then.
const DUE_TURNS: u64 = 30;

/// How much there is of everything.
struct Scale {
    /// Turns after which it ends; none when time ends it.
    turns: usize,
    time: Option<Duration>,
    /// Layers of the models that take turns: how many bytes a token has in the cache.
    layers: u32,
    folder_bytes: u64,
    /// What the folder is filled with before it begins, by prompts that nobody comes back to, so that
    /// others have to leave soon.
    filled_bytes: u64,
    ram_bytes: u64,
    lengths: Lengths,
    /// Between two lines of the report.
    report_interval: Duration,
    /// By how much the memory of a process may grow from the early to the late part of the time.
    growth_bytes_max: u64,
}

impl Scale {
    fn chosen() -> Self {
        let seconds = std::env::var("RESIDENT_SOAK_S").ok();
        match seconds.map(|text| text.parse().expect("RESIDENT_SOAK_S is a number of seconds")) {
            Some(seconds) => Self::long(Duration::from_secs(seconds)),
            None => Self::short(),
        }
    }

    fn short() -> Self {
        Self {
            turns: 100,
            time: None,
            layers: 6,
            folder_bytes: 8_000_000,
            filled_bytes: 0,
            ram_bytes: 4_000_000,
            lengths: Lengths {
                tokens_max: 700,
                beginning_tokens_max: 500,
                turn_words_max: 40,
                answer_tokens_max: 12,
            },
            report_interval: Duration::from_secs(10),
            // So short a time is the beginning all through: caches and buffers still fill.
            growth_bytes_max: 64 << 20,
        }
    }

    fn long(time: Duration) -> Self {
        Self {
            turns: usize::MAX,
            time: Some(time),
            layers: 24,
            folder_bytes: 2_000_000_000,
            filled_bytes: 1_500_000_000,
            ram_bytes: 64_000_000,
            lengths: Lengths {
                tokens_max: 1_400,
                beginning_tokens_max: 1_200,
                turn_words_max: 100,
                answer_tokens_max: 32,
            },
            report_interval: Duration::from_secs(60),
            // What an allocator keeps of one long prompt more; a leak of a kilobyte a turn is more.
            growth_bytes_max: 16 << 20,
        }
    }
}

/// What was counted.
#[derive(Debug, Default)]
struct Counts {
    turns: u64,
    cancelled: u64,
    tokens_equal: u64,
    worst: f64,
    ties: u64,
    widest_tie: f64,
    hits: Hits,
    prompt_tokens: u64,
    /// Requests that a kill took along.
    lost: u64,
    worker_kills: u64,
    hub_kills: u64,
    shortages: u64,
}

#[test]
fn an_hour_of_conversations_switches_kills_and_shortages() {
    let scale = Scale::chosen();
    let seed = std::env::var("RESIDENT_SOAK_SEED").ok();
    let seed = seed.map_or(1, |text| text.parse().expect("RESIDENT_SOAK_SEED is a number"));
    let mut random = Random::new(seed);
    let mut world = World::new(scale.layers, scale.folder_bytes, scale.ram_bytes);
    let noise = trial::noise(&world, &scale.lengths, &mut random);
    let names = world.models.iter().map(|model| (model.name.clone(), model.tongue));
    let talk = Talk::new(&names.collect::<Vec<_>>(), scale.lengths, &mut random);
    world.fill(scale.filled_bytes, scale.lengths.beginning_tokens_max, &mut random);
    let watch = world.watch();
    thread::scope(|scope| {
        scope.spawn(|| watch.run());
        // However it ends, the watching thread is told.
        let _end = watch.end_when_dropped();
        let mut soak = Soak {
            scale: &scale,
            random,
            talk,
            noise,
            counts: Counts::default(),
            model: 0,
            shortage_ends: None,
            begun: Instant::now(),
            reported: Instant::now(),
        };
        soak.run(&mut world);
        soak.finish(&mut world);
    });
}

struct Soak<'s> {
    scale: &'s Scale,
    random: Random,
    talk: Talk,
    /// By model.
    noise: Vec<Noise>,
    counts: Counts,
    /// The model that is talked to at present.
    model: usize,
    /// At which turn the machine has enough memory again.
    shortage_ends: Option<u64>,
    begun: Instant,
    reported: Instant,
}

impl Soak<'_> {
    fn run(&mut self, world: &mut World) {
        let goes_on = |soak: &Self| {
            let in_time = soak.scale.time.is_none_or(|time| soak.begun.elapsed() < time);
            in_time && soak.counts.turns < soak.scale.turns as u64
        };
        while goes_on(self) {
            self.shorten_memory(world);
            self.burst(world);
            self.kill_between(world);
            self.talk.forget(&mut self.random);
            let problems = world.watch().seen(|seen| seen.problems.clone());
            assert!(problems.is_empty(), "{problems:#?}");
            if self.reported.elapsed() >= self.scale.report_interval {
                self.reported = Instant::now();
                println!("{}", self.line(world));
            }
        }
    }

    /// Some requests at once to one hub, the same to the one that keeps nothing, and perhaps a kill.
    fn burst(&mut self, world: &mut World) {
        let on_second = self.random.percent(35);
        let turns = self.turns(world);
        let kill = self.kill(on_second);
        if kill.is_some_and(|kill| kill.target == Target::Hub) {
            world.remember_started();
        }
        let hub = if on_second { &world.second } else { &world.first };
        let first_model = world.models[turns[0].model].name.clone();
        let (asked, twins, killed) = thread::scope(|scope| {
            let asked: Vec<_> = turns
                .iter()
                .map(|turn| scope.spawn(|| world::ask(hub, turn, turn.manner)))
                .collect();
            let first_model = &first_model;
            let killer = kill.map(|kill| scope.spawn(move || kill.strike(hub, first_model)));
            let twins: Vec<_> = turns.iter().map(|turn| world.uncached(turn)).collect();
            let asked: Vec<Asked> = asked.into_iter().map(|asked| asked.join().unwrap()).collect();
            (asked, twins, killer.and_then(|killer| killer.join().unwrap()))
        });
        match &killed {
            Some(killed) if killed.model.is_none() => {
                self.counts.hub_kills += 1;
                world.restart_second();
            }
            Some(_) => self.counts.worker_kills += 1,
            None => {}
        }
        let hub = if on_second { &world.second } else { &world.first };
        for ((turn, asked), twin) in turns.iter().zip(asked).zip(twins) {
            let model = &world.models[turn.model].name;
            let said = asked.said.unwrap_or_else(|why| {
                let excuse = killed.as_ref().is_some_and(|killed| killed.took(model, asked.ended));
                assert!(excuse, "nothing was killed, and {model} answers {why}: {turn:?}");
                self.counts.lost += 1;
                let again = world::ask(hub, turn, Manner::Whole);
                again.said.unwrap_or_else(|why| panic!("asked again, {model} answers {why}"))
            });
            self.judge(world, turn, &said, &twin);
            self.talk.heard(turn, &twin);
        }
    }

    /// What is asked at once: mostly one request, mostly to the model that was asked before.
    fn turns(&mut self, world: &World) -> Vec<Turn> {
        if self.random.percent(25) {
            self.model = self.random.within(0..world.models.len());
        }
        let count = [1, 1, 1, 2, 2, 3][self.random.within(0..6)];
        let is_mixed = self.random.percent(20);
        let mut turns: Vec<Turn> = Vec::new();
        for _ in 0..count {
            let model =
                if is_mixed { self.random.within(0..world.models.len()) } else { self.model };
            let busy: Vec<usize> =
                turns.iter().filter(|t| t.model == model).map(|t| t.conversation).collect();
            turns.push(self.talk.turn(model, &busy, &mut self.random));
        }
        turns
    }

    fn kill(&mut self, on_second: bool) -> Option<Kill> {
        let draw = self.random.within(0..100);
        let after = Duration::from_millis(self.random.within(0..400) as u64);
        let is_due = self.counts.turns >= DUE_TURNS && self.counts.hub_kills == 0;
        match draw {
            _ if is_due && on_second => Some(Kill { target: Target::Hub, after }),
            0..7 => Some(Kill { target: Target::Worker, after }),
            7..10 if on_second => Some(Kill { target: Target::Hub, after }),
            _ => None,
        }
    }

    /// When the answers are there a worker goes on writing what it keeps.
    fn kill_between(&mut self, world: &World) {
        if self.random.percent(10) {
            let after = Duration::from_millis(self.random.within(0..150) as u64);
            let kill = Kill { target: Target::Worker, after };
            let hub = if self.random.percent(35) { &world.second } else { &world.first };
            let model = &world.models[self.model].name;
            self.counts.worker_kills += u64::from(kill.strike(hub, model).is_some());
            world.watch().look_at_folder();
        }
    }

    /// Now and then the machine has too little memory for a while.
    fn shorten_memory(&mut self, world: &World) {
        let is_due = self.counts.turns >= DUE_TURNS && self.counts.shortages == 0;
        match self.shortage_ends {
            Some(end) if self.counts.turns >= end => {
                self.shortage_ends = None;
                world.press("calm");
            }
            Some(_) => {}
            None if self.random.percent(3) || is_due => {
                self.counts.shortages += 1;
                let length = self.random.within(1..8) as u64;
                self.shortage_ends = Some(self.counts.turns + length);
                world.press(if self.random.percent(50) { "some" } else { "full" });
            }
            None => {}
        }
    }

    fn judge(&mut self, world: &World, turn: &Turn, said: &verdict::Said, twin: &verdict::Said) {
        let counts = &mut self.counts;
        counts.turns += 1;
        counts.cancelled += u64::from(!said.is_whole);
        counts.hits += said.hits;
        counts.prompt_tokens += twin.prompt_tokens;
        match compare(said, twin, self.noise[turn.model]) {
            Verdict::Equal { tokens, worst } => {
                counts.tokens_equal += tokens as u64;
                counts.worst = counts.worst.max(worst);
            }
            Verdict::Tie { tokens, gap } => {
                counts.tokens_equal += tokens as u64;
                counts.ties += 1;
                counts.widest_tie = counts.widest_tie.max(gap);
            }
            Verdict::Wrong(why) => panic!(
                "{} after {} turns: {why}; its prompt of {} tokens had {:?}\n{}\n{turn:?}\n{}",
                world.models[turn.model].name,
                self.counts.turns,
                twin.prompt_tokens,
                said.hits,
                self.again(world, turn, twin),
                self.line(world)
            ),
        }
    }

    /// The same asked again of both hubs: whether it is wrong in the files or was so once.
    fn again(&self, world: &World, turn: &Turn, twin: &verdict::Said) -> String {
        let ask = |hub| {
            let said = world::ask(hub, turn, Manner::Whole).said;
            let verdict = said.as_ref().map(|said| compare(said, twin, self.noise[turn.model]));
            format!("{verdict:?} with {:?}", said.as_ref().map(|said| said.hits))
        };
        format!("again, the first hub: {}\nthe second: {}", ask(&world.first), ask(&world.second))
    }

    fn line(&self, world: &World) -> String {
        let counts = &self.counts;
        let Hits { live, ram, ssd } = counts.hits;
        let mib = |bytes: u64| bytes >> 20;
        world.watch().seen(|seen| {
            let last = seen.samples.last().map(|sample| sample.bytes.clone()).unwrap_or_default();
            let held = |name: &str| last.get(name).copied().map_or(0, mib);
            format!(
                "{:>5} s: {} turns, {} cancelled, {} lost; of {} prompt tokens {live} live, {ram} ram, \
                 {ssd} ssd; {} kills of workers, {} of hubs, {} shortages, {} starts; {} evicted, \
                 folder {} of {} kB; MiB: hub {}, its steady worker {}, uncached hub {}; {} ties up to \
                 {:.1e}, logprobs within {:.1e} in {} tokens",
                self.begun.elapsed().as_secs(),
                counts.turns,
                counts.cancelled,
                counts.lost,
                counts.prompt_tokens,
                counts.worker_kills,
                counts.hub_kills,
                counts.shortages,
                world.started_workers(),
                seen.evicted,
                seen.folder_bytes / 1000,
                self.scale.folder_bytes / 1000,
                held(world::FIRST),
                held(&format!("{}/{}", world::FIRST, world::STEADY)),
                held(world::UNCACHED),
                counts.ties,
                counts.widest_tie,
                counts.worst,
                counts.tokens_equal,
            )
        })
    }

    /// What must have happened, and what must not have grown.
    fn finish(&self, world: &mut World) {
        world.press("calm");
        println!("{}", self.line(world));
        println!("begun, continued, branched, resumed, repeated: {:?}", self.talk.kinds);
        let (entries, bytes) = world.settle();
        let Counts { hits, worker_kills, hub_kills, shortages, cancelled, .. } = self.counts;
        for (what, count) in [
            ("tokens from live cells", hits.live),
            ("tokens from files", hits.ssd),
            // In a short run it depends on what is written sooner: memory is small.
            ("tokens from memory", hits.ram + u64::from(self.scale.time.is_none())),
            ("kills of workers", worker_kills),
            ("kills of hubs", hub_kills),
            ("shortages", shortages),
            ("cancelled answers", cancelled),
            ("evicted entries", world.watch().seen(|seen| seen.evicted)),
        ] {
            assert!(count > 0, "there were no {what}, so this run has shown nothing");
        }
        let growth = self.growth(world);
        assert!(growth.contains_key(world::FIRST), "nobody looked at the memory of the hub");
        println!("MiB in the early and in the late part, medians: {growth:?}");
        for (name, (early, late)) in &growth {
            let grown = late.saturating_sub(*early) << 20;
            assert!(grown <= self.scale.growth_bytes_max, "{name} grew from {early} to {late} MiB");
        }
        world.watch().seen(|seen| {
            println!(
                "{} turns in {} s without a wrong text; the folder never had more than {} of {} bytes in \
                 {} looks and holds {entries} entries of {bytes}; booked at most {:?}, held at most {:?}",
                self.counts.turns,
                self.begun.elapsed().as_secs(),
                seen.folder_bytes_max,
                self.scale.folder_bytes,
                seen.folder_samples,
                seen.booked_bytes_max,
                seen.held_bytes_max,
            );
        });
    }

    /// What processes that live all the time held early and late, in MiB.
    fn growth(&self, world: &World) -> BTreeMap<String, (u64, u64)> {
        let (begin, length) = (world.watch().since(self.begun), self.begun.elapsed());
        let part = |from: f64, to: f64| begin + length.mul_f64(from)..begin + length.mul_f64(to);
        let (early, late) = (part(0.15, 0.35), part(0.8, 1.0));
        let mut names = vec![world::FIRST.to_owned(), world::UNCACHED.to_owned()];
        names.push(format!("{}/{}", world::FIRST, world::STEADY));
        names
            .extend(world.models.iter().map(|model| format!("{}/{}", world::UNCACHED, model.name)));
        world.watch().seen(|seen| {
            let both = |name: &str| {
                let median = |part| seen.median_bytes(name, part).map(|bytes| bytes >> 20);
                Some((median(early.clone())?, median(late.clone())?))
            };
            names.into_iter().filter_map(|name| Some((name.clone(), both(&name)?))).collect()
        })
    }
}
