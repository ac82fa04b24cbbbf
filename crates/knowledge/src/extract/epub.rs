//! EPUB: the chapters of a book in their order, each a page of XHTML with bytes of its own.

use std::collections::HashMap;

use super::{
    Error,
    archive::Archive,
    collect::Collect,
    decode, html,
    spelled::Source,
    xml::{self, Met},
};
use crate::{
    document::{Inside, Why},
    limits,
};

/// Reads a book.
pub(crate) fn read(archive: &mut Archive, collect: &mut Collect) -> Result<(), Error> {
    let container = xml::entry(archive, "META-INF/container.xml")?.unwrap_or_default();
    let mut package = None;
    xml::walk(&container, |met| {
        if let Met::Start(element) = met
            && element.local_name().as_ref() == "rootfile"
            && package.is_none()
        {
            package = xml::attribute(element, "full-path");
        }
    })?;
    let package = package
        .ok_or_else(|| Error::Damaged("the book does not say where its contents are".to_owned()))?;
    if is_locked(archive)? {
        return Err(Error::Encrypted);
    }
    let text = xml::entry(archive, &package)?
        .ok_or_else(|| Error::Damaged(format!("{package} is missing")))?;
    collect.title(&xml::text_of(&text, "title").unwrap_or_default());
    for chapter in chapters(&text, &package)?.into_iter().take(limits::ENTRIES_READ_MAX) {
        if collect.is_full() {
            break;
        }
        let inside = Inside::Entry(chapter.clone());
        if !collect.wants(&inside) {
            continue;
        }
        let Some(bytes) = archive.entry(&chapter, limits::ENTRY_BYTES_MAX)? else {
            collect.gap(inside, Why::Damaged("it is missing in the book".to_owned()));
            continue;
        };
        let text = decode::decode(&bytes, decode::said_by_html(&bytes));
        let layers = [text.map()];
        html::read(&Source { text: text.text(), layers: &layers }, &inside, collect);
    }
    Ok(())
}

/// Whether chapters are encrypted; fonts often are, which does not matter.
fn is_locked(archive: &mut Archive) -> Result<bool, Error> {
    let Some(text) = xml::entry(archive, "META-INF/encryption.xml")? else { return Ok(false) };
    let mut is_locked = false;
    xml::walk(&text, |met| {
        if let Met::Start(element) = met
            && element.local_name().as_ref() == "CipherReference"
        {
            let name = xml::attribute(element, "URI").unwrap_or_default().to_lowercase();
            is_locked |= name.ends_with("html") || name.ends_with(".htm") || name.ends_with(".xml");
        }
    })?;
    Ok(is_locked)
}

/// The entries of the chapters in reading order.
fn chapters(text: &str, package: &str) -> Result<Vec<String>, Error> {
    let folder = package.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut entries = HashMap::new();
    let mut order = Vec::new();
    xml::walk(text, |met| {
        let Met::Start(element) = met else { return };
        match element.local_name().as_ref() {
            "item" => {
                let kind = xml::attribute(element, "media-type").unwrap_or_default();
                if let (Some(identity), Some(target)) =
                    (xml::attribute(element, "id"), xml::attribute(element, "href"))
                    && kind.contains("html")
                {
                    entries.insert(identity, xml::resolve(folder, &decoded(&target)));
                }
            }
            "itemref" => order.extend(xml::attribute(element, "idref")),
            _ => {}
        }
    })?;
    Ok(order.iter().filter_map(|identity| entries.remove(identity)).collect())
}

/// A name in which bytes may be written as `%20`.
fn decoded(name: &str) -> String {
    let bytes = name.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = bytes.get(at + 1..at + 3).and_then(|hex| std::str::from_utf8(hex).ok());
        let byte =
            hex.filter(|_| bytes[at] == b'%').and_then(|hex| u8::from_str_radix(hex, 16).ok());
        plain.push(byte.unwrap_or(bytes[at]));
        at += if byte.is_some() { 3 } else { 1 };
    }
    String::from_utf8(plain).unwrap_or_else(|_| name.to_owned())
}
