// A delta link: what the guest wrote while a snapshot froze the link below.

package main

import (
	"os"
)

// delta keeps whole blocks in an unlinked file, so that nothing of it
// survives the process.
type delta struct {
	name    string // descriptor's file name, "disk1-000001.vmdk"
	content *os.File
	blocks  blockSet
}

func newDelta(dir, name string) (*delta, error) {
	content, err := os.CreateTemp(dir, "delta-")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(content.Name()); err != nil {
		return nil, err
	}
	return &delta{name: name, content: content}, nil
}

// put stores one whole block.
func (d *delta) put(block int64, bytes []byte) error {
	if _, err := d.content.WriteAt(bytes, block*blockSize); err != nil {
		return err
	}
	d.blocks.add(block)
	return nil
}

func (d *delta) get(block int64, bytes []byte) error {
	_, err := d.content.ReadAt(bytes, block*blockSize)
	return err
}
