// Virtual machines of odd kinds, one for each thing that a migration must
// refuse, skip or survive.

package main

import (
	"context"
	"strings"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/simulator/esx"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/types"
)

// oddity is one machine to make.
type oddity struct {
	name    string
	folder  string // below the datacenter's folder of machines; "" for that one
	disks   []diskKind
	network networkKind
	twist   func(*builder, *machine) error
}

type networkKind int

const (
	standardNetwork networkKind = iota
	distributedPortgroup
)

func oddities(onHost bool) []oddity {
	list := []oddity{
		{name: "odd-no-config", disks: []diskKind{plainDisk}, twist: loseConfig},
		{name: "odd-independent", disks: []diskKind{plainDisk, independentDisk}},
		{name: "odd-raw", disks: []diskKind{plainDisk, rawDisk}},
		{name: "odd-snapshot", disks: []diskKind{plainDisk}, twist: takeSnapshot},
		{name: "odd-diskless"},
		{name: "odd-sizeless", disks: []diskKind{plainDisk}, twist: loseSize},
		{name: "odd-template", disks: []diskKind{plainDisk}, twist: becomeTemplate},
		{name: "odd näme & <co>", disks: []diskKind{plainDisk}},
	}
	if onHost {
		return list // a host has neither folders nor distributed port groups
	}
	return append(list,
		oddity{name: "odd-twin", folder: "left", disks: []diskKind{plainDisk}},
		oddity{name: "odd-twin", folder: "right", disks: []diskKind{plainDisk}},
		oddity{name: "odd-distributed", disks: []diskKind{plainDisk}, network: distributedPortgroup},
	)
}

// builder makes machines through the library's API.
type builder struct {
	site   *site
	client *vim25.Client
	vms    *object.Folder
	host   *object.HostSystem
	pool   *object.ResourcePool
}

func (s *site) addOddities(service *simulator.Service) error {
	client, err := inProcess(service)
	if err != nil {
		return err
	}
	b := &builder{site: s, client: client}
	ctx := context.Background()
	datacenter := simulator.Map.Any("Datacenter")
	folders, err := object.NewDatacenter(client, datacenter.Reference()).Folders(ctx)
	if err != nil {
		return err
	}
	b.vms = folders.VmFolder
	b.host = object.NewHostSystem(client, standaloneHost())
	if b.pool, err = b.host.ResourcePool(ctx); err != nil {
		return err
	}
	for _, o := range oddities(simulator.Map.IsESX()) {
		if err := b.make(ctx, o); err != nil {
			return err
		}
	}
	return nil
}

// standaloneHost is a host outside of a cluster.
func standaloneHost() types.ManagedObjectReference {
	for _, entity := range simulator.Map.All("HostSystem") {
		host := entity.(*simulator.HostSystem)
		if host.Parent.Type == "ComputeResource" {
			return host.Self
		}
	}
	panic("the library's models have a host outside of a cluster")
}

func (b *builder) make(ctx context.Context, o oddity) error {
	folder := b.vms
	if o.folder != "" {
		var err error
		if folder, err = b.vms.CreateFolder(ctx, o.folder); err != nil {
			return err
		}
	}
	card := esx.EthernetCard
	card.Backing = b.backing(o.network)
	task, err := folder.CreateVM(ctx, types.VirtualMachineConfigSpec{
		Name:    o.name,
		GuestId: string(types.VirtualMachineGuestOsIdentifierDebian10_64Guest),
		Files:   &types.VirtualMachineFileInfo{VmPathName: "[LocalDS_0]"},
		DeviceChange: []types.BaseVirtualDeviceConfigSpec{&types.VirtualDeviceConfigSpec{
			Operation: types.VirtualDeviceConfigSpecOperationAdd,
			Device:    &card,
		}},
	}, b.pool, b.host)
	if err != nil {
		return err
	}
	info, err := task.WaitForResult(ctx, nil)
	if err != nil {
		return err
	}
	vm := simulator.Map.Get(info.Result.(types.ManagedObjectReference)).(*simulator.VirtualMachine)
	if err := b.site.outfit(vm, o.disks); err != nil {
		return err
	}
	if o.twist != nil {
		return o.twist(b, b.site.machine(vm.Self.Value))
	}
	return nil
}

func (b *builder) backing(kind networkKind) types.BaseVirtualDeviceBackingInfo {
	if kind == standardNetwork {
		return &types.VirtualEthernetCardNetworkBackingInfo{
			VirtualDeviceDeviceBackingInfo: types.VirtualDeviceDeviceBackingInfo{DeviceName: "VM Network"},
		}
	}
	group := portgroup()
	dswitch := simulator.Map.Get(*group.Config.DistributedVirtualSwitch).(*simulator.DistributedVirtualSwitch)
	return &types.VirtualEthernetCardDistributedVirtualPortBackingInfo{
		Port: types.DistributedVirtualSwitchPortConnection{PortgroupKey: group.Key, SwitchUuid: dswitch.Uuid},
	}
}

// portgroup is the one that the model's machines use, not that of the uplinks.
func portgroup() *simulator.DistributedVirtualPortgroup {
	for _, entity := range simulator.Map.All("DistributedVirtualPortgroup") {
		group := entity.(*simulator.DistributedVirtualPortgroup)
		if strings.HasSuffix(group.Name, "_DVPG0") {
			return group
		}
	}
	panic("the library's model of a vCenter has a distributed port group")
}

// loseConfig leaves a machine as a host shows one whose files it cannot read.
func loseConfig(_ *builder, m *machine) error {
	m.vm.Config = nil
	m.vm.Runtime.ConnectionState = types.VirtualMachineConnectionStateInaccessible
	m.vm.Summary.Runtime.ConnectionState = types.VirtualMachineConnectionStateInaccessible
	return nil
}

// loseSize makes the size of the disks one that nobody tells.
func loseSize(_ *builder, m *machine) error {
	for _, device := range m.vm.Config.Hardware.Device {
		if disk, isDisk := device.(*types.VirtualDisk); isDisk {
			disk.CapacityInBytes, disk.CapacityInKB = 0, 0
		}
	}
	return nil
}

func takeSnapshot(b *builder, m *machine) error {
	ctx := context.Background()
	task, err := object.NewVirtualMachine(b.client, m.vm.Self).CreateSnapshot(ctx, "before the update", "by hand", false, false)
	if err != nil {
		return err
	}
	info, err := task.WaitForResult(ctx, nil)
	if err != nil {
		return err
	}
	return m.take(info.Result.(types.ManagedObjectReference))
}

func becomeTemplate(b *builder, m *machine) error {
	return object.NewVirtualMachine(b.client, m.vm.Self).MarkAsTemplate(context.Background())
}
