//! Transfers in which every server does what it likes: what must hold whatever happens, and who is replaced.

use proptest::prelude::*;

use super::*;

const MEGABYTE: u64 = 1 << 20;

fn seconds(s: f64) -> Duration {
    Duration::from_secs_f64(s)
}

/// A line with servers: how fast a connection is, by its slot, the bytes that it brought and the time.
struct World<F> {
    plan: Plan,
    rate: F,
    now: Duration,
    /// Range and bytes of each open connection.
    open: Vec<Option<Connection>>,
    opened: usize,
    closed: Vec<usize>,
    got: Ranges,
}

struct Connection {
    at: u64,
    end: u64,
    brought: u64,
    number: usize,
}

/// One step of simulated time.
const TICK: Duration = Duration::from_millis(100);

impl<F: Fn(&Connection, Duration) -> f64> World<F> {
    fn new(bytes: u64, lanes: usize, rate: F) -> Self {
        let mut plan = Plan::new(Pace::default(), Ranges::of(0..bytes));
        plan.widen(lanes);
        let open = (0..limits::CONNECTIONS_MAX).map(|_| None).collect();
        Self {
            plan,
            rate,
            now: Duration::ZERO,
            open,
            opened: 0,
            closed: vec![],
            got: Ranges::default(),
        }
    }

    fn carry_out(&mut self, step: Step) {
        match step {
            Step::Open { slot, range, is_alone } => {
                let before = self.open[slot].take();
                assert!(before.as_ref().is_none_or(|before| before.at == before.end));
                let kept = before.filter(|_| !is_alone);
                if kept.is_none() {
                    self.opened += 1;
                }
                let (brought, number) =
                    kept.map_or((0, self.opened), |kept| (kept.brought, kept.number));
                for other in self.open.iter().flatten() {
                    assert!(range.end <= other.at || other.end <= range.start, "{range:?}");
                }
                let connection = Connection { at: range.start, end: range.end, brought, number };
                self.open[slot] = Some(connection);
            }
            Step::Split { slot, at, thief } => {
                let victim = self.open[slot].as_mut().unwrap();
                assert!(victim.at <= at && at < victim.end);
                victim.end = at;
                let step = self.plan.split(slot, at, thief, self.now);
                self.carry_out(step);
            }
            Step::Close { slot } => {
                self.closed.push(slot);
                self.open[slot] = None;
                self.plan.ended(slot, End::Well, self.now);
            }
        }
    }

    fn tick(&mut self) {
        for step in self.plan.steps(self.now, true, false) {
            self.carry_out(step);
        }
        self.now += TICK;
        for slot in 0..self.open.len() {
            let Some(connection) = &mut self.open[slot] else { continue };
            if connection.at == connection.end {
                continue;
            }
            let rate = (self.rate)(connection, self.now);
            let bytes = ((rate * TICK.as_secs_f64()) as u64).min(connection.end - connection.at);
            self.got.insert(connection.at..connection.at + bytes);
            connection.at += bytes;
            connection.brought += bytes;
            let is_over = connection.at == connection.end;
            if bytes > 0 {
                self.plan.arrived(slot, bytes, self.now);
            }
            if is_over {
                self.plan.ended(slot, End::Well, self.now);
            }
        }
    }

    /// How long it takes, or that it takes too long.
    fn run(&mut self, at_most_s: f64) -> f64 {
        while !self.plan.is_done() {
            self.tick();
            assert!(self.now <= seconds(at_most_s), "after {:?} {:?}", self.now, self.got);
        }
        self.now.as_secs_f64()
    }
}

const FAST: f64 = 10e6;

#[test]
fn equal_connections_are_left_alone() {
    let mut world = World::new(1000 * MEGABYTE, 8, |_, _| FAST);
    let took_s = world.run(20.0);
    assert!(took_s < 14.5, "{took_s}");
    assert!(world.closed.is_empty(), "{:?}", world.closed);
    assert_eq!(world.opened, 8);
}

/// The line is what it is: nothing is gained by other connections, and that is not tried for ever.
#[test]
fn a_line_that_becomes_slow_is_probed_seldom() {
    let slow_line =
        |_: &Connection, now: Duration| if now < seconds(20.0) { FAST } else { FAST / 10.0 };
    let mut world = World::new(3000 * MEGABYTE, 4, slow_line);
    world.run(2000.0);
    assert!(world.closed.len() <= 2, "{:?}", world.closed);
}

#[test]
fn one_slow_connection_is_replaced_and_its_rest_goes_on_elsewhere() {
    // The third connection crawls, whoever comes after it does not.
    let crawl =
        |connection: &Connection, _| if connection.number == 3 { FAST / 100.0 } else { FAST };
    let mut world = World::new(1000 * MEGABYTE, 8, crawl);
    let took_s = world.run(20.0);
    assert!(took_s < 15.5, "{took_s}");
    assert_eq!(world.closed, [2]);
}

#[test]
fn a_slot_that_is_always_slow_is_replaced_ever_more_seldom() {
    let slow_place =
        |connection: &Connection, _| if connection.at < 64 * MEGABYTE { 1e5 } else { FAST };
    let mut world = World::new(10_000 * MEGABYTE, 4, slow_place);
    world.run(800.0);
    assert!(world.closed.len() < 40, "{}", world.closed.len());
}

/// The known complaint, at several rates.
#[test]
fn connections_that_slow_to_a_crawl_are_renewed() {
    for (rate, lanes, bytes) in [(10e6, 8, 2000), (10e6, 4, 2000), (5e6, 1, 1000), (25e6, 4, 4000)]
    {
        let crawl = move |connection: &Connection, _| {
            if connection.brought < 50 * MEGABYTE { rate } else { 1e5 }
        };
        let mut world = World::new(bytes * MEGABYTE, lanes, crawl);
        let healthy_s = (bytes * MEGABYTE) as f64 / rate / lanes as f64;
        let took_s = world.run(3.0 * healthy_s);
        println!("{rate} B/s, {lanes} connections: {took_s:.1} s, healthy {healthy_s:.1} s");
        assert!(took_s < 1.3 * healthy_s, "{took_s} {healthy_s}");
    }
}

#[test]
fn the_end_is_shared() {
    // One of two connections has little left to do and the other much: nobody waits for the slower.
    let uneven =
        |connection: &Connection, _| if connection.number == 1 { FAST / 3.0 } else { FAST };
    let mut world = World::new(128 * MEGABYTE, 2, uneven);
    let took_s = world.run(20.0);
    assert!(took_s < 12.5, "{took_s}");
}

#[test]
fn silence_is_replaced_after_a_while() {
    let silent = |connection: &Connection, _| if connection.number == 2 { 0.0 } else { FAST };
    let mut world = World::new(400 * MEGABYTE, 2, silent);
    world.run(60.0);
    assert_eq!(world.closed, [1]);
}

#[test]
fn failures_wait_ever_longer_up_to_a_bound() {
    let mut plan = Plan::new(Pace::default(), Ranges::of(0..100));
    let (mut now, mut waits) = (Duration::ZERO, Vec::new());
    for _ in 0..12 {
        let steps = plan.steps(now, true, false);
        assert_eq!(steps, [Step::Open { slot: 0, range: 0..100, is_alone: false }]);
        plan.ended(0, End::Failed, now);
        assert_eq!(plan.steps(now, true, false), []);
        let until = plan.waits_until(now).unwrap();
        waits.push((until - now).as_secs_f64());
        now = until;
    }
    let expected = [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0, 60.0, 60.0];
    assert_eq!(waits, expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever connections do, no byte is fetched by two, none is forgotten, and it ends.
    #[test]
    fn every_byte_comes_once(
        lanes in 1_usize..9,
        events in prop::collection::vec((0_usize..9, 0_u64..20 * MEGABYTE, 0_u8..5), 1..300),
    ) {
        let whole = 300 * MEGABYTE;
        let mut world = World::new(whole, lanes, |_, _| 3e6);
        for (slot, bytes, kind) in events {
            world.tick();
            let Some(connection) = &mut world.open[slot] else { continue };
            let bytes = bytes.min(connection.end - connection.at);
            let is_open = connection.at < connection.end;
            match kind {
                0 if is_open => {
                    let range = connection.at..connection.at + bytes;
                    prop_assert_eq!(world.got.missing(whole).bytes() - bytes, {
                        world.got.insert(range);
                        world.got.missing(whole).bytes()
                    });
                    connection.at += bytes;
                    connection.brought += bytes;
                    world.plan.arrived(slot, bytes, world.now);
                    if connection.at == connection.end {
                        world.plan.ended(slot, End::Well, world.now);
                    }
                }
                1 if is_open => {
                    world.open[slot] = None;
                    world.plan.ended(slot, End::Failed, world.now);
                }
                2 if is_open => {
                    world.open[slot] = None;
                    world.plan.ended(slot, End::Elsewhere, world.now);
                }
                3 => world.plan.narrow(world.now),
                _ => world.now += seconds(1.0),
            }
        }
        world.run(3000.0);
        prop_assert_eq!(world.got, Ranges::of(0..whole));
    }
}
