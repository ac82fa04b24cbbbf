//! Pictures of strangers: their size from the head of a file, and their pixels, within bounds.
//!
//! A picture is turned as its file says that it is to be seen, as telephones write them. Not here: what a
//! model makes of it (`projector`).

use std::io::Cursor;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageReader, Limits};
use worker_protocol::limits::{PICTURE_PIXELS_MAX, PICTURE_RATIO_MAX, PICTURE_SIDE_PIXELS_MAX};

use crate::limits::PICTURE_DECODER_BYTES_MAX;

/// Width and height of a picture, as it is to be seen.
///
/// # Errors
/// A fragment that says what is wrong with the file.
pub(crate) fn size(file: &[u8]) -> Result<(u32, u32), String> {
    let (decoder, orientation) = open(file)?;
    let (width, height) = decoder.dimensions();
    Ok(if is_on_its_side(orientation) { (height, width) } else { (width, height) })
}

/// Red, green and blue of each pixel, row by row.
pub(crate) struct Pixels {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) bytes: Vec<u8>,
}

/// Reads a picture.
///
/// # Errors
/// A fragment that says what is wrong with the file.
pub(crate) fn read(file: &[u8]) -> Result<Pixels, String> {
    let (decoder, orientation) = open(file)?;
    let mut picture = DynamicImage::from_decoder(decoder).map_err(|error| broken(&error))?;
    picture.apply_orientation(orientation);
    let picture = picture.into_rgb8();
    let (width, height) = picture.dimensions();
    Ok(Pixels { width, height, bytes: picture.into_raw() })
}

/// Reads the head of a file.
fn open(file: &[u8]) -> Result<(impl ImageDecoder, Orientation), String> {
    let mut reader = ImageReader::new(Cursor::new(file));
    reader = reader.with_guessed_format().map_err(|error| broken(&error))?;
    if reader.format().is_none() {
        return Err("it is neither PNG, JPEG, WebP, GIF nor BMP".to_owned());
    }
    let mut limits = Limits::default();
    limits.max_alloc = Some(PICTURE_DECODER_BYTES_MAX);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(|error| broken(&error))?;
    let (width, height) = decoder.dimensions();
    check_sides(width.into(), height.into())?;
    // One that says nonsense about how it is to be seen is seen as it is.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    Ok((decoder, orientation))
}

fn check_sides(width: u64, height: u64) -> Result<(), String> {
    let (short, long) = (width.min(height), width.max(height));
    if width * height > PICTURE_PIXELS_MAX {
        return Err(format!(
            "it has {width} x {height} pixels, and at most {PICTURE_PIXELS_MAX} in all are read; make it \
             smaller"
        ));
    }
    if long > PICTURE_SIDE_PIXELS_MAX || long > short * PICTURE_RATIO_MAX {
        return Err(format!(
            "it has {width} x {height} pixels, and a side may have at most {PICTURE_SIDE_PIXELS_MAX} and \
             be at most {PICTURE_RATIO_MAX} times as long as the other; cut it into parts"
        ));
    }
    Ok(())
}

fn is_on_its_side(orientation: Orientation) -> bool {
    match orientation {
        Orientation::Rotate90
        | Orientation::Rotate270
        | Orientation::Rotate90FlipH
        | Orientation::Rotate270FlipH => true,
        Orientation::NoTransforms
        | Orientation::Rotate180
        | Orientation::FlipHorizontal
        | Orientation::FlipVertical => false,
    }
}

fn broken(error: &dyn std::error::Error) -> String {
    format!("it is broken or cut: {error}; send the whole file, or save it anew")
}

#[cfg(test)]
mod tests;
