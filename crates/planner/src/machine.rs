//! A computer as the planner sees it: its memory, what reads it how fast, and how much of it models
//! may have.
//!
//! Asking the real computer is the caller's business; it fills in a [`Machine`] or finds a known one
//! by name. Not here: whether a model fits ([`crate::fit`]), how fast it runs ([`crate::speed`]).

mod budget;
mod check;
mod known;
mod limits;
mod nearest;
mod rows;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use budget::{Budget, GpuBudget, Reserve, budget};
pub use check::check;
pub use known::{apple, discrete_gpu, known, names, processor};
pub use limits::{GPU_RESERVE_BYTES, RESERVE_SHARE};

use crate::speed::Calibration;

/// One GiB. Machines sold with "16 GB" of RAM have 16 of these.
pub const GIB: u64 = 1024 * 1024 * 1024;

/// A computer.
#[derive(Debug, Clone, PartialEq)]
pub struct Machine {
    /// What it is called, for example `m4-16gb`.
    pub name: String,
    /// All of its RAM, in bytes.
    pub memory_bytes: u64,
    /// What computes besides the processor.
    pub gpu: Gpu,
    /// What computes on models that lie in RAM: the GPU that shares it, else the processor.
    pub unit: Unit,
    /// How fast RAM is by its maker's figures, in bytes a second.
    pub bandwidth_bytes_per_s: f64,
    /// Operations a second that llama.cpp's matrix products reach in [`Self::unit`] in a long step.
    /// Measured, and so well below what makers print.
    pub compute_flops_per_s: f64,
    /// What this very machine measured, if it has.
    pub calibration: Option<Calibration>,
    /// Where the figures come from.
    pub source: String,
}

/// What computes besides the processor.
#[derive(Debug, Clone, PartialEq)]
pub enum Gpu {
    /// Nothing.
    None,
    /// A GPU that reads the computer's RAM.
    Shared {
        /// How much of RAM it takes at most, in bytes. Metal calls it
        /// `recommendedMaxWorkingSetSize`.
        working_set_bytes: u64,
    },
    /// A GPU with memory of its own.
    Discrete {
        /// What it is called.
        name: String,
        /// Its memory, in bytes.
        memory_bytes: u64,
        /// How fast that memory is by its maker's figures, in bytes a second.
        bandwidth_bytes_per_s: f64,
        /// As [`Machine::compute_flops_per_s`].
        compute_flops_per_s: f64,
        /// What kind of GPU it is.
        unit: Unit,
    },
}

/// Kinds of computing units, as far as they differ in what they make of their memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// The GPU of an Apple M1, M1 Pro or M1 Max.
    AppleM1,
    /// The GPU of an M1 Ultra: two dies.
    AppleM1Ultra,
    /// The GPU of an M2, M3 or M4 of one die.
    Apple,
    /// The GPU of an M2 Ultra or M3 Ultra: two dies.
    AppleUltra,
    /// The GPU of an M5, which has units for matrix products.
    AppleM5,
    /// Another GPU that shares the processor's RAM, for example Strix Halo's.
    SharedGpu,
    /// A processor.
    Processor,
    /// A graphics card with GDDR memory.
    GraphicsCard,
    /// An accelerator with stacked (HBM) memory.
    Accelerator,
}

/// Why there is no such machine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No row of the table has the name.
    #[error("no machine is called `{name}`; the nearest are {nearest}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// Names that look like it.
        nearest: String,
    },
    /// A description that no machine can have.
    #[error("the {field} of `{machine}` is {value}, which cannot be; {way_out}")]
    Contradiction {
        /// Which machine.
        machine: String,
        /// Which of its figures.
        field: &'static str,
        /// What it says.
        value: String,
        /// What to do.
        way_out: String,
    },
}

impl Machine {
    /// The same machine with other RAM, as a person may say that theirs has more. The limit of a
    /// shared GPU moves with it.
    #[must_use]
    pub fn with_memory(mut self, memory_bytes: u64) -> Self {
        self.memory_bytes = memory_bytes;
        if let Gpu::Shared { working_set_bytes } = &mut self.gpu {
            *working_set_bytes = match self.unit {
                Unit::AppleM1
                | Unit::AppleM1Ultra
                | Unit::Apple
                | Unit::AppleUltra
                | Unit::AppleM5 => apple_working_set_bytes(memory_bytes, Macos::Current),
                Unit::SharedGpu | Unit::Processor | Unit::GraphicsCard | Unit::Accelerator => {
                    memory_bytes
                }
            };
        }
        self
    }

    /// The same machine with the working-set limit that it reports itself, or that
    /// `iogpu.wired_limit_mb` sets. The system accepts a limit beyond RAM, which helps nobody: it
    /// is cut to RAM. Zero means the default and changes nothing, and so does a machine without a
    /// shared GPU.
    #[must_use]
    pub fn with_working_set(mut self, live_bytes: u64) -> Self {
        if let Gpu::Shared { working_set_bytes } = &mut self.gpu
            && live_bytes > 0
        {
            *working_set_bytes = live_bytes.min(self.memory_bytes);
        }
        self
    }

    /// Where a model's layers lie when nobody says otherwise: in the GPU, if there is one.
    #[must_use]
    pub fn place(&self) -> crate::footprint::Place {
        match self.gpu {
            Gpu::None => crate::footprint::Place::Processor,
            Gpu::Shared { .. } => crate::footprint::Place::SharedGpu,
            Gpu::Discrete { .. } => crate::footprint::Place::DiscreteGpu,
        }
    }
}

/// Which rule for the working-set limit a version of macOS follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Macos {
    /// As logs of 2023 and 2024 show it.
    Old,
    /// As logs of 2025 and 2026 show it.
    Current,
}

impl Macos {
    /// The rule of a version like `14.5`. Logs of macOS 26 show the current one; an earlier version
    /// is taken to follow the old one, which promises less. `None` when the text is no version.
    #[must_use]
    pub fn of_version(version: &str) -> Option<Self> {
        let major: u32 = version.trim().split('.').next()?.parse().ok()?;
        Some(if major < MACOS_CURRENT_MIN { Self::Old } else { Self::Current })
    }
}

/// The first version that logs show to follow the current rule.
const MACOS_CURRENT_MIN: u32 = 26;

/// How much RAM Metal lets a GPU take, in bytes, when nobody has set `iogpu.wired_limit_mb`.
///
/// Source: the `recommendedMaxWorkingSetSize` that llama.cpp logs on users' machines
/// (`ggml_metal_init` lines in ggml-org/llama.cpp issues). The old rule is two thirds of RAM up to 36 GB
/// and three quarters above. Of the current one, sizes that no log was found for take the share of the
/// next smaller one; 8 GB takes the old share.
#[must_use]
pub fn apple_working_set_bytes(memory_bytes: u64, macos: Macos) -> u64 {
    // From how many GiB of RAM on, which fraction.
    const OLD: [(u64, u64, u64); 2] = [(0, 2, 3), (37, 3, 4)];
    const CURRENT: [(u64, u64, u64); 5] =
        [(0, 2, 3), (16, 74, 100), (32, 78, 100), (64, 81, 100), (128, 84, 100)];
    let steps: &[(u64, u64, u64)] = match macos {
        Macos::Old => &OLD,
        Macos::Current => &CURRENT,
    };
    let reached = steps.iter().rev().find(|(from, _, _)| memory_bytes >= from * GIB);
    let bytes = reached
        .map_or(0, |(_, part, of)| u128::from(memory_bytes) * u128::from(*part) / u128::from(*of));
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// Bytes as people read them: one decimal and a binary unit, `5.8 GiB`, rounded to the nearest.
#[must_use]
pub fn text(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    // Tenths in integers, so that no size is ever printed as 1024.0 of the smaller unit.
    let tenths_of = |unit: u128| (u128::from(bytes) * 10 + unit / 2) / unit;
    let (mut tenths, mut name, mut unit) = (tenths_of(1024), UNITS[0], 1024);
    for next in &UNITS[1..] {
        if tenths < 10_240 {
            break;
        }
        unit *= 1024;
        (tenths, name) = (tenths_of(unit), *next);
    }
    format!("{}.{} {name}", tenths / 10, tenths % 10)
}
