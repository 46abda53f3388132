package gitcmd

import (
	"bufio"
	"context"
	"errors"
	"io"

	dm "github.com/pndaproject/deployment-manager"
)

// converse runs c while in flows to it and its output flows to c.out. It
// returns when git has ended, and does not wait for a Read of in that is still
// blocked then; who gave in ends that Read. An in that is nil is empty.
func (g *Git) converse(ctx context.Context, c command, in io.Reader) error {
	if in == nil {
		return g.run(ctx, c)
	}
	p, err := g.prepare(ctx, c)
	if err != nil {
		return err
	}
	stdin, err := p.cmd.StdinPipe()
	if err == nil {
		err = p.start(c.out)
	}
	if err != nil {
		return p.unstarted(err)
	}
	if err := p.limit(c.cpu); err != nil {
		// git has read nothing yet, and without input it does nothing.
		return p.failure(errors.Join(err, stdin.Close(), p.wait()))
	}
	go func() {
		// A request that breaks off ends git's input, and git judges that.
		_, _ = io.Copy(stdin, in)
		_ = stdin.Close()
	}()
	return p.end()
}

// maxLine is how many bytes one line of git's output may have.
const maxLine = 64 << 10

// errCut tells that git's output ended in the middle of something.
var errCut = errors.New("the output is cut off")

// feeder writes a command's input. Its context ends with the command.
type feeder func(ctx context.Context, w io.Writer) error

// parse runs c, gives its output to read and, at the same time, its input to
// feed. An error of read ends git at once and is returned as it is, except
// errCut: then git knows better why. When parse returns, git and feed have
// ended.
func (g *Git) parse(ctx context.Context, c command, feed feeder, read func(*bufio.Reader) error) error {
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	p, err := g.prepare(inner, c)
	if err != nil {
		return err
	}
	stdin, err := p.cmd.StdinPipe()
	var stdout io.Reader
	if err == nil {
		stdout, err = p.cmd.StdoutPipe()
	}
	if err == nil {
		err = p.launch()
	}
	if err != nil {
		return p.unstarted(err)
	}
	fed := make(chan error, 1)
	go func() {
		err := feed(inner, stdin)
		_ = stdin.Close() // it is closed already when git ended first
		fed <- err
	}()
	stopped := read(bufio.NewReaderSize(stdout, maxLine))
	if stopped != nil && !errors.Is(stopped, errCut) {
		cancel()
	}
	ended := p.end()
	cancel()
	unfed := <-fed
	switch {
	case stopped != nil && !errors.Is(stopped, errCut):
		return stopped
	case ended != nil:
		return ended
	case unfed != nil:
		return unfed
	case stopped != nil:
		return dm.Errorf(dm.Internal, "git "+c.args[0], "unexpected end of the output of git %s", c.args[0]).Because(stopped)
	}
	return nil
}

// nothing is the feeder of a command that reads no input.
func nothing(context.Context, io.Writer) error { return nil }
