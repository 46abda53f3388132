package gitcmd

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync/atomic"

	dm "github.com/pndaproject/deployment-manager"
)

// watched is the input of a push, whose pack somebody looks at as it passes. When
// that one ends the push with a word of his own, git gets the end of its input,
// and what it then says of a broken pack is kept from the client.
type watched struct {
	in      io.Reader
	refused atomic.Pointer[dm.Error]
}

// Read implements io.Reader for the type's sake: io.Copy calls WriteTo.
func (w *watched) Read([]byte) (int, error) {
	return 0, errors.New("a push is read by WriteTo")
}

// WriteTo implements io.WriterTo.
func (w *watched) WriteTo(to io.Writer) (int64, error) {
	n, err := io.Copy(to, w.in)
	var e *dm.Error
	if errors.As(err, &e) && e.Kind == dm.TooLarge {
		w.refused.Store(e) // before the end of git's input, so before git can speak of it
	}
	return n, err
}

// quiet is the way to the client until a push is refused.
type quiet struct {
	out io.Writer
	w   *watched
}

func (q *quiet) Write(p []byte) (int, error) {
	if q.w.refused.Load() != nil {
		return len(p), nil
	}
	return q.out.Write(p)
}

// toPack reads what stands between the commands and the pack of a push: its
// options, if it has any.
func toPack(in *bufio.Reader) (options []byte, err error) {
	for len(options) <= maxFront {
		head, err := in.Peek(4)
		if err != nil || string(head) == "PACK" {
			return options, nil // without a pack nothing is brought
		}
		size, err := strconv.ParseUint(string(head), 16, 16)
		switch {
		case err != nil:
			return options, nil
		case 0 < size && size < 4:
			return nil, errSpecial
		}
		packet := make([]byte, max(size, 4))
		n, err := io.ReadFull(in, packet)
		options = append(options, packet[:n]...)
		if err != nil {
			return options, nil
		}
	}
	return nil, dm.Errorf(dm.TooLarge, "gitcmd.toPack", "the options of the push have more than %d bytes", maxFront)
}

// report is git's report of a push that is refused as a whole, in the form that
// the commands ask for; nil when they ask for none.
func report(commands []byte, why *dm.Error) []byte {
	var refs []string
	abilities := ""
	for rest := commands; len(rest) >= 4; {
		size, err := strconv.ParseUint(string(rest[:4]), 16, 16)
		if err != nil || size < 4 || int(size) > len(rest) {
			break
		}
		line, after, found := strings.Cut(string(rest[4:size]), "\x00")
		if found {
			abilities = " " + strings.TrimSpace(after) + " "
		}
		if fields := strings.Fields(line); len(fields) == 3 {
			refs = append(refs, fields[2])
		}
		rest = rest[size:]
	}
	if !strings.Contains(abilities, " report-status") {
		return nil
	}
	var status bytes.Buffer
	pktLine(&status, "unpack "+why.Message+"\n")
	for _, ref := range refs {
		pktLine(&status, "ng "+ref+" the push is too large\n")
	}
	status.WriteString("0000")
	if !strings.Contains(abilities, " side-band-64k ") {
		return status.Bytes()
	}
	var b bytes.Buffer
	pktLine(&b, "\x02"+why.Public()+"\n")
	const most = 65_000
	for part := status.Bytes(); len(part) > 0; {
		n := min(len(part), most)
		pktLine(&b, "\x01"+string(part[:n]))
		part = part[n:]
	}
	b.WriteString("0000")
	return b.Bytes()
}

// pktLine writes one pkt-line.
func pktLine(b *bytes.Buffer, text string) { fmt.Fprintf(b, "%04x%s", len(text)+4, text) }
