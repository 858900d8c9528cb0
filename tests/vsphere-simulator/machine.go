// What the simulator knows of one virtual machine beyond the library: its
// disks' content, its snapshots and its change tracking.

package main

import (
	"fmt"
	"sync"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// machine is locked for every change, so that the disks of a snapshot stem
// from one moment.
type machine struct {
	mu        sync.Mutex
	vm        *simulator.VirtualMachine
	disks     map[int32]*disk
	snapshots []*snapshot // oldest first
	tracked   bool        // change tracking is in effect, not only asked for
}

// snapshot is one frozen moment.
type snapshot struct {
	ref   types.ManagedObjectReference
	disks map[int32]*frozenDisk
}

// frozenDisk is a disk as a snapshot holds it.
type frozenDisk struct {
	disk    *disk
	depth   int
	written *blockSet
	epoch   string // empty when the disk was not tracked
	number  int
}

func (f *frozenDisk) changeID() string {
	if f.epoch == "" {
		return ""
	}
	return changeID(f.epoch, f.number)
}

// take freezes all disks under the library's new snapshot ref.
func (m *machine) take(ref types.ManagedObjectReference) error {
	taken := &snapshot{ref: ref, disks: make(map[int32]*frozenDisk)}
	for key, d := range m.disks {
		if !d.freezes {
			continue
		}
		if err := d.prepare(); err != nil {
			return err
		}
		depth, err := d.freeze()
		if err != nil {
			return err
		}
		frozen := &frozenDisk{disk: d, depth: depth, written: d.written.clone()}
		if d.tracking != nil {
			frozen.epoch, frozen.number = d.tracking.epoch, d.tracking.cut()
		}
		taken.disks[key] = frozen
	}
	m.snapshots = append(m.snapshots, taken)
	m.publish()
	return nil
}

// drop merges the deltas of a removed snapshot; unknown references are none of
// ours. A running machine starts its tracking when the last snapshot goes.
func (m *machine) drop(ref types.ManagedObjectReference) error {
	for i, gone := range m.snapshots {
		if gone.ref != ref {
			continue
		}
		m.snapshots = append(m.snapshots[:i:i], m.snapshots[i+1:]...)
		for _, frozen := range gone.disks {
			if err := frozen.disk.merge(frozen.depth); err != nil {
				return err
			}
		}
		for _, later := range m.snapshots[i:] {
			for key := range gone.disks {
				later.disks[key].depth--
			}
		}
		m.startTracking()
		m.publish()
		return nil
	}
	return nil
}

func (m *machine) snapshot(ref types.ManagedObjectReference) *snapshot {
	for _, s := range m.snapshots {
		if s.ref == ref {
			return s
		}
	}
	return nil
}

// reconfigured follows a changed configuration: tracking is switched off at
// once, and on at once only while nothing runs and no snapshot exists.
func (m *machine) reconfigured() {
	wanted := m.wantsTracking()
	switch {
	case m.tracked && !wanted:
		m.tracked = false
		for _, d := range m.disks {
			d.tracking = nil
		}
	case m.vm.Runtime.PowerState == types.VirtualMachinePowerStatePoweredOff:
		m.startTracking()
	}
}

func (m *machine) wantsTracking() bool {
	return m.vm.Config != nil && m.vm.Config.ChangeTrackingEnabled != nil && *m.vm.Config.ChangeTrackingEnabled
}

// startTracking puts asked-for tracking into effect, at a moment when the
// machine stands still.
func (m *machine) startTracking() {
	if m.tracked || !m.wantsTracking() || len(m.snapshots) != 0 {
		return
	}
	m.tracked = true
	options := append([]types.BaseOptionValue(nil), m.vm.Config.ExtraConfig...)
	for _, device := range m.vm.Config.Hardware.Device {
		d := m.disks[device.GetVirtualDevice().Key]
		if d == nil || !d.freezes {
			continue
		}
		d.tracking = newTracking()
		options = append(options, &types.OptionValue{
			Key:   fmt.Sprintf("scsi0:%d.ctkEnabled", *device.GetVirtualDevice().UnitNumber),
			Value: "TRUE",
		})
	}
	update(m.vm, types.PropertyChange{Name: "config.extraConfig", Val: options})
}

// write is the guest's write to one disk.
func (m *machine) write(key int32, bytes []byte, offset int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	d := m.disks[key]
	if d == nil {
		return fmt.Errorf("%s has no disk %d with content", m.vm.Self.Value, key)
	}
	if err := d.prepare(); err != nil {
		return err
	}
	return d.write(bytes, offset)
}
