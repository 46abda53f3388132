package hooks

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	dm "github.com/pndaproject/deployment-manager"
)

// git's packets: four hexadecimal digits of length, themselves included.
const (
	flushPacket = "0000"
	maxPacket   = 65520
)

// packet writes one packet. Writing to a buffer can't fail.
func packet(w io.Writer, text string) {
	fmt.Fprintf(w, "%04x%s", len(text)+4, text)
}

var errPacket = errors.New("malformed packets from git")

// readPacket reads one packet; flush is the empty one.
func readPacket(r io.Reader) (text string, flush bool, err error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return "", false, err
	}
	n, err := strconv.ParseUint(string(head[:]), 16, 16)
	switch {
	case err != nil || n > maxPacket || 0 < n && n < 4:
		return "", false, errPacket
	case n == 0:
		return "", true, nil
	}
	b := make([]byte, n-4)
	_, err = io.ReadFull(r, b)
	return string(b), false, err
}

// asked is what a push asks for, as git tells it.
type asked struct {
	commands []command
	options  []string // one more than allowed at most
	atomic   bool
}

// readAsked agrees with git on version 1 and push options, and reads what the
// push asks for. git repeats the options only to a hook that asks for them.
func readAsked(r io.Reader, w io.Writer) (a asked, err error) {
	r = io.LimitReader(r, maxCommands)
	text, flush, err := readPacket(r)
	if err != nil {
		return a, err
	}
	version, list, _ := strings.Cut(strings.TrimSuffix(text, "\n"), "\x00")
	if flush || version != "version=1" {
		return a, errPacket
	}
	if _, flush, err = readPacket(r); err != nil || !flush {
		return a, errors.Join(errPacket, err)
	}
	features := strings.Fields(list)
	a.atomic = slices.Contains(features, "atomic")
	var answer bytes.Buffer
	optional := slices.Contains(features, "push-options")
	if optional {
		packet(&answer, "version=1\x00push-options")
	} else {
		packet(&answer, "version=1")
	}
	answer.WriteString(flushPacket)
	if _, err := w.Write(answer.Bytes()); err != nil {
		return a, err
	}
	err = eachPacket(r, func(text string) error {
		c, ok := parseCommand(text)
		if !ok {
			return errPacket
		}
		a.commands = append(a.commands, c)
		return nil
	})
	if err == nil && len(a.commands) == 0 {
		err = errPacket
	}
	if err == nil && optional {
		err = eachPacket(r, func(text string) error {
			if len(a.options) <= maxOptions {
				a.options = append(a.options, text)
			}
			return nil
		})
	}
	return a, err
}

// eachPacket visits the packets up to the empty one.
func eachPacket(r io.Reader, visit func(text string) error) error {
	for {
		text, flush, err := readPacket(r)
		if err != nil || flush {
			return err
		}
		if err := visit(text); err != nil {
			return err
		}
	}
}

// ok reports that the ref moved, and under which name the server keeps it.
func ok(w io.Writer, name, kept string) {
	packet(w, "ok "+name)
	if kept != "" && kept != name {
		packet(w, "option refname "+kept)
	}
}

// maxReason is what fits on the client's line of a ref, in bytes.
const maxReason = 300

// ng reports that the ref stays, and why. A name for which there is no room
// stays as well: git misses it in the report.
func ng(w io.Writer, name, reason string) {
	if text := "ng " + name + " " + line(reason, maxReason); len(text)+4 <= maxPacket {
		packet(w, text)
	}
}

// refuseAll reports that every ref stays: each for its own fault, else for one of
// the whole push, else for the sake of the others.
func refuseAll(w io.Writer, commands []command, faults []error) {
	all, own := "another ref of this push is refused", map[string]string{}
	for _, fault := range slices.Backward(faults) {
		var of refFault
		if message := replyTo(fault).message; errors.As(fault, &of) {
			own[of.name] = message
		} else {
			all = message
		}
	}
	for _, c := range commands {
		reason, ok := own[c.name]
		if !ok {
			reason = all
		}
		ng(w, c.name, reason)
	}
}

// dryRunPrefix is where a dry run says that the refs went. No remote has a
// tracking ref for it, so the client ends well and believes nothing untrue.
const dryRunPrefix = "refs/dry-run/"

// moveNone reports where the refs of a dry run would have gone.
func moveNone(w io.Writer, refs []dm.PushedRef) {
	for _, ref := range refs {
		_, short, _ := strings.Cut(strings.TrimPrefix(ref.Name, "refs/"), "/")
		ok(w, ref.Name, dryRunPrefix+short)
	}
}
