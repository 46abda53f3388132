package hooks

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"slices"
	"strconv"
)

// ProgramName tells whether a program that was called as arg0 is to act as a
// hook, and as which.
func ProgramName(arg0 string) (name string, ok bool) {
	name = filepath.Base(arg0)
	return name, slices.Contains([]string{preReceive, procReceive, postReceive}, name)
}

// Program is the hook program that git starts: it hands everything to the
// server, which decides, and writes what the server says. It returns the exit
// status and may leave a goroutine behind that waits for stdin, so the caller
// exits at once.
func Program(name string, stdin io.Reader, stdout, stderr io.Writer, environ func(string) string) (exit int) {
	exit, err := callServer(name, stdin, stdout, stderr, environ)
	if err != nil {
		fmt.Fprintf(stderr, "%s: %v\n", name, err)
		return 1
	}
	return exit
}

func callServer(name string, stdin io.Reader, stdout, stderr io.Writer, environ func(string) string) (exit int, err error) {
	socket, session := environ(socketVariable), environ(sessionVariable)
	if socket == "" || session == "" {
		return 0, errors.New("this repository takes pushes only through its server")
	}
	h := hello{Version: frameVersion, Hook: name, Session: session, Quarantine: []byte(environ("GIT_QUARANTINE_PATH"))}
	// git leaves the count out when the client sent no options. One more than
	// allowed is enough for the server to refuse them.
	count, _ := strconv.Atoi(environ("GIT_PUSH_OPTION_COUNT"))
	for n := range min(max(count, 0), maxOptions+1) {
		h.Options = append(h.Options, []byte(environ("GIT_PUSH_OPTION_"+strconv.Itoa(n))))
	}
	greeting, err := json.Marshal(h)
	if err != nil || len(greeting) > maxFrame {
		return 0, errors.New("the push options are too long")
	}
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return 0, errors.New("the server can't be reached; push again when it is back")
	}
	defer conn.Close()
	if err := writeFrame(conn, frameHello, greeting); err != nil {
		return 0, errLost
	}
	go sendInput(conn, stdin)
	return receive(conn, stdout, stderr)
}

var errLost = errors.New("the server has gone away before it said what became of this push; fetch, look, and push again")

// sendInput sends what git writes. When it can't go on, because the server has
// heard enough or is gone, the other direction says so.
func sendInput(conn io.Writer, stdin io.Reader) {
	if _, err := io.Copy(frameWriter{conn, frameInput}, onlyReader{stdin}); err == nil {
		_ = writeFrame(conn, frameInput, nil)
	}
}

// onlyReader hides that a reader can do more, so that io.Copy uses its buffer.
type onlyReader struct{ io.Reader }

// receive writes what the server says until it gives the exit status.
func receive(conn io.Reader, stdout, stderr io.Writer) (exit int, err error) {
	for {
		kind, payload, err := readFrame(conn)
		if err != nil {
			return 0, errLost
		}
		switch kind {
		case frameOutput:
			_, err = stdout.Write(payload)
		case frameSaying:
			_, err = stderr.Write(payload)
		case frameExit:
			if len(payload) == 1 {
				return int(payload[0]), nil
			}
			err = errLost
		}
		if err != nil {
			return 0, errLost
		}
	}
}
