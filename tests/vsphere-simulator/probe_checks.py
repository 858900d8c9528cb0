"""The probe's checks; each takes a Site and raises on any difference."""
import random
import subprocess
import tempfile

from pyVim import connect
from pyVim.task import WaitForTask as wait_for_updates
from pyVmomi import vim, vmodl

from probe_site import areas, disks, raises, remove, snapshot, start_tracking, track, wait

CHECKS = []
MIB = 1 << 20


def check(function):
    CHECKS.append(function)
    return function


def unpacked(stream):
    """The raw content of a streamOptimized VMDK, by qemu-img as the independent reader."""
    with tempfile.TemporaryDirectory() as folder:
        with open(f"{folder}/disk.vmdk", "wb") as file:
            file.write(stream)
        subprocess.run(["qemu-img", "convert", "-f", "vmdk", "-O", "raw", f"{folder}/disk.vmdk", f"{folder}/raw"], check=True)
        with open(f"{folder}/raw", "rb") as file:
            return file.read()


def flat(device):
    return device.backing.fileName.replace(".vmdk", "-flat.vmdk")


@check
def certificate_is_announced(site):
    assert site.certificate() == site.fingerprints["sha256"].replace(":", "").lower()


@check
def login_and_sessions(site):
    raises(vim.fault.InvalidLogin, lambda: connect.SmartConnect(
        host="127.0.0.1", port=site.port, user="x", pwd="y", disableSslCertValidation=True))
    assert site.content.about.apiType == ("HostAgent" if site.model == "ESXi" else "VirtualCenter")
    other = site.login()
    content = other.RetrieveContent()
    content.sessionManager.Logout()
    raises(vim.fault.NotAuthenticated, site.retrieve, vim.VirtualMachine, ["name"], None, content)
    site.login()


@check
def discovery_in_pages(site):
    paths = ["name", "config", "runtime.powerState", "parent", "capability.changeTrackingSupported"]
    whole = site.retrieve(vim.VirtualMachine, paths)
    paged = site.retrieve(vim.VirtualMachine, paths, page=3)
    assert site.pages == -(-len(whole) // 3), site.pages
    assert {o._moId: p["name"] for o, p in whole.items()} == {o._moId: p["name"] for o, p in paged.items()}
    macs = []
    for properties in whole.values():
        assert properties["capability.changeTrackingSupported"]
        if "config" not in properties:
            continue
        for number, disk in enumerate(disks(properties["config"])):
            assert disk.key == 2000 + number and disk.deviceInfo.label == f"Hard disk {number + 1}"
            assert disk.capacityInBytes == disk.capacityInKB * 1024 == 64 * MIB
            assert disk.backing.uuid.startswith("6000C29")
            if not properties["name"].startswith("odd"):
                assert disk.backing.thinProvisioned
        cards = [d for d in properties["config"].hardware.device if isinstance(d, vim.vm.device.VirtualEthernetCard)]
        assert cards, properties["name"]
        macs += [card.macAddress for card in cards]
    assert len(macs) == len(set(macs)), "addresses are shared"
    return f"{len(whole)} machines, {site.pages} pages, {len(macs)} addresses"


@check
def lookups_of_the_library(site):
    vm = site.plain(3)
    index = site.content.searchIndex
    assert index.FindByUuid(None, vm.config.uuid, True) == vm
    assert index.FindByUuid(None, vm.config.instanceUuid, True, True) == vm
    parents, at = [vm.name], vm.parent
    while at.parent:
        parents, at = [at.name] + parents, at.parent
    assert index.FindByInventoryPath("/" + "/".join(parents)) == vm
    wait_for_updates(vm.CreateSnapshot_Task("waited for", "", False, False))
    wait_for_updates(vm.RemoveAllSnapshots_Task())
    vm.ShutdownGuest()
    assert vm.runtime.powerState == "poweredOff"
    wait_for_updates(vm.PowerOnVM_Task())
    raises(vim.fault.InvalidPowerState, wait_for_updates, vm.PowerOnVM_Task())
    wanted = vim.host.DatastoreBrowser.SearchSpec(matchPattern=["*.vmdk"])
    found = wait(vm.datastore[0].browser.SearchDatastoreSubFolders_Task("[LocalDS_0]", wanted))
    assert any(file.path.startswith("disk1") for folder in found for file in folder.file)
    return "/" + "/".join(parents)


@check
def unset_properties_are_none(site):
    assert site.plain(0).snapshot is None and site.content.rootFolder.parent is None


@check
def tracking_starts_with_the_next_standstill(site):
    vm = site.plain(0)
    track(vm)
    first = snapshot(vm)
    assert vm.config.changeTrackingEnabled and not disks(first.config)[0].backing.changeId
    fault = raises(vim.fault.FileFault, vm.QueryChangedDiskAreas, first, 2000, 0, "*")
    assert fault.faultMessage[0].key == "vim.hostd.vmsvc.cbt.noTrack"
    remove(first)
    second = snapshot(vm)
    ids = [d.backing.changeId for d in disks(second.config)]
    assert all("/" in i for i in ids) and len(set(ids)) == 2
    assert not any(d.backing.changeId for d in disks(vm.config))
    remove(second)

    held = site.plain(1)
    standing = snapshot(held)
    track(held)
    wait(held.PowerOffVM_Task())
    another = snapshot(held)
    assert not disks(another.config)[0].backing.changeId, "tracking started under a snapshot"
    remove(another)
    remove(standing)
    third = snapshot(held)
    assert disks(third.config)[0].backing.changeId
    remove(third)
    track(held, False)
    track(held)  # the machine is off: at once
    fourth = snapshot(held)
    assert disks(fourth.config)[0].backing.changeId
    remove(fourth)
    wait(held.PowerOnVM_Task())


@check
def warm_copy_is_identical(site):
    vm, guest = site.plain(2), random.Random(7)
    start_tracking(vm)
    capacity = disks(vm.config)[0].capacityInBytes

    own = {key: bytearray(site.hook("GET", "disk", vm=vm._moId, disk=key)) for key in (2000, 2001)}

    def work(writes):
        for _ in range(writes):
            key, length = guest.choice((2000, 2001)), guest.randrange(1, 200_000)
            offset, content = guest.randrange(capacity - length), guest.randbytes(length)
            site.hook("POST", "write", content, vm=vm._moId, disk=key, offset=offset)
            own[key][offset:offset + length] = content

    work(200)
    copies = {2000: bytearray(capacity), 2001: bytearray(capacity)}
    ids, figures = {2000: "*", 2001: "*"}, []
    for cycle in range(4):
        taken = snapshot(vm)
        assert site.hook("GET", "snapshots", vm=vm._moId)[0]["snapshot"] == taken._moId
        moment = {key: bytes(content) for key, content in own.items()}
        work(5)
        total = pages = 0
        for device in disks(taken.config):
            key, copy = device.key, copies[device.key]
            found, count = areas(vm, taken, key, ids[key], capacity)
            for start, length in found:
                copy[start:start + length] = site.read(flat(device), start, length)
                total += length
            pages += count
            frozen = site.hook("GET", "frozen", vm=vm._moId, disk=key, snapshot=taken._moId)
            assert copy == frozen == moment[key], f"disk {key} differs in cycle {cycle}"
            assert site.hook("GET", "disk", vm=vm._moId, disk=key) == own[key], "the guest's writes got lost"
            ids[key] = device.backing.changeId
        remove(taken)
        figures.append(f"{total / MIB:.1f} MiB in {pages} pages")
    for device in disks(vm.config):
        status, _, body = site.folder(flat(device))
        assert status == 200 and body == own[device.key]
    return "; ".join(figures)


@check
def chains_of_snapshots(site):
    vm = site.plain(2)
    site.hook("POST", "write", b"a" * 70_000, vm=vm._moId, disk=2000, offset=1)
    first = snapshot(vm, "first")
    old = site.hook("GET", "frozen", vm=vm._moId, disk=2000, snapshot=first._moId)
    site.hook("POST", "write", b"b" * 10, vm=vm._moId, disk=2000, offset=5)
    second = snapshot(vm, "second")
    new = site.hook("GET", "frozen", vm=vm._moId, disk=2000, snapshot=second._moId)
    site.hook("POST", "write", b"c" * 10, vm=vm._moId, disk=2000, offset=100_000)
    assert old[:16] != new[:16] == old[:5] + b"b" * 10 + old[15:16]
    live = disks(vm.config)[0].backing
    assert live.parent.parent and live.fileName != live.parent.fileName != live.parent.parent.fileName
    remove(first)
    assert site.hook("GET", "frozen", vm=vm._moId, disk=2000, snapshot=second._moId) == new
    assert site.read(flat(disks(second.config)[0]), 0, 128) == new[:128]
    wait(vm.RemoveAllSnapshots_Task())
    assert disks(vm.config)[0].backing.parent is None
    assert site.read(flat(disks(vm.config)[0]), 100_000, 10) == b"c" * 10
    assert site.hook("GET", "snapshots", vm=vm._moId) == []


@check
def export_by_lease(site):
    vm, sizes = site.plain(2), []
    raises(vim.fault.InvalidPowerState, vm.ExportVm)
    taken = snapshot(vm)
    site.hook("POST", "write", b"late", vm=vm._moId, disk=2000, offset=0)
    lease = taken.ExportSnapshot()
    assert lease.state == "ready" and len(lease.info.deviceUrl) == 2
    for key, device in zip((2000, 2001), lease.info.deviceUrl):
        assert (device.url.split("/")[2] == "*") == (site.model == "ESXi")
        status, _, body = site.http("GET", "/nfc/" + device.url.split("/nfc/")[1])
        assert status == 200
        assert unpacked(body) == site.hook("GET", "frozen", vm=vm._moId, disk=key, snapshot=taken._moId)
        sizes.append(len(body))
        lease.HttpNfcLeaseProgress(50)
    url = "/nfc/" + lease.info.deviceUrl[0].url.split("/nfc/")[1]
    lease.HttpNfcLeaseComplete()
    assert site.http("GET", url)[0] == 404
    remove(taken)
    wait(vm.PowerOffVM_Task())
    lease = vm.ExportVm()
    assert lease.info.totalDiskCapacityInKB == 2 * 64 * 1024
    lease.HttpNfcLeaseAbort()
    wait(vm.PowerOnVM_Task())
    return f"{sizes} bytes"


@check
def bad_questions_about_changes(site):
    vm = site.plain(2)
    taken = snapshot(vm)
    device = disks(taken.config)[0]
    known = device.backing.changeId

    def ask(key, start, change, of=taken):
        return vm.QueryChangedDiskAreas(of, key, start, change)

    invalid = vmodl.fault.InvalidArgument
    assert raises(invalid, ask, 2000, device.capacityInBytes, "*").invalidProperty == "startOffset"
    assert raises(invalid, ask, 2000, -1, "*").invalidProperty == "startOffset"
    assert raises(invalid, ask, 2000, 0, "nonsense").invalidProperty == "changeId"
    assert raises(invalid, ask, 9999, 0, "*").invalidProperty == "deviceKey"
    raises(vim.fault.FileFault, ask, 2000, 0, "52 de c0 d9 b9 43 9d 10-61 d5 4c 1b e9 7b 65 63/1")
    assert ask(2000, 0, known).changedArea == []
    remove(taken)
    raises(vim.fault.NotFound, ask, 2000, 0, known)
    site.hook("POST", "cbtreset", vm=vm._moId, disk=2000)
    after = snapshot(vm)
    fault = raises(vim.fault.FileFault, ask, 2000, 0, known, after)
    assert fault.faultMessage[0].key == "vim.hostd.vmsvc.cbt.cannotGetChanges"
    assert disks(after.config)[0].backing.changeId.split("/")[0] != known.split("/")[0]
    remove(after)


@check
def folder_over_https(site):
    device = disks(site.plain(3).config)[0]
    status, headers, _ = site.folder(flat(device), auth=False)
    assert status == 401 and "Basic" in headers["WWW-Authenticate"]
    cookie = site.si._stub.cookie.split(";")[0]
    assert cookie.count('"') == 2, "the cookie comes in quotes"
    assert site.folder(flat(device), "HEAD", auth=False, Cookie=cookie)[1]["Content-Length"] == str(64 * MIB)
    status, headers, body = site.folder(flat(device), Range="bytes=1000-1999")
    assert (status, headers["Content-Range"], len(body)) == (206, f"bytes 1000-1999/{64 * MIB}", 1000)
    assert site.folder(flat(device), Range=f"bytes={64 * MIB}-")[0] == 416
    assert b"createType" in site.folder(device.backing.fileName)[2]
    name = device.backing.fileName.split("/")[0] + "/a b & ü.txt"
    assert site.folder(name, "PUT", b"text")[0] == 201 and site.folder(name)[2] == b"text"
    assert site.folder("[LocalDS_0] ../../../../etc/passwd")[0] == 404
    assert site.folder(device.backing.fileName, datacenter="elsewhere")[0] == 404
