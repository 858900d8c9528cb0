//! Properties of many objects at once, page by page.

use std::collections::HashMap;

use tracing::debug;

use super::reference::Reference;
use super::soap::{Call, Element, Xml};
use super::{Session, VsphereError};

/// Objects per page: large enough to be fast, small enough for the answer's bound.
const PAGE: &str = "100";
const RETRIEVE: &str = "RetrievePropertiesEx";
const CONTINUE: &str = "ContinueRetrievePropertiesEx";

/// Which properties of objects of a kind are wanted.
#[derive(Debug, Clone)]
pub(super) struct Select {
    pub(super) kind: &'static str,
    pub(super) paths: Vec<&'static str>,
}

impl Select {
    pub(super) fn new(kind: &'static str, paths: &[&'static str]) -> Self {
        Self {
            kind,
            paths: paths.to_vec(),
        }
    }
}

/// Of which objects properties are wanted.
#[derive(Debug, Clone, Copy)]
pub(super) enum Of<'a> {
    /// All of a view.
    View(&'a Reference),
    /// These.
    These(&'a [Reference]),
}

/// An object and those of the wanted properties that it has and that we may see.
#[derive(Debug)]
pub(super) struct Object {
    pub(super) reference: Reference,
    properties: HashMap<String, Element>,
}

impl Object {
    pub(super) fn get(&self, path: &str) -> Option<&Element> {
        self.properties.get(path)
    }

    pub(super) fn text(&self, path: &str) -> Option<&str> {
        self.get(path)?.trimmed()
    }

    pub(super) fn flag(&self, path: &str) -> Option<bool> {
        super::soap::truth(self.text(path)?)
    }

    pub(super) fn reference(&self, path: &str) -> Option<Reference> {
        Reference::of(self.get(path)?)
    }
}

impl Session {
    /// The selected properties of all the objects. A property that this version of the API does not know is left out.
    pub(super) async fn retrieve(
        &self,
        of: Of<'_>,
        mut selects: Vec<Select>,
    ) -> Result<Vec<Object>, VsphereError> {
        loop {
            let unknown = match self.pages(of, &selects).await {
                Err(error) if error.is_fault("InvalidProperty") => error,
                other => return other,
            };
            let name = unknown.fault().and_then(|fault| fault.detail("name"));
            let Some(name) = name.map(str::to_owned) else {
                return Err(unknown);
            };
            if !leave_out(&mut selects, &name) {
                return Err(unknown);
            }
            debug!(endpoint = %self.endpoint(), property = name, "unknown to this version");
        }
    }

    async fn pages(&self, of: Of<'_>, selects: &[Select]) -> Result<Vec<Object>, VsphereError> {
        let collector = &self.content().property_collector;
        let arguments = specification(of, selects);
        let mut call = Call::reading(RETRIEVE, collector, arguments);
        let mut objects = Vec::new();
        loop {
            let page = page(self.call(&call).await?);
            objects.extend(page.objects);
            let Some(token) = page.token else {
                return Ok(objects);
            };
            call = Call::advancing(CONTINUE, collector, Xml::new().text("token", &token));
        }
    }
}

fn leave_out(selects: &mut [Select], name: &str) -> bool {
    let mut is_found = false;
    for select in selects {
        let before = select.paths.len();
        select.paths.retain(|path| *path != name);
        is_found |= select.paths.len() < before;
    }
    is_found
}

fn specification(of: Of<'_>, selects: &[Select]) -> Xml {
    let mut set = Xml::new();
    for select in selects {
        let mut inner = Xml::new().text("type", select.kind).text("all", "false");
        for path in &select.paths {
            inner = inner.text("pathSet", path);
        }
        set = set.nest("propSet", inner);
    }
    set = match of {
        Of::View(view) => set.nest("objectSet", view_set(view)),
        Of::These(objects) => objects.iter().fold(set, |set, object| {
            set.nest(
                "objectSet",
                Xml::new().reference("obj", object).text("skip", "false"),
            )
        }),
    };
    Xml::new()
        .nest("specSet", set)
        .nest("options", Xml::new().text("maxObjects", PAGE))
}

fn view_set(view: &Reference) -> Xml {
    let traversal = Xml::new()
        .text("name", "view")
        .text("type", "ContainerView")
        .text("path", "view")
        .text("skip", "false");
    Xml::new()
        .reference("obj", view)
        .text("skip", "true")
        .typed("selectSet", "TraversalSpec", traversal)
}

/// A page of an answer.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) objects: Vec<Object>,
    pub(super) token: Option<String>,
}

/// Reads a page. Of an empty answer there is nothing: a page of no objects.
pub(super) fn page(response: Element) -> Page {
    let result = response
        .children
        .into_iter()
        .find(|child| child.name == "returnval");
    let mut found = Page {
        objects: Vec::new(),
        token: None,
    };
    for child in result.map(|result| result.children).unwrap_or_default() {
        match child.name.as_str() {
            "token" => found.token = child.trimmed().map(str::to_owned),
            "objects" => found.objects.extend(object(child)),
            _ => {}
        }
    }
    found
}

fn object(element: Element) -> Option<Object> {
    let reference = element.child("obj").and_then(Reference::of)?;
    let sets = element
        .children
        .into_iter()
        .filter(|child| child.name == "propSet");
    let properties = sets.filter_map(|set| {
        let name = set.child_text("name")?.to_owned();
        let value = set.children.into_iter().find(|child| child.name == "val")?;
        Some((name, value))
    });
    Some(Object {
        properties: properties.collect(),
        reference,
    })
}
