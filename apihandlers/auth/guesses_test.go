package auth

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

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
		{"one user", func(int) string { return "zoe" }, pairTries},
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

	guess(far, "ana", pairTries)
	want("a new address with the right password", o.from(t, "192.0.2.3", "ana", "good"), 200)
	want("where she was before she is let in", o.from(t, home, "ana", "good"), 200)
	want("and may mistype there", o.from(t, home, "ana", "godo"), 401)
	want("without harm", o.from(t, home, "ana", "good"), 200)
	want("the network of the attacker", o.from(t, "2001:db8:1::2", "ana", "good"), 429)
	want("a new address where she mistypes", o.from(t, "192.0.2.4", "ana", "godo"), 401)
	want("waits", o.from(t, "192.0.2.4", "ana", "good"), 429)
	want("and waits, which costs nothing", o.from(t, "192.0.2.4", "ana", "good"), 429)
	for range 11 { // while the attack goes on
		o.clock.move(freshAfter / 12)
		guess(far, "ana", 1)
		want("still", o.from(t, "192.0.2.4", "ana", "good"), 429)
	}
	o.clock.move(freshAfter / 12)
	guess(far, "ana", 1)
	want("a minute", o.from(t, "192.0.2.4", "ana", "good"), 200)
	o.clock.move(userTries * tryEvery)

	guess(shared, "zoe", sourceTries)
	want("the address is out of tries", o.from(t, shared, "ben", "x"), 429)
	want("who came from there before is let in", o.from(t, shared, "ana", "good"), 200)
	guess(shared, "ana", pairTries+1)
	want("until it is she whom they try to be", o.from(t, shared, "ana", "good"), 429)
	want("but not elsewhere", o.from(t, home, "ana", "good"), 200)
	o.clock.move(tryEvery)
	want("a try comes back", o.from(t, shared, "ana", "good"), 200)
}

// TestNobodyIsLockedOut: whatever many addresses do to one name for as long as
// they like, its owner gets in with the right password, from anywhere, at once;
// and yet what all of them compute together is bounded.
func TestNobodyIsLockedOut(t *testing.T) {
	t.Parallel()
	const addresses, minutes = 40, 10
	o := open(t)
	computed := 0
	o.file.Get().bcrypt = func(_, secret []byte) error { // what it decides is not the matter here, and it is slow
		if string(secret) != "good" {
			return bcrypt.ErrMismatchedHashAndPassword
		}
		return nil
	}
	for second := range minutes * 60 {
		o.clock.move(time.Second)
		for n := range addresses / 5 { // each address comes every five seconds
			source := fmt.Sprint("198.51.100.", n*5+second%5)
			if o.from(t, source, "ana", fmt.Sprint("guess ", second, n)) == http.StatusUnauthorized {
				computed++
			}
		}
		if second%60 != 59 {
			continue
		}
		for _, source := range []string{fmt.Sprint("203.0.113.", second/60), fmt.Sprintf("2001:db8:%x::1", second/60)} {
			if got := o.from(t, source, "ana", "good"); got != http.StatusOK {
				t.Fatalf("minute %d of the attack: ana from %s: got %d", second/60, source, got)
			}
		}
	}
	// One try a minute for each address, and the shared ones.
	if most := addresses*minutes + userTries + minutes*60/int(tryEvery.Seconds()); computed > most || computed < addresses {
		t.Errorf("%d guesses were computed in %d minutes, want %d to %d", computed, minutes, addresses, most)
	}
}

// TestUnknownNamesWaitAlike: who must wait does not tell who exists.
func TestUnknownNamesWaitAlike(t *testing.T) {
	t.Parallel()
	trace := func(user string) (codes []int) {
		o := open(t)
		for i := range 4 * pairTries {
			codes = append(codes, o.from(t, fmt.Sprint("192.0.2.", i%3), user, fmt.Sprint("guess ", i)))
			o.clock.move(time.Second)
		}
		return codes
	}
	if known, unknown := trace("ana"), trace("zoe"); !slices.Equal(known, unknown) {
		t.Errorf("guesses at a user: %v, at nobody: %v", known, unknown)
	}
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
	if len(g.sources) > maxGuessers || len(g.users) > maxGuessers || len(g.pairs) > maxGuessers {
		t.Errorf("%d sources, %d pairs and %d users are kept, want at most %d", len(g.sources), len(g.pairs), len(g.users), maxGuessers)
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
