//! Zip archives (DOCX, PPTX, XLSX, EPUB), entry by entry: what an entry says of its own size is not believed, and an
//! archive within one is not opened.

use std::{
    fs::File,
    io::{self, BufReader, Read, Seek, SeekFrom},
};

use zip::{ZipArchive, result::ZipError};

use super::{Error, collect::Collect, epub, presentation, sheet, word};
use crate::limits;

/// An open archive that counts what has been inflated of it.
pub(crate) struct Archive {
    zip: ZipArchive<BufReader<File>>,
    inflated_bytes: u64,
}

/// Reads an archive as what its entries say it is.
pub(crate) fn read(file: File, bytes: u64, collect: &mut Collect) -> Result<(), Error> {
    let again = file.try_clone().map_err(|error| Error::system("read the file", &error))?;
    let mut archive = Archive::open(file, bytes)?;
    if archive.has("word/document.xml") {
        word::read(&mut archive, collect)
    } else if archive.has("ppt/presentation.xml") {
        presentation::read(&mut archive, collect)
    } else if archive.has("xl/workbook.xml") {
        sheet::read(&mut archive, again, collect)
    } else if archive.has("META-INF/container.xml") {
        epub::read(&mut archive, collect)
    } else {
        Err(Error::NotText(
            "a zip archive; archives are not opened, only DOCX, PPTX, XLSX and EPUB".to_owned(),
        ))
    }
}

impl Archive {
    fn open(file: File, bytes: u64) -> Result<Self, Error> {
        let mut file = BufReader::new(file);
        let failed = |error: io::Error| Error::system("read the file", &error);
        let claimed = entries_claimed(&mut file, bytes).map_err(failed)?;
        if claimed > limits::ARCHIVE_ENTRIES_MAX {
            let most = limits::ARCHIVE_ENTRIES_MAX;
            return Err(Error::Bomb(format!(
                "an archive of {claimed} entries, and {most} are the most that are read"
            )));
        }
        file.seek(SeekFrom::Start(0)).map_err(failed)?;
        let zip = ZipArchive::new(file).map_err(|error| damaged(&error))?;
        Ok(Self { zip, inflated_bytes: 0 })
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.zip.index_for_name(name).is_some()
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.zip.file_names().flatten().map(|name| name.into_owned()).collect()
    }

    /// What an entry holds, at most so many bytes; nothing if there is none of this name.
    pub(crate) fn entry(&mut self, name: &str, bytes_max: u64) -> Result<Option<Vec<u8>>, Error> {
        if !self.has(name) {
            return Ok(None);
        }
        let mut held = Vec::new();
        self.inflate(name, bytes_max, |piece| held.extend_from_slice(piece))?;
        Ok(Some(held))
    }

    /// Inflates an entry to see that it stays within bounds, for readers that inflate it themselves.
    pub(crate) fn check(&mut self, name: &str, bytes_max: u64) -> Result<(), Error> {
        self.inflate(name, bytes_max, |_| {})
    }

    fn inflate(
        &mut self,
        name: &str,
        bytes_max: u64,
        mut take: impl FnMut(&[u8]),
    ) -> Result<(), Error> {
        let mut entry = self.zip.by_name(name).map_err(|error| damaged(&error))?;
        let packed_bytes = entry.compressed_size();
        let mut buffer = vec![0; 64 << 10];
        let mut bytes = 0_u64;
        loop {
            let read = entry
                .read(&mut buffer)
                .map_err(|error| Error::Damaged(format!("{name}: {error}")))?;
            if read == 0 {
                return Ok(());
            }
            bytes += read as u64;
            self.inflated_bytes += read as u64;
            let ratio_bytes_max = packed_bytes
                .saturating_mul(limits::INFLATE_RATIO_MAX)
                .max(limits::RATIO_FREE_BYTES);
            if bytes > ratio_bytes_max {
                let most = limits::INFLATE_RATIO_MAX;
                return Err(Error::Bomb(format!(
                    "{name} inflates to more than {most} times its size"
                )));
            }
            if bytes > bytes_max {
                return Err(Error::Bomb(format!("{name} inflates to more than {bytes_max} bytes")));
            }
            if self.inflated_bytes > limits::ARCHIVE_INFLATED_BYTES_MAX {
                let most = limits::ARCHIVE_INFLATED_BYTES_MAX;
                return Err(Error::Bomb(format!("its entries inflate to more than {most} bytes")));
            }
            take(&buffer[..read]);
        }
    }
}

fn damaged(error: &ZipError) -> Error {
    let is_locked = matches!(error, ZipError::InvalidPassword)
        || matches!(error, ZipError::UnsupportedArchive(why) if *why == ZipError::PASSWORD_REQUIRED);
    if is_locked {
        return Error::Encrypted;
    }
    Error::Damaged(error.to_string().chars().take(limits::DAMAGE_CHARACTERS_MAX).collect())
}

/// How many entries the archive says it has, before anything makes room for them. APPNOTE.TXT 4.3.14 to 4.3.16.
fn entries_claimed(file: &mut (impl Read + Seek), bytes: u64) -> io::Result<u64> {
    const END: &[u8] = b"PK\x05\x06";
    const END_64: &[u8] = b"PK\x06\x06";
    // The record, a comment of 65,535 bytes, and the 64-bit record with its locator before them.
    let tail_bytes = bytes.min(22 + 65_535 + 56 + 20);
    file.seek(SeekFrom::Start(bytes - tail_bytes))?;
    let mut tail = Vec::new();
    file.take(tail_bytes).read_to_end(&mut tail)?;
    let last = |mark: &[u8]| tail.windows(mark.len()).rposition(|window| window == mark);
    let number = |at: usize, length: usize| {
        let bytes = tail.get(at..at + length)?;
        Some(bytes.iter().rev().fold(0_u64, |number, byte| number << 8 | u64::from(*byte)))
    };
    let small = last(END).and_then(|at| number(at + 10, 2)).unwrap_or(0);
    let large = last(END_64).and_then(|at| number(at + 32, 8)).unwrap_or(0);
    Ok(small.max(large))
}
