//! `resident quantize MODEL --to TYPE`: the model in fewer bits, by the worker's quantizer.
//!
//! What it will be is said before anything is done. Not here: which tensor gets which type
//! (`planner::recipe`), quantizing (`resident-llama quantize`), where the file is until it is whole
//! (`making`).

mod name;

pub(crate) use name::checked;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use indicatif::{ProgressBar, ProgressStyle};
use planner::{
    gguf::{Header, Tensor, split},
    quality::{self, Basis, Quality},
    recipe::{self, Recipe, Refusal, Wish},
};
use supervisor::Models as _;

use crate::{
    cli,
    config::{self, Settings},
    exit::{self, Code},
    limits::SPIN_INTERVAL,
    making::{self, Making},
    models,
    offer::Offer,
    serve, size,
    terminal::{self, Paint, Tone},
};

/// Quantizes a model.
///
/// # Errors
/// When there is no such model, it cannot become what was asked for, or it does not work out. Nothing is
/// left of a file that is not whole.
pub(crate) fn quantize(arguments: &cli::Quantize) -> anyhow::Result<()> {
    let settings = config::load(&arguments.place, &arguments.serving)?;
    let order = Order::of(arguments, &settings)?;
    let worker = serve::worker(settings.worker.as_deref())?;
    let making = Making::begin(&order.target)?;
    for line in order.lines(Paint::stderr()) {
        terminal::note(line);
    }
    let mut progress = Progress::start(&order.made);
    let argv = order.argv(&worker, &making)?;
    let done = making.run(&argv, &BTreeMap::new(), |line| progress.hear(line));
    progress.end();
    done.map_err(|error| progress.explain(error))?;
    let bytes = making.keep()?;
    terminal::line(order.target.display());
    terminal::note(format_args!(
        "{} on the disk. {}",
        size::format(bytes),
        order.advice(&settings)
    ));
    Ok(())
}

/// What `--to` says.
///
/// # Errors
/// When there is no such type, with those there are.
pub(crate) fn parse_type(text: &str) -> Result<Recipe, String> {
    Recipe::from_name(text).ok_or_else(|| {
        let known: Vec<String> = Recipe::all().map(|one| one.name().to_lowercase()).collect();
        format!("there is no type '{text}'; there are {}", known.join(", "))
    })
}

/// What is made of what.
struct Order {
    source: PathBuf,
    header: Header,
    source_bytes: u64,
    wish: Wish,
    matrix: Option<PathBuf>,
    made: Vec<Tensor>,
    target: PathBuf,
}

impl Order {
    fn of(arguments: &cli::Quantize, settings: &Settings) -> anyhow::Result<Self> {
        let (source, place) = source(&arguments.model, settings)?;
        let unusable = |why: String| exit::error(Code::Model, terminal::inert(&why));
        let header = supervisor::read_header(&source).map_err(unusable)?;
        let matrix = arguments.imatrix.as_deref().map(std::path::absolute).transpose()?;
        let wish = Wish {
            recipe: arguments.to,
            measured: matrix.is_some(),
            may_requantize: arguments.allow_requantize,
        };
        let made = recipe::rewrite(&header, wish).map_err(|refusal| {
            let code = match refusal {
                Refusal::NotAModel { .. } => Code::Model,
                Refusal::Requantizes { .. } | Refusal::NeedsMatrix { .. } => Code::Usage,
            };
            let message = format!("{} {refusal}", source.display());
            exit::error(code, terminal::inert(&message))
        })?;
        let target = name::target(&place, wish.recipe, arguments.out.as_deref())?;
        let source_bytes = file_bytes(&source);
        Ok(Self { source, header, source_bytes, wish, matrix, made, target })
    }

    /// What it is and what it will be, for people.
    fn lines(&self, paint: Paint) -> Vec<String> {
        let file = self.source.file_name().unwrap_or_default().to_string_lossy();
        let parameters = self.header.parameters();
        let data_bytes = |bytes: u64| bits_per_weight(bytes, parameters);
        let bytes = recipe::file_bytes(&self.header, self.source_bytes, &self.made);
        let made_bytes = self.made.iter().map(|tensor| tensor.bytes).sum();
        let name = self.wish.recipe.name();
        let mut lines = vec![
            paint.tone(Tone::Strong, format_args!("Quantizing {}", terminal::inert(&file))),
            format!(
                "  from     {}, {}, {:.2} bits a weight",
                self.header.quantization(),
                size::format(self.source_bytes),
                data_bytes(self.header.tensor_bytes())
            ),
            format!(
                "  to       {name}, {}, {:.2} bits a weight",
                size::format(bytes),
                data_bytes(made_bytes)
            ),
            format!("  quality  {}", in_words(&quality::of(name), self.wish.measured)),
        ];
        if let Some(matrix) = &self.matrix {
            lines.push(format!("  matrix   {}", matrix.display()));
        }
        lines.push(format!("  file     {}", self.target.display()));
        lines
    }

    /// The worker's command line.
    fn argv(&self, worker: &Path, making: &Making) -> anyhow::Result<Vec<String>> {
        let mut argv = vec![making::text(worker)?, "quantize".to_owned()];
        if let Some(matrix) = &self.matrix {
            argv.extend(["--imatrix".to_owned(), making::text(matrix)?]);
        }
        if self.wish.may_requantize {
            argv.push("--allow-requantize".to_owned());
        }
        argv.extend([making::text(&self.source)?, making.partial()?]);
        argv.push(self.wish.recipe.name().to_lowercase());
        Ok(argv)
    }

    /// How the new file is used.
    fn advice(&self, settings: &Settings) -> String {
        let stem = self.target.file_stem().unwrap_or_default().to_string_lossy();
        let is_listed = settings.catalog.find(&stem).is_some_and(|found| found.path == self.target);
        let what = if is_listed { stem.into_owned() } else { self.target.display().to_string() };
        format!("Try: resident {} {what}", word(&self.header))
    }
}

/// The command that a person tries a new file with: `run` needs a model that chats.
pub(crate) fn word(header: &Header) -> &'static str {
    if header.generates() && header.chat_template().is_some() { "run" } else { "show" }
}

/// The file that `text` means, a model of this machine or a path, and the file beside which the result lies: itself,
/// unless it is the library's.
fn source(text: &str, settings: &Settings) -> anyhow::Result<(PathBuf, PathBuf)> {
    if models::file_of(text)?.is_some() {
        // Not what a link leads to: the result lies beside the name that the person knows.
        let path = std::path::absolute(text)?;
        return Ok((path.clone(), path));
    }
    let offer = Offer::of(settings);
    let Some(model) = offer.find(text) else {
        let (known, _) = offer.scan();
        let names = known.iter().map(|model| model.name.as_str());
        return Err(exit::error(Code::Model, models::unknown(text, names)));
    };
    let file = model.engine.file().ok_or_else(|| {
        let message = format!(
            "'{text}' is served by another engine, and the hub knows no file of it; name the file"
        );
        exit::error(Code::Model, message)
    })?;
    let path = std::path::absolute(&file.path)?;
    let place = match model.kept {
        Some(_) => name::in_folder(&model.name, &settings.catalog.folder),
        None => path.clone(),
    };
    Ok((path, place))
}

/// Bytes of the model's file, all parts of a split one.
fn file_bytes(path: &Path) -> u64 {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let names = split::names(name).unwrap_or_else(|_| vec![name.to_owned()]);
    let bytes =
        |name: &String| fs::metadata(path.with_file_name(name)).map_or(0, |file| file.len());
    names.iter().map(bytes).sum()
}

fn bits_per_weight(bytes: u64, parameters: u64) -> f64 {
    bytes as f64 * 8.0 / parameters.max(1) as f64
}

/// What fewer bits cost.
fn in_words(quality: &Quality, measured: bool) -> String {
    // Published figures below this many bits are of files that were made with a matrix.
    const MATRIX_BITS: u32 = 6;
    let words = quality.in_words();
    let figure = match quality.basis {
        Basis::Measured => format!("a divergence of {:.3} on Llama 3 8B", quality.divergence),
        Basis::Derived => format!("a divergence of about {:.3}", quality.divergence),
        Basis::ByBits => "judged by its bits alone, for nobody published a figure".to_owned(),
    };
    let matrix = if !measured && (1..MATRIX_BITS).contains(&quality.bits_class) {
        "; with an importance matrix, without one somewhat worse"
    } else {
        ""
    };
    format!("{words} ({figure}{matrix})")
}

/// How far the worker is, as a bar on a terminal.
struct Progress {
    bar: ProgressBar,
    /// Bytes of the tensors in front of each, in the order in which they are written.
    before: Vec<u64>,
    last_words: String,
}

impl Progress {
    fn start(made: &[Tensor]) -> Self {
        let before: Vec<u64> = made.iter().map(|tensor| tensor.offset).collect();
        let bytes = made.last().map_or(0, |tensor| tensor.offset.saturating_add(tensor.bytes));
        // Draws on stderr, and nothing where that is no terminal.
        let bar = ProgressBar::new(bytes);
        let template = "{wide_bar} {percent:>3} % {elapsed} (about {eta} left) {msg}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.enable_steady_tick(SPIN_INTERVAL);
        Self { bar, before, last_words: String::new() }
    }

    /// A line of the worker's.
    fn hear(&mut self, line: &str) {
        if let Some((number, name)) = turn(line) {
            let before = number.checked_sub(1).and_then(|index| self.before.get(index));
            self.bar.set_position(before.copied().unwrap_or_default());
            self.bar.set_message(name.to_owned());
        } else if let Some(note) = line.strip_prefix("note: ") {
            self.bar.suspend(|| terminal::note(format_args!("  note     {note}")));
        } else {
            line.clone_into(&mut self.last_words);
        }
    }

    fn end(&self) {
        self.bar.finish_and_clear();
    }

    /// What the worker said where that is better than how it ended.
    fn explain(&self, error: anyhow::Error) -> anyhow::Error {
        match self.last_words.strip_prefix("error: ") {
            Some(why) if error.downcast_ref::<exit::Expected>().is_none() => {
                anyhow::Error::msg(why.to_owned())
            }
            Some(_) | None => error.context("the worker could not quantize it"),
        }
    }
}

/// Number, from 1, and name of the tensor whose turn it is: `[12/310] blk.0.ffn_down.weight`.
fn turn(line: &str) -> Option<(usize, &str)> {
    let (numbers, name) = line.strip_prefix('[')?.split_once("] ")?;
    let (number, _) = numbers.split_once('/')?;
    Some((number.parse().ok()?, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_costs_is_said_as_far_as_it_is_known() {
        let words = |name: &str, measured| in_words(&quality::of(name), measured);
        assert_eq!(
            words("Q8_0", false),
            "as good as the original (a divergence of 0.001 on Llama 3 8B)"
        );
        assert_eq!(
            words("Q4_K_M", false),
            "slightly worse than the original (a divergence of 0.028 on Llama 3 8B; with an importance \
             matrix, without one somewhat worse)"
        );
        assert!(!words("Q4_K_M", true).contains("somewhat worse"));
        assert!(words("TQ1_0", true).contains("nobody published"), "{}", words("TQ1_0", true));
    }

    #[test]
    fn a_tensors_line_moves_the_bar_and_the_last_other_one_is_the_reason() {
        let tensor = |name: &str, offset, bytes| Tensor {
            name: name.to_owned(),
            dimensions: [1; 4],
            kind: planner::gguf::TensorType::F32,
            offset,
            bytes,
        };
        let mut progress = Progress::start(&[tensor("a", 0, 64), tensor("b", 64, 32)]);
        for (line, position) in
            [("[1/2] a", 0), ("[2/2] b", 64), ("warning: c", 64), ("[9/2] z", 0)]
        {
            progress.hear(line);
            assert_eq!(progress.bar.position(), position, "{line}");
        }
        assert_eq!(progress.bar.length(), Some(96));
        let explained = |progress: &Progress, error| format!("{:#}", progress.explain(error));
        let killed = || anyhow::Error::msg("ended with signal: 9 (SIGKILL)");
        assert_eq!(
            explained(&progress, killed()),
            "the worker could not quantize it: ended with signal: 9 (SIGKILL)"
        );
        progress.hear("error: the disk is full");
        assert_eq!(explained(&progress, killed()), "the disk is full");
    }

    #[test]
    fn an_unknown_type_is_refused_with_those_there_are() {
        assert_eq!(parse_type("Q4_k_m"), Ok(Recipe::Q4_K_M));
        let message = parse_type("q4").unwrap_err();
        assert!(
            message.contains("no type 'q4'") && message.contains("q4_k_m, q4_k_s"),
            "{message}"
        );
    }
}
