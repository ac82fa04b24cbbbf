//! Sounds of every kind, and files that only look like them. `tests/tone.*` are half a second of 440 Hz at
//! 16,000 samples a second, as ffmpeg writes it.

use super::*;

const RATE: u32 = 16_000;
const FLAC: &[u8] = include_bytes!("tests/tone.flac");
const MP3: &[u8] = include_bytes!("tests/tone.mp3");

/// A WAV of these bytes, whose head says that it has `said` of them.
fn wav(kind: u16, channels: u16, rate: u32, bits: u16, data: &[u8], said: u32) -> Vec<u8> {
    let mut file = b"RIFF\0\0\0\0WAVELIST\x03\0\0\0abc\0fmt \x10\0\0\0".to_vec();
    file.extend(kind.to_le_bytes());
    file.extend(channels.to_le_bytes());
    file.extend(rate.to_le_bytes());
    // Bytes a second, which nobody reads.
    file.extend([9; 4]);
    file.extend((channels * bits / 8).to_le_bytes());
    file.extend(bits.to_le_bytes());
    file.extend(b"data");
    file.extend(said.to_le_bytes());
    file.extend(data);
    file
}

fn of_16_bits(rate: u32, data: &[u8]) -> Vec<u8> {
    wav(1, 1, rate, 16, data, u32::try_from(data.len()).unwrap())
}

fn tone(hertz: f64, rate: u32, count: usize) -> Vec<f32> {
    let at = |at: usize| (at as f64 * hertz * std::f64::consts::TAU / f64::from(rate)).sin() as f32;
    (0..count).map(|place| at(place) / 8.0).collect()
}

fn bytes_of(samples: &[f32]) -> Vec<u8> {
    samples.iter().flat_map(|one| ((one * 32_768.0) as i16).to_le_bytes()).collect()
}

/// How loud the middle of a sound is, and how often it rises through zero in a second.
fn heard(samples: &[f32]) -> (f32, f64) {
    let middle = &samples[samples.len() / 4..samples.len() * 3 / 4];
    let squares: f32 = middle.iter().map(|one| one * one).sum();
    let rises = middle.windows(2).filter(|pair| pair[0] < 0.0 && pair[1] >= 0.0).count();
    let seconds = middle.len() as f64 / f64::from(RATE);
    ((squares / middle.len() as f32).sqrt(), rises as f64 / seconds)
}

/// The tone of an eighth of full strength.
#[track_caller]
fn check_tone(file: &[u8], count: std::ops::RangeInclusive<usize>) {
    let samples = read(file, RATE).unwrap();
    let (loud, hertz) = heard(&samples);
    assert!((0.08..0.096).contains(&loud), "{loud}");
    assert!((430.0..450.0).contains(&hertz), "{hertz}");
    assert!(count.contains(&samples.len()), "{} samples", samples.len());
}

#[test]
fn every_kind_of_sound_is_heard_as_it_is() {
    let tone = tone(440.0, RATE, 8000);
    check_tone(&of_16_bits(RATE, &bytes_of(&tone)), 8000..=8000);
    let of = |write: &dyn Fn(f32) -> Vec<u8>| -> Vec<u8> {
        tone.iter().flat_map(|one| write(*one)).collect()
    };
    let all = |kind, channels, bits, data: &[u8]| {
        let file = wav(kind, channels, RATE, bits, data, u32::try_from(data.len()).unwrap());
        check_tone(&file, 8000..=8000);
    };
    all(1, 1, 8, &of(&|one| vec![(one * 128.0 + 128.0) as u8]));
    all(1, 1, 24, &of(&|one| ((one * 8_388_608.0) as i32).to_le_bytes()[..3].to_vec()));
    all(1, 1, 32, &of(&|one| ((one * 2_147_483_648.0) as i32).to_le_bytes().to_vec()));
    all(3, 1, 32, &of(&|one| one.to_le_bytes().to_vec()));
    // Of two sides the mean is heard: here one is silent and the other twice as loud.
    all(3, 2, 32, &of(&|one| [[0; 4], (one * 2.0).to_le_bytes()].concat()));
    check_tone(FLAC, 8000..=8000);
    check_tone(MP3, 8000..=8000);
}

#[test]
fn a_sound_is_brought_to_the_models_rate_without_what_it_cannot_hold() {
    for rate in [8_000_u32, 22_050, 44_100, 48_000, 192_000] {
        let second = rate as usize;
        let file = of_16_bits(rate, &bytes_of(&tone(440.0, rate, second)));
        check_tone(&file, 16_000..=16_000);
        if rate > 30_000 {
            // It would come back as 4,000 Hz.
            let high = of_16_bits(rate, &bytes_of(&tone(12_000.0, rate, second)));
            let (loud, _) = heard(&read(&high, RATE).unwrap());
            assert!(loud < 0.001, "{rate}: {loud}");
        }
    }
}

/// Both are written by programs that do not know yet how much comes.
#[test]
fn what_says_more_than_it_has_is_as_long_as_it_is() {
    let data = bytes_of(&tone(440.0, RATE, 8000));
    check_tone(&wav(1, 1, RATE, 16, &data, u32::MAX), 8000..=8000);
    check_tone(&wav(1, 1, RATE, 16, &data[..data.len() - 1], u32::MAX - 1), 7999..=7999);
    // Frames of 36 ms each, of which the head now says that there are 200,000.
    let mut long = MP3.to_vec();
    let at = long.windows(4).position(|four| four == b"Info").unwrap();
    long[at + 8..at + 12].copy_from_slice(&200_000_u32.to_be_bytes());
    check_tone(&long, 8000..=9500);
    check_tone(&long[..long.len() - 300], 2000..=6000);
}

/// Encoders end the process for a part of fewer samples than their window.
#[test]
fn no_part_of_a_sound_is_shorter_than_a_tenth_of_a_second() {
    for (count, heard) in [
        (1, 1_600),
        (1_599, 1_600),
        (1_601, 1_601),
        (480_000, 480_000),
        (480_001, 481_600),
        (482_000, 482_000),
    ] {
        let samples = read(&of_16_bits(RATE, &vec![1; count * 2]), RATE).unwrap();
        assert_eq!(samples.len(), heard);
    }
}

/// A frame of silence, and in it the head of a sound that has as many as `frames` of them.
fn one_frame(frames: u32) -> Vec<u8> {
    let mut file = vec![0xff, 0xfb, 0x90, 0x00];
    file.resize(36, 0);
    file.extend(b"Xing\0\0\0\x01");
    file.extend(frames.to_be_bytes());
    file.resize(417, 0);
    file
}

fn flac_head(rate: u64, samples: u64) -> Vec<u8> {
    let mut file = b"fLaC\x80\0\0\x22\x10\0\x10\0".to_vec();
    file.extend([0; 6]);
    file.extend((rate << 44 | 15 << 36 | samples).to_be_bytes());
    file.extend([0; 16]);
    file
}

#[test]
fn a_small_file_that_says_it_lasts_for_years_is_refused_or_as_short_as_it_is() {
    let adpcm = [&b"fact\x04\0\0\0\xff\xff\xff\xff"[..], &[0; 64]].concat();
    let free = [&[0xff, 0xfb, 0x00, 0x00][..], &[0; 400]].concat().repeat(3);
    for (file, why) in [
        (one_frame(0x0038_0000), "no sound in it"),
        (wav(2, 1, RATE, 16, &adpcm, 76), "a WAV of kind 2"),
        ([&b"ID3\x04\0\0\0\0\0\0"[..], &flac_head(1, (1 << 36) - 1)].concat(), "no sound in it"),
        (
            [&b"ID3\x04\0\0\0\0\0\0"[..], &flac_head(1, 9), &[0xff, 0xfb, 0x90, 0]].concat(),
            "no sound in it",
        ),
        (flac_head(RATE.into(), 1 << 35), "no sound in it"),
        (flac_head(1, 1 << 35), "1 samples a second"),
        (of_16_bits(1, &[0; 4000]), "1 samples a second"),
        (of_16_bits(0, &[0; 4000]), "0 samples a second"),
        (of_16_bits(RATE, &vec![0; 2 * 16_000 * 601]), "longer than 600 s"),
        (of_16_bits(RATE, &[]), "no sound in it"),
        (wav(1, 0, RATE, 16, &[0; 400], 400), "broken or cut"),
        (wav(1, 9, RATE, 16, &[0; 1800], 1800), "9 channels"),
        (wav(1, 1, RATE, 64, &[0; 400], 400), "a width that is not read"),
        (of_16_bits(RATE, &[0; 400])[..40].to_vec(), "broken or cut"),
        (FLAC[..FLAC.len() / 2].to_vec(), "broken or cut"),
        (b"RIFF\0\0\0\0WEBPVP8 ".to_vec(), "neither WAV"),
        (b"OggS".to_vec(), "neither WAV"),
        (b"ID3".to_vec(), "no sound in it"),
        (Vec::new(), "neither WAV"),
    ] {
        let refused = read(&file, RATE).map(|samples| samples.len()).unwrap_err();
        assert!(refused.contains(why), "{why}: {refused}");
    }
    let _ = read(&free, RATE).map(|samples| assert!(samples.len() < 10_000, "of three frames"));
}

/// Numbers that are none would become vectors that are none.
#[test]
fn samples_are_numbers_of_no_more_than_full_strength() {
    let data: Vec<u8> = [f32::NAN, f32::INFINITY, 9.0, -9.0, 0.5]
        .repeat(400)
        .iter()
        .flat_map(|one: &f32| one.to_le_bytes())
        .collect();
    let samples = read(&wav(3, 1, RATE, 32, &data, u32::MAX), RATE).unwrap();
    assert_eq!(samples[..5], [0.0, 0.0, 1.0, -1.0, 0.5]);
}

/// Whatever a file says, it is read or refused, and never longer than there may be.
#[test]
fn files_with_other_bytes_in_them_are_read_or_refused() {
    let mut state = 7_u64;
    let mut next = |below: usize| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let wav = of_16_bits(8_000, &bytes_of(&tone(440.0, 8_000, 1000)));
    let (mut refused, mut taken) = (0, 0);
    for whole in [&wav[..], FLAC, MP3, &one_frame(9).repeat(4)] {
        for _ in 0..400 {
            let mut file = whole.to_vec();
            for _ in 0..=next(4) {
                // Heads are where the lies count.
                let end = if next(2) == 0 { file.len().min(64) } else { file.len() };
                file[next(end)] = next(256) as u8;
            }
            file.truncate(file.len() - next(file.len() / 4));
            match read(&file, RATE) {
                Ok(samples) => {
                    taken += 1;
                    assert!(samples.len() as u64 <= (SOUND_SECONDS_MAX + 1) * u64::from(RATE));
                    assert!(samples.len() >= 1_600);
                    assert!(samples.iter().all(|one| one.is_finite() && one.abs() < 2.0));
                }
                Err(why) => refused += usize::from(!why.is_empty()),
            }
        }
    }
    assert!(refused > 300 && taken > 150, "{refused} are refused and {taken} taken of 1600");
}
