//! What is in an answer: the object in its envelope, an error, or something that is not CloudStack's.

use serde_json::{Map, Value};

use super::error::{Failure, Refusal};
use super::http::Answer;

/// How much of a strange answer is shown.
const SHOWN: usize = 80;

/// Takes the answer to `command` out of its envelope, `{"<command>response": {…}}`.
pub(super) fn open(command: &str, answer: &Answer) -> Result<Map<String, Value>, Failure> {
    let content = match envelope(answer) {
        Ok((name, content)) => {
            if let Some(refusal) = refusal_in(&content) {
                return Err(Failure::Said(refusal));
            }
            let expected = format!("{}response", command.to_lowercase());
            if !name.eq_ignore_ascii_case(&expected) {
                return Err(strange(
                    answer,
                    format!("it is a `{name}` and not a `{expected}`"),
                ));
            }
            content
        }
        Err(why) => return Err(unwrapped(answer, why)),
    };
    if answer.status == 200 {
        Ok(content)
    } else {
        Err(strange(answer, "it is an error without a code".to_owned()))
    }
}

/// The one member of the object that an answer is.
fn envelope(answer: &Answer) -> Result<(String, Map<String, Value>), String> {
    let kind = answer.content_type.to_lowercase();
    if !kind.contains("json") && !kind.contains("javascript") {
        let start = String::from_utf8_lossy(&answer.body)
            .chars()
            .take(SHOWN)
            .collect::<String>();
        return Err(format!("its type is `{kind}`, and it begins {start:?}"));
    }
    let parsed: Value =
        serde_json::from_slice(&answer.body).map_err(|error| format!("it is no JSON ({error})"))?;
    let Value::Object(outer) = parsed else {
        return Err("it is no object".to_owned());
    };
    let mut members = outer.into_iter();
    match (members.next(), members.next()) {
        (Some((name, Value::Object(content))), None) => Ok((name, content)),
        _ => Err("it is not one object with a name".to_owned()),
    }
}

fn refusal_in(content: &Map<String, Value>) -> Option<Refusal> {
    let code = integer(content.get("errorcode")?)?;
    Some(Refusal {
        code,
        class: content
            .get("cserrorcode")
            .and_then(integer)
            .filter(|class| *class != 0),
        text: content
            .get("errortext")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned(),
    })
}

/// An answer without an envelope. Two statuses say enough by themselves.
fn unwrapped(answer: &Answer, why: String) -> Failure {
    if matches!(answer.status, 401 | 429) {
        return Failure::Said(Refusal {
            code: i64::from(answer.status),
            class: None,
            text: answer
                .description
                .clone()
                .unwrap_or_else(|| "unauthorized".to_owned()),
        });
    }
    strange(answer, why)
}

fn strange(answer: &Answer, why: String) -> Failure {
    Failure::NotCloudStack {
        status: answer.status,
        why,
    }
}

/// A number that may have been written as a text.
pub(super) fn integer(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, content_type: &str, body: &str) -> Answer {
        Answer {
            status,
            content_type: content_type.to_owned(),
            date: None,
            description: None,
            body: body.to_owned().into(),
        }
    }

    #[test]
    fn content_is_taken_out_whatever_javascript_is_called() {
        for kind in ["application/json; charset=UTF-8", "text/javascript"] {
            let answer = answer(200, kind, r#"{"listvolumesresponse":{}}"#);
            assert!(open("listVolumes", &answer).unwrap().is_empty());
        }
    }

    #[test]
    fn a_refusal_is_recognised_in_every_envelope() {
        let body = r#"{"errorresponse":{"uuidList":[],"errorcode":432,"cserrorcode":9999,"errortext":"no"}}"#;
        for status in [432, 200] {
            let failure = open("listVolumes", &answer(status, "application/json", body)).unwrap_err();
            let said = failure.refusal().unwrap();
            assert_eq!(
                (said.code, said.class, said.text.as_str()),
                (432, Some(9999), "no")
            );
        }
    }

    #[test]
    fn nothing_else_passes_for_an_answer() {
        for (status, kind, body) in [
            (200, "text/html", "<html>maintenance</html>"),
            (302, "text/html", ""),
            (502, "text/html", "<html>bad gateway</html>"),
            (200, "application/json", ""),
            (200, "application/json", "{\"listvolumesresponse\":{\"count\":"),
            (200, "application/json", "[]"),
            (200, "application/json", "{}"),
            (200, "application/json", r#"{"listvolumesresponse":[]}"#),
            (200, "application/json", r#"{"listzonesresponse":{}}"#),
            (500, "application/json", r#"{"listvolumesresponse":{}}"#),
            (200, "application/json", r#"{"listvolumesresponse":{},"more":{}}"#),
        ] {
            let failure = open("listVolumes", &answer(status, kind, body)).unwrap_err();
            assert!(
                matches!(failure, Failure::NotCloudStack { .. }),
                "{status} {body}: {failure}"
            );
        }
    }

    #[test]
    fn a_bare_401_is_a_denial() {
        let failure = open("listVolumes", &answer(401, "text/html", "")).unwrap_err();
        assert!(failure.is_denial());
    }
}
