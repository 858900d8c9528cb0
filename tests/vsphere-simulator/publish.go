// Shows a machine's disks, deltas and change ids in the library's inventory.

package main

import (
	"path"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// update changes properties under the object's lock and tells the waiting
// property collectors.
func update(object mo.Reference, changes ...types.PropertyChange) {
	simulator.Map.WithLock(object, func() {
		simulator.Map.Update(object, changes)
	})
}

// publish rewrites the devices of the machine and of its snapshots, each with
// the chain of links that it sees. Devices are replaced, never changed: others
// may be encoding them.
func (m *machine) publish() {
	if m.vm.Config == nil {
		return
	}
	live := m.vm.Config.Hardware.Device
	for _, s := range m.snapshots {
		s := s
		devices := replaceDisks(live, func(device *types.VirtualDisk) {
			if frozen := s.disks[device.Key]; frozen != nil {
				setChain(device, frozen.disk, frozen.depth, frozen.changeID())
			}
		})
		object, ok := simulator.Map.Get(s.ref).(*simulator.VirtualMachineSnapshot)
		if ok {
			simulator.Map.WithLock(object, func() { object.Config.Hardware.Device = devices })
		}
	}
	update(m.vm, types.PropertyChange{
		Name: "config.hardware.device",
		Val: replaceDisks(live, func(device *types.VirtualDisk) {
			if d := m.disks[device.Key]; d != nil {
				setCapacity(device, d.capacity)
				setChain(device, d, d.depth(), "")
			}
		}),
	})
}

// replaceDisks copies the list and its disks, and lets change alter the copies.
func replaceDisks(devices []types.BaseVirtualDevice, change func(*types.VirtualDisk)) []types.BaseVirtualDevice {
	list := append([]types.BaseVirtualDevice(nil), devices...)
	for i, device := range list {
		if original, ok := device.(*types.VirtualDisk); ok {
			replaced := *original
			change(&replaced)
			list[i] = &replaced
		}
	}
	return list
}

// setChain gives a disk the backing of the given depth, with its parents.
func setChain(device *types.VirtualDisk, d *disk, depth int, changeID string) {
	present, ok := device.Backing.(*types.VirtualDiskFlatVer2BackingInfo)
	if !ok {
		return
	}
	folder := path.Dir(present.FileName)
	var chain *types.VirtualDiskFlatVer2BackingInfo
	for i := 0; i <= depth; i++ {
		link := *present
		link.Parent, link.ChangeId, link.DeltaDiskFormat = chain, "", ""
		link.FileName = folder + "/" + d.name
		if i > 0 {
			link.FileName = folder + "/" + d.deltas[i-1].name
			link.DeltaDiskFormat = "redoLogFormat"
		}
		chain = &link
	}
	chain.ChangeId = changeID
	device.Backing = chain
}
