package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// cmdHTTP: http STATUS METHOD URL [BODY] sends one request, wants the status
// ("-" accepts a broken connection too) and prints the body of the answer.
// BODY is text, or @FILE.
func cmdHTTP(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 || len(args) > 4 {
		ts.Fatalf("usage: http STATUS METHOD URL [BODY|@FILE]")
	}
	body := ""
	if len(args) == 4 {
		body = args[3]
		if file, ok := strings.CutPrefix(body, "@"); ok {
			body = ts.ReadFile(file)
		}
	}
	status, answer, err := send(args[1], args[2], body)
	if err != nil && args[0] == "-" {
		return
	}
	ts.Check(err)
	fmt.Fprintln(ts.Stdout(), strings.TrimRight(answer, "\n"))
	if args[0] != "-" && strconv.Itoa(status) != args[0] {
		ts.Fatalf("%s %s: want status %s, got %d: %s", args[1], args[2], args[0], status, answer)
	}
}

// cmdWaitFor: waitfor URL STATE [TEXT] polls a status address until its status is
// STATE, and its information has TEXT, and prints the last answer.
func cmdWaitFor(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 || len(args) > 3 {
		ts.Fatalf("usage: waitfor URL STATE [TEXT]")
	}
	var answer string
	text := strings.Join(args[2:], "")
	err := poll(func() (bool, string) {
		var err error
		_, answer, err = send(http.MethodGet, args[0], "")
		var got struct{ Status, Information string }
		if err == nil {
			err = json.Unmarshal([]byte(answer), &got)
		}
		return err == nil && got.Status == args[1] && strings.Contains(got.Information, text),
			fmt.Sprintf("%s: want %s, got %s (%v)", args[0], strings.Join(args[1:], " "), answer, err)
	})
	ts.Check(err)
	fmt.Fprintln(ts.Stdout(), strings.TrimRight(answer, "\n"))
}

// send makes one request on a connection of its own, so that a stopping
// server has no idle ones.
func send(method, url, body string) (status int, answer string, err error) {
	request, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	request.Close = true
	client := &http.Client{Timeout: 30 * time.Second}
	response, err := client.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	return response.StatusCode, string(data), err
}

// outstanding holds, by script, where the answer of http-background arrives.
var outstanding sync.Map

// cmdHTTPBackground: http-background STATUS METHOD URL sends a request and does
// not wait for its answer; http-answer does.
func cmdHTTPBackground(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: http-background STATUS METHOD URL")
	}
	answer := make(chan error, 1)
	outstanding.Store(ts.Getenv("WORK"), answer)
	go func() { answer <- sendWanting(args[0], args[1], args[2], "") }()
}

func sendWanting(want, method, url, body string) error {
	status, answer, err := send(method, url, body)
	if want == "-" {
		return nil
	}
	if err == nil && strconv.Itoa(status) != want {
		err = fmt.Errorf("%s %s: want status %s, got %d: %s", method, url, want, status, answer)
	}
	return err
}

// cmdHTTPAnswer: http-answer waits for the answer of http-background.
func cmdHTTPAnswer(ts *testscript.TestScript, neg bool, args []string) {
	answer, ok := outstanding.LoadAndDelete(ts.Getenv("WORK"))
	if neg || len(args) != 0 || !ok {
		ts.Fatalf("usage: http-answer, after http-background")
	}
	ts.Check(<-answer.(chan error))
}

// cmdHTTPParallel: http-parallel STATUS METHOD URL N BODY sends N requests at
// once; %d in URL is 1 to N.
func cmdHTTPParallel(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 5 {
		ts.Fatalf("usage: http-parallel STATUS METHOD URL N BODY")
	}
	n, err := strconv.Atoi(args[3])
	ts.Check(err)
	answers := make(chan error, n)
	for i := range n {
		go func() { answers <- sendWanting(args[0], args[1], fmt.Sprintf(args[2], i+1), args[4]) }()
	}
	for range n {
		ts.Check(<-answers)
	}
}

// cmdWaitClosed: waitclosed URL waits until nobody listens there.
func cmdWaitClosed(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: waitclosed URL")
	}
	ts.Check(poll(func() (bool, string) {
		_, _, err := send(http.MethodGet, args[0], "")
		return errors.Is(err, syscall.ECONNREFUSED), args[0] + " still answers"
	}))
}
