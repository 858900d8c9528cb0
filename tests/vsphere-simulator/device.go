// The virtual hardware that the library's machines are fitted with.

package main

import (
	"crypto/sha256"
	"fmt"
	"path"
	"strconv"
	"strings"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/types"
)

const (
	controllerKey = 1000
	firstDiskKey  = 2000
	firstNicKey   = 4000
)

// diskKind says what sort of disk a device is.
type diskKind int

const (
	plainDisk diskKind = iota
	independentDisk
	rawDisk
)

// newDisk makes the n-th disk of a machine whose configuration file is vmx.
func newDisk(vmx object.DatastorePath, datastore types.ManagedObjectReference, n int, kind diskKind, size int64) *types.VirtualDisk {
	unit := int32(n)
	if unit >= 7 {
		unit++ // 7 is the controller itself
	}
	file := object.DatastorePath{
		Datastore: vmx.Datastore,
		Path:      path.Join(path.Dir(vmx.Path), fmt.Sprintf("disk%d.vmdk", n+1)),
	}
	device := &types.VirtualDisk{VirtualDevice: types.VirtualDevice{
		Key:           firstDiskKey + int32(n),
		ControllerKey: controllerKey,
		UnitNumber:    &unit,
		DeviceInfo:    &types.Description{Label: fmt.Sprintf("Hard disk %d", n+1)},
		Backing:       newBacking(file.String(), datastore, kind),
	}}
	setCapacity(device, size)
	return device
}

func newBacking(file string, datastore types.ManagedObjectReference, kind diskKind) types.BaseVirtualDeviceBackingInfo {
	info := types.VirtualDeviceFileBackingInfo{FileName: file, Datastore: &datastore}
	if kind == rawDisk {
		return &types.VirtualDiskRawDiskMappingVer1BackingInfo{
			VirtualDeviceFileBackingInfo: info,
			LunUuid:                      "02000000006000c29" + strings.ReplaceAll(uuidOf(file), "-", "")[:24],
			DeviceName:                   "vml.0200000000" + strings.ReplaceAll(uuidOf(file), "-", ""),
			CompatibilityMode:            string(types.VirtualDiskCompatibilityModePhysicalMode),
			Uuid:                         uuidOf(file),
		}
	}
	mode := types.VirtualDiskModePersistent
	if kind == independentDisk {
		mode = types.VirtualDiskModeIndependent_persistent
	}
	return &types.VirtualDiskFlatVer2BackingInfo{
		VirtualDeviceFileBackingInfo: info,
		DiskMode:                     string(mode),
		ThinProvisioned:              types.NewBool(true),
		WriteThrough:                 types.NewBool(false),
		Split:                        types.NewBool(false),
		Uuid:                         uuidOf(file),
	}
}

// uuidOf derives a disk's uuid, in VMware's own range, from its file's name.
func uuidOf(file string) string {
	sum := sha256.Sum256([]byte(file))
	return fmt.Sprintf("6000C29%x-%x-%x-%x-%x", sum[0]&0xf, sum[1:3], sum[3:5], sum[5:7], sum[7:13])
}

func setCapacity(device *types.VirtualDisk, size int64) {
	device.CapacityInBytes, device.CapacityInKB = size, size/1024
	label := device.DeviceInfo.GetDescription().Label
	device.DeviceInfo = &types.Description{Label: label, Summary: thousands(size/1024) + " KB"}
}

// thousands writes 65536 as 65,536.
func thousands(n int64) string {
	digits := strconv.FormatInt(n, 10)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// newController is the one SCSI controller of a machine.
func newController() *types.ParaVirtualSCSIController {
	controller := &types.ParaVirtualSCSIController{}
	controller.Key = controllerKey
	controller.ControllerKey = 100
	controller.UnitNumber = types.NewInt32(3)
	controller.DeviceInfo = &types.Description{Label: "SCSI controller 0", Summary: "VMware paravirtual SCSI"}
	controller.SharedBus = types.VirtualSCSISharingNoSharing
	controller.ScsiCtlrUnitNumber = 7
	return controller
}

// ownMAC is the n-th address of the range that VMware lets administrators use.
func ownMAC(n int) string {
	return fmt.Sprintf("00:50:56:%02x:%02x:%02x", n>>16&0x3f, n>>8&0xff, n&0xff)
}
