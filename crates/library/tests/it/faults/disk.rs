//! Disks that are full or lose something, journals that are torn, and neighbours who want the same file.

use std::{fs::OpenOptions, io::Write as _, path::PathBuf};

use library::transfer::{Seen, Terms, fetch, kept_bytes};
use tokio::sync::watch;

use super::{Case, Expected, Row, pull};
use crate::pulls::{is_whole, outside, ranged};

pub(super) async fn play(rows: &mut Vec<Row>) {
    full(rows).await;
    damage(rows).await;
    neighbours(rows).await;
}

async fn honest(fault: &'static str, expected: Expected) -> Case {
    Case::new(fault, expected, |_, request, content| ranged(content, request, "etag: \"a\"\r\n"))
        .await
}

impl Case {
    fn own(&self) -> PathBuf {
        self.folder.path().join(self.wanted.digest.unwrap().hex())
    }

    /// Fetches until so much is there, and pauses.
    async fn begin(&self, bytes: u64) {
        let seen = watch::Sender::new(Seen::default());
        let (mut watched, outside) = (seen.subscribe(), outside());
        let rate = Some(std::sync::Arc::new(library::transfer::Rate::new(4_000_000)));
        let terms = Terms { rate, ..self.terms.clone() };
        tokio::select! {
            done = fetch(&outside, &self.wanted, self.folder.path(), &terms, &seen) => panic!("{done:?}"),
            _ = watched.wait_for(|seen| seen.done_bytes >= bytes) => {}
        }
    }
}

async fn full(rows: &mut Vec<Row>) {
    let mut case =
        honest("no room for the file", Expected::Error("free; free some, or move models_dir"))
            .await;
    case.wanted.bytes = Some(1 << 60);
    let served = case.content.clone();
    let huge = crate::server::Server::start(move |request| {
        let mut answer = ranged(&served, request, "");
        answer.head = answer.head.replace("/2000000", &format!("/{}", 1_u64 << 60));
        answer
    })
    .await;
    case.wanted.addresses = vec![huge.url("/file").parse().unwrap()];
    rows.push(case.play().await);
    // A file that is always full, where there is one.
    #[cfg(target_os = "linux")]
    for (fault, name) in
        [("a full disk, for the bytes", "part"), ("a full disk, for the journal", "journal")]
    {
        let case = honest(fault, Expected::Error("the disk is full")).await;
        std::fs::create_dir_all(case.own()).unwrap();
        std::os::unix::fs::symlink("/dev/full", case.own().join(name)).unwrap();
        rows.push(case.play().await);
        // Once there is room, it goes on.
        std::fs::remove_file(case.own().join(name)).unwrap();
        is_whole(
            &pull(&case.wanted, case.folder.path(), &case.terms).await.unwrap(),
            &case.content,
        );
    }
    let case = honest("a folder that is a file", Expected::Error("check the disk")).await;
    std::fs::write(case.own(), b"").unwrap();
    rows.push(case.play().await);
}

async fn damage(rows: &mut Vec<Row>) {
    let case = honest("a byte of the half pulled file changed", Expected::Whole).await;
    case.begin(1_000_000).await;
    let part = case.own().join("part");
    let mut bytes = std::fs::read(&part).unwrap();
    bytes[10_000] ^= 1;
    std::fs::write(&part, bytes).unwrap();
    let row = case.play().await;
    // One range at most, and what was on its way.
    assert!(row.sent < 1.7, "{}", row.sent);
    rows.push(row);
    let case = honest("half of the half pulled file lost", Expected::Whole).await;
    case.begin(1_000_000).await;
    let part = OpenOptions::new().write(true).open(case.own().join("part")).unwrap();
    part.set_len(400_000).unwrap();
    rows.push(case.play().await);
    let case = honest("a torn journal", Expected::Whole).await;
    case.begin(1_000_000).await;
    let journal = case.own().join("journal");
    let length = std::fs::metadata(&journal).unwrap().len();
    OpenOptions::new().write(true).open(&journal).unwrap().set_len(length - 5).unwrap();
    assert!(kept_bytes(&case.wanted, case.folder.path()) > 0);
    rows.push(case.play().await);
    let case = honest("a journal of somebody else", Expected::Whole).await;
    case.begin(1_000_000).await;
    std::fs::write(case.own().join("journal"), b"{\"version\": 7}\n").unwrap();
    rows.push(case.play().await);
    let case = honest("a journal that goes on with nonsense", Expected::Whole).await;
    case.begin(1_000_000).await;
    let mut journal = OpenOptions::new().append(true).open(case.own().join("journal")).unwrap();
    journal.write_all(&[0; 4096]).unwrap();
    rows.push(case.play().await);
}

async fn neighbours(rows: &mut Vec<Row>) {
    let case = honest("two pulls of one file at once", Expected::Whole).await;
    let pull = async || {
        let fetched = pull(&case.wanted, case.folder.path(), &case.terms).await.unwrap();
        is_whole(&fetched, &case.content);
    };
    tokio::join!(pull(), pull());
    let row = case.play().await;
    assert!(row.sent < 1.01, "{}", row.sent);
    rows.push(row);
}
