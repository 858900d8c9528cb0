//! Sessions that end, files that are locked, and whoever may not.

use migrate_engine::source::vsphere::{
    Credentials, DatastorePath, FolderError, HttpError, Patience, Session, Trust, VsphereError,
};

use super::site::{MODELS, PASSWORD, Site, USER, everything, first, request};

#[tokio::test]
async fn a_session_that_ends_is_renewed_wherever_it_is_noticed() {
    for model in MODELS {
        let site = Site::start(model);
        let session = site.login().await;
        let machine = first(&session).await;
        let vm = machine.reference();
        site.post("expire");
        session.discover(&everything()).await.unwrap();
        site.post("expire");
        let snapshot = session.create_snapshot(&vm, &request("e")).await.unwrap();
        let disk = session.snapshot_disks(&snapshot).await.unwrap().disks[0].clone();
        let path: DatastorePath = disk.path.unwrap().parse().unwrap();
        site.post("expire");
        let file = session
            .flat_file(&path, machine.datacenter_path.as_deref(), 64 << 20)
            .await
            .unwrap();
        let mut buffer = vec![0; 1 << 20];
        site.post("expire");
        file.read_at(0, &mut buffer).await.unwrap();
        site.post("drop?n=2");
        file.read_at(5 << 20, &mut buffer).await.unwrap();
        site.post("status?n=2&code=503");
        file.read_at(6 << 20, &mut buffer).await.unwrap();
        site.post("status?n=1&code=500");
        let error = file.read_at(0, &mut buffer).await.unwrap_err();
        assert!(matches!(error, FolderError::Locked { .. }), "{error:?}");
        session.remove_snapshot(&snapshot).await.unwrap();

        // While a task is waited for.
        site.post("delay?method=CreateSnapshot_Task&ms=1500&task=1");
        let (made, ()) = tokio::join!(
            async { session.create_snapshot(&vm, &request("f")).await },
            async {
                while !String::from_utf8(site.get("calls"))
                    .unwrap()
                    .contains("\"CreateSnapshot_Task\":2")
                {
                    tokio::task::yield_now().await;
                }
                site.post("expire");
            }
        );
        made.unwrap();
    }
}

#[tokio::test]
async fn a_locked_file_is_said_to_be_locked() {
    let site = Site::start(&["-lock-running"]);
    let session = site.login().await;
    let found = session.discover(&everything()).await.unwrap();
    let running = found
        .machines
        .iter()
        .find(|machine| machine.power_state.as_deref() == Some("poweredOn"))
        .unwrap();
    let path: DatastorePath = running.config().unwrap().disks[0]
        .path
        .as_ref()
        .unwrap()
        .parse()
        .unwrap();
    let opened = session
        .flat_file(&path, running.datacenter_path.as_deref(), 64 << 20)
        .await;
    assert!(
        matches!(opened, Err(FolderError::Locked { .. })),
        "{:?}",
        opened.err()
    );
    let missing = path.sibling("nothing.vmdk");
    let opened = session
        .folder_file(&missing, running.datacenter_path.as_deref())
        .await;
    assert!(matches!(opened, Err(FolderError::NotFound { .. })));
}

#[tokio::test]
async fn whoever_may_not_is_told_why() {
    let site = Site::start(&[]);
    let login = |trust: Trust, password: &'static str| {
        let endpoint = site.endpoint.clone();
        async move {
            Session::login(
                &endpoint,
                &trust,
                Credentials::new(USER, password),
                Patience::default(),
            )
            .await
            .err()
            .unwrap()
        }
    };
    let error = login(site.trust.clone(), "wrong").await;
    assert!(
        matches!(error, VsphereError::WrongCredentials { .. }),
        "{error:?}"
    );
    let other = Trust::Pinned("00".repeat(32).parse().unwrap());
    let error = login(other, PASSWORD).await;
    assert!(
        matches!(error, VsphereError::Http(HttpError::CertificateMismatch { .. })),
        "{error:?}"
    );
}
