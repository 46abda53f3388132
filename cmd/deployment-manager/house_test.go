package main

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/pndaproject/deployment-manager/deploy/examples"
)

// isolated is an environment in which a program, git above all, finds nobody's
// settings, and more.
func isolated(home string, more ...string) []string {
	return append([]string{
		"HOME=" + home, "PATH=" + os.Getenv("PATH"), "TZ=UTC", "LC_ALL=C",
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=" + os.DevNull, "GIT_TERMINAL_PROMPT=0",
	}, more...)
}

// house is a server of its own with a helper for what a test does in it.
type house struct {
	*runningServer
	t      *testing.T
	folder string
	login  func(user string) string // "user:password@"
}

func startHouse(t *testing.T, folder string, login func(string) string, options ...string) *house {
	t.Helper()
	h := &house{t: t, folder: folder, login: login}
	var err error
	if h.runningServer, err = launch(folder, h.data(), isolated(folder, "GORACE="+os.Getenv("GORACE")), options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.stop)
	return h
}

func (h *house) stop() {
	h.t.Helper()
	if h.runningServer == nil {
		return
	}
	if err := h.end(syscall.SIGTERM); err != nil {
		h.t.Errorf("the server ended: %v", err)
	}
	h.runningServer = nil
}

func (h *house) data() string { return filepath.Join(h.folder, "data") }

// url is an address of one of the doors, for a user.
func (h *house) url(door, user, path string) string {
	return "http://" + h.login(user) + h.addresses[door] + path
}

func (h *house) send(want int, method, url, body string) string {
	h.t.Helper()
	status, answer, err := send(method, url, body)
	if err != nil || status != want {
		h.t.Fatalf("%s %s: got %d %s, %v, want %d", method, url, status, answer, err, want)
	}
	return answer
}

// publish uploads an example package and deploys it.
func (h *house) publish(user, id string) {
	h.t.Helper()
	archive, err := examples.Archive(id)
	if err != nil {
		h.t.Fatal(err)
	}
	h.send(http.StatusOK, http.MethodPut, h.url("packages", user, "/packages/"+id+".tar.gz?user.name="+user), string(archive))
	h.send(http.StatusAccepted, http.MethodPut, h.url("manager", user, "/packages/"+id+"?user.name="+user), "")
	h.settled(user, "/packages/"+id, "DEPLOYED")
}

// create makes an application from a package, and has its owner ask for it.
func (h *house) create(user, app, id string) {
	h.t.Helper()
	h.send(http.StatusAccepted, http.MethodPut, h.url("manager", user, "/applications/"+app+"?user.name="+user), `{"package":"`+id+`"}`)
	h.settled(user, "/applications/"+app, "CREATED")
	h.send(http.StatusOK, http.MethodGet, h.url("git", user, "/jupyter-"+user+"/head"), "")
}

// change gives an application another package.
func (h *house) change(user, app, id string) {
	h.t.Helper()
	h.send(http.StatusAccepted, http.MethodPut, h.url("manager", user, "/api/v1/applications/"+app+"?user.name="+user), `{"package":"`+id+`"}`)
	h.settled(user, "/applications/"+app, "CREATED")
}

func (h *house) settled(user, path, want string) {
	h.t.Helper()
	err := poll(func() (bool, string) {
		answer := h.send(http.StatusOK, http.MethodGet, h.url("manager", user, path+"/status?user.name="+user), "")
		var state struct{ Status string }
		if err := json.Unmarshal([]byte(answer), &state); err != nil {
			h.t.Fatal(err)
		}
		return state.Status == want, path + " to be " + want + ": " + answer
	})
	if err != nil {
		h.t.Fatal(err)
	}
}

// bare runs git in one of the server's repositories.
func (h *house) bare(repository string, args ...string) string {
	h.t.Helper()
	d := &developer{h.t, h.folder}
	return strings.TrimSpace(d.git(append([]string{"--git-dir", filepath.Join(h.data(), filepath.FromSlash(repository))}, args...)...))
}
