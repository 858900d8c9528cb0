// Export leases: the disks of a machine at rest, or of a snapshot, as
// streamOptimized files under /nfc/LEASE/.

package main

import (
	"fmt"
	"net/http"
	"sort"
	"strings"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

const leasePrefix = "/nfc/"

// exportLease is a managed object of the library's registry.
type exportLease struct {
	mo.HttpNfcLease

	views map[string]view // by file name
}

func exportMachine(c *call) *answer {
	m := c.gateway.site.machine(c.method.This.Value)
	if m == nil {
		return c.pass()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if state := m.vm.Runtime.PowerState; state != types.VirtualMachinePowerStatePoweredOff {
		return c.fault("The machine is running.", &types.InvalidPowerState{
			RequestedState: types.VirtualMachinePowerStatePoweredOff,
			ExistingState:  state,
		})
	}
	views := make(map[int32]view)
	for key, d := range m.disks {
		views[key] = view{d, d.depth()}
	}
	return c.lease("ExportVmResponse", m, views)
}

func exportSnapshot(c *call) *answer {
	m := c.gateway.site.ownerOf(c.method.This)
	if m == nil {
		return c.pass()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	views := make(map[int32]view)
	for key, frozen := range m.snapshot(c.method.This).disks {
		views[key] = view{frozen.disk, frozen.depth}
	}
	return c.lease("ExportSnapshotResponse", m, views)
}

// lease answers with a new lease on the disks. A host, other than a vCenter,
// does not know its name and writes a star.
func (c *call) lease(response string, m *machine, views map[int32]view) *answer {
	id := plainUUID(newTracking().epoch)
	l := &exportLease{views: make(map[string]view)}
	l.Self = types.ManagedObjectReference{Type: "HttpNfcLease", Value: id}
	l.State = types.HttpNfcLeaseStateReady
	l.Mode = "pushOrGet"
	l.Info = &types.HttpNfcLeaseInfo{Lease: l.Self, Entity: m.vm.Self, LeaseTimeout: 300}
	host := c.request.Host
	if simulator.Map.IsESX() {
		host = "*"
	}
	for number, key := range sortedKeys(views) {
		v, file := views[key], fmt.Sprintf("disk-%d.vmdk", number)
		if err := v.disk.prepare(); err != nil {
			return c.fault(err.Error(), &types.SystemError{})
		}
		l.views[file] = v
		l.Info.TotalDiskCapacityInKB += v.disk.capacity / 1024
		l.Info.DeviceUrl = append(l.Info.DeviceUrl, types.HttpNfcLeaseDeviceUrl{
			Key:       fmt.Sprintf("/%s/ParaVirtualSCSIController0:%d", m.vm.Self.Value, key-firstDiskKey),
			Url:       "https://" + host + leasePrefix + id + "/" + file,
			Disk:      types.NewBool(true),
			TargetId:  file,
			ImportKey: fmt.Sprintf("/%s/ParaVirtualSCSIController0:%d", m.vm.Self.Value, key-firstDiskKey),
		})
	}
	simulator.Map.Put(l)
	return c.result(response, &struct {
		Returnval types.ManagedObjectReference `xml:"returnval"`
	}{l.Self})
}

func sortedKeys(views map[int32]view) []int32 {
	var keys []int32
	for key := range views {
		keys = append(keys, key)
	}
	sort.Slice(keys, func(i, j int) bool { return keys[i] < keys[j] })
	return keys
}

// HttpNfcLeaseProgress notes how far the client says it is.
func (l *exportLease) HttpNfcLeaseProgress(_ *simulator.Context, r *types.HttpNfcLeaseProgress) soap.HasFault {
	l.TransferProgress = r.Percent
	return &methods.HttpNfcLeaseProgressBody{Res: &types.HttpNfcLeaseProgressResponse{}}
}

// HttpNfcLeaseComplete ends the lease.
func (l *exportLease) HttpNfcLeaseComplete(_ *simulator.Context, _ *types.HttpNfcLeaseComplete) soap.HasFault {
	simulator.Map.Remove(l.Self)
	return &methods.HttpNfcLeaseCompleteBody{Res: &types.HttpNfcLeaseCompleteResponse{}}
}

// HttpNfcLeaseAbort ends the lease.
func (l *exportLease) HttpNfcLeaseAbort(_ *simulator.Context, _ *types.HttpNfcLeaseAbort) soap.HasFault {
	simulator.Map.Remove(l.Self)
	return &methods.HttpNfcLeaseAbortBody{Res: &types.HttpNfcLeaseAbortResponse{}}
}

// serveLease sends a disk; the lease's id in the path is the ticket.
func (g *gateway) serveLease(w http.ResponseWriter, r *http.Request) {
	id, file := "", ""
	if parts := strings.Split(strings.TrimPrefix(r.URL.Path, leasePrefix), "/"); len(parts) == 2 {
		id, file = parts[0], parts[1]
	}
	l, ok := simulator.Map.Get(types.ManagedObjectReference{Type: "HttpNfcLease", Value: id}).(*exportLease)
	if !ok || r.Method != http.MethodGet {
		http.NotFound(w, r)
		return
	}
	v, ok := l.views[file]
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/x-vnd.vmware-streamVmdk")
	if err := writeStreamOptimized(w, v.reader()); err != nil {
		panic(http.ErrAbortHandler) // a short answer must not look whole
	}
}
