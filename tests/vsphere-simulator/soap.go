// The SOAP endpoint: decides per method whether the library answers, the
// simulator, or both.

package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// gateway stands between the clients and the library.
type gateway struct {
	site     *site
	library  http.Handler
	sessions *sessions
	plan     *plan
}

// call is one SOAP request.
type call struct {
	gateway *gateway
	request *http.Request
	body    []byte
	method  *simulator.Method
	known   bool // has a valid session
}

// answer is what goes back to the client.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (a *answer) failed() bool { return a.status != http.StatusOK }

// extensions are the methods that the library does not answer alone.
var extensions = map[string]func(*call) *answer{
	"CreateSnapshot_Task":     createSnapshot,
	"RemoveSnapshot_Task":     removeSnapshot,
	"RemoveAllSnapshots_Task": removeAllSnapshots,
	"RevertToSnapshot_Task":   notSupported,
	"ReconfigVM_Task":         changeMachine,
	"PowerOnVM_Task":          changeMachine,
	"PowerOffVM_Task":         changeMachine,
	"ShutdownGuest":           changeMachine,
	"QueryChangedDiskAreas":   queryChangedDiskAreas,
	"FindByUuid":              findByUUID,
	"ExportVm":                exportMachine,
	"ExportSnapshot":          exportSnapshot,
}

// withoutSession are the methods for which a session is not needed.
var withoutSession = map[string]bool{
	"RetrieveServiceContent":      true,
	"Login":                       true,
	"LoginByToken":                true,
	"LoginExtensionByCertificate": true,
	"CloneSession":                true,
}

func (g *gateway) serveSOAP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	c := &call{gateway: g, request: r, body: body, known: g.sessions.known(r)}
	c.method, err = simulator.UnmarshalBody(typeOf, body)
	if err != nil {
		c.method = &simulator.Method{}
		c.pass().send(w)
		return
	}
	c.answer().send(w)
}

// typeOf finds the Go type of a vSphere type, whatever prefix it came with.
func typeOf(name string) (reflect.Type, bool) {
	return types.TypeFunc()(name[strings.LastIndexByte(name, ':')+1:])
}

func (c *call) answer() *answer {
	plan := c.gateway.plan
	plan.count(c.method.Name)
	if !c.known && !withoutSession[c.method.Name] && c.method.This.Type != "ServiceInstance" {
		return c.fault("The session is not authenticated.", &types.NotAuthenticated{NoPermission: types.NoPermission{
			Object:      c.method.This,
			PrivilegeId: "System.View",
		}})
	}
	delay := plan.delayOf(c.method.Name)
	if !delay.task {
		time.Sleep(delay.length)
	}
	if fault := plan.takeFault(c.method.Name); fault != nil {
		return c.planned(fault)
	}
	var a *answer
	if extension := extensions[c.method.Name]; extension != nil {
		a = extension(c)
	} else {
		a = c.pass()
	}
	if delay.task {
		c.holdTask(a, delay.length)
	}
	return a
}

// pass lets the library answer. Its panics, such as those on reading a property
// that is not set by Fetch, become what a host would say.
func (c *call) pass() (a *answer) {
	defer func() {
		cause := recover()
		switch {
		case cause == nil:
		case c.method.Name == "Fetch":
			a = c.result("FetchResponse", &struct{}{})
		default:
			a = c.fault(fmt.Sprint(cause), &types.InvalidState{})
		}
	}()
	request := c.request.Clone(c.request.Context())
	request.Body = io.NopCloser(bytes.NewReader(c.body))
	if !c.known {
		request.Header.Del("Cookie") // the library may still know a session that expired here
	}
	recorder := httptest.NewRecorder()
	c.gateway.library.ServeHTTP(recorder, request)
	a = &answer{status: recorder.Code, header: recorder.Header(), body: recorder.Body.Bytes()}
	c.gateway.sessions.watch(c, a)
	return a
}

func (a *answer) send(w http.ResponseWriter) {
	for name, values := range a.header {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Type", "text/xml; charset=utf-8")
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body)
}
