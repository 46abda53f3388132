package repair

import (
	"context"
	"crypto/rand"
	"errors"
	"os"
	"sync"
	"time"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// What a look at the disk costs, at most.
const (
	probeBytes    = 64 << 10        // more than the least change writes
	probeEvery    = 5 * time.Second // an answer serves for so long
	probePatience = 2 * time.Second // for a disk that does not answer
)

// Probe tells whether the record could write now, by writing: free space as the
// system counts it says nothing of quotas, files that are used up, or a disk that
// has failed. One look serves all who ask within some seconds; while one hangs
// there is no second.
type Probe struct {
	try      func() error
	start    func(func()) // runs a look beside its caller
	clock    func() time.Time
	patience time.Duration

	mu     sync.Mutex // guards what follows
	looked time.Time  // when the last look ended
	found  error
	look   chan struct{} // closed when the look that runs has ended; nil when none runs
}

// NewProbe writes in dir. start runs a look beside its caller.
func NewProbe(dir string, start func(func())) *Probe {
	return &Probe{try: func() error { return tryWrite(dir) }, start: start, clock: time.Now, patience: probePatience}
}

// Ready is nil when the disk takes writes. Kind Unavailable.
func (d *Probe) Ready(ctx context.Context) error {
	d.mu.Lock()
	if !d.looked.IsZero() && d.clock().Sub(d.looked) < probeEvery {
		defer d.mu.Unlock()
		return d.found
	}
	if d.look == nil {
		done := make(chan struct{})
		d.look = done
		d.start(func() { d.once(done) }) // ends with the write, which nothing can break off
	}
	look := d.look
	d.mu.Unlock()
	timer := time.NewTimer(d.patience)
	defer timer.Stop()
	select {
	case <-look:
		d.mu.Lock()
		defer d.mu.Unlock()
		return d.found
	case <-timer.C:
		return dm.Errorf(dm.Unavailable, "repair.Ready", "the disk of the data folder does not respond")
	case <-ctx.Done():
		return dm.Errorf(dm.Unavailable, "repair.Ready", "the request ended").Because(ctx.Err())
	}
}

func (d *Probe) once(done chan struct{}) {
	err := repo.DiskFault(d.try())
	d.mu.Lock()
	defer d.mu.Unlock()
	d.looked, d.found, d.look = d.clock(), err, nil
	close(done)
}

// tryWrite writes a file durably and removes it. Its bytes are random, because a
// file system may compress.
func tryWrite(dir string) (err error) {
	f, err := os.CreateTemp(dir, "ready-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	data := make([]byte, probeBytes)
	_, _ = rand.Read(data) // never fails, see crypto/rand
	if _, err := f.Write(data); err != nil {
		return err
	}
	return f.Sync()
}
