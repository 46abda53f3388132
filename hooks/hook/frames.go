package hook

import (
	"encoding/binary"
	"errors"
	"io"
)

// The program says Hello and then hands on its standard input as it is. The server
// sends frames: one byte that says what it is, four bytes of length, the highest
// first, and that many bytes.
const (
	Output = 'o' // for the program's standard output
	Saying = 'e' // for the program's standard error
	Exit   = 'x' // one byte, the exit status; the last frame
)

// maxFrame bounds the bytes of one frame.
const maxFrame = 64 << 10

// sessionLength is how many letters name a session.
const sessionLength = 32

// greeting begins what a program says. Its number changes when the two sides
// would not understand each other: the executable may be replaced while a server
// runs.
const greeting = "deployment-manager push 2 "

// Hello is what the program of a session says first.
func Hello(session string) []byte { return []byte(greeting + session + "\n") }

// ReadHello reads the session from what a program says first.
func ReadHello(r io.Reader) (session string, err error) {
	var b [len(greeting) + sessionLength + 1]byte
	if _, err := io.ReadFull(r, b[:len(greeting)]); err != nil {
		return "", err
	}
	if string(b[:len(greeting)]) != greeting {
		return "", errors.New("the hook program speaks another version than this server")
	}
	if _, err := io.ReadFull(r, b[len(greeting):]); err != nil {
		return "", err
	}
	if b[len(b)-1] != '\n' {
		return "", errors.New("the hook program names no session")
	}
	return string(b[len(greeting) : len(b)-1]), nil
}

// WriteFrame sends one frame in one write.
func WriteFrame(w io.Writer, kind byte, payload []byte) error {
	if len(payload) > maxFrame {
		return errors.New("a frame is too large")
	}
	b := make([]byte, 5, 5+len(payload))
	b[0] = kind
	binary.BigEndian.PutUint32(b[1:], uint32(len(payload)))
	_, err := w.Write(append(b, payload...))
	return err
}

// ReadFrame reads one frame.
func ReadFrame(r io.Reader) (kind byte, payload []byte, err error) {
	var head [5]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	n := binary.BigEndian.Uint32(head[1:])
	if n > maxFrame {
		return 0, nil, errors.New("a frame is too large")
	}
	payload = make([]byte, n)
	_, err = io.ReadFull(r, payload)
	return head[0], payload, err
}
