package auth

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/apihandlers/watched"
)

func newToken(t *testing.T, path string, wanted Token, now time.Time) (string, Token) {
	t.Helper()
	token, made, err := CreateToken(path, wanted, now)
	must(t, err)
	return token, made
}

func TestTokens(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "tokens")
	now := &clock{now: time.Unix(1_000_000, 0)}
	anas, made := newToken(t, path, Token{User: "ana", Scopes: []dm.Scope{dm.ScopeRead}, Expires: now.Now().Add(time.Hour)}, now.Now())
	bens, _ := newToken(t, path, Token{User: "ben", Note: "the night job"}, now.Now())
	zoes, zoe := newToken(t, path, Token{User: "zoe"}, now.Now())
	tokens, err := OpenTokens(TokensConfig{Path: path, Clock: now.Now})
	must(t, err)
	if !tokenForm.MatchString(anas) || len(made.ID) != 8 {
		t.Errorf("the token has another form: %d bytes, id %q", len(anas), made.ID)
	}
	_, err = RevokeTokens(path, func(one Token) bool { return one.ID == zoe.ID }, now.Now())
	must(t, err)
	other := anas[:len(anas)-1] + map[bool]string{true: "0", false: "1"}[anas[len(anas)-1] == '1']

	basic := func(user, secret string) dm.Credential {
		return dm.Credential{Scheme: "basic", User: user, Secret: secret}
	}
	bearer := func(secret string) dm.Credential { return dm.Credential{Scheme: "bearer", Secret: secret} }
	cases := []struct {
		name  string
		c     dm.Credential
		later time.Duration
		want  dm.UserName
		knows bool
	}{
		{"bearer", bearer(anas), 0, "ana", true},
		{"password of its user", basic("ana", anas), 0, "ana", true},
		{"password of nobody", basic("", anas), 0, "ana", true},
		{"password of another", basic("ben", anas), 0, "", true},
		{"password of its id", basic(made.ID, anas), 0, "", true},
		{"another secret", bearer(other), 0, "", true},
		{"another's id", bearer("dmt_" + made.ID + bens[12:]), 0, "", true},
		{"an unknown id", bearer("dmt_00000000" + anas[12:]), 0, "", true},
		{"the id alone", bearer("dmt_" + made.ID), 0, "", true},
		{"the hash", bearer("dmt_" + made.ID + "_" + made.SHA256), 0, "", true},
		{"upper case", bearer(strings.ToUpper(anas)), 0, "", false},
		{"with a line behind", bearer(anas + "\n"), 0, "", true},
		{"a token of others", bearer("ghp_x"), 0, "", false},
		{"a password", basic("ana", "good"), 0, "", false},
		{"a password that begins so", basic("ana", "dmt_good"), 0, "", false},
		{"just before it expires", bearer(anas), time.Hour - time.Second, "ana", true},
		{"expired", bearer(anas), time.Second, "", true},
		{"never expires", bearer(bens), 0, "ben", true},
		{"revoked", bearer(zoes), 0, "", true},
	}
	var texts []string
	for _, c := range cases {
		now.move(c.later)
		id, knows, err := tokens.Authenticate(t.Context(), c.c)
		if id.User != c.want || knows != c.knows || (err != nil) != (knows && c.want == "") {
			t.Errorf("%s: got %+v, %v, %v; want %q, %v", c.name, id, knows, err, c.want, c.knows)
		}
		if err != nil {
			texts = append(texts, string(dm.KindOf(err))+" "+dm.Public(err))
		}
	}
	if texts = slices.Compact(texts); len(texts) != 1 || texts[0] != "unauthenticated invalid token" {
		t.Errorf("refusals differ: %q", texts)
	}
}

// TestTokenIdentity: the record tells which token, and its scopes bind.
func TestTokenIdentity(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "tokens")
	token, made := newToken(t, path, Token{User: "ana", Scopes: []dm.Scope{dm.ScopePackages}}, time.Now())
	tokens, err := OpenTokens(TokensConfig{Path: path})
	must(t, err)
	id, _, err := tokens.Authenticate(t.Context(), dm.Credential{Scheme: "bearer", Secret: token})
	must(t, err)
	if id.Auth != "token:"+made.ID || !slices.Equal(id.Scopes, []dm.Scope{dm.ScopePackages}) {
		t.Errorf("got %+v", id)
	}
	data, err := os.ReadFile(path)
	must(t, err)
	if strings.Contains(string(data), token[len("dmt_12345678_"):]) {
		t.Error("the file holds the token itself")
	}
	info, err := os.Stat(path)
	must(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the file has mode %v", info.Mode())
	}
}

func TestTokensReload(t *testing.T) {
	t.Parallel()
	path, now := filepath.Join(t.TempDir(), "tokens"), &clock{now: time.Unix(1_000_000, 0)}
	token, _ := newToken(t, path, Token{User: "ana"}, now.Now())
	log := &bytes.Buffer{}
	tokens, err := OpenTokens(TokensConfig{Path: path, Clock: now.Now, Log: slog.New(slog.NewTextHandler(log, nil))})
	must(t, err)
	check := func(step, token string, want bool) {
		t.Helper()
		now.move(watched.Every)
		_, _, err := tokens.Authenticate(t.Context(), dm.Credential{Scheme: "bearer", Secret: token})
		if (err == nil) != want {
			t.Errorf("%s: got %v, want success %v", step, err, want)
		}
	}
	check("start", token, true)
	second, _ := newToken(t, path, Token{User: "ben"}, now.Now())
	check("created", second, true)
	if got := tokens.Users(); !slices.Equal(got, []dm.UserName{"ana", "ben"}) {
		t.Errorf("users: got %v", got)
	}
	sound, err := os.ReadFile(path)
	must(t, err)
	must(t, os.WriteFile(path, []byte("PLANTED"), 0o600))
	check("a fault", token, true)
	check("a fault still", token, true)
	if n := strings.Count(log.String(), "stays in effect"); n != 1 || strings.Contains(log.String(), "PLANTED") {
		t.Errorf("the fault was told %d times, want once and no content: %s", n, log)
	}
	must(t, os.WriteFile(path, sound, 0o600))
	must(t, os.Chmod(path, 0o660))
	_, err = RevokeTokens(path, func(one Token) bool { return one.User == "ana" }, now.Now())
	must(t, err)
	check("others may write", token, true) // a change that anybody could have made is none
	must(t, os.Chmod(path, 0o640))
	check("revoked", token, false)
	check("another's", second, true)
	if strings.Contains(log.String(), "is readable by others") {
		t.Errorf("a warning about a file that its group may read: %s", log)
	}
	must(t, os.Chmod(path, 0o644))
	check("another's still", second, true)
	if !strings.Contains(log.String(), "is readable by others") {
		t.Errorf("no warning: %s", log)
	}
	if got := tokens.Users(); !slices.Equal(got, []dm.UserName{"ben"}) {
		t.Errorf("users: got %v", got)
	}
}

// TestTokenFileParallel: those who change the file at once lose nothing.
func TestTokenFileParallel(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "tokens")
	const writers, each = 8, 5
	var group sync.WaitGroup
	for w := range writers {
		group.Go(func() {
			for range each {
				_, made, err := CreateToken(path, Token{User: dm.UserName(fmt.Sprint("user", w))}, time.Now())
				if err == nil && w%2 == 1 {
					_, err = RevokeTokens(path, func(one Token) bool { return one.ID == made.ID }, time.Now())
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	list, err := ReadTokens(path)
	must(t, err)
	states := map[string]int{}
	for _, one := range list {
		states[one.State(time.Now())]++
	}
	if len(list) != writers*each || states["revoked"] != writers*each/2 {
		t.Errorf("got %d tokens, %v; want %d, half of them revoked", len(list), states, writers*each)
	}
	left, err := os.ReadDir(filepath.Dir(path))
	must(t, err)
	if len(left) != 1 {
		t.Errorf("files are left beside the token file: %v", left)
	}
}

func TestTokenFaults(t *testing.T) {
	t.Parallel()
	hash := strings.Repeat("ab", 32)
	line := func(id, user, more string) string {
		return fmt.Sprintf(`{"id":%q,"user":%q,"created":"2026-01-01T00:00:00Z"%s}`, id, user, more)
	}
	sum := `,"sha256":"` + hash + `"`
	cases := []struct{ name, text, want string }{
		{"no JSON", "PLANTED", "line 1: malformed entry"},
		{"two on a line", line("00000001", "ana", sum) + line("00000002", "ana", sum), "line 1: malformed entry"},
		{"unknown field", "\n" + line("00000001", "ana", sum+`,"PLANTED":1`), "line 2: malformed entry"},
		{"bad user", line("00000001", "a/b", sum), "line 1: the user name"},
		{"bad scope", line("00000001", "ana", sum+`,"scopes":["all"]`), "line 1: the scope"},
		{"bad id", line("PLANTED", "ana", sum), "line 1: the id"},
		{"twice", line("00000001", "ana", sum) + "\n" + line("00000001", "ana", sum), "line 2: duplicate id 00000001"},
		{"no hash", line("00000001", "ana", ""), "line 1: the hash"},
		{"a token for a hash", line("00000001", "ana", `,"sha256":"dmt_PLANTED"`), "line 1: the hash"},
		{"too large", strings.Repeat("\n", maxTokenFile+1), "larger than"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "tokens")
			must(t, os.WriteFile(path, []byte(c.text), 0o600))
			_, err := OpenTokens(TokensConfig{Path: path})
			if err == nil || !strings.Contains(dm.Public(err), c.want) || strings.Contains(err.Error(), "PLANTED") {
				t.Errorf("got %v, want %q and no content", err, c.want)
			}
			if _, _, err := CreateToken(path, Token{User: "ana"}, time.Now()); err == nil && c.name != "too large" {
				t.Error("a faulty file was written over")
			}
		})
	}
}

func TestTokensThatAreNotMade(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for name, wanted := range map[string]Token{
		"no user":     {},
		"bad user":    {User: "-x"},
		"bad scope":   {User: "ana", Scopes: []dm.Scope{"all"}},
		"bad note":    {User: "ana", Note: "a\x1b[2Jb"},
		"long note":   {User: "ana", Note: strings.Repeat("x", maxNote+1)},
		"expired now": {User: "ana", Expires: now},
	} {
		path := filepath.Join(t.TempDir(), "tokens")
		if _, _, err := CreateToken(path, wanted, now); dm.KindOf(err) != dm.Invalid {
			t.Errorf("%s: got %v, want Invalid", name, err)
		}
		if _, err := os.Stat(path); err == nil {
			t.Errorf("%s: a file was made", name)
		}
	}
	missing := filepath.Join(t.TempDir(), "none", "tokens")
	if _, _, err := CreateToken(missing, Token{User: "ana"}, now); dm.KindOf(err) != dm.Invalid {
		t.Errorf("no folder: got %v", err)
	}
	if _, err := RevokeTokens(filepath.Join(t.TempDir(), "none"), func(Token) bool { return true }, now); dm.KindOf(err) != dm.Invalid {
		t.Errorf("no file to revoke in: got %v", err)
	}
}

// TestTokenFileBehindALink: the link stays, and so does the mode.
func TestTokenFileBehindALink(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	real, link := filepath.Join(folder, "real"), filepath.Join(folder, "link")
	newToken(t, real, Token{User: "ana"}, time.Now())
	must(t, os.Chmod(real, 0o640))
	must(t, os.Symlink("real", link))
	newToken(t, link, Token{User: "ben"}, time.Now())
	list, err := ReadTokens(real)
	must(t, err)
	info, err := os.Stat(real)
	must(t, err)
	if target, err := os.Readlink(link); err != nil || target != "real" || len(list) != 2 || info.Mode().Perm() != 0o640 {
		t.Errorf("got link %q, %v, %d tokens, mode %v", target, err, len(list), info.Mode())
	}
}
