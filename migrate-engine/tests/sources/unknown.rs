//! A snapshot that comes into being after its maker gave up on it.

use std::time::Duration;

use migrate_engine::source::Source;
use migrate_engine::source::vsphere::Patience;

use crate::fixture::{Fixture, OWNER, cycle};
use crate::vsphere::Vsphere;

#[tokio::test]
async fn a_snapshot_that_is_still_being_made_is_removed_too() {
    for model in [&[][..], &["-esx"]] {
        let fixture = Vsphere::start(model).await;
        let source = fixture.source().await;
        let machine = source.machine(&fixture.names().id, None).await.unwrap();
        let frozen = source.freeze(&machine, &cycle("1")).await.unwrap();
        frozen.release().await.unwrap();

        fixture.delay("CreateSnapshot_Task", Duration::from_millis(1500));
        let hasty = fixture
            .source_with(Patience {
                task: Duration::from_millis(200),
                ..Patience::default()
            })
            .await;
        let failure = hasty.freeze(&machine, &cycle("2")).await.err().unwrap();
        assert!(failure.is_unknown && !failure.is_final(), "{failure:?}");
        // Who does not wait for its end does not say that all is gone.
        let failure = hasty.clean_up(&machine, OWNER).await.unwrap_err();
        assert!(failure.is_unknown, "{failure:?}");
        source.clean_up(&machine, OWNER).await.unwrap();
        assert_eq!(fixture.left(), [""; 0]);
        fixture.delay("CreateSnapshot_Task", Duration::ZERO);
        let frozen = source.freeze(&machine, &cycle("3")).await.unwrap();
        frozen.release().await.unwrap();
        assert_eq!(fixture.left(), [""; 0]);
    }
}
