// Sets of 64 KiB blocks of a disk, and the extents they make.

package main

import (
	"math/bits"

	"github.com/vmware/govmomi/vim25/types"
)

// blockSize is the granularity of deltas and of change tracking.
const blockSize = 64 << 10

// blockSet is a set of block numbers; the zero value is empty.
type blockSet struct {
	words []uint64
}

func (s *blockSet) add(block int64) {
	for int64(len(s.words)) <= block/64 {
		s.words = append(s.words, 0)
	}
	s.words[block/64] |= 1 << (uint(block) % 64)
}

func (s *blockSet) has(block int64) bool {
	return block/64 < int64(len(s.words)) && s.words[block/64]&(1<<(uint(block)%64)) != 0
}

func (s *blockSet) join(other *blockSet) {
	for len(s.words) < len(other.words) {
		s.words = append(s.words, 0)
	}
	for i, word := range other.words {
		s.words[i] |= word
	}
}

func (s *blockSet) clone() *blockSet {
	return &blockSet{words: append([]uint64(nil), s.words...)}
}

// next returns the first member at or after block.
func (s *blockSet) next(block int64) (int64, bool) {
	for i := block / 64; i < int64(len(s.words)); i++ {
		word := s.words[i]
		if i == block/64 {
			word &= ^uint64(0) << (uint(block) % 64)
		}
		if word != 0 {
			return i*64 + int64(bits.TrailingZeros64(word)), true
		}
	}
	return 0, false
}

// extents lists at most max extents of the set from start on, joined where
// they touch and clipped at capacity. The second result is the offset up to
// which the list is complete: capacity, or the end of the last extent.
func (s *blockSet) extents(start, capacity int64, max int) ([]types.DiskChangeExtent, int64) {
	var list []types.DiskChangeExtent
	at := start
	for at < capacity {
		block, found := s.next(at / blockSize)
		if !found || block*blockSize >= capacity {
			break
		}
		if len(list) == max {
			return list, at
		}
		from := block * blockSize
		if from < start {
			from = start
		}
		for s.has(block) {
			block++
		}
		at = block * blockSize
		if at > capacity {
			at = capacity
		}
		list = append(list, types.DiskChangeExtent{Start: from, Length: at - from})
	}
	return list, capacity
}

// eachBlock calls visit for every block that [offset, offset+length) touches,
// with the part of the range that lies in it.
func eachBlock(offset, length int64, visit func(block, from, to int64) error) error {
	for at := offset; at < offset+length; {
		block := at / blockSize
		to := (block + 1) * blockSize
		if to > offset+length {
			to = offset + length
		}
		if err := visit(block, at, to); err != nil {
			return err
		}
		at = to
	}
	return nil
}
