package auth

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
	"unicode"
	"unicode/utf8"

	dm "github.com/pndaproject/deployment-manager"
)

const (
	maxTokenFile = 4 << 20 // bytes, some 10,000 tokens
	maxNote      = 200     // bytes
)

// Token is what the file knows of a token, one JSON object on a line of its
// own. A revoked one stays, without its hash, so that the id in the record
// still tells whose it was.
type Token struct {
	ID      string      `json:"id"`
	User    dm.UserName `json:"user"`
	SHA256  string      `json:"sha256,omitempty"` // of the whole token, in hex
	Scopes  []dm.Scope  `json:"scopes,omitempty"` // none means everything that the user may do
	Created time.Time   `json:"created"`
	Expires time.Time   `json:"expires,omitzero"` // zero means never
	Revoked time.Time   `json:"revoked,omitzero"`
	Note    string      `json:"note,omitempty"`
}

// holdsAt tells whether the token may be used.
func (t Token) holdsAt(now time.Time) bool {
	return t.SHA256 != "" && t.Revoked.IsZero() && (t.Expires.IsZero() || now.Before(t.Expires))
}

// State is one word for people: valid, expired or revoked.
func (t Token) State(now time.Time) string {
	switch {
	case !t.Revoked.IsZero():
		return "revoked"
	case !t.holdsAt(now):
		return "expired"
	}
	return "valid"
}

// check judges a token of a file or of a person.
func (t Token) check() error {
	const op = "check token"
	if _, err := dm.ParseUserName(string(t.User)); err != nil {
		return err
	}
	for _, scope := range t.Scopes {
		if _, err := dm.ParseScope(string(scope)); err != nil {
			return err
		}
	}
	control := func(r rune) bool { return !unicode.IsPrint(r) }
	if len(t.Note) > maxNote || !utf8.ValidString(t.Note) || strings.ContainsFunc(t.Note, control) {
		return dm.Errorf(dm.Invalid, op, "a note is one line of at most %d bytes", maxNote)
	}
	return nil
}

// parseTokens never quotes a line: it may hold a token put there by mistake.
func parseTokens(data []byte) ([]Token, error) {
	const op = "read token file"
	var list []Token
	seen := map[string]bool{}
	for i, line := range bytes.Split(data, []byte("\n")) {
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		var one Token
		decoder := json.NewDecoder(bytes.NewReader(line))
		decoder.DisallowUnknownFields()
		err := decoder.Decode(&one)
		if _, end := decoder.Token(); err != nil || !errors.Is(end, io.EOF) {
			return nil, dm.Errorf(dm.Invalid, op, "token file, line %d: malformed entry", i+1)
		}
		if err := one.check(); err != nil {
			return nil, dm.Errorf(dm.Invalid, op, "token file, line %d: %s", i+1, dm.Public(err))
		}
		sum, err := hex.DecodeString(one.SHA256)
		id, idErr := hex.DecodeString(one.ID)
		switch {
		case idErr != nil || len(id) != idBytes || one.ID != strings.ToLower(one.ID):
			return nil, dm.Errorf(dm.Invalid, op, "token file, line %d: the id is not %d hexadecimal digits", i+1, 2*idBytes)
		case seen[one.ID]:
			return nil, dm.Errorf(dm.Invalid, op, "token file, line %d: duplicate id %s", i+1, one.ID)
		case one.Revoked.IsZero() && (err != nil || len(sum) != 32 || one.SHA256 != strings.ToLower(one.SHA256)):
			return nil, dm.Errorf(dm.Invalid, op, "token file, line %d: the hash is not a SHA-256", i+1)
		}
		seen[one.ID] = true
		list = append(list, one)
	}
	return list, nil
}

// ReadTokens returns all tokens of a file, the oldest first.
func ReadTokens(path string) ([]Token, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fileError(path, err)
	}
	return parseTokens(data)
}

// CreateToken adds a token to the file, which is made when it is missing, and
// returns the token itself, which nobody can read again. User, Scopes, Expires
// and Note of t are what is wanted; the rest is filled in.
func CreateToken(path string, t Token, now time.Time) (token string, made Token, err error) {
	if err := t.check(); err != nil {
		return "", Token{}, err
	}
	if !t.Expires.IsZero() && !t.Expires.After(now) {
		return "", Token{}, dm.Errorf(dm.Invalid, "create token", "the expiry is in the past")
	}
	t.Created, t.Expires = now.UTC().Truncate(time.Second), t.Expires.UTC().Truncate(time.Second)
	err = editTokens(path, true, func(list []Token) ([]Token, error) {
		for t.ID == "" || knownID(list, t.ID) {
			t.ID = randomHex(idBytes)
		}
		token = tokenPrefix + t.ID + "_" + randomHex(secretBytes)
		t.SHA256 = hashToken(token)
		return append(list, t), nil
	})
	return token, t, err
}

func knownID(list []Token, id string) bool {
	for _, one := range list {
		if one.ID == id {
			return true
		}
	}
	return false
}

func randomHex(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails, see crypto/rand
	return hex.EncodeToString(b)
}

// RevokeTokens revokes the tokens that match, and returns them. Those that were
// revoked before are passed over.
func RevokeTokens(path string, match func(Token) bool, now time.Time) (revoked []Token, err error) {
	err = editTokens(path, false, func(list []Token) ([]Token, error) {
		for i := range list {
			if one := &list[i]; one.Revoked.IsZero() && match(*one) {
				one.SHA256, one.Revoked = "", now.UTC().Truncate(time.Second)
				revoked = append(revoked, *one)
			}
		}
		if len(revoked) == 0 {
			return nil, dm.Errorf(dm.NotFound, "revoke tokens", "no such active token")
		}
		return list, nil
	})
	return revoked, err
}

// editTokens changes the file as a whole, durably, and one process at a time.
func editTokens(path string, create bool, edit func([]Token) ([]Token, error)) error {
	const op = "write token file"
	// The file may be a link, as in folders that a cluster fills; what it
	// leads to is replaced.
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fileError(filepath.Dir(path), err)
	}
	defer folder.Close() // and with it the lock
	// The folder is locked, because the file itself is replaced by another.
	if err := syscall.Flock(int(folder.Fd()), syscall.LOCK_EX); err != nil {
		return dm.Errorf(dm.Unavailable, op, "cannot lock the folder of the token file").Because(err)
	}
	list, err := ReadTokens(path)
	if err != nil && !(create && errors.Is(err, fs.ErrNotExist)) {
		return err
	}
	if list, err = edit(list); err != nil {
		return err
	}
	var data bytes.Buffer
	encoder := json.NewEncoder(&data)
	for _, one := range list {
		if err := encoder.Encode(one); err != nil {
			return dm.Wrap(op, err)
		}
	}
	if data.Len() > maxTokenFile {
		return dm.Errorf(dm.TooLarge, op, "the token file is full").WithHint("remove lines of old revoked tokens, or start another file")
	}
	return replaceFile(folder, path, data.Bytes())
}

// replaceFile puts data in the place of the file in one step. The new file has
// the owner and mode of the old one, so that a server which could read that can
// read this.
func replaceFile(folder *os.File, path string, data []byte) (err error) {
	temp, err := os.CreateTemp(folder.Name(), ".tokens-*") // mode 0600
	if err != nil {
		return fileError(folder.Name(), err)
	}
	defer func() {
		temp.Close()
		if err != nil {
			os.Remove(temp.Name())
		}
	}()
	if old, statErr := os.Stat(path); statErr == nil {
		if err := likeOld(temp, old); err != nil {
			return err
		}
	}
	if _, err = temp.Write(data); err == nil {
		err = temp.Sync()
	}
	if err == nil {
		err = os.Rename(temp.Name(), path)
	}
	if err == nil {
		err = folder.Sync()
	}
	if err != nil {
		return fileError(path, err)
	}
	return nil
}

func likeOld(temp *os.File, old fs.FileInfo) error {
	if err := temp.Chmod(old.Mode().Perm()); err != nil {
		return dm.Wrap("write token file", err)
	}
	owner, ok := old.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	if err := temp.Chown(int(owner.Uid), int(owner.Gid)); err != nil {
		return dm.Errorf(dm.Invalid, "write token file", "the token file belongs to another user").
			WithHint("run this as that user, otherwise the server cannot read it").Because(err)
	}
	return nil
}

// fileError is for the person at the terminal, who named the file.
func fileError(path string, err error) error {
	e := dm.Errorf(dm.Unavailable, "token file", "cannot use %s: %v", path, err).Because(err)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		e.Kind, e.Message = dm.Invalid, path+" does not exist"
	case errors.Is(err, fs.ErrPermission):
		e.Kind, e.Message = dm.Invalid, "permission denied: "+path
	}
	return e
}
