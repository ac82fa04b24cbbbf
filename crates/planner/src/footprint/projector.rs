//! What a projector for pictures or sounds takes: its weights, what its encoder computes in, a file while it
//! is decoded, files that wait, and vectors.
//!
//! The encoder's buffers are an upper bound: the graphs of forty kinds of projectors are not rebuilt here.
//! Source: llama.cpp's `tools/mtmd/clip.cpp`, `clip-model.h` and `clip-impl.h`.

use super::{Device, FLOAT_BYTES, Item, PROJECTOR, grouped, product};
use crate::gguf::{Header, Value};

/// Pixels of the largest picture that is let in, which whoever lets pictures in must keep to.
pub const PICTURE_PIXELS_MAX: u64 = 25_000_000;

/// Seconds of the longest sound that is let in, which whoever lets sounds in must keep to.
pub const SOUND_SECONDS_MAX: u64 = 600;

/// Bytes of files that a worker holds for open requests, which it must keep to.
pub const MEDIA_FILES_BYTES: u64 = 256 << 20;

/// Bytes of vectors that a worker keeps of pictures and sounds, which it must keep to.
pub const MEDIA_VECTORS_BYTES: u64 = 64 << 20;

/// Bytes of a pixel while its picture is decoded: three colours and how clear it is, of 16 bits each, once as
/// they come out of the file and once as the picture is turned. Most pictures take six.
const DECODED_PIXEL_BYTES: u64 = 16;

/// Bytes of a second of sound while it is laid out: 24,000 samples three times, as they are read, as mtmd has
/// them and with silence around them; and a hundred lines of 128 numbers three times.
const DECODED_SECOND_BYTES: u64 = FLOAT_BYTES * (3 * 24_000 + 3 * 100 * 128);

/// Most tokens that one picture may become, by kinds whose pictures keep their size, with the patches along a
/// side of each token. Others say it themselves (`image_max_pixels`), or take all pictures at one size.
const TOKENS_MAX: [(&str, u64, u64); 14] = [
    ("gemma4uv", 1120, 3),
    ("gemma4v", 1120, 3),
    ("glm4v", 4096, 2),
    ("hunyuanvl", 16_384, 2),
    ("kimik25", 4096, 2),
    ("kimivl", 1024, 2),
    ("lfm2", 256, 2),
    ("ling3vl", 4096, 2),
    ("minimax_m3", 576, 2),
    ("pixtral", 1024, 2),
    ("qwen2.5vl_merger", 4096, 2),
    ("qwen2vl_merger", 4096, 2),
    ("qwen3vl_merger", 4096, 2),
    ("youtuvl", 62_500, 2),
];

/// The items of a projector whose layers lie on `device`.
pub(super) fn items(header: &Header, device: Device) -> Vec<Item> {
    let tensors = header.tensor_bytes();
    let weights = Item {
        what: PROJECTOR,
        device,
        bytes: tensors,
        // `clip.cpp` reads them into a buffer of the backend.
        why: format!("{} tensors, {} bytes, copied", header.tensors.len(), grouped(tensors)),
    };
    let waiting = Item {
        what: PROJECTOR,
        device: Device::Ram,
        bytes: MEDIA_FILES_BYTES,
        why: format!(
            "files with pictures and sounds of open requests, at most {} bytes",
            grouped(MEDIA_FILES_BYTES)
        ),
    };
    let vectors = Item {
        what: PROJECTOR,
        device: Device::Ram,
        bytes: MEDIA_VECTORS_BYTES,
        why: format!(
            "vectors of pictures and sounds for when they come again, at most {} bytes",
            grouped(MEDIA_VECTORS_BYTES)
        ),
    };
    let encoders = ["vision", "audio"].iter().filter_map(|side| encoder(header, side, device));
    let rest = decoded(header).into_iter().chain([waiting]).chain(made(header)).chain([vectors]);
    std::iter::once(weights).chain(encoders).chain(rest).collect()
}

/// A file while it is decoded, one at a time: the larger kind of those that it takes.
fn decoded(header: &Header) -> Option<Item> {
    let picture = header.projects_pictures().then(|| {
        let bytes = product(&[PICTURE_PIXELS_MAX, DECODED_PIXEL_BYTES]);
        let pixels = grouped(PICTURE_PIXELS_MAX);
        (bytes, format!("a picture while it is decoded, at most: {pixels} pixels × {DECODED_PIXEL_BYTES} bytes"))
    });
    let sound = header.projects_sounds().then(|| {
        let bytes = product(&[SOUND_SECONDS_MAX, DECODED_SECOND_BYTES]);
        let second = grouped(DECODED_SECOND_BYTES);
        (
            bytes,
            format!("a sound while it is decoded, at most: {SOUND_SECONDS_MAX} s × {second} bytes"),
        )
    });
    let (bytes, why) = picture.into_iter().chain(sound).max()?;
    Some(Item { what: PROJECTOR, device: Device::Ram, bytes, why })
}

/// Vectors of one picture while they are computed, as the encoder has them and as they are kept. A part of a
/// sound has fewer.
fn made(header: &Header) -> Option<Item> {
    let width = header.u64("clip.vision.projection_dim").filter(|&width| width > 0)?;
    // Kinds that look deeper into the encoder add a vector as wide for each layer that they look at.
    let width = product(&[width, deeper_layers(header).saturating_add(1)]);
    let rows = rows(header);
    let bytes = product(&[2, FLOAT_BYTES, rows, width]);
    let why = format!(
        "vectors of a picture while they are computed, at most: 2 × {} rows × {} numbers × {FLOAT_BYTES} \
         bytes",
        grouped(rows),
        grouped(width)
    );
    Some(Item { what: PROJECTOR, device: Device::Ram, bytes, why })
}

fn deeper_layers(header: &Header) -> u64 {
    let Some(Value::Array(layers)) = header.metadata.get("clip.vision.is_deepstack_layers") else {
        return 0;
    };
    let layers = layers.kept.iter().flatten();
    layers.filter(|layer| **layer == Value::Bool(true)).count() as u64
}

/// Rows of the largest picture: positions, of which a square becomes one.
fn rows(header: &Header) -> u64 {
    let number = |suffix: &str| header.u64(&format!("clip.vision.{suffix}")).filter(|&n| n > 0);
    let own = number("spatial_merge_size").or(number("projector.scale_factor"));
    let kind = header.projector_kind("vision");
    let known = TOKENS_MAX.iter().find(|(name, ..)| *name == kind).map(|(.., merge)| *merge);
    let merge = own.or(known).unwrap_or(1);
    positions(header, "vision").div_ceil(product(&[merge, merge]))
}

/// What the encoder of one side computes in, by its widest layer with fused attention, which llama.cpp takes
/// where it can.
fn encoder(header: &Header, side: &str, device: Device) -> Option<Item> {
    let number = |suffix: &str| header.u64(&format!("clip.{side}.{suffix}")).filter(|&n| n > 0);
    let width = number("embedding_length")?;
    let positions = positions(header, side);
    let feed_forward = number("feed_forward_length").unwrap_or(width.saturating_mul(4));
    // The stream and its norm, with either both sides of the feed-forward network, or queries,
    // keys and values, twice because the last two are wanted in half precision.
    let widest = product(&[2, feed_forward]).max(product(&[5, width]));
    let numbers = product(&[2, width]).saturating_add(widest);
    let bytes = product(&[FLOAT_BYTES, positions, numbers]);
    // Where attention looks through windows, a matrix says who sees whom.
    let masks_bytes = match number("n_wa_pattern").or(number("window_size")) {
        Some(_) => product(&[FLOAT_BYTES, positions, positions]),
        None => 0,
    };
    let mask = match masks_bytes {
        0 => String::new(),
        bytes => format!(", and {} bytes for who sees whom", grouped(bytes)),
    };
    Some(Item {
        what: PROJECTOR,
        device,
        bytes: bytes.saturating_add(masks_bytes),
        why: format!(
            "{side} encoder, at most: {} positions × {} numbers in its widest layer × {FLOAT_BYTES} \
             bytes{mask}",
            grouped(positions),
            grouped(numbers)
        ),
    })
}

/// Positions of the largest picture, or of half a minute of sound: 3,000 frames, of which a convolution
/// keeps every second.
fn positions(header: &Header, side: &str) -> u64 {
    const SOUND_POSITIONS: u64 = 1500;
    let number = |suffix: &str| header.u64(&format!("clip.{side}.{suffix}")).filter(|&n| n > 0);
    let (image, patch) = match (number("image_size"), number("patch_size")) {
        (Some(image), Some(patch)) => (image, patch),
        _ => return SOUND_POSITIONS,
    };
    let along = image.div_ceil(patch);
    let fixed = product(&[along, along]).saturating_add(1);
    fixed.max(free_positions(header, side, patch).unwrap_or(0))
}

/// The same where pictures keep their size.
fn free_positions(header: &Header, side: &str, patch: u64) -> Option<u64> {
    /// Of kinds that are not known here.
    const TOKENS_USUAL: u64 = 4096;
    let number = |suffix: &str| header.u64(&format!("clip.{side}.{suffix}")).filter(|&n| n > 0);
    if let Some(pixels) = number("image_max_pixels") {
        return Some(pixels.div_ceil(product(&[patch, patch])));
    }
    let own_merge = number("spatial_merge_size").or(number("projector.scale_factor"));
    let kind = header.projector_kind(side);
    let known = TOKENS_MAX.iter().find(|(name, ..)| *name == kind);
    let (tokens, merge) = match known {
        Some((_, tokens, merge)) => (*tokens, own_merge.unwrap_or(*merge)),
        None => (TOKENS_USUAL, number("spatial_merge_size")?),
    };
    Some(product(&[tokens, merge, merge]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gguf::{Array, ElementType};

    fn projector(kind: &str, numbers: &[(&str, u64)]) -> Header {
        let mut metadata = std::collections::BTreeMap::new();
        metadata.insert("general.architecture".to_owned(), Value::String("clip".to_owned()));
        metadata.insert("clip.projector_type".to_owned(), Value::String(kind.to_owned()));
        metadata.insert("clip.has_vision_encoder".to_owned(), Value::Bool(true));
        for (key, number) in numbers {
            metadata.insert(format!("clip.vision.{key}"), Value::Unsigned(*number));
        }
        Header { version: 3, metadata, tensors: Vec::new(), alignment: 32, data_offset: 0 }
    }

    #[test]
    fn positions_are_those_of_the_largest_picture() {
        let size = [("image_size", 896), ("patch_size", 14)];
        let of = |kind: &str, more: &[(&str, u64)]| {
            positions(&projector(kind, &[&size[..], more].concat()), "vision")
        };
        assert_eq!(of("gemma3", &[("projector.scale_factor", 4)]), 64 * 64 + 1);
        assert_eq!(of("qwen2.5vl_merger", &[("spatial_merge_size", 2)]), 4096 * 4);
        assert_eq!(of("pixtral", &[("spatial_merge_size", 1)]), 64 * 64 + 1, "as laid out");
        assert_eq!(of("dots_ocr", &[("image_max_pixels", 11_289_600)]), 57_600);
        assert_eq!(of("new", &[("spatial_merge_size", 3)]), 4096 * 9);
        assert_eq!(of("new", &[]), 64 * 64 + 1);
        assert_eq!(positions(&projector("ultravox", &[]), "audio"), 1500);
    }

    #[test]
    fn a_sound_is_booked_where_it_is_larger_than_a_picture_or_alone() {
        let mut header = projector("ultravox", &[]);
        let decoded = |header: &Header| decoded(header).map(|item| item.bytes);
        assert_eq!(decoded(&header), Some(400_000_000));
        header.metadata.insert("clip.has_audio_encoder".to_owned(), Value::Bool(true));
        assert_eq!(decoded(&header), Some(400_000_000), "one at a time");
        header.metadata.insert("clip.has_vision_encoder".to_owned(), Value::Bool(false));
        assert_eq!(decoded(&header), Some(600 * 441_600));
        header.metadata.remove("clip.has_audio_encoder");
        assert_eq!(decoded(&header), None);
    }

    #[test]
    fn vectors_are_as_many_as_rows_and_wider_where_layers_are_added() {
        let size = [("image_size", 768), ("patch_size", 16), ("projection_dim", 2048)];
        let mut header = projector("qwen3vl_merger", &size);
        let made = |header: &Header| made(header).map(|item| item.bytes);
        assert_eq!(made(&header), Some(2 * 4 * 4096 * 2048));
        let kept = Some([false, true, true, true].map(Value::Bool).to_vec());
        let layers = Array { element: ElementType::Bool, len: 4, place: 0..4, kept };
        let key = "clip.vision.is_deepstack_layers".to_owned();
        header.metadata.insert(key, Value::Array(layers));
        assert_eq!(made(&header), Some(2 * 4 * 4096 * 2048 * 4));
        let fixed = [("image_size", 896), ("patch_size", 14), ("projection_dim", 2560)];
        let four = [("projector.scale_factor", 4)];
        assert_eq!(
            made(&projector("gemma3", &[&fixed[..], &four].concat())),
            Some(2 * 4 * 257 * 2560)
        );
    }

    #[test]
    fn a_hostile_header_gives_a_large_number_and_no_overflow() {
        let sizes = [("image_size", u64::MAX), ("patch_size", 1), ("embedding_length", u64::MAX)];
        let numbers =
            [&sizes[..], &[("spatial_merge_size", u64::MAX), ("window_size", 7)]].concat();
        let items = items(&projector("new", &numbers), Device::Ram);
        assert!(items.iter().any(|item| item.bytes == u64::MAX), "{items:?}");
    }

    #[test]
    fn a_picture_is_booked_while_it_is_decoded_and_windows_have_a_matrix() {
        let numbers = [("image_size", 560), ("patch_size", 14), ("embedding_length", 1280)];
        let bytes = |more: &[(&str, u64)]| {
            let numbers = [&numbers[..], more].concat();
            let items = items(&projector("qwen2.5vl_merger", &numbers), Device::Ram);
            items.iter().map(|item| item.bytes).collect::<Vec<u64>>()
        };
        let encoder = 4 * 4096 * 4 * (2 * 1280 + 2 * 4 * 1280);
        let (waiting, kept) = (256 << 20, 64 << 20);
        assert_eq!(bytes(&[]), [0, encoder, 400_000_000, waiting, kept]);
        let masks = 4 * (4096 * 4) * (4096 * 4);
        let windows = bytes(&[("n_wa_pattern", 8)]);
        assert_eq!(windows, [0, encoder + masks, 400_000_000, waiting, kept]);
        let vectors = 2 * 4 * 4096 * 3584;
        let wide = bytes(&[("projection_dim", 3584)]);
        assert_eq!(wide, [0, encoder, 400_000_000, waiting, vectors, kept]);
    }
}
