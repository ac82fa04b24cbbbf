//! Bytes of a text file as text, in whatever encoding they are, with the place of every character.

use std::ops::Range;

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{Encoding, GB18030, UTF_8, UTF_16BE, UTF_16LE};

use super::spelled::Spelled;

/// Of a hundred characters of text so many may be controls; other binary files have far more.
const CONTROL_PERCENT_MAX: usize = 5;

/// So many valid characters of more than one byte to each invalid one make a damaged UTF-8 and not another encoding.
const VALID_PER_INVALID: usize = 20;

/// Whether these first bytes of a file may be text in some encoding.
pub(crate) fn looks_like_text(head: &[u8]) -> bool {
    if head.is_empty() || Encoding::for_bom(head).is_some() || utf16_without_mark(head).is_some() {
        return true;
    }
    let controls = head
        .iter()
        .filter(|byte| {
            let spaces = matches!(byte, b'\t' | b'\n' | b'\r' | b'\x0c' | b'\x1b' | b'\x08');
            (**byte < 0x20 && !spaces) || **byte == 0x7f
        })
        .count();
    !head.contains(&0) && controls * 100 <= head.len() * CONTROL_PERCENT_MAX
}

/// The text of these bytes and where each character stands in them. What the file itself says of its encoding, if it
/// does, is believed unless it is UTF-8 after all.
pub(crate) fn decode(bytes: &[u8], said: Option<&'static Encoding>) -> Spelled {
    if let Some((encoding, mark)) = Encoding::for_bom(bytes) {
        return decode_as(bytes, encoding, mark..bytes.len());
    }
    let encoding = match std::str::from_utf8(bytes) {
        Ok(_) => UTF_8,
        // The end of what is read may cut a character.
        Err(error) if error.error_len().is_none() => UTF_8,
        Err(_) => said
            .filter(|said| *said != UTF_8)
            .or_else(|| utf16_without_mark(bytes))
            .or_else(|| mostly_utf8(bytes).then_some(UTF_8))
            .unwrap_or_else(|| guess(bytes)),
    };
    // UTF-16 of ASCII letters is valid UTF-8 with zeros.
    let encoding =
        if encoding == UTF_8 { utf16_without_mark(bytes).unwrap_or(UTF_8) } else { encoding };
    decode_as(bytes, encoding, 0..bytes.len())
}

fn guess(bytes: &[u8]) -> &'static Encoding {
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Allow);
    detector.feed(bytes, true);
    let guessed = detector.guess(None, Utf8Detection::Deny);
    // The older national standards are parts of it.
    if guessed == encoding_rs::GBK { GB18030 } else { guessed }
}

fn mostly_utf8(bytes: &[u8]) -> bool {
    let (mut valid, mut invalid) = (0, 0);
    for chunk in bytes.utf8_chunks() {
        valid += chunk.valid().chars().filter(|character| !character.is_ascii()).count();
        invalid += usize::from(!chunk.invalid().is_empty());
    }
    valid >= invalid * VALID_PER_INVALID
}

/// UTF-16 that does not say so: every other byte of what is in ASCII there (line ends at the least) is zero.
fn utf16_without_mark(bytes: &[u8]) -> Option<&'static Encoding> {
    let head = &bytes[..bytes.len().min(crate::limits::HEAD_BYTES) & !1];
    let (mut even, mut odd) = (0, 0);
    for pair in head.chunks_exact(2) {
        even += usize::from(pair[0] == 0);
        odd += usize::from(pair[1] == 0);
    }
    let enough = head.len() / 100 + 1;
    let encoding = match (even, odd) {
        (0, odd) if odd >= enough => UTF_16LE,
        (even, 0) if even >= enough => UTF_16BE,
        _ => return None,
    };
    let (text, _) = encoding.decode_without_bom_handling(head);
    let strange =
        text.chars().filter(|c| *c == '\u{fffd}' || (c.is_control() && !c.is_whitespace()));
    // A character may be cut at the end.
    (strange.count() <= 1).then_some(encoding)
}

fn decode_as(bytes: &[u8], encoding: &'static Encoding, range: Range<usize>) -> Spelled {
    if encoding == UTF_8 {
        decode_utf8(bytes, range)
    } else if encoding == UTF_16LE || encoding == UTF_16BE {
        decode_utf16(bytes, range, encoding == UTF_16BE)
    } else {
        decode_others(bytes, encoding, range)
    }
}

fn decode_utf8(bytes: &[u8], range: Range<usize>) -> Spelled {
    let mut spelled = Spelled::default();
    let mut at = range.start;
    for chunk in bytes[range].utf8_chunks() {
        spelled.push_copy(chunk.valid(), at);
        at += chunk.valid().len();
        if !chunk.invalid().is_empty() {
            spelled.push_unit("\u{fffd}", at..at + chunk.invalid().len());
            at += chunk.invalid().len();
        }
    }
    spelled
}

fn decode_utf16(bytes: &[u8], range: Range<usize>, big_endian: bool) -> Spelled {
    let mut spelled = Spelled::default();
    let mut at = range.start;
    let units = bytes[range].chunks_exact(2).map(|pair| {
        let pair = [pair[0], pair[1]];
        if big_endian { u16::from_be_bytes(pair) } else { u16::from_le_bytes(pair) }
    });
    let mut buffer = [0; 4];
    for decoded in char::decode_utf16(units) {
        let character = decoded.unwrap_or('\u{fffd}');
        let size = 2 * character.len_utf16();
        spelled.push_unit(character.encode_utf8(&mut buffer), at..at + size);
        at += size;
    }
    spelled
}

/// Byte by byte, so that it is known which bytes each character took; runs of ASCII are copied where they mean themselves.
fn decode_others(bytes: &[u8], encoding: &'static Encoding, range: Range<usize>) -> Spelled {
    let mut decoder = encoding.new_decoder_without_bom_handling();
    let mut spelled = Spelled::default();
    let mut character = String::with_capacity(16);
    let (mut at, mut begun) = (range.start, range.start);
    while at < range.end {
        if begun == at && encoding.is_ascii_compatible() {
            let ascii = bytes[at..range.end].iter().take_while(|byte| byte.is_ascii()).count();
            if let Ok(text) = std::str::from_utf8(&bytes[at..at + ascii])
                && ascii > 0
            {
                spelled.push_copy(text, at);
                at += ascii;
                begun = at;
                continue;
            }
        }
        let last = at + 1 == range.end;
        character.clear();
        let _ = decoder.decode_to_string(&bytes[at..=at], &mut character, last);
        at += 1;
        if !character.is_empty() {
            // A damaged pair gives its replacement and the ASCII letter after it: they are one unit.
            spelled.push_unit(&character, begun..at);
            begun = at;
        }
    }
    spelled
}

/// The encoding that a page of HTML says it has in its first bytes.
pub(crate) fn said_by_html(bytes: &[u8]) -> Option<&'static Encoding> {
    let head = &bytes[..bytes.len().min(crate::limits::HTML_ENCODING_BYTES)];
    let text = String::from_utf8_lossy(head).to_lowercase();
    let after = ["charset=", "encoding="]
        .iter()
        .find_map(|word| text.find(word).map(|at| &text[at + word.len()..]))?;
    let label: String = after
        .trim_start_matches(['"', '\'', ' '])
        .chars()
        .take_while(|character| character.is_ascii_alphanumeric() || "-_:.".contains(*character))
        .collect();
    Encoding::for_label(label.as_bytes()).map(|encoding| {
        // What is called Big5 or GB2312 is decoded by its superset.
        if encoding == encoding_rs::GBK { GB18030 } else { encoding }
    })
}

#[cfg(test)]
mod tests {
    use encoding_rs::BIG5;

    use super::*;

    const CHINESE: &str = "第一章 机器学习\r\n人工智能(AI)正在改变世界,2024年的销售额是1,280万元。\n我们学习了很多新的知识。\n";
    const TRADITIONAL: &str =
        "第一章 機器學習\n人工智慧正在改變世界,我們學習了很多新的知識。這是一個測試的檔案。\n";

    /// Every character's bytes decode to that character.
    fn check(
        bytes: &[u8],
        said: Option<&'static Encoding>,
        expected: &str,
        with: &'static Encoding,
    ) {
        let spelled = decode(bytes, said);
        assert_eq!(spelled.text(), expected, "{}", with.name());
        for (at, character) in expected.char_indices() {
            let range = spelled.source(at..at + character.len_utf8()).unwrap();
            let (text, _) = with.decode_without_bom_handling(&bytes[range]);
            assert_eq!(text, character.to_string(), "{}", with.name());
        }
    }

    #[test]
    fn encodings_are_known_and_their_characters_placed() {
        check(CHINESE.as_bytes(), None, CHINESE, UTF_8);
        check(&GB18030.encode(CHINESE).0, None, CHINESE, GB18030);
        check(&BIG5.encode(TRADITIONAL).0, None, TRADITIONAL, BIG5);
        let marked = [b"\xef\xbb\xbf", CHINESE.as_bytes()].concat();
        check(&marked, None, CHINESE, UTF_8);
        let text = "汉字 and 𝄞 music\nsecond line\n";
        for (encoding, mark) in [(UTF_16LE, b"\xff\xfe"), (UTF_16BE, b"\xfe\xff")] {
            let units = text.encode_utf16();
            let bytes: Vec<u8> = units
                .flat_map(|u| if encoding == UTF_16LE { u.to_le_bytes() } else { u.to_be_bytes() })
                .collect();
            check(&[&mark[..], &bytes].concat(), None, text, encoding);
            check(&bytes, None, text, encoding);
        }
        let japanese = "これは日本語の文書です。\n漢字とかな。\n";
        let shift = encoding_rs::SHIFT_JIS;
        check(&shift.encode(japanese).0, None, japanese, shift);
    }

    #[test]
    fn a_damaged_file_stays_in_its_encoding() {
        let mut bytes = CHINESE.as_bytes().to_vec();
        bytes.insert(CHINESE.find('工').unwrap(), 0xff);
        let text = decode(&bytes, None);
        assert_eq!(text.text(), CHINESE.replace("人工", "人\u{fffd}工"));
        assert!(looks_like_text(&bytes));
        let cut = &CHINESE.as_bytes()[..4];
        assert_eq!(decode(cut, None).text(), "第\u{fffd}");
    }

    #[test]
    fn html_says_its_encoding() {
        let said = |text: &str| said_by_html(text.as_bytes());
        assert_eq!(said("<meta charset=\"gb2312\">"), Some(GB18030));
        assert_eq!(said("<META content='text/html; charset=big5'>"), Some(BIG5));
        assert_eq!(said("<?xml version='1.0' encoding='utf-8'?>"), Some(UTF_8));
        assert_eq!(said("<p>charset"), None);
    }
}
