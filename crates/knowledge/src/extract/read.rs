//! From an open file to a document, by its kind. This runs in the child; nothing here bounds the process.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::Path,
};

use super::{
    Error, Kind, Limits, Located, archive, code, collect::Collect, csv, decode, html,
    locate::Sought, mail, markdown, open::Opened, pdf, plain, spelled::Source, subtitles,
};
use crate::{
    document::{Document, Inside, Place},
    limits,
};

/// What this file says, read in this process: for files that are known to be good. [`super::Extractor`] is for all others.
///
/// # Errors
///
/// As [`super::Extractor::extract`].
pub fn extract(path: &Path, limits: &Limits) -> Result<Document, Error> {
    whole(path, limits, None).map(|(document, _)| document)
}

/// Finds a quote at a place of a file, read in this process, as [`extract`] does.
///
/// # Errors
///
/// As [`super::Extractor::locate`].
pub fn locate(path: &Path, place: &Place, quote: &str) -> Result<Located, Error> {
    let sought = Sought::new(place.clone(), quote.to_owned())?;
    let (_, sought) = whole(path, &Limits::default(), Some(sought))?;
    sought.ok_or(Error::NotThere)?.finish()
}

fn whole(
    path: &Path,
    limits: &Limits,
    sought: Option<Sought>,
) -> Result<(Document, Option<Sought>), Error> {
    let opened = Opened::open(path)?;
    let file = opened.file.try_clone().map_err(|error| Error::system("open the file", &error))?;
    let extension = path.extension().unwrap_or_default().to_string_lossy();
    let read = read(file, &extension, limits, sought);
    if !opened.is_unchanged() {
        return Err(Error::Changed);
    }
    read
}

/// Reads an open file: a document, or what was found of a quote.
pub(crate) fn read(
    file: File,
    extension: &str,
    limits: &Limits,
    sought: Option<Sought>,
) -> Result<(Document, Option<Sought>), Error> {
    let mut collect = Collect::new(limits, sought);
    match read_into(file, extension, &mut collect) {
        Ok(()) => Ok(collect.finish()),
        Err(Error::Memory { .. }) => Err(Error::Memory { bytes_max: limits.memory_bytes }),
        Err(error) => Err(error),
    }
}

fn read_into(file: File, extension: &str, collect: &mut Collect) -> Result<(), Error> {
    let mut file = file;
    let failed = |error: std::io::Error| Error::system("read the file", &error);
    let bytes = file.metadata().map_err(failed)?.len();
    let mut head = Vec::new();
    file.seek(SeekFrom::Start(0)).map_err(failed)?;
    file.by_ref().take(limits::HEAD_BYTES as u64).read_to_end(&mut head).map_err(failed)?;
    let kind = Kind::of(extension, &head)?;
    file.seek(SeekFrom::Start(0)).map_err(failed)?;
    match kind {
        Kind::Pdf => pdf::read(held(file, bytes, limits::PDF_BYTES_MAX, kind)?, collect)?,
        Kind::Archive => {
            check_size(bytes, limits::ARCHIVE_BYTES_MAX, kind)?;
            archive::read(file, bytes, collect)?;
        }
        Kind::Csv
        | Kind::Markdown
        | Kind::Html
        | Kind::Plain
        | Kind::Code
        | Kind::Mail
        | Kind::Subtitles => {
            let is_cut = bytes > limits::TEXT_FILE_BYTES_MAX;
            let mut text = Vec::new();
            file.take(limits::TEXT_FILE_BYTES_MAX).read_to_end(&mut text).map_err(failed)?;
            read_text(kind, &text, extension, collect);
            if is_cut {
                collect.close();
            }
        }
    }
    Ok(())
}

fn read_text(kind: Kind, bytes: &[u8], extension: &str, collect: &mut Collect) {
    if kind == Kind::Mail {
        return mail::read(bytes, collect);
    }
    let said = if kind == Kind::Html { decode::said_by_html(bytes) } else { None };
    let text = decode::decode(bytes, said);
    let layers = [text.map()];
    let source = Source { text: text.text(), layers: &layers };
    match kind {
        Kind::Csv => csv::read(&source, extension, collect),
        Kind::Markdown => markdown::read(&source, collect),
        Kind::Html => html::read(&source, &Inside::Whole, collect),
        Kind::Code => code::read(&source, collect),
        Kind::Subtitles => subtitles::read(&source, collect),
        Kind::Plain | Kind::Mail | Kind::Pdf | Kind::Archive => {
            plain::read(&source, &Inside::Whole, collect)
        }
    }
}

fn check_size(bytes: u64, bytes_max: u64, kind: Kind) -> Result<(), Error> {
    if bytes > bytes_max {
        return Err(Error::TooLarge { bytes, bytes_max, kind: kind.name().to_owned() });
    }
    Ok(())
}

fn held(file: File, bytes: u64, bytes_max: u64, kind: Kind) -> Result<Vec<u8>, Error> {
    check_size(bytes, bytes_max, kind)?;
    let mut held = Vec::with_capacity(usize::try_from(bytes).unwrap_or(0));
    // It may grow meanwhile; the parent sees that.
    file.take(bytes_max)
        .read_to_end(&mut held)
        .map_err(|error| Error::system("read the file", &error))?;
    Ok(held)
}
