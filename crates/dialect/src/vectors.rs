//! Vectors of a request for embeddings, as they come, in the width that was asked for.

use worker_protocol::{Event, Usage};

use crate::{Error, read::Path};

/// Collects the vectors of one request.
#[derive(Debug)]
pub(crate) struct Vectors {
    model: String,
    /// Vectors are cut to this width and made length 1 again; `None` leaves them whole.
    dimensions: Option<u32>,
    vectors: Vec<Option<Vec<f32>>>,
    usage: Option<Usage>,
    failure: Option<Error>,
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Embedded {
    /// The model that made them.
    pub(crate) model: String,
    /// One for each input.
    pub(crate) vectors: Vec<Vec<f32>>,
    pub(crate) usage: Usage,
}

impl Vectors {
    /// A place for each input.
    pub(crate) fn new(inputs: usize, dimensions: Option<u32>, model: &str) -> Self {
        let vectors = vec![None; inputs];
        Self { model: model.to_owned(), dimensions, vectors, usage: None, failure: None }
    }

    /// The model that serves, where another name was asked for.
    pub(crate) fn served_by(&mut self, model: &str) {
        model.clone_into(&mut self.model);
    }

    /// Takes in one event.
    pub(crate) fn event(&mut self, event: &Event) {
        match event {
            Event::Progress { .. }
            | Event::Text(_)
            | Event::Reasoning(_)
            | Event::ToolCall(_)
            | Event::Ranked { .. } => {}
            Event::Embedded { index, vector } => match self.narrow(vector) {
                Ok(vector) => {
                    if let Some(place) = self.vectors.get_mut(*index as usize) {
                        *place = Some(vector);
                    }
                }
                Err(error) => self.failure = Some(error),
            },
            Event::Finished(finished) => self.usage = Some(finished.usage),
            Event::Failed(failure) => self.failure = Some(Error::from(failure)),
        }
    }

    /// The vectors.
    ///
    /// # Errors
    /// The request failed or broke off, or the width is more than the model has.
    pub(crate) fn finish(self) -> Result<Embedded, Error> {
        if let Some(failure) = self.failure {
            return Err(failure);
        }
        let usage = self.usage.ok_or_else(Error::unfinished)?;
        let vectors = self.vectors.into_iter().collect::<Option<_>>();
        let vectors = vectors.ok_or_else(Error::unfinished)?;
        Ok(Embedded { model: self.model, vectors, usage })
    }

    /// The vector in the width that was asked for. Cutting is what models trained for several
    /// widths expect; the rest is made length 1 again.
    fn narrow(&self, vector: &[f32]) -> Result<Vec<f32>, Error> {
        if !vector.iter().all(|value| value.is_finite()) {
            return Err(
                Error::new(500, "the model gave a vector that is not finite").code("engine_failed")
            );
        }
        let Some(width) = self.dimensions else {
            return Ok(vector.to_vec());
        };
        let Some(cut) = vector.get(..width as usize) else {
            let path = Path::Key(&Path::Root, "dimensions");
            return Err(path.refuse(format_args!(
                "is {width}, but the vectors of {:?} have {} numbers",
                self.model,
                vector.len()
            )));
        };
        let length = cut.iter().map(|value| value * value).sum::<f32>().sqrt();
        let scale = if length > 0.0 { 1.0 / length } else { 1.0 };
        Ok(cut.iter().map(|value| value * scale).collect())
    }
}
