//! Waiting for tasks: done, failed, and neither.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::super::VsphereError;
use super::super::reference::Reference;
use super::server::{Reply, Seen, Server, fault, result};

const PATIENCE: Duration = Duration::from_secs(5);

fn task() -> Reference {
    Reference::new("Task", "task-12")
}

fn state(inner: &str) -> Reply {
    let objects =
        format!("<returnval><objects><obj type=\"Task\">task-12</obj>{inner}</objects></returnval>");
    result("RetrievePropertiesEx", &objects)
}

/// The updates of a host: one at once, and then whenever it is asked.
fn updates(seen: &Seen) -> Option<Reply> {
    if seen.calls("CreatePropertyCollector") {
        let collector = "<returnval type=\"PropertyCollector\">session[1]2</returnval>";
        return Some(result("CreatePropertyCollector", collector));
    }
    if seen.calls("CreateFilter") {
        return Some(result(
            "CreateFilter",
            "<returnval type=\"PropertyFilter\">session[1]3</returnval>",
        ));
    }
    if seen.calls("WaitForUpdatesEx") {
        return Some(result(
            "WaitForUpdatesEx",
            "<returnval><version>1</version></returnval>",
        ));
    }
    seen.calls("DestroyPropertyCollector")
        .then(|| result("DestroyPropertyCollector", ""))
}

const RUNNING: &str =
    "<propSet><name>info.state</name><val xsi:type=\"TaskInfoState\">running</val></propSet>";
const DONE: &str = "<propSet><name>info.state</name><val xsi:type=\"TaskInfoState\">success</val></propSet>\
    <propSet><name>info.result</name><val xsi:type=\"ManagedObjectReference\" \
    type=\"VirtualMachineSnapshot\">snapshot-7</val></propSet>";
const FAILED: &str = "<propSet><name>info.state</name><val xsi:type=\"TaskInfoState\">error</val></propSet>\
    <propSet><name>info.error</name><val xsi:type=\"LocalizedMethodFault\"><fault \
    xsi:type=\"ApplicationQuiesceFault\"><faultMessage><key>msg.snapshot.quiesce</key><message>no tools</message>\
    </faultMessage></fault><localizedMessage>The guest did not come to rest.</localizedMessage></val></propSet>";

#[tokio::test]
async fn it_is_woken_by_updates_and_cleans_up() {
    let asked = AtomicUsize::new(0);
    let server = Server::with_login(move |seen| {
        if seen.calls("RetrievePropertiesEx") {
            let number = asked.fetch_add(1, Ordering::SeqCst);
            return Some(state(if number < 3 { RUNNING } else { DONE }));
        }
        updates(seen)
    })
    .await;
    let session = server.login().await;
    let result = session.wait(&task(), "the test", PATIENCE).await.unwrap();
    assert_eq!(
        result,
        Some(Reference::new("VirtualMachineSnapshot", "snapshot-7"))
    );
    assert_eq!(
        (
            server.count("WaitForUpdatesEx"),
            server.count("DestroyPropertyCollector")
        ),
        (3, 1)
    );
}

#[tokio::test]
async fn a_failed_task_says_the_kind_of_its_fault() {
    let server = Server::with_login(|seen| seen.calls("RetrievePropertiesEx").then(|| state(FAILED))).await;
    let session = server.login().await;
    let error = session.wait(&task(), "the test", PATIENCE).await.unwrap_err();
    let fault = error.fault().unwrap();
    assert_eq!(fault.kind(), "ApplicationQuiesceFault");
    assert_eq!(fault.message(), "The guest did not come to rest.");
    assert_eq!(fault.key(), Some("msg.snapshot.quiesce"));
    assert!(!error.is_unknown());
}

#[tokio::test]
async fn a_task_that_does_not_end_is_unknown() {
    // Updates come without end, and one host gives none.
    for gives_updates in [true, false] {
        let server = Server::with_login(move |seen| {
            if seen.calls("RetrievePropertiesEx") {
                return Some(state(RUNNING));
            }
            if gives_updates {
                updates(seen)
            } else {
                seen.calls("CreatePropertyCollector")
                    .then(|| fault("MethodNotFound", ""))
            }
        })
        .await;
        let session = server.login().await;
        let patience = Duration::from_millis(300);
        let error = session.wait(&task(), "the test", patience).await.unwrap_err();
        assert!(
            error.is_unknown() && matches!(error, VsphereError::TaskUnknown { .. }),
            "{error:?}"
        );
    }
}
