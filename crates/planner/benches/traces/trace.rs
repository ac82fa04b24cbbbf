//! Traces: who asked for which model when. Made from seeds, so that everyone plays the same ones.

use std::time::Duration;

use crate::random::Random;

/// A machine, its models, and what is asked of it.
#[derive(Debug, Clone)]
pub(crate) struct Trace {
    pub(crate) budget_bytes: u64,
    pub(crate) models: Vec<Shape>,
    /// In the order of their arrival.
    pub(crate) visits: Vec<Visit>,
}

/// What a model costs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) bytes: u64,
    pub(crate) load: Duration,
}

/// One request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Visit {
    pub(crate) at: Duration,
    pub(crate) model: usize,
    pub(crate) uses_for: Duration,
}

/// What the requests of a trace are like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    /// Two agents, each with a model of its own that does not fit beside the other's.
    TwoAgents,
    /// Three agents, and room for two of their models.
    ThreeAgents,
    /// People who ask one model for a while and then another, several at a time.
    Bursts,
    /// One model that everybody uses, and four that are asked for now and then.
    LongTail,
    /// A model that is dear to load, between several that are cheap.
    DearAndCheap,
    /// A stream of requests for one model, and now and then one for another.
    Stream,
}

impl Family {
    pub(crate) const ALL: [Self; 6] = [
        Self::TwoAgents,
        Self::ThreeAgents,
        Self::Bursts,
        Self::LongTail,
        Self::DearAndCheap,
        Self::Stream,
    ];

    /// The trace of this family with this seed.
    pub(crate) fn trace(self, seed: u64) -> Trace {
        let mut random = Random::new(seed.wrapping_mul(64).wrapping_add(self as u64));
        let (sizes, loads_s): (&[u64], &[u64]) = match self {
            Self::TwoAgents => (&[60, 60], &[4, 3]),
            Self::ThreeAgents => (&[45, 50, 40], &[6, 7, 5]),
            Self::Bursts => (&[60, 45, 30, 55], &[5, 4, 3, 4]),
            Self::LongTail => (&[50, 40, 40, 45, 35], &[4, 3, 3, 4, 3]),
            Self::DearAndCheap => (&[50, 45, 45, 40], &[20, 4, 4, 4]),
            Self::Stream => (&[70, 60, 10], &[5, 4, 1]),
        };
        let shape = |(bytes, load_s): (&u64, &u64)| Shape {
            bytes: *bytes,
            load: Duration::from_secs(*load_s),
        };
        let models: Vec<Shape> = sizes.iter().zip(loads_s).map(shape).collect();
        let mut visits = match self {
            Self::TwoAgents => agents(&[3_000, 4_000], &mut random),
            Self::ThreeAgents => agents(&[4_000, 5_000, 6_000], &mut random),
            Self::Bursts => bursts(models.len(), &mut random),
            Self::LongTail => agents(&[2_500, 45_000, 60_000, 50_000, 70_000], &mut random),
            Self::DearAndCheap => agents(&[5_000, 9_000, 11_000, 13_000], &mut random),
            Self::Stream => agents(&[1_200, 40_000, 9_000], &mut random),
        };
        visits.sort_by_key(|visit| visit.at);
        Trace { budget_bytes: 100, models, visits }
    }
}

/// How long a trace goes on.
const LENGTH_MS: u64 = 240_000;

/// One agent for each model, which asks about as often as its figure says.
fn agents(every_ms: &[u64], random: &mut Random) -> Vec<Visit> {
    let mut visits = Vec::new();
    for (model, every_ms) in every_ms.iter().enumerate() {
        let mut at_ms = random.below(*every_ms);
        while at_ms < LENGTH_MS {
            visits.push(visit(at_ms, model, random));
            at_ms += every_ms / 2 + random.below(*every_ms);
        }
    }
    visits
}

/// Bursts of questions to one model each, two of them at a time.
fn bursts(models: usize, random: &mut Random) -> Vec<Visit> {
    let mut visits = Vec::new();
    for _ in 0..2 {
        let mut at_ms = random.below(5_000);
        while at_ms < LENGTH_MS {
            let model = random.below(models as u64) as usize;
            for _ in 0..4 + random.below(10) {
                visits.push(visit(at_ms, model, random));
                at_ms += 1_000 + random.below(3_000);
            }
            at_ms += random.below(8_000);
        }
    }
    visits
}

fn visit(at_ms: u64, model: usize, random: &mut Random) -> Visit {
    let uses_for = Duration::from_millis(200 + random.below(800));
    Visit { at: Duration::from_millis(at_ms), model, uses_for }
}
