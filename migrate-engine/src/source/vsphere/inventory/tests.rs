//! Machines put together from answers as vCenter and hosts write them.

use super::super::properties::page;
use super::super::soap::parse;
use super::super::{Endpoint, VsphereError};
use super::assembly::machine;
use super::{DiskKind, DiskMode, DiskProblem, Firmware, Inventory, Machine, Places, Provisioning};

/// `§` is the prefix of the instance namespace: everybody chooses another one.
const PLACES: &str = r#"
<objects><obj type="Datacenter">datacenter-2</obj>
  <propSet><name>name</name><val §:type="xsd:string">DC%2f0</val></propSet>
  <propSet><name>parent</name><val type="Folder" §:type="ManagedObjectReference">group-d9</val></propSet></objects>
<objects><obj type="Folder">group-d9</obj>
  <propSet><name>name</name><val §:type="xsd:string">Europe</val></propSet>
  <propSet><name>parent</name><val type="Folder" §:type="ManagedObjectReference">group-d1</val></propSet></objects>
<objects><obj type="Folder">group-d1</obj>
  <propSet><name>name</name><val §:type="xsd:string">Datacenters</val></propSet></objects>
<objects><obj type="Folder">group-v3</obj>
  <propSet><name>name</name><val §:type="xsd:string">vm</val></propSet>
  <propSet><name>parent</name><val type="Datacenter" §:type="ManagedObjectReference">datacenter-2</val></propSet></objects>
<objects><obj type="VirtualApp">resgroup-v7</obj>
  <propSet><name>name</name><val §:type="xsd:string">shop</val></propSet>
  <propSet><name>parentFolder</name><val type="Folder" §:type="ManagedObjectReference">group-v3</val></propSet></objects>
<objects><obj type="HostSystem">host-5</obj>
  <propSet><name>name</name><val §:type="xsd:string">esx1.example</val></propSet></objects>
<objects><obj type="Datastore">datastore-4</obj>
  <propSet><name>name</name><val §:type="xsd:string">fast</val></propSet>
  <propSet><name>summary.type</name><val §:type="xsd:string">VMFS</val></propSet></objects>
<objects><obj type="Datastore">datastore-6</obj>
  <propSet><name>name</name><val §:type="xsd:string">objects</val></propSet>
  <propSet><name>summary.type</name><val §:type="xsd:string">VVOL</val></propSet></objects>
<objects><obj type="Network">network-7</obj>
  <propSet><name>name</name><val §:type="xsd:string">VM Network</val></propSet></objects>
<objects><obj type="DistributedVirtualPortgroup">dvportgroup-8</obj>
  <propSet><name>key</name><val §:type="xsd:string">dvportgroup-88</val></propSet>
  <propSet><name>name</name><val §:type="xsd:string">production</val></propSet></objects>"#;

const DEVICES: &str = r#"
<device §:type="VirtualIDEController"><key>200</key><busNumber>0</busNumber></device>
<device §:type="ParaVirtualSCSIController"><key>1000</key><busNumber>0</busNumber><sharedBus>noSharing</sharedBus></device>
<device §:type="VirtualLsiLogicSASController"><key>1001</key><busNumber>1</busNumber><sharedBus>physicalSharing</sharedBus></device>
<device §:type="VirtualVmxnet3"><key>4001</key><deviceInfo><label>Network adapter 2</label><summary>DVSwitch: 50 2f</summary></deviceInfo>
  <backing §:type="VirtualEthernetCardDistributedVirtualPortBackingInfo"><port><switchUuid>50</switchUuid><portgroupKey>dvportgroup-88</portgroupKey></port></backing>
  <connectable><startConnected>true</startConnected><connected>false</connected></connectable><macAddress>00:50:56:00:00:02</macAddress></device>
<device §:type="VirtualE1000e"><key>4000</key><deviceInfo><label>Network adapter 1</label><summary>VM Network</summary></deviceInfo>
  <backing §:type="VirtualEthernetCardNetworkBackingInfo"><deviceName>VM Network</deviceName><network type="Network">network-7</network></backing>
  <connectable><startConnected>true</startConnected><connected>true</connected></connectable><macAddress>00:50:56:00:00:01</macAddress></device>
<device §:type="VirtualVmxnet3"><key>4002</key><deviceInfo><label>Network adapter 3</label></deviceInfo>
  <backing §:type="VirtualEthernetCardOpaqueNetworkBackingInfo"><opaqueNetworkId>seg-1</opaqueNetworkId></backing><macAddress>00:50:56:00:00:03</macAddress></device>
<device §:type="VirtualDisk"><key>2001</key><deviceInfo><label>Hard disk 2</label></deviceInfo>
  <backing §:type="VirtualDiskFlatVer2BackingInfo"><fileName>[fast] web/web_1-000001.vmdk</fileName><datastore type="Datastore">datastore-4</datastore>
    <diskMode>independent_persistent</diskMode><eagerlyScrub>true</eagerlyScrub><thinProvisioned>false</thinProvisioned><uuid>6000C29b</uuid>
    <parent §:type="VirtualDiskFlatVer2BackingInfo"><fileName>[fast] web/web_1.vmdk</fileName></parent></backing>
  <controllerKey>1000</controllerKey><unitNumber>1</unitNumber><capacityInKB>2048</capacityInKB></device>
<device §:type="VirtualDisk"><key>2000</key><deviceInfo><label>Hard disk 1</label></deviceInfo>
  <backing §:type="VirtualDiskFlatVer2BackingInfo"><fileName>[fast] web/web.vmdk</fileName><datastore type="Datastore">datastore-4</datastore>
    <diskMode>persistent</diskMode><thinProvisioned>true</thinProvisioned><uuid>6000C29a</uuid><changeId>52 de c0-61/81</changeId></backing>
  <controllerKey>1000</controllerKey><unitNumber>0</unitNumber><capacityInKB>10485761</capacityInKB><capacityInBytes>10737418752</capacityInBytes></device>
<device §:type="VirtualDisk"><key>2016</key><backing §:type="VirtualDiskRawDiskMappingVer1BackingInfo"><fileName>[fast] web/rdm.vmdk</fileName>
    <compatibilityMode>physicalMode</compatibilityMode><diskMode>independent_persistent</diskMode></backing>
  <controllerKey>1001</controllerKey><unitNumber>0</unitNumber><capacityInKB>1024</capacityInKB></device>
<device §:type="VirtualDisk"><key>2017</key><backing §:type="VirtualDiskRawDiskMappingVer1BackingInfo"><fileName>[fast] web/rdm2.vmdk</fileName>
    <compatibilityMode>virtualMode</compatibilityMode><diskMode>persistent</diskMode></backing>
  <controllerKey>1000</controllerKey><unitNumber>3</unitNumber><capacityInKB>1024</capacityInKB></device>
<device §:type="VirtualDisk"><key>2018</key><backing §:type="VirtualDiskSeSparseBackingInfo"><fileName>[fast] web/se.vmdk</fileName><diskMode>persistent</diskMode></backing>
  <controllerKey>1000</controllerKey><unitNumber>4</unitNumber><capacityInKB>1024</capacityInKB></device>
<device §:type="VirtualDisk"><key>2019</key><backing §:type="VirtualDiskFlatVer2BackingInfo"><fileName>[objects] naa.6/web.vmdk</fileName>
    <backingObjectId>naa.6</backingObjectId><datastore type="Datastore">datastore-6</datastore><diskMode>persistent</diskMode></backing>
  <controllerKey>1000</controllerKey><unitNumber>5</unitNumber><capacityInKB>0</capacityInKB></device>"#;

const SETTINGS: &str = r#"<propSet><name>config.extraConfig</name><val §:type="ArrayOfOptionValue">
<OptionValue §:type="OptionValue"><key>scsi0:1.ctkEnabled</key><value §:type="xsd:string">TRUE</value></OptionValue>
<OptionValue §:type="OptionValue"><key>scsi0:3.ctkEnabled</key><value §:type="xsd:string">FALSE</value></OptionValue>
</val></propSet>"#;

fn web(further: &str) -> String {
    format!(
        r#"<objects><obj type="VirtualMachine">vm-57</obj>
<propSet><name>name</name><val §:type="xsd:string">web %25 1</val></propSet>
<propSet><name>parent</name><val §:type="ManagedObjectReference" type="Folder">group-v3</val></propSet>
<propSet><name>runtime.host</name><val type="HostSystem" §:type="ManagedObjectReference">host-5</val></propSet>
<propSet><name>runtime.powerState</name><val §:type="VirtualMachinePowerState">poweredOn</val></propSet>
<propSet><name>capability.changeTrackingSupported</name><val §:type="xsd:boolean">true</val></propSet>
<propSet><name>config.changeTrackingEnabled</name><val §:type="xsd:boolean">true</val></propSet>
<propSet><name>config.guestFullName</name><val §:type="xsd:string">Debian GNU/Linux 12 (64-bit)</val></propSet>
<propSet><name>config.version</name><val §:type="xsd:string">vmx-19</val></propSet>
<propSet><name>config.firmware</name><val §:type="xsd:string">efi</val></propSet>
<propSet><name>snapshot</name><val §:type="VirtualMachineSnapshotInfo"><currentSnapshot type="VirtualMachineSnapshot">snapshot-9</currentSnapshot>
 <rootSnapshotList><snapshot type="VirtualMachineSnapshot">snapshot-8</snapshot><name>before</name><description>ours</description>
  <createTime>2026-11-30T10:11:12.345678Z</createTime><quiesced>true</quiesced>
  <childSnapshotList><snapshot type="VirtualMachineSnapshot">snapshot-9</snapshot><name>then</name><description></description></childSnapshotList>
 </rootSnapshotList></val></propSet>
<propSet><name>config.hardware</name><val §:type="VirtualHardware"><numCPU>4</numCPU><memoryMB>8192</memoryMB>{DEVICES}</val></propSet>
{further}</objects>"#
    )
}

fn read(prefix: &str, objects: &str) -> Vec<Machine> {
    let text = format!(
        "<RetrievePropertiesExResponse xmlns:{prefix}=\"i\"><returnval>{PLACES}{objects}</returnval></RetrievePropertiesExResponse>"
    );
    let response = parse(text.replace('§', prefix).as_bytes()).unwrap();
    let mut places = Places::default();
    let machines: Vec<_> = page(response)
        .objects
        .into_iter()
        .filter_map(|object| places.take(object))
        .collect();
    machines.iter().map(|object| machine(object, &places)).collect()
}

#[test]
fn a_machine_is_read_whatever_the_prefixes_are() {
    let [machine] = read("xsi", &web("")).try_into().unwrap();
    assert_eq!(
        (machine.name.as_str(), machine.path.as_str()),
        ("web % 1", "/Europe/DC%2f0/vm/web %25 1")
    );
    assert_eq!(machine.datacenter.as_deref(), Some("DC/0"));
    assert_eq!(machine.datacenter_path.as_deref(), Some("Europe/DC%2f0"));
    assert_eq!(machine.host.as_deref(), Some("esx1.example"));
    assert_eq!(machine.hardware_version(), Some(19));
    let config = machine.config().unwrap();
    assert_eq!((config.num_cpu, config.memory_mb), (4, 8192));
    assert_eq!(config.firmware, Firmware::Efi);
    assert!(!config.is_encrypted && !config.is_template);
    for prefix in ["_XMLSchema-instance", "ns1"] {
        assert_eq!(read(prefix, &web("")), std::slice::from_ref(&machine));
    }
}

#[test]
fn disks_of_every_kind_are_told_apart() {
    let [machine] = read("xsi", &web("")).try_into().unwrap();
    let disks = &machine.config().unwrap().disks;
    let kinds: Vec<_> = disks.iter().map(|disk| (disk.key, disk.kind)).collect();
    assert_eq!(
        kinds,
        [
            (2000, DiskKind::Flat),
            (2001, DiskKind::Flat),
            (2016, DiskKind::RdmPhysical),
            (2017, DiskKind::RdmVirtual),
            (2018, DiskKind::SeSparse),
            (2019, DiskKind::VVol)
        ]
    );
    let first = &disks[0];
    assert_eq!(
        (first.capacity_bytes, first.size_gb()),
        (Some(10_737_418_752), Some(11))
    );
    assert_eq!(
        (first.id.as_str(), first.label.as_str()),
        ("disk-2000", "Hard disk 1")
    );
    assert_eq!((first.provisioning, first.problem()), (Provisioning::Thin, None));
    assert_eq!(
        (first.datastore.as_deref(), first.datastore_type.as_deref()),
        (Some("fast"), Some("VMFS"))
    );
    assert_eq!(
        first.change_id.as_ref().map(super::super::ChangeId::number),
        Some(81)
    );
    let second = &disks[1];
    assert_eq!(second.capacity_bytes, Some(2 << 20));
    assert_eq!(second.mode, DiskMode::IndependentPersistent);
    assert_eq!(second.provisioning, Provisioning::ThickEagerZeroed);
    assert_eq!(second.parents, ["[fast] web/web_1.vmdk"]);
    let problems: Vec<_> = disks.iter().map(super::Disk::problem).collect();
    assert_eq!(
        problems,
        [
            None,
            Some(DiskProblem::Independent),
            Some(DiskProblem::RdmPhysical),
            None,
            None,
            Some(DiskProblem::NoCapacity)
        ]
    );
    let judged: Vec<_> = disks
        .iter()
        .map(|disk| (disk.problem_as_file(), disk.problem_through_library()))
        .collect();
    assert_eq!(
        judged,
        [
            (None, None),
            (Some(DiskProblem::Independent), Some(DiskProblem::Independent)),
            (Some(DiskProblem::RdmPhysical), Some(DiskProblem::RdmPhysical)),
            (Some(DiskProblem::NoFile), None),
            (Some(DiskProblem::NoFile), None),
            (Some(DiskProblem::NoCapacity), Some(DiskProblem::NoCapacity))
        ]
    );
    let secret = super::Disk {
        is_encrypted: true,
        ..first.clone()
    };
    let refused = Some(DiskProblem::Encrypted);
    assert_eq!(
        (secret.problem_as_file(), secret.problem_through_library()),
        (refused, refused)
    );
    assert!(
        DiskProblem::NoFile.to_string().contains("`vddk`"),
        "it says what would do"
    );
    assert!(disks[2].is_shared && !first.is_shared);
    assert_eq!(disks[2].datastore.as_deref(), Some("fast"));
}

#[test]
fn cards_find_the_names_of_their_networks() {
    let [machine] = read("xsi", &web("")).try_into().unwrap();
    let cards: Vec<_> = machine
        .config()
        .unwrap()
        .networks
        .iter()
        .map(|card| {
            (
                card.network_name.as_deref().unwrap(),
                card.network_type,
                card.adapter_type.as_str(),
            )
        })
        .collect();
    assert_eq!(
        cards,
        [
            ("VM Network", "standard", "E1000e"),
            ("production", "distributed", "Vmxnet3"),
            ("seg-1", "opaque", "Vmxnet3")
        ]
    );
    let connected: Vec<_> = machine
        .config()
        .unwrap()
        .networks
        .iter()
        .map(|card| card.is_connected)
        .collect();
    assert_eq!(connected, [true, true, false]);
}

#[test]
fn tracking_is_told_per_disk_where_the_settings_were_asked_for() {
    let tracked = |further: &str| {
        let [machine] = read("xsi", &web(further)).try_into().unwrap();
        let disks = machine.config.unwrap().disks;
        disks.iter().map(|disk| disk.is_tracked).collect::<Vec<_>>()
    };
    let (yes, no) = (Some(true), Some(false));
    assert_eq!(tracked(""), [yes, None, None, None, None, None]);
    assert_eq!(tracked(SETTINGS), [yes, yes, no, no, no, no]);
}

#[test]
fn snapshots_are_a_tree_and_ours_are_found() {
    let [machine] = read("xsi", &web("")).try_into().unwrap();
    let names: Vec<_> = machine
        .all_snapshots()
        .iter()
        .map(|node| node.name.as_str())
        .collect();
    assert_eq!(names, ["before", "then"]);
    assert!(machine.snapshots[0].created.is_some() && machine.snapshots[0].is_quiesced);
    let owned = super::super::SnapshotNode::owned(&machine.snapshots, "be", "ours");
    assert_eq!(owned.len(), 1);
    assert_eq!(owned[0].id, "snapshot-8");
    assert!(super::super::SnapshotNode::owned(&machine.snapshots, "be", "theirs").is_empty());
    let error = machine.can_track().unwrap_err();
    assert!(error.to_string().contains("before, then"), "{error}");
}

const LOST: &str = r#"<objects><obj type="VirtualMachine">vm-66</obj>
<propSet><name>name</name><val §:type="xsd:string">lost</val></propSet>
<propSet><name>parentVApp</name><val type="VirtualApp" §:type="ManagedObjectReference">resgroup-v7</val></propSet>
<propSet><name>runtime.connectionState</name><val §:type="VirtualMachineConnectionState">inaccessible</val></propSet>
<missingSet><path>config.hardware</path></missingSet></objects>
<objects><obj type="VirtualMachine">vm-67</obj></objects>"#;

#[test]
fn machines_without_a_configuration_are_reported_with_the_reason() {
    let [lost, nameless] = read("xsi", LOST).try_into().unwrap();
    assert_eq!(lost.path, "/Europe/DC%2f0/vm/shop/lost");
    let error = lost.copyable_disks().unwrap_err();
    assert!(
        matches!(&error, VsphereError::MachineIncomplete { why, .. } if why.contains("inaccessible")),
        "{error}"
    );
    assert_eq!(
        (nameless.name.as_str(), nameless.path.as_str()),
        ("vm-67", "/vm-67")
    );
    assert!(nameless.config().is_err());
}

fn inventory(machines: Vec<Machine>) -> Inventory {
    Inventory {
        machines,
        endpoint: "vcenter".parse::<Endpoint>().unwrap(),
    }
}

#[test]
fn a_machine_is_found_by_name_path_and_id_unless_the_name_is_not_unique() {
    let [first] = read("xsi", &web("")).try_into().unwrap();
    let mut twin = first.clone();
    twin.id = "vm-58".to_owned();
    twin.path = "/Europe/DC%2f0/vm/old/web %25 1".to_owned();
    let alone = inventory(vec![first.clone()]);
    let both = inventory(vec![first.clone(), twin.clone()]);
    for wanted in ["web % 1", "vm-57", "/Europe/DC%2f0/vm/web %25 1"] {
        assert_eq!(alone.machine(wanted).unwrap(), &first);
    }
    assert_eq!(both.machine("vm-58").unwrap(), &twin);
    assert_eq!(both.machine(&twin.path).unwrap(), &twin);
    let error = both.machine("web % 1").unwrap_err();
    assert!(error.to_string().contains("/vm/old/web"), "{error}");
    assert!(matches!(
        both.machine("db"),
        Err(VsphereError::MachineNotFound { .. })
    ));
}

#[test]
fn only_a_machine_whose_every_disk_can_be_copied_is_copied() {
    let [mut machine] = read("xsi", &web("")).try_into().unwrap();
    machine.snapshots.clear();
    assert!(matches!(
        machine.copyable_disks(),
        Err(VsphereError::Disk {
            problem: DiskProblem::Independent,
            ..
        })
    ));
    assert!(matches!(machine.can_track(), Err(VsphereError::Disk { .. })));
    let config = machine.config.as_mut().unwrap();
    config.disks.truncate(1);
    assert_eq!(machine.copyable_disks().unwrap().len(), 1);
    machine.can_track().unwrap();
    machine.config.as_mut().unwrap().vmx_version = Some("vmx-04".to_owned());
    assert!(matches!(
        machine.can_track(),
        Err(VsphereError::TrackingUnsupported { .. })
    ));
    machine.config.as_mut().unwrap().disks.clear();
    assert!(matches!(
        machine.copyable_disks(),
        Err(VsphereError::NoDisk { .. })
    ));
}

#[test]
fn a_thousand_machines_are_put_together_in_one_go() {
    let many: String = (0..1000)
        .map(|number| web("").replace("vm-57", &format!("vm-{number}")))
        .collect();
    let machines = read("xsi", &many);
    assert_eq!(machines.len(), 1000);
}
