package gitcmd

import (
	"bytes"
	"io"
	"sync"
)

// Remembered are answers of git that are always the same, by the protocol: git is
// asked once for each. It is safe for many goroutines.
type Remembered struct{ byProtocol sync.Map }

// Answer writes the answer to out; ask has git write it the first time.
func (r *Remembered) Answer(protocol string, out io.Writer, ask func(out io.Writer) error) error {
	if answer, ok := r.byProtocol.Load(protocol); ok {
		_, err := out.Write(answer.([]byte))
		return err
	}
	var answer bytes.Buffer
	err := ask(io.MultiWriter(out, &answer))
	if err == nil {
		r.byProtocol.Store(protocol, answer.Bytes())
	}
	return err
}
