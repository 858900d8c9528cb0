// FindByUuid, which the library fails at when a machine has no configuration.

package main

import (
	"github.com/vmware/govmomi/vim25/types"
)

func findByUUID(c *call) *answer {
	request := c.method.Body.(*types.FindByUuid)
	if !request.VmSearch {
		return c.pass()
	}
	response := &types.FindByUuidResponse{}
	for _, m := range c.gateway.site.machines {
		if m.vm.Config == nil {
			continue
		}
		uuid := m.vm.Config.Uuid
		if request.InstanceUuid != nil && *request.InstanceUuid {
			uuid = m.vm.Config.InstanceUuid
		}
		if uuid == request.Uuid {
			ref := m.vm.Self
			response.Returnval = &ref
		}
	}
	return c.result("FindByUuidResponse", response)
}
