package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
)

func (w *walk) application() string { return w.manager + "/api/v1/applications/" + demoApp }

// class widens the audience. Nothing is written for anybody until they ask.
func (w *walk) class(ctx context.Context) error {
	change := request{method: http.MethodPut, url: w.application() + "?user.name=" + demoUser, body: `{"audience": ["group:` + demoGroup + `"]}`}
	if _, err := w.send(ctx, change, http.StatusAccepted); err != nil {
		return err
	}
	if err := w.await(ctx, w.manager+"/applications/"+demoApp, `"status":"CREATED"`); err != nil {
		return err
	}
	if err := w.pull(ctx); err != nil {
		return err
	}
	if _, err := w.typed(ctx, "clone", w.git+"/jupyter-"+demoAuthor); err != nil {
		return err
	}
	return w.audience(ctx, `{"user":"`+demoLate+`","deployment":null,`)
}

// late has the third one come.
func (w *walk) late(ctx context.Context) error {
	if _, err := w.typed(ctx, "clone", w.git+"/jupyter-"+demoLate); err != nil {
		return err
	}
	answer, err := w.typed(ctx, "-C", "jupyter-"+demoLate, "log", "--format=%s")
	if err := expect(err, answer, "Deliver "+demoApp+" from "+demoOld); err != nil {
		return err
	}
	if strings.Contains(answer, demoNew) {
		return fmt.Errorf("%s got what was in effect before: %s", demoLate, answer)
	}
	return w.audience(ctx, `{"user":"`+demoLate+`","deployment":4,"current":true,`)
}

// audience shows who has fetched what.
func (w *walk) audience(ctx context.Context, want string) error {
	answer, err := w.send(ctx, request{method: http.MethodGet, url: w.application() + "/audience?user.name=" + demoUser}, http.StatusOK)
	return expect(err, answer, `{"user":"`+demoAuthor+`","deployment":4,"current":true,`, `{"user":"`+demoUser+`","deployment":3,"current":true,`, want)
}
