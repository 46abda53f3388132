package apihandlers

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics counts the requests of all servers of the process.
type Metrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
}

// NewMetrics registers the HTTP metrics.
func NewMetrics(reg prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "dm_http_requests_total", Help: "Requests answered, by server, route and status code.",
		}, []string{"server", "route", "code"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "dm_http_request_duration_seconds", Help: "Time from the end of the request's header to the end of its answer.",
			Buckets: []float64{.001, .005, .02, .1, .5, 2, 10, 60, 300},
		}, []string{"server", "route"}),
	}
	for _, c := range []prometheus.Collector{m.requests, m.duration} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// observe counts an answer; one that broke off has the code "aborted".
func (m *Metrics) observe(server, route string, status int, broken bool, took time.Duration) {
	// Status codes of ours are a closed set; a handler's mistake is one more
	// label value, not one per request.
	code := strconv.Itoa(status)
	switch {
	case broken:
		code = "aborted"
	case http.StatusText(status) == "":
		code = "other"
	}
	m.requests.WithLabelValues(server, route, code).Inc()
	m.duration.WithLabelValues(server, route).Observe(took.Seconds())
}
