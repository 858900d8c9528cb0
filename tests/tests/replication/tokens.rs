//! Tokens of the daemon at the service of replications: what their scopes let do, and until when.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use volume_client::types::{NewToken, TokenScope};
use whole_system_tests::{plain_http, wait_until};

use super::support::Site;

/// How long a token that was revoked may work on at the service, and some seconds.
const REVOKED_WITHIN: Duration = Duration::from_secs(15);

async fn made(site: &Site, name: &str, scope: TokenScope) -> String {
    let new = NewToken {
        name: name.to_owned(),
        scope,
        expires_at: None,
    };
    let grant = site.appliance.client().create_token(&new).await.unwrap();
    grant.secret.reveal().to_owned()
}

/// Asks the service with a token for its jobs, or for one of a machine that there is not.
async fn ask(site: &Site, token: &str, method: Method) -> (StatusCode, Value) {
    let request = plain_http()
        .request(method, format!("{}/api/v1/replications", site.api))
        .bearer_auth(token)
        .json(&json!({}));
    let answer = request.send().await.unwrap();
    (answer.status(), answer.json().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_the_daemon_works_by_its_scope_and_until_it_is_revoked() {
    let Some(mut site) = Site::started(&[], &[]).await else {
        return;
    };
    let reads = made(&site, "reads", TokenScope::Read).await;
    let operates = made(&site, "operates", TokenScope::Operate).await;
    let late = made(&site, "late", TokenScope::Read).await;
    assert_eq!(ask(&site, &reads, Method::GET).await.0, StatusCode::OK);
    let (status, problem) = ask(&site, &reads, Method::POST).await;
    assert_eq!(
        (status, &problem["code"]),
        (StatusCode::FORBIDDEN, &json!("forbidden"))
    );
    // Let through, and refused for what it asks.
    let (status, problem) = ask(&site, &operates, Method::POST).await;
    assert_eq!(
        (status, &problem["code"]),
        (StatusCode::BAD_REQUEST, &json!("invalid_request"))
    );

    let mut events = plain_http()
        .get(format!("{}/api/v1/events", site.api))
        .bearer_auth(&reads)
        .send()
        .await
        .unwrap();
    assert_eq!(events.status(), StatusCode::OK);
    site.appliance.client().revoke_token("reads").await.unwrap();
    let ends = async { while let Ok(Some(_)) = events.chunk().await {} };
    tokio::time::timeout(2 * REVOKED_WITHIN, ends).await.unwrap();
    wait_until("the revoked token to be refused", REVOKED_WITHIN, async || {
        let (status, _) = ask(&site, &reads, Method::GET).await;
        (status == StatusCode::UNAUTHORIZED).then_some(())
    })
    .await;

    // Who cannot be asked has not refused; the service's own token works without the daemon.
    site.appliance.kill().await;
    let (status, problem) = ask(&site, &late, Method::GET).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{problem}");
    assert_eq!(problem["code"], "token_unchecked");
    let own = std::fs::read_to_string(site.file("token")).unwrap();
    assert_eq!(ask(&site, own.trim(), Method::GET).await.0, StatusCode::OK);
    site.appliance.start().await;
    wait_until("the daemon to be asked again", REVOKED_WITHIN, async || {
        let (status, _) = ask(&site, &late, Method::GET).await;
        (status == StatusCode::OK).then_some(())
    })
    .await;
}
