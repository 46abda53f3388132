package receive

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/go-git/go-git/v5/plumbing"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/archive"
	"github.com/pndaproject/deployment-manager/gitstore/gitcmd"
	"github.com/pndaproject/deployment-manager/gitstore/pack"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
	"github.com/pndaproject/deployment-manager/gitstore/treefs"
)

// Record is what a push asks of the record. Nothing of it is held between calls,
// so what Compare and Decide say may be another thing when the change is made.
type Record interface {
	// MayPublish asks admission.
	MayPublish(ctx context.Context, actor dm.Actor, pkg dm.PackageRef) error
	// Compare tells what publishing tree as file would do. The content counts, not
	// the bytes of the archive.
	Compare(file dm.PackageFile, tree plumbing.Hash) (dm.PushOutcome, error)
	// Validate judges a package as its deploy would. files is called when it is
	// this one's turn to take memory.
	Validate(ctx context.Context, pkg dm.PackageRef, files func() (*treefs.Sketch, error)) (dm.Validation, error)
	// Publish makes v a version, whose files put writes.
	Publish(ctx context.Context, actor dm.Actor, v Version, put func(*pack.Writer) error) (changed bool, err error)

	// Main is the tip of an application's main, zero when there is none.
	Main(app dm.ApplicationName) plumbing.Hash
	// Decide tells which change spec asks for in the present state, if it is
	// admitted.
	Decide(ctx context.Context, actor dm.Actor, ref dm.PushedRef, spec dm.Spec) (dm.PushOutcome, error)
	// Propose makes that change. copy writes what the pushed commit leads to and
	// the record does not have.
	Propose(ctx context.Context, actor dm.Actor, ref dm.PushedRef, spec dm.Spec, copy func(*pack.Writer) error) (dm.PushOutcome, error)
}

// Config says what a Receiver needs. All is required.
type Config struct {
	Folder *repo.Folder
	Record Record
	Pushes dm.Pushes
	Limits archive.Limits
	Look   func() func(path string, size int64) int64      // see dm.Planner
	Enter  func(context.Context) (leave func(), err error) // waits for a place in which a push may arrive
}

// Receiver takes pushes.
type Receiver struct {
	Config
	nothing gitcmd.Remembered // git's answer on what an empty repository has
}

// New starts nothing.
func New(cfg Config) *Receiver { return &Receiver{Config: cfg} }

// Advertise answers the first request of a push to r.
func (v *Receiver) Advertise(ctx context.Context, r dm.Repository, round dm.ReceiveRound) error {
	dir := v.Folder.Path(r)
	switch {
	case !repo.Exists(dir):
		return v.advertiseNothing(ctx, r, round)
	case r.Kind == dm.ApplicationRepository:
		return v.Folder.Git.ReceivePack(ctx, dir, round, gitcmd.ReceiveOptions{Hidden: []string{repo.DeploymentPrefix, repo.Observed}})
	}
	// A version is pushed from any repository, and its tag there is not ours: a
	// client that saw ours would refuse by itself to push the same once more.
	return v.staged(r, func(stage string) error { return v.Folder.Git.ReceivePack(ctx, stage, round, gitcmd.ReceiveOptions{}) })
}

// advertiseNothing tells what git can do and that there is nothing yet, which is
// always the same.
func (v *Receiver) advertiseNothing(ctx context.Context, r dm.Repository, round dm.ReceiveRound) error {
	return v.nothing.Answer(round.Protocol, round.Out, func(out io.Writer) error {
		round.Out = out
		return v.staged(r, func(stage string) error { return v.Folder.Git.ReceivePack(ctx, stage, round, gitcmd.ReceiveOptions{}) })
	})
}

// Take answers the second request of a push, which brings the objects. They arrive
// in a stage, a bare repository in tmp that borrows the objects of the real one:
// what is refused never enters the record. A body that comes slowly holds one of
// many places and no git.
func (v *Receiver) Take(ctx context.Context, r dm.Repository, round dm.ReceiveRound) error {
	leave, err := v.Enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	return v.staged(r, func(stage string) error {
		p := &push{
			Receiver: v, repository: r, actor: round.Actor, judged: map[string]*Version{},
			objects: &objects{git: v.Folder.Git, dir: stage, dirs: []string{stage}},
		}
		if dir := v.Folder.Path(r); repo.Exists(dir) {
			p.objects.dirs = append(p.objects.dirs, dir)
		}
		defer p.objects.close()
		session, end, err := v.Pushes.Open(ctx, p)
		if err != nil {
			return err
		}
		defer end()
		return v.Folder.Git.ReceivePack(ctx, stage, round, gitcmd.ReceiveOptions{
			HooksPath: session.Programs, Environment: session.Environment, MaxInput: v.Limits.Wire,
			// A version is its tree alone, so the history may be cut off before it.
			Shallow: r.Kind == dm.PackageRepository,
			Watch:   v.count,
			Fault:   repo.DiskFault,
		})
	})
}

// objectsPerEntry is how many objects a push may bring for each file and folder
// that a package may have: it brings its history as well.
const objectsPerEntry = 10

// count holds a pushed pack to the limits of uploads while it arrives.
func (v *Receiver) count(r io.Reader) io.Reader {
	return count(r, expansion{
		Object: v.Limits.File, All: v.Limits.Unpacked, Objects: objectsPerEntry * int64(v.Limits.Entries),
	})
}

// staged calls use with the repository that a push to r arrives in, and removes it.
func (v *Receiver) staged(r dm.Repository, use func(stage string) error) error {
	const op = "receive.staged"
	stage, err := v.Folder.NewAside()
	if err != nil {
		return repo.Failed(op, err)
	}
	defer func() {
		if err := stage.Discard(); err != nil {
			v.Folder.Log.Warn("a temporary repository could not be removed", "kind", r.Kind, "name", r.Name, "err", err)
		}
	}()
	if dir := v.Folder.Path(r); repo.Exists(dir) {
		info := filepath.Join(stage.Dir, "objects", "info")
		borrowed := filepath.Join(dir, "objects") + "\n"
		if err := errors.Join(os.Mkdir(info, 0o750), os.WriteFile(filepath.Join(info, "alternates"), []byte(borrowed), 0o640)); err != nil {
			return repo.Failed(op, err)
		}
	}
	return use(stage.Dir)
}

// push is one push as far as it has arrived.
type push struct {
	*Receiver
	repository dm.Repository
	actor      dm.Actor
	objects    *objects
	judged     map[string]*Version // by ref
}

var _ dm.Push = (*push)(nil)

// Repository implements dm.Push.
func (p *push) Repository() dm.Repository { return p.repository }

// Actor implements dm.Push.
func (p *push) Actor() dm.Actor { return p.actor }

// Judge implements dm.Push.
func (p *push) Judge(ctx context.Context, ref dm.PushedRef) (outcome dm.PushOutcome, err error) {
	if ref.Version != nil {
		outcome, err = p.judgeVersion(ctx, ref)
	} else {
		outcome, err = p.judgeProposal(ctx, ref)
	}
	return outcome, repo.Failed("receive.Judge", err)
}

// Accept implements dm.Push.
func (p *push) Accept(ctx context.Context, ref dm.PushedRef) (outcome dm.PushOutcome, err error) {
	if ref.Version != nil {
		outcome, err = p.publish(ctx, ref)
	} else {
		outcome, err = p.propose(ctx, ref)
	}
	return outcome, repo.Failed("receive.Accept", err)
}

// by is the person who pushes, with the reason that this push gives.
func (p *push) by(ref dm.PushedRef) dm.Actor {
	actor := p.actor
	actor.Reason = ref.Reason
	return actor
}
