// The tests' own endpoint, /_test/...: the guest's hand, and trouble on demand.

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

const hookPrefix = "/_test/"

// parameters reads a hook's query and keeps the first error.
type parameters struct {
	values url.Values
	err    error
}

func (p *parameters) text(name, absent string) string {
	if value := p.values.Get(name); value != "" {
		return value
	}
	if absent == "" && p.err == nil {
		p.err = fmt.Errorf("parameter %q is missing", name)
	}
	return absent
}

func (p *parameters) number(name string, absent string) int64 {
	n, err := strconv.ParseInt(p.text(name, absent), 10, 64)
	if err != nil && p.err == nil {
		p.err = fmt.Errorf("parameter %q: %v", name, err)
	}
	return n
}

func (g *gateway) serveHook(w http.ResponseWriter, r *http.Request) {
	host, _, _ := net.SplitHostPort(r.RemoteAddr)
	if !net.ParseIP(host).IsLoopback() {
		http.Error(w, "test hooks are for this machine only", http.StatusForbidden)
		return
	}
	p := &parameters{values: r.URL.Query()}
	hook := g.hookOf(r)
	if hook == nil {
		http.NotFound(w, r)
		return
	}
	result, err := hook(p, w, r)
	if err == nil {
		err = p.err
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if result != nil {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(result)
	}
}

// hook answers with a value for JSON, or has written its answer and gives nil.
type hook func(*parameters, http.ResponseWriter, *http.Request) (interface{}, error)

func (g *gateway) hookOf(r *http.Request) hook {
	return map[string]hook{
		"POST write":    g.hookWrite,
		"POST fault":    g.hookFault,
		"POST cbtreset": g.hookReset,
		"POST drop":     g.hookDrop,
		"POST status":   g.hookStatus,
		"POST delay":    g.hookDelay,
		"POST expire":   g.hookExpire,
		"POST grow":     g.hookGrow,
		"GET snapshots": g.hookSnapshots,
		"GET disk":      g.hookDisk,
		"GET frozen":    g.hookFrozen,
		"GET calls":     g.hookCalls,
	}[r.Method+" "+r.URL.Path[len(hookPrefix):]]
}

// done is the answer of hooks that have nothing to tell.
var done = map[string]bool{"ok": true}

func (g *gateway) diskOf(p *parameters) (*machine, *disk, error) {
	id, key := p.text("vm", ""), p.number("disk", "")
	if p.err != nil {
		return nil, nil, p.err
	}
	m := g.site.machine(id)
	if m == nil || m.disks[int32(key)] == nil {
		return nil, nil, fmt.Errorf("no machine %s with the content of a disk %d", id, key)
	}
	return m, m.disks[int32(key)], m.disks[int32(key)].prepare()
}

// hookWrite is the guest writing the request's body at an offset.
func (g *gateway) hookWrite(p *parameters, _ http.ResponseWriter, r *http.Request) (interface{}, error) {
	m, d, err := g.diskOf(p)
	offset := p.number("offset", "")
	if err != nil || p.err != nil {
		return nil, err
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	return done, m.write(d.key, body, offset)
}

// hookFault plans faults: method, n, fault (a vSphere type), key (of its
// message) and task=1 to let the task fail rather than the call.
func (g *gateway) hookFault(p *parameters, _ http.ResponseWriter, _ *http.Request) (interface{}, error) {
	method := p.text("method", "")
	planned := &plannedFault{
		left:    int(p.number("n", "1")),
		kind:    p.text("fault", "SystemError"),
		message: p.values.Get("key"),
		task:    p.values.Get("task") == "1",
	}
	if _, err := planned.build(); err != nil {
		return nil, err
	}
	g.plan.mu.Lock()
	defer g.plan.mu.Unlock()
	g.plan.faults[method] = planned
	return done, nil
}

// hookReset loses the change tracking of a disk; it starts anew at once.
func (g *gateway) hookReset(p *parameters, _ http.ResponseWriter, _ *http.Request) (interface{}, error) {
	m, d, err := g.diskOf(p)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if d.tracking != nil {
		d.tracking = newTracking()
	}
	return done, nil
}

// hookDrop breaks off the next n answers of /folder in the middle.
func (g *gateway) hookDrop(p *parameters, _ http.ResponseWriter, _ *http.Request) (interface{}, error) {
	n := p.number("n", "1")
	g.plan.mu.Lock()
	defer g.plan.mu.Unlock()
	g.plan.drops = int(n)
	return done, nil
}

// hookStatus answers the next n requests of /folder with an HTTP status.
func (g *gateway) hookStatus(p *parameters, _ http.ResponseWriter, _ *http.Request) (interface{}, error) {
	code := plannedCode{left: int(p.number("n", "1")), status: int(p.number("code", "503"))}
	g.plan.mu.Lock()
	defer g.plan.mu.Unlock()
	g.plan.codes = code
	return done, nil
}

// hookDelay holds back a method's answers by ms, or with task=1 the end of its
// tasks. 0 ends it.
func (g *gateway) hookDelay(p *parameters, _ http.ResponseWriter, _ *http.Request) (interface{}, error) {
	method := p.text("method", "")
	length := time.Duration(p.number("ms", "")) * time.Millisecond
	g.plan.mu.Lock()
	defer g.plan.mu.Unlock()
	g.plan.delays[method] = delay{length: length, task: p.values.Get("task") == "1"}
	return done, nil
}

func (g *gateway) hookExpire(*parameters, http.ResponseWriter, *http.Request) (interface{}, error) {
	return map[string]int{"expired": g.sessions.expire()}, nil
}

// hookGrow sets the capacity of a disk to bytes.
func (g *gateway) hookGrow(p *parameters, _ http.ResponseWriter, _ *http.Request) (interface{}, error) {
	m, d, err := g.diskOf(p)
	size := p.number("bytes", "")
	if err != nil || p.err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := d.grow(size); err != nil {
		return nil, err
	}
	m.publish()
	return done, nil
}

// hookSnapshots lists what the library's tree of snapshots holds.
func (g *gateway) hookSnapshots(p *parameters, _ http.ResponseWriter, _ *http.Request) (interface{}, error) {
	id := p.text("vm", "")
	vm, ok := simulator.Map.Get(types.ManagedObjectReference{Type: "VirtualMachine", Value: id}).(*simulator.VirtualMachine)
	if !ok {
		return nil, fmt.Errorf("no machine %q", id)
	}
	list := []map[string]string{}
	var walk func([]types.VirtualMachineSnapshotTree)
	walk = func(tree []types.VirtualMachineSnapshotTree) {
		for _, node := range tree {
			list = append(list, map[string]string{
				"snapshot":    node.Snapshot.Value,
				"name":        node.Name,
				"description": node.Description,
			})
			walk(node.ChildSnapshotList)
		}
	}
	simulator.Map.WithLock(vm, func() {
		if vm.Snapshot != nil {
			walk(vm.Snapshot.RootSnapshotList)
		}
	})
	return list, nil
}

// hookDisk sends the disk as the guest sees it now.
func (g *gateway) hookDisk(p *parameters, w http.ResponseWriter, r *http.Request) (interface{}, error) {
	m, d, err := g.diskOf(p)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	sendView(w, r, view{d, d.depth()})
	return nil, nil
}

// hookFrozen sends the disk as a snapshot holds it.
func (g *gateway) hookFrozen(p *parameters, w http.ResponseWriter, r *http.Request) (interface{}, error) {
	m, d, err := g.diskOf(p)
	if err != nil {
		return nil, err
	}
	ref := types.ManagedObjectReference{Type: "VirtualMachineSnapshot", Value: p.text("snapshot", "")}
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.snapshot(ref)
	if s == nil || s.disks[d.key] == nil {
		return nil, fmt.Errorf("no snapshot %q of disk %d", ref.Value, d.key)
	}
	sendView(w, r, view{d, s.disks[d.key].depth})
	return nil, nil
}

func sendView(w http.ResponseWriter, r *http.Request, v view) {
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(w, r, "", time.Time{}, v.reader())
}

// hookCalls counts the SOAP calls by method and the requests for files.
func (g *gateway) hookCalls(*parameters, http.ResponseWriter, *http.Request) (interface{}, error) {
	g.plan.mu.Lock()
	defer g.plan.mu.Unlock()
	counts := make(map[string]int)
	for name, n := range g.plan.counts {
		counts[name] = n
	}
	return counts, nil
}
