package engines

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pndaproject/deployment-manager/deploy/testcluster/node"
)

// API is what a person or a console does with the server: PNDA's routes, and those of
// /api/v1 where PNDA has none.
type API struct {
	Repository, Manager string // base addresses
	User                string
}

// do sends one request and returns what was answered. An answer of 400 or more is an
// error.
func (a *API) do(ctx context.Context, method, address string, body io.Reader) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	u, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	q := u.Query()
	q.Set("user.name", a.User)
	u.RawQuery = q.Encode()
	r, err := http.NewRequestWithContext(ctx, method, u.String(), body)
	if err != nil {
		return nil, err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode >= http.StatusBadRequest {
		err = fmt.Errorf("%s %s: %s: %s", method, u.Path, answer.Status, text)
	}
	return text, err
}

// Upload publishes the archive of a package and deploys it.
func (a *API) Upload(ctx context.Context, id string, archive []byte) error {
	if _, err := a.do(ctx, http.MethodPut, a.Repository+"/packages/"+id+".tar.gz", bytes.NewReader(archive)); err != nil {
		return err
	}
	if _, err := a.do(ctx, http.MethodPut, a.Manager+"/packages/"+id, nil); err != nil {
		return err
	}
	return node.Await(ctx, "the package "+id+" to be deployed", node.Patience, func() error {
		return a.is(ctx, "/packages/"+id+"/status", "DEPLOYED")
	})
}

// UploadFile is Upload of an archive in a folder.
func (a *API) UploadFile(ctx context.Context, folder, id string) error {
	archive, err := os.ReadFile(filepath.Join(folder, id+".tar.gz"))
	if err != nil {
		return err
	}
	return a.Upload(ctx, id, archive)
}

// is tells whether the status at a path is that.
func (a *API) is(ctx context.Context, path, want string) error {
	text, err := a.do(ctx, http.MethodGet, a.Manager+path, nil)
	if err != nil {
		return err
	}
	var got struct{ Status, Information string }
	if err := json.Unmarshal(text, &got); err != nil || got.Status != want {
		return fmt.Errorf("the status is %s", text)
	}
	return nil
}

// Create creates an application and waits until it is there.
func (a *API) Create(ctx context.Context, app, body string) error {
	if _, err := a.do(ctx, http.MethodPut, a.Manager+"/applications/"+app, strings.NewReader(body)); err != nil {
		return err
	}
	return a.await(ctx, app, "CREATED")
}

// Start starts it, and waits until that is carried out: not until anything runs.
func (a *API) Start(ctx context.Context, app string) error {
	return a.post(ctx, app, "start", "STARTED")
}

// Stop stops it.
func (a *API) Stop(ctx context.Context, app string) error { return a.post(ctx, app, "stop", "CREATED") }

func (a *API) post(ctx context.Context, app, verb, phase string) error {
	if _, err := a.do(ctx, http.MethodPost, a.Manager+"/applications/"+app+"/"+verb, nil); err != nil {
		return err
	}
	return a.await(ctx, app, phase)
}

func (a *API) await(ctx context.Context, app, phase string) error {
	return node.Await(ctx, app+" to be "+phase, node.Patience, func() error { return a.is(ctx, "/applications/"+app+"/status", phase) })
}

// Change changes what it is to be, and waits until it is started again.
func (a *API) Change(ctx context.Context, app, body string) error {
	if _, err := a.do(ctx, http.MethodPut, a.Manager+"/api/v1/applications/"+app, strings.NewReader(body)); err != nil {
		return err
	}
	return a.await(ctx, app, "STARTED")
}

// Rollback takes an earlier deployment's content.
func (a *API) Rollback(ctx context.Context, app string, to int) error {
	if _, err := a.do(ctx, http.MethodPost, a.Manager+"/api/v1/applications/"+app+"/rollback", strings.NewReader(fmt.Sprintf(`{"to": %d}`, to))); err != nil {
		return err
	}
	return a.await(ctx, app, "STARTED")
}

// Destroy removes it, and waits until it is gone.
func (a *API) Destroy(ctx context.Context, app string) error {
	if _, err := a.do(ctx, http.MethodDelete, a.Manager+"/applications/"+app, nil); err != nil {
		return err
	}
	return node.Await(ctx, app+" to be gone", node.Patience, func() error {
		err := a.is(ctx, "/applications/"+app+"/status", "NOTCREATED")
		if err != nil && strings.Contains(err.Error(), "404") {
			return nil
		}
		return err
	})
}

// Summary is what /summary tells of an application.
func (a *API) Summary(ctx context.Context, app string) (map[string]any, error) {
	text, err := a.do(ctx, http.MethodGet, a.Manager+"/applications/"+app+"/summary", nil)
	if err != nil {
		return nil, err
	}
	var all map[string]map[string]any
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, fmt.Errorf("a summary that is no JSON: %w: %s", err, text)
	}
	return all[app], nil
}

// jobPatience is for a job to be where it shall be. Two of them begin four JVMs on two
// processors: half a minute on an idle machine, several minutes on a busy one.
const jobPatience = 10 * time.Minute

// awaitJob asks until there is no error, once in a second: what is waited for takes
// many, and needs the processors itself.
func awaitJob(ctx context.Context, what string, ask func() error) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	return node.Await(ctx, what, jobPatience, func() error {
		fault := ask()
		if fault == nil {
			return nil
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
		return fault
	})
}

// AwaitState waits until the whole application is said to be in a state.
func (a *API) AwaitState(ctx context.Context, app string, states ...string) error {
	return awaitJob(ctx, fmt.Sprintf("%s to be one of %v", app, states), func() error {
		summary, err := a.Summary(ctx, app)
		if err != nil {
			return err
		}
		for _, state := range states {
			if summary["aggregate_status"] == state {
				return nil
			}
		}
		return fmt.Errorf("its summary is %v", summary)
	})
}

// AwaitJobs waits until the summary counts a job that Spark has carried out, or the
// application is completed, after which nobody counts.
func (a *API) AwaitJobs(ctx context.Context, app string) error {
	return awaitJob(ctx, "jobs in the summary of "+app, func() error {
		summary, err := a.Summary(ctx, app)
		if err != nil {
			return err
		}
		if summary["aggregate_status"] == "COMPLETED" {
			return nil
		}
		component, _ := summary["sparkStreaming-1"].(map[string]any)
		information, _ := component["information"].(map[string]any)
		jobs, _ := information["jobSummary"].(map[string]any)
		if n, ok := jobs["succeeded"].(float64); !ok || n < 1 {
			return fmt.Errorf("its summary is %v", summary)
		}
		return nil
	})
}

// DetailState is the state that /detail tells of the application's one job.
func (a *API) DetailState(ctx context.Context, app string) (string, error) {
	text, err := a.do(ctx, http.MethodGet, a.Manager+"/applications/"+app+"/detail", nil)
	if err != nil {
		return "", err
	}
	var detail struct {
		Jobs map[string]struct {
			State string `json:"yarn-state"`
		} `json:"yarn_applications"`
	}
	if err := json.Unmarshal(text, &detail); err != nil || len(detail.Jobs) != 1 {
		return "", fmt.Errorf("the detail of %s is not of one job: %s", app, text)
	}
	for _, job := range detail.Jobs {
		return job.State, nil
	}
	return "", nil
}

// Logs is what the application's component wrote.
func (a *API) Logs(ctx context.Context, app string) (string, error) {
	text, err := a.do(ctx, http.MethodGet, a.Manager+"/api/v1/applications/"+app+"/logs", nil)
	return string(text), err
}

// AwaitLog waits until the log holds a text.
func (a *API) AwaitLog(ctx context.Context, app, want string) error {
	return awaitJob(ctx, fmt.Sprintf("%q in the log of %s", want, app), func() error {
		text, err := a.Logs(ctx, app)
		if err == nil && !strings.Contains(text, want) {
			err = fmt.Errorf("it is\n%s", tail(text, 30))
		}
		return err
	})
}

func tail(text string, lines int) string {
	all := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
