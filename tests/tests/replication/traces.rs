//! One trace of a replication, from the engine through the daemon to the call to the cloud, as a collector receives it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use parking_lot::Mutex;
use prost::Message;
use whole_system_tests::{CloudSite, wait_until};

use super::support::{PATIENCE, Secrets, Site, bytes};

/// What was received of a span.
#[derive(Debug, Clone)]
struct Received {
    service: String,
    name: String,
    trace: Vec<u8>,
    id: Vec<u8>,
    parent: Vec<u8>,
}

type Spans = Arc<Mutex<Vec<Received>>>;

/// A collector on the loopback.
async fn collector() -> (String, Spans) {
    let spans = Spans::default();
    let kept = Arc::clone(&spans);
    let take = move |body: Bytes| async move {
        kept.lock()
            .extend(received(&ExportTraceServiceRequest::decode(body).unwrap()));
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().route("/v1/traces", post(take));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (address, spans)
}

fn received(request: &ExportTraceServiceRequest) -> Vec<Received> {
    let mut all = Vec::new();
    for resource in &request.resource_spans {
        let attributes = resource.resource.iter().flat_map(|of| &of.attributes);
        let name = attributes.filter(|attribute| attribute.key == "service.name");
        let service = format!("{:?}", name.map(|attribute| &attribute.value).collect::<Vec<_>>());
        for span in resource.scope_spans.iter().flat_map(|scope| &scope.spans) {
            all.push(Received {
                service: service.clone(),
                name: span.name.clone(),
                trace: span.trace_id.clone(),
                id: span.span_id.clone(),
                parent: span.parent_span_id.clone(),
            });
        }
    }
    all
}

/// The names of the spans from the outermost to this one, with the programs that sent them.
fn way_to(span: &Received, all: &[Received]) -> Vec<(bool, String)> {
    let by_id: HashMap<_, _> = all.iter().map(|span| (&span.id, span)).collect();
    let (mut way, mut at, mut seen) = (Vec::new(), Some(span), HashSet::new());
    while let Some(span) = at.filter(|span| seen.insert(span.id.clone())) {
        way.push((span.service.contains("volumed"), span.name.clone()));
        at = by_id.get(&span.parent).copied();
    }
    way.reverse();
    way
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replication_is_one_trace_from_the_engine_to_the_cloud() {
    let (address, spans) = collector().await;
    let Some(mut cloud) = CloudSite::new().await else {
        return;
    };
    cloud
        .daemon
        .setup
        .environment
        .push(("OTEL_EXPORTER_OTLP_ENDPOINT", address.clone()));
    cloud
        .daemon
        .setup
        .environment
        .push(("OTEL_BSP_SCHEDULE_DELAY", "200".to_owned()));
    cloud.daemon.start().await;
    let CloudSite {
        daemon,
        cloud,
        hypervisor,
    } = cloud;
    let environment = vec![
        ("OTEL_EXPORTER_OTLP_ENDPOINT", address),
        ("OTEL_BSP_SCHEDULE_DELAY", "200".to_owned()),
    ];
    let mut site = Site::with_worker_beside(daemon, &[], &[], Secrets::default(), environment).await;
    let vm = site.machines().await.remove(0);
    site.vcenter
        .write(vm["id"].as_str().unwrap(), 512, &bytes(1, 100_000));
    site.replicated(&vm).await;
    site.end(rustix::process::Signal::TERM);
    let wanted = [
        (false, "job"),
        (false, "attempt"),
        (false, "step"),
        (false, "volumed"),
        (true, "request"),
        (true, "operation"),
        (true, "step"),
        (true, "cloud_call"),
    ];
    let wanted = wanted.map(|(is_daemon, name)| (is_daemon, name.to_owned()));
    wait_until("a trace from the engine to the cloud", PATIENCE, async || {
        let all = spans.lock().clone();
        let whole = all
            .iter()
            .find(|span| span.name == "cloud_call" && way_to(span, &all) == wanted)?;
        let root = all.iter().find(|span| span.name == "job")?;
        (whole.trace == root.trace).then_some(())
    })
    .await;
    drop((site, cloud, hypervisor));
}
