//! What this computer is, as far as a plan needs to know: its chip, and what bounds its GPU.
//!
//! Each system has a file with the same function. Not here: how much memory there is (`config`),
//! and what follows from a chip (`planner::machine`).

#[cfg_attr(target_os = "macos", path = "hardware/macos.rs")]
#[cfg_attr(target_os = "linux", path = "hardware/linux.rs")]
#[cfg_attr(not(any(target_os = "macos", target_os = "linux")), path = "hardware/other.rs")]
mod system;

use planner::machine::{self, Machine, Macos};

/// What a system says about itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Hardware {
    /// The processor, as its maker names it.
    pub(crate) chip: Option<String>,
    /// Cores of the GPU that shares the processor's memory.
    pub(crate) gpu_cores: Option<u32>,
    /// What somebody set as the most that GPU may take of memory, in bytes.
    pub(crate) gpu_limit_bytes: Option<u64>,
    /// The version of macOS, which decides how much that GPU takes when nobody has set anything.
    pub(crate) macos_version: Option<String>,
}

/// This computer with so much memory.
pub(crate) fn this(memory_bytes: u64) -> Machine {
    of(&system::hardware(), memory_bytes)
}

/// The machine with such hardware. The speed of a processor's memory is nothing a system says, so
/// that an unknown one is taken for a usual one.
fn of(hardware: &Hardware, memory_bytes: u64) -> Machine {
    let chip = hardware.chip.as_deref().unwrap_or("unknown processor");
    let apple = machine::apple(chip, hardware.gpu_cores, memory_bytes)
        // A number of cores that is in no table still is that chip.
        .or_else(|| machine::apple(chip, None, memory_bytes));
    match apple {
        Some(apple) => with_limit(apple, hardware),
        None => machine::processor(chip, memory_bytes),
    }
}

/// `apple` with the limit of its GPU that holds here: what somebody set, else what this version of
/// the system gives.
fn with_limit(apple: Machine, hardware: &Hardware) -> Machine {
    let set = hardware.gpu_limit_bytes.filter(|bytes| *bytes > 0);
    let set = set.map(|bytes| (bytes, "iogpu.wired_limit_mb".to_owned()));
    let memory_bytes = apple.memory_bytes;
    let by_version = || {
        let version = hardware.macos_version.as_deref()?.trim();
        let macos = Macos::of_version(version)?;
        Some((machine::apple_working_set_bytes(memory_bytes, macos), format!("macOS {version}")))
    };
    let Some((bytes, why)) = set.or_else(by_version) else { return apple };
    let source = format!("{}; here as {why} has it", apple.source);
    Machine { source, ..apple.with_working_set(bytes) }
}

/// The number behind `"key" = ` in a listing of the system's registry of devices.
#[cfg(any(target_os = "macos", test))]
fn registry_number(listing: &str, key: &str) -> Option<u32> {
    let (_, rest) = listing.split_once(&format!("\"{key}\" = "))?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use planner::machine::Gpu;

    use super::*;

    const GIB: u64 = 1 << 30;

    fn apple(chip: &str, gpu_cores: Option<u32>, gpu_limit_bytes: Option<u64>) -> Hardware {
        Hardware { chip: Some(chip.to_owned()), gpu_cores, gpu_limit_bytes, ..Hardware::default() }
    }

    #[test]
    fn an_apple_chip_is_known_with_its_cores_and_its_limit() {
        let found = of(&apple("Apple M1 Max", Some(24), Some(40 * GIB)), 64 * GIB);
        assert_eq!(found.gpu, Gpu::Shared { working_set_bytes: 40 * GIB });
        assert!((found.bandwidth_bytes_per_s - 400e9).abs() < 1.0, "{found:?}");
        let fewer = found.compute_flops_per_s;
        let more = of(&apple("Apple M1 Max", Some(32), None), 64 * GIB).compute_flops_per_s;
        assert!(more > fewer, "{more} {fewer}");
        // Nobody knows 99 cores, but M4 is M4.
        let odd = of(&apple("Apple M4", Some(99), None), 16 * GIB);
        assert!((odd.bandwidth_bytes_per_s - 120e9).abs() < 1.0, "{odd:?}");
    }

    /// What a person set wins; zero is the system's own choice, which depends on its version.
    #[test]
    fn the_limit_of_an_apple_gpu_is_that_of_its_system() {
        for (set_bytes, version, expected) in [
            (None, None, 12_124),
            (Some(0), Some("14.5"), 10_922),
            (None, Some("15.1"), 10_922),
            (Some(0), Some("26.1"), 12_124),
            (Some(0), Some("?"), 12_124),
            (Some(14_000 << 20), Some("14.5"), 14_000),
            (Some(64 * GIB), Some("26.1"), 16 * 1024),
        ] {
            let hardware = Hardware {
                macos_version: version.map(str::to_owned),
                ..apple("Apple M4", Some(10), set_bytes)
            };
            let found = of(&hardware, 16 * GIB);
            let Gpu::Shared { working_set_bytes } = found.gpu else { panic!("{found:?}") };
            assert_eq!(working_set_bytes >> 20, expected, "{set_bytes:?} {version:?}");
            assert_eq!(machine::check(&found, &machine::Reserve::default()), Ok(()));
        }
    }

    #[test]
    fn another_processor_is_a_usual_one() {
        let found = of(&apple("Intel(R) Xeon(R)", None, None), 32 * GIB);
        assert_eq!((found.name.as_str(), found.memory_bytes), ("Intel(R) Xeon(R)", 32 * GIB));
        assert_eq!(found.gpu, Gpu::None);
        assert!(found.source.contains("unknown memory"), "{}", found.source);
        assert_eq!(of(&Hardware::default(), GIB).name, "unknown processor");
    }

    #[test]
    fn numbers_of_a_registry_listing() {
        let listing = "  | {\n  |   \"gpu-core-count\" = 10\n  |   \"model\" = \"Apple M4\"\n";
        assert_eq!(registry_number(listing, "gpu-core-count"), Some(10));
        assert_eq!(registry_number(listing, "model"), None);
        assert_eq!(registry_number("", "gpu-core-count"), None);
    }

    #[test]
    fn this_computer_is_something() {
        let this = this(16 * GIB);
        assert_eq!(this.memory_bytes, 16 * GIB);
        assert!(!this.name.is_empty());
        assert_eq!(machine::check(&this, &machine::Reserve::default()), Ok(()));
    }
}
