package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/crypto/bcrypt"
)

// TestTrustedProxies: on every port, who has no tries left is the client behind
// the proxy and not everybody behind it.
func TestTrustedProxies(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	hash, err := bcrypt.GenerateFromPassword([]byte("good"), bcrypt.MinCost)
	must(t, err)
	users := filepath.Join(folder, "users")
	must(t, os.WriteFile(users, []byte("ana:"+string(hash)+"\n"), 0o600))
	h := startHouse(t, folder, func(string) string { return "" }, "--htpasswd", users, "--trusted-proxies", "127.0.0.1")
	guess := func(door, path, client, user string) int {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, h.url(door, "", path), nil)
		must(t, err)
		request.SetBasicAuth(user, "bad")
		request.Header.Set("X-Forwarded-For", client)
		answer, err := http.DefaultClient.Do(request)
		must(t, err)
		must(t, answer.Body.Close())
		return answer.StatusCode
	}
	const enough = 60 // of wrong passwords; by one address 30 are allowed
	for n, door := range []struct{ name, path string }{
		{"packages", "/packages"}, {"manager", "/applications"}, {"git", "/jupyter-ana/info/refs?service=git-upload-pack"},
	} {
		guesser, other := fmt.Sprint("203.0.113.", n), fmt.Sprint("198.51.100.", n)
		got := 0
		for i := 0; i < enough && got != http.StatusTooManyRequests; i++ {
			got = guess(door.name, door.path, guesser, fmt.Sprint("user", i))
		}
		if got != http.StatusTooManyRequests {
			t.Errorf("%s: after %d wrong passwords the answer is %d, want 429", door.name, enough, got)
		}
		if got := guess(door.name, door.path, other, fmt.Sprint("other", n)); got != http.StatusUnauthorized {
			t.Errorf("%s: somebody else behind the proxy gets %d, want 401", door.name, got)
		}
	}
}
