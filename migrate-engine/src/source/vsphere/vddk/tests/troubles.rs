//! What is missing or breaks: a clear word, without the password, and nothing left.

use std::path::PathBuf;
use std::time::Duration;

use super::super::{Vddk, VddkError};
use super::stand_in::{PASSWORD, StandIn, read, said};
use crate::block::BlockError;
use crate::config::VddkSettings;
use crate::source::{Category, SourceFailure};

/// What a check of other settings says. It is not to be tried again.
async fn refused(stand_in: &StandIn, change: impl FnOnce(&mut VddkSettings)) -> String {
    let mut settings = stand_in.settings();
    change(&mut settings);
    let error = Vddk::new(settings, stand_in.run_dir.path().to_owned())
        .check()
        .await
        .unwrap_err();
    let text = said(&error);
    assert_eq!(SourceFailure::from(error).category, Category::Refused, "{text}");
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_installed_is_named() {
    let Some(stand_in) = StandIn::new() else { return };
    let no_library = refused(&stand_in, |settings| settings.libdir = "/nonexistent/vddk".into()).await;
    let empty = stand_in.run_dir.path().to_owned();
    let empty = refused(&stand_in, |settings| settings.libdir = empty).await;
    for text in [&no_library, &empty] {
        assert!(
            text.contains("unpack it there") && text.contains("libvixDiskLib.so"),
            "{text}"
        );
    }
    assert!(no_library.contains("/nonexistent/vddk"), "{no_library}");

    let no_nbdkit = refused(&stand_in, |settings| settings.nbdkit = "no-such-nbdkit".into()).await;
    assert!(
        no_nbdkit.contains("no-such-nbdkit is not installed"),
        "{no_nbdkit}"
    );

    let no_plugin = refused(&stand_in, |settings| settings.plugin = "no-such-plugin".into()).await;
    assert!(
        no_plugin.contains("nbdkit-plugin-vddk") && no_plugin.contains("no-such-plugin"),
        "{no_plugin}"
    );

    let another = refused(&stand_in, |settings| settings.plugin = "null".into()).await;
    assert!(
        another.contains("`null`") && another.contains("vddk_plugin"),
        "{another}"
    );

    for (mode, word) in [
        ("unloadable", "unpack the whole"),
        ("incomplete", "symbol is missing"),
    ] {
        stand_in.put("mode", mode.as_bytes());
        let no_load = refused(&stand_in, |_| {}).await;
        assert!(
            no_load.contains("cannot load VMware's VDDK") && no_load.contains(word),
            "{no_load}"
        );
    }
    stand_in.put("mode", b"");

    let without = stand_in.script(
        "nbdkit",
        "#!/bin/sh\ncase \"$1\" in --filter=*) echo \"nbdkit: error: cannot open filter 'retry'\" >&2; exit 1;; esac\nexec nbdkit \"$@\"\n",
    );
    let no_filters = refused(&stand_in, |settings| settings.nbdkit = without).await;
    assert!(
        no_filters.contains("exitwhen, cacheextents, blocksize, retry")
            && no_filters.contains("cannot open filter"),
        "{no_filters}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_is_said_tried_once_and_not_shown() {
    let Some(stand_in) = StandIn::new() else { return };
    let error = stand_in
        .open_with(&stand_in.vddk(), "hunter2", None)
        .await
        .err()
        .unwrap();
    let text = said(&error);
    assert!(
        matches!(error, VddkError::Open { .. }) && text.contains("incorrect user name or password"),
        "{text}"
    );
    assert!(!format!("{text} {error:?}").contains("hunter2"), "{error:?}");
    let log = stand_in.log();
    assert!(
        log.iter().any(|line| line == "password=wrong, in a private file"),
        "{log:#?}"
    );
    let logins = log.iter().filter(|line| line.starts_with("open ")).count();
    assert_eq!(logins, 1, "hosts lock accounts: {log:#?}");
    stand_in.assert_nothing_is_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_that_is_no_line_is_refused() {
    let Some(stand_in) = StandIn::new() else { return };
    let error = stand_in
        .open_with(&stand_in.vddk(), "two\nlines", None)
        .await
        .err()
        .unwrap();
    assert!(matches!(error, VddkError::Password), "{error:?}");
    stand_in.assert_nothing_is_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_library_that_dies_while_it_is_read_has_its_last_words_told() {
    let Some(stand_in) = StandIn::new() else { return };
    let disk = stand_in.open().await.unwrap();
    stand_in.put("mode", b"die");
    let error = read(&disk).unwrap_err();
    assert!(matches!(error, BlockError::Remote { .. }), "{error:?}");
    let text = said(&error);
    assert!(
        text.contains("Hard disk 1") && text.contains("NfcFssrvr: the library gives up, …"),
        "{text}"
    );
    assert!(!format!("{text} {error:?}").contains(PASSWORD), "{error:?}");
    // It stays so, and says it at once.
    stand_in.put("mode", b"");
    read(&disk).unwrap_err();
    drop(disk);
    stand_in.assert_nothing_is_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_that_fails_once_is_repeated() {
    let Some(stand_in) = StandIn::new() else { return };
    let disk = stand_in.open().await.unwrap();
    stand_in.put("mode", b"trip");
    assert!(read(&disk).unwrap() == stand_in.disk, "it differs");
    let opens = stand_in
        .log()
        .iter()
        .filter(|line| line.starts_with("open "))
        .count();
    assert_eq!(opens, 2, "{:#?}", stand_in.log());
    drop(disk);
    stand_in.assert_nothing_is_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_never_gets_ready_or_ends_before_is_given_up() {
    let Some(stand_in) = StandIn::new() else { return };
    stand_in.put("mode", b"stuck");
    let impatient = stand_in.vddk().ready_within(Duration::from_secs(1));
    let error = stand_in
        .open_with(&impatient, PASSWORD, None)
        .await
        .err()
        .unwrap();
    assert!(matches!(error, VddkError::NotReady { .. }), "{error:?}");
    assert!(error.to_string().contains("within 1 s"), "{error}");
    stand_in.assert_nothing_is_left().await;

    stand_in.put("mode", b"broken");
    let error = stand_in.open().await.err().unwrap();
    let text = said(&error);
    assert!(
        text.contains("VixDiskLib_InitEx: a library is missing") && text.contains("exit status: 1"),
        "{text}"
    );
    stand_in.assert_nothing_is_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_of_another_size_is_not_believed() {
    let Some(stand_in) = StandIn::new() else { return };
    stand_in.put("disk", &[1; 1 << 20]);
    let error = stand_in.open().await.err().unwrap();
    assert!(
        matches!(error, VddkError::Size { told, found, .. } if (told, found) == (3 << 20, 1 << 20)),
        "{error:?}"
    );
    stand_in.assert_nothing_is_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_that_cannot_hold_a_socket_is_named() {
    let Some(stand_in) = StandIn::new() else { return };
    let long = stand_in.run_dir.path().join("x".repeat(100));
    let open = async |run_dir: PathBuf| {
        let vddk = Vddk::new(stand_in.settings(), run_dir);
        stand_in.open_with(&vddk, PASSWORD, None).await.err().unwrap()
    };
    let error = open(long.clone()).await;
    assert!(matches!(error, VddkError::Folder { .. }), "{error:?}");
    std::fs::create_dir(&long).unwrap();
    let error = open(long.clone()).await;
    assert!(matches!(error, VddkError::LongPath { .. }), "{error:?}");
    std::fs::remove_dir(&long).unwrap();
    stand_in.assert_nothing_is_left().await;
}
