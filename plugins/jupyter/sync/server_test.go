package sync_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// hang answers nothing until the client is gone.
func hang(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// TestNotReadyYet: many pods that start at once may be too much for JupyterHub,
// and the server says so for a moment.
func TestNotReadyYet(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	l.deliver(first)
	var asked atomic.Int32
	l.failWith(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		l.failWith(nil)
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	l.sync()
	l.want(first)
	if n := asked.Load(); n != 1 {
		t.Errorf("the server refused %d times, want once", n)
	}
}

// TestNothingNew: one cheap question, with the user's credential, is all that a run
// takes which has the newest commit; git asks nothing.
func TestNothingNew(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	l.deliver(first)
	l.sync()
	tip := strings.TrimSpace(l.git("--git-dir", l.repository(), "rev-parse", "main"))
	asked := make(chan string, 10)
	l.failWith(func(w http.ResponseWriter, r *http.Request) {
		name, password, _ := r.BasicAuth()
		asked <- strings.Join([]string{name, password, r.Method, r.URL.String(), r.Header.Get("If-None-Match")}, " ")
		w.WriteHeader(http.StatusNotModified)
	})
	l.sync()
	l.want(first)
	want := user + " " + token + " GET /jupyter-ana/head \"" + tip + "\""
	if got := <-asked; got != want || len(asked) > 0 {
		t.Errorf("the server was asked %q and %d times more, want %q alone", got, len(asked), want)
	}
}

// TestFailingServers: whatever a server answers, the script ends in time, tells
// what was wrong, loses nothing, and catches up later.
func TestFailingServers(t *testing.T) {
	t.Parallel()
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			w.WriteHeader(code)
		}
	}
	for _, c := range []struct {
		name   string
		answer http.HandlerFunc
		want   string
	}{
		{"401", status(401), "did not accept your sign-in"},
		{"403", status(403), "refused access to this folder"},
		{"404", status(404), "has no folder for you"},
		{"503", status(503), "is not ready"},
		{"garbage", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>\x1b[31mhello") }, "nothing was done"},
		{"a broken connection", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "is unreachable"},
		{"hanging", hang, "took too long"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, nil)
			l.deliver(first)
			l.failWith(c.answer)
			l.bounded(5, c.want)
			l.want(files{})
			l.status(c.want, "last brought up to date: never")
			l.failWith(nil)
			l.sync()
			l.write(files{"app/a.ipynb": "mine"})
			version := l.deliver(with(files{"app/a.ipynb": "a two", "app/b.ipynb": "b two"}))
			l.failWith(c.answer)
			l.bounded(5, c.want)
			l.want(with(files{"app/a.ipynb": "mine"}))
			l.status(c.want, "Your files are as you left them")
			l.failWith(nil)
			l.sync()
			l.want(with(files{"app/a.ipynb": "mine", "app/a." + version + ".ipynb": "a two", "app/b.ipynb": "b two"}))
		})
	}
}

// bounded runs the script, which must tell want within the seconds that it is
// given. On a machine so busy that they do not suffice for what there is to do
// it gets twice as many, a few times: the bound is the script's, not the machine's.
func (l *lab) bounded(seconds int, want string, env ...string) {
	l.Helper()
	for most := 8 * seconds; ; seconds *= 2 {
		begin := time.Now()
		out := l.try(append([]string{fmt.Sprint("DM_SYNC_SECONDS=", seconds)}, env...)...)
		took, limit := time.Since(begin), time.Duration(seconds+2)*time.Second
		told := strings.Contains(out, want)
		if told && took <= limit {
			return
		}
		if short := strings.Contains(out, "before it was done"); seconds >= most || !told && !short {
			l.Errorf("the script told %q after %v, want %q within %v", out, took, want, limit)
			return
		}
		l.Logf("%d seconds were too few here: after %v the script told %q", seconds, took, out)
	}
}

// TestBrokenPacks: what arrives in part or wrong is not used.
func TestBrokenPacks(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func([]byte) []byte{
		"truncated": func(b []byte) []byte { return b[:len(b)*2/3] },
		"changed":   func(b []byte) []byte { b[len(b)*2/3] ^= 0x55; return b },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, nil)
			l.deliver(first)
			l.sync()
			changed := with(files{"app/a.ipynb": strings.Repeat("a two ", 5000), "app/n.ipynb": "new"})
			l.deliver(changed)
			l.failWith(func(w http.ResponseWriter, r *http.Request) {
				body, err := io.ReadAll(r.Body)
				if err != nil {
					return
				}
				r.Body = io.NopCloser(bytes.NewReader(body))
				answer := httptest.NewRecorder()
				l.serve(answer, r)
				out := answer.Body.Bytes()
				if bytes.Contains(out, []byte("PACK")) {
					out = spoil(out)
				}
				for key, values := range answer.Header() {
					w.Header()[key] = values
				}
				w.WriteHeader(answer.Code)
				_, _ = w.Write(out)
			})
			l.bounded(15, "nothing was done")
			l.want(first)
			l.failWith(nil)
			l.sync()
			l.want(changed)
		})
	}
}

// TestTokenStaysHome: neither another server nor a proxy gets to see the token,
// and no trace or argument shows it.
func TestTokenStaysHome(t *testing.T) {
	t.Parallel()
	var seen atomic.Pointer[string]
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if header := r.Header.Get("Authorization") + r.Header.Get("Proxy-Authorization"); header != "" {
			seen.Store(&header)
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
		w.WriteHeader(http.StatusUnauthorized)
	}))
	defer other.Close()
	l := newLab(t, nil)
	l.deliver(first)
	// A git before git that notes the arguments.
	bin := filepath.Join(l.root, "bin")
	real, err := exec.LookPath("git")
	l.must(err)
	l.must(os.Mkdir(bin, 0o700))
	l.must(os.WriteFile(filepath.Join(bin, "git"), []byte("#!/bin/sh\necho \"$@\" >>"+l.root+"/arguments\ntr '\\0' ' ' </proc/$PPID/cmdline >>"+l.root+"/arguments\nexec "+real+" \"$@\"\n"), 0o700))
	l.write(files{"../.gitconfig": "[http]\n\tproxy = " + other.URL + "\n[url \"" + other.URL + "\"]\n\tinsteadOf = " + l.URL + "\n", "../.netrc": "machine 127.0.0.1 login ana password wrong\n"})
	l.must(os.RemoveAll(l.folder()))
	trace := filepath.Join(l.root, "trace")
	l.sync("PATH="+bin+":"+os.Getenv("PATH"), "http_proxy="+other.URL, "ALL_PROXY="+other.URL, "GIT_TRACE="+trace, "GIT_TRACE_CURL="+trace,
		"GIT_TRACE_REDACT=0", "GIT_CURL_VERBOSE=1", "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=http.proxy", "GIT_CONFIG_VALUE_0="+other.URL, "SHELLOPTS=xtrace")
	l.want(first)
	if _, err := os.Stat(trace); err == nil {
		l.Error("git wrote a trace")
	}
	arguments, err := os.ReadFile(filepath.Join(l.root, "arguments"))
	if err != nil || !bytes.Contains(arguments, []byte("fetch")) || bytes.Contains(arguments, []byte(token)) {
		l.Errorf("git was called with %v\n%s", err, arguments)
	}
	l.failWith(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.URL+r.URL.String(), http.StatusFound)
	})
	l.bounded(15, "redirects to another address")
	if header := seen.Load(); header != nil {
		l.Errorf("another server was sent %q", *header)
	}
}

// TestUserNames: the raw name finds the repository.
func TestUserNames(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"a b", "a%b", "a?b#c", "José Ñ", `it's "x"`, "a&b;c|d$(e)`f`", "user@example.com", "x.git", "名前", "*", "~", "a\\nb"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, nil)
			l.name = name
			if name == "x.git" { // the server takes one ".git" from the end
				l.failWith(func(w http.ResponseWriter, r *http.Request) {
					r.URL.Path = strings.Replace(r.URL.Path, ".git.git/", ".git/", 1)
					l.serve(w, r)
				})
			}
			l.deliver(first)
			l.sync()
			l.want(first)
		})
	}
}

// TestPoorSurroundings: the script ends well where it can do nothing.
func TestPoorSurroundings(t *testing.T) {
	t.Parallel()
	none := t.TempDir()
	for _, c := range []struct {
		name string
		env  []string
		want string
	}{
		{"no user", []string{"JUPYTERHUB_USER="}, "JUPYTERHUB_USER is not set"},
		{"no home", []string{"HOME="}, "HOME is not set"},
		{"a home that is no folder", []string{"HOME=/dev/null"}, "can not be made"},
		{"no git", []string{"PATH=" + none}, "git is not installed"},
		{"a name with a line end", []string{"JUPYTERHUB_USER=a\nb"}, "line end"},
		{"an address with a password", []string{"DM_GIT_URL=http://a:b@c"}, "no plain address"},
		{"an address that is none", []string{"DM_GIT_URL=ext::sh -c id"}, "no plain address"},
		{"a name that nobody knows", []string{"DM_GIT_URL=http://nowhere.invalid", "DM_SYNC_SECONDS=6"}, "done"},
		{"nobody listens", []string{"DM_GIT_URL=http://127.0.0.1:1"}, "is unreachable"},
		{"no token", []string{"JUPYTERHUB_API_TOKEN="}, "did not accept your sign-in"},
		{"a wrong token", []string{"JUPYTERHUB_API_TOKEN=wrong"}, "did not accept your sign-in"},
		{"strange seconds", []string{"DM_SYNC_SECONDS=08x"}, "up to date"},
		{"leading zeros", []string{"DM_SYNC_SECONDS=0090"}, "up to date"},
		{"a folder of another name", []string{"DM_SYNC_FOLDER=-rf x"}, "up to date"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, nil)
			l.deliver(first)
			l.bounded(30, c.want, c.env...)
		})
	}
	t.Run("an empty environment", func(t *testing.T) {
		t.Parallel()
		l := newLab(t, nil)
		cmd := l.command(t.Context())
		cmd.Env = []string{asProgram + "=1"}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
}

// TestSignals: the script ends at once and with 0, and its git with it.
func TestSignals(t *testing.T) {
	t.Parallel()
	// Below nohup, or in the background of a script, a signal would be ignored by
	// ours as well: what this program handles is as usual again in those that it
	// starts.
	signals := make(chan os.Signal, 1)
	t.Cleanup(func() { signal.Stop(signals) })
	for _, sent := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP} {
		if signal.Ignored(sent) {
			signal.Notify(signals, sent)
		}
		{
			t.Run(sent.String(), func(t *testing.T) {
				t.Parallel()
				l := newLab(t, nil)
				l.deliver(first)
				asked := make(chan struct{}, 10)
				l.failWith(func(w http.ResponseWriter, r *http.Request) {
					asked <- struct{}{}
					hang(w, r)
				})
				cmd := l.command(t.Context())
				var out bytes.Buffer
				cmd.Stdout = &out
				l.must(cmd.Start())
				<-asked
				begin := time.Now()
				l.must(cmd.Process.Signal(sent))
				l.must(cmd.Wait())
				if took := time.Since(begin); took > time.Minute || !strings.Contains(out.String(), "interrupted") {
					t.Errorf("after %v the script told %q", took, &out)
				}
				if alive := syscall.Kill(-cmd.Process.Pid, 0); alive == nil {
					// What was killed may take a moment to be gone.
					eventually(t, "all processes are gone", func() bool { return syscall.Kill(-cmd.Process.Pid, 0) != nil })
				}
				l.failWith(nil)
				l.sync()
				l.want(first)
			})
		}
	}
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not so after a minute: %s", what)
		}
	}
}

// TestSilentNetwork: a server that takes the connection and says nothing, not
// even in TLS.
func TestSilentNetwork(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	for _, scheme := range []string{"http://", "https://"} {
		l := newLab(t, nil)
		l.bounded(5, "took too long", "DM_GIT_URL="+scheme+listener.Addr().String())
	}
}
