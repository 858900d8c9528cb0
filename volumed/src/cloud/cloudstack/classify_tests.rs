//! The texts of the facts, with the codes that they come with, and what each means.

use serde_json::json;

use super::*;

fn request(code: i64, text: &str) -> Setback {
    Setback::of_request(Failure::Said(Refusal {
        code,
        class: None,
        text: text.to_owned(),
    }))
}

fn job(code: i64, text: &str) -> Setback {
    let result = json!({"errorcode": code, "errortext": text});
    Setback::of_job("j", &JobFailure::new(Some(530), Some(&result)))
}

#[test]
fn what_is_said_at_once() {
    use Meaning::{Conflict, Duplicate, NoSpace, NotFound, Refused, Transient, Unknown};
    let table = [
        (
            429,
            "api limit, please retry after 700 ms",
            Transient(Some(Duration::from_millis(700))),
        ),
        (429, "slow down", Transient(None)),
        (503, "whatever", Transient(None)),
        (530, "Maintenance: Can not accept new jobs", Transient(None)),
        (
            401,
            "unable to verify user credentials and/or request signature",
            Refused,
        ),
        (
            431,
            "Invalid parameter id value=x due to incorrect long value format, or entity does not exist",
            NotFound,
        ),
        (431, "Unable to find volume with ID: x", NotFound),
        (
            431,
            "UUID: x already exists so can't create/update with custom id",
            Duplicate,
        ),
        (431, "Received value containing illegal ASCII", Refused),
        (
            431,
            "Please specify a volume that is not attached to any VM.",
            Conflict,
        ),
        (
            431,
            "Please specify a volume that is not attached to any Instance.",
            Conflict,
        ),
        (431, "The specified volume is not attached to a VM.", Conflict),
        (
            432,
            "The given command does not exist or it is not available for user",
            Refused,
        ),
        (
            531,
            "Acct[x] does not have permission to operate with resource",
            Refused,
        ),
        (531, "no", Refused),
        (532, "x", NoSpace),
        (
            535,
            "Maximum amount of resources of Type = 'volume' exceeded",
            NoSpace,
        ),
        (533, "Unable to find suitable storage", NoSpace),
        (536, "in use", Conflict),
        (
            431,
            "VolumeId: 7 is not in Ready state but Allocated. Cannot take snapshot.",
            Conflict,
        ),
        (530, "Internal error executing command", Unknown),
    ];
    for (code, text, expected) in table {
        assert_eq!(request(code, text).meaning, expected, "{code} {text}");
    }
}

#[test]
fn what_a_job_failed_of() {
    use Meaning::{Conflict, NoSpace, NotFound, Refused, Unknown};
    let table = [
        (
            431,
            "Please specify a volume that is not attached to any VM.",
            Conflict,
        ),
        (530, "This volume is already attached to a VM.", Conflict),
        (530, "volume: X is already attached to an Instance: Y", Conflict),
        (
            431,
            "Volume state must be in Allocated, Ready or in Uploaded state",
            Conflict,
        ),
        (
            530,
            "Volume: x is in Migrating. It should be in Ready or Allocated state",
            Conflict,
        ),
        (
            431,
            "Please specify a VM that is either running or stopped.",
            Conflict,
        ),
        (
            431,
            "The specified VM already has the maximum number of data disks (6) attached.",
            NoSpace,
        ),
        (
            530,
            "Failed to attach volume; internal error: No more available PCI slots",
            NoSpace,
        ),
        (530, "All device Ids are used by vm 7", NoSpace),
        (
            431,
            "Unable to attach volume, please specify a VM that does not have VM snapshots",
            Refused,
        ),
        (
            431,
            "Unable to detach volume, please specify an Instance that does not have Instance Snapshots",
            Refused,
        ),
        (
            530,
            "Entity Vol[1] and entity VM[2] belong to different accounts",
            Refused,
        ),
        (
            531,
            "Entity Vol[1] and entity Instance[2] belong to different accounts",
            Refused,
        ),
        (431, "Unable to find volume with ID: x", NotFound),
        (
            530,
            "internal error: unable to execute QEMU command 'device_del': Device virtio-disk1 is already in the process of unplug",
            Conflict,
        ),
        (
            530,
            "Could not detach volume after sending the command and waiting for [10000] milliseconds. Probably …",
            Unknown,
        ),
        (
            530,
            "Failed to attach volume d1 to VM appl; org.libvirt.LibvirtException: operation failed: target vdb already exists",
            Conflict,
        ),
        (
            530,
            "Failed to attach volume d1 to VM appl; org.libvirt.LibvirtException: Permissions of the pool",
            Conflict,
        ),
        (
            530,
            "job cancelled because of management server restart or shutdown",
            Unknown,
        ),
        (
            530,
            "Job is cancelled as it has been blocking others for too long",
            Unknown,
        ),
        (
            530,
            "Failed to attach volume. Please contact your system administrator.",
            Unknown,
        ),
        (530, "Operation timed out on host", Unknown),
        (530, "something that nobody has read yet", Unknown),
        (429, "retry after 3 ms", Unknown),
        (503, "later", Unknown),
        (535, "quota", NoSpace),
    ];
    for (code, text, expected) in table {
        assert_eq!(job(code, text).meaning, expected, "{code} {text}");
    }
}

#[test]
fn a_job_that_was_cut_off_may_have_done_its_work() {
    for failure in [
        JobFailure::new(Some(530), None),
        JobFailure::new(None, None),
        JobFailure::new(
            Some(0),
            Some(&json!(
                "Job is cancelled as it has been blocking others for too long"
            )),
        ),
        JobFailure::new(
            Some(0),
            Some(&json!({"errorcode": 0, "errortext": "Volume state must be in Ready"})),
        ),
        JobFailure::new(Some(530), Some(&json!({"success": false}))),
    ] {
        assert_eq!(
            Setback::of_job("j", &failure).meaning,
            Meaning::Unknown,
            "{failure:?}"
        );
    }
}

#[test]
fn nothing_is_transient_once_there_was_a_job() {
    for code in [401, 429, 431, 500, 503, 530, 533, 599] {
        for text in [
            "",
            "retry after 5 ms",
            "can not accept new jobs",
            "does not exist",
        ] {
            assert!(
                !matches!(job(code, text).meaning, Meaning::Transient(_)),
                "{code} {text}"
            );
        }
    }
}

#[test]
fn what_never_left_is_transient_and_what_was_lost_is_not() {
    let never = Setback::of_request(Failure::NotSent("refused".into()));
    assert_eq!(never.meaning, Meaning::Transient(None));
    assert_eq!(
        Setback::of_request(Failure::Skewed { seconds: 99 }).meaning,
        Meaning::Transient(None)
    );
    assert_eq!(
        Setback::of_request(Failure::Lost("reset".into())).meaning,
        Meaning::Unknown
    );
    let page = Failure::NotCloudStack {
        status: 502,
        why: "html".to_owned(),
    };
    assert_eq!(Setback::of_request(page).meaning, Meaning::Unknown);
}

#[test]
fn a_read_is_never_in_doubt() {
    let error = reading(Failure::Lost("reset".into()), "listing");
    assert!(error.is_transient(), "{error}");
    let refused = reading(
        Failure::Said(Refusal {
            code: 401,
            class: None,
            text: String::new(),
        }),
        "listing",
    );
    assert!(
        matches!(&refused, CloudError::Refused { reason, .. } if reason.contains("clock")),
        "{refused}"
    );
}
