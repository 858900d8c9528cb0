// Many machines: copies in memory of the one that the library makes per pool,
// as its own making of thousands takes minutes and tens of thousands of files.

package main

import (
	"crypto/sha256"
	"fmt"
	"strings"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// crowd adds copies number 1 to count-1 of the machine number 0.
func crowd(original *simulator.VirtualMachine, count int) {
	folder := simulator.Map.Get(*original.Parent).(*simulator.Folder)
	pool := simulator.Map.Get(*original.ResourcePool).(*simulator.ResourcePool)
	host := simulator.Map.Get(*original.Runtime.Host).(*simulator.HostSystem)
	for n := 1; n < count; n++ {
		vm := duplicate(original, fmt.Sprintf("%s%d", strings.TrimSuffix(original.Name, "0"), n))
		simulator.Map.PutEntity(folder, vm)
		vm.Summary.Vm = &vm.Self
		folder.ChildEntity = append(folder.ChildEntity, vm.Self)
		pool.Vm = append(pool.Vm, vm.Self)
		host.Vm = append(host.Vm, vm.Self)
		for _, ref := range vm.Datastore {
			datastore := simulator.Map.Get(ref).(*simulator.Datastore)
			datastore.Vm = append(datastore.Vm, vm.Self)
		}
	}
}

// duplicate copies all that two machines must not share.
func duplicate(original *simulator.VirtualMachine, name string) *simulator.VirtualMachine {
	vm := &simulator.VirtualMachine{VirtualMachine: original.VirtualMachine}
	vm.Self = types.ManagedObjectReference{}
	renamed := func(text string) string { return strings.ReplaceAll(text, original.Name, name) }

	config := *original.Config
	config.Name, config.Uuid, config.InstanceUuid = name, plainUUID("bios "+name), plainUUID("instance "+name)
	config.Files.VmPathName = renamed(config.Files.VmPathName)
	config.Files.SnapshotDirectory = renamed(config.Files.SnapshotDirectory)
	config.Files.SuspendDirectory = renamed(config.Files.SuspendDirectory)
	config.Files.LogDirectory = renamed(config.Files.LogDirectory)
	config.ExtraConfig = append([]types.BaseOptionValue(nil), config.ExtraConfig...)
	vm.Config, vm.Name = &config, name

	guest, storage, summary := *original.Guest, *original.Storage, *original.Summary.Storage
	guest.Net = append([]types.GuestNicInfo(nil), guest.Net...)
	storage.PerDatastoreUsage = append([]types.VirtualMachineUsageOnDatastore(nil), storage.PerDatastoreUsage...)
	vm.Guest, vm.Storage, vm.Summary.Storage = &guest, &storage, &summary
	vm.Layout, vm.LayoutEx = &types.VirtualMachineFileLayout{}, &types.VirtualMachineFileLayoutEx{}

	vm.Summary.Config.Name, vm.Summary.Config.Uuid = name, config.Uuid
	vm.Summary.Config.InstanceUuid = config.InstanceUuid
	vm.Summary.Config.VmPathName = config.Files.VmPathName
	vm.Datastore = append([]types.ManagedObjectReference(nil), original.Datastore...)
	vm.Network = append([]types.ManagedObjectReference(nil), original.Network...)
	return vm
}

func plainUUID(text string) string {
	sum := sha256.Sum256([]byte(text))
	return fmt.Sprintf("%x-%x-%x-%x-%x", sum[0:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])
}
