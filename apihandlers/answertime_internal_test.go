package apihandlers

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	dm "github.com/pndaproject/deployment-manager"
)

// timed is an answer that knows until when it may be written.
type timed struct {
	*httptest.ResponseRecorder
	until time.Time
}

func (w *timed) SetWriteDeadline(t time.Time) error {
	w.until = t
	return nil
}

type openGate struct{}

func (openGate) Authenticate(*http.Request, Access) (Caller, error) { return nil, nil }

// TestAnswerHasItsTimeWhenItBegins: however long a request waits for its turn, its
// answer is not too late, and once it begins the client must read it.
func TestAnswerHasItsTimeWhenItBegins(t *testing.T) {
	t.Parallel()
	metrics, err := NewMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	for name, handle := range map[string]func(http.ResponseWriter) error{
		"answers":         func(w http.ResponseWriter) error { WriteJSON(w, http.StatusAccepted, "x"); return nil },
		"fails":           func(http.ResponseWriter) error { return dm.Errorf(dm.Unavailable, "test", "too many") },
		"panics":          func(http.ResponseWriter) error { panic("x") },
		"answers nothing": func(http.ResponseWriter) error { return nil },
	} {
		w := &timed{ResponseRecorder: httptest.NewRecorder(), until: time.Now().Add(time.Second)} // of the request before on the connection
		h, err := New(Config{Server: "test", Errors: ManagerBody, Metrics: metrics, Tables: []Table{{Gate: openGate{}, Routes: []Route{{
			Name: "wait", Method: http.MethodGet, Path: "/wait", Handle: func(rw http.ResponseWriter, _ *http.Request) error {
				if !w.until.IsZero() {
					t.Errorf("%s: the time of the answer runs while the request waits", name)
				}
				return handle(rw)
			},
		}}}}})
		if err != nil {
			t.Fatal(err)
		}
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/wait", nil))
		if left := time.Until(w.until); left < answerTime/2 || left > answerTime {
			t.Errorf("%s: the answer has %s left", name, left)
		}
	}
}
