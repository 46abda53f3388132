package gitstore

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/gitcmd"
	"github.com/pndaproject/deployment-manager/gitstore/pack"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// HooksFolder is the folder for the program that git calls when a push has
// arrived. It belongs to the record, so that one server writes it at a time.
func (s *Store) HooksFolder() string { return filepath.Join(s.data.Dir, repo.HooksDir) }

// ReceivePack implements dm.GitTransport. A push arrives in a stage, a bare
// repository in tmp that borrows the objects of the real one: what is refused
// never enters the record. A body that comes slowly holds one of many places and
// no git.
func (s *Store) ReceivePack(ctx context.Context, r dm.Repository, round dm.ReceiveRound) error {
	const op = "gitstore.ReceivePack"
	if !kindOf(r).pushed {
		return dm.ReadOnlyWorkspace(op)
	}
	if s.Pushes == nil {
		return dm.Errorf(dm.Forbidden, op, "pushes to %s are not accepted", r.Name)
	}
	if err := s.service.Sound(r); err != nil {
		return err
	}
	// A version is pushed from any repository, and its tag there is not ours: a
	// client that saw ours would refuse by itself to push the same once more.
	if dir := s.data.Path(r); round.Advertise && r.Kind == dm.ApplicationRepository && repo.Exists(dir) {
		return s.git.ReceivePack(ctx, dir, round, gitcmd.ReceiveOptions{Hidden: []string{repo.DeploymentPrefix, repo.Observed}})
	}
	if !round.Advertise {
		leave, err := s.gates.receiving.Enter(ctx)
		if err != nil {
			return err
		}
		defer leave()
	}
	stage, err := s.newStage(r)
	if err != nil {
		return repo.Failed(op, err)
	}
	defer func() {
		if err := stage.Discard(); err != nil {
			s.Log.Warn("a temporary repository could not be removed", "kind", r.Kind, "name", r.Name, "err", err)
		}
	}()
	if round.Advertise {
		return s.git.ReceivePack(ctx, stage.Dir, round, gitcmd.ReceiveOptions{})
	}
	session, end, err := s.Pushes.Open(ctx, &push{s: s, repository: r, actor: round.Actor, stage: stage.Dir, judged: map[string]pushedVersion{}})
	if err != nil {
		return err
	}
	defer end()
	return s.git.ReceivePack(ctx, stage.Dir, round, gitcmd.ReceiveOptions{
		HooksPath: session.Programs, Environment: session.Environment, MaxInput: s.Limits.Wire,
		// A version is its tree alone, so the history may be cut off before it.
		Shallow: r.Kind == dm.PackageRepository,
		Watch:   s.count,
		Fault:   diskFault,
	})
}

// objectsPerEntry is how many objects a push may bring for each file and folder
// that a package may have: it brings its history as well.
const objectsPerEntry = 10

// count holds a pushed pack to the limits of uploads while it arrives.
func (s *Store) count(r io.Reader) io.Reader {
	return pack.Count(r, pack.Expansion{
		Object: s.Limits.File, All: s.Limits.Unpacked, Objects: objectsPerEntry * int64(s.Limits.Entries),
	})
}

// newStage makes the repository that a push to r arrives in.
func (s *Store) newStage(r dm.Repository) (*repo.Aside, error) {
	stage, err := s.data.NewAside()
	if err != nil || !repo.Exists(s.data.Path(r)) {
		return stage, err
	}
	borrowed := filepath.Join(s.data.Path(r), "objects") + "\n"
	info := filepath.Join(stage.Dir, "objects", "info")
	if err := errors.Join(os.Mkdir(info, 0o750), os.WriteFile(filepath.Join(info, "alternates"), []byte(borrowed), 0o640)); err != nil {
		return nil, errors.Join(err, stage.Discard())
	}
	return stage, nil
}

// push is one push as far as it has arrived.
type push struct {
	s          *Store
	repository dm.Repository
	actor      dm.Actor
	stage      string                   // repository
	judged     map[string]pushedVersion // by ref
}

var _ dm.Push = (*push)(nil)

// Repository implements dm.Push.
func (p *push) Repository() dm.Repository { return p.repository }

// Actor implements dm.Push.
func (p *push) Actor() dm.Actor { return p.actor }

// Judge implements dm.Push.
func (p *push) Judge(ctx context.Context, ref dm.PushedRef) (dm.PushOutcome, error) {
	const op = "gitstore.Judge"
	from := p.objects()
	if ref.Version != nil {
		outcome, err := p.judgeVersion(ctx, from, ref)
		return outcome, repo.Failed(op, err)
	}
	outcome, err := p.judgeProposal(ctx, from, ref)
	return outcome, repo.Failed(op, err)
}

// Accept implements dm.Push.
func (p *push) Accept(ctx context.Context, ref dm.PushedRef) (dm.PushOutcome, error) {
	const op = "gitstore.Accept"
	from := p.objects()
	if ref.Version != nil {
		outcome, err := p.publish(ctx, from, ref)
		return outcome, repo.Failed(op, err)
	}
	outcome, err := p.propose(ctx, from, ref)
	return outcome, repo.Failed(op, err)
}

// objects reads what has arrived.
func (p *push) objects() pushedObjects { return pushedObjects{git: p.s.git, dir: p.stage} }

// by is the person who pushes, with the reason that this push gives.
func (p *push) by(ref dm.PushedRef) dm.Actor {
	actor := p.actor
	actor.Reason = ref.Reason
	return actor
}
