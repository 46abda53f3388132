package sync_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	gosync "sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pndaproject/deployment-manager/plugins/jupyter/sync"
)

const programName = "deployment-manager-sync-" + runtime.GOARCH

// standIn is a program as the shell sees one: it tells its name and where it
// was started from. What the real one does is not asked here.
func standIn(name string) string {
	return "#!/bin/sh\ntest \"$1\" = --version && exit 0\necho \"apps-notebooks: program " + name + " at $0 again $DM_SYNC_AGAIN\"\n"
}

func sum(content string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(content))) }

// bringing is a lab whose server has /tools.git, and a home to which the shell
// brings the program.
type bringing struct {
	*lab
	asked   atomic.Int32 // questions to /tools.git
	told    atomic.Int32 // of them those that came with a credential
	version int
}

func newBringing(t *testing.T, shell []string) *bringing {
	t.Helper()
	b := &bringing{lab: newLab(t, shell)}
	b.env = []string{"DM_SYNC_MOUNT=" + b.mount(), "DM_SYNC_SHA256=", "DM_SYNC_AGAIN=", "TMPDIR=" + b.temporary()}
	b.must(errors.Join(os.Mkdir(b.mount(), 0o700), os.Mkdir(b.temporary(), 0o700)))
	b.git("init", "-q", "--bare", filepath.Join(b.root, "tools.git"))
	b.failWith(b.answer)
	b.deliver(first)
	return b
}

func (b *bringing) mount() string     { return filepath.Join(b.root, "mount") }
func (b *bringing) temporary() string { return filepath.Join(b.root, "temporary") }
func (b *bringing) cached() string {
	return filepath.Join(b.home(), ".cache/deployment-manager", programName)
}

// answer is a sound server: what it has for everybody it gives to everybody.
func (b *bringing) answer(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/tools.git") {
		if b.asked.Add(1); r.Header.Get("Authorization") != "" {
			b.told.Add(1)
		}
		r.SetBasicAuth(b.name, token)
	}
	if rest, ok := strings.CutPrefix(r.URL.Path, "/jupyter-"+b.name); ok { // one ".git" from the end is not the name's
		r.URL.Path = "/jupyter-" + b.name + strings.TrimPrefix(rest, ".git")
	}
	b.serve(w, r)
}

// offer makes the content the server's program.
func (b *bringing) offer(content string) {
	b.Helper()
	b.version++
	var in bytes.Buffer
	fmt.Fprintf(&in, "commit refs/heads/%s\ncommitter dm <dm@x> %d +0000\ndata 0\ndeleteall\n", runtime.GOARCH, b.version)
	fmt.Fprintf(&in, "M 100755 inline %s\ndata %d\n%s\n", programName, len(content), content)
	cmd := exec.Command("git", "--git-dir", filepath.Join(b.root, "tools.git"), "fast-import", "--quiet", "--force")
	cmd.Env, cmd.Stdin = b.isolated(), &in
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("git fast-import: %v\n%s", err, out)
	}
}

// put makes the content a program at the path.
func (b *bringing) put(path, content string) {
	b.Helper()
	b.must(errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(content), 0o700)))
}

// tells runs the shell, whose line must tell each of the texts.
func (b *bringing) tells(env []string, texts ...string) {
	b.Helper()
	out := b.try(env...)
	for _, text := range texts {
		if !strings.Contains(out, text) {
			b.Errorf("%s told %q, want %q in it", b.shell[0], out, text)
		}
	}
}

// nowhere looks for the text in every file of the home.
func (b *bringing) nowhere(text string) {
	b.Helper()
	b.must(filepath.WalkDir(b.home(), func(name string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(name)
		if bytes.Contains(content, []byte(text)) {
			b.Errorf("%q is in %s", text, name)
		}
		return err
	}))
}

// inEveryShell runs the test with every shell of this machine.
func inEveryShell(t *testing.T, test func(b *bringing)) {
	t.Parallel()
	for _, shell := range shells(t) {
		t.Run(shell[0], func(t *testing.T) {
			t.Parallel()
			test(newBringing(t, shell))
		})
	}
}

// TestShellForm: what a person has to read of it, and what it must never do.
func TestShellForm(t *testing.T) {
	t.Parallel()
	text := string(sync.Script())
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if len(lines) > 60 || lines[len(lines)-1] != "main" {
		t.Errorf("the shell has %d lines, of which the last is %q; want at most 60 and main", len(lines), lines[len(lines)-1])
	}
	for i, line := range lines {
		if len(line) > 150 {
			t.Errorf("line %d has %d characters, want at most 150", i+1, len(line))
		}
	}
	if found := regexp.MustCompile(`\b(rm|unlink|eval|curl)\b`).FindString(text); found != "" {
		t.Errorf("the shell uses %s", found)
	}
}

// TestShellMounted: a program that somebody mounted comes first, needs no sum, and
// leaves no trace in the home.
func TestShellMounted(t *testing.T) {
	inEveryShell(t, func(b *bringing) {
		b.offer(standIn("of the server"))
		places := []string{programName, "deployment-manager-sync", "usr/local/bin/" + programName}
		for i := len(places) - 1; i >= 0; i-- { // each comes before those that are there
			b.put(filepath.Join(b.mount(), places[i]), standIn(places[i]))
			b.tells([]string{"DM_SYNC_SHA256=" + sum(standIn("of the server"))}, "program "+places[i]+" at ", " again sh "+b.script)
		}
		b.tells([]string{"HOME=", "JUPYTERHUB_USER="}, "program "+programName) // it speaks for itself
		if entries, err := os.ReadDir(b.home()); err != nil || len(entries) > 0 || b.asked.Load() > 0 {
			b.Errorf("in the home: %v, %v; the server was asked %d times", entries, err, b.asked.Load())
		}
	})
}

// TestShellServersProgram: it comes once, and is kept as long as its sum is named.
func TestShellServersProgram(t *testing.T) {
	inEveryShell(t, func(b *bringing) {
		one, two := standIn("one"), standIn("two")
		b.offer(one)
		b.tells([]string{"DM_SYNC_SHA256=" + sum("another") + "\n" + sum(one)}, "program one at "+b.cached())
		asked := b.asked.Load()
		b.failWith(hang)
		b.tells([]string{"DM_SYNC_SHA256=" + sum(one)}, "program one at "+b.cached())
		b.failWith(b.answer)

		// The sums may stand beside the script, as in the ConfigMap.
		b.must(os.WriteFile(filepath.Join(b.root, "sha256"), []byte(sum(two)+"\n"+sum(one)+"\n"), 0o600))
		b.tells(nil, "program one at "+b.cached())
		if now := b.asked.Load(); now != asked || b.told.Load() > 0 {
			b.Errorf("the server was asked %d times for what is kept, and %d times with a credential", now-asked, b.told.Load())
		}
		// Another version is wanted: one file is kept, not one for each version.
		b.offer(two)
		b.must(os.WriteFile(filepath.Join(b.root, "sha256"), []byte(sum(two)), 0o600))
		b.tells(nil, "program two at "+b.cached())
		entries, err := os.ReadDir(filepath.Dir(b.cached()))
		if err != nil || len(entries) != 1 {
			b.Errorf("the cache has %v, %v, want the one program", entries, err)
		}
		// A file that was cut off or changed is none.
		for _, spoiled := range []string{two[:len(two)-9], strings.Replace(two, "two", "TWO", 1), ""} {
			b.put(b.cached(), spoiled)
			b.tells(nil, "program two at "+b.cached())
		}
		if _, err := os.Stat(b.folder()); err == nil {
			b.Error("plain git worked beside the program")
		}
	})
}

// TestShellWhatIsNotNamed: a server that was taken over can plant nothing.
func TestShellWhatIsNotNamed(t *testing.T) {
	inEveryShell(t, func(b *bringing) {
		b.offer(standIn("planted"))
		for env, reason := range map[string]string{
			"DM_SYNC_SHA256=" + sum("named"): "the server has another than the one that is named",
			"DM_SYNC_SHA256=":                "no SHA-256 of it is named",
			"DM_SYNC_SHA256=*":               "the server has another than the one that is named",
		} {
			b.tells([]string{env}, "up to date, by plain git", reason, "files that you changed get no newer version")
		}
		b.want(first)
		b.put(b.cached(), standIn("planted"))
		b.tells([]string{"DM_SYNC_SHA256=" + sum("named")}, "up to date, by plain git")
		b.must(os.WriteFile(b.cached(), nil, 0o600))
		b.nowhere("planted")
	})
}

// TestShellOtherProcessor: a shell that is told to run what the kernel can't run
// takes it for a script.
func TestShellOtherProcessor(t *testing.T) {
	inEveryShell(t, func(b *bringing) {
		marker := filepath.Join(b.root, "marker")
		machine := map[string]string{"amd64": "\xb7", "arm64": "\x3e"}[runtime.GOARCH]
		content := "\x7fELF\x02\x01\x01" + strings.Repeat("\x00", 9) + "\x02\x00" + machine + "\x00\ntouch " + marker + "\n"
		b.put(filepath.Join(b.mount(), "deployment-manager-sync"), content)
		b.put(filepath.Join(b.mount(), programName), "")
		b.offer(content)
		b.tells([]string{"DM_SYNC_SHA256=" + sum(content)}, "up to date, by plain git", "it does not run here")
		if _, err := os.Stat(marker); err == nil {
			b.Error("the shell ran a program of another processor as a script")
		}
	})
}

// TestShellPoorHomes: homes from which nothing can be started, and to which nothing
// can be written.
func TestShellPoorHomes(t *testing.T) {
	inEveryShell(t, func(b *bringing) {
		picky := "#!/bin/sh\ncase $0 in *.cache*) exit 126 ;; esac\n" + standIn("picky") // as if on a noexec file system
		b.offer(picky)
		b.tells([]string{"DM_SYNC_SHA256=" + sum(picky)}, "program picky at "+b.temporary())
		b.tells([]string{"DM_SYNC_SHA256=" + sum(picky)}, "program picky at "+b.temporary())
		b.tells([]string{"DM_SYNC_SHA256=" + sum(picky), "XDG_CACHE_HOME=/dev/null"}, "program picky at "+b.temporary())
		b.tells([]string{"DM_SYNC_SHA256=" + sum(picky), "TMPDIR=/dev/null", "XDG_CACHE_HOME=" + b.root}, "up to date, by plain git", "the server did not give it")
	})
}

// TestShellNoexecHome is the real thing.
func TestShellNoexecHome(t *testing.T) {
	t.Parallel()
	b := newBringing(t, []string{"dash"})
	alone := []string{"unshare", "--mount"}
	if os.Geteuid() != 0 {
		alone = append(alone, "--map-root-user")
	}
	if out, err := exec.Command(alone[0], append(alone[1:], "mount", "-t", "tmpfs", "-o", "noexec", "none", b.home())...).CombinedOutput(); err != nil {
		t.Skipf("this machine mounts nothing for tests: %v %s", err, out)
	}
	b.offer(standIn("one"))
	b.shell = append(alone, "sh", "-c", "mount -t tmpfs -o noexec,mode=700 none "+b.home()+` && exec dash "$@"`, "sh")
	b.tells([]string{"DM_SYNC_SHA256=" + sum(standIn("one"))}, "program one at "+b.temporary())
}

// TestShellManyAtOnce: terminals and tabs of one home.
func TestShellManyAtOnce(t *testing.T) {
	inEveryShell(t, func(b *bringing) {
		one := standIn("one")
		b.offer(one)
		var all gosync.WaitGroup
		for range 4 {
			all.Go(func() {
				out, err := b.command(b.Context(), "DM_SYNC_SHA256="+sum(one)).CombinedOutput()
				if err != nil || !strings.HasPrefix(string(out), "apps-notebooks: program one at ") {
					b.Errorf("%v: %s", err, out)
				}
			})
		}
		all.Wait()
		if content, err := os.ReadFile(b.cached()); err != nil || string(content) != one {
			b.Errorf("the cache holds %q, %v", content, err)
		}
	})
}

// TestShellRefusals: it says why it does nothing, whatever it lacks, and ends with 0.
func TestShellRefusals(t *testing.T) {
	inEveryShell(t, func(b *bringing) {
		for _, env := range []string{
			"JUPYTERHUB_USER=", "HOME=", "DM_GIT_URL=http://a:b@127.0.0.1", "DM_GIT_URL=https://token@127.0.0.1/x", "DM_GIT_URL=ext::sh -c id",
			"DM_GIT_URL=/etc", "DM_GIT_URL=ssh://127.0.0.1", "DM_GIT_URL=http://", "DM_GIT_URL=http://127.0.0.1/\n@x", "DM_GIT_URL=-u http://127.0.0.1",
		} {
			b.tells([]string{env}, "nothing was done, because HOME or JUPYTERHUB_USER is not set, or DM_GIT_URL is no plain http or https address")
		}
		for _, env := range []string{"JUPYTERHUB_API_TOKEN=", "JUPYTERHUB_API_TOKEN=wrong", "JUPYTERHUB_USER=a\nb", "DM_GIT_URL=http://127.0.0.1:1", "DM_GIT_URL=https://[::1]:1/a~b/%20", "HOME=/dev/null", "HOME=" + b.root + "/none"} {
			b.tells([]string{env, "DM_SYNC_SHA256=" + sum("x")}, "nothing was done: deployment-manager-sync is missing (the server did not give it), and plain git ")
		}
		b.tells([]string{"DM_SYNC_SECONDS=08x", "DM_SYNC_FOLDER=-rf x"}, "up to date, by plain git")
		b.tells([]string{"DM_SYNC_SECONDS=0090", "DM_SYNC_FOLDER=-rf x", "DM_GIT_URL=" + b.URL + "/"}, "up to date, by plain git")
		if entries, err := os.ReadDir(b.home()); err != nil || len(entries) > 0 {
			b.Errorf("in the home: %v, %v", entries, err)
		}
		cmd := b.command(b.Context())
		cmd.Env = []string{"DM_SYNC_MOUNT=" + b.mount()}
		if path, err := exec.LookPath(b.shell[0]); err == nil {
			cmd.Path = path
		}
		if out, err := cmd.Output(); err != nil || strings.Count(string(out), "\n") != 1 {
			b.Errorf("with an empty environment: %v: %s", err, out)
		}
		closed := b.command(b.Context())
		closed.Args = append([]string{"sh", "-c", `exec "$@" >&-`, "sh"}, closed.Args...)
		closed.Path = "/bin/sh"
		if out, err := closed.CombinedOutput(); err != nil {
			b.Errorf("without an output: %v: %s", err, out)
		}
	})
}

// TestShellLackingPrograms: systems that have less than others.
func TestShellLackingPrograms(t *testing.T) {
	inEveryShell(t, func(b *bringing) {
		one := standIn("one")
		b.offer(one)
		for without, want := range map[string]string{
			"sha256sum": "up to date, by plain git", "mktemp": "up to date, by plain git", "timeout": "program one at " + b.cached(), "mkdir": "program one at " + b.temporary(),
			"git": "nothing was done: deployment-manager-sync is missing (the server did not give it), and plain git is missing",
		} {
			bin := filepath.Join(b.root, "without-"+without)
			b.must(os.Mkdir(bin, 0o700))
			for _, name := range []string{"sh", "git", "env", "od", "tr", "sha256sum", "mktemp", "mkdir", "rmdir", "cp", "mv", "chmod", "cat", "dirname", "uname", "id", "ls", "date", "printf", "sleep", "timeout", b.shell[0]} {
				if path, err := exec.LookPath(name); err == nil && name != without {
					b.must(os.Symlink(path, filepath.Join(bin, name)))
				}
			}
			b.must(os.RemoveAll(filepath.Dir(b.cached())))
			env := []string{"PATH=" + bin, "DM_SYNC_SHA256=" + sum(one)}
			if b.shell[0] == "busybox" && without != "git" && without != "timeout" {
				continue // it has those within
			}
			b.tells(env, want)
		}
		b.must(os.RemoveAll(b.folder()))
	})
}

// TestShellCutOff: a script that arrived in part does nothing.
func TestShellCutOff(t *testing.T) {
	inEveryShell(t, func(b *bringing) {
		b.put(filepath.Join(b.mount(), programName), "#!/bin/sh\ntouch "+b.root+"/marker\n")
		text := string(sync.Script())
		whole := len(strings.TrimSuffix(text, "\n"))
		for end := 0; end < whole; end += 1 + len(text)/40 {
			b.must(os.WriteFile(b.script, []byte(text[:end]), 0o600))
			_ = b.command(b.Context()).Run() // a syntax error, mostly
		}
		b.must(os.WriteFile(b.script, []byte(text[:whole-1]), 0o600))
		_ = b.command(b.Context()).Run()
		entries, err := os.ReadDir(b.home())
		if _, missing := os.Stat(filepath.Join(b.root, "marker")); missing == nil || err != nil || len(entries) > 0 || b.asked.Load() > 0 {
			b.Errorf("a part of the script did something: %v, %v", entries, err)
		}
	})
}

// TestShellHangingServer: the time is bounded, whoever waits for what, and a signal
// ends it at once; git is gone then.
func TestShellHangingServer(t *testing.T) {
	inEveryShell(t, func(b *bringing) {
		for _, sums := range []string{"", sum("x")} {
			for _, seconds := range []string{"1", "150"} { // at 0, yash may lose the signal: git's own ten seconds bound it then
				asked, over := make(chan struct{}, 100), make(chan struct{})
				b.failWith(func(_ http.ResponseWriter, r *http.Request) {
					asked <- struct{}{}
					select {
					case <-over:
					case <-r.Context().Done():
					}
				})
				ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
				cmd := b.command(ctx, "DM_SYNC_SECONDS="+seconds, "DM_SYNC_SHA256="+sums)
				var out bytes.Buffer
				cmd.Stdout = &out
				b.must(cmd.Start())
				ended := make(chan error, 1)
				go func() { ended <- cmd.Wait() }()
				if seconds == "150" {
					select {
					case <-asked:
						b.must(cmd.Process.Signal(syscall.SIGTERM))
					case err := <-ended:
						ended <- err
					}
				}
				if err := <-ended; err != nil || !strings.Contains(out.String(), "it took longer than "+seconds+" seconds, or was ended.\n") {
					b.Errorf("with %s seconds: %v, %q", seconds, err, &out)
				}
				cancel()
				close(over) // a helper of git's waits for it, or ten seconds
				eventually(b.T, "all processes are gone", func() bool { return !running(b.T, cmd.Process.Pid) })
			}
		}
		if entries, err := os.ReadDir(b.home()); err != nil || len(entries) > 0 {
			b.Errorf("in the home: %v, %v", entries, err)
		}
	})
}

// running tells whether a process of the group works on; one that ended counts
// until somebody asks how, which some machines' first process does late.
func running(t *testing.T, group int) bool {
	t.Helper()
	found, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil || len(found) == 0 {
		t.Fatalf("no processes: %v", err)
	}
	for _, file := range found {
		text, _ := os.ReadFile(file) // it may have ended
		_, rest, _ := strings.Cut(string(text), ") ")
		if fields := strings.Fields(rest); len(fields) > 2 && fields[0] != "Z" && fields[2] == fmt.Sprint(group) {
			return true
		}
	}
	return false
}

// TestShellRootIsAStranger: started as root, it runs nothing that the owner of the
// home may have made, and makes nothing there that the owner could not change.
func TestShellRootIsAStranger(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give a home away")
	}
	inEveryShell(t, func(b *bringing) {
		one := standIn("one")
		b.put(b.cached(), one)
		b.must(errors.Join(os.Chown(b.home(), 1000, 1000), os.Chmod(b.root, 0o755)))
		b.tells([]string{"DM_SYNC_SHA256=" + sum(one)}, "nothing was done", "plain git as root would make files")
		b.offer(one)
		b.tells([]string{"DM_SYNC_SHA256=" + sum(one)}, "program one at "+b.temporary())
		if _, err := os.Stat(b.folder()); err == nil {
			b.Error("root made a folder")
		}
	})
}
