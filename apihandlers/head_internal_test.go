package apihandlers

import "testing"

// TestHeadInPieces: what a header names does not depend on how its bytes arrive.
func TestHeadInPieces(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n":     true,
		"GET / HTTP/1.1\ntransfer-encoding:x\ncontent-length:1\n\n":                     true,
		"GET / HTTP/1.1\r\nContent-Length: 1\r\n\r\nTransfer-Encoding: chunked\r\n\r\n": false,
		"GET / HTTP/1.1\r\nX-Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n":   false,
		"GET / HTTP/1.1\r\nContent-Lengthy: 1\r\nTransfer-Encoding: chunked\r\n\r\n":    false,
	} {
		for size := 1; size <= len(text); size++ {
			var h head
			for at := 0; at < len(text); at += size {
				h.feed([]byte(text[at:min(at+size, len(text))]))
			}
			if got := h.end(); got != want {
				t.Fatalf("%q in pieces of %d: %v, want %v", text, size, got, want)
			}
			h.begin()
			if h.end() {
				t.Fatalf("%q: remembered for the next request", text)
			}
		}
	}
}
