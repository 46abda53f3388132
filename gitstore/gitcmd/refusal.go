package gitcmd

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"

	dm "github.com/pndaproject/deployment-manager"
)

// refuse tells the client why git was not asked: with git's own report, or by the
// error where the commands ask for none.
func (a *arrived) refuse(out io.Writer) error {
	said := report(a.kept, a.refused)
	if said == nil {
		return a.refused
	}
	_, err := out.Write(said)
	return err
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
	abilities, short := "", "the push is too large"
	if why.Kind != dm.TooLarge {
		short = "the push could not be stored"
	}
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
		pktLine(&status, "ng "+ref+" "+short+"\n")
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
