//! From an HTTP request to an answer: what is lost on the way, who may come in, and the envelope.

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{Method, StatusCode, header};
use axum::response::Response;
use serde_json::{Value, json};

use super::account::User;
use super::cloud::{Call, Cloud, Origin};
use super::commands::{self, Command, Kind};
use super::connection::Scissors;
use super::expiry;
use super::fault::{Drawn, Fault};
use super::ledger::{Fate, Received};
use super::refusal::Refusal;
use super::settings::{Enforcement, Expiry};
use super::signature;
use super::wire::{Params, xml};

/// The most that a posted form may have.
const LONGEST_FORM: usize = 64 << 10;

const PAGE: &str = "<html><head><title>Please stand by</title></head><body><h1>It works!</h1></body></html>";

/// A request, read.
#[derive(Debug, Clone)]
struct Incoming {
    method: Method,
    params: Params,
    has_session: bool,
}

/// What goes back.
struct Outgoing {
    status: u16,
    kind: &'static str,
    body: String,
    /// `X-Description`.
    description: Option<String>,
}

pub(super) async fn handle(
    State(cloud): State<Arc<Cloud>>,
    ConnectInfo(scissors): ConnectInfo<Scissors>,
    request: Request,
) -> Response {
    let incoming = match read(request).await {
        Ok(incoming) => incoming,
        Err(refusal) => return outgoing(&Params::default(), Err(refusal)).into_response(&cloud),
    };
    // The server goes on with what it has, also when the client goes away.
    let serving = tokio::spawn(serve(Arc::clone(&cloud), incoming, scissors));
    match serving.await {
        Ok(outgoing) => outgoing.into_response(&cloud),
        Err(error) => {
            Outgoing::text(500, format!("the test's cloud fell over: {error}")).into_response(&cloud)
        }
    }
}

async fn read(request: Request) -> Result<Incoming, Refusal> {
    let (parts, body) = request.into_parts();
    let cookies = parts.headers.get_all(header::COOKIE).iter();
    let has_session = cookies
        .filter_map(|cookie| cookie.to_str().ok())
        .any(|cookie| cookie.contains("JSESSIONID="));
    let form = to_bytes(body, LONGEST_FORM)
        .await
        .map_err(|_| Refusal::malformed("unable to read the form"))?;
    let form = std::str::from_utf8(&form).map_err(|_| Refusal::malformed("unable to decode the form"))?;
    let params = Params::decode(parts.uri.query().unwrap_or_default(), form)?;
    Ok(Incoming {
        method: parts.method,
        params,
        has_session,
    })
}

/// The way of a request through everything that can befall it.
async fn serve(cloud: Arc<Cloud>, incoming: Incoming, scissors: Scissors) -> Outgoing {
    let name = incoming.params.command().unwrap_or_default().to_owned();
    let command = commands::named(&name);
    let faults = cloud.faults.draw(&name);
    let number = note(&cloud, &incoming, command, Origin::Client);
    let lost = faults.has(|fault| matches!(fault, Fault::LoseRequest));
    if lost {
        cloud.state().ledger.settle(number, Fate::Lost);
        scissors.cut();
        return Outgoing::text(503, String::new());
    }
    delay(&faults).await;
    let turned_away = faults.find(|fault| turned_away(&incoming.params, fault));
    let answer = turned_away.unwrap_or_else(|| {
        let answer = admit(&cloud, &incoming, command, &faults, Origin::Client);
        duplicate(&cloud, &incoming, command, &faults);
        outgoing(&incoming.params, answer)
    });
    if command.is_some_and(|command| command.kind != Kind::Job) {
        slow_down(&faults).await;
    }
    let fate = if faults.has(|fault| matches!(fault, Fault::LoseAnswer)) {
        scissors.cut();
        Fate::Unheard(answer.status)
    } else {
        Fate::Answered(answer.status)
    };
    cloud.state().ledger.settle(number, fate);
    if faults.has(|fault| matches!(fault, Fault::Garbled)) {
        return answer.garbled();
    }
    answer
}

fn note(cloud: &Cloud, incoming: &Incoming, command: Option<&Command>, origin: Origin) -> usize {
    let received = Received {
        at: cloud.clock.now(),
        method: incoming.method.to_string(),
        command: incoming.params.command().unwrap_or_default().to_owned(),
        params: incoming.params.clone(),
        is_copy: origin == Origin::Network,
        fate: Fate::Open,
    };
    let changes = command.is_some_and(|command| command.kind != Kind::Read);
    cloud.state().ledger.receive(received, changes)
}

async fn delay(faults: &Drawn) {
    let delay = faults.find(|fault| match fault {
        Fault::Delay(hold) => Some(hold.clone()),
        _ => None,
    });
    if let Some(hold) = delay {
        hold.wait().await;
    }
}

/// Delivers the request a second time, when the hold is over.
fn duplicate(cloud: &Arc<Cloud>, incoming: &Incoming, command: Option<&'static Command>, faults: &Drawn) {
    let duplicate = faults.find(|fault| match fault {
        Fault::Duplicate(hold) => Some(hold.clone()),
        _ => None,
    });
    let Some(hold) = duplicate else { return };
    let (cloud, incoming) = (Arc::clone(cloud), incoming.clone());
    tokio::spawn(async move {
        hold.wait().await;
        let number = note(&cloud, &incoming, command, Origin::Network);
        let answer = admit(&cloud, &incoming, command, &Drawn::default(), Origin::Network);
        let status = answer.map_or_else(|refusal| refusal.code, |_| 200);
        cloud.state().ledger.settle(number, Fate::Answered(status));
    });
}

/// What answers when it is done has no job that could be slow: its answer is, and then tells what was.
async fn slow_down(faults: &Drawn) {
    if let Some(hold) = faults.slowness() {
        hold.wait().await;
    }
}

/// What keeps a request from being taken, without a reason in the request.
fn turned_away(params: &Params, fault: &Fault) -> Option<Outgoing> {
    let refused = |refusal| Some(outgoing(params, Err(refusal)));
    match fault {
        Fault::Unauthorised => refused(Refusal::unauthorised()),
        Fault::TooMany(wait) => refused(Refusal::too_many(*wait)),
        Fault::Maintenance => refused(Refusal::maintenance()),
        Fault::Html => Some(Outgoing {
            kind: "text/html; charset=utf-8",
            ..Outgoing::text(200, PAGE.to_owned())
        }),
        _ => None,
    }
}

/// Lets a request in and runs its command.
fn admit(
    cloud: &Arc<Cloud>,
    incoming: &Incoming,
    command: Option<&Command>,
    faults: &Drawn,
    origin: Origin,
) -> Result<Value, Refusal> {
    let (user, command) = authenticate(cloud, incoming, command)?;
    incoming.params.refuse_control_characters()?;
    let enforcement = cloud.state().settings.enforcement;
    if enforcement == Enforcement::PostAndTimestamps
        && command.kind != Kind::Read
        && incoming.method != Method::POST
    {
        return Err(Refusal::new(
            405,
            9999,
            format!("API {} must be called by POST", command.name),
        ));
    }
    let call = Call {
        command: command.name,
        params: incoming.params.clone(),
        user,
        faults: faults.clone(),
        origin,
    };
    command.run(cloud, &call)
}

/// Who it is, and that the command is theirs. Whatever is wrong looks the same, but too many calls.
fn authenticate<'a>(
    cloud: &Cloud,
    incoming: &Incoming,
    command: Option<&'a Command>,
) -> Result<(User, &'a Command), Refusal> {
    let params = &incoming.params;
    let mut state = cloud.state();
    let is_unlimited = state.settings.enforcement == Enforcement::PostAndTimestamps
        && params.get("signatureversion") != Some("3");
    let is_late = state.settings.expiry == Expiry::Honoured && !expiry::is_in_time(params, cloud.clock.now());
    if incoming.has_session || is_unlimited || is_late {
        return Err(Refusal::unauthorised());
    }
    let key = params.get("apikey").ok_or_else(Refusal::unauthorised)?;
    let user = state.users.iter().find(|user| user.credentials.api_key == key);
    let user = user.cloned().ok_or_else(Refusal::unauthorised)?;
    let command = command
        .filter(|command| command.is_permitted(&user))
        .ok_or_else(Refusal::unauthorised)?;
    let theirs = params.get("signature").ok_or_else(Refusal::unauthorised)?;
    if !signature::is_same(
        &signature::signature(params, &user.credentials.secret_key),
        theirs,
    ) {
        return Err(Refusal::unauthorised());
    }
    match state.throttle(user.account).filter(|_| !user.is_admin()) {
        Some(wait) => Err(Refusal::too_many(wait)),
        None => Ok((user, command)),
    }
}

/// The envelope: under the command's response name, or under `errorresponse` where there is no such command.
fn outgoing(params: &Params, result: Result<Value, Refusal>) -> Outgoing {
    let command = params.command().and_then(commands::named);
    let name = command.map_or_else(|| "errorresponse".to_owned(), Command::response_name);
    let (status, description, body) = match result {
        Ok(body) => (200, None, body),
        Err(refusal) => (
            refusal.code,
            refusal.class.is_some().then(|| refusal.text.clone()),
            refusal.to_json(),
        ),
    };
    // A request that was turned away before it was read is answered as most clients ask.
    if params.iter().next().is_some() && params.get("response") != Some("json") {
        let body = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>{}", xml(&name, &body));
        return Outgoing {
            status,
            kind: "text/xml; charset=UTF-8",
            body,
            description,
        };
    }
    let body = json!({ name: body }).to_string();
    Outgoing {
        status,
        kind: "application/json; charset=UTF-8",
        body,
        description,
    }
}

impl Outgoing {
    fn text(status: u16, body: String) -> Self {
        Self {
            status,
            kind: "text/plain",
            body,
            description: None,
        }
    }

    /// Breaks off in the middle.
    fn garbled(mut self) -> Self {
        let half = self.body.len() / 2;
        let end = (0..=half)
            .rev()
            .find(|end| self.body.is_char_boundary(*end))
            .unwrap_or(0);
        self.body.truncate(end);
        self
    }

    fn into_response(self, cloud: &Cloud) -> Response {
        let mut response = Response::builder()
            .status(StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR))
            .header(header::DATE, cloud.clock.http_date())
            .header(header::CONTENT_TYPE, self.kind);
        let printable = |text: &String| text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        if let Some(description) = self.description.filter(printable) {
            response = response.header("X-Description", description);
        }
        response
            .body(Body::from(self.body))
            .expect("status and headers are valid")
    }
}
