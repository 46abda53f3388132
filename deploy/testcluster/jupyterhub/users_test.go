package jupyterhub

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	scope     = "access:services!service=deployment-manager"
	folder    = "apps-notebooks"
	report    = folder + "/noon-run"
	notebook  = report + "/flow-report.ipynb"
	untouched = report + "/data/links.csv"
	status    = folder + "/SYNC.md"
)

// TestUsers is a day of two people with one Hub.
func TestUsers(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.hub.with(fromServer(t))
	s.hub.start(t)
	s.server.start(t)
	s.publish(t, "flow-report-1.0.0")
	s.publish(t, "flow-report-1.1.0")
	keptRoles(t, s)

	people := signInAll(t, s, "alice", "bob")
	alice, bob := people[0], people[1]
	for _, person := range people {
		if got := person.list(t, folder); !slices.Contains(got, "README.ipynb") || !slices.Contains(got, "SYNC.md") {
			t.Errorf("a first start shows %s %q, want README.ipynb and SYNC.md", person.user, got)
		}
	}

	// A token that is in use when it is revoked: what the server remembers of
	// it ends within a minute, which passes beside the rest of this test.
	aliceToken, _ := s.token(t, "alice", scope)
	revoked := revokeInUse(t, s, "bob")

	s.create(t, aliceToken, "noon-run", "flow-report-1.0.0")
	t.Run("notebooks arrive at the next start", func(t *testing.T) {
		alice.restartServer(t)
		if got := alice.list(t, report); !slices.Contains(got, "flow-report.ipynb") {
			t.Errorf("the notebook is not there: %q", got)
		}
		if got := bob.list(t, folder); slices.Contains(got, "noon-run") {
			t.Errorf("bob sees alice's application: %q", got)
		}
	})
	t.Run("an edit survives a restart", func(t *testing.T) {
		alice.addCell(t, notebook, "my own work")
		alice.restartServer(t)
		wantOwnWork(t, alice)
	})
	t.Run("an edit survives an upgrade of the application", func(t *testing.T) {
		before := alice.read(t, untouched)
		s.upgrade(t, aliceToken, "noon-run", "flow-report-1.1.0")
		alice.restartServer(t)
		wantOwnWork(t, alice)
		names := alice.list(t, report)
		beside := slices.IndexFunc(names, regexp.MustCompile(`^flow-report\..*1\.1\.0.*\.ipynb$`).MatchString)
		if beside < 0 {
			t.Fatalf("the new version does not lie beside the changed notebook: %q", names)
		}
		if got := alice.read(t, report+"/"+names[beside]); strings.Contains(got, "my own work") {
			t.Error("the new version holds what alice wrote into the old")
		}
		if !slices.Contains(names, "help") {
			t.Errorf("what is new in 1.1.0 did not arrive: %q", names)
		}
		if got := alice.read(t, untouched); got == before {
			t.Error("a file that alice did not change is still that of 1.0.0")
		}
		if got := alice.read(t, status); !strings.Contains(got, names[beside]) {
			t.Errorf("%s does not name %s:\n%s", status, names[beside], got)
		}
	})
	t.Run("tokens open one's own repository only", func(t *testing.T) { wantOwnOnly(t, s, aliceToken) })
	t.Run("a cell refreshes the folder", func(t *testing.T) { wantRefresh(t, s, alice, aliceToken) })
	t.Run("the program is kept in the home", func(t *testing.T) {
		kept := filepath.Join(s.folder, "home/alice/.cache/deployment-manager", syncName+"-"+runtime.GOARCH)
		if _, err := os.Stat(kept); err != nil {
			t.Error(err)
		}
	})
	t.Run("names with odd characters", func(t *testing.T) { wantOddNames(t, s) })
	t.Run("a revoked token ends within a minute", func(t *testing.T) {
		if err := <-revoked; err != nil {
			t.Error(err)
		}
	})
}

// TestHub5 is a first start with the major version before: what is under test
// uses nothing that 5 does not have.
func TestHub5(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	older := filepath.Join(environment(t), "hub5")
	// The tree of our image, as a volume of the image shows it.
	s.hub.with("PYTHONPATH="+older, "DM_TEST_DATA="+filepath.Join(older, "share/jupyterhub"), mounted(t, "usr/local/bin/"+syncName+"-"+runtime.GOARCH))
	s.hub.start(t)
	if got := string(s.ask(t, "GET", "/", "", http.StatusOK)); !strings.Contains(got, `"5.`) {
		t.Fatalf("this is another version: %s", got)
	}
	s.server.start(t)
	s.publish(t, "flow-report-1.0.0")
	s.ask(t, "POST", "/users/erin", "", http.StatusCreated)
	token, _ := s.token(t, "erin", scope)
	s.create(t, token, "noon-run", "flow-report-1.0.0")
	erin := signIn(t, s, "erin")
	if got := erin.list(t, report); !slices.Contains(got, "flow-report.ipynb") {
		t.Errorf("the notebook is not there: %q", got)
	}
	if got := erin.list(t, folder); !slices.Contains(got, "SYNC.md") {
		t.Errorf("it was not the program that brought it: %q", got)
	}
	narrow, _ := s.token(t, "erin", "read:users:name!user")
	if got := s.repository(t, "erin", "erin", narrow); got != http.StatusForbidden {
		t.Errorf("a token without the scope: want 403, got %d", got)
	}
	keptRoles(t, s)
}

// signInAll lets people sign in at the same time.
func signInAll(t *testing.T, s *site, users ...string) []*browser {
	t.Helper()
	people := make([]*browser, len(users))
	var wait sync.WaitGroup
	for i, user := range users {
		wait.Go(func() { people[i] = signIn(t, s, user) })
	}
	wait.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return people
}

// keptRoles checks that our file added to what the Hub's configuration had.
func keptRoles(t *testing.T, s *site) {
	t.Helper()
	services := string(s.ask(t, "GET", "/services", "", http.StatusOK))
	for _, name := range []string{`"test"`, `"deployment-manager"`} {
		if !strings.Contains(services, name) {
			t.Errorf("the Hub does not know the service %s: %s", name, services)
		}
	}
}

func wantOwnWork(t *testing.T, b *browser) {
	t.Helper()
	if got := b.read(t, notebook); !strings.Contains(got, "my own work") {
		t.Errorf("what the user wrote is gone:\n%s", got)
	}
}

// revokeInUse revokes a token that the server has just let in and tells how
// that ends.
func revokeInUse(t *testing.T, s *site, user string) <-chan error {
	t.Helper()
	token, id := s.token(t, user, scope)
	if got := s.repository(t, user, user, token); got != http.StatusOK {
		t.Fatalf("%s's token opens %s's repository: want 200, got %d", user, user, got)
	}
	s.ask(t, "DELETE", "/users/"+user+"/tokens/"+id, "", http.StatusNoContent)
	revoked := time.Now()
	done := make(chan error, 1)
	go func() {
		// The promise is 60 seconds, and two more are for its clocks. It is about
		// when a token is used: how long a busy machine then takes to answer, or to
		// say that it cannot ask the Hub, does not count.
		var late error
		err := poll(3*time.Minute, func() error {
			since := time.Since(revoked)
			got, err := s.open(user, user, token)
			switch {
			case err != nil:
				return err
			case got == http.StatusUnauthorized:
				return nil
			case got == http.StatusOK && since > 62*time.Second:
				late = fmt.Errorf("%v after it was revoked, the token still opens the repository", since)
				return nil
			}
			return fmt.Errorf("the revoked token gets %d", got)
		})
		done <- errors.Join(err, late)
	}()
	return done
}

// wantOwnOnly: another user's repository is answered as one that is not there.
func wantOwnOnly(t *testing.T, s *site, token string) {
	server := environOf(t, s.folder, "alice")["JUPYTERHUB_API_TOKEN"]
	narrow, _ := s.token(t, "alice", "read:users:name!user")
	other, _ := s.token(t, "alice", "access:servers!server=alice/")
	gone, id := s.token(t, "alice", scope)
	s.ask(t, "DELETE", "/users/alice/tokens/"+id, "", http.StatusNoContent)
	for _, test := range []struct {
		name          string
		of, by, token string
		want          int
	}{
		{"alice's server opens her own", "alice", "alice", server, http.StatusOK},
		{"alice's own token opens her own", "alice", "alice", token, http.StatusOK},
		{"alice's server at bob's", "bob", "alice", server, http.StatusNotFound},
		{"alice's server at bob's under his name", "bob", "bob", server, http.StatusUnauthorized},
		{"alice's own token at bob's", "bob", "alice", token, http.StatusNotFound},
		{"without a token", "alice", "", "", http.StatusUnauthorized},
		{"a token without the scope", "alice", "alice", narrow, http.StatusForbidden},
		{"a token for a server only", "alice", "alice", other, http.StatusForbidden},
		{"a token that was revoked before its use", "alice", "alice", gone, http.StatusUnauthorized},
		{"the token of a service of the Hub", "alice", "alice", serviceToken, http.StatusForbidden},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := s.repository(t, test.of, test.by, test.token); got != test.want {
				t.Errorf("want %d, got %d", test.want, got)
			}
		})
	}
}

// wantRefresh runs the script in a cell of a real kernel, as a person does who
// does not want to restart the server.
func wantRefresh(t *testing.T, s *site, b *browser, token string) {
	s.create(t, token, "late-run", "flow-report-1.0.0")
	output := runCell(t, s, b.user, `import subprocess; print(subprocess.run(["sh", "`+absolute(t, syncScript)+`"]).returncode)`)
	if !strings.HasSuffix(strings.TrimSpace(output), "0") {
		t.Errorf("the script ended in the kernel with %q, want 0", output)
	}
	if got := b.list(t, folder); !slices.Contains(got, "late-run") {
		t.Errorf("the new application is not there: %q", got)
	}
	wantOwnWork(t, b)
}

// wantOddNames signs in people whose names mean something in addresses, paths
// or a shell. The Hub makes names lower case and refuses a slash only. A name
// such as $(id); &a=b is left out: the Hub starts its server and then does not
// find it, because its parts write the address in different ways.
func wantOddNames(t *testing.T, s *site) {
	for i, user := range []string{"zoë o'neil+50%?#@example.com", `"fifty%" <now> | {then}`} {
		t.Run(user, func(t *testing.T) {
			t.Parallel()
			s.ask(t, "POST", "/users/"+url.PathEscape(user), "", http.StatusCreated)
			token, _ := s.token(t, user, scope)
			s.create(t, token, fmt.Sprintf("odd-run-%d", i), "flow-report-1.0.0")
			b := signIn(t, s, user)
			name := fmt.Sprintf("%s/odd-run-%d", folder, i)
			if got := b.list(t, name); !slices.Contains(got, "flow-report.ipynb") {
				t.Errorf("the notebook is not there: %q", got)
			}
			if got := s.repository(t, "bob", user, token); got != http.StatusNotFound {
				t.Errorf("bob's repository by %s: want 404, got %d", user, got)
			}
		})
	}
}
