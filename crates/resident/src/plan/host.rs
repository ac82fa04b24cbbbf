//! For which machine is planned, and how much of it models may have.

use planner::machine::{self, Budget, Machine};
use serde::Serialize;

use super::command::Plan;
use crate::{
    calibration,
    config::{self, Settings},
    exit::{self, Code},
    hardware, size,
};

/// The machine that is planned for.
#[derive(Debug, Clone)]
pub(crate) struct Host {
    pub(crate) machine: Machine,
    pub(crate) budget: Budget,
    /// Whether it is the one this program runs on.
    pub(crate) is_this: bool,
}

/// It in JSON.
#[derive(Debug, Serialize)]
pub(crate) struct Document {
    name: String,
    is_this_machine: bool,
    memory_bytes: u64,
    budget_bytes: u64,
    budget_why: String,
    bandwidth_bytes_per_s: f64,
    is_calibrated: bool,
    source: String,
}

impl Host {
    /// The machine that `arguments` name, else this one.
    ///
    /// # Errors
    /// With [`Code::Usage`] when there is no such machine or it contradicts itself.
    pub(crate) fn choose(arguments: &Plan, settings: &Settings) -> anyhow::Result<Self> {
        let wrong = |error: machine::Error| exit::error(Code::Usage, error.to_string());
        let is_this = arguments.machine.is_none();
        let mut machine = match &arguments.machine {
            Some(name) => machine::known(name).map_err(wrong)?,
            None => this(arguments.memory)?,
        };
        if let Some(bytes) = arguments.memory.filter(|_| !is_this) {
            machine = machine.with_memory(bytes);
        }
        if is_this {
            machine.calibration = calibration::load(&settings.data_dir)?;
        }
        let reserve = arguments.reserve.unwrap_or_default();
        machine::check(&machine, &reserve).map_err(wrong)?;
        let mut budget = machine::budget(&machine, &reserve);
        let is_hubs = is_this && arguments.reserve.is_none() && arguments.memory.is_none();
        if is_hubs && !settings.budget_is_default {
            set(&mut budget, settings.budget_bytes);
        }
        Ok(Self { machine, budget, is_this })
    }

    /// This machine, with what its hub may take.
    ///
    /// # Errors
    /// With [`Code::Usage`] when nobody knows how much memory it has.
    pub(crate) fn here(settings: &Settings) -> anyhow::Result<Self> {
        let mut machine = this(config::memory_bytes())?;
        machine.calibration = calibration::load(&settings.data_dir)?;
        let mut budget = machine::budget(&machine, &machine::Reserve::default());
        if !settings.budget_is_default {
            set(&mut budget, settings.budget_bytes);
        }
        Ok(Self { machine, budget, is_this: true })
    }

    /// One line for people: what it is and what models may have.
    pub(crate) fn line(&self) -> String {
        let whose = if self.is_this { "this machine, " } else { "" };
        format!("{whose}{}: {} for models", self.machine.name, size::format(self.budget.bytes))
    }

    /// What a reader should know of the speeds.
    pub(crate) fn speed_note(&self) -> Option<&'static str> {
        let is_unknown = self.machine.source.starts_with("unknown memory");
        match (&self.machine.calibration, is_unknown) {
            (Some(_), _) => None,
            (None, true) => Some(
                "how fast this machine's memory is is not known; speeds are those of a usual one \
                 until `resident bench` has measured it",
            ),
            (None, false) if self.is_this => {
                Some("`resident bench` measures this machine; speeds are then its own")
            }
            (None, false) => None,
        }
    }

    pub(crate) fn document(&self) -> Document {
        Document {
            name: self.machine.name.clone(),
            is_this_machine: self.is_this,
            memory_bytes: self.machine.memory_bytes,
            budget_bytes: self.budget.bytes,
            budget_why: self.budget.why.clone(),
            bandwidth_bytes_per_s: self.machine.bandwidth_bytes_per_s,
            is_calibrated: self.machine.calibration.is_some(),
            source: self.machine.source.clone(),
        }
    }
}

/// This machine, with so much memory if somebody wants it to have that.
fn this(memory_bytes: Option<u64>) -> anyhow::Result<Machine> {
    let memory_bytes = memory_bytes.or_else(config::memory_bytes).ok_or_else(|| {
        exit::error(
            Code::Usage,
            "cannot tell how much memory this machine has; say it: --memory 16GB",
        )
    })?;
    Ok(hardware::this(memory_bytes))
}

/// The hub was told what models may have.
fn set(budget: &mut Budget, bytes: u64) {
    budget.bytes = bytes;
    budget.why = format!("the hub's budget is set to {}", size::format(bytes));
}

/// A machine of the table with the usual reserve.
#[cfg(test)]
pub(crate) fn known(name: &str) -> Host {
    let machine = machine::known(name).unwrap();
    let budget = machine::budget(&machine, &machine::Reserve::default());
    Host { machine, budget, is_this: false }
}
