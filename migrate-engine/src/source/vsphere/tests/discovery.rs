//! Discovery when the vCenter is old, forgets us, or breaks off between two pages.

use super::super::{Query, VsphereError};
use super::server::{Reply, Seen, Server, fault, result};

const MACHINE: &str = "<objects><obj type=\"VirtualMachine\">vm-§</obj><propSet><name>name</name><val>web§</val></propSet>\
    <propSet><name>config.hardware</name><val><numCPU>1</numCPU><memoryMB>512</memoryMB></val></propSet></objects>";

fn page(number: usize, token: &str) -> String {
    format!(
        "<returnval>{token}{}</returnval>",
        MACHINE.replace('§', &number.to_string())
    )
}

/// A view, and two pages of one machine each; `trouble` comes first.
async fn server(trouble: impl Fn(&Seen) -> Option<Reply> + Send + Sync + 'static) -> Server {
    Server::with_login(move |seen| {
        if let Some(reply) = trouble(seen) {
            return Some(reply);
        }
        if seen.calls("CreateContainerView") {
            let view = "<returnval type=\"ContainerView\">session[1]view</returnval>";
            return Some(result("CreateContainerView", view));
        }
        if seen.calls("DestroyView") {
            return Some(result("DestroyView", ""));
        }
        if seen.calls("RetrievePropertiesEx") {
            return Some(result("RetrievePropertiesEx", &page(1, "<token>t1</token>")));
        }
        seen.calls("ContinueRetrievePropertiesEx")
            .then(|| result("ContinueRetrievePropertiesEx", &page(2, "")))
    })
    .await
}

async fn names(server: &Server) -> Result<Vec<String>, VsphereError> {
    let session = server.login().await;
    let found = session.discover(&Query::default()).await?;
    Ok(found.machines.into_iter().map(|machine| machine.name).collect())
}

#[tokio::test]
async fn all_pages_are_read_and_the_view_is_closed() {
    let server = server(|_| None).await;
    assert_eq!(names(&server).await.unwrap(), ["web1", "web2"]);
    assert_eq!(server.count("DestroyView"), 1);
}

#[tokio::test]
async fn a_property_that_an_old_version_does_not_know_is_left_out() {
    let server = server(|seen| {
        let is_unknown = seen.body.contains("<pathSet>config.keyId</pathSet>");
        is_unknown.then(|| fault("InvalidProperty", "<name>config.keyId</name>"))
    })
    .await;
    assert_eq!(names(&server).await.unwrap(), ["web1", "web2"]);
    assert_eq!(server.count("RetrievePropertiesEx"), 2);
}

#[tokio::test]
async fn a_property_that_we_did_not_ask_for_does_not_loop() {
    let server = server(|seen| {
        seen.calls("RetrievePropertiesEx")
            .then(|| fault("InvalidProperty", "<name>other</name>"))
    })
    .await;
    let error = names(&server).await.unwrap_err();
    assert!(error.is_fault("InvalidProperty"), "{error:?}");
    assert_eq!(server.count("RetrievePropertiesEx"), 1);
}

#[tokio::test]
async fn a_token_of_a_session_that_ended_begins_anew() {
    let continued = std::sync::atomic::AtomicUsize::new(0);
    let server = server(move |seen| {
        if !seen.calls("ContinueRetrievePropertiesEx") {
            return None;
        }
        match continued.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
            0 => Some(fault("NotAuthenticated", "")),
            1 => Some(fault(
                "InvalidArgument",
                "<invalidProperty>token</invalidProperty>",
            )),
            _ => None,
        }
    })
    .await;
    assert_eq!(names(&server).await.unwrap(), ["web1", "web2"]);
    assert_eq!(
        (server.count("CreateContainerView"), server.count("Login")),
        (2, 2)
    );
}

#[tokio::test]
async fn a_page_that_broke_off_is_not_asked_for_twice_but_the_whole_is() {
    let continued = std::sync::atomic::AtomicUsize::new(0);
    let server = server(move |seen| {
        let is_first = seen.calls("ContinueRetrievePropertiesEx")
            && continued.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0;
        is_first.then(|| Reply::Cut(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n<".to_vec()))
    })
    .await;
    assert_eq!(names(&server).await.unwrap(), ["web1", "web2"]);
    assert_eq!(
        (
            server.count("CreateContainerView"),
            server.count("ContinueRetrievePropertiesEx")
        ),
        (2, 2)
    );
}
