package githttp_test

import (
	"context"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"

	dm "github.com/pndaproject/deployment-manager"
)

const receiveType = "application/x-git-receive-pack-request"

// ReceivePack runs git's own receive-pack, which also makes what is missing.
func (s *store) ReceivePack(ctx context.Context, r dm.Repository, round dm.ReceiveRound) error {
	defer s.enter(round.Protocol)()
	s.mu.Lock()
	s.actors = append(s.actors, round.Actor)
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.endings = append(s.endings, ctx.Err())
	}()
	if r.Name == "broken" {
		return dm.Errorf(dm.Unavailable, "receive-pack", "the disk is full")
	}
	dir := s.dir(r)
	if _, err := os.Stat(dir); err != nil {
		if err := s.git.Run(ctx, "", nil, nil, "init", "-q", "--bare", "--", dir); err != nil {
			return err
		}
	}
	args := []string{"receive-pack", "--stateless-rpc"}
	if round.Advertise {
		args = append(args, "--http-backend-info-refs")
	}
	cmd := exec.CommandContext(ctx, "git", append(args, dir)...)
	cmd.Env = append(isolated(), "GIT_PROTOCOL="+round.Protocol)
	cmd.Stdout = round.Out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	if round.In != nil {
		stdin, err := cmd.StdinPipe()
		if err != nil {
			return err
		}
		go func() {
			_, _ = io.Copy(stdin, &counter{round.In, &s.read})
			_ = stdin.Close()
		}()
	}
	if err := cmd.Run(); err != nil {
		return dm.Errorf(dm.Internal, "receive-pack", "git receive-pack failed").Because(err)
	}
	return nil
}
