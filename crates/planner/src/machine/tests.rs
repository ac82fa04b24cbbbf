//! Known machines, their budgets, and descriptions that are refused.

use super::*;
use crate::speed::Calibration;

const MIB: u64 = 1024 * 1024;

#[track_caller]
fn check_known(name: &str, memory_gib: u64, gb_per_s: f64) -> Machine {
    let machine = known(name).unwrap();
    assert_eq!(machine.memory_bytes, memory_gib * GIB, "{name}");
    assert!((machine.bandwidth_bytes_per_s / 1e9 - gb_per_s).abs() < 0.01, "{name}");
    machine
}

#[test]
fn machines_are_found_by_the_names_people_use() {
    check_known("m4-16gb", 16, 120.0);
    check_known("m1-max-64gb", 64, 400.0);
    check_known("M1 Max 64GB", 64, 400.0);
    check_known("m4-max-40c-128gb", 128, 546.0);
    check_known("m4-max-36gb", 36, 410.0);
    check_known("m3-max-30c-36gb", 36, 300.0);
    check_known("m3-max-128gb", 128, 400.0);
    check_known("strix-halo-128gb", 128, 256.0);
    check_known("pc-ddr5-5600-32gb", 32, 89.6);
    let card = check_known("rtx-3060-12gb", 32, 89.6);
    assert!(matches!(card.gpu, Gpu::Discrete { memory_bytes, .. } if memory_bytes == 12 * GIB));
}

#[test]
fn without_cores_the_variant_with_the_most_is_meant() {
    let most = known("m1-max-64gb").unwrap().compute_flops_per_s;
    let named = known("m1-max-32c-64gb").unwrap().compute_flops_per_s;
    let fewer = known("m1-max-24c-64gb").unwrap().compute_flops_per_s;
    assert!((most - named).abs() < 1.0);
    assert!(fewer < most);
}

#[test]
fn a_name_that_does_not_exist_is_answered_with_the_nearest() {
    for (wrong, near) in [
        ("m4-16", "m4-16gb"),
        ("m1-max-48gb", "m1-max-32gb"),
        ("m1-max-48gb", "m1-max-64gb"),
        ("m1-max", "m1-max-64gb"),
        ("rtx4090", "rtx-4090-24gb"),
    ] {
        let error = known(wrong).unwrap_err().to_string();
        assert!(error.contains(&format!("`{near}`")), "{wrong}: {error}");
        assert!(error.contains(&format!("`{wrong}`")), "{error}");
    }
}

#[test]
fn every_row_is_a_machine_that_can_be_and_has_a_source() {
    let names = names();
    assert!(names.len() > 150, "{}", names.len());
    for name in names {
        let machine = known(&name).unwrap();
        assert_eq!(check(&machine, &Reserve::default()), Ok(()), "{name}");
        assert!(machine.source.len() > 20, "{name}");
    }
}

#[test]
fn systems_names_of_chips_and_cards_are_known() {
    let machine = apple("Apple M1 Max", Some(24), 64 * GIB).unwrap();
    assert_eq!((machine.unit, machine.memory_bytes), (Unit::AppleM1, 64 * GIB));
    assert!(apple("Apple M4 Pro", None, 48 * GIB).is_some());
    assert!(apple("Intel(R) Core(TM) i7", None, 16 * GIB).is_none());
    let card = discrete_gpu("NVIDIA GeForce RTX 4070 Ti", 12 * GIB).unwrap();
    assert!(matches!(&card, Gpu::Discrete { name, .. } if name == "GeForce RTX 4070 Ti"));
    assert!(discrete_gpu("Matrox Millennium", GIB).is_none());
}

/// A name that goes on is another card's: half as fast, or a third faster.
#[test]
fn a_card_is_not_taken_for_another_whose_name_begins_like_its_own() {
    let bandwidth = |name: &str| match discrete_gpu(name, GIB) {
        Some(Gpu::Discrete { bandwidth_bytes_per_s, .. }) => bandwidth_bytes_per_s / 1e9,
        Some(Gpu::None | Gpu::Shared { .. }) | None => 0.0,
    };
    for (name, expected) in [
        ("NVIDIA GeForce RTX 4090", 1008.0),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", 576.0),
        ("GeForce RTX 3060 Laptop GPU", 336.0),
        ("NVIDIA GeForce RTX 4090/PCIe/SSE2", 1008.0),
        ("NVIDIA GeForce RTX 3060 12GB", 360.0),
        ("AMD Radeon RX 7900 XTX (RADV NAVI31)", 960.0),
        ("NVIDIA GeForce RTX 4070 Ti", 504.0),
        ("NVIDIA GeForce RTX 4070 Ti SUPER", 0.0),
        ("NVIDIA GeForce RTX 4070 SUPER", 0.0),
        ("NVIDIA GeForce RTX 3070 Ti Laptop GPU", 0.0),
        ("NVIDIA GeForce RTX 5090 Laptop GPU", 0.0),
        ("GeForce RTX 3080 Mobile / Max-Q 8GB/16GB", 0.0),
        ("NVIDIA GeForce RTX 3080 with Max-Q Design", 0.0),
        ("NVIDIA GeForce RTX 3060M", 0.0),
        ("NVIDIA GeForce RTX 30600", 0.0),
    ] {
        let found = bandwidth(name);
        assert!((found - expected).abs() < 0.1, "{name}: {found}");
    }
}

/// Sizes that users' logs show, in MiB.
#[test]
fn working_sets_are_those_that_metal_reports() {
    for (memory_gib, old, current) in
        [(16, 10_922, 12_124), (32, 21_845, 25_559), (64, 49_152, 53_084)]
    {
        let of = |macos| apple_working_set_bytes(memory_gib * GIB, macos) / MIB;
        assert_eq!((of(Macos::Old), of(Macos::Current)), (old, current), "{memory_gib} GiB");
    }
    for (memory_gib, old) in [(36, 24_576), (48, 36_864), (96, 73_728)] {
        let bytes = apple_working_set_bytes(memory_gib * GIB, Macos::Old);
        assert_eq!(bytes / MIB, old, "{memory_gib} GiB");
    }
    // 14,302.25 MB with 18 GB, 30,150.67 MB with 36 GB.
    assert_eq!(apple_working_set_bytes(18 * GIB, Macos::Current) / 1_000_000, 14_302);
    assert_eq!(apple_working_set_bytes(36 * GIB, Macos::Current) / 1_000_000, 30_150);
}

#[test]
fn versions_of_macos_follow_their_rule() {
    for (version, expected) in [
        ("13.6.1", Some(Macos::Old)),
        ("15.7", Some(Macos::Old)),
        ("26", Some(Macos::Current)),
        ("26.0.1\n", Some(Macos::Current)),
        ("", None),
        ("Tahoe", None),
    ] {
        assert_eq!(Macos::of_version(version), expected, "{version}");
    }
}

#[test]
fn sizes_are_rounded_to_the_nearest() {
    for (bytes, expected) in [
        (1023, "1023 B"),
        (1535 * MIB / 10, "153.5 MiB"),
        (GIB - 1, "1.0 GiB"),
        (GIB * 595 / 100 - 1, "5.9 GiB"),
        (GIB * 595 / 100 + 1, "6.0 GiB"),
    ] {
        assert_eq!(text(bytes), expected);
    }
}

#[track_caller]
fn within_mib(gpu: GpuBudget) -> u64 {
    match gpu {
        GpuBudget::Within { bytes } => bytes / MIB,
        GpuBudget::None | GpuBudget::Separate { .. } => panic!("{gpu:?}"),
    }
}

#[test]
fn the_yardsticks_leave_what_they_should() {
    let small = budget(&known("m4-16gb").unwrap(), &Reserve::default());
    assert_eq!(small.bytes, 12 * GIB);
    assert_eq!(within_mib(small.gpu), 12_124);
    let large = budget(&known("m1-max-64gb").unwrap(), &Reserve::Bytes(16 * GIB));
    assert_eq!(large.bytes, 48 * GIB);
    assert_eq!(within_mib(large.gpu), 53_084);
    assert_eq!(
        small.why,
        "16.0 GiB of RAM less 4.0 GiB (25 %) for the system is 12.0 GiB; the GPU takes at most \
         11.8 GiB of RAM"
    );
}

#[test]
fn a_discrete_gpu_is_a_second_budget() {
    let machine = known("rtx-3060-12gb").unwrap();
    let both = budget(&machine, &Reserve::default());
    assert_eq!((both.bytes, both.gpu), (24 * GIB, GpuBudget::Separate { bytes: 11 * GIB }));
}

#[test]
fn a_live_working_set_replaces_the_table_and_is_cut_to_ram() {
    let within = |bytes| {
        let machine = known("m4-16gb").unwrap().with_working_set(bytes);
        assert_eq!(check(&machine, &Reserve::default()), Ok(()));
        within_mib(budget(&machine, &Reserve::default()).gpu)
    };
    assert_eq!(within(14_000 * MIB), 14_000);
    assert_eq!(within(64 * GIB), 16 * 1024);
    assert_eq!(within(0), 12_124);
}

#[test]
fn other_memory_moves_the_limit_of_a_shared_gpu() {
    let machine = known("m4-16gb").unwrap().with_memory(32 * GIB);
    assert_eq!(within_mib(budget(&machine, &Reserve::default()).gpu), 25_559);
    assert_eq!(check(&machine, &Reserve::default()), Ok(()));
    let strix = known("strix-halo-64gb").unwrap().with_memory(32 * GIB);
    assert_eq!(check(&strix, &Reserve::default()), Ok(()));
}

#[track_caller]
fn check_refused(change: impl FnOnce(&mut Machine), reserve: Reserve, says: &str) {
    let mut machine = known("m4-16gb").unwrap();
    change(&mut machine);
    let error = check(&machine, &reserve).unwrap_err().to_string();
    assert!(error.contains(says), "{error}");
    assert!(error.contains("m4-16gb"), "{error}");
}

fn card(memory_bytes: u64, bandwidth_bytes_per_s: f64) -> Gpu {
    Gpu::Discrete {
        name: "card".to_owned(),
        memory_bytes,
        bandwidth_bytes_per_s,
        compute_flops_per_s: 1e12,
        unit: Unit::GraphicsCard,
    }
}

#[test]
fn descriptions_that_contradict_themselves_are_refused() {
    let quarter = Reserve::default();
    check_refused(|machine| machine.memory_bytes = 0, quarter, "RAM");
    check_refused(|_| (), Reserve::Bytes(16 * GIB), "reserve");
    check_refused(|_| (), Reserve::Bytes(20 * GIB), "20.0 GiB");
    for share in [1.0, 1.5, -0.1, f64::NAN] {
        check_refused(|_| (), Reserve::Share(share), "reserve");
    }
    for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        check_refused(|machine| machine.bandwidth_bytes_per_s = bad, quarter, "memory bandwidth");
        check_refused(|machine| machine.compute_flops_per_s = bad, quarter, "computing speed");
        check_refused(|machine| machine.gpu = card(GIB, bad), quarter, "GPU memory bandwidth");
    }
    check_refused(|machine| machine.gpu = card(0, 1e9), quarter, "GPU memory");
    let set = |working_set_bytes| {
        move |machine: &mut Machine| {
            machine.gpu = Gpu::Shared { working_set_bytes };
        }
    };
    check_refused(set(17 * GIB), quarter, "iogpu.wired_limit_mb");
    check_refused(set(0), quarter, "working set");
    for ratio in [0.0, -1.0, f64::NAN, 1e6] {
        let calibration = Calibration { decode_ratio: ratio, ..Calibration::none("here", "today") };
        check_refused(|machine| machine.calibration = Some(calibration), quarter, "resident bench");
    }
}

#[test]
fn a_refused_reserve_leaves_nothing_rather_than_wrap() {
    let machine = known("m4-16gb").unwrap();
    for reserve in [Reserve::Bytes(u64::MAX), Reserve::Share(2.0), Reserve::Share(f64::NAN)] {
        assert_eq!(budget(&machine, &reserve).bytes, 0, "{reserve:?}");
    }
}
