//! How people write the encoding of keys and values: as llama.cpp does on its command line.
//!
//! Not here: what each takes, and which of them a model can have (`planner::footprint`).

use planner::footprint::CacheType;

/// The type of this name, in any case.
///
/// # Errors
/// A fragment that names what there is.
pub(crate) fn parse(text: &str) -> Result<CacheType, String> {
    CacheType::from_name(text).ok_or_else(|| {
        let names: Vec<&str> = CacheType::ALL.into_iter().map(CacheType::name).collect();
        format!("'{text}' is no type of cache; use {}", names.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_named_as_llama_cpp_names_them() {
        assert_eq!(parse("Q8_0"), Ok(CacheType::Q8_0));
        for kind in CacheType::ALL {
            assert_eq!(parse(kind.name()), Ok(kind));
        }
        assert_eq!(
            parse("q9").unwrap_err(),
            "'q9' is no type of cache; use f32, f16, bf16, q8_0, q5_1, q5_0, q4_1, q4_0, iq4_nl"
        );
    }
}
