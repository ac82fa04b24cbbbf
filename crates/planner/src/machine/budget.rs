//! How much of a machine models may have.

use super::limits::{GPU_RESERVE_BYTES, GPU_RESERVE_PART_MAX, RESERVE_SHARE};
use super::{Gpu, Machine, text};

/// What is kept of RAM for the system and its programs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Reserve {
    /// This share of RAM: 0.25 is a quarter.
    Share(f64),
    /// So many bytes.
    Bytes(u64),
}

impl Default for Reserve {
    fn default() -> Self {
        Self::Share(RESERVE_SHARE)
    }
}

/// What models may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    /// Of RAM, in bytes.
    pub bytes: u64,
    /// Of the GPU.
    pub gpu: GpuBudget,
    /// How the figures came about.
    pub why: String,
}

/// What models may have of a GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GpuBudget {
    /// There is none.
    None,
    /// The GPU reads RAM. What lies on it counts against RAM as well, and may not be more than
    /// this.
    Within {
        /// The limit, in bytes.
        bytes: u64,
    },
    /// The GPU has its own memory, which is counted apart.
    Separate {
        /// What models may have of it, in bytes.
        bytes: u64,
    },
}

/// What models may have of `machine` when `reserve` is kept.
///
/// A reserve that [`super::check`] refuses leaves nothing.
#[must_use]
pub fn budget(machine: &Machine, reserve: &Reserve) -> Budget {
    let reserve_bytes = reserve_bytes(machine.memory_bytes, reserve);
    let bytes = machine.memory_bytes.saturating_sub(reserve_bytes);
    let (gpu, of_gpu) = gpu_budget(&machine.gpu);
    let share = match reserve {
        Reserve::Share(share) => format!(" ({:.0} %)", share * 100.0),
        Reserve::Bytes(_) => String::new(),
    };
    let why = format!(
        "{} of RAM less {}{share} for the system is {}{of_gpu}",
        text(machine.memory_bytes),
        text(reserve_bytes),
        text(bytes)
    );
    Budget { bytes, gpu, why }
}

fn gpu_budget(gpu: &Gpu) -> (GpuBudget, String) {
    match gpu {
        Gpu::None => (GpuBudget::None, String::new()),
        Gpu::Shared { working_set_bytes } => (
            GpuBudget::Within { bytes: *working_set_bytes },
            format!("; the GPU takes at most {} of RAM", text(*working_set_bytes)),
        ),
        Gpu::Discrete { name, memory_bytes, .. } => {
            let kept = GPU_RESERVE_BYTES.min(memory_bytes / GPU_RESERVE_PART_MAX);
            let bytes = memory_bytes - kept;
            let why = format!(
                "; {name} has {} less {} for the desktop and driver, {}",
                text(*memory_bytes),
                text(kept),
                text(bytes)
            );
            (GpuBudget::Separate { bytes }, why)
        }
    }
}

fn reserve_bytes(memory_bytes: u64, reserve: &Reserve) -> u64 {
    match reserve {
        Reserve::Bytes(bytes) => *bytes,
        Reserve::Share(share) if share.is_finite() && *share >= 0.0 => {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "not negative; `as` saturates, and RAM has fewer than 2^53 bytes"
            )]
            let bytes = (memory_bytes as f64 * share).ceil() as u64;
            bytes
        }
        Reserve::Share(_) => memory_bytes,
    }
}
