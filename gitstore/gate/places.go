package gate

import (
	"io"
	"time"
)

// newGate gives one client a quarter of the places.
func newGate(what string, places int, queue int64, wait time.Duration) *Gate {
	return New(Config{What: what, Places: places, Each: max(1, places/4), Queue: queue, Wait: wait})
}

// Leaving is an archive that gives its place back when it is closed.
type Leaving struct {
	io.ReadSeekCloser
	Leave func()
}

// Close implements io.Closer.
func (l *Leaving) Close() error {
	defer l.Leave()
	return l.ReadSeekCloser.Close()
}

// Places are how many requests of each kind are worked on at once. A zero field
// takes its default.
type Places struct {
	Downloads int // of archives, at the pace of their clients; 128
	Uploads   int // at the pace of their clients, about 16 MiB of memory each; 16
	Receiving int // of pushes, from their first byte at the pace of their clients to their end; 32
	Readers   int // of histories and differences; 8
}

func (p Places) withDefaults() Places {
	for _, field := range []struct {
		to    *int
		value int
	}{{&p.Downloads, 128}, {&p.Uploads, 16}, {&p.Receiving, 32}, {&p.Readers, 8}} {
		if *field.to <= 0 {
			*field.to = field.value
		}
	}
	return p
}

// Gates are the doors of the record that hold work back.
type Gates struct{ Downloads, Uploads, Receiving, Readers *Gate }

// NewGates opens them.
func NewGates(p Places) Gates {
	p = p.withDefaults()
	return Gates{
		Downloads: newGate("downloads", p.Downloads, 1024, time.Minute),
		Uploads:   newGate("uploads", p.Uploads, 256, time.Minute),
		Receiving: newGate("pushes", p.Receiving, 256, 5*time.Minute), // git's clients do not try again
		Readers:   newGate("questions about history", p.Readers, 512, 30*time.Second),
	}
}
