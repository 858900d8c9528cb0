//! Snapshots that are made once, and tasks that fail.

use std::time::Duration;

use migrate_engine::source::vsphere::{Patience, Reference, SnapshotNode, VsphereError};

use super::site::{MODELS, OWNER, Site, first, request};

#[tokio::test]
async fn a_snapshot_is_made_once_however_often_it_is_asked_for() {
    for model in MODELS {
        let site = Site::start(model);
        let session = site.login().await;
        let vm = first(&session).await.reference();
        let one = session.create_snapshot(&vm, &request("a")).await.unwrap();
        assert_eq!(session.create_snapshot(&vm, &request("a")).await.unwrap(), one);
        let tree = session.snapshots(&vm).await.unwrap();
        assert_eq!(SnapshotNode::owned(&tree, "volumed-", OWNER).len(), 1);
        assert!(SnapshotNode::owned(&tree, "volumed-", "somebody else").is_empty());

        // Its maker gave up on it while it was being made; the next one waits for it and takes it.
        site.post("delay?method=CreateSnapshot_Task&ms=2500&task=1");
        let hasty = site
            .login_with(Patience {
                task: Duration::from_millis(200),
                ..Patience::default()
            })
            .await;
        let error = hasty.create_snapshot(&vm, &request("b")).await.unwrap_err();
        assert!(error.is_unknown(), "{error:?}");
        let two = session.create_snapshot(&vm, &request("b")).await.unwrap();
        let tree = session.snapshots(&vm).await.unwrap();
        let named: Vec<_> = SnapshotNode::owned(&tree, "volumed-b", OWNER);
        assert_eq!(named.len(), 1);
        assert_eq!(named[0].reference(), two);
        let calls = String::from_utf8(site.get("calls")).unwrap();
        assert!(calls.contains("\"CreateSnapshot_Task\":2"), "{calls}");
    }
}

#[tokio::test]
async fn failed_tasks_say_why() {
    let site = Site::start(&[]);
    let session = site.login().await;
    let vm = first(&session).await.reference();
    site.post("fault?method=CreateSnapshot_Task&fault=NoDiskSpace&task=1");
    let error = session.create_snapshot(&vm, &request("x")).await.unwrap_err();
    assert!(
        matches!(&error, VsphereError::TaskFailed { fault, .. } if fault.kind() == "NoDiskSpace"),
        "{error:?}"
    );
    assert!(session.snapshots(&vm).await.unwrap().is_empty());
    let nobody = session.snapshots(&Reference::machine("vm-99999")).await;
    assert!(
        matches!(nobody, Err(VsphereError::MachineNotFound { .. })),
        "{nobody:?}"
    );
}
