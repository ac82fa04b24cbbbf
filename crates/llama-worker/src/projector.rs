//! What pictures and sounds are to a model: files read, laid out and turned into vectors.
//!
//! Not here: llama.cpp's side of it (`llama::media`), where they stand in a prompt and when their vectors
//! are computed (`engine`).

use std::path::Path;
use std::rc::Rc;

use engine::{MediaFile, MediaPart};
use planner::gguf::Header;
use worker_protocol::{Buffer, Load, LoadFailure, LoadFailureKind, MediaKind};

use crate::llama::{Bitmap, Chunks, Eyes, Weights};
use crate::model::{STEP_TOKENS, wants_flash_attention};
use crate::{header, pages, picture, places, sound, tiers};

/// Kinds of projectors that lay a file out by where it stands in the prompt, which nothing here tells them.
const PLACED: [&str; 2] = ["deepseek4v", "hunyuanvl"];

/// Kinds of projectors that keep the size of pictures, and whose rows look at each other: a picture must
/// fit a step. As they come they make up to 1,120 rows, and were trained with a quarter of that too.
const SCALED_DOWN: [&str; 2] = ["gemma4v", "gemma4uv"];

/// A loaded projector.
pub(crate) struct Projector {
    eyes: Eyes,
    digest: [u8; 32],
    /// Bytes of its weights.
    weights_bytes: u64,
    /// The file that was read last: its parts are asked for one after the other.
    read: Option<([u8; 32], Chunks)>,
}

impl Projector {
    /// Loads the projector at `path` for these weights.
    pub(crate) fn load(
        path: &Path,
        load: &Load,
        weights: &Rc<Weights>,
        threads: u32,
    ) -> Result<Self, LoadFailure> {
        let name = path.display();
        let model = load.path.display();
        let unreadable = |error| LoadFailure {
            kind: LoadFailureKind::Unreadable,
            message: format!("cannot open the projector {name}: {error}"),
        };
        std::fs::File::open(path).map_err(unreadable)?;
        let unusable = |why: &str| LoadFailure {
            kind: LoadFailureKind::Unusable,
            message: format!(
                "cannot use the projector {name} with {model}: {why}; without `projector` the model takes \
                 text"
            ),
        };
        let header = header::read(path).ok_or_else(|| unusable("it is no GGUF file"))?;
        let kind = kind(&header).unwrap_or_default();
        if PLACED.contains(&kind) {
            return Err(unusable(&format!("projectors of kind {kind} are not supported")));
        }
        let rows_max = SCALED_DOWN.contains(&kind).then_some(STEP_TOKENS);
        let eyes = Eyes::load(path, weights, threads, wants_flash_attention(), rows_max);
        let eyes = eyes.ok_or_else(|| {
            unusable("llama.cpp cannot load it, or it was made for another model; the worker's log says why")
        })?;
        pages::release(path);
        let digest = match &load.keep {
            Some(keep) => tiers::hash(path, keep).map_err(unreadable)?.0,
            None => [0; 32],
        };
        Ok(Self { eyes, digest, weights_bytes: header.tensor_bytes(), read: None })
    }

    /// Its weights, of which llama.cpp does not tell; of what it computes in it does.
    pub(crate) fn buffer(&self) -> Buffer {
        let [device, purpose] = ["CPU", "projector"].map(str::to_owned);
        Buffer { device, purpose, bytes: self.weights_bytes }
    }

    pub(crate) fn digest(&self) -> [u8; 32] {
        self.digest
    }

    pub(crate) fn sees(&self) -> bool {
        self.eyes.sees()
    }

    pub(crate) fn hears(&self) -> bool {
        self.eyes.hears()
    }

    /// See [`engine::Model::lay_out`]. Of a picture only its head is read, so that streams do not wait for
    /// large ones; how long a sound is says the whole of it.
    pub(crate) fn lay_out(&mut self, file: &MediaFile) -> Result<Vec<MediaPart>, String> {
        match file.kind() {
            MediaKind::Image => {
                let (width, height) = picture::size(file.bytes())?;
                let bitmap = Bitmap::of_size(width, height).ok_or_else(no_memory)?;
                let chunks =
                    self.eyes.lay_out(&bitmap).ok_or_else(|| not_laid_out(width, height))?;
                Ok(self.eyes.parts(&chunks))
            }
            MediaKind::Audio => {
                self.read(file)?;
                Ok(self.read.as_ref().map_or_else(Vec::new, |(_, chunks)| self.eyes.parts(chunks)))
            }
        }
    }

    /// See [`engine::Model::encode`].
    pub(crate) fn encode(&mut self, file: &MediaFile, part: usize) -> Result<Vec<f32>, String> {
        self.read(file)?;
        let Some((_, chunks)) = &self.read else { return Err(not_encoded()) };
        let (places, positions) = self.eyes.places(chunks, part).ok_or_else(not_encoded)?;
        let vectors = self.eyes.encode(chunks, part).ok_or_else(not_encoded)?;
        Ok(places::pack(vectors, &places, positions))
    }

    /// Reads all of a file, unless it is the one that was read last.
    fn read(&mut self, file: &MediaFile) -> Result<(), String> {
        if self.read.as_ref().is_some_and(|(digest, _)| digest == file.digest()) {
            return Ok(());
        }
        self.read = None;
        let chunks = match file.kind() {
            MediaKind::Image => {
                let picture = picture::read(file.bytes())?;
                let (width, height) = (picture.width, picture.height);
                let bitmap = Bitmap::of_pixels(width, height, &picture.bytes);
                // mtmd has a copy, and makes one more.
                drop(picture);
                let bitmap = bitmap.ok_or_else(no_memory)?;
                self.eyes.lay_out(&bitmap).ok_or_else(|| not_laid_out(width, height))?
            }
            MediaKind::Audio => {
                let rate = self.eyes.sound_rate().ok_or_else(not_encoded)?;
                let samples = sound::read(file.bytes(), rate)?;
                let bitmap = Bitmap::of_sound(&samples);
                // mtmd has a copy, and makes one more.
                drop(samples);
                let bitmap = bitmap.ok_or_else(no_memory)?;
                self.eyes.lay_out(&bitmap).ok_or_else(not_encoded)?
            }
        };
        self.read = Some((*file.digest(), chunks));
        Ok(())
    }

    /// The machine is short of memory.
    pub(crate) fn give_back(&mut self) {
        self.read = None;
    }
}

/// What its header says that it is.
fn kind(header: &Header) -> Option<&str> {
    let keys = ["clip.projector_type", "clip.vision.projector_type"];
    keys.iter().find_map(|key| header.str(key))
}

fn no_memory() -> String {
    "there is no memory for it".to_owned()
}

fn not_laid_out(width: u32, height: u32) -> String {
    format!("the model makes nothing of {width} x {height} pixels; send another size")
}

fn not_encoded() -> String {
    "the model's projector cannot compute it; the worker's log says why".to_owned()
}
