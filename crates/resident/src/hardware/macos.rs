//! macOS: the chip's brand, the system's version and the limit that a person may have set for the
//! GPU's memory from `sysctl`, and the GPU's cores from `ioreg`.
//!
//! The limit that Metal reports itself can only be had through Metal, which this program does not
//! link; `planner::machine` has the values that systems of each version report.

use std::process::Command;

use super::{Hardware, registry_number};

pub(super) fn hardware() -> Hardware {
    let number = |name| sysctl(name)?.parse::<u64>().ok();
    let devices = output("/usr/sbin/ioreg", &["-rc", "AGXAccelerator", "-d1"]);
    Hardware {
        chip: sysctl("machdep.cpu.brand_string"),
        gpu_cores: devices.and_then(|listing| registry_number(&listing, "gpu-core-count")),
        // In MiB; zero is the system's own choice.
        gpu_limit_bytes: number("iogpu.wired_limit_mb").map(|mib| mib.saturating_mul(1 << 20)),
        macos_version: sysctl("kern.osproductversion"),
    }
}

fn sysctl(name: &str) -> Option<String> {
    output("/usr/sbin/sysctl", &["-n", name])
}

fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}
