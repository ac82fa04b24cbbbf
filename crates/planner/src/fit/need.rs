//! What something needs of each memory, and how that meets a budget.

use crate::footprint::{Device, Footprint};
use crate::machine::{Budget, GpuBudget, text};

/// Bytes by memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Need {
    /// What the processor allocates.
    pub ram_bytes: u64,
    /// What the GPU allocates, wherever its memory is.
    pub gpu_bytes: u64,
}

/// One memory: what is needed of it and what there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) memory: &'static str,
    pub(super) needed_bytes: u64,
    pub(super) budget_bytes: u64,
}

impl Part {
    /// What is left as a share of what there is; negative when it does not fit.
    pub(super) fn left_share(&self) -> f64 {
        if self.needed_bytes == 0 {
            1.0
        } else if self.budget_bytes == 0 {
            f64::NEG_INFINITY
        } else {
            1.0 - self.needed_bytes as f64 / self.budget_bytes as f64
        }
    }

    pub(super) fn fits(&self) -> bool {
        self.needed_bytes <= self.budget_bytes
    }
}

impl Need {
    /// What a model needs.
    #[must_use]
    pub fn of(footprint: &Footprint) -> Self {
        Self {
            ram_bytes: footprint.bytes_on(Device::Ram),
            gpu_bytes: footprint.bytes_on(Device::Gpu),
        }
    }

    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            ram_bytes: self.ram_bytes.saturating_add(other.ram_bytes),
            gpu_bytes: self.gpu_bytes.saturating_add(other.gpu_bytes),
        }
    }

    /// Whether `budget` has all of it.
    #[must_use]
    pub fn fits(self, budget: &Budget) -> bool {
        self.parts(budget).iter().all(Part::fits)
    }

    /// What `budget` leaves for others when this is taken, for choosing a model beside those that
    /// stay.
    #[must_use]
    pub fn taken_from(self, budget: &Budget) -> Budget {
        let everything = self.ram_bytes.saturating_add(self.gpu_bytes);
        let (of_ram, gpu) = match budget.gpu {
            GpuBudget::None => (everything, GpuBudget::None),
            GpuBudget::Within { bytes } => {
                let bytes = bytes.saturating_sub(self.gpu_bytes);
                (everything, GpuBudget::Within { bytes })
            }
            GpuBudget::Separate { bytes } => {
                let bytes = bytes.saturating_sub(self.gpu_bytes);
                (self.ram_bytes, GpuBudget::Separate { bytes })
            }
        };
        let why = format!("{}; {} of it are taken by others", budget.why, text(everything));
        Budget { bytes: budget.bytes.saturating_sub(of_ram), gpu, why }
    }

    /// It beside each memory of `budget`.
    pub(super) fn parts(self, budget: &Budget) -> Vec<Part> {
        let part = |memory, needed_bytes, budget_bytes| Part { memory, needed_bytes, budget_bytes };
        let everything = self.ram_bytes.saturating_add(self.gpu_bytes);
        match budget.gpu {
            // Without a GPU, what was planned for one lies in RAM after all.
            GpuBudget::None => vec![part("RAM", everything, budget.bytes)],
            GpuBudget::Within { bytes } => vec![
                part("RAM", everything, budget.bytes),
                part("RAM that the GPU may use", self.gpu_bytes, bytes),
            ],
            GpuBudget::Separate { bytes } => vec![
                part("GPU memory", self.gpu_bytes, bytes),
                part("RAM", self.ram_bytes, budget.bytes),
            ],
        }
    }
}
