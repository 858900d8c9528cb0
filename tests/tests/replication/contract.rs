//! What callers of the API rely on: the fields of discovery, and what is refused, with what to do.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::support::Site;

#[tokio::test(flavor = "multi_thread")]
async fn discovery_tells_every_field_and_filters() {
    let Some(site) = Site::started(&["-odd"], &[]).await else {
        return;
    };
    let machines = site.machines().await;
    let vm = &machines[0];
    for field in [
        "id",
        "name",
        "path",
        "datacenter",
        "num_cpu",
        "cpus",
        "memory_mb",
        "power_state",
        "guest_os",
        "vmx_version",
    ] {
        let empty = [Value::Null, Value::from(""), Value::from(0)].contains(&vm[field]);
        assert!(!empty, "{field}: {vm:#}");
    }
    for field in [
        "id",
        "path",
        "size_gb",
        "capacity_bytes",
        "datastore",
        "label",
        "provisioning_type",
    ] {
        assert!(!vm["disks"][0][field].is_null(), "{field}: {vm:#}");
    }
    for field in [
        "name",
        "type",
        "connected",
        "mac_address",
        "label",
        "network_name",
        "adapter_type",
    ] {
        assert!(!vm["networks"][0][field].is_null(), "{field}: {vm:#}");
    }
    let mut body = site.everything();
    body["filter"] = vm["name"].clone();
    let (_, found) = site.discover(&body).await;
    assert_eq!(found["vms"].as_array().unwrap().len(), 1);
    assert_eq!(found["vms"][0]["id"], vm["id"]);
    body["filter"] = json!("nobody");
    let (status, found) = site.discover(&body).await;
    assert_eq!((status, found), (StatusCode::OK, json!({"vms": []})));
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_of_discovery_are_refused_with_what_to_do() {
    let Some(site) = Site::started(&[], &[]).await else {
        return;
    };
    let with = |key: &str, value: Value| {
        let mut body = site.everything();
        body[key] = value;
        body
    };
    for (body, status, code, words) in [
        (
            with("password", json!("wrong")),
            422,
            "source_credentials",
            "user name or password",
        ),
        (
            with("vcenter", json!("127.0.0.1:1")),
            502,
            "source_unreachable",
            "127.0.0.1:1",
        ),
        (with("vcenter", json!("http://x")), 422, "vm_refused", "https"),
        (with("vcenter", json!("")), 400, "invalid_request", "vcenter"),
        (
            with("datacenter", json!("nowhere")),
            404,
            "vm_not_found",
            "nowhere",
        ),
        (with("pasword", json!("x")), 400, "invalid_request", "pasword"),
        (json!({"vcenter": "x"}), 400, "invalid_request", "username"),
    ] {
        let (found, problem) = site.discover(&body).await;
        assert_eq!(found.as_u16(), status, "{problem}");
        assert_eq!(problem["code"], code, "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains(words), "{problem}");
        assert!(problem["hint"].as_str().unwrap().len() > 10, "{problem}");
        assert!(!problem.to_string().contains("p@ss"), "{problem}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_of_replications_are_refused_and_leave_nothing() {
    let Some(site) = Site::started(&["-odd"], &[]).await else {
        return;
    };
    let machines = site.machines().await;
    let good = site.request(&machines[0]);
    let with = |edit: &dyn Fn(&mut Value)| {
        let mut body = good.clone();
        edit(&mut body);
        body
    };
    let named = |part: &str| {
        let vm = machines
            .iter()
            .find(|vm| vm["name"].as_str().unwrap().contains(part));
        site.request(vm.unwrap_or_else(|| panic!("no machine {part}: {machines:#?}")))
    };
    let cases = [
        (
            with(&|b| b["source_vm"]["path"] = json!("/DC0/vm/nobody")),
            404,
            "vm_not_found",
        ),
        (with(&|b| b["source_vm"]["id"] = json!("vm-1")), 409, "vm_changed"),
        (
            with(&|b| b["source_vm"]["name"] = json!("other")),
            409,
            "vm_changed",
        ),
        (
            with(&|b| b["source_vm"]["path"] = json!("")),
            400,
            "invalid_request",
        ),
        (
            with(&|b| b["source_vm"]["colour"] = json!("red")),
            400,
            "invalid_request",
        ),
        (with(&|b| b["ossea_config_id"] = json!(77)), 422, "unknown_config"),
        (
            with(&|b| b["replication_type"] = json!("sideways")),
            400,
            "invalid_request",
        ),
        (
            with(&|b| b["vcenter_host"] = json!("vcenter.elsewhere")),
            422,
            "vm_refused",
        ),
        (named("independent"), 422, "vm_refused"),
        (named("raw"), 422, "vm_refused"),
        (named("diskless"), 422, "vm_refused"),
        (named("no-config"), 422, "vm_refused"),
        (named("odd-snapshot"), 422, "vm_refused"),
        (
            with(&|b| b["source_vm"]["path"] = json!("odd-twin")),
            409,
            "vm_ambiguous",
        ),
    ];
    for (body, status, code) in cases {
        let (found, problem) = site.ask(Method::POST, "/replications", Some(&body)).await;
        assert_eq!(
            (found.as_u16(), &problem["code"]),
            (status, &json!(code)),
            "{body}\n{problem:#}"
        );
        assert!(problem["detail"].as_str().unwrap().len() > 10, "{problem}");
        assert!(problem["hint"].as_str().unwrap().len() > 10, "{problem}");
    }
    let (_, list) = site.ask(Method::GET, "/replications", None).await;
    assert_eq!(list["replications"], json!([]));
    let (status, problem) = site
        .ask(Method::GET, "/replications/job-20200101-000000", None)
        .await;
    assert_eq!(
        (status.as_u16(), &problem["code"]),
        (404, &json!("job_not_found"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_token_nothing_is_told() {
    let Some(site) = Site::started(&[], &[]).await else {
        return;
    };
    for path in ["/api/v1/replications", "/api/v1/transfers", "/metrics"] {
        for token in ["", "wrong"] {
            let request = reqwest::Client::new()
                .get(format!("{}{path}", site.api))
                .bearer_auth(token);
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{path}");
        }
    }
    let alive = reqwest::get(format!("{}/healthz", site.api)).await.unwrap();
    assert_eq!(alive.status(), StatusCode::OK);
}
