package apihandlers_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/pndaproject/deployment-manager/apihandlers"
)

func gzipped(t *testing.T, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write(data)
	must(t, err)
	must(t, w.Close())
	return b.Bytes()
}

// TestContentEncodingOfUploads: whatever a client means by Content-Encoding: gzip,
// what is published is the archive that its person has.
func TestContentEncodingOfUploads(t *testing.T) {
	t.Parallel()
	tar := []byte("the bytes of a tar, which a test's record takes as they are")
	file := gzipped(t, tar) // as tar czf writes it
	random := make([]byte, 6000)
	_, _ = rand.NewChaCha8([32]byte{}).Read(random) // never fails
	cases := []struct {
		name, encoding string
		body, want     []byte
		status         int
	}{
		{"none", "", file, file, 200},
		{"identity", "identity", file, file, 200},
		{"the file's own compression labelled", "gzip", file, file, 200},
		{"compressed once more by the client", "gzip", gzipped(t, file), file, 200},
		{"the old name, in capitals", "X-GZIP", gzipped(t, file), file, 200},
		{"thrice: once is taken off", "gzip", gzipped(t, gzipped(t, file)), gzipped(t, file), 200},
		{"a tar compressed on the way is a tar.gz", "gzip", gzipped(t, random), gzipped(t, random), 200},
		{"labelled and not compressed", "gzip", tar, tar, 200},
		{"nothing", "gzip", nil, nil, 200},
		{"cut off", "gzip", gzipped(t, gzipped(t, random))[:2000], nil, 400},
		{"damaged in the outer layer", "gzip", append(gzipped(t, gzipped(t, random))[:3000:3000], make([]byte, 500)...), nil, 400},
		{"too large when expanded", "gzip", gzipped(t, append(file, make([]byte, 9000)...)), nil, 413},
		{"too large as sent", "gzip", bytes.Repeat([]byte("x"), 9000), nil, 413},
		{"another coding", "br", file, nil, 415},
		{"several", "gzip, gzip", gzipped(t, file), nil, 415},
	}
	for _, c := range cases {
		h := newHarness(t, options{maxBody: 8000})
		header := http.Header{}
		if c.encoding != "" {
			header.Set("Content-Encoding", c.encoding)
		}
		w := h.do(t, "packages", request{method: "PUT", path: "/packages/new-1.0.0.tar.gz?user.name=ana", body: string(c.body), header: header})
		if w.Code != c.status || c.status == 200 && !bytes.Equal(h.record.uploaded, c.want) {
			t.Errorf("%s: got %d %s, %d bytes; want %d, %d bytes", c.name, w.Code, w.Body, len(h.record.uploaded), c.status, len(c.want))
		}
		if c.status == 415 && w.Header().Get("Accept-Encoding") != "gzip" {
			t.Errorf("%s: what is taken is not told: %v", c.name, w.Header())
		}
		if c.status == 400 && !strings.Contains(w.Body.String(), "Content-Encoding") {
			t.Errorf("%s: the answer does not name the cause: %s", c.name, w.Body)
		}
	}
}

// TestContentEncodingOfJSON: the limit is that of what comes out.
func TestContentEncodingOfJSON(t *testing.T) {
	t.Parallel()
	const body = `{"package":"flow-collector-2.14.3"}`
	for _, c := range []struct {
		name, encoding string
		body           []byte
		status         int
	}{
		{"gzip", "gzip", gzipped(t, []byte(body)), 202},
		{"not gzip", "gzip", []byte(body), 400},
		{"cut off", "gzip", gzipped(t, []byte(body))[:20], 400},
		{"a bomb", "gzip", gzipped(t, append([]byte(`{"package":"`), bytes.Repeat([]byte("x"), 2<<20)...)), 413},
		{"another coding", "zstd", []byte(body), 415},
	} {
		h := newHarness(t, options{})
		w := h.do(t, "manager", request{method: "PUT", path: "/applications/new?user.name=ana", body: string(c.body), header: http.Header{"Content-Encoding": {c.encoding}}})
		if w.Code != c.status {
			t.Errorf("%s: got %d %s, want %d", c.name, w.Code, w.Body, c.status)
		}
	}
}

// TestBodyFailsAgain: who reads on after a fault gets it once more.
func TestBodyFailsAgain(t *testing.T) {
	t.Parallel()
	for name, content := range map[string][]byte{"not gzip": []byte("x"), "cut off": gzipped(t, []byte("some text"))[:12], "too large": gzipped(t, make([]byte, 100))} {
		r := httptest.NewRequest(http.MethodPut, "/", bytes.NewReader(content))
		r.Header.Set("Content-Encoding", "gzip")
		body, err := apihandlers.OpenBody(httptest.NewRecorder(), r, apihandlers.BodyLimits{Size: 50})
		must(t, err)
		_, first := io.Copy(io.Discard, body)
		n, second := body.Read(make([]byte, 10))
		if first == nil || n != 0 || second == nil || second.Error() != first.Error() {
			t.Errorf("%s: %v, then %d bytes and %v", name, first, n, second)
		}
	}
}
