//! What came back for a call: a result or a fault.

use super::super::http::Answer;
use super::xml::parse;
use super::{Element, Fault, XmlError};

/// Why an answer holds no result.
#[derive(Debug)]
pub(in super::super) enum SoapError {
    /// The call was refused.
    Fault(Fault),
    /// The status says that something else than the API answered.
    Status(u16),
    /// The text cannot be read.
    Xml(XmlError),
    /// The text is XML, but no answer to this method.
    Shape,
}

/// The element `<method>Response` of an answer.
pub(in super::super) fn read(method: &str, answer: &Answer) -> Result<Element, SoapError> {
    let status = answer.status.as_u16();
    let root = match parse(&answer.body) {
        Ok(root) if root.name == "Envelope" => root,
        _ if status != 200 => return Err(SoapError::Status(status)),
        Ok(_) => return Err(SoapError::Shape),
        Err(error) => return Err(SoapError::Xml(error)),
    };
    let body = root.children.into_iter().find(|child| child.name == "Body");
    let mut children = body.map(|body| body.children).unwrap_or_default();
    if let Some(fault) = children.iter().find(|child| child.name == "Fault") {
        return Err(SoapError::Fault(Fault::of_soap(fault)));
    }
    if status != 200 {
        return Err(SoapError::Status(status));
    }
    let is_result = |child: &Element| child.name.strip_suffix("Response") == Some(method);
    match children.iter().position(is_result) {
        Some(position) => Ok(children.swap_remove(position)),
        None => Err(SoapError::Shape),
    }
}
