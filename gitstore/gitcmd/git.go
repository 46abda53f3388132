package gitcmd

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	dm "github.com/pndaproject/deployment-manager"
)

// Config says which git to run and what every child gets.
type Config struct {
	Path      string       // the git program; "" looks it up in PATH
	HooksPath string       // absolute directory outside the repositories; "" runs no hooks
	Lock      *os.File     // the data folder's lock, held open by children that write; may be nil
	Log       *slog.Logger // nil means silent
	Limits    Limits       // of all processes together
}

// Git starts the git program. It is safe for use by many goroutines.
type Git struct {
	path    string
	version string
	lock    *os.File
	log     *slog.Logger
	pool    *pool
	env     []string
	options []string // the -c options of every command
}

// oldest is the oldest git whose behaviour was measured.
var oldest = version{2, 39, 0}

// New finds git and checks that it is new enough.
func New(ctx context.Context, cfg Config) (*Git, error) {
	const op = "gitcmd.New"
	path, err := find(cfg.Path)
	if err != nil {
		return nil, dm.Errorf(dm.Invalid, op, "the git program was not found; git %s or newer is needed", oldest).Because(err)
	}
	if cfg.HooksPath != "" && !filepath.IsAbs(cfg.HooksPath) {
		return nil, dm.Errorf(dm.Invalid, op, "the hooks folder must be an absolute path")
	}
	g := &Git{path: path, lock: cfg.Lock, log: cfg.Log, pool: newPool(cfg.Limits), env: environment(path), options: options(cfg.HooksPath)}
	if g.log == nil {
		g.log = slog.New(slog.DiscardHandler)
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	var out bytes.Buffer
	if err := g.run(ctx, command{class: Looks, out: &out, args: []string{"version"}}); err != nil {
		return nil, dm.Wrap(op, err)
	}
	text := strings.TrimSpace(out.String())
	v, ok := parseVersion(text)
	if !ok {
		return nil, dm.Errorf(dm.Invalid, op, "unknown git version %q; git %s or newer is needed", text, oldest)
	}
	if v.less(oldest) {
		return nil, dm.Errorf(dm.Invalid, op, "found git %s; git %s or newer is needed", v, oldest)
	}
	g.version = v.String()
	return g, nil
}

// Holding is g whose children that write keep lock open.
func (g *Git) Holding(lock *os.File) *Git {
	held := *g
	held.lock = lock
	return &held
}

func find(path string) (string, error) {
	if path == "" {
		path = "git"
	}
	found, err := exec.LookPath(path)
	if err != nil {
		return "", err
	}
	return filepath.Abs(found)
}

// environment is all that a child gets to see. Nothing is taken over from the
// server: GIT_DIR, GIT_CONFIG_COUNT, GIT_TRACE and the like would each change
// what git does, and secrets of the server are no business of git's.
func environment(git string) []string {
	return []string{
		"PATH=" + filepath.Dir(git) + ":/usr/local/bin:/usr/bin:/bin",
		"HOME=/nonexistent",
		"LC_ALL=C", // the texts of errors are read
		"GIT_CONFIG_NOSYSTEM=1",
		"GIT_CONFIG_GLOBAL=/dev/null",
		"GIT_ATTR_NOSYSTEM=1",
		"GIT_NO_REPLACE_OBJECTS=1", // one pushed refs/replace would otherwise rewrite what is read
		"GIT_TERMINAL_PROMPT=0",
	}
}

// options are the -c options of every command. They outrank a repository's own
// configuration and are handed down to the programs that git starts.
func options(hooks string) []string {
	if hooks == "" {
		hooks = "/dev/null"
	}
	var list []string
	for _, o := range []string{
		"safe.directory=*", // the data folder may be owned by another uid than the server's
		"core.hooksPath=" + hooks,
		"core.fsync=all", // git's default leaves refs and loose objects to the kernel
		"core.fsyncMethod=fsync",
		"core.logAllRefUpdates=false",
		"core.bigFileThreshold=10m", // keeps unpacking large blobs out of memory
		"core.packedGitWindowSize=8m",
		"core.deltaBaseCacheLimit=16m",
		"pack.threads=1", // each holds the objects that it works on
		"pack.windowMemory=32m",
		"pack.deltaCacheSize=16m",
		"core.packedGitLimit=32m", // git checks what a ref names: a whole archive would be mapped
		"core.filesRefLockTimeout=2000",
		"core.packedRefsTimeout=2000",
		"init.defaultBranch=main",
		"gc.auto=0", // maintenance happens under the repository's lock only
		"maintenance.auto=false",
		"receive.autogc=false",
		"protocol.allow=never",
		"transfer.fsckObjects=true",
		"uploadpack.allowFilter=false",
		"uploadpack.hideRefs=refs/brought", // of workspaces: the server's own
		"uploadpack.allowTipSHA1InWant=false",
		"uploadpack.allowReachableSHA1InWant=false",
		"uploadpack.allowAnySHA1InWant=false",
	} {
		list = append(list, "-c", o)
	}
	return list
}

// version is git's version without vendor's additions.
type version [3]int

func (v version) String() string { return fmt.Sprintf("%d.%d.%d", v[0], v[1], v[2]) }

func (v version) less(o version) bool {
	for i := range v {
		if v[i] != o[i] {
			return v[i] < o[i]
		}
	}
	return false
}

// parseVersion reads the answer of "git version". Vendors add words and parts,
// such as "2.39.2 (Apple Git-143)", "2.45.1.windows.1" and "2.47.0.rc1"; a
// missing third number counts as 0.
func parseVersion(text string) (v version, ok bool) {
	rest, ok := strings.CutPrefix(text, "git version ")
	if !ok {
		return v, false
	}
	word, _, _ := strings.Cut(rest, " ")
	for i, part := range strings.SplitN(word, ".", 4) {
		if i == len(v) {
			break
		}
		n, err := strconv.ParseUint(part, 10, 16)
		if err != nil {
			return v, i == 2 // "2.50-rc0" has two numbers that count
		}
		v[i] = int(n)
	}
	return v, strings.Contains(word, ".")
}
