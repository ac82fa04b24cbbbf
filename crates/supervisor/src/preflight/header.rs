//! Reads the header of a GGUF file, all parts of a split one, and says what it needs in memory.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use planner::{
    adapter,
    draft::{self, limits::DRAFT_TOKENS_MAX},
    footprint::{self, CacheType, Companions, Item, Layout, Place},
    gguf::{self, Header, split},
};

use worker_protocol::{Speculation, SpeculationSource, limits::INTERNAL_SEQUENCES};

use crate::{
    limits::{HEADER_BYTES_FIRST, HEADER_BYTES_MAX, STEP_TOKENS_MAX},
    model::Need,
};

/// Reads the header of a model's file, and of all further files of a split one.
///
/// # Errors
/// A message that names the file, the problem and the way out.
pub fn read_header(path: &Path) -> Result<Header, String> {
    let first = read_one(path)?;
    let Some(count) = first.split_files() else { return Ok(first) };
    let (mut parts, mut tensors) = (vec![first], 0);
    // A hostile count ends at the first part that does not exist, and hostile parts where together
    // they have more tensors than one file may have.
    for number in 2..=count {
        let next = read_one(&part(path, number, count)?)?;
        tensors += next.tensors.len() as u64;
        parts.push(next);
        if tensors > gguf::TENSORS_MAX {
            break;
        }
    }
    split::join(parts).map_err(|error| format!("{}: {error}", path.display()))
}

/// Reads the header of the file that guesses for a model.
///
/// # Errors
/// A message that names the file, the problem and the way out: it cannot be read, or its tokens are
/// not the model's.
pub(super) fn read_draft(path: &Path, model: &Header) -> Result<Header, String> {
    let header = read_header(path).map_err(|why| format!("the draft model {why}"))?;
    draft::misfit(&header, model).map_or(Ok(header), |why| {
        Err(format!("{} cannot guess for this model: {why}", path.display()))
    })
}

/// Reads the header of the file that turns pictures and sounds into a model's vectors.
///
/// # Errors
/// A message that names the file, the problem and the way out: it cannot be read, or is no projector.
pub fn read_projector(path: &Path) -> Result<Header, String> {
    let header = read_header(path).map_err(|why| format!("the projector {why}"))?;
    let shown = path.display();
    if !header.is_projector() {
        return Err(format!(
            "{shown} is no projector but a file of the architecture '{}'; name the model's mmproj file",
            header.architecture()
        ));
    }
    if !header.projects_pictures() && !header.projects_sounds() {
        return Err(format!(
            "{shown} has an encoder neither for pictures nor for sounds; get the model's mmproj file \
             from where the model is from"
        ));
    }
    Ok(header)
}

/// Reads the header of a LoRA adapter of a model.
///
/// # Errors
/// A message that names the file, the problem and the way out: it cannot be read, or does not belong to
/// the model.
pub(super) fn read_adapter(path: &Path, model: &Header) -> Result<Header, String> {
    let header = read_one(path).map_err(|why| format!("the adapter {why}"))?;
    match adapter::check(model, &header) {
        Ok(()) => Ok(header),
        Err(why) => Err(format!("the adapter {} {why}", path.display())),
    }
}

/// How our worker loads a model with its layers in `place`.
pub(super) fn layout(
    context_tokens: u32,
    sequences_max: u32,
    kv_type: CacheType,
    place: Place,
) -> Layout {
    let sequences_max = sequences_max.saturating_add(INTERNAL_SEQUENCES);
    Layout {
        step_tokens_max: STEP_TOKENS_MAX,
        keys: kv_type,
        values: kv_type,
        place,
        ..Layout::new(context_tokens, sequences_max)
    }
}

/// The layout with what guessing ahead takes of the model itself: its own layers that guess, and
/// states that can be taken back.
///
/// # Errors
/// A fragment that says why it cannot guess so, and the way out.
pub(super) fn guessing(
    header: &Header,
    layout: Layout,
    speculation: &Speculation,
) -> Result<Layout, String> {
    let own_head = speculation.source == SpeculationSource::Head;
    if let Some(why) = draft::head_misfit(header).filter(|_| own_head) {
        return Err(format!("cannot guess for itself as speculation = \"mtp\" says: {why}"));
    }
    let asked = match speculation.source {
        SpeculationSource::Off => return Ok(layout),
        SpeculationSource::Lookup => speculation.tokens.is_some(),
        SpeculationSource::Draft(_) | SpeculationSource::Head => true,
    };
    let taken_back_max = draft::taken_back(header, &layout, speculation.tokens, asked);
    let guessed_rows_max = u32::try_from(DRAFT_TOKENS_MAX).unwrap_or(u32::MAX);
    Ok(Layout { own_head, taken_back_max, guessed_rows_max, ..layout })
}

/// The layout as of a model about which nobody says how it guesses: from its text.
#[must_use]
pub fn guessing_by_default(header: &Header, layout: Layout) -> Layout {
    let speculation = Speculation { source: SpeculationSource::Lookup, tokens: None };
    guessing(header, layout, &speculation).unwrap_or(layout)
}

/// What the model needs in memory, with what is loaded beside it, when it is loaded as `layout` says.
///
/// # Errors
/// A fragment that says why it cannot be loaded so, and the way out.
pub(super) fn needs(
    header: &Header,
    layout: &Layout,
    companions: &Companions<'_>,
) -> Result<Vec<Need>, String> {
    for header in std::iter::once(header).chain(companions.draft) {
        footprint::check(header, layout).map_err(|refusal| {
            format!("cannot be loaded as [kv] type or kv_type says: {refusal}")
        })?;
    }
    let items = footprint::predict_with(header, layout, companions).items.into_iter();
    let need = |item: Item| Need { what: item.what.to_owned(), bytes: item.bytes, why: item.why };
    Ok(items.map(need).collect())
}

/// Reads more and more of the file until the header is whole.
fn read_one(path: &Path) -> Result<Header, String> {
    let shown = path.display();
    let unreadable = |error: io::Error| {
        let way_out = if error.kind() == io::ErrorKind::NotFound {
            "put the file back, or remove the model"
        } else if error.kind() == io::ErrorKind::PermissionDenied {
            "change its permissions"
        } else {
            "check the disk it is on"
        };
        format!("{shown} cannot be read: {error}; {way_out}")
    };
    // Before it is opened: to open a named pipe is to wait for whoever writes to it.
    let metadata = std::fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(format!("{shown} is not a file; name the model's GGUF file"));
    }
    let mut file = File::open(path).map_err(unreadable)?;
    let mut prefix = Vec::new();
    let mut wanted_bytes = HEADER_BYTES_FIRST;
    loop {
        let more = u64::try_from(wanted_bytes.saturating_sub(prefix.len())).unwrap_or(u64::MAX);
        let had_bytes = prefix.len();
        (&mut file).take(more).read_to_end(&mut prefix).map_err(unreadable)?;
        let needed_bytes = match gguf::parse(&prefix, metadata.len()) {
            Ok(header) => return Ok(header),
            Err(gguf::Error::Incomplete { needed_bytes }) => needed_bytes,
            Err(error) => return Err(format!("{shown}: {error}")),
        };
        if prefix.len() == had_bytes {
            return Err(format!("{shown} ends inside its header; download it again"));
        }
        let needed_bytes = usize::try_from(needed_bytes).unwrap_or(usize::MAX);
        if needed_bytes > HEADER_BYTES_MAX || prefix.len() >= HEADER_BYTES_MAX {
            return Err(format!(
                "{shown} has a header of more than {HEADER_BYTES_MAX} bytes, which no real model \
                 has; get it from another source"
            ));
        }
        wanted_bytes = needed_bytes.max(prefix.len().saturating_mul(2)).min(HEADER_BYTES_MAX);
    }
}

/// A further file of a split model, whose first is named `…-00001-of-00003.gguf`.
fn part(first: &Path, number: u64, count: u64) -> Result<PathBuf, String> {
    let name = first.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let stem = name.strip_suffix(&format!("-00001-of-{count:05}.gguf")).ok_or_else(|| {
        format!(
            "{} is one of {count} parts; serve the first, which must keep its name ending in \
             -00001-of-{count:05}.gguf, with the others beside it",
            first.display()
        )
    })?;
    Ok(first.with_file_name(format!("{stem}-{number:05}-of-{count:05}.gguf")))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use planner::{
        catalogue,
        gguf::{Tensor, Value, write},
    };

    use super::*;

    /// Part `index` of `count`: as `llama-gguf-split` writes them, only the first has metadata.
    fn write_part(folder: &Path, whole: &Header, index: u64, count: u64, tensors: &[Tensor]) {
        let mut metadata = if index == 0 { whole.metadata.clone() } else { BTreeMap::new() };
        let all = Value::Unsigned(whole.tensors.len() as u64);
        metadata.insert("split.no".to_owned(), Value::Unsigned(index));
        metadata.insert("split.count".to_owned(), Value::Unsigned(count));
        metadata.insert("split.tensors.count".to_owned(), all);
        let first_offset = tensors.first().map_or(0, |tensor| tensor.offset);
        let tensors = tensors
            .iter()
            .map(|tensor| Tensor { offset: tensor.offset - first_offset, ..tensor.clone() });
        let part = Header { metadata, tensors: tensors.collect(), ..whole.clone() };
        let bytes = write::write(&part).unwrap();
        let path = folder.join(format!("m-{:05}-of-{count:05}.gguf", index + 1));
        std::fs::write(&path, &bytes).unwrap();
        let file = File::options().write(true).open(path).unwrap();
        file.set_len(bytes.len() as u64 + part.tensor_bytes()).unwrap();
    }

    #[test]
    fn a_model_in_parts_is_read_as_one() {
        let folder = tempfile::tempdir().unwrap();
        let whole = catalogue::builtin().find("minilm-l6").unwrap().header("Q8_0").unwrap();
        let (front, back) = whole.tensors.split_at(20);
        write_part(folder.path(), &whole, 0, 2, front);
        let first = folder.path().join("m-00001-of-00002.gguf");
        let message = read_header(&first).unwrap_err();
        assert!(message.contains("m-00002-of-00002.gguf cannot be read"), "{message}");
        write_part(folder.path(), &whole, 1, 2, back);
        let read = read_header(&first).unwrap();
        assert_eq!(read.tensors.len(), whole.tensors.len());
        assert_eq!(read.tensor_bytes(), whole.tensor_bytes());
        assert!(read.is_model());
        let second = folder.path().join("m-00002-of-00002.gguf");
        let message = read_header(&second).unwrap_err();
        assert!(message.contains("serve the first"), "{message}");
        // A part of something else.
        write_part(folder.path(), &whole, 1, 2, &back[1..]);
        let message = read_header(&first).unwrap_err();
        assert!(message.contains("tensors together and should have"), "{message}");
    }
}
