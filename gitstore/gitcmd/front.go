package gitcmd

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
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

// arrived is a push that has arrived.
type arrived struct {
	front
	file    *os.File  // has no name
	refused *dm.Error // why git shall not be asked
}

func (a *arrived) close() { _ = a.file.Close() }

// Read gives git what it shall read. At the end the file's room on the disk is
// free again: what the hooks then write may need it.
func (a *arrived) Read(p []byte) (int, error) {
	n, err := a.file.Read(p)
	if err != nil {
		a.close()
	}
	return n, err
}

// takeIn takes all of a push in, into a file of the repository dir, and looks at
// it meanwhile. The caller closes what it returns.
//
// It takes off the packets that tell at which commits the client's clone ends.
// With opts.Shallow it writes them into the repository dir, which so becomes as
// shallow as the client's; otherwise git finds the rest of the history in the
// repository, or refuses the push. git can do both by itself, but with a proc-receive
// hook it ends in a failed assertion (2.39) after the hook has accepted: it
// looks for a check that only its own way of moving a ref makes. To a shallow
// repository that push is an ordinary one, with all of its checks before the
// first hook.
func takeIn(ctx context.Context, dir string, push io.Reader, opts ReceiveOptions) (*arrived, error) {
	const op = "gitcmd.takeIn"
	file, err := os.CreateTemp(dir, "push-*")
	if err == nil {
		err = os.Remove(file.Name())
	}
	if err != nil {
		return nil, opts.Fault(err)
	}
	a := &arrived{file: file}
	taken := make(chan error, 1)
	go func() { taken <- a.store(push, opts) }() // the client may take its time
	select {
	case <-ctx.Done():
	case err = <-taken:
	}
	switch {
	case ctx.Err() != nil:
		err = dm.Errorf(dm.Unavailable, op, "the push was interrupted").Because(ctx.Err())
	case err == nil && opts.Shallow && len(a.ids) > 0:
		err = os.WriteFile(filepath.Join(dir, "shallow"), a.ids, 0o640)
	}
	if err != nil {
		a.close() // ends a store that still goes on
		return nil, dm.Wrap(op, err)
	}
	return a, nil
}

// store reads the push to its end, or to where it is refused. A pack that makes no
// sense is git's to judge, as far as it was understood.
func (a *arrived) store(push io.Reader, opts ReceiveOptions) (err error) {
	source := &source{r: push}
	defer func() {
		if source.failed != nil { // whatever was made of it
			err = source.failed
		}
	}()
	in := bufio.NewReader(source)
	if err := a.front.read(in); err != nil {
		return err
	}
	options, err := toPack(in)
	if err != nil {
		return err
	}
	rest := io.Reader(in)
	if head, _ := in.Peek(4); opts.Watch != nil && string(head) == "PACK" {
		rest = opts.Watch(in)
	}
	_, err = a.file.Write(append(bytes.Clone(a.kept), options...))
	if err == nil {
		_, err = io.Copy(a.file, rest)
	}
	var disk *fs.PathError
	if errors.As(err, &disk) {
		err = opts.Fault(err)
	}
	var why *dm.Error
	switch {
	case errors.As(err, &why) && (why.Kind == dm.TooLarge || disk != nil):
		a.refused = why
	case err != nil && dm.KindOf(err) != dm.Invalid:
		return err
	}
	_, err = a.file.Seek(0, io.SeekStart)
	return err
}

// source remembers why a push could not be read to its end.
type source struct {
	r      io.Reader
	failed error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		s.failed = err
	}
	return n, err
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
	const op = "gitcmd.front"
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
			return dm.Errorf(dm.Invalid, op, "signed pushes are not supported").WithHint("push without --signed")
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
var errSpecial = dm.Errorf(dm.Invalid, "gitcmd.front", "the push has an invalid packet")

// take keeps the name of one commit at which the client's clone ends.
func (f *front) take(name string) error {
	const op = "gitcmd.front"
	id, err := dm.ParseRevision(name)
	if err != nil {
		return err
	}
	if f.ends++; f.ends > maxShallow {
		return dm.Errorf(dm.Invalid, op, "the shallow clone has more than %d boundary commits", maxShallow).
			WithHint("fetch more of its history with 'git fetch --unshallow'")
	}
	f.ids = append(append(f.ids, id...), '\n')
	return nil
}
