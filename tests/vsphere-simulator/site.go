// All machines of the simulated site, by their managed object id.

package main

import (
	"fmt"
	"path/filepath"
	"sort"
	"strconv"
	"strings"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// site does not change after its start: machines that a client makes later have
// no content.
type site struct {
	options  options
	scratch  string // folder for deltas
	machines map[string]*machine
	files    map[string]*machineDisk // by path of descriptor and flat file
	nics     int
}

// machineDisk is a disk with the machine it belongs to.
type machineDisk struct {
	machine *machine
	disk    *disk
}

func (s *site) machine(id string) *machine {
	return s.machines[id]
}

// ownerOf finds the machine that has the snapshot.
func (s *site) ownerOf(ref types.ManagedObjectReference) *machine {
	object, ok := simulator.Map.Get(ref).(*simulator.VirtualMachineSnapshot)
	if !ok {
		return nil
	}
	return s.machine(object.Vm.Value)
}

// outfit replaces the library's disks and shared network cards of a machine by
// its own, and puts content behind the disks.
func (s *site) outfit(vm *simulator.VirtualMachine, kinds []diskKind) error {
	m := &machine{vm: vm, disks: make(map[int32]*disk)}
	var vmx object.DatastorePath
	vmx.FromString(vm.Config.Files.VmPathName)
	datastore, err := datastoreOf(vm, vmx.Datastore)
	if err != nil {
		return err
	}
	devices := s.otherDevices(vm)
	for n, kind := range kinds {
		device := newDisk(vmx, datastore.Self, n, kind, s.options.diskSize)
		devices = append(devices, device)
		if kind == rawDisk {
			continue // its content lies outside of the datastore
		}
		d := &disk{
			key:      device.Key,
			folder:   filepath.Join(datastore.Info.GetDatastoreInfo().Url, filepath.Dir(vmx.Path)),
			name:     fmt.Sprintf("disk%d.vmdk", n+1),
			scratch:  s.scratch,
			capacity: s.options.diskSize,
			freezes:  kind != independentDisk,
		}
		m.disks[device.Key] = d
		for _, file := range []string{d.flat(), filepath.Join(d.folder, d.name)} {
			s.files[file] = &machineDisk{m, d}
		}
	}
	vm.Config.Hardware.Device = devices
	vm.Capability.ChangeTrackingSupported = types.NewBool(true)
	vm.Capability.SnapshotOperationsSupported = true
	vm.Capability.MultipleSnapshotsSupported = true
	vm.Capability.QuiescedSnapshotsSupported = true
	vm.Runtime.ConsolidationNeeded = types.NewBool(false)
	vm.Config.ChangeTrackingEnabled = types.NewBool(false)
	vm.Summary.Config.NumVirtualDisks = int32(len(kinds))
	s.machines[vm.Self.Value] = m
	return nil
}

// createFiles makes the files of all disks.
func (s *site) createFiles() error {
	for _, file := range s.files {
		if err := file.disk.prepare(); err != nil {
			return err
		}
	}
	return nil
}

// otherDevices are all devices but disks, with network cards copied, as the
// library lets all machines of a pool share one, and given their own address.
func (s *site) otherDevices(vm *simulator.VirtualMachine) []types.BaseVirtualDevice {
	var devices []types.BaseVirtualDevice
	cards := 0
	for _, device := range vm.Config.Hardware.Device {
		switch original := device.(type) {
		case *types.VirtualDisk:
		case types.BaseVirtualSCSIController:
		case *types.VirtualE1000:
			card := *original
			s.nics++
			card.Key = firstNicKey + int32(cards)
			card.UnitNumber = types.NewInt32(7 + int32(cards))
			card.MacAddress = ownMAC(s.nics)
			card.DeviceInfo = &types.Description{
				Label:   fmt.Sprintf("Network adapter %d", cards+1),
				Summary: original.DeviceInfo.GetDescription().Summary,
			}
			if cards < len(vm.Guest.Net) {
				vm.Guest.Net[cards].MacAddress = card.MacAddress
				vm.Guest.Net[cards].DeviceConfigId = card.Key
			}
			cards++
			devices = append(devices, &card)
		default:
			devices = append(devices, device)
		}
	}
	return append(devices, newController())
}

// datastoreOf finds the machine's datastore of that name.
func datastoreOf(vm *simulator.VirtualMachine, name string) (*simulator.Datastore, error) {
	for _, ref := range vm.Datastore {
		if found, ok := simulator.Map.Get(ref).(*simulator.Datastore); ok && found.Name == name {
			return found, nil
		}
	}
	return nil, fmt.Errorf("%s has no datastore %q", vm.Self.Value, name)
}

// machinesInOrder lists the library's machines in the order of their making.
func machinesInOrder() []*simulator.VirtualMachine {
	var list []*simulator.VirtualMachine
	for _, entity := range simulator.Map.All("VirtualMachine") {
		list = append(list, entity.(*simulator.VirtualMachine))
	}
	number := func(vm *simulator.VirtualMachine) int {
		n, _ := strconv.Atoi(strings.TrimPrefix(vm.Self.Value, "vm-"))
		return n
	}
	sort.Slice(list, func(i, j int) bool { return number(list[i]) < number(list[j]) })
	return list
}
