package auth

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/crypto/bcrypt"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/apihandlers/watched"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func hashOf(t *testing.T, password string, cost int) string {
	t.Helper()
	h, err := bcrypt.GenerateFromPassword([]byte(password), cost)
	must(t, err)
	return string(h)
}

// clock is a time that a test moves.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// opened is an htpasswd file of ana (password "good") that a test may change.
type opened struct {
	*Htpasswd
	path  string
	clock *clock
	log   *bytes.Buffer
}

func open(t *testing.T) opened {
	t.Helper()
	o := opened{path: filepath.Join(t.TempDir(), "htpasswd"), clock: &clock{now: time.Unix(1_000_000, 0)}, log: &bytes.Buffer{}}
	o.write(t, "# people\n\nana:"+hashOf(t, "good", bcrypt.MinCost)+"\r\n")
	var err error
	o.Htpasswd, err = OpenHtpasswd(HtpasswdConfig{Path: o.path, Clock: o.clock.Now, Log: slog.New(slog.NewTextHandler(o.log, nil))})
	must(t, err)
	return o
}

func (o *opened) write(t *testing.T, text string) {
	t.Helper()
	must(t, os.WriteFile(o.path, []byte(text), 0o600))
}

func (o *opened) try(user, password string) (dm.UserName, error) {
	id, _, err := o.Authenticate(context.Background(), dm.Credential{Scheme: "basic", User: user, Secret: password})
	return id.User, err
}

func TestHtpasswd(t *testing.T) {
	t.Parallel()
	o := open(t)
	cases := []struct {
		name, user, password string
		want                 dm.Kind
	}{
		{"good", "ana", "good", ""},
		{"good again, from memory", "ana", "good", ""},
		{"wrong password", "ana", "bad", dm.Unauthenticated},
		{"wrong password again", "ana", "bad", dm.Unauthenticated},
		{"unknown user", "zoe", "good", dm.Unauthenticated},
		{"empty password", "ana", "", dm.Unauthenticated},
		{"empty user", "", "good", dm.Unauthenticated},
		{"malformed user", "a/b", "good", dm.Unauthenticated},
		{"user and password run together", "anag", "ood", dm.Unauthenticated},
		{"longer than bcrypt reads", "ana", strings.Repeat("x", 73), dm.Unauthenticated},
	}
	var texts []string
	for _, c := range cases {
		user, err := o.try(c.user, c.password)
		if dm.KindOf(err) != c.want || (err == nil) != (user == "ana") {
			t.Errorf("%s: got %q, %v; want kind %q", c.name, user, err, c.want)
		}
		if err != nil {
			texts = append(texts, dm.Public(err))
		}
	}
	// H12: the answer does not tell who exists.
	if texts = slices.Compact(texts); len(texts) != 1 {
		t.Errorf("refusals differ: %q", texts)
	}
	if _, knows, err := o.Authenticate(context.Background(), dm.Credential{Scheme: "bearer", Secret: "good"}); knows || err != nil {
		t.Errorf("bearer: got %v, %v; want to be passed over", knows, err)
	}
}

// TestHtpasswdSameWork: a refusal takes the same rounds of bcrypt whoever it is
// about, so that time does not tell who is in the file.
func TestHtpasswdSameWork(t *testing.T) {
	t.Parallel()
	for _, costs := range [][]int{{4}, {6}, {4, 6}, {5, 4, 7}, {6, 6}, {}} {
		var text strings.Builder
		highest := bcrypt.MinCost
		for i, cost := range costs {
			fmt.Fprintf(&text, "user%d:%s\n", i, hashOf(t, "right", cost))
			highest = max(highest, cost)
		}
		list, err := parseHtpasswd([]byte(text.String()))
		must(t, err)
		rounds := 0
		list.bcrypt = func(hash, secret []byte) error {
			cost, err := bcrypt.Cost(hash)
			must(t, err)
			rounds += 1 << cost
			if string(secret) == "right" {
				return nil
			}
			return bcrypt.ErrMismatchedHashAndPassword
		}
		for _, user := range []dm.UserName{"user0", "user1", "user2", "nobody", "USER0", ""} {
			for _, secret := range []string{"wrong", "", "rights"} {
				if rounds = 0; list.compare(user, secret) || rounds != 1<<highest {
					t.Errorf("costs %v: refusing %q took %d rounds, want %d", costs, user, rounds, 1<<highest)
				}
			}
		}
		for i := range costs {
			if !list.compare(dm.UserName(fmt.Sprint("user", i)), "right") {
				t.Errorf("costs %v: user%d is refused", costs, i)
			}
		}
	}
	// Comparing with the stand-in is work, and not an error that comes at once.
	if err := bcrypt.CompareHashAndPassword(dummyHash(5), []byte("x")); !errors.Is(err, bcrypt.ErrMismatchedHashAndPassword) {
		t.Errorf("the stand-in is not compared: %v", err)
	}
}

func TestHtpasswdFaults(t *testing.T) {
	t.Parallel()
	good := hashOf(t, "PLANTED", bcrypt.MinCost)
	cases := []struct{ name, text, want string }{
		{"plain password", "ana:PLANTED", "line 1: the hash of user ana is not bcrypt"},
		{"SHA-1", "# x\n\nana:{SHA}PLANTED", "line 3: the hash of user ana is not bcrypt"},
		{"MD5", "ana:$apr1$PLANTED$x", "line 1: the hash of user ana is not bcrypt"},
		{"no colon", "ana:" + good + "\nPLANTED", "line 2: missing ':'"},
		{"bad user", "-x:" + good, "line 1: the user name"},
		{"twice", "ana:" + good + "\nana:" + good, "line 2: duplicate user ana"},
		{"cut off", "ana:" + good[:59], "line 1: the hash of user ana is not bcrypt"},
		{"letters that bcrypt does not have", "ana:" + good[:20] + "!" + good[21:], "line 1: the hash of user ana is not bcrypt"},
		{"too dear", "ana:" + strings.Replace(good, "$04$", "$15$", 1), "line 1: the hash of user ana has cost 15, at most 14"},
		{"too large", strings.Repeat("#", maxHtpasswdSize+1), "larger than"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "htpasswd")
			must(t, os.WriteFile(path, []byte(c.text), 0o600))
			_, err := OpenHtpasswd(HtpasswdConfig{Path: path})
			if err == nil || !strings.Contains(dm.Public(err), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if err != nil && (strings.Contains(err.Error(), "PLANTED") || strings.Contains(err.Error(), good)) {
				t.Errorf("the error quotes the file: %v", err)
			}
		})
	}
	if _, err := OpenHtpasswd(HtpasswdConfig{Path: filepath.Join(t.TempDir(), "none")}); dm.KindOf(err) != dm.Invalid {
		t.Errorf("no file: got %v", err)
	}
}

func TestHtpasswdReload(t *testing.T) {
	t.Parallel()
	o := open(t)
	check := func(step, user, password string, want bool) {
		t.Helper()
		if _, err := o.try(user, password); (err == nil) != want {
			t.Errorf("%s: %s with %s: got %v, want success %v", step, user, password, err, want)
		}
	}
	check("start", "ana", "good", true)
	o.write(t, "ana:"+hashOf(t, "changed", bcrypt.MinCost)+"\nbob:"+hashOf(t, "bobs", bcrypt.MinCost)+"\n")
	o.clock.move(watched.Every)
	check("changed", "ana", "good", false) // also what was remembered is gone
	check("changed", "ana", "changed", true)
	check("changed", "bob", "bobs", true)
	if got := o.Users(); !slices.Equal(got, []dm.UserName{"ana", "bob"}) {
		t.Errorf("users: got %v", got)
	}
	o.write(t, "a fault")
	for range 3 {
		o.clock.move(watched.Every)
		check("fault", "bob", "bobs", true)
	}
	if n := strings.Count(o.log.String(), "stays in effect"); n != 1 {
		t.Errorf("the fault was told %d times, want once: %s", n, o.log)
	}
	must(t, os.Remove(o.path))
	o.clock.move(watched.Every)
	check("removed", "bob", "bobs", true)
	o.write(t, "zoe:"+hashOf(t, "zoes", bcrypt.MinCost)+"\n")
	o.clock.move(watched.Every)
	check("mended", "bob", "bobs", false)
	check("mended", "zoe", "zoes", true)
}

func TestHtpasswdRemembers(t *testing.T) {
	t.Parallel()
	o := open(t)
	_, err := o.try("ana", "good")
	must(t, err)
	list := o.file.Get()
	recall := func(password string) (holds, known bool) {
		return list.recall(credentialKey("ana", dm.Credential{Secret: password}), o.clock.Now())
	}
	if holds, known := recall("good"); !holds || !known {
		t.Error("a proven credential is not remembered")
	}
	o.clock.move(provenFor)
	if _, known := recall("good"); known {
		t.Error("a proven credential is remembered for too long")
	}
	_, _ = o.try("ana", "bad")
	if holds, known := recall("bad"); holds || !known {
		t.Error("a refused credential is not remembered")
	}
	o.clock.move(refusedFor)
	if _, known := recall("bad"); known {
		t.Error("a refused credential is remembered for too long")
	}
}

// TestHtpasswdQueue: who gives up waiting for a processor is told to come back.
func TestHtpasswdQueue(t *testing.T) {
	t.Parallel()
	o := open(t)
	for range cap(o.slots) {
		o.slots <- struct{}{}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err := o.Authenticate(ctx, dm.Credential{Scheme: "basic", User: "ana", Secret: "good"})
	if dm.KindOf(err) != dm.Unavailable {
		t.Errorf("got %v, want Unavailable", err)
	}
}

func TestHtpasswdParallel(t *testing.T) {
	t.Parallel()
	o := open(t)
	var group sync.WaitGroup
	for range 20 {
		group.Go(func() {
			for _, password := range []string{"good", "bad"} {
				if _, err := o.try("ana", password); (err == nil) != (password == "good") {
					t.Errorf("%s: got %v", password, err)
				}
			}
			o.clock.move(watched.Every)
		})
	}
	group.Wait()
}

func TestDirectory(t *testing.T) {
	t.Parallel()
	groups := map[string][]dm.UserName{"admin": {"root", "ana"}, "class": {"bob", "ana", "ana"}}
	signIn := func() []dm.UserName { return []dm.UserName{"carl"} }
	cases := []struct {
		name           string
		cfg            DirectoryConfig
		known, unknown []dm.UserName
		named          []dm.UserName
	}{
		{"list", DirectoryConfig{Users: []dm.UserName{"zoe", "ana"}, Groups: groups, SignIn: signIn, TrustAny: true},
			[]dm.UserName{"ana", "zoe"}, []dm.UserName{"bob", "carl", ""}, []dm.UserName{"ana", "zoe"}},
		{"no list", DirectoryConfig{Groups: groups, SignIn: signIn},
			[]dm.UserName{"ana", "bob", "root", "carl"}, []dm.UserName{"zoe", ""}, []dm.UserName{"ana", "bob", "carl", "root"}},
		{"any", DirectoryConfig{TrustAny: true}, []dm.UserName{"ana", "zoe"}, []dm.UserName{"", "-x", "a/b"}, nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d, err := NewDirectory(c.cfg)
			must(t, err)
			for _, u := range c.known {
				if !d.Known(u) {
					t.Errorf("%q is unknown", u)
				}
			}
			for _, u := range c.unknown {
				if d.Known(u) {
					t.Errorf("%q is known", u)
				}
			}
			for _, u := range slices.Concat(c.known, c.unknown) {
				if got := d.names(u); got != slices.Contains(c.named, u) {
					t.Errorf("names %q: %t", u, got)
				}
			}
		})
	}
	d, err := NewDirectory(DirectoryConfig{Groups: groups})
	must(t, err)
	if got := d.Groups("ana"); !slices.Equal(got, []string{"admin", "class"}) {
		t.Errorf("groups of ana: got %v", got)
	}
	if got := d.Members("class"); !slices.Equal(got, []dm.UserName{"ana", "bob"}) {
		t.Errorf("members of class: got %v", got)
	}
	for _, bad := range []DirectoryConfig{
		{Users: []dm.UserName{"-x"}}, {Groups: map[string][]dm.UserName{"g": {"a/b"}}}, {Groups: map[string][]dm.UserName{"": {"a"}}},
	} {
		if _, err := NewDirectory(bad); dm.KindOf(err) != dm.Invalid {
			t.Errorf("%+v: got %v, want Invalid", bad, err)
		}
	}
}

func TestCheckBind(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name     string
		mode     dm.AuthMode
		addr     string
		anywhere bool
		want     bool
	}{
		{"strict anywhere", dm.Strict, "0.0.0.0:5000", false, true},
		{"loopback", dm.InsecurePNDA, "127.0.0.1:5000", false, true},
		{"loopback, other", dm.InsecurePNDA, "127.8.9.1:0", false, true},
		{"loopback, six", dm.InsecurePNDA, "[::1]:5000", false, true},
		{"loopback, mapped", dm.InsecurePNDA, "[::ffff:127.0.0.1]:5000", false, true},
		{"localhost", dm.InsecurePNDA, "localhost:5000", false, true},
		{"all", dm.InsecurePNDA, ":5000", false, false},
		{"all, four", dm.InsecurePNDA, "0.0.0.0:5000", false, false},
		{"all, six", dm.InsecurePNDA, "[::]:5000", false, false},
		{"a network", dm.InsecurePNDA, "10.0.0.1:5000", false, false},
		{"a name", dm.InsecurePNDA, "localhost.example:5000", false, false},
		{"no port", dm.InsecurePNDA, "127.0.0.1", false, false},
		{"all, said twice", dm.InsecurePNDA, ":5000", true, true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if err := CheckBind(c.mode, []string{"127.0.0.1:1", c.addr}, c.anywhere); (err == nil) != c.want {
				t.Errorf("got %v, want success %v", err, c.want)
			}
		})
	}
}

// TestRunWarns every minute while names are taken on trust.
func TestRunWarns(t *testing.T) {
	t.Parallel()
	for mode, want := range map[dm.AuthMode]int{dm.InsecurePNDA: 4, dm.PublicRead: 0} {
		synctest.Test(t, func(t *testing.T) {
			var log bytes.Buffer
			d, err := NewDirectory(DirectoryConfig{})
			must(t, err)
			reg := prometheus.NewRegistry()
			a, err := New(Config{Mode: mode, Directory: d, Registerer: reg, Log: slog.New(slog.NewTextHandler(&log, nil))})
			must(t, err)
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute+time.Second)
			defer cancel()
			must(t, a.Run(ctx))
			if got := strings.Count(log.String(), "WARN"); got != want {
				t.Errorf("%s: got %d warnings, want %d", mode, got, want)
			}
			families, err := reg.Gather()
			must(t, err)
			if got := families[0].GetMetric()[0].GetGauge().GetValue(); families[0].GetName() != "dm_insecure_auth" || (got == 1) != (want > 0) {
				t.Errorf("%s: gauge %s is %v", mode, families[0].GetName(), got)
			}
		})
	}
}

func TestConfigIsChecked(t *testing.T) {
	t.Parallel()
	d, err := NewDirectory(DirectoryConfig{})
	must(t, err)
	for name, cfg := range map[string]Config{
		"no mode":                {Directory: d},
		"no directory":           {Mode: dm.InsecurePNDA},
		"strict without sign-in": {Mode: dm.Strict, Directory: d},
	} {
		if _, err := New(cfg); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// fakeBearer knows one token and says that it cannot tell about another.
type fakeBearer struct{}

func (fakeBearer) Authenticate(_ context.Context, c dm.Credential) (id dm.Identity, ok bool, err error) {
	switch {
	case c.Scheme != "bearer":
		return id, false, nil
	case c.Secret == "bobs token":
		return dm.Identity{User: "bob", Auth: "fake"}, true, nil
	case c.Secret == "hub down":
		return id, true, dm.Errorf(dm.Unavailable, "fake", "the hub cannot be asked")
	}
	return id, true, dm.Errorf(dm.Unauthenticated, "fake", "the token does not hold")
}

func TestGit(t *testing.T) {
	t.Parallel()
	var (
		anas  = dm.Repository{Kind: dm.WorkspaceRepository, Name: "ana"}
		flow  = dm.Repository{Kind: dm.PackageRepository, Name: "flow"}
		noon  = dm.Repository{Kind: dm.ApplicationRepository, Name: "noon"}
		basic = func(user, password string) func(*http.Request) {
			return func(r *http.Request) { r.SetBasicAuth(user, password) }
		}
		bearer = func(token string) func(*http.Request) {
			return func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }
		}
		nobody = func(*http.Request) {}
	)
	const fine, who, no, down = dm.Kind(""), dm.Unauthenticated, dm.Forbidden, dm.Unavailable
	cases := []struct {
		name                    string
		set                     func(*http.Request)
		repo                    dm.Repository
		strict, public, trusted dm.Kind
	}{
		{"nobody, workspace", nobody, anas, who, fine, fine},
		{"nobody, package", nobody, flow, who, fine, fine},
		{"nobody, application", nobody, noon, who, who, fine},
		{"owner, application", basic("ana", "good"), noon, fine, fine, fine},
		{"owner, workspace", basic("ana", "good"), anas, fine, fine, fine},
		{"owner, package", basic("ana", "good"), flow, fine, fine, fine},
		{"other, workspace", bearer("bobs token"), anas, no, fine, fine},
		{"other, application", bearer("bobs token"), noon, no, no, fine},
		{"wrong password", basic("ana", "bad"), anas, who, who, fine},
		{"wrong token", bearer("x"), anas, who, who, fine},
		{"hub down", bearer("hub down"), flow, down, down, fine},
		{"not in the list", basic("zoe", "zoes"), flow, no, no, no},
		{"malformed claim", basic("a/b", "x"), flow, who, who, dm.Invalid},
		{"empty claim", basic("", "x"), flow, who, who, fine},
		{"unknown scheme", func(r *http.Request) { r.Header.Set("Authorization", "Digest x") }, flow, who, who, fine},
		{"two credentials", func(r *http.Request) { r.Header["Authorization"] = []string{"Bearer a", "Bearer b"} }, flow, dm.Invalid, dm.Invalid, fine},
	}
	path := filepath.Join(t.TempDir(), "htpasswd")
	must(t, os.WriteFile(path, []byte("ana:"+hashOf(t, "good", 4)+"\nzoe:"+hashOf(t, "zoes", 4)+"\n"), 0o600))
	file, err := OpenHtpasswd(HtpasswdConfig{Path: path})
	must(t, err)
	d, err := NewDirectory(DirectoryConfig{Users: []dm.UserName{"ana", "bob"}})
	must(t, err)
	for _, mode := range []dm.AuthMode{dm.Strict, dm.PublicRead, dm.InsecurePNDA} {
		a, err := New(Config{Mode: mode, Directory: d, Policy: dm.NewPolicy(mode, dm.PublishByMode), Authenticators: []dm.Authenticator{file, fakeBearer{}}})
		must(t, err)
		for _, c := range cases {
			want := map[dm.AuthMode]dm.Kind{dm.Strict: c.strict, dm.PublicRead: c.public, dm.InsecurePNDA: c.trusted}[mode]
			r := httptest.NewRequest(http.MethodGet, "/x/info/refs?service=git-upload-pack&user.name=root", nil)
			c.set(r)
			if _, err := (&GitDoor{a, ofAna{}}).Authorize(r, c.repo, false); dm.KindOf(err) != want {
				t.Errorf("%s, %s: got %v, want kind %q", mode, c.name, err, want)
			}
		}
	}
}
