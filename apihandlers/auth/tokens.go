package auth

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"time"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/apihandlers/watched"
)

// A token reads dmt_<id>_<secret>. The prefix lets scanners for leaked secrets
// find it; the id is no secret and stands in the record. 24 random bytes can't
// be guessed, so that one plain SHA-256 keeps them safe.
const (
	tokenPrefix = "dmt_"
	idBytes     = 4
	secretBytes = 24
)

var tokenForm = regexp.MustCompile(`^dmt_([0-9a-f]{8})_([0-9a-f]{48})$`)

// TokensConfig says where the token file is.
type TokensConfig struct {
	Path  string
	Clock func() time.Time // nil means time.Now
	Log   *slog.Logger     // nil means silent
}

// Tokens proves API tokens, as Bearer or as the password of Basic, by the file
// that CreateToken and RevokeTokens write. A changed file is read again without
// a restart.
type Tokens struct {
	file  *watched.Files[map[string]Token]
	clock func() time.Time
}

var _ dm.Authenticator = (*Tokens)(nil)

// OpenTokens reads the file and names the line of its first fault. A file that
// others may write is a fault: they could make themselves anybody.
func OpenTokens(cfg TokensConfig) (*Tokens, error) {
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	t := &Tokens{clock: cfg.Clock}
	var err error
	t.file, err = watched.Open(watched.Config[map[string]Token]{
		What: "token file", Paths: []string{cfg.Path}, Max: maxTokenFile, Clock: cfg.Clock, Log: cfg.Log,
		Parse: func(files []watched.File, _ map[string]Token) (map[string]Token, error) {
			mode := files[0].Info.Mode().Perm()
			switch {
			case mode&0o022 != 0:
				return nil, dm.Errorf(dm.Invalid, "read token file", "the token file is writable by others (mode %04o)", mode).
					WithHint("chmod 600 it")
			case mode&0o004 != 0: // a group may: that is how a pod reads a mounted Secret
				cfg.Log.Warn("the token file is readable by others; it contains no token, but user names", "mode", mode.String())
			}
			list, err := parseTokens(files[0].Data)
			byID := make(map[string]Token, len(list))
			for _, one := range list {
				byID[one.ID] = one
			}
			return byID, err
		},
	})
	return t, err
}

// Users returns everyone who has a token that holds, in byte order.
func (t *Tokens) Users() []dm.UserName {
	var users []dm.UserName
	for _, one := range t.file.Get() {
		if one.holdsAt(t.clock()) {
			users = append(users, one.User)
		}
	}
	return sorted(users)
}

// Authenticate proves a token. What is wrong with one that does not hold is not
// told: whoever found it shall not learn whose it was.
func (t *Tokens) Authenticate(_ context.Context, c dm.Credential) (dm.Identity, bool, error) {
	const op = "auth.Tokens"
	match := tokenForm.FindStringSubmatch(c.Secret)
	if match == nil && (c.Scheme == "basic" || !strings.HasPrefix(c.Secret, tokenPrefix)) {
		return dm.Identity{}, false, nil // a password may begin like a token
	}
	refused := dm.Errorf(dm.Unauthenticated, op, "invalid token")
	if match == nil {
		return dm.Identity{}, true, refused
	}
	one := t.file.Get()[match[1]] // an unknown one has no hash, which equals none
	same := subtle.ConstantTimeCompare([]byte(one.SHA256), []byte(hashToken(c.Secret))) == 1
	if !same || !one.holdsAt(t.clock()) || !names(c, one.User) {
		return dm.Identity{}, true, refused
	}
	return dm.Identity{User: one.User, Auth: "token:" + one.ID, Scopes: slices.Clone(one.Scopes)}, true, nil
}

func hashToken(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}
