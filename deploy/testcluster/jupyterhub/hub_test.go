package jupyterhub

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

const (
	hubPassword = "one password for this test"
	// The server asks the Hub only about tokens of the form that users' have.
	serviceToken = "5e41ce7e57ab4d0c9a11fee1f00d5afe" // of an administrator at the Hub
)

// client gives up, where http.DefaultClient would wait for ever.
var client = &http.Client{Timeout: waitForChange}

// site is a Hub and the project's server beside it, which trust one another.
type site struct {
	folder                 string
	hub, server            *program
	public, api            string // the Hub's addresses: for browsers, for its API
	git, manager, packages string // the server's
	publisher              string // token of ana, who uploads packages
}

// newSite starts nothing yet.
func newSite(t *testing.T) *site {
	t.Helper()
	env := environment(t)
	s := &site{folder: t.TempDir()}
	port, hubPort, proxyPort := freePort(t), freePort(t), freePort(t)
	s.public, s.api = "http://127.0.0.1:"+port, "http://127.0.0.1:"+hubPort+"/hub/api"
	s.server, s.git, s.manager, s.packages = newServer(t, s.folder, s.api)
	s.publisher = apiToken(t, s.folder, "ana")

	config, file, script := absolute(t, hubFile), absolute(t, configFile), absolute(t, syncScript)
	if err := os.MkdirAll(filepath.Join(s.folder, "home"), 0o755); err != nil {
		t.Fatal(err)
	}
	command := func() *exec.Cmd {
		cmd := exec.Command(filepath.Join(env, "bin/python"), "-m", "jupyterhub", "-f", config)
		cmd.Dir = s.folder
		cmd.Env = append(bareEnvironment(s.folder),
			"DM_TEST_ENVIRONMENT="+env, "DM_TEST_RUN="+s.folder, "DM_TEST_FILE="+file,
			"DM_TEST_PORT="+port, "DM_TEST_HUB_PORT="+hubPort, "DM_TEST_PROXY_PORT="+proxyPort,
			"DM_GIT_URL="+s.git, "DM_SYNC_SCRIPT="+script)
		return cmd
	}
	s.hub = &program{name: "the Hub", command: command, ready: s.public + "/hub/health", log: filepath.Join(s.folder, "hub.log"), hangs: true}
	t.Cleanup(func() {
		s.hub.stop(t)
		s.server.stop(t)
		if err := endAll(s.folder); err != nil { // the Hub left servers running
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("the Hub's log:\n%s\nthe server's log:\n%s", s.hub.tail(), s.server.tail())
		}
	})
	return s
}

// ask calls the Hub's API as an administrator's service.
func (s *site) ask(t *testing.T, method, path, body string, want int) []byte {
	t.Helper()
	status, answer := call(t, method, s.api+path, "token "+serviceToken, body)
	if status != want {
		t.Fatalf("%s %s: want %d, got %d: %s", method, path, want, status, answer)
	}
	return answer
}

// token makes a token for the user with the scopes, as a person can in the
// Hub's pages.
func (s *site) token(t *testing.T, user string, scopes ...string) (token, id string) {
	t.Helper()
	body, err := json.Marshal(map[string]any{"scopes": scopes, "note": "for a test"})
	if err != nil {
		t.Fatal(err)
	}
	var made struct{ Token, ID string }
	if err := json.Unmarshal(s.ask(t, "POST", "/users/"+url.PathEscape(user)+"/tokens", string(body), http.StatusCreated), &made); err != nil {
		t.Fatal(err)
	}
	return made.Token, made.ID
}

// repository is what the server says to a clone of the user's notebooks by
// somebody. A server that cannot ask the Hub now is asked again.
func (s *site) repository(t *testing.T, of, by, token string) (status int) {
	t.Helper()
	var err error
	untilReady(func() int {
		status, err = s.open(of, by, token)
		return status
	})
	if err != nil {
		t.Fatal(err)
	}
	return status
}

// open asks for the repository once.
func (s *site) open(of, by, token string) (status int, err error) {
	request, err := http.NewRequest(http.MethodGet, s.git+"/jupyter-"+url.PathEscape(of)+"/info/refs?service=git-upload-pack", nil)
	if err != nil {
		return 0, err
	}
	if token != "" {
		request.SetBasicAuth(by, token)
	}
	answer, err := client.Do(request)
	if err != nil {
		return 0, err
	}
	return answer.StatusCode, answer.Body.Close()
}

// untilReady asks until the answer is another than 503, or for the time of a
// change: a Hub that answers in more than five seconds, because the machine is
// busy, counts as unavailable at the server, which tells callers to come back.
func untilReady(ask func() (status int)) {
	// That it stays so is what the caller finds.
	_ = poll(waitForChange, func() error {
		if ask() == http.StatusServiceUnavailable {
			return errors.New("not ready")
		}
		return nil
	})
}

// publish uploads and deploys one of the project's example packages.
func (s *site) publish(t *testing.T, id string) {
	t.Helper()
	var archive bytes.Buffer
	pack := exec.Command("tar", "-C", root+"/deploy/examples", "-czf", "-", id)
	pack.Stdout = &archive
	if err := pack.Run(); err != nil {
		t.Fatal(err)
	}
	bearer := "Bearer " + s.publisher
	if status, answer := call(t, "PUT", s.packages+"/packages/"+id+".tar.gz", bearer, archive.String()); status != http.StatusOK {
		t.Fatalf("upload %s: %d %s", id, status, answer)
	}
	if status, answer := call(t, "PUT", s.manager+"/packages/"+id, bearer, ""); status != http.StatusAccepted {
		t.Fatalf("deploy %s: %d %s", id, status, answer)
	}
	s.await(t, "/packages/"+id+"/status", bearer, "DEPLOYED")
}

// create makes the user's application with the user's own token of the Hub.
func (s *site) create(t *testing.T, token, name, id string) {
	t.Helper()
	if status, answer := call(t, "PUT", s.manager+"/applications/"+name, "Bearer "+token, `{"package": "`+id+`"}`); status != http.StatusAccepted {
		t.Fatalf("create %s: %d %s", name, status, answer)
	}
	s.await(t, "/applications/"+name+"/status", "Bearer "+token, "CREATED")
}

// upgrade changes the application to another package.
func (s *site) upgrade(t *testing.T, token, name, id string) {
	t.Helper()
	if status, answer := call(t, "PUT", s.manager+"/api/v1/applications/"+name, "Bearer "+token, `{"package": "`+id+`"}`); status != http.StatusAccepted {
		t.Fatalf("change %s: %d %s", name, status, answer)
	}
	s.await(t, "/applications/"+name+"/status", "Bearer "+token, "CREATED")
}

func (s *site) await(t *testing.T, path, authorization, want string) {
	t.Helper()
	eventually(t, waitForChange, func() error {
		status, answer := call(t, "GET", s.manager+path, authorization, "")
		if status != http.StatusOK || !bytes.Contains(answer, []byte(`"`+want+`"`)) {
			return fmt.Errorf("GET %s: want %s, got %d %s", path, want, status, answer)
		}
		return nil
	})
}

// call makes a request, again while the answer is that nothing can be done now,
// and returns status and body.
func call(t *testing.T, method, address, authorization, body string) (status int, text []byte) {
	t.Helper()
	untilReady(func() int {
		status, text = callOnce(t, method, address, authorization, body)
		return status
	})
	return status, text
}

func callOnce(t *testing.T, method, address, authorization, body string) (int, []byte) {
	t.Helper()
	request, err := http.NewRequest(method, address, bytes.NewReader([]byte(body)))
	if err != nil {
		t.Fatal(err)
	}
	if authorization != "" {
		request.Header.Set("Authorization", authorization)
	}
	answer, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, text
}
