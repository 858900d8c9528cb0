// The datastores' files over HTTPS: /folder/PATH?dcPath=...&dsName=...

package main

import (
	"io"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

const folderPrefix = "/folder/"

func (g *gateway) serveFolder(w http.ResponseWriter, r *http.Request) {
	g.plan.count("folder " + r.Method)
	if !g.sessions.mayRead(r) {
		w.Header().Set("WWW-Authenticate", `Basic realm="VMware HTTP server"`)
		http.Error(w, "not authenticated", http.StatusUnauthorized)
		return
	}
	if code := g.plan.takeCode(); code != 0 {
		http.Error(w, "planned by the test", code)
		return
	}
	query := r.URL.Query()
	root := datastoreFolder(query.Get("dcPath"), query.Get("dsName"))
	if root == "" {
		http.Error(w, "no such datastore", http.StatusNotFound)
		return
	}
	// Cleaning an absolute path keeps it below the datastore.
	name := filepath.Join(root, path.Clean("/"+strings.TrimPrefix(r.URL.Path, folderPrefix)))
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		g.sendFile(w, r, name)
	case http.MethodPut:
		storeFile(w, r, name)
	default:
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
	}
}

// datastoreFolder finds the local folder of a datastore. A stand-alone host
// needs no dcPath.
func datastoreFolder(dcPath, dsName string) string {
	for _, entity := range simulator.Map.All("Datastore") {
		datastore := entity.(*simulator.Datastore)
		if datastore.Name != dsName {
			continue
		}
		if dcPath == datacenterPath(datastore) || dcPath == "" && simulator.Map.IsESX() {
			return datastore.Info.GetDatastoreInfo().Url
		}
	}
	return ""
}

// datacenterPath is the inventory path of the datacenter that holds the entity.
func datacenterPath(entity mo.Entity) string {
	names := []string{}
	inside := false
	for entity.Entity().Parent != nil {
		inside = inside || entity.Reference().Type == "Datacenter"
		if inside {
			names = append([]string{entity.Entity().Name}, names...)
		}
		parent, ok := simulator.Map.Get(*entity.Entity().Parent).(mo.Entity)
		if !ok {
			break
		}
		entity = parent
	}
	return strings.Join(names, "/")
}

func (g *gateway) sendFile(w http.ResponseWriter, r *http.Request, name string) {
	if disk := g.site.files[name]; disk != nil {
		if err := disk.disk.prepare(); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		if g.site.options.lockRunning && name == disk.disk.flat() && disk.locked() {
			http.Error(w, "file is locked", http.StatusInternalServerError)
			return
		}
	}
	file, err := os.Open(name)
	if err != nil {
		http.Error(w, "no such file", http.StatusNotFound)
		return
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil || info.IsDir() {
		http.Error(w, "no such file", http.StatusNotFound)
		return
	}
	if r.Method == http.MethodGet && g.plan.takeDrop() {
		w = &breakingWriter{ResponseWriter: w}
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(w, r, "", info.ModTime(), file)
}

// locked says whether the running machine writes to this link.
func (d *machineDisk) locked() bool {
	return d.machine.vm.Runtime.PowerState != types.VirtualMachinePowerStatePoweredOff && d.disk.depth() == 0
}

func storeFile(w http.ResponseWriter, r *http.Request, name string) {
	if err := os.MkdirAll(filepath.Dir(name), 0700); err != nil {
		http.Error(w, "cannot create the folder", http.StatusInternalServerError)
		return
	}
	file, err := os.Create(name)
	if err != nil {
		http.Error(w, "cannot create the file", http.StatusInternalServerError)
		return
	}
	defer file.Close()
	if _, err := io.Copy(file, r.Body); err != nil {
		http.Error(w, "cannot write the file", http.StatusInternalServerError)
		return
	}
	w.WriteHeader(http.StatusCreated)
}

// breakingWriter ends the connection after half of the announced body.
type breakingWriter struct {
	http.ResponseWriter
	sent int64
}

func (b *breakingWriter) Write(p []byte) (int, error) {
	length, _ := strconv.ParseInt(b.Header().Get("Content-Length"), 10, 64)
	rest := length/2 - b.sent
	if rest >= int64(len(p)) {
		n, err := b.ResponseWriter.Write(p)
		b.sent += int64(n)
		return n, err
	}
	_, _ = b.ResponseWriter.Write(p[:rest])
	if flusher, ok := b.ResponseWriter.(http.Flusher); ok {
		flusher.Flush()
	}
	panic(http.ErrAbortHandler)
}
