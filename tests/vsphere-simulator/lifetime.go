// When the simulator ends, and what it leaves behind: nothing outside of the
// folder it was given.

package main

import (
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
)

// PDEATHSIG belongs to the thread that asks for it: keep main on its thread.
func init() {
	runtime.LockOSThread()
}

// watchForTheEnd closes the channel on SIGTERM or SIGINT and, if asked for, at
// the end of standard input or of the parent.
func watchForTheEnd(o options) <-chan struct{} {
	end := make(chan os.Signal, 4)
	signal.Notify(end, syscall.SIGTERM, syscall.SIGINT)
	if o.exitWithParent {
		parent := os.Getppid()
		_, _, _ = syscall.RawSyscall(syscall.SYS_PRCTL, syscall.PR_SET_PDEATHSIG, uintptr(syscall.SIGTERM), 0)
		if os.Getppid() != parent || parent == 1 {
			end <- syscall.SIGTERM // it ended before we could ask
		}
	}
	if o.exitWithStdin {
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin)
			end <- syscall.SIGTERM
		}()
	}
	ended := make(chan struct{})
	go func() {
		<-end
		close(ended)
	}()
	return ended
}

// prepareFolder makes the folder for all files and says how to leave it. A
// given folder stays as it is; the library would stumble over an earlier run's
// files, so it must be empty.
func prepareFolder(given string) (dir string, forget func(), err error) {
	if given == "" {
		dir, err = os.MkdirTemp("", "vsphere-simulator-")
		return dir, func() { _ = os.RemoveAll(dir) }, err
	}
	if given, err = filepath.Abs(given); err != nil {
		return "", nil, err
	}
	if err := os.MkdirAll(given, 0700); err != nil {
		return "", nil, err
	}
	entries, err := os.ReadDir(given)
	if err != nil {
		return "", nil, err
	}
	if len(entries) != 0 {
		return "", nil, fmt.Errorf("%s is not empty", given)
	}
	return given, func() {}, nil
}
