// The content of one virtual disk: a flat file and the deltas above it.

package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// disk is what the guest sees of one virtual disk. Depth d of its chain is the
// flat file and the first d deltas; a snapshot freezes a depth, the guest
// writes to the deepest one.
type disk struct {
	mu         sync.RWMutex
	key        int32
	folder     string // of the VM in the datastore
	name       string // descriptor's file name, "disk1.vmdk"
	scratch    string // folder for the deltas' content
	capacity   int64
	created    bool // the files are there
	freezes    bool // takes part in snapshots; independent and raw disks do not
	deltas     []*delta
	deltaCount int
	written    blockSet // blocks that were ever written
	tracking   *tracking
}

func (d *disk) flat() string {
	return filepath.Join(d.folder, strings.TrimSuffix(d.name, ".vmdk")+"-flat.vmdk")
}

// prepare makes the files at the first use.
func (d *disk) prepare() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.created {
		return nil
	}
	return d.create()
}

// create makes the descriptor and the sparse flat file, or fits them to the
// capacity.
func (d *disk) create() error {
	if err := os.MkdirAll(d.folder, 0700); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(d.folder, d.name), d.descriptor(), 0600); err != nil {
		return err
	}
	file, err := os.OpenFile(d.flat(), os.O_RDWR|os.O_CREATE, 0600)
	if err != nil {
		return err
	}
	defer file.Close()
	d.created = true
	return file.Truncate(d.capacity)
}

func (d *disk) depth() int {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return len(d.deltas)
}

// readAt fills p from offset as seen at depth; the caller keeps within capacity.
func (d *disk) readAt(p []byte, offset int64, depth int) error {
	flat, err := os.Open(d.flat())
	if err != nil {
		return err
	}
	defer flat.Close()
	return eachBlock(offset, int64(len(p)), func(block, from, to int64) error {
		var source io.ReaderAt = flat
		for i := depth - 1; i >= 0; i-- {
			if d.deltas[i].blocks.has(block) {
				source = d.deltas[i].content
				break
			}
		}
		_, err := source.ReadAt(p[from-offset:to-offset], from)
		return err
	})
}

// write is the guest's write.
func (d *disk) write(p []byte, offset int64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if offset < 0 || offset+int64(len(p)) > d.capacity {
		return fmt.Errorf("write of %d bytes at %d leaves the disk of %d bytes", len(p), offset, d.capacity)
	}
	err := eachBlock(offset, int64(len(p)), func(block, from, to int64) error {
		d.written.add(block)
		if d.tracking != nil {
			d.tracking.mark(block)
		}
		return d.writeBlock(block, p[from-offset:to-offset], from)
	})
	return err
}

// writeBlock writes a part of one block to the deepest link, which needs the
// whole block first if it is a delta.
func (d *disk) writeBlock(block int64, part []byte, offset int64) error {
	depth := len(d.deltas)
	if depth == 0 {
		return d.writeFlat(part, offset)
	}
	whole := make([]byte, d.blockLength(block))
	if err := d.readAt(whole, block*blockSize, depth); err != nil {
		return err
	}
	copy(whole[offset-block*blockSize:], part)
	return d.deltas[depth-1].put(block, whole)
}

func (d *disk) writeFlat(part []byte, offset int64) error {
	flat, err := os.OpenFile(d.flat(), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer flat.Close()
	_, err = flat.WriteAt(part, offset)
	return err
}

// blockLength is short for the last block of an uneven capacity.
func (d *disk) blockLength(block int64) int64 {
	if rest := d.capacity - block*blockSize; rest < blockSize {
		return rest
	}
	return blockSize
}

// freeze starts a new delta and returns the depth that no longer changes.
func (d *disk) freeze() (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.deltaCount++
	name := fmt.Sprintf("%s-%06d.vmdk", strings.TrimSuffix(d.name, ".vmdk"), d.deltaCount)
	next, err := newDelta(d.scratch, name)
	if err != nil {
		return 0, err
	}
	if err := os.WriteFile(filepath.Join(d.folder, name), d.deltaDescriptor(name), 0600); err != nil {
		return 0, err
	}
	d.deltas = append(d.deltas, next)
	return len(d.deltas) - 1, nil
}

// merge writes the delta above depth into the link below it.
func (d *disk) merge(depth int) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	upper := d.deltas[depth]
	for block, found := upper.blocks.next(0); found; block, found = upper.blocks.next(block + 1) {
		whole := make([]byte, d.blockLength(block))
		if err := upper.get(block, whole); err != nil {
			return err
		}
		err := error(nil)
		if depth == 0 {
			err = d.writeFlat(whole, block*blockSize)
		} else {
			err = d.deltas[depth-1].put(block, whole)
		}
		if err != nil {
			return err
		}
	}
	d.deltas = append(d.deltas[:depth:depth], d.deltas[depth+1:]...)
	_ = os.Remove(filepath.Join(d.folder, upper.name))
	return upper.content.Close()
}

// grow changes the capacity of a disk without snapshots.
func (d *disk) grow(capacity int64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.deltas) != 0 || capacity < d.capacity || capacity%512 != 0 {
		return fmt.Errorf("cannot grow %s from %d to %d bytes with %d deltas", d.name, d.capacity, capacity, len(d.deltas))
	}
	d.capacity = capacity
	return d.create()
}

// view reads the disk at one depth of its chain.
type view struct {
	disk  *disk
	depth int
}

func (v view) ReadAt(p []byte, offset int64) (int, error) {
	v.disk.mu.RLock()
	defer v.disk.mu.RUnlock()
	if v.depth > len(v.disk.deltas) {
		return 0, fmt.Errorf("%s has no link at depth %d any more", v.disk.name, v.depth)
	}
	short := error(nil)
	if rest := v.disk.capacity - offset; int64(len(p)) > rest {
		if rest < 0 {
			rest = 0
		}
		p, short = p[:rest], io.EOF
	}
	if err := v.disk.readAt(p, offset, v.depth); err != nil {
		return 0, err
	}
	return len(p), short
}

func (v view) reader() *io.SectionReader {
	v.disk.mu.RLock()
	defer v.disk.mu.RUnlock()
	return io.NewSectionReader(v, 0, v.disk.capacity)
}
