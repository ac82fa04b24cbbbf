//! New models out of what is on this machine, as a Modelfile or `/api/create` says. Nothing is fetched: what is
//! not here has to be pulled first.

mod resolve;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use super::{
    Error, Store, Watcher, header,
    import::{file_name, now_unix_s},
    take::Coming,
};
use crate::{
    digest::Sha256,
    manifest::{File, Manifest, Role, Settings},
    modelfile::Modelfile,
    name::Name,
};

/// What a new model is made of.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Recipe {
    /// What it is made from: a model and nothing else, or files. Their headers say which is a projector.
    pub from: Vec<Base>,
    /// LoRA adapters.
    pub adapters: Vec<Base>,
    /// A model that guesses ahead.
    pub drafts: Vec<Base>,
    /// What is said over the settings of the model that it is made from.
    pub settings: Settings,
}

/// Something that a model is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Base {
    /// A model of this machine, whose files it has then too.
    Model(Name),
    /// A GGUF file, the first part of several, or a folder with one model's files.
    File(PathBuf),
    /// A file that was uploaded.
    Blob {
        /// Its content.
        digest: Sha256,
        /// What the user calls it.
        name: String,
    },
}

/// What files there are for a new model.
#[derive(Debug, Default)]
struct Made {
    /// Files that the store has.
    files: Vec<File>,
    /// Files that it gets.
    coming: Vec<Coming>,
    /// What the first of them is from.
    source: Option<String>,
    revision: Option<String>,
    quantization: Option<String>,
    settings: Settings,
}

impl Store {
    /// Makes the model `name`; one that is called so is replaced. Files are shared or used where they lie, as an
    /// import of them would.
    ///
    /// # Errors
    /// When something that it is made from is not on this machine, or is no model; as [`Store::put`] else.
    pub fn create(
        &self,
        name: &Name,
        recipe: &Recipe,
        watcher: &mut Watcher<'_>,
    ) -> Result<Option<Manifest>, Error> {
        let mut made = Made::default();
        for base in &recipe.from {
            self.add_base(&mut made, name, base, None)?;
        }
        for (bases, role) in [(&recipe.adapters, Role::Adapter), (&recipe.drafts, Role::Draft)] {
            if !bases.is_empty() {
                // Those of the model below are other ones.
                made.files.retain(|file| file.role != role);
            }
            for base in bases {
                self.add_base(&mut made, name, base, Some(role))?;
            }
        }
        made.name_files(name)?;
        let manifest = Manifest {
            name: name.clone(),
            source: made.source.unwrap_or_default(),
            revision: made.revision,
            added_unix_s: now_unix_s(),
            quantization: made.quantization,
            files: made.files,
            settings: over(made.settings, &recipe.settings),
        };
        let taken = self.take(&manifest, &made.coming, watcher)?;
        Ok(taken.map(|(manifest, _)| manifest))
    }

    /// What `ollama show --modelfile` says of a model: paths of its files, and all that goes with them.
    #[must_use]
    pub fn modelfile(&self, manifest: &Manifest) -> Modelfile {
        let paths = |role| {
            let files = manifest.files_for(role);
            files.map(|file| self.path_of(file).display().to_string()).collect::<Vec<_>>()
        };
        let mut from = vec![self.model_path(manifest).display().to_string()];
        from.extend(paths(Role::Projector));
        Modelfile {
            from,
            adapters: paths(Role::Adapter),
            drafts: paths(Role::Draft),
            settings: manifest.settings.clone(),
            ignored: Vec::new(),
        }
    }

    fn add_base(
        &self,
        made: &mut Made,
        name: &Name,
        base: &Base,
        role: Option<Role>,
    ) -> Result<(), Error> {
        match base {
            Base::Model(from) => self.add_model(made, from, role),
            Base::File(path) => {
                let source = path.display().to_string();
                for path in resolve::files(path)? {
                    let coming = self.coming(&path, role)?;
                    made.quantization = made.quantization.take().or_else(|| encoding(&path));
                    made.coming.push(coming);
                }
                made.source.get_or_insert(source);
                Ok(())
            }
            Base::Blob { digest, name: called } => {
                let file = called.clone();
                if !self.has(digest) {
                    return Err(Error::NoBlob { name: name.clone(), file, digest: *digest });
                }
                let path = self.blob(digest);
                let mut coming = self.coming(&path, role)?;
                coming.name = resolve::plain(called);
                made.quantization = made.quantization.take().or_else(|| encoding(&path));
                made.source.get_or_insert_with(|| format!("upload:{}", coming.name));
                made.coming.push(coming);
                Ok(())
            }
        }
    }

    fn add_model(&self, made: &mut Made, from: &Name, role: Option<Role>) -> Result<(), Error> {
        let base = self.find(from).ok_or_else(|| Error::From { text: from.to_string() })?;
        if let Some(role) = role {
            let weights = base.files.into_iter().filter(|file| file.role == Role::Model);
            made.files.extend(weights.map(|file| File { role, ..file }));
            return Ok(());
        }
        made.files.extend(base.files);
        made.source.get_or_insert(base.source);
        made.revision = made.revision.take().or(base.revision);
        made.quantization = made.quantization.take().or(base.quantization);
        made.settings = over(std::mem::take(&mut made.settings), &base.settings);
        Ok(())
    }

    /// A file, known by its header; one of the store's own by its name.
    fn coming(&self, path: &Path, role: Option<Role>) -> Result<Coming, Error> {
        let file = |why| Error::File { path: path.to_owned(), why };
        let header = header::read(path).map_err(|why| file(format!("it {why}")))?;
        let found = header::role(&header);
        let role = match (role, found) {
            (Some(Role::Adapter), Role::Adapter) => Role::Adapter,
            (Some(Role::Draft), Role::Model) => Role::Draft,
            (None, Role::Model | Role::Projector) => found,
            (None, _) => {
                let why = "it is a LoRA adapter; name it after ADAPTER, and after FROM the model that it is for";
                return Err(file(why.to_owned()));
            }
            (Some(role), _) => {
                let (is, should) = (called(found), called(role));
                return Err(file(format!("it is {is}, and should be {should}")));
            }
        };
        // Blobs have no name that says anything; they get one.
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let name =
            if name.to_lowercase().ends_with(".gguf") { name.into_owned() } else { String::new() };
        let digest = self.digest_of_own(path);
        Ok(Coming { role, name, path: path.to_owned(), digest, is_final: digest.is_some() })
    }

    /// The digest of a blob of this store, by its path.
    fn digest_of_own(&self, path: &Path) -> Option<Sha256> {
        let path = std::path::absolute(path).ok()?;
        let digits = path.file_name()?.to_str()?.strip_prefix(super::BLOB)?;
        let digest = digits.parse().ok()?;
        (self.blob(&digest) == path).then_some(digest)
    }
}

impl Made {
    /// Gives each file a name that no other has, and parts those that engines find them by.
    fn name_files(&mut self, name: &Name) -> Result<(), Error> {
        let has_base = self.files.iter().any(|file| file.role == Role::Model);
        let parts = self.coming.iter().filter(|file| file.role == Role::Model).count();
        if has_base && parts > 0 {
            let why = "it has several models after FROM; name one, or the parts of one".to_owned();
            return Err(Error::Manifest { name: name.clone(), why });
        }
        let stem = name.file_stem().replace('%', "-");
        for file in self.coming.iter_mut().filter(|file| file.name.is_empty()) {
            file.name = file_name(file.role, &stem, 1, 1);
        }
        if parts > 1 {
            let number = |file: &Coming| header::read(&file.path).map_or(0, |h| header::part(&h));
            self.coming.sort_by_cached_key(|file| (file.role, number(file)));
            let models = self.coming.iter_mut().filter(|file| file.role == Role::Model);
            for (index, file) in models.enumerate() {
                let numbered = planner::gguf::split::Part::of(&file.name);
                if numbered.is_none_or(|part| part.number != index as u64 + 1) {
                    file.name = file_name(Role::Model, &stem, index + 1, parts);
                }
            }
        }
        let mut taken: Vec<String> =
            self.files.iter().map(|file| file.name.to_lowercase()).collect();
        for file in &mut self.coming {
            let mut number = 2;
            let plain = file.name.clone();
            while taken.contains(&file.name.to_lowercase()) {
                file.name = format!("{number}-{plain}");
                number += 1;
            }
            taken.push(file.name.to_lowercase());
        }
        Ok(())
    }
}

/// How a file's weights are encoded, if it has some.
fn encoding(path: &Path) -> Option<String> {
    let header = header::read(path).ok()?;
    let role = header::role(&header);
    header::quantization(&[(role, header)])
}

fn called(role: Role) -> &'static str {
    match role {
        Role::Model => "a model",
        Role::Projector => "a projector",
        Role::Adapter => "a LoRA adapter",
        Role::Draft => "a model that guesses ahead",
    }
}

/// Settings with others said over them: texts and conversations replace, parameters each by its name, licences
/// come together. An empty text is none.
fn over(below: Settings, above: &Settings) -> Settings {
    let text = |below: Option<String>, above: &Option<String>| {
        above.clone().or(below).filter(|text| !text.is_empty())
    };
    let mut settings = Settings {
        template: text(below.template, &above.template),
        system: text(below.system, &above.system),
        renderer: text(below.renderer, &above.renderer),
        parser: text(below.parser, &above.parser),
        requires: text(below.requires, &above.requires),
        ..below
    };
    for (name, value) in &above.parameters {
        settings.parameters.insert(name.clone(), value.clone());
    }
    if !above.messages.is_empty() {
        settings.messages.clone_from(&above.messages);
    }
    for license in &above.licenses {
        if !settings.licenses.contains(license) {
            settings.licenses.push(license.clone());
        }
    }
    settings
}
