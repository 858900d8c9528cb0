//! What the command line takes, and what it refuses before anything happens.

use clap::{CommandFactory as _, Parser as _};

use super::Cli;

fn refused(arguments: &str) -> String {
    let words = ["migrate-engine"].into_iter().chain(arguments.split(' '));
    Cli::try_parse_from(words).map(|_| ()).unwrap_err().to_string()
}

fn taken(arguments: &str) {
    let words = ["migrate-engine"].into_iter().chain(arguments.split(' '));
    if let Err(error) = Cli::try_parse_from(words) {
        panic!("{arguments}: {error}");
    }
}

#[test]
fn no_two_arguments_contradict_each_other() {
    Cli::command().debug_assert();
}

#[test]
fn no_argument_is_a_password() {
    fn look(command: &clap::Command) {
        for argument in command.get_arguments() {
            let name = argument.get_id().as_str();
            let is_secret = name.contains("password") || name.contains("token");
            assert!(
                !is_secret || name.ends_with("_file"),
                "{} {name}",
                command.get_name()
            );
        }
        command.get_subcommands().for_each(look);
    }
    look(&Cli::command());
}

#[test]
fn machines_are_named_in_one_of_three_ways() {
    for good in [
        "start --vcenter vc --vm /DC/vm/web db --yes",
        "start --vcenter vc --vm web --vm db --watch",
        "start --vcenter vc --select 1,3,5-7 --type incremental --json",
        "start --vcenter vc --all --datacenter DC",
    ] {
        taken(good);
    }
    for (bad, words) in [
        ("start --vcenter vc", "--vm"),
        ("start --vcenter vc --all --select 1", "cannot be used with"),
        ("start --vcenter vc --vm web --all", "cannot be used with"),
        ("start --all", "--vcenter"),
        ("start --vcenter vc --all --type sideways", "initial, incremental"),
        ("start --vcenter vc --vm", "value is required"),
    ] {
        let error = refused(bad);
        assert!(error.contains(words), "{bad}: {error}");
    }
}

#[test]
fn jobs_are_asked_for_by_words_that_there_are() {
    for good in [
        "jobs --status failed --limit 500 --json",
        "job job-1 --json --url http://127.0.0.1:1 --token-file /t",
        "watch",
        "watch job-1 job-2",
        "cancel job-1 job-2 --wait",
        "retry job-1",
        "cutover-ready job-1",
        "sources",
        "sources vc --datacenter DC",
    ] {
        taken(good);
    }
    for (bad, words) in [
        ("jobs --status gone", "pending"),
        ("jobs --limit 501", "500"),
        ("jobs --limit 0", "500"),
        ("cancel", "ID"),
        ("retry", "ID"),
        ("sources --datacenter DC", "HOST"),
    ] {
        let error = refused(bad);
        assert!(error.contains(words), "{bad}: {error}");
    }
}

#[test]
fn steps_take_their_own_arguments_and_the_file_on_either_side() {
    for good in [
        "steps show --config /etc/c.json",
        "steps --config /etc/c.json platforms --from esxi --to kvm",
        "steps source esxi1 -u root --password-file - --insecure",
        "steps select all --fingerprint AB",
        "steps destination proxmox pve1 -u root@pam --password-file /p --config c.json",
        "steps destination kvm kvm1 -u root --storage-pool fast",
        "steps import old.json",
    ] {
        taken(good);
    }
    for (bad, words) in [
        ("steps platforms --from xen --to kvm", "\"vcenter\""),
        ("steps platforms --from esxi", "--to"),
        (
            "steps source esxi1 -u root --password-file - --insecure --fingerprint A",
            "cannot be used",
        ),
        ("steps destination proxmox pve1 -u root@pam", "--password-file"),
        ("steps select", "1,3,5-7"),
    ] {
        let error = refused(bad);
        assert!(error.contains(words), "{bad}: {error}");
    }
}
