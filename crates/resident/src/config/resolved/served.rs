//! Everything that can be served beside the files of the models folder, and the names for it.

use std::{collections::BTreeMap, net::SocketAddr, path::Path, path::PathBuf, sync::Arc};

use planner::roles::Roles;
use supervisor::{ManagedCommand, Tool};

use super::{
    super::{Machine, preset::Presets, raw},
    Error,
    engine::{self, Entry},
    group::{Groups, Pin, Treatment, check_pins},
    here::Here,
    role, tool,
    upstream::{self, Pool},
};
use crate::{
    models::{self, Catalog, Named},
    size,
};

/// What is served beside the files of the catalogue.
#[derive(Debug, Clone)]
pub(crate) struct Served {
    /// Models that a program is started for.
    pub(crate) commands: BTreeMap<String, Arc<ManagedCommand>>,
    /// Servers that run already; their models are called `POOL/MODEL`.
    pub(crate) pools: BTreeMap<String, Pool>,
    /// Programs that run once for each request.
    pub(crate) tools: BTreeMap<String, Tool>,
    /// How models are treated; who is not in it is treated as all are.
    pub(crate) treatments: BTreeMap<String, Treatment>,
    /// Which models take turns.
    pub(crate) groups: Groups,
    /// Names to use instead of models.
    pub(crate) roles: Roles,
    /// The role or model that is in memory whenever there is room and nothing else to do.
    pub(crate) warm: Option<String>,
    /// Whether a resident model may stand in for one of a role that would have to be loaded.
    pub(crate) prefer_resident: bool,
    /// What the user should know though it stops nothing.
    pub(crate) notes: Vec<String>,
}

/// The tables of the file that say what is served.
pub(super) struct Tables {
    pub(super) groups: BTreeMap<String, raw::Group>,
    pub(super) models: BTreeMap<String, raw::Model>,
    pub(super) upstreams: BTreeMap<String, raw::Upstream>,
    pub(super) tools: BTreeMap<String, raw::Tool>,
    pub(super) roles: BTreeMap<String, raw::Role>,
    pub(super) warm: Option<String>,
    pub(super) prefer_resident: Option<bool>,
}

/// What else is known when the tables are read.
pub(super) struct Known<'a> {
    /// The file's folder.
    pub(super) base: &'a Path,
    /// Where the program keeps its files.
    pub(super) data_dir: &'a Path,
    /// The models folder.
    pub(super) models_dir: PathBuf,
    /// Models that flags or a variable name; they win over the file's.
    pub(super) given: BTreeMap<String, PathBuf>,
    /// Where the hub listens.
    pub(super) listen: SocketAddr,
    /// Memory for models.
    pub(super) budget_bytes: u64,
    /// The machine and what surrounds the program.
    pub(super) machine: &'a Machine,
}

/// Reads all tables. The file's models go into the catalogue if our own worker serves them.
///
/// # Errors
/// [`Error`], which names the table and the key.
pub(super) fn read(tables: Tables, known: Known<'_>) -> Result<(Catalog, Served), Error> {
    let presets = Presets::shipped().map_err(Error::Table)?;
    let here = Here {
        base: known.base,
        data_dir: known.data_dir,
        machine: known.machine,
        presets: &presets,
        notes: Vec::new().into(),
    };
    let groups = Groups::read(tables.groups).map_err(Error::Table)?;
    let mut catalog =
        Catalog { folder: known.models_dir, named: BTreeMap::new(), contexts: BTreeMap::new() };
    let (mut commands, mut treatments) = (BTreeMap::new(), BTreeMap::new());
    let mut in_folder = Vec::new();
    for (name, raw) in tables.models {
        // One of the library may have slashes in its name.
        if !models::is_name_elsewhere(&name) {
            models::check_name(&name)?;
        }
        let (entry, treatment) =
            engine::read(&here, &groups, &name, raw).map_err(in_table("models", &name))?;
        match entry {
            Entry::File { path: Some(path), context_tokens } => {
                models::check_name(&name)?;
                catalog.named.insert(name.clone(), Named { path, context_tokens });
            }
            Entry::File { path: None, context_tokens } => {
                catalog.contexts.extend(context_tokens.map(|tokens| (name.clone(), tokens)));
                in_folder.push(name.clone());
            }
            Entry::Command(command) => {
                models::check_name(&name)?;
                commands.insert(name.clone(), command);
            }
        }
        treatments.insert(name, treatment);
    }
    for (name, path) in known.given {
        commands.remove(&name);
        in_folder.retain(|other| *other != name);
        let own = catalog.named.get(&name).and_then(|named| named.context_tokens);
        let context_tokens = own.or(catalog.contexts.remove(&name));
        catalog.named.insert(name, Named { path, context_tokens });
    }
    let pools = each("upstreams", tables.upstreams, |name, raw| {
        upstream::read(&here, name, known.listen, raw)
    })?;
    let tools = each("tools", tables.tools, |name, raw| tool::read(&here, name, raw))?;
    let mut served = Served {
        commands,
        pools,
        tools,
        treatments,
        groups,
        roles: Roles::default(),
        warm: None,
        prefer_resident: tables.prefer_resident.unwrap_or(true),
        notes: here.notes.take(),
    };
    served.check_names(&catalog, &in_folder, known.machine, tables.roles, tables.warm)?;
    served.check_bytes(known.budget_bytes)?;
    Ok((catalog, served))
}

impl Served {
    /// The model that is kept warm: of a role, the one that it prefers.
    pub(crate) fn warm_model(&self) -> Option<String> {
        let warm = self.warm.as_deref()?;
        let preferred = self.roles.models(warm).first().copied();
        Some(preferred.unwrap_or(warm).to_owned())
    }

    /// Names must mean one thing, and something that is there.
    fn check_names(
        &mut self,
        catalog: &Catalog,
        in_folder: &[String],
        machine: &Machine,
        roles: BTreeMap<String, raw::Role>,
        warm: Option<String>,
    ) -> Result<(), Error> {
        let names_are_asked = !roles.is_empty() || warm.is_some() || !in_folder.is_empty();
        let files = if names_are_asked { (machine.names_of)(catalog) } else { Vec::new() };
        if let Some(name) = in_folder.iter().find(|name| !files.contains(name)) {
            let nearest = models::nearest(name, files.iter().map(String::as_str));
            let hint = nearest.map(|nearest| format!("; did you mean '{nearest}'?"));
            return Err(in_table("models", name)(format!(
                "path is missing, and {name} is neither in the library nor as {name}.gguf in the models \
                 folder{}",
                hint.unwrap_or_else(|| "; write path = \"FILE.gguf\"".to_owned())
            )));
        }
        let is_model = |name: &str| {
            let named = catalog.named.contains_key(name) || self.commands.contains_key(name);
            named || files.iter().any(|file| file == name)
        };
        if let Some(name) = self.tools.keys().find(|name| is_model(name)) {
            let what = "a model has this name too; rename one of them".to_owned();
            return Err(in_table("tools", name)(what));
        }
        let mut names: Vec<String> = files.clone();
        names.extend(catalog.named.keys().chain(self.commands.keys()).cloned());
        names.extend(self.tools.keys().cloned());
        let mut open = Vec::new();
        for (pool, content) in &self.pools {
            match &content.served {
                Some(served) => names.extend(served.keys().map(|name| format!("{pool}/{name}"))),
                None => open.push(format!("{pool}/")),
            }
        }
        let known: Vec<&str> = names.iter().map(String::as_str).collect();
        self.roles = role::read(roles, &known, &open)
            .map_err(|what| Error::Table(format!("[roles] {what}")))?;
        if let Some(name) = warm {
            let is_known = known.contains(&name.as_str()) && !self.tools.contains_key(&name);
            let is_open = open.iter().any(|pool| name.starts_with(pool.as_str()));
            if !is_known && !is_open && self.roles.models(&name).is_empty() {
                let roles = self.roles.iter().map(|(role, _)| role);
                let hint = match models::nearest(&name, known.into_iter().chain(roles)) {
                    Some(nearest) => format!("did you mean '{nearest}'?"),
                    None => "resident ls lists the models".to_owned(),
                };
                return Err(Error::Table(format!(
                    "warm: '{name}' is neither a role nor a model; {hint}"
                )));
            }
            self.warm = Some(name);
        }
        Ok(())
    }

    /// What is promised must fit, as far as it is known without reading models' files.
    fn check_bytes(&mut self, budget_bytes: u64) -> Result<(), Error> {
        let pins: Vec<Pin> = self
            .commands
            .iter()
            .filter(|(name, _)| self.treatments.get(*name).is_some_and(|it| it.pinned))
            .map(|(name, command)| Pin {
                name: name.clone(),
                bytes: command.memory_bytes,
                group: self.group_of_command(name, command, budget_bytes),
            })
            .collect();
        check_pins(&pins, &self.groups, budget_bytes).map_err(Error::Table)?;
        let commands = self.commands.iter().map(|(name, it)| (name, it.memory_bytes));
        let tools = self.tools.iter().map(|(name, it)| (name, it.memory_bytes));
        let too_large = commands.chain(tools).filter(|(_, bytes)| *bytes > budget_bytes);
        self.notes.extend(too_large.map(|(name, bytes)| {
            format!(
                "{name} takes {}, more than the budget of {}, and will be refused",
                size::format(bytes),
                size::format(budget_bytes)
            )
        }));
        Ok(())
    }

    /// The tools in the order in which one is chosen when a request names none: as the role of what
    /// they do has them, then by name.
    pub(crate) fn tools_in_order(&self) -> Vec<Tool> {
        let roles = ["speak", "listen", "draw"];
        let preferred = roles.into_iter().flat_map(|role| self.roles.models(role));
        let mut names: Vec<&str> = Vec::new();
        for name in preferred.into_iter().chain(self.tools.keys().map(String::as_str)) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names.into_iter().filter_map(|name| self.tools.get(name)).cloned().collect()
    }

    /// The group of a model that a program is started for.
    pub(crate) fn group_of_command(
        &self,
        name: &str,
        command: &ManagedCommand,
        budget_bytes: u64,
    ) -> Option<String> {
        let membership = self.treatments.get(name).map(|it| it.membership.clone());
        let is_text = command.manner.chat || command.manner.completions;
        let bytes = command.memory_bytes;
        self.groups.of(&membership.unwrap_or_default(), is_text, bytes, budget_bytes)
    }
}

fn each<R, T>(
    kind: &'static str,
    tables: BTreeMap<String, R>,
    read: impl Fn(&str, R) -> Result<T, String>,
) -> Result<BTreeMap<String, T>, Error> {
    tables
        .into_iter()
        .map(|(name, raw)| {
            let content = read(&name, raw).map_err(in_table(kind, &name))?;
            Ok((name, content))
        })
        .collect()
}

/// Puts the table's name in front, as the file writes it.
pub(super) fn in_table(kind: &'static str, name: &str) -> impl FnOnce(String) -> Error {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    let name = if name.chars().all(is_bare) { name.to_owned() } else { format!("\"{name}\"") };
    move |what| Error::Table(format!("[{kind}.{name}] {what}"))
}
