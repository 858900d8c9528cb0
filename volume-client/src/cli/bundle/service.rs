//! The migration engine's share: its health, jobs, schedules and metrics, as its service tells them.

use std::path::PathBuf;
use std::time::Duration;

use crate::client::trust::nobody;

use super::parts::{file, said};
use super::{LARGEST, Part, Wanted};

/// What is asked of the service, and where that goes.
const ASKED: [(&str, &str); 6] = [
    ("engine/readiness.json", "/readyz"),
    ("engine/metrics.txt", "/metrics"),
    ("engine/replications.json", "/api/v1/replications"),
    ("engine/transfers.json", "/api/v1/transfers"),
    ("engine/schedules.json", "/api/v1/schedules"),
    ("engine/sources.json", "/api/v1/sources"),
];

pub(super) fn parts(wanted: &Wanted) -> Vec<Part<'static>> {
    let asked = ASKED.into_iter().map(|(name, path)| {
        let url = format!("{}{path}", wanted.engine_url.trim_end_matches('/'));
        Part::new(name, ask(url, wanted.engine_token_file.clone()))
    });
    asked.collect()
}

async fn ask(url: String, token: PathBuf) -> Result<Vec<u8>, String> {
    // It need not be told to a service that wants none.
    let token = file(token).await.unwrap_or_default();
    let token = String::from_utf8_lossy(&token).trim().to_owned();
    let http = crate::client::http(nobody())
        .timeout(Duration::from_secs(20))
        .build()
        .map_err(said)?;
    let request = match token.is_empty() {
        true => http.get(&url),
        false => http.get(&url).bearer_auth(token),
    };
    let mut answer = request.send().await.map_err(said)?;
    let (status, mut content) = (answer.status(), Vec::new());
    while let Some(chunk) = answer.chunk().await.map_err(said)? {
        content.extend_from_slice(&chunk);
        if content.len() > LARGEST {
            break;
        }
    }
    // A service that is not ready says why, and that is what is wanted.
    match status.is_success() || (url.ends_with("/readyz") && !content.is_empty()) {
        true => Ok(content),
        false => Err(format!(
            "{url} answered {status}: {}",
            String::from_utf8_lossy(&content)
        )),
    }
}
