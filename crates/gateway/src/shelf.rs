//! Answers of `/v1/responses` for who goes on from them: in memory only, so many and so large at most, the
//! oldest leave first, and all are gone when the hub stops.
//!
//! An answer holds the conversation before it. Its turns are shared with the answers that follow, and
//! counted once. Not here: what is in them (`dialect`).

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dialect::openai::responses::{Earlier, Kept, Turn};

use crate::limits::{ANSWERS_KEPT_BYTES_MAX, ANSWERS_KEPT_MAX};

/// What is kept of answers.
#[derive(Debug)]
pub(crate) struct Shelf {
    answers_max: usize,
    bytes_max: usize,
    answers: Mutex<Answers>,
}

#[derive(Debug, Default)]
struct Answers {
    by_id: HashMap<String, Arc<Kept>>,
    /// Ids of answers, the oldest first.
    order: VecDeque<String>,
    /// By the id of the answer that each ends with.
    turns: HashMap<String, Shared>,
    /// Which turn has the item of an id that was made here. Ids that clients choose may be anybody's.
    items: HashMap<String, String>,
    bytes: usize,
}

/// A turn of the conversations of several answers.
#[derive(Debug)]
struct Shared {
    turn: Arc<Turn>,
    answers: usize,
}

impl Default for Shelf {
    fn default() -> Self {
        Self::of(ANSWERS_KEPT_MAX, ANSWERS_KEPT_BYTES_MAX)
    }
}

impl Shelf {
    fn of(answers_max: usize, bytes_max: usize) -> Self {
        Self { answers_max, bytes_max, answers: Mutex::default() }
    }

    /// Keeps an answer. The oldest make room for it; one that is larger with its conversation than all of the
    /// room is not kept, and costs nobody anything.
    pub(crate) fn keep(&self, kept: Kept) {
        let turns = kept.turns.iter().map(|turn| turn.bytes());
        if kept.bytes() + turns.sum::<usize>() > self.bytes_max {
            return;
        }
        let mut answers = self.answers();
        answers.add(kept);
        while answers.by_id.len() > self.answers_max || answers.bytes > self.bytes_max {
            let Some(oldest) = answers.order.front().cloned() else { return };
            answers.remove(&oldest);
        }
    }

    /// Whether there was an answer of this id. What other answers say of the same conversation stays.
    pub(crate) fn remove(&self, id: &str) -> bool {
        self.answers().remove(id)
    }

    fn answers(&self) -> MutexGuard<'_, Answers> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Earlier for Shelf {
    fn answer(&self, id: &str) -> Option<Arc<Kept>> {
        self.answers().by_id.get(id).cloned()
    }

    fn item(&self, id: &str) -> Option<String> {
        let answers = self.answers();
        let turn = &answers.turns.get(answers.items.get(id)?)?.turn;
        let mut entries = turn.input.iter().chain(&turn.output);
        entries.find(|entry| entry.id == id).map(|entry| entry.json.clone())
    }
}

impl Answers {
    fn add(&mut self, kept: Kept) {
        self.remove(&kept.id);
        for turn in &kept.turns {
            match self.turns.get_mut(&turn.answer) {
                Some(shared) => shared.answers += 1,
                None => {
                    self.bytes += turn.bytes();
                    for entry in turn.made() {
                        self.items.insert(entry.id.clone(), turn.answer.clone());
                    }
                    let shared = Shared { turn: Arc::clone(turn), answers: 1 };
                    self.turns.insert(turn.answer.clone(), shared);
                }
            }
        }
        self.bytes += kept.bytes();
        self.order.push_back(kept.id.clone());
        self.by_id.insert(kept.id.clone(), Arc::new(kept));
    }

    fn remove(&mut self, id: &str) -> bool {
        let Some(kept) = self.by_id.remove(id) else { return false };
        self.order.retain(|kept| kept != id);
        self.bytes -= kept.bytes();
        for turn in &kept.turns {
            let Some(shared) = self.turns.get_mut(&turn.answer) else { continue };
            shared.answers -= 1;
            if shared.answers > 0 {
                continue;
            }
            self.turns.remove(&turn.answer);
            self.bytes -= turn.bytes();
            for entry in turn.made() {
                if self.items.get(&entry.id).is_some_and(|holder| *holder == turn.answer) {
                    self.items.remove(&entry.id);
                }
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use dialect::openai::responses::Entry;

    use super::*;

    fn turn(answer: u64, bytes: usize) -> Arc<Turn> {
        let entry = |id: String| Entry { id, json: "x".repeat(bytes) };
        let (input, output) = (entry(format!("in{answer}")), entry(format!("out{answer}")));
        Arc::new(Turn { answer: answer.to_string(), input: vec![input], output: vec![output] })
    }

    /// The answer that goes on from `before`.
    fn answer(id: u64, before: Option<&Kept>, bytes: usize) -> Kept {
        let before = before.map(|kept| kept.turns.clone()).unwrap_or_default();
        let turns = before.into_iter().chain([turn(id, bytes)]).collect();
        Kept { id: id.to_string(), response: "r".repeat(10), turns }
    }

    /// Counts anew what is there.
    fn counted(shelf: &Shelf) -> usize {
        let answers = shelf.answers();
        let mut turns: Vec<&Arc<Turn>> =
            answers.by_id.values().flat_map(|kept| &kept.turns).collect();
        turns.sort_by(|a, b| a.answer.cmp(&b.answer));
        turns.dedup_by(|a, b| a.answer == b.answer);
        assert_eq!(turns.len(), answers.turns.len());
        let turns: usize = turns.iter().map(|turn| turn.bytes()).sum();
        turns + answers.by_id.values().map(|kept| kept.bytes()).sum::<usize>()
    }

    #[test]
    fn an_answer_holds_the_conversation_before_it() {
        let shelf = Shelf::of(10, usize::MAX);
        let first = answer(1, None, 5);
        let second = answer(2, Some(&first), 7);
        shelf.keep(first);
        shelf.keep(second);
        assert!(shelf.remove("1"), "it was there");
        assert!(!shelf.remove("1") && shelf.answer("1").is_none());
        assert_eq!(shelf.answer("2").unwrap().turns.len(), 2);
        assert_eq!(shelf.item("in1").as_deref(), Some("xxxxx"), "the second goes on from it");
        assert!(shelf.remove("2"));
        assert_eq!((shelf.item("in1"), shelf.item("out2")), (None, None));
        assert_eq!(shelf.answers().bytes, 0);
    }

    #[test]
    fn the_oldest_make_room() {
        let shelf = Shelf::of(3, usize::MAX);
        (1..=5).for_each(|id| shelf.keep(answer(id, None, 1)));
        let there = |id: u64| shelf.answer(&id.to_string()).is_some();
        assert_eq!([1, 2, 3, 4, 5].map(there), [false, false, true, true, true]);
        assert_eq!(shelf.answers().items.len(), 6);
        // One that is larger than all of the room is not kept, and the others are.
        let shelf = Shelf::of(3, 10_000);
        shelf.keep(answer(1, None, 10));
        shelf.keep(answer(2, None, 10_000));
        assert!(shelf.answer("2").is_none() && shelf.answer("1").is_some());
        let bytes = shelf.answers().bytes;
        assert_eq!(bytes, counted(&shelf));
    }

    #[test]
    fn bytes_are_those_of_what_is_there() {
        // Numbers that wander through branches, evictions and removals of any kind.
        let shelf = Shelf::of(7, 9_000);
        let mut kept: Vec<Kept> = Vec::new();
        let mut number: u64 = 1;
        for id in 0..400 {
            number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(99);
            let wild = usize::try_from(number >> 33).unwrap();
            // Now and then it goes on from one that was thrown away meanwhile.
            let before = kept.get(wild % (kept.len() + 3)).filter(|kept| kept.turns.len() < 12);
            let next = answer(id, before, wild % 700);
            shelf.keep(next.clone());
            kept.push(next);
            if wild % 5 == 0 {
                shelf.remove(&(id / 2).to_string());
            }
            let bytes = shelf.answers().bytes;
            assert_eq!(bytes, counted(&shelf));
            assert!(bytes <= 9_000 && shelf.answers().by_id.len() <= 7);
            let answers = shelf.answers();
            assert_eq!(answers.order.len(), answers.by_id.len());
            assert!(answers.items.values().all(|turn| answers.turns.contains_key(turn)));
        }
    }
}
