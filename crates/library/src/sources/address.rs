//! A model at a web address: whether there is one, how long it is, and its other parts.
//!
//! Nothing is asked with `HEAD`, which many servers answer otherwise than `GET`: the first bytes are asked for, and
//! their answer says how long the whole is.

use percent_encoding::percent_decode_str;
use planner::gguf::{self, split};
use reqwest::{
    Response, StatusCode, Url,
    header::{CONTENT_ENCODING, CONTENT_LENGTH, RANGE},
};

use super::{Access, Budget, Error, Found, FoundFile, plain, within_bounds};
use crate::{
    limits::LOOK_BYTES,
    manifest::{Role, Settings},
    outside::shown,
    remote::range::ContentRange,
    source::Address,
    wanted::Wanted,
};

/// The model at `address`, all parts of it.
pub(super) async fn found(
    access: &Access,
    address: &Address,
    budget: &mut Budget,
) -> Result<Found, Error> {
    let mut files = parts(&address.0)?;
    within_bounds(&shown(&address.0), &files)?;
    for file in &mut files {
        for url in &file.wanted.addresses {
            file.wanted.bytes = look(access, url, budget).await?;
        }
    }
    plain::make_distinct(&mut files);
    let first = files.first().map(|file| file.wanted.name.clone()).unwrap_or_default();
    let stem = split::Part::of(&first).map_or(first.as_str(), |part| part.stem);
    let quantization = super::repository::quantization(stem.strip_suffix(".gguf").unwrap_or(stem));
    Ok(Found {
        source: address.to_string(),
        revision: None,
        quantization,
        suggested_name: plain::model_name(stem, None)?,
        files,
        settings: Settings::default(),
    })
}

/// The files of the model that the one at `url` is a part of, of which nothing is known yet.
pub(crate) fn parts(url: &Url) -> Result<Vec<FoundFile>, Error> {
    let (folder, name) = url.path().rsplit_once('/').unwrap_or(("", url.path()));
    let names = split::names(name).map_err(|error| Error::Split { name: shown(url), error })?;
    let file = |name: String| {
        let mut part = url.clone();
        part.set_path(&format!("{folder}/{name}"));
        let readable = percent_decode_str(&name).decode_utf8_lossy().into_owned();
        FoundFile {
            role: Role::Model,
            name: plain::file_name(&readable),
            wanted: Wanted { addresses: vec![part], bytes: None, digest: None, name: readable },
        }
    };
    Ok(names.into_iter().map(file).collect())
}

/// The length of the file at `url`, if its server says that. Whatever is no model is refused.
async fn look(access: &Access, url: &Url, budget: &mut Budget) -> Result<Option<u64>, Error> {
    let range = format!("bytes=0-{}", LOOK_BYTES - 1);
    let mut response = access.outside().get(url, &[(RANGE, &range)]).await?;
    if let Some(encoding) = response.headers().get(CONTENT_ENCODING)
        && encoding != "identity"
    {
        let encoding = encoding.to_str().unwrap_or("something unreadable");
        let why = format!("it comes encoded as {encoding}, unasked");
        return Err(Error::Answer { url: shown(url), why });
    }
    let bytes = length(&response);
    let mut beginning = Vec::new();
    while (beginning.len() as u64) < LOOK_BYTES
        && let Some(chunk) = budget.chunk(access.outside(), url, &mut response).await?
    {
        beginning.extend_from_slice(&chunk);
    }
    match gguf::parse(&beginning, bytes.unwrap_or(u64::MAX)) {
        Ok(_) | Err(gguf::Error::Incomplete { .. }) => Ok(bytes),
        Err(error) => Err(Error::Header { name: shown(url), error }),
    }
}

/// How long the whole file is, by the answer to a question for its beginning.
fn length(response: &Response) -> Option<u64> {
    if response.status() == StatusCode::PARTIAL_CONTENT {
        return ContentRange::of(response)?.file_bytes;
    }
    response.headers().get(CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_model_at_an_address() {
        let names = |text: &str| -> Vec<(String, String)> {
            let files = parts(&Url::parse(text).unwrap()).unwrap();
            let named = |file: &FoundFile| {
                (file.name.clone(), file.wanted.addresses[0].as_str().to_owned())
            };
            files.iter().map(named).collect()
        };
        assert_eq!(
            names("https://h/f/my%20m.gguf?k=v"),
            [("my m.gguf".to_owned(), "https://h/f/my%20m.gguf?k=v".to_owned())]
        );
        let two = names("https://h/m-00002-of-00002.gguf");
        assert_eq!(two[0].1, "https://h/m-00001-of-00002.gguf");
        assert_eq!(two.len(), 2);
        assert_eq!(names("https://h/..%2f..%2fa")[0].0, "a");
        assert_eq!(names("https://h/")[0].0, "model");
    }
}
