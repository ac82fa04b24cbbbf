//! What kind of file it is: its first bytes decide, its extension only between what they leave open.

use super::{Error, decode};

/// A kind of file that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// PDF.
    Pdf,
    /// A zip archive: DOCX, PPTX, XLSX or EPUB, as its entries say.
    Archive,
    /// Values between commas, semicolons, tabs or bars.
    Csv,
    /// Markdown.
    Markdown,
    /// HTML.
    Html,
    /// Text without any form.
    Plain,
    /// Source code, and what else has meaning in its line breaks.
    Code,
    /// A mail.
    Mail,
    /// Subtitles (SRT, VTT).
    Subtitles,
}

/// Extensions of source code and of settings, which are read as code.
const CODE: &[&str] = &[
    "asm",
    "awk",
    "bash",
    "bat",
    "c",
    "cc",
    "cfg",
    "clj",
    "cmake",
    "conf",
    "cpp",
    "cs",
    "css",
    "cu",
    "cxx",
    "d",
    "dart",
    "diff",
    "el",
    "elm",
    "erl",
    "ex",
    "exs",
    "f90",
    "fish",
    "fs",
    "go",
    "gradle",
    "graphql",
    "groovy",
    "h",
    "hcl",
    "hh",
    "hpp",
    "hs",
    "hxx",
    "ini",
    "ipynb",
    "java",
    "jl",
    "js",
    "json",
    "json5",
    "jsonc",
    "jsonl",
    "jsx",
    "kt",
    "kts",
    "less",
    "lisp",
    "lock",
    "lua",
    "m",
    "mk",
    "ml",
    "mli",
    "mm",
    "nim",
    "nix",
    "patch",
    "php",
    "pl",
    "pm",
    "properties",
    "proto",
    "ps1",
    "py",
    "pyi",
    "r",
    "rb",
    "rs",
    "sass",
    "scala",
    "scm",
    "scss",
    "sh",
    "sql",
    "svelte",
    "swift",
    "sv",
    "tcl",
    "tf",
    "thrift",
    "toml",
    "ts",
    "tsx",
    "v",
    "vb",
    "vhd",
    "vim",
    "vue",
    "wat",
    "xml",
    "xsd",
    "xsl",
    "yaml",
    "yml",
    "zig",
    "zsh",
];

/// Beginnings of files that hold no text which is read here, and what they are.
const FOREIGN: &[(&[u8], &str)] = &[
    (b"{\\rtf", "rich text (RTF); save it as DOCX"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a Windows program"),
    (b"\xcf\xfa\xed\xfe", "a program"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ", "an xz archive"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"Rar!", "a RAR archive"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"GIF8", "a picture"),
    (b"GGUF", "a model"),
    (b"SQLite format 3", "a database"),
    (b"%!PS", "PostScript; save it as PDF"),
];

/// Old binary office files, and encrypted new ones, which are wrapped in the same container.
const COMPOUND: &[u8] = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1";

impl Kind {
    /// Of a file with this extension (without its dot) and these first bytes, at most [`crate::limits::HEAD_BYTES`].
    ///
    /// # Errors
    ///
    /// What holds no text is [`Error::NotText`] with the reason, an encrypted office file [`Error::Encrypted`].
    pub fn of(extension: &str, head: &[u8]) -> Result<Self, Error> {
        let mark = b"%PDF-";
        if head.windows(mark.len()).take(1_024).any(|window| window == mark) {
            return Ok(Self::Pdf);
        }
        if head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06") {
            return Ok(Self::Archive);
        }
        if head.starts_with(COMPOUND) {
            let encrypted: Vec<u8> =
                "EncryptedPackage".encode_utf16().flat_map(u16::to_le_bytes).collect();
            if head.windows(encrypted.len()).any(|window| window == encrypted) {
                return Err(Error::Encrypted);
            }
            return Err(not_text(
                "an office file of before 2007, or an encrypted one; save it as DOCX, XLSX or PPTX",
            ));
        }
        for (mark, what) in FOREIGN {
            // Two letters are too few to say anything about a file that reads as text.
            if head.starts_with(mark) && (mark.len() > 2 || !decode::looks_like_text(head)) {
                return Err(not_text(what));
            }
        }
        if !decode::looks_like_text(head) {
            return Err(not_text("unknown bytes"));
        }
        Ok(Self::of_text(&extension.to_lowercase(), head))
    }

    fn of_text(extension: &str, head: &[u8]) -> Self {
        let html = begins_like_html(head);
        match extension {
            "md" | "markdown" | "mdown" | "mdx" | "qmd" | "rmd" => Self::Markdown,
            "htm" | "html" | "xhtml" | "shtml" => Self::Html,
            "csv" | "tsv" | "tab" => Self::Csv,
            "eml" => Self::Mail,
            "srt" | "vtt" => Self::Subtitles,
            code if CODE.contains(&code) => Self::Code,
            _ if html => Self::Html,
            _ => Self::Plain,
        }
    }

    /// Its name in messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pdf => "pdf",
            Self::Archive => "zip",
            Self::Csv => "csv",
            Self::Markdown => "markdown",
            Self::Html => "html",
            Self::Plain => "text",
            Self::Code => "code",
            Self::Mail => "mail",
            Self::Subtitles => "subtitle",
        }
    }
}

fn not_text(what: &str) -> Error {
    Error::NotText(what.to_owned())
}

fn begins_like_html(head: &[u8]) -> bool {
    let text = String::from_utf8_lossy(&head[..head.len().min(512)]).to_lowercase();
    let text = text.trim_start_matches('\u{feff}').trim_start();
    let marks = ["<!doctype html", "<html", "<head", "<body"];
    marks.iter().any(|mark| text.starts_with(mark))
        || (text.starts_with("<?xml") && text.contains("<html"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_decide_before_names() {
        let kind = |extension: &str, head: &[u8]| Kind::of(extension, head);
        assert_eq!(kind("pdf", b"%PDF-1.7\n"), Ok(Kind::Pdf));
        assert_eq!(kind("txt", b"\n\n%PDF-1.7\n"), Ok(Kind::Pdf));
        assert_eq!(kind("pdf", b"<!DOCTYPE html><p>Sign in"), Ok(Kind::Html));
        assert_eq!(kind("pdf", b"Sorry, no such page"), Ok(Kind::Plain));
        assert_eq!(kind("", b"plain words\n"), Ok(Kind::Plain));
        assert_eq!(kind("MD", b"# A"), Ok(Kind::Markdown));
        assert_eq!(kind("rs", b"fn main() {}"), Ok(Kind::Code));
        assert_eq!(kind("doc", b"PK\x03\x04...."), Ok(Kind::Archive));
        assert_eq!(kind("txt", b"MZ is how this sentence begins\n"), Ok(Kind::Plain));
        assert_eq!(kind("txt", b"\xff\xfea\0b\0"), Ok(Kind::Plain));
        assert_eq!(kind("txt", b""), Ok(Kind::Plain));
        for (head, why) in [
            (&b"\x7fELF\x02\x01\x01\0"[..], "a program"),
            (b"MZ\x90\0\x03\0\0\0", "a Windows program"),
            (b"\x89PNG\r\n\x1a\n", "a picture"),
            (b"\x01\x02\x03\x04\x05\x06\x07\x08", "unknown bytes"),
        ] {
            assert_eq!(kind("txt", head), Err(Error::NotText(why.to_owned())));
        }
        let mut encrypted = COMPOUND.to_vec();
        encrypted.extend([0; 64]);
        encrypted.extend("EncryptedPackage".encode_utf16().flat_map(u16::to_le_bytes));
        assert_eq!(kind("docx", &encrypted), Err(Error::Encrypted));
    }
}
