package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// visitor talks to a server as git clone and git fetch do, over a connection
// of its own, and throws away what it gets. It costs a fraction of git's own
// client, so that a burst of them measures the server.
type visitor struct {
	client *http.Client
	url    string
}

// visit makes a visitor for one operation.
func visit(url string) *visitor {
	return &visitor{&http.Client{Transport: &http.Transport{DisableCompression: true, DialContext: loopback}}, url}
}

func (v *visitor) leave() { v.client.CloseIdleConnections() }

// offer is what a server has: the objects that a clone asks for, and which
// version of the protocol it speaks.
type offer struct {
	version2 bool
	wants    []string
}

// look asks what there is, which is all that a fetch does when nothing is new.
func (v *visitor) look(ctx context.Context) (o offer, err error) {
	answer, err := v.ask(ctx, http.MethodGet, "/info/refs?service=git-upload-pack", nil)
	if err != nil {
		return o, err
	}
	defer answer.Close()
	p := &packets{in: bufio.NewReader(answer)}
	lines, err := p.section()
	if err == nil && len(lines) > 0 && strings.HasPrefix(lines[0], "# service") {
		lines, err = p.section()
	}
	if err != nil {
		return o, err
	}
	if len(lines) > 0 && lines[0] == "version 2" {
		o.version2 = true
		if lines, err = v.listRefs(ctx, answer); err != nil {
			return o, err
		}
	}
	for _, line := range lines {
		id, name, _ := strings.Cut(line, " ")
		name, _, _ = strings.Cut(name, "\x00")
		name, _, _ = strings.Cut(name, " ")
		cloned := name == "HEAD" || strings.HasPrefix(name, "refs/heads/") || strings.HasPrefix(name, "refs/tags/")
		if cloned && !strings.HasSuffix(name, "^{}") && !slices.Contains(o.wants, id) {
			o.wants = append(o.wants, id)
		}
	}
	if len(o.wants) == 0 {
		err = errors.New(v.url + " has no refs")
	}
	return o, err
}

// listRefs is the second step of version 2.
func (v *visitor) listRefs(ctx context.Context, first io.ReadCloser) ([]string, error) {
	if _, err := io.Copy(io.Discard, first); err != nil { // so that the connection is used again
		return nil, err
	}
	var body bytes.Buffer
	writeLines(&body, "command=ls-refs\n", "agent=git/2\n", "object-format=sha1")
	body.WriteString("0001")
	writeLines(&body, "peel\n", "symrefs\n", "ref-prefix refs/heads/\n", "ref-prefix refs/tags/\n", "ref-prefix HEAD\n")
	body.WriteString("0000")
	answer, err := v.ask(ctx, http.MethodPost, "/git-upload-pack", &body)
	if err != nil {
		return nil, err
	}
	defer answer.Close()
	return (&packets{in: bufio.NewReader(answer)}).section()
}

// clone takes everything and returns how many objects that was; it checks the
// pack's checksum.
func (v *visitor) clone(ctx context.Context) (objects uint32, err error) {
	o, err := v.look(ctx)
	if err != nil {
		return 0, err
	}
	var body bytes.Buffer
	if o.version2 {
		writeLines(&body, "command=fetch", "agent=git/2", "object-format=sha1")
		body.WriteString("0001")
		writeLines(&body, "thin-pack", "no-progress", "ofs-delta")
		for _, id := range o.wants {
			writeLines(&body, "want "+id+"\n")
		}
		writeLines(&body, "done\n")
		body.WriteString("0000")
	} else {
		capabilities := " multi_ack_detailed no-done side-band-64k thin-pack no-progress ofs-delta agent=git/2"
		for _, id := range o.wants {
			writeLines(&body, "want "+id+capabilities+"\n")
			capabilities = ""
		}
		body.WriteString("0000")
		writeLines(&body, "done\n")
	}
	answer, err := v.ask(ctx, http.MethodPost, "/git-upload-pack", &body)
	if err != nil {
		return 0, err
	}
	defer answer.Close()
	p := &packets{in: bufio.NewReaderSize(answer, 128<<10)}
	return p.pack()
}

func (v *visitor) ask(ctx context.Context, method, path string, body io.Reader) (io.ReadCloser, error) {
	request, err := http.NewRequestWithContext(ctx, method, v.url+path, body)
	if err != nil {
		return nil, err
	}
	request.Header.Set("User-Agent", "git/2")
	request.Header.Set("Git-Protocol", "version=2")
	if method == http.MethodPost {
		request.Header.Set("Content-Type", "application/x-git-upload-pack-request")
		request.Header.Set("Accept", "application/x-git-upload-pack-result")
	}
	response, err := v.client.Do(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		said, _ := io.ReadAll(io.LimitReader(response.Body, 1<<10))
		return nil, errors.Join(fmt.Errorf("%s%s: got %s: %s", v.url, path, response.Status, bytes.TrimSpace(said)), response.Body.Close())
	}
	return response.Body, nil
}

func writeLines(out *bytes.Buffer, lines ...string) {
	for _, line := range lines {
		fmt.Fprintf(out, "%04x%s", len(line)+4, line)
	}
}

// packets reads git's framing: four hexadecimal digits of length, then content.
type packets struct {
	in  *bufio.Reader
	buf []byte
}

// next returns the content of a packet, nil for one of the marks between
// sections.
func (p *packets) next() ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(p.in, head[:]); err != nil {
		return nil, err
	}
	size, err := strconv.ParseUint(string(head[:]), 16, 16)
	switch {
	case err != nil || size == 3:
		return nil, fmt.Errorf("%q is not the length of a packet", head)
	case size < 4:
		return nil, nil
	}
	p.buf = slices.Grow(p.buf[:0], int(size))[:size-4]
	_, err = io.ReadFull(p.in, p.buf)
	return p.buf, err
}

// section reads lines up to the next mark.
func (p *packets) section() ([]string, error) {
	var lines []string
	for {
		line, err := p.next()
		if err != nil || line == nil {
			return lines, err
		}
		lines = append(lines, strings.TrimSuffix(string(line), "\n"))
	}
}

// pack reads the answer to a clone: some lines, then packets of which the
// first byte says that they are parts of the pack.
func (p *packets) pack() (objects uint32, err error) {
	sum := &trailing{hash: sha1.New()}
	for {
		packet, err := p.next()
		if errors.Is(err, io.EOF) || err == nil && packet == nil {
			break
		}
		if err != nil {
			return 0, err
		}
		switch {
		case len(packet) == 0:
		case packet[0] == 1:
			sum.write(packet[1:])
		case packet[0] == 3 || bytes.HasPrefix(packet, []byte("ERR ")):
			return 0, fmt.Errorf("the server says: %s", bytes.TrimSpace(packet[1:]))
		}
	}
	return sum.objects()
}

// trailing sums a pack up to its last 20 bytes, which must be the sum.
type trailing struct {
	hash hash.Hash
	head []byte // the first bytes
	tail []byte // the last ones, not summed yet
}

func (t *trailing) write(data []byte) {
	if missing := 12 - len(t.head); missing > 0 {
		t.head = append(t.head, data[:min(missing, len(data))]...)
	}
	if len(data) >= sha1.Size {
		t.hash.Write(t.tail)
		t.hash.Write(data[:len(data)-sha1.Size])
		t.tail = append(t.tail[:0], data[len(data)-sha1.Size:]...)
		return
	}
	t.tail = append(t.tail, data...)
	if more := len(t.tail) - sha1.Size; more > 0 {
		t.hash.Write(t.tail[:more])
		t.tail = append(t.tail[:0], t.tail[more:]...)
	}
}

func (t *trailing) objects() (uint32, error) {
	if len(t.head) < 12 || string(t.head[:4]) != "PACK" || !bytes.Equal(t.hash.Sum(nil), t.tail) {
		return 0, errors.New("the answer holds no whole pack")
	}
	return binary.BigEndian.Uint32(t.head[8:]), nil
}

// loopback refuses every address that is not of this machine.
func loopback(ctx context.Context, network, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil || !net.ParseIP(host).IsLoopback() {
		return nil, fmt.Errorf("%s is not this machine", address)
	}
	return (&net.Dialer{}).DialContext(ctx, network, address)
}
