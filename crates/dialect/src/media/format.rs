//! What a file is by its first bytes, and the sides of a picture by its header.

use worker_protocol::MediaKind;

/// A format that the worker reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Png,
    Jpeg,
    WebP,
    Gif,
    Bmp,
    Wav,
    Mp3,
    Flac,
}

impl Format {
    /// The format of a file.
    ///
    /// # Errors
    /// What it is instead, as a part of a sentence.
    pub(super) fn of(bytes: &[u8]) -> Result<Self, &'static str> {
        let inner = bytes.get(8..12).unwrap_or_default();
        match bytes {
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Ok(Self::Png),
            [0xff, 0xd8, 0xff, ..] => Ok(Self::Jpeg),
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Ok(Self::Gif),
            [b'B', b'M', ..] => Ok(Self::Bmp),
            [b'R', b'I', b'F', b'F', ..] if inner == b"WAVE" => Ok(Self::Wav),
            [b'R', b'I', b'F', b'F', ..] if inner == b"WEBP" => Ok(Self::WebP),
            [b'f', b'L', b'a', b'C', ..] => Ok(Self::Flac),
            [b'I', b'D', b'3', ..] => Ok(Self::Mp3),
            // Eleven bits that are set begin a frame.
            [0xff, second, ..] if second & 0xe0 == 0xe0 => Ok(Self::Mp3),
            [b'O', b'g', b'g', b'S', ..] => Err("Ogg"),
            [b'%', b'P', b'D', b'F', ..] => Err("a PDF"),
            [b'I', b'I', b'*', 0, ..] | [b'M', b'M', 0, b'*', ..] => Err("TIFF"),
            [_, _, _, _, b'f', b't', b'y', b'p', ..] => Err("HEIC, AVIF, MP4 or one of their kin"),
            [0x1a, 0x45, 0xdf, 0xa3, ..] => Err("WebM or Matroska"),
            _ if std::str::from_utf8(bytes).is_ok() => Err("text"),
            _ => Err("in a format that nobody here knows"),
        }
    }

    pub(super) fn kind(self) -> MediaKind {
        match self {
            Self::Png | Self::Jpeg | Self::WebP | Self::Gif | Self::Bmp => MediaKind::Image,
            Self::Wav | Self::Mp3 | Self::Flac => MediaKind::Audio,
        }
    }

    /// As a part of a sentence.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Png => "a PNG",
            Self::Jpeg => "a JPEG",
            Self::WebP => "a WebP",
            Self::Gif => "a GIF",
            Self::Bmp => "a BMP",
            Self::Wav => "a WAV",
            Self::Mp3 => "an MP3",
            Self::Flac => "a FLAC",
        }
    }

    /// As it is called in data URIs.
    fn media_type(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Jpeg => "image/jpeg",
            Self::WebP => "image/webp",
            Self::Gif => "image/gif",
            Self::Bmp => "image/bmp",
            Self::Wav => "audio/wav",
            Self::Mp3 => "audio/mpeg",
            Self::Flac => "audio/flac",
        }
    }
}

/// The type of a file that was let in.
pub(crate) fn media_type(bytes: &[u8]) -> &'static str {
    Format::of(bytes).map_or("application/octet-stream", Format::media_type)
}

/// Width and height of a picture in pixels, neither of them zero, as its header has them.
pub(super) fn sides(format: Format, bytes: &[u8]) -> Option<(u64, u64)> {
    let size = imagesize::blob_size(bytes).ok()?;
    let side = |pixels: usize| u32::try_from(pixels).ok().filter(|pixels| *pixels > 0);
    let (width, height) = (side(size.width)?, side(size.height)?);
    // Below zero, the height says that the first row is the highest one.
    let is_turned = format == Format::Bmp;
    let height = if is_turned { height.cast_signed().unsigned_abs() } else { height };
    Some((width.into(), height.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bitmap_may_begin_with_its_highest_row() {
        let bitmap = |height: i32| {
            let begin = [&b"BM"[..], &[0; 16], &640_u32.to_le_bytes()].concat();
            [&begin[..], &height.to_le_bytes(), &[0; 28]].concat()
        };
        for height in [480, -480] {
            assert_eq!(sides(Format::Bmp, &bitmap(height)), Some((640, 480)));
        }
        assert_eq!(sides(Format::Bmp, &bitmap(0)), None);
        assert_eq!(sides(Format::Bmp, &bitmap(480)[..20]), None);
    }

    #[test]
    fn what_clients_send_besides_is_called_by_its_name() {
        for (bytes, expected) in [
            (&b"\x00\x00\x00\x18ftypheic"[..], "HEIC, AVIF, MP4 or one of their kin"),
            (b"%PDF-1.7", "a PDF"),
            (b"<svg xmlns=\"http://www.w3.org/2000/svg\"/>", "text"),
            (b"data:image/png;base64,iVBORw0KGgo=", "text"),
            (b"", "text"),
            (b"OggS\x00", "Ogg"),
            (b"RIFF\x00\x00\x00\x00AVI \xff", "in a format that nobody here knows"),
        ] {
            assert_eq!(Format::of(bytes), Err(expected), "{bytes:?}");
        }
    }
}
