package hook

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
)

// Name is the hook that git calls. It gets the refs of a push and its options
// when the objects have arrived and git has found them sound.
const Name = "proc-receive"

// Names of the closed environment by which a hook program finds its session.
const (
	SocketVariable  = "DM_PUSH_SOCKET"
	SessionVariable = "DM_PUSH_SESSION"
)

// Called tells whether a program that was called as arg0 is to act as the hook.
func Called(arg0 string) bool { return filepath.Base(arg0) == Name }

// Program hands everything to the server and writes what the server says. It
// returns the exit status and may leave a goroutine behind that waits for stdin,
// so the caller exits at once.
func Program(stdin io.Reader, stdout, stderr io.Writer, environ func(string) string) (exit int) {
	exit, err := callServer(stdin, stdout, stderr, environ)
	if err != nil {
		_, _ = io.WriteString(stderr, Name+": "+err.Error()+"\n")
		return 1
	}
	return exit
}

var errLost = errors.New("lost the connection to the server; fetch to see whether the push was accepted, and push again if not")

func callServer(stdin io.Reader, stdout, stderr io.Writer, environ func(string) string) (exit int, err error) {
	socket, session := environ(SocketVariable), environ(SessionVariable)
	if socket == "" || len(session) != sessionLength {
		return 0, errors.New("this repository accepts pushes only through its server")
	}
	conn, err := dial(socket)
	if err != nil {
		return 0, errors.New("the server is unreachable, push again later")
	}
	defer conn.Close()
	if _, err := conn.Write(Hello(session)); err != nil {
		return 0, errLost
	}
	// When this can't go on, because the server has heard enough or is gone, the
	// other direction says so.
	go func() { _, _ = io.Copy(onlyWriter{conn}, stdin) }()
	for {
		kind, payload, err := ReadFrame(conn)
		switch {
		case err != nil:
			return 0, errLost
		case kind == Output:
			_, err = stdout.Write(payload)
		case kind == Saying:
			_, err = stderr.Write(payload)
		case kind == Exit && len(payload) == 1:
			return int(payload[0]), nil
		default:
			err = errLost
		}
		if err != nil {
			return 0, errLost
		}
	}
}

// onlyWriter hides that a writer can do more, so that io.Copy uses its buffer.
type onlyWriter struct{ io.Writer }

// dial connects to a unix socket. Package net would do it, and cost a start of
// the program a quarter more.
func dial(path string) (*os.File, error) {
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	for err = syscall.EINTR; err == syscall.EINTR; {
		err = syscall.Connect(fd, &syscall.SockaddrUnix{Name: path})
	}
	if err != nil {
		return nil, errors.Join(err, syscall.Close(fd))
	}
	return os.NewFile(uintptr(fd), path), nil
}
