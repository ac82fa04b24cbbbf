//! How long a prompt is before anybody has tokenized it.
//!
//! Which vocabulary will count is not known until a model is chosen, so there are two figures: one
//! that the prompt surely reaches and one that it hardly exceeds. A model is refused only for the
//! first and preferred only for the second, so that a guess never refuses what would have fitted.

use super::limits::{
    BYTES_PER_TOKEN_MAX, IMAGE_TOKENS, LETTER_BYTES_PER_TOKEN, MESSAGE_TOKENS,
    OTHER_BYTES_PER_TOKEN, SOUND_TOKENS,
};

/// The length of a prompt, between two figures.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tokens {
    /// It surely has so many.
    pub at_least: u64,
    /// It hardly has more.
    pub at_most: u64,
}

impl Tokens {
    /// A prompt that came as tokens.
    #[must_use]
    pub fn exactly(tokens: u64) -> Self {
        Self { at_least: tokens, at_most: tokens }
    }

    /// Text of a prompt. Letters and spaces, of which tokens hold several, are told from digits and
    /// signs, of which a token may hold one.
    #[must_use]
    pub fn of_text(text: &str) -> Self {
        let (mut letters, mut signs, mut others) = (0_u64, 0_u64, 0_u64);
        for byte in text.bytes() {
            if byte.is_ascii_alphabetic() || byte == b' ' {
                letters += 1;
            } else if byte.is_ascii() {
                signs += 1;
            } else {
                others += 1;
            }
        }
        let at_most = letters.div_ceil(LETTER_BYTES_PER_TOKEN)
            + signs
            + others.div_ceil(OTHER_BYTES_PER_TOKEN);
        Self { at_least: (letters + signs + others) / BYTES_PER_TOKEN_MAX, at_most }
    }

    /// The two together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            at_least: self.at_least.saturating_add(other.at_least),
            at_most: self.at_most.saturating_add(other.at_most),
        }
    }

    /// With what stands around so many messages.
    #[must_use]
    pub fn in_messages(self, messages: u64) -> Self {
        self.and(Self { at_least: 0, at_most: messages.saturating_mul(MESSAGE_TOKENS) })
    }

    /// With so many images. What an image surely takes is not known.
    #[must_use]
    pub fn with_images(self, images: u64) -> Self {
        self.and(Self { at_least: 0, at_most: images.saturating_mul(IMAGE_TOKENS) })
    }

    /// With so many sounds. What a sound surely takes is not known either.
    #[must_use]
    pub fn with_sounds(self, sounds: u64) -> Self {
        self.and(Self { at_least: 0, at_most: sounds.saturating_mul(SOUND_TOKENS) })
    }
}
