//! Whether a value is as a schema says: its types, what must be there, and that nothing is there that is not described.

use serde_json::Value;

/// What of `value` is not as the schema of this name says; empty where all of it is.
pub(super) fn faults(document: &Value, schema: &str, value: &Value) -> Vec<String> {
    let schema = &document["components"]["schemas"][schema];
    assert!(schema.is_object(), "there is no such schema");
    let reader = Reader { document };
    let mut found = reader.misfits(schema, value, "$");
    found.extend(reader.undescribed(&[schema], value, "$"));
    found
}

struct Reader<'a> {
    document: &'a Value,
}

impl<'a> Reader<'a> {
    fn follow(&self, schema: &'a Value) -> &'a Value {
        match schema["$ref"].as_str() {
            Some(reference) => {
                let pointer = reference.trim_start_matches('#');
                self.document.pointer(pointer).expect("references lead somewhere")
            }
            None => schema,
        }
    }

    fn misfits(&self, schema: &'a Value, value: &Value, at: &str) -> Vec<String> {
        let schema = self.follow(schema);
        let mut found = Vec::new();
        let kinds = &schema["type"];
        let kinds: Vec<_> = kinds
            .as_array()
            .map_or_else(|| vec![kinds], |all| all.iter().collect());
        let is_of_kind = |kind: &&Value| kind.as_str().is_none_or(|kind| is(kind, value));
        if !kinds.iter().any(is_of_kind) {
            found.push(format!("{at}: {value} is none of {kinds:?}"));
        }
        if schema["enum"]
            .as_array()
            .is_some_and(|words| !words.contains(value))
        {
            found.push(format!("{at}: {value} is none of {}", schema["enum"]));
        }
        for part in list(&schema["allOf"]) {
            found.extend(self.misfits(part, value, at));
        }
        let variants = list(&schema["oneOf"]);
        if !variants.is_empty() && !variants.iter().any(|one| self.misfits(one, value, at).is_empty()) {
            found.push(format!("{at}: {value} is none of {variants:?}"));
        }
        if let Some(fields) = value.as_object() {
            let needed = list(&schema["required"]).iter().filter_map(Value::as_str);
            let missing = needed.filter(|name| !fields.contains_key(*name));
            found.extend(missing.map(|name| format!("{at}: {name} is missing")));
            for (name, field) in fields {
                if let Some(of_field) = schema["properties"].get(name) {
                    found.extend(self.misfits(of_field, field, &format!("{at}.{name}")));
                }
            }
        }
        for item in list(value).iter().filter(|_| schema["items"].is_object()) {
            found.extend(self.misfits(&schema["items"], item, &format!("{at}[]")));
        }
        found
    }

    /// The parts that a value is described by: references followed, and of alternatives those that fit.
    fn parts(&self, schema: &'a Value, value: &Value) -> Vec<&'a Value> {
        let schema = self.follow(schema);
        let fitting = list(&schema["oneOf"])
            .iter()
            .filter(|one| self.misfits(one, value, "").is_empty());
        let parts = list(&schema["allOf"]).iter().chain(fitting);
        let mut all = vec![schema];
        all.extend(parts.flat_map(|part| self.parts(part, value)));
        all
    }

    fn undescribed(&self, schemas: &[&'a Value], value: &Value, at: &str) -> Vec<String> {
        let parts: Vec<_> = schemas.iter().flat_map(|one| self.parts(one, value)).collect();
        let says_fields = parts.iter().any(|part| part["properties"].is_object());
        let mut found = Vec::new();
        for (name, field) in value.as_object().into_iter().flatten().filter(|_| says_fields) {
            let place = format!("{at}.{name}");
            let of_field: Vec<_> = parts
                .iter()
                .filter_map(|part| part["properties"].get(name))
                .collect();
            match of_field.is_empty() {
                true => found.push(format!("{place} is not described")),
                false => found.extend(self.undescribed(&of_field, field, &place)),
            }
        }
        let items: Vec<_> = parts.iter().filter_map(|part| part.get("items")).collect();
        for item in list(value) {
            found.extend(self.undescribed(&items, item, &format!("{at}[]")));
        }
        found
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn is(kind: &str, value: &Value) -> bool {
    match kind {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => false,
    }
}

#[test]
fn what_does_not_fit_is_found() {
    let document = serde_json::json!({"components": {"schemas": {
        "Pair": {
            "type": "object",
            "required": ["name"],
            "properties": {
                "name": {"type": "string", "enum": ["a", "b"]},
                "next": {"oneOf": [{"type": "null"}, {"$ref": "#/components/schemas/Pair"}]},
            },
        },
    }}});
    for (text, fault) in [
        (r#"{"name": "a", "next": {"name": "b", "next": null}}"#, None),
        (r#"{"next": null}"#, Some("$: name is missing")),
        (r#"{"name": "c"}"#, Some("$.name: \"c\" is none of")),
        (r#"{"name": 7}"#, Some("$.name: 7 is none of")),
        (r#"{"name": "a", "next": {"name": "c"}}"#, Some("$.next: ")),
        (
            r#"{"name": "a", "next": {"name": "b", "more": 1}}"#,
            Some("$.next.more is not described"),
        ),
        (r#"[]"#, Some("$: [] is none of")),
    ] {
        let found = faults(&document, "Pair", &serde_json::from_str(text).unwrap());
        let is_as_said = fault.map_or(found.is_empty(), |fault| {
            found.first().is_some_and(|first| first.starts_with(fault))
        });
        assert!(is_as_said, "{text}: {found:?}");
    }
}
