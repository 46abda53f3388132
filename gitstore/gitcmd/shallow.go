package gitcmd

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strconv"

	dm "github.com/pndaproject/deployment-manager"
)

// maxShallow is how many commits a shallow clone may end at.
const maxShallow = 10_000

// shallowWord begins the packets that name where a shallow clone ends.
const shallowWord = "shallow "

// takeShallow takes the packets off a push that tell at which commits the
// client's clone ends, and writes them into the repository dir, which so
// becomes as shallow as the client's. It returns the rest of the push.
//
// git can do that by itself, but with a proc-receive hook it ends in a failed
// assertion (2.39) after the hook has accepted: it looks for a check that only
// its own way of moving a ref makes. To a shallow repository that push is an
// ordinary one, with all of its checks before the first hook.
func takeShallow(ctx context.Context, dir string, push io.Reader) (rest io.Reader, err error) {
	const op = "gitcmd.takeShallow"
	type result struct {
		ids  []byte
		rest io.Reader
		err  error
	}
	taken := make(chan result, 1)
	go func() { // the client may take its time with the first byte
		in := bufio.NewReader(push)
		ids, err := readShallow(in)
		taken <- result{ids, in, err}
	}()
	select {
	case <-ctx.Done():
		return nil, dm.Errorf(dm.Unavailable, op, "the push was ended before it was read").Because(ctx.Err())
	case r := <-taken:
		if r.err == nil && len(r.ids) > 0 {
			r.err = os.WriteFile(filepath.Join(dir, "shallow"), r.ids, 0o640)
		}
		return r.rest, dm.Wrap(op, r.err)
	}
}

// readShallow reads the packets at the start of a push that name commits, and
// returns one name a line. What else there is, and be it rubbish, it leaves to
// git.
func readShallow(in *bufio.Reader) ([]byte, error) {
	const op = "gitcmd.readShallow"
	var ids []byte
	for range maxShallow {
		head, err := in.Peek(4 + len(shallowWord))
		if err != nil || string(head[4:]) != shallowWord {
			return ids, nil
		}
		size, err := strconv.ParseUint(string(head[:4]), 16, 16)
		if err != nil || size <= uint64(len(head)) || size > 64 {
			return nil, dm.Errorf(dm.Invalid, op, "the push does not follow git's protocol")
		}
		line := make([]byte, size)
		if _, err := io.ReadFull(in, line); err != nil {
			return nil, dm.Errorf(dm.Invalid, op, "the push broke off").Because(err)
		}
		id, err := dm.ParseRevision(string(bytes.TrimSpace(line[len(head):])))
		if err != nil {
			return nil, err
		}
		ids = append(append(ids, id...), '\n')
	}
	return nil, dm.Errorf(dm.Invalid, op, "the clone ends at more than %d commits", maxShallow).
		WithHint("fetch more of its history with 'git fetch --unshallow'")
}
