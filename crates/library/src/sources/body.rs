//! Answers that are read whole, bounded, and counted against what a question may download.

use bytes::Bytes;
use reqwest::{
    Response, Url,
    header::{CONTENT_ENCODING, HeaderName},
};

use super::{Access, Error};
use crate::outside::{Outside, of_request, shown};

/// What one question may download, and what it did.
#[derive(Debug)]
pub(crate) struct Budget {
    limit_bytes: u64,
    downloaded_bytes: u64,
}

impl Budget {
    pub(crate) fn new(limit_bytes: u64) -> Self {
        Self { limit_bytes, downloaded_bytes: 0 }
    }

    /// What was downloaded so far, in bytes of content.
    pub(crate) fn downloaded_bytes(&self) -> u64 {
        self.downloaded_bytes
    }

    /// What may still come.
    pub(crate) fn left_bytes(&self) -> u64 {
        self.limit_bytes.saturating_sub(self.downloaded_bytes)
    }

    /// The next piece of a body.
    pub(crate) async fn chunk(
        &mut self,
        outside: &Outside,
        url: &Url,
        response: &mut Response,
    ) -> Result<Option<Bytes>, Error> {
        let chunk = response.chunk().await;
        let chunk = chunk.map_err(|error| of_request(url, &error, outside.silence_max()))?;
        let bytes = chunk.as_ref().map_or(0, |chunk| chunk.len() as u64);
        self.downloaded_bytes = self.downloaded_bytes.saturating_add(bytes);
        Ok(chunk)
    }

    /// The error of a question that needs more than it may.
    pub(crate) fn limit(&self, url: &Url) -> Error {
        Error::Limit { url: shown(url), limit_bytes: self.limit_bytes }
    }
}

impl Access {
    /// What is at `url`, which must have at most `bytes_max` bytes, and the answer's head.
    pub(super) async fn whole(
        &self,
        url: &Url,
        headers: &[(HeaderName, &str)],
        bytes_max: u64,
        budget: &mut Budget,
    ) -> Result<(Vec<u8>, Response), Error> {
        let mut response = self.outside.get(url, headers).await?;
        let wrong = |why: String| Err(Error::Answer { url: shown(url), why });
        // Nobody asked for it, and a little of it could become a lot.
        if let Some(encoding) = response.headers().get(CONTENT_ENCODING)
            && encoding != "identity"
        {
            let encoding = encoding.to_str().unwrap_or("something unreadable");
            return wrong(format!("it comes encoded as {encoding}, unasked"));
        }
        let mut body = Vec::new();
        while let Some(chunk) = budget.chunk(&self.outside, url, &mut response).await? {
            body.extend_from_slice(&chunk);
            if body.len() as u64 > bytes_max {
                return wrong(format!("it is longer than {bytes_max} bytes"));
            }
            if budget.left_bytes() == 0 {
                return Err(budget.limit(url));
            }
        }
        Ok((body, response))
    }
}
