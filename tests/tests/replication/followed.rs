//! One id, followed from the worker beside the source to the call to the cloud; and what the processes count meanwhile.

use serde_json::Value;
use telemetry::families::families;
use whole_system_tests::{CloudSite, plain_http, volumectl};

use super::support::{Secrets, Site, bytes};

/// The lines that say `word`.
fn saying<'l>(log: &'l str, word: &str) -> Vec<&'l str> {
    log.lines().filter(|line| line.contains(word)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_followed_from_the_worker_to_the_call_to_the_cloud() {
    let Some(mut cloud) = CloudSite::new().await else {
        return;
    };
    cloud.daemon.setup.log_format = "json";
    cloud.daemon.start().await;
    let CloudSite {
        daemon,
        cloud,
        hypervisor,
    } = cloud;
    let site = Site::with_worker_beside(daemon, &[], &[], Secrets::default(), Vec::new()).await;
    let vm = site.machines().await.remove(0);
    site.vcenter
        .write(vm["id"].as_str().unwrap(), 512, &bytes(1, 100_000));
    let job = site.replicated(&vm).await;
    let id = job["id"].as_str().unwrap();

    let (worker, service) = (site.worker_said(), site.said());
    let at_the_worker = saying(&worker, &format!("job_id={id}"));
    assert!(
        at_the_worker.iter().any(|line| line.contains("call_id=")),
        "{worker}"
    );
    assert!(
        !saying(&service, &format!("job_id=\"{id}\"")).is_empty(),
        "{service}"
    );

    // The daemon has it as the request's name, and every line of an operation names both.
    let lines = site.appliance.log_lines();
    let of = |line: &Value, name: &str| {
        let spans = line["spans"].as_array().cloned().unwrap_or_default();
        spans
            .iter()
            .find_map(|span| Some(span.get(name)?.as_str()?.to_owned()))
    };
    let sent: Vec<_> = lines
        .iter()
        .filter(|line| {
            line["message"] == "sending a call to the cloud" && of(line, "request_id").as_deref() == Some(id)
        })
        .collect();
    assert!(sent.len() >= 3, "create, attach, detach: {lines:#?}");
    for line in &sent {
        let operation = of(line, "operation_id").expect("a call is an operation's");
        let answered = lines.iter().any(|line| {
            line["message"] == "the cloud answered"
                && of(line, "operation_id").as_ref() == Some(&operation)
                && of(line, "request_id").as_deref() == Some(id)
        });
        assert!(answered, "{operation}: {lines:#?}");
        // And the cloud knows the job by the id that the line has.
        let call = line["call"].as_str().unwrap();
        let jobs = cloud.snapshot().jobs;
        assert!(
            jobs.iter().any(|job| job.id.to_string() == call),
            "{call}: {jobs:#?}"
        );
        let shown = volumectl(
            &site.appliance.setup.socket,
            ["operations", "show", &operation, "--json"],
        );
        assert_eq!(shown.json()["request_id"], id, "{shown:#?}");
    }
    what_is_counted_is_documented(&site).await;
    drop((site, cloud, hypervisor));
}

/// Every family that daemon and service expose is in the tables of `docs/observability.md`, with no other labels.
async fn what_is_counted_is_documented(site: &Site) {
    let document = include_str!("../../../docs/observability.md");
    let daemon = site.appliance.client().metrics().await.unwrap();
    let token = std::fs::read_to_string(site.file("token")).unwrap();
    let service = plain_http()
        .get(format!("{}/metrics", site.api))
        .bearer_auth(token.trim());
    let service = service.send().await.unwrap().text().await.unwrap();
    for (text, least) in [(&daemon, 30), (&service, 15)] {
        let found = families(text);
        assert!(found.len() >= least, "{found:#?}");
        for family in found.values() {
            let row = document
                .lines()
                .find(|line| line.starts_with(&format!("| `{}` |", family.name)));
            let row = row.unwrap_or_else(|| panic!("{} is not documented", family.name));
            let unknown = family
                .labels
                .iter()
                .find(|label| !row.contains(&format!("`{label}`")));
            assert_eq!(unknown, None, "{row}");
        }
    }
    assert!(
        daemon.contains("volumed_cloud_call_seconds_count{method=\"attach\",outcome=\"ok\"}"),
        "{daemon}"
    );
    assert!(
        service.contains("migrate_engine_replication_attempts_total{outcome=\"completed\"} 1"),
        "{service}"
    );
}
