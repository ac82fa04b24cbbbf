//! Whether a header that could be read also makes sense: tensors that lie where they should, and
//! metadata that formulas can divide by.

use super::{
    Error, Header, Tensor, Value,
    limits::{ARCHITECTURE_BYTES_MAX, LAYERS_MAX},
    split::part_index,
};

/// Tensor data must follow each other without gap or overlap, as llama.cpp demands, and end
/// inside the file.
pub(super) fn tensors_fit(header: &Header, file_bytes: u64) -> Result<(), Error> {
    let mut expected: u64 = 0;
    for tensor in &header.tensors {
        if tensor.offset != expected {
            return Err(Error::Invalid { what: misplaced(header, tensor, expected) });
        }
        let end = header.data_offset.checked_add(tensor.offset);
        let end = end.and_then(|start| start.checked_add(tensor.bytes)).unwrap_or(u64::MAX);
        if end > file_bytes {
            let what = format!("the data of tensor `{}`", tensor.name);
            return Err(Error::Truncated { what, end, file_bytes });
        }
        // Where the length of the file is not known, its end is the largest number there is.
        expected = (tensor.offset.saturating_add(tensor.bytes))
            .checked_next_multiple_of(header.alignment)
            .unwrap_or(u64::MAX);
    }
    Ok(())
}

fn misplaced(header: &Header, tensor: &Tensor, expected: u64) -> String {
    let (name, offset, alignment) = (&tensor.name, tensor.offset, header.alignment);
    if !offset.is_multiple_of(alignment) {
        format!("tensor `{name}` begins at {offset}, which is not a multiple of {alignment}")
    } else if offset < expected {
        format!(
            "tensor `{name}` begins at {offset} and overlaps the one before it, which ends at \
             {expected}"
        )
    } else {
        format!("tensor `{name}` begins at {offset}, with a gap behind the end at {expected}")
    }
}

/// Keys that a model cannot do without, or that formulas divide by or multiply with.
pub(super) fn metadata_is_usable(header: &Header) -> Result<(), Error> {
    let architecture = header.architecture();
    // The further parts of a split model leave everything but their tensors to the first, and an
    // importance matrix is of whatever model its tensors are of.
    if architecture.is_empty() && part_index(header) == 0 && !header.is_importance_matrix() {
        return Err(Error::MissingKey { key: "general.architecture".to_owned() });
    }
    let found = architecture.len() as u64;
    if found > ARCHITECTURE_BYTES_MAX {
        let what = "the length of `general.architecture`".to_owned();
        return Err(Error::OverLimit { what, found, max: ARCHITECTURE_BYTES_MAX });
    }
    if header.is_model() {
        required(header)?;
    }
    if header.layers() > LAYERS_MAX {
        let found = header.layers();
        let what = format!("`{architecture}.block_count`");
        return Err(Error::OverLimit { what, found, max: LAYERS_MAX });
    }
    small_numbers(header)?;
    divisors(header)?;
    experts(header)
}

/// What every model has; projectors and adapters need not.
fn required(header: &Header) -> Result<(), Error> {
    for suffix in ["block_count", "context_length", "embedding_length"] {
        match header.arch_u64(suffix) {
            None => {
                let key = format!("{}.{suffix}", header.architecture());
                return Err(Error::MissingKey { key });
            }
            Some(0) => return Err(unusable(header, suffix, "0", "it must be at least 1")),
            Some(_) => {}
        }
    }
    Ok(())
}

/// Every number that a formula multiplies is one of 32 bits for llama.cpp too. Held to that, no
/// product of three of them and a layer count can leave 128 bits.
fn small_numbers(header: &Header) -> Result<(), Error> {
    const SUFFIXES: [&str; 22] = [
        "attention.head_count",
        "attention.head_count_kv",
        "attention.key_length",
        "attention.key_length_mla",
        "attention.key_length_swa",
        "attention.kv_lora_rank",
        "attention.shared_kv_layers",
        "attention.sliding_window",
        "attention.value_length",
        "attention.value_length_mla",
        "attention.value_length_swa",
        "context_length",
        "embedding_length",
        "expert_count",
        "expert_feed_forward_length",
        "expert_used_count",
        "feed_forward_length",
        "rope.dimension_count",
        "ssm.conv_kernel",
        "ssm.group_count",
        "ssm.inner_size",
        "ssm.state_size",
    ];
    for suffix in SUFFIXES {
        let Some(value) = header.arch(suffix) else { continue };
        let single = std::slice::from_ref(value);
        let values = match value {
            Value::Array(array) => array.kept.as_deref().unwrap_or_default(),
            Value::Unsigned(_) | Value::Signed(_) => single,
            Value::Float(_) | Value::Bool(_) | Value::String(_) | Value::LongString { .. } => {
                return Err(unusable(header, suffix, "not an integer", "it must be one"));
            }
        };
        for value in values {
            if value.as_u64().is_none_or(|number| number > u32::MAX.into()) {
                let found = format!("{value:?}");
                return Err(unusable(header, suffix, &found, "it must be from 0 to 4294967295"));
            }
        }
        if let Value::Array(array) = value
            && array.len < header.layers()
        {
            let found = format!("an array of {}", array.len);
            return Err(unusable(header, suffix, &found, "it must have one number per layer"));
        }
    }
    Ok(())
}

/// Numbers that something is divided by.
fn divisors(header: &Header) -> Result<(), Error> {
    // Models without attention say that they have no heads.
    let recurrent = ["ssm.state_size", "ssm.conv_kernel", "wkv.head_size", "shortconv.l_cache"];
    let has_attention = recurrent.iter().all(|suffix| header.arch(suffix).is_none());
    if has_attention && header.arch_u64("attention.head_count") == Some(0) {
        return Err(unusable(header, "attention.head_count", "0", "it divides the width"));
    }
    if header.arch_u64("full_attention_interval") == Some(0) {
        return Err(unusable(header, "full_attention_interval", "0", "layers are counted by it"));
    }
    Ok(())
}

/// llama.cpp aborts, rather than fails, on counts of experts that do not fit together.
fn experts(header: &Header) -> Result<(), Error> {
    let total = header.arch_u64("expert_count").unwrap_or(0);
    let Some(used) = header.arch_u64("expert_used_count") else { return Ok(()) };
    if used > total || (total > 0 && used == 0) {
        let found = used.to_string();
        let rule = format!("it must be from 1 to the {total} experts there are");
        return Err(unusable(header, "expert_used_count", &found, &rule));
    }
    Ok(())
}

fn unusable(header: &Header, suffix: &str, found: &str, rule: &str) -> Error {
    let what = format!("`{}.{suffix}` is {found}, but {rule}", header.architecture());
    Error::Invalid { what }
}
