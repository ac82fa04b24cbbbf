//! Reads the header of a model that lies elsewhere, without downloading the model.
//!
//! Everything a server says is doubted: lengths must agree, redirects and waits are bounded, and one
//! question downloads no more than [`limits::DOWNLOAD_BYTES_MAX`]. Not here: what there is where (`sources`).

pub(crate) mod range;

use planner::gguf::{Header, split};

use crate::{
    limits, outside,
    sources::{self, Access, Budget, FoundFile, Listing},
};
pub use crate::{
    source::{Address, Repository, Source},
    sources::{Error, File, Kind, Model, Options},
};

/// A model's header that was read from elsewhere.
#[derive(Debug, Clone)]
pub struct Remote {
    /// What the model is called where it lies.
    pub name: String,
    /// The header of the whole model, all parts joined.
    pub header: Header,
    /// Length of all its files.
    pub file_bytes: u64,
}

/// Reads headers, and counts what that costs.
pub struct Reader {
    access: Access,
    budget: Budget,
}

impl Reader {
    /// A reader that has downloaded nothing yet.
    #[must_use]
    pub fn new(access: &Access) -> Self {
        Self::within(access, limits::DOWNLOAD_BYTES_MAX)
    }

    /// A reader that downloads no more than `download_bytes_max`.
    #[must_use]
    pub fn within(access: &Access, download_bytes_max: u64) -> Self {
        Self { access: access.clone(), budget: Budget::new(download_bytes_max) }
    }

    /// What was downloaded so far, in bytes of content.
    #[must_use]
    pub fn downloaded_bytes(&self) -> u64 {
        self.budget.downloaded_bytes()
    }

    /// Reads the header of the model that `source` means.
    ///
    /// # Errors
    /// [`Error`], which names the address and the way out.
    pub async fn read(&mut self, source: &Source) -> Result<Remote, Error> {
        self.in_time(async |reader| match source {
            Source::Address(address) => {
                let files = sources::address::parts(&address.0)?;
                reader.read_parts(files).await
            }
            Source::Registry(image) => {
                let access = reader.access.clone();
                let files = access.model_of_registry(image, &mut reader.budget).await?;
                reader.read_parts(files).await
            }
            Source::Repository { repository, pick } => {
                let listing = reader.list(repository).await?;
                let files = listing.files(listing.pick(pick.as_deref())?)?;
                reader.read_parts(files).await
            }
        })
        .await
    }

    /// The GGUF files of a repository, as models.
    ///
    /// # Errors
    /// [`Error`], which names the address and the way out.
    pub async fn models(&mut self, repository: &Repository) -> Result<Vec<Model>, Error> {
        let listing = self.in_time(async |reader| reader.list(repository).await).await;
        listing.map(|listing| listing.models)
    }

    /// Reads the header of one of the models that [`Self::models`] gave.
    ///
    /// # Errors
    /// [`Error`], which names the address and the way out.
    pub async fn read_model(
        &mut self,
        repository: &Repository,
        model: &Model,
    ) -> Result<Remote, Error> {
        self.in_time(async |reader| {
            let files = reader.access.files(repository, model)?;
            reader.read_parts(files).await
        })
        .await
    }

    /// Whatever is asked, it ends.
    async fn in_time<T>(
        &mut self,
        ask: impl AsyncFnOnce(&mut Self) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let access = self.access.clone();
        access.in_time(ask(self)).await
    }

    async fn list(&mut self, repository: &Repository) -> Result<Listing, Error> {
        let access = self.access.clone();
        access.listing(repository, false, &mut self.budget).await
    }

    /// Reads all parts of a model and joins them.
    async fn read_parts(&mut self, files: Vec<FoundFile>) -> Result<Remote, Error> {
        let (mut headers, mut file_bytes) = (Vec::new(), 0_u64);
        let mut name = None;
        for file in files {
            let first_bytes = match &name {
                None => limits::FIRST_BYTES,
                Some(_) => limits::FIRST_BYTES_OF_FURTHER_PARTS,
            };
            let read = self.read_part(&file, first_bytes).await?;
            headers.push(read.header);
            file_bytes = file_bytes.saturating_add(read.file_bytes);
            name.get_or_insert(file.wanted.name);
        }
        let name = name.unwrap_or_default();
        match split::join(headers) {
            Ok(header) => Ok(Remote { name, header, file_bytes }),
            Err(error) => Err(Error::Split { name, error }),
        }
    }

    /// Reads one part, from the first of its servers that gives it.
    async fn read_part(
        &mut self,
        file: &FoundFile,
        first_bytes: u64,
    ) -> Result<range::Read, Error> {
        let wanted = &file.wanted;
        let mut first_error = None;
        for url in &wanted.addresses {
            match range::header(self, &wanted.name, url, first_bytes, wanted.bytes).await {
                Ok(read) => return Ok(read),
                Err(error @ Error::Outside(outside::Error::Offline { .. })) => return Err(error),
                Err(error @ Error::Outside(_)) => drop(first_error.get_or_insert(error)),
                Err(error) => return Err(error),
            }
        }
        let name = wanted.name.clone();
        Err(first_error.unwrap_or(Error::Answer { url: name, why: "it has no address".to_owned() }))
    }
}
