//! The life of one `migrate-engine sources`: what the service knows, and what machines are there.

use super::client::Client;
use super::jobs::failed;
use super::plain::plain;
use super::{Ending, human, machines};

/// Lists the sources that the service knows, one a line.
///
/// # Errors
/// Where the list cannot be written.
pub async fn sources(client: &Client) -> anyhow::Result<Ending> {
    match client.sources().await {
        Err(error) => return Ok(failed(&error)),
        Ok(sources) if sources.is_empty() => {
            human::say("the service knows no source: write one into its file of sources and send it SIGHUP");
        }
        Ok(sources) => {
            let lines: Vec<_> = sources.iter().map(|host| plain(host)).collect();
            human::tell(&lines.join("\n"))?;
        }
    }
    Ok(Ending::Completed)
}

/// Lists the machines of a known source, with their serial numbers.
///
/// # Errors
/// Where the list cannot be written.
pub async fn machines_of(client: &Client, host: &str, datacenter: Option<&str>) -> anyhow::Result<Ending> {
    match client.machines(host, datacenter).await {
        Err(error) => return Ok(failed(&error)),
        Ok(list) if list.is_empty() => {
            human::say("there is no machine, or the user of the service may not see it");
        }
        Ok(list) => human::tell(&machines::listed(&list))?,
    }
    Ok(Ending::Completed)
}
