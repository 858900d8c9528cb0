// Changed block tracking of one disk: which blocks were written between which
// change ids.

package main

import (
	"crypto/rand"
	"fmt"
	"strconv"
	"strings"
)

// tracking counts change ids "epoch/number" of one epoch, which ends when
// tracking is switched off or reset. Interval n holds the writes between the
// ids n-1 and n.
type tracking struct {
	epoch     string
	number    int
	intervals map[int]*blockSet
}

func newTracking() *tracking {
	var id [16]byte
	if _, err := rand.Read(id[:]); err != nil {
		panic(err)
	}
	// as hosts write it: "52 de c0 d9 b9 43 9d 10-61 d5 4c 1b e9 7b 65 63"
	return &tracking{
		epoch:     fmt.Sprintf("% x-% x", id[:8], id[8:]),
		number:    1,
		intervals: make(map[int]*blockSet),
	}
}

func (t *tracking) mark(block int64) {
	interval := t.intervals[t.number]
	if interval == nil {
		interval = new(blockSet)
		t.intervals[t.number] = interval
	}
	interval.add(block)
}

// cut ends the present interval and returns its number.
func (t *tracking) cut() int {
	t.number++
	return t.number - 1
}

// between joins the intervals after the id old up to and with the id new.
func (t *tracking) between(old, new int) *blockSet {
	changed := &blockSet{}
	for n := old + 1; n <= new; n++ {
		if interval := t.intervals[n]; interval != nil {
			changed.join(interval)
		}
	}
	return changed
}

func changeID(epoch string, number int) string {
	return fmt.Sprintf("%s/%d", epoch, number)
}

// parseChangeID splits "epoch/number".
func parseChangeID(id string) (epoch string, number int, ok bool) {
	slash := strings.LastIndexByte(id, '/')
	if slash < 1 {
		return "", 0, false
	}
	number, err := strconv.Atoi(id[slash+1:])
	return id[:slash], number, err == nil && number >= 0
}
