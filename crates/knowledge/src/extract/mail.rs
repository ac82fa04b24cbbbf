//! Mail (EML): who wrote what to whom, and the text of it, as plain text where it has some. What is attached is named and
//! not opened.

use std::{fmt::Write, ops::Range};

use encoding_rs::Encoding;
use mail_parser::{
    Address, Encoding as Transfer, Header, HeaderValue, Message, MessageParser, MessagePart,
    MimeHeaders, PartType,
};

use super::{
    collect::Collect,
    decode, html, plain,
    spelled::{Map, Source, Spelled},
};
use crate::{
    document::{Inside, Role, Why},
    limits,
};

/// Reads a mail.
pub(crate) fn read(bytes: &[u8], collect: &mut Collect) {
    let Some(message) = MessageParser::default().parse(bytes) else {
        return collect.gap(Inside::Whole, Why::Damaged("it has no header".to_owned()));
    };
    if message.parts.len() > limits::MAIL_PARTS_MAX {
        collect.gap(Inside::Whole, Why::Damaged(format!("it has {} parts", message.parts.len())));
    }
    headers(&message, bytes, collect);
    // The same is often there twice, and plain text is what was written.
    let has_plain = message.text_body.iter().any(|part| is_plain(&message, *part));
    for part in message.text_body.iter().take(limits::MAIL_PARTS_MAX) {
        if !has_plain || is_plain(&message, *part) {
            body(&message.parts[*part as usize], bytes, collect);
        }
    }
    for part in message.attachments.iter().take(limits::MAIL_PARTS_MAX) {
        attachment(&message.parts[*part as usize], collect);
    }
}

fn is_plain(message: &Message<'_>, part: u32) -> bool {
    matches!(message.parts[part as usize].body, PartType::Text(_))
}

fn headers(message: &Message<'_>, bytes: &[u8], collect: &mut Collect) {
    let mut from_and_to = Spelled::default();
    for header in message.headers() {
        let name = header.name.as_str();
        let range = header.offset_start as usize..header.offset_end as usize;
        let Some(value) = value(header) else { continue };
        let value = value.trim();
        if value.is_empty() || range.end > bytes.len() {
            continue;
        }
        let mut spelled = Spelled::default();
        spell(value, bytes, range, &mut spelled);
        if name.eq_ignore_ascii_case("subject") {
            collect.title(value);
            collect.part(
                &Source { text: "", layers: &[] },
                Role::Heading(1),
                Inside::Whole,
                &spelled,
            );
        } else if ["from", "to", "cc", "date"].iter().any(|known| name.eq_ignore_ascii_case(known))
        {
            if !from_and_to.is_empty() {
                from_and_to.push_virtual("\n");
            }
            from_and_to.push_virtual(name);
            from_and_to.push_virtual(": ");
            from_and_to.append(&spelled);
        }
    }
    collect.part(&Source { text: "", layers: &[] }, Role::Paragraph, Inside::Whole, &from_and_to);
}

/// A header's value with its place: letter by letter where it is written as it reads, else as a whole.
fn spell(value: &str, bytes: &[u8], range: Range<usize>, into: &mut Spelled) {
    let raw = &bytes[range.clone()];
    match raw.windows(value.len()).position(|window| window == value.as_bytes()) {
        Some(at) => into.push_copy(value, range.start + at),
        None => into.push_unit(value, range),
    }
}

/// What a header says, as a person reads it.
fn value(header: &Header<'_>) -> Option<String> {
    match &header.value {
        HeaderValue::Text(text) => Some(text.to_string()),
        HeaderValue::TextList(list) => Some(list.join(", ")),
        HeaderValue::DateTime(time) => Some(time.to_rfc3339()),
        HeaderValue::Address(address) => Some(people(address)),
        HeaderValue::ContentType(_) | HeaderValue::Received(_) | HeaderValue::Empty => None,
    }
}

fn people(address: &Address<'_>) -> String {
    let mut people = String::new();
    for person in address.iter() {
        if !people.is_empty() {
            people.push_str(", ");
        }
        // Writing into a string cannot fail.
        let _ = match (&person.name, &person.address) {
            (Some(name), Some(address)) => write!(people, "{name} <{address}>"),
            (Some(one), None) | (None, Some(one)) => write!(people, "{one}"),
            (None, None) => Ok(()),
        };
    }
    people
}

fn body(part: &MessagePart<'_>, bytes: &[u8], collect: &mut Collect) {
    let range = part.offset_body as usize..(part.offset_end as usize).min(bytes.len());
    let Some(raw) = bytes.get(range.clone()) else { return };
    let (sent, way_back) = match part.encoding {
        Transfer::None => {
            let mut map = Map::default();
            map.push_copy(raw.len(), range.start);
            (raw.to_vec(), map)
        }
        Transfer::QuotedPrintable => quoted_printable(raw, range.start),
        Transfer::Base64 => base64(raw, range.start),
    };
    let is_html = matches!(part.body, PartType::Html(_));
    let charset = part.content_type().and_then(|kind| kind.attribute("charset"));
    let said = charset.and_then(|name| Encoding::for_label(name.trim().as_bytes()));
    let said = said.or_else(|| if is_html { decode::said_by_html(&sent) } else { None });
    let text = decode::decode(&sent, said);
    let layers = [text.map(), &way_back];
    let source = Source { text: text.text(), layers: &layers };
    if is_html {
        html::read(&source, &Inside::Whole, collect);
    } else {
        plain::read(&source, &Inside::Whole, collect);
    }
}

fn attachment(part: &MessagePart<'_>, collect: &mut Collect) {
    let Some(name) = part.attachment_name() else { return };
    let mut text = Spelled::default();
    text.push_virtual("Attachment: ");
    text.push_unit(name, part.offset_header as usize..part.offset_body as usize);
    collect.part(&Source { text: "", layers: &[] }, Role::Item, Inside::Whole, &text);
}

/// RFC 2045, 6.7: `=E4` is a byte, `=` at the end of a line is nothing.
fn quoted_printable(raw: &[u8], start: usize) -> (Vec<u8>, Map) {
    let mut sent = Vec::with_capacity(raw.len());
    let mut map = Map::default();
    let hex = |at: usize| raw.get(at).and_then(|byte| char::from(*byte).to_digit(16));
    let mut at = 0;
    while at < raw.len() {
        if raw[at] != b'=' {
            let length = raw[at..].iter().position(|byte| *byte == b'=').unwrap_or(raw.len() - at);
            sent.extend_from_slice(&raw[at..at + length]);
            map.push_copy(length, start + at);
            at += length;
        } else if let (Some(high), Some(low)) = (hex(at + 1), hex(at + 2)) {
            sent.push((high << 4 | low) as u8);
            map.push_unit(1, start + at..start + at + 3);
            at += 3;
        } else if let Some(end) = soft_end(&raw[at..]) {
            at += end;
        } else {
            sent.push(b'=');
            map.push_copy(1, start + at);
            at += 1;
        }
    }
    (sent, map)
}

/// The length of a `=` that only divides lines, with white space that was added on its way.
fn soft_end(raw: &[u8]) -> Option<usize> {
    let blanks = raw[1..].iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    match raw.get(1 + blanks..)? {
        [b'\r', b'\n', ..] => Some(blanks + 3),
        [b'\n', ..] => Some(blanks + 2),
        [] => Some(blanks + 1),
        [..] => None,
    }
}

/// RFC 2045, 6.8: three bytes of four letters; whatever else stands between them means nothing.
fn base64(raw: &[u8], start: usize) -> (Vec<u8>, Map) {
    let mut sent = Vec::with_capacity(raw.len() / 4 * 3);
    let mut map = Map::default();
    let (mut bits, mut count, mut begun) = (0_u32, 0_u32, 0);
    for (at, byte) in raw.iter().enumerate() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => continue,
        };
        if count == 0 {
            begun = at;
        }
        bits = bits << 6 | u32::from(value);
        count += 1;
        if count == 4 {
            sent.extend_from_slice(&bits.to_be_bytes()[1..]);
            map.push_unit(3, start + begun..start + at + 1);
            (bits, count) = (0, 0);
        }
    }
    if count >= 2 {
        let bytes = count as usize - 1;
        sent.extend_from_slice(&(bits << (6 * (4 - count))).to_be_bytes()[1..=bytes]);
        map.push_unit(bytes, start + begun..start + raw.len());
    }
    (sent, map)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_leads_back_to_what_was_written() {
        let raw = b"a=E4=\r\nb=zz= \nc=";
        let (sent, map) = quoted_printable(raw, 100);
        assert_eq!(sent, b"a\xe4b=zzc");
        assert_eq!(map.source(1..2), Some(101..104));
        assert_eq!(map.source(0..3), Some(100..108));
        let raw = b"YWJj\r\nZGU=\r\n";
        let (sent, map) = base64(raw, 10);
        assert_eq!(sent, b"abcde");
        assert_eq!(map.source(0..1), Some(10..14));
        assert_eq!(map.source(3..5), Some(16..22));
        assert_eq!(base64(b"Zg", 0).0, b"f");
        assert_eq!(base64(b"Zm8", 0).0, b"fo");
    }
}
