// The text files that describe a disk's links in the datastore.

package main

import (
	"fmt"
	"path/filepath"
	"strings"
)

func (d *disk) descriptor() []byte {
	return []byte(fmt.Sprintf(`# Disk DescriptorFile
version=1
encoding="UTF-8"
CID=fffffffe
parentCID=ffffffff
createType="vmfs"

# Extent description
RW %d VMFS "%s"

# The Disk Data Base
#DDB

ddb.adapterType = "lsilogic"
ddb.geometry.cylinders = "%d"
ddb.geometry.heads = "255"
ddb.geometry.sectors = "63"
ddb.thinProvisioned = "1"
ddb.virtualHWVersion = "13"
`, d.capacity/512, filepath.Base(d.flat()), d.capacity/512/255/63))
}

// deltaDescriptor describes the delta name above the present chain. Its
// extent is not served: the running VM holds it.
func (d *disk) deltaDescriptor(name string) []byte {
	parent := d.name
	if depth := len(d.deltas); depth > 0 {
		parent = d.deltas[depth-1].name
	}
	return []byte(fmt.Sprintf(`# Disk DescriptorFile
version=1
encoding="UTF-8"
CID=fffffffe
parentCID=fffffffe
createType="vmfsSparse"
parentFileNameHint="%s"

# Extent description
RW %d VMFSSPARSE "%s-delta.vmdk"
`, parent, d.capacity/512, strings.TrimSuffix(name, ".vmdk")))
}
