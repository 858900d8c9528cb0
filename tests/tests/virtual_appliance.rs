//! The virtual appliance itself: that it boots, that its disks come and go as on a real cloud, and that our daemon lives in it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::File;
use std::io::Read;
use std::net::TcpListener;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use rustix::process::Signal;
use serde_json::Value;
use whole_system_tests::virtual_machine::{
    DiskBus, MachineError, MachineSetup, NBD_PORT, PluggableDisk, SLOTS, VirtualMachine, is_bootable,
};
use whole_system_tests::{Chance, Disk, Hypervisor, HypervisorError, wait_until, write_marker};

/// How long a guest under emulation may take to see a disk come or go.
const PATIENCE: Duration = Duration::from_secs(30);

const MIB: u64 = 1 << 20;

async fn booted(setup: MachineSetup) -> Option<VirtualMachine> {
    if !is_bootable() {
        return None;
    }
    Some(VirtualMachine::boot(setup).await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_boots_and_runs_what_it_is_told() {
    let began = Instant::now();
    let setup = MachineSetup::default();
    let uuid = setup.uuid;
    let Some(machine) = booted(setup).await else {
        return;
    };
    eprintln!("from nothing to a command: {:?}", began.elapsed());
    let dmi = async |name: &str| {
        machine
            .run(&["cat", &format!("/sys/class/dmi/id/{name}")])
            .await
            .unwrap()
    };
    assert_eq!(dmi("product_uuid").await.to_lowercase(), uuid.to_string());
    assert_eq!(dmi("sys_vendor").await, "Apache Software Foundation");
    assert_eq!(dmi("product_name").await, "CloudStack KVM Hypervisor");

    let script = "cat; echo $WORD; echo no >&2; exit 7";
    let command = machine
        .command(&["sh", "-c", script])
        .env("WORD", "yes")
        .input("read\n");
    let outcome = command.run().await.unwrap();
    assert_eq!(outcome.code, Some(7));
    assert_eq!(
        (outcome.stdout.as_str(), outcome.stderr.as_str()),
        ("read\nyes\n", "no\n")
    );

    let large: Vec<u8> = (0..1_000_003_u32).map(|number| number.to_le_bytes()[1]).collect();
    machine.write_file("/new/folder/file", &large).await.unwrap();
    assert_eq!(machine.read_file("/new/folder/file").await.unwrap(), large);
    let refused = machine.read_file("/nowhere").await.unwrap_err();
    assert!(matches!(refused, MachineError::Refused { .. }), "{refused}");
    assert!(!refused.is_inconclusive());
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_are_started_signalled_and_killed_when_nobody_waits() {
    let Some(machine) = booted(MachineSetup::default()).await else {
        return;
    };
    let sleeper = machine
        .command(&["sh", "-c", "echo up; exec sleep 1000"])
        .start("/tmp/log")
        .await
        .unwrap();
    wait_until("the program to print", PATIENCE, async || {
        (sleeper.log().await.unwrap() == "up\n").then_some(())
    })
    .await;
    assert!(sleeper.is_running().await.unwrap());
    sleeper.signal(Signal::TERM).await.unwrap();
    wait_until("the program to end", PATIENCE, async || {
        (!sleeper.is_running().await.unwrap()).then_some(())
    })
    .await;

    let hanging = machine
        .command(&["sleep", "2000"])
        .within(Duration::from_millis(500))
        .run()
        .await;
    assert!(
        matches!(hanging, Err(MachineError::TimedOut { .. })),
        "{hanging:?}"
    );
    wait_until("the hanging program to be killed", PATIENCE, async || {
        let processes = machine.run(&["ps"]).await.unwrap();
        (!processes.contains("sleep 2000")).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_host_reaches_nbd_in_the_guest_and_the_guest_the_host() {
    let Some(machine) = booted(MachineSetup::default()).await else {
        return;
    };
    let host = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = host.local_addr().unwrap().port().to_string();
    let heard = tokio::task::spawn_blocking(move || {
        let mut text = String::new();
        host.accept().unwrap().0.read_to_string(&mut text).unwrap();
        text
    });
    let call = machine
        .command(&["nc", "10.0.2.2", &port])
        .input("from the guest");
    call.run().await.unwrap();
    assert_eq!(heard.await.unwrap(), "from the guest");

    let a = disk(&machine, A, "a");
    machine.hypervisor().plug(&a).await.unwrap();
    assert_eq!(names_of(&machine, &[A]).await, ["vdb"]);
    let config = "[generic]\n[a]\nexportname = /dev/vdb\nreadonly = true\n";
    machine
        .write_file("/etc/nbd-server/config", config)
        .await
        .unwrap();
    let server = machine
        .command(&["nbd-server", "-d"])
        .start("/tmp/nbd")
        .await
        .unwrap();
    let uri = format!("nbd://{}/a", machine.forwarded(NBD_PORT));
    let size = wait_until("the export", PATIENCE, async || {
        assert!(
            server.is_running().await.unwrap(),
            "{}",
            server.log().await.unwrap()
        );
        nbd_size(&uri)
    })
    .await;
    assert_eq!(size, 16 * MIB);
}

fn nbd_size(uri: &str) -> Option<u64> {
    let output = Command::new("nbdinfo").args(["--size", uri]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).trim().parse().ok()
}

/// A disk with an image of its own in the machine's folder, marked as whose it is.
fn disk(machine: &VirtualMachine, serial: &str, image: &str) -> Disk {
    let image = machine.dir().join(image);
    let file = File::create_new(&image).unwrap();
    file.set_len(16 * MIB).unwrap();
    write_marker(&file, serial).unwrap();
    Disk {
        serial: serial.to_owned(),
        image,
    }
}

/// What a guest shows of its disks, the state's apart: name and serial, by name.
async fn seen(machine: &VirtualMachine) -> Vec<(String, String)> {
    // A disk that comes or goes meanwhile shows half; the next look shows the whole.
    let script = r#"for d in /sys/block/vd* /sys/block/sd*; do
        [ -e $d ] || continue
        if [ -e $d/device/vpd_pg80 ]; then s=$(tail -c +5 $d/device/vpd_pg80); else s=$(cat $d/serial); fi
        echo "${d##*/} $s"
    done 2>/dev/null"#;
    let text = machine.run(&["sh", "-c", script]).await.unwrap();
    let pairs = text
        .lines()
        .map(|line| line.split_once(' ').unwrap_or((line, "")));
    let pairs = pairs.map(|(name, serial)| (name.to_owned(), serial.trim_end().to_owned()));
    pairs.filter(|(_, serial)| serial != "appliance-state").collect()
}

/// Waits until the guest shows these serials, in any order, and returns the names in the order asked for.
async fn names_of(machine: &VirtualMachine, serials: &[&str]) -> Vec<String> {
    let what = format!("the guest to show {serials:?}");
    wait_until(&what, PATIENCE, async || {
        let seen = seen(machine).await;
        let name = |serial: &&str| Some(seen.iter().find(|(_, other)| other == serial)?.0.clone());
        let names: Option<Vec<String>> = serials.iter().map(name).collect();
        names.filter(|_| seen.len() == serials.len())
    })
    .await
}

/// Plugs a disk in until it has the name of one that is gone, beside the disk `other`. The kernel frees a name when the
/// last who has it open lets go; under load that may be udev, and a while after the disk went.
async fn use_again(machine: &VirtualMachine, name: &str, disk: &Disk, other: &str) {
    let hypervisor = machine.hypervisor();
    wait_until(&format!("{name} to be used again"), PATIENCE, async || {
        hypervisor.plug(disk).await.unwrap();
        let names = names_of(machine, &[&disk.serial, other]).await;
        if names[0] == name {
            return Some(());
        }
        hypervisor.unplug(disk, PATIENCE).await.unwrap();
        names_of(machine, &[other]).await;
        None
    })
    .await;
}

/// Whose the guest says a disk is.
async fn owner(machine: &VirtualMachine, name: &str) -> String {
    let text = machine
        .run(&["head", "-c", "64", &format!("/dev/{name}")])
        .await
        .unwrap();
    let owner = text
        .strip_prefix("this is ")
        .and_then(|rest| rest.split_once(';'));
    owner
        .unwrap_or_else(|| panic!("no marker on {name}: {text}"))
        .0
        .to_owned()
}

const A: &str = "aaaaaaaaaaaaaaaaaaaa";
const B: &str = "bbbbbbbbbbbbbbbbbbbb";
const C: &str = "cccccccccccccccccccc";

#[tokio::test(flavor = "multi_thread")]
async fn virtio_disks_come_with_their_serials_and_letters_are_used_again() {
    let Some(machine) = booted(MachineSetup::default()).await else {
        return;
    };
    let hypervisor = machine.hypervisor();
    let [a, b, c] = [(A, "a"), (B, "b"), (C, "c")].map(|(serial, image)| disk(&machine, serial, image));

    let began = Instant::now();
    hypervisor.plug(&a).await.unwrap();
    let plugged = began.elapsed();
    let names = names_of(&machine, &[A]).await;
    eprintln!(
        "plug: QEMU {plugged:?}, in the guest's sysfs {:?}",
        began.elapsed()
    );
    assert_eq!(names, ["vdb"]);
    let refused = hypervisor.plug(&a).await.unwrap_err();
    assert!(matches!(refused, HypervisorError::Refused(_)), "{refused}");

    hypervisor.plug(&b).await.unwrap();
    assert_eq!(names_of(&machine, &[A, B]).await, ["vdb", "vdc"]);
    assert_eq!(owner(&machine, "vdb").await, A);
    let link = format!("/dev/disk/by-id/virtio-{B}");
    wait_until("udev's link", PATIENCE, async || {
        machine
            .run(&["readlink", "-f", &link])
            .await
            .ok()
            .filter(|node| node == "/dev/vdc")
    })
    .await;

    let began = Instant::now();
    hypervisor.unplug(&a, PATIENCE).await.unwrap();
    eprintln!("unplug: {:?}", began.elapsed());
    assert_eq!(names_of(&machine, &[B]).await, ["vdc"]);
    assert_eq!(hypervisor.plugged().await, std::slice::from_ref(&b));
    assert_eq!(
        hypervisor.unplug(&a, PATIENCE).await,
        Err(HypervisorError::NotPlugged)
    );

    use_again(&machine, "vdb", &c, B).await;
    assert_eq!(owner(&machine, "vdb").await, C);
}

#[tokio::test(flavor = "multi_thread")]
async fn scsi_disks_come_with_whole_serials_and_go() {
    let setup = MachineSetup {
        bus: DiskBus::VirtioScsi,
        ..MachineSetup::default()
    };
    let Some(machine) = booted(setup).await else {
        return;
    };
    let hypervisor = machine.hypervisor();
    let long = "5b8d4f2e-1c3a-4d2b-9e8f-0a1b2c3d4e5f";
    let [a, b] = [(A, "a"), (long, "b")].map(|(serial, image)| disk(&machine, serial, image));
    hypervisor.plug(&a).await.unwrap();
    hypervisor.plug(&b).await.unwrap();
    let names = names_of(&machine, &[A, long]).await;
    assert!(names.iter().all(|name| name.starts_with("sd")), "{names:?}");
    assert_eq!(owner(&machine, &names[1]).await, long);
    hypervisor.unplug(&a, PATIENCE).await.unwrap();
    assert_eq!(names_of(&machine, &[long]).await, names[1..]);
    use_again(&machine, &names[0], &a, long).await;
    assert_eq!(owner(&machine, &names[0]).await, A);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_fills_every_slot_and_leaves_it() {
    let Some(machine) = booted(MachineSetup::default()).await else {
        return;
    };
    let hypervisor = machine.hypervisor();
    let serials: Vec<String> = (0..SLOTS).map(|number| format!("{number:020}")).collect();
    let disks: Vec<Disk> = serials
        .iter()
        .map(|serial| disk(&machine, serial, serial))
        .collect();
    for plugged in join_all(disks.iter().map(|disk| hypervisor.plug(disk))).await {
        plugged.unwrap();
    }
    let full = hypervisor.plug(&disk(&machine, A, "a")).await.unwrap_err();
    assert_eq!(
        full,
        HypervisorError::Refused("No more available PCI slots".into())
    );

    let serials: Vec<&str> = serials.iter().map(String::as_str).collect();
    let names = names_of(&machine, &serials).await;
    assert!(
        names.contains(&"vdaa".to_owned()),
        "27 disks with the state's: {names:?}"
    );

    let pulled = join_all(disks.iter().map(|disk| hypervisor.unplug(disk, PATIENCE))).await;
    assert!(pulled.iter().all(Result::is_ok), "{pulled:?}");
    names_of(&machine, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strange_serials_are_what_a_guest_of_qemu_shows() {
    let Some(machine) = booted(MachineSetup::default()).await else {
        return;
    };
    let hypervisor = machine.hypervisor();
    let plug = async |serial: Option<&str>, image: &str, slot: Option<u8>| {
        let disk = disk(&machine, image, image);
        let disk = PluggableDisk {
            serial: serial.map(str::to_owned),
            image: disk.image,
        };
        hypervisor.plug_any(disk, slot).await
    };
    assert_eq!(plug(Some(A), "a", Some(9)).await, Ok(9));
    assert_eq!(plug(Some(A), "twin", Some(3)).await, Ok(3));
    assert_eq!(plug(None, "without", None).await, Ok(0));
    // One more character than a guest is shown: another twin.
    assert_eq!(plug(Some(&format!("{A}1")), "longer", None).await, Ok(1));
    let taken = plug(Some(B), "b", Some(3)).await.unwrap_err();
    assert!(matches!(taken, HypervisorError::Refused(_)), "{taken}");
    names_of(&machine, &[A, A, "", A]).await;
    hypervisor.unplug_slot(9, PATIENCE).await.unwrap();
    hypervisor.unplug_slot(1, PATIENCE).await.unwrap();
    let left = names_of(&machine, &[A, ""]).await;
    assert_eq!(owner(&machine, &left[0]).await, "twin");
    assert_eq!(owner(&machine, &left[1]).await, "without");
    let slots: Vec<u8> = hypervisor.slots().iter().map(|(slot, _)| *slot).collect();
    assert_eq!(slots, [0, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_guest_lets_go_late() {
    let Some(machine) = booted(MachineSetup::default()).await else {
        return;
    };
    let hypervisor = machine.hypervisor();
    let a = disk(&machine, A, "a");
    hypervisor.plug(&a).await.unwrap();
    names_of(&machine, &[A]).await;

    machine.pause().await.unwrap();
    let short = Duration::from_millis(500);
    let late = hypervisor.unplug(&a, short).await;
    assert_eq!(late, Err(HypervisorError::TimedOut(short)));
    let again = hypervisor.unplug(&a, short).await.unwrap_err().to_string();
    assert!(again.contains("'device_del'"), "{again}");
    assert!(again.ends_with("is already in the process of unplug"), "{again}");
    assert_eq!(
        hypervisor.plugged().await,
        std::slice::from_ref(&a),
        "it is still there"
    );

    machine.cont().await.unwrap();
    wait_until("the disk to go by itself", PATIENCE, async || {
        hypervisor.plugged().await.is_empty().then_some(())
    })
    .await;
    names_of(&machine, &[]).await;
    hypervisor.plug(&a).await.unwrap();
    names_of(&machine, &[A]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_grows_is_seen_to() {
    let Some(machine) = booted(MachineSetup::default()).await else {
        return;
    };
    let hypervisor = machine.hypervisor();
    let a = disk(&machine, A, "a");
    assert_eq!(hypervisor.grown(&a).await, Err(HypervisorError::NotPlugged));
    hypervisor.plug(&a).await.unwrap();
    names_of(&machine, &[A]).await;
    File::options()
        .write(true)
        .open(&a.image)
        .unwrap()
        .set_len(32 * MIB)
        .unwrap();
    hypervisor.grown(&a).await.unwrap();
    let grown = (32 * MIB / 512).to_string();
    wait_until("the guest to see the new size", PATIENCE, async || {
        let sectors = machine.run(&["cat", "/sys/block/vdb/size"]).await.unwrap();
        (sectors == grown).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reboots_move_names_and_never_content() {
    let Some(mut machine) = booted(MachineSetup::default()).await else {
        return;
    };
    let hypervisor = machine.hypervisor();
    let serials = [A, B, C];
    for (serial, image) in serials.into_iter().zip(["a", "b", "c"]) {
        hypervisor.plug(&disk(&machine, serial, image)).await.unwrap();
    }
    let before = names_of(&machine, &serials).await;
    machine
        .write_file("/var/lib/volumed/kept", "state")
        .await
        .unwrap();

    machine.reboot().await.unwrap();
    names_of(&machine, &serials).await;
    assert_eq!(
        machine.read_file("/var/lib/volumed/kept").await.unwrap(),
        b"state"
    );

    let mut chance = Chance::seeded("slots");
    machine.reboot_with_slots_shuffled(&mut chance).await.unwrap();
    let after = names_of(&machine, &serials).await;
    assert_ne!(after, before);
    for (serial, name) in serials.iter().zip(&after) {
        assert_eq!(owner(&machine, name).await, *serial);
    }
    assert_eq!(
        machine.read_file("/var/lib/volumed/kept").await.unwrap(),
        b"state"
    );
}

/// The daemon over loop devices inside the guest: enough to see that our programs live there.
const LOCAL: &str = "[local]\nvm_id = \"appliance-1\"\n";

#[tokio::test(flavor = "multi_thread")]
async fn the_daemon_lives_in_the_guest_and_survives_a_power_cut() {
    let Some(mut machine) = booted(MachineSetup::default()).await else {
        return;
    };
    machine.start_daemon(LOCAL).await.unwrap();
    let create = [
        "volumectl",
        "--json",
        "volumes",
        "create",
        "kept",
        "--size",
        "8MiB",
    ];
    let created = machine.run(&create).await.unwrap();
    let id = serde_json::from_str::<Value>(&created).unwrap()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let attach = ["volumectl", "--json", "attach", &id, "--vm", "appliance-1"];
    let device = ["volumectl", "--json", "device", &id];
    machine.run(&attach).await.unwrap();
    let before: Value = serde_json::from_str(&machine.run(&device).await.unwrap()).unwrap();
    assert_eq!(before["volume_id"], id.as_str());

    machine.power_cut().await.unwrap();
    let daemon = machine.start_daemon(LOCAL).await.unwrap();
    let refused = machine.command(&device).run().await.unwrap();
    assert_ne!(
        refused.code,
        Some(0),
        "a device of another boot is handed out: {refused:#?}"
    );
    machine.run(&attach).await.unwrap();
    let after: Value = serde_json::from_str(&machine.run(&device).await.unwrap()).unwrap();
    assert_eq!(after["volume_id"], id.as_str());
    daemon.signal(Signal::TERM).await.unwrap();
    wait_until("the daemon to end", PATIENCE, async || {
        (!daemon.is_running().await.unwrap()).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_power_cut_keeps_disks_in_their_slots_and_forgets_a_pending_unplug() {
    let Some(mut machine) = booted(MachineSetup::default()).await else {
        return;
    };
    let hypervisor = machine.hypervisor();
    let [a, b] = [(A, "a"), (B, "b")].map(|(serial, image)| disk(&machine, serial, image));
    hypervisor.plug(&a).await.unwrap();
    hypervisor.plug(&b).await.unwrap();
    names_of(&machine, &[A, B]).await;
    let before = hypervisor.slots();
    machine.pause().await.unwrap();
    let short = Duration::from_millis(100);
    assert_eq!(
        hypervisor.unplug(&a, short).await,
        Err(HypervisorError::TimedOut(short))
    );

    machine.power_cut().await.unwrap();
    assert_eq!(hypervisor.slots(), before);
    assert_eq!(names_of(&machine, &[A, B]).await, ["vdb", "vdc"]);
    hypervisor.unplug(&a, PATIENCE).await.unwrap();
    assert_eq!(names_of(&machine, &[B]).await, ["vdc"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_emulator_that_died_is_inconclusive_and_the_machine_goes_on() {
    let Some(mut machine) = booted(MachineSetup::default()).await else {
        return;
    };
    let hypervisor = machine.hypervisor();
    let a = disk(&machine, A, "a");
    hypervisor.plug(&a).await.unwrap();
    assert!(machine.is_alive());
    let waiting = machine.command(&["sleep", "3000"]).within(PATIENCE).run();
    let (died, ()) = tokio::join!(waiting, async { machine.crash_emulator() });
    let died = died.unwrap_err();
    assert!(matches!(died, MachineError::EmulatorDied { .. }), "{died}");
    assert!(died.is_inconclusive());
    assert!(!machine.is_alive());
    let refused = hypervisor.unplug(&a, PATIENCE).await.unwrap_err();
    assert!(matches!(refused, HypervisorError::Refused(_)), "{refused}");

    machine.power_cut().await.unwrap();
    names_of(&machine, &[A]).await;
    hypervisor.unplug(&a, PATIENCE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_whose_kernel_panicked_fails_the_test() {
    let Some(machine) = booted(MachineSetup::default()).await else {
        return;
    };
    let crash = machine.command(&["sh", "-c", "echo c > /proc/sysrq-trigger"]);
    let broken = crash.within(PATIENCE).run().await.unwrap_err();
    assert!(matches!(broken, MachineError::GuestBroken { .. }), "{broken}");
    assert!(!broken.is_inconclusive());
    let dropped = catch_unwind(AssertUnwindSafe(|| drop(machine)));
    let message = dropped.unwrap_err().downcast::<String>().unwrap();
    assert!(message.contains("the guest broke"), "{message}");
}
