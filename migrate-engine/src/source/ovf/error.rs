//! Why an OVF document is refused.

/// What is wrong with a document. Names in it are shown without control characters.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OvfError {
    /// The text is not UTF-8.
    #[error("it is not valid UTF-8")]
    Encoding,
    /// The XML is broken.
    #[error("its XML is broken at byte {position}")]
    Xml {
        /// Where.
        position: u64,
        /// What the parser said.
        #[source]
        source: quick_xml::Error,
    },
    /// An element has a broken attribute.
    #[error("its XML has a broken attribute at byte {position}")]
    Attribute {
        /// Where.
        position: u64,
        /// What the parser said.
        #[source]
        source: quick_xml::Error,
    },
    /// The XML ends early, or holds more than one document.
    #[error("its XML is no single, whole document")]
    Incomplete,
    /// A document type declaration: entities could be defined in it.
    #[error("it has a document type declaration, which no OVF document needs")]
    DocumentType,
    /// An entity other than the five of XML itself.
    #[error("it uses the entity `&{entity};`, which is not XML's own")]
    Entity {
        /// The entity's name.
        entity: String,
    },
    /// Elements are nested too deeply, or there are too many.
    #[error("it has more than {limit} {what}")]
    TooComplex {
        /// Of what there are too many.
        what: &'static str,
        /// The bound.
        limit: usize,
    },
    /// The root is something else.
    #[error("its root is `{found}`, not an OVF Envelope")]
    NoEnvelope {
        /// The root's name.
        found: String,
    },
    /// There is no machine in it.
    #[error("it describes no virtual system")]
    NoSystem,
    /// There are several machines in it.
    #[error("it describes {count} virtual systems: export them one by one")]
    ManySystems {
        /// How many.
        count: usize,
    },
    /// An attribute or element that must be there is missing.
    #[error("{element} lacks {what}")]
    Missing {
        /// The element.
        element: String,
        /// What it lacks.
        what: &'static str,
    },
    /// Two elements have one id.
    #[error("the {what} `{id}` is there twice")]
    Duplicate {
        /// What it is.
        what: &'static str,
        /// The id.
        id: String,
    },
    /// A reference leads nowhere.
    #[error("{from} refers to the {what} `{id}`, which is not there")]
    Dangling {
        /// Who refers.
        from: String,
        /// To what.
        what: &'static str,
        /// By which id.
        id: String,
    },
    /// A number is none, or too large.
    #[error("`{value}` is no {what}, or too large")]
    Number {
        /// What it should be.
        what: &'static str,
        /// The text.
        value: String,
    },
    /// A unit that we do not know.
    #[error("`{unit}` is no unit of bytes, as `byte * 2^20` is")]
    Unit {
        /// The text.
        unit: String,
    },
    /// Something legal that we do not read.
    #[error("{element} {what}")]
    Unsupported {
        /// The element.
        element: String,
        /// What it has, and what to do.
        what: &'static str,
    },
}
