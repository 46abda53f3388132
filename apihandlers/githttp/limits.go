package githttp

import (
	"time"

	"github.com/pndaproject/deployment-manager/apihandlers"
)

// Limits bound one request. How many there are at a time, of one client and in
// all, is bounded where git is started, behind dm.GitTransport. A zero field
// takes its default.
type Limits struct {
	Idle     time.Duration // that a client may stand still, in either direction; 30 s
	Duration time.Duration // of a whole request; 1 h
	Wire     int64         // bytes of a request body as sent; 16 MiB
	Expanded int64         // bytes of a request body without its compression; 64 MiB
	Push     int64         // both for the body of a push; 1 GiB
	Finish   time.Duration // for its turn and for git after the last byte of a push; 15 min
}

func (l Limits) withDefaults() Limits {
	setDefault(&l.Idle, 30*time.Second)
	setDefault(&l.Duration, time.Hour)
	setDefault(&l.Wire, 16<<20)
	setDefault(&l.Expanded, 64<<20)
	setDefault(&l.Push, 1<<30)
	setDefault(&l.Finish, 15*time.Minute)
	return l
}

// body is what the body of an operation may be.
func (l Limits) body(o operation) apihandlers.BodyLimits {
	if o.pushes() {
		l.Wire, l.Expanded = l.Push, l.Push
	}
	return apihandlers.BodyLimits{Size: l.Wire, Expanded: l.Expanded, Stall: l.Idle, Until: time.Now().Add(l.Duration)}
}

func setDefault[T int64 | time.Duration](field *T, value T) {
	if *field <= 0 {
		*field = value
	}
}
