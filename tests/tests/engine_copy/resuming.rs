//! Copies that go on inside of a disk: where they may, and where they must not.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;

use super::images::SIZE;
use super::support::{Bench, Ended};

impl Bench {
    /// Begins to copy, slowly, and stops it in the middle.
    async fn stopped_in_the_middle(&self, image: &str) {
        let mut engine = self.start("stopped", &[image, "--rate", "8MiB"]);
        engine.says("verified").await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        engine.signal(Signal::INT);
        let ended = engine.ended().await;
        assert_eq!(ended.code, Some(130), "{ended:#?}");
        self.assert_nothing_left().await;
        assert_eq!(self.journals(), 1);
    }

    /// How many copies are remembered.
    fn journals(&self) -> usize {
        std::fs::read_dir(self.appliance.dir().join("journals")).map_or(0, Iterator::count)
    }
}

fn resumed(of: &Ended) -> u64 {
    of.disk(0)["bytes_resumed"].as_u64().unwrap()
}

fn overwrite(path: &Path, at: u64, bytes: &[u8]) {
    let file = File::options().write(true).open(path).unwrap();
    file.write_all_at(bytes, at).unwrap();
    file.sync_all().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_was_stopped_goes_on_where_it_was() {
    let Some(bench) = Bench::started().await else {
        return;
    };
    let raw = bench.full_disk("disk.raw", SIZE);
    let image = raw.to_str().unwrap();
    bench.stopped_in_the_middle(image).await;
    let again = bench.copied(&[image]).await;
    assert!(
        again.stderr.contains("going on where a copy was interrupted"),
        "{again:#?}"
    );
    assert!(
        again.stdout.contains("were there from an interrupted copy"),
        "{again:#?}"
    );
    let read = again.disk(0)["bytes_read"].as_u64().unwrap();
    assert!(
        resumed(&again) >= 4 << 20 && read + resumed(&again) <= SIZE,
        "{again:#?}"
    );
    assert_eq!(bench.journals(), 0, "what is proven is forgotten");
    bench.assert_holds(&bench.volume().await, &raw).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_was_written_to_meanwhile_is_copied_from_the_begin() {
    let Some(bench) = Bench::started().await else {
        return;
    };
    let raw = bench.full_disk("disk.raw", SIZE);
    let image = raw.to_str().unwrap();
    bench.stopped_in_the_middle(image).await;
    overwrite(
        &raw,
        4096,
        b"another content at the begin, which is copied already",
    );
    let again = bench.copied(&[image]).await;
    assert!(again.stderr.contains("copying from the begin"), "{again:#?}");
    assert_eq!(resumed(&again), 0);
    bench.assert_holds(&bench.volume().await, &raw).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_wants_it_begins_at_the_begin() {
    let Some(bench) = Bench::started().await else {
        return;
    };
    let raw = bench.full_disk("disk.raw", SIZE);
    let image = raw.to_str().unwrap();
    bench.stopped_in_the_middle(image).await;
    let again = bench.copied(&[image, "--from-start"]).await;
    assert_eq!((resumed(&again), bench.journals()), (0, 0));
    bench.assert_holds(&bench.volume().await, &raw).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_lost_what_was_copied_is_found_out_and_copied_anew() {
    let Some(bench) = Bench::started().await else {
        return;
    };
    let raw = bench.full_disk("disk.raw", SIZE);
    let image = raw.to_str().unwrap();
    bench.stopped_in_the_middle(image).await;
    let volume = bench.volume().await;
    let attached = bench.appliance.attach(volume.id).await;
    overwrite(Path::new(&attached.device_path), 0, &[0x55; 8192]);
    bench.appliance.detach(volume.id).await;

    let second = bench.refused(&[image], "do not use it, and copy again").await;
    assert!(second.stderr.contains("going on where"), "{second:#?}");
    assert_eq!(
        bench.journals(),
        0,
        "a journal that was found to be wrong is forgotten"
    );
    let third = bench.copied(&[image]).await;
    assert_eq!(resumed(&third), 0);
    bench.assert_holds(&bench.volume().await, &raw).await;
}
