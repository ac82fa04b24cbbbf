//! `resident convert FOLDER`: a model as its makers publish it (safetensors and `config.json`) becomes one
//! GGUF file, by llama.cpp's own converter, which knows every architecture that llama.cpp does.
//!
//! The converter is Python and not part of this program: it is found on PATH or named. Not here: where the
//! file is until it is whole (`making`), and fewer bits than the converter writes (`quantize`).

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};
use planner::gguf::Header;

use crate::{
    cli,
    exit::{self, Code},
    limits::SPIN_INTERVAL,
    making::{self, Making},
    models, quantize, size,
    terminal::{self, Paint, Tone},
};

/// What the converter's file is called.
const CONVERTER: &str = "convert_hf_to_gguf.py";

/// What runs it.
const PYTHON: &str = if cfg!(windows) { "python.exe" } else { "python3" };

/// What the converter can write.
const TYPES: [&str; 7] = ["f16", "bf16", "f32", "q8_0", "tq1_0", "tq2_0", "auto"];

/// What the converter cannot do without, and what it is for.
const CONFIG: &str = "config.json";

/// How the converter comes to a machine.
const INSTALL: &str = "get llama.cpp's source (git clone https://github.com/ggml-org/llama.cpp), install \
    what the converter needs (pip install -r llama.cpp/requirements/requirements-convert_hf_to_gguf.txt), \
    and name it with --converter llama.cpp/convert_hf_to_gguf.py";

/// Variables that say which Python it is and what it finds.
const PYTHON_PREFIXES: [&str; 4] = ["PYTHON", "PYENV", "CONDA", "VIRTUAL_ENV"];

/// Converts a folder.
///
/// # Errors
/// When the folder is no model, there is no converter, or it does not work out. Nothing is left of a file
/// that is not whole.
pub(crate) fn convert(arguments: &cli::Convert) -> anyhow::Result<()> {
    let folder = Folder::look(&arguments.folder)?;
    folder.refuse_code(arguments.allow_code)?;
    let converter = converter(arguments.converter.as_deref())?;
    let python = on_path(PYTHON).ok_or_else(|| {
        exit::error(
            Code::Usage,
            format!("{PYTHON} is not on PATH; install Python 3, then {INSTALL}"),
        )
    })?;
    let target = target(&folder.path, arguments.to, arguments.out.as_deref())?;
    let making = Making::begin(&target)?;
    let strong = Paint::stderr().tone(Tone::Strong, "Converting");
    terminal::note(format_args!("{strong} {}", folder.path.display()));
    terminal::note(format_args!("  from     {} of safetensors", size::format(folder.bytes)));
    terminal::note(format_args!("  with     {}", converter.display()));
    terminal::note(format_args!("  file     {}", target.display()));
    let argv = [
        making::text(&python)?,
        making::text(&converter)?,
        making::text(&folder.path)?,
        "--outfile".to_owned(),
        making.partial()?,
        "--outtype".to_owned(),
        arguments.to.to_owned(),
    ];
    let mut screen = Screen::start();
    let done = making.run(&argv, &environment(), |line| screen.hear(line));
    screen.end();
    done.map_err(|error| screen.explain(error, &converter))?;
    let header = check(Path::new(&making.partial()?), &converter)?;
    let bytes = making.keep()?;
    terminal::line(target.display());
    terminal::note(format_args!(
        "{} on the disk. Try: resident {word} {file}, or fewer bits: resident quantize {file} --to q4_k_m",
        size::format(bytes),
        word = quantize::word(&header),
        file = target.display()
    ));
    Ok(())
}

/// What `--to` says.
///
/// # Errors
/// When the converter does not write that, with what it does and who does the rest.
pub(crate) fn parse_type(text: &str) -> Result<&'static str, String> {
    let found = TYPES.into_iter().find(|one| one.eq_ignore_ascii_case(text));
    found.ok_or_else(|| match quantize::parse_type(text) {
        Ok(_) => format!(
            "the converter writes {}; for {text} convert to f16 and then: resident quantize FILE --to {text}",
            TYPES.join(", ")
        ),
        Err(_) => format!("there is no type '{text}'; the converter writes {}", TYPES.join(", ")),
    })
}

/// A folder that holds a model.
#[derive(Debug)]
struct Folder {
    path: PathBuf,
    /// Of its weights.
    bytes: u64,
    /// Names of Python programs in it.
    programs: Vec<String>,
}

impl Folder {
    /// Looks at what is in the folder, and not into it.
    ///
    /// # Errors
    /// With [`Code::Model`] when it is no model, with what is missing.
    fn look(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        let unusable = |error: io::Error| {
            let message = format!("cannot read the folder {shown}: {error}");
            exit::error(Code::Model, message)
        };
        let path = fs::canonicalize(path).map_err(unusable)?;
        if !path.is_dir() {
            let message = format!(
                "{shown} is a file; name the folder with {CONFIG} and the .safetensors files in it"
            );
            return Err(exit::error(Code::Model, message));
        }
        let (mut bytes, mut weights, mut programs) = (0, 0, Vec::new());
        for entry in fs::read_dir(&path).map_err(unusable)?.flatten() {
            let file = entry.path();
            let ending = file.extension().and_then(OsStr::to_str).unwrap_or_default();
            if ending.eq_ignore_ascii_case("safetensors") {
                weights += 1;
                // Repositories are full of links to files that lie elsewhere.
                bytes += fs::metadata(&file).map_or(0, |metadata| metadata.len());
            } else if ending.eq_ignore_ascii_case("py") {
                programs.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        programs.sort();
        let has_config = path.join(CONFIG).is_file();
        let missing = match (has_config, weights > 0) {
            (true, true) => return Ok(Self { path, bytes, programs }),
            (true, false) => "no .safetensors file",
            (false, true) => "no config.json",
            (false, false) => "neither config.json nor a .safetensors file",
        };
        let message = format!(
            "{shown} is no folder of a model: it has {missing}; name one as Hugging Face has them, \
             downloaded whole"
        );
        Err(exit::error(Code::Model, message))
    }

    /// The converter runs what some models bring to make their tokenizer, with the rights of its user.
    fn refuse_code(&self, is_allowed: bool) -> anyhow::Result<()> {
        let Some(first) = self.programs.first().filter(|_| !is_allowed) else { return Ok(()) };
        let message = format!(
            "{} brings {} Python program(s) ({}), which the converter may run as you; remove them, or \
             if you trust whoever made them, give --allow-code",
            self.path.display(),
            self.programs.len(),
            terminal::inert(first)
        );
        Err(exit::error(Code::Usage, message))
    }
}

/// llama.cpp's converter: the one that was named, else the one on PATH.
fn converter(named: Option<&Path>) -> anyhow::Result<PathBuf> {
    let found = match named {
        Some(named) => {
            let is_there = named.is_file();
            is_there
                .then(|| std::path::absolute(named))
                .transpose()?
                .with_context(|| format!("there is no file {}", named.display()))
        }
        None => on_path(CONVERTER).with_context(|| format!("{CONVERTER} is not on PATH")),
    };
    found.map_err(|why| {
        let message = format!("llama.cpp's converter is not installed: {why}; {INSTALL}");
        exit::error(Code::Usage, message)
    })
}

/// The first file of this name in the folders of PATH.
fn on_path(name: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH")?;
    let files = std::env::split_paths(&folders).map(|folder| folder.join(name));
    files.filter(|file| file.is_absolute()).find(|file| file.is_file())
}

/// Where the result goes.
fn target(folder: &Path, kind: &str, out: Option<&Path>) -> anyhow::Result<PathBuf> {
    if let Some(out) = out.filter(|out| !out.is_dir()) {
        return Ok(std::path::absolute(quantize::checked(out)?)?);
    }
    let stem = folder.file_name().unwrap_or_default().to_string_lossy();
    let stem = if kind == "auto" { stem.into_owned() } else { format!("{stem}-{kind}") };
    models::check_name(&stem)
        .map_err(|error| exit::error(Code::Usage, format!("{error}; name the file with --out")))?;
    let beside = out.or_else(|| folder.parent()).unwrap_or(folder);
    Ok(std::path::absolute(beside.join(format!("{stem}.gguf")))?)
}

/// What the converter sees beside what every program gets: which Python it is, and that it is to stay on
/// this machine.
fn environment() -> BTreeMap<String, String> {
    let python = std::env::vars_os().filter_map(|(name, value)| {
        let (name, value) = (name.into_string().ok()?, value.into_string().ok()?);
        PYTHON_PREFIXES.iter().any(|prefix| name.starts_with(prefix)).then_some((name, value))
    });
    let mut environment: BTreeMap<String, String> = python.collect();
    for (name, value) in [
        ("HF_HUB_OFFLINE", "1"),
        ("TRANSFORMERS_OFFLINE", "1"),
        ("PYTHONUNBUFFERED", "1"),
        // It would write beside itself, where it may not be allowed to.
        ("PYTHONDONTWRITEBYTECODE", "1"),
    ] {
        environment.insert(name.to_owned(), value.to_owned());
    }
    environment
}

/// A converter that ends well may still have written anything.
fn check(partial: &Path, converter: &Path) -> anyhow::Result<Header> {
    let shown = converter.display();
    if !partial.is_file() {
        anyhow::bail!("{shown} ended well but wrote no file; is it llama.cpp's converter?");
    }
    let header = supervisor::read_header(partial).map_err(|why| {
        anyhow::anyhow!("what {shown} wrote is no model: {}", terminal::inert(&why))
    })?;
    anyhow::ensure!(header.is_model(), "what {shown} wrote is no model but a part of one");
    Ok(header)
}

/// The converter's last line, on a terminal beside a spinner.
struct Screen {
    spinner: ProgressBar,
    last_words: String,
}

impl Screen {
    fn start() -> Self {
        // Draws on stderr, and nothing where that is no terminal.
        let spinner = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed} {wide_msg}") {
            spinner.set_style(style);
        }
        spinner.enable_steady_tick(SPIN_INTERVAL);
        Self { spinner, last_words: String::new() }
    }

    fn hear(&mut self, line: &str) {
        self.spinner.set_message(line.trim().to_owned());
        line.trim().clone_into(&mut self.last_words);
    }

    fn end(&self) {
        self.spinner.finish_and_clear();
    }

    /// How it ended, with what it said last, which of Python's errors is the reason.
    fn explain(&self, error: anyhow::Error, converter: &Path) -> anyhow::Error {
        if error.downcast_ref::<exit::Expected>().is_some() {
            return error;
        }
        let shown = converter.display();
        let install = if self.last_words.starts_with("ModuleNotFoundError") {
            "; install what it needs: pip install -r \
             requirements/requirements-convert_hf_to_gguf.txt in llama.cpp's source"
        } else {
            ""
        };
        anyhow::anyhow!("{shown} {error}; its last words: {}{install}", self.last_words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            fs::write(folder.path().join(file), "12345").unwrap();
        }
        folder
    }

    #[test]
    fn a_folder_without_a_model_says_what_is_missing() {
        let look = |files: &[&str]| Folder::look(folder(files).path());
        let whole = look(&["config.json", "a.safetensors", "b.SAFETENSORS", "x.bin"]).unwrap();
        assert_eq!((whole.bytes, whole.programs.len()), (10, 0));
        for (files, missing) in [
            (&[][..], "neither config.json nor a .safetensors file"),
            (&["a.safetensors"], "it has no config.json"),
            (&["config.json", "pytorch_model.bin"], "it has no .safetensors file"),
        ] {
            let message = look(files).unwrap_err().to_string();
            assert!(message.contains(missing), "{message}");
        }
        let file = folder(&["config.json"]);
        let message = Folder::look(&file.path().join(CONFIG)).unwrap_err().to_string();
        assert!(message.contains("is a file; name the folder"), "{message}");
        let message = Folder::look(Path::new("no/such/folder")).unwrap_err().to_string();
        assert!(message.starts_with("cannot read the folder no/such/folder"), "{message}");
    }

    #[test]
    fn programs_of_strangers_are_not_run_unasked() {
        let files = ["config.json", "a.safetensors", "tokenization_x.py", "b.py"];
        let folder = folder(&files);
        let looked = Folder::look(folder.path()).unwrap();
        let message = looked.refuse_code(false).unwrap_err().to_string();
        for part in ["2 Python program(s) (b.py)", "--allow-code"] {
            assert!(message.contains(part), "'{part}' is missing in: {message}");
        }
        assert!(looked.refuse_code(true).is_ok());
    }

    #[test]
    fn the_result_is_named_after_the_folder() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("Qwen3-0.6B");
        let name = |kind, out| target(&folder, kind, out).unwrap();
        assert_eq!(name("f16", None), parent.path().join("Qwen3-0.6B-f16.gguf"));
        assert_eq!(name("auto", None), parent.path().join("Qwen3-0.6B.gguf"));
        let named = parent.path().join("y.gguf");
        assert_eq!(name("f16", Some(&named)), named);
        assert_eq!(name("bf16", Some(parent.path())), parent.path().join("Qwen3-0.6B-bf16.gguf"));
        let strange = target(&parent.path().join("a b"), "f16", None).unwrap_err().to_string();
        assert!(
            strange.contains("'a b-f16' cannot be a model's name") && strange.contains("--out")
        );
    }

    #[test]
    fn a_converter_that_is_not_there_is_said_with_what_to_install() {
        let message = converter(Some(Path::new("no/convert.py"))).unwrap_err().to_string();
        for part in ["not installed: there is no file no/convert.py", "git clone", "pip install -r"]
        {
            assert!(message.contains(part), "'{part}' is missing in: {message}");
        }
    }

    #[test]
    fn what_the_converter_does_not_write_has_a_way() {
        assert_eq!(parse_type("BF16"), Ok("bf16"));
        let message = parse_type("q4_k_m").unwrap_err();
        assert!(message.contains("resident quantize FILE --to q4_k_m"), "{message}");
        assert!(parse_type("q77").unwrap_err().contains("no type 'q77'"));
    }

    #[test]
    fn a_missing_package_is_told_with_what_to_install() {
        let mut screen = Screen::start();
        let explain = |screen: &Screen, error| screen.explain(error, Path::new("c.py")).to_string();
        let badly = || anyhow::Error::msg("ended with exit status: 1");
        screen.hear("ERROR:hf-to-gguf:Model X is not supported");
        assert_eq!(
            explain(&screen, badly()),
            "c.py ended with exit status: 1; its last words: ERROR:hf-to-gguf:Model X is not supported"
        );
        screen.hear("ModuleNotFoundError: No module named 'torch'");
        assert!(
            explain(&screen, badly()).contains("No module named 'torch'; install what it needs")
        );
    }
}
