//! Windows and other systems: the processor's name. Graphics cards are left out, because the worker
//! computes on the processor here unless it was built otherwise; `--machine` plans for a card.

use sysinfo::{CpuRefreshKind, RefreshKind, System};

use super::Hardware;

pub(super) fn hardware() -> Hardware {
    let what = RefreshKind::nothing().with_cpu(CpuRefreshKind::nothing());
    let system = System::new_with_specifics(what).ok();
    let brand = system.as_ref().and_then(|system| system.cpus().first()).map(|cpu| cpu.brand());
    let chip = brand.map(str::trim).filter(|brand| !brand.is_empty()).map(str::to_owned);
    Hardware { chip, ..Hardware::default() }
}
