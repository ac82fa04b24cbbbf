//! Finds machines of the table by name, and parts of it by what systems call them.

use super::nearest::nearest;
use super::rows::{
    APPLE, Apple, CARDS, COMPUTERS, Card, Computer, HOST, HOST_GIB, apple_flops_per_core,
};
use super::{Error, GIB, Gpu, Machine, Macos, Unit, apple_working_set_bytes};

/// The machine called `name`, for example `m4-16gb`, `m4-max-40c-128gb`, `pc-ddr5-5600-32gb` or
/// `rtx-4090-24gb`. Case does not matter, and blanks and underlines count as hyphens. Without a
/// number of GPU cores, the variant with the most that is sold with so much memory is meant.
///
/// Apple machines get the working-set limit of current macOS; see [`Machine::with_working_set`].
///
/// # Errors
/// When there is no such machine; the error names the nearest.
pub fn known(name: &str) -> Result<Machine, Error> {
    let wanted = name.trim().to_ascii_lowercase().replace([' ', '_'], "-");
    let found = rows().into_iter().rev().find(|(names, _)| names.contains(&wanted));
    let Some((_, row)) = found else {
        return Err(Error::Unknown { nearest: nearest(&wanted, &names()), name: wanted });
    };
    Ok(Machine { name: wanted, ..row.machine() })
}

/// Every name that [`known`] finds, the usual one of each machine only.
#[must_use]
pub fn names() -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for (row_names, _) in rows() {
        for name in row_names {
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    names
}

/// The Apple machine with this chip, as the system names it (`Apple M1 Max`), with this much RAM.
/// `None` when the chip is not in the table. Without a number of GPU cores, the variant with the
/// most is assumed.
#[must_use]
pub fn apple(brand: &str, gpu_cores: Option<u32>, memory_bytes: u64) -> Option<Machine> {
    let chip = brand.trim().to_ascii_lowercase();
    let chip = chip.strip_prefix("apple").unwrap_or(&chip).trim().replace(' ', "-");
    let mut variants = APPLE.iter().filter(|row| row.chip == chip).rev();
    let row = match gpu_cores {
        Some(cores) => variants.find(|row| row.gpu_cores == cores)?,
        None => variants.next()?,
    };
    Some(apple_machine(row, memory_bytes))
}

/// The GPU whose driver name is that of a known card, for example `NVIDIA GeForce RTX 4090`, with the
/// memory that it reports. A card whose name goes on, as with `Ti`, `SUPER`, `Laptop GPU` or `with
/// Max-Q Design`, is another one.
#[must_use]
pub fn discrete_gpu(driver_name: &str, memory_bytes: u64) -> Option<Gpu> {
    let name = driver_name.to_ascii_lowercase();
    let is_it = |card: &&Card| {
        let rest = name.split_once(&card.title.to_ascii_lowercase()).map(|(_, rest)| rest);
        rest.is_some_and(|rest| {
            // Drivers add sizes and their own names, which begin with a digit or a sign.
            let goes_on = rest.trim_start().starts_with(char::is_alphabetic);
            !goes_on && !rest.starts_with(char::is_alphanumeric)
        })
    };
    CARDS.iter().find(is_it).map(|card| gpu_of(card, memory_bytes))
}

/// A computer that nothing is known about but its RAM: two channels of DDR4-3200, as most have that
/// are not new. Its first `resident bench` will correct it.
#[must_use]
pub fn processor(name: &str, memory_bytes: u64) -> Machine {
    let row = &COMPUTERS[1];
    let machine = computer_machine(row, memory_bytes);
    let source = format!("unknown memory, taken as {}: {}", row.name, row.source);
    Machine { name: name.to_owned(), source, ..machine }
}

/// A row of the table with one amount of memory.
enum Row {
    Apple(&'static Apple, u64),
    Computer(&'static Computer, u64),
    Card(&'static Card),
}

impl Row {
    fn machine(&self) -> Machine {
        match self {
            Self::Apple(row, gib) => apple_machine(row, gib * GIB),
            Self::Computer(row, gib) => computer_machine(row, gib * GIB),
            Self::Card(card) => card_machine(card),
        }
    }
}

/// All rows with their names. Of rows with the same name the last is meant: it has more cores.
fn rows() -> Vec<(Vec<String>, Row)> {
    let apple = APPLE.iter().flat_map(|row| {
        row.memory_gib.iter().map(move |gib| {
            let names = vec![
                format!("{}-{gib}gb", row.chip),
                format!("{}-{}c-{gib}gb", row.chip, row.gpu_cores),
            ];
            (names, Row::Apple(row, *gib))
        })
    });
    let computers = COMPUTERS.iter().flat_map(|row| {
        row.memory_gib
            .iter()
            .map(move |gib| (vec![format!("{}-{gib}gb", row.name)], Row::Computer(row, *gib)))
    });
    let cards = CARDS.iter().map(|card| (vec![card.name.to_owned()], Row::Card(card)));
    apple.chain(computers).chain(cards).collect()
}

fn apple_machine(row: &Apple, memory_bytes: u64) -> Machine {
    let working_set_bytes = apple_working_set_bytes(memory_bytes, Macos::Current);
    Machine {
        name: format!("{}-{}c", row.chip, row.gpu_cores),
        memory_bytes,
        gpu: Gpu::Shared { working_set_bytes },
        unit: apple_unit(row.chip),
        bandwidth_bytes_per_s: row.bandwidth_gb_per_s * 1e9,
        compute_flops_per_s: apple_flops_per_core(row.chip) * f64::from(row.gpu_cores),
        calibration: None,
        source: "bandwidth: Apple's technical specifications; computing speed: prompt speeds in \
                 ggml-org/llama.cpp discussion 4167; working set: logs of current macOS"
            .to_owned(),
    }
}

fn apple_unit(chip: &str) -> Unit {
    let ultra = chip.ends_with("-ultra");
    match (chip.split('-').next(), ultra) {
        (Some("m1"), false) => Unit::AppleM1,
        (Some("m1"), true) => Unit::AppleM1Ultra,
        (Some("m5"), false) => Unit::AppleM5,
        (_, true) => Unit::AppleUltra,
        (_, false) => Unit::Apple,
    }
}

fn computer_machine(row: &Computer, memory_bytes: u64) -> Machine {
    let gpu = if row.unit == Unit::SharedGpu {
        // Linux lets such a GPU take as much of RAM as it is told to (amdgpu.gttsize).
        Gpu::Shared { working_set_bytes: memory_bytes }
    } else {
        Gpu::None
    };
    Machine {
        name: row.name.to_owned(),
        memory_bytes,
        gpu,
        unit: row.unit,
        bandwidth_bytes_per_s: row.bandwidth_gb_per_s * 1e9,
        compute_flops_per_s: row.compute_flops_per_s,
        calibration: None,
        source: row.source.to_owned(),
    }
}

fn card_machine(card: &Card) -> Machine {
    let host = COMPUTERS.iter().find(|row| row.name == HOST).unwrap_or(&COMPUTERS[0]);
    let machine = computer_machine(host, HOST_GIB * GIB);
    let source = format!("{}; its RAM is taken as {HOST} with {HOST_GIB} GiB", card.source);
    Machine { gpu: gpu_of(card, card.memory_gib * GIB), source, ..machine }
}

fn gpu_of(card: &Card, memory_bytes: u64) -> Gpu {
    Gpu::Discrete {
        name: card.title.to_owned(),
        memory_bytes,
        bandwidth_bytes_per_s: card.bandwidth_gb_per_s * 1e9,
        compute_flops_per_s: card.compute_flops_per_s,
        unit: card.unit,
    }
}
