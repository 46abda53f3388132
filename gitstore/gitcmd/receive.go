package gitcmd

import (
	"context"
	"io"
	"path/filepath"
	"strconv"
	"time"

	dm "github.com/pndaproject/deployment-manager"
)

// ReceiveOptions says how one push is received.
type ReceiveOptions struct {
	HooksPath   string   // absolute folder of the hook programs, in place of the one of all commands
	Environment []string // for the hooks, beside the closed environment
	MaxInput    int64    // bytes of the pack as it is sent; 0 means no limit
	Shallow     bool     // commits may lack their parents, as those of a shallow clone do
	Hidden      []string // refs, and folders of refs, that the advertisement leaves out

	// Watch sees the pack as it arrives; nil sees nothing. An error of kind
	// TooLarge of the reader that it returns ends the push, and its words are what
	// the client is told. One of kind Invalid leaves to git what has passed.
	Watch func(pack io.Reader) io.Reader
	// Fault is what the client is told when the push can't be stored; required.
	Fault func(error) error
}

// faults are what fsck lets through unless it is told otherwise, by the names
// that git 2.39 knows; a name that git does not know is passed over with a
// warning. Everything that fsck counts as an error is refused anyway.
var faults = [...]string{
	"hasDot", "hasDotdot", "hasDotgit", "emptyName", "fullPathname", "nullSha1",
	"zeroPaddedFilemode", "badFilemode", "nulInCommit", "nulInHeader",
	"badTagName", "missingTaggerEntry", "extraHeaderEntry", "multipleAuthors",
	"gitmodulesUrl", "gitmodulesPath", "gitmodulesSymlink", "gitmodulesUpdate", "gitmodulesParse",
	"gitattributesSymlink", "gitignoreSymlink", "mailmapSymlink",
}

// keepAlive is how long a client waits without a sign of life while its push
// is looked at.
const keepAlive = 5 * time.Second

// A small pack can describe huge objects, as deltas above all, and git makes
// every one to learn its name. What that may cost depends on the size that a
// pack may have.

// allocLimit is how many bytes git may want at once, which is what an object
// has that it can't stream: a delta, because whole files are streamed. git holds
// two of them, the old and the new file, so a push takes about twice as much.
func allocLimit(maxInput int64) int64 {
	const least, most = 64 << 20, 192 << 20
	if maxInput == 0 {
		return most
	}
	return min(max(maxInput, least), most)
}

// cpuLimit is the processor time that each git process of a push gets. Ordinary
// packs take a tenth of it.
func cpuLimit(maxInput int64) time.Duration {
	const floor, perSecond = 2, 2 << 20
	if maxInput == 0 {
		return 0
	}
	return time.Duration(floor+maxInput/perSecond) * time.Second
}

// ReceivePack answers one stateless request of a push to the repository dir. All
// of it is taken in before it waits for a slot, so who sends slowly keeps nobody
// from pushing. Every ref goes to the proc-receive hook, so git itself moves none;
// what is refused before that leaves no object. A report in git's form tells the
// client of a refusal, and that is no error here.
//
// dir is thrown away after the push, so a git that outlives the server harms
// nothing and does not hold the data folder's lock. Cancelling ctx ends git
// with its hooks. Kinds: as UploadPack.
func (g *Git) ReceivePack(ctx context.Context, dir string, round dm.ReceiveRound, opts ReceiveOptions) error {
	const op = "gitcmd.ReceivePack"
	if opts.HooksPath != "" && !filepath.IsAbs(opts.HooksPath) {
		return dm.Errorf(dm.Internal, op, "the hooks folder must be an absolute path")
	}
	env, err := protocol(round.Protocol)
	if err != nil {
		return dm.Wrap(op, err)
	}
	c := command{
		env:     append(env, opts.Environment...),
		options: receiveOptions(opts),
		out:     round.Out,
		class:   Pushes,
		args:    []string{"receive-pack", "--stateless-rpc"},
	}
	if round.Advertise {
		c.args = append(c.args, "--http-backend-info-refs")
		for _, ref := range opts.Hidden {
			// Only here: a command for a hidden ref would be refused without a
			// hook having its say.
			c.options = append(c.options, "-c", "receive.hideRefs="+ref)
		}
	}
	c.args = append(c.args, "--", dir)
	if round.Advertise {
		return unanswered(op, g.run(ctx, c))
	}
	in, err := takeIn(ctx, dir, round.In, opts)
	if err != nil {
		return dm.Wrap(op, err)
	}
	defer in.close()
	if in.refused != nil {
		return dm.Wrap(op, in.refuse(round.Out))
	}
	c.env = append(c.env, "GIT_ALLOC_LIMIT="+strconv.FormatInt(allocLimit(opts.MaxInput), 10))
	c.cpu = cpuLimit(opts.MaxInput)
	return unanswered(op, g.converse(ctx, c, in))
}

// receiveOptions are the -c options of a push.
func receiveOptions(opts ReceiveOptions) []string {
	settings := []string{
		"receive.unpackLimit=1", // packs, never loose objects
		"receive.fsckObjects=true",
		"receive.procReceiveRefs=refs",
		"receive.advertisePushOptions=true",
		"receive.advertiseAtomic=false",
		"receive.keepAlive=" + strconv.Itoa(int(keepAlive.Seconds())),
		"receive.shallowUpdate=false", // git aborts when a shallow ref goes to proc-receive; see takeIn
		"receive.maxInputSize=" + strconv.FormatInt(opts.MaxInput, 10),
		// What a push may delete, force or check out is judged by the hooks.
		"receive.denyDeletes=false",
		"receive.denyNonFastForwards=false",
		"receive.denyDeleteCurrent=ignore",
		"receive.denyCurrentBranch=ignore",
		// Of the repository that a stage borrows objects from, too.
		"core.alternateRefsPrefixes=refs/heads/ refs/tags/",
	}
	if opts.HooksPath != "" {
		settings = append(settings, "core.hooksPath="+opts.HooksPath)
	}
	for _, fault := range faults {
		settings = append(settings, "receive.fsck."+fault+"=error")
	}
	list := make([]string, 0, 2*len(settings))
	for _, s := range settings {
		list = append(list, "-c", s)
	}
	return list
}
