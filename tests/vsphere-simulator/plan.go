// What tests plan for coming requests: faults, delays and broken answers; and
// the counts of the requests that came.

package main

import (
	"fmt"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

type plan struct {
	mu     sync.Mutex
	faults map[string]*plannedFault
	delays map[string]delay
	counts map[string]int
	drops  int // folder answers to break off
	codes  plannedCode
}

// plannedFault is the fault of the next calls of one method. With task set
// the call works and its task fails.
type plannedFault struct {
	left    int
	kind    string
	message string
	task    bool
}

// delay holds back the answer or, with task set, the end of the task.
type delay struct {
	length time.Duration
	task   bool
}

// plannedCode is the HTTP status of the next folder answers.
type plannedCode struct {
	left   int
	status int
}

func newPlan() *plan {
	return &plan{faults: map[string]*plannedFault{}, delays: map[string]delay{}, counts: map[string]int{}}
}

func (p *plan) count(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.counts[name]++
}

func (p *plan) delayOf(method string) delay {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.delays[method]
}

func (p *plan) takeFault(method string) *plannedFault {
	p.mu.Lock()
	defer p.mu.Unlock()
	planned := p.faults[method]
	if planned == nil || planned.left == 0 {
		return nil
	}
	planned.left--
	return planned
}

// takeDrop says whether to break off a folder answer.
func (p *plan) takeDrop() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.drops == 0 {
		return false
	}
	p.drops--
	return true
}

// takeCode gives the planned status of a folder answer, or 0.
func (p *plan) takeCode() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.codes.left == 0 {
		return 0
	}
	p.codes.left--
	return p.codes.status
}

// build makes the vSphere fault.
func (f *plannedFault) build() (types.BaseMethodFault, error) {
	kind, ok := typeOf(f.kind)
	if !ok {
		return nil, fmt.Errorf("no vSphere type %q", f.kind)
	}
	value := reflect.New(kind)
	fault, ok := value.Interface().(types.BaseMethodFault)
	if !ok {
		return nil, fmt.Errorf("%s is not a fault", f.kind)
	}
	fillReferences(value.Elem())
	if f.message != "" {
		fault.GetMethodFault().FaultMessage = []types.LocalizableMessage{{Key: f.message}}
	}
	return fault, nil
}

// fillReferences points the references of a fault at something: clients cannot
// read empty ones.
func fillReferences(value reflect.Value) {
	for i := 0; i < value.NumField(); i++ {
		field, name := value.Field(i), value.Type().Field(i).Name
		reference, ok := field.Interface().(types.ManagedObjectReference)
		switch {
		case ok && reference.Type == "" && name == "Task":
			field.Set(reflect.ValueOf(types.ManagedObjectReference{Type: "Task", Value: "task-0"}))
		case ok && reference.Type == "":
			field.Set(reflect.ValueOf(types.ManagedObjectReference{Type: "Folder", Value: "group-d1"}))
		case !ok && value.Type().Field(i).Anonymous && field.Kind() == reflect.Struct:
			fillReferences(field)
		}
	}
}

// planned answers with a planned fault.
func (c *call) planned(planned *plannedFault) *answer {
	fault, err := planned.build()
	if err != nil {
		panic(err) // the hook checked it
	}
	if !planned.task {
		return c.fault("planned by the test", fault)
	}
	task := simulator.CreateTask(c.method.This, strings.TrimSuffix(c.method.Name, "_Task"), func(*simulator.Task) (types.AnyType, types.BaseMethodFault) {
		return nil, fault
	})
	return c.result(c.method.Name+"Response", &struct {
		Returnval types.ManagedObjectReference `xml:"returnval"`
	}{task.Run()})
}
