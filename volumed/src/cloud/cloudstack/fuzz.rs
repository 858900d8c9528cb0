//! What a fuzzer does with CloudStack's answers, and what must hold of whatever is believed.

use serde_json::{Map, Value};

use super::api::page_of;
use super::classify::{JobFailure, Setback};
use super::clock::ServerClock;
use super::envelope;
use super::error::Failure;
use super::http::Answer;
use super::volume::{is_id, provider_volume, serial_of};
use super::wire;
use crate::config::VolumeIdentity;
use crate::model::Identity;

/// An answer to a list, to a change, and to the question for a job; the first byte chooses status and type.
pub(crate) fn answer(bytes: &[u8]) {
    let Some((&choice, body)) = bytes.split_first() else {
        return;
    };
    let status = [200, 401, 429, 431, 432, 500, 530, 302][usize::from(choice & 7)];
    let kinds = ["application/json", "text/javascript", "text/html", ""];
    let answer = Answer {
        status,
        content_type: kinds[usize::from(choice >> 3 & 3)].to_owned(),
        date: None,
        description: Some(String::from_utf8_lossy(body).into_owned()),
        body: body.to_vec().into(),
    };
    for command in ["listVolumes", "attachVolume", "queryAsyncJobResult"] {
        match envelope::open(command, &answer) {
            Ok(content) => {
                assert_eq!(status, 200, "no error passes for an answer");
                believe(content);
            }
            Err(failure) => judge(failure),
        }
    }
    dates(&String::from_utf8_lossy(body));
}

fn believe(mut content: Map<String, Value>) {
    let failure = JobFailure::new(
        content.get("jobresultcode").and_then(envelope::integer),
        content.get("jobresult"),
    );
    let _ = Setback::of_job("j", &failure).meaning;
    if let Ok((count, entries)) = page_of(&mut content, "volume") {
        assert!(count >= entries.len() || count == 0 || !entries.is_empty());
        for entry in entries {
            volume(entry);
        }
    }
}

fn volume(entry: Value) {
    let Ok(volume) = serde_json::from_value::<wire::Volume>(entry) else {
        return;
    };
    let seen = provider_volume(&volume, VolumeIdentity::Serial);
    assert_eq!(seen.identity, Some(Identity::Serial(serial_of(&volume.id))));
    if is_id(&volume.id) {
        assert_eq!(serial_of(&volume.id).len(), 20, "{}", volume.id);
    }
}

fn judge(failure: Failure) {
    if let Some(refusal) = failure.refusal() {
        let _ = (refusal.wait(), refusal.is_absence(), refusal.to_string());
    }
    let _ = failure.to_string();
    let _ = Setback::of_request(failure).in_doubt();
}

/// The server's clock: nothing that it says makes our requests valid for ever.
fn dates(text: &str) {
    let clock = ServerClock::default();
    let now = jiff::Timestamp::from_second(784_111_777).expect("a time");
    clock.observe(text, now, now);
    let _ = clock.expires(now, jiff::SignedDuration::from_secs(60));
}
