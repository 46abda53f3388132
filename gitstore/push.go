package gitstore

import (
	"context"
	"path/filepath"

	"github.com/go-git/go-git/v5/plumbing"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/pack"
	"github.com/pndaproject/deployment-manager/gitstore/receive"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
	"github.com/pndaproject/deployment-manager/gitstore/treefs"
)

// HooksFolder is the folder for the program that git calls when a push has
// arrived. It belongs to the record, so that one server writes it at a time.
func (s *Store) HooksFolder() string { return filepath.Join(s.data.Dir, repo.HooksDir) }

// ReceivePack implements dm.GitTransport.
func (s *Store) ReceivePack(ctx context.Context, r dm.Repository, round dm.ReceiveRound) error {
	const op = "gitstore.ReceivePack"
	if err := dm.ReadOnly(op, r.Kind); err != nil {
		return err
	}
	if s.Pushes == nil {
		return dm.Errorf(dm.Forbidden, op, "pushes to %s are not accepted", r.Name)
	}
	if err := s.service.Sound(r); err != nil {
		return err
	}
	if round.Advertise {
		return s.receiver.Advertise(ctx, r, round)
	}
	return s.receiver.Take(ctx, r, round)
}

// pushed is the record as a push sees it.
type pushed struct{ s *Store }

var _ receive.Record = pushed{}

// MayPublish implements receive.Record.
func (p pushed) MayPublish(ctx context.Context, actor dm.Actor, pkg dm.PackageRef) error {
	return p.s.admitPackage(ctx, actor, dm.Publish, pkg)
}

// Compare implements receive.Record.
func (p pushed) Compare(file dm.PackageFile, tree plumbing.Hash) (dm.PushOutcome, error) {
	outcome := dm.PushOutcome{Changed: true, Ref: repo.Tag(file.Ref.Version)}
	old, had := p.s.version(file.Ref)
	switch {
	case had && old.Tree == tree:
		outcome.Changed = false
		return outcome, nil
	case had && !p.s.Replace:
		_, err := unchanged(old, file, "")
		return dm.PushOutcome{}, err
	}
	if e := p.s.index.Package(file.Ref.Name); !had && !p.s.Replace && e != nil {
		if old, withdrawn := e.Withdrawn[file.Ref.Version]; withdrawn && old.Tree != tree {
			return dm.PushOutcome{}, e.StillUsed(file, "")
		}
	}
	return outcome, nil
}

// Validate implements receive.Record.
func (p pushed) Validate(ctx context.Context, pkg dm.PackageRef, files func() (*treefs.Sketch, error)) (dm.Validation, error) {
	return p.s.validate(ctx, pkg, pkg.String(), files)
}

// Publish implements receive.Record.
func (p pushed) Publish(ctx context.Context, actor dm.Actor, v receive.Version, put func(*pack.Writer) error) (changed bool, err error) {
	if err := p.MayPublish(ctx, actor, v.File.Ref); err != nil {
		return false, err
	}
	up, err := receive.NewUpload(p.s.data, v.File.Ref.Name, false)
	if err != nil {
		return false, err
	}
	defer up.Discard()
	up.Tree, up.Top, up.Digest, up.Findings = v.Files(), v.File.Ref.String(), v.Digest, v.Findings
	if err := put(up.Content); err != nil {
		return false, err
	}
	published, err := p.s.publishArrived(ctx, actor, v.File, up)
	return !published.Already, err
}
