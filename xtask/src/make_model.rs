//! `cargo xtask make-model`: writes a GGUF file of a real shape with random weights.
//!
//! Speed and memory depend on shapes and encodings, not on what the weights say, so both can be
//! measured at real sizes without downloading anything. The file is a function of the arguments
//! alone. Nothing is held in memory but the header and one piece of one tensor.

mod adapter;
mod encode;
mod header;
mod projector;
mod shape;
mod tensors;
mod vocabulary;

use std::{
    fs,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, ensure};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use planner::{
    catalogue::{self, Entry},
    gguf::{self, Tensor},
    recipe::Recipe,
};
use tempfile::NamedTempFile;

use encode::{Numbers, encode};
use shape::{Architecture, Shape};
use tensors::Plan;

/// Numbers made and written at a time: whole blocks of every encoding, and small enough to stay in
/// the processor's cache.
const PIECE_ELEMENTS: usize = 32 * 1024;

/// The version of the format that is written.
const GGUF_VERSION: u32 = 3;
/// Every tensor begins at a multiple of this, the format's default.
const ALIGNMENT_BYTES: u64 = 32;

/// What to write.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The architecture, as GGUF names it; needed where shapes of several share a name.
    #[arg(long)]
    arch: Option<Architecture>,
    /// The shape to imitate, for example qwen3-0.6b; `tiny` exists for each architecture. With
    /// --header-only also any GGUF model of the catalogue, for example qwen3.6-27b, gpt-oss-20b or
    /// deepseek-v2-lite; its header then has no vocabulary.
    #[arg(long)]
    like: String,
    /// Another number of layers than the real shape has.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=512))]
    layers: Option<u32>,
    /// How weights are encoded: f32, f16, q8_0 and q4_0 here, any other name (q4_k_m, q6_k, ...) by
    /// llama.cpp's quantizer in target/release/resident-llama. With --header-only every recipe of
    /// llama.cpp and no quantizer; f32, f16, q8_0 and q4_0 then are as written here for shapes of
    /// this command (q4_0 with an output matrix of 8 bits), and as llama.cpp does it for models of
    /// the catalogue, which may also be in a mix of their publisher, for example ud-q4_k_xl.
    #[arg(long)]
    quant: String,
    /// Another seed gives other weights.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Call five tokens of the vocabulary marks for filling in between two texts.
    #[arg(long)]
    infill: bool,
    /// In place of the model a projector of pictures or sounds for it, of this kind and a tiny size, in f32
    /// whatever --quant says.
    #[arg(long, conflicts_with_all = ["header_only", "infill"])]
    projector: Option<projector::Kind>,
    /// Write a LoRA adapter of this rank for the model in place of the model.
    #[arg(long, conflicts_with_all = ["infill", "header_only"])]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1024))]
    adapter: Option<u32>,
    /// Write the real header and a hole in place of the weights: a file of the full length that
    /// takes almost no room.
    #[arg(long)]
    header_only: bool,
    /// Where to write the file. One that exists is replaced when the new one is whole.
    #[arg(long)]
    out: PathBuf,
}

/// The encodings written here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quantization {
    F32,
    F16,
    Q8_0,
    Q4_0,
}

impl Quantization {
    fn from_name(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            "f32" => Self::F32,
            "f16" => Self::F16,
            "q8_0" => Self::Q8_0,
            "q4_0" => Self::Q4_0,
            _ => return None,
        })
    }

    /// What `general.file_type` says (llama.cpp's `llama_ftype`).
    const fn file_type(self) -> u32 {
        match self {
            Self::F32 => 0,
            Self::F16 => 1,
            Self::Q4_0 => 2,
            Self::Q8_0 => 7,
        }
    }
}

/// How the tensors of a header are encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    /// As this command writes weights.
    Own(Quantization),
    /// As llama.cpp's quantizer would; only for headers.
    Recipe(Recipe),
}

impl Encoding {
    fn file_type(self) -> u32 {
        match self {
            Self::Own(quantization) => quantization.file_type(),
            Self::Recipe(recipe) => recipe.file_type(),
        }
    }
}

/// What is imitated.
enum Model {
    /// A shape of this command, for which it has a vocabulary.
    Shape(Shape),
    /// A model of the catalogue, of which only a header can be made.
    Entry(&'static Entry),
}

/// Writes the model that the arguments describe.
///
/// # Errors
/// An unknown shape, a folder that cannot be written, a full disk, a quantizer that is missing or
/// fails. The file at `--out` is then as it was before.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let finished = match (find(arguments)?, arguments.header_only) {
        (Model::Shape(shape), false) if arguments.adapter.is_some() => adapter(&shape, arguments)?,
        (Model::Shape(shape), true) => header_of_shape(&shape, arguments)?,
        (Model::Shape(shape), false) => match arguments.projector {
            Some(kind) => projector_of(&shape, kind, arguments)?,
            None => weights(&shape, arguments)?,
        },
        (Model::Entry(entry), true) => header_of_entry(entry, arguments)?,
        (Model::Entry(entry), false) => anyhow::bail!(
            "`{}` is a model of the catalogue, of which only a header can be made: give \
             --header-only, or --like one of this command's own shapes",
            entry.name
        ),
    };
    readable_by_all(&finished)?;
    finished
        .persist(&arguments.out)
        .with_context(|| format!("cannot put the finished model at {}", arguments.out.display()))?;
    Ok(())
}

/// The shapes of this command come first, then the catalogue.
fn find(arguments: &Arguments) -> anyhow::Result<Model> {
    let like = &arguments.like;
    let known = catalogue::builtin().find(like);
    let known = known.map_err(|error| anyhow::anyhow!(error));
    let mut shape = match arguments.arch {
        Some(arch) => match (shape::find(arch, like), known) {
            (Ok(shape), _) => shape,
            (Err(_), Ok(entry)) if entry.architecture == arch.name() => {
                return entry_as_it_is(entry, arguments);
            }
            (Err(error), _) => return Err(error),
        },
        None => {
            let named: Vec<&Shape> =
                shape::SHAPES.iter().filter(|shape| shape.name == like).collect();
            match (named.as_slice(), known) {
                ([shape], _) => **shape,
                ([], Ok(entry)) => return entry_as_it_is(entry, arguments),
                ([], Err(error)) => return Err(error),
                ([..], _) => {
                    anyhow::bail!("`{like}` exists for several architectures: give --arch")
                }
            }
        }
    };
    shape.layers = arguments.layers.unwrap_or(shape.layers);
    Ok(Model::Shape(shape))
}

fn entry_as_it_is(entry: &'static Entry, arguments: &Arguments) -> anyhow::Result<Model> {
    ensure!(
        arguments.layers.is_none(),
        "`{}` is a model of the catalogue, which has the layers it has: leave --layers out",
        entry.name
    );
    Ok(Model::Entry(entry))
}

/// A file with weights.
fn weights(shape: &Shape, arguments: &Arguments) -> anyhow::Result<NamedTempFile> {
    let own = Quantization::from_name(&arguments.quant);
    if own.is_none() {
        // Before gigabytes are written that nobody can quantize.
        let quantizer = quantizer();
        ensure!(
            quantizer.is_file(),
            "`{}` needs llama.cpp's quantizer, and {} is not there: run `cargo build --release -p \
             llama-worker` first",
            arguments.quant,
            quantizer.display()
        );
    }
    let temporary = beside(&arguments.out)?;
    let progress = progress_bar(shape);
    // Half precision is enough to quantize from, and half as much to write.
    let quantization = own.unwrap_or(Quantization::F16);
    write(temporary.as_file(), shape, quantization, arguments, &progress)
        .with_context(|| format!("cannot write {}", temporary.path().display()))?;
    progress.finish_and_clear();
    match own {
        Some(_) => Ok(temporary),
        None => quantize(&temporary, &arguments.out, &arguments.quant),
    }
}

/// A projector for a model of this shape.
fn projector_of(
    shape: &Shape,
    kind: projector::Kind,
    arguments: &Arguments,
) -> anyhow::Result<NamedTempFile> {
    let temporary = beside(&arguments.out)?;
    let plans = kind.plan(shape);
    let tensors: Vec<Tensor> = plans.iter().map(|plan| plan.tensor.clone()).collect();
    let metadata = kind.metadata(shape, arguments.seed);
    let keys = metadata.iter().map(|(key, value)| (key.as_str(), value));
    let header = gguf::write::ordered(GGUF_VERSION, keys, &tensors, ALIGNMENT_BYTES)?;
    write_planned(temporary.as_file(), &header, &plans, arguments.seed, &ProgressBar::hidden())
        .with_context(|| format!("cannot write {}", temporary.path().display()))?;
    Ok(temporary)
}

/// A LoRA adapter, whose numbers are `f32` whatever the model's are.
fn adapter(shape: &Shape, arguments: &Arguments) -> anyhow::Result<NamedTempFile> {
    let rank = arguments.adapter.unwrap_or(1);
    let metadata = header::of_adapter(shape, rank, arguments.seed);
    let plans = adapter::plan(shape, rank)?;
    let tensors: Vec<Tensor> = plans.iter().map(|plan| plan.tensor.clone()).collect();
    let keys = metadata.iter().map(|(key, value)| (key.as_str(), value));
    let header = gguf::write::ordered(GGUF_VERSION, keys, &tensors, ALIGNMENT_BYTES)?;
    let temporary = beside(&arguments.out)?;
    let mut out = BufWriter::with_capacity(1 << 20, temporary.as_file());
    out.write_all(&header)?;
    let progress = ProgressBar::hidden();
    for plan in &plans {
        tensor(&mut out, plan, arguments.seed, &progress)
            .with_context(|| format!("tensor {}", plan.tensor.name))?;
    }
    out.flush()?;
    drop(out);
    Ok(temporary)
}

/// A header of one of our shapes, with its vocabulary, and a hole.
fn header_of_shape(shape: &Shape, arguments: &Arguments) -> anyhow::Result<NamedTempFile> {
    let own = Quantization::from_name(&arguments.quant).map(Encoding::Own);
    let recipe = || Recipe::from_name(&arguments.quant).map(Encoding::Recipe);
    let encoding = own.or_else(recipe).with_context(|| {
        let names: Vec<&str> = Recipe::all().map(Recipe::name).collect();
        let quant = &arguments.quant;
        format!("--header-only knows no quantization `{quant}`; it knows {}", names.join(", "))
    })?;
    let plans = tensors::plan(shape, encoding)?;
    let tensors: Vec<Tensor> = plans.into_iter().map(|plan| plan.tensor).collect();
    let header = header_bytes(shape, encoding, arguments, &tensors)?;
    with_hole(&header, &tensors, &arguments.out)
}

/// A header of a model of the catalogue, without a vocabulary, and a hole.
fn header_of_entry(entry: &Entry, arguments: &Arguments) -> anyhow::Result<NamedTempFile> {
    let header = entry.header(&arguments.quant)?;
    let bytes = gguf::write::write(&header)?;
    with_hole(&bytes, &header.tensors, &arguments.out)
}

fn header_bytes(
    shape: &Shape,
    encoding: Encoding,
    arguments: &Arguments,
    tensors: &[Tensor],
) -> anyhow::Result<Vec<u8>> {
    let mut metadata = header::metadata(shape, encoding.file_type(), arguments.seed);
    if arguments.infill {
        metadata.extend(header::infill_marks(shape));
    }
    let keys = metadata.iter().map(|(key, value)| (key.as_str(), value));
    Ok(gguf::write::ordered(GGUF_VERSION, keys, tensors, ALIGNMENT_BYTES)?)
}

/// A file of the full length of which only the header takes room.
fn with_hole(header: &[u8], tensors: &[Tensor], out: &Path) -> anyhow::Result<NamedTempFile> {
    let mut temporary = beside(out)?;
    let data_bytes: u64 = tensors.iter().map(padded_bytes).sum();
    temporary
        .write_all(header)
        .and_then(|()| temporary.as_file().set_len(header.len() as u64 + data_bytes))
        .with_context(|| format!("cannot write {}", temporary.path().display()))?;
    Ok(temporary)
}

/// An unnamed place in the folder of `out`, so that renaming it later is atomic.
fn beside(out: &Path) -> anyhow::Result<NamedTempFile> {
    let folder = match out.parent() {
        Some(folder) if folder != Path::new("") => folder,
        Some(_) | None => Path::new("."),
    };
    fs::create_dir_all(folder)
        .with_context(|| format!("cannot create the folder {}", folder.display()))?;
    tempfile::Builder::new()
        .prefix(".making-")
        .suffix(".gguf")
        .tempfile_in(folder)
        .with_context(|| format!("cannot create a file in {}", folder.display()))
}

fn progress_bar(shape: &Shape) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg} {wide_bar} {bytes}/{total_bytes} {eta}");
    let progress = ProgressBar::new(0).with_message(shape.name);
    // The template is ours; if indicatif ever disliked it, its default would do.
    match style {
        Ok(style) => progress.with_style(style),
        Err(_) => progress,
    }
}

fn write(
    file: &fs::File,
    shape: &Shape,
    quantization: Quantization,
    arguments: &Arguments,
    progress: &ProgressBar,
) -> anyhow::Result<()> {
    let encoding = Encoding::Own(quantization);
    let plans = tensors::plan(shape, encoding)?;
    let tensors: Vec<Tensor> = plans.iter().map(|plan| plan.tensor.clone()).collect();
    let header = header_bytes(shape, encoding, arguments, &tensors)?;
    progress.set_length(tensors.iter().map(padded_bytes).sum());
    write_planned(file, &header, &plans, arguments.seed, progress)
}

fn write_planned(
    file: &fs::File,
    header: &[u8],
    plans: &[Plan],
    seed: u64,
    progress: &ProgressBar,
) -> anyhow::Result<()> {
    let mut out = BufWriter::with_capacity(1 << 20, file);
    out.write_all(header)?;
    for plan in plans {
        tensor(&mut out, plan, seed, progress)
            .with_context(|| format!("tensor {}", plan.tensor.name))?;
    }
    out.flush()?;
    Ok(())
}

fn padded_bytes(tensor: &Tensor) -> u64 {
    tensor.bytes.next_multiple_of(ALIGNMENT_BYTES)
}

fn tensor(
    out: &mut impl Write,
    plan: &Plan,
    seed: u64,
    progress: &ProgressBar,
) -> anyhow::Result<()> {
    let tensor = &plan.tensor;
    let mut source = Numbers::new(seed, &tensor.name, plan.content);
    let mut numbers = vec![0.0; PIECE_ELEMENTS];
    let mut bytes = Vec::new();
    let mut left = tensor.elements();
    while left > 0 {
        let count = usize::try_from(left).unwrap_or(PIECE_ELEMENTS).min(PIECE_ELEMENTS);
        source.fill(&mut numbers[..count]);
        bytes.clear();
        encode(tensor.kind, &numbers[..count], &mut bytes);
        out.write_all(&bytes)?;
        progress.inc(bytes.len() as u64);
        left -= count as u64;
    }
    let padding = padded_bytes(tensor) - tensor.bytes;
    out.write_all(&vec![0; usize::try_from(padding)?])?;
    progress.inc(padding);
    Ok(())
}

/// Has llama.cpp's quantizer turn `source` into a file of type `quant` beside `out`.
fn quantize(source: &NamedTempFile, out: &Path, quant: &str) -> anyhow::Result<NamedTempFile> {
    let quantizer = quantizer();
    let target = beside(out)?;
    // Its line for every tensor would bury what matters; of a failure the last one says why.
    let output = Command::new(&quantizer)
        .arg("quantize")
        .args([source.path(), target.path()])
        .arg(quant.to_ascii_uppercase())
        .output()
        .with_context(|| format!("cannot start {}", quantizer.display()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().last().unwrap_or("it said nothing");
    ensure!(output.status.success(), "quantizing to `{quant}` failed, {}: {last}", output.status);
    Ok(target)
}

/// Where `cargo build --release` puts the worker.
fn quantizer() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"), PathBuf::from);
    target.join("release").join(format!("resident-llama{}", std::env::consts::EXE_SUFFIX))
}

/// Temporary files are private; a model is not.
#[cfg(unix)]
fn readable_by_all(file: &NamedTempFile) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;

    fs::set_permissions(file.path(), fs::Permissions::from_mode(0o644))
        .with_context(|| format!("cannot make {} readable", file.path().display()))
}

#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "the other systems' version can fail")]
fn readable_by_all(_file: &NamedTempFile) -> anyhow::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests;
