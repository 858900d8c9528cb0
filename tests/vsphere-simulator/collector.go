// A property collector that hands out its results in pages, as hosts do and the
// library does not.

package main

import (
	"strconv"
	"sync"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// pagingCollector stands in for the library's collector; the library makes one
// per session.
type pagingCollector struct {
	simulator.PropertyCollector

	pages sync.Mutex
	count int
	rest  map[string]remainder
}

// remainder is what a token stands for.
type remainder struct {
	objects []types.ObjectContent
	size    int
}

// pageResults puts the collector in the library's place.
func pageResults(content types.ServiceContent) {
	collector := &pagingCollector{}
	collector.Self = content.PropertyCollector
	simulator.Map.Put(collector)
}

// RetrievePropertiesEx answers with the first page.
func (p *pagingCollector) RetrievePropertiesEx(ctx *simulator.Context, r *types.RetrievePropertiesEx) soap.HasFault {
	result := p.PropertyCollector.RetrievePropertiesEx(ctx, r)
	body := result.(*methods.RetrievePropertiesExBody)
	if size := int(r.Options.MaxObjects); body.Fault_ == nil && size > 0 {
		page := p.page(remainder{objects: body.Res.Returnval.Objects, size: size})
		body.Res.Returnval = &page
	}
	return body
}

// ContinueRetrievePropertiesEx answers with the next page.
func (p *pagingCollector) ContinueRetrievePropertiesEx(_ *simulator.Context, r *types.ContinueRetrievePropertiesEx) soap.HasFault {
	rest, found := p.take(r.Token)
	if !found {
		return &methods.ContinueRetrievePropertiesExBody{Fault_: badToken()}
	}
	return &methods.ContinueRetrievePropertiesExBody{
		Res: &types.ContinueRetrievePropertiesExResponse{Returnval: p.page(rest)},
	}
}

// CancelRetrievePropertiesEx forgets the remaining pages.
func (p *pagingCollector) CancelRetrievePropertiesEx(_ *simulator.Context, r *types.CancelRetrievePropertiesEx) soap.HasFault {
	if _, found := p.take(r.Token); !found {
		return &methods.CancelRetrievePropertiesExBody{Fault_: badToken()}
	}
	return &methods.CancelRetrievePropertiesExBody{Res: &types.CancelRetrievePropertiesExResponse{}}
}

func badToken() *soap.Fault {
	return simulator.Fault("A specified parameter was not correct: token", &types.InvalidArgument{InvalidProperty: "token"})
}

// page cuts off one page and keeps the rest under a token.
func (p *pagingCollector) page(rest remainder) types.RetrieveResult {
	if len(rest.objects) <= rest.size {
		return types.RetrieveResult{Objects: rest.objects}
	}
	p.pages.Lock()
	defer p.pages.Unlock()
	p.count++
	token := strconv.Itoa(p.count)
	if p.rest == nil {
		p.rest = make(map[string]remainder)
	}
	p.rest[token] = remainder{objects: rest.objects[rest.size:], size: rest.size}
	return types.RetrieveResult{Token: token, Objects: rest.objects[:rest.size]}
}

func (p *pagingCollector) take(token string) (remainder, bool) {
	p.pages.Lock()
	defer p.pages.Unlock()
	rest, found := p.rest[token]
	delete(p.rest, token)
	return rest, found
}
