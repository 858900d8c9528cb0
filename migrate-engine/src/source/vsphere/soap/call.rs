//! A call: a method of an object with its arguments, written as XML.

use quick_xml::escape::escape;

use super::super::http::Care;
use super::super::reference::Reference;

const HEAD: &str = concat!(
    r#"<?xml version="1.0" encoding="UTF-8"?>"#,
    r#"<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/""#,
    r#" xmlns:xsd="http://www.w3.org/2001/XMLSchema""#,
    r#" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><soapenv:Body>"#,
);
const TAIL: &str = "</soapenv:Body></soapenv:Envelope>";

/// XML being written. Every text is escaped; names are ours.
#[derive(Debug, Default, Clone)]
pub(in super::super) struct Xml(String);

impl Xml {
    pub(in super::super) fn new() -> Self {
        Self::default()
    }

    /// `<name>text</name>`.
    pub(in super::super) fn text(mut self, name: &'static str, text: &str) -> Self {
        self.0 += &format!("<{name}>{}</{name}>", escape(text));
        self
    }

    /// `<name type="kind">id</name>`.
    pub(in super::super) fn reference(mut self, name: &'static str, to: &Reference) -> Self {
        self.0 += &format!(
            r#"<{name} type="{}">{}</{name}>"#,
            escape(&to.kind),
            escape(&to.id)
        );
        self
    }

    /// `<name>…</name>` around `inner`.
    pub(in super::super) fn nest(mut self, name: &'static str, inner: Self) -> Self {
        self.0 += &format!("<{name}>{}</{name}>", inner.0);
        self
    }

    /// `<name xsi:type="kind">…</name>` around `inner`.
    pub(in super::super) fn typed(mut self, name: &'static str, kind: &'static str, inner: Self) -> Self {
        self.0 += &format!(r#"<{name} xsi:type="{kind}">{}</{name}>"#, inner.0);
        self
    }
}

/// A method of an object, with its arguments.
#[derive(Debug)]
pub(in super::super) struct Call {
    pub(in super::super) method: &'static str,
    pub(in super::super) care: Care,
    body: String,
}

impl Call {
    /// A call that only reads, or whose repetition does no harm.
    pub(in super::super) fn reading(method: &'static str, this: &Reference, arguments: Xml) -> Self {
        Self::new(method, this, arguments, Care::Repeatable)
    }

    /// A call that reads what comes next: asked a second time, it would skip something.
    pub(in super::super) fn advancing(method: &'static str, this: &Reference, arguments: Xml) -> Self {
        Self::new(method, this, arguments, Care::Unrepeated)
    }

    /// A call that changes something.
    pub(in super::super) fn changing(method: &'static str, this: &Reference, arguments: Xml) -> Self {
        Self::new(method, this, arguments, Care::Once)
    }

    fn new(method: &'static str, this: &Reference, arguments: Xml, care: Care) -> Self {
        let this = Xml::new().reference("_this", this);
        Self {
            method,
            care,
            body: format!(
                r#"{HEAD}<{method} xmlns="urn:vim25">{}{}</{method}>{TAIL}"#,
                this.0, arguments.0
            ),
        }
    }

    /// The whole document.
    pub(in super::super) fn document(&self) -> &str {
        &self.body
    }
}
