//! Lists: one page, or all of them as a stream that asks for the next page when it is needed.

use std::collections::VecDeque;
use std::sync::Arc;

use futures_util::stream::{self, BoxStream, StreamExt};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::transport::protocol;
use super::{ClientError, ProtocolError, VolumedClient};
use crate::types::{Cursor, Page};

/// The items of a list, page after page. It ends after its first error.
pub type ItemStream<T> = BoxStream<'static, Result<T, ClientError>>;

/// The largest page that the daemon gives.
const FULL_PAGE: u32 = 1000;

#[derive(Serialize)]
struct Query<'a, F> {
    #[serde(flatten)]
    filter: &'a F,
    #[serde(flatten)]
    cursor: &'a Cursor,
}

/// A list without filters.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Unfiltered {}

enum Next {
    First,
    At(String),
    End,
}

impl VolumedClient {
    pub(super) async fn page<T, F>(
        &self,
        path: &str,
        filter: &F,
        cursor: &Cursor,
    ) -> Result<Page<T>, ClientError>
    where
        T: DeserializeOwned,
        F: Serialize,
    {
        self.get(path, &Query { filter, cursor }).await
    }

    pub(super) fn pages<T, F>(&self, path: String, filter: F) -> ItemStream<T>
    where
        T: DeserializeOwned + Send + 'static,
        F: Serialize + Send + Sync + 'static,
    {
        let client = self.clone();
        let filter = Arc::new(filter);
        let start = (VecDeque::new(), Next::First);
        let items = stream::try_unfold(start, move |(mut ready, mut next)| {
            let client = client.clone();
            let request = match &next {
                Next::First => Some(None),
                Next::At(cursor) => Some(Some(cursor.clone())),
                Next::End => None,
            };
            // The page is asked for inside the stream's own future, so that dropping the stream drops the request.
            let fetch = ready.is_empty().then_some(request).flatten();
            let query = fetch.map(|cursor| (path.clone(), filter.clone(), cursor));
            async move {
                if let Some((path, filter, at)) = query {
                    (ready, next) = client.following(&path, &*filter, at).await?;
                }
                Ok(ready.pop_front().map(|item| (item, (ready, next))))
            }
        });
        items.boxed()
    }

    /// The first page at or after `at` that holds something, or the end.
    async fn following<T: DeserializeOwned, F: Serialize>(
        &self,
        path: &str,
        filter: &F,
        mut at: Option<String>,
    ) -> Result<(VecDeque<T>, Next), ClientError> {
        loop {
            let cursor = Cursor {
                cursor: at.clone(),
                limit: Some(FULL_PAGE),
            };
            let page: Page<T> = self.page(path, filter, &cursor).await?;
            let Some(next) = page.next_cursor else {
                return Ok((page.items.into(), Next::End));
            };
            if Some(&next) == at.as_ref() {
                let reason = ProtocolError::Content(format!("the page after `{next}` is that page again"));
                return Err(protocol(&format!("GET /api/v1{path}"), reason));
            }
            if !page.items.is_empty() {
                return Ok((page.items.into(), Next::At(next)));
            }
            at = Some(next);
        }
    }
}
