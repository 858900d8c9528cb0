//! The progress of a copy as others see it: by the API, by the stream and by the metrics, beside the terminal's.

use serde_json::Value;

use super::images::SIZE;
use super::support::{Bench, PATIENCE, Running};
use whole_system_tests::{plain_http, wait_until};

/// Where an engine serves its progress.
async fn address(engine: &mut Running) -> String {
    let begin = "progress: http://";
    engine.says(begin).await;
    let said = engine.said();
    let rest = &said[said.find(begin).unwrap() + begin.len()..];
    rest.split('/').next().unwrap().to_owned()
}

async fn text(address: &str, path: &str) -> String {
    let answer = plain_http()
        .get(format!("http://{address}{path}"))
        .send()
        .await
        .unwrap();
    assert!(answer.status().is_success(), "{path}: {}", answer.status());
    answer.text().await.unwrap()
}

/// The transfer that is under way, once some of it is done.
async fn under_way(address: &str) -> Value {
    wait_until("a transfer that moves", PATIENCE, async || {
        let list: Value = serde_json::from_str(&text(address, "/api/v1/transfers").await).unwrap();
        let transfers = list["transfers"].as_array().unwrap().clone();
        transfers
            .into_iter()
            .find(|one| one["status"] == "running" && one["data_done_bytes"].as_u64() > Some(0))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_sees_the_same_numbers() {
    let Some(bench) = Bench::started().await else {
        return;
    };
    let raw = bench.full_disk("disk.raw", SIZE);
    let (image, listen) = (raw.to_str().unwrap(), ["--listen", "127.0.0.1:0"]);
    let mut engine = bench.start("seen", &[&[image, "--rate", "4MiB"][..], &listen].concat());
    let address = address(&mut engine).await;
    let mut stream = plain_http()
        .get(format!("http://{address}/api/v1/events"))
        .send()
        .await
        .unwrap();
    let seen = under_way(&address).await;
    assert_eq!(
        (&seen["source"], &seen["disk"]),
        (&image.into(), &"disk.raw".into())
    );
    assert_eq!(
        (seen["data_bytes"].as_u64(), seen["total_bytes"].as_u64()),
        (Some(SIZE), Some(SIZE))
    );
    let label = format!(r#"transfer="1",source="{image}",disk="disk.raw",doing="copying""#);
    let metrics = text(&address, "/metrics").await;
    assert!(metrics.contains(&format!("migrate_engine_transfer_size_bytes{{{label}}} 17301504")));
    let done = seen["data_done_bytes"].as_u64().unwrap();
    let name = format!("migrate_engine_transfer_data_done_bytes{{{label}}} ");
    let line = metrics.lines().find_map(|line| line.strip_prefix(&name)).unwrap();
    assert!(
        line.parse::<f64>().unwrap() >= done as f64,
        "{line} after {done}: a later look sees no less"
    );
    // The stream tells the end, and ends with the process.
    let mut told = String::new();
    while let Some(piece) = stream.chunk().await.unwrap() {
        told.push_str(std::str::from_utf8(&piece).unwrap());
    }
    let ended = engine.ended().await;
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    assert!(told.contains(r#""phase":"copying""#), "{told}");
    let finished: Vec<Value> = told
        .lines()
        .filter_map(|line| serde_json::from_str(line.strip_prefix("data: ")?).ok())
        .filter(|one: &Value| one["status"] == "finished")
        .collect();
    let copied = finished.iter().find(|one| one["doing"] == "copying").unwrap();
    assert_eq!(
        copied["data_done_bytes"],
        ended.disk(0)["bytes_read"],
        "as the report has it"
    );
    assert!(
        finished.iter().any(|one| one["doing"] == "reading_back"),
        "{told}"
    );
    bench.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_is_not_served_to_other_machines() {
    let Some(bench) = Bench::started().await else {
        return;
    };
    let raw = bench.full_disk("disk.raw", SIZE);
    let image = raw.to_str().unwrap();
    bench
        .refused(&[image, "--listen", "0.0.0.0:0"], "only on the loopback")
        .await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    bench
        .refused(&[image, "--listen", &address], "give another port")
        .await;
    assert!(bench.volumes().await.is_empty());
}
