//! The figures of a model by their GGUF keys, with the defaults that llama.cpp has for them.

use std::collections::BTreeMap;

use super::{Error, Options};
use crate::gguf::Value;

/// More layers than this make llama.cpp abort (`LLAMA_MAX_LAYERS`), and would make lists endless.
const LAYERS_MAX: u64 = 512;

/// What the metadata says about the shape of the model.
pub(super) struct Figures<'a> {
    metadata: &'a BTreeMap<String, Value>,
    architecture: &'a str,
    pub(super) options: Options,
    /// Layers of the model itself.
    pub(super) layers: u64,
    /// Layers behind them that only guess ahead (multi-token prediction).
    pub(super) speculative: u64,
    pub(super) width: u64,
    pub(super) vocabulary: u64,
}

/// Attention in one layer, in heads and in numbers per head.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attention {
    pub(super) heads: u64,
    pub(super) heads_kv: u64,
    pub(super) key_width: u64,
    pub(super) value_width: u64,
}

impl Attention {
    /// Numbers of all queries of a token.
    pub(super) fn queries(&self) -> u64 {
        self.heads.saturating_mul(self.key_width)
    }

    pub(super) fn keys(&self) -> u64 {
        self.heads_kv.saturating_mul(self.key_width)
    }

    pub(super) fn values(&self) -> u64 {
        self.heads_kv.saturating_mul(self.value_width)
    }
}

impl<'a> Figures<'a> {
    pub(super) fn new(
        metadata: &'a BTreeMap<String, Value>,
        options: &Options,
    ) -> Result<Self, Error> {
        let architecture = metadata.get("general.architecture").and_then(Value::as_str);
        let mut figures = Self {
            metadata,
            architecture: architecture.unwrap_or_default(),
            options: *options,
            layers: 0,
            speculative: 0,
            width: 0,
            vocabulary: 0,
        };
        let all = figures.at_most("block_count", LAYERS_MAX)?;
        figures.speculative = figures.optional("nextn_predict_layers").unwrap_or(0);
        figures.layers = all.checked_sub(figures.speculative).ok_or_else(|| Error::Unusable {
            key: figures.key("nextn_predict_layers"),
            found: figures.speculative,
            rule: format!("at most the block_count of {all}"),
        })?;
        figures.width = figures.number("embedding_length")?;
        figures.vocabulary = figures.vocabulary()?;
        Ok(figures)
    }

    pub(super) fn architecture(&self) -> &'a str {
        self.architecture
    }

    /// A figure that the architecture needs, at least 1.
    pub(super) fn number(&self, suffix: &str) -> Result<u64, Error> {
        let found = self.optional(suffix).filter(|number| *number > 0);
        found.ok_or_else(|| Error::Missing { key: self.key(suffix) })
    }

    /// A figure that may be absent.
    pub(super) fn optional(&self, suffix: &str) -> Option<u64> {
        self.metadata.get(&self.key(suffix))?.as_u64()
    }

    /// Refuses a model in which this figure is there and not zero; `rule` says what it must be.
    pub(super) fn without(&self, suffix: &str, rule: &str) -> Result<(), Error> {
        match self.optional(suffix).filter(|found| *found > 0) {
            Some(found) => {
                Err(Error::Unusable { key: self.key(suffix), found, rule: rule.to_owned() })
            }
            None => Ok(()),
        }
    }

    /// A figure of one layer: the key holds one number for all layers or an array.
    pub(super) fn in_layer(&self, suffix: &str, layer: u64) -> Result<u64, Error> {
        self.in_layer_if_any(suffix, layer).ok_or_else(|| Error::Missing { key: self.key(suffix) })
    }

    pub(super) fn in_layer_if_any(&self, suffix: &str, layer: u64) -> Option<u64> {
        match self.metadata.get(&self.key(suffix))? {
            Value::Array(array) => array.kept.as_ref()?.get(usize::try_from(layer).ok()?)?.as_u64(),
            single @ (Value::Unsigned(_)
            | Value::Signed(_)
            | Value::Float(_)
            | Value::Bool(_)
            | Value::String(_)
            | Value::LongString { .. }) => single.as_u64(),
        }
    }

    /// Whether an array of truth values says yes for `layer`; `None` without such an array.
    pub(super) fn flag_in_layer(&self, suffix: &str, layer: u64) -> Option<bool> {
        let Value::Array(array) = self.metadata.get(&self.key(suffix))? else { return None };
        let value = array.kept.as_ref()?.get(usize::try_from(layer).ok()?)?;
        value.as_bool().or_else(|| Some(value.as_u64()? != 0))
    }

    /// How many elements the array at `suffix` has.
    pub(super) fn array_len(&self, suffix: &str) -> Option<u64> {
        let Value::Array(array) = self.metadata.get(&self.key(suffix))? else { return None };
        Some(array.len)
    }

    /// An integer outside the architecture's own keys.
    pub(super) fn other(&self, key: &str) -> Option<u64> {
        self.metadata.get(key)?.as_u64()
    }

    /// Heads and their widths. Without a width of its own a head has its even share of the model's.
    pub(super) fn attention(&self, layer: u64) -> Result<Attention, Error> {
        self.attention_of(layer, "")
    }

    /// The same for layers whose widths have other keys, with `ending` behind the usual ones.
    pub(super) fn attention_of(&self, layer: u64, ending: &str) -> Result<Attention, Error> {
        let heads = self.in_layer("attention.head_count", layer)?;
        let even = self.width.checked_div(heads).unwrap_or(0);
        let width = |suffix: &str| {
            let own = self.optional(&format!("{suffix}{ending}"));
            own.or_else(|| self.optional(suffix)).unwrap_or(even)
        };
        Ok(Attention {
            heads,
            heads_kv: self.in_layer_if_any("attention.head_count_kv", layer).unwrap_or(heads),
            key_width: width("attention.key_length"),
            value_width: width("attention.value_length"),
        })
    }

    /// Numbers of a head that are rotated.
    pub(super) fn rotated(&self) -> Result<u64, Error> {
        match self.optional("rope.dimension_count") {
            Some(rotated) => Ok(rotated),
            None => Ok(self.attention(0)?.key_width),
        }
    }

    /// Width of one expert's network; without its own key, an even share of a dense one.
    pub(super) fn expert_feed_forward(&self) -> Result<u64, Error> {
        if let Some(width) = self.in_layer_if_any("expert_feed_forward_length", 0) {
            return Ok(width);
        }
        let used = self.number("expert_used_count")?;
        Ok(self.in_layer("feed_forward_length", 0)? / used)
    }

    fn at_most(&self, suffix: &str, max: u64) -> Result<u64, Error> {
        let found = self.number(suffix)?;
        if found > max {
            let rule = format!("at most {max}");
            return Err(Error::Unusable { key: self.key(suffix), found, rule });
        }
        Ok(found)
    }

    /// The tokens themselves count; a file without them gives their number.
    fn vocabulary(&self) -> Result<u64, Error> {
        match self.metadata.get("tokenizer.ggml.tokens") {
            Some(Value::Array(tokens)) => Ok(tokens.len),
            Some(_) | None => self.number("vocab_size"),
        }
    }

    fn key(&self, suffix: &str) -> String {
        format!("{}.{suffix}", self.architecture)
    }
}
