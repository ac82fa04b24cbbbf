//! Files and processes that mean harm: the parent lives, the child stays within its limits, the reason is clear, and the
//! next file is read.

use std::{
    ffi::{OsStr, OsString},
    io::{Read, Write},
    os::unix::{ffi::OsStrExt, fs::symlink, net::UnixListener},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::AtomicBool,
    time::{Duration, Instant},
};

use flate2::{Compress, Compression, Crc, FlushCompress};
use knowledge::{
    document::{Inside, Why},
    extract::{Error, Extracted, Extractor, Limits},
    limits,
};
use wait4::Wait4;

use super::{extractor, made, read};

/// Memory of a child, as it is bounded by default.
const MEMORY_BYTES: u64 = limits::CHILD_MEMORY_BYTES;

/// The variable that names the file which [`measured_alone`] reads.
const FILE: &str = "KNOWLEDGE_TEST_FILE";

/// What deflate makes of these bytes, so many times one after the other, as zlib frames it.
fn deflated(bytes: &[u8], times: usize) -> Vec<u8> {
    let (raw, _) = deflated_raw(bytes, times);
    let mut stream = vec![0x78, 0x9c];
    stream.extend(raw);
    let (mut low, mut high) = (1_u64, 0_u64);
    let (mut sum, mut weighted) = (0_u64, 0_u64);
    for byte in bytes {
        sum += u64::from(*byte);
        weighted += sum;
    }
    for _ in 0..times {
        high = (high + low * bytes.len() as u64 + weighted) % 65_521;
        low = (low + sum) % 65_521;
    }
    stream.extend(((high << 16 | low) as u32).to_be_bytes());
    stream
}

/// As [`deflated`] without a frame, and the checksum of all that it inflates to.
fn deflated_raw(bytes: &[u8], times: usize) -> (Vec<u8>, Crc) {
    let mut compress = Compress::new(Compression::best(), false);
    let mut piece = Vec::with_capacity(bytes.len() + 1_024);
    // A full flush forgets what came before, so that the piece can follow itself.
    compress.compress_vec(bytes, &mut piece, FlushCompress::Full).unwrap();
    assert_eq!(compress.total_in(), bytes.len() as u64);
    let mut one = Crc::new();
    one.update(bytes);
    let (mut stream, mut crc) = (Vec::with_capacity(piece.len() * times + 2), Crc::new());
    for _ in 0..times {
        stream.extend(&piece);
        crc.combine(&one);
    }
    stream.extend([3, 0]);
    (stream, crc)
}

/// An archive of entries that are deflated already: name, data, size, checksum.
fn archive_of(entries: &[(&str, Vec<u8>, u64, u32)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut directory = Vec::new();
    for (name, data, size, crc) in entries {
        let at = bytes.len() as u32;
        let mut common = Vec::new();
        common.extend([20, 0, 0, 0, 8, 0, 0, 0, 0, 0]);
        common.extend(crc.to_le_bytes());
        common.extend((data.len() as u32).to_le_bytes());
        common.extend((*size as u32).to_le_bytes());
        common.extend((name.len() as u16).to_le_bytes());
        common.extend([0, 0]);
        bytes.extend(b"PK\x03\x04");
        bytes.extend(&common);
        bytes.extend(name.as_bytes());
        bytes.extend(data);
        directory.extend(b"PK\x01\x02\x14\x00");
        directory.extend(&common);
        directory.extend([0; 10]);
        directory.extend(at.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let start = bytes.len() as u32;
    bytes.extend(&directory);
    bytes.extend(b"PK\x05\x06\0\0\0\0");
    bytes.extend((entries.len() as u16).to_le_bytes());
    bytes.extend((entries.len() as u16).to_le_bytes());
    bytes.extend((directory.len() as u32).to_le_bytes());
    bytes.extend(start.to_le_bytes());
    bytes.extend([0, 0]);
    bytes
}

/// An entry for [`archive_of`] of a beginning, a piece so many times, and an end.
fn entry<'a>(
    name: &'a str,
    begin: &[u8],
    piece: &[u8],
    times: usize,
    end: &[u8],
) -> (&'a str, Vec<u8>, u64, u32) {
    let size = (begin.len() + piece.len() * times + end.len()) as u64;
    let mut data = Vec::new();
    let mut crc = Crc::new();
    for (bytes, times) in [(begin, 1), (piece, times), (end, 1)] {
        let (raw, sum) = deflated_raw(bytes, times);
        // Without the block that says that it is the last.
        data.extend(&raw[..raw.len() - 2]);
        crc.combine(&sum);
    }
    data.extend([3, 0]);
    (name, data, size, crc.sum())
}

fn small<'a>(name: &'a str, bytes: &[u8]) -> (&'a str, Vec<u8>, u64, u32) {
    entry(name, bytes, b"", 0, b"")
}

/// An XLSX with a sheet and strings that are entries already.
fn workbook_of(sheet: (&str, Vec<u8>, u64, u32), strings: (&str, Vec<u8>, u64, u32)) -> Vec<u8> {
    let frame = made::xlsx_frame();
    let mut entries: Vec<_> = frame.iter().map(|(name, bytes)| small(name, bytes)).collect();
    entries.push(sheet);
    entries.push(strings);
    archive_of(&entries)
}

const SHEET: &str = "xl/worksheets/sheet1.xml";
const STRINGS: &str = "xl/sharedStrings.xml";
const SHEET_HEAD: &[u8] = b"<?xml version=\"1.0\"?><worksheet><sheetData>";
const SHEET_END: &[u8] = b"</sheetData></worksheet>";

fn pdf_of_stream(filter: &str, bytes: &[u8]) -> Vec<u8> {
    made::pdf_of_streams(vec![made::stream(filter, bytes)], "", "")
}

/// The hostile PDFs.
fn pdfs() -> Vec<(&'static str, Vec<u8>)> {
    let flate = "/Filter /FlateDecode";
    let zeros = vec![0; 1 << 20];
    let inner = deflated(&zeros, 4_096);
    let operators = b"(a) Tj ".repeat(1_000);
    let mut text = b"BT /F1 12 Tf 72 720 Td ".to_vec();
    text.extend(&operators);
    let deep = [b"[".repeat(500_000), b"]".repeat(500_000)].concat();
    let mut objects = vec![b"<< /Type /Catalog /Pages 2 0 R /Deep 4 0 R >>".to_vec()];
    objects.push(b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_vec());
    objects.push(
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 9 9] /Contents 4 0 R /Resources 4 0 R >>"
            .to_vec(),
    );
    objects.push(deep);
    let honest = made::pdf_pages(&[made::lines(&["Some words on a page."])], "", "");
    let locked = "/ID [<00112233445566778899aabbccddeeff> <00112233445566778899aabbccddeeff>] /Encrypt << /Filter /Standard \
                  /V 2 /R 3 /Length 128 /P -3904 /O <0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20> \
                  /U <2002030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20> >>";
    vec![
        ("flate-1-gib.pdf", pdf_of_stream(flate, &deflated(&zeros, 1_024))),
        (
            "nested-flate-4-gib.pdf",
            pdf_of_stream("/Filter [/FlateDecode /FlateDecode]", &deflated(&inner, 1)),
        ),
        ("3m-text-operators.pdf", pdf_of_stream(flate, &deflated(&text, 3_000))),
        ("500k-deep-array.pdf", made::pdf(&objects, "")),
        ("encrypted.pdf", made::pdf_pages(&[made::lines(&["Nobody reads this."])], "", locked)),
        ("truncated.pdf", honest[..honest.len() / 3].to_vec()),
        ("only-a-header.pdf", b"%PDF-1.7\n".to_vec()),
    ]
}

/// The hostile archives.
fn archives() -> Vec<(&'static str, Vec<u8>)> {
    let far = b"<row r=\"1048576\"><c r=\"XFD1048576\"><v>42</v></c></row><row r=\"1\"><c r=\"A1\"><v>1</v></c></row>";
    let far = [
        b"<?xml version=\"1.0\"?><worksheet><dimension ref=\"A1:XFD1048576\"/><sheetData>",
        &far[..],
        SHEET_END,
    ]
    .concat();
    let letters = vec![b'a'; 1 << 20];
    let string = entry(STRINGS, b"<sst><si><t>", &letters, 512, b"</t></si></sst>");
    let one =
        small(SHEET, &[SHEET_HEAD, b"<row><c t=\"s\"><v>0</v></c></row>", SHEET_END].concat());
    // A hundred rows of a thousand cells that do not repeat each other, a hundred times.
    let mut rows = Vec::new();
    let mut random = 1_u64;
    for _ in 0..100 {
        rows.extend(b"<row>");
        for _ in 0..1_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            write!(rows, "<c><v>{}</v></c>", random >> 52).unwrap();
        }
        rows.extend(b"</row>");
    }
    let empty = || small(STRINGS, b"<sst></sst>");
    let billion: String = (1..10)
        .map(|level| format!("<!ENTITY l{level} \"{}\">", format!("&l{};", level - 1).repeat(10)))
        .collect();
    let billion = format!("<?xml version=\"1.0\"?><!DOCTYPE d [<!ENTITY l0 \"lol\">{billion}]>");
    let file = "<?xml version=\"1.0\"?><!DOCTYPE d [<!ENTITY x SYSTEM \"file:///etc/passwd\">]><w:document><w:p><w:t>&x;</w:t></w:p></w:document>";
    let many: Vec<String> = (0..100_000).map(|number| format!("word/{number}")).collect();
    let mut many: Vec<(&str, &[u8])> = many.iter().map(|name| (name.as_str(), &b""[..])).collect();
    many.push(("word/document.xml", b"<w:document/>"));
    let inner = made::archive(&[("word/document.xml", b"<w:document/>")]);
    let body = format!("{billion}<w:document><w:p><w:t>&l9;</w:t></w:p></w:document>");
    let cells = format!(
        "{billion}<worksheet><sheetData><row><c t=\"str\"><v>&l9;</v></c></row></sheetData></worksheet>"
    );
    let deep = format!("<w:document>{}", "<w:p>".repeat(200_000));
    vec![
        ("xfd1048576.xlsx", workbook_of(small(SHEET, &far), empty())),
        ("512-mb-string.xlsx", workbook_of(one, string)),
        ("10m-cells.xlsx", workbook_of(entry(SHEET, SHEET_HEAD, &rows, 100, SHEET_END), empty())),
        ("entities.xlsx", workbook_of(small(SHEET, cells.as_bytes()), empty())),
        ("100k-entries.docx", made::archive(&many)),
        ("zip-in-zip.docx", made::archive(&[("word/document.xml", &inner)])),
        ("zip-in-zip.zip", made::archive(&[("a.zip", &inner), ("b.zip", &inner)])),
        (
            "bomb.docx",
            archive_of(&[entry(
                "word/document.xml",
                b"<w:document>",
                &vec![b' '; 1 << 20],
                4_000,
                b"",
            )]),
        ),
        ("entities.docx", made::archive(&[("word/document.xml", body.as_bytes())])),
        ("external-entity.docx", made::archive(&[("word/document.xml", file.as_bytes())])),
        ("200k-deep.docx", made::archive(&[("word/document.xml", deep.as_bytes())])),
        ("truncated.docx", inner[..inner.len() / 2].to_vec()),
    ]
}

/// The hostile texts.
fn texts() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("deep.html", b"<div hidden><div>".repeat(500_000)),
        ("open.html", b"<a href=\"<!--<![CDATA[<script".repeat(200_000)),
        ("entities.html", b"&#x4e2d;&lt".repeat(1_000_000)),
        ("deep.md", [b"> ".repeat(5_000), b"- ".repeat(5_000), b"[".repeat(50_000)].concat()),
        ("one-line.txt", "没有换行".repeat(2 << 20).into_bytes()),
        ("one-row.csv", b"\"a\",".repeat(4 << 20)),
        ("noise.txt", [b"a\x81\x40\x00\x01".repeat(100_000), vec![0xff; 100]].concat()),
        (
            "parts.eml",
            [
                b"Content-Type: multipart/mixed; boundary=b\r\n\r\n".to_vec(),
                b"--b\r\n\r\nx\r\n".repeat(100_000),
            ]
            .concat(),
        ),
    ]
}

/// What one file gave, in words, and the most memory that its reader had.
struct Measured {
    outcome: String,
    peak_bytes: u64,
}

/// The variable that says that a process is the one which reads.
const INNER: &str = "KNOWLEDGE_TEST_INNER";

/// This test binary again, with [`measured_alone`] alone.
fn again(path: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["extract::hostile::measured_alone", "--exact", "--nocapture"]);
    command.env(FILE, path).stdout(Stdio::piped());
    command
}

fn said(text: &str) -> &str {
    text.lines().find_map(|line| line.split_once("MEASURED ")).unwrap_or_else(|| panic!("{text}")).1
}

/// Reads a file in a child of a fresh process, whose only child it is. Two processes stand between, since a process
/// counts as its own what its parent had when it started it, and this one has much.
fn measured(path: &Path) -> Measured {
    let output = again(path).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let (peak, outcome) = said(&text).split_once(' ').unwrap();
    Measured { outcome: outcome.to_owned(), peak_bytes: peak.parse().unwrap() }
}

/// A part of other tests, which start it as a process of its own. By itself it reads an honest file.
#[test]
fn measured_alone() {
    let Some(path) = std::env::var_os(FILE) else {
        let folder = tempfile::tempdir().unwrap();
        let measured = measured(&made::file(folder.path(), "good.txt", "Words of a file.\n"));
        assert_eq!(measured.outcome, "1 parts, gaps []");
        assert!((1 << 20..128 << 20).contains(&measured.peak_bytes), "{}", measured.peak_bytes);
        return;
    };
    if std::env::var_os(INNER).is_none() {
        let mut inner = again(Path::new(&path)).env(INNER, "1").spawn().unwrap();
        let mut text = String::new();
        inner.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        // Of the process and of its own child, whichever had more.
        let peak_bytes = inner.wait4().unwrap().rusage.maxrss;
        println!("MEASURED {peak_bytes} {}", said(&text));
        return;
    }
    // Without optimisation readers take many times as long, and what takes so long is to be ended anyway.
    let limits = Limits { cpu_seconds: 60, ..Limits::default() };
    let extractor = Extractor { limits, ..extractor() };
    let outcome = match extractor.extract(Path::new(&path), &AtomicBool::new(false)) {
        Ok(Extracted { document, .. }) => {
            let gaps: Vec<_> = document.gaps.iter().take(2).map(|gap| &gap.why).collect();
            format!("{} parts, gaps {gaps:?}", document.parts.len())
        }
        Err(error) => error.to_string(),
    };
    println!("MEASURED {}", outcome.replace('\n', " "));
}

/// Reads all of them, prints what came of each, and holds it to what must come.
#[expect(clippy::print_stdout, reason = "a table for whoever wants to see what each file costs")]
fn judge(files: Vec<(&'static str, Vec<u8>)>, expected: &[(&str, &[&str])]) {
    let folder = tempfile::tempdir().unwrap();
    let good = made::file(folder.path(), "good.txt", "The next file is read.\n");
    println!("{:26} {:>10} {:>9} {:>7}  outcome", "file", "bytes", "peak MiB", "s");
    for (name, bytes) in files {
        let path = made::file(folder.path(), name, &bytes);
        let begun = Instant::now();
        let measured = measured(&path);
        let (mebibytes, seconds) = (measured.peak_bytes >> 20, begun.elapsed().as_secs_f32());
        println!(
            "{name:26} {:>10} {mebibytes:>9} {seconds:>7.1}  {}",
            bytes.len(),
            measured.outcome
        );
        assert!(measured.peak_bytes <= MEMORY_BYTES, "{name}: {} bytes", measured.peak_bytes);
        let (_, words) = expected.iter().find(|(known, _)| *known == name).unwrap();
        let is_expected = words.iter().any(|words| measured.outcome.contains(words));
        assert!(is_expected, "{name}: {}", measured.outcome);
        assert_eq!(read(&good).unwrap().parts.len(), 1, "after {name}");
        std::fs::remove_file(path).unwrap();
    }
}

#[test]
fn hostile_pdfs_cost_one_file_each() {
    // A bomb that its reader inflates only in part is a page without words.
    let bomb: &[&str] = &["NeedsOcr", "Damaged", "TooLong", "more than", "0 parts"];
    judge(
        pdfs(),
        &[
            ("flate-1-gib.pdf", bomb),
            ("nested-flate-4-gib.pdf", bomb),
            ("3m-text-operators.pdf", &["parts", "more than"]),
            (
                "500k-deep-array.pdf",
                &["nested too deeply", "Damaged", "NeedsOcr", "damaged", "0 parts"],
            ),
            ("encrypted.pdf", &["encrypted"]),
            ("truncated.pdf", &["damaged", "Damaged", "0 parts", "NeedsOcr"]),
            ("only-a-header.pdf", &["damaged"]),
        ],
    );
}

#[test]
fn hostile_archives_cost_one_file_each() {
    judge(
        archives(),
        &[
            ("xfd1048576.xlsx", &["2 parts, gaps []"]),
            ("512-mb-string.xlsx", &["refused: xl/sharedStrings.xml inflates to more than"]),
            ("10m-cells.xlsx", &["gaps [TooLong]", "more than 60 seconds of processor time"]),
            ("entities.xlsx", &["parts", "damaged"]),
            ("100k-entries.docx", &["refused: an archive of 100001 entries"]),
            ("zip-in-zip.docx", &["damaged: "]),
            ("zip-in-zip.zip", &["not text: a zip archive"]),
            ("bomb.docx", &["refused: word/document.xml inflates to more than"]),
            ("entities.docx", &["refused: it declares its own document type"]),
            ("external-entity.docx", &["refused: it declares its own document type"]),
            ("200k-deep.docx", &["Damaged"]),
            ("truncated.docx", &["damaged: "]),
        ],
    );
}

#[test]
fn hostile_texts_cost_one_file_each() {
    judge(
        texts(),
        &[
            ("deep.html", &["0 parts"]),
            ("open.html", &["parts"]),
            ("entities.html", &["parts, gaps []"]),
            ("deep.md", &["parts", "crashed"]),
            ("one-line.txt", &["3072 parts, gaps []", "parts, gaps []"]),
            ("one-row.csv", &["parts"]),
            ("noise.txt", &["not text: unknown bytes"]),
            ("parts.eml", &["parts, gaps [Damaged"]),
        ],
    );
}

#[test]
fn only_regular_files_are_opened() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let good = made::file(folder.path(), "good.txt", "Words of a file.\n");
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, at("pipe.txt"), rustix::fs::FileType::Fifo, mode, 0)
        .unwrap();
    let _socket = UnixListener::bind(at("socket.txt")).unwrap();
    symlink(&good, at("link.txt")).unwrap();
    symlink(at("b"), at("a")).unwrap();
    symlink(at("a"), at("b")).unwrap();
    std::fs::create_dir(at("folder.txt")).unwrap();
    let refused = |path: &Path| match read(path) {
        Err(Error::NotRegular(what)) => what,
        other => panic!("{}: {other:?}", path.display()),
    };
    assert_eq!(refused(&at("pipe.txt")), "it is a pipe");
    assert_eq!(refused(&at("socket.txt")), "it is a socket");
    assert_eq!(refused(&at("link.txt")), "it is a symbolic link");
    assert_eq!(refused(&at("a")), "it is a symbolic link");
    assert_eq!(refused(&at("a").join("x.txt")), "it is a symbolic link");
    assert_eq!(refused(&at("folder.txt")), "it is a folder");
    assert_eq!(refused(Path::new("/dev/zero")), "it is a device");
    assert_eq!(read(&at("nothing.txt")), Err(Error::Vanished));
    assert_eq!(read(&good.join("below.txt")), Err(Error::Vanished));
    // A name that is no UTF-8 is a name like any other.
    let name = at("").join(OsStr::from_bytes(b"caf\xe9.md"));
    std::fs::write(&name, "# Title\n").unwrap();
    assert_eq!(read(&name).unwrap().title.as_deref(), Some("Title"));
}

/// An extractor whose child first does something to the file, or is something else altogether.
fn scripted(script: &str) -> Extractor {
    let fixture = extractor();
    let mut arguments: Vec<OsString> = vec!["-c".into(), script.into(), "sh".into()];
    arguments.push(fixture.program.into());
    Extractor { program: PathBuf::from("/bin/sh"), arguments, limits: fixture.limits }
}

#[test]
fn a_file_that_changes_or_vanishes_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let stop = AtomicBool::new(false);
    let path = made::file(folder.path(), "a.txt", "Words of a file.\n");
    let script = format!("echo more >> '{}'; exec \"$1\"", path.display());
    assert_eq!(scripted(&script).extract(&path, &stop), Err(Error::Changed));
    assert!(Error::Changed.again());
    // What is open stays readable, and it is what was there.
    let script = format!("/bin/rm '{}'; exec \"$1\"", path.display());
    let gone = scripted(&script).extract(&path, &stop).unwrap();
    assert_eq!(gone.document.parts[0].text, "Words of a file.\nmore");
    // Another file in its place is not read instead.
    std::fs::write(&path, "Words of a file.\n").unwrap();
    let script = format!("/bin/rm '{0}'; echo other > '{0}'; exec \"$1\"", path.display());
    let first = scripted(&script).extract(&path, &stop).unwrap();
    assert_eq!(first.document.parts[0].text, "Words of a file.");
}

#[test]
fn a_child_that_misbehaves_is_ended_with_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let path = made::file(folder.path(), "a.txt", "Words of a file.\n");
    let stop = AtomicBool::new(false);
    let with = |script: &str, limits: Limits| Extractor { limits, ..scripted(script) };
    let short = Limits { wall: Duration::from_millis(300), ..Limits::default() };
    let small = Limits { memory_bytes: 64 << 20, ..Limits::default() };
    let error = |extractor: Extractor| extractor.extract(&path, &stop).unwrap_err();
    assert!(matches!(error(with("while :; do :; done", short)), Error::Time { .. }));
    // It takes memory as fast as it can and bounds itself in nothing.
    assert_eq!(
        error(with("exec /usr/bin/tail /dev/zero", small.clone())),
        Error::Memory { bytes_max: 64 << 20 }
    );
    assert!(matches!(
        error(with("exec /bin/cat /dev/zero", Limits::default())),
        Error::NoAnswer(_)
    ));
    assert!(matches!(error(with("exit 0", Limits::default())), Error::NoAnswer(_)));
    assert!(matches!(error(with("echo no answer", Limits::default())), Error::NoAnswer(_)));
    let crashed = error(with("echo it hurts >&2; kill -SEGV $$", Limits::default()));
    assert!(matches!(&crashed, Error::Crashed(why) if why.contains("it hurts")), "{crashed:?}");
    let missing = Extractor { program: folder.path().join("no-program"), ..extractor() };
    assert!(matches!(error(missing), Error::System { .. }));
    let stopped = AtomicBool::new(true);
    let endless = with("while :; do :; done", Limits::default());
    assert_eq!(endless.extract(&path, &stopped), Err(Error::Stopped));
    // The child's own bounds.
    let large = made::file(folder.path(), "large.txt", "没有换行".repeat(1 << 20));
    let extractor = Extractor { limits: small, ..extractor() };
    assert_eq!(
        extractor.extract(&large, &stop).unwrap_err(),
        Error::Memory { bytes_max: 64 << 20 }
    );
    assert_eq!(extractor.extract(&path, &stop).unwrap().document.parts.len(), 1);
}

#[test]
fn processor_time_is_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let operators = b"(a) Tj ".repeat(1_000);
    let page = [b"BT /F1 12 Tf 72 720 Td ".to_vec(), operators.repeat(400)].concat();
    let path = made::file(folder.path(), "slow.pdf", made::pdf_pages(&vec![page; 50], "", ""));
    let limits = Limits { cpu_seconds: 1, ..Limits::default() };
    let begun = Instant::now();
    match (Extractor { limits, ..extractor() }).extract(&path, &AtomicBool::new(false)) {
        // It ended between two pages, with what it had.
        Ok(extracted) => {
            assert_eq!(
                extracted.document.gaps.last().map(|gap| (&gap.inside, &gap.why)),
                Some((&Inside::Whole, &Why::TooLong))
            );
        }
        Err(error) => {
            assert_eq!(error, Error::Time { seconds_max: 1, of: " of processor time".to_owned() })
        }
    }
    println!("ended after {:?}", begun.elapsed());
}
