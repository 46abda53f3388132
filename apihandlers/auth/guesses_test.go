package auth

import (
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/apihandlers"
)

// from tries ana's or another's password from an address.
func (o *opened) from(t *testing.T, source, user, password string) int {
	t.Helper()
	_, _, err := o.Authenticate(t.Context(), dm.Credential{Scheme: "basic", User: user, Secret: password, Source: source})
	if err == nil {
		return http.StatusOK
	}
	return apihandlers.FailureOf(err).Status
}

// TestGuessingIsSlow: of 1,000 wrong passwords from one address few are
// computed, whoever they are for, and a good user elsewhere does not wait.
func TestGuessingIsSlow(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name     string
		user     func(i int) string
		computed int32
	}{
		{"one user", func(int) string { return "zoe" }, userTries},
		{"a user each", func(i int) string { return fmt.Sprint("zoe", i) }, sourceTries},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			o := open(t)
			var wrong, turnedAway atomic.Int32
			var group sync.WaitGroup
			for worker := range 10 {
				group.Go(func() {
					for i := range 100 {
						n := worker*100 + i
						switch o.from(t, "192.0.2.7", c.user(n), fmt.Sprint("guess ", n)) {
						case http.StatusUnauthorized:
							wrong.Add(1)
						case http.StatusTooManyRequests:
							turnedAway.Add(1)
						}
					}
				})
			}
			begin := time.Now()
			if got := o.from(t, "192.0.2.8", "ana", "good"); got != http.StatusOK {
				t.Errorf("a good user from elsewhere: got %d", got)
			}
			if took := time.Since(begin); took > 10*time.Second {
				t.Errorf("a good user from elsewhere waited for %v", took)
			}
			group.Wait()
			// Computations that were under way when the last try was spent end.
			if got, most := wrong.Load(), c.computed+int32(cap(o.slots)); got < c.computed || got > most {
				t.Errorf("computed %d passwords, want %d to %d", got, c.computed, most)
			}
			if wrong.Load()+turnedAway.Load() != 1000 {
				t.Errorf("got %d wrong and %d turned away, want 1000 together", wrong.Load(), turnedAway.Load())
			}
		})
	}
}

// TestWhoMustWait goes through the neighbours of an attack.
func TestWhoMustWait(t *testing.T) {
	t.Parallel()
	o := open(t)
	const home, shared, far = "192.0.2.1", "192.0.2.2", "2001:db8:1::1"
	want := func(step string, got, status int) {
		t.Helper()
		if got != status {
			t.Errorf("%s: got %d, want %d", step, got, status)
		}
	}
	guess := func(source, user string, n int) {
		for i := range n {
			o.from(t, source, user, fmt.Sprint("guess ", i))
		}
	}
	want("ana signs in", o.from(t, home, "ana", "good"), 200)
	want("and where others are", o.from(t, shared, "ana", "good"), 200)

	guess(far, "ana", userTries)
	want("her name is out of tries", o.from(t, "192.0.2.3", "ana", "good"), 429)
	want("where she was before she is let in", o.from(t, home, "ana", "good"), 200)
	want("the network of the attacker", o.from(t, "2001:db8:1::2", "ana", "good"), 429)
	o.clock.move(userTries * tryEvery)
	want("later", o.from(t, "192.0.2.3", "ana", "good"), 200)

	guess(shared, "zoe", sourceTries)
	want("the address is out of tries", o.from(t, shared, "ben", "x"), 429)
	want("who came from there before is let in", o.from(t, shared, "ana", "good"), 200)
	guess(shared, "ana", userTries+1)
	want("until it is she whom they try to be", o.from(t, shared, "ana", "good"), 429)
	want("but not elsewhere", o.from(t, home, "ana", "good"), 200)
	o.clock.move(tryEvery)
	want("a try comes back", o.from(t, shared, "ana", "good"), 200)
}

// TestSuccessCostsNothing: signing in is not a guess.
func TestSuccessCostsNothing(t *testing.T) {
	t.Parallel()
	o := open(t)
	for i := range 3 * sourceTries {
		o.clock.move(provenFor) // so that each is computed
		if got := o.from(t, "192.0.2.1", "ana", "good"); got != http.StatusOK {
			t.Fatalf("sign-in %d: got %d", i, got)
		}
	}
}

func TestGuessesAreBounded(t *testing.T) {
	t.Parallel()
	g := newGuesses(1)
	for i := range 3 * maxGuessers {
		g.wrong(guess{source: fmt.Sprint(i), user: dm.UserName(fmt.Sprint(i))}, time.Unix(0, 0))
	}
	if len(g.sources) > maxGuessers || len(g.users) > maxGuessers {
		t.Errorf("%d sources and %d users are kept, want at most %d", len(g.sources), len(g.users), maxGuessers)
	}
}

func TestSourceOf(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"192.0.2.1": "192.0.2.1", "::ffff:192.0.2.1": "192.0.2.1", "2001:db8:1:2:3::4": "2001:db8:1:2::/64",
		"fe80::1%eth0": "fe80::/64", "": "", "@": "@",
	} {
		if got := sourceOf(address); got != want {
			t.Errorf("%q: got %q, want %q", address, got, want)
		}
	}
}

func TestTooManyGuessesIsOnly429OverHTTP(t *testing.T) {
	t.Parallel()
	err := tooManyGuesses()
	var e *dm.Error
	if !errors.As(err, &e) || dm.KindOf(err) != dm.Unavailable || apihandlers.FailureOf(err).Status != http.StatusTooManyRequests {
		t.Errorf("got %v", err)
	}
}
