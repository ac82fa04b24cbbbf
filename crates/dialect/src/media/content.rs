//! What a message says, as its parts come: texts, and pictures and sounds in their places.

use worker_protocol::Media;

use super::File;

/// Parts of a message that become one text.
#[derive(Debug, Default)]
pub(crate) struct Content {
    text: String,
    media: Vec<Media>,
    parts: usize,
    /// Whether a text would follow a text.
    follows_text: bool,
}

impl Content {
    /// Of one text.
    pub(crate) fn of(text: String) -> Self {
        Self { text, media: Vec::new(), parts: 1, follows_text: true }
    }

    /// Texts are paragraphs to their sender, so a line break goes between neighbours.
    pub(crate) fn text(&mut self, text: &str) {
        if self.follows_text {
            self.text.push('\n');
        }
        self.text.push_str(text);
        self.follows_text = true;
        self.parts += 1;
    }

    /// A picture or a sound, where the text has come to.
    pub(crate) fn file(&mut self, file: File) {
        let File { kind, bytes } = file;
        // A body is far shorter than what this holds.
        let at = u32::try_from(self.text.len()).unwrap_or(u32::MAX);
        self.media.push(Media { at, kind, bytes });
        self.follows_text = false;
        self.parts += 1;
    }

    /// Whether nothing was said, not even an empty text.
    pub(crate) fn is_empty(&self) -> bool {
        self.parts == 0
    }

    /// The text, and what stands in it.
    pub(crate) fn into_parts(self) -> (String, Vec<Media>) {
        (self.text, self.media)
    }

    /// A text in front of everything else.
    pub(crate) fn put_first(&mut self, text: &str) {
        self.text.insert_str(0, text);
        let more = u32::try_from(text.len()).unwrap_or(u32::MAX);
        for media in &mut self.media {
            media.at = media.at.saturating_add(more);
        }
    }

    /// The text so far.
    pub(crate) fn as_text(&self) -> &str {
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use worker_protocol::MediaKind;

    use super::*;

    fn picture(bytes: &[u8]) -> File {
        File { kind: MediaKind::Image, bytes: bytes.to_vec() }
    }

    #[test]
    fn lines_break_between_texts_and_nowhere_else() {
        let mut content = Content::default();
        assert!(content.is_empty());
        content.file(picture(b"1"));
        content.text("ä");
        content.text("b");
        content.file(picture(b"2"));
        content.file(picture(b"3"));
        content.text("c");
        content.put_first("> ");
        let (text, media) = content.into_parts();
        assert_eq!(text, "> ä\nbc");
        let places: Vec<(u32, &[u8])> =
            media.iter().map(|media| (media.at, &*media.bytes)).collect();
        assert_eq!(places, [(2, &b"1"[..]), (6, b"2"), (6, b"3")]);
    }
}
