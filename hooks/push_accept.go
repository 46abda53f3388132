package hooks

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	dm "github.com/pndaproject/deployment-manager"
)

// dryRunPrefix is where a dry run says that the refs went. No remote has a
// tracking ref for it, so the client ends well and believes nothing untrue.
const dryRunPrefix = "refs/dry-run/"

// accept is proc-receive: it makes every change and reports each. ctx outlives
// the client: once a change is begun it is brought to its end.
func (s *PushServer) accept(ctx context.Context, p *pushSession, t *talk) (next string, exit int) {
	p.outcome = pushFailed
	commands, atomic, err := greet(t.in, t)
	switch {
	case err != nil:
		t.say("git and the server do not understand each other")
		s.cfg.Log.Error("proc-receive failed", "request_id", p.request, "err", err)
		return "", 2
	case !slices.Equal(commands, p.commands):
		// Such as a name with a line break in it, which the hooks see differently.
		p.outcome = pushRefused
		t.say("the refs are not those that were judged")
		return "", 1
	}
	var report bytes.Buffer
	switch {
	case atomic && len(commands) > 1:
		p.outcome = pushRefused
		for _, ref := range p.refs {
			ng(&report, ref.Name, "each version is published for itself; push without --atomic")
		}
	case p.dry:
		p.outcome = pushDry
		for _, ref := range p.refs {
			_, short, _ := strings.Cut(strings.TrimPrefix(ref.Name, "refs/"), "/")
			ok(&report, ref.Name, dryRunPrefix+short)
		}
	default:
		s.acceptAll(ctx, p, t, &report)
	}
	report.WriteString(flushPacket)
	if _, err := t.Write(report.Bytes()); err != nil {
		s.cfg.Log.Warn("a push did not hear what became of it", "request_id", p.request, "outcome", p.outcome, "err", err)
	}
	return postReceive, 0
}

// acceptAll makes the changes one after the other; one that fails does not
// hold up the others, because each stands for itself.
func (s *PushServer) acceptAll(ctx context.Context, p *pushSession, t *talk, report io.Writer) {
	if r := p.push.Repository(); r.Kind == dm.ApplicationRepository {
		// Before anything moves, so that the first transition is not missed.
		p.news = s.progress.watch(dm.ApplicationName(r.Name), p.request)
	}
	outcome := pushAccepted
	for _, ref := range p.refs {
		ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
		made, err := p.push.Accept(ctx, ref)
		cancel()
		if err != nil {
			s.refuse(p, t, ref, err)
			outcome = p.outcome
			ng(report, ref.Name, replyTo(err).message)
			continue
		}
		p.done = append(p.done, acceptedRef{ref, made})
		t.sayNotes(made.Notes)
		ok(report, ref.Name, made.Ref)
	}
	p.outcome = outcome
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

// ng reports that the ref stays, and why.
func ng(w io.Writer, name, reason string) {
	packet(w, "ng "+name+" "+line(reason, maxReason))
}

// git's packets: four hexadecimal digits of length, themselves included.
const (
	flushPacket = "0000"
	maxPacket   = 65520
)

// packet writes one packet. Writing to a buffer can't fail.
func packet(w io.Writer, text string) {
	fmt.Fprintf(w, "%04x%s", len(text)+4, text)
}

var errPacket = errors.New("git's packets can't be understood")

// readPacket reads one packet without its line end; flush is the empty one.
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
	if _, err := io.ReadFull(r, b); err != nil {
		return "", false, err
	}
	return strings.TrimSuffix(string(b), "\n"), false, nil
}

// greet agrees on version 1 without any feature and reads the commands. git
// repeats the push options only to a hook that asks for them; pre-receive had
// them already.
func greet(r io.Reader, w io.Writer) (commands []command, atomic bool, err error) {
	text, flush, err := readPacket(r)
	if err != nil {
		return nil, false, err
	}
	version, features, _ := strings.Cut(text, "\x00")
	if flush || version != "version=1" {
		return nil, false, errPacket
	}
	if _, flush, err = readPacket(r); err != nil || !flush {
		return nil, false, errors.Join(errPacket, err)
	}
	var answer bytes.Buffer
	packet(&answer, "version=1")
	answer.WriteString(flushPacket)
	if _, err := w.Write(answer.Bytes()); err != nil {
		return nil, false, err
	}
	for {
		text, flush, err := readPacket(r)
		if err != nil {
			return nil, false, err
		}
		if flush {
			return commands, slices.Contains(strings.Fields(features), "atomic"), nil
		}
		c, ok := parseCommand([]byte(text))
		if !ok || len(commands) >= maxRefs {
			return nil, false, errPacket
		}
		commands = append(commands, c)
	}
}
