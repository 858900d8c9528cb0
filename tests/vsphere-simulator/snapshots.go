// The SOAP methods that change a machine: the library keeps the inventory, the
// simulator freezes and merges the disks.

package main

import (
	"regexp"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

var taskPattern = regexp.MustCompile(`>(task-[0-9]+)<`)

// taskOf finds the library's task that an answer names.
func taskOf(a *answer) *simulator.Task {
	found := taskPattern.FindSubmatch(a.body)
	if a.failed() || found == nil {
		return nil
	}
	task, _ := simulator.Map.Get(types.ManagedObjectReference{Type: "Task", Value: string(found[1])}).(*simulator.Task)
	return task
}

// succeeded says whether the call, or the task that it started, worked.
func succeeded(a *answer) bool {
	if task := taskOf(a); task != nil {
		return task.Info.State == types.TaskInfoStateSuccess
	}
	return !a.failed()
}

func createSnapshot(c *call) *answer {
	m := c.gateway.site.machine(c.method.This.Value)
	if m == nil {
		return c.pass()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	a := m.without(c)
	if task := taskOf(a); task != nil && succeeded(a) {
		if err := m.take(task.Info.Result.(types.ManagedObjectReference)); err != nil {
			return c.fault(err.Error(), &types.GenericVmConfigFault{Reason: err.Error()})
		}
	}
	return a
}

func removeSnapshot(c *call) *answer {
	m := c.gateway.site.ownerOf(c.method.This)
	if m == nil {
		return c.pass()
	}
	return m.removed(c)
}

func removeAllSnapshots(c *call) *answer {
	m := c.gateway.site.machine(c.method.This.Value)
	if m == nil {
		return c.pass()
	}
	return m.removed(c)
}

// removed lets the library remove snapshots and merges those that are gone.
func (m *machine) removed(c *call) *answer {
	m.mu.Lock()
	defer m.mu.Unlock()
	a := m.without(c)
	m.own(taskOf(a))
	for _, s := range append([]*snapshot(nil), m.snapshots...) {
		if simulator.Map.Get(s.ref) != nil {
			continue
		}
		if err := m.drop(s.ref); err != nil {
			return c.fault(err.Error(), &types.GenericVmConfigFault{Reason: err.Error()})
		}
	}
	return a
}

// own makes a task the machine's: the library names the snapshot as its entity,
// hosts name the machine.
func (m *machine) own(task *simulator.Task) {
	if task == nil {
		return
	}
	update(task,
		types.PropertyChange{Name: "info.entity", Val: m.vm.Self},
		types.PropertyChange{Name: "info.entityName", Val: m.vm.Name},
	)
}

// changeMachine follows a change of power state or configuration.
func changeMachine(c *call) *answer {
	m := c.gateway.site.machine(c.method.This.Value)
	if m == nil {
		return c.pass()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	a := m.without(c)
	if !succeeded(a) {
		return a
	}
	if c.method.Name == "PowerOnVM_Task" {
		m.startTracking()
	}
	m.reconfigured()
	return a
}

// without passes the call on with raw disks hidden: the library takes every
// disk for a flat file.
func (m *machine) without(c *call) *answer {
	if m.vm.Config == nil {
		return c.fault("The virtual machine is inaccessible.", &types.InvalidState{})
	}
	all := m.vm.Config.Hardware.Device
	var shown, hidden []types.BaseVirtualDevice
	for _, device := range all {
		if _, raw := device.GetVirtualDevice().Backing.(*types.VirtualDiskRawDiskMappingVer1BackingInfo); raw {
			hidden = append(hidden, device)
		} else {
			shown = append(shown, device)
		}
	}
	if len(hidden) == 0 {
		return c.pass()
	}
	simulator.Map.WithLock(m.vm, func() { m.vm.Config.Hardware.Device = shown })
	defer simulator.Map.WithLock(m.vm, func() {
		m.vm.Config.Hardware.Device = append(append([]types.BaseVirtualDevice(nil), m.vm.Config.Hardware.Device...), hidden...)
	})
	return c.pass()
}

func notSupported(c *call) *answer {
	return c.fault("The simulator does not support "+c.method.Name+".", &types.NotSupported{})
}

// holdTask shows the task of a finished call as running for a while, and as one
// of its machine's recent ones.
func (c *call) holdTask(a *answer, length time.Duration) {
	task := taskOf(a)
	if task == nil {
		return
	}
	if m := c.gateway.site.machine(task.Info.Entity.Value); m != nil {
		recent := append([]types.ManagedObjectReference(nil), m.vm.RecentTask...)
		update(m.vm, types.PropertyChange{Name: "recentTask", Val: append(recent, task.Self)})
	}
	final := task.Info
	update(task,
		types.PropertyChange{Name: "info.state", Val: types.TaskInfoStateRunning},
		types.PropertyChange{Name: "info.result"},
		types.PropertyChange{Name: "info.error"},
		types.PropertyChange{Name: "info.completeTime"},
	)
	time.AfterFunc(length, func() {
		changes := []types.PropertyChange{
			{Name: "info.completeTime", Val: time.Now()},
			{Name: "info.result", Val: final.Result},
		}
		if final.Error != nil {
			changes = append(changes, types.PropertyChange{Name: "info.error", Val: *final.Error})
		}
		update(task, append(changes, types.PropertyChange{Name: "info.state", Val: final.State})...)
	})
}
