//! The way to the collector: OTLP over HTTP, as protobuf, in batches from a thread of the SDK's.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::runtime::Handle;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// How long the collector may take to accept a batch. Spans that it does not take are lost: nobody waits for them.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) fn provider(service: &'static str, endpoint: &str) -> Result<SdkTracerProvider, String> {
    if !endpoint.starts_with("http://") {
        return Err(
            "only http:// is spoken; run an OpenTelemetry collector on this machine and let it speak TLS"
                .to_owned(),
        );
    }
    let runtime = Handle::try_current().map_err(|_| "there is no runtime yet".to_owned())?;
    let nobody = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let http = reqwest::Client::builder()
        .no_proxy()
        .tls_backend_preconfigured(nobody)
        .build()
        .map_err(|error| error.to_string())?;
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(Client { http, runtime })
        .with_endpoint(format!("{}/v1/traces", endpoint.trim_end_matches('/')))
        .with_timeout(PATIENCE)
        .build()
        .map_err(|error| error.to_string())?;
    let resource = Resource::builder().with_service_name(service).build();
    Ok(SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(resource)
        .build())
}

/// Sends on the program's runtime what the SDK's thread asks for.
#[derive(Debug, Clone)]
struct Client {
    http: reqwest::Client,
    runtime: Handle,
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (http, request) = (self.http.clone(), request.map(reqwest::Body::from));
        let sending = self.runtime.spawn(async move {
            let mut answer = http.execute(request.try_into()?).await?;
            let (status, headers) = (answer.status(), std::mem::take(answer.headers_mut()));
            let mut response = Response::new(answer.bytes().await?);
            *response.status_mut() = status;
            *response.headers_mut() = headers;
            Ok::<_, reqwest::Error>(response)
        });
        Ok(sending.await??)
    }
}
