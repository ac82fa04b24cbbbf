//! Pictures of every kind, and files that only look like them.

use image::{ImageFormat, RgbImage};

use super::*;

/// A picture that is another one when it is turned.
fn picture(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| image::Rgb([(x * 7) as u8, (y * 5) as u8, 9]))
}

fn file(picture: &RgbImage, format: ImageFormat) -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    picture.write_to(&mut file, format).unwrap();
    file.into_inner()
}

/// A JPEG that is to be seen turned.
fn turned(picture: &RgbImage, orientation: u8) -> Vec<u8> {
    let mut exif =
        b"\xff\xe1\0\x22Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
    exif.extend([orientation, 0, 0, 0, 0, 0, 0]);
    let mut file = file(picture, ImageFormat::Jpeg);
    file.splice(2..2, exif);
    file
}

#[test]
fn every_kind_of_picture_is_read_as_it_is() {
    let shown = picture(30, 20);
    // Two of them are not exact: one rounds waves, and the other has few colours.
    for (format, bearable) in [
        (ImageFormat::Png, 0),
        (ImageFormat::Bmp, 0),
        (ImageFormat::WebP, 0),
        (ImageFormat::Jpeg, 40),
        (ImageFormat::Gif, 80),
    ] {
        let file = file(&shown, format);
        assert_eq!(size(&file), Ok((30, 20)), "{format:?}");
        let read = read(&file).unwrap();
        assert_eq!((read.width, read.height), (30, 20));
        let apart = read.bytes.iter().zip(shown.as_raw()).map(|(one, other)| one.abs_diff(*other));
        let most = apart.max().unwrap();
        assert!(most <= bearable, "{format:?}: {most} apart");
    }
}

#[test]
fn a_picture_is_turned_as_its_file_says() {
    let shown = picture(30, 20);
    assert_eq!(size(&turned(&shown, 1)), Ok((30, 20)));
    let file = turned(&shown, 6);
    assert_eq!(size(&file), Ok((20, 30)));
    let read = read(&file).unwrap();
    assert_eq!((read.width, read.height), (20, 30));
    // Red grows from the top down now, and green from right to left.
    let pixel = |x: usize, y: usize| &read.bytes[(y * 20 + x) * 3..][..2];
    assert!(pixel(10, 28)[0] > pixel(10, 2)[0] + 90);
    assert!(pixel(1, 10)[1] > pixel(18, 10)[1] + 50);
}

#[test]
fn what_is_cut_broken_or_no_picture_is_refused_with_the_reason() {
    let whole = file(&picture(200, 100), ImageFormat::Png);
    assert_eq!(size(&whole[..whole.len() / 2]), Ok((200, 100)), "its head is there");
    for (file, why) in [
        (&whole[..whole.len() / 2], "broken or cut"),
        (&whole[..20], "broken or cut"),
        (b"\x89PNG\r\n\x1a\n".as_slice(), "broken or cut"),
        (b"GIF89a", "broken or cut"),
        (b"RIFF\0\0\0\0WAVE", "neither PNG"),
        (b"<svg></svg>", "neither PNG"),
        (b"", "neither PNG"),
    ] {
        let refused = read(file).map(|_| ()).unwrap_err();
        assert!(refused.contains(why), "{refused}");
    }
}

/// The head of a PNG says how large it is, and nothing must be made as large.
#[test]
fn a_small_file_of_a_huge_picture_is_refused_by_its_head() {
    let mut bomb = file(&picture(4, 4), ImageFormat::Png);
    for (side, refused) in [(5_000_u32, false), (5_001, true), (100_000, true), (u32::MAX, true)] {
        bomb[16..20].copy_from_slice(&side.to_be_bytes());
        bomb[20..24].copy_from_slice(&5_000_u32.max(side).to_be_bytes());
        let sum = crc(&bomb[12..29]);
        bomb[29..33].copy_from_slice(&sum.to_be_bytes());
        assert_eq!(size(&bomb).is_err(), refused, "{side}");
        assert!(read(&bomb).is_err(), "it has no such pixels");
    }
    assert!(
        size(&bomb).unwrap_err().contains("broken") || size(&bomb).unwrap_err().contains("pixels")
    );
}

/// Some models make a square of the longer side, and some a row of each pixel along it.
#[test]
fn a_picture_like_a_thread_is_refused_by_its_head() {
    for (width, height, refused) in
        [(200, 1, false), (201, 1, true), (1, 201, true), (16_384, 82, false), (16_385, 400, true)]
    {
        let file = file(&RgbImage::new(width, height), ImageFormat::Png);
        assert_eq!(size(&file).is_err(), refused, "{width} x {height}");
        assert_eq!(read(&file).is_err(), refused, "{width} x {height}");
    }
}

/// PNG's checksum of a part.
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            if sum & 1 == 1 { sum >> 1 ^ 0xedb8_8320 } else { sum >> 1 }
        })
    })
}

/// Whatever a file says, it is read or refused, and never larger than there may be.
#[test]
fn files_with_other_bytes_in_them_are_read_or_refused() {
    let shown = picture(40, 30);
    let mut state = 7_u64;
    let mut next = |below: usize| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let mut refused = 0;
    for format in
        [ImageFormat::Png, ImageFormat::Bmp, ImageFormat::WebP, ImageFormat::Gif, ImageFormat::Jpeg]
    {
        let whole = file(&shown, format);
        for _ in 0..400 {
            let mut file = whole.clone();
            for _ in 0..=next(4) {
                // Heads are where the lies count.
                let end = if next(2) == 0 { file.len().min(64) } else { file.len() };
                file[next(end)] = next(256) as u8;
            }
            file.truncate(file.len() - next(file.len() / 4));
            match read(&file) {
                Ok(Pixels { width, height, bytes }) => {
                    assert_eq!(bytes.len() as u64, u64::from(width) * u64::from(height) * 3);
                    assert!(bytes.len() as u64 <= 3 * PICTURE_PIXELS_MAX);
                    assert_eq!(size(&file), Ok((width, height)), "{format:?}: a layout of its own");
                }
                Err(why) => refused += usize::from(!why.is_empty()),
            }
        }
    }
    assert!(refused > 500, "{refused} of 2000 are refused");
}
