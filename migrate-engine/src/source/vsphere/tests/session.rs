//! Logging in, staying logged in, and logging out.

use std::time::Duration;

use super::super::reference::Reference;
use super::super::soap::{Call, Xml};
use super::super::{Credentials, HttpError, Session, VsphereError};
use super::server::{Reply, Seen, Server, answer, fault, impatient, result};

fn anything(care: fn(&'static str, &Reference, Xml) -> Call) -> Call {
    care("Anything", &Reference::machine("vm-1"), Xml::new())
}

/// Answers `Anything` to the session `s2` only: `s1` is forgotten.
fn only_to_the_second(seen: &Seen) -> Option<Reply> {
    seen.calls("Anything").then(|| match seen.header("cookie") {
        Some("vmware_soap_session=\"s2\"") => result("Anything", "<returnval>yes</returnval>"),
        _ => fault("NotAuthenticated", ""),
    })
}

#[tokio::test]
async fn it_logs_in_with_escaped_words_and_the_versions_action() {
    let server = Server::with_login(|_| None).await;
    let session = server.login().await;
    assert!(session.about().is_vcenter);
    assert_eq!(session.cookie().as_deref(), Some("vmware_soap_session=\"s1\""));
    let login = server
        .seen()
        .into_iter()
        .find(|seen| seen.calls("Login"))
        .unwrap();
    assert_eq!(login.header("soapaction"), Some("urn:vim25/7.0.3.0"));
    assert_eq!(login.header("cookie"), None);
    assert!(login.body.contains("p@ss&lt;&amp;&gt;"), "{}", login.body);
    assert!(!format!("{:?}", Credentials::new("root", "p@ss")).contains("p@ss"));
}

#[tokio::test]
async fn a_wrong_password_is_tried_once() {
    let server = Server::with_login(|seen| seen.calls("Login").then(|| fault("InvalidLogin", ""))).await;
    let credentials = Credentials::new("root", "wrong");
    let error = Session::login(&server.endpoint, &server.trust(), credentials, impatient())
        .await
        .err()
        .unwrap();
    assert!(
        matches!(error, VsphereError::WrongCredentials { .. }),
        "{error:?}"
    );
    assert!(!error.to_string().contains("wrong "));
    assert_eq!(server.count("Login"), 1);
}

#[tokio::test]
async fn a_forgotten_session_is_renewed_once_for_all_who_wait() {
    let server = Server::with_login(only_to_the_second).await;
    let session = server.login().await;
    let (reading, changing) = (anything(Call::reading), anything(Call::changing));
    let (a, b, c) = tokio::join!(
        session.call(&reading),
        session.call(&changing),
        session.call(&reading)
    );
    for response in [a, b, c] {
        assert_eq!(response.unwrap().child_text("returnval"), Some("yes"));
    }
    assert_eq!(server.count("Login"), 2);
    assert_eq!(session.generation(), 2);
}

#[tokio::test]
async fn a_session_that_is_refused_again_is_not_renewed_for_ever() {
    let server =
        Server::with_login(|seen| seen.calls("Anything").then(|| fault("NotAuthenticated", ""))).await;
    let session = server.login().await;
    let error = session.call(&anything(Call::reading)).await.unwrap_err();
    assert!(error.is_fault("NotAuthenticated"), "{error:?}");
    assert_eq!((server.count("Login"), server.count("Anything")), (2, 2));
}

#[tokio::test]
async fn a_lost_change_is_unknown_and_not_repeated() {
    let server = Server::with_login(|seen| {
        seen.calls("Anything")
            .then(|| Reply::Cut(b"HTTP/1.1 200".to_vec()))
    })
    .await;
    let session = server.login().await;
    let error = session.call(&anything(Call::changing)).await.unwrap_err();
    assert!(
        error.is_unknown() && matches!(error, VsphereError::Http(HttpError::Lost { .. })),
        "{error:?}"
    );
    assert_eq!(server.count("Anything"), 1);
}

#[tokio::test]
async fn what_is_no_api_is_said_to_be_none() {
    let server = Server::start(|_| answer(200, "", "<html><body>Welcome</body></html>")).await;
    let credentials = Credentials::new("root", "x");
    let login = Session::login(
        &server.endpoint,
        &server.trust(),
        credentials.clone(),
        impatient(),
    )
    .await;
    assert!(matches!(login, Err(VsphereError::Shape { .. })));
    let server = Server::start(|_| answer(503, "", "no healthy upstream")).await;
    let login = Session::login(&server.endpoint, &server.trust(), credentials, impatient()).await;
    assert!(matches!(login, Err(VsphereError::NotTheApi { status: 503, .. })));
}

#[tokio::test]
async fn a_missing_privilege_is_named() {
    let refusal = |seen: &Seen| {
        let inner = "<object type=\"VirtualMachine\">vm-1</object>\
                     <privilegeId>VirtualMachine.State.CreateSnapshot</privilegeId>";
        seen.calls("Anything").then(|| fault("NoPermission", inner))
    };
    let server = Server::with_login(refusal).await;
    let session = server.login().await;
    let error = session.call(&anything(Call::changing)).await.unwrap_err();
    assert!(
        error.to_string().contains("VirtualMachine.State.CreateSnapshot"),
        "{error}"
    );
}

#[tokio::test]
async fn logged_out_is_logged_out_for_every_clone() {
    let server = Server::with_login(|_| None).await;
    let session = server.login().await;
    let clone = session.clone();
    session.logout().await.unwrap();
    session.logout().await.unwrap();
    let error = clone.call(&anything(Call::reading)).await.unwrap_err();
    assert!(matches!(error, VsphereError::LoggedOut { .. }), "{error:?}");
    drop((session, clone));
    assert_eq!(server.count("Logout"), 1);
}

#[tokio::test]
async fn the_last_handle_logs_out() {
    let server = Server::with_login(|_| None).await;
    let session = server.login().await;
    let clone = session.clone();
    drop(session);
    assert_eq!(server.count("Logout"), 0);
    drop(clone);
    let told = async {
        while server.count("Logout") == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), told).await.unwrap();
}
