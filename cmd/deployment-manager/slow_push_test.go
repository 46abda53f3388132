package main

import (
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/pndaproject/deployment-manager/gitstore/pushtest"
)

// slowly begins a push of user, of which the pack does not go on.
func (h *house) slowly(user, pack string) net.Conn {
	h.t.Helper()
	c, err := net.Dial("tcp", h.addresses["git"])
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { _ = c.Close() })
	login := base64.StdEncoding.EncodeToString([]byte(strings.TrimSuffix(h.login(user), "@")))
	body := pushtest.Packet(pushtest.Zero+" "+strings.Repeat("1", 40)+" refs/tags/v1.0.0\x00 report-status side-band-64k") + pushtest.Flush + pack
	if _, err := fmt.Fprintf(c, "POST /packages/slow.git/git-receive-pack HTTP/1.1\r\nHost: %s\r\nAuthorization: Basic %s\r\n"+
		"Content-Type: application/x-git-receive-pack-request\r\nContent-Length: 1000000\r\n\r\n%s", h.addresses["git"], login, body); err != nil {
		h.t.Fatal(err)
	}
	return c
}

// stages awaits that so many pushes have a place in tmp.
func (h *house) stages(want int) {
	h.t.Helper()
	if err := poll(func() (bool, string) {
		found, err := os.ReadDir(filepath.Join(h.data(), "tmp"))
		return err == nil && len(found) == want, fmt.Sprintf("%d stages in tmp: %v, %v", want, found, err)
	}); err != nil {
		h.t.Fatal(err)
	}
}

// TestSlowPushesDelayNobody has a dozen people push without an end, more than
// there are slots for git, and somebody else push with git's own client.
func TestSlowPushesDelayNobody(t *testing.T) {
	t.Parallel()
	const people = 12
	names := []string{"ana"}
	for i := range people {
		names = append(names, fmt.Sprint("slow", i))
	}
	h := strictHouse(t, names...)
	// More than what is read before a push needs a place.
	pack := string(pushtest.Pack(pushtest.ItemOf(pushtest.BlobOf("x"))))
	pack = pack[:8] + "\x00\x01\x00\x00" + pack[12:len(pack)-20]
	entry := pack[12:]
	pack += strings.Repeat(entry, 100<<10/len(entry))
	var slow []net.Conn
	for _, user := range names[1:] {
		slow = append(slow, h.slowly(user, pack))
	}
	h.stages(people)
	d := newDeveloper(t)
	d.commit(map[string]string{"jupyter/n/properties.json": "{}", "jupyter/n/a.ipynb": `{"cells":[],"metadata":{},"nbformat":4,"nbformat_minor":5}`})
	d.git("tag", "v1.0.0")
	d.git("push", "-q", h.url("git", "ana", "/packages/quick.git"), "v1.0.0")
	h.stages(people)

	_ = slow[0].Close()
	h.stages(people - 1)
	over := h.slowly("slow0", pack[:8]+"\xff\xff\xff\xff"+pack[12:])
	answer := make([]byte, 4096)
	for n := 0; !strings.Contains(string(answer[:n]), "the push is too large"); {
		m, err := over.Read(answer[n:])
		if n += m; err != nil {
			t.Fatalf("an answer while it arrives: %q, %v", answer[:n], err)
		}
	}
	h.stages(people - 1)

	if err := h.end(syscall.SIGKILL); err == nil {
		t.Error("the server ended well")
	}
	restarted, err := launch(h.folder, h.data(), isolated(h.folder), []string{"--htpasswd", filepath.Join(h.folder, "users")})
	if err != nil {
		t.Fatal(err)
	}
	h.runningServer = restarted
	h.stages(0)
}
