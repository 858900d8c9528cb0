// QueryChangedDiskAreas: which areas of a frozen disk were written since a
// change id, page by page.

package main

import (
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// Keys of the messages that hosts send with a FileFault.
const (
	notTracked       = "vim.hostd.vmsvc.cbt.noTrack"
	cannotGetChanges = "vim.hostd.vmsvc.cbt.cannotGetChanges"
)

func queryChangedDiskAreas(c *call) *answer {
	request := c.method.Body.(*types.QueryChangedDiskAreas)
	m := c.gateway.site.machine(request.This.Value)
	if m == nil {
		return c.fault("The object has already been deleted.", &types.ManagedObjectNotFound{Obj: request.This})
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	frozen, fault := m.queried(request)
	if fault != nil {
		return c.fault("", fault)
	}
	changed, fault := frozen.changedSince(request.ChangeId)
	if fault != nil {
		return c.fault("Error caused by file "+frozen.disk.name, fault)
	}
	areas, end := changed.extents(request.StartOffset, frozen.disk.capacity, c.gateway.site.options.maxExtents)
	return c.result("QueryChangedDiskAreasResponse", &types.QueryChangedDiskAreasResponse{
		Returnval: types.DiskChangeInfo{
			StartOffset: request.StartOffset,
			Length:      end - request.StartOffset,
			ChangedArea: areas,
		},
	})
}

// queried finds the disk that a request means and checks the request against it.
func (m *machine) queried(request *types.QueryChangedDiskAreas) (*frozenDisk, types.BaseMethodFault) {
	if !isDisk(m.vm, request.DeviceKey) {
		return nil, &types.InvalidArgument{InvalidProperty: "deviceKey"}
	}
	var frozen *frozenDisk
	if request.Snapshot == nil {
		frozen = m.present(request.DeviceKey)
	} else if s := m.snapshot(*request.Snapshot); s != nil {
		frozen = s.disks[request.DeviceKey]
	} else {
		return nil, &types.NotFound{}
	}
	if frozen == nil {
		return nil, fileFault("", notTracked)
	}
	if request.StartOffset < 0 || request.StartOffset >= frozen.disk.capacity {
		return nil, &types.InvalidArgument{InvalidProperty: "startOffset"}
	}
	return frozen, nil
}

// present is the disk as it is now, which only a machine at rest can tell.
func (m *machine) present(key int32) *frozenDisk {
	d := m.disks[key]
	if d == nil || m.vm.Runtime.PowerState != types.VirtualMachinePowerStatePoweredOff {
		return nil
	}
	frozen := &frozenDisk{disk: d, depth: d.depth(), written: d.written.clone()}
	if d.tracking != nil {
		frozen.epoch, frozen.number = d.tracking.epoch, d.tracking.number
	}
	return frozen
}

// changedSince is the set of blocks written between the id and the freezing,
// or ever, for "*".
func (f *frozenDisk) changedSince(id string) (*blockSet, types.BaseMethodFault) {
	if f.epoch == "" {
		return nil, fileFault(f.disk.name, notTracked)
	}
	if id == "*" {
		return f.written, nil
	}
	epoch, number, ok := parseChangeID(id)
	if !ok {
		return nil, &types.InvalidArgument{InvalidProperty: "changeId"}
	}
	live := f.disk.tracking
	if live == nil || live.epoch != f.epoch || epoch != f.epoch || number > f.number {
		return nil, fileFault(f.disk.name, cannotGetChanges)
	}
	return live.between(number, f.number), nil
}

func isDisk(vm *simulator.VirtualMachine, key int32) bool {
	if vm.Config == nil {
		return false
	}
	for _, device := range vm.Config.Hardware.Device {
		if disk, ok := device.(*types.VirtualDisk); ok && disk.Key == key {
			return true
		}
	}
	return false
}

func fileFault(file, message string) *types.FileFault {
	return &types.FileFault{
		VimFault: types.VimFault{MethodFault: types.MethodFault{
			FaultMessage: []types.LocalizableMessage{{Key: message}},
		}},
		File: file,
	}
}
