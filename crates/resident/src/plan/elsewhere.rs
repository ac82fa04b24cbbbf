//! Models that lie on a web server, a hub or a registry: one header is read, and a repository's other
//! quantizations are planned from it and the lengths of their files.

use anyhow::Context as _;
use library::remote::{Error, Kind, Model, Reader, Remote, Repository, Source};
use planner::{
    gguf::{Header, Tensor, split},
    recipe::{self, Conditions, Recipe},
    tensors::Shape,
};

use super::subject::{self, File, Subject, What};
use crate::{
    config::Settings,
    exit::{self, Code},
    limits::HEADERS_READ_MAX,
    pull, terminal,
};

/// The model that `source` means, which the person wrote as `text`.
///
/// # Errors
/// With [`Code::Model`] when there is none, or several; with [`Code::Elsewhere`] when nobody can be asked.
pub(crate) fn subject(
    text: &str,
    source: Result<Source, Error>,
    settings: &Settings,
) -> anyhow::Result<Subject> {
    let source = source.map_err(pull::of_source)?;
    let shown = match &source {
        Source::Address(address) => address.to_string(),
        Source::Repository { .. } | Source::Registry(_) => text.to_owned(),
    };
    let access = pull::access(settings)?;
    let mut reader = Reader::new(&access);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("cannot start")?;
    terminal::note(format_args!("reading the header of {shown}"));
    let files = runtime.block_on(files(&mut reader, &source, &shown))?;
    let source = format!("{shown}, of which {} bytes were read", reader.downloaded_bytes());
    Ok(Subject::of_header(name(&shown), source, files))
}

/// The last step of an address or a repository, without ending.
fn name(shown: &str) -> String {
    let last = shown.rsplit('/').next().unwrap_or(shown);
    last.strip_suffix(".gguf").unwrap_or(last).to_owned()
}

/// The files that `source` means: one, or every quantization of a model.
async fn files(reader: &mut Reader, source: &Source, shown: &str) -> anyhow::Result<Vec<File>> {
    let (repository, wanted) = match source {
        Source::Repository { repository, pick: None } => {
            let models = reader.models(repository).await.map_err(pull::of_source)?;
            return all(reader, repository, &models).await;
        }
        Source::Repository { repository, pick: Some(wanted) } => (Some(repository), &**wanted),
        Source::Registry(_) | Source::Address(_) => (None, ""),
    };
    match (reader.read(source).await, repository) {
        (Ok(found), _) if found.header.is_model() => Ok(vec![whole(found)]),
        (Ok(_), _) => Err(subject::companion(shown)),
        // Of several models in a repository, one may be meant in all its quantizations.
        (Err(error @ (Error::Several { .. } | Error::NotThere { .. })), Some(repository)) => {
            let mut models = reader.models(repository).await.map_err(pull::of_source)?;
            models.retain(|model| model.family().eq_ignore_ascii_case(wanted));
            if models.is_empty() {
                return Err(pull::of_source(error));
            }
            all(reader, repository, &models).await
        }
        (Err(error), _) => Err(pull::of_source(error)),
    }
}

fn whole(found: Remote) -> File {
    File {
        quantization: found.header.quantization(),
        file_bytes: Some(found.file_bytes),
        is_guess: false,
        what: What::Header(found.header),
    }
}

/// Every quantization of the one model that there is among `models` of a repository.
async fn all(
    reader: &mut Reader,
    repository: &Repository,
    models: &[Model],
) -> anyhow::Result<Vec<File>> {
    let named = models.iter().filter(|model| model.kind == Kind::Model);
    let (mut complete, torn): (Vec<&Model>, Vec<&Model>) =
        named.partition(|model| model.missing_part.is_none());
    if complete.is_empty() {
        let torn = torn.first().and_then(|model| Some((model, model.missing_part?)));
        return Err(pull::of_source(match torn {
            Some((model, number)) => Error::Split {
                name: format!("{repository}: {}", model.name),
                error: split::Error::Missing { number, count: model.parts },
            },
            None => Error::NoModel { repository: repository.to_string() },
        }));
    }
    // In the smallest file the least lies behind the header that could be read in vain.
    complete.sort_by_key(|model| (model.files.len(), model.bytes()));
    let (smallest, read) = only(reader, repository, &mut complete).await?;
    let data_bytes = read.header.tensor_bytes();
    let in_front_bytes = read.file_bytes.saturating_sub(data_bytes);
    Ok(complete
        .iter()
        .map(|model| {
            let quantization = model.quantization.clone().unwrap_or_else(|| model.name.clone());
            let header = if *model == smallest {
                read.header.clone()
            } else {
                let wanted_bytes = model.bytes().saturating_sub(in_front_bytes);
                requantized(&read.header, &quantization, wanted_bytes)
            };
            let file_bytes = Some(model.bytes());
            let is_guess = *model != smallest;
            File { quantization, file_bytes, is_guess, what: What::Header(header) }
        })
        .collect())
}

/// The first of `models` that is one, with its header, when all others are the same model in other
/// quantizations. Companion files are told by their headers, and taken out.
async fn only<'a>(
    reader: &mut Reader,
    repository: &Repository,
    models: &mut Vec<&'a Model>,
) -> anyhow::Result<(&'a Model, Remote)> {
    let is_same = |one: &Model, other: &Model| one.family().eq_ignore_ascii_case(&other.family());
    let mut found: Option<(&Model, Remote)> = None;
    let mut looks = 0;
    for model in models.clone() {
        if found.as_ref().is_some_and(|(first, _)| is_same(first, model)) {
            continue;
        }
        looks += 1;
        if looks > HEADERS_READ_MAX {
            return Err(several(repository, models));
        }
        match (reader.read_model(repository, model).await, &found) {
            (Ok(read), _) if !read.header.is_model() => models.retain(|other| *other != model),
            (Ok(read), None) => found = Some((model, read)),
            (Err(error), None) => return Err(pull::of_source(error)),
            // What cannot be read beside a model may be one too.
            (Ok(_) | Err(_), Some(_)) => return Err(several(repository, models)),
        }
    }
    found.ok_or_else(|| {
        let message = format!(
            "{repository} has companion files (projectors, adapters or vocabularies) and no model; \
             name the repository of the model itself"
        );
        exit::error(Code::Model, message)
    })
}

/// Names every model among `models` as it can be asked for.
fn several(repository: &Repository, models: &[&Model]) -> anyhow::Error {
    let named = |model: &&Model| match model.family() {
        // Called by its quantization alone, it can be asked for by its file.
        family if family.is_empty() => model.files.first().map(|file| file.path.clone()),
        family => Some(family),
    };
    let mut found: Vec<String> = models.iter().filter_map(named).collect();
    found.sort();
    found.dedup_by(|one, other| one.eq_ignore_ascii_case(other));
    pull::of_source(Error::Several { repository: repository.to_string(), found })
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
            ("https://h/a/b.gguf", "b"),
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
