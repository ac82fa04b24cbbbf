//! The table of known machines.
//!
//! Bandwidth is what the makers print. Computing speed is what llama.cpp reaches, because makers'
//! peaks are reached by nobody and by each to another degree. Each row names its sources.

use super::Unit;

/// A chip of Apple's in one of its variants.
pub(super) struct Apple {
    pub(super) chip: &'static str,
    pub(super) gpu_cores: u32,
    pub(super) bandwidth_gb_per_s: f64,
    /// The sizes it is or was sold with.
    pub(super) memory_gib: &'static [u64],
}

const fn apple(
    chip: &'static str,
    gpu_cores: u32,
    bandwidth_gb_per_s: f64,
    memory_gib: &'static [u64],
) -> Apple {
    Apple { chip, gpu_cores, bandwidth_gb_per_s, memory_gib }
}

/// Source of bandwidths, GPU cores and memory sizes: Apple's technical specifications
/// (support.apple.com/specs) and newsroom articles of each chip. M3 and M3 Pro are 102.4 and
/// 153.6 GB/s by their memory (LPDDR5-6400 on 128 and 192 bits), which Apple prints as 100 and 150;
/// the M3 Ultra is two M3 Max, which Apple prints as "over 800". Within a chip, the variant with
/// more cores comes last.
pub(super) const APPLE: [Apple; 36] = [
    apple("m1", 7, 68.25, &[8, 16]),
    apple("m1", 8, 68.25, &[8, 16]),
    apple("m1-pro", 14, 200.0, &[16, 32]),
    apple("m1-pro", 16, 200.0, &[16, 32]),
    apple("m1-max", 24, 400.0, &[32, 64]),
    apple("m1-max", 32, 400.0, &[32, 64]),
    apple("m1-ultra", 48, 800.0, &[64, 128]),
    apple("m1-ultra", 64, 800.0, &[64, 128]),
    apple("m2", 8, 100.0, &[8, 16, 24]),
    apple("m2", 10, 100.0, &[8, 16, 24]),
    apple("m2-pro", 16, 200.0, &[16, 32]),
    apple("m2-pro", 19, 200.0, &[16, 32]),
    apple("m2-max", 30, 400.0, &[32, 64]),
    apple("m2-max", 38, 400.0, &[32, 64, 96]),
    apple("m2-ultra", 60, 800.0, &[64, 128, 192]),
    apple("m2-ultra", 76, 800.0, &[64, 128, 192]),
    apple("m3", 8, 102.4, &[8, 16, 24]),
    apple("m3", 10, 102.4, &[8, 16, 24]),
    apple("m3-pro", 14, 153.6, &[18, 36]),
    apple("m3-pro", 18, 153.6, &[18, 36]),
    apple("m3-max", 30, 300.0, &[36, 96]),
    apple("m3-max", 40, 400.0, &[48, 64, 128]),
    apple("m3-ultra", 60, 819.2, &[96, 256]),
    apple("m3-ultra", 80, 819.2, &[96, 256, 512]),
    apple("m4", 8, 120.0, &[16, 24]),
    apple("m4", 10, 120.0, &[16, 24, 32]),
    apple("m4-pro", 16, 273.0, &[24, 48, 64]),
    apple("m4-pro", 20, 273.0, &[24, 48, 64]),
    apple("m4-max", 32, 410.0, &[36]),
    apple("m4-max", 40, 546.0, &[48, 64, 128]),
    apple("m5", 8, 153.0, &[16, 24]),
    apple("m5", 10, 153.0, &[16, 24, 32]),
    apple("m5-pro", 16, 307.0, &[24, 48, 64]),
    apple("m5-pro", 20, 307.0, &[24, 48, 64]),
    apple("m5-max", 32, 460.0, &[36]),
    apple("m5-max", 40, 614.0, &[48, 64, 128]),
];

/// Operations a second of one GPU core in llama.cpp's half-precision matrix products: the median
/// over the variants of each generation of prompt speed times operations a token. Source: prompt
/// speeds (pp512, 7B F16; M5 from its Q4_0 rows) in ggml-org/llama.cpp discussion 4167.
pub(super) fn apple_flops_per_core(chip: &str) -> f64 {
    match chip.split('-').next() {
        Some("m1") => 245e9,
        Some("m2") => 262e9,
        Some("m3") => 257e9,
        Some("m4") => 302e9,
        _ => 1149e9,
    }
}

/// A computer with a processor that models run on, or with a GPU that shares its RAM.
pub(super) struct Computer {
    pub(super) name: &'static str,
    pub(super) memory_gib: &'static [u64],
    pub(super) bandwidth_gb_per_s: f64,
    pub(super) compute_flops_per_s: f64,
    pub(super) unit: Unit,
    pub(super) source: &'static str,
}

const SIZES: &[u64] = &[8, 16, 32, 48, 64, 96, 128];

const fn computer(name: &'static str, bandwidth_gb_per_s: f64, flops: f64) -> Computer {
    Computer {
        name,
        memory_gib: SIZES,
        bandwidth_gb_per_s,
        compute_flops_per_s: flops,
        unit: Unit::Processor,
        source: "two channels of 8 bytes at the rate in the name (JEDEC); computing speed: half of \
                 what 16 cores of a Ryzen 7950X reach in llama.cpp (141 tokens/s of prompt, \
                 Llama-3.1-8B Q8_0; ikawrakow/ik_llama.cpp pull request 54)",
    }
}

/// Common personal computers without a GPU worth using.
pub(super) const COMPUTERS: [Computer; 7] = [
    computer("pc-ddr4-2666", 42.7, 0.7e12),
    computer("pc-ddr4-3200", 51.2, 0.8e12),
    computer("pc-ddr5-4800", 76.8, 1.0e12),
    computer("pc-ddr5-5600", 89.6, 1.0e12),
    computer("pc-ddr5-6000", 96.0, 1.0e12),
    computer("laptop-lpddr5x-7500", 120.0, 0.8e12),
    Computer {
        name: "strix-halo",
        memory_gib: &[32, 64, 96, 128],
        bandwidth_gb_per_s: 256.0,
        compute_flops_per_s: 18.7e12,
        unit: Unit::SharedGpu,
        source: "AMD Ryzen AI Max+ 395 specifications (LPDDR5X-8000 on 256 bits); computing speed: \
                 1,327 tokens/s of prompt, Llama-2-7B Q4_K_M (AMD-Ecosystem/llama.cpp pull \
                 request 59)",
    },
];

/// A GPU with memory of its own.
pub(super) struct Card {
    pub(super) name: &'static str,
    /// What its driver calls it.
    pub(super) title: &'static str,
    pub(super) memory_gib: u64,
    pub(super) bandwidth_gb_per_s: f64,
    pub(super) compute_flops_per_s: f64,
    pub(super) unit: Unit,
    pub(super) source: &'static str,
}

const fn card(
    name: &'static str,
    title: &'static str,
    memory_gib: u64,
    (bandwidth_gb_per_s, compute_flops_per_s): (f64, f64),
    source: &'static str,
) -> Card {
    Card {
        name,
        title,
        memory_gib,
        bandwidth_gb_per_s,
        compute_flops_per_s,
        unit: Unit::GraphicsCard,
        source,
    }
}

const GEFORCE_MEASURED: &str = "NVIDIA's GeForce specifications; computing speed: prompt speed of \
    Llama 3 8B F16 or Q4_K_M in XiongjieDai/GPU-Benchmarks-on-LLM-Inference";
const GEFORCE_DERIVED: &str = "NVIDIA's GeForce specifications; computing speed: 0.8 of the tensor \
    cores' half-precision rate in NVIDIA's architecture papers, the share that the RTX 3070, 3080, \
    3090 and 4090 reach in XiongjieDai/GPU-Benchmarks-on-LLM-Inference";
const GEFORCE_LAPTOP: &str = "NVIDIA's GeForce specifications for laptops; computing speed: 0.8 of \
    the tensor cores' half-precision rate at the lowest boost clock there, because makers of laptops \
    choose how much power a card gets";
const RADEON: &str = "AMD's Radeon specifications; computing speed: the share of the \
    half-precision peak that llama.cpp's Vulkan build reaches on an RX 9070 XT (4,472 tokens/s of \
    prompt, Qwen3-8B Q4_K_M; maeddesg/vulkanforge, wiki page Benchmarks)";

/// GPUs with memory of their own, in a computer with [`HOST_GIB`] of RAM.
pub(super) const CARDS: [Card; 23] = [
    card("rtx-3060-12gb", "GeForce RTX 3060", 12, (360.0, 20.5e12), GEFORCE_DERIVED),
    card("rtx-3070-8gb", "GeForce RTX 3070", 8, (448.0, 36.9e12), GEFORCE_MEASURED),
    card("rtx-3080-10gb", "GeForce RTX 3080", 10, (760.0, 57.2e12), GEFORCE_MEASURED),
    card("rtx-3090-24gb", "GeForce RTX 3090", 24, (936.0, 62.7e12), GEFORCE_MEASURED),
    card("rtx-4060-8gb", "GeForce RTX 4060", 8, (272.0, 24.2e12), GEFORCE_DERIVED),
    card("rtx-4060-ti-16gb", "GeForce RTX 4060 Ti", 16, (288.0, 35.3e12), GEFORCE_DERIVED),
    card("rtx-4070-12gb", "GeForce RTX 4070", 12, (504.0, 46.6e12), GEFORCE_DERIVED),
    card("rtx-4070-ti-12gb", "GeForce RTX 4070 Ti", 12, (504.0, 60.4e12), GEFORCE_MEASURED),
    card("rtx-4080-16gb", "GeForce RTX 4080", 16, (717.0, 102e12), GEFORCE_MEASURED),
    card("rtx-4090-24gb", "GeForce RTX 4090", 24, (1008.0, 132e12), GEFORCE_MEASURED),
    card("rtx-5070-ti-16gb", "GeForce RTX 5070 Ti", 16, (896.0, 70.3e12), GEFORCE_DERIVED),
    card("rtx-5080-16gb", "GeForce RTX 5080", 16, (960.0, 90.0e12), GEFORCE_DERIVED),
    card("rtx-5090-32gb", "GeForce RTX 5090", 32, (1792.0, 167e12), GEFORCE_DERIVED),
    card("rtx-3060-laptop-6gb", "GeForce RTX 3060 Laptop GPU", 6, (336.0, 15.8e12), GEFORCE_LAPTOP),
    card("rtx-3070-laptop-8gb", "GeForce RTX 3070 Laptop GPU", 8, (448.0, 21.1e12), GEFORCE_LAPTOP),
    card("rtx-3080-laptop-8gb", "GeForce RTX 3080 Laptop GPU", 8, (448.0, 24.5e12), GEFORCE_LAPTOP),
    card("rtx-4060-laptop-8gb", "GeForce RTX 4060 Laptop GPU", 8, (256.0, 14.5e12), GEFORCE_LAPTOP),
    card("rtx-4070-laptop-8gb", "GeForce RTX 4070 Laptop GPU", 8, (256.0, 18.1e12), GEFORCE_LAPTOP),
    card(
        "rtx-4080-laptop-12gb",
        "GeForce RTX 4080 Laptop GPU",
        12,
        (432.0, 32.1e12),
        GEFORCE_LAPTOP,
    ),
    card(
        "rtx-4090-laptop-16gb",
        "GeForce RTX 4090 Laptop GPU",
        16,
        (576.0, 45.3e12),
        GEFORCE_LAPTOP,
    ),
    card("rx-7900-xtx-24gb", "Radeon RX 7900 XTX", 24, (960.0, 43.0e12), RADEON),
    card("rx-9070-xt-16gb", "Radeon RX 9070 XT", 16, (644.6, 67.5e12), RADEON),
    Card {
        name: "h100-80gb",
        title: "H100 PCIe",
        memory_gib: 80,
        bandwidth_gb_per_s: 2000.0,
        compute_flops_per_s: 146e12,
        unit: Unit::Accelerator,
        source: "NVIDIA's H100 data sheet (PCIe); computing speed: prompt speed of Llama 3 8B F16 \
                 in XiongjieDai/GPU-Benchmarks-on-LLM-Inference",
    },
];

/// RAM of the computer around a known card: what such machines usually have. A person whose machine
/// has another amount says so.
pub(super) const HOST_GIB: u64 = 32;
/// Its RAM: two channels of DDR5-5600.
pub(super) const HOST: &str = "pc-ddr5-5600";
