package sync_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	gosync "sync"
	"sync/atomic"
	"testing"
)

// TestShellPlainGit: without the program git brings what it can, and loses nothing.
func TestShellPlainGit(t *testing.T) {
	inEveryShell(t, func(b *bringing) {
		b.git("-C", b.home(), "init", "-q", "-b", "main") // a person keeps the home in git
		b.git("-C", b.home(), "commit", "-q", "--allow-empty", "-m", "mine")
		b.write(files{"../apps-notebooks": ""})
		b.tells(nil, "nothing was done", "did not get it")
		b.must(os.Remove(b.folder()))
		b.tells(nil, "up to date, by plain git")
		b.want(first)
		b.tells(nil, "up to date, by plain git")

		// Whatever the user's own git would do is not done.
		for _, hook := range []string{"post-checkout", "post-merge", "reference-transaction", "pre-auto-gc", "post-index-change"} {
			b.put(b.path(".git/hooks/"+hook), "#!/bin/sh\ntouch "+b.root+"/ran-"+hook+"\nexit 1\n")
		}
		b.put(filepath.Join(b.root, "monitor"), "#!/bin/sh\ntouch "+b.root+"/ran-monitor\n")
		for _, setting := range []string{"core.hooksPath=.git/hooks", "core.fsmonitor=" + b.root + "/monitor", "merge.autoStash=true", "submodule.recurse=true"} {
			key, value, _ := strings.Cut(setting, "=")
			b.git("config", key, value)
		}
		changed := with(files{"app/b.ipynb": "b two", ".gitignore": "*.csv\n"})
		b.deliver(changed)
		b.tells(nil, "up to date, by plain git")
		b.want(changed)
		ran, err := filepath.Glob(filepath.Join(b.root, "ran-*"))
		if err != nil || len(ran) > 0 {
			b.Errorf("programs of the user ran: %v, %v", ran, err)
		}

		// What the user made stays, also what git ignores; and nothing comes in part.
		mine := with(files{"app/b.ipynb": "b two", ".gitignore": "*.csv\n", "app/data.csv": "mine"})
		b.write(files{"app/data.csv": "mine"})
		b.deliver(with(files{"app/a.ipynb": "a three", "app/b.ipynb": "b two", ".gitignore": "*.csv\n", "app/data.csv": "theirs"}))
		b.tells(nil, "nothing was done", "plain git overwrites nothing of yours and puts nothing beside it")
		b.want(mine)
		b.write(files{"app/b.ipynb": "b mine"})
		mine["app/b.ipynb"] = "b mine"
		b.deliver(with(files{"app/a.ipynb": "a four", "app/b.ipynb": "b four", ".gitignore": "*.csv\n"}))
		b.tells(nil, "nothing was done", "plain git overwrites nothing of yours and puts nothing beside it")
		b.want(mine)
		b.git("-c", "core.hooksPath=/dev/null", "checkout", "-q", "-b", "own")
		b.tells(nil, "nothing was done")
		b.want(mine)
		if refs := b.git("-C", b.home(), "for-each-ref", "--format=%(refname)"); refs != "refs/heads/main\n" {
			b.Errorf("the home's own repository has %q", refs)
		}
	})
}

// TestShellPlainTokenStaysHome: neither a trace, an argument, a file, another server
// nor a proxy gets to see the token.
func TestShellPlainTokenStaysHome(t *testing.T) {
	inEveryShell(t, func(b *bringing) {
		var seen atomic.Pointer[string]
		other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if header := r.Header.Get("Authorization") + r.Header.Get("Proxy-Authorization"); header != "" {
				seen.Store(&header)
			}
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			w.WriteHeader(http.StatusUnauthorized)
		}))
		defer other.Close()
		bin, arguments, trace := filepath.Join(b.root, "bin"), filepath.Join(b.root, "arguments"), filepath.Join(b.root, "trace")
		for _, name := range []string{"git", "env", "sleep", "mktemp", "od"} {
			real, err := exec.LookPath(name)
			b.must(err)
			b.put(filepath.Join(bin, name), "#!/bin/dash\necho \""+name+" $*\" >>"+arguments+"\ntr '\\0' ' ' </proc/$PPID/cmdline >>"+arguments+"\nexec "+real+" \"$@\"\n")
		}
		b.put(filepath.Join(b.root, "ask"), "#!/bin/sh\ntouch "+trace+"\n")
		b.write(files{"../.gitconfig": "[http]\n\tproxy = " + other.URL + "\n[url \"" + other.URL + "\"]\n\tinsteadOf = " + b.URL + "\n", "../.netrc": "machine 127.0.0.1 login ana password wrong\n"})
		b.must(os.RemoveAll(b.folder()))
		hostile := []string{"PATH=" + bin + ":" + os.Getenv("PATH"), "DM_SYNC_SHA256=" + sum("none"), "http_proxy=" + other.URL, "ALL_PROXY=" + other.URL, "GIT_TRACE=" + trace,
			"GIT_TRACE_CURL=" + trace, "GIT_TRACE_REDACT=0", "GIT_CURL_VERBOSE=1", "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=http.proxy", "GIT_CONFIG_VALUE_0=" + other.URL,
			"GIT_DIR=" + b.home(), "GIT_WORK_TREE=/", "GIT_ASKPASS=" + b.root + "/ask", "SSH_ASKPASS=" + b.root + "/ask", "SHELLOPTS=xtrace:errexit:nounset", "late=yes", "job=1", "timer=1", "OTHER=x\nGIT_NO-NAME\nGIT_=y\n"}
		// With this variable bash tells of xtrace what comes before main.
		cmd := b.command(t.Context(), hostile...)
		out, err := cmd.CombinedOutput()
		b.must(err)
		if b.noToken(string(out)); !strings.Contains(string(out), "apps-notebooks: up to date, by plain git") {
			b.Errorf("the shell told %q", out)
		}
		b.want(first)
		if _, err := os.Stat(trace); err == nil {
			b.Error("git wrote a trace, or asked")
		}
		noted, err := os.ReadFile(arguments)
		if err != nil || !bytes.Contains(noted, []byte("clone")) || bytes.Contains(noted, []byte(token)) {
			b.Errorf("programs were called with %v\n%s", err, noted)
		}
		b.failWith(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL+r.URL.String(), http.StatusFound)
		})
		b.tells(nil, "nothing was done", "did not get it from the server")
		if header := seen.Load(); header != nil {
			b.Errorf("another server was sent %q", *header)
		}
		b.failWith(b.answer)
		cmd = b.command(t.Context())
		cmd.Args = append(cmd.Args[:len(cmd.Args)-1], "-x", "-v", b.script)
		out, err = cmd.CombinedOutput()
		b.must(err)
		b.noToken(string(out))
	})
}

// TestShellPlainUserNames: any bytes that a name may have.
func TestShellPlainUserNames(t *testing.T) {
	t.Parallel()
	all := shells(t)
	names := []string{"a b", "a%b", "a?b#c", "José Ñ", `it's "x"`, "a&b;c|d$(e)`f`", "-n", "x.git", "名前", "*", "~", `a\nb`, "\xff\xfe\x01", strings.Repeat("long", 30)}
	for i, name := range names {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBringing(t, all[i%len(all)])
			b.name = name
			b.failWith(b.answer) // it knows the name now
			b.tells(nil, "up to date, by plain git")
			b.want(first)
		})
	}
}

// realProgram is the program as make build makes it.
var realProgram = gosync.OnceValues(func() (string, error) {
	folder, err := os.MkdirTemp("", "deployment-manager-sync-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(folder)
	build := exec.Command("go", "build", "-buildvcs=false", "-ldflags", "-s -w", "-o", folder, "github.com/pndaproject/deployment-manager/cmd/deployment-manager-sync")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	content, err := os.ReadFile(filepath.Join(folder, "deployment-manager-sync"))
	return string(content), err
})

// TestRealProgram: what plain git brought, the program that comes later takes
// over: it finds nothing changed but what the user did.
func TestRealProgram(t *testing.T) {
	inEveryShell(t, func(b *bringing) {
		program, err := realProgram()
		b.must(err)
		b.tells(nil, "up to date, by plain git")
		b.offer(program)
		version := b.deliver(with(files{"app/a.ipynb": "a two", "app/b.ipynb": "b two"}))
		b.write(files{"app/a.ipynb": "mine"})
		b.tells(nil, "nothing was done", "plain git overwrites nothing of yours")
		want := with(files{"app/a.ipynb": "mine", "app/a." + version + ".ipynb": "a two", "app/b.ipynb": "b two"})
		b.must(os.WriteFile(filepath.Join(b.root, "sha256"), []byte(sum(program)), 0o600))
		b.tells(nil, "apps-notebooks: up to date")
		b.want(want)
		b.status("app/a."+version+".ipynb", "sh "+b.script)
		b.must(os.WriteFile(filepath.Join(b.root, "sha256"), nil, 0o600))
		b.must(os.Remove(b.path("app/a.ipynb")))
		b.tells(nil, "deployment-manager-sync is missing")
		delete(want, "app/a.ipynb")
		b.want(want)
	})
}

// TestTakingTurns: what plain git brings while the program can't be had is no
// change of the user's either.
func TestTakingTurns(t *testing.T) {
	t.Parallel()
	b := newBringing(t, []string{"dash"})
	program, err := realProgram()
	b.must(err)
	b.offer(program)
	named := []string{"DM_SYNC_SHA256=" + sum(program)}
	b.tells(named, "apps-notebooks: up to date; ")
	two, three := with(files{"app/a.ipynb": "a two"}), with(files{"app/a.ipynb": "a three"})
	b.deliver(two)
	b.tells(nil, "up to date, by plain git")
	b.want(two)
	b.deliver(three)
	b.tells(named, "apps-notebooks: up to date; ")
	b.want(three)
}
