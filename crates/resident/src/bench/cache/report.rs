//! What was measured of the cache: for people as a table of medians, with what the project wants to
//! reach.

use super::{Beside, BesideCase, Case, Outcome, Plan, Sample};
use crate::{
    bench::{report::Reach, statistic::median},
    size,
    table::{Align, Table},
    terminal::Paint,
};

/// What a restore from files may take of a plain read of them and one decode step.
const OF_PLAIN_READ_MAX: f64 = 1.5;

/// How many times as quick as computing the prompt a restore from files must be.
const OVER_COLD_MIN: f64 = 50.0;

/// In the order of the table.
const CASES: [Case; 7] =
    [Case::Cold, Case::Live, Case::Ram, Case::SsdWarm, Case::SsdCold, Case::Switch, Case::Restart];

const BESIDE_CASES: [BesideCase; 4] =
    [BesideCase::Cold, BesideCase::Live, BesideCase::HostCache, BesideCase::SavedSlot];

impl Case {
    /// The words in tables.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Cold => "nowhere: it is computed",
            Self::Live => "the context",
            Self::Ram => "memory",
            Self::SsdWarm => "files in the page cache",
            Self::SsdCold => "files on the disk",
            Self::Switch => "files, after a switch and back",
            Self::Restart => "files, after a restart of the hub",
        }
    }
}

impl BesideCase {
    fn word(self) -> &'static str {
        match self {
            Self::Cold => "llama-server: nowhere",
            Self::Live => "llama-server: its slot",
            Self::HostCache => "llama-server: its cache in memory",
            Self::SavedSlot => "llama-server: a saved slot, in the page cache",
        }
    }
}

impl Sample {
    /// For people, when it was measured.
    pub(super) fn line(&self) -> String {
        let plain = self.plain.map_or_else(String::new, |plain| {
            format!(", reading the files alone {:.0} ms", plain.best_ms())
        });
        format!(
            "from {}: first token after {:.0} ms{plain}, a further one {:.1} ms",
            self.case.word(),
            self.first_token_ms,
            self.decode_ms
        )
    }

    /// The first token's time without that of loading the model.
    fn without_load_ms(&self) -> f64 {
        self.first_token_ms - self.load_ms.unwrap_or(0.0)
    }

    /// How many times as long as a plain read of the same files and one decode step; `None` where no
    /// files were read.
    fn of_plain_read(&self) -> Option<f64> {
        Some(self.without_load_ms() / (self.plain?.best_ms() + self.decode_ms))
    }
}

impl Beside {
    pub(super) fn line(&self) -> String {
        format!("from {}: first token after {:.0} ms", self.case.word(), self.total_ms())
    }

    fn total_ms(&self) -> f64 {
        self.first_token_ms + self.restore_ms.unwrap_or(0.0)
    }
}

impl Outcome {
    pub(super) fn new(plan: Plan, samples: Vec<Sample>, llama_server: Option<Vec<Beside>>) -> Self {
        let Plan { model, other, prompt_tokens, rounds, threads, .. } = plan;
        let reach = Vec::new();
        let outcome =
            Self { model, other, prompt_tokens, rounds, threads, samples, llama_server, reach };
        Self { reach: outcome.reach(), ..outcome }
    }

    /// For people.
    pub(crate) fn lines(&self, paint: Paint) -> Vec<String> {
        let mut lines = vec![
            self.model.line(),
            format!(
                "a prompt of {} tokens, {} threads, medians of {} rounds",
                self.prompt_tokens, self.threads, self.rounds
            ),
            String::new(),
        ];
        lines.extend(self.table().lines(paint));
        let remarks = [
            (self.other.is_none(), "no switch was measured; name another model with --other"),
            (self.llama_server.is_none(), "llama-server is not on PATH"),
            (
                self.of(Case::Ram).iter().any(|one| one.prompt_tokens != self.prompt_tokens),
                "memory holds the beginning of the prompt only, and is asked for that",
            ),
        ];
        for (_, sentence) in remarks.iter().filter(|(is_so, _)| *is_so) {
            lines.push((*sentence).to_owned());
        }
        lines.push(String::new());
        lines.extend(Reach::lines(&self.reach, paint));
        lines
    }

    fn table(&self) -> Table {
        let mut table = Table::new(&[
            ("THE PREFIX COMES FROM", Align::Left),
            ("TOKENS", Align::Right),
            ("BYTES", Align::Right),
            ("FIRST TOKEN", Align::Right),
            ("NOT LOADING", Align::Right),
            ("", Align::Left),
            ("QUICKER THAN COMPUTED", Align::Right),
            ("PLAIN READ", Align::Right),
            ("DECODE STEP", Align::Right),
            ("", Align::Left),
            ("OF BOTH", Align::Right),
        ]);
        for case in CASES {
            table_row(&mut table, case, &self.of(case), self.cold_ms(), self.prompt_tokens);
        }
        for case in BESIDE_CASES {
            let of_it = self.llama_server.iter().flatten().filter(|sample| sample.case == case);
            let of_it: Vec<&Beside> = of_it.collect();
            let Some(last) = of_it.last() else { continue };
            let ms = middle(&of_it, |sample| Some(sample.total_ms()));
            let of_cold = self.cold_ms().zip(ms).map(|(cold, ms)| cold / ms);
            table.row(vec![
                case.word().to_owned(),
                last.cached_tokens.to_string(),
                String::new(),
                number(ms, 0),
                String::new(),
                "ms".to_owned(),
                number(of_cold, 1),
            ]);
        }
        table
    }

    fn of(&self, case: Case) -> Vec<&Sample> {
        self.samples.iter().filter(|sample| sample.case == case).collect()
    }

    fn cold_ms(&self) -> Option<f64> {
        middle(&self.of(Case::Cold), |sample| Some(sample.first_token_ms))
    }

    fn reach(&self) -> Vec<Reach> {
        let of_plain_read = |case| middle(&self.of(case), Sample::of_plain_read);
        let over_cold = |case| {
            let ms = middle(&self.of(case), |sample| Some(sample.first_token_ms));
            self.cold_ms().zip(ms).map(|(cold, ms)| cold / ms)
        };
        vec![
            Reach::below(
                "files in the page cache, of a plain read and a decode step",
                OF_PLAIN_READ_MAX,
                of_plain_read(Case::SsdWarm),
            ),
            Reach::below(
                "files on the disk, of a plain read and a decode step",
                OF_PLAIN_READ_MAX,
                of_plain_read(Case::SsdCold),
            ),
            Reach::at_least(
                "files in the page cache, quicker than computed",
                OVER_COLD_MIN,
                over_cold(Case::SsdWarm),
            ),
            Reach::at_least(
                "files on the disk, quicker than computed",
                OVER_COLD_MIN,
                over_cold(Case::SsdCold),
            ),
        ]
    }
}

fn table_row(
    table: &mut Table,
    case: Case,
    samples: &[&Sample],
    cold_ms: Option<f64>,
    prompt_tokens: u32,
) {
    let Some(last) = samples.last() else { return };
    let ms = middle(samples, |sample| Some(sample.first_token_ms));
    let is_compared = case != Case::Cold && last.prompt_tokens == prompt_tokens;
    let of_cold = cold_ms.zip(ms).map(|(cold, ms)| cold / ms).filter(|_| is_compared);
    let came = last.came.live + last.came.ram + last.came.ssd;
    table.row(vec![
        case.word().to_owned(),
        came.to_string(),
        if last.bytes == 0 { String::new() } else { size::format(last.bytes) },
        number(ms, 0),
        number(middle(samples, |sample| sample.load_ms.map(|_| sample.without_load_ms())), 0),
        "ms".to_owned(),
        number(of_cold, 1),
        number(middle(samples, |sample| Some(sample.plain?.best_ms())), 0),
        number(middle(samples, |sample| Some(sample.decode_ms)), 1),
        "ms".to_owned(),
        number(middle(samples, |sample| sample.of_plain_read()), 2),
    ]);
}

/// The median of what there is.
fn middle<T>(samples: &[&T], figure: impl Fn(&T) -> Option<f64>) -> Option<f64> {
    median(&samples.iter().filter_map(|sample| figure(sample)).collect::<Vec<f64>>())
}

fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(String::new, |value| format!("{value:.digits$}"))
}

#[cfg(test)]
mod tests {
    use super::{
        super::{super::client::Came, files::PlainRead},
        *,
    };
    use crate::bench::subject::Subject;

    fn sample(case: Case, first_token_ms: f64, plain_ms: Option<f64>) -> Sample {
        let read = |ms| PlainRead { bytes: 5 << 20, one_thread_ms: ms, two_threads_ms: ms + 1.0 };
        Sample {
            case,
            prompt_tokens: 1024,
            first_token_ms,
            load_ms: (case == Case::Restart).then_some(400.0),
            came: case.expected(1024),
            bytes: 5 << 20,
            plain: plain_ms.map(read),
            decode_ms: 100.0,
        }
    }

    fn outcome() -> Outcome {
        let model = Subject {
            name: "m".into(),
            path: "m.gguf".into(),
            file_bytes: 1,
            architecture: "qwen3".into(),
            parameters: 1,
            quantization: "Q8_0".into(),
            vocabulary_tokens: 512,
            has_head: false,
        };
        let samples = vec![
            sample(Case::Cold, 15_000.0, None),
            sample(Case::SsdWarm, 270.0, Some(100.0)),
            sample(Case::SsdWarm, 400.0, Some(100.0)),
            sample(Case::SsdWarm, 290.0, Some(100.0)),
            sample(Case::SsdCold, 310.0, Some(100.0)),
            sample(Case::Restart, 700.0, Some(100.0)),
        ];
        let beside = Beside {
            case: BesideCase::SavedSlot,
            first_token_ms: 100.0,
            restore_ms: Some(500.0),
            cached_tokens: 1023,
        };
        let plan = Plan {
            model,
            other: None,
            worker: "worker".into(),
            prompt_tokens: 1024,
            rounds: 3,
            cold_rounds: 1,
            threads: 2,
            budget_bytes: 1,
        };
        Outcome::new(plan, samples, Some(vec![beside]))
    }

    #[test]
    fn medians_and_what_they_reach() {
        let outcome = outcome();
        let met: Vec<bool> = outcome.reach.iter().map(Reach::is_met).collect();
        // 1.45 and 51.7 with the files in the page cache, 1.55 and 48.4 on the disk.
        assert_eq!(met, [true, false, true, false]);
        let lines = outcome.lines(Paint::plain()).join("\n");
        for part in ["290", "1.45", "51.7", "1.50", "300", "600", "25.0", "--other"] {
            assert!(lines.contains(part), "'{part}' is missing in:\n{lines}");
        }
        assert!(!lines.contains("PATH"));
    }

    #[test]
    fn every_tier_must_say_its_own_name() {
        let all = CASES.map(|case| case.expected(1024));
        assert_eq!(all[0], Came::default());
        assert_eq!([all[1].live, all[2].ram, all[3].ssd, all[6].ssd], [1023; 4]);
        let from_files = CASES.iter().filter(|case| case.expected(1024).ssd > 0).count();
        assert_eq!(from_files, 4);
    }
}
