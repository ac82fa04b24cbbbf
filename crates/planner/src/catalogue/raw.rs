//! The catalogue as its file writes it, and the way from there to entries.

use std::{cmp::Reverse, collections::BTreeMap};

use serde::Deserialize;

use super::{
    Error,
    entry::{Entry, Kind, Quantization},
};
use crate::{
    gguf::{Array, ElementType, Value},
    recipe::{self, Recipe},
    tensors,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    model: Vec<RawModel>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawModel {
    name: String,
    title: String,
    kind: String,
    architecture: Option<String>,
    /// A model before this one, whose architecture and figures it has except for those it gives.
    like: Option<String>,
    parameters: u64,
    #[serde(default)]
    parameters_difference: i64,
    licence: String,
    repository: String,
    tied: Option<bool>,
    rotary_table: Option<bool>,
    /// Whether the files in the repository were quantized with an importance matrix.
    #[serde(default)]
    importance_matrix: bool,
    /// Whether they were quantized before April 2026; see [`recipe::Conditions`].
    #[serde(default)]
    older_quantizer: bool,
    /// Recipes of llama.cpp that are published.
    #[serde(default)]
    recipes: Vec<String>,
    /// Files of which the length is known.
    #[serde(default)]
    files: Vec<RawFile>,
    /// Where the lengths of those files come from that do not say it themselves.
    files_source: Option<String>,
    runtime_bytes: Option<u64>,
    #[serde(default = "yes")]
    verified: bool,
    sources: String,
    note: Option<String>,
    #[serde(default)]
    figures: BTreeMap<String, toml::Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    name: String,
    bytes: u64,
    #[serde(default)]
    rounded: bool,
    source: Option<String>,
}

fn yes() -> bool {
    true
}

pub(super) fn entries(text: &str) -> Result<Vec<Entry>, Error> {
    let raw: Raw =
        toml::from_str(text).map_err(|error| Error::Unreadable { why: error.to_string() })?;
    let mut entries: Vec<Entry> = Vec::new();
    for model in raw.model {
        let name = model.name.clone();
        if entries.iter().any(|entry| entry.name == name) {
            return Err(Error::Unreadable { why: format!("`{name}` appears twice") });
        }
        let entry = entry(model, &entries);
        entries.push(entry.map_err(|why| Error::Unreadable { why: format!("`{name}`: {why}") })?);
    }
    Ok(entries)
}

fn entry(model: RawModel, before: &[Entry]) -> Result<Entry, String> {
    let like = match &model.like {
        Some(name) => Some(
            before
                .iter()
                .find(|entry| entry.name == *name)
                .ok_or_else(|| format!("there is no model `{name}` before it to be like"))?,
        ),
        None => None,
    };
    let kind = Kind::from_name(&model.kind);
    let kind = kind.ok_or_else(|| format!("`{}` is no kind of model", model.kind))?;
    let architecture = model.architecture.clone().or_else(|| Some(like?.architecture.clone()));
    let architecture = architecture.ok_or("it has no architecture")?;
    let metadata = metadata(&model, &architecture, like)?;
    let options = tensors::Options {
        tied: model.tied.or_else(|| Some(like?.options.tied)).unwrap_or(false),
        rotary_table: model
            .rotary_table
            .or_else(|| Some(like?.options.rotary_table))
            .unwrap_or(false),
    };
    let quantizations = quantizations(&model.recipes, model.files, model.files_source.as_deref())?;
    Ok(Entry {
        name: model.name,
        title: model.title,
        kind,
        architecture,
        parameters: model.parameters,
        parameters_difference: model.parameters_difference,
        licence: model.licence,
        repository: model.repository,
        quantizations,
        runtime_bytes: model.runtime_bytes,
        verified: model.verified,
        sources: model.sources,
        note: model.note,
        options,
        conditions: recipe::Conditions {
            measured: model.importance_matrix,
            older: model.older_quantizer,
        },
        metadata,
    })
}

/// Recipes and files under one name are one quantization. A file without a recipe is a mix of its
/// publisher, whatever its name. Recipes come first, then the mixes, long before short.
fn quantizations(
    recipes: &[String],
    files: Vec<RawFile>,
    files_source: Option<&str>,
) -> Result<Vec<Quantization>, String> {
    let mut all: Vec<Quantization> = Vec::new();
    for name in recipes {
        let recipe = Recipe::from_name(name);
        let recipe = recipe.ok_or_else(|| format!("`{name}` is no recipe of llama.cpp"))?;
        let name = recipe.name().to_owned();
        all.push(Quantization {
            name,
            recipe: Some(recipe),
            file_bytes: None,
            rounded: false,
            source: None,
        });
    }
    for file in files {
        let known = all.iter_mut().find(|one| one.name == file.name);
        let source = file.source.or_else(|| files_source.map(str::to_owned));
        if source.is_none() {
            return Err(format!("the length of `{}` comes from nowhere", file.name));
        }
        let file_bytes = Some(file.bytes);
        match known {
            Some(known) => {
                known.file_bytes = file_bytes;
                known.rounded = file.rounded;
                known.source = source;
            }
            None => all.push(Quantization {
                recipe: None,
                name: file.name,
                file_bytes,
                rounded: file.rounded,
                source,
            }),
        }
    }
    // The sort keeps recipes in their order, which a test holds to be that of their bits.
    all.sort_by_key(|one| match one.recipe {
        Some(_) => None,
        None => Some(Reverse(one.file_bytes)),
    });
    if all.is_empty() {
        return Err("it is published in no quantization".to_owned());
    }
    Ok(all)
}

fn metadata(
    model: &RawModel,
    architecture: &str,
    like: Option<&Entry>,
) -> Result<BTreeMap<String, Value>, String> {
    let mut metadata = like.map(|like| like.metadata.clone()).unwrap_or_default();
    if model.figures.is_empty() && metadata.is_empty() {
        return Ok(metadata);
    }
    for (key, value) in &model.figures {
        let full = if key.starts_with("tokenizer.") {
            key.clone()
        } else {
            format!("{architecture}.{key}")
        };
        let value = figure(value).ok_or_else(|| format!("`{key}` has a value no file can have"))?;
        metadata.insert(full, value);
    }
    let text = |text: &str| Value::String(text.to_owned());
    metadata.insert("general.architecture".to_owned(), text(architecture));
    metadata.insert("general.name".to_owned(), text(&model.title));
    metadata.insert("general.quantization_version".to_owned(), Value::Unsigned(2));
    metadata.insert("general.type".to_owned(), text("model"));
    // llama.cpp then makes as many empty tokens as `vocab_size` says.
    metadata.insert("tokenizer.ggml.model".to_owned(), text("no_vocab"));
    Ok(metadata)
}

/// A value as it comes back from a GGUF file: floats there have 32 bits, arrays 32-bit integers.
fn figure(value: &toml::Value) -> Option<Value> {
    Some(match value {
        toml::Value::Integer(number) => Value::Unsigned(u64::try_from(*number).ok()?),
        #[expect(clippy::cast_possible_truncation, reason = "what a file holds is the point")]
        toml::Value::Float(number) => Value::Float(f64::from(*number as f32)),
        toml::Value::Boolean(flag) => Value::Bool(*flag),
        toml::Value::String(text) => Value::String(text.clone()),
        toml::Value::Array(elements) => array(elements)?,
        toml::Value::Datetime(_) | toml::Value::Table(_) => return None,
    })
}

fn array(elements: &[toml::Value]) -> Option<Value> {
    let kept: Option<Vec<Value>> = elements
        .iter()
        .map(|element| match element {
            toml::Value::Integer(number) => Some(Value::Signed(*number)),
            toml::Value::Boolean(flag) => Some(Value::Bool(*flag)),
            toml::Value::String(text) => Some(Value::String(text.clone())),
            toml::Value::Float(_)
            | toml::Value::Datetime(_)
            | toml::Value::Array(_)
            | toml::Value::Table(_) => None,
        })
        .collect();
    let kept = kept?;
    let element = match kept.first()? {
        Value::Signed(_) => ElementType::I32,
        Value::Bool(_) => ElementType::Bool,
        Value::String(_) => ElementType::String,
        Value::Unsigned(_) | Value::Float(_) | Value::LongString { .. } | Value::Array(_) => {
            return None;
        }
    };
    Some(Value::Array(Array { element, len: kept.len() as u64, place: 0..0, kept: Some(kept) }))
}
