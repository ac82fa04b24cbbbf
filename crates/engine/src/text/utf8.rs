//! Whole characters from bytes that were cut anywhere.

/// Holds back the bytes of a character until its last one came. Bytes that can never become a
/// character turn into U+FFFD, as `String::from_utf8_lossy` does it.
#[derive(Debug, Clone, Default)]
pub(super) struct Utf8 {
    held: Vec<u8>,
}

impl Utf8 {
    /// Adds bytes and returns the text that is whole now.
    pub(super) fn push(&mut self, bytes: &[u8]) -> String {
        self.held.extend_from_slice(bytes);
        let mut text = String::new();
        let mut taken = 0;
        for chunk in self.held.utf8_chunks() {
            text.push_str(chunk.valid());
            taken += chunk.valid().len();
            let is_last = taken + chunk.invalid().len() == self.held.len();
            if is_last && could_continue(chunk.invalid()) {
                break;
            }
            if !chunk.invalid().is_empty() {
                text.push(char::REPLACEMENT_CHARACTER);
                taken += chunk.invalid().len();
            }
        }
        self.held.drain(..taken);
        text
    }

    /// Whether the bytes so far end inside a character.
    pub(super) fn is_mid_character(&self) -> bool {
        !self.held.is_empty()
    }

    /// No more bytes come: what is held is broken.
    pub(super) fn finish(&mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.held)).into_owned()
    }
}

/// Whether more bytes could make this the beginning of a character.
fn could_continue(bytes: &[u8]) -> bool {
    match std::str::from_utf8(bytes) {
        Ok(_) => false,
        Err(error) => error.valid_up_to() == 0 && error.error_len().is_none(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_emoji_in_four_tokens_comes_once_and_whole() {
        let mut utf8 = Utf8::default();
        let emoji = "🦀".as_bytes();
        for byte in &emoji[..3] {
            assert_eq!(utf8.push(&[*byte]), "");
            assert!(utf8.is_mid_character());
        }
        assert_eq!(utf8.push(&emoji[3..]), "🦀");
        assert!(!utf8.is_mid_character());
    }

    proptest! {
        #[test]
        fn cut_anywhere_it_equals_the_lossy_text_of_the_whole(
            bytes in prop_oneof![
                any::<Vec<u8>>(),
                any::<String>().prop_map(String::into_bytes),
            ],
            sizes in prop::collection::vec(1..5usize, 1..50),
        ) {
            let mut utf8 = Utf8::default();
            let mut text = String::new();
            let mut rest = &bytes[..];
            for size in sizes.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (now, later) = rest.split_at((*size).min(rest.len()));
                text.push_str(&utf8.push(now));
                rest = later;
            }
            text.push_str(&utf8.finish());
            prop_assert_eq!(text, String::from_utf8_lossy(&bytes));
        }
    }
}
