//! Who answers a request for sound or pictures: a tool, or a model whose server does that. A role may
//! name both.

use std::sync::Arc;

use dialect::Error;
use supervisor::{Handle, Manner, ModelSummary, Serves, Tool};

use super::Tools;
use crate::answer;

/// Who can do what is asked.
pub(super) enum Able {
    Tool(Arc<Tool>),
    /// A model, or those of a role, by its name.
    Model(String),
}

impl Tools {
    /// Whoever can do this of those that `name` means, in the order in which they are tried, and at
    /// least one. Without a name it is the role of what they do; where that is not configured, the
    /// first tool, and without any the first model that does nothing else.
    pub(super) async fn able(
        &self,
        hub: &Handle,
        serves: Serves,
        name: Option<&str>,
    ) -> Result<Vec<Able>, Error> {
        let does = role(serves);
        let name = name.unwrap_or(does);
        let mut able = Vec::new();
        let mut has_model = false;
        let tools = self.doing(serves);
        for wanted in std::iter::once(name.to_owned()).chain(hub.candidates(name)) {
            if let Some(tool) = tools.iter().find(|tool| tool.name == wanted) {
                able.push(Able::Tool(Arc::clone(tool)));
            } else if !has_model && does_it(find(hub, &wanted).await.as_ref(), serves) {
                // A role's models are chosen from all at once.
                has_model = true;
                able.push(Able::Model(name.to_owned()));
            }
        }
        if able.is_empty() && name == does {
            match tools.first() {
                Some(tool) => able.push(Able::Tool(Arc::clone(tool))),
                None => able.extend(only_doing(hub, serves).await.map(Able::Model)),
            }
        }
        if able.is_empty() { Err(self.nobody(serves, name)) } else { Ok(able) }
    }

    /// The same of the tools alone, and the first of them.
    pub(super) fn first(
        &self,
        hub: &Handle,
        serves: Serves,
        name: Option<&str>,
    ) -> Result<Arc<Tool>, Error> {
        let does = role(serves);
        let name = name.unwrap_or(does);
        let tools = self.doing(serves);
        let mut wanted = std::iter::once(name.to_owned()).chain(hub.candidates(name));
        let named = wanted.find_map(|name| tools.iter().find(|tool| tool.name == name));
        let any = || tools.first().filter(|_| name == does);
        named.or_else(any).map(Arc::clone).ok_or_else(|| self.nobody(serves, name))
    }

    fn doing(&self, serves: Serves) -> Vec<Arc<Tool>> {
        self.now().iter().filter(|tool| tool.serves == serves).cloned().collect()
    }

    fn nobody(&self, serves: Serves, name: &str) -> Error {
        let does = role(serves);
        let tools = self.doing(serves);
        let names: Vec<&str> = tools.iter().map(|tool| tool.name.as_str()).collect();
        let message = if name == does {
            format!(
                "nothing here can {does}; add a tool with serves = \"{does}\" to the configuration"
            )
        } else if names.is_empty() {
            format!("nothing that can {does} is named '{name}'; ask for a model whose server does")
        } else {
            format!(
                "nothing that can {does} is named '{name}'; leave the name out, or ask for one of: \
                 {}",
                names.join(", ")
            )
        };
        Error::new(404, message).at("model").code("model_not_found")
    }
}

/// What people call the part that a tool plays.
fn role(serves: Serves) -> &'static str {
    match serves {
        Serves::Speak => "speak",
        Serves::Listen => "listen",
        Serves::Draw => "draw",
        Serves::Tool => "tool",
    }
}

/// Looking a model up touches the disk, so it leaves the thread that serves connections.
async fn find(hub: &Handle, name: &str) -> Option<ModelSummary> {
    let (hub, name) = (hub.clone(), name.to_owned());
    tokio::task::spawn_blocking(move || hub.model(&name)).await.ok()?
}

fn does_it(model: Option<&ModelSummary>, serves: Serves) -> bool {
    model.and_then(|model| model.engine.manner()).is_some_and(|manner| match serves {
        Serves::Speak => manner.speech.is_some(),
        Serves::Listen => manner.transcriptions.is_some(),
        Serves::Draw | Serves::Tool => false,
    })
}

/// The first model that does this and nothing with text: of one that does, only its name tells what
/// it is good for.
async fn only_doing(hub: &Handle, serves: Serves) -> Option<String> {
    let is_textual = |manner: &Manner| manner.chat || manner.completions || manner.embeddings;
    let models = answer::list_models(hub).await;
    let found = models.into_iter().find(|model| {
        does_it(Some(model), serves) && !model.engine.manner().is_some_and(is_textual)
    });
    found.map(|model| model.name)
}
