//! What callers of the API rely on: the fields of discovery, and what is refused, with what to do.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use whole_system_tests::plain_http;

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
        (named("sizeless"), 422, "vm_refused"),
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
            let request = plain_http().get(format!("{}{path}", site.api)).bearer_auth(token);
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{path}");
        }
    }
    let alive = plain_http()
        .get(format!("{}/healthz", site.api))
        .send()
        .await
        .unwrap();
    assert_eq!(alive.status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_has_a_name_in_its_answer_and_in_what_went_wrong() {
    let Some(site) = Site::started(&[], &[]).await else {
        return;
    };
    for (brought, is_taken) in [("order-7", true), ("a b", false)] {
        let request = plain_http()
            .get(format!("{}/api/v1/replications", site.api))
            .header("x-request-id", brought);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
        assert!(answer.headers().contains_key("www-authenticate"));
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
        let named = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
        let problem: Value = answer.json().await.unwrap();
        assert_eq!(problem["request_id"], named.as_str());
        assert_eq!(named == brought, is_taken, "{named}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whether_the_service_is_ready_tells_what_is_wrong() {
    let Some(mut site) = Site::started(&[], &[]).await else {
        return;
    };
    let ready = async |site: &Site| {
        let answer = plain_http()
            .get(format!("{}/readyz", site.api))
            .send()
            .await
            .unwrap();
        (answer.status(), answer.json::<Value>().await.unwrap())
    };
    let (status, told) = ready(&site).await;
    assert_eq!((status, &told["ready"]), (StatusCode::OK, &json!(true)), "{told}");
    site.appliance.kill().await;
    let (status, told) = ready(&site).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{told}");
    let wrong = &told["checks"][1];
    assert_eq!(
        (&wrong["name"], &wrong["ok"]),
        (&json!("volumed"), &json!(false)),
        "{told}"
    );
    site.appliance.start().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_with_a_wrong_password_or_certificate_is_said_and_mended_without_a_restart() {
    let Some(site) = Site::started(&[], &[]).await else {
        return;
    };
    let vm = site.machines().await.remove(0);
    let refused = async |code: &str| {
        let (status, problem) = site
            .ask(Method::POST, "/replications", Some(&site.request(&vm)))
            .await;
        assert!(!status.is_success() && problem["code"] == code, "{problem}");
    };
    let good = std::fs::read_to_string(site.file("sources.toml")).unwrap();
    site.write_sources("wrong");
    site.hang_up("read anew").await;
    refused("source_credentials").await;
    site.write_sources(whole_system_tests::VCENTER_PASSWORD);
    let other = good.replace(&site.vcenter.fingerprint, &format!("{}AB", "AB:".repeat(31)));
    std::fs::write(site.file("sources.toml"), other).unwrap();
    site.hang_up("read anew").await;
    refused("source_certificate").await;
    // A file with a mistake leaves what was in force.
    std::fs::write(site.file("sources.toml"), "[[vsphere]]\nhots = 1\n").unwrap();
    site.hang_up("stay as they were").await;
    refused("source_certificate").await;
    std::fs::write(site.file("sources.toml"), good).unwrap();
    site.hang_up("read anew").await;
    site.replicated(&vm).await;
    assert!(!site.said().contains(whole_system_tests::VCENTER_PASSWORD));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_repeated_with_its_key_is_one_job_and_events_tell_of_it() {
    let Some(site) = Site::started(&[], &[]).await else {
        return;
    };
    let vm = site.machines().await.remove(0);
    let token = std::fs::read_to_string(site.file("token")).unwrap();
    let client = plain_http();
    let mut events = client
        .get(format!("{}/api/v1/events", site.api))
        .bearer_auth(token.trim())
        .send()
        .await
        .unwrap();
    let ask = async |body: Value| {
        let answer = client
            .post(format!("{}/api/v1/replications", site.api))
            .bearer_auth(token.trim())
            .header("Idempotency-Key", "7")
            .body(body.to_string())
            .send()
            .await
            .unwrap();
        (answer.status(), answer.json::<Value>().await.unwrap())
    };
    let (first, job) = ask(site.request(&vm)).await;
    let (again, same) = ask(site.request(&vm)).await;
    assert_eq!((first, again), (StatusCode::ACCEPTED, StatusCode::ACCEPTED));
    assert_eq!(job["id"], same["id"]);
    let mut other = site.request(&vm);
    other["target_network"] = json!("another");
    let (status, problem) = ask(other).await;
    assert_eq!(
        (status.as_u16(), &problem["code"]),
        (422, &json!("idempotency_key_reused"))
    );
    site.ended(job["id"].as_str().unwrap()).await;
    let mut told = String::new();
    while !told.contains("\"status\":\"completed\"") {
        told += &String::from_utf8_lossy(&events.chunk().await.unwrap().unwrap());
    }
    assert!(told.contains("event: replication"), "{told}");
    let metrics = client
        .get(format!("{}/metrics", site.api))
        .bearer_auth(token.trim());
    let metrics = metrics.send().await.unwrap().text().await.unwrap();
    assert!(
        metrics.contains(r#"migrate_engine_replications{status="completed"} 1"#),
        "{metrics}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_service_on_the_same_records_is_refused() {
    let Some(site) = Site::started(&[], &[]).await else {
        return;
    };
    let words = site.second_service_says().await;
    assert!(words.contains("another service works with"), "{words}");
}
