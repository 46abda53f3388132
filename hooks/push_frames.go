package hooks

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Between a hook program and the server go frames: one byte that says what it
// is, four bytes of length, the highest first, and that many bytes. The program
// says hello first, then sends its standard input. The server sends what is to
// be written and, last, the exit status.
const (
	frameHello  = 'h' // JSON of a hello
	frameInput  = 'i' // of the program's standard input; an empty one ends it
	frameOutput = 'o' // for the program's standard output
	frameSaying = 'e' // for the program's standard error
	frameExit   = 'x' // one byte
)

// maxFrame bounds the bytes of one frame.
const maxFrame = 64 << 10

// frameVersion changes when the two sides would not understand each other: the
// executable may be replaced while a server runs.
const frameVersion = 1

// hello is what a program says of itself. Texts that may hold any byte are
// bytes, which JSON carries unchanged.
type hello struct {
	Version    int      `json:"version"`
	Hook       string   `json:"hook"`
	Session    string   `json:"session"`
	Quarantine []byte   `json:"quarantine,omitempty"`
	Options    [][]byte `json:"options,omitempty"`
}

// writeFrame sends one frame in one write.
func writeFrame(w io.Writer, kind byte, payload []byte) error {
	if len(payload) > maxFrame {
		return fmt.Errorf("a frame of %d bytes is larger than %d", len(payload), maxFrame)
	}
	b := make([]byte, 5, 5+len(payload))
	b[0] = kind
	binary.BigEndian.PutUint32(b[1:], uint32(len(payload)))
	_, err := w.Write(append(b, payload...))
	return err
}

// readFrame reads one frame. Its error is io.EOF only between frames.
func readFrame(r io.Reader) (kind byte, payload []byte, err error) {
	var head [5]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	n := binary.BigEndian.Uint32(head[1:])
	if n > maxFrame {
		return 0, nil, fmt.Errorf("a frame of %d bytes is larger than %d", n, maxFrame)
	}
	payload = make([]byte, n)
	if _, err := io.ReadFull(r, payload); err != nil {
		return 0, nil, errors.Join(io.ErrUnexpectedEOF, err)
	}
	return head[0], payload, nil
}

// readHello reads the frame that every connection starts with.
func readHello(r io.Reader) (h hello, err error) {
	kind, payload, err := readFrame(r)
	if err != nil {
		return h, err
	}
	if kind != frameHello {
		return h, fmt.Errorf("a frame %q came before the hello", kind)
	}
	if err := json.Unmarshal(payload, &h); err != nil {
		return h, err
	}
	if h.Version != frameVersion {
		return h, fmt.Errorf("the hook program speaks version %d, this server %d", h.Version, frameVersion)
	}
	return h, nil
}

// frameWriter writes to the other side as frames of one kind.
type frameWriter struct {
	w    io.Writer
	kind byte
}

func (f frameWriter) Write(p []byte) (int, error) {
	for sent := 0; sent < len(p); sent += maxFrame {
		if err := writeFrame(f.w, f.kind, p[sent:min(sent+maxFrame, len(p))]); err != nil {
			return sent, err
		}
	}
	return len(p), nil
}
