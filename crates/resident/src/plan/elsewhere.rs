//! Models that lie on a web server or on Hugging Face: one header is read, and a repository's other
//! quantizations are planned from it and the lengths of their files.

use anyhow::Context as _;
use library::remote::{self, Kind, Model, Options, Reader, Repository, Source};
use planner::{
    gguf::{Header, Tensor},
    recipe::{self, Conditions, Recipe},
    tensors::Shape,
};

use super::subject::{File, Subject, What};
use crate::{
    exit::{self, Code},
    terminal,
};

/// The model that `source` means, which the person wrote as `text`.
///
/// # Errors
/// With [`Code::Model`] when it cannot be read.
pub(crate) fn subject(
    text: &str,
    source: Result<Source, remote::Error>,
) -> anyhow::Result<Subject> {
    let failed =
        |error: remote::Error| exit::error(Code::Model, terminal::inert(&error.to_string()));
    let source = source.map_err(failed)?;
    let options = Options::from_environment(|name| std::env::var(name).ok());
    let mut reader = Reader::new(options).map_err(failed)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("cannot start")?;
    terminal::note(format_args!("reading the header of {text}"));
    let files = runtime.block_on(async {
        match &source {
            Source::Repository { repository, pick: None } => all(&mut reader, repository).await,
            Source::Repository { .. } | Source::File(_) => {
                reader.read(&source).await.map(|found| vec![whole(found)])
            }
        }
    });
    let source = format!("{text}, of which {} bytes were read", reader.downloaded_bytes());
    let files = files.map_err(failed)?;
    if files.iter().any(File::is_companion) {
        let message = format!(
            "{} is a companion file (a projector, adapter or vocabulary), not a model; name the \
             model's own file",
            terminal::inert(text)
        );
        return Err(exit::error(Code::Model, message));
    }
    Ok(Subject::of_header(name(text), source, files))
}

/// The last step of what was written, without ending and query.
fn name(text: &str) -> String {
    let plain = text.split(['?', '#']).next().unwrap_or(text);
    let last = plain.rsplit('/').next().unwrap_or(plain);
    last.strip_suffix(".gguf").unwrap_or(last).to_owned()
}

fn whole(found: remote::Remote) -> File {
    File {
        quantization: found.header.quantization(),
        file_bytes: Some(found.file_bytes),
        is_guess: false,
        what: What::Header(found.header),
    }
}

/// Every quantization of a repository. The smallest file's header is read, because in it the least
/// lies behind the header that could be read in vain.
async fn all(reader: &mut Reader, repository: &Repository) -> Result<Vec<File>, remote::Error> {
    let models = reader.models(repository).await?;
    let is_whole = |model: &&Model| model.kind == Kind::Model && model.missing_part.is_none();
    let whole: Vec<&Model> = models.iter().filter(is_whole).collect();
    let Some(smallest) = whole.iter().min_by_key(|model| (model.files.len(), model.bytes())) else {
        return Err(remote::Error::NoModel { repository: repository.to_string() });
    };
    let read = reader.read_model(repository, smallest).await?;
    let data_bytes = read.header.tensor_bytes();
    let in_front_bytes = read.file_bytes.saturating_sub(data_bytes);
    Ok(whole
        .iter()
        .map(|model| {
            let quantization = model.quantization.clone().unwrap_or_else(|| model.name.clone());
            let header = if model == smallest {
                read.header.clone()
            } else {
                let wanted_bytes = model.bytes().saturating_sub(in_front_bytes);
                requantized(&read.header, &quantization, wanted_bytes)
            };
            let file_bytes = Some(model.bytes());
            let is_guess = model != smallest;
            File { quantization, file_bytes, is_guess, what: What::Header(header) }
        })
        .collect())
}

/// The header of the same model in another quantization, with tensors of `wanted_bytes` in all: by
/// llama.cpp's recipe of that name where there is one, and then stretched to the length of the file,
/// because makers of files change recipes in parts.
fn requantized(header: &Header, quantization: &str, wanted_bytes: u64) -> Header {
    let mut header = header.clone();
    let recipe = quantization.strip_prefix("UD-").unwrap_or(quantization);
    let recipe = Recipe::from_name(recipe).or_else(|| nearest(recipe));
    if let Some(recipe) = recipe {
        let mut shapes: Vec<Shape> = header.tensors.iter().map(shape).collect();
        // Recipes count the layers as they come, and not every file has them in order.
        shapes.sort_by_key(|shape| layer(&shape.name));
        // Whoever publishes files today has such a matrix.
        let conditions = Conditions { measured: true, older: false };
        header.tensors = recipe::tensors(&header.metadata, &shapes, recipe, conditions);
    }
    let now_bytes = header.tensor_bytes().max(1);
    for tensor in &mut header.tensors {
        let bytes = u128::from(tensor.bytes) * u128::from(wanted_bytes) / u128::from(now_bytes);
        // Offsets are of no use to a plan, and would contradict the lengths.
        tensor.bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
    }
    header
}

/// The recipe that a mix like `Q4_K_XL` is made from.
fn nearest(quantization: &str) -> Option<Recipe> {
    let stem = quantization.rsplit_once('_')?.0;
    ["M", "S"]
        .iter()
        .find_map(|size| Recipe::from_name(&format!("{stem}_{size}")))
        .or_else(|| Recipe::from_name(stem))
}

fn shape(tensor: &Tensor) -> Shape {
    let count = tensor.dimensions.iter().rposition(|side| *side != 1).map_or(1, |last| last + 1);
    Shape { name: tensor.name.clone(), dimensions: tensor.dimensions[..count].to_vec() }
}

/// The layer in a name like `blk.12.attn_q.weight`; tensors outside of layers come first.
fn layer(name: &str) -> u32 {
    let number = name.strip_prefix("blk.").and_then(|rest| rest.split('.').next());
    number.and_then(|number| number.parse::<u32>().ok()).map_or(0, |layer| layer.saturating_add(1))
}

#[cfg(test)]
mod tests {
    use planner::catalogue;

    use super::*;

    #[test]
    fn names_of_what_lies_elsewhere() {
        for (text, expected) in [
            ("hf:owner/repo-GGUF", "repo-GGUF"),
            ("hf:owner/repo-GGUF:Q4_K_M", "repo-GGUF:Q4_K_M"),
            ("https://h/a/b.gguf?download=true", "b"),
        ] {
            assert_eq!(name(text), expected);
        }
    }

    /// Made from one quantization, another must come out as the catalogue has it.
    #[test]
    fn another_quantization_of_the_same_model_has_the_bytes_of_its_file() {
        let entry = catalogue::builtin().find("qwen3-8b").unwrap();
        let known = entry.header("Q4_K_M").unwrap();
        for quantization in ["Q8_0", "Q6_K", "Q5_K_M", "Q2_K"] {
            let expected = entry.header(quantization).unwrap();
            let made = requantized(&known, quantization, expected.tensor_bytes());
            let (made_bytes, expected_bytes) = (made.tensor_bytes(), expected.tensor_bytes());
            assert!(made_bytes.abs_diff(expected_bytes) < 1 << 20, "{quantization}: {made_bytes}");
            let kinds = |header: &Header| {
                let mut kinds: Vec<_> = header
                    .tensors
                    .iter()
                    .map(|tensor| (tensor.name.clone(), tensor.kind))
                    .collect();
                kinds.sort();
                kinds
            };
            assert_eq!(kinds(&made).len(), kinds(&expected).len());
        }
        // A mix that no recipe gives still has the length of its file.
        let made = requantized(&known, "UD-Q4_K_XL", 5_200_000_000);
        assert!(made.tensor_bytes().abs_diff(5_200_000_000) < 1 << 20, "{}", made.tensor_bytes());
    }
}
