//! What a projector's header says of itself: a projector (`mmproj`) turns pictures and sounds into the
//! vectors of a model.
//!
//! Source: the keys in llama.cpp's `tools/mtmd/clip-impl.h`.

use super::Header;

impl Header {
    /// Whether this is a projector, whatever it takes.
    #[must_use]
    pub fn is_projector(&self) -> bool {
        self.architecture() == "clip" || self.str("general.type") == Some("mmproj")
    }

    /// Whether it is a projector that takes pictures.
    #[must_use]
    pub fn projects_pictures(&self) -> bool {
        self.is_projector() && self.bool("clip.has_vision_encoder") == Some(true)
    }

    /// Whether it is a projector that takes sounds.
    #[must_use]
    pub fn projects_sounds(&self) -> bool {
        self.is_projector() && self.bool("clip.has_audio_encoder") == Some(true)
    }

    /// The kind of a projector's one side (`vision` or `audio`), in llama.cpp's word: `gemma3`,
    /// `pixtral`, `ultravox`. Empty where it does not say.
    #[must_use]
    pub fn projector_kind(&self, side: &str) -> &str {
        let of_side = self.str(&format!("clip.{side}.projector_type"));
        self.str("clip.projector_type").or(of_side).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::gguf::Value;

    fn projector(keys: &[(&str, Value)]) -> Header {
        let metadata: BTreeMap<String, Value> =
            keys.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
        Header { version: 3, metadata, tensors: Vec::new(), alignment: 32, data_offset: 0 }
    }

    #[test]
    fn one_file_may_take_pictures_and_sounds() {
        let clip = ("general.architecture", Value::String("clip".to_owned()));
        let both = projector(&[
            clip.clone(),
            ("clip.has_vision_encoder", Value::Bool(true)),
            ("clip.has_audio_encoder", Value::Bool(true)),
            ("clip.vision.projector_type", Value::String("gemma4v".to_owned())),
            ("clip.audio.projector_type", Value::String("gemma4a".to_owned())),
        ]);
        assert!(both.is_projector() && both.projects_pictures() && both.projects_sounds());
        assert_eq!(both.projector_kind("vision"), "gemma4v");
        assert_eq!(both.projector_kind("audio"), "gemma4a");
        let neither = projector(&[clip, ("clip.projector_type", Value::String("mlp".to_owned()))]);
        assert!(neither.is_projector() && !neither.projects_pictures());
        assert_eq!(neither.projector_kind("vision"), "mlp");
        let model = projector(&[("clip.has_vision_encoder", Value::Bool(true))]);
        assert!(!model.projects_pictures(), "a model that says so is no projector");
    }
}
