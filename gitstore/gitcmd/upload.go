package gitcmd

import (
	"context"
	"io"

	dm "github.com/pndaproject/deployment-manager"
)

// UploadPack answers one stateless request of a fetch from the repository dir.
// Input and output flow at the same time: git writes while it reads, and a
// request with many haves blocks for ever when the one waits for the other.
//
// It returns when git has ended, and does not wait for a Read of round.In that
// is still blocked then; who gave In ends that Read. When Out fails git ends
// with it.
func (g *Git) UploadPack(ctx context.Context, dir string, round dm.UploadRound) error {
	const op = "gitcmd.UploadPack"
	args := []string{"upload-pack", "--strict", "--stateless-rpc"}
	if round.Advertise {
		args = append(args, "--http-backend-info-refs")
	}
	c := command{out: round.Out, args: append(args, "--", dir)}
	switch round.Protocol {
	case "":
	case "version=1", "version=2":
		c.env = []string{"GIT_PROTOCOL=" + round.Protocol}
	default:
		return dm.Errorf(dm.Invalid, op, "the git protocol %q is not known", round.Protocol)
	}
	if round.Advertise || round.In == nil {
		return dm.Wrap(op, g.run(ctx, c))
	}
	p := g.prepare(ctx, c)
	stdin, err := p.cmd.StdinPipe()
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		return dm.Wrap(op, failure(ctx, "upload-pack", err, ""))
	}
	go func() {
		// A request that breaks off ends git's input, and git judges that.
		_, _ = io.Copy(stdin, round.In)
		_ = stdin.Close()
	}()
	return dm.Wrap(op, failure(ctx, "upload-pack", p.wait(), p.stderr.String()))
}
