// The command line.

package main

import (
	"errors"
	"flag"
)

type options struct {
	listen         string
	readyFile      string
	username       string
	password       string
	dir            string
	esx            bool
	odd            bool
	verbose        bool
	lockRunning    bool
	exitWithStdin  bool
	exitWithParent bool
	machines       int
	disks          int
	diskSize       int64
	maxExtents     int
}

func parseOptions(arguments []string) (options, error) {
	var o options
	flags := flag.NewFlagSet("vsphere-simulator", flag.ContinueOnError)
	flags.StringVar(&o.listen, "l", "127.0.0.1:0", "`host:port` to listen on; port 0 takes a free one")
	flags.StringVar(&o.readyFile, "ready-file", "", "`file` for the lines that standard output gets once ready")
	flags.StringVar(&o.username, "username", "root", "user `name` to log in")
	flags.StringVar(&o.password, "password", "secret", "`password` to log in")
	flags.StringVar(&o.dir, "dir", "", "empty `folder` for the datastore's files; without it a temporary one, removed at the end")
	flags.BoolVar(&o.esx, "esx", false, "a stand-alone ESXi host instead of a vCenter")
	flags.BoolVar(&o.odd, "odd", false, "add virtual machines of odd kinds")
	flags.BoolVar(&o.verbose, "verbose", false, "the library's messages on standard error")
	flags.BoolVar(&o.lockRunning, "lock-running", false, "answer 500 for the flat file that a running machine writes to, as hosts do")
	flags.BoolVar(&o.exitWithStdin, "exit-with-stdin", false, "end when standard input ends")
	flags.BoolVar(&o.exitWithParent, "exit-with-parent", false, "end with the thread that started the simulator")
	flags.IntVar(&o.machines, "vms", 2, "virtual machines per host (ESXi) or pool (vCenter: two pools)")
	flags.IntVar(&o.disks, "disks", 1, "disks per virtual machine, 1 to 15")
	flags.Int64Var(&o.diskSize, "disk-size", 64<<20, "size of a disk in `bytes`")
	flags.IntVar(&o.maxExtents, "max-extents", 2000, "most extents in one answer of QueryChangedDiskAreas")
	if err := flags.Parse(arguments); err != nil {
		return o, err
	}
	switch {
	case flags.NArg() > 0:
		return o, errors.New("unexpected arguments")
	case o.disks < 1 || o.disks > 15:
		return o, errors.New("-disks must be 1 to 15")
	case o.diskSize < 1024 || o.diskSize%1024 != 0:
		return o, errors.New("-disk-size must be a multiple of 1024")
	case o.maxExtents < 1:
		return o, errors.New("-max-extents must be at least 1")
	case o.machines < 0:
		return o, errors.New("-vms must not be negative")
	}
	return o, nil
}
