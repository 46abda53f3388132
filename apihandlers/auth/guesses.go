package auth

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"

	dm "github.com/pndaproject/deployment-manager"
)

// How many wrong passwords are computed before a source, one source's attempts on
// one user, or all attempts on one user must wait, and how fast each gets another
// try back.
const (
	sourceTries = 30
	pairTries   = 10
	userTries   = 10
	tryEvery    = 5 * time.Second
	freshAfter  = time.Minute
	maxGuessers = 10_000 // of each sort that are kept in mind
)

// guesses slows guessing of passwords down, and locks nobody out: however many
// are guessing at a user, who has the right password gets in with it from an
// address that did not just fail. So every address has one try a minute at a
// user, whatever others do, and who has A addresses has A of them; beyond that,
// all share the tries of the user. A success costs nothing.
type guesses struct {
	places int // of one source in the line for a processor

	mu      sync.Mutex // guards what follows
	sources map[string]*source
	pairs   map[pair]*attempts // those that failed or succeeded
	users   map[dm.UserName]*rate.Limiter
}

// pair is one source trying to be one user.
type pair struct {
	source string
	user   dm.UserName
}

type attempts struct {
	tries  *rate.Limiter
	failed time.Time // the last wrong password that was computed
	good   bool      // the user was let in from there
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
	return &guesses{places: places, sources: map[string]*source{}, pairs: map[pair]*attempts{}, users: map[dm.UserName]*rate.Limiter{}}
}

// allow tells whether a guess may be looked at. A source must have tries left,
// and tries for this user. When the user's own are used up by all together, it
// must be known to be the user's, or not have failed for a while: nobody far away
// can lock the user out. A credential that held before from this source passes
// while either of the source's two has tries left, so that a bad neighbour behind
// the same address must guess at the very user to be in the way; without that
// limit an answer from memory would be a way to guess. A guess that is turned
// away for its source costs the source's tries too.
func (g *guesses) allow(a guess, now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	source, p, user := g.source(a.source), g.pairs[pair{a.source, a.user}], g.users[a.user]
	s, mine := left(source.tries, now), p == nil || left(p.tries, now)
	switch {
	case s && mine:
		return p == nil || p.good || now.Sub(p.failed) >= freshAfter || user == nil || left(user, now)
	case a.proven && p != nil && (s || mine):
		return true
	}
	source.tries.AllowN(now, 1)
	if p != nil {
		p.tries.AllowN(now, 1)
	}
	return false
}

func left(tries *rate.Limiter, now time.Time) bool { return tries.TokensAt(now) >= 1 }

// wrong charges a guess that was computed.
func (g *guesses) wrong(a guess, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.source(a.source).tries.AllowN(now, 1)
	p := g.pair(a)
	p.tries.AllowN(now, 1)
	p.failed = now
	g.user(a.user).AllowN(now, 1)
}

// right remembers that the source is one of the user's.
func (g *guesses) right(a guess) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.pair(a).good = true
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

// pair finds or makes what is kept of a source and a user; the caller holds mu.
func (g *guesses) pair(a guess) *attempts {
	key := pair{a.source, a.user}
	one, ok := g.pairs[key]
	if !ok {
		makeRoom(g.pairs)
		one = &attempts{tries: rate.NewLimiter(rate.Every(tryEvery), pairTries)}
		g.pairs[key] = one
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
// so many addresses is not held by a limit on one; the bound on processors holds
// still.
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
