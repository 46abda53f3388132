package files_test

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/apihandlers/files"
	"github.com/pndaproject/deployment-manager/plugins"
)

func TestAddressOpensItsFile(t *testing.T) {
	t.Parallel()
	p := open(t, nil)
	p.record.set(job, "print()\n", "")
	path := p.path(job, "print()\n")
	get, head := p.get(path), p.ask(http.MethodHead, path)
	if get.status != http.StatusOK || get.body != "print()\n" || head.status != http.StatusOK || head.body != "" {
		t.Errorf("GET is %d %q, HEAD %d %q, want the file", get.status, get.body, head.status, head.body)
	}
	want := map[string]string{
		"Content-Length": "8", "Content-Type": "application/octet-stream", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff",
		"Etag": fmt.Sprintf(`"%x"`, sha256.Sum256([]byte("print()\n"))),
	}
	for name, value := range want {
		if get.header.Get(name) != value || head.header.Get(name) != value {
			t.Errorf("%s is %q of GET and %q of HEAD, want %q", name, get.header.Get(name), head.header.Get(name), value)
		}
	}
	for _, method := range []string{http.MethodPut, http.MethodPost, http.MethodDelete} {
		if got := p.ask(method, path); got.status != http.StatusMethodNotAllowed {
			t.Errorf("%s: %d, want %d", method, got.status, http.StatusMethodNotAllowed)
		}
	}
}

// TestAddressOpensNothingElse: whatever else is asked for is not there, all in the
// same words.
func TestAddressOpensNothingElse(t *testing.T) {
	t.Parallel()
	p := open(t, nil)
	p.record.set(job, "print()\n", "")
	path := p.path(job, "print()\n")
	p.opens(path, "print()\n")
	for at := len("/files/"); at < len(path); at++ {
		for _, by := range []byte{path[at] ^ 1, path[at] ^ 0x20, 'A', '/'} {
			if by != path[at] && by > ' ' && by < 0x7f && by != '?' && by != '#' {
				p.closed(path[:at] + string(by) + path[at+1:])
			}
		}
		p.closed(path[:at])
		p.closed(path[:at] + path[at+1:])
	}
	signature, rest, _ := strings.Cut(strings.TrimPrefix(path, "/files/"), "/")
	foreign, err := files.NewSigner(base, bytes.Repeat([]byte{8}, 32))
	must(t, err)
	for name, path := range map[string]string{
		"more":              path + "/x",
		"a folder":          path + "/",
		"a listing":         "/files/",
		"its folder":        strings.TrimSuffix(path, "job.py"),
		"a null byte":       path + "%00",
		"another key":       strings.TrimPrefix(foreign.Address(job, sha256.Sum256([]byte("print()\n"))), base),
		"no signature":      "/files//" + rest,
		"climbing":          "/files/" + signature + "/../" + rest,
		"climbing, escaped": strings.Replace(path, "lib/job.py", "lib/%2e%2e/lib/job.py", 1),
		"two slashes":       strings.Replace(path, "lib/job.py", "lib//job.py", 1),
		"another digest":    p.path(job, "print(1)\n"),
		"long":              path + strings.Repeat("/x", 5000),
		"upper case":        "/files/" + strings.ToUpper(path[len("/files/"):]),
	} {
		if got := p.get(path); got.status != http.StatusNotFound || !strings.Contains(got.body, "no such resource") {
			t.Errorf("%s: %d %s, want the answer to what is not there", name, got.status, got.body)
		}
	}
}

// TestAddressOfOneOpensNoOther: whatever of a signed file is exchanged for that of
// another, of which the caller has an address too.
func TestAddressOfOneOpensNoOther(t *testing.T) {
	t.Parallel()
	p := open(t, nil)
	other := dm.DeliveredFile{Application: "night", Type: "flink", Component: "sum", Path: "job.py"}
	p.record.effective = map[dm.DeliveredFile]string{job: "mine", other: "theirs"}
	mine, theirs := p.path(job, "mine"), p.path(other, "theirs")
	p.opens(mine, "mine")
	p.opens(theirs, "theirs")
	a, b := strings.Split(mine, "/"), strings.Split(theirs, "/")
	for part := 2; part < len(b); part++ { // signature, how, digest, application, type, component, path
		mixed := append([]string{}, a...)
		if mixed[part] != b[part] {
			mixed[part] = b[part]
			p.closed(strings.Join(mixed, "/"))
		}
		if part > 2 {
			p.closed(strings.Join(append(append([]string{}, a[:part]...), b[part:]...), "/"))
		}
	}
	moved := p.path(dm.DeliveredFile{Application: "noon", Type: "sparkStreaming", Component: "count/lib", Path: "job.py"}, "mine")
	p.closed(strings.Replace(moved, "count%2Flib", "count/lib", 1))
}

// TestAddressEndsWithItsDeployment and not before.
func TestAddressEndsWithItsDeployment(t *testing.T) {
	t.Parallel()
	p := open(t, nil)
	one, two := p.path(job, "one"), p.path(job, "two")
	for _, step := range []struct {
		name, effective, coming string
		one, two                bool
	}{
		{"nothing but the create", "", "one", true, false},
		{"in effect", "one", "", true, false},
		{"started again", "one", "one", true, false},
		{"a change under way", "one", "two", true, true},
		{"the change in effect", "two", "", false, true},
		{"rolled back", "one", "", true, false},
		{"destroyed", "", "", false, false},
	} {
		p.record.set(job, step.effective, step.coming)
		for path, c := range map[string]struct {
			content string
			open    bool
		}{one: {"one", step.one}, two: {"two", step.two}} {
			if c.open {
				p.opens(path, c.content)
			} else {
				p.closed(path)
			}
		}
		if t.Failed() {
			t.Fatalf("while it is: %s", step.name)
		}
	}
}

func TestFilledJarIsMadeOnTheWay(t *testing.T) {
	t.Parallel()
	p := open(t, nil)
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	_, err := w.Create("a.class")
	must(t, err)
	must(t, w.Close())
	jar := job
	jar.Path = "lib/job.jar"
	properties := jar
	properties.Path = "application.properties"
	p.record.effective = map[dm.DeliveredFile]string{jar: b.String(), properties: "a=1\n"}
	fill := func(text string) string {
		var filled bytes.Buffer
		must(t, plugins.FilledJar(&filled, bytes.NewReader(b.Bytes()), int64(b.Len()), []byte(text)))
		return filled.String()
	}
	filled := jar
	filled.Filled = true
	one, two := fill("a=1\n"), fill("a=2\n")
	p.opens(p.path(jar, b.String()), b.String())
	p.opens(p.path(filled, one), one)
	p.closed(p.path(filled, two))
	p.closed(p.path(filled, b.String()))
	p.closed(p.path(jar, one))
	p.record.effective[properties] = "a=2\n"
	p.opens(p.path(filled, two), two)
	p.closed(p.path(filled, one))
	p.record.effective[jar] = "no jar"
	p.closed(p.path(filled, two))
	delete(p.record.effective, properties)
	p.closed(p.path(filled, two))
}

// TestWhatCannotBeReadComesLater: a driver is never given half a file, and is told
// apart what is not there and what can't be read now.
func TestWhatCannotBeReadComesLater(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]func(*port){
		"out of service": func(p *port) {
			p.record.fault = dm.Errorf(dm.Unavailable, "record", "the repository is out of service")
		},
		"torn":    func(p *port) { p.record.cut = true },
		"no room": func(*port) {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var cfg func(*files.Config)
			if name == "no room" {
				cfg = func(c *files.Config) { c.Spool += "/none" }
			}
			p := open(t, cfg)
			p.record.set(job, "print()\n", "")
			fault(p)
			got := p.get(p.path(job, "print()\n"))
			if got.status != http.StatusServiceUnavailable || got.header.Get("Retry-After") == "" || got.header.Get("Etag") != "" || strings.Contains(got.body, p.spool) {
				t.Errorf("%d %v %s, want that it is to be tried again", got.status, got.header, got.body)
			}
			p.closed(p.path(job, "print()\n") + "x")
		})
	}
}

// TestPlacesAreShared: so many at once, of one application half of them; others wait,
// and are told to come again when they waited long.
func TestPlacesAreShared(t *testing.T) {
	t.Parallel()
	entered, blocked := make(chan struct{}), make(chan struct{})
	p := open(t, func(c *files.Config) { c.AtOnce, c.Wait = 4, 50*time.Millisecond })
	p.record.entered, p.record.blocked = entered, blocked
	p.record.effective = map[dm.DeliveredFile]string{}
	path := map[string]string{}
	for _, app := range []string{"a", "b", "c"} {
		f := job
		f.Application = dm.ApplicationName(app)
		p.record.effective[f] = "content"
		path[app] = p.path(f, "content")
	}
	var readers sync.WaitGroup
	defer readers.Wait()
	begin := func(app string) {
		t.Helper()
		readers.Go(func() { p.opens(path[app], "content") })
		select {
		case <-entered:
		case <-time.After(soon):
			t.Fatalf("%s is not read", app)
		}
	}
	refused := func(app string) {
		t.Helper()
		if got := p.get(path[app]); got.status != http.StatusServiceUnavailable || got.header.Get("Retry-After") == "" {
			t.Errorf("%s: %d %s, want that it is to be tried again", app, got.status, got.body)
		}
	}
	begin("a")
	begin("a")
	refused("a")
	begin("b")
	begin("c")
	refused("c")
	p.closed(path["a"] + "x") // what has no right needs no place
	close(blocked)
}

func TestWhoWaitsGetsAPlace(t *testing.T) {
	t.Parallel()
	entered, blocked := make(chan struct{}, 9), make(chan struct{})
	p := open(t, func(c *files.Config) { c.AtOnce, c.Wait = 1, soon })
	p.record.entered, p.record.blocked = entered, blocked
	p.record.effective = map[dm.DeliveredFile]string{job: "content"}
	var readers sync.WaitGroup
	for range 5 {
		readers.Go(func() { p.opens(p.path(job, "content"), "content") })
	}
	<-entered
	close(blocked)
	readers.Wait()
	if got := p.get(p.path(job, "content")); got.status != http.StatusOK {
		t.Errorf("after all: %d, want a place", got.status)
	}
}

// TestWhoGoesAwayGivesThePlaceBack also in the middle of what is read for him.
func TestWhoGoesAwayGivesThePlaceBack(t *testing.T) {
	t.Parallel()
	entered, blocked := make(chan struct{}), make(chan struct{})
	p := open(t, func(c *files.Config) { c.AtOnce, c.Wait = 1, soon })
	p.record.entered, p.record.blocked = entered, blocked
	p.record.effective = map[dm.DeliveredFile]string{job: "content"}
	ctx, leave := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, p.server.URL+p.path(job, "content"), nil)
	must(t, err)
	left := make(chan error)
	go func() {
		response, err := p.server.Client().Do(r)
		if err == nil {
			response.Body.Close()
		}
		left <- err
	}()
	<-entered
	leave()
	if err := <-left; err == nil {
		t.Error("who left got an answer")
	}
	go func() { <-entered; close(blocked) }()
	p.opens(p.path(job, "content"), "content")
}

// TestEveryAnswerIsWhole while deployments come and go: an address gives its content
// or nothing.
func TestEveryAnswerIsWhole(t *testing.T) {
	t.Parallel()
	p := open(t, nil)
	content := func(n int) string { return strings.Repeat(strconv.Itoa(n)+"\n", 20_000) }
	done := make(chan struct{})
	var changes sync.WaitGroup
	changes.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-done:
				return
			default:
				p.record.set(job, content(n%3), content((n+1)%3))
			}
		}
	})
	var readers sync.WaitGroup
	for n := range 3 {
		readers.Go(func() {
			path, seen := p.path(job, content(n)), 0
			for range 40 {
				got := p.get(path)
				switch {
				case got.status == http.StatusOK && got.body == content(n):
					seen++
				case got.status != http.StatusNotFound:
					t.Errorf("%d with %d bytes, want all or nothing", got.status, len(got.body))
				}
			}
			if seen == 0 {
				t.Errorf("the content %d was never seen", n)
			}
		})
	}
	readers.Wait()
	close(done)
	changes.Wait()
}
