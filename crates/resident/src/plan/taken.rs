//! Which file of a model a pull takes on this machine, and why, told before anything starts.
//!
//! It is the plan that `resident plan MODEL` prints, cut down to its answer. Not here: pulling.

use std::path::Path;

use serde::Serialize;

use super::{
    form,
    host::Host,
    one,
    row::{Question, Row},
    subject::Subject,
};
use crate::{config::Settings, ls, size};

/// The file to take.
#[derive(Debug, Serialize)]
pub(crate) struct Taken {
    /// What the model is called where it is from, or in the catalogue.
    pub(crate) model: String,
    /// The file, as people write it: `Q4_K_M`.
    pub(crate) quantization: String,
    /// Among how many it was chosen.
    pub(crate) of: usize,
    /// Its length, where that is known.
    pub(crate) file_bytes: Option<u64>,
    /// Memory that it will take.
    pub(crate) memory_bytes: u64,
    /// With a context of so many tokens.
    pub(crate) context_tokens: u32,
    /// What models may have on this machine.
    pub(crate) budget_bytes: u64,
    /// How fast it writes, in tokens a second.
    pub(crate) writes_tokens_per_s: Option<f64>,
    /// Whether it fits.
    pub(crate) fits: bool,
    /// Why this one; why not, where nothing fits.
    pub(crate) reason: String,
    /// What would make it fit.
    pub(crate) ways_out: Vec<String>,
    #[serde(skip)]
    title: String,
    #[serde(skip)]
    parameters: u64,
    #[serde(skip)]
    host: String,
}

/// The file of what `text` means that this machine should take: a name of the catalogue, or something
/// that lies elsewhere, of which headers are read.
///
/// # Errors
/// As `resident plan`.
pub(crate) fn taken(text: &str, settings: &Settings) -> anyhow::Result<Taken> {
    let subject = Subject::find(text, settings)?;
    of_subject(&subject, settings)
}

/// The same of an entry of the catalogue, whatever the hub has under its name.
///
/// # Errors
/// As `resident plan`.
pub(crate) fn of_catalogue(text: &str, settings: &Settings) -> anyhow::Result<Taken> {
    of_subject(&Subject::of_catalogue(text)?, settings)
}

/// The same of a file of this machine.
///
/// # Errors
/// As `resident plan`.
pub(crate) fn of_file(path: &Path, settings: &Settings) -> anyhow::Result<Taken> {
    of_subject(&Subject::of_file(path)?, settings)
}

fn of_subject(subject: &Subject, settings: &Settings) -> anyhow::Result<Taken> {
    let question = question(settings)?;
    let document = one::Document::of(&question, subject);
    Ok(Taken::of(&document, &question))
}

/// How the hub of these settings would load a model.
fn question(settings: &Settings) -> anyhow::Result<Question> {
    Ok(Question {
        host: Host::here(settings)?,
        context_tokens: settings.context_tokens,
        cache: None,
        hub_cache: settings.kv_type,
        parallel: settings.parallel,
    })
}

impl Taken {
    fn of(document: &one::Document, question: &Question) -> Self {
        let row: &Row = &document.choice;
        Self {
            model: row.model.clone(),
            quantization: row.quantization.clone(),
            of: document.quantizations.len(),
            file_bytes: row.file_bytes,
            memory_bytes: row.total_bytes,
            context_tokens: row.context_tokens,
            budget_bytes: row.budget_bytes,
            writes_tokens_per_s: row.decode_tokens_per_s,
            fits: document.recommended.is_some(),
            reason: document.reason.clone().unwrap_or_else(|| row.why.clone()),
            ways_out: document.offers.iter().map(one::OfferRow::line).collect(),
            title: row.title.clone(),
            parameters: row.parameters,
            host: question.host.line(),
        }
    }

    /// Whether it writes text that a person reads.
    pub(crate) fn writes(&self) -> bool {
        self.writes_tokens_per_s.is_some()
    }

    /// What a person reads before the pull starts.
    pub(crate) fn lines(&self) -> Vec<String> {
        let name = if self.title == self.model {
            self.model.clone()
        } else {
            format!("{} ({})", self.title, self.model)
        };
        let file = match self.file_bytes {
            Some(bytes) => format!("{} to pull, ", size::format(bytes)),
            None => String::new(),
        };
        let context = match self.context_tokens {
            0 => String::new(),
            tokens => format!(" with a context of {tokens} tokens"),
        };
        let writes = match self.writes_tokens_per_s {
            Some(_) => format!(", writes about {}", form::speed(self.writes_tokens_per_s)),
            None => String::new(),
        };
        let chosen = match self.of {
            1 => String::new(),
            several => format!(", of {several} quantizations"),
        };
        vec![
            format!("{name}, {} parameters, on {}", ls::parameters(self.parameters), self.host),
            format!(
                "{}{chosen}: {file}{} in memory{context}{writes}",
                self.quantization,
                size::format(self.memory_bytes)
            ),
            format!("{}.", self.reason),
        ]
    }

    /// Why it is not pulled, where nothing of it fits.
    pub(crate) fn refusal(&self) -> String {
        let which = if self.of == 1 {
            format!("{} in {} does not fit", self.model, self.quantization)
        } else {
            format!(
                "no quantization of {} fits; the smallest, {}, needs the least",
                self.model, self.quantization
            )
        };
        let ways_out: String = self.ways_out.iter().map(|way| format!("\n  {way}")).collect();
        format!(
            "{which}: {}\n  --force pulls it all the same; `resident plan` lists what fits this \
             machine{ways_out}",
            self.reason
        )
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use planner::{catalogue, footprint::CacheType};

    use super::{super::host, *};

    fn taken_on(machine: &str, name: &str, quantization: Option<&str>) -> Taken {
        let question = Question {
            host: host::known(machine),
            context_tokens: None,
            cache: None,
            hub_cache: CacheType::F16,
            parallel: 8,
        };
        let entry = catalogue::builtin().find(name).unwrap();
        let subject = Subject::of_entry(entry, quantization).unwrap();
        Taken::of(&one::Document::of(&question, &subject), &question)
    }

    #[test]
    fn it_is_said_what_is_taken_and_why() {
        let taken = taken_on("m4-16gb", "qwen3-8b", None);
        assert!(taken.fits);
        expect![[r"
            Qwen3 8B (qwen3-8b), 8.1B parameters, on m4-16gb: 12.0 GiB for models
            Q8_0, of 14 quantizations: 8.1 GiB to pull, 10.7 GiB in memory with a context of 16384 tokens, writes about 13 t/s
            Q8_0 fits, and no other is better: as good as the original.
        "]]
        .assert_eq(&format!("{}\n", taken.lines().join("\n")));
    }

    #[test]
    fn what_fits_nowhere_is_refused_with_the_ways_out() {
        let all = taken_on("m4-16gb", "llama-3.3-70b", None);
        assert!(!all.fits);
        let said = all.refusal();
        assert!(
            said.starts_with("no quantization of llama-3.3-70b fits; the smallest, "),
            "{said}"
        );
        assert!(said.contains("--force pulls it all the same"), "{said}");
        let one = taken_on("m4-16gb", "qwen3-14b", Some("BF16"));
        assert!(!one.fits);
        let said = one.refusal();
        assert!(said.starts_with("qwen3-14b in BF16 does not fit: "), "{said}");
    }
}
