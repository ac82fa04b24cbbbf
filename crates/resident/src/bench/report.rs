//! The outcome of `resident bench`: as a table beside each other, and as JSON with every sample.
//!
//! What the project wants to reach is marked as met or not met from what was measured, rounded
//! nowhere before.

use serde::Serialize;

use super::{
    hub::Memory,
    latency::Added,
    speed::{Cache, Pair, Plan, Turn},
    statistic::{best, median},
    subject::Subject,
};
use crate::{
    size,
    table::{Align, Table},
    terminal::{Paint, Tone},
};

/// What one stream through the hub must reach of the plain loop.
const ONE_STREAM_SHARE_MIN: f64 = 0.97;

/// What eight streams through the hub must reach of llama.cpp's own batch of eight.
const EIGHT_STREAMS_SHARE_MIN: f64 = 0.95;

/// What the hub may add to half of the requests, in milliseconds.
const ADDED_MS_MAX: f64 = 0.5;

/// What an idle hub may hold, in units of 1,000,000 bytes.
const IDLE_MB_MAX: f64 = 30.0;

/// Everything that was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Outcome {
    /// The model.
    model: Subject,
    /// Threads of a step, on both sides.
    threads: u32,
    rounds: u32,
    tokens: u32,
    prompt_tokens: u32,
    speeds: Vec<Speed>,
    added: Added,
    memory_idle: Memory,
    memory_after: Memory,
    reach: Vec<Reach>,
    /// Every pair of turns in the order it was measured.
    pairs: Vec<Pair>,
}

/// One number of streams: the best of each side.
#[derive(Debug, Serialize)]
struct Speed {
    streams: u32,
    /// The plain loop's better cache.
    cache: Cache,
    prefill: Compared,
    decode: Compared,
    first_token_seconds: Compared,
    /// The best by the worker's own account.
    worker_decode_tokens_per_s: f64,
    /// Whether the hub's decode figure is free of prompts.
    was_cached: bool,
}

/// Both sides of one figure.
#[derive(Debug, Clone, Copy, Serialize)]
struct Compared {
    plain: f64,
    hub: f64,
    /// Hub over plain, of the bests.
    ratio: f64,
    /// Hub over plain, the median of neighbouring turns.
    ratio_median: f64,
}

/// Something the project wants to reach.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Reach {
    what: &'static str,
    wanted: f64,
    measured: Option<f64>,
    is_lower_better: bool,
    is_met: bool,
}

impl Outcome {
    /// Puts the samples together.
    pub(crate) fn new(
        model: Subject,
        plan: &Plan,
        pairs: Vec<Pair>,
        added: Added,
        memory_idle: Memory,
        memory_after: Memory,
    ) -> Self {
        let speeds: Vec<Speed> =
            plan.streams.iter().filter_map(|streams| speed(*streams, &pairs)).collect();
        let reach = reach(&speeds, added, memory_idle);
        Self {
            model,
            threads: plan.threads,
            rounds: plan.rounds,
            tokens: plan.tokens,
            prompt_tokens: plan.prompt_tokens,
            speeds,
            added,
            memory_idle,
            memory_after,
            reach,
            pairs,
        }
    }

    /// For people.
    pub(crate) fn lines(&self, paint: Paint) -> Vec<String> {
        let mut lines = vec![
            self.model.line(),
            format!(
                "{} threads on both sides, best of {} rounds; {} prompt tokens in all, answers of {}",
                self.threads, self.rounds, self.prompt_tokens, self.tokens
            ),
            String::new(),
        ];
        lines.extend(self.speed_table().lines(paint));
        if self.speeds.iter().any(|speed| !speed.was_cached) {
            lines.push(
                "The hub did not find every prompt in its cache, so decode has prompts in it."
                    .to_owned(),
            );
        }
        lines.push(String::new());
        lines.extend(self.added_table().lines(paint));
        lines.push(String::new());
        lines.extend(self.memory_table().lines(paint));
        lines.push(String::new());
        lines.extend(Reach::lines(&self.reach, paint));
        lines
    }

    fn speed_table(&self) -> Table {
        let mut table = Table::new(&[
            ("", Align::Left),
            ("STREAMS", Align::Right),
            ("PLAIN", Align::Right),
            ("HUB", Align::Right),
            ("(WORKER)", Align::Right),
            ("", Align::Left),
            ("HUB/PLAIN", Align::Right),
            ("MEDIAN", Align::Right),
            ("PLAIN CACHE", Align::Left),
        ]);
        let mut row = |what: &str, unit: &str, scale: f64, speed: &Speed, figure: Compared| {
            let by_worker = (what == "decode")
                .then(|| format!("({:.1})", speed.worker_decode_tokens_per_s * scale));
            table.row(vec![
                what.to_owned(),
                speed.streams.to_string(),
                format!("{:.1}", figure.plain * scale),
                format!("{:.1}", figure.hub * scale),
                by_worker.unwrap_or_default(),
                unit.to_owned(),
                format!("{:.3}", figure.ratio),
                format!("{:.3}", figure.ratio_median),
                speed.cache.word().to_owned(),
            ]);
        };
        for speed in &self.speeds {
            row("prefill", "tokens/s", 1.0, speed, speed.prefill);
        }
        for speed in &self.speeds {
            row("decode", "tokens/s", 1.0, speed, speed.decode);
        }
        for speed in self.speeds.iter().filter(|speed| speed.streams == 1) {
            row("first token", "ms", 1000.0, speed, speed.first_token_seconds);
        }
        table
    }

    fn added_table(&self) -> Table {
        let mut table = Table::new(&[
            ("ADDED BY THE HUB", Align::Left),
            ("P50", Align::Right),
            ("P99", Align::Right),
            ("", Align::Left),
            ("SAMPLES", Align::Right),
        ]);
        for (what, spread) in
            [("to a request", self.added.request_ms), ("to a streamed token", self.added.token_ms)]
        {
            table.row(vec![
                what.to_owned(),
                format!("{:.3}", spread.p50),
                format!("{:.3}", spread.p99),
                "ms".to_owned(),
                spread.samples.to_string(),
            ]);
        }
        table
    }

    fn memory_table(&self) -> Table {
        let mut table = Table::new(&[
            ("MEMORY OF THE HUB", Align::Left),
            ("RESIDENT", Align::Right),
            ("PROPORTIONAL", Align::Right),
        ]);
        for (when, memory) in
            [("idle, no model loaded yet", self.memory_idle), ("at the end", self.memory_after)]
        {
            table.row(vec![
                when.to_owned(),
                size::format(memory.resident_bytes),
                memory.proportional_bytes.map_or_else(|| "-".to_owned(), size::format),
            ]);
        }
        table
    }
}

impl Reach {
    /// `measured` must be `wanted` or more.
    pub(crate) fn at_least(what: &'static str, wanted: f64, measured: Option<f64>) -> Self {
        let is_met = measured.is_some_and(|measured| measured >= wanted);
        Self { what, wanted, measured, is_lower_better: false, is_met }
    }

    /// `measured` must be less than `wanted`.
    pub(crate) fn below(what: &'static str, wanted: f64, measured: Option<f64>) -> Self {
        let is_met = measured.is_some_and(|measured| measured < wanted);
        Self { what, wanted, measured, is_lower_better: true, is_met }
    }

    /// Whether it was reached.
    #[cfg(test)]
    pub(crate) fn is_met(&self) -> bool {
        self.is_met
    }

    /// A table of what was reached and what was not.
    pub(crate) fn lines(reach: &[Self], paint: Paint) -> Vec<String> {
        let mut table = Table::new(&[
            ("REACH", Align::Left),
            ("WANTED", Align::Right),
            ("MEASURED", Align::Right),
            ("", Align::Left),
        ]);
        for one in reach {
            let sign = if one.is_lower_better { "<" } else { ">=" };
            table.row(vec![
                one.what.to_owned(),
                format!("{sign} {}", one.wanted),
                one.measured.map_or_else(|| "-".to_owned(), |measured| format!("{measured:.3}")),
                if one.is_met { "met".to_owned() } else { paint.tone(Tone::Alarm, "not met") },
            ]);
        }
        table.lines(paint)
    }
}

impl Subject {
    /// The model in one line.
    pub(crate) fn line(&self) -> String {
        format!(
            "{}: {}, {} parameters, {}, {}",
            self.name,
            self.architecture,
            self.parameters,
            self.quantization,
            size::format(self.file_bytes)
        )
    }
}

/// `part / whole`, if there are both.
pub(crate) fn ratio(part: Option<f64>, whole: Option<f64>) -> Option<f64> {
    part.zip(whole).map(|(part, whole)| part / whole)
}

/// The bests of `streams` streams; the plain loop's is that of its better cache.
fn speed(streams: u32, pairs: &[Pair]) -> Option<Speed> {
    let here: Vec<Pair> = pairs.iter().filter(|pair| pair.streams == streams).copied().collect();
    let better = here
        .iter()
        .max_by(|a, b| a.plain.decode_tokens_per_s.total_cmp(&b.plain.decode_tokens_per_s))?;
    let by_worker: Vec<f64> = here.iter().map(|pair| pair.worker_decode_tokens_per_s).collect();
    let compared = |figure: fn(&Turn) -> f64, is_lower_better: bool| {
        // The smallest is the largest of the negated.
        let sign = if is_lower_better { -1.0 } else { 1.0 };
        let of = |turns: &mut dyn Iterator<Item = f64>| {
            let signed: Vec<f64> = turns.map(|value| sign * value).collect();
            best(&signed).map(|value| sign * value)
        };
        let plain = of(&mut here.iter().map(|pair| figure(&pair.plain)))?;
        let hub = of(&mut here.iter().map(|pair| figure(&pair.hub)))?;
        let same_cache = here.iter().filter(|pair| pair.cache == better.cache);
        let ratios: Vec<f64> =
            same_cache.map(|pair| figure(&pair.hub) / figure(&pair.plain)).collect();
        Some(Compared { plain, hub, ratio: hub / plain, ratio_median: median(&ratios)? })
    };
    Some(Speed {
        streams,
        cache: better.cache,
        prefill: compared(|turn| turn.prefill_tokens_per_s, false)?,
        decode: compared(|turn| turn.decode_tokens_per_s, false)?,
        first_token_seconds: compared(|turn| turn.first_token_seconds, true)?,
        worker_decode_tokens_per_s: best(&by_worker)?,
        was_cached: here.iter().all(|pair| pair.was_cached),
    })
}

fn reach(speeds: &[Speed], added: Added, idle: Memory) -> Vec<Reach> {
    let decode = |streams: u32| {
        speeds.iter().find(|speed| speed.streams == streams).map(|speed| speed.decode.ratio)
    };
    #[expect(clippy::cast_precision_loss, reason = "no hub holds 2^53 bytes")]
    let idle_mb = idle.resident_bytes as f64 / 1e6;
    vec![
        Reach::at_least("decode of one stream, of plain", ONE_STREAM_SHARE_MIN, decode(1)),
        Reach::at_least("decode of 8 streams, of plain", EIGHT_STREAMS_SHARE_MIN, decode(8)),
        Reach::below("added to a request, p50 in ms", ADDED_MS_MAX, Some(added.request_ms.p50)),
        Reach::below(
            "added to a streamed token, p50 in ms",
            ADDED_MS_MAX,
            Some(added.token_ms.p50),
        ),
        Reach::below("idle hub in MB", IDLE_MB_MAX, Some(idle_mb)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::statistic::Spread;

    fn turn(speed: f64) -> Turn {
        Turn {
            prefill_tokens_per_s: speed * 10.0,
            decode_tokens_per_s: speed,
            first_token_seconds: 1.0 / speed,
        }
    }

    fn pair(streams: u32, cache: Cache, plain: f64, hub: f64) -> Pair {
        Pair {
            streams,
            cache,
            plain: turn(plain),
            hub: turn(hub),
            worker_decode_tokens_per_s: hub,
            was_cached: true,
        }
    }

    #[test]
    fn bests_are_compared_with_the_better_plain_cache() {
        let pairs = [
            pair(8, Cache::Unified, 90.0, 95.0),
            pair(8, Cache::Split, 100.0, 80.0),
            pair(8, Cache::Unified, 60.0, 96.0),
            pair(8, Cache::Split, 50.0, 45.0),
        ];
        let speed = speed(8, &pairs).unwrap();
        assert_eq!(speed.cache, Cache::Split);
        assert_eq!((speed.decode.plain, speed.decode.hub), (100.0, 96.0));
        assert!((speed.decode.ratio - 0.96).abs() < 1e-9);
        assert!((speed.decode.ratio_median - 0.8).abs() < 1e-9, "of 0.8 and 0.9 the lower");
        let first = speed.first_token_seconds;
        assert!((first.plain - 0.01).abs() < 1e-9 && (first.hub - 1.0 / 96.0).abs() < 1e-9);
    }

    #[test]
    fn what_was_not_reached_is_said() {
        let speeds: Vec<Speed> =
            [speed(1, &[pair(1, Cache::Unified, 100.0, 96.0)])].into_iter().flatten().collect();
        let spread = Spread { p50: 0.4, p99: 2.0, samples: 10 };
        let added = Added { request_ms: spread, token_ms: spread };
        let idle = Memory { resident_bytes: 30_000_000, proportional_bytes: None };
        let met: Vec<bool> =
            reach(&speeds, added, idle).iter().map(|reach| reach.is_met()).collect();
        // 0.96 is under 0.97, 8 streams were not measured, 30 MB are not under 30 MB.
        assert_eq!(met, [false, false, true, true, false]);
    }
}
