//! XML of office files and books. No document type is accepted where none belongs, so that no entity means anything
//! that a stranger chose.

use quick_xml::{
    Reader, XmlVersion,
    events::{BytesRef, BytesStart, Event},
};

use super::{Error, archive::Archive};
use crate::limits;

/// What is met on the way through a file of XML.
pub(crate) enum Met<'a> {
    /// An element begins.
    Start(&'a BytesStart<'a>),
    /// The element of this name ends; names are without their namespace.
    End(&'a str),
    /// Text, with entities resolved.
    Text(&'a str),
}

/// The text of an entry that is XML; nothing if there is none of this name.
pub(crate) fn entry(archive: &mut Archive, name: &str) -> Result<Option<String>, Error> {
    let bytes = archive.entry(name, limits::ENTRY_BYTES_MAX)?;
    Ok(bytes.map(|bytes| {
        String::from_utf8(bytes).unwrap_or_else(|error| {
            // Some writers use UTF-16.
            super::decode::decode(error.as_bytes(), None).text().to_owned()
        })
    }))
}

/// Goes through a file of XML. What is nested too deeply is passed over.
///
/// # Errors
///
/// [`Error::Damaged`] for what is not XML, with what was met before already told; [`Error::Bomb`] for a document type.
pub(crate) fn walk(text: &str, mut tell: impl FnMut(Met<'_>)) -> Result<(), Error> {
    let mut reader = Reader::from_str(text);
    let mut depth = 0_usize;
    let mut is_xml = false;
    loop {
        match reader.read_event() {
            Ok(Event::Start(element)) => {
                depth += 1;
                is_xml = true;
                if depth <= limits::DEPTH_MAX {
                    tell(Met::Start(&element));
                }
            }
            Ok(Event::Empty(element)) => {
                is_xml = true;
                if depth < limits::DEPTH_MAX {
                    tell(Met::Start(&element));
                    tell(Met::End(element.local_name().as_ref()));
                }
            }
            Ok(Event::End(element)) => {
                if depth <= limits::DEPTH_MAX {
                    tell(Met::End(element.local_name().as_ref()));
                }
                depth = depth.saturating_sub(1);
            }
            Ok(Event::Text(words)) => tell(Met::Text(&words.xml_content(XmlVersion::Implicit1_0))),
            Ok(Event::CData(words)) => tell(Met::Text(&words)),
            Ok(Event::GeneralRef(reference)) => tell(Met::Text(&character(&reference))),
            Ok(Event::DocType(_)) => {
                return Err(Error::Bomb(
                    "it declares its own document type, as no office program does".to_owned(),
                ));
            }
            Ok(Event::Comment(_) | Event::Decl(_) | Event::PI(_)) => {}
            Ok(Event::Eof) if depth > 0 => {
                return Err(Error::Damaged("its XML ends early".to_owned()));
            }
            Ok(Event::Eof) if !is_xml => return Err(Error::Damaged("it holds no XML".to_owned())),
            Ok(Event::Eof) => return Ok(()),
            Err(error) => {
                let words: String =
                    error.to_string().chars().take(limits::DAMAGE_CHARACTERS_MAX).collect();
                return Err(Error::Damaged(format!(
                    "byte {} of its XML: {words}",
                    reader.error_position()
                )));
            }
        }
    }
}

/// What a reference stands for; one that nobody has declared stays as it is written.
fn character(reference: &BytesRef<'_>) -> String {
    if let Ok(Some(character)) = reference.resolve_char_ref() {
        return character.to_string();
    }
    let name: &str = reference;
    let known = quick_xml::escape::resolve_html5_entity(name);
    known.map_or_else(|| format!("&{name};"), str::to_owned)
}

/// The value of an attribute, by its name without a namespace.
pub(crate) fn attribute(element: &BytesStart<'_>, name: &str) -> Option<String> {
    element
        .attributes()
        .with_checks(false)
        .flatten()
        .find(|attribute| attribute.key.local_name().as_ref() == name)
        .map(|attribute| {
            let value = attribute.normalized_value(XmlVersion::Implicit1_0);
            value.map_or_else(|_| attribute.value.to_string(), |value| value.into_owned())
        })
}

/// The text of the first element of this name, such as a title.
pub(crate) fn text_of(text: &str, name: &str) -> Option<String> {
    let mut found = String::new();
    let (mut depth, mut is_over) = (0_u32, false);
    // What comes after the title is of no interest, even if it is damaged.
    let _ = walk(text, |met| match met {
        Met::Start(element) if element.local_name().as_ref() == name => depth += 1,
        Met::End(ended) if ended == name => {
            depth = depth.saturating_sub(1);
            is_over = true;
        }
        Met::Text(words) if depth > 0 && !is_over => found.push_str(words),
        Met::Start(_) | Met::End(_) | Met::Text(_) => {}
    });
    (!found.trim().is_empty()).then(|| found.trim().to_owned())
}

/// The entries that an entry refers to, by the names of the references: identity, kind, entry.
pub(crate) fn relations(
    archive: &mut Archive,
    of: &str,
) -> Result<Vec<(String, String, String)>, Error> {
    let (folder, file) = of.rsplit_once('/').unwrap_or(("", of));
    let Some(text) = entry(archive, &format!("{folder}/_rels/{file}.rels"))? else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    walk(&text, |met| {
        if let Met::Start(element) = met
            && let Some(target) = attribute(element, "Target")
            && attribute(element, "TargetMode").as_deref() != Some("External")
        {
            let identity = attribute(element, "Id").unwrap_or_default();
            let kind = attribute(element, "Type").unwrap_or_default();
            found.push((identity, kind, resolve(folder, &target)));
        }
    })?;
    Ok(found)
}

/// The name of an entry that is written relative to a folder.
pub(crate) fn resolve(folder: &str, target: &str) -> String {
    let target = target.split(['#', '?']).next().unwrap_or_default();
    if let Some(absolute) = target.strip_prefix('/') {
        return absolute.to_owned();
    }
    let mut steps: Vec<&str> = folder.split('/').filter(|step| !step.is_empty()).collect();
    for step in target.split('/') {
        match step {
            "" | "." => {}
            ".." => {
                steps.pop();
            }
            step => steps.push(step),
        }
    }
    steps.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> (String, Result<(), Error>) {
        let mut said = String::new();
        let result = walk(text, |met| {
            if let Met::Text(words) = met {
                said.push_str(words);
            }
        });
        (said, result)
    }

    #[test]
    fn entities_of_strangers_mean_nothing() {
        assert_eq!(words("<a>1 &lt; 2 &#x4e2d;&mine;<![CDATA[<b>]]></a>").0, "1 < 2 中&mine;<b>");
        let bomb = "<!DOCTYPE a [<!ENTITY b \"x\">]><a>&b;</a>";
        assert!(matches!(words(bomb).1, Err(Error::Bomb(_))));
        assert!(matches!(words("<a><b></a>").1, Err(Error::Damaged(_))));
        assert!(matches!(words("<a>text").1, Err(Error::Damaged(_))));
        assert!(matches!(words("PK and so on").1, Err(Error::Damaged(_))));
        assert_eq!(words("<a/>").1, Ok(()));
    }

    #[test]
    fn what_is_too_deep_is_passed_over() {
        let text = format!("{}x{}", "<a>".repeat(100_000), "</a>".repeat(100_000));
        let mut starts = 0;
        walk(&text, |met| starts += usize::from(matches!(met, Met::Start(_)))).unwrap();
        assert_eq!(starts, limits::DEPTH_MAX);
    }

    #[test]
    fn names_of_entries_are_resolved() {
        assert_eq!(resolve("OEBPS/text", "../img/a.png#x"), "OEBPS/img/a.png");
        assert_eq!(resolve("ppt", "/ppt/slides/slide1.xml"), "ppt/slides/slide1.xml");
        assert_eq!(resolve("", "../../etc/passwd"), "etc/passwd");
    }
}
