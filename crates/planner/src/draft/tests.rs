//! Guesses against texts that repeat and texts that do not, and the policy against simulated machines.

use proptest::prelude::*;

use super::limits::*;
use super::*;

// Guesses from the text.

fn guess(text: &[u32], tokens_max: usize) -> Option<Guess> {
    Lookup::default().guess(text, tokens_max)
}

#[test]
fn what_followed_before_is_guessed() {
    let text = [1, 2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4];
    let guessed = guess(&text, 3).unwrap();
    assert_eq!((guessed.tokens, guessed.trust), (vec![5, 6, 7], Trust::ShortMatch));
    assert_eq!(guess(&text[..11], 3), None, "two tokens occur again everywhere");
    assert_eq!(guess(&text, 0), None);
    assert_eq!(guess(&[], 3), None);
}

#[test]
fn the_longest_match_wins_and_the_latest_of_equals() {
    let text = [9, 1, 2, 3, 50, 8, 1, 2, 3, 60, 7, 1, 2, 3, 70, 8, 1, 2, 3];
    assert_eq!(guess(&text, 1).unwrap().tokens, [60], "the one with the 8 before it");
    assert_eq!(guess(&text[..14], 1).unwrap().tokens, [60], "none is longer");
}

#[test]
fn a_text_that_goes_round_is_guessed_to_go_on() {
    let text = [5, 1, 2, 1, 2, 1, 2, 1];
    assert_eq!(guess(&text, 5).unwrap().tokens, [2, 1, 2, 1, 2]);
}

#[test]
fn longer_matches_are_trusted_more() {
    let trust = |repeated: u32| {
        let text: Vec<u32> = (0..100).chain([500]).chain(40..40 + repeated).collect();
        guess(&text, 1).unwrap().trust
    };
    assert_eq!(trust(3), Trust::ShortMatch);
    assert_eq!(trust(TRUST_MIDDLE_TOKENS as u32), Trust::MiddleMatch);
    assert_eq!(trust(TRUST_LONG_TOKENS as u32), Trust::LongMatch);
    assert_eq!(trust(50), Trust::LongMatch);
}

/// Reads the whole text for each guess.
fn slow_guess(text: &[u32], tokens_max: usize) -> Option<(usize, Vec<u32>)> {
    let end = text.len();
    let matched = |after: usize| {
        let pairs = text[..after].iter().rev().zip(text.iter().rev());
        pairs.take(MATCH_TOKENS_MAX).take_while(|(one, other)| one == other).count()
    };
    let after = (MATCH_TOKENS_MIN..end).max_by_key(|after| (matched(*after), *after))?;
    let length = matched(after);
    let tokens = (0..tokens_max).map(|at| text[after + at % (end - after)]).collect();
    (length >= MATCH_TOKENS_MIN).then_some((length, tokens))
}

proptest! {
    /// Grown token by token, the index finds what reading the whole text finds, as long as no three
    /// tokens occur more often than it looks.
    #[test]
    fn the_index_finds_what_a_reader_finds(
        text in prop::collection::vec(0..9_u32, 0..CANDIDATES_MAX + 2),
        far in prop::collection::vec(0..60_u32, 0..600),
    ) {
        for text in [text, far] {
            let mut lookup = Lookup::default();
            for end in 0..=text.len() {
                let found = lookup.guess(&text[..end], 5);
                let expected = slow_guess(&text[..end], 5);
                prop_assert_eq!(found.is_some(), expected.is_some());
                if let Some((found, (length, tokens))) = found.zip(expected) {
                    prop_assert_eq!(found.tokens, tokens);
                    prop_assert_eq!(found.trust, Trust::of_match(length));
                }
            }
        }
    }
}

#[test]
fn a_long_text_grows_the_index_and_loses_nothing() {
    let mut lookup = Lookup::default();
    let mut text: Vec<u32> = (0..5_000).collect();
    assert_eq!(lookup.guess(&text, 4), None);
    text.extend(100..110);
    assert_eq!(lookup.guess(&text, 4).unwrap().tokens, [110, 111, 112, 113]);
}

// The policy.

/// A machine on which steps take what `step_us` says, with streams whose guesses come true with
/// `truth`.
struct Machine {
    policy: Policy,
    step_us: fn(usize) -> f32,
    guess_us: f32,
    trust: Trust,
    truth: f32,
    record: Record,
    /// A sequence of numbers that look random.
    dice: u64,
    spent_us: f64,
    tokens: usize,
    steps: usize,
    /// Tokens that each step drafted.
    drafted: Vec<usize>,
}

impl Machine {
    fn new(step_us: fn(usize) -> f32, truth: f32) -> Self {
        Self {
            policy: Policy::new(Mode::Measured),
            step_us,
            guess_us: 0.0,
            trust: Trust::LongMatch,
            truth,
            record: Record::default(),
            dice: 7,
            spent_us: 0.0,
            tokens: 0,
            steps: 0,
            drafted: Vec::new(),
        }
    }

    fn roll(&mut self) -> f32 {
        self.dice = self.dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040);
        (self.dice >> 40) as f32 / (1_u64 << 24) as f32
    }

    fn step(&mut self) {
        let record = self.record;
        let offer = Offer { record: &record, trust: self.trust, tokens_max: 64 };
        let choice = self.policy.choose(1, &[offer]);
        let drafted = choice.tokens[0];
        assert!(drafted <= DRAFT_TOKENS_MAX);
        let accepted = (0..drafted).take_while(|_| self.roll() < self.truth).count();
        let took_us = (self.step_us)(1 + drafted);
        let guessing_us = drafted as f32 * self.guess_us;
        if self.guess_us > 0.0 && drafted > 0 {
            self.policy.guessed(drafted, guessing_us);
        }
        if drafted > 0 {
            self.policy.settled(&mut self.record, self.trust, drafted, accepted);
        }
        let is_trial = choice.is_trial;
        let step = Stepped { streams: 1, drafted, accepted, took_us, guessing_us, is_trial };
        self.policy.stepped(&step);
        self.spent_us += f64::from(took_us + guessing_us);
        self.tokens += 1 + accepted;
        self.steps += 1;
        self.drafted.push(drafted);
    }

    fn run(&mut self, steps: usize) -> &mut Self {
        (0..steps).for_each(|_| self.step());
        self
    }

    /// How many times as fast as without drafts.
    fn gain(&self) -> f64 {
        f64::from((self.step_us)(1)) * self.tokens as f64 / self.spent_us
    }
}

/// Waits for memory: 16 rows take hardly longer than one.
fn flat(rows: usize) -> f32 {
    20_000.0 + 300.0 * rows as f32
}

/// Computes: every row takes as long as the first.
fn steep(rows: usize) -> f32 {
    20_000.0 * rows as f32
}

/// Two rows take other kernels than one, at half the price for each beyond.
fn stepped(rows: usize) -> f32 {
    if rows == 1 { 20_000.0 } else { 35_000.0 + 1_000.0 * rows as f32 }
}

#[test]
fn what_pays_is_found_and_kept() {
    for (step_us, truth, least) in [
        (flat as fn(usize) -> f32, 0.9, 5.0),
        (flat, 0.6, 2.0),
        (flat, 0.3, 1.25),
        (stepped, 0.95, 3.0),
        (stepped, 0.9, 2.2),
    ] {
        let mut machine = Machine::new(step_us, truth);
        let gain = machine.run(3_000).gain();
        assert!(gain > least, "truth {truth}: {gain}");
    }
}

#[test]
fn what_loses_costs_less_than_two_percent() {
    for (step_us, truth) in [
        (steep as fn(usize) -> f32, 0.95),
        (steep, 0.0),
        (flat, 0.0),
        (stepped, 0.3),
        (stepped, 0.5),
    ] {
        for steps in [500, 5_000] {
            let mut machine = Machine::new(step_us, truth);
            let gain = machine.run(steps).gain();
            assert!(gain > 0.98, "truth {truth}, {steps} steps: {gain}");
        }
    }
}

#[test]
fn what_a_model_takes_to_guess_is_counted() {
    let with = |guess_us| {
        let mut machine = Machine::new(flat, 0.8);
        (machine.guess_us, machine.trust) = (guess_us, Trust::Model);
        machine.run(3_000).gain()
    };
    assert!(with(1_000.0) > 2.0, "a twentieth of a step");
    let dear = with(30_000.0);
    assert!(dear > 0.98, "dearer than the step itself: {dear}");
}

#[test]
fn a_model_reads_as_long_as_its_guesses_pay_or_may_pay() {
    let reads = |truth, guess_us| {
        let mut machine = Machine::new(flat, truth);
        (machine.guess_us, machine.trust) = (guess_us, Trust::Model);
        assert!(machine.policy.is_model_worth_its_reading(), "nothing is known");
        machine.run(3_000);
        machine.policy.is_model_worth_its_reading()
    };
    assert!(reads(0.8, 1_000.0));
    assert!(!reads(0.1, 5_000.0));
    assert!(!reads(0.8, 40_000.0));
    assert!(Policy::new(Mode::Fixed(3)).is_model_worth_its_reading());
}

#[test]
fn a_loser_is_tried_again_and_a_change_is_noticed() {
    let mut machine = Machine::new(flat, 0.0);
    machine.run(5_000);
    let late = &machine.drafted[4_000..];
    assert!(late.iter().any(|drafted| *drafted > 0), "it is never tried again");
    machine.truth = 0.95;
    machine.run(3_000);
    let used = machine.drafted[7_000..].iter().filter(|drafted| **drafted > 2).count();
    assert!(used > 900, "{used} of 1,000 steps draft");
    machine.truth = 0.0;
    machine.run(300);
    let wasted: usize = machine.drafted[8_100..].iter().sum();
    assert!(wasted < 200, "{wasted} guesses in 200 steps, one of which costs a 70th of a step");
}

#[test]
fn a_slow_machine_is_tried_too() {
    let mut machine = Machine::new(|rows| 400_000.0 + 20_000.0 * rows as f32, 0.9);
    assert!(machine.run(500).gain() > 2.0, "{}", machine.gain());
}

#[test]
fn a_machine_that_turns_slow_for_a_moment_is_not_given_up() {
    let mut machine = Machine::new(flat, 0.9);
    machine.run(500);
    machine.step_us = |rows| 40.0 * flat(rows);
    machine.run(3);
    machine.step_us = flat;
    (machine.tokens, machine.spent_us) = (0, 0.0);
    let gain = machine.run(1_000).gain();
    assert!(gain > 4.5, "{gain}");
}

#[test]
fn the_likelier_of_two_streams_gets_the_rows() {
    let mut policy = Policy::new(Mode::Measured);
    let (mut good, mut bad) = (Record::default(), Record::default());
    for rows in [1, 2, 4, 8, 16] {
        let took_us = flat(rows);
        let step = Stepped {
            streams: 1,
            drafted: rows - 1,
            accepted: 0,
            took_us,
            guessing_us: 0.0,
            is_trial: false,
        };
        policy.stepped(&step);
        policy.stepped(&Stepped { streams: 2, drafted: 0, took_us: flat(2), ..step });
    }
    for _ in 0..30 {
        policy.settled(&mut good, Trust::LongMatch, 8, 8);
        policy.settled(&mut bad, Trust::LongMatch, 8, 0);
    }
    let offer = |record| Offer { record, trust: Trust::LongMatch, tokens_max: 64 };
    let choice = policy.choose(2, &[offer(&bad), offer(&good)]);
    assert!(choice.tokens[1] > 8 && choice.tokens[0] <= 1, "{choice:?}");
    assert!(policy.worth(&offer(&good)) > 2.0 * policy.worth(&offer(&bad)));
}

#[test]
fn a_fixed_number_is_drafted_whatever_it_costs() {
    let record = Record::default();
    let offer = |tokens_max| Offer { record: &record, trust: Trust::ShortMatch, tokens_max };
    let choice = |tokens| Policy::new(Mode::Fixed(tokens)).choose(2, &[offer(3), offer(64)]);
    assert_eq!(choice(5).tokens, [3, 5]);
    assert_eq!(choice(500).tokens, [3, DRAFT_TOKENS_MAX]);
    assert_eq!(choice(0).tokens, [0, 0]);
}

proptest! {
    /// On any machine whose steps take the longer the more rows they have, and whatever comes true of
    /// the guesses: never much slower than without, tried again and again, and within the bounds.
    #[test]
    fn no_machine_is_slowed_down(
        base_us in 1_000.0..500_000.0_f32,
        row_share in 0.0..1.5_f32,
        truth in 0.0..1.0_f32,
        seed: u64,
    ) {
        let mut machine = Machine::new(flat, truth);
        machine.dice = seed;
        let step_us = |rows: usize| base_us * (1.0 + row_share * (rows - 1) as f32);
        let (mut tokens, mut spent_us, mut drafted_late) = (0_usize, 0.0_f64, 0);
        for step in 0..4_000 {
            let record = machine.record;
            let offer = Offer { record: &record, trust: machine.trust, tokens_max: 64 };
            let choice = machine.policy.choose(1, &[offer]);
            let drafted = choice.tokens[0];
            let accepted = (0..drafted).take_while(|_| machine.roll() < truth).count();
            let took_us = step_us(1 + drafted);
            machine.policy.settled(&mut machine.record, machine.trust, drafted, accepted);
            machine.policy.stepped(&Stepped {
                streams: 1,
                drafted,
                accepted,
                took_us,
                guessing_us: 0.0,
                is_trial: choice.is_trial,
            });
            tokens += 1 + accepted;
            spent_us += f64::from(took_us);
            drafted_late += usize::from(step > 2_000 && drafted > 0);
        }
        let gain = f64::from(base_us) * tokens as f64 / spent_us;
        prop_assert!(gain > 0.98, "{gain}");
        prop_assert!(drafted_late > 0, "it is never tried again");
    }
}
