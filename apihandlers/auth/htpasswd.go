package auth

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"log/slog"
	"maps"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/bcrypt"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/apihandlers"
	"github.com/pndaproject/deployment-manager/apihandlers/watched"
)

// Limits of the password file, of its use and of what is remembered of it.
const (
	maxCost         = 14      // above, one check takes seconds
	maxPassword     = 72      // bytes; bcrypt ignores what follows
	maxHtpasswdSize = 4 << 20 // bytes
	provenFor       = time.Minute
	refusedFor      = 5 * time.Second
	foreignFor      = 24 * time.Hour // or until the file changes
	maxRemembered   = 10_000
	maxWait         = 30 * time.Second // for a processor; many pods may start at once
)

// HtpasswdConfig says where the password file is.
type HtpasswdConfig struct {
	Path string
	// PassOn tells by its form whether a password may be a secret that the next
	// authenticator knows. One that is not the user's password in the file is then
	// not refused. nil means none.
	PassOn func(password string) bool
	Clock  func() time.Time // nil means time.Now
	Log    *slog.Logger     // nil means silent
}

// Htpasswd proves Basic credentials by a file of lines <user>:<bcrypt hash>. A
// changed file is read again without a restart. Guessing is slowed down, see
// guesses.
type Htpasswd struct {
	file    *watched.Files[*passwords]
	passOn  func(password string) bool
	clock   func() time.Time
	guesses *guesses
	slots   chan struct{} // bounds the processors that bcrypt may take
}

// passwords is the content of one version of the file, with what was found out
// by it; so a new version begins with no memory.
type passwords struct {
	hashes  map[dm.UserName][]byte
	highest int // cost of the dearest hash
	bcrypt  func(hash, secret []byte) error

	mu         sync.Mutex // guards what follows
	remembered map[[sha256.Size]byte]verdict
}

// verdict is what comparing a credential came to. It decides until then; that a
// credential once held is remembered for longer.
type verdict struct {
	holds bool
	until time.Time
}

var _ dm.Authenticator = (*Htpasswd)(nil)

// OpenHtpasswd reads the file and names the line of its first fault.
func OpenHtpasswd(cfg HtpasswdConfig) (*Htpasswd, error) {
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.PassOn == nil {
		cfg.PassOn = func(string) bool { return false }
	}
	slots := max(1, runtime.GOMAXPROCS(0)/2)
	h := &Htpasswd{passOn: cfg.PassOn, clock: cfg.Clock, guesses: newGuesses(max(1, slots/2)), slots: make(chan struct{}, slots)}
	var err error
	h.file, err = watched.Open(watched.Config[*passwords]{
		What: "htpasswd file", Paths: []string{cfg.Path}, Max: maxHtpasswdSize, Clock: cfg.Clock, Log: cfg.Log,
		Parse: func(files []watched.File, _ *passwords) (*passwords, error) { return parseHtpasswd(files[0].Data) },
	})
	return h, err
}

// Users returns everyone in the file, in byte order.
func (h *Htpasswd) Users() []dm.UserName {
	return slices.Sorted(maps.Keys(h.file.Get().hashes))
}

// Authenticate proves a Basic credential. A credential that was proven within
// the last minute is not computed again: git sends it with every request.
//
// What may be another's secret is compared at once for users of the file only. A
// pod's token would else cost bcrypt's work at every start of a pod, of all of
// them after an outage. For others that is made up for when the next one refuses
// the secret, see Refused.
func (h *Htpasswd) Authenticate(ctx context.Context, c dm.Credential) (dm.Identity, bool, error) {
	const op = "auth.Htpasswd"
	if c.Scheme != "basic" {
		return dm.Identity{}, false, nil
	}
	refused := dm.Errorf(dm.Unauthenticated, op, "invalid user name or password")
	user, err := dm.ParseUserName(c.User)
	foreign := h.passOn(c.Secret)
	if foreign && (err != nil || h.file.Get().hashes[user] == nil) {
		return dm.Identity{}, false, nil
	}
	if err != nil || len(c.Secret) > maxPassword {
		return dm.Identity{}, true, refused
	}
	holds, err := h.check(ctx, user, c)
	if err == nil && !holds && foreign {
		return dm.Identity{}, false, nil
	}
	if err == nil && !holds {
		err = refused
	}
	if err != nil {
		return dm.Identity{}, true, err
	}
	return dm.Identity{User: user, Auth: "htpasswd"}, true, nil
}

// Refused does the work of a comparison that Authenticate spared, so that the time
// of a refusal does not tell whether the user is in the file. It fails where that
// would have failed.
func (h *Htpasswd) Refused(ctx context.Context, c dm.Credential) error {
	user, err := dm.ParseUserName(c.User)
	if c.Scheme != "basic" || err != nil || !h.passOn(c.Secret) || len(c.Secret) > maxPassword || h.file.Get().hashes[user] != nil {
		return nil
	}
	_, err = h.check(ctx, user, c)
	return err
}

// check decides from memory or computes, in this order, so that who is known
// waits for nobody.
func (h *Htpasswd) check(ctx context.Context, user dm.UserName, c dm.Credential) (holds bool, err error) {
	list, key := h.file.Get(), credentialKey(user, c)
	g := guess{source: sourceOf(c.Source), user: user, proven: list.provenBefore(key), foreign: h.passOn(c.Secret)}
	if holds, known := list.recall(key, h.clock()); known && !holds {
		return false, nil // the same guess again
	}
	if !h.allow(g) {
		return false, tooManyGuesses()
	}
	if holds, known := list.recall(key, h.clock()); known {
		return holds, nil
	}
	release, err := h.guesses.turn(ctx, g.source, h.slots, maxWait)
	if err != nil {
		return false, dm.Errorf(dm.Unavailable, "auth.Htpasswd", "too many sign-ins in progress").Because(err)
	}
	defer release()
	// Much may have happened while waiting: the same credential was computed,
	// or others of this source were found wrong.
	if holds, known := list.recall(key, h.clock()); known {
		return holds, nil
	}
	if !h.allow(g) {
		return false, tooManyGuesses()
	}
	holds = list.compare(user, c.Secret)
	until := h.clock().Add(provenFor)
	switch {
	case holds:
		h.guesses.right(g)
	case g.foreign:
		// It may be a token in daily use. It does not become the user's password
		// in this version of the file, so it is computed once and costs one try.
		h.guesses.wrongSource(g.source, h.clock())
		until = h.clock().Add(foreignFor)
	default:
		h.guesses.wrong(g, h.clock())
		until = h.clock().Add(refusedFor)
	}
	list.remember(key, verdict{holds, until})
	return holds, nil
}

// allow tells whether a guess may be looked at. What may be another's secret
// cannot be guessed, so who uses up a user's tries does not lock the user's pods
// out.
func (h *Htpasswd) allow(g guess) bool {
	if g.foreign {
		return h.guesses.allowSource(g.source, g.proven, h.clock())
	}
	return h.guesses.allow(g, h.clock())
}

func tooManyGuesses() error {
	return apihandlers.TooMany("auth.Htpasswd", "too many failed sign-ins, try again later")
}

// compare refuses after the same work whoever it is about: that of the dearest
// hash of the file, for users who do not exist and for those with a cheaper one.
// Time would else tell who exists.
func (p *passwords) compare(user dm.UserName, secret string) bool {
	spent := bcrypt.MinCost
	if hash, exists := p.hashes[user]; exists {
		if p.bcrypt(hash, []byte(secret)) == nil {
			return true
		}
		spent, _ = bcrypt.Cost(hash) // it was read when the file was
	} else {
		_ = p.bcrypt(dummyHash(spent), []byte(secret))
	}
	// A cost of n is 2^n rounds, so those from spent on add up to highest.
	for ; spent < p.highest; spent++ {
		_ = p.bcrypt(dummyHash(spent), []byte(secret))
	}
	return false
}

// dummyHash is a hash of that cost which no password has been found for. What
// comparing costs follows from its head alone.
func dummyHash(cost int) []byte {
	const salt, sum = 22, 31
	return fmt.Appendf(nil, "$2a$%02d$%s", cost, strings.Repeat(".", salt+sum))
}

func (p *passwords) remember(key [sha256.Size]byte, v verdict) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.remembered) >= maxRemembered {
		clear(p.remembered)
	}
	p.remembered[key] = v
}

func (p *passwords) recall(key [sha256.Size]byte, now time.Time) (holds, known bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	v, ok := p.remembered[key]
	if !ok || !now.Before(v.until) {
		return false, false
	}
	return v.holds, true
}

// provenBefore tells whether the credential has held, however long ago.
func (p *passwords) provenBefore(key [sha256.Size]byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.remembered[key].holds
}

// credentialKey keeps no password: it is a digest of user, source and secret.
// The source is in it so that nobody can ask the memory from elsewhere, where
// asking costs an attacker nothing.
func credentialKey(user dm.UserName, c dm.Credential) [sha256.Size]byte {
	var b []byte
	for _, part := range []string{string(user), sourceOf(c.Source)} {
		b = binary.AppendUvarint(b, uint64(len(part)))
		b = append(b, part...)
	}
	return sha256.Sum256(append(b, c.Secret...))
}

// wholeHash is what every implementation of bcrypt writes.
var wholeHash = regexp.MustCompile(`^\$2[abxy]?\$[0-9]{2}\$[./A-Za-z0-9]{53}$`)

// parseHtpasswd never quotes a line: it may hold a password written there by
// mistake.
func parseHtpasswd(data []byte) (*passwords, error) {
	const op = "read htpasswd file"
	fault := func(n int, format string, args ...any) error {
		e := dm.Errorf(dm.Invalid, op, format, args...)
		e.Message = dm.Errorf(dm.Invalid, op, "htpasswd file, line %d: %s", n, e.Message).Message
		return e
	}
	list := &passwords{
		hashes: map[dm.UserName][]byte{}, highest: bcrypt.MinCost, bcrypt: bcrypt.CompareHashAndPassword,
		remembered: map[[sha256.Size]byte]verdict{},
	}
	for i, line := range strings.Split(string(data), "\n") {
		n, line := i+1, strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		name, hash, ok := strings.Cut(line, ":")
		if !ok {
			return nil, fault(n, "missing ':' between user and hash")
		}
		user, err := dm.ParseUserName(name)
		if err != nil {
			return nil, fault(n, "%s", dm.Public(err))
		}
		cost, err := bcrypt.Cost([]byte(hash))
		// One that breaks off a comparison would tell by the time that it is there.
		if err != nil || !wholeHash.MatchString(hash) {
			return nil, fault(n, "the hash of user %s is not bcrypt; make it with 'htpasswd -B'", user)
		}
		if cost > maxCost {
			return nil, fault(n, "the hash of user %s has cost %d, at most %d is allowed", user, cost, maxCost)
		}
		if list.hashes[user] != nil {
			return nil, fault(n, "duplicate user %s", user)
		}
		list.highest = max(list.highest, cost)
		list.hashes[user] = []byte(hash)
	}
	return list, nil
}
