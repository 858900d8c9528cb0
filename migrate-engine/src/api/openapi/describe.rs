//! How a request is described, and how descriptions become paths and schemas.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{OperationBuilder, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{Object, ObjectBuilder, Schema, Type};
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{Content, ContentBuilder, HttpMethod, Paths, Ref, RefOr, Required, ResponseBuilder};
use utoipa::{Number, ToSchema};

use super::super::problem::Code;
use super::shapes::Problem;
use super::{TOKEN, discovery, replications};

pub(super) type Schemas = BTreeMap<String, RefOr<Schema>>;

/// The description of one request.
pub(super) struct Described {
    method: HttpMethod,
    path: &'static str,
    operation: OperationBuilder,
    codes: Vec<Code>,
    schemas: Schemas,
}

fn described(method: HttpMethod, path: &'static str, id: &'static str, summary: &'static str) -> Described {
    let names = path.split(['{', '}']).skip(1).step_by(2);
    let parameters = names.map(|name| {
        ParameterBuilder::new()
            .name(name)
            .parameter_in(ParameterIn::Path)
            .required(Required::True)
            .schema(Some(of_path(path)))
            .build()
    });
    let resource = path
        .strip_prefix("/api/v1/")
        .and_then(|rest| rest.split('/').next());
    let operation = OperationBuilder::new()
        .operation_id(Some(id))
        .summary(Some(summary))
        .tag(resource.unwrap_or("service"))
        .parameters(Some(parameters));
    Described {
        method,
        path,
        operation,
        codes: Vec::new(),
        schemas: Schemas::new(),
    }
}

fn of_type(kind: Type) -> Object {
    ObjectBuilder::new().schema_type(kind).build()
}

fn whole(number: i128) -> Number {
    match isize::try_from(number) {
        Ok(number) => Number::Int(number),
        Err(_) => Number::UInt(usize::try_from(number).unwrap_or(usize::MAX)),
    }
}

/// What the parameters of a path are: names, but for numbers of transfers.
fn of_path(path: &str) -> Object {
    match path.contains("/transfers/") {
        true => ObjectBuilder::new()
            .schema_type(Type::String)
            .pattern(Some("^[0-9]{1,19}$"))
            .build(),
        false => of_type(Type::String),
    }
}

/// A request that reads.
pub(super) fn get(path: &'static str, id: &'static str, summary: &'static str) -> Described {
    described(HttpMethod::Get, path, id, summary)
}

/// A request that asks for something to be done.
pub(super) fn post(path: &'static str, id: &'static str, summary: &'static str) -> Described {
    described(HttpMethod::Post, path, id, summary)
}

impl Described {
    /// Only for who brings a token, of the scope that the method takes.
    pub(super) fn guarded(mut self) -> Self {
        let scope = match self.method {
            HttpMethod::Get => "read",
            _ => "operate",
        };
        let token = SecurityRequirement::new(TOKEN, [scope]);
        self.operation = self.operation.security(token);
        self.fails(&[
            Code::Unauthorized,
            Code::Forbidden,
            Code::RateLimited,
            Code::TokenUnchecked,
        ])
    }

    /// Answered where machines are discovered, and only there.
    pub(super) fn of_discovery(mut self) -> Self {
        self.operation = self.operation.server(discovery());
        self
    }

    /// Answered on both listeners.
    pub(super) fn on_both(mut self) -> Self {
        self.operation = self.operation.server(replications()).server(discovery());
        self
    }

    fn parameter(mut self, name: &str, place: ParameterIn, schema: Object, about: &str) -> Self {
        let parameter = ParameterBuilder::new()
            .name(name)
            .parameter_in(place)
            .required(Required::False)
            .description(Some(about))
            .schema(Some(schema));
        self.operation = self.operation.parameter(parameter.build());
        self
    }

    /// A parameter of the query that is a text.
    pub(super) fn text(self, name: &str, about: &str) -> Self {
        self.parameter(name, ParameterIn::Query, of_type(Type::String), about)
    }

    /// A parameter of the query that is one of these words.
    pub(super) fn word(self, name: &str, words: &[&str], about: &str) -> Self {
        let schema = ObjectBuilder::new()
            .schema_type(Type::String)
            .enum_values(Some(words.iter().copied()));
        self.parameter(name, ParameterIn::Query, schema.build(), about)
    }

    /// A parameter of the query that is a whole number in this range.
    pub(super) fn number(self, name: &str, range: RangeInclusive<i128>, about: &str) -> Self {
        let schema = ObjectBuilder::new()
            .schema_type(Type::Integer)
            .minimum(Some(whole(*range.start())))
            .maximum(Some(whole(*range.end())));
        self.parameter(name, ParameterIn::Query, schema.build(), about)
    }

    /// A header whose value is a text of this pattern.
    pub(super) fn header(self, name: &str, pattern: &str, about: &str) -> Self {
        let schema = ObjectBuilder::new()
            .schema_type(Type::String)
            .pattern(Some(pattern));
        self.parameter(name, ParameterIn::Header, schema.build(), about)
    }

    /// The body, by its type.
    pub(super) fn takes<T: ToSchema>(mut self) -> Self {
        let content = self.content::<T>();
        let body = RequestBodyBuilder::new()
            .content("application/json", content)
            .required(Some(Required::True));
        self.operation = self.operation.request_body(Some(body.build()));
        self.fails(&[Code::InvalidRequest, Code::BodyTooSlow])
    }

    fn content<T: ToSchema>(&mut self) -> Content {
        let mut more = Vec::new();
        T::schemas(&mut more);
        self.schemas.insert(T::name().into_owned(), T::schema());
        self.schemas.extend(more);
        let schema = Ref::from_schema_name(T::name());
        ContentBuilder::new().schema(Some(schema)).build()
    }

    /// The answer, by its status and the type of its body.
    pub(super) fn answers<T: ToSchema>(self, status: &str, about: &str) -> Self {
        self.answers_as::<T>(status, about, "application/json")
    }

    /// The same, with another kind of content.
    pub(super) fn answers_as<T: ToSchema>(mut self, status: &str, about: &str, content_type: &str) -> Self {
        let content = self.content::<T>();
        self.answer(
            status,
            ResponseBuilder::new()
                .description(about)
                .content(content_type, content),
        )
    }

    /// The same, with the address of what it is about in `Location`.
    pub(super) fn answers_with_location<T: ToSchema>(mut self, status: &str, about: &str) -> Self {
        let content = self.content::<T>();
        let location = HeaderBuilder::new()
            .schema(Some(of_type(Type::String)))
            .description(Some("the path of what the answer is about"))
            .build();
        self.answer(
            status,
            ResponseBuilder::new()
                .description(about)
                .content("application/json", content)
                .header("Location", location),
        )
    }

    /// An answer of another program's form.
    pub(super) fn answers_foreign(self, about: &str, content_type: &str, kind: Type) -> Self {
        let content = ContentBuilder::new().schema(Some(of_type(kind))).build();
        self.answer(
            "200",
            ResponseBuilder::new()
                .description(about)
                .content(content_type, content),
        )
    }

    fn answer(mut self, status: &str, response: ResponseBuilder) -> Self {
        self.operation = self.operation.response(status, response.build());
        self
    }

    /// The codes that it may fail with.
    pub(super) fn fails(mut self, codes: &[Code]) -> Self {
        self.codes.extend(codes);
        self
    }

    fn with_problems(mut self) -> Self {
        let mut by_status: BTreeMap<u16, Vec<&str>> = BTreeMap::new();
        for code in std::mem::take(&mut self.codes) {
            by_status
                .entry(code.status().as_u16())
                .or_default()
                .push(code.name());
        }
        for (status, mut codes) in by_status {
            codes.sort_unstable();
            codes.dedup();
            let about = format!("`{}`", codes.join("`, `"));
            self = self.answers_as::<Problem>(&status.to_string(), &about, "application/problem+json");
        }
        self
    }
}

/// The paths that these requests make, and the schemas of everything that they carry.
pub(super) fn assemble(requests: Vec<Described>) -> (Paths, Schemas) {
    let mut paths = Paths::new();
    let mut schemas = Schemas::new();
    for request in requests {
        let request = request.with_problems();
        paths.add_path_operation(request.path, vec![request.method], request.operation);
        schemas.extend(request.schemas);
    }
    (paths, schemas)
}
