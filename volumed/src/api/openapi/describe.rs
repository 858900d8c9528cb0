//! How a request is described, and how descriptions become paths and schemas.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use utoipa::openapi::path::{OperationBuilder, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{Components, ComponentsBuilder, ObjectBuilder, Schema, Type};
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{ContentBuilder, HttpMethod, Paths, Ref, RefOr, Required, ResponseBuilder};
use utoipa::{Number, PartialSchema, ToSchema};
use volume_client::types::{ErrorCode, Page, Problem};

use crate::model::Scope;

type Schemas = BTreeMap<String, RefOr<Schema>>;

/// What a command may get besides what it is about.
const OF_COMMANDS: &[ErrorCode] = &[
    ErrorCode::MalformedJson,
    ErrorCode::InvalidRequest,
    ErrorCode::BodyTooLarge,
    ErrorCode::BodyTooSlow,
    ErrorCode::UnsupportedMediaType,
    ErrorCode::IdempotencyKeyReused,
    ErrorCode::StoreFull,
    ErrorCode::NotReady,
];

const CURSOR: &str = "`next_cursor` of the page before; the first page where absent";

/// The description of one request.
pub(super) struct Described {
    method: HttpMethod,
    path: &'static str,
    operation: OperationBuilder,
    codes: Vec<ErrorCode>,
    needs: Option<Scope>,
    schemas: Schemas,
}

fn described(method: HttpMethod, path: &'static str, id: &'static str, summary: &'static str) -> Described {
    let names = path.split(['{', '}']).skip(1).step_by(2);
    let parameters = names.map(|name| {
        ParameterBuilder::new()
            .name(name)
            .parameter_in(ParameterIn::Path)
            .required(Required::True)
            .schema(Some(of_type(Type::String)))
            .build()
    });
    let tag = path
        .trim_start_matches("/api/v1")
        .split('/')
        .nth(1)
        .unwrap_or("health");
    let operation = OperationBuilder::new()
        .operation_id(Some(id))
        .summary(Some(summary))
        .tag(tag);
    Described {
        method,
        path,
        operation: operation.parameters(Some(parameters)),
        codes: vec![ErrorCode::Internal],
        needs: Some(Scope::Read),
        schemas: Schemas::new(),
    }
}

fn of_type(kind: Type) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(kind)
}

fn whole(number: i128) -> Number {
    match isize::try_from(number) {
        Ok(number) => Number::Int(number),
        Err(_) => Number::UInt(usize::try_from(number).unwrap_or(usize::MAX)),
    }
}

/// A request that reads.
pub(super) fn get(path: &'static str, id: &'static str, summary: &'static str) -> Described {
    described(HttpMethod::Get, path, id, summary)
}

/// A request that changes something.
pub(super) fn post(path: &'static str, id: &'static str, summary: &'static str) -> Described {
    described(HttpMethod::Post, path, id, summary)
        .needs(Scope::Operate)
        .command()
}

/// A request that ends something.
pub(super) fn delete(path: &'static str, id: &'static str, summary: &'static str) -> Described {
    described(HttpMethod::Delete, path, id, summary)
        .needs(Scope::Operate)
        .command()
}

impl Described {
    fn command(self) -> Self {
        let about =
            "1 to 128 printable ASCII characters: a repetition with the same key and request changes nothing";
        // A header's value has no space around it.
        let key = of_type(Type::String).pattern(Some(r"^[!-~]([ -~]{0,126}[!-~])?$"));
        self.parameter("Idempotency-Key", ParameterIn::Header, key, about)
            .fails(OF_COMMANDS)
    }

    fn parameter(
        mut self,
        name: &str,
        place: ParameterIn,
        schema: impl Into<RefOr<Schema>>,
        about: &str,
    ) -> Self {
        let parameter = ParameterBuilder::new()
            .name(name)
            .parameter_in(place)
            .required(Required::False)
            .description(Some(about))
            .schema(Some(schema));
        self.operation = self.operation.parameter(parameter.build());
        self
    }

    /// What a caller must be let do.
    pub(super) fn needs(mut self, scope: Scope) -> Self {
        self.needs = Some(scope);
        self
    }

    /// Anybody may ask.
    pub(super) fn open(mut self) -> Self {
        self.needs = None;
        self
    }

    /// Method, route and scope, as requests are looked up.
    pub(super) fn need(&self) -> ((String, String), Option<Scope>) {
        let method = serde_json::to_value(&self.method).expect("a method is a word");
        let method = method.as_str().unwrap_or_default().to_ascii_lowercase();
        ((method, self.path.to_owned()), self.needs)
    }

    /// A parameter of the query that is a text.
    pub(super) fn text(self, name: &str, about: &str) -> Self {
        self.parameter(name, ParameterIn::Query, of_type(Type::String), about)
    }

    /// A parameter of the query that is of one of our types.
    pub(super) fn typed<T: ToSchema>(mut self, name: &str, about: &str) -> Self {
        let schema = self.schema::<T>();
        self.parameter(name, ParameterIn::Query, schema, about)
            .fails(&[ErrorCode::InvalidRequest])
    }

    /// A parameter of the query that is a whole number in this range.
    pub(super) fn number(self, name: &str, range: RangeInclusive<i128>, about: &str) -> Self {
        let schema = of_type(Type::Integer)
            .minimum(Some(whole(*range.start())))
            .maximum(Some(whole(*range.end())));
        self.parameter(name, ParameterIn::Query, schema, about)
            .fails(&[ErrorCode::InvalidRequest])
    }

    /// A header that is a text.
    pub(super) fn header(self, name: &str, about: &str) -> Self {
        self.parameter(name, ParameterIn::Header, of_type(Type::String), about)
    }

    /// The parameters of a list in pages, whose cursors are of this type.
    pub(super) fn paged<Cursor: ToSchema>(self) -> Self {
        self.typed::<Cursor>("cursor", CURSOR).limited()
    }

    /// The same, where cursors are numbers.
    pub(super) fn paged_by_number(self) -> Self {
        self.number("cursor", i64::MIN.into()..=i64::MAX.into(), CURSOR)
            .limited()
    }

    fn limited(self) -> Self {
        self.number("limit", 1..=1000, "how many items at most; 100 where absent")
    }

    /// The parameter by which a request waits for the end of its operation.
    pub(super) fn waits(self) -> Self {
        self.number(
            "wait",
            0..=u64::MAX.into(),
            "seconds to wait for the end of the operation, 0 where absent; more than 60 are taken for 60",
        )
    }

    /// The body, by its type.
    pub(super) fn takes<T: ToSchema>(self) -> Self {
        self.body::<T>(Required::True)
    }

    /// The same, where none says as much as `{}`.
    pub(super) fn may_take<T: ToSchema>(self) -> Self {
        self.body::<T>(Required::False)
    }

    fn body<T: ToSchema>(mut self, required: Required) -> Self {
        let content = ContentBuilder::new().schema(Some(self.schema::<T>())).build();
        let body = RequestBodyBuilder::new().content("application/json", content);
        let body = body.required(Some(required)).build();
        self.operation = self.operation.request_body(Some(body));
        self
    }

    fn schema<T: ToSchema>(&mut self) -> Ref {
        let mut more = Vec::new();
        T::schemas(&mut more);
        self.schemas.insert(T::name().into_owned(), T::schema());
        self.schemas.extend(more);
        Ref::from_schema_name(T::name())
    }

    /// A list of these; `about` says how much of it the answer is.
    pub(super) fn lists<T: ToSchema>(mut self, about: &str) -> Self {
        let name = format!("{}Page", T::name()); // `Page` itself has the same name for every `T`
        self.schema::<T>();
        self.schemas.insert(name.clone(), Page::<T>::schema());
        let content = ContentBuilder::new()
            .schema(Some(Ref::from_schema_name(name)))
            .build();
        let response = ResponseBuilder::new()
            .description(about)
            .content("application/json", content);
        self.operation = self.operation.response("200", response.build());
        self
    }

    /// The answer, by its status and the type of its body.
    pub(super) fn answers<T: ToSchema>(self, status: &str, about: &str) -> Self {
        self.answers_as::<T>(status, about, "application/json")
    }

    /// The same, with another kind of content.
    pub(super) fn answers_as<T: ToSchema>(mut self, status: &str, about: &str, content_type: &str) -> Self {
        let content = ContentBuilder::new().schema(Some(self.schema::<T>())).build();
        let response = ResponseBuilder::new()
            .description(about)
            .content(content_type, content);
        self.operation = self.operation.response(status, response.build());
        self
    }

    /// An answer of plain text, or of nothing.
    pub(super) fn answers_plainly(mut self, status: &str, about: &str) -> Self {
        let response = ResponseBuilder::new().description(about).build();
        self.operation = self.operation.response(status, response);
        self
    }

    /// The codes that it may fail with.
    pub(super) fn fails(mut self, codes: &[ErrorCode]) -> Self {
        self.codes.extend(codes);
        self
    }

    /// Says in the description what the request needs, and how that is shown.
    fn with_security(mut self) -> Self {
        let Some(scope) = self.needs else {
            self.operation = self.operation.securities(Some([SecurityRequirement::default()]));
            return self;
        };
        let named = SecurityRequirement::new(super::BEARER, [scope.as_str()]);
        self.operation = self.operation.security(named);
        self.fails(&[
            ErrorCode::Unauthorized,
            ErrorCode::Forbidden,
            ErrorCode::RateLimited,
        ])
    }

    fn with_problems(mut self) -> Self {
        let mut by_status: BTreeMap<u16, Vec<&str>> = BTreeMap::new();
        for code in std::mem::take(&mut self.codes) {
            by_status
                .entry(code.http_status())
                .or_default()
                .push(code.as_str());
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
pub(super) fn assemble(requests: Vec<Described>) -> (Paths, Components) {
    let mut paths = Paths::new();
    let mut schemas = Schemas::new();
    for request in requests {
        let request = request.with_security().with_problems();
        paths.add_path_operation(request.path, vec![request.method], request.operation);
        schemas.extend(request.schemas);
    }
    let components = ComponentsBuilder::new().schemas_from_iter(schemas).build();
    (paths, components)
}
