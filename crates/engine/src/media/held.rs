//! The files of open requests, each once, up to a number of bytes.
//!
//! A file is needed until its request ends: whoever is parked may need its vectors again, and those may be gone.

use std::collections::BTreeMap;
use std::rc::{Rc, Weak};

use crate::model::MediaFile;

/// Which files there are. Whoever needs one has it; when nobody does, it is gone.
#[derive(Default)]
pub(super) struct Held {
    files: BTreeMap<[u8; 32], Weak<MediaFile>>,
}

impl Held {
    /// These files, or what is there already of the same content. `None` when all together would be more than
    /// `bytes_max`.
    pub(super) fn hold(
        &mut self,
        files: Vec<MediaFile>,
        bytes_max: usize,
    ) -> Option<Vec<Rc<MediaFile>>> {
        self.files.retain(|_, file| file.strong_count() > 0);
        let known = self.files.values().filter_map(Weak::upgrade);
        let mut bytes: usize = known.map(|file| file.bytes().len()).sum();
        let mut held = Vec::with_capacity(files.len());
        for file in files {
            let known = self.files.get(file.digest()).and_then(Weak::upgrade);
            if let Some(known) = known.filter(|known| known.kind() == file.kind()) {
                held.push(known);
                continue;
            }
            bytes += file.bytes().len();
            if bytes > bytes_max {
                return None;
            }
            let file = Rc::new(file);
            self.files.insert(*file.digest(), Rc::downgrade(&file));
            held.push(file);
        }
        Some(held)
    }
}

#[cfg(test)]
mod tests {
    use worker_protocol::MediaKind;

    use super::*;

    fn files(names: &[&str]) -> Vec<MediaFile> {
        let file = |name: &&str| MediaFile::new(MediaKind::Image, name.as_bytes().repeat(10));
        names.iter().map(file).collect()
    }

    #[test]
    fn equal_files_are_there_once_and_all_together_are_bounded() {
        let mut held = Held::default();
        let mut hold = |names: &[&str]| held.hold(files(names), 35);
        let first = hold(&["a", "b", "a"]).unwrap();
        assert!(Rc::ptr_eq(&first[0], &first[2]));
        let second = hold(&["b", "c", "b"]).unwrap();
        assert!(Rc::ptr_eq(&first[1], &second[0]));
        assert!(hold(&["d"]).is_none(), "30 bytes are there");
        assert!(hold(&["a", "b", "c"]).is_some());
        drop(first);
        assert!(hold(&["d"]).is_some(), "a is gone, and b is not");
        drop(second);
        assert!(hold(&["d", "e", "f"]).is_some());
        assert!(hold(&["d", "e", "f", "g"]).is_none());
    }

    #[test]
    fn a_file_that_is_called_otherwise_is_another_one() {
        let mut held = Held::default();
        let of = |kind| vec![MediaFile::new(kind, vec![1; 10])];
        let seen = held.hold(of(MediaKind::Image), 100).unwrap();
        let heard = held.hold(of(MediaKind::Audio), 100).unwrap();
        assert_eq!((seen[0].kind(), heard[0].kind()), (MediaKind::Image, MediaKind::Audio));
    }
}
