package gitcmd

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	dm "github.com/pndaproject/deployment-manager"
)

// Bounds of what a push may say before its options and its pack.
const (
	maxShallow = 10_000  // commits at which a shallow clone ends
	maxFront   = 2 << 20 // bytes of commands
)

// shallowWord begins the packets that name where a shallow clone ends.
const shallowWord = "shallow "

// takeFront reads what a push says before its pack, and returns all of the push
// that git shall read.
//
// It takes off the packets that tell at which commits the client's clone ends.
// With opts.Shallow it writes them into the repository dir, which so becomes as
// shallow as the client's; otherwise git finds the rest of the history in the
// repository, or refuses the push. git can do both by itself, but with a proc-receive
// hook it ends in a failed assertion (2.39) after the hook has accepted: it
// looks for a check that only its own way of moving a ref makes. To a shallow
// repository that push is an ordinary one, with all of its checks before the
// first hook.
func takeFront(ctx context.Context, dir string, push io.Reader, opts ReceiveOptions) (rest io.Reader, commands []byte, err error) {
	const op = "gitcmd.takeFront"
	type result struct {
		front
		rest io.Reader
		err  error
	}
	taken := make(chan result, 1)
	go func() { // the client may take its time with the first byte
		in := bufio.NewReader(push)
		f := front{}
		err := f.read(in)
		var options []byte
		if err == nil {
			options, err = toPack(in)
		}
		rest := io.Reader(in)
		if head, _ := in.Peek(4); opts.Watch != nil && string(head) == "PACK" {
			rest = opts.Watch(in)
		}
		taken <- result{f, io.MultiReader(bytes.NewReader(f.kept), bytes.NewReader(options), rest), err}
	}()
	select {
	case <-ctx.Done():
		return nil, nil, dm.Errorf(dm.Unavailable, op, "the push was ended before it was read").Because(ctx.Err())
	case r := <-taken:
		if r.err == nil && opts.Shallow && len(r.ids) > 0 {
			r.err = os.WriteFile(filepath.Join(dir, "shallow"), r.ids, 0o640)
		}
		return r.rest, r.kept, dm.Wrap(op, r.err)
	}
}

// front is the list of commands of a push, with what stands among them.
type front struct {
	kept []byte // for git
	ids  []byte // at which the clone ends, one a line
	ends int
}

// read reads up to the flush packet. Rubbish it leaves to git, with what comes
// after it: git says what is wrong.
func (f *front) read(in *bufio.Reader) error {
	const op = "gitcmd.readFront"
	for len(f.kept) <= maxFront {
		head, err := in.Peek(4)
		if err != nil {
			return nil
		}
		size, err := strconv.ParseUint(string(head), 16, 16)
		switch {
		case err != nil:
			return nil
		case 0 < size && size < 4:
			return errSpecial
		}
		packet := make([]byte, max(size, 4))
		n, err := io.ReadFull(in, packet)
		text, _, _ := strings.Cut(string(packet[4:max(n, 4)]), "\x00")
		switch text = strings.TrimSuffix(text, "\n"); {
		case err != nil:
			f.kept = append(f.kept, packet[:n]...)
			return nil
		case text == "push-cert":
			// Never offered; git would start gpg on what the client sent.
			return dm.Errorf(dm.Invalid, op, "a push with a certificate is not taken").WithHint("push without --signed")
		case strings.HasPrefix(text, shallowWord):
			if err := f.take(strings.TrimPrefix(text, shallowWord)); err != nil {
				return err
			}
			continue
		}
		f.kept = append(f.kept, packet...)
		if size == 0 {
			return nil
		}
	}
	return dm.Errorf(dm.TooLarge, op, "the commands of the push have more than %d bytes", maxFront)
}

// errSpecial is of a packet of another version of the protocol. git takes some of
// these for the end of the commands or of the options, so that what follows would
// be a pack that Watch has not seen.
var errSpecial = dm.Errorf(dm.Invalid, "gitcmd.readFront", "the push has a packet that no push may have")

// take keeps the name of one commit at which the client's clone ends.
func (f *front) take(name string) error {
	const op = "gitcmd.readFront"
	id, err := dm.ParseRevision(name)
	if err != nil {
		return err
	}
	if f.ends++; f.ends > maxShallow {
		return dm.Errorf(dm.Invalid, op, "the clone ends at more than %d commits", maxShallow).
			WithHint("fetch more of its history with 'git fetch --unshallow'")
	}
	f.ids = append(append(f.ids, id...), '\n')
	return nil
}
