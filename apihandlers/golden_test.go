package apihandlers_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/apihandlers"
	"github.com/pndaproject/deployment-manager/apihandlers/githttp"
)

// environment has a key of each sort.
var environment = map[string]any{
	"hadoop_distro": "none", "namespace": "platform_app", "webhdfs_port": 9870, "queue_policy": true, "empty": nil,
	"hadoop_manager_password": "planted-secret", "cluster_private_key": "/planted/key", "API_Token": "planted-token",
	"registry": "https://u:planted@r/", "apiKey": "planted", "max_tokens": 5,
	"cm_status_links": map[string]any{"hdfs": "http://h/1", "client_secret": "planted-secret", "kerberos": "http://u:planted@h/"},
	"hub_links":       map[string]string{"lab": "http://h/2", "client_secret": "planted-secret"},
}

// goldenCases are requests by "server/route"; every row of the tables has some.
// The answers are in testdata/golden.
var goldenCases = map[string][]request{
	"packages/list-repository": {
		{path: "/packages?user.name=ana"}, {path: "/packages?user.name=&recency=1"}, {path: "/packages?user.name=ana&recency=0"},
		{path: "/packages?user.name=ana&recency=two"}, {path: "/packages?user.name=ana&recency=-1"}, {path: "/packages"},
		{path: "/packages?user.name=ana&recency=99999999999999999999"},
		{path: "/packages?user.name=zoe"}, {path: "/packages/?user.name=ana"}, {path: "/other"}, {path: "/packages?user.name=ana", method: "POST"},
		{path: "/packages?user.name=ana", method: "OPTIONS"},
	},
	"packages/download-package": {
		{path: "/packages/flow-collector-2.14.3.tar.gz?user.name=ana"},
		{path: "/packages/flow-collector-2.14.3.tar.gz?user.name=ana", header: http.Header{"Range": {"bytes=6-8"}}},
		{path: "/packages/flow-collector-2.14.3.tar.gz?user.name=ana", header: http.Header{"Range": {"bytes=99999-"}}},
		{path: "/packages/flow-collector-2.14.3.tar.gz?user.name=ana", header: http.Header{"If-None-Match": {`"15d3b5efc8669e28c83515736b098f2a7f63c3df4cc649fb34f7f295eabadcc8"`}}},
		{path: "/packages/flow-collector-2.14.3.tgz?user.name=ana"}, {path: "/packages/none-1.0.0.tar.gz?user.name=ana"},
		{path: "/packages/none?user.name=ana"}, {path: "/packages/none-1.0.0.tar.gz?user.name=zoe"}, {path: "/packages/none-1.0.0.tar.gz"},
	},
	"packages/probe-package": {
		{path: "/packages/flow-collector-2.14.3.tar.gz?user.name=ana"}, {path: "/packages/none-1.0.0.tar.gz?user.name=ana"},
	},
	"packages/upload-package": {
		{path: "/packages/new-1.0.0.tar.gz?user.name=ana", body: "bytes"},
		{path: "/packages/new-1.0.0.tgz?user.name=ana", body: "user.name=bob", header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}},
		{path: "/packages/new-1.0.0.zip?user.name=ana"}, {path: "/packages/new-1.0.tar.gz?user.name=ana"}, {path: "/packages/new-01.0.0.tar.gz?user.name=ana"},
		{path: "/packages/-1.0.0.tar.gz?user.name=ana"}, {path: "/packages/1.0.0.tar.gz?user.name=ana"}, {path: "/packages/new-1.0.0.tar.gz"}, {path: "/packages/new-1.0.0.tar.gz?user.name="},
		{path: "/packages/new-1.0.0.tar.gz?user.name=zoe"}, {path: "/packages/taken-9.0.0.tar.gz?user.name=ana", body: "other"},
		{path: "/packages/new-1.0.0.tar.gz?user.name=ana", body: "bad bytes"}, {path: "/packages/new-1.0.0.tar.gz?user.name=ana", body: strings.Repeat("x", 200)},
		{path: "/packages/new-1.0.0.tar.gz?user.name=ana", body: "x", header: http.Header{"Content-Encoding": {"gzip"}}},
		{path: "/packages/new-1.0.0.tar.gz?user.name=ana", body: "x", header: http.Header{"Content-Encoding": {"br"}}},
	},
	"packages/delete-package": {
		{path: "/packages/flow-collector-2.14.3.tar.gz?user.name=ana"}, {path: "/packages/none-1.0.0.tar.gz?user.name=ana"},
		{path: "/packages/none?user.name=ana"}, {path: "/packages/flow-collector-2.14.3.tar.gz?user.name=zoe"}, {path: "/packages/none-1.0.0.tar.gz"},
	},
	"manager/list-repository": {
		{path: "/repository/packages"}, {path: "/repository/packages?recency=0"}, {path: "/repository/packages?recency=999"},
		{path: "/repository/packages?recency=x"}, {path: "/repository/packages?user.name=zoe"},
	},
	"manager/environment-endpoints": {{path: "/environment/endpoints"}},
	"manager/selftest":              {{path: "/selftest/all?user.name=root"}, {path: "/selftest/all?user.name=ana"}, {path: "/selftest/all"}},
	"manager/list-packages":         {{path: "/packages"}, {path: "/packages/"}, {path: "/packages", method: "PUT"}, {path: "/packages", method: "OPTIONS"}},
	"manager/package": {
		{path: "/packages/flow-collector-2.14.3"}, {path: "/packages/word-maps-0.1.0"}, {path: "/packages/absent-1.0.0"},
		{path: "/packages/unknown"}, {path: "/packages/broken-1.0.0"}, {path: "/packages/unknown?user.name=zoe"},
	},
	"manager/deploy-package": {
		{path: "/packages/absent-1.0.0?user.name=ana"}, {path: "/packages/flow-collector-2.14.3?user.name=ana"},
		{path: "/packages/absent-1.0.0"}, {path: "/packages/absent-1.0.0?user.name="}, {path: "/packages/absent-1.0.0?user.name=zoe"},
		{path: "/packages/broken-1.0.0?user.name=ana"},
	},
	"manager/undeploy-package": {
		{path: "/packages/flow-collector-2.14.3?user.name=ana"}, {path: "/packages/flow-collector-2.14.3?user.name=root"},
		{path: "/packages/flow-collector-2.14.3?user.name=bob"}, {path: "/packages/absent-1.0.0?user.name=bob"}, {path: "/packages/word-maps-0.1.0?user.name=ana"},
	},
	"manager/package-status":       {{path: "/packages/flow-collector-2.14.3/status"}, {path: "/packages/unknown/status"}},
	"manager/package-applications": {{path: "/packages/flow-collector-2.14.3/applications"}, {path: "/packages/unknown/applications"}},
	"manager/package-other":        {{path: "/packages/flow-collector-2.14.3/detail"}},
	"manager/list-applications":    {{path: "/applications"}},
	"manager/application": {
		{path: "/applications/noon-run"}, {path: "/applications/failed"}, {path: "/applications/busy"}, {path: "/applications/unknown"},
		{path: "/applications/nulls"}, {path: "/applications/broken"}, {path: "/applications/noon-run", method: "OPTIONS"}, {path: "/applications/noon-run", method: "POST"},
	},
	"manager/create-application": {
		{path: "/applications/new?user.name=ana", body: `{"package":"flow-collector-2.14.3","jupyter":{"report":{"topic":"mine"}}}`},
		{path: "/applications/new?user.name=ana", body: `package`}, {path: "/applications/new?user.name=ana", body: `["flow-collector-2.14.3"]`},
		{path: "/applications/new?user.name=ana", body: `{}`}, {path: "/applications/new?user.name=ana", body: `{"package":7}`},
		{path: "/applications/new", body: `{"package":"flow-collector-2.14.3","user":"ana"}`},
		{path: "/applications/new", body: `{"package":"flow-collector-2.14.3"}`},
		{path: "/applications/new?user.name=ana", body: `{"package":"flow-collector-2.14.3","jupyter":[]}`},
		{path: "/applications/new?user.name=ana", body: `{"package":"flow-collector-2.14.3","jupyter":{"report":7}}`},
		{path: "/applications/-rf?user.name=ana", body: `{"package":"flow-collector-2.14.3"}`},
		{path: "/applications/noon-run?user.name=ana", body: `{"package":"nonsense"}`}, {path: "/applications/new?user.name=ana", body: `{"package":"nonsense"}`},
		{path: "/applications/new?user.name=ana", body: `{"package":"absent-1.0.0"}`},
		{path: "/applications/noon-run?user.name=ana", body: `{"package":"flow-collector-2.14.3"}`},
	},
	"manager/destroy-application": {
		{path: "/applications/noon-run?user.name=ana"}, {path: "/applications/noon-run?user.name=bob"}, {path: "/applications/failed?user.name=ana"},
		{path: "/applications/failed?user.name=ana&clear=true"}, {path: "/applications/failed?user.name=ana&clear=maybe"},
		{path: "/applications/busy?user.name=ana"}, {path: "/applications/-rf?user.name=ana"}, {path: "/applications/noon-run"},
	},
	"manager/application-status": {{path: "/applications/test-1/status"}, {path: "/applications/failed/status"}, {path: "/applications/unknown/status"}},
	"manager/application-detail": {
		{path: "/applications/noon-run/detail"}, {path: "/applications/busy/detail"}, {path: "/applications/failed/detail"}, {path: "/applications/unknown/detail"},
	},
	"manager/application-summary": {
		{path: "/applications/noon-run/summary"}, {path: "/applications/test-1/summary"}, {path: "/applications/busy/summary"},
		{path: "/applications/failed/summary"}, {path: "/applications/unknown/summary"},
	},
	"manager/start-application": {
		{path: "/applications/test-1/start?user.name=ana"}, {path: "/applications/noon-run/start?user.name=bob"}, {path: "/applications/unknown/start?user.name=ana"},
		{path: "/applications/test-1/start?user.name=bob"}, {path: "/applications/test-1/start"}, {path: "/applications/test-1/start", method: "OPTIONS"},
	},
	"manager/stop-application":         {{path: "/applications/noon-run/stop?user.name=ana"}, {path: "/applications/test-1/stop?user.name=ana"}},
	"manager/application-other":        {{path: "/applications/noon-run/start"}, {path: "/applications/noon-run/status/more"}},
	"manager/application-other-action": {{path: "/applications/noon-run/status?user.name=ana"}},
	"manager/delivered-file": {
		{path: deliveredPath(deliveredFile, deliveredText)}, {path: deliveredPath(deliveredFile, deliveredText), method: "HEAD"},
		{path: deliveredPath(deliveredFile, "another content")}, {path: deliveredPath(deliveredFile, deliveredText) + "x"}, {path: "/files/"},
		{path: deliveredPath(brokenFile(), deliveredText)}, {path: deliveredPath(deliveredFile, deliveredText), method: "PUT"},
	},
	"manager/v1-application": {
		{path: "/api/v1/applications/told"}, {path: "/api/v1/applications/jobs"}, {path: "/api/v1/applications/jobs?user.name=ana"}, {path: "/api/v1/applications/noon-run"}, {path: "/api/v1/applications/busy"}, {path: "/api/v1/applications/unknown"}, {path: "/api/v1/applications/-rf"},
	},
	"manager/v1-change-application": {
		{path: "/api/v1/applications/noon-run?user.name=ana", body: `{"package":"flow-collector-2.15.0"}`},
		{path: "/api/v1/applications/noon-run?user.name=ana", body: `{"overrides":{},"audience":["user:bob","user:ana","user:ana"]}`},
		{path: "/api/v1/applications/noon-run?user.name=ana", body: `{}`}, {path: "/api/v1/applications/noon-run?user.name=ana", body: `{"packge":"x"}`},
		{path: "/api/v1/applications/noon-run?user.name=ana", body: `{"package":null}`}, {path: "/api/v1/applications/noon-run?user.name=ana", body: `{"overrides":[]}`},
		{path: "/api/v1/applications/noon-run?user.name=ana", body: `{"audience":[]}`}, {path: "/api/v1/applications/noon-run?user.name=ana", body: `{"audience":["ana"]}`},
		{path: "/api/v1/applications/noon-run?user.name=bob", body: `{"package":"flow-collector-2.15.0"}`},
		{path: "/api/v1/applications/busy?user.name=ana", body: `{"package":"flow-collector-2.15.0"}`},
		{path: "/api/v1/applications/noon-run", body: `{"package":"flow-collector-2.15.0"}`},
		{path: "/api/v1/applications/noon-run?user.name=ana", body: `{"overrides":{},"reason":"because"}`},
		{path: "/api/v1/applications/noon-run?user.name=ana", body: `{"reason":"because"}`}, {path: "/api/v1/applications/noon-run?user.name=ana", body: `{"overrides":{},"reason":7}`},
		{path: "/api/v1/applications/noon-run?user.name=ana&reason=this", body: `{"overrides":{},"reason":"that"}`},
	},
	"manager/v1-audience": {
		{path: "/api/v1/applications/noon-run/audience?user.name=ana"},
		{path: "/api/v1/applications/never/audience?user.name=ana"},
	},
	"manager/v1-logs": {
		{path: "/api/v1/applications/job/logs?user.name=ana"}, {path: "/api/v1/applications/job/logs?user.name=ana&lines=2&component=count"},
		{path: "/api/v1/applications/job/logs?user.name=ana&component=sparkStreaming/count"}, {path: "/api/v1/applications/jobs/logs?user.name=ana"},
		{path: "/api/v1/applications/jobs/logs?user.name=ana&component=count"}, {path: "/api/v1/applications/jobs/logs?user.name=ana&component=flink/count"},
		{path: "/api/v1/applications/jobs/logs?user.name=ana&component=done"}, {path: "/api/v1/applications/jobs/logs?user.name=ana&component=done&follow=true&lines=2"},
		{path: "/api/v1/applications/jobs/logs?user.name=ana&component=away"}, {path: "/api/v1/applications/jobs/logs?user.name=ana&component=never"},
		{path: "/api/v1/applications/jobs/logs?user.name=ana&component=none"}, {path: "/api/v1/applications/jobs/logs?user.name=ana&component=oozie/done"},
		{path: "/api/v1/applications/job/logs?user.name=ana&component=report"}, {path: "/api/v1/applications/noon-run/logs?user.name=ana"},
		{path: "/api/v1/applications/noon-run/logs?user.name=ana&component=report"}, {path: "/api/v1/applications/busy/logs?user.name=ana"},
		{path: "/api/v1/applications/job/logs?user.name=ana&follow=yes"}, {path: "/api/v1/applications/job/logs?user.name=ana&lines=0"},
		{path: "/api/v1/applications/job/logs?user.name=bob"}, {path: "/api/v1/applications/job/logs"}, {path: "/api/v1/applications/job/logs?user.name=zoe"},
		{path: "/api/v1/applications/never/logs?user.name=ana"}, {path: "/api/v1/applications/-rf/logs?user.name=ana"}, {path: "/api/v1/applications/broken/logs?user.name=ana"},
		{path: "/api/v1/applications/job/logs?user.name=ana", method: "HEAD"},
	},
	"manager/v1-rollback": {
		{path: "/api/v1/applications/noon-run/rollback?user.name=ana", body: `{"to":1}`},
		{path: "/api/v1/applications/noon-run/rollback?user.name=ana", body: `{"to":1,"reason":"the report is empty"}`},
		{path: "/api/v1/applications/noon-run/rollback?user.name=ana&reason=this", body: `{"to":1,"reason":"that"}`},
		{path: "/api/v1/applications/noon-run/rollback?user.name=ana", body: `{}`}, {path: "/api/v1/applications/noon-run/rollback?user.name=ana", body: `{"to":0}`},
		{path: "/api/v1/applications/noon-run/rollback?user.name=ana", body: `{"to":"1"}`}, {path: "/api/v1/applications/noon-run/rollback?user.name=ana", body: `{"to":1.5}`},
		{path: "/api/v1/applications/noon-run/rollback?user.name=ana", body: `{"to":null}`}, {path: "/api/v1/applications/noon-run/rollback?user.name=ana", body: `{"to":1,"force":true}`},
		{path: "/api/v1/applications/noon-run/rollback?user.name=ana", body: `{"to":9}`}, {path: "/api/v1/applications/busy/rollback?user.name=ana", body: `{"to":1}`},
		{path: "/api/v1/applications/noon-run/rollback?user.name=bob", body: `{"to":1}`}, {path: "/api/v1/applications/-rf/rollback?user.name=ana", body: `{"to":1}`},
		{path: "/api/v1/applications/noon-run/rollback", body: `{"to":1}`}, {path: "/api/v1/applications/noon-run/rollback", method: "GET"},
	},
	"manager/v1-application-history": {
		{path: "/api/v1/applications/noon-run/history"}, {path: "/api/v1/applications/noon-run/history?limit=1&before=89abcdef0123456789abcdef0123456789abcdef"},
		{path: "/api/v1/applications/noon-run/history?limit=0"}, {path: "/api/v1/applications/noon-run/history?limit=501"}, {path: "/api/v1/applications/noon-run/history?limit="},
		{path: "/api/v1/applications/noon-run/history?limit=1&limit=1"}, {path: "/api/v1/applications/noon-run/history?before=HEAD"}, {path: "/api/v1/applications/noon-run/history?before="},
		{path: "/api/v1/applications/gone/history"}, {path: "/api/v1/applications/never/history"}, {path: "/api/v1/applications/-rf/history"},
		{path: "/api/v1/applications/broken/history"}, {path: "/api/v1/applications/never/history?user.name=zoe"},
	},
	"manager/v1-package-history": {
		{path: "/api/v1/packages/flow-collector/history"}, {path: "/api/v1/packages/flow-collector/history?limit=x"}, {path: "/api/v1/packages/flow-collector/history?before=x"},
		{path: "/api/v1/packages/never/history"}, {path: "/api/v1/packages/-x/history"}, {path: "/api/v1/packages/never/history?user.name=zoe"},
	},
	"manager/v1-application-diff": {
		{path: "/api/v1/applications/noon-run/diff"}, {path: "/api/v1/applications/noon-run/diff?from=1&to=2&format=text"},
		{path: "/api/v1/applications/noon-run/diff", header: http.Header{"Accept": {"text/plain"}}},
		{path: "/api/v1/applications/noon-run/diff?to=1&format=json", header: http.Header{"Accept": {"text/plain"}}}, {path: "/api/v1/applications/noon-run/diff?from=2&to=2&format=text"},
		{path: "/api/v1/applications/noon-run/diff?from=0"}, {path: "/api/v1/applications/noon-run/diff?to=-1"}, {path: "/api/v1/applications/noon-run/diff?to=99999999999"},
		{path: "/api/v1/applications/noon-run/diff?to=two"}, {path: "/api/v1/applications/noon-run/diff?to=9"}, {path: "/api/v1/applications/noon-run/diff?format=html"},
		{path: "/api/v1/applications/never/diff"}, {path: "/api/v1/applications/-rf/diff"}, {path: "/api/v1/applications/torn/diff?format=text"}, {path: "/api/v1/applications/odd/diff?format=text"},
	},
	"manager/v1-package-diff": {
		{path: "/api/v1/packages/flow-collector/diff?from=2.9.11&to=2.14.3&user.name=ana"}, {path: "/api/v1/packages/flow-collector/diff?from=2.9.11&to=2.14.3&format=text"},
		{path: "/api/v1/packages/flow-collector/diff?to=2.14.3"}, {path: "/api/v1/packages/flow-collector/diff?from=2.9.11"}, {path: "/api/v1/packages/flow-collector/diff?from=2.9&to=2.14.3"},
		{path: "/api/v1/packages/flow-collector/diff?from=2.9.11&to=9.9.9"}, {path: "/api/v1/packages/never/diff?from=2.9.11&to=9.9.9"},
	},
	"manager/v1-events": {
		{path: "/api/v1/events?after=3&limit=1&user.name=ana"}, {path: "/api/v1/events?after=0&user.name=ana"}, {path: "/api/v1/events?after=0&limit=3"},
		{path: "/api/v1/events?after=6"}, {path: "/api/v1/events?after=-1"}, {path: "/api/v1/events?after=x"}, {path: "/api/v1/events?after=0&limit=0"},
		{path: "/api/v1/events?after=0&limit=501"}, {path: "/api/v1/events?after=0&wait=61"}, {path: "/api/v1/events?after=0&wait=0"}, {path: "/api/v1/events?after=0&user.name=zoe"},
		{path: "/api/v1/events?after=6", header: http.Header{"Accept": {"text/event-stream"}}},
		{path: "/api/v1/events", header: http.Header{"Accept": {"text/event-stream"}, "Last-Event-Id": {"x"}}},
	},
	"manager/v1-at": {
		{path: "/api/v1/at?time=2025-01-06T12:00:00Z&user.name=ana"}, {path: "/api/v1/at?time=2025-01-06T13:00:00.5%2B01:00"}, {path: "/api/v1/at?time=2001-01-01T00:00:00Z"},
		{path: "/api/v1/at"}, {path: "/api/v1/at?time="}, {path: "/api/v1/at?time=yesterday"}, {path: "/api/v1/at?time=2025-01-06T13:00:00+01:00"},
		{path: "/api/v1/at?time=0000-01-01T00:00:00%2B01:00"}, {path: "/api/v1/at?time=2025-01-07T00:00:01Z"}, {path: "/api/v1/at?time=2025-01-07T00:01:00Z"}, {path: "/api/v1/at?time=2025-01-07T00:01:00.001Z"}, {path: "/api/v1/at?time=2025-01-06T12:00:00Z&user.name=zoe"},
	},
}

func TestGolden(t *testing.T) {
	t.Parallel()
	h := newHarness(t, options{env: environment, maxBody: 100})
	for key, route := range allRoutes(t) {
		t.Run(key, func(t *testing.T) {
			cases := goldenCases[key]
			if len(cases) == 0 {
				t.Fatalf("the route has no golden case")
			}
			server, _, _ := strings.Cut(key, "/")
			var got strings.Builder
			for _, q := range cases {
				if q.method == "" {
					q.method = route.Method
				}
				got.WriteString(transcript(t, h, server, q))
			}
			golden(t, filepath.Join("testdata", "golden", strings.ReplaceAll(key, "/", "-")+".txt"), got.String())
		})
	}
}

// TestGoldenSuccess holds every row's Success against its first golden case.
func TestGoldenSuccess(t *testing.T) {
	t.Parallel()
	h := newHarness(t, options{env: environment, maxBody: 100})
	for key, route := range allRoutes(t) {
		if len(goldenCases[key]) == 0 {
			t.Errorf("%s: no golden case", key)
			continue
		}
		server, _, _ := strings.Cut(key, "/")
		q := goldenCases[key][0]
		q.method = route.Method
		if got := h.do(t, server, q).Code; got != route.Success {
			t.Errorf("%s: got %d, the table says %d", key, got, route.Success)
		}
	}
}

// TestExamples: the page's examples are what the routes take and give.
func TestExamples(t *testing.T) {
	t.Parallel()
	h := newHarness(t, options{env: environment})
	for key, route := range allRoutes(t) {
		for _, text := range []string{route.Request, route.Response} {
			if text != "" && text != "(bytes)" && !json.Valid([]byte(text)) {
				t.Errorf("%s: the example is not JSON: %s", key, text)
			}
		}
		if route.Response == "" || route.Response == "(bytes)" {
			continue
		}
		server, _, _ := strings.Cut(key, "/")
		q := goldenCases[key][0]
		q.method = route.Method
		want, got := keysOf(t, route.Response), keysOf(t, h.do(t, server, q).Body.String())
		for k := range want {
			if !got[k] {
				t.Errorf("%s: the example has the key %s, the answer %v", key, k, slices.Sorted(maps.Keys(got)))
			}
		}
	}
}

// keysOf returns the keys of an object, and of the objects in a list.
func keysOf(t *testing.T, text string) map[string]bool {
	t.Helper()
	var v any
	must(t, json.Unmarshal([]byte(text), &v))
	list, isList := v.([]any)
	if !isList {
		list = []any{v}
	}
	keys := map[string]bool{}
	for _, one := range list {
		if object, ok := one.(map[string]any); ok {
			for k := range object {
				keys[k] = true
			}
		}
	}
	return keys
}

func allRoutes(t *testing.T) map[string]apihandlers.Route {
	t.Helper()
	record := &fakeRecord{policy: dm.NewPolicy(dm.InsecurePNDA, dm.PublishByMode)}
	all := map[string]apihandlers.Route{}
	for server, tables := range tablesOf(t, record, nil, options{}) {
		for _, table := range tables {
			for _, r := range table.Routes {
				key := server + "/" + r.Name
				if _, twice := all[key]; twice {
					t.Fatalf("the route name %s is there twice", key)
				}
				all[key] = r
			}
		}
	}
	return all
}

// transcript writes one request and its answer as people read them.
func transcript(t *testing.T, h *harness, server string, q request) string {
	t.Helper()
	w := h.do(t, server, q)
	var b strings.Builder
	body := q.body
	if len(body) > 100 {
		body = body[:20] + "…"
	}
	fmt.Fprintf(&b, "> %s %s\n", q.method, q.path)
	for _, name := range slices.Sorted(maps.Keys(q.header)) {
		fmt.Fprintf(&b, "> %s: %s\n", name, q.header.Get(name))
	}
	if body != "" {
		fmt.Fprintf(&b, "> %s\n", body)
	}
	fmt.Fprintf(&b, "< %d\n", w.Code)
	for _, name := range slices.Sorted(maps.Keys(w.Header())) {
		fmt.Fprintf(&b, "< %s: %s\n", name, w.Header().Get(name))
	}
	if w.Body.Len() > 0 {
		fmt.Fprintf(&b, "< %s\n", w.Body)
	}
	return b.String() + "\n"
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, os.WriteFile(path, []byte(got), 0o644))
		return
	}
	want, err := os.ReadFile(path)
	must(t, err)
	if got != string(want) {
		t.Errorf("%s differs; run with -update when the change is wanted\n--- got\n%s--- want\n%s", path, got, want)
	}
}

const pageIntro = "What the server answers on each of its ports. The first two are PNDA's APIs, with PNDA's codes and bodies.\n\n" +
	"Identity: in `strict` and `public-read` send a Basic or Bearer credential; `user.name` may be left out or must repeat the same name, except that an impersonator names in it whom it acts for. Who sends too many wrong passwords gets 429 and `Retry-After`. " +
	"While JupyterHub cannot be asked about a token, the answer is 503: keep the token and try again. " +
	"In `insecure-pnda` the query parameter `user.name` is believed. Changes always need a name. " +
	"Every change takes a query parameter `reason`, one line of up to 1,000 bytes that the record keeps; where the option `require_reason` is on, a change without one is 400. Every answer carries `X-Request-Id`, which the log and the record hold too.\n\n" +
	"A page in a browser may read here if its origin is in `cors.origins`, and a page of another site may change nothing: 403. Where nothing proves who asks, a request to a name that is not the server's is 421; see `hosts`.\n\n" +
	"`HEAD` is answered wherever `GET` is, with the same headers. " +
	"Every port also answers `GET /livez`, `/readyz` and `/metrics` without identity."

const whoMay = "The third column of the tables below names what the policy is asked. `everybody` is everybody whom the mode lets in: in `strict` who signed in; in `public-read` anybody for the reads of PNDA's APIs, of packages and of workspaces; in `insecure-pnda` anybody.\n\n" +
	"The **owner** of an application is who created it, the **audience** to whom it delivers now: `user:<name>`, the members of `group:<name>`, or with `everyone` everybody who signed in. Who was in it earlier is in it no more, and who is in it now reads the past of the application too. " +
	"When an application was destroyed and another person takes its name, what was delivered before stays unread: its differences, and the repository that holds it, are for admins and auditors. " +
	"The owner of a package in the repository is who published its first version, also after all were withdrawn; the owner of a deployed package is who deployed it. A workspace is its user's, and no admin reads it. " +
	"The option `packages.publish` sets who may publish and withdraw; the table shows its default. What everybody was answered on every route, `cmd/deployment-manager/testdata/access` shows.\n\n" +
	"Who may not read a workspace is told that there is none (404), because that a person has one is theirs to tell. The names of applications and packages are known to everybody who signed in, so there the answer is 403 and says whom to ask."

// TestAPIPage keeps docs/api.md true.
func TestAPIPage(t *testing.T) {
	t.Parallel()
	tables := tablesOf(t, &fakeRecord{}, nil, options{})
	git, err := githttp.New(githttp.Config{
		Transport: struct{ dm.GitTransport }{}, Script: []byte("#!/bin/sh\n"),
		Authorize: func(*http.Request, dm.Repository, bool) (dm.Actor, error) { return dm.Actor{}, nil },
		Reader:    func(dm.Actor, dm.UserName) dm.Reader { return dm.Reader{} },
	})
	must(t, err)
	page := apihandlers.Page(pageIntro, whoMay, []apihandlers.Section{
		{Title: "Package repository, port 8888", Routes: tables["packages"][0].Routes,
			Text: "`user.name` is required by presence of every request without a credential. Errors are `{\"status\": \"NOTFOUND\", \"information\": \"…\"}`; the status is one of BADREQUEST, UNAUTHORIZED, FORBIDDEN, NOTFOUND, NOTALLOWED, TIMEOUT, CONFLICT, TOOLARGE, UNSUPPORTED, TOOMANY, ERROR and UNAVAILABLE."},
		{Title: "Deployment manager, port 5000", Routes: tables["manager"][0].Routes,
			Text: "Changes are answered 202 with an empty body once they are durable; poll the status. Errors are `{\"information\": \"…\"}`; 404 and 409 add `status`, the state the thing is in now; 500 adds `\"status\": \"UNKNOWN\"`. `OPTIONS` answers 204."},
		{Title: "Native API, port 5000", Routes: tables["manager"][1].Routes, Text: "Errors are the deployment manager's."},
		{Title: "Files for pods, port 5000", Routes: tables["manager"][2].Routes, Text: "Where the server runs components on a cluster, their pods fetch here what is delivered for them. Nothing that fetches for a pod can sign in, so the address is the right; " +
			"who has it could read the file, so it stands in the pod's own description and in no log. Errors are the deployment manager's. One too many at once waits, and is answered 503 with `Retry-After` when its turn does not come."},
		{Title: "Git, port 8099", Routes: git.Routes(), Text: "Use it with `git clone`, `git fetch` and `git push`. Errors are one line of plain text; git shows it when the first step is refused. " +
			"`/sync.sh` and `/tools.git` are open to everybody. The latter has a branch `amd64` and a branch `arm64`, as far as a program for pods lies beside the server's own, and is 404 where none does."},
	})
	golden(t, filepath.Join("..", "docs", "api.md"), page)
}
