package remote

import (
	"bufio"
	"context"
	"encoding/base64"
	"fmt"
	"net"
	"strings"
	"time"
)

// Unchanged asks the server whether its newest commit still is the one that was
// fetched, as a cache would: it is so when the answer is 304. That takes a thousandth
// of what git takes. Any other answer, none, and an https address mean that git has
// to ask, which knows TLS and tells what is wrong.
func (r *Repository) Unchanged(ctx context.Context, getenv func(string) string) bool {
	rest, plain := strings.CutPrefix(r.url, "http://")
	commit := r.Fetched()
	if !plain || commit == "" {
		return false
	}
	host, path, _ := strings.Cut(rest, "/")
	address := host
	if _, _, err := net.SplitHostPort(host); err != nil {
		address = net.JoinHostPort(strings.Trim(host, "[]"), "80")
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return false
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	_ = conn.SetDeadline(deadline) // a connection that can't is none that lives
	credential := ""
	if token := getenv("JUPYTERHUB_API_TOKEN"); token != "" {
		credential = "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(getenv("JUPYTERHUB_USER")+":"+token)) + "\r\n"
	}
	_, err = fmt.Fprintf(conn, "GET /%s/head HTTP/1.1\r\nHost: %s\r\n%sIf-None-Match: \"%s\"\r\nConnection: close\r\n\r\n",
		path, host, credential, commit)
	if err != nil {
		return false
	}
	status, err := bufio.NewReaderSize(conn, 64).ReadString('\n')
	return err == nil && strings.HasPrefix(status, "HTTP/1.1 304 ")
}
