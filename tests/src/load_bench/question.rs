//! What the daemons are asked, and how often in a round.

use std::time::Instant;

use anyhow::{Result, ensure};
use reqwest::{Method, StatusCode};
use serde::{Deserialize, Serialize};

use crate::Raw;

/// A question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Question {
    /// `GET /volumes/{id}/device`: the device, verified.
    Device,
    /// `GET /volumes/{id}`.
    Volume,
    /// `GET /operations/{id}` of one that has ended.
    Operation,
    /// `GET /volumes`: a hundred of them.
    Page,
    /// All pages of a thousand, one after another, by volume.
    Walk,
}

impl Question {
    /// All, in the order in which they are asked.
    pub const ALL: [Self; 5] = [
        Self::Device,
        Self::Volume,
        Self::Operation,
        Self::Page,
        Self::Walk,
    ];

    /// How often it is asked in a round.
    pub(super) fn times(self) -> usize {
        match self {
            Self::Device | Self::Volume | Self::Operation => 200,
            Self::Page => 50,
            Self::Walk => 3,
        }
    }

    /// For people.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Device => "GET device",
            Self::Volume => "GET volume",
            Self::Operation => "GET operation",
            Self::Page => "GET volumes (100)",
            Self::Walk => "all pages, per 100",
        }
    }

    /// Whether the answer holds a hundred volumes where there are as many: to be compared among those only.
    pub(super) fn is_of_many(self) -> bool {
        matches!(self, Self::Page | Self::Walk)
    }
}

#[derive(Deserialize)]
struct PageEnd {
    next_cursor: Option<String>,
    items: Vec<serde::de::IgnoredAny>,
}

/// How long the whole answer took, in milliseconds.
pub(super) async fn one(raw: &Raw, path: &str) -> Result<f64> {
    Ok(timed(raw, path).await?.0)
}

/// How long all pages took, in milliseconds for each hundred volumes.
pub(super) async fn walk(raw: &Raw) -> Result<f64> {
    let (mut took, mut seen, mut cursor) = (0.0, 0_u32, None::<String>);
    loop {
        let after = cursor
            .map(|cursor| format!("&cursor={cursor}"))
            .unwrap_or_default();
        let (page, body) = timed(raw, &format!("/api/v1/volumes?limit=1000{after}")).await?;
        let end: PageEnd = serde_json::from_str(&body)?;
        took += page;
        seen += u32::try_from(end.items.len())?;
        match end.next_cursor {
            Some(next) => cursor = Some(next),
            None => return Ok(took / f64::from(seen.max(100)) * 100.0),
        }
    }
}

async fn timed(raw: &Raw, path: &str) -> Result<(f64, String)> {
    let began = Instant::now();
    let answer = raw.try_send(raw.request(Method::GET, path)).await?;
    let took = began.elapsed().as_secs_f64() * 1e3;
    ensure!(answer.status == StatusCode::OK, "GET {path}: {}", answer.body);
    Ok((took, answer.body))
}
