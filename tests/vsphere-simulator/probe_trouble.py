"""The probe's checks of planned trouble, growth and odd machines."""
import http.client
import time

from pyVmomi import vim, vmodl

from probe_checks import MIB, check, flat
from probe_site import disks, raises, remove, snapshot, track, wait


@check
def planned_trouble(site):
    vm = site.plain(3)
    file = flat(disks(vm.config)[0])
    site.hook("POST", "drop", n=1)
    raises(http.client.IncompleteRead, site.folder, file)
    assert site.folder(file, Range="bytes=0-9")[0] == 206
    site.hook("POST", "status", n=1, code=503)
    assert site.folder(file)[0] == 503 and site.folder(file, "HEAD")[0] == 200
    site.hook("POST", "fault", method="CreateSnapshot_Task", n=2)
    for _ in range(2):
        raises(vmodl.fault.SystemError, snapshot, vm)
    site.hook("POST", "fault", method="CreateSnapshot_Task", fault="TaskInProgress", task=1)
    raises(vim.fault.TaskInProgress, snapshot, vm)
    site.hook("POST", "delay", method="CreateSnapshot_Task", ms=300, task=1)
    task = vm.CreateSnapshot_Task("slow", "", False, False)
    assert task.info.state == "running"
    started = time.time()
    taken = wait(task)
    assert time.time() - started > 0.2
    site.hook("POST", "delay", method="CreateSnapshot_Task", ms=0)
    site.hook("POST", "delay", method="RemoveSnapshot_Task", ms=300)
    started = time.time()
    remove(taken)
    assert time.time() - started > 0.3
    site.hook("POST", "delay", method="RemoveSnapshot_Task", ms=0)
    cookie = site.si._stub.cookie.split(";")[0]
    assert site.hook("POST", "expire")["expired"] >= 1
    raises(vim.fault.NotAuthenticated, lambda: vm.config)
    assert site.folder(file, auth=False, Cookie=cookie)[0] == 401
    site.content.sessionManager.Login("administrator@vsphere.local", 'p@ss "<&')  # with the dead cookie
    assert vm.config.name
    assert site.hook("GET", "calls")["CreateSnapshot_Task"] >= 4


@check
def growth(site):
    vm = site.plain(3)
    site.hook("POST", "grow", vm=vm._moId, disk=2000, bytes=65 * MIB)
    device = disks(vm.config)[0]
    assert device.capacityInBytes == 65 * MIB and device.deviceInfo.summary == "66,560 KB"
    assert site.folder(flat(device), "HEAD")[1]["Content-Length"] == str(65 * MIB)


@check
def odd_machines(site):
    found = site.retrieve(vim.VirtualMachine, ["name", "config", "parent", "snapshot", "runtime.connectionState"])
    odd = {}
    for machine, properties in found.items():
        odd.setdefault(properties["name"], []).append((machine, properties))
    assert "config" not in odd["odd-no-config"][0][1]
    assert odd["odd-no-config"][0][1]["runtime.connectionState"] == "inaccessible"
    assert disks(odd["odd-diskless"][0][1]["config"]) == []
    assert odd["odd-template"][0][1]["config"].template
    assert len(odd["odd-snapshot"][0][1]["snapshot"].rootSnapshotList) == 1
    special = disks(odd["odd näme & <co>"][0][1]["config"])[0]
    assert site.folder(flat(special), "HEAD")[0] == 200
    raw = odd["odd-raw"][0][0]
    assert disks(raw.config)[1].backing.compatibilityMode == "physicalMode"
    independent = odd["odd-independent"][0][0]
    assert disks(independent.config)[1].backing.diskMode == "independent_persistent"
    for machine in (raw, independent):
        track(machine)
        taken = snapshot(machine)
        assert [bool(d.backing.changeId) for d in disks(taken.config)] == [True, False]
        assert len(disks(machine.config)) == 2
        remove(taken)
        assert len(disks(machine.config)) == 2
    if site.model == "vCenter":
        assert len(odd["odd-twin"]) == 2
        assert sorted(p["parent"].name for _, p in odd["odd-twin"]) == ["left", "right"]
        card = [d for d in odd["odd-distributed"][0][1]["config"].hardware.device
                if isinstance(d, vim.vm.device.VirtualEthernetCard)][0]
        assert card.backing.port.portgroupKey.startswith("dvportgroup")
    return f"{sum(len(v) for k, v in odd.items() if k.startswith('odd'))} machines"
