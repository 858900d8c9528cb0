//! Requests that no honest client would send: each is refused with its own code, and nothing comes of it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use reqwest::Method;
use serde_json::json;
use volume_client::types::{Cursor, ErrorCode, VolumeId};
use whole_system_tests::{Answer, Appliance, Raw};

const MIB: u64 = 1 << 20;

fn post_plain(raw: &Raw, path: &str) -> reqwest::RequestBuilder {
    raw.request(Method::POST, path)
        .header("content-type", "application/json")
}

#[track_caller]
fn assert_code(answer: &Answer, code: ErrorCode) {
    let problem = answer.problem();
    assert_eq!(problem.code, code, "{answer:#?}");
    assert!(
        !problem.detail.is_empty() && problem.detail.len() < 1000,
        "{answer:#?}"
    );
}

/// That a daemon still works and recorded nothing.
async fn assert_untouched(appliance: &Appliance) {
    let client = appliance.client();
    assert_eq!(
        client
            .list_volumes(&Default::default(), &Cursor::default())
            .await
            .unwrap()
            .items,
        []
    );
    assert_eq!(
        client
            .list_operations(&Default::default(), &Cursor::default())
            .await
            .unwrap()
            .items,
        []
    );
    assert!(client.readiness().await.unwrap().ready);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_volume_is_unknown_at_every_endpoint() {
    let Some(appliance) = Appliance::started().await else {
        return;
    };
    let raw = appliance.raw();
    let unknown = VolumeId::new();
    let snapshot = VolumeId::new();
    let base = format!("/api/v1/volumes/{unknown}");
    let calls = [
        (Method::GET, base.clone(), None),
        (Method::DELETE, base.clone(), None),
        (
            Method::POST,
            format!("{base}/attach"),
            Some(json!({"vm_id": "appliance-1"})),
        ),
        (Method::POST, format!("{base}/detach"), Some(json!({}))),
        (
            Method::POST,
            format!("{base}/resize"),
            Some(json!({"size_bytes": MIB})),
        ),
        (Method::POST, format!("{base}/correlate"), Some(json!({}))),
        (Method::GET, format!("{base}/device"), None),
        (Method::GET, format!("{base}/snapshots"), None),
        (
            Method::POST,
            format!("{base}/snapshots"),
            Some(json!({"name": "s"})),
        ),
        (
            Method::POST,
            format!("{base}/snapshots/{snapshot}/revert"),
            Some(json!({})),
        ),
        (Method::DELETE, format!("{base}/snapshots/{snapshot}"), None),
        (
            Method::POST,
            "/api/v1/leases".to_owned(),
            Some(json!({"volume_id": unknown, "purpose": "transfer", "access": "read", "holder": "h"})),
        ),
    ];
    for (method, path, body) in calls {
        let request = raw.request(method.clone(), &path);
        let request = match &body {
            Some(body) => request.json(body),
            None => request,
        };
        let answer = raw.send(request).await;
        eprintln!("{method} {path}: {}", answer.status);
        assert_code(&answer, ErrorCode::VolumeNotFound);
    }
    assert_untouched(&appliance).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_that_are_none_name_nothing() {
    let Some(appliance) = Appliance::started().await else {
        return;
    };
    let raw = appliance.raw();
    let long = "x".repeat(2000);
    let bad = [
        "1",
        "not-a-uuid",
        "%00",
        "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "%ff%fe",
        "00000000000000000000000000000000",
        "%7B00000000-0000-0000-0000-000000000000%7D",
        long.as_str(),
    ];
    for id in bad {
        for (path, code) in [
            (format!("/api/v1/volumes/{id}"), ErrorCode::VolumeNotFound),
            (format!("/api/v1/volumes/{id}/device"), ErrorCode::VolumeNotFound),
            (format!("/api/v1/operations/{id}"), ErrorCode::OperationNotFound),
            (format!("/api/v1/leases/{id}"), ErrorCode::LeaseNotFound),
        ] {
            assert_code(&raw.get(&path).await, code);
        }
    }
    assert_code(&raw.get("/api/v1/nowhere").await, ErrorCode::RouteNotFound);
    assert_code(&raw.get("/etc/passwd").await, ErrorCode::RouteNotFound);
    let patch = raw.request(Method::PATCH, "/api/v1/volumes");
    assert_code(&raw.send(patch).await, ErrorCode::MethodNotAllowed);
    assert_untouched(&appliance).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_no_json_object_are_refused() {
    let Some(appliance) = Appliance::started().await else {
        return;
    };
    let raw = appliance.raw();
    let deep = "[".repeat(200_000);
    let malformed = [
        "{",
        "not json",
        r#"{"name": "a", "size_bytes": 1048576"#,
        r#"{"name": "a" "size_bytes": 1}"#,
        "\u{feff}{}",
        "{}{}",
        "\0",
        deep.as_str(),
    ];
    for body in malformed {
        assert_code(
            &raw.post("/api/v1/volumes", body.to_owned()).await,
            ErrorCode::MalformedJson,
        );
    }
    assert_code(
        &raw.post("/api/v1/volumes", vec![0xff, 0xfe, b'{']).await,
        ErrorCode::MalformedJson,
    );
    for body in ["[]", "null", "1", r#""text""#] {
        assert_code(
            &raw.post("/api/v1/volumes", body).await,
            ErrorCode::InvalidRequest,
        );
    }
    assert_untouched(&appliance).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_another_type_is_refused() {
    let Some(appliance) = Appliance::started().await else {
        return;
    };
    let raw = appliance.raw();
    let body = r#"{"name": "a", "size_bytes": 1048576}"#;
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/jsonp",
        "",
    ] {
        let request = raw
            .request(Method::POST, "/api/v1/volumes")
            .header("content-type", kind);
        assert_code(
            &raw.send(request.body(body)).await,
            ErrorCode::UnsupportedMediaType,
        );
    }
    let undeclared = raw.request(Method::POST, "/api/v1/volumes").body(body);
    assert_code(&raw.send(undeclared).await, ErrorCode::UnsupportedMediaType);
    assert_untouched(&appliance).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_too_large_is_refused() {
    let Some(appliance) = Appliance::started().await else {
        return;
    };
    let raw = appliance.raw();
    // Announced truthfully, one byte over the limit.
    let body = format!(r#"{{"name": "{}"}}"#, "x".repeat((1 << 20) - 11));
    assert_eq!(body.len(), (1 << 20) + 1);
    assert_code(&raw.post("/api/v1/volumes", body).await, ErrorCode::BodyTooLarge);
    // Announced as far more than ever comes.
    let head = "POST /api/v1/volumes HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n";
    let answer = raw
        .bytes(format!("{head}content-length: 99999999999\r\n\r\n").as_bytes())
        .await;
    assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
    // Not announced at all, in chunks.
    let chunk = format!("{:x}\r\n{}\r\n", 1 << 16, "y".repeat(1 << 16));
    let chunked = format!(
        "{head}transfer-encoding: chunked\r\n\r\n{}0\r\n\r\n",
        chunk.repeat(20)
    );
    let answer = raw.bytes(chunked.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert_untouched(&appliance).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_http_ends_the_connection_and_not_the_daemon() {
    let Some(appliance) = Appliance::started().await else {
        return;
    };
    let raw = appliance.raw();
    let huge_header = format!(
        "GET /healthz HTTP/1.1\r\nhost: x\r\nx-big: {}\r\n\r\n",
        "z".repeat(1 << 20)
    );
    for bytes in [
        b"\0\0\0\0\0\0\0\0\r\n\r\n".as_slice(),
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /api/v1/volumes HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
        b"POST /api/v1/volumes HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nabcdef",
        huge_header.as_bytes(),
    ] {
        let answer = raw.bytes(bytes).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    // A body that ends early.
    let head = "POST /api/v1/volumes HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n";
    let answer = raw
        .bytes(format!("{head}content-length: 100\r\n\r\n{{").as_bytes())
        .await;
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 400"),
        "{answer}"
    );
    assert_untouched(&appliance).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_that_are_wrong_are_refused() {
    let Some(appliance) = Appliance::started().await else {
        return;
    };
    let raw = appliance.raw();
    let with = |key: &str, value: serde_json::Value| {
        let mut body = json!({"name": "a", "size_bytes": MIB});
        body[key] = value;
        body.to_string()
    };
    let long = "n".repeat(10 << 10);
    let mut bodies = Vec::new();
    let names = [
        "",
        "a\nb",
        "a\0b",
        "\u{1b}[31m",
        "../../etc/passwd",
        "a/b",
        "naïve",
        "$(reboot)",
        &long,
    ];
    bodies.extend(names.map(|name| with("name", json!(name))));
    bodies.extend([json!(7), json!(null), json!(["a"])].map(|name| with("name", name)));
    let sizes = [
        json!(0),
        json!(-1),
        json!(1.5),
        json!("1048576"),
        json!(null),
        json!(u64::MAX),
        json!(i64::MIN),
    ];
    bodies.extend(sizes.map(|size| with("size_bytes", size)));
    bodies.push(r#"{"name": "a", "size_bytes": 99999999999999999999999999}"#.to_owned());
    bodies.push(r#"{"name": "a", "size_bytes": 1e30}"#.to_owned());
    bodies.push(with("extra", json!(1)));
    bodies.push(with("source", json!({"vm": "v"})));
    bodies.push(with("source", json!({"vm": "", "disk": "d"})));
    bodies.push(with("source", json!({"vm": "v", "disk": "d\r\n"})));
    bodies.push(with("source", json!({"vm": "v", "disk": "d", "more": 1})));
    bodies.push(json!({"size_bytes": MIB}).to_string());
    bodies.push(json!({"name": "a"}).to_string());
    bodies.push(r#"{"name": "a", "name": "b", "size_bytes": 1048576}"#.to_owned());
    for body in bodies {
        let shown: String = body.chars().take(80).collect();
        let answer = raw.post("/api/v1/volumes", body).await;
        eprintln!("{shown}: {}", answer.status);
        assert_code(&answer, ErrorCode::InvalidRequest);
    }
    // Well-formed, but no provider has it.
    let answer = raw
        .post("/api/v1/volumes", with("size_bytes", json!(i64::MAX)))
        .await;
    assert_code(&answer, ErrorCode::SizeOutOfRange);
    assert_untouched(&appliance).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_that_are_wrong_are_refused() {
    let Some(appliance) = Appliance::started().await else {
        return;
    };
    let raw = appliance.raw();
    for query in [
        "cursor=x",
        "cursor=",
        "cursor=%00",
        "cursor=-1",
        "limit=0",
        "limit=-1",
        "limit=1001",
        "limit=99999999999999999999",
        "limit=abc",
        "state=broken",
        "unknown=1",
        "limit=1&limit=2",
    ] {
        let answer = raw.get(&format!("/api/v1/volumes?{query}")).await;
        eprintln!("{query}: {}", answer.status);
        assert_code(&answer, ErrorCode::InvalidRequest);
    }
    for path in [
        "/api/v1/operations?status=x",
        "/api/v1/leases?limit=0",
        "/api/v1/events?after=x",
    ] {
        assert_code(&raw.get(path).await, ErrorCode::InvalidRequest);
    }
    let resume = raw
        .request(Method::GET, "/api/v1/events")
        .header("last-event-id", "yesterday");
    assert_code(&raw.send(resume).await, ErrorCode::InvalidRequest);
    let waiting = post_plain(&raw, "/api/v1/volumes?wait=soon").body("{}");
    assert_code(&raw.send(waiting).await, ErrorCode::InvalidRequest);
    assert_untouched(&appliance).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idempotency_keys_that_are_wrong_are_refused() {
    let Some(appliance) = Appliance::started().await else {
        return;
    };
    let raw = appliance.raw();
    let body = r#"{"name": "a", "size_bytes": 1048576}"#;
    let long = "k".repeat(256);
    for key in [
        b"".as_slice(),
        b"tab\there",
        b"\xff\xfe",
        "schlüssel".as_bytes(),
        long.as_bytes(),
    ] {
        let value = reqwest::header::HeaderValue::from_bytes(key).unwrap();
        let request = post_plain(&raw, "/api/v1/volumes")
            .header("idempotency-key", value)
            .body(body);
        assert_code(&raw.send(request).await, ErrorCode::InvalidRequest);
    }
    assert_untouched(&appliance).await;
}

/// The client takes keys of up to 255 characters; the daemon must take what its own client promises.
#[tokio::test(flavor = "multi_thread")]
async fn the_longest_key_of_the_client_is_one_for_the_daemon() {
    let Some(appliance) = Appliance::started().await else {
        return;
    };
    let key = "k".repeat(255);
    let Ok(key) = key.parse::<volume_client::client::IdempotencyKey>() else {
        return;
    };
    let new = volume_client::types::NewVolume {
        name: "a".into(),
        size_bytes: MIB,
        source: None,
    };
    appliance
        .client()
        .with_idempotency_key(key)
        .create_volume(&new)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn leases_that_make_no_sense_are_refused() {
    let Some(appliance) = Appliance::started().await else {
        return;
    };
    let raw = appliance.raw();
    let id = appliance.create("leased", MIB).await.id;
    appliance.attach(id).await;
    let with = |key: &str, value: serde_json::Value| {
        let mut body = json!({"volume_id": id, "purpose": "transfer", "access": "read", "holder": "h"});
        body[key] = value;
        body.to_string()
    };
    for body in [
        with("volume_id", json!("x")),
        with("purpose", json!("fun")),
        with("access", json!("exec")),
        with("holder", json!("")),
        with("holder", json!("h\u{7}")),
        with("holder", json!("h".repeat(10 << 10))),
        with("detail", json!("d".repeat(10 << 10))),
        with("ttl_seconds", json!(0)),
        with("ttl_seconds", json!(4)),
        with("ttl_seconds", json!(-5)),
        with("ttl_seconds", json!(86_401)),
        with("more", json!(1)),
    ] {
        assert_code(&raw.post("/api/v1/leases", body).await, ErrorCode::InvalidRequest);
    }
    assert_eq!(
        appliance
            .client()
            .list_leases(&Cursor::default())
            .await
            .unwrap()
            .items,
        []
    );
    appliance.detach(id).await;
}
