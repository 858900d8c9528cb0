//! Why a text is no XML that we read.

/// What is wrong with an answer's XML.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum XmlError {
    /// It is no UTF-8.
    #[error("it is not UTF-8")]
    Encoding,
    /// It is no well-formed XML.
    #[error("it is no well-formed XML at byte {position}")]
    Syntax {
        /// Where.
        position: u64,
        /// What is wrong there.
        #[source]
        source: quick_xml::Error,
    },
    /// It ends too early, or goes on after its end.
    #[error("it is not whole")]
    Incomplete,
    /// It declares a document type: no vCenter does.
    #[error("it declares a document type")]
    DocumentType,
    /// It uses an entity that XML does not know by itself.
    #[error("it uses an unknown entity")]
    Entity,
    /// It is deeper or larger than any answer.
    #[error("it is deeper or larger than any answer of a vCenter")]
    TooComplex,
}
