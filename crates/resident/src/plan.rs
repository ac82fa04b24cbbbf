//! `resident plan`: what fits this machine, how well and how fast, before a byte is downloaded.
//!
//! The decisions are `planner`'s: footprint, fit, speed, quality, catalogue. Here they are asked
//! the person's question ([`command`]) about what the person means ([`subject`]) on the machine the
//! person has ([`host`]), and the answer is printed. Not here: loading anything.

mod choice;
mod command;
mod elsewhere;
mod folklore;
mod form;
mod host;
mod measure;
mod one;
mod row;
mod subject;
mod table;
pub(crate) mod taken;
#[cfg(test)]
mod tests;
mod together;
mod what_if;

use clap::Parser as _;
use planner::catalogue;

pub(crate) use command::Plan;

use crate::{
    cli::{Cli, Command},
    config::{self, Settings},
    exit::{self, Code},
};
use host::Host;
use row::Question;
use subject::Subject;

/// Answers.
///
/// # Errors
/// With [`Code::Usage`] for a machine that cannot be, [`Code::Model`] for a model that is not there,
/// [`Code::Failure`] for a configuration that cannot keep its promises.
pub(crate) fn run(arguments: &Plan) -> anyhow::Result<()> {
    let settings = settings(arguments)?;
    let host = Host::choose(arguments, &settings)?;
    let question = Question {
        host,
        context_tokens: arguments.context,
        cache: arguments.kv,
        hub_cache: settings.kv_type,
        parallel: settings.parallel,
    };
    if arguments.config.is_some() {
        return together::of_configuration(arguments, &settings, &question);
    }
    let Some(model) = &arguments.model else {
        return table::print(arguments, &question, catalogue::builtin().entries());
    };
    let subject = Subject::find(model, &settings)?;
    if arguments.with.is_empty() {
        return one::print(arguments, &question, &subject, &settings);
    }
    let beside: Result<Vec<Subject>, _> =
        arguments.with.iter().map(|text| Subject::find(text, &settings)).collect();
    together::of_models(arguments, &question, &subject, &beside?)
}

/// The hub's settings: its models, its folder, and what it may take, as far as no flag of a plan
/// says otherwise.
fn settings(arguments: &Plan) -> anyhow::Result<Settings> {
    // What the environment says of the hub is read where it is always read: by its flags.
    let hub = Cli::try_parse_from(["resident", "ls"])
        .map_err(|error| exit::error(Code::Usage, error.to_string()))?;
    let Command::Ls(ls) = hub.command else {
        return Err(exit::error(Code::Failure, "the command line has no `ls`"));
    };
    let (mut place, mut serving) = (ls.place, ls.serving);
    place.config = arguments.config.clone().or(place.config);
    place.data_dir = arguments.data_dir.clone().or(place.data_dir);
    serving.offline |= arguments.offline;
    serving.parallel = arguments.parallel.or(serving.parallel);
    config::load(&place, &serving)
}
