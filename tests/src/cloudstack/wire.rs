//! What goes over the wire: decoded parameters in, JSON (or XML) with the envelope of the command out.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::refusal::Refusal;

/// The parameters of a request, decoded, as they came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Params(Vec<(String, String)>);

impl Params {
    /// These parameters.
    #[must_use]
    pub fn of(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        Self(pairs.into_iter().collect())
    }

    /// Decodes a query and a form.
    ///
    /// # Errors
    /// Where an escape is broken or a parameter is given twice, in whatever case.
    pub(super) fn decode(query: &str, form: &str) -> Result<Self, Refusal> {
        let mut pairs = Vec::new();
        let mut seen = BTreeSet::new();
        for pair in query
            .split('&')
            .chain(form.split('&'))
            .filter(|pair| !pair.is_empty())
        {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let malformed = || Refusal::malformed(format!("unable to decode parameter {name}"));
            let name = percent_decode(name).ok_or_else(malformed)?;
            let value = percent_decode(value).ok_or_else(malformed)?;
            if !seen.insert(name.to_ascii_lowercase()) {
                return Err(Refusal::malformed(format!(
                    "parameter {name} is given more than once"
                )));
            }
            pairs.push((name, value));
        }
        Ok(Self(pairs))
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The parameter of this name, in whatever case; an empty one counts as absent.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        let mut all = self.iter();
        all.find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
            .filter(|value| !value.is_empty())
    }

    /// The command: the one name that the server knows in lower case only.
    #[must_use]
    pub fn command(&self) -> Option<&str> {
        self.iter()
            .find(|(name, _)| *name == "command")
            .map(|(_, value)| value)
    }

    /// A parameter that must be there.
    pub(super) fn required(&self, name: &str) -> Result<&str, Refusal> {
        self.get(name).ok_or_else(|| {
            let command = self.command().unwrap_or_default().to_lowercase();
            Refusal::invalid(format!(
                "Unable to execute API command {command} due to missing parameter {name}"
            ))
        })
    }

    /// The id of an entity; the server's pattern for them knows lower case only.
    pub(super) fn id(&self, name: &str) -> Result<Option<Uuid>, Refusal> {
        self.get(name).map(|text| parse_id(name, text)).transpose()
    }

    /// The id of an entity that must be there.
    pub(super) fn required_id(&self, name: &str) -> Result<Uuid, Refusal> {
        parse_id(name, self.required(name)?)
    }

    /// Ids with commas between them.
    pub(super) fn ids(&self, name: &str) -> Result<Vec<Uuid>, Refusal> {
        let parts = self.get(name).into_iter().flat_map(|text| text.split(','));
        parts.map(|part| parse_id(name, part.trim())).collect()
    }

    /// A whole number.
    pub(super) fn number(&self, name: &str) -> Result<Option<u64>, Refusal> {
        let number = self.get(name).map(str::parse);
        number.transpose().map_err(|_| {
            Refusal::invalid(format!(
                "Invalid value {} for parameter {name}",
                self.get(name).unwrap_or("")
            ))
        })
    }

    /// A parameter that is "true".
    pub(super) fn is_true(&self, name: &str) -> bool {
        self.get(name)
            .is_some_and(|text| text.eq_ignore_ascii_case("true"))
    }

    /// `tags[0].key`, `tags[0].value` and so on, as pairs.
    pub(super) fn tags(&self) -> Vec<(String, Option<String>)> {
        let numbers = 0..self.0.len();
        numbers
            .filter_map(|number| {
                let key = self.get(&format!("tags[{number}].key"))?.to_owned();
                Some((key, self.get(&format!("tags[{number}].value")).map(str::to_owned)))
            })
            .collect()
    }

    /// Refuses characters that cannot be printed.
    pub(super) fn refuse_control_characters(&self) -> Result<(), Refusal> {
        match self
            .iter()
            .find(|(_, value)| value.bytes().any(|byte| byte.is_ascii_control()))
        {
            None => Ok(()),
            Some((name, _)) => Err(Refusal::invalid(format!(
                "Received value containing illegal ASCII non-printable characters for parameter {name}"
            ))),
        }
    }
}

fn parse_id(name: &str, text: &str) -> Result<Uuid, Refusal> {
    lower_case_uuid(text).ok_or_else(|| Refusal::unknown(name, text))
}

/// A UUID with hyphens, in lower case.
pub(super) fn lower_case_uuid(text: &str) -> Option<Uuid> {
    let id = Uuid::try_parse(text).ok()?;
    (id.hyphenated().to_string() == text).then_some(id)
}

/// Form decoding: `+` is a blank. `None` where an escape or the UTF-8 is broken.
fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                let value = digit(bytes.next())? * 16 + digit(bytes.next())?;
                u8::try_from(value).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(decoded).ok()
}

/// Times as the API writes them.
pub(super) fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S+0000").to_string()
}

/// A list as the API answers it: nothing at all where it is empty. `total` counts all pages.
pub(super) fn list(name: &str, page: Vec<Value>, total: usize) -> Value {
    if total == 0 {
        return json!({});
    }
    let mut fields = Map::new();
    fields.insert("count".to_owned(), json!(total));
    fields.insert(name.to_owned(), Value::Array(page));
    Value::Object(fields)
}

/// The page of a list that was asked for, and how much there is in all.
pub(super) fn page<T>(params: &Params, all: Vec<T>) -> Result<(Vec<T>, usize), Refusal> {
    /// `default.page.size`.
    const MOST: u64 = 500;
    let total = all.len();
    let (number, size) = match (params.number("page")?, params.number("pagesize")?) {
        (None, None) => (1, MOST),
        (Some(number), Some(size)) if number > 0 && (1..=MOST).contains(&size) => (number, size),
        (Some(_), Some(size)) if size > MOST => {
            return Err(Refusal::invalid(format!(
                "The parameter pagesize exceeds its max value - {MOST}"
            )));
        }
        _ => {
            return Err(Refusal::invalid(
                "\"page\" parameter has to be specified along with \"pagesize\" parameter",
            ));
        }
    };
    let skipped = usize::try_from((number - 1).saturating_mul(size)).unwrap_or(usize::MAX);
    let taken = usize::try_from(size).unwrap_or(usize::MAX);
    Ok((all.into_iter().skip(skipped).take(taken).collect(), total))
}

/// The same as XML, which is what a client gets that does not ask for JSON.
pub(super) fn xml(name: &str, value: &Value) -> String {
    match value {
        Value::Array(items) => items.iter().map(|item| xml(name, item)).collect(),
        Value::Object(fields) => {
            let inner: String = fields.iter().map(|(field, value)| xml(field, value)).collect();
            format!("<{name}>{inner}</{name}>")
        }
        Value::String(text) => {
            let text = text
                .replace('&', "&amp;")
                .replace('<', "&lt;")
                .replace('>', "&gt;");
            format!("<{name}>{text}</{name}>")
        }
        other => format!("<{name}>{other}</{name}>"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_decoded() {
        let params = Params::decode("a=1%2B1&tags%5B0%5D.key=k", "b=x+y&C=%C3%A4&empty=").unwrap();
        assert_eq!(params.get("a"), Some("1+1"));
        assert_eq!(params.get("B"), Some("x y"));
        assert_eq!(params.get("c"), Some("ä"));
        assert_eq!(params.get("empty"), None);
        assert_eq!(params.tags(), [("k".to_owned(), None)]);
    }

    #[test]
    fn what_cannot_be_read_one_way_only_is_refused() {
        for (query, form) in [
            ("a=1&A=2", ""),
            ("a=1", "a=1"),
            ("a=%2", ""),
            ("a=%zz", ""),
            ("a=%ff", ""),
        ] {
            assert_eq!(
                Params::decode(query, form).unwrap_err().code,
                430,
                "{query} {form}"
            );
        }
    }

    #[test]
    fn ids_are_in_lower_case() {
        assert!(lower_case_uuid("8e6a7c2e-9b1d-4b57-9d0e-2f6f6f1f9a10").is_some());
        assert!(lower_case_uuid("8E6A7C2E-9b1d-4b57-9d0e-2f6f6f1f9a10").is_none());
        assert!(lower_case_uuid("8e6a7c2e9b1d4b579d0e2f6f6f1f9a10").is_none());
    }

    #[test]
    fn the_command_is_known_in_lower_case_only() {
        assert_eq!(Params::decode("Command=x", "").unwrap().command(), None);
        assert_eq!(Params::decode("command=x", "").unwrap().command(), Some("x"));
    }

    #[test]
    fn pages_come_with_their_size() {
        let all = || (0..1200).map(|n| json!(n)).collect::<Vec<_>>();
        let of = |query: &str| page(&Params::decode(query, "").unwrap(), all());
        assert_eq!(
            of("page=3&pagesize=500").unwrap(),
            ((1000..1200).map(|n| json!(n)).collect(), 1200)
        );
        assert_eq!(of("").unwrap().0.len(), 500);
        for query in [
            "page=1",
            "pagesize=10",
            "page=1&pagesize=501",
            "page=0&pagesize=5",
            "page=x&pagesize=5",
        ] {
            assert_eq!(of(query).unwrap_err().code, 431, "{query}");
        }
    }
}
