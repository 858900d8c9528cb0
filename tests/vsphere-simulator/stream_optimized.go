// Writes a disk as a streamOptimized VMDK: compressed grains with markers, in
// one pass, its directory at the end.

package main

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"fmt"
	"io"
)

const (
	sectorSize    = 512
	grainSectors  = 128 // of 64 KiB
	grainsPerBand = 512 // entries of one grain table
	overhead      = 128 // sectors before the first grain
	directoryLast = ^uint64(0)
)

// Kinds of markers.
const (
	markEnd = iota
	markTable
	markDirectory
	markFooter
)

// sparseHeader is the first sector, and again the footer.
type sparseHeader struct {
	Magic              [4]byte
	Version, Flags     uint32
	Capacity           uint64
	GrainSize          uint64
	DescriptorOffset   uint64
	DescriptorSize     uint64
	EntriesPerTable    uint32
	RedundantDirectory uint64
	Directory          uint64
	Overhead           uint64
	Unclean            byte
	LineEnds           [4]byte
	Compression        uint16
	Padding            [433]byte
}

func newSparseHeader(capacity int64, directory uint64) *sparseHeader {
	return &sparseHeader{
		Magic:            [4]byte{'K', 'D', 'M', 'V'},
		Version:          3,
		Flags:            0x30001, // line ends can be checked, compressed, with markers
		Capacity:         uint64(capacity / sectorSize),
		GrainSize:        grainSectors,
		DescriptorOffset: 1,
		DescriptorSize:   20,
		EntriesPerTable:  grainsPerBand,
		Directory:        directory,
		Overhead:         overhead,
		LineEnds:         [4]byte{'\n', ' ', '\r', '\n'},
		Compression:      1,
	}
}

// sectorWriter counts what it wrote and pads to sectors.
type sectorWriter struct {
	out  io.Writer
	at   int64
	fail error
}

func (s *sectorWriter) write(parts ...interface{}) {
	var bundle bytes.Buffer
	for _, part := range parts {
		if s.fail == nil {
			s.fail = binary.Write(&bundle, binary.LittleEndian, part)
		}
	}
	if rest := bundle.Len() % sectorSize; rest != 0 {
		bundle.Write(make([]byte, sectorSize-rest))
	}
	if s.fail == nil {
		_, s.fail = s.out.Write(bundle.Bytes())
	}
	s.at += int64(bundle.Len())
}

func (s *sectorWriter) sector() uint32 { return uint32(s.at / sectorSize) }

// mark writes a marker before sectors of metadata.
func (s *sectorWriter) mark(sectors int, kind uint32) {
	s.write(uint64(sectors), uint32(0), kind)
}

func writeStreamOptimized(out io.Writer, disk *io.SectionReader) error {
	capacity := disk.Size()
	s := &sectorWriter{out: out}
	s.write(newSparseHeader(capacity, directoryLast))
	s.write(append(streamDescriptor(capacity), make([]byte, overhead*sectorSize)...)[:(overhead-1)*sectorSize])
	var directory []uint32
	for at := int64(0); at < capacity && s.fail == nil; at += grainsPerBand * grainSectors * sectorSize {
		directory = append(directory, writeBand(s, disk, at))
	}
	s.mark((len(directory)*4+sectorSize-1)/sectorSize, markDirectory)
	place := uint64(s.sector())
	s.write(directory)
	s.mark(1, markFooter)
	s.write(newSparseHeader(capacity, place))
	s.mark(0, markEnd)
	return s.fail
}

// writeBand writes the grains of one table and the table, and returns the
// table's sector, or 0 when all are empty.
func writeBand(s *sectorWriter, disk *io.SectionReader, start int64) uint32 {
	table := make([]uint32, grainsPerBand)
	any := false
	for i := range table {
		grain := make([]byte, grainSectors*sectorSize)
		at := start + int64(i)*int64(len(grain))
		n, err := disk.ReadAt(grain, at)
		if err != nil && err != io.EOF {
			s.fail = err
			return 0
		}
		if len(bytes.TrimLeft(grain[:n], "\x00")) == 0 {
			continue
		}
		var packed bytes.Buffer
		deflate := zlib.NewWriter(&packed)
		_, _ = deflate.Write(grain) // to memory
		_ = deflate.Close()
		table[i], any = s.sector(), true
		s.write(uint64(at/sectorSize), uint32(packed.Len()), packed.Bytes())
	}
	if !any {
		return 0
	}
	s.mark(grainsPerBand*4/sectorSize, markTable)
	place := s.sector()
	s.write(table)
	return place
}

func streamDescriptor(capacity int64) []byte {
	return []byte(fmt.Sprintf(`# Disk DescriptorFile
version=1
CID=fffffffe
parentCID=ffffffff
createType="streamOptimized"

# Extent description
RW %d SPARSE "disk.vmdk"

# The Disk Data Base
#DDB

ddb.adapterType = "lsilogic"
ddb.geometry.cylinders = "%d"
ddb.geometry.heads = "255"
ddb.geometry.sectors = "63"
ddb.virtualHWVersion = "13"
`, capacity/sectorSize, capacity/sectorSize/255/63))
}
