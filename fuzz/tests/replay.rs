//! Every input the fuzzer kept, and every one made by hand, once more.

use std::path::Path;

/// Replays a target's corpus; an empty one would prove nothing.
fn replay(target: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let mut count = 0;
    for entry in std::fs::read_dir(&folder).expect("a corpus") {
        let path = entry.expect("an entry").path();
        let bytes = std::fs::read(&path).expect("a file");
        check(&bytes);
        // Cut anywhere, it is another input.
        for length in (0..bytes.len()).step_by(1 + bytes.len() / 64) {
            check(&bytes[..length]);
        }
        count += 1;
    }
    assert!(count >= 5, "{} holds only {count} inputs", folder.display());
}

#[test]
fn gguf() {
    replay("gguf", fuzz::gguf);
}

#[test]
fn frame() {
    replay("frame", fuzz::frame);
}
