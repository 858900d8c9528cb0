"""One running simulator as the probe sees it: its process, its SOAP and its HTTPS."""
import base64
import hashlib
import http.client
import json
import ssl
import subprocess
import time
from urllib.parse import quote

from pyVim import connect
from pyVmomi import vim, vmodl

USER, PASSWORD = "administrator@vsphere.local", 'p@ss "<&'
UNCHECKED = ssl._create_unverified_context()


class Site:
    def __init__(self, binary, model):
        self.model = model
        command = [binary, "-username", USER, "-password", PASSWORD, "-max-extents", "7", "-disks", "2",
                   "-vms", "4", "-odd", "-exit-with-stdin"] + (["-esx"] if model == "ESXi" else [])
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        lines = [self.process.stdout.readline().split() for _ in range(3)]
        self.port = int(lines[0][1].rsplit(":", 1)[1])
        self.fingerprints = dict(lines[1:])
        self.login()

    def login(self, password=PASSWORD):
        self.si = connect.SmartConnect(host="127.0.0.1", port=self.port, user=USER, pwd=password,
                                       disableSslCertValidation=True)
        self.content = self.si.RetrieveContent()
        return self.si

    def close(self):
        self.process.stdin.close()
        status = self.process.wait(10)
        assert status == 0, f"the simulator ended with {status}"

    def certificate(self):
        pem = ssl.get_server_certificate(("127.0.0.1", self.port))
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()

    def http(self, method, path, body=None, headers=None):
        """Status, headers and body of one HTTPS request."""
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=UNCHECKED, timeout=30)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def hook(self, verb, name, body=None, **parameters):
        query = "&".join(f"{key}={quote(str(value))}" for key, value in parameters.items())
        status, headers, answer = self.http(verb, f"/_test/{name}?{query}", body)
        assert status == 200, (name, status, answer)
        return json.loads(answer) if headers["Content-Type"] == "application/json" else answer

    def folder(self, file, method="GET", body=None, auth=True, datacenter=None, **headers):
        """A request for the file '[datastore] path'."""
        datastore, path = file[1:].split("] ", 1)
        datacenter = datacenter or ("ha-datacenter" if self.model == "ESXi" else "DC0")
        if auth:
            headers["Authorization"] = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        return self.http(method, f"/folder/{quote(path)}?dcPath={quote(datacenter)}&dsName={quote(datastore)}",
                         body, headers)

    def read(self, file, start, length):
        status, _, body = self.folder(file, Range=f"bytes={start}-{start + length - 1}")
        assert status == 206 and len(body) == length, (file, start, length, status, len(body))
        return body

    def retrieve(self, kind, paths, page=None, content=None):
        """Properties of all objects of a kind, {object: {path: value}}, through a container view."""
        content = content or self.content
        view = content.viewManager.CreateContainerView(content.rootFolder, [kind], True)
        collector = vmodl.query.PropertyCollector
        walk = collector.TraversalSpec(name="v", path="view", skip=False, type=vim.view.ContainerView)
        spec = collector.FilterSpec(
            objectSet=[collector.ObjectSpec(obj=view, skip=True, selectSet=[walk])],
            propSet=[collector.PropertySpec(type=kind, pathSet=paths)])
        result = content.propertyCollector.RetrievePropertiesEx([spec], collector.RetrieveOptions(maxObjects=page))
        objects, pages = list(result.objects), 1
        while result.token:
            assert page and len(result.objects) == page, "a page is not full"
            result = content.propertyCollector.ContinueRetrievePropertiesEx(result.token)
            objects += result.objects
            pages += 1
        view.Destroy()
        self.pages = pages
        return {o.obj: {p.name: p.val for p in o.propSet} for o in objects}

    def machine(self, name):
        found = [o for o, p in self.retrieve(vim.VirtualMachine, ["name"]).items() if p.get("name") == name]
        assert found, f"no machine {name}"
        return found[0]

    def plain(self, number):
        """The number-th ordinary machine, running, with two plain disks."""
        machines = self.retrieve(vim.VirtualMachine, ["name"])
        names = sorted(p["name"] for p in machines.values() if not p["name"].startswith("odd"))
        return self.machine(names[number])


def wait(task):
    deadline = time.time() + 30
    while task.info.state not in ("success", "error"):
        assert time.time() < deadline, "the task does not end"
        time.sleep(0.02)
    if task.info.state == "error":
        raise task.info.error
    return task.info.result


def disks(config):
    return [d for d in config.hardware.device if isinstance(d, vim.vm.device.VirtualDisk)]


def snapshot(vm, name="probe"):
    return wait(vm.CreateSnapshot_Task(name, "", False, False))


def remove(snapshot):
    wait(snapshot.RemoveSnapshot_Task(False))


def track(vm, on=True):
    wait(vm.ReconfigVM_Task(vim.vm.ConfigSpec(changeTrackingEnabled=on)))


def start_tracking(vm):
    track(vm)
    remove(snapshot(vm))


def areas(vm, taken, key, change, capacity):
    """All changed areas, page by page, and the number of pages."""
    found, pages, at = [], 0, 0
    while at < capacity:
        page = vm.QueryChangedDiskAreas(taken, key, at, change)
        assert page.startOffset == at and page.length > 0 and len(page.changedArea) <= 7
        found += [(a.start, a.length) for a in page.changedArea]
        at, pages = page.startOffset + page.length, pages + 1
    assert at == capacity
    for (start, length), (following, _) in zip(found, found[1:]):
        assert start + length <= following, "areas overlap or are out of order"
    return found, pages


def raises(kind, call, *arguments):
    try:
        call(*arguments)
    except kind as fault:
        return fault
    raise AssertionError(f"no {kind.__name__}")
