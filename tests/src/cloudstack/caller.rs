//! A plain client for tests of the server itself: signs, sends, and shows what came back. It repeats and hides nothing.

use std::fmt::Write;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use uuid::Uuid;
use volume_client::client::trust::nobody;

use super::account::Credentials;
use super::refusal::Refusal;
use super::signature::signature;
use super::wire::Params;

/// How long a job may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at it.
const PAUSE: Duration = Duration::from_millis(5);

/// Calls with one pair of keys.
#[derive(Debug, Clone)]
pub struct Caller {
    http: reqwest::Client,
    url: String,
    credentials: Credentials,
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: reqwest::header::HeaderMap,
    /// The body as it came.
    pub text: String,
}

impl Caller {
    /// A client of the server at `url`.
    ///
    /// # Panics
    /// Where no HTTP client can be made.
    #[must_use]
    pub fn new(url: String, credentials: Credentials) -> Self {
        let http = volume_client::client::http(nobody())
            .pool_max_idle_per_host(0)
            .build();
        Self {
            http: http.expect("an HTTP client can be made"),
            url,
            credentials,
        }
    }

    /// The parameters of a call as a careful client signs them, good for a minute.
    #[must_use]
    pub fn signed(&self, command: &str, params: &[(&str, &str)]) -> Params {
        let expires = Timestamp::now() + SignedDuration::from_mins(1);
        let expires = expires.strftime("%Y-%m-%dT%H:%M:%S+0000").to_string();
        let fixed = [
            ("command", command),
            ("response", "json"),
            ("signatureversion", "3"),
            ("expires", &expires),
        ];
        let all: Vec<_> = fixed.into_iter().chain(params.iter().copied()).collect();
        self.sign(&all)
    }

    /// Just these parameters with the API key and a signature.
    #[must_use]
    pub fn sign(&self, params: &[(&str, &str)]) -> Params {
        let key = [("apikey", self.credentials.api_key.as_str())];
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let mut pairs: Vec<_> = key.iter().chain(params).map(owned).collect();
        let signed = signature(&Params::of(pairs.clone()), &self.credentials.secret_key);
        pairs.push(("signature".to_owned(), signed));
        Params::of(pairs)
    }

    /// Posts parameters. An error where no answer came.
    ///
    /// # Errors
    /// Those of the transport.
    pub async fn post(&self, params: &Params) -> reqwest::Result<Answer> {
        let form = self
            .http
            .post(&self.url)
            .header("content-type", "application/x-www-form-urlencoded");
        Answer::of(form.body(encode(params)).send().await?).await
    }

    /// Sends parameters in the query of a GET, with these headers.
    ///
    /// # Errors
    /// Those of the transport.
    pub async fn get(&self, params: &Params, headers: &[(&str, &str)]) -> reqwest::Result<Answer> {
        let mut request = self.http.get(format!("{}?{}", self.url, encode(params)));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Answer::of(request.send().await?).await
    }

    /// Calls a command, and returns what the envelope holds.
    ///
    /// # Errors
    /// What the server says.
    ///
    /// # Panics
    /// Where no answer came, or one that is no JSON.
    pub async fn call(&self, command: &str, params: &[(&str, &str)]) -> Result<Value, Refusal> {
        let answer = self
            .post(&self.signed(command, params))
            .await
            .expect("an answer comes");
        answer.content()
    }

    /// Calls a command and awaits the result of its job.
    ///
    /// # Errors
    /// What the server or the job says; without a result, the text is empty.
    ///
    /// # Panics
    /// Where no answer came, or the job does not end.
    pub async fn run(&self, command: &str, params: &[(&str, &str)]) -> Result<Value, Refusal> {
        let job = self.call(command, params).await?;
        self.outcome(job["jobid"].as_str().expect("a job was started"))
            .await
    }

    /// Awaits the result of a job.
    ///
    /// # Errors
    /// What the job says; without a result, the text is empty.
    ///
    /// # Panics
    /// Where the job does not end.
    pub async fn outcome(&self, job: &str) -> Result<Value, Refusal> {
        let began = Instant::now();
        let ended = loop {
            let job = self
                .call("queryAsyncJobResult", &[("jobid", job)])
                .await
                .expect("the job is known");
            if job["jobstatus"] != 0 {
                break job;
            }
            assert!(began.elapsed() < PATIENCE, "a job did not end: {job}");
            tokio::time::sleep(PAUSE).await;
        };
        if ended["jobstatus"] == 1 {
            return Ok(ended["jobresult"].clone());
        }
        let code = ended["jobresultcode"]
            .as_u64()
            .and_then(|code| u16::try_from(code).ok());
        Err(Refusal {
            code: code.expect("a code is a small number"),
            class: None,
            text: ended["jobresult"]["errortext"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
        })
    }

    /// The volume of this id as it is listed; `None` where the list is empty.
    ///
    /// # Panics
    /// Where the server refuses.
    pub async fn volume(&self, id: Uuid) -> Option<Value> {
        let listed = self
            .call("listVolumes", &[("id", &id.to_string())])
            .await
            .expect("a list comes");
        listed["volume"].get(0).cloned()
    }
}

impl Answer {
    async fn of(response: reqwest::Response) -> reqwest::Result<Self> {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok(Self {
            status,
            headers,
            text: response.text().await?,
        })
    }

    /// The key of the envelope and what it holds.
    ///
    /// # Panics
    /// Where the body is no envelope.
    #[must_use]
    pub fn envelope(&self) -> (String, Value) {
        let body: Value = serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {self:?}"));
        let mut fields = body
            .as_object()
            .expect("an envelope is an object")
            .clone()
            .into_iter();
        let only = fields.next().expect("an envelope has a key");
        assert_eq!(fields.next(), None, "an envelope has one key");
        only
    }

    /// What the envelope holds, or the error in it.
    ///
    /// # Errors
    /// What the server says.
    ///
    /// # Panics
    /// Where the body is no envelope, or its error is not that of the status.
    pub fn content(&self) -> Result<Value, Refusal> {
        let (_, content) = self.envelope();
        if self.status == 200 {
            return Ok(content);
        }
        assert_eq!(
            content["errorcode"], self.status,
            "the status is the code of the error"
        );
        let class = content["cserrorcode"]
            .as_u64()
            .and_then(|class| u16::try_from(class).ok());
        let text = content["errortext"]
            .as_str()
            .expect("an error has a text")
            .to_owned();
        Err(Refusal {
            code: self.status,
            class,
            text,
        })
    }
}

/// Form encoding of everything that is not certainly safe, names too.
fn encode(params: &Params) -> String {
    let escaped = |text: &str| {
        text.bytes().fold(String::new(), |mut escaped, byte| {
            if byte.is_ascii_alphanumeric() {
                escaped.push(char::from(byte));
            } else {
                write!(escaped, "%{byte:02X}").expect("a string takes all that is written to it");
            }
            escaped
        })
    };
    let pairs: Vec<_> = params
        .iter()
        .map(|(name, value)| format!("{}={}", escaped(name), escaped(value)))
        .collect();
    pairs.join("&")
}
