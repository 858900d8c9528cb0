//! SOAP as vSphere speaks it: a call is written, an answer is read into a tolerant tree.

mod answer;
mod call;
mod fault;
#[cfg(test)]
mod tests;
mod xml;

pub use crate::source::xml::XmlError;
pub(super) use answer::{SoapError, read};
pub(super) use call::{Call, Xml};
pub use fault::Fault;
#[cfg(test)]
pub(super) use xml::parse;
pub(super) use xml::{Element, truth};
