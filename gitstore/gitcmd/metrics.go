package gitcmd

import "github.com/prometheus/client_golang/prometheus"

// Register shows how busy the pool of git is.
func (g *Git) Register(registry prometheus.Registerer) error {
	for c, name := range Classes() {
		label := prometheus.Labels{"class": name}
		running := func() float64 { n, _ := g.Busy(c); return float64(n) }
		waiting := func() float64 { _, n := g.Busy(c); return float64(n) }
		for _, gauge := range []prometheus.GaugeFunc{
			prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "dm_git_processes", Help: "git commands that run now.", ConstLabels: label}, running),
			prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "dm_git_waiting", Help: "git commands that wait for a place now.", ConstLabels: label}, waiting),
		} {
			if err := registry.Register(gauge); err != nil {
				return err
			}
		}
	}
	return nil
}
