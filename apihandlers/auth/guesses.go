package auth

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"

	dm "github.com/pndaproject/deployment-manager"
)

// How many wrong passwords are computed before a source, or the attempts on one
// user, must wait, and how fast each gets another try back.
const (
	sourceTries = 30
	userTries   = 10
	tryEvery    = 5 * time.Second
	maxGuessers = 10_000 // of each sort that are kept in mind
)

// guesses slows guessing of passwords down. Every failure costs a try of the
// source it came from and of the user it was for; a success costs nothing.
type guesses struct {
	places int // of one source in the line for a processor

	mu      sync.Mutex // guards what follows
	sources map[string]*source
	users   map[dm.UserName]*rate.Limiter
}

type source struct {
	tries *rate.Limiter
	line  chan struct{} // as many as places wait or compute
}

// guess is one attempt to sign in.
type guess struct {
	source  string
	user    dm.UserName
	proven  bool // the same credential held before, from the same source
	foreign bool // its form says that it may be a secret that nobody can guess
}

func newGuesses(places int) *guesses {
	return &guesses{places: places, sources: map[string]*source{}, users: map[dm.UserName]*rate.Limiter{}}
}

// allow tells whether a guess may be looked at. Whoever was let in from this
// source before is turned away only while both the source and the user are out
// of tries: neither a bad neighbour behind the same address nor somebody far
// away who tries to be them locks them out, and yet an answer from memory is no
// way to guess without limit. A guess that is turned away costs its tries too.
func (g *guesses) allow(a guess, now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	source, user := g.source(a.source), g.user(a.user)
	s, u := source.tries.TokensAt(now) >= 1, user.TokensAt(now) >= 1
	if s && u || a.proven && (s || u) {
		return true
	}
	source.tries.AllowN(now, 1)
	user.AllowN(now, 1)
	return false
}

// wrong charges a guess that was computed.
func (g *guesses) wrong(a guess, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.source(a.source).tries.AllowN(now, 1)
	g.user(a.user).AllowN(now, 1)
}

// allowSource is allow for secrets that nobody can guess. Tries of a user would
// protect nothing there, and anybody could use them up to lock the user out; what
// is left is to bound what one source may make the server ask elsewhere.
func (g *guesses) allowSource(source string, proven bool, now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return proven || g.source(source).tries.TokensAt(now) >= 1
}

// wrongSource charges the source of such a secret.
func (g *guesses) wrongSource(source string, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.source(source).tries.AllowN(now, 1)
}

// turn waits for one of the source's places and then for one of the slots of
// all, so that one source has at most its places in the line.
func (g *guesses) turn(ctx context.Context, source string, slots chan struct{}, wait time.Duration) (release func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	leave, err := g.enter(ctx, source)
	if err != nil {
		return nil, err
	}
	select {
	case slots <- struct{}{}:
		return func() { <-slots; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
}

// enter takes one of the source's places in the line.
func (g *guesses) enter(ctx context.Context, source string) (leave func(), err error) {
	g.mu.Lock()
	line := g.source(source).line
	g.mu.Unlock()
	select {
	case line <- struct{}{}:
		return func() { <-line }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// source finds or makes what is kept of a source; the caller holds mu.
func (g *guesses) source(key string) *source {
	one, ok := g.sources[key]
	if !ok {
		makeRoom(g.sources)
		one = &source{rate.NewLimiter(rate.Every(tryEvery), sourceTries), make(chan struct{}, g.places)}
		g.sources[key] = one
	}
	return one
}

// user finds or makes the tries of a user; the caller holds mu.
func (g *guesses) user(name dm.UserName) *rate.Limiter {
	tries, ok := g.users[name]
	if !ok {
		makeRoom(g.users)
		tries = rate.NewLimiter(rate.Every(tryEvery), userTries)
		g.users[name] = tries
	}
	return tries
}

// makeRoom forgets half of a full list, whoever comes first. An attacker with
// so many addresses is not held by a limit on one; the user's limit and the
// bound on processors hold still.
func makeRoom[K comparable, V any](list map[K]V) {
	if len(list) < maxGuessers {
		return
	}
	for key := range list {
		if delete(list, key); len(list) <= maxGuessers/2 {
			return
		}
	}
}

// sourceOf reduces an address to what one person has: of IPv6 that is a
// network, not an address.
func sourceOf(address string) string {
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return address
	}
	if ip = ip.Unmap().WithZone(""); ip.Is4() {
		return ip.String()
	}
	return netip.PrefixFrom(ip, 64).Masked().String()
}
