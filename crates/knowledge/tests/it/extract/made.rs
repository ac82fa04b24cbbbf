//! Files made for tests, as small as their formats allow.

use std::{
    fmt::Write as _,
    io::{Cursor, Write},
    path::{Path, PathBuf},
};

use zip::{ZipWriter, write::SimpleFileOptions};

/// Writes a file into a folder.
pub(super) fn file(folder: &Path, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

/// A zip archive of these entries.
pub(super) fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in entries {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// A PDF of these objects, numbered from 1; the first is the catalog.
pub(super) fn pdf(objects: &[Vec<u8>], trailer: &str) -> Vec<u8> {
    let mut bytes = b"%PDF-1.7\n".to_vec();
    let mut places = Vec::new();
    for (number, object) in (1..).zip(objects) {
        places.push(bytes.len());
        bytes.extend(format!("{number} 0 obj\n").as_bytes());
        bytes.extend(object);
        bytes.extend(b"\nendobj\n");
    }
    let start = bytes.len();
    let mut table = format!("xref\n0 {}\n0000000000 65535 f \n", objects.len() + 1);
    for place in places {
        writeln!(table, "{place:010} 00000 n ").unwrap();
    }
    let size = objects.len() + 1;
    write!(table, "trailer\n<< /Size {size} /Root 1 0 R {trailer} >>\nstartxref\n{start}\n%%EOF\n")
        .unwrap();
    bytes.extend(table.as_bytes());
    bytes
}

/// A stream object.
pub(super) fn stream(dictionary: &str, bytes: &[u8]) -> Vec<u8> {
    let mut object = format!("<< {dictionary} /Length {} >>\nstream\n", bytes.len()).into_bytes();
    object.extend(bytes);
    object.extend(b"\nendstream");
    object
}

/// A PDF with a page for each of these contents. `/F1` is Helvetica, `/F2` a Chinese font whose codes are those of
/// `to_unicode`, from 1.
pub(super) fn pdf_pages(pages: &[Vec<u8>], to_unicode: &str, trailer: &str) -> Vec<u8> {
    pdf_of_streams(pages.iter().map(|page| stream("", page)).collect(), to_unicode, trailer)
}

/// As [`pdf_pages`], of contents that are whole stream objects.
pub(super) fn pdf_of_streams(pages: Vec<Vec<u8>>, to_unicode: &str, trailer: &str) -> Vec<u8> {
    let first = 8;
    let kids: String = (0..pages.len()).map(|page| format!("{} 0 R ", first + 2 * page)).collect();
    let mut map = "/CIDInit /ProcSet findresource begin 12 dict begin begincmap /CMapName /X def /CMapType 2 def \
                   1 begincodespacerange <0000> <FFFF> endcodespacerange\n"
        .to_owned();
    for (code, character) in (1..).zip(to_unicode.chars()) {
        writeln!(map, "1 beginbfchar <{code:04X}> <{:04X}> endbfchar", u32::from(character))
            .unwrap();
    }
    map.push_str("endcmap CMapName currentdict /CMap defineresource pop end end");
    let descriptor = "<< /Type /FontDescriptor /FontName /Song /Flags 4 /FontBBox [0 -200 1000 900] /ItalicAngle 0 \
                      /Ascent 900 /Descent -200 /CapHeight 700 /StemV 80 >>";
    let mut objects = vec![
        b"<< /Type /Catalog /Pages 2 0 R >>".to_vec(),
        format!("<< /Type /Pages /Kids [{kids}] /Count {} >>", pages.len()).into_bytes(),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>".to_vec(),
        b"<< /Type /Font /Subtype /Type0 /BaseFont /Song /Encoding /Identity-H /DescendantFonts [5 0 R] \
          /ToUnicode 6 0 R >>"
            .to_vec(),
        b"<< /Type /Font /Subtype /CIDFontType2 /BaseFont /Song /CIDSystemInfo << /Registry (Adobe) \
          /Ordering (Identity) /Supplement 0 >> /FontDescriptor 7 0 R /DW 1000 >>"
            .to_vec(),
        stream("", map.as_bytes()),
        descriptor.as_bytes().to_vec(),
    ];
    for (index, page) in pages.into_iter().enumerate() {
        let contents = first + 2 * index + 1;
        objects.push(
            format!(
                "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {contents} 0 R \
                 /Resources << /Font << /F1 3 0 R /F2 4 0 R >> >> >>"
            )
            .into_bytes(),
        );
        objects.push(page);
    }
    pdf(&objects, trailer)
}

/// Lines of Latin text on a page, from the top.
pub(super) fn lines(lines: &[&str]) -> Vec<u8> {
    let mut content = "BT /F1 12 Tf 14 TL 72 720 Td\n".to_owned();
    for line in lines {
        writeln!(content, "({line}) Tj T*").unwrap();
    }
    content.push_str("ET");
    content.into_bytes()
}

/// A line of text in the Chinese font.
pub(super) fn chinese(text: &str, to_unicode: &str) -> Vec<u8> {
    let codes: String = text
        .chars()
        .map(|character| {
            let code = to_unicode.chars().position(|known| known == character).unwrap() + 1;
            format!("{code:04X}")
        })
        .collect();
    format!("BT /F2 12 Tf 72 720 Td <{codes}> Tj ET").into_bytes()
}

/// A DOCX of these elements of its body, with styles as a Chinese Word names them.
pub(super) fn docx(body: &str) -> Vec<u8> {
    let styles = "<?xml version=\"1.0\"?><w:styles xmlns:w=\"w\"><w:style w:type=\"paragraph\" w:styleId=\"1\">\
                  <w:name w:val=\"heading 1\"/></w:style><w:style w:type=\"paragraph\" w:styleId=\"a5\">\
                  <w:name w:val=\"自定义\"/><w:pPr><w:outlineLvl w:val=\"1\"/></w:pPr></w:style></w:styles>";
    let document = format!(
        "<?xml version=\"1.0\"?><w:document xmlns:w=\"w\" xmlns:mc=\"mc\"><w:body>{body}</w:body></w:document>"
    );
    archive(&[
        ("[Content_Types].xml", b"<Types/>"),
        ("word/styles.xml", styles.as_bytes()),
        ("word/document.xml", document.as_bytes()),
    ])
}

/// An XLSX of one sheet named `Data` with this `sheetData`, and these shared strings.
pub(super) fn xlsx(rows: &[u8], strings: &[u8]) -> Vec<u8> {
    let head = "<?xml version=\"1.0\"?><worksheet xmlns=\"http://schemas.openxmlformats.org/spreadsheetml/2006/main\">";
    let sheet = [head.as_bytes(), b"<sheetData>", rows, b"</sheetData></worksheet>"].concat();
    let shared = [&b"<?xml version=\"1.0\"?><sst>"[..], strings, b"</sst>"].concat();
    let mut entries = xlsx_frame();
    entries.push(("xl/sharedStrings.xml", shared));
    entries.push(("xl/worksheets/sheet1.xml", sheet));
    let entries: Vec<(&str, &[u8])> =
        entries.iter().map(|(name, bytes)| (*name, bytes.as_slice())).collect();
    archive(&entries)
}

/// All of an XLSX but its sheet and its strings.
pub(super) fn xlsx_frame() -> Vec<(&'static str, Vec<u8>)> {
    let main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main";
    let relations = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";
    let packages = "http://schemas.openxmlformats.org/package/2006/relationships";
    let workbook = format!(
        "<?xml version=\"1.0\"?><workbook xmlns=\"{main}\" xmlns:r=\"{relations}\"><sheets><sheet name=\"Data\" \
         sheetId=\"1\" r:id=\"rId1\"/></sheets></workbook>"
    );
    let of_workbook = format!(
        "<?xml version=\"1.0\"?><Relationships xmlns=\"{packages}\"><Relationship Id=\"rId1\" \
         Type=\"{relations}/worksheet\" Target=\"worksheets/sheet1.xml\"/><Relationship Id=\"rId2\" \
         Type=\"{relations}/sharedStrings\" Target=\"sharedStrings.xml\"/><Relationship Id=\"rId3\" \
         Type=\"{relations}/styles\" Target=\"styles.xml\"/></Relationships>"
    );
    let root = format!(
        "<?xml version=\"1.0\"?><Relationships xmlns=\"{packages}\"><Relationship Id=\"rId1\" \
         Type=\"{relations}/officeDocument\" Target=\"xl/workbook.xml\"/></Relationships>"
    );
    let styles = format!(
        "<?xml version=\"1.0\"?><styleSheet xmlns=\"{main}\"><cellXfs count=\"2\"><xf numFmtId=\"0\"/>\
         <xf numFmtId=\"14\"/></cellXfs></styleSheet>"
    );
    vec![
        ("[Content_Types].xml", b"<Types/>".to_vec()),
        ("_rels/.rels", root.into_bytes()),
        ("xl/workbook.xml", workbook.into_bytes()),
        ("xl/_rels/workbook.xml.rels", of_workbook.into_bytes()),
        ("xl/styles.xml", styles.into_bytes()),
    ]
}
