// vsphere-simulator is a vCenter or an ESXi host for tests: govmomi's simulator
// with content behind its disks, snapshots that freeze them, change tracking,
// and hooks for trouble.

package main

import (
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/vmware/govmomi/simulator"
)

func main() {
	o, err := parseOptions(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "vsphere-simulator:", err)
		os.Exit(2)
	}
	if !o.verbose {
		log.SetOutput(io.Discard)
	}
	end := watchForTheEnd(o)
	if err := run(o, end); err != nil {
		fmt.Fprintln(os.Stderr, "vsphere-simulator:", err)
		os.Exit(1)
	}
}

// run serves until the end comes.
func run(o options, end <-chan struct{}) error {
	dir, forget, err := prepareFolder(o.dir)
	if err != nil {
		return err
	}
	defer forget()
	site, model, err := buildSite(o, dir)
	if err != nil {
		return err
	}
	identity, err := newIdentity(o.listen)
	if err != nil {
		return err
	}
	server, err := serve(o, site, model, identity)
	if err != nil {
		return err
	}
	if err := announce(o.readyFile, server.Listener.Addr().String(), identity); err != nil {
		return err
	}
	<-end
	return nil
}

// serve starts the library's server and puts the gateway before it.
func serve(o options, site *site, model *simulator.Model, identity tls.Certificate) (server *simulator.Server, err error) {
	defer func() {
		if cause := recover(); cause != nil { // the library's way to say that it cannot listen
			err = fmt.Errorf("%v", cause)
		}
	}()
	model.Service.Listen = &url.URL{Host: o.listen, User: url.UserPassword(o.username, o.password)}
	model.Service.TLS = &tls.Config{Certificates: []tls.Certificate{identity}}
	server = model.Service.NewServer()
	server.Config.Handler = &gateway{
		site:     site,
		library:  server.Config.Handler,
		sessions: &sessions{user: o.username, password: o.password, ids: make(map[string]bool)},
		plan:     newPlan(),
	}
	return server, nil
}

func (g *gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method == http.MethodPost && (r.URL.Path == "/sdk" || r.URL.Path == "/sdk/vimService"):
		g.serveSOAP(w, r)
	case strings.HasPrefix(r.URL.Path, folderPrefix):
		g.serveFolder(w, r)
	case strings.HasPrefix(r.URL.Path, leasePrefix) && r.Method == http.MethodGet:
		g.serveLease(w, r)
	case strings.HasPrefix(r.URL.Path, hookPrefix):
		g.serveHook(w, r)
	default:
		g.library.ServeHTTP(w, r)
	}
}

// announce tells that the simulator is ready: where, and its certificate's
// fingerprints.
func announce(readyFile, address string, identity tls.Certificate) error {
	text := fmt.Sprintf("listening https://%s\nsha256 %s\nsha1 %s\n", address, sha256Of(identity), sha1Of(identity))
	if readyFile != "" {
		if err := os.WriteFile(readyFile+".new", []byte(text), 0600); err != nil {
			return err
		}
		if err := os.Rename(readyFile+".new", readyFile); err != nil {
			return err
		}
	}
	_, err := os.Stdout.WriteString(text)
	return err
}
