//! An examination of everything that the provider needs, each thing by itself, with what to do where it is not well.

mod permissions;
mod vm;

use super::api::Api;
use super::command::Command;
use super::error::Failure;
use super::open_error::CloudStackOpenError;
use super::place::{self, HasName, Project, Zone};
use super::wire::Capability;
use crate::config::{CloudStack as Settings, VolumeIdentity};
use crate::model::Check;

const KEYS: &str = "check `cloudstack.credentials_file`, and that the account is enabled";
/// A clock that is so far off is as good as any.
const FINE: i64 = 5;

/// That the provider could not even begin.
pub(super) fn cannot_start(error: &CloudStackOpenError) -> Check {
    let name = match error {
        CloudStackOpenError::Credentials(_) => "credentials",
        CloudStackOpenError::Named { .. } | CloudStackOpenError::Cloud(_) => "cloudstack",
        CloudStackOpenError::Url { .. } | CloudStackOpenError::Certificates { .. } => "url",
    };
    Check::failed(
        name,
        with_causes(error),
        "correct the section `cloudstack` of the configuration",
    )
}

/// Looks at everything. `our_ids` is what the jobs of this process have shown about ids of ours.
pub(super) async fn examine(api: &Api, settings: &Settings, our_ids: Option<bool>) -> Vec<Check> {
    let capability = place::capability(api).await;
    let mut checks = reachable(settings, &capability);
    let Ok(capability) = capability else {
        return checks;
    };
    checks.push(clock(api, settings));
    let listing = Command::read("listApis").perhaps_denied();
    let commands = api.call(&listing).await.map(permissions::commands_in);
    checks.extend(permissions::permissions(&commands));
    checks.push(permissions::job_ids(&commands, our_ids));
    checks.push(snapshots(&capability));
    checks.push(zone(api, settings).await);
    checks.push(offering(api, settings, &capability).await);
    let (project, check) = project(api, settings).await;
    checks.extend(check);
    checks.extend(vm::own_vm(api, settings, project.as_deref()).await);
    checks.push(identity(settings));
    checks
}

fn reachable(settings: &Settings, capability: &Result<Capability, Failure>) -> Vec<Check> {
    let url = &settings.url;
    match capability {
        Ok(capability) => {
            let version = capability
                .cloudstackversion
                .as_deref()
                .unwrap_or("of an unknown version");
            vec![
                Check::passed("url", format!("CloudStack {version} answers at {url}")),
                Check::passed("credentials", "the keys are accepted"),
            ]
        }
        Err(failure) if failure.is_denial() => vec![
            Check::passed("url", format!("CloudStack answers at {url}")),
            Check::failed("credentials", with_causes(failure), KEYS),
        ],
        Err(failure) => vec![Check::failed(
            "url",
            with_causes(failure),
            "check `cloudstack.url`, `cloudstack.ca_file`, and the way to the management server",
        )],
    }
}

fn clock(api: &Api, settings: &Settings) -> Check {
    let most = settings.max_clock_skew.as_secs();
    match api.skew().map(|skew| skew.as_secs()) {
        None => Check::warning("clock", "the answers carry no date", "compare the clocks by hand"),
        Some(off) if off.unsigned_abs() > most => Check::failed(
            "clock",
            format!("the server's clock is {off} s ahead; beyond {most} s nothing is changed"),
            "set this machine's clock, and keep it set (NTP)",
        ),
        Some(off) if off.abs() > FINE => Check::warning(
            "clock",
            format!("the server's clock is {off} s ahead"),
            "set this machine's clock, and keep it set (NTP)",
        ),
        Some(off) => Check::passed("clock", format!("within {} s of the server's", off.abs() + 1)),
    }
}

fn snapshots(capability: &Capability) -> Check {
    match capability.kvmsnapshotenabled {
        Some(false) => Check::warning(
            "snapshots",
            "snapshots of attached volumes are switched off",
            "set the global setting `kvm.snapshot.enabled`, or take snapshots of detached volumes only",
        ),
        _ => Check::passed("snapshots", "not switched off"),
    }
}

async fn zone(api: &Api, settings: &Settings) -> Check {
    match place::named::<Zone>(api, "zone", &settings.zone).await {
        Ok(_) => Check::passed("zone", format!("`{}` is there, once", settings.zone)),
        Err(error) => Check::failed(
            "zone",
            with_causes(&error),
            "set `cloudstack.zone` to one of these",
        ),
    }
}

async fn offering(api: &Api, settings: &Settings, capability: &Capability) -> Check {
    let bound = |gib: Option<u64>| gib.map_or("?".to_owned(), |gib| gib.to_string());
    let (least, most) = (
        bound(capability.customdiskofferingminsize),
        bound(capability.customdiskofferingmaxsize),
    );
    match place::custom_offering(api, settings).await {
        Ok(offering) => Check::passed(
            "disk offering",
            format!("`{}`, from {least} to {most} GiB", offering.name),
        ),
        Err(error) => Check::failed(
            "disk offering",
            with_causes(&error),
            "set `cloudstack.disk_offering` to an offering with a custom size that these keys may use",
        ),
    }
}

async fn project(api: &Api, settings: &Settings) -> (Option<String>, Option<Check>) {
    let Some(wanted) = &settings.project else {
        return (None, None);
    };
    match place::named::<Project>(api, "project", wanted).await {
        Ok(found) => {
            let id = found.id().to_owned();
            (
                Some(id),
                Some(Check::passed("project", format!("`{wanted}` is there, once"))),
            )
        }
        Err(error) => {
            let advice = "set `cloudstack.project` to a project that these keys belong to";
            (None, Some(Check::failed("project", with_causes(&error), advice)))
        }
    }
}

fn identity(settings: &Settings) -> Check {
    match settings.identity {
        VolumeIdentity::Serial => Check::passed("identity", "by serial"),
        VolumeIdentity::Appearance => Check::warning(
            "identity",
            "by appearance: one attach at a time, and nothing tells two disks of one size apart afterwards",
            "use KVM and `cloudstack.identity = \"serial\"` where you can",
        ),
    }
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}
