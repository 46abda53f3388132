package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"strings"
	"time"

	dm "github.com/pndaproject/deployment-manager"
)

// The reserved names of the selftest.
var (
	selftestRef   = dm.PackageRef{Name: dm.SelftestPackage, Version: dm.Version{Patch: 1}}
	selftestFile  = dm.PackageFile{Ref: selftestRef, Suffix: ".tar.gz"}
	selftestActor = dm.Actor{User: "_selftest", Groups: []string{dm.AdminGroup}, Auth: "none", Via: dm.SelftestVia}
)

const (
	selftestApp  = dm.SelftestApplication
	selftestTime = 30 * time.Second
)

// selftest plays upload, deploy, create, clone, destroy and undeploy against
// the running server, under names of its own, and cleans up behind itself. Its
// caller lets one run at a time, since two would meet under the same names.
type selftest struct {
	packages     dm.PackageStore
	deployed     dm.DeployedStore
	applications dm.ApplicationStore
	git          dm.GitTransport
	rights       func(context.Context) error // asks for what the server must be allowed on a cluster; nil without one
}

// selftestStep is one line of the detail that goes with pass or fail.
type selftestStep struct {
	Step         string `json:"step"`
	Status       string `json:"status"` // pass or fail
	Milliseconds int64  `json:"milliseconds"`
	Information  string `json:"information,omitempty"`
}

// report is run in the form that the deployment manager's API asks for.
func (s *selftest) report(ctx context.Context) (report map[string]any, pass bool) {
	pass, detail := s.run(ctx)
	return map[string]any{"steps": detail}, pass
}

// run returns whether everything worked, and what was done. After a fault the
// rest is skipped and only the cleaning up is done.
func (s *selftest) run(ctx context.Context) (pass bool, detail []selftestStep) {
	ctx, cancel := context.WithTimeout(ctx, selftestTime)
	defer cancel()
	do := func(name string, work func(context.Context) error) bool {
		began := time.Now()
		err := work(ctx)
		step := selftestStep{Step: name, Status: "pass", Milliseconds: time.Since(began).Milliseconds()}
		if err != nil {
			step.Status, step.Information = "fail", dm.Public(err)
		}
		detail = append(detail, step)
		return err == nil
	}
	var before tips
	look := func(ctx context.Context) (err error) {
		before, err = s.offered(ctx)
		return err
	}
	moved := func(ctx context.Context) error {
		earlier := before
		if err := look(ctx); err != nil {
			return err
		}
		return before.movedFrom(earlier)
	}
	pass = do("clean up an earlier run", s.clean) &&
		do("upload", s.upload) &&
		do("deploy", s.deploy) &&
		do("workspace before", look) &&
		do("create", s.create) &&
		do("delivered to the workspace", moved) &&
		do("destroy", s.destroy) &&
		do("removed from the workspace", moved)
	pass = do("clean up", s.clean) && pass
	if s.rights != nil {
		pass = do("rights on the cluster", s.rights) && pass
	}
	return pass, detail
}

func (s *selftest) upload(ctx context.Context) error {
	data, err := selftestArchive()
	if err != nil {
		return err
	}
	_, err = s.packages.Publish(ctx, selftestActor, selftestFile, bytes.NewReader(data), int64(len(data)))
	return err
}

func (s *selftest) deploy(ctx context.Context) error {
	if err := s.deployed.DeployPackage(ctx, selftestActor, selftestRef.String()); err != nil {
		return err
	}
	status, err := s.deployed.PackageStatus(ctx, selftestRef.String())
	if err == nil && status.Phase != dm.Deployed {
		err = dm.Errorf(dm.Internal, "selftest", "the package is %s: %s", status.Phase, status.Information)
	}
	return err
}

func (s *selftest) create(ctx context.Context) error {
	err := s.applications.Create(ctx, selftestActor, dm.Spec{
		Name: selftestApp, Package: selftestRef, Owner: selftestActor.User, State: dm.WantCreated,
		Audience: []dm.Subject{dm.UserSubject(selftestActor.User)},
	})
	if err != nil {
		return err
	}
	return s.settle(ctx, dm.Created)
}

func (s *selftest) destroy(ctx context.Context) error {
	if err := s.applications.Destroy(ctx, selftestActor, selftestApp, true); err != nil {
		return err
	}
	return s.settle(ctx, dm.NotCreated)
}

// settle waits until the application's change is carried out.
func (s *selftest) settle(ctx context.Context, want dm.Phase) error {
	const op = "selftest"
	for {
		view, ok, err := s.applications.Application(ctx, selftestApp)
		phase := dm.NotCreated
		if ok {
			phase = view.Phase
		}
		switch {
		case err != nil:
			return err
		case phase == want:
			return nil
		case !phase.Working():
			return dm.Errorf(dm.Internal, op, "the application is %s, not %s: %s", phase, want, view.Information)
		}
		select {
		case <-ctx.Done():
			return dm.Errorf(dm.Unavailable, op, "the application is still %s", phase)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// tips are the commits of the workspace's branches that the selftest moves.
type tips struct{ main, application string }

// movedFrom tells whether both branches got a new commit. The application's
// branch outlives the application, so that it is there says nothing.
func (t tips) movedFrom(earlier tips) error {
	if t.application == "" || t.application == earlier.application || t.main == earlier.main {
		return dm.Errorf(dm.Internal, "selftest", "the workspace did not change")
	}
	return nil
}

// offered asks git, as a clone does first, what the user's workspace has.
func (s *selftest) offered(ctx context.Context) (tips, error) {
	var refs bytes.Buffer
	workspace := dm.Repository{Kind: dm.WorkspaceRepository, Name: string(selftestActor.User)}
	err := s.git.UploadPack(ctx, workspace, dm.UploadRound{Advertise: true, In: strings.NewReader(""), Out: &refs})
	if err != nil {
		return tips{}, err
	}
	return tips{
		main:        tipOf(refs.String(), "refs/heads/main"),
		application: tipOf(refs.String(), "refs/heads/apps/"+string(selftestApp)),
	}, nil
}

// tipOf finds a ref in git's answer, whose lines are a length, the commit, a
// space and the name.
func tipOf(answer, ref string) string {
	const digits = 40
	before, _, found := strings.Cut(answer, " "+ref+"\n")
	if !found || len(before) < digits {
		return ""
	}
	return before[len(before)-digits:]
}

// clean removes what this run or one that was killed left behind. It must work
// from every state, so a thing that is not there is fine.
func (s *selftest) clean(ctx context.Context) error {
	view, ok, err := s.applications.Application(ctx, selftestApp)
	if err != nil {
		return err
	}
	if ok && view.Phase.Working() {
		if err := s.settle(ctx, view.Spec.State.Settled()); err != nil && dm.KindOf(err) == dm.Unavailable {
			return err
		}
	}
	if err := s.destroy(ctx); err != nil && dm.KindOf(err) != dm.NotFound {
		return err
	}
	for _, undo := range []func() error{
		func() error { return s.deployed.UndeployPackage(ctx, selftestActor, selftestRef.String()) },
		func() error { return s.packages.Withdraw(ctx, selftestActor, selftestFile) },
	} {
		if err := undo(); err != nil && dm.KindOf(err) != dm.NotFound {
			return err
		}
	}
	return nil
}

// selftestArchive makes the tiny package. It is stored rather than compressed,
// so that every build of the server makes the same bytes and uploading them
// again is no new version.
func selftestArchive() ([]byte, error) {
	const notebook = `{"cells": [{"cell_type": "markdown", "metadata": {}, "source": ["${component_application} says ${component_word}"]}],` +
		` "metadata": {}, "nbformat": 4, "nbformat_minor": 4}` + "\n"
	var out bytes.Buffer
	zipper, err := gzip.NewWriterLevel(&out, gzip.NoCompression)
	if err != nil {
		return nil, err
	}
	archive := tar.NewWriter(zipper)
	for _, file := range [][2]string{{"check.ipynb", notebook}, {"properties.json", `{"word": "hello"}` + "\n"}} {
		header := tar.Header{Name: selftestRef.String() + "/jupyter/check/" + file[0], Mode: 0o644, Size: int64(len(file[1])), Format: tar.FormatUSTAR}
		if err := archive.WriteHeader(&header); err != nil {
			return nil, err
		}
		if _, err := archive.Write([]byte(file[1])); err != nil {
			return nil, err
		}
	}
	if err := archive.Close(); err != nil {
		return nil, err
	}
	if err := zipper.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
