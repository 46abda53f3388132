package auth

import (
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	dm "github.com/pndaproject/deployment-manager"
)

// tokenOf makes different tokens in the Hub's form.
func tokenOf(n int) string { return fmt.Sprintf("%012x4aaa8%015x", n, n) }

// TestHubRevocation: a token that is used all the time ends within a minute of
// its end at the Hub, and a new one is let in within five seconds.
func TestHubRevocation(t *testing.T) {
	t.Parallel()
	h := askHub(t)
	at := func(second int, want, questions int) {
		t.Helper()
		h.clock.move(time.Unix(1_000_000, 0).Add(time.Duration(second) * time.Second).Sub(h.clock.Now()))
		if _, err := h.as(t.Context(), "ana", podToken); status(err) != want || h.fake.questions() != questions {
			t.Errorf("second %d: got %v after %d questions, want %d after %d", second, err, h.fake.questions(), want, questions)
		}
	}
	at(0, 200, 1)
	h.fake.set(podToken, nil)
	for second := 1; second < 60; second++ {
		at(second, 200, 1)
	}
	at(60, 401, 2)
	at(64, 401, 2)
	at(65, 401, 3)
	h.fake.set(podToken, says(anaByHub))
	at(69, 401, 3)
	at(70, 200, 4)

	// An outage does not prolong what is remembered either.
	h.fake.fail(says("<html>"))
	at(129, 200, 4)
	at(130, 503, 5)
	at(131, 503, 6)
	h.fake.fail(nil)
	at(132, 200, 7)
	want := map[string]float64{answerYes: 3, answerNo: 2, answerFailed: 2, answerUnfit: 0, answerUnasked: 0, "": 62}
	if got := h.counted(t); !maps.Equal(got, want) {
		t.Errorf("counted %v, want %v", got, want)
	}
}

// TestHubAnswerIsAsOldAsItsQuestion: a token may end while the Hub's yes is on
// its way.
func TestHubAnswerIsAsOldAsItsQuestion(t *testing.T) {
	t.Parallel()
	h := askHub(t)
	h.fake.set(podToken, func(w http.ResponseWriter, r *http.Request) {
		h.clock.move(4 * time.Second)
		says(anaByHub)(w, r)
	})
	_, err := h.as(t.Context(), "ana", podToken)
	must(t, err)
	h.fake.set(podToken, nil)
	h.clock.move(56 * time.Second)
	if _, err := h.as(t.Context(), "ana", podToken); status(err) != 401 {
		t.Errorf("60 s after the question: got %v, want 401", err)
	}
}

// TestHubScopeGranted: tokens without the scope hold, and so cost no try; who
// was refused for it gets in soon after it was granted.
func TestHubScopeGranted(t *testing.T) {
	t.Parallel()
	h := askHub(t)
	h.fake.fail(says(`{"kind": "user", "name": "ana", "scopes": []}`))
	for n := range sourceTries + 5 {
		if _, err := h.as(t.Context(), "ana", tokenOf(n)); status(err) != 403 {
			t.Fatalf("token %d: got %v, want 403", n, err)
		}
	}
	h.fake.fail(says(anaByHub))
	if _, err := h.as(t.Context(), "ana", tokenOf(0)); status(err) != 403 || h.fake.questions() != sourceTries+5 {
		t.Errorf("at once: got %v after %d questions", err, h.fake.questions())
	}
	h.clock.move(refusedFor)
	if _, err := h.as(t.Context(), "ana", tokenOf(0)); err != nil {
		t.Error(err)
	}
}

// TestHubIsAskedOnce: 100 callers with one token are one question, also when
// the first of them has left.
func TestHubIsAskedOnce(t *testing.T) {
	t.Parallel()
	h := askHub(t)
	asked, answer := make(chan struct{}), make(chan struct{})
	h.fake.set(podToken, func(w http.ResponseWriter, r *http.Request) {
		close(asked)
		<-answer
		says(anaByHub)(w, r)
	})
	ctx, leave := context.WithCancel(t.Context())
	left := make(chan error)
	go func() {
		_, err := h.as(ctx, "ana", podToken)
		left <- err
	}()
	<-asked
	leave()
	if err := <-left; err == nil {
		t.Error("who has left was let in")
	}
	var group sync.WaitGroup
	var in atomic.Int32
	for range 100 {
		group.Go(func() {
			if id, err := h.as(t.Context(), "ana", podToken); err == nil && id.User == "ana" {
				in.Add(1)
			} else {
				t.Error(err)
			}
		})
	}
	close(answer)
	group.Wait()
	if n := h.fake.questions(); in.Load() != 100 || n != 1 {
		t.Errorf("%d of 100 came in after %d questions, want one question", in.Load(), n)
	}
}

// TestHubMemoryIsBounded, and keeps no token.
func TestHubMemoryIsBounded(t *testing.T) {
	t.Parallel()
	h := askHub(t)
	for n := range 3 * maxRemembered {
		h.remember(sha256.Sum256([]byte(tokenOf(n))), hubVerdict{until: h.clock.Now().Add(time.Minute)})
		if len(h.remembered) > maxRemembered {
			t.Fatalf("%d answers are remembered, want at most %d", len(h.remembered), maxRemembered)
		}
	}
	if _, known := h.recall(sha256.Sum256([]byte(tokenOf(3*maxRemembered - 1)))); !known {
		t.Error("the newest answer is forgotten")
	}
}

// TestHubGuesses: one source makes the server ask about few unknown tokens, also
// when it sends them at once. Who was let in before still is, and so is everybody
// from elsewhere.
func TestHubGuesses(t *testing.T) {
	t.Parallel()
	h := askHub(t)
	_, err := h.as(t.Context(), "ana", podToken)
	must(t, err)
	var group sync.WaitGroup
	var refused, turnedAway atomic.Int32
	for n := range 300 {
		group.Go(func() {
			_, err := h.as(t.Context(), fmt.Sprint("user", n), tokenOf(n))
			switch status(err) {
			case http.StatusUnauthorized:
				refused.Add(1)
			case http.StatusTooManyRequests:
				turnedAway.Add(1)
			default:
				t.Errorf("guess %d: %v", n, err)
			}
		})
	}
	group.Wait()
	if n := h.fake.questions() - 1; n < sourceTries || n > sourceTries+hubSourcePlaces || refused.Load() != int32(n) {
		t.Errorf("%d questions, %d refused and %d turned away of 300 guesses; want %d questions and few more", n, refused.Load(), turnedAway.Load(), sourceTries)
	}
	h.remember(sha256.Sum256([]byte(podToken)), hubVerdict{held: true, until: h.clock.Now()}) // it was asked a minute ago
	if _, err := h.as(t.Context(), "ana", podToken); err != nil {
		t.Errorf("who came in before: %v", err)
	}
	h.fake.set(otherToken, says(anaByHub))
	c := dm.Credential{Scheme: "basic", User: "ana", Secret: otherToken, Source: "192.0.2.8"}
	if _, _, err := h.Authenticate(t.Context(), c); err != nil {
		t.Errorf("from elsewhere: %v", err)
	}
	h.clock.move(tryEvery)
	if _, err := h.as(t.Context(), "zoe", tokenOf(1000)); status(err) != 401 {
		t.Errorf("later: got %v, want to be asked again", err)
	}
}

// TestHubGetsNoPassword: users of the htpasswd file come in with their password
// and with the token of their pod, and no password of the file leaves the server,
// also one that looks like a token.
func TestHubGetsNoPassword(t *testing.T) {
	t.Parallel()
	h, o := askHub(t), open(t)
	unlucky := tokenOf(7)
	o.write(t, "ana:"+hashOf(t, "good", bcrypt.MinCost)+"\nbob:"+hashOf(t, unlucky, bcrypt.MinCost)+"\n")
	var err error
	o.Htpasswd, err = OpenHtpasswd(HtpasswdConfig{Path: o.path, PassOn: LooksLikeHubToken, Clock: o.clock.Now})
	must(t, err)
	h.fake.set(otherToken, says(`{"kind": "user", "name": "hubert", "scopes": ["access:services"]}`))
	d, err := NewDirectory(DirectoryConfig{SignIn: o.Users, TrustAny: true})
	must(t, err)
	a, err := New(Config{Mode: dm.Strict, Directory: d, Policy: dm.NewPolicy(dm.Strict, dm.PublishByMode), Authenticators: []dm.Authenticator{o.Htpasswd, h.Hub}})
	must(t, err)
	cases := []struct {
		name, user, password string
		status               int
		auth                 string
		asked                bool
	}{
		{"password", "ana", "good", 200, "htpasswd", false},
		{"wrong password", "ana", "bad", 401, "", false},
		{"wrong password of nobody", "zoe", "bad", 401, "", false},
		{"30 letters", "zoe", oauthToken, 401, "", false},
		{"password that looks like a token", "bob", unlucky, 200, "htpasswd", false},
		{"ana's pod", "ana", podToken, 200, "jupyterhub:a12", true},
		{"a pod of one who has no password", "hubert", otherToken, 200, "jupyterhub", true},
		{"another's pod", "bob", podToken, 401, "", false}, // the Hub was asked already
		{"malformed name", "a/b", podToken, 401, "", false},
		{"what looks like a token", "bob", tokenOf(8), 401, "", true},
	}
	for _, c := range cases {
		r, _ := http.NewRequest(http.MethodGet, "/", nil)
		r.SetBasicAuth(c.user, c.password)
		r.RemoteAddr = "192.0.2.7:1234"
		before := h.fake.questions()
		p, ok, err := a.prove(r)
		if status(err) != c.status || ok != (c.status == 200) || ok && (p.auth != c.auth || string(p.user) != c.user) {
			t.Errorf("%s: got %+v, %v; want %d by %s", c.name, p, err, c.status, c.auth)
		}
		if got := h.fake.questions() > before; got != c.asked {
			t.Errorf("%s: asked the Hub %v, want %v", c.name, got, c.asked)
		}
	}
	// A pod's token is not computed anew with every request, and not
	// remembered beyond the file.
	list, key := o.file.Get(), credentialKey("ana", dm.Credential{Secret: podToken, Source: "192.0.2.7"})
	if holds, known := list.recall(key, o.clock.Now().Add(provenFor-time.Second)); holds || !known {
		t.Errorf("the work for a pod's token: holds %v, remembered %v", holds, known)
	}
	must(t, os.WriteFile(o.path, []byte("ana:"+hashOf(t, podToken, bcrypt.MinCost)+"\n"), 0o600))
	o.clock.move(time.Minute)
	id, _, err := o.Authenticate(t.Context(), dm.Credential{Scheme: "basic", User: "ana", Secret: podToken, Source: "192.0.2.7"})
	if err != nil || id.Auth != "htpasswd" {
		t.Errorf("after the file changed: %+v, %v", id, err)
	}
}

// TestPodsOfPeopleWithPasswords: a pod's token costs its source one try as long
// as the file is the same, and comes in also while somebody far away uses up its
// user's tries.
func TestPodsOfPeopleWithPasswords(t *testing.T) {
	t.Parallel()
	o := open(t)
	var err error
	o.Htpasswd, err = OpenHtpasswd(HtpasswdConfig{Path: o.path, PassOn: LooksLikeHubToken, Clock: o.clock.Now})
	must(t, err)
	as := func(source, secret string) error {
		_, knows, err := o.Authenticate(t.Context(), dm.Credential{Scheme: "basic", User: "ana", Secret: secret, Source: source})
		if !knows {
			return nil // it is the Hub's matter
		}
		return err
	}
	for n := range userTries + 1 {
		_ = as("192.0.2.8", fmt.Sprint("guess ", n))
	}
	if err := as("192.0.2.8", "good"); status(err) != http.StatusTooManyRequests {
		t.Fatalf("the user's tries are not used up: %v", err)
	}
	for minute := range 3 {
		if err := as("192.0.2.7", podToken); err != nil {
			t.Errorf("minute %d: the pod got %v, want to be passed on", minute, err)
		}
		o.clock.move(time.Minute)
	}
	for n := range sourceTries {
		if err := as("192.0.2.9", tokenOf(n)); err != nil {
			t.Fatalf("token %d: %v", n, err)
		}
	}
	if err := as("192.0.2.9", tokenOf(sourceTries)); status(err) != http.StatusTooManyRequests {
		t.Errorf("one token more than a source has tries: got %v, want 429", err)
	}
	if err := as("192.0.2.9", tokenOf(0)); err != nil {
		t.Errorf("a token that was compared before: %v", err)
	}
}

// TestHubRefusalsTakeTheSameWork: what looks like a token is compared with the
// password of who has one, and after a refusal also for who has none; so neither
// time nor words tell who is in the file. Who comes in costs nothing.
func TestHubRefusalsTakeTheSameWork(t *testing.T) {
	t.Parallel()
	trace := func(user string) (told []string) {
		h, o := askHub(t), open(t)
		var err error
		o.Htpasswd, err = OpenHtpasswd(HtpasswdConfig{Path: o.path, PassOn: LooksLikeHubToken, Clock: o.clock.Now})
		must(t, err)
		compared := 0
		o.file.Get().bcrypt = func(hash, _ []byte) error {
			cost, err := bcrypt.Cost(hash)
			must(t, err)
			compared += 1 << cost
			return bcrypt.ErrMismatchedHashAndPassword
		}
		d, err := NewDirectory(DirectoryConfig{SignIn: o.Users, TrustAny: true})
		must(t, err)
		a, err := New(Config{Mode: dm.Strict, Directory: d, Policy: dm.NewPolicy(dm.Strict, dm.PublishByMode), Authenticators: []dm.Authenticator{o.Htpasswd, h.Hub}})
		must(t, err)
		h.fake.set(otherToken, says(`{"kind": "user", "name": "hubert", "scopes": ["access:services"]}`))
		try := func(as, secret string) {
			r, _ := http.NewRequest(http.MethodGet, "/", nil)
			r.SetBasicAuth(as, secret)
			r.RemoteAddr = "192.0.2.7:1234"
			before := compared
			_, _, err := a.prove(r)
			told = append(told, fmt.Sprint(status(err), compared-before, dm.Public(err)))
		}
		try("hubert", otherToken)
		if told[0] != fmt.Sprint(200, 0, dm.Public(nil)) {
			t.Fatalf("a pod of one who has no password: %s, want no work", told[0])
		}
		try(user, otherToken)                        // of another
		for _, n := range []int{8, 9, 8, 10, 9, 8} { // some again
			try(user, tokenOf(n))
		}
		for n := range sourceTries {
			try(user, tokenOf(100+n))
		}
		return told
	}
	known, unknown := trace("ana"), trace("zoe")
	for i := range known {
		if known[i] != unknown[i] {
			t.Errorf("try %d: of a user of the file %q, of nobody %q", i, known[i], unknown[i])
		}
	}
	if !strings.Contains(known[len(known)-1], "429") {
		t.Errorf("at last: %s, want 429", known[len(known)-1])
	}
}
