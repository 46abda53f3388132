package auth

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/bcrypt"

	dm "github.com/pndaproject/deployment-manager"
)

// Limits of the password file and of what is remembered of it.
const (
	maxCost         = 14      // above, one check takes seconds
	maxPassword     = 72      // bytes; bcrypt ignores what follows
	maxHtpasswdSize = 4 << 20 // bytes
	provenFor       = time.Minute
	refusedFor      = 5 * time.Second
	maxRemembered   = 10_000
	statEvery       = time.Second
)

// HtpasswdConfig says where the password file is.
type HtpasswdConfig struct {
	Path  string
	Clock func() time.Time // nil means time.Now
	Log   *slog.Logger     // nil means silent
}

// Htpasswd proves Basic credentials by a file of lines <user>:<bcrypt hash>. A
// changed file is read again without a restart; a changed file with a fault is
// logged and the one before stays in force.
type Htpasswd struct {
	path  string
	clock func() time.Time
	log   *slog.Logger
	slots chan struct{} // bounds the processors that bcrypt may take

	mu         sync.Mutex // guards what follows
	passwords  passwords
	stamp      fileStamp
	looked     time.Time
	remembered map[[sha256.Size]byte]verdict
}

// passwords is the content of one version of the file.
type passwords struct {
	hashes map[dm.UserName][]byte
	dummy  []byte // compared with for users who do not exist
}

// fileStamp tells two versions of the file apart.
type fileStamp struct {
	modified time.Time
	size     int64
}

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
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	h := &Htpasswd{path: cfg.Path, clock: cfg.Clock, log: cfg.Log, slots: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2))}
	list, stamp, err := h.read(nil)
	if err != nil {
		return nil, err
	}
	h.passwords, h.stamp, h.looked = list, stamp, h.clock()
	h.remembered = map[[sha256.Size]byte]verdict{}
	return h, nil
}

// Name stands in the DM-Auth trailer.
func (h *Htpasswd) Name() string { return "htpasswd" }

// Users returns everyone in the file, in byte order.
func (h *Htpasswd) Users() []dm.UserName {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Sorted(maps.Keys(h.passwords.hashes))
}

// Authenticate proves a Basic credential. A credential that was proven within
// the last minute is not computed again: git sends it with every request.
func (h *Htpasswd) Authenticate(ctx context.Context, c dm.Credential) (dm.UserName, bool, error) {
	const op = "auth.Htpasswd"
	if c.Scheme != "basic" {
		return "", false, nil
	}
	refused := dm.Errorf(dm.Unauthenticated, op, "the user name or the password is wrong")
	user, err := dm.ParseUserName(c.User)
	if err != nil || len(c.Secret) > maxPassword {
		return "", true, refused
	}
	h.refresh()
	key := credentialKey(user, c.Secret)
	if holds, known := h.recall(key); known {
		return verdictOf(user, holds, refused)
	}
	select {
	case h.slots <- struct{}{}:
		defer func() { <-h.slots }()
	case <-ctx.Done():
		return "", true, dm.Errorf(dm.Unavailable, op, "too many passwords are being checked").Because(ctx.Err())
	}
	// Requests that waited behind one with the same credential find it here.
	if holds, known := h.recall(key); known {
		return verdictOf(user, holds, refused)
	}
	return verdictOf(user, h.compare(user, c.Secret, key), refused)
}

func verdictOf(user dm.UserName, holds bool, refused error) (dm.UserName, bool, error) {
	if !holds {
		return "", true, refused
	}
	return user, true, nil
}

// compare does the same work for users who do not exist.
func (h *Htpasswd) compare(user dm.UserName, secret string, key [sha256.Size]byte) bool {
	h.mu.Lock()
	hash, exists := h.passwords.hashes[user]
	if !exists {
		hash = h.passwords.dummy
	}
	stamp := h.stamp
	h.mu.Unlock()

	holds := bcrypt.CompareHashAndPassword(hash, []byte(secret)) == nil && exists

	h.mu.Lock()
	defer h.mu.Unlock()
	if stamp != h.stamp {
		return holds // the file changed meanwhile: do not remember
	}
	if len(h.remembered) >= maxRemembered {
		clear(h.remembered)
	}
	v := verdict{holds, h.clock().Add(refusedFor)}
	if holds {
		v.until = h.clock().Add(provenFor)
	}
	h.remembered[key] = v
	return holds
}

func (h *Htpasswd) recall(key [sha256.Size]byte) (holds, known bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	v, ok := h.remembered[key]
	if !ok || !h.clock().Before(v.until) {
		return false, false
	}
	return v.holds, true
}

// credentialKey keeps no password: it is a digest of user and secret.
func credentialKey(user dm.UserName, secret string) [sha256.Size]byte {
	b := binary.AppendUvarint(nil, uint64(len(user)))
	b = append(b, user...)
	return sha256.Sum256(append(b, secret...))
}

// refresh reads the file again when it has changed. What was proven by the old
// one is forgotten.
func (h *Htpasswd) refresh() {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.clock()
	if now.Sub(h.looked) < statEvery && !now.Before(h.looked) {
		return
	}
	h.looked = now
	info, err := os.Stat(h.path)
	if err == nil && stampOf(info) == h.stamp {
		return
	}
	list, stamp, err := h.read(h.passwords.dummy)
	if err != nil {
		h.log.Error("htpasswd file not read, the one before stays in force", "err", err)
		if info != nil {
			h.stamp = stampOf(info) // complain once per version of the file
		}
		return
	}
	h.passwords, h.stamp = list, stamp
	clear(h.remembered)
	h.log.Info("htpasswd file read again", "users", len(list.hashes))
}

func stampOf(info fs.FileInfo) fileStamp { return fileStamp{info.ModTime(), info.Size()} }

func (h *Htpasswd) read(dummy []byte) (passwords, fileStamp, error) {
	const op = "read htpasswd file"
	f, err := os.Open(h.path)
	if err != nil {
		return passwords{}, fileStamp{}, dm.Errorf(dm.Invalid, op, "the htpasswd file cannot be opened").Because(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return passwords{}, fileStamp{}, dm.Wrap(op, err)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxHtpasswdSize+1))
	if err != nil {
		return passwords{}, fileStamp{}, dm.Wrap(op, err)
	}
	list, err := parseHtpasswd(data, dummy)
	return list, stampOf(info), err
}

// parseHtpasswd never quotes a line: it may hold a password written there by
// mistake.
func parseHtpasswd(data, dummy []byte) (passwords, error) {
	const op = "read htpasswd file"
	fault := func(n int, format string, args ...any) error {
		e := dm.Errorf(dm.Invalid, op, format, args...)
		e.Message = dm.Errorf(dm.Invalid, op, "the htpasswd file, line %d: %s", n, e.Message).Message
		return e
	}
	if len(data) > maxHtpasswdSize {
		return passwords{}, dm.Errorf(dm.Invalid, op, "the htpasswd file is larger than %d bytes", maxHtpasswdSize)
	}
	list := passwords{hashes: map[dm.UserName][]byte{}}
	highest := bcrypt.MinCost
	for i, line := range strings.Split(string(data), "\n") {
		n, line := i+1, strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		name, hash, ok := strings.Cut(line, ":")
		if !ok {
			return passwords{}, fault(n, "no ':' between user and hash")
		}
		user, err := dm.ParseUserName(name)
		if err != nil {
			return passwords{}, fault(n, "%s", dm.Public(err))
		}
		cost, err := bcrypt.Cost([]byte(hash))
		if err != nil || !strings.HasPrefix(hash, "$2") {
			return passwords{}, fault(n, "the hash of user %s is not bcrypt; make it with 'htpasswd -B'", user)
		}
		if cost > maxCost {
			return passwords{}, fault(n, "the hash of user %s has cost %d, at most %d is allowed", user, cost, maxCost)
		}
		if list.hashes[user] != nil {
			return passwords{}, fault(n, "the user %s is there twice", user)
		}
		highest = max(highest, cost)
		list.hashes[user] = []byte(hash)
	}
	var err error
	list.dummy, err = dummyHash(dummy, highest)
	return list, err
}

// dummyHash makes a hash that costs as much as the dearest of the file; an old
// one of the same cost serves again.
func dummyHash(old []byte, cost int) ([]byte, error) {
	if c, err := bcrypt.Cost(old); err == nil && c == cost && !bytes.Equal(old, nil) {
		return old, nil
	}
	hash, err := bcrypt.GenerateFromPassword([]byte("nobody"), cost)
	return hash, dm.Wrap("make hash", err)
}
