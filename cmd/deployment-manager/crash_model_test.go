package main

import (
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"
)

// cell is the model of one thing in the record: the states that it may have.
// There is one, or two after a request that the server died over.
type cell[S comparable] struct{ possible []S }

func (c *cell[S]) now() S { return c.possible[0] }

// attempt sends one request and keeps what may have come of it. It returns an
// error when the server is gone, or when the request was refused although the
// model says that it is legal.
func attempt[S comparable](c *cell[S], next S, want int, send func() (int, string, error)) error {
	c.possible = append(c.possible[:1], next)
	status, answer, err := send()
	if err != nil {
		return errGone{err}
	}
	if status != want {
		c.possible = c.possible[:1]
		return fmt.Errorf("want status %d, got %d: %s", want, status, answer)
	}
	c.possible = []S{next}
	return nil
}

// errGone says that the server did not answer.
type errGone struct{ error }

// observe settles which of the possible states is the true one. public blanks
// what the server does not tell.
func (c *cell[S]) observe(got S, public func(S) S) error {
	for _, s := range c.possible {
		if public(s) == got {
			c.possible = []S{s}
			return nil
		}
	}
	return fmt.Errorf("got %+v, want one of %+v", got, c.possible)
}

// appState is what an application is, as far as clients can tell.
type appState struct {
	Phase    string
	Package  string // id
	Topic    string
	Audience string // users, joined by spaces
	Number   int    // of the deployment in effect
	Failed   bool   // the information tells of an error

	marker string // text of the package's notebook as it was deployed
	given  int    // highest number of a deployment
}

// public is the state without what neither the API nor the refs tell.
func (a appState) public() appState { a.marker = ""; return a }

func (a appState) delivered() bool { return a.Phase == "CREATED" || a.Phase == "STARTED" }

// crashWorld is a data folder, the server on it, and the model of all that
// clients ever did there.
type crashWorld struct {
	t        *testing.T
	folder   string
	options  []string
	server   *crashServer
	client   *http.Client
	finished bool           // everything was right to the end
	slowest  time.Duration  // start
	packs    int            // made by addPacks
	failing  atomic.Bool    // the disk fails: an answer of 500 and more leaves it open what came of the request
	follower *crashFollower // nil when nobody follows the events
	full     bool           // the disk is full at times: what is derived may come a moment later

	mu       sync.Mutex // of the maps; a cell belongs to one client at a time
	files    map[string]*cell[string]
	deployed map[string]*cell[string]
	apps     map[string]*cell[appState]
	newest   map[string]*cell[upload]
	replaced map[string]int // by package: acknowledged ends of a version, which history keeps
}

// upload is what main of a package shows: the newest upload, also when it was
// withdrawn.
type upload struct{ file, mark string }

func newCrashWorld(t *testing.T, options ...string) *crashWorld {
	w := &crashWorld{
		t: t, folder: t.TempDir(), options: options,
		files: map[string]*cell[string]{}, deployed: map[string]*cell[string]{}, apps: map[string]*cell[appState]{},
		newest: map[string]*cell[upload]{}, replaced: map[string]int{},
	}
	t.Cleanup(func() {
		if t.Failed() && !w.finished {
			t.Logf("what the server logged last:\n%s", w.lastLogged())
		}
	})
	return w
}

// readyWithin bounds a start after a crash. It may wait ten seconds for orphans,
// see crashLockWait, and gets as much again on a machine that is busy with other
// tests.
const readyWithin = 30 * time.Second

// start starts the server and waits until it is ready.
func (w *crashWorld) start() {
	w.t.Helper()
	w.server = startCrashServer(w.t, w.folder, w.options...)
	w.awaitReady()
}

// lastLogged is the end of the server's log without the requests that went well.
func (w *crashWorld) lastLogged() string {
	text, err := os.ReadFile(filepath.Join(w.folder, "server.log"))
	if err != nil {
		return err.Error()
	}
	var lines []string
	for line := range strings.Lines(string(text)) {
		if !strings.Contains(line, `"status":200`) {
			lines = append(lines, line[:min(len(line), 500)])
		}
	}
	return strings.Join(lines[max(0, len(lines)-12):], "")
}

func (w *crashWorld) awaitReady() {
	w.t.Helper()
	w.client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}, Timeout: 30 * time.Second}
	select {
	case <-w.server.ready:
	case <-time.After(readyWithin):
		w.t.Fatalf("the server is not ready after %v", readyWithin)
	}
	if w.server.addresses == nil {
		w.t.Fatalf("the server ended before it was ready: %v", w.server.err)
	}
	w.slowest = max(w.slowest, w.server.readyIn)
}

// stop ends the server as an operator does.
func (w *crashWorld) stop() {
	w.t.Helper()
	w.client.CloseIdleConnections()
	if err := w.server.cmd.Process.Signal(os.Interrupt); err != nil {
		w.t.Fatal(err)
	}
	w.server.awaitExit(w.t, "it was told to stop")
	if w.server.err != nil {
		w.t.Fatalf("stop: %v", w.server.err)
	}
}

// died cleans up after the server was killed.
func (w *crashWorld) died() {
	w.t.Helper()
	w.server.awaitExit(w.t, "it was to die")
	w.client.CloseIdleConnections()
	_ = os.Remove(filepath.Join(w.folder, killFile))
}

// verify proves the record of a stopped server with the program's own command.
func (w *crashWorld) verify() {
	w.t.Helper()
	program, err := exec.LookPath("deployment-manager")
	if err != nil {
		w.t.Fatal(err)
	}
	cmd := exec.Command(program, "verify", "--data", filepath.Join(w.folder, "data"))
	cmd.Env = []string{"HOME=" + w.folder, "PATH=" + os.Getenv("PATH")}
	if out, err := cmd.CombinedOutput(); err != nil {
		w.t.Fatalf("verify: %v\n%s", err, out)
	}
}

func (w *crashWorld) send(method, port, path, user, body string) (int, string, error) {
	target := "http://" + w.server.addresses[port] + path
	if user != "" {
		target += "?user.name=" + user
	}
	r, err := http.NewRequest(method, target, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	answer, err := w.client.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode >= http.StatusInternalServerError && w.failing.Load() {
		err = fmt.Errorf("%s %s: status %d: %s", method, path, answer.StatusCode, text)
	}
	return answer.StatusCode, string(text), err
}

// cellOf finds or makes the cell of a name.
func cellOf[S comparable](w *crashWorld, m map[string]*cell[S], name string, first S) *cell[S] {
	w.mu.Lock()
	defer w.mu.Unlock()
	if m[name] == nil {
		m[name] = &cell[S]{[]S{first}}
	}
	return m[name]
}

func (w *crashWorld) main(id string) *cell[upload] {
	return cellOf(w, w.newest, packageOf(id), upload{})
}
func (w *crashWorld) file(id string) *cell[string]       { return cellOf(w, w.files, id+".tar.gz", "") }
func (w *crashWorld) deployment(id string) *cell[string] { return cellOf(w, w.deployed, id, "") }
func (w *crashWorld) app(name string) *cell[appState] {
	return cellOf(w, w.apps, name, appState{Phase: "NOTCREATED"})
}

// publish uploads a version. The bytes that are there already change nothing.
func (w *crashWorld) publish(user, id, mark string) error {
	return w.publishBy(id, mark, func() (int, string, error) {
		return w.send(http.MethodPut, "packages", "/packages/"+id+".tar.gz", user, string(crashArchive(id, mark)))
	})
}

func (w *crashWorld) mark(text string) string { return text }

// publishBy keeps what comes of sending a version through one of the doors.
func (w *crashWorld) publishBy(id, mark string, send func() (int, string, error)) error {
	newest, old := w.main(id), w.file(id).now()
	next := upload{id + ".tar.gz", mark}
	if old != mark {
		newest.possible = append(newest.possible[:1], next)
	}
	err := attempt(w.file(id), mark, http.StatusOK, send)
	if err == nil && old != mark {
		newest.possible = []upload{next}
		w.ended(id, old)
	}
	return err
}

func (w *crashWorld) withdraw(user, id string) error {
	old := w.file(id).now()
	err := attempt(w.file(id), "", http.StatusOK, func() (int, string, error) {
		return w.send(http.MethodDelete, "packages", "/packages/"+id+".tar.gz", user, "")
	})
	if err == nil {
		w.ended(id, old)
	}
	return err
}

// ended counts that a version is no longer what it was.
func (w *crashWorld) ended(id, old string) {
	if old != "" {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.replaced[packageOf(id)]++
	}
}

func packageOf(id string) string { return id[:strings.LastIndexByte(id, '-')] }

// deploy of what was never published is accepted and fails.
func (w *crashWorld) deploy(user, id string) error {
	return attempt(w.deployment(id), w.file(id).now(), http.StatusAccepted, func() (int, string, error) {
		return w.send(http.MethodPut, "manager", "/packages/"+id, user, "")
	})
}

func (w *crashWorld) undeploy(user, id string) error {
	return attempt(w.deployment(id), "", http.StatusAccepted, func() (int, string, error) {
		return w.send(http.MethodDelete, "manager", "/packages/"+id, user, "")
	})
}

// request changes an application and waits until the change is carried out.
func (w *crashWorld) request(app string, next appState, method, path, user, body string) error {
	return w.requestBy(app, next, func() (int, string, error) { return w.send(method, "manager", path, user, body) })
}

// requestBy sends the change through one of the doors.
func (w *crashWorld) requestBy(app string, next appState, send func() (int, string, error)) error {
	if err := attempt(w.app(app), next, http.StatusAccepted, send); err != nil {
		return fmt.Errorf("change of %s to %+v: %w", app, next, err)
	}
	return w.settle(app)
}

// broken marks packages with a component that cannot be carried out here.
const broken = " broken"

// create makes an application; with a broken package it is accepted and fails.
func (w *crashWorld) create(user, app, id, topic string) error {
	next := w.afterCreate(user, app, id, topic)
	return w.request(app, next, http.MethodPut, "/applications/"+app, user, fmt.Sprintf(`{"package":%q,"jupyter":{"report":{"topic":%q}}}`, id, topic))
}

// afterCreate is what a create leads to.
func (w *crashWorld) afterCreate(user, app, id, topic string) appState {
	old, marker := w.app(app).now(), w.deployment(id).now()
	next := appState{Phase: "CREATED", Package: id, Topic: topic, Audience: user, Number: old.given + 1, marker: marker, given: old.given + 1}
	if strings.HasSuffix(marker, broken) {
		next.Phase, next.Failed = "NOTCREATED", true
	}
	return next
}

// change gives an application another package, topic and audience; with a
// broken package it is accepted and everything stays.
func (w *crashWorld) change(user, app, id, topic, audience string) error {
	subjects := `"user:` + strings.ReplaceAll(audience, " ", `","user:`) + `"`
	body := fmt.Sprintf(`{"package":%q,"overrides":{"jupyter":{"report":{"topic":%q}}},"audience":[%s]}`, id, topic, subjects)
	return w.request(app, w.afterChange(app, id, topic, audience), http.MethodPut, "/api/v1/applications/"+app, user, body)
}

// afterChange is what a change leads to.
func (w *crashWorld) afterChange(app, id, topic, audience string) appState {
	old, marker := w.app(app).now(), w.deployment(id).now()
	if id == old.Package {
		marker = old.marker // an application keeps the files of its package, whatever is deployed under the id now
	}
	next := old
	next.given++
	if strings.HasSuffix(marker, broken) {
		next.Failed = true
	} else {
		next.Package, next.Topic, next.Audience, next.Number, next.Failed, next.marker = id, topic, audience, next.given, false, marker
	}
	return next
}

func (w *crashWorld) run(user, app, verb string) error {
	return w.request(app, w.afterRun(app, verb), http.MethodPost, "/applications/"+app+"/"+verb, user, "")
}

// afterRun is what a start or stop leads to.
func (w *crashWorld) afterRun(app, verb string) appState {
	next := w.app(app).now()
	next.Failed = false
	next.Phase = map[string]string{"start": "STARTED", "stop": "CREATED"}[verb]
	return next
}

func (w *crashWorld) destroy(user, app string) error {
	return w.request(app, w.afterDestroy(app), http.MethodDelete, "/applications/"+app, user, "")
}

// afterDestroy is what a destroy leads to.
func (w *crashWorld) afterDestroy(app string) appState {
	return appState{Phase: "NOTCREATED", given: w.app(app).now().given}
}

// settle waits until an application is not being worked on.
func (w *crashWorld) settle(app string) error {
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(3 * time.Millisecond) {
		_, working, err := w.look(app)
		switch {
		case err != nil || !working:
			return err
		case time.Now().After(deadline):
			return fmt.Errorf("%s is still being worked on", app)
		}
	}
}

// look asks the server for an application.
func (w *crashWorld) look(app string) (s appState, working bool, err error) {
	status, answer, err := w.send(http.MethodGet, "manager", "/api/v1/applications/"+app, "ana", "")
	switch {
	case err != nil:
		return s, false, errGone{err}
	case status == http.StatusNotFound:
		return appState{Phase: "NOTCREATED"}, false, nil
	case status != http.StatusOK:
		return s, false, fmt.Errorf("%s: status %d: %s", app, status, answer)
	}
	var view struct {
		Phase, Package, Information, Desired string
		Deployment                           int
		Audience                             []string
		Overrides                            struct {
			Jupyter struct{ Report struct{ Topic string } }
		}
		Observed *struct{ Desired string }
	}
	if err := json.Unmarshal([]byte(answer), &view); err != nil {
		return s, false, err
	}
	users := make([]string, len(view.Audience))
	for i, subject := range view.Audience {
		users[i] = strings.TrimPrefix(subject, "user:")
	}
	s = appState{
		Phase: view.Phase, Package: view.Package, Topic: view.Overrides.Jupyter.Report.Topic, Audience: strings.Join(users, " "),
		Number: view.Deployment, Failed: strings.HasPrefix(view.Information, "Error"),
	}
	return s, view.Observed == nil || view.Observed.Desired != view.Desired, nil
}

// crashNotebook is the notebook of a test package; the topic in it is filled.
func crashNotebook(mark, topic string) []byte {
	return fmt.Appendf(nil, `{"cells":[{"cell_type":"markdown","id":"a","metadata":{},"source":["%s %s"]}],"metadata":{},"nbformat":4,"nbformat_minor":5}`, mark, topic)
}

// crashArchive is a tiny package. The same id and mark give the same bytes.
func crashArchive(id, mark string) []byte {
	build := tarball
	if strings.Contains(mark, byPush) {
		build = pushedTarball
	}
	data, err := build(crashFiles(mark), id)
	if err != nil {
		panic(err) // into memory, of a map: it can't fail
	}
	return data
}

func crashFiles(mark string) fs.FS {
	files := fstest.MapFS{
		"jupyter/report/report.ipynb":    {Data: crashNotebook(mark, "${component_topic}")},
		"jupyter/report/properties.json": {Data: []byte(`{"topic": "flows"}`)},
	}
	if strings.HasSuffix(mark, broken) {
		files["sparkStreaming/job/application.properties"] = &fstest.MapFile{}
		files["sparkStreaming/job/log4j.properties"] = &fstest.MapFile{}
		files["sparkStreaming/job/job.py"] = &fstest.MapFile{Data: []byte("print()\n")}
		files["sparkStreaming/job/properties.json"] = &fstest.MapFile{Data: []byte(`{"main_py": "job.py"}`)}
	}
	return files
}

func blobName(data []byte) string {
	sum := sha1.Sum(append(fmt.Appendf(nil, "blob %d\x00", len(data)), data...))
	return hex.EncodeToString(sum[:])
}
