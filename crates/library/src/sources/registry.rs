//! Ollama's registry, and any other that speaks as container registries do.
//!
//! Source: the distribution specification of the Open Container Initiative. What asks for a token first gets one in
//! `outside`.

use reqwest::{
    Url,
    header::{ACCEPT, HeaderName},
};

use super::{
    Access, Budget, Error, Found, FoundFile, below,
    oci::{self, Blob, Contents},
    plain,
};
use crate::{
    digest::{Hasher, Sha256},
    limits::{IMAGE_MANIFEST_BYTES_MAX, SETTING_BYTES_MAX},
    manifest::{Role, Settings},
    outside::shown,
    source::Image,
    wanted::Wanted,
};

/// Kinds of manifests that are understood.
const MANIFESTS: &str = "application/vnd.docker.distribution.manifest.v2+json, \
     application/vnd.oci.image.manifest.v1+json";
/// What the registry says that the manifest hashes to.
const DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// A model's manifest, and where its content is.
struct Manifest {
    contents: Contents,
    digest: Sha256,
    /// The repository's address.
    place: Url,
}

/// The model that `image` means, with its texts.
pub(super) async fn found(
    access: &Access,
    image: &Image,
    budget: &mut Budget,
) -> Result<Found, Error> {
    let manifest = manifest(access, image, budget).await?;
    let wrong = |why| Error::Manifest { image: image.to_string(), why };
    let Manifest { contents, digest, place } = &manifest;
    let config = match contents.config.as_ref().filter(|blob| blob.bytes <= SETTING_BYTES_MAX) {
        Some(blob) => text(access, place, blob, budget).await?,
        None => Vec::new(),
    };
    let mut settings = Settings::default();
    let has_model = contents.has_model();
    let quantization = oci::configure(&config, has_model, &mut settings).map_err(wrong)?;
    for (kind, blob) in &contents.texts {
        let body = text(access, place, blob, budget).await?;
        oci::take(*kind, body, &mut settings).map_err(wrong)?;
    }
    Ok(Found {
        source: image.to_string(),
        revision: Some(digest.to_string()),
        quantization,
        // What a registry allows in a name, or is called itself, may not be a name here.
        suggested_name: match plain::name(&image.short()) {
            Ok(name) => name,
            Err(_) => plain::model_name(image.name(), image.own_tag())?,
        },
        files: files(image, contents, place),
        settings,
    })
}

/// Files of the model itself.
pub(super) async fn model_files(
    access: &Access,
    image: &Image,
    budget: &mut Budget,
) -> Result<Vec<FoundFile>, Error> {
    let Manifest { contents, place, .. } = manifest(access, image, budget).await?;
    if !contents.has_model() {
        // The configuration says what it is instead.
        return found(access, image, budget).await.map(|found| found.files);
    }
    let mut files = files(image, &contents, &place);
    files.retain(|file| file.role == Role::Model);
    Ok(files)
}

async fn manifest(access: &Access, image: &Image, budget: &mut Budget) -> Result<Manifest, Error> {
    let server = image.server().unwrap_or(&access.places.ollama);
    let place = below(server, ["v2"].into_iter().chain(image.steps()));
    let url = below(&place, ["manifests", image.tag()]);
    let headers = [(ACCEPT, MANIFESTS)];
    let (body, response) = access.whole(&url, &headers, IMAGE_MANIFEST_BYTES_MAX, budget).await?;
    let digest = hash(&body);
    let said = response.headers().get(DIGEST).and_then(|text| text.to_str().ok());
    if let Some(expected) = said.and_then(|text| text.parse::<Sha256>().ok())
        && expected != digest
    {
        return Err(Error::Digest { url: shown(&url), expected, found: digest });
    }
    let contents =
        oci::read(&body).map_err(|why| Error::Manifest { image: image.to_string(), why })?;
    Ok(Manifest { contents, digest, place })
}

/// A small blob, which is what its digest says.
async fn text(
    access: &Access,
    place: &Url,
    blob: &Blob,
    budget: &mut Budget,
) -> Result<Vec<u8>, Error> {
    let url = address(place, &blob.digest);
    let (body, _) = access.whole(&url, &[], blob.bytes.min(SETTING_BYTES_MAX), budget).await?;
    let found = hash(&body);
    if found != blob.digest {
        return Err(Error::Digest { url: shown(&url), expected: blob.digest, found });
    }
    Ok(body)
}

fn hash(bytes: &[u8]) -> Sha256 {
    let mut hasher = Hasher::new();
    hasher.update(bytes);
    hasher.finish()
}

fn address(place: &Url, digest: &Sha256) -> Url {
    below(place, ["blobs", &digest.to_string()])
}

/// The files, each with a name that people know: its title, or else the model's name and what it is for.
fn files(image: &Image, contents: &Contents, place: &Url) -> Vec<FoundFile> {
    let own = match image.own_tag() {
        None => image.name().to_owned(),
        Some(tag) => format!("{}-{tag}", image.name()),
    };
    let parts = contents.files.iter().filter(|(role, _)| *role == Role::Model).count();
    let mut number = 0;
    let file = |(role, blob): &(Role, Blob)| {
        let given = match role {
            Role::Model if parts > 1 => {
                number += 1;
                // As llama.cpp finds the parts of a model.
                format!("{own}-{number:05}-of-{parts:05}.gguf")
            }
            Role::Model => format!("{own}.gguf"),
            Role::Projector => format!("mmproj-{own}.gguf"),
            Role::Adapter => format!("adapter-{own}.gguf"),
            Role::Draft => format!("draft-{own}.gguf"),
        };
        let title = blob.title.as_deref().filter(|title| title.to_lowercase().ends_with(".gguf"));
        FoundFile {
            role: *role,
            name: plain::file_name(title.unwrap_or(&given)),
            wanted: Wanted {
                addresses: vec![address(place, &blob.digest)],
                bytes: Some(blob.bytes),
                digest: Some(blob.digest),
                name: format!("{} ({given})", image.short()),
            },
        }
    };
    let mut files: Vec<FoundFile> = contents.files.iter().map(file).collect();
    plain::make_distinct(&mut files);
    files
}
