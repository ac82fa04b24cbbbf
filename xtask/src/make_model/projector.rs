//! Projectors with random weights for made models: the smallest that llama.cpp's `clip.cpp` loads.
//!
//! What it reads of a projector is in its `load_hparams` and `load_tensors`. Not here: the models
//! (`tensors`), writing (`make_model`).

use clap::ValueEnum;
use planner::gguf::{TensorType, Value};
use planner::{recipe, tensors::Shape as Form};

use super::header::Keys;
use super::shape::Shape;
use super::tensors::{Content, Plan, root};

/// The kinds of projectors that can be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// Gemma 3's: patches are averaged, and rows of a picture look at each other.
    Gemma3,
    /// LLaVA's: two layers behind an encoder of CLIP.
    Mlp,
    /// Qwen2-VL's: as many patches as the picture has, with places in two dimensions.
    Qwen2vl,
    /// Ultravox's: sounds, by an encoder of Whisper.
    Ultravox,
}

/// Pixels along a side of the pictures, which are scaled to that, and along one of a patch.
const IMAGE_PIXELS: u32 = 112;
const PATCH_PIXELS: u32 = 14;
/// Patches that become one row, along a side.
const MERGED: u32 = 2;
/// Tones that a sound is taken apart into, places of half a minute of it, and how many of them a convolution
/// reaches and become one row.
const MEL_BINS: u32 = 80;
const SOUND_POSITIONS: u64 = 1500;
const CONVOLVED: u64 = 3;
const STACKED: u32 = 4;
/// Width of the encoder, of its feed-forward networks, its heads and its layers.
const WIDTH: u32 = 64;
const FEED_FORWARD: u32 = 128;
const HEADS: u32 = 2;
const LAYERS: u32 = 2;

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Gemma3 => "gemma3",
            Self::Mlp => "mlp",
            Self::Qwen2vl => "qwen2vl_merger",
            Self::Ultravox => "ultravox",
        }
    }

    /// What begins the names of its encoder's tensors, and the name of that in the keys.
    const fn sense(self) -> (&'static str, &'static str) {
        match self {
            Self::Gemma3 | Self::Mlp | Self::Qwen2vl => ("v", "vision"),
            Self::Ultravox => ("a", "audio"),
        }
    }

    /// What is written at the head of a projector for a model of this shape.
    pub(crate) fn metadata(self, shape: &Shape, seed: u64) -> Vec<(String, Value)> {
        let mut keys = Keys::default();
        keys.text("general.architecture", "clip");
        keys.text("general.type", "mmproj");
        keys.text("general.name", &format!("projector with random weights, seed {seed}"));
        keys.u32("general.file_type", 0);
        let (_, sense) = self.sense();
        keys.bool(&format!("clip.has_{sense}_encoder"), true);
        keys.text("clip.projector_type", self.name());
        keys.bool("clip.use_gelu", true);
        let encoder = [
            ("embedding_length", WIDTH),
            ("feed_forward_length", FEED_FORWARD),
            ("projection_dim", shape.width),
            ("block_count", LAYERS),
            ("attention.head_count", HEADS),
        ];
        let pictures = [
            ("image_size", IMAGE_PIXELS),
            ("patch_size", PATCH_PIXELS),
            ("projector.scale_factor", MERGED),
        ];
        let sounds = [("num_mel_bins", MEL_BINS), ("projector.stack_factor", STACKED)];
        let own: &[(&str, u32)] = match self {
            Self::Gemma3 | Self::Mlp | Self::Qwen2vl => &pictures,
            Self::Ultravox => &sounds,
        };
        for (name, value) in encoder.iter().chain(own) {
            keys.u32(&format!("clip.{sense}.{name}"), *value);
        }
        keys.f32(&format!("clip.{sense}.attention.layer_norm_epsilon"), 1e-6);
        keys.f32s("clip.vision.image_mean", &[0.5; 3]);
        keys.f32s("clip.vision.image_std", &[0.5; 3]);
        keys.pairs
    }

    /// Its tensors, all as floats: encoders are small.
    pub(crate) fn plan(self, shape: &Shape) -> Vec<Plan> {
        let mut forms = Forms::default();
        let [width, text] = [WIDTH, shape.width].map(u64::from);
        self.plan_input(&mut forms);
        let (encoder, _) = self.sense();
        for layer in 0..LAYERS {
            forms.layer(&format!("{encoder}.blk.{layer}"), self);
        }
        forms.norm(&format!("{encoder}.post_ln"), width);
        match self {
            Self::Gemma3 => {
                forms.constant("mm.soft_emb_norm.weight", width, 1.0);
                // It is stored on its side.
                let deviation = 1.0 / root(width);
                forms.random("mm.input_projection.weight", &[text, width], deviation);
            }
            Self::Mlp => {
                forms.linear("mm.0", width, text);
                forms.linear("mm.2", text, text);
            }
            Self::Qwen2vl => {
                let merged = width * u64::from(MERGED * MERGED);
                forms.linear("mm.0", merged, merged);
                forms.linear("mm.2", merged, text);
            }
            Self::Ultravox => {
                let stacked = width * u64::from(STACKED);
                forms.constant("mm.a.norm_pre.weight", stacked, 1.0);
                forms.matrix("mm.a.mlp.1", &[stacked, 2 * text]);
                forms.constant("mm.a.norm_mid.weight", text, 1.0);
                forms.matrix("mm.a.mlp.2", &[text, text]);
            }
        }
        forms.place()
    }

    /// What stands before the layers.
    fn plan_input(self, forms: &mut Forms) {
        let width = u64::from(WIDTH);
        let side = u64::from(IMAGE_PIXELS / PATCH_PIXELS);
        let patch = u64::from(PATCH_PIXELS);
        let patches = [patch, patch, 3, width];
        match self {
            Self::Gemma3 => {
                forms.matrix("v.patch_embd", &patches);
                forms.constant("v.patch_embd.bias", width, 0.0);
                forms.random("v.position_embd.weight", &[width, side * side], 1.0);
            }
            Self::Mlp => {
                forms.matrix("v.patch_embd", &patches);
                forms.random("v.class_embd", &[width], 1.0);
                forms.random("v.position_embd.weight", &[width, side * side + 1], 1.0);
                forms.norm("v.pre_ln", width);
            }
            Self::Qwen2vl => {
                forms.matrix("v.patch_embd", &patches);
                // For the second of two pictures of a film.
                forms.random("v.patch_embd.weight.1", &patches, 1.0 / root(3 * patch * patch));
            }
            Self::Ultravox => {
                for (name, inputs) in [("a.conv1d.1", u64::from(MEL_BINS)), ("a.conv1d.2", width)] {
                    forms.matrix(name, &[CONVOLVED, inputs, width]);
                    forms.add(&format!("{name}.bias"), &[1, width], Content::Constant(0.0));
                }
                forms.random("a.position_embd.weight", &[width, SOUND_POSITIONS], 1.0);
            }
        }
    }
}

/// Tensors as they are listed, with what is in them.
#[derive(Default)]
struct Forms {
    forms: Vec<Form>,
    contents: Vec<Content>,
}

impl Forms {
    fn add(&mut self, name: &str, dimensions: &[u64], content: Content) {
        self.forms.push(Form { name: name.to_owned(), dimensions: dimensions.to_vec() });
        self.contents.push(content);
    }

    fn constant(&mut self, name: &str, width: u64, value: f32) {
        self.add(name, &[width], Content::Constant(value));
    }

    fn random(&mut self, name: &str, dimensions: &[u64], deviation: f32) {
        self.add(name, dimensions, Content::Random(deviation));
    }

    /// A matrix that keeps the size of what it is given, of as many inputs as all dimensions but the last.
    fn matrix(&mut self, name: &str, dimensions: &[u64]) {
        let inputs: u64 = dimensions[..dimensions.len() - 1].iter().product();
        self.random(&format!("{name}.weight"), dimensions, 1.0 / root(inputs));
    }

    fn linear(&mut self, name: &str, inputs: u64, outputs: u64) {
        self.matrix(name, &[inputs, outputs]);
        self.constant(&format!("{name}.bias"), outputs, 0.0);
    }

    fn norm(&mut self, name: &str, width: u64) {
        self.constant(&format!("{name}.weight"), width, 1.0);
        self.constant(&format!("{name}.bias"), width, 0.0);
    }

    fn layer(&mut self, name: &str, kind: Kind) {
        let [width, inner] = [WIDTH, FEED_FORWARD].map(u64::from);
        for part in ["attn_q", "attn_v", "attn_out"] {
            self.linear(&format!("{name}.{part}"), width, width);
        }
        match kind {
            Kind::Gemma3 | Kind::Mlp | Kind::Qwen2vl => {
                self.linear(&format!("{name}.attn_k"), width, width);
            }
            // Whisper's keys have none.
            Kind::Ultravox => self.matrix(&format!("{name}.attn_k"), &[width, width]),
        }
        self.norm(&format!("{name}.ln1"), width);
        self.norm(&format!("{name}.ln2"), width);
        self.linear(&format!("{name}.ffn_up"), width, inner);
        self.linear(&format!("{name}.ffn_down"), inner, width);
    }

    fn place(self) -> Vec<Plan> {
        let types = vec![TensorType::F32; self.forms.len()];
        let placed = recipe::place(&self.forms, &types).into_iter().zip(self.contents);
        placed.map(|(tensor, content)| Plan { tensor, content }).collect()
    }
}
