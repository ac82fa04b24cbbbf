//! Modelfiles, which people and programs hand over.

use library::modelfile::Modelfile;

/// A Modelfile never panics, and what was read of one is written and read again unchanged.
pub fn modelfile(bytes: &[u8]) {
    let Ok(read) = Modelfile::parse(bytes) else { return };
    assert!(!read.from.is_empty(), "made from nothing");
    // Whether it can be translated or not, that ends.
    let _ = read.settings.template.as_deref().map(library::template::jinja);
    let written = read.to_string();
    match Modelfile::parse(written.as_bytes()) {
        Ok(again) => assert_eq!(again, Modelfile { ignored: Vec::new(), ..read }),
        Err(error) => panic!("our own Modelfile is refused: {error}"),
    }
}
