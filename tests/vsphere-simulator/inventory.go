// Builds the site: the library's model of a vCenter or a host, fitted with real
// disks.

package main

import (
	"context"
	"os"
	"path/filepath"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/types"
)

// eagerMachines is how many machines get their disks' files at the start; in a
// larger site a disk's files are made when it is first used.
const eagerMachines = 100

func buildSite(o options, dir string) (*site, *simulator.Model, error) {
	scratch := filepath.Join(dir, "scratch")
	if err := os.Mkdir(scratch, 0700); err != nil {
		return nil, nil, err
	}
	// The library makes its datastores in the folder for temporary files.
	if err := os.Setenv("TMPDIR", dir); err != nil {
		return nil, nil, err
	}
	model := simulator.VPX()
	if o.esx {
		model = simulator.ESX()
	}
	if model.Machine = o.machines; o.machines > 1 {
		model.Machine = 1
	}
	if err := model.Create(); err != nil {
		return nil, nil, err
	}
	s := &site{options: o, scratch: scratch, machines: make(map[string]*machine), files: make(map[string]*machineDisk)}
	if err := nameDatastores(dir); err != nil {
		return nil, nil, err
	}
	for _, original := range machinesInOrder() {
		crowd(original, o.machines)
	}
	for _, vm := range machinesInOrder() {
		if err := s.outfit(vm, make([]diskKind, o.disks)); err != nil {
			return nil, nil, err
		}
	}
	if o.odd {
		if err := s.addOddities(model.Service); err != nil {
			return nil, nil, err
		}
	}
	if len(s.machines) <= eagerMachines {
		if err := s.createFiles(); err != nil {
			return nil, nil, err
		}
	}
	instance := simulator.Map.Get(vim25.ServiceInstance).(*simulator.ServiceInstance)
	pageResults(instance.Content)
	return s, model, nil
}

// nameDatastores gives the datastores' folders their names: DIR/LocalDS_0.
func nameDatastores(dir string) error {
	for _, entity := range simulator.Map.All("Datastore") {
		datastore := entity.(*simulator.Datastore)
		info := datastore.Info.(*types.LocalDatastoreInfo)
		named := filepath.Join(dir, datastore.Name)
		if err := os.Rename(info.Url, named); err != nil {
			return err
		}
		info.Url, info.Path, datastore.Summary.Url = named, named, named
	}
	return nil
}

// inProcess is a client of the library without a network in between.
func inProcess(service *simulator.Service) (*vim25.Client, error) {
	return vim25.NewClient(context.Background(), service)
}
