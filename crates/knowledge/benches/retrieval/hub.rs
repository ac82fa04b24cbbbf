//! An embedder behind an address of OpenAI's form, and what it made of a set, kept in files so that a second run is
//! quick.

use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;

use knowledge::search::{Embed, Failed, Purpose};
use serde_json::{Value, json};

use crate::sets::Text;

/// How many texts are sent at once.
const BATCH: usize = 8;

/// The embedder at `RESIDENT_EMBEDDER` (`http://127.0.0.1:11434/v1/embeddings`), by the name in
/// `RESIDENT_EMBEDDER_MODEL` (`minilm`).
pub(crate) struct Hub {
    host: String,
    path: String,
    model: String,
    dimension: usize,
}

impl Hub {
    /// The embedder, if one is named.
    pub(crate) fn from_environment() -> Option<Hub> {
        let address = std::env::var("RESIDENT_EMBEDDER").ok()?;
        let (host, path) = address.strip_prefix("http://").unwrap().split_once('/').unwrap();
        let model =
            std::env::var("RESIDENT_EMBEDDER_MODEL").unwrap_or_else(|_| "minilm".to_owned());
        let mut hub = Hub { host: host.to_owned(), path: format!("/{path}"), model, dimension: 0 };
        hub.dimension = hub.ask(&["one".to_owned()]).unwrap()[0].len();
        Some(hub)
    }

    /// The vectors of texts, from the file of that name as far as it goes.
    pub(crate) fn vectors(&self, name: &str, texts: &[Text]) -> Vec<Vec<f32>> {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("retrieval").join(&self.model);
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join(format!("{name}.f32"));
        let kept = fs::read(&path).unwrap_or_default();
        let numbers: Vec<f32> = kept
            .chunks_exact(4)
            .map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()))
            .collect();
        let mut vectors: Vec<Vec<f32>> =
            numbers.chunks_exact(self.dimension).take(texts.len()).map(<[f32]>::to_vec).collect();
        let mut file = OpenOptions::new().create(true).append(true).open(&path).unwrap();
        file.set_len((vectors.len() * self.dimension * 4) as u64).unwrap();
        for batch in texts[vectors.len()..].chunks(BATCH) {
            let batch: Vec<&str> = batch.iter().map(|text| text.text.as_str()).collect();
            for vector in self.embed(&batch, Purpose::Passage).unwrap() {
                let bytes: Vec<u8> =
                    vector.iter().flat_map(|number| number.to_le_bytes()).collect();
                file.write_all(&bytes).unwrap();
                vectors.push(vector);
            }
        }
        vectors
    }

    fn ask(&self, texts: &[String]) -> Result<Vec<Vec<f32>>, String> {
        let body = json!({ "model": self.model, "input": texts }).to_string();
        let mut stream = TcpStream::connect(&self.host).map_err(|error| error.to_string())?;
        let head = format!(
            "POST {} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n",
            self.path,
            self.host,
            body.len()
        );
        let mut answer = String::new();
        stream
            .write_all(head.as_bytes())
            .and_then(|()| stream.write_all(body.as_bytes()))
            .and_then(|()| stream.read_to_string(&mut answer))
            .map_err(|error| error.to_string())?;
        let (_, body) = answer.split_once("\r\n\r\n").ok_or("an answer without a body")?;
        let body: Value = serde_json::from_str(body).map_err(|error| error.to_string())?;
        let Some(data) = body["data"].as_array() else { return Err(body.to_string()) };
        let numbers = |item: &Value| serde_json::from_value(item["embedding"].clone());
        data.iter().map(|item| numbers(item).map_err(|error| error.to_string())).collect()
    }
}

impl Embed for Hub {
    fn name(&self) -> &str {
        &self.model
    }
    fn dimension(&self) -> usize {
        self.dimension
    }
    fn tokens_max(&self) -> usize {
        512
    }
    fn count_tokens(&self, texts: &[&str]) -> Result<Vec<usize>, Failed> {
        Ok(texts.iter().map(|text| text.len() / 4).collect())
    }

    /// Texts that are too long are cut: the sets hold whole abstracts, where an ingest makes passages that fit.
    fn embed(&self, texts: &[&str], _: Purpose) -> Result<Vec<Vec<f32>>, Failed> {
        let mut texts: Vec<String> = texts.iter().map(|&text| text.to_owned()).collect();
        loop {
            let refused = match self.ask(&texts) {
                Ok(vectors) => return Ok(vectors),
                Err(refused) => refused,
            };
            let number = |after: &str| -> Option<usize> {
                let rest = &refused[refused.find(after)? + after.len()..];
                rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok()
            };
            let found = (number("input "), number(" has "), number("at most "));
            let (Some(at), Some(tokens), Some(most)) = found else { return Err(Failed(refused)) };
            let keep = (texts[at].chars().count() * most / tokens).saturating_sub(8);
            texts[at] = texts[at].chars().take(keep).collect();
        }
    }
}
