package hooks

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// errBare says nothing to anybody but the log.
var errBare = errors.New("nil map in line 7")

// measured reads one metric, written name{label value,…}.
func measured(t *testing.T, g prometheus.Gatherer, metric string) float64 {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetValue())
			}
			if fmt.Sprintf("%s{%s}", f.GetName(), strings.Join(labels, ",")) == metric {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return 0
}
