//! The description of the API: as it is published, whole, and about every code.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;
use volume_client::types::ErrorCode;
use volumed::api::openapi;

fn text() -> String {
    serde_json::to_string_pretty(&openapi::document()).expect("it is JSON") + "\n"
}

fn document() -> Value {
    serde_json::from_str(&text()).expect("it is JSON")
}

#[test]
fn the_published_description_is_the_present_one() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi.json");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&golden, text()).unwrap();
    }
    let published = std::fs::read_to_string(&golden).unwrap_or_default();
    let same = published == text();
    assert!(
        same,
        "docs/openapi.json is not what the daemon serves; UPDATE_GOLDEN=1 rewrites it"
    );
}

#[test]
fn every_code_is_described() {
    let text = text();
    for code in ErrorCode::ALL {
        assert!(text.contains(&format!("`{code}`")), "{code} is not described");
    }
}

#[test]
fn every_reference_leads_somewhere() {
    let document = document();
    let mut references = BTreeSet::new();
    collect(&document, &mut references);
    assert!(references.len() > 20, "{references:?}");
    for reference in references {
        let pointer = reference.trim_start_matches('#');
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
}

#[test]
fn each_list_is_of_its_own_items() {
    let document = document();
    for (path, items) in [
        ("/api/v1/volumes", "Volume"),
        ("/api/v1/leases", "Lease"),
        ("/api/v1/findings", "Finding"),
    ] {
        let answer = &document["paths"][path]["get"]["responses"]["200"];
        let page = answer["content"]["application/json"]["schema"]["$ref"]
            .as_str()
            .unwrap();
        let page = document.pointer(page.trim_start_matches('#')).unwrap();
        let reference = format!("#/components/schemas/{items}");
        assert_eq!(page["properties"]["items"]["items"]["$ref"], reference, "{path}");
    }
}

fn collect(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::String(reference)) = fields.get("$ref") {
                found.insert(reference.clone());
            }
            fields.values().for_each(|value| collect(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| collect(value, found)),
        _ => {}
    }
}

#[test]
fn every_operation_has_an_id_of_its_own_and_answers_with_problems() {
    let document = document();
    let mut ids = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap();
            assert!(ids.insert(id.to_owned()), "{id} is used twice");
            let problem = &operation["responses"]["500"]["content"]["application/problem+json"];
            assert!(problem.is_object(), "{method} {path} has no problem");
        }
    }
    assert!(ids.len() >= 30, "only {} operations", ids.len());
}
