//! The cookie that makes a connection ours.

use hyper::header::HeaderValue;

const NAME: &str = "vmware_soap_session";

/// The session's cookie among `Set-Cookie` headers, as a `Cookie` header has it: quotes belong to the value.
pub(super) fn of_session<'a>(headers: impl IntoIterator<Item = &'a HeaderValue>) -> Option<String> {
    headers
        .into_iter()
        .filter_map(|header| header.to_str().ok())
        .find_map(|header| {
            let (pair, _) = header.split_once(';').unwrap_or((header, ""));
            let (name, value) = pair.trim().split_once('=')?;
            (name.trim() == NAME && !value.trim_matches('"').is_empty()).then(|| pair.trim().to_owned())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(headers: &[&'static str]) -> Option<String> {
        let headers: Vec<HeaderValue> = headers
            .iter()
            .map(|text| HeaderValue::from_static(text))
            .collect();
        of_session(&headers)
    }

    #[test]
    fn quotes_belong_to_the_value() {
        let quoted = r#"vmware_soap_session="52a1-bc"; Path=/; HttpOnly; Secure;"#;
        assert_eq!(
            read(&["other=1", quoted]).as_deref(),
            Some(r#"vmware_soap_session="52a1-bc""#)
        );
        assert_eq!(
            read(&["vmware_soap_session=abc"]).as_deref(),
            Some("vmware_soap_session=abc")
        );
    }

    #[test]
    fn other_cookies_and_deleted_ones_are_not_taken() {
        assert_eq!(
            read(&["x=vmware_soap_session", r#"vmware_soap_session=""; Path=/"#]),
            None
        );
    }
}
