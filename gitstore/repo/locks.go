package repo

import (
	"sync"

	dm "github.com/pndaproject/deployment-manager"
)

// keyLocks is one lock per repository, kept only while somebody has it or waits
// for it: requests may name any number of repositories that never were.
type keyLocks struct {
	mu   sync.Mutex
	held map[dm.Repository]*keyLock
}

type keyLock struct {
	sync.Mutex
	holders int // who have it or wait for it; guarded by keyLocks.mu
}

// hold locks a repository and returns its unlock.
func (k *keyLocks) hold(r dm.Repository) (release func()) {
	k.mu.Lock()
	l := k.held[r]
	if l == nil {
		if k.held == nil {
			k.held = map[dm.Repository]*keyLock{}
		}
		l = &keyLock{}
		k.held[r] = l
	}
	l.holders++
	k.mu.Unlock()
	l.Lock()
	return func() {
		l.Unlock()
		k.mu.Lock()
		defer k.mu.Unlock()
		if l.holders--; l.holders == 0 {
			delete(k.held, r)
		}
	}
}
