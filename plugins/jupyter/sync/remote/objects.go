package remote

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
)

// Objects is one git that gives objects by their names.
type Objects struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
	broken error // nothing more can be read
}

// Objects starts the git that gives objects, until Close.
func (r *Repository) Objects(ctx context.Context) (*Objects, error) {
	cmd := r.Git.command(ctx, "cat-file", "--batch")
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	return &Objects{cmd: cmd, in: in, out: bufio.NewReaderSize(out, 64<<10)}, cmd.Start()
}

// Close ends it.
func (o *Objects) Close() {
	_ = o.in.Close()
	_ = o.cmd.Wait() // what it gave was read
}

// get reads an object, which must be of the kind that is wanted. An error of use is
// given as it is, all others are of the type ObjectError.
func (o *Objects) get(name, want string, use func(id string, size int64, content io.Reader) error) error {
	if o.broken != nil {
		return o.broken
	}
	err := o.exchange(name, want, use)
	var mine *useError
	if errors.As(err, &mine) {
		return mine.err
	}
	if err == nil {
		return nil
	}
	err = &ObjectError{name, err}
	if !errors.Is(err, errMissing) {
		o.broken = err // git gives nothing more
	}
	return err
}

// ObjectError tells that an object is missing from what was fetched, or damaged.
type ObjectError struct {
	Name string
	err  error
}

func (e *ObjectError) Error() string { return fmt.Sprintf("object %s: %v", e.Name, e.err) }
func (e *ObjectError) Unwrap() error { return e.err }

var errMissing = errors.New("it is missing from what was fetched")

// useError is not git's.
type useError struct{ err error }

func (e *useError) Error() string { return e.err.Error() }

func (o *Objects) exchange(name, want string, use func(id string, size int64, content io.Reader) error) error {
	if _, err := fmt.Fprintf(o.in, "%s\n", name); err != nil {
		return err
	}
	head, err := o.out.ReadString('\n')
	if err != nil {
		return err
	}
	fields := strings.Fields(head)
	if len(fields) != 3 {
		return errMissing
	}
	size, err := strconv.ParseInt(fields[2], 10, 64)
	if err != nil {
		return err
	}
	content := &io.LimitedReader{R: o.out, N: size}
	var used error
	if fields[1] == want {
		used = use(fields[0], size, content)
	} else {
		used = errMissing
	}
	if _, err := io.Copy(io.Discard, content); err != nil {
		return err
	}
	if _, err := o.out.Discard(1); err != nil {
		return err
	}
	if used != nil {
		return &useError{used}
	}
	return nil
}

// Blob reads a file's content.
func (o *Objects) Blob(b Blob, use func(size int64, content io.Reader) error) error {
	return o.get(b.String(), "blob", func(_ string, size int64, content io.Reader) error { return use(size, content) })
}
